//! Many clients at work at once.

use anyhow::Result;
use coracle_client::HttpClient;
use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// Runs `request` with the numbers from 0 to `count`, shared out among the clients, each of which waits for an answer before it asks
/// again; how long it took in all.
///
/// # Errors
/// That of the first request that failed.
pub async fn run<F>(
    clients: &[Arc<HttpClient>],
    count: usize,
    request: impl Fn(Arc<HttpClient>, usize) -> F + Clone + Send + Sync + 'static,
) -> Result<Duration>
where
    F: Future<Output = coracle_api::Result<()>> + Send,
{
    // connections are made before the clock runs
    for client in clients {
        client.raw("/version").await?;
    }
    let next = Arc::new(AtomicUsize::new(0));
    let begun = Instant::now();
    let tasks: Vec<_> = clients
        .iter()
        .map(|client| {
            let (client, next, request) = (client.clone(), next.clone(), request.clone());
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return Ok::<_, coracle_api::Status>(());
                    }
                    request(client.clone(), number).await?;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    Ok(begun.elapsed())
}
