//! Custom resources, with every kubectl: from the definition to the last object.

use coracle_testkit::{Kubectl, VERSIONS, in_world};
use serde_json::json;

fn definition(number: usize) -> String {
    format!(
        r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: crons{number}.example.com}}
spec:
  group: example.com
  scope: Namespaced
  names: {{plural: crons{number}, kind: Cron{number}, shortNames: [cr{number}], categories: [all]}}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {{status: {{}}, scale: {{specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas}}}}
    selectableFields: [{{jsonPath: .spec.zone}}]
    additionalPrinterColumns:
    - {{name: Spec, type: string, jsonPath: .spec.cronSpec}}
    - {{name: Replicas, type: integer, jsonPath: .spec.replicas}}
    schema:
      openAPIV3Schema:
        type: object
        description: A thing that happens again and again.
        properties:
          spec:
            type: object
            required: [cronSpec]
            x-kubernetes-validations: [{{rule: "self.replicas <= 5", message: "not so many"}}]
            properties:
              cronSpec: {{type: string, pattern: '^(\d+|\*)(/\d+)?(\s+(\d+|\*)(/\d+)?){{4}}$', description: When it happens.}}
              zone: {{type: string, default: here}}
              replicas: {{type: integer, minimum: 1, default: 2}}
              ports:
                type: array
                x-kubernetes-list-type: map
                x-kubernetes-list-map-keys: [port]
                items: {{type: object, required: [port], properties: {{port: {{type: integer}}, name: {{type: string}}}}}}
          status: {{type: object, properties: {{replicas: {{type: integer}}}}}}
"#
    )
}

fn object(number: usize, name: &str, spec: &str) -> String {
    format!("apiVersion: example.com/v1\nkind: Cron{number}\nmetadata: {{name: {name}}}\nspec: {spec}\n")
}

#[test]
fn from_the_definition_to_the_last_object() {
    in_world(|world| {
        let server = world.server();
        for (number, version) in VERSIONS.iter().enumerate() {
            let kubectl = server.kubectl(version);
            kubectl.ok(&format!("create namespace custom{number}"));
            kubectl.ok(&format!("config set-context --current --namespace custom{number}"));
            story(&kubectl, number);
        }
    });
}

fn story(kubectl: &Kubectl, number: usize) {
    kubectl.apply(&definition(number));
    kubectl.ok(&format!("wait --for condition=Established crd/crons{number}.example.com --timeout=10s"));
    let explained = kubectl.ok(&format!("explain crons{number}.spec.cronSpec"));
    assert!(explained.contains("When it happens."), "{explained}");

    kubectl.apply(&object(number, "a", "{cronSpec: '* * * * */5', zone: there}"));
    let got = kubectl.json(&format!("get cr{number} a"));
    assert_eq!(got["spec"], json!({"cronSpec": "* * * * */5", "zone": "there", "replicas": 2}));
    assert_eq!(got["metadata"]["generation"], 1);
    let table = kubectl.ok(&format!("get crons{number}"));
    assert!(table.starts_with("NAME   SPEC          REPLICAS") && table.contains("* * * * */5"), "{table}");
    assert_eq!(
        kubectl.ok(&format!("get crons{number} --field-selector spec.zone=there -o name")),
        format!("cron{number}.example.com/a\n")
    );
    assert_eq!(kubectl.ok(&format!("get crons{number} --field-selector spec.zone=here -o name")), "");

    for (spec, expected) in [
        ("{cronSpec: x}", "spec.cronSpec in body should match"),
        ("{}", "spec.cronSpec: Required value"),
        ("{cronSpec: '* * * * *', replicas: 9}", "not so many"),
        ("{cronSpec: '* * * * *', color: red}", r#"unknown field "spec.color""#),
    ] {
        let says = kubectl.command(&["apply", "-f", "-"]).input(object(number, "b", spec)).fails();
        assert!(says.contains(expected), "{spec}: {says}");
    }

    let apply = |manager: &str, spec: &str| {
        let arguments = ["apply", "--server-side", "--field-manager", manager, "-f", "-"];
        kubectl.command(&arguments).input(object(number, "s", spec)).ok()
    };
    apply("one", "{cronSpec: '* * * * *', ports: [{port: 1, name: one}]}");
    apply("two", "{cronSpec: '* * * * *', ports: [{port: 2, name: two}]}");
    let ports = kubectl.json(&format!("get cr{number} s"))["spec"]["ports"].clone();
    assert_eq!(ports, json!([{"port": 1, "name": "one"}, {"port": 2, "name": "two"}]));
    kubectl.ok(&format!("scale cr{number} s --replicas 4"));
    assert_eq!(kubectl.json(&format!("get cr{number} s"))["spec"]["replicas"], 4);

    kubectl.ok(&format!("delete crd crons{number}.example.com"));
    // kubectl may still think that it knows the resource; the server does not
    kubectl.fails(&format!("get crons{number}"));
    let served = kubectl.ok("api-resources --cached=false -o name");
    assert!(!served.contains(&format!("crons{number}.")), "{served}");
}
