//! `coracle demo`: the story of a cluster, with real processes, and every promise of it checked.
//!
//! A step is a function in [`steps`] and a line in [`STEPS`]; what it promises it says through [`Demo::promise`].

mod cluster;
pub mod images;
mod picture;
mod steps;

use crate::cluster::layout::Layout;
use anyhow::Result;
use coracle_client::SharedClient;
use parking_lot::Mutex;
use picture::Picture;
use serde_json::{Map, Value, json};
use std::{future::Future, pin::Pin, process::ExitCode, sync::Arc, time::Instant};

/// How the demo speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// One JSON object per step.
    Json,
    /// Lines.
    Plain,
    /// Lines below a live picture.
    Live,
}

/// A promise and whether it held.
struct Promise {
    text: String,
    holds: bool,
    seen: String,
}

/// The demo while it runs.
pub struct Demo {
    layout: Layout,
    client: SharedClient,
    output: Output,
    picture: Option<Arc<Picture>>,
    promises: Mutex<Vec<Promise>>,
    observed: Mutex<Map<String, Value>>,
}

type Running<'a> = Pin<Box<dyn Future<Output = Result<()>> + 'a>>;

struct Step {
    title: &'static str,
    run: for<'a> fn(&'a Demo) -> Running<'a>,
}

static STEPS: &[Step] = &[
    Step { title: "A cluster of two nodes", run: |d| Box::pin(steps::cluster::run(d)) },
    Step { title: "web: a Deployment behind a Service", run: |d| Box::pin(steps::web::run(d)) },
    Step { title: "db: a StatefulSet that elects its leader", run: |d| Box::pin(steps::db::run(d)) },
    Step { title: "collector: a DaemonSet, and a node that joins", run: |d| Box::pin(steps::collector::run(d)) },
    Step { title: "pair: two containers of one pod", run: |d| Box::pin(steps::pair::run(d)) },
    Step { title: "The server is killed and comes back", run: |d| Box::pin(steps::restart::run(d)) },
];

/// Runs all steps over a cluster of its own in `layout`; exit code 1 if a promise did not hold.
///
/// # Errors
/// When the demo itself cannot go on.
pub async fn run(layout: Layout, output: Output, keep: bool) -> Result<ExitCode> {
    let started = cluster::start(&layout, output).await?;
    let picture = (output == Output::Live).then(|| Picture::start(started.client.clone()));
    let demo = Demo {
        layout,
        client: started.client,
        output,
        picture,
        promises: Mutex::default(),
        observed: Mutex::new(started.observed),
    };
    let mut all_hold = true;
    for (number, step) in STEPS.iter().enumerate() {
        all_hold &= demo.step(number + 1, step).await;
    }
    if let Some(picture) = &demo.picture {
        picture.stop();
    }
    if keep {
        demo.say(&format!("The cluster stays up. Go on with\n  export KUBECONFIG={}\n  kubectl get pods -o wide\n  coracle down --data-dir {}", demo.layout.kubeconfig().display(), demo.layout.root().display()));
    } else {
        cluster::stop(&demo.layout).await?;
    }
    demo.say(if all_hold { "Every promise held." } else { "NOT every promise held." });
    Ok(if all_hold { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Demo {
    async fn step(&self, number: usize, step: &Step) -> bool {
        self.say(&format!("\n{number}. {}", step.title));
        let begun = Instant::now();
        let failed = (step.run)(self).await.err();
        if let Some(error) = &failed {
            self.promise("the step goes through", false, format!("{error:#}"));
        }
        let promises = std::mem::take(&mut *self.promises.lock());
        let observed = std::mem::take(&mut *self.observed.lock());
        let holds = promises.iter().all(|p| p.holds);
        let seconds = begun.elapsed().as_secs_f64();
        if self.output == Output::Json {
            let promises: Vec<Value> =
                promises.iter().map(|p| json!({"promise": p.text, "holds": p.holds, "seen": p.seen})).collect();
            println!(
                "{}",
                json!({"step": number, "title": step.title, "holds": holds, "seconds": (seconds * 1000.0).round() / 1000.0,
                    "observed": observed, "promises": promises})
            );
        } else {
            self.say(&format!("   {} after {seconds:.1} s", if holds { "holds" } else { "DOES NOT HOLD" }));
        }
        holds
    }

    /// Says whether a promise holds, and what was seen of it.
    fn promise(&self, text: &str, holds: bool, seen: impl ToString) {
        let seen = seen.to_string();
        self.say(&format!(
            "   {} {text}{}{seen}",
            if holds { "✓" } else { "✗" },
            if seen.is_empty() { "" } else { ": " }
        ));
        self.promises.lock().push(Promise { text: text.to_string(), holds, seen });
    }

    /// Notes something that was measured.
    fn observe(&self, name: &str, value: impl Into<Value>) {
        self.observed.lock().insert(name.to_string(), value.into());
    }

    fn say(&self, text: &str) {
        match (&self.picture, self.output) {
            (_, Output::Json) => {}
            (Some(picture), _) => picture.say(text),
            (None, _) => println!("{text}"),
        }
    }
}
