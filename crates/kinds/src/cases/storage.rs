//! Classes of volumes, drivers and attachments.

use super::{becomes, wrong, wrong_change};
use crate::Part;
use serde_json::{Value, json};

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

#[test]
fn classes() {
    let classes = "storage.k8s.io/storageclasses";
    let term = |expressions: Value| json!({"matchLabelExpressions": expressions});
    let zone = json!([{"key": "zone", "values": ["a"]}]);
    let many: serde_json::Map<String, Value> = (0..513).map(|i| (format!("k{i}"), json!("v"))).collect();
    wrong(
        classes,
        &[
            (json!({"provisioner": ""}), &["provisioner: Required value"]),
            (json!({"provisioner": "-A"}), &[&format!("provisioner: Invalid value: \"-a\": {QUALIFIED}")]),
            (json!({"parameters": many}), &["parameters: Too long: may not be more than 512 bytes"]),
            (json!({"parameters": {"": "a"}}), &["parameters: Invalid value: \"\": field can not be empty."]),
            (
                json!({"parameters": {"a": "x".repeat(1 << 18)}}),
                &["parameters: Too long: may not be more than 262144 bytes"],
            ),
            (
                json!({"reclaimPolicy": "Recycle"}),
                &["reclaimPolicy: Unsupported value: \"Recycle\": supported values: \"Delete\", \"Retain\""],
            ),
            (
                json!({"volumeBindingMode": "Never"}),
                &[
                    "volumeBindingMode: Unsupported value: \"Never\": supported values: \"Immediate\", \"WaitForFirstConsumer\"",
                ],
            ),
            (
                json!({"allowedTopologies": [term(json!([{"key": "-", "values": []}]))]}),
                &[
                    "allowedTopologies[0].matchLabelExpressions[0].values: Required value",
                    &format!("allowedTopologies[0].matchLabelExpressions[0].key: Invalid value: \"-\": {QUALIFIED}"),
                ],
            ),
            (
                json!({"allowedTopologies": [term(zone.clone()), term(zone)]}),
                &["allowedTopologies[1].matchLabelExpressions: Duplicate value: \"\""],
            ),
            (
                json!({"allowedTopologies": [term(json!([{"key": "z", "values": ["a", "a"]}, {"key": "z", "values": ["b"]}]))]}),
                &[
                    "allowedTopologies[0].matchLabelExpressions[0].values[1]: Duplicate value: \"a\"",
                    "allowedTopologies[0].matchLabelExpressions[1].key: Duplicate value: \"z\"",
                ],
            ),
        ],
    );
    becomes(classes, &[(json!({}), json!({"reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"}))]);
    wrong_change(
        classes,
        Part::Main,
        &[
            (json!({}), json!({"allowVolumeExpansion": true}), &[]),
            (
                json!({}),
                json!({"provisioner": "q", "parameters": {"a": "b"}, "reclaimPolicy": "Retain", "volumeBindingMode": "WaitForFirstConsumer"}),
                &[
                    "provisioner: Invalid value: null: field is immutable",
                    "parameters: Invalid value: null: field is immutable",
                    "reclaimPolicy: Invalid value: null: field is immutable",
                    "volumeBindingMode: Invalid value: null: field is immutable",
                ],
            ),
        ],
    );
    let attributes = "storage.k8s.io/volumeattributesclasses";
    wrong(
        attributes,
        &[(
            json!({"driverName": "", "parameters": null}),
            &["driverName: Required value", "parameters: Required value: must contain at least one key/value pair"],
        )],
    );
    wrong_change(
        attributes,
        Part::Main,
        &[(
            json!({}),
            json!({"driverName": "e.io", "parameters": {"a": "c"}}),
            &[
                "driverName: Forbidden: updates to driverName are forbidden.",
                "parameters: Forbidden: updates to parameters are forbidden.",
            ],
        )],
    );
}

#[test]
fn drivers() {
    let (drivers, nodes, rooms) =
        ("storage.k8s.io/csidrivers", "storage.k8s.io/csinodes", "storage.k8s.io/csistoragecapacities");
    let tokens = |list: Value| json!({"spec": {"tokenRequests": list}});
    wrong(
        drivers,
        &[
            (
                json!({"spec": {"fsGroupPolicy": "Some"}}),
                &[
                    "spec.fsGroupPolicy: Unsupported value: \"Some\": supported values: \"File\", \"None\", \"ReadWriteOnceWithFSType\"",
                ],
            ),
            (
                tokens(json!([{"audience": "a"}, {"audience": "a"}])),
                &["spec.tokenRequests[1].audience: Duplicate value: \"a\""],
            ),
            (
                tokens(json!([{"audience": "a", "expirationSeconds": 1}])),
                &[
                    "spec.tokenRequests[0].expirationSeconds: Invalid value: 1: may not specify a duration less than 10 minutes",
                ],
            ),
            (
                tokens(json!([{"expirationSeconds": 1i64 << 33}])),
                &[
                    "spec.tokenRequests[0].expirationSeconds: Invalid value: 8589934592: may not specify a duration larger than 2^32 seconds",
                ],
            ),
            (
                json!({"spec": {"volumeLifecycleModes": ["Any"]}}),
                &[
                    "spec.volumeLifecycleModes: Unsupported value: \"Any\": supported values: \"Persistent\", \"Ephemeral\"",
                ],
            ),
            (
                json!({"spec": {"nodeAllocatableUpdatePeriodSeconds": 9}}),
                &[
                    "spec.nodeAllocatableUpdatePeriodSeconds: Invalid value: 9: must be greater than or equal to 10 seconds",
                ],
            ),
        ],
    );
    let defaults = json!({"attachRequired": true, "podInfoOnMount": false, "storageCapacity": false, "requiresRepublish": false,
        "seLinuxMount": false, "fsGroupPolicy": "ReadWriteOnceWithFSType", "volumeLifecycleModes": ["Persistent"]});
    becomes(drivers, &[(json!({}), json!({"spec": defaults, "metadata": {"generation": 1}}))]);
    wrong_change(
        drivers,
        Part::Main,
        &[(
            json!({}),
            json!({"spec": {"attachRequired": false, "volumeLifecycleModes": ["Ephemeral"]}}),
            &[
                "spec.attachedRequired: Invalid value: false: field is immutable",
                "spec.volumeLifecycleModes: Invalid value: [\"Ephemeral\"]: field is immutable",
            ],
        )],
    );
    let on_node = |list: Value| json!({"spec": {"drivers": list}});
    wrong(
        nodes,
        &[
            (
                on_node(json!([{"name": "", "nodeID": ""}])),
                &["spec.drivers[0].name: Required value", "spec.drivers[0].nodeID: Required value"],
            ),
            (
                on_node(json!([{"name": "a_b", "nodeID": "n"}])),
                &[&format!("spec.drivers[0].name: Invalid value: \"a_b\": {SUBDOMAIN}")],
            ),
            (
                on_node(json!([{"name": "a".repeat(64), "nodeID": "n"}])),
                &[
                    "spec.drivers[0].name: Too long: may not be more than 63 bytes",
                    &format!("spec.drivers[0].name: Invalid value: \"{}\": {SUBDOMAIN}", "a".repeat(64)),
                ][..1],
            ),
            (
                on_node(json!([{"name": "d", "nodeID": "n", "allocatable": {"count": -1}}])),
                &["spec.drivers[0].allocatable.count: Invalid value: -1: must be greater than or equal to 0"],
            ),
            (
                on_node(json!([{"name": "d", "nodeID": "n"}, {"name": "d", "nodeID": "m"}])),
                &["spec.drivers[1].name: Duplicate value: \"d\""],
            ),
            (
                on_node(json!([{"name": "d", "nodeID": "n", "topologyKeys": ["k", "k"]}])),
                &["spec.drivers[0]: Duplicate value: \"k\""],
            ),
        ],
    );
    wrong_change(
        nodes,
        Part::Main,
        &[
            (json!({}), on_node(json!([{"name": "d.io", "nodeID": "n", "allocatable": {"count": 3}}])), &[]),
            (json!({}), on_node(json!([{"name": "e.io", "nodeID": "m"}])), &[]),
            (
                json!({}),
                on_node(json!([{"name": "d.io", "nodeID": "m"}])),
                &[
                    "spec.drivers: Invalid value: {\"Name\":\"d.io\",\"NodeID\":\"m\",\"TopologyKeys\":null,\"Allocatable\":null}: field is immutable",
                ],
            ),
        ],
    );
    wrong(
        rooms,
        &[
            (json!({"storageClassName": "A"}), &[&format!("storageClassName: Invalid value: \"A\": {SUBDOMAIN}")]),
            (json!({"capacity": "-1"}), &["capacity: Invalid value: \"-1\": must be greater than or equal to 0"]),
        ],
    );
    wrong_change(
        rooms,
        Part::Main,
        &[
            (json!({}), json!({"capacity": "2Gi"}), &[]),
            (
                json!({}),
                json!({"storageClassName": "d", "nodeTopology": {"matchLabels": {"a": "b"}}}),
                &[
                    "nodeTopology: Invalid value: {\"matchLabels\":{\"a\":\"b\"}}: field is immutable",
                    "storageClassName: Invalid value: \"d\": field is immutable",
                ],
            ),
        ],
    );
}

#[test]
fn attachments() {
    let attachments = "storage.k8s.io/volumeattachments";
    wrong(
        attachments,
        &[
            (json!({"spec": {"attacher": ""}}), &["spec.attacher: Required value"]),
            (
                json!({"spec": {"attacher": "a".repeat(64)}}),
                &["spec.attacher: Too long: may not be more than 63 characters"],
            ),
            (
                json!({"spec": {"attacher": "a_b"}}),
                &[
                    "spec.attacher: Invalid value: \"a_b\": an RFC 1123 subdomain must consist of alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'Example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
                ],
            ),
            (json!({"spec": {"nodeName": ""}}), &[&format!("spec.nodeName: Invalid value: \"\": {SUBDOMAIN}")]),
            (
                json!({"spec": {"source": {"persistentVolumeName": null}}}),
                &["spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName"],
            ),
            (
                json!({"spec": {"source": {"inlineVolumeSpec": {}}}}),
                &["spec.source: Forbidden: must specify exactly one of inlineVolumeSpec and persistentVolumeName"],
            ),
            (
                json!({"spec": {"source": {"persistentVolumeName": null, "inlineVolumeSpec": {
                    "hostPath": {"path": "/x"}, "capacity": {"storage": "1Gi"}, "claimRef": {}, "storageClassName": "s",
                    "nodeAffinity": {}, "persistentVolumeReclaimPolicy": "Delete", "volumeMode": "Block",
                }}}}),
                &[
                    "spec.source.inlineVolumeSpec.claimRef: Forbidden: may not be specified in the context of inline volumes",
                    "spec.source.inlineVolumeSpec.capacity: Forbidden: may not be specified in the context of inline volumes",
                    "spec.source.inlineVolumeSpec.csi: Required value: has to be specified in the context of inline volumes",
                    "spec.source.inlineVolumeSpec.accessModes: Required value",
                    "spec.source.inlineVolumeSpec.persistentVolumeReclaimPolicy: Forbidden: may only be Retain in the context of inline volumes",
                    "spec.source.inlineVolumeSpec.nodeAffinity: Forbidden: may not be specified in the context of inline volumes",
                    "spec.source.inlineVolumeSpec.storageClassName: Forbidden: may not be specified in the context of inline volumes",
                    "spec.source.inlineVolumeSpec.volumeMode: Forbidden: may not specify volumeMode other than Filesystem in the context of inline volumes",
                ],
            ),
            (
                json!({"spec": {"source": {"persistentVolumeName": null, "inlineVolumeSpec": {
                    "csi": {"driver": "d", "volumeHandle": "h"}, "accessModes": ["ReadWriteOnce"],
                }}}}),
                &[],
            ),
            (
                json!({"spec": {"source": {"persistentVolumeName": "A"}}}),
                &[&format!("spec.source.persistentVolumeName: Invalid value: \"A\": {SUBDOMAIN}")],
            ),
        ],
    );
    wrong_change(
        attachments,
        Part::Main,
        &[(json!({}), json!({"spec": {"nodeName": "m"}}), &["spec: Invalid value: null: field is immutable"])],
    );
    wrong_change(
        attachments,
        Part::Status,
        &[
            (json!({}), json!({"status": {"attached": true}}), &[]),
            (
                json!({}),
                json!({"status": {"attached": false, "attachError": {"message": "x".repeat(2000), "errorCode": -1}}}),
                &[
                    "status.attachError.message: Too long: may not be more than 262144 bytes",
                    "status.attachError.errorCode: Invalid value: -1: must be between 0 and 2147483647, inclusive",
                ],
            ),
        ],
    );
}
