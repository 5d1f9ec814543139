//! What is refused, and how the message helps.

use coracle_testkit::{VERSIONS, in_world};

/// Applies each manifest with each kubectl; what it says has to have every one of these words.
fn check(cases: &[(&str, &[&str])]) {
    in_world(|world| {
        let server = world.server();
        let mut wrong = Vec::new();
        for version in VERSIONS {
            let kubectl = server.kubectl(version);
            for (manifest, words) in cases {
                let said = kubectl.command(&["create", "--validate=strict", "-f", "-"]).input(*manifest).output();
                if said.code == 0 || words.iter().any(|word| !said.stderr.contains(word)) {
                    wrong
                        .push(format!("{manifest}\nexpected {words:?}, {version} said {}{}", said.stdout, said.stderr));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    });
}

const WEB: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: REPLICAS
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: LABEL}}
    spec: {containers: [{name: web, image: x, EXTRA}]}
";

#[test]
fn wrong_types_and_fields_are_named_by_their_path() {
    let web = |replicas: &str, label: &str, extra: &str| {
        WEB.replace("REPLICAS", replicas).replace("LABEL", label).replace("EXTRA", extra)
    };
    let cases: Vec<(String, &[&str])> = vec![
        (web("three", "web", ""), &["BadRequest", "spec.replicas"]),
        (
            web("-1", "web", ""),
            &["The Deployment \"web\" is invalid", "spec.replicas", "must be greater than or equal to 0"],
        ),
        (
            web("1", "other", ""),
            &["spec.template.metadata.labels: Invalid value", "`selector` does not match template `labels`"],
        ),
        (
            web("1", "web", "imagePullPolcy: Always"),
            &["strict decoding error", "unknown field \"spec.template.spec.containers[0].imagePullPolcy\""],
        ),
        (
            web("1", "web", "ports: [{containerPort: 70000}]"),
            &["spec.template.spec.containers[0].ports[0].containerPort: Invalid value: 70000"],
        ),
        (web("1", "web", "ports: [{containerPort: http}]"), &["BadRequest", "containerPort"]),
        (web("1", "web", "resources: {limits: {memory: much}}"), &["quantities must match the regular expression"]),
        (
            web("1", "web", "volumeMounts: [{name: none, mountPath: /x}]"),
            &["spec.template.spec.containers[0].volumeMounts[0].name: Not found: \"none\""],
        ),
        (
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: Upper}".into(),
            &["metadata.name: Invalid value: \"Upper\"", "RFC 1123"],
        ),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: 1}".into(), &["BadRequest", "data"]),
        ("apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {}".into(), &["spec.ports: Required value"]),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: []}".into(),
            &["spec.containers: Required value"],
        ),
    ];
    let cases: Vec<(&str, &[&str])> = cases.iter().map(|(manifest, words)| (manifest.as_str(), *words)).collect();
    check(&cases);
}

#[test]
fn without_rights_nothing_but_health_and_version() {
    in_world(|world| {
        let server = world.server();
        let kubectl = server.kubectl(VERSIONS[0]);
        for path in ["/healthz", "/readyz", "/livez", "/version"] {
            kubectl
                .command(&["get", "--raw", path, "--as", "system:anonymous", "--as-group", "system:unauthenticated"])
                .ok();
        }
        let says = kubectl.command(&["get", "pods", "--as", "jane"]).fails();
        let expected =
            r#"pods is forbidden: User "jane" cannot list resource "pods" in API group "" in the namespace "default""#;
        assert!(says.contains(expected), "{says}");
        kubectl.ok("create role reader --verb=get,list --resource=pods");
        kubectl.ok("create rolebinding jane --role=reader --user=jane");
        kubectl.command(&["get", "pods", "--as", "jane"]).ok();
        let says = kubectl.command(&["delete", "pod", "x", "--as", "jane"]).fails();
        assert!(says.contains("cannot delete resource"), "{says}");
        let token = kubectl.ok("create token default");
        let who =
            kubectl.command(&["auth", "whoami", "-o", "name", "--token", token.trim(), "--kubeconfig", "/dev/null"]);
        // the token alone is enough, where the server is trusted
        let _ = who;
        let server_flags = ["--server=https://127.0.0.1:6443", "--insecure-skip-tls-verify", "--kubeconfig=/dev/null"];
        let mut words = vec!["auth", "whoami", "--token", token.trim()];
        words.extend(server_flags);
        let says = kubectl.command(&words).ok();
        assert!(says.contains("system:serviceaccount:default:default"), "{says}");
        words[3] = "eyJhbGciOiJub25lIn0.e30.";
        let says = kubectl.command(&words).fails();
        assert!(says.contains("Unauthorized") || says.contains("must be logged in"), "{says}");
    });
}
