//! The supervisor's socket: other commands ask it to add and delete nodes, and see what it does as it does it.
//!
//! One request a connection: a line of JSON; the answers are lines of JSON, the last of them `done` or `error`.

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use std::path::Path;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
};

/// What can be asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// A further node; its name, or empty for the next free one.
    AddNode {
        /// Name.
        name: String,
        /// Labels, `key=value`.
        labels: Vec<String>,
    },
    /// One node less.
    DeleteNode {
        /// Name.
        name: String,
    },
    /// End everything.
    Stop,
}

/// What is answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// Something was done.
    Progress(String),
    /// All was done.
    Done(String),
    /// It went wrong.
    Error(String),
}

/// Asks the supervisor and gives its progress to `show`; its last word.
///
/// # Errors
/// When no supervisor answers, or it says that it failed.
pub async fn ask(socket: &Path, request: &Request, mut show: impl FnMut(&str)) -> Result<String> {
    let stream = UnixStream::connect(socket).await.with_context(|| {
        format!("no cluster runs here ({} does not answer); start one with `coracle up`", socket.display())
    })?;
    let (read, mut write) = stream.into_split();
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    write.write_all(&line).await?;
    let mut lines = BufReader::new(read).lines();
    while let Some(line) = lines.next_line().await? {
        match serde_json::from_str(&line)? {
            Answer::Progress(text) => show(&text),
            Answer::Done(text) => return Ok(text),
            Answer::Error(text) => bail!(text),
        }
    }
    Err(anyhow!("the supervisor ended before it was done"))
}

/// Writes one answer; an asker that has gone is no error.
pub async fn tell(stream: &mut (impl tokio::io::AsyncWrite + Unpin), answer: &Answer) {
    if let Ok(mut line) = serde_json::to_vec(answer) {
        line.push(b'\n');
        let _ = stream.write_all(&line).await;
    }
}
