//! `metrics.k8s.io`: what nodes and pods use, measured when somebody asks.
//!
//! Upstream leaves this to an add-on that asks every kubelet every 15 s. Here an agent is asked when a client asks (`kubectl top`, an
//! autoscaler), and only the agents of the nodes that the answer is about; while nobody asks, nothing happens. Processor usage needs two
//! readings: the one that the asker before left behind if it is recent, else another one a second later. Readings are shared by all who
//! ask within [`FRESH`].
//!
//! The group is served from here as long as nobody else serves it: it belongs to the APIService `v1beta1.metrics.k8s.io`, as upstream. When
//! groups of other servers are passed on (aggregation), that comes before [`crate::resources::serve`] looks at its own kinds, and so before this.

mod reading;
mod serve;

pub use serve::{get, list, serve};

use crate::{
    egress::{Egress, Peer},
    http::body::BoxError,
};
use coracle_base::SharedClock;
use futures::{StreamExt, stream};
use http::{Request, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use reading::{PodName, Point, Reading, Used};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

/// How long a reading serves all who ask.
const FRESH: SignedDuration = SignedDuration::from_secs(5);
/// A reading further back than this says nothing of what is used now.
const LONGEST: SignedDuration = SignedDuration::from_secs(60);
/// How long to wait for the second reading where there is no recent first one.
const WINDOW: Duration = Duration::from_secs(1);
/// How long an agent may take, as metrics-server has it.
const TIMEOUT: Duration = Duration::from_secs(10);
/// At most so many agents are asked at a time.
const AT_ONCE: usize = 64;
/// The longest answer of an agent.
const MOST: usize = 16 << 20;

/// Measures.
pub struct Usage {
    egress: Arc<Egress>,
    clock: SharedClock,
    nodes: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Track>>>>,
}

/// The last two readings of a node.
#[derive(Default)]
struct Track {
    before: Option<Arc<Reading>>,
    last: Option<(Timestamp, Arc<Reading>)>,
}

/// What is known of a node's usage.
#[derive(Clone)]
struct Measured {
    before: Option<Arc<Reading>>,
    last: Arc<Reading>,
}

impl Measured {
    fn node(&self) -> Option<Used> {
        let before = self.before.as_ref().and_then(|r| r.node.as_ref());
        Used::between(before, self.last.node.as_ref()?, LONGEST)
    }

    /// The containers of a pod; `None` unless something can be said of all of them.
    fn pod(&self, pod: &PodName) -> Option<BTreeMap<String, Used>> {
        let before: Option<&BTreeMap<String, Point>> = self.before.as_ref().and_then(|r| r.pods.get(pod));
        let all = self.last.pods.get(pod)?.iter();
        all.map(|(name, now)| Some((name.clone(), Used::between(before.and_then(|b| b.get(name)), now, LONGEST)?)))
            .collect()
    }
}

impl Usage {
    /// By this way to the agents.
    pub fn new(egress: Arc<Egress>, clock: SharedClock) -> Self {
        Self { egress, clock, nodes: Mutex::default() }
    }

    /// What is used on some nodes. A node whose agent does not answer is missing.
    async fn measure(&self, nodes: Vec<String>) -> HashMap<String, Measured> {
        let all = stream::iter(nodes).map(|node| async move {
            match self.node(&node).await {
                Ok(measured) => Some((node, measured)),
                Err(error) => {
                    tracing::warn!(node, %error, "the node's agent does not say what is used");
                    None
                }
            }
        });
        all.buffer_unordered(AT_ONCE).filter_map(|found| async { found }).collect().await
    }

    /// Forgets nodes that are no longer there.
    fn keep_only(&self, known: impl Fn(&str) -> bool) {
        self.nodes.lock().retain(|name, _| known(name));
    }

    async fn node(&self, node: &str) -> Result<Measured, BoxError> {
        let track = self.nodes.lock().entry(node.to_string()).or_default().clone();
        // who asks meanwhile waits here, and finds the answer
        let mut track = track.lock().await;
        let age = |at: Timestamp| self.clock.now().duration_since(at);
        match track.last.as_ref().map(|(at, last)| (age(*at), last.clone())) {
            Some((age, last)) if age <= FRESH && track.before.is_some() => {
                return Ok(Measured { before: track.before.clone(), last });
            }
            Some((age, _)) if age <= LONGEST => {
                // too close to the last reading nothing could be told from both
                let left = WINDOW.saturating_sub(age.try_into().unwrap_or_default());
                if !left.is_zero() {
                    self.clock.sleep(left).await;
                }
            }
            _ => {
                *track = Track::default();
                self.read(node, &mut track).await?;
                self.clock.sleep(WINDOW).await;
            }
        }
        let last = self.read(node, &mut track).await?;
        Ok(Measured { before: track.before.clone(), last })
    }

    async fn read(&self, node: &str, track: &mut Track) -> Result<Arc<Reading>, BoxError> {
        let text = tokio::time::timeout(TIMEOUT, self.ask(node)).await.map_err(|_| "no answer in time")??;
        let now = self.clock.now();
        let reading = Arc::new(Reading::parse(&text, now));
        track.before = track.last.replace((now, reading.clone())).map(|(_, reading)| reading);
        Ok(reading)
    }

    async fn ask(&self, node: &str) -> Result<String, BoxError> {
        let address = self.egress.agent(node).map_err(|status| status.message)?;
        let stream = self.egress.connect(&address, Peer::Agent).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let request = Request::get("/metrics/resource").header(header::HOST, address.to_string());
        let response = sender.send_request(request.body(Empty::<bytes::Bytes>::new())?).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MOST).collect().await?.to_bytes();
        connection.abort();
        if !status.is_success() {
            return Err(format!("the agent answers {status}").into());
        }
        Ok(String::from_utf8_lossy(&body).into_owned())
    }
}
