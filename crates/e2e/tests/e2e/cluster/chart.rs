//! The story's objects as a Helm chart, with real Helm.

use super::{COLLECTOR, DB, PAIR, WEB, items, name, ready_pods, text};
use coracle_testkit::{HELMS, in_world};
use serde_json::Value;
use std::collections::BTreeMap;

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/chart");

/// The objects of a manifest, by kind and name.
fn objects(manifest: &str) -> BTreeMap<String, Value> {
    let documents = manifest.split("\n---").map(|d| d.trim_start_matches("---"));
    let parsed = documents.filter_map(|d| serde_saphyr::from_str::<Value>(d).ok()).filter(Value::is_object);
    parsed.map(|o| (format!("{} {}", text(&o, "/kind"), name(&o)), o)).collect()
}

#[test]
fn the_chart_and_the_plain_manifests_agree() {
    in_world(|world| {
        let helm = world.helm();
        helm.ok(&format!("lint --strict {CHART}"));
        let chart = objects(&helm.ok(&format!("template demo {CHART} --skip-tests")));
        let plain: BTreeMap<String, Value> =
            [WEB, DB, COLLECTOR, PAIR].iter().flat_map(|manifest| objects(manifest)).collect();
        assert_eq!(plain.len(), 8, "{:?}", plain.keys());
        assert_eq!(chart.keys().collect::<Vec<_>>(), plain.keys().collect::<Vec<_>>());
        for (key, object) in &plain {
            assert_eq!(&chart[key], object, "{key}");
        }
        let says = helm.command(&format!("template demo {CHART} --set web.replicas=x")).fails();
        assert!(says.contains("at '/web/replicas': got string, want integer"), "{says}");
    });
}

#[test]
fn installed_upgraded_rolled_back_and_uninstalled() {
    in_world(|world| {
        let cluster = world.cluster(2);
        let kubectl = cluster.kubectl();
        let image = || text(&kubectl.json("get deployment web"), "/spec/template/spec/containers/0/image").to_string();
        for version in HELMS {
            let helm = cluster.helm_of(version);
            helm.ok(&format!("install demo {CHART} --wait --timeout 120s"));
            assert!(ready_pods(&kubectl, "app=db", 3).len() == 3 && image() == "coracle.dev/demo:v1");
            assert!(helm.ok("list").contains("deployed"));
            helm.ok("test demo");
            let changes = "--reuse-values --set web.tag=v2 --set web.replicas=2";
            helm.ok(&format!("upgrade demo {CHART} {changes} --wait --timeout 120s"));
            assert_eq!(image(), "coracle.dev/demo:v2");
            ready_pods(&kubectl, "app=web", 2);
            helm.ok("rollback demo --wait --timeout 120s");
            assert_eq!(image(), "coracle.dev/demo:v1");
            ready_pods(&kubectl, "app=web", 1);
            helm.ok("uninstall demo --wait --timeout 120s");
            // the pod of `helm test` is Helm's own and stays for its log
            kubectl.ok("delete pod web-test --ignore-not-found");
            kubectl.until("nothing", "get deployments,statefulsets,daemonsets,pods", |list| {
                items(list).is_empty().then_some(())
            });
            assert_eq!(items(&kubectl.json("get persistentvolumeclaims")).len(), 3, "data stay");
        }
    });
}
