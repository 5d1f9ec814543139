//! How fast and how small: printed, not judged; machines differ.

use crate::fixture::Fixture;
use coracle_runtime::Runtime;
use std::time::{Duration, Instant};

/// Measures pods of one waiting container.
pub fn print() {
    const PODS: usize = 30;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let f = Fixture::new().await;
        let (mut sandboxes, mut starts, mut execs, mut removals, mut memory) = (vec![], vec![], vec![], vec![], vec![]);
        for n in 0..PODS {
            let begin = Instant::now();
            let pod = f.sandbox(&format!("figure-{n}")).await;
            sandboxes.push(begin.elapsed());
            let begin = Instant::now();
            let id = f.start(&pod.id, f.container(&["wait"])).await;
            starts.push(begin.elapsed());
            let begin = Instant::now();
            f.rt()
                .exec_sync(&id, &["/app".to_owned(), "exit".to_owned(), "0".to_owned()], Duration::from_secs(9))
                .await
                .unwrap();
            execs.push(begin.elapsed());
            let shim = pod.netns.unwrap().components().nth(2).unwrap().as_os_str().to_string_lossy().into_owned();
            memory.push(pss(&shim));
        }
        for pod in f.rt().sandboxes().await.unwrap() {
            let begin = Instant::now();
            f.rt().remove_sandbox(&pod.id).await.unwrap();
            removals.push(begin.elapsed());
        }
        for (name, mut times) in
            [("sandbox", sandboxes), ("create to running", starts), ("exec", execs), ("removal", removals)]
        {
            times.sort();
            println!("{name:20} p50 {:?} p99 {:?}", times[times.len() / 2], times[times.len() - 1]);
        }
        memory.sort();
        println!("{:20} p50 {:?} (PSS, private) kB", "shim", memory[memory.len() / 2]);
    });
}

fn pss(pid: &str) -> (u64, u64) {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let field = |name: &str| {
        let line = text.lines().find_map(|l| l.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    (field("Pss:"), field("Private_Dirty:") + field("Private_Clean:"))
}
