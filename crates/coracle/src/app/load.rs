//! `load ADDRESS…`: asks the addresses in turn, every request on a new connection, until its standard input ends; then prints how
//! many requests went to which pod, and which failed. A line on standard input prints the figures so far.

use super::http;
use anyhow::Result;
use serde_json::json;
use std::{cell::RefCell, collections::BTreeMap, rc::Rc, time::Duration};
use tokio::io::{AsyncBufReadExt, BufReader};

const AT_ONCE: usize = 4;
/// A pause between the requests of one worker, so that the load does not take the machine from the pods.
const PAUSE: Duration = Duration::from_millis(4);

#[derive(Default)]
struct Seen {
    requests: u64,
    failed: Vec<String>,
    pods: BTreeMap<String, u64>,
    versions: BTreeMap<String, u64>,
}

/// See the module.
pub async fn run(addresses: &[String]) -> Result<()> {
    let seen = Rc::new(RefCell::new(Seen::default()));
    let workers = futures::future::join_all((0..AT_ONCE).map(|n| worker(addresses, n, &seen)));
    let listen = async {
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        while let Ok(Some(_)) = lines.next_line().await {
            print(&seen);
        }
    };
    tokio::select! {
        _ = workers => {}
        () = listen => print(&seen),
    }
    Ok(())
}

async fn worker(addresses: &[String], mut turn: usize, seen: &RefCell<Seen>) {
    loop {
        let address = &addresses[turn % addresses.len()];
        turn += 1;
        let answer = http::get(address, "/", Duration::from_secs(5)).await;
        {
            let mut seen = seen.borrow_mut();
            seen.requests += 1;
            match answer {
                Ok(answer) => {
                    for (field, counts) in [("pod", 0), ("version", 1)] {
                        let value = answer[field].as_str().unwrap_or_default().to_string();
                        let counts = if counts == 0 { &mut seen.pods } else { &mut seen.versions };
                        *counts.entry(value).or_default() += 1;
                    }
                }
                Err(error) => seen.failed.push(format!("{address}: {error:#}")),
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn print(seen: &RefCell<Seen>) {
    let seen = seen.borrow();
    let failed = &seen.failed[..seen.failed.len().min(5)];
    println!(
        "{}",
        json!({"requests": seen.requests, "failures": seen.failed.len(), "failed": failed, "pods": seen.pods, "versions": seen.versions})
    );
}
