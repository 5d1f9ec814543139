//! Good objects of the groups beside core and apps.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

/// The kinds whose plain objects are below.
pub const KINDS: &[&str] = &[
    "admissionregistration.k8s.io/mutatingadmissionpolicies",
    "admissionregistration.k8s.io/mutatingadmissionpolicybindings",
    "admissionregistration.k8s.io/mutatingwebhookconfigurations",
    "admissionregistration.k8s.io/validatingadmissionpolicies",
    "admissionregistration.k8s.io/validatingadmissionpolicybindings",
    "admissionregistration.k8s.io/validatingwebhookconfigurations",
    "apiregistration.k8s.io/apiservices",
    "certificates.k8s.io/certificatesigningrequests",
    "certificates.k8s.io/clustertrustbundles",
    "certificates.k8s.io/podcertificaterequests",
    "coordination.k8s.io/leasecandidates",
    "flowcontrol.apiserver.k8s.io/flowschemas",
    "flowcontrol.apiserver.k8s.io/prioritylevelconfigurations",
    "networking.k8s.io/ingresses",
    "networking.k8s.io/ingressclasses",
    "networking.k8s.io/ipaddresses",
    "networking.k8s.io/networkpolicies",
    "networking.k8s.io/servicecidrs",
    "node.k8s.io/runtimeclasses",
    "resource.k8s.io/deviceclasses",
    "resource.k8s.io/devicetaintrules",
    "resource.k8s.io/resourceclaims",
    "resource.k8s.io/resourceclaimtemplates",
    "resource.k8s.io/resourceslices",
    "storage.k8s.io/csidrivers",
    "storage.k8s.io/csinodes",
    "storage.k8s.io/csistoragecapacities",
    "storage.k8s.io/volumeattachments",
    "storage.k8s.io/volumeattributesclasses",
    "storagemigration.k8s.io/storageversionmigrations",
];

fn rule() -> Value {
    json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]})
}

fn devices() -> Value {
    json!({
        "requests": [
            {"name": "a", "exactly": {"deviceClassName": "c", "tolerations": [{"key": "k"}]}},
            {"name": "b", "firstAvailable": [{"name": "x", "deviceClassName": "c"}, {"name": "y", "deviceClassName": "d"}]},
        ],
        "constraints": [{"requests": ["a", "b/x"], "matchAttribute": "x.io/v"}],
        "config": [{"requests": ["b"], "opaque": {"driver": "d.io", "parameters": {"a": 1}}}],
    })
}

/// A good object, its name and namespace apart.
pub fn plain(named: &str) -> Value {
    match named {
        "admissionregistration.k8s.io/mutatingwebhookconfigurations"
        | "admissionregistration.k8s.io/validatingwebhookconfigurations" => json!({"webhooks": [{
            "name": "a.b.c", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": {"url": "https://a.b/c"}, "rules": [rule()],
        }]}),
        "admissionregistration.k8s.io/validatingadmissionpolicies" => json!({"spec": {
            "matchConstraints": {"resourceRules": [rule()]}, "validations": [{"expression": "true"}],
        }}),
        "admissionregistration.k8s.io/mutatingadmissionpolicies" => json!({"spec": {
            "matchConstraints": {"resourceRules": [rule()]}, "reinvocationPolicy": "Never",
            "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": "[JSONPatch{op: 'remove', path: '/spec/x'}]"}}],
        }}),
        "admissionregistration.k8s.io/validatingadmissionpolicybindings" => {
            json!({"spec": {"policyName": "p", "validationActions": ["Deny"]}})
        }
        "admissionregistration.k8s.io/mutatingadmissionpolicybindings" => json!({"spec": {"policyName": "p"}}),
        "coordination.k8s.io/leasecandidates" => json!({"spec": {
            "leaseName": "l", "binaryVersion": "1.37.0", "emulationVersion": "1.37.0", "strategy": "OldestEmulationVersion",
        }}),
        "resource.k8s.io/deviceclasses" => json!({"spec": {"selectors": [{"cel": {"expression": "true"}}]}}),
        "resource.k8s.io/devicetaintrules" => json!({"spec": {
            "deviceSelector": {"driver": "d.io", "pool": "a/b", "device": "e"},
            "taint": {"key": "k", "value": "v", "effect": "NoExecute"},
        }}),
        "resource.k8s.io/resourceclaims" => json!({"spec": {"devices": devices()}}),
        "resource.k8s.io/resourceclaimtemplates" => json!({"spec": {"spec": {"devices": devices()}}}),
        "resource.k8s.io/resourceslices" => json!({"spec": {
            "driver": "d.io", "nodeName": "n", "pool": {"name": "p", "resourceSliceCount": 1, "generation": 0},
            "devices": [{"name": "e", "attributes": {"a": {"int": 1}, "x.io/v": {"version": "1.2.3"}}, "capacity": {"m": {"value": "1Gi"}}}],
        }}),
        "apiregistration.k8s.io/apiservices" => json!({"metadata": {"name": "v1.g.io"}, "spec": {
            "group": "g.io", "version": "v1", "groupPriorityMinimum": 1000, "versionPriority": 15,
            "service": {"name": "s", "namespace": "n"},
        }}),
        "certificates.k8s.io/certificatesigningrequests" => json!({"spec": {
            "request": STANDARD.encode(super::certificates::REQUEST), "usages": ["client auth"], "signerName": "a.io/b",
        }}),
        "certificates.k8s.io/clustertrustbundles" => json!({"spec": {"trustBundle": super::certificates::AUTHORITY}}),
        "certificates.k8s.io/podcertificaterequests" => json!({"spec": {
            "signerName": "a.io/b", "podName": "p", "podUID": "1", "serviceAccountName": "s", "serviceAccountUID": "2",
            "nodeName": "n", "nodeUID": "3", "stubPKCS10Request": super::certificates::der_request(),
        }}),
        "flowcontrol.apiserver.k8s.io/flowschemas" => {
            json!({"spec": {"priorityLevelConfiguration": {"name": "l"}, "rules": []}})
        }
        "flowcontrol.apiserver.k8s.io/prioritylevelconfigurations" => {
            json!({"spec": {"type": "Limited", "limited": {"limitResponse": {"type": "Queue", "queuing": {}}}}})
        }
        "node.k8s.io/runtimeclasses" => json!({"handler": "h"}),
        "storagemigration.k8s.io/storageversionmigrations" => json!({"spec": {"resource": {"resource": "pods"}}}),
        "networking.k8s.io/ingresses" => {
            let backend = json!({"service": {"name": "s", "port": {"number": 80}}});
            json!({"spec": {"rules": [{"host": "a.b", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}]}})
        }
        "networking.k8s.io/ingressclasses" => json!({"spec": {"controller": "acme.io/foo"}}),
        "networking.k8s.io/ipaddresses" => {
            let parent = json!({"resource": "services", "namespace": "default", "name": "s"});
            json!({"metadata": {"name": "10.0.0.1"}, "spec": {"parentRef": parent}})
        }
        "networking.k8s.io/networkpolicies" => json!({"spec": {"podSelector": {}}}),
        "networking.k8s.io/servicecidrs" => json!({"spec": {"cidrs": ["10.0.0.0/24"]}}),
        "storage.k8s.io/csidrivers" => json!({"spec": {}}),
        "storage.k8s.io/csinodes" => json!({"spec": {"drivers": [{"name": "d.io", "nodeID": "n"}]}}),
        "storage.k8s.io/csistoragecapacities" => json!({"storageClassName": "c", "capacity": "1Gi"}),
        "storage.k8s.io/volumeattachments" => {
            json!({"spec": {"attacher": "d.io", "nodeName": "n", "source": {"persistentVolumeName": "v"}}})
        }
        "storage.k8s.io/volumeattributesclasses" => json!({"driverName": "d.io", "parameters": {"a": "b"}}),
        _ => json!({}),
    }
}
