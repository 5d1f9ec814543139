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
use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
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

/// Asks a node's agent for its counters.
type Ask = Box<dyn Fn(String) -> BoxFuture<'static, Result<String, BoxError>> + Send + Sync>;

/// Measures.
pub struct Usage {
    ask: Ask,
    clock: SharedClock,
    nodes: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Track>>>>,
}

/// The last two readings of a node.
#[derive(Default)]
struct Track {
    before: Option<Arc<Reading>>,
    last: Option<(Timestamp, Arc<Reading>)>,
    /// When its agent did not answer, if that was the last that was heard of it.
    failed: Option<Timestamp>,
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
        Self::asking(Box::new(move |node| ask(egress.clone(), node).boxed()), clock)
    }

    fn asking(ask: Ask, clock: SharedClock) -> Self {
        Self { ask, clock, nodes: Mutex::default() }
    }

    /// What is used on some nodes. A node whose agent does not answer is missing.
    async fn measure(&self, nodes: Vec<String>) -> HashMap<String, Measured> {
        let all = stream::iter(nodes).map(|node| async move {
            match self.node(&node).await {
                Ok(measured) => Some((node, measured)),
                Err(error) => {
                    tracing::debug!(node, %error, "what is used on the node is not known");
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
        if track.failed.is_some_and(|at| self.age(at) <= FRESH) {
            return Err("it did not answer a moment ago".into());
        }
        let found = self.renew(node, &mut track).await;
        if let (None, Err(error)) = (track.failed, &found) {
            tracing::warn!(node, %error, "the node's agent does not say what is used");
        }
        track.failed = found.is_err().then(|| self.clock.now());
        found
    }

    fn age(&self, at: Timestamp) -> SignedDuration {
        self.clock.now().duration_since(at)
    }

    async fn renew(&self, node: &str, track: &mut Track) -> Result<Measured, BoxError> {
        match track.last.as_ref().map(|(at, last)| (self.age(*at), last.clone())) {
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
                self.read(node, track).await?;
                self.clock.sleep(WINDOW).await;
            }
        }
        let last = self.read(node, track).await?;
        Ok(Measured { before: track.before.clone(), last })
    }

    async fn read(&self, node: &str, track: &mut Track) -> Result<Arc<Reading>, BoxError> {
        let asked = tokio::time::timeout(TIMEOUT, (self.ask)(node.to_string()));
        let text = asked.await.map_err(|_| "no answer in time")??;
        let now = self.clock.now();
        let reading = Arc::new(Reading::parse(&text, now));
        track.before = track.last.replace((now, reading.clone())).map(|(_, reading)| reading);
        Ok(reading)
    }
}

async fn ask(egress: Arc<Egress>, node: String) -> Result<String, BoxError> {
    let address = egress.agent(&node).map_err(|status| status.message)?;
    let stream = egress.connect(&address, Peer::Agent).await?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_base::{Clock, TestClock};
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    #[tokio::test]
    async fn agents_are_asked_when_somebody_asks_and_no_more() {
        let clock = TestClock::new(Timestamp::from_second(1_000_000).unwrap());
        let (asked, down) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let usage = {
            let (asked, down, now) = (asked.clone(), down.clone(), clock.clone());
            let answer = move |_| {
                asked.fetch_add(1, Ordering::Relaxed);
                // half a processor, all the time
                let cpu = now.now().as_millisecond() as f64 / 2000.0;
                let text = format!("node_cpu_usage_seconds_total {cpu}\nnode_memory_working_set_bytes 7\n");
                let found = if down.load(Ordering::Relaxed) { Err("down".into()) } else { Ok(text) };
                async move { found }.boxed()
            };
            Usage::asking(Box::new(answer), clock.clone())
        };
        // seconds since the question before, how often agents are asked, and the window that comes of it
        let cases = [
            ("the first question waits for a second reading", 0, 2, Some(1)),
            ("who asks at once gets the same", 0, 0, Some(1)),
            ("and so does who asks soon", 5, 0, Some(1)),
            ("later on one reading is enough", 10, 1, Some(15)),
            ("after a long silence two are needed", 120, 2, Some(1)),
        ];
        for (title, later, times, window) in cases {
            clock.advance(Duration::from_secs(later));
            asked.store(0, Ordering::Relaxed);
            // a second passes for whoever waits for one
            let (found, ()) = tokio::join!(usage.node("n"), async {
                if times == 2 {
                    clock.advance(WINDOW);
                }
            });
            let used = found.unwrap().node();
            assert_eq!(asked.load(Ordering::Relaxed), times, "{title}");
            assert_eq!(used.map(|u| u.window.as_secs()), window, "{title}");
            assert_eq!(used.map(|u| u.cpu_nanos), Some(500_000_000), "{title}");
        }
        down.store(true, Ordering::Relaxed);
        clock.advance(Duration::from_secs(10));
        asked.store(0, Ordering::Relaxed);
        for _ in 0..3 {
            assert!(usage.node("n").await.is_err());
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1, "who does not answer is left alone for a while");
    }
}
