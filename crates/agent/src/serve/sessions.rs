//! `/exec` and `/attach`: a process's streams over a WebSocket.

use super::{
    Body,
    channels::{Protocol, Received, Socket, Upgrade},
    query::Query,
    running,
};
use crate::{context::Node, spec};
use coracle_api::{Result, Status};
use coracle_runtime::{ExecSpec, Session, TerminalSize};
use futures::{SinkExt, StreamExt, stream::SplitSink};
use http::{Request, Response};
use hyper::body::Incoming;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
};
use tokio_tungstenite::tungstenite::Message;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;
const RESIZE: u8 = 4;
const BLOCK: usize = 32 << 10;
/// How often a quiet connection is shown to live.
const PING: Duration = Duration::from_secs(20);

pub(super) async fn exec(
    node: Arc<Node>,
    pod: &Pod,
    container: &str,
    query: &Query,
    request: Request<Incoming>,
) -> Result<Response<Body>> {
    let id = running(&node, pod, container).await?;
    let command = query.all("command");
    if command.is_empty() {
        return Err(Status::bad_request("you must specify at least 1 command for the container"));
    }
    let spec = ExecSpec { command, tty: query.flag("tty"), stdin: query.flag("input") || query.flag("stdin") };
    let (upgrade, response) = Upgrade::accept(request)?;
    let tasks = node.tasks.clone();
    tasks.spawn("exec", async move {
        let session = node.runtime.exec(&id, spec).await;
        serve(upgrade, session).await;
    });
    Ok(response)
}

pub(super) async fn attach(
    node: Arc<Node>,
    pod: &Pod,
    container: &str,
    query: &Query,
    request: Request<Incoming>,
) -> Result<Response<Body>> {
    let id = running(&node, pod, container).await?;
    let takes = spec::container(pod, container).is_some_and(|c| c.stdin == Some(true));
    let stdin = takes && (query.flag("input") || query.flag("stdin"));
    let (upgrade, response) = Upgrade::accept(request)?;
    let tasks = node.tasks.clone();
    tasks.spawn("attach", async move {
        let session = node.runtime.attach(&id, stdin).await;
        serve(upgrade, session).await;
    });
    Ok(response)
}

async fn serve(upgrade: Upgrade, session: coracle_runtime::Result<Session>) {
    let protocol = upgrade.protocol;
    let socket = match upgrade.socket().await {
        Ok(socket) => socket,
        Err(error) => return tracing::debug!(%error, "a connection was not upgraded"),
    };
    match session {
        Ok(session) => run(socket, protocol, session).await,
        Err(error) => {
            let (mut sink, _) = socket.split();
            finish(&mut sink, protocol, Err(error)).await;
        }
    }
}

/// Passes data both ways until the process ends or the client goes.
async fn run(socket: Socket, protocol: Protocol, mut session: Session) {
    let (mut sink, mut incoming) = socket.split();
    let (output, mut chunks) = mpsc::channel::<(u8, Vec<u8>)>(8);
    pump(session.stdout.take(), STDOUT, output.clone());
    pump(session.stderr.take(), STDERR, output);
    let (mut stdin, resize) = (session.stdin.take(), session.resize.take());
    let mut ping = tokio::time::interval(PING);
    ping.tick().await;
    let mut open = true;
    while open {
        tokio::select! {
            chunk = chunks.recv() => match chunk {
                Some((channel, data)) => {
                    if sink.send(protocol.message(channel, &data)).await.is_err() {
                        return;
                    }
                }
                // both streams have ended: what is left is how
                None => open = false,
            },
            message = incoming.next() => match message.map(|m| m.map(|m| protocol.read(m))) {
                Some(Ok(Received::Data(STDIN, data))) => {
                    if let Some(pipe) = &mut stdin && pipe.write_all(&data).await.is_err() {
                        stdin = None;
                    } else if let Some(pipe) = &mut stdin {
                        let _ = pipe.flush().await;
                    }
                }
                Some(Ok(Received::Data(RESIZE, data))) => {
                    if let (Some(resize), Some(size)) = (&resize, size(&data)) {
                        let _ = resize.send(size).await;
                    }
                }
                Some(Ok(Received::Close(STDIN))) => {
                    if let Some(mut pipe) = stdin.take() {
                        let _ = pipe.shutdown().await;
                    }
                }
                Some(Ok(Received::End) | Err(_)) | None => return,
                Some(Ok(_)) => {}
            },
            _ = ping.tick() => {
                if sink.send(Message::Ping(bytes::Bytes::new())).await.is_err() {
                    return;
                }
            }
        }
    }
    let ended =
        session.exit.await.unwrap_or_else(|_| Err(coracle_runtime::Error::Container("the process is gone".into())));
    finish(&mut sink, protocol, ended).await;
}

/// Reads a stream in a task of its own, so that no other is held up.
fn pump(stream: Option<Box<dyn AsyncRead + Send + Unpin>>, channel: u8, out: mpsc::Sender<(u8, Vec<u8>)>) {
    let Some(mut stream) = stream else { return };
    tokio::spawn(async move {
        let mut buffer = vec![0; BLOCK];
        while let Ok(n) = stream.read(&mut buffer).await {
            if n == 0 || out.send((channel, buffer[..n].to_vec())).await.is_err() {
                return;
            }
        }
    });
}

async fn finish(sink: &mut SplitSink<Socket, Message>, protocol: Protocol, ended: coracle_runtime::Result<i32>) {
    let (status, text) = outcome(ended);
    let data = match protocol.status {
        true => status.to_string(),
        false => text,
    };
    if !data.is_empty() {
        let _ = sink.send(protocol.message(STATUS, data.as_bytes())).await;
    }
    let _ = sink.send(super::channels::goodbye()).await;
    let _ = sink.close().await;
}

/// How it ended: as a Status, and as the older protocols say it.
fn outcome(ended: coracle_runtime::Result<i32>) -> (Value, String) {
    match ended {
        Ok(0) => (json!({"metadata": {}, "status": "Success"}), String::new()),
        Ok(code) => {
            let message = format!("command terminated with non-zero exit code: exit status {code}");
            let status = json!({
                "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode", "message": message,
                "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
            });
            (status, message)
        }
        Err(error) => {
            let message = format!("error executing command in container: {error}");
            let status = json!({
                "metadata": {}, "status": "Failure", "reason": "InternalError", "code": 500,
                "message": format!("Internal error occurred: {message}"),
                "details": {"causes": [{"message": message}]},
            });
            (status, message)
        }
    }
}

fn size(data: &[u8]) -> Option<TerminalSize> {
    let value: Value = serde_json::from_slice(data).ok()?;
    let side = |key: &str| u16::try_from(value[key].as_u64()?).ok();
    Some(TerminalSize { width: side("Width").or(side("width"))?, height: side("Height").or(side("height"))? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_become_statuses() {
        for (ended, status, cause) in [
            (Ok(0), "Success", Value::Null),
            (Ok(3), "Failure", json!("3")),
            (
                Err(coracle_runtime::Error::Container("no".into())),
                "Failure",
                json!("error executing command in container: no"),
            ),
        ] {
            let (got, _) = outcome(ended);
            assert_eq!((&got["status"], &got["details"]["causes"][0]["message"]), (&json!(status), &cause));
        }
    }

    #[test]
    fn sizes_are_read() {
        for (text, expected) in [
            (r#"{"Width":80,"Height":24}"#, Some((80, 24))),
            (r#"{"width":80,"height":24}"#, Some((80, 24))),
            (r#"{"Width":-1,"Height":24}"#, None),
            ("x", None),
        ] {
            assert_eq!(size(text.as_bytes()).map(|s| (s.width, s.height)), expected);
        }
    }
}
