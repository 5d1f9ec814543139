//! Good objects of the groups beside core and apps.

use serde_json::{Value, json};

/// The kinds whose plain objects are below.
pub const KINDS: &[&str] = &[
    "networking.k8s.io/ingresses",
    "networking.k8s.io/ingressclasses",
    "networking.k8s.io/ipaddresses",
    "networking.k8s.io/networkpolicies",
    "networking.k8s.io/servicecidrs",
    "storage.k8s.io/csidrivers",
    "storage.k8s.io/csinodes",
    "storage.k8s.io/csistoragecapacities",
    "storage.k8s.io/volumeattachments",
    "storage.k8s.io/volumeattributesclasses",
];

/// A good object, its name and namespace apart.
pub fn plain(named: &str) -> Value {
    match named {
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
