//! `kubectl debug`: ephemeral containers in a pod that runs, copies of pods, pods that look at a node.

use super::{image, text};
use coracle_testkit::{VERSIONS, in_world};
use serde_json::Value;

fn statuses(pod: &Value) -> Vec<Value> {
    pod["status"]["ephemeralContainerStatuses"].as_array().cloned().unwrap_or_default()
}

#[test]
fn a_running_pod_is_looked_into() {
    in_world(|world| {
        let cluster = world.cluster(1);
        let image = image::shell(world);
        let kubectl = cluster.kubectl();
        kubectl.ok("run target --image coracle.dev/demo:v1 -- web");
        kubectl.ok("wait pod/target --for=condition=Ready --timeout=60s");
        for version in VERSIONS {
            let kubectl = cluster.kubectl_of(version);
            let name = format!("look-{}", version.replace('.', "-"));
            let words =
                ["debug", "target", "-i", "--profile=general", "--target=target", "-c", &name, "--image", image, "--"];
            let script = "read line; echo $line; ps -o args= -p 1";
            let words: Vec<&str> = words.into_iter().chain(["sh", "-c", script]).collect();
            let said = kubectl.command(&words).input("from here\n").ok();
            // its process 1 is that of the target
            assert!(said.contains("from here") && said.contains("/coracle app web"), "{version}: {said}");
            let status = kubectl.until(&format!("the end of {name}"), "get pod target", |pod| {
                statuses(pod).into_iter().find(|s| s["name"] == name.as_str() && s["state"]["terminated"].is_object())
            });
            assert_eq!(status["state"]["terminated"]["exitCode"], 0, "{status}");
            assert_eq!((status["restartCount"].as_i64(), status["ready"].as_bool()), (Some(0), Some(false)));
            assert!(kubectl.ok(&format!("logs target -c {name}")).contains("from here"));
        }
        let pod = kubectl.json("get pod target");
        assert_eq!(statuses(&pod).len(), VERSIONS.len());
        assert!(super::ready(&pod) && super::containers(&pod).iter().all(|(_, restarts)| *restarts == 0));
        let events = kubectl.ok(
            "get events --field-selector involvedObject.name=target -o jsonpath={.items[*].involvedObject.fieldPath}",
        );
        assert!(events.contains("spec.ephemeralContainers{look-1-37}"), "{events}");
    });
}

#[test]
fn copies_and_nodes_are_debugged() {
    in_world(|world| {
        let cluster = world.cluster(1);
        let image = image::shell(world);
        let kubectl = cluster.kubectl();
        kubectl.ok("run target --image coracle.dev/demo:v1 -- web");
        kubectl.ok("wait pod/target --for=condition=Ready --timeout=60s");
        let words =
            ["debug", "target", "--copy-to=copy", "--share-processes", "-i", "-c", "look", "--image", image, "--"];
        let script = "read line; ps -e -o args=";
        let words: Vec<&str> = words.into_iter().chain(["sh", "-c", script]).collect();
        let said = kubectl.command(&words).input("go\n").ok();
        assert!(said.contains("sh -c read line"), "{said}");
        assert_eq!(text(&kubectl.json("get pod copy"), "/spec/containers/1/name"), "look");

        let words = ["debug", "node/node-1", "-i", "--image", image, "--", "sh", "-c", "read line; ls /host/run"];
        let said = kubectl.command(&words).input("go\n").ok();
        assert!(said.contains("lock"), "{said}");
    });
}
