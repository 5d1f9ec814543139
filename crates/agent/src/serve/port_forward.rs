//! `/portForward`: connections to ports of a pod over a WebSocket, two channels (data, error) a port.
//!
//! They are made from inside the pod's network namespace, so that what listens on its loopback is reached, too.

use super::{
    Body,
    channels::{Protocol, Received, Upgrade},
    query::Query,
};
use crate::{context::Node, pods};
use coracle_api::{Result, Status};
use futures::{SinkExt, StreamExt};
use http::{Request, Response};
use hyper::body::Incoming;
use k8s_openapi::api::core::v1::Pod;
use nix::sched::{CloneFlags, setns};
use std::{collections::HashMap, fs::File, io, net::Ipv4Addr, path::PathBuf, sync::Arc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{mpsc, oneshot},
};

pub(super) async fn serve(
    node: Arc<Node>,
    pod: &Pod,
    query: &Query,
    request: Request<Incoming>,
) -> Result<Response<Body>> {
    let asked = query.all("port").into_iter().chain(query.all("ports"));
    let ports: Vec<u16> = asked
        .flat_map(|p| p.split(',').map(str::to_string).collect::<Vec<_>>())
        .map(|p| p.parse())
        .collect::<Result<_, _>>()
        .map_err(|_| Status::bad_request("query parameter \"port\" must be a port number"))?;
    if ports.is_empty() {
        return Err(Status::bad_request("query parameter \"port\" is required"));
    }
    let observed = pods::containers(&node, pod).await;
    let sandbox = observed.ready_sandbox().ok_or_else(|| Status::internal("the pod's sandbox is not running"))?;
    let netns = sandbox.netns.clone();
    let (upgrade, response) = Upgrade::accept(request)?;
    node.tasks.spawn("port-forward", run(upgrade, ports, netns));
    Ok(response)
}

async fn run(upgrade: Upgrade, ports: Vec<u16>, netns: Option<PathBuf>) {
    let protocol: Protocol = upgrade.protocol;
    let Ok(socket) = upgrade.socket().await else { return };
    let (mut sink, mut incoming) = socket.split();
    let (output, mut chunks) = mpsc::channel::<(u8, Vec<u8>)>(16);
    let mut writers: HashMap<u8, mpsc::Sender<bytes::Bytes>> = HashMap::new();
    for (port, channel) in ports.into_iter().zip((0..=u8::MAX - 2).step_by(2)) {
        // each channel begins with its port
        for channel in [channel, channel + 1] {
            if sink.send(protocol.message(channel, &port.to_le_bytes())).await.is_err() {
                return;
            }
        }
        let (writer, data) = mpsc::channel(16);
        writers.insert(channel, writer);
        tokio::spawn(forward(netns.clone(), port, channel, data, output.clone()));
    }
    drop(output);
    loop {
        tokio::select! {
            chunk = chunks.recv() => {
                let Some((channel, data)) = chunk else { break };
                if sink.send(protocol.message(channel, &data)).await.is_err() {
                    return;
                }
            }
            message = incoming.next() => match message.map(|m| m.map(|m| protocol.read(m))) {
                Some(Ok(Received::Data(channel, data))) => {
                    if let Some(writer) = writers.get(&channel) {
                        let _ = writer.send(data).await;
                    }
                }
                Some(Ok(Received::Close(channel))) => drop(writers.remove(&channel)),
                Some(Ok(Received::End) | Err(_)) | None => return,
                Some(Ok(Received::Nothing)) => {}
            }
        }
    }
    let _ = sink.send(super::channels::goodbye()).await;
}

/// One connection.
async fn forward(
    netns: Option<PathBuf>,
    port: u16,
    channel: u8,
    mut data: mpsc::Receiver<bytes::Bytes>,
    output: mpsc::Sender<(u8, Vec<u8>)>,
) {
    let stream = match connect(netns, port).await {
        Ok(stream) => stream,
        Err(error) => {
            let message = format!("failed to connect to localhost:{port} inside namespace: {error}");
            let _ = output.send((channel + 1, message.into_bytes())).await;
            return;
        }
    };
    let (mut reader, mut writer) = stream.into_split();
    let inward = async move {
        while let Some(bytes) = data.recv().await {
            if writer.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _ = writer.shutdown().await;
    };
    let outward = async move {
        let mut buffer = vec![0; 32 << 10];
        while let Ok(n) = reader.read(&mut buffer).await {
            if n == 0 || output.send((channel, buffer[..n].to_vec())).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = outward => {}
        () = async { inward.await; std::future::pending().await } => {}
    }
}

/// Connects from inside a network namespace, on a thread that ends with it.
async fn connect(netns: Option<PathBuf>, port: u16) -> io::Result<TcpStream> {
    let (sender, receiver) = oneshot::channel();
    std::thread::Builder::new().name("port-forward".into()).spawn(move || {
        let connect = || -> io::Result<std::net::TcpStream> {
            if let Some(path) = netns {
                setns(File::open(path)?, CloneFlags::CLONE_NEWNET)?;
            }
            let stream = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
            stream.set_nonblocking(true)?;
            Ok(stream)
        };
        let _ = sender.send(connect());
    })?;
    let stream = receiver.await.map_err(|_| io::Error::other("the thread has ended"))??;
    TcpStream::from_std(stream)
}
