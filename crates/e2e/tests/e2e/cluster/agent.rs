//! An agent is killed: its containers go on, and the next agent adopts them.

use super::{
    WEB, containers, items, name, ready, ready_pods, uid,
    web::{addresses, without_failure},
};
use coracle_testkit::{LIMIT, in_world, until};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

#[test]
fn a_killed_agent_leaves_its_containers_alone() {
    in_world(|world| {
        let cluster = world.cluster(1);
        let kubectl = cluster.kubectl();
        kubectl.apply(WEB);
        kubectl.ok("scale deployment web --replicas 2");
        let pods = ready_pods(&kubectl, "app=web", 2);
        let processes = |uid: &str| {
            let mut all = cluster.processes(uid);
            all.sort_unstable();
            all
        };
        let before: Vec<_> = pods.iter().map(|p| processes(uid(p))).collect();
        assert!(before.iter().all(|p| p.iter().any(|(_, line)| line.contains("app web"))), "{before:?}");
        let load = cluster.load("node-1", &addresses(&cluster, &kubectl));
        let killed = cluster.agent_pid("node-1");
        kill(Pid::from_raw(killed), Signal::SIGKILL).unwrap();
        until("another agent", LIMIT, || {
            if cluster.agent_pid("node-1") == killed { Err("the old one is recorded") } else { Ok(()) }
        });
        // the new one answers for the containers that the old one started
        until("a log through the new agent", LIMIT, || {
            let output = kubectl.command(&["logs", name(&pods[0])]).output();
            if output.stdout.contains("web v1") { Ok(()) } else { Err(output.to_string()) }
        });
        kubectl.ok(&format!("exec {} -- /coracle version", name(&pods[0])));
        without_failure(load);
        let now = ready_pods(&kubectl, "app=web", 2);
        for (pod, before) in pods.iter().zip(before) {
            let same = now.iter().find(|p| uid(p) == uid(pod)).expect("the same pod");
            assert_eq!(containers(same), containers(pod));
            assert_eq!(processes(uid(pod)), before, "the very same processes");
        }
        kubectl.until("the node to be Ready", "get nodes", |list| items(list).iter().all(ready).then_some(()));
        // adopted: the new agent restarts and ends what it did not start
        let (pid, _) = cluster.processes(uid(&pods[0])).into_iter().find(|(_, line)| line.contains("app web")).unwrap();
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        kubectl.until("a restart in place", &format!("get pod {}", name(&pods[0])), |pod| {
            (containers(pod).first()?.1 == 1 && ready(pod)).then_some(())
        });
        kubectl.ok("delete deployment web --cascade=foreground");
        assert_eq!(kubectl.ok("get pods -l app=web -o name"), "");
    });
}
