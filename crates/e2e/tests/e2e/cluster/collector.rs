//! Step 4: `collector`, a DaemonSet: one pod on every node, cordoned ones too, while nodes come and go.

use super::{COLLECTOR, WEB, ip, items, name, node, ready_pods, uid};
use coracle_testkit::{LIMIT, in_world, until};
use serde_json::Value;

#[test]
fn one_on_every_node() {
    in_world(|world| {
        let cluster = world.cluster(2);
        let kubectl = cluster.kubectl();
        kubectl.apply(WEB);
        kubectl.apply(COLLECTOR);
        let nodes = |pods: &[Value]| {
            let mut nodes: Vec<String> = pods.iter().map(|p| node(p).to_string()).collect();
            nodes.sort_unstable();
            nodes
        };
        let two = ready_pods(&kubectl, "app=collector", 2);
        assert_eq!(nodes(&two), ["node-1", "node-2"]);
        // it reads what the pods of its node write
        let web = &ready_pods(&kubectl, "app=web", 1)[0];
        let beside = two.iter().find(|p| node(p) == node(web)).unwrap();
        until("the collector to have read the web pod's log", LIMIT, || {
            let read = cluster.get("node-1", &format!("{}:9100", ip(beside)), "/status")?;
            let lines = read["lines"].as_object().cloned().unwrap_or_default();
            let found = lines.iter().any(|(pod, lines)| pod.contains(name(web)) && lines.as_u64() > Some(0));
            if found { Ok(()) } else { Err(read.to_string()) }
        });

        let data = world.data();
        let data = data.to_str().unwrap();
        world.coracle(&["node", "add", "--data-dir", data]).ok();
        let three = ready_pods(&kubectl, "app=collector", 3);
        assert_eq!(nodes(&three), ["node-1", "node-2", "node-3"]);
        let same =
            |pod: &Value| three.iter().any(|p| uid(p) == uid(pod) && super::containers(p) == super::containers(pod));
        assert!(two.iter().all(same), "the others are untouched");

        kubectl.ok("cordon node-3");
        let cordoned = three.iter().find(|p| node(p) == "node-3").unwrap();
        kubectl.ok(&format!("delete pod {}", name(cordoned)));
        let again = ready_pods(&kubectl, "app=collector", 3);
        let new = again.iter().find(|p| node(p) == "node-3").expect("a cordoned node gets its pod");
        assert_ne!(uid(new), uid(cordoned));
        // others do not come here
        kubectl.ok("scale deployment web --replicas 6");
        let web = ready_pods(&kubectl, "app=web", 6);
        assert!(web.iter().all(|p| node(p) != "node-3"));

        world.coracle(&["node", "delete", "node-3", "--data-dir", data]).ok();
        ready_pods(&kubectl, "app=collector", 2);
        assert_eq!(items(&kubectl.json("get nodes")).len(), 2);
    });
}
