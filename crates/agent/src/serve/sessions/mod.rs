//! `/exec` and `/attach`: a process's streams, over whatever the client speaks.
//!
//! [`websocket`] and [`spdy`] say how input comes and output goes; what happens in between is the same for both, and here.

mod outcome;
mod spdy;
mod websocket;

use super::{
    Body,
    idle::Activity,
    pump::Block,
    query::Query,
    running,
    upgrade::{Offer, Upgrade, Upgraded},
};
use crate::{context::Node, spec};
use bytes::Bytes;
use coracle_api::{Result, Status};
use coracle_runtime::{ExecSpec, Session, TerminalSize};
use http::{Request, Response};
use hyper::body::Incoming;
use k8s_openapi::api::core::v1::Pod;
use outcome::Outcome;
use std::{future::Future, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    sync::mpsc,
};

const OFFER: Offer = Offer {
    spdy: &["v5.channel.k8s.io", "v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"],
    tunnel: None,
};
/// How long a client may take to hang up after the end.
const LINGER: Duration = Duration::from_secs(2);

/// What comes from a client.
#[derive(Debug)]
enum Input {
    /// For standard input.
    Data(Bytes),
    /// Standard input ends.
    End,
    /// The terminal has another size.
    Size(TerminalSize),
}

/// Where output belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    Stdout,
    Stderr,
}

/// The client has gone.
struct Gone;

/// A client's input.
trait Inlet: Send {
    /// The next of it; `None` when the client has gone.
    fn next(&mut self) -> impl Future<Output = Option<Input>> + Send;
}

/// The way back.
trait Outlet: Send + Sync {
    /// Passes output on.
    fn write(&self, output: Output, data: Bytes) -> impl Future<Output = Result<(), Gone>> + Send;
    /// Shows a quiet client that somebody is there; completes when the client is not.
    fn keep_alive(&self) -> impl Future<Output = ()> + Send;
    /// Says how it ended.
    fn finish(self, outcome: Outcome) -> impl Future<Output = ()> + Send;
}

/// What the client asks to be connected with.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    stdin: bool,
    stdout: bool,
    stderr: bool,
    tty: bool,
}

impl Wanted {
    fn read(query: &Query) -> Result<Self> {
        let any = |keys: [&str; 2]| keys.iter().any(|key| query.flag(key));
        let tty = query.flag("tty");
        let wanted = Self {
            stdin: any(["input", "stdin"]),
            stdout: any(["output", "stdout"]),
            // a terminal has one output
            stderr: any(["error", "stderr"]) && !tty,
            tty,
        };
        if wanted.stdin || wanted.stdout || wanted.stderr {
            return Ok(wanted);
        }
        Err(Status::bad_request("you must specify at least 1 of stdin, stdout, stderr"))
    }

    fn output(self, output: Output) -> bool {
        match output {
            Output::Stdout => self.stdout,
            Output::Stderr => self.stderr,
        }
    }
}

pub(super) async fn exec(
    node: Arc<Node>,
    pod: &Pod,
    container: &str,
    query: &Query,
    request: Request<Incoming>,
) -> Result<Response<Body>> {
    let id = running(&node, pod, container).await?;
    let wanted = Wanted::read(query)?;
    let command = query.all("command");
    if command.is_empty() {
        return Err(Status::bad_request("you must specify at least 1 command for the container"));
    }
    let spec = ExecSpec { command, tty: wanted.tty, stdin: wanted.stdin };
    let (upgrade, response) = match Upgrade::accept(request, &OFFER) {
        Ok(accepted) => accepted,
        Err(refusal) => return Ok(refusal),
    };
    let runtime = node.runtime.clone();
    node.tasks.spawn("exec", async move {
        let session = async move { runtime.exec(&id, spec).await };
        serve(upgrade, wanted, session, outcome::of_command).await;
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
    let wanted = Wanted::read(query)?;
    let takes = wanted.stdin && spec::takes_input(pod, container);
    let (upgrade, response) = match Upgrade::accept(request, &OFFER) {
        Ok(accepted) => accepted,
        Err(refusal) => return Ok(refusal),
    };
    let runtime = node.runtime.clone();
    node.tasks.spawn("attach", async move {
        let session = async move { runtime.attach(&id, takes).await };
        serve(upgrade, wanted, session, outcome::of_attachment).await;
    });
    Ok(response)
}

/// Connects a client with a session, which is begun once the client is there to hear what becomes of it.
async fn serve(
    upgrade: Upgrade,
    wanted: Wanted,
    session: impl Future<Output = coracle_runtime::Result<Session>>,
    outcome: fn(coracle_runtime::Result<i32>) -> Outcome,
) {
    match upgrade.complete().await {
        Ok(Upgraded::Channels(socket, protocol)) => {
            let (inlet, outlet) = websocket::open(*socket, protocol);
            run(inlet, outlet, wanted, session.await, outcome).await;
        }
        Ok(Upgraded::Spdy(connection, protocol)) => {
            // a client that asks for streams and does not begin them has nothing to hear it by, either
            if let Some((inlet, outlet)) = spdy::open(connection, protocol, wanted).await {
                run(inlet, outlet, wanted, session.await, outcome).await;
            }
        }
        Err(error) => tracing::debug!(%error, "a connection was not upgraded"),
    }
}

/// Passes data both ways until the process ends or the client goes.
async fn run(
    mut inlet: impl Inlet,
    outlet: impl Outlet,
    wanted: Wanted,
    session: coracle_runtime::Result<Session>,
    outcome: fn(coracle_runtime::Result<i32>) -> Outcome,
) {
    let ended = match session {
        Ok(mut session) => {
            let (stdin, resize) = (session.stdin.take(), session.resize.take());
            let activity = Activity::new();
            tokio::select! {
                ended = outward(&outlet, wanted, session, &activity) => match ended {
                    Ok(ended) => ended,
                    Err(Gone) => return,
                },
                () = inward(&mut inlet, stdin, resize, &activity) => return,
                () = activity.ceased() => return,
                () = outlet.keep_alive() => return,
            }
        }
        Err(error) => Err(error),
    };
    // to close a connection with input unread would take output on its way along
    let drained = async { while inlet.next().await.is_some() {} };
    let _ = tokio::time::timeout(LINGER, async { tokio::join!(outlet.finish(outcome(ended)), drained) }).await;
}

type Source = Option<Box<dyn AsyncRead + Send + Unpin>>;

/// Output to its end, then how the process ended.
async fn outward(
    outlet: &impl Outlet,
    wanted: Wanted,
    mut session: Session,
    activity: &Activity,
) -> Result<coracle_runtime::Result<i32>, Gone> {
    let (stdout, stderr) = (session.stdout.take(), session.stderr.take());
    tokio::try_join!(
        pump(stdout, Output::Stdout, outlet, wanted, activity),
        pump(stderr, Output::Stderr, outlet, wanted, activity)
    )?;
    let lost = |_| Err(coracle_runtime::Error::Container("the process is gone".into()));
    Ok(session.exit.await.unwrap_or_else(lost))
}

async fn pump(
    source: Source,
    output: Output,
    outlet: &impl Outlet,
    wanted: Wanted,
    activity: &Activity,
) -> Result<(), Gone> {
    let Some(mut source) = source else { return Ok(()) };
    let mut block = Block::default();
    // a stream that breaks has ended
    while let Ok(Some(data)) = block.read(&mut source).await {
        activity.note();
        if wanted.output(output) {
            outlet.write(output, data).await?;
        }
    }
    Ok(())
}

/// Input for as long as the client is there.
async fn inward(
    inlet: &mut impl Inlet,
    mut stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    resize: Option<mpsc::Sender<TerminalSize>>,
    activity: &Activity,
) {
    while let Some(input) = inlet.next().await {
        activity.note();
        match input {
            Input::Data(data) => {
                if let Some(pipe) = &mut stdin
                    && (pipe.write_all(&data).await.is_err() || pipe.flush().await.is_err())
                {
                    // nobody reads it any more; the rest is thrown away
                    stdin = None;
                }
            }
            Input::End => {
                if let Some(mut pipe) = stdin.take() {
                    let _ = pipe.shutdown().await;
                }
            }
            Input::Size(size) => {
                if let Some(resize) = &resize {
                    let _ = resize.send(size).await;
                }
            }
        }
    }
}

/// A terminal's size, as clients write it.
fn size(value: &serde_json::Value) -> Option<TerminalSize> {
    let side = |key: &str| u16::try_from(value[key].as_u64()?).ok();
    Some(TerminalSize { width: side("Width").or(side("width"))?, height: side("Height").or(side("height"))? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        for (text, expected) in [
            (r#"{"Width":80,"Height":24}"#, Some((80, 24))),
            (r#"{"width":80,"height":24}"#, Some((80, 24))),
            (r#"{"Width":-1,"Height":24}"#, None),
            ("1", None),
        ] {
            assert_eq!(size(&serde_json::from_str(text).unwrap()).map(|s| (s.width, s.height)), expected);
        }
    }

    #[test]
    fn something_must_be_wanted() {
        for (query, expected) in [
            ("input=1&output=1", Some((true, true, false))),
            ("output=1&error=1", Some((false, true, true))),
            ("output=1&error=1&tty=1", Some((false, true, false))),
            ("stdout=true", Some((false, true, false))),
            ("error=1&tty=1", None),
            ("command=ls", None),
        ] {
            let wanted = Wanted::read(&Query::parse(query)).ok().map(|w| (w.stdin, w.stdout, w.stderr));
            assert_eq!(wanted, expected, "{query}");
        }
    }
}
