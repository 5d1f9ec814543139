//! What people do to objects, with every kubectl.

use coracle_testkit::{Kubectl, VERSIONS, in_world};
use serde_json::json;

fn with_every_kubectl(test: fn(&Kubectl)) {
    in_world(|world| {
        let server = world.server();
        for (number, version) in VERSIONS.iter().enumerate() {
            let kubectl = server.kubectl(version);
            // each has a namespace of its own
            kubectl.ok(&format!("create namespace n{number}"));
            kubectl.ok(&format!("config set-context --current --namespace n{number}"));
            test(&kubectl);
        }
    });
}

const WEB: &str = include_str!("../../../../../examples/demo/web.yaml");

#[test]
fn create_read_change_delete() {
    with_every_kubectl(|kubectl| {
        kubectl.ok("create configmap a --from-literal=color=red");
        assert_eq!(kubectl.json("get configmap a")["data"], json!({"color": "red"}));
        let says = kubectl.fails("create configmap a");
        assert!(says.contains(r#"configmaps "a" already exists"#), "{says}");
        kubectl.ok("label configmap a tier=one");
        kubectl.ok("annotate configmap a 'note=two words'");
        assert_eq!(kubectl.ok("get configmap -l tier=one -o name"), "configmap/a\n");
        assert_eq!(kubectl.ok("get configmap -l tier!=one,tier -o name"), "");
        kubectl.ok("label configmap a tier-");
        assert_eq!(kubectl.json("get configmap a")["metadata"]["labels"], json!(null));
        kubectl.ok("delete configmap a");
        let says = kubectl.fails("get configmap a");
        assert!(says.contains(r#"Error from server (NotFound): configmaps "a" not found"#), "{says}");
    });
}

#[test]
fn all_kinds_of_patches() {
    with_every_kubectl(|kubectl| {
        kubectl.apply(WEB);
        let image =
            |kubectl: &Kubectl| kubectl.json("get deployment web")["spec"]["template"]["spec"]["containers"][0].clone();
        let env = image(kubectl)["env"].as_array().map(Vec::len);
        // merged by the name of the container: what the patch does not say stays
        kubectl.ok(
            r#"patch deployment web -p '{"spec":{"template":{"spec":{"containers":[{"name":"web","image":"two"}]}}}}'"#,
        );
        assert_eq!(
            (image(kubectl)["image"].as_str(), image(kubectl)["env"].as_array().map(Vec::len)),
            (Some("two"), env)
        );
        kubectl.ok(
            r#"patch deployment web --type json -p '[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"three"}]'"#,
        );
        assert_eq!(image(kubectl)["image"], "three");
        // a list is one value here
        kubectl.ok(
            r#"patch deployment web --type merge -p '{"spec":{"template":{"spec":{"containers":[{"name":"web","image":"four"}]}}}}'"#,
        );
        assert_eq!((image(kubectl)["image"].as_str(), image(kubectl)["env"].as_array()), (Some("four"), None));
        kubectl.ok("scale deployment web --replicas 3");
        assert_eq!(kubectl.json("get deployment web")["spec"]["replicas"], 3);
        kubectl.ok("set image deployment/web web=five");
        assert_eq!(image(kubectl)["image"], "five");
    });
}

#[test]
fn apply_is_repeatable_and_removes_what_is_gone() {
    with_every_kubectl(|kubectl| {
        for flags in [&["apply", "-f", "-"][..], &["apply", "--server-side", "-f", "-"][..]] {
            let config = |data: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c}}\ndata: {data}\n");
            let apply = |data: &str| kubectl.command(flags).input(config(data)).ok();
            apply("{a: one, b: two}");
            apply("{a: one, b: two}");
            kubectl.ok("patch configmap c --type merge -p '{\"data\":{\"other\":\"z\"}}'");
            apply("{a: changed}");
            let data = kubectl.json("get configmap c")["data"].clone();
            assert_eq!(data, json!({"a": "changed", "other": "z"}), "{flags:?}");
            kubectl.ok("delete configmap c");
        }
        kubectl.apply(WEB);
        let again = kubectl.apply(WEB);
        // what is written as stringData is stored as data: kubectl sends it every time
        assert!(again.lines().all(|line| line.ends_with("unchanged") || line.starts_with("secret/")), "{again}");
        kubectl.command(&["diff", "-f", "-"]).input(WEB).ok();
    });
}

#[test]
fn two_appliers_conflict() {
    with_every_kubectl(|kubectl| {
        let apply = |manager: &str, value: &str| {
            let manager = format!("--field-manager={manager}");
            let body = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c}}\ndata: {{a: {value}}}\n");
            kubectl.command(&["apply", "--server-side", &manager, "-f", "-"]).input(body)
        };
        apply("one", "old").ok();
        let says = apply("two", "new").fails();
        assert!(says.contains("conflict") && says.contains("\"one\"") && says.contains(".data.a"), "{says}");
        apply("two", "new").arg("--force-conflicts").ok();
        assert_eq!(kubectl.json("get configmap c")["data"]["a"], "new");
    });
}

#[test]
fn tables_selectors_and_explanations() {
    with_every_kubectl(|kubectl| {
        kubectl.apply(WEB);
        kubectl.until("the pod", "get pods -l app=web", |l| (l["items"].as_array()?.len() == 1).then_some(()));
        let table = kubectl.ok("get deployments,services");
        for column in ["READY", "UP-TO-DATE", "AVAILABLE", "CLUSTER-IP", "PORT(S)"] {
            assert!(table.contains(column), "{table}");
        }
        assert!(kubectl.ok("get pods -o wide").contains("NOMINATED NODE"));
        assert_eq!(kubectl.ok("get pods --field-selector status.phase=Pending -o name").lines().count(), 1);
        assert_eq!(kubectl.ok("get pods --field-selector spec.nodeName=nowhere -o name"), "");
        let says = kubectl.fails("get pods --field-selector spec.nothing=x");
        assert!(says.contains("field label not supported"), "{says}");
        let says = kubectl.fails("get podds");
        assert!(says.contains(r#"the server doesn't have a resource type "podds""#), "{says}");
        let text = kubectl.ok("explain deployment.spec.strategy.rollingUpdate.maxSurge");
        assert!(text.contains("maxSurge <IntOrString>") || text.contains("maxSurge <int-or-string>"), "{text}");
        assert!(kubectl.ok("describe deployment web").contains("ScalingReplicaSet"));
        let resources = kubectl.ok("api-resources --no-headers");
        for plural in [
            "pods",
            "deployments",
            "horizontalpodautoscalers",
            "networkpolicies",
            "csidrivers",
            "validatingadmissionpolicies",
        ] {
            assert!(resources.lines().any(|line| line.starts_with(plural)), "{plural}: {resources}");
        }
        assert_eq!(kubectl.ok("auth can-i delete nodes").trim(), "yes");
        assert_eq!(
            kubectl.command(&["auth", "can-i", "get", "secrets", "--as", "nobody"]).output().stdout.trim(),
            "no"
        );
    });
}

#[test]
fn pages_of_one_list_are_of_one_moment() {
    with_every_kubectl(|kubectl| {
        let all: String = (0..30)
            .map(|n| {
                format!(
                    "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: page-{n:02}, labels: {{set: pages}}}}\n"
                )
            })
            .collect();
        kubectl.apply(&all);
        let names = kubectl.ok("get configmaps -l set=pages --chunk-size 7 -o name");
        let expected: Vec<String> = (0..30).map(|n| format!("configmap/page-{n:02}")).collect();
        assert_eq!(names.lines().collect::<Vec<_>>(), expected);
        kubectl.ok("delete configmaps -l set=pages");
        assert_eq!(kubectl.ok("get configmaps -l set=pages -o name"), "");
    });
}

#[test]
fn owners_take_what_they_own() {
    with_every_kubectl(|kubectl| {
        kubectl.apply(WEB);
        kubectl.until("the pod", "get pods -l app=web", |l| (l["items"].as_array()?.len() == 1).then_some(()));
        kubectl.ok("delete deployment web --cascade=orphan");
        let set = kubectl.ok("get replicasets -o name");
        assert_eq!(set.lines().count(), 1, "orphaned");
        kubectl.ok(&format!("delete {} --cascade=foreground", set.trim()));
        assert_eq!(kubectl.ok("get pods -o name"), "", "gone before their owner");
        kubectl.apply(WEB);
        kubectl.until("the pod", "get pods -l app=web", |l| (l["items"].as_array()?.len() == 1).then_some(()));
        kubectl.ok("delete deployment web");
        kubectl.until("nothing", "get replicasets,pods", |l| l["items"].as_array()?.is_empty().then_some(()));
    });
}

#[test]
fn a_namespace_goes_with_all_that_is_in_it() {
    with_every_kubectl(|kubectl| {
        kubectl.ok("create namespace going");
        kubectl.command(&["apply", "-n", "going", "-f", "-"]).input(WEB).ok();
        kubectl.ok("delete namespace going");
        let says = kubectl.fails("get namespace going");
        assert!(says.contains("NotFound"), "{says}");
        kubectl.ok("create namespace going");
        assert_eq!(kubectl.ok("get deployments,secrets,services -n going -o name"), "");
        kubectl.ok("delete namespace going");
    });
}
