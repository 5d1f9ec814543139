//! Clients that are not kubectl: the Python and JavaScript packages, and an operator written with kube-rs.

use super::{ready_pods, text};
use coracle_testkit::{Cluster, LIMIT, World, in_world, until};
use serde_json::Value;
use std::{fs, path::Path, time::Duration};

const LANGUAGES: &[(&str, &str, &str, &str)] =
    &[("python3", "python.py", "PYTHONPATH", "python"), ("node", "javascript.mjs", "NODE_PATH", "node/node_modules")];

#[test]
fn packages_of_other_languages() {
    in_world(|world| {
        let cluster = world.cluster(1);
        for (program, script, variable, packages) in LANGUAGES {
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(script);
            let said = world
                .run(program, &[script.to_str().unwrap()])
                .env("KUBECONFIG", cluster.kubeconfig())
                .env(variable, world.tool(packages))
                .limit(Duration::from_secs(180))
                .ok();
            assert!(said.lines().any(|line| line == "pods"), "{program}: {said}");
        }
    });
}

/// A kubeconfig of the operator's own account, which may do what `rbac.yaml` says.
fn account(world: &World, cluster: &Cluster) -> std::path::PathBuf {
    let kubectl = cluster.kubectl();
    let token = kubectl.ok("create token site-operator --namespace site-operator");
    let file = world.dir().join("operator.kubeconfig");
    fs::copy(cluster.kubeconfig(), &file).unwrap();
    let at = format!("--kubeconfig={}", file.display());
    kubectl.ok(&format!("config {at} set-credentials operator --token={}", token.trim()));
    kubectl.ok(&format!("config {at} set-context --current --user=operator"));
    file
}

#[test]
fn an_operator_written_with_kube_rs() {
    in_world(|world| {
        let cluster = world.cluster(1);
        let kubectl = cluster.kubectl();
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/operator");
        let apply = |file: &str| kubectl.ok(&format!("apply -f {}", examples.join(file).display()));
        apply("crd.yaml");
        kubectl.ok("wait --for=condition=Established crd/sites.examples.coracle.dev --timeout=10s");
        apply("rbac.yaml");

        let log = fs::File::create(world.dir().join("operator.log")).unwrap();
        let program =
            std::env::var("CORACLE_OPERATOR").expect("`./x test e2e` builds the operator and says where it is");
        let mut operator = world.run(program, &[]).env("KUBECONFIG", account(world, &cluster)).start(log);

        apply("site.yaml");
        kubectl.ok("wait --for=condition=Ready site/hello --timeout=60s");
        let listed = kubectl.ok("get sites");
        let columns: Vec<&str> = listed.lines().next().unwrap_or_default().split_whitespace().collect();
        assert_eq!(columns, ["NAME", "WANTED", "READY", "ADDRESS", "AGE"], "{listed}");
        let site = kubectl.json("get site hello");
        let page = || cluster.get("node-1", text(&site, "/status/address"), "/");
        until("the page", LIMIT, || page().and_then(|page| shows(&page, "hello from an operator")));

        // through the subresource, by kubectl, which knows nothing of sites
        kubectl.ok("scale site/hello --replicas 3");
        ready_pods(&kubectl, "examples.coracle.dev/site=hello", 3);
        kubectl.until("three ready", "get site hello", |site| (site["status"]["replicas"] == 3).then_some(()));

        for (patch, complaint) in [
            (r#"{"spec":{"replicas":21}}"#, "spec.replicas in body should be less than or equal to 20"),
            (r#"{"spec":{"greeting":""}}"#, "a site that is shown needs a greeting"),
        ] {
            let said = kubectl.fails(&format!("patch site hello --type merge -p {patch}"));
            assert!(said.contains(complaint), "{said}");
        }

        // what belongs to a site comes back
        let before = kubectl.json("get service hello");
        kubectl.ok("delete service hello");
        kubectl.until("another service", "get service hello", |now| {
            (text(now, "/metadata/uid") != text(&before, "/metadata/uid")).then_some(())
        });

        kubectl.ok("delete site hello --timeout=60s");
        kubectl.until(
            "nothing of it left",
            "get deployments,services,configmaps -l examples.coracle.dev/site",
            |left| left["items"].as_array().is_some_and(Vec::is_empty).then_some(()),
        );
        let events = kubectl.ok("events --for site/hello");
        assert!(events.contains("Shown") && events.contains("Farewell"), "{events}");
        assert_eq!(operator.terminate(), 0, "the operator ends when it is told to");
    });
}

fn shows(page: &Value, greeting: &str) -> Result<(), String> {
    if page.to_string().contains(greeting) { Ok(()) } else { Err(page.to_string()) }
}
