//! Step 3: `db`, a StatefulSet whose members start in order, keep their data and elect a leader.

use super::{DB, ip, items, name, node, ready, ready_pods, text};
use coracle_testkit::{Cluster, Kubectl, LIMIT, Started, in_world, until};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
};

/// What happens to the members, as a watch tells it.
struct History {
    watch: Started,
    text: String,
    known: BTreeMap<String, (bool, bool)>,
    seen: Vec<String>,
}

impl History {
    fn follow(kubectl: &Kubectl, log: File) -> Self {
        let words = ["get", "pods", "-l", "app=db", "--watch", "--output-watch-events", "-o", "json"];
        Self {
            watch: kubectl.command(&words).start(log),
            text: String::new(),
            known: BTreeMap::new(),
            seen: Vec::new(),
        }
    }

    /// Reads up to an entry: `+db-0` made, `ready db-0`, `-db-0` asked to go, `gone db-0`.
    fn up_to(&mut self, entry: &str) {
        while !self.seen.iter().any(|e| e == entry) {
            self.text += &self.watch.line().unwrap_or_else(|| panic!("the watch ended; seen {:?}", self.seen));
            if let Ok(event) = serde_json::from_str::<Value>(&self.text) {
                self.text.clear();
                self.note(&event);
            }
        }
    }

    fn note(&mut self, event: &Value) {
        let pod = &event["object"];
        let name = name(pod).to_string();
        if event["type"] == "DELETED" {
            self.known.remove(&name);
            self.seen.push(format!("gone {name}"));
            return;
        }
        let before = self.known.get(&name).copied();
        let now = (ready(pod), !pod["metadata"]["deletionTimestamp"].is_null());
        if before.is_none() {
            self.seen.push(format!("+{name}"));
        }
        let (was_ready, was_leaving) = before.unwrap_or_default();
        if now.0 && !was_ready {
            self.seen.push(format!("ready {name}"));
        }
        if now.1 && !was_leaving {
            self.seen.push(format!("-{name}"));
        }
        self.known.insert(name, now);
    }

    /// Fails unless these came one after another.
    fn in_order(&self, entries: &[&str]) {
        let places: Vec<_> = entries.iter().map(|e| self.seen.iter().position(|seen| seen == e)).collect();
        assert!(places.is_sorted() && places.iter().all(Option::is_some), "{entries:?} in {:?}", self.seen);
    }
}

/// Waits until all members name `leader`; their views, by name.
fn agreed(cluster: &Cluster, kubectl: &Kubectl, count: usize, leader: &str) -> BTreeMap<String, Value> {
    until(&format!("{count} members to elect {leader}"), LIMIT, || {
        let pods = items(&kubectl.json("get pods -l app=db"));
        let view = |pod: &Value| {
            let view = cluster.get("node-1", &format!("{}:5432", ip(pod)), "/status").ok()?;
            (view["leader"] == leader && view["members"].as_array()?.len() == count)
                .then(|| (name(pod).to_string(), view))
        };
        let views: BTreeMap<String, Value> = pods.iter().filter_map(view).collect();
        if views.len() == count { Ok(views) } else { Err(format!("{views:?}")) }
    })
}

/// The volume of each claim.
fn volumes(kubectl: &Kubectl) -> BTreeMap<String, String> {
    let claims = items(&kubectl.json("get persistentvolumeclaims -l app=db"));
    claims.iter().map(|c| (name(c).to_string(), text(c, "/spec/volumeName").to_string())).collect()
}

#[test]
fn members_start_in_order_keep_their_data_and_elect() {
    in_world(|world| {
        let cluster = world.cluster(2);
        let kubectl = cluster.kubectl();
        let mut history = History::follow(&kubectl, File::create(world.dir().join("watch.log")).unwrap());
        kubectl.apply(DB);
        history.up_to("ready db-2");
        history.in_order(&["+db-0", "ready db-0", "+db-1", "ready db-1", "+db-2", "ready db-2"]);
        agreed(&cluster, &kubectl, 3, "db-0");
        // each is found by its own name, each writes to its own volume
        for member in ["db-0", "db-1", "db-2"] {
            let said = kubectl.ok(&format!("exec db-1 -- /coracle app put {member}.db:5432 /owner {member}"));
            assert_eq!(said.trim(), "\"stored\"");
        }
        let before = volumes(&kubectl);
        assert_eq!(before.values().collect::<BTreeSet<_>>().len(), 3, "{before:?}");

        let leader = kubectl.json("get pod db-0");
        kubectl.ok("delete pod db-0");
        ready_pods(&kubectl, "app=db", 3);
        let back = kubectl.json("get pod db-0");
        assert_ne!(super::uid(&back), super::uid(&leader));
        assert_eq!(node(&back), node(&leader), "where its volume is");
        assert_eq!(volumes(&kubectl), before);
        let views = agreed(&cluster, &kubectl, 3, "db-0");
        let own = &views["db-0"];
        assert_eq!(
            (&own["owner"], &own["boots"], &own["values"]["owner"]),
            (&"db-0".into(), &2.into(), &"db-0".into())
        );
        let elected = views["db-1"]["elected"].as_array().unwrap();
        assert!(elected.contains(&"db-1".into()), "while it was gone the others elected: {elected:?}");
    });
}

#[test]
fn it_grows_and_shrinks_in_order() {
    in_world(|world| {
        let cluster = world.cluster(2);
        let kubectl = cluster.kubectl();
        kubectl.apply(DB);
        ready_pods(&kubectl, "app=db", 3);
        let mut history = History::follow(&kubectl, File::create(world.dir().join("watch.log")).unwrap());
        kubectl.ok("scale statefulset db --replicas 5");
        history.up_to("ready db-4");
        history.in_order(&["+db-3", "ready db-3", "+db-4", "ready db-4"]);
        agreed(&cluster, &kubectl, 5, "db-0");
        kubectl.ok("scale statefulset db --replicas 3");
        history.up_to("gone db-3");
        history.in_order(&["-db-4", "gone db-4", "-db-3", "gone db-3"]);
        assert_eq!(volumes(&kubectl).len(), 5, "volumes stay");
        agreed(&cluster, &kubectl, 3, "db-0");
    });
}
