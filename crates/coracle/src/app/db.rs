//! `db`: a member of a small database. It keeps its data in /data, finds its peers by DNS and elects a leader by identity: the
//! member with the lowest ordinal that answers.

use super::{env, http};
use anyhow::{Context, Result};
use hyper::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{cell::RefCell, collections::BTreeMap, fs, rc::Rc, time::Duration};

const FILE: &str = "/data/state.json";
const PORT: u16 = 5432;
const ROUND: Duration = Duration::from_millis(200);

/// What is on the volume.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Data {
    /// Who first wrote it.
    owner: String,
    /// How often a member started on it.
    boots: u64,
    /// What was stored.
    values: BTreeMap<String, String>,
}

#[derive(Default)]
struct Member {
    data: Data,
    leader: String,
    members: Vec<String>,
    /// Every leader so far, the present one last.
    elected: Vec<String>,
}

/// Serves on port 5432.
pub async fn run() -> Result<()> {
    let name = env("POD_NAME");
    let mut data: Data = match fs::read(FILE) {
        Ok(bytes) => serde_json::from_slice(&bytes).context("the data on the volume are damaged")?,
        Err(_) => Data { owner: name.clone(), ..Data::default() },
    };
    data.boots += 1;
    save(&data)?;
    println!("db {name} starts for the {}. time on the volume of {}", data.boots, data.owner);
    let member = Rc::new(RefCell::new(Member { data, ..Member::default() }));
    let (serving, own) = (member.clone(), name.clone());
    let serve = http::serve("0.0.0.0:5432", move |method, path, body| answer(&serving, &own, method, path, body));
    let elect = async {
        loop {
            elect(&member, &name).await;
            tokio::time::sleep(ROUND).await;
        }
    };
    tokio::select! {
        result = serve => result,
        () = elect => Ok(()),
    }
}

fn answer(member: &RefCell<Member>, name: &str, method: &Method, path: &str, body: &str) -> Option<Value> {
    match (method.as_str(), path) {
        ("GET", "/name") => Some(json!(name)),
        ("GET", "/status") => {
            let member = member.borrow();
            Some(json!({"name": name, "leader": member.leader, "members": member.members,
                "elected": member.elected, "boots": member.data.boots,
                "owner": member.data.owner, "values": member.data.values}))
        }
        ("PUT", key) => {
            let mut member = member.borrow_mut();
            member.data.values.insert(key.trim_start_matches('/').to_string(), body.to_string());
            save(&member.data).ok()?;
            Some(json!("stored"))
        }
        _ => None,
    }
}

/// Whole or not at all, and on the disk before it is acknowledged.
fn save(data: &Data) -> Result<()> {
    let new = format!("{FILE}.new");
    let file = fs::File::create(&new).context("the volume cannot be written")?;
    serde_json::to_writer(&file, data)?;
    file.sync_all()?;
    fs::rename(&new, FILE).context("the volume cannot be written")
}

/// Asks every possible member by its own DNS name; the lowest ordinal that answers leads.
async fn elect(member: &RefCell<Member>, name: &str) {
    let (set, service) = (env("SET"), env("SERVICE"));
    let asked = (0..10).map(|ordinal| {
        let (peer, service) = (format!("{set}-{ordinal}"), service.clone());
        async move {
            if peer == name {
                return Some(peer);
            }
            // the name exists only while the member does
            let answer =
                http::get(&format!("{peer}.{service}:{PORT}"), "/name", Duration::from_millis(500)).await.ok()?;
            (answer.as_str() == Some(&peer)).then_some(peer)
        }
    });
    let members: Vec<String> = futures::future::join_all(asked).await.into_iter().flatten().collect();
    let mut member = member.borrow_mut();
    let leader = members.first().cloned().unwrap_or_default();
    if leader != member.leader {
        println!("{leader} leads {members:?}");
        member.elected.push(leader.clone());
        member.leader = leader;
    }
    member.members = members;
}
