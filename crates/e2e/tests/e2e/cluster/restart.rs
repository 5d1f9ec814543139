//! Step 6: the server is killed and comes back; nothing is lost, no container notices.

use super::{
    COLLECTOR, DB, WEB, containers, items, ready_pods, uid,
    web::{addresses, without_failure},
};
use coracle_testkit::{Kubectl, LIMIT, in_world, until};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::collections::BTreeMap;

/// Everything that was made by somebody, by uid.
fn objects(kubectl: &Kubectl) -> BTreeMap<String, String> {
    let kinds = "deployments,replicasets,statefulsets,daemonsets,pods,services,configmaps,secrets,persistentvolumeclaims,persistentvolumes,nodes";
    let all = items(&kubectl.json(&format!("get {kinds} -A")));
    all.iter().map(|o| (uid(o).to_string(), format!("{} {}", o["kind"], super::name(o)))).collect()
}

#[test]
fn a_killed_server_comes_back_and_nothing_is_lost() {
    in_world(|world| {
        let cluster = world.cluster(2);
        let kubectl = cluster.kubectl();
        for manifest in [WEB, DB, COLLECTOR] {
            kubectl.apply(manifest);
        }
        kubectl.ok("scale deployment web --replicas 3");
        let all = "app,app!=other";
        kubectl.ok("rollout status statefulset/db --timeout=120s");
        let pods = ready_pods(&kubectl, all, 8);
        let before = objects(&kubectl);
        let load = cluster.load("node-1", &addresses(&cluster, &kubectl));
        let killed = cluster.server_pid();
        kill(Pid::from_raw(killed), Signal::SIGKILL).unwrap();
        until("another server", LIMIT, || {
            if cluster.server_pid() == killed { Err("the old one is recorded") } else { Ok(()) }
        });
        until("the server to be ready", LIMIT, || {
            let output = kubectl.command(&["get", "--raw", "/readyz"]).output();
            if output.stdout == "ok" { Ok(()) } else { Err(output.to_string()) }
        });
        without_failure(load);
        let after = objects(&kubectl);
        let lost: Vec<_> = before.iter().filter(|(uid, _)| !after.contains_key(*uid)).collect();
        assert!(lost.is_empty(), "lost: {lost:?}");
        for pod in ready_pods(&kubectl, all, 8) {
            let earlier = pods.iter().find(|p| uid(p) == uid(&pod)).expect("the same pods");
            assert_eq!(containers(earlier), containers(&pod), "no container was restarted");
        }
        // and everything goes on
        kubectl.ok("scale deployment web --replicas 5");
        ready_pods(&kubectl, "app=web", 5);
        kubectl.ok("delete pod db-1");
        ready_pods(&kubectl, "app=db", 3);
    });
}
