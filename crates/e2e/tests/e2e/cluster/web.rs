//! Step 2: `web`, a Deployment with a ConfigMap, a Secret and a Service: scaled, healed, rolled out and back under load.

use super::{WEB, containers, items, name, node, ready, ready_pods, text, uid};
use coracle_testkit::{Cluster, Kubectl, LIMIT, Started, in_world, until};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

/// Where the Service answers: at its own address, and at its port on every node.
pub fn addresses(cluster: &Cluster, kubectl: &Kubectl) -> Vec<String> {
    let service = kubectl.json("get service web");
    let port = &service["spec"]["ports"][0]["nodePort"];
    let own = format!("{}:80", text(&service, "/spec/clusterIP"));
    [own].into_iter().chain(cluster.nodes().iter().map(|(_, ip)| format!("{ip}:{port}"))).collect()
}

/// The figures of a load so far.
pub fn figures(load: &mut Started) -> Value {
    load.say("\n");
    serde_json::from_str(&load.line().expect("the load goes on")).unwrap()
}

/// Ends a load; not one of its requests may have failed.
pub fn without_failure(load: Started) -> Value {
    let figures: Value = serde_json::from_str(&load.finish()).unwrap();
    assert!(figures["requests"].as_u64() > Some(0), "{figures}");
    assert_eq!(figures["failures"], 0, "{figures}");
    figures
}

/// `web` with five ready pods, all of which the Service reaches from everywhere.
fn five<'w>(cluster: &Cluster<'w>) -> Kubectl<'w> {
    let kubectl = cluster.kubectl();
    kubectl.apply(WEB);
    kubectl.ok("scale deployment web --replicas 5");
    kubectl.ok("rollout status deployment/web --timeout=90s");
    ready_pods(&kubectl, "app=web", 5);
    kubectl
}

#[test]
fn scaled_and_reached_from_everywhere() {
    in_world(|world| {
        let cluster = world.cluster(2);
        let kubectl = cluster.kubectl();
        kubectl.apply(WEB);
        ready_pods(&kubectl, "app=web", 1);
        kubectl.ok("scale deployment web --replicas 5");
        let pods = ready_pods(&kubectl, "app=web", 5);
        // at once: none of the four waited for another to be ready
        let mut made: Vec<&str> = pods.iter().map(|p| text(p, "/metadata/creationTimestamp")).collect();
        made.sort_unstable();
        let mut started: Vec<&str> = pods.iter().map(|p| text(p, "/status/startTime")).collect();
        started.sort_unstable();
        assert!(made[4] <= started[1] || made[1] == made[4], "made {made:?}, started {started:?}");
        assert!(pods.iter().any(|p| node(p) == "node-1") && pods.iter().any(|p| node(p) == "node-2"), "on both nodes");
        for (from, _) in cluster.nodes() {
            for address in addresses(&cluster, &kubectl) {
                let mut load = cluster.load(&from, std::slice::from_ref(&address));
                until(&format!("all five behind {address} from {from}"), LIMIT, || {
                    let figures = figures(&mut load);
                    if figures["pods"].as_object().is_some_and(|p| p.len() == 5) { Ok(()) } else { Err(figures) }
                });
                without_failure(load);
            }
        }
        let answer = cluster.get("node-1", &addresses(&cluster, &kubectl)[0], "/").unwrap();
        let hello = "hello from a ConfigMap";
        assert_eq!(answer["greeting"], json!({"env": hello, "file": hello}));
        assert_eq!(answer["secret"], true);
        // and from inside a pod by name
        let pod = name(&pods[0]).to_string();
        let said = kubectl.ok(&format!("exec {pod} -- /coracle app get web.default.svc.cluster.local:80 /healthz"));
        assert_eq!(said.trim(), "\"ok\"");
    });
}

#[test]
fn a_killed_process_is_restarted_in_place_and_a_deleted_pod_replaced() {
    in_world(|world| {
        let cluster = world.cluster(2);
        let kubectl = five(&cluster);
        let pods = ready_pods(&kubectl, "app=web", 5);
        let victim = &pods[0];
        let processes = cluster.processes(uid(victim));
        let (pid, _) = processes.iter().find(|(_, line)| line.contains("app web")).expect("the pod's process");
        kill(Pid::from_raw(*pid), Signal::SIGKILL).unwrap();
        let healed = kubectl.until("the container to run again", &format!("get pod {}", name(victim)), |pod| {
            (containers(pod).first()?.1 == 1 && ready(pod)).then(|| pod.clone())
        });
        assert_eq!((uid(&healed), node(&healed)), (uid(victim), node(victim)), "in place");
        let last = &healed["status"]["containerStatuses"][0]["lastState"]["terminated"];
        assert!(last["exitCode"] == 137 && last["reason"] == "Error", "{last}");

        kubectl.ok(&format!("delete pod {} --wait=false", name(&pods[1])));
        let now = kubectl.until("a replacement", "get pods -l app=web", |list| {
            let pods = items(list);
            let ready: Vec<Value> = pods.iter().filter(|p| ready(p)).cloned().collect();
            (ready.len() == 5 && pods.len() == 5).then_some(ready)
        });
        assert!(now.iter().all(|p| uid(p) != uid(&pods[1])));
        assert_eq!(
            now.iter().filter(|p| pods.iter().any(|before| uid(before) == uid(p))).count(),
            4,
            "the others stayed"
        );
    });
}

#[test]
fn rolled_out_and_back_without_a_failed_request() {
    in_world(|world| {
        let cluster = world.cluster(2);
        let kubectl = five(&cluster);
        let addresses = addresses(&cluster, &kubectl);
        let images = |image: &str| {
            kubectl.ok("rollout status deployment/web --timeout=90s");
            let pods = ready_pods(&kubectl, "app=web", 5);
            assert!(pods.iter().all(|p| text(p, "/spec/containers/0/image") == image), "{image}");
        };
        let load = cluster.load("node-1", &addresses);
        kubectl.ok("set image deployment/web web=coracle.dev/demo:v2");
        images("coracle.dev/demo:v2");
        let seen = without_failure(load);
        assert!(["v1", "v2"].iter().all(|v| seen["versions"][v].as_u64() > Some(0)), "{seen}");

        let load = cluster.load("node-2", &addresses);
        kubectl.ok("rollout undo deployment/web");
        images("coracle.dev/demo:v1");
        without_failure(load);
        let history = kubectl.ok("rollout history deployment/web");
        let revisions: Vec<&str> =
            history.lines().filter_map(|l| l.split_whitespace().next()).filter(|w| w.parse::<u32>().is_ok()).collect();
        assert_eq!(revisions, ["2", "3"], "{history}");
    });
}
