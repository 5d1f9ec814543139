//! `/portForward`: connections to ports of a pod, made from inside its network, so that what listens on its loopback is reached, too.
//!
//! [`pairs`] is what kubectl speaks (SPDY, bare or inside a WebSocket): two streams for each connection. [`channels`] is the older way over
//! a WebSocket: one connection for each port.

mod channels;
mod dial;
mod pairs;

use super::{
    Body,
    pump::Block,
    query::Query,
    upgrade::{Offer, Upgrade, Upgraded},
};
use crate::{context::Node, pods};
use bytes::Bytes;
use coracle_api::{Result, Status};
use dial::Target;
use http::{Request, Response};
use hyper::body::Incoming;
use k8s_openapi::api::core::v1::Pod;
use std::{future::Future, io, sync::Arc};
use tokio::{io::AsyncWriteExt, net::TcpStream};

const OFFER: Offer = Offer { spdy: &["portforward.k8s.io"], tunnel: Some("SPDY/3.1+portforward.k8s.io") };

pub(super) async fn serve(
    node: Arc<Node>,
    pod: &Pod,
    query: &Query,
    request: Request<Incoming>,
) -> Result<Response<Body>> {
    let ports = channels::ports(query)?;
    let observed = pods::containers(&node, pod).await;
    let sandbox = observed.ready_sandbox();
    let sandbox = sandbox.ok_or_else(|| Status::internal("unable to forward port because pod is not running"))?;
    let target = Target { sandbox: sandbox.id.clone(), netns: sandbox.netns.clone() };
    let (upgrade, response) = match Upgrade::accept(request, &OFFER) {
        Ok(accepted) => accepted,
        Err(refusal) => return Ok(refusal),
    };
    node.tasks.spawn("port-forward", async move {
        match upgrade.complete().await {
            Ok(Upgraded::Spdy(connection, _)) => pairs::run(connection, target).await,
            Ok(Upgraded::Channels(socket, protocol)) => channels::run(*socket, protocol, ports, target).await,
            Err(error) => tracing::debug!(%error, "a connection was not upgraded"),
        }
    });
    Ok(response)
}

/// What a client sends on a forwarded connection.
trait Source: Send {
    /// The next of it; `None`: it has said all.
    fn receive(&mut self) -> impl Future<Output = io::Result<Option<Bytes>>> + Send;
}

/// The way back.
trait Sink: Send + Sync {
    /// Passes data on.
    fn send(&self, data: Bytes) -> impl Future<Output = io::Result<()>> + Send;
    /// The pod has said all.
    fn finish(self) -> impl Future<Output = ()> + Send;
}

/// Passes data both ways. Each way ends by itself; an error ends both.
async fn forward(stream: TcpStream, mut source: impl Source, sink: impl Sink) -> io::Result<()> {
    let (mut reader, mut writer) = stream.into_split();
    let inward = async {
        while let Some(data) = source.receive().await? {
            writer.write_all(&data).await?;
        }
        writer.shutdown().await
    };
    let outward = async {
        let mut block = Block::default();
        while let Some(data) = block.read(&mut reader).await? {
            sink.send(data).await?;
        }
        sink.finish().await;
        Ok(())
    };
    tokio::try_join!(inward, outward).map(|_| ())
}
