//! Roles and bindings, leases, priorities.

use super::{becomes, wrong, wrong_change};
use crate::Part;
use serde_json::{Value, json};

#[test]
fn roles() {
    let rules = |rule: Value| json!({"rules": [rule]});
    for named in ["rbac.authorization.k8s.io/roles", "rbac.authorization.k8s.io/clusterroles"] {
        wrong(
            named,
            &[
                (
                    rules(json!({})),
                    &[
                        "rules[0].apiGroups: Required value: resource rules must supply at least one api group",
                        "rules[0].resources: Required value: resource rules must supply at least one resource",
                        "rules[0].verbs: Required value",
                    ],
                ),
                (json!({"metadata": {"name": "a:b"}}), &[]),
                (json!({"metadata": {"name": "a/b"}}), &["metadata.name: Invalid value: \"a/b\": may not contain '/'"]),
            ],
        );
    }
    let mixed = json!({"verbs": ["get"], "nonResourceURLs": ["/x"], "apiGroups": [""], "resources": ["pods"]});
    wrong(
        "rbac.authorization.k8s.io/roles",
        &[(
            rules(mixed.clone()),
            &[
                "rules[0].nonResourceURLs: Invalid value: [\"/x\"]: namespaced rules cannot apply to non-resource URLs",
                "rules[0].nonResourceURLs: Invalid value: [\"/x\"]: rules cannot apply to both regular resources and non-resource URLs",
            ],
        )],
    );
    wrong(
        "rbac.authorization.k8s.io/clusterroles",
        &[
            (
                rules(mixed),
                &[
                    "rules[0].nonResourceURLs: Invalid value: [\"/x\"]: rules cannot apply to both regular resources and non-resource URLs",
                ],
            ),
            (
                json!({"aggregationRule": {"x": 1}}),
                &[
                    "aggregationRule.clusterRoleSelectors: Required value: at least one clusterRoleSelector required if aggregationRule is non-nil",
                ],
            ),
            (
                json!({"aggregationRule": {"clusterRoleSelectors": [{"matchExpressions": [{"key": "a", "operator": "Is"}]}]}}),
                &[
                    "aggregationRule.clusterRoleSelectors[0].matchExpressions[0].operator: Invalid value: \"Is\": not a valid selector operator",
                ],
            ),
        ],
    );
}

#[test]
fn bindings() {
    let (bindings, cluster) =
        ("rbac.authorization.k8s.io/rolebindings", "rbac.authorization.k8s.io/clusterrolebindings");
    let subject = |s: Value| json!({"subjects": [s]});
    for named in [bindings, cluster] {
        wrong(
            named,
            &[
                (
                    json!({"roleRef": {"apiGroup": "a"}}),
                    &["roleRef.apiGroup: Unsupported value: \"a\": supported values: \"rbac.authorization.k8s.io\""],
                ),
                (json!({"roleRef": {"name": ""}}), &["roleRef.name: Required value"]),
                (json!({"roleRef": {"name": "a%b"}}), &["roleRef.name: Invalid value: \"a%b\": may not contain '%'"]),
                (
                    subject(json!({"kind": "User"})),
                    &[
                        "subjects[0].name: Invalid value: \"\": user name cannot be empty",
                        "subjects[0].name: Required value",
                    ],
                ),
                (
                    subject(json!({"kind": "Group", "name": "g", "apiGroup": "x"})),
                    &[
                        "subjects[0].apiGroup: Unsupported value: \"x\": supported values: \"rbac.authorization.k8s.io\"",
                    ],
                ),
                (
                    subject(json!({"kind": "Robot", "name": "r"})),
                    &[
                        "subjects[0].kind: Unsupported value: \"Robot\": supported values: \"ServiceAccount\", \"User\", \"Group\"",
                    ],
                ),
            ],
        );
        wrong_change(
            named,
            Part::Main,
            &[(
                json!({}),
                json!({"roleRef": {"name": "s"}}),
                &[
                    "roleRef: Invalid value: {\"APIGroup\":\"rbac.authorization.k8s.io\",\"Kind\":\"ClusterRole\",\"Name\":\"s\"}: cannot change roleRef",
                ],
            )],
        );
        becomes(
            named,
            &[(
                subject(json!({"kind": "User", "name": "u"})),
                json!({"roleRef": {"apiGroup": "rbac.authorization.k8s.io"}, "subjects": [{"kind": "User", "name": "u", "apiGroup": "rbac.authorization.k8s.io"}]}),
            )],
        );
    }
    let account = subject(json!({"kind": "ServiceAccount", "name": "a"}));
    wrong(
        bindings,
        &[
            (account.clone(), &[]),
            (
                json!({"roleRef": {"kind": "Pod"}}),
                &["roleRef.kind: Unsupported value: \"Pod\": supported values: \"Role\", \"ClusterRole\""],
            ),
        ],
    );
    wrong(
        cluster,
        &[
            (account, &["subjects[0].namespace: Required value"]),
            (
                json!({"roleRef": {"kind": "Role"}}),
                &["roleRef.kind: Unsupported value: \"Role\": supported values: \"ClusterRole\""],
            ),
            (
                subject(json!({"kind": "ServiceAccount", "name": "a", "namespace": "n", "apiGroup": "g"})),
                &["subjects[0].apiGroup: Unsupported value: \"g\": supported values: \"\""],
            ),
        ],
    );
}

#[test]
fn leases() {
    let leases = "coordination.k8s.io/leases";
    wrong(
        leases,
        &[
            (
                json!({"spec": {"leaseDurationSeconds": 0}}),
                &["spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"],
            ),
            (
                json!({"spec": {"leaseTransitions": -1}}),
                &["spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0"],
            ),
            // off by default: dropped, so there is nothing to be wrong
            (json!({"spec": {"strategy": "Any", "preferredHolder": "a"}}), &[]),
        ],
    );
}

#[test]
fn priorities() {
    let classes = "scheduling.k8s.io/priorityclasses";
    let named = |name: &str, value: i64| json!({"metadata": {"name": name}, "value": value});
    const RESERVED: &str = "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: ";
    wrong(
        classes,
        &[
            (
                json!({"value": 1_000_000_001}),
                &["value: Forbidden: maximum allowed value of a user defined priority is 1000000000"],
            ),
            (named("system-x", 1), &[&format!("{RESERVED}system-x is not a known system priority class")]),
            (
                named("system-node-critical", 1),
                &[&format!("{RESERVED}value of system-node-critical PriorityClass must be 2000001000")],
            ),
            (named("system-node-critical", 2_000_001_000), &[]),
            (
                json!({"preemptionPolicy": "Some"}),
                &[
                    "preemptionPolicy: Unsupported value: \"Some\": supported values: \"PreemptLowerPriority\", \"Never\"",
                ],
            ),
        ],
    );
    wrong_change(
        classes,
        Part::Main,
        &[
            (json!({}), json!({"value": 11}), &["value: Forbidden: may not be changed in an update."]),
            (
                json!({}),
                json!({"preemptionPolicy": "Never"}),
                &["preemptionPolicy: Invalid value: \"Never\": field is immutable"],
            ),
        ],
    );
    becomes(
        classes,
        &[(json!({}), json!({"preemptionPolicy": "PreemptLowerPriority", "metadata": {"generation": 1}}))],
    );
}
