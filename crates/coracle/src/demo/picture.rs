//! The live picture: nodes as boxes, the pods in them, the Service in front with the share of requests that each pod got.

use coracle_api::{Object, Resource};
use coracle_client::{SharedClient, WatchEvent};
use futures::StreamExt;
use k8s_openapi::api::core::v1::{Node, Pod};
use parking_lot::Mutex;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::sync::Notify;

const WIDTH: usize = 34;

#[derive(Default)]
struct Scene {
    nodes: BTreeMap<String, Value>,
    pods: BTreeMap<String, Value>,
    shares: BTreeMap<String, u64>,
    drawn: usize,
}

/// The picture, drawn again whenever something changes.
pub struct Picture {
    scene: Mutex<Scene>,
    changed: Notify,
    ended: AtomicBool,
}

impl Picture {
    /// Begins to draw.
    pub fn start(client: SharedClient) -> Arc<Self> {
        let this = Arc::new(Self { scene: Mutex::default(), changed: Notify::new(), ended: AtomicBool::new(false) });
        for resource in [Resource::of::<Node>(), Resource::of::<Pod>()] {
            tokio::spawn(this.clone().follow(client.clone(), resource));
        }
        let drawing = this.clone();
        tokio::spawn(async move {
            while !drawing.ended.load(Ordering::Relaxed) {
                drawing.changed.notified().await;
                drawing.draw(None);
                // changes come in swarms; a picture every tenth of a second is enough for an eye
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        this
    }

    async fn follow(self: Arc<Self>, client: SharedClient, resource: Resource) {
        while !self.ended.load(Ordering::Relaxed) {
            self.with(&resource, BTreeMap::clear);
            if let Ok(mut events) = client.watch(&resource, "", &Default::default()).await {
                while let Some(Ok(event)) = events.next().await {
                    let key = |o: &Object| o.meta().name.clone();
                    match event {
                        WatchEvent::Added(o) | WatchEvent::Modified(o) => {
                            self.with(&resource, |all| drop(all.insert(key(&o), o.value())))
                        }
                        WatchEvent::Deleted(o) => self.with(&resource, |all| drop(all.remove(&key(&o)))),
                        WatchEvent::Bookmark(_) => {}
                    }
                    self.changed.notify_one();
                }
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    fn with(&self, resource: &Resource, change: impl FnOnce(&mut BTreeMap<String, Value>)) {
        let mut scene = self.scene.lock();
        change(if resource.kind == "Node" { &mut scene.nodes } else { &mut scene.pods });
    }

    /// New figures of a load.
    pub fn shares(&self, figures: &Value) {
        let counts = figures["pods"].as_object().into_iter().flatten();
        self.scene.lock().shares = counts.filter_map(|(pod, n)| Some((pod.clone(), n.as_u64()?))).collect();
        self.changed.notify_one();
    }

    /// Prints a line above the picture.
    pub fn say(&self, text: &str) {
        self.draw(Some(text));
    }

    /// Ends it; the last picture stays.
    pub fn stop(&self) {
        self.ended.store(true, Ordering::Relaxed);
        self.changed.notify_one();
    }

    fn draw(&self, above: Option<&str>) {
        let mut scene = self.scene.lock();
        let lines = render(&scene);
        let mut out = String::new();
        if scene.drawn > 0 {
            out.push_str(&format!("\x1b[{}A", scene.drawn));
        }
        for line in above.into_iter().flat_map(str::lines).chain(lines.iter().map(String::as_str)) {
            out.push_str(line);
            out.push_str("\x1b[K\n");
        }
        out.push_str("\x1b[J");
        scene.drawn = lines.len();
        // a terminal that is gone is not the demo's business
        let _ = std::io::stdout().lock().write_all(out.as_bytes());
        let _ = std::io::stdout().flush();
    }
}

/// The picture as lines. A pod is ● ready, ○ starting, ◌ leaving, ✗ failed.
fn render(scene: &Scene) -> Vec<String> {
    let mut lines = vec![String::new()];
    let total: u64 = scene.shares.values().sum();
    if total > 0 {
        let shares: Vec<String> = scene
            .shares
            .iter()
            .map(|(pod, n)| format!("{} {}%", pod.rsplit('-').next().unwrap_or(pod), n * 100 / total))
            .collect();
        lines.push(format!("  Service web ─▶ {}", shares.join("  ")));
    }
    let boxes: Vec<Vec<String>> = scene.nodes.iter().map(|(name, node)| node_box(scene, name, node)).collect();
    for row in boxes.chunks(3) {
        // one more for the bottom edge
        let height = row.iter().map(Vec::len).max().unwrap_or(0) + 1;
        for line in 0..height {
            lines.push(row.iter().map(|b| box_line(b, line, height)).collect::<Vec<_>>().join(" "));
        }
    }
    lines
}

fn box_line(lines: &[String], at: usize, height: usize) -> String {
    match at {
        0 => format!("┌ {:─<w$}┐", format!("{} ", lines[0]), w = WIDTH - 1),
        n if n + 1 == height => format!("└{}┘", "─".repeat(WIDTH)),
        n => match lines.get(n) {
            Some(text) => format!("│{text}{}│", " ".repeat(WIDTH.saturating_sub(text.chars().count()))),
            None => format!("│{}│", " ".repeat(WIDTH)),
        },
    }
}

fn node_box(scene: &Scene, name: &str, node: &Value) -> Vec<String> {
    let cordoned = node["spec"]["unschedulable"] == true;
    let mut lines = vec![format!(
        "{name}{}{}",
        if is_ready(node) { "" } else { " NotReady" },
        if cordoned { " cordoned" } else { "" }
    )];
    for (pod, value) in scene.pods.iter().filter(|(_, p)| p["spec"]["nodeName"] == name) {
        let mark = match value["status"]["phase"].as_str() {
            _ if !value["metadata"]["deletionTimestamp"].is_null() => "◌",
            Some("Failed") => "✗",
            _ if is_ready(value) => "●",
            _ => "○",
        };
        let version =
            value["spec"]["containers"][0]["image"].as_str().and_then(|i| i.rsplit(':').next()).unwrap_or_default();
        let text: String = format!(" {mark} {pod} {version}").chars().take(WIDTH).collect();
        lines.push(text);
    }
    lines
}

fn is_ready(value: &Value) -> bool {
    let conditions = value["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|c| c["type"] == "Ready" && c["status"] == "True")
}
