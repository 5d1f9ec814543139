//! Step 1: a cluster of two nodes comes up, is of use, goes down, and comes up again with everything that was in it.

use super::{WEB, items, ready, ready_pods, uid};
use coracle_testkit::{LIMIT, VERSIONS, in_world, until};
use std::fs;

#[test]
fn two_nodes_and_a_first_pod() {
    in_world(|world| {
        let cluster = world.cluster(2);
        for version in VERSIONS {
            let kubectl = cluster.kubectl_of(version);
            let nodes = items(&kubectl.json("get nodes"));
            assert!(nodes.len() == 2 && nodes.iter().all(ready), "{nodes:#?}");
            let info = &nodes[0]["status"]["nodeInfo"];
            assert!(info["kubeletVersion"].as_str().is_some_and(|v| v.starts_with("v1.37")), "{info}");
            kubectl.ok("run first --image coracle.dev/demo:v1 --port 8080 -- web");
            kubectl.ok("wait pod/first --for=condition=Ready --timeout=60s");
            assert!(kubectl.ok("logs first").contains("web v1 in"));
            assert!(kubectl.ok("exec first -- /coracle version").starts_with("coracle "));
            let failed = kubectl.command(&["exec", "first", "--", "/coracle", "no-such-command"]).output();
            assert_eq!(failed.code, 2, "the program's own exit code: {failed}");
            let events =
                kubectl.ok("get events --field-selector involvedObject.name=first -o 'jsonpath={.items[*].reason}'");
            for reason in ["Scheduled", "Pulled", "Created", "Started"] {
                assert!(events.contains(reason), "{events}");
            }
            kubectl.ok("delete pod first --grace-period=1");
        }
    });
}

#[test]
fn in_the_background_and_down_and_up_again() {
    in_world(|world| {
        let data = world.data();
        let data = data.to_str().unwrap();
        let up = || world.coracle(&["up", "--detach", "--data-dir", data, "--name", world.name(), "--nodes", "2"]).ok();
        let down = || world.coracle(&["down", "--data-dir", data]).ok();
        world.coracle(&["image", "demo", "--data-dir", data]).ok();
        let said = up();
        assert!(said.contains("the cluster is up"), "{said}");
        // it is the current context of the user's own kubeconfig now
        let user = fs::read_to_string(world.dir().join("user.kubeconfig")).unwrap();
        assert!(user.contains(world.name()), "{user}");
        let kubectl = world.kubectl(VERSIONS[0]);
        kubectl.apply(WEB);
        kubectl.ok("rollout status deployment/web --timeout=90s");
        let again = world.coracle(&["up", "--data-dir", data, "--name", world.name()]).fails();
        assert!(again.contains("already runs"), "{again}");
        let status = world.coracle(&["status", "--data-dir", data]).ok();
        assert!(status.contains("node-2") && status.contains("Ready"), "{status}");
        let before = kubectl.json("get deployment web");
        // what is searched for at the end of each test can be found: it is there now
        let found = world.found();
        for kind in ["process", "mount", "link", "nftables table", "cgroup"] {
            assert!(found.iter().any(|f| f.starts_with(kind)), "no {kind} in {found:#?}");
        }

        down();
        let left = world.remaining();
        assert!(left.is_empty(), "left behind:\n  {}", left.join("\n  "));
        let user = fs::read_to_string(world.dir().join("user.kubeconfig")).unwrap_or_default();
        assert!(!user.contains(world.name()), "{user}");
        world.coracle(&["status", "--data-dir", data]).fails();

        up();
        assert_eq!(uid(&kubectl.json("get deployment web")), uid(&before));
        let pods = ready_pods(&kubectl, "app=web", 1);
        let address = format!("{}:8080", super::ip(&pods[0]));
        let network = format!("--net={data}/run/ns/node-1/net");
        let words = [&network, "--", world.binary().to_str().unwrap(), "app", "get", &address, "/healthz"];
        until("the pod to answer", LIMIT, || {
            let output = world.run("nsenter", &words).output();
            if output.code == 0 { Ok(()) } else { Err(output.to_string()) }
        });
        down();
        assert_eq!(down().lines().count(), 1, "a second time there is nothing to do");
    });
}

#[test]
fn a_killed_supervisor_leaves_nothing_that_down_does_not_remove() {
    in_world(|world| {
        let mut cluster = world.cluster(1);
        cluster.kubectl().apply(WEB);
        ready_pods(&cluster.kubectl(), "app=web", 1);
        cluster.kill_supervisor();
        world.coracle(&["down", "--data-dir", world.data().to_str().unwrap()]).ok();
        let left = world.remaining();
        assert!(left.is_empty(), "left behind:\n  {}", left.join("\n  "));
    });
}
