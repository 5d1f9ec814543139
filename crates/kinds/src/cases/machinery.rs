//! Flow control, other servers' groups, migrations, runtimes, events, questions.

use super::{becomes, kind, wrong, wrong_change};
use crate::Part;
use crate::flowcontrol::objects;
use serde_json::{Value, json};

const FLOWS: &str = "flowcontrol.apiserver.k8s.io/flowschemas";
const LEVELS: &str = "flowcontrol.apiserver.k8s.io/prioritylevelconfigurations";

#[test]
fn what_every_cluster_has_is_good() {
    for (named, all) in [(FLOWS, objects::flows()), (LEVELS, objects::levels())] {
        for mut object in all {
            kind(named).default(&mut object).unwrap();
            assert_eq!(kind(named).validate(&object), [], "{object}");
        }
    }
}

#[test]
fn flows() {
    let rule = |rule: Value| json!({"spec": {"rules": [rule]}});
    let user = json!([{"kind": "User", "user": {"name": "u"}}]);
    let resource = |r: Value| {
        let plain = json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "namespaces": ["*"]});
        json!({"spec": {"rules": [{"subjects": user, "resourceRules": [super::merged(plain, &r)]}]}})
    };
    let url = |url: &str| json!({"spec": {"rules": [{"subjects": user, "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": [url]}]}]}});
    let subject = |s: Value| json!({"spec": {"rules": [{"subjects": [s], "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}]}]}});
    const URL: &str = "spec.rules[0].nonResourceRules[0].nonResourceURLs[0]: Invalid value:";
    const RULE: &str = "spec.rules[0].resourceRules[0]";
    const SUBJECT: &str = "spec.rules[0].subjects[0]";
    wrong(
        FLOWS,
        &[
            (
                json!({"spec": {"matchingPrecedence": -1}}),
                &["spec.matchingPrecedence: Invalid value: -1: must be a positive value"],
            ),
            (
                json!({"spec": {"matchingPrecedence": 10_001}}),
                &["spec.matchingPrecedence: Invalid value: 10001: must not be greater than 10000"],
            ),
            (
                json!({"spec": {"matchingPrecedence": 1}}),
                &[
                    "spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have matchingPrecedence 1",
                ],
            ),
            (
                json!({"spec": {"distinguisherMethod": {"type": "Any"}}}),
                &[
                    "spec.distinguisherMethod.type: Unsupported value: {\"Type\":\"Any\"}: supported values: \"ByNamespace\", \"ByUser\"",
                ],
            ),
            (
                json!({"spec": {"priorityLevelConfiguration": {"name": ""}}}),
                &["spec.priorityLevelConfiguration.name: Required value: must reference a priority level"],
            ),
            (
                rule(json!({})),
                &[
                    "spec.rules[0].subjects: Required value: subjects must contain at least one value",
                    "spec.rules[0]: Required value: at least one of resourceRules and nonResourceRules has to be non-empty",
                ],
            ),
            (
                subject(json!({"kind": "Robot"})),
                &[&format!(
                    "{SUBJECT}.kind: Unsupported value: \"Robot\": supported values: \"Group\", \"ServiceAccount\", \"User\""
                )],
            ),
            (
                subject(json!({"kind": "User", "group": {"name": "g"}})),
                &[
                    &format!("{SUBJECT}.user: Required value: user is required when subject kind is 'User'"),
                    &format!("{SUBJECT}.group: Forbidden: group is forbidden when subject kind is not 'Group'"),
                ],
            ),
            (
                subject(json!({"kind": "ServiceAccount", "serviceAccount": {"name": "*"}})),
                &[&format!(
                    "{SUBJECT}.serviceAccount.namespace: Required value: must specify namespace for service account"
                )],
            ),
            (
                resource(json!({"verbs": []})),
                &[&format!("{RULE}.verbs: Required value: verbs must contain at least one value")],
            ),
            (
                resource(json!({"verbs": ["*", "get"]})),
                &[&format!(
                    "{RULE}.verbs: Invalid value: [\"*\",\"get\"]: if '*' is present, must not specify other verbs"
                )],
            ),
            (
                resource(json!({"verbs": ["read"]})),
                &[&format!(
                    "{RULE}.verbs: Unsupported value: [\"read\"]: supported values: \"create\", \"delete\", \"deletecollection\", \"get\", \"list\", \"patch\", \"proxy\", \"update\", \"watch\""
                )],
            ),
            (
                resource(json!({"apiGroups": []})),
                &[&format!("{RULE}.apiGroups: Required value: resource rules must supply at least one api group")],
            ),
            (
                resource(json!({"namespaces": null})),
                &[&format!(
                    "{RULE}.namespaces: Required value: resource rules that are not cluster scoped must supply at least one namespace"
                )],
            ),
            (resource(json!({"namespaces": null, "clusterScope": true})), &[]),
            (url("a"), &[&format!("{URL} \"a\": must start with slash")]),
            (url("/a b"), &[&format!("{URL} \"/a b\": must not contain white-space")]),
            (url("//"), &[&format!("{URL} \"//\": must not contain double slash")]),
            (url("/a*"), &[&format!("{URL} \"/a*\": wildcard can only do suffix matching")]),
            (url("/a/*"), &[]),
        ],
    );
    becomes(FLOWS, &[(json!({}), json!({"spec": {"matchingPrecedence": 1000}, "metadata": {"generation": 1}}))]);
    let mut exempt = objects::flows().remove(0);
    kind(FLOWS).default(&mut exempt).unwrap();
    exempt["spec"]["priorityLevelConfiguration"]["name"] = json!("other");
    let found = kind(FLOWS).validate(&exempt);
    assert!(found.len() == 1 && found[0].detail == "spec of 'exempt' must equal the fixed value", "{found:?}");
}

#[test]
fn levels() {
    let limited = |l: Value| json!({"spec": {"limited": l}});
    let queuing = |q: Value| limited(json!({"limitResponse": {"queuing": q}}));
    const AT: &str = "spec.limited";
    const QUEUING: &str = "spec.limited.limitResponse.queuing";
    wrong(
        LEVELS,
        &[
            (json!({"spec": {"type": ""}}), &["spec.type: Required value"]),
            (
                json!({"spec": {"type": "Any"}}),
                &["spec.type: Unsupported value: \"Any\": supported values: \"Exempt\", \"Limited\""],
            ),
            (
                json!({"spec": {"type": "Exempt", "limited": null}}),
                &["spec.type: Invalid value: \"Exempt\": type must be 'Exempt' if and only if name is 'exempt'"],
            ),
            (json!({"spec": {"limited": null}}), &["spec.limited: Required value"]),
            (json!({"spec": {"exempt": {}}}), &["spec.exempt: Forbidden: must be nil if the type is Limited"]),
            (
                limited(json!({"nominalConcurrencyShares": -1})),
                &[&format!("{AT}.nominalConcurrencyShares: Invalid value: -1: must be a non-negative integer")],
            ),
            (
                limited(json!({"lendablePercent": 101})),
                &[&format!("{AT}.lendablePercent: Invalid value: 101: must be between 0 and 100, inclusive")],
            ),
            (
                limited(json!({"borrowingLimitPercent": -1})),
                &[&format!(
                    "{AT}.borrowingLimitPercent: Invalid value: -1: if specified, must be a non-negative integer"
                )],
            ),
            (
                limited(json!({"limitResponse": {"type": "Any"}})),
                &[&format!(
                    "{AT}.limitResponse.type: Unsupported value: \"Any\": supported values: \"Queue\", \"Reject\""
                )],
            ),
            (limited(json!({"limitResponse": {"type": "Reject"}})), &[&format!("{QUEUING}: Forbidden")]),
            (limited(json!({"limitResponse": {"queuing": null}})), &[&format!("{QUEUING}: Required value")]),
            (
                queuing(json!({"queues": -1, "handSize": -1, "queueLengthLimit": -1})),
                &[
                    &format!("{QUEUING}.queueLengthLimit: Invalid value: -1: must be positive"),
                    &format!("{QUEUING}.queues: Invalid value: -1: must be positive"),
                    &format!("{QUEUING}.handSize: Invalid value: -1: must be positive"),
                ],
            ),
            (
                queuing(json!({"queues": 4, "handSize": 5})),
                &[&format!("{QUEUING}.handSize: Invalid value: 5: should not be greater than queues (4)")],
            ),
            (
                queuing(json!({"queues": 512, "handSize": 8})),
                &[&format!(
                    "{QUEUING}.handSize: Invalid value: 8: required entropy bits of deckSize 512 and handSize 8 should not be greater than 60"
                )],
            ),
        ],
    );
    let full = json!({"nominalConcurrencyShares": 30, "lendablePercent": 0, "limitResponse": {"queuing": {"queues": 64, "handSize": 8, "queueLengthLimit": 50}}});
    becomes(LEVELS, &[(json!({}), limited(full))]);
    wrong_change(
        LEVELS,
        Part::Status,
        &[(
            json!({}),
            json!({"status": {"conditions": [{"type": "A"}, {"type": "A"}]}}),
            &["status.conditions[1].type: Duplicate value: \"A\""],
        )],
    );
}

#[test]
fn other_servers() {
    let services = "apiregistration.k8s.io/apiservices";
    let spec = |s: Value| json!({"spec": s});
    wrong(
        services,
        &[
            (
                json!({"metadata": {"name": "x"}}),
                &["metadata.name: Invalid value: \"x\": must be `spec.version+\".\"+spec.group`: \"v1.g.io\""],
            ),
            (
                spec(json!({"groupPriorityMinimum": 0, "versionPriority": 1001})),
                &[
                    "spec.groupPriorityMinimum: Invalid value: 0: must be positive and less than 20000",
                    "spec.versionPriority: Invalid value: 1001: must be positive and less than 1000",
                ],
            ),
            (
                spec(json!({"service": null, "caBundle": "eHh4", "insecureSkipTLSVerify": true})),
                &[
                    "spec.caBundle: Invalid value: \"3 bytes\": local APIServices may not have a caBundle",
                    "spec.insecureSkipTLSVerify: Invalid value: true: local APIServices may not have insecureSkipTLSVerify",
                ],
            ),
            (
                spec(json!({"service": {"name": "", "namespace": "", "port": 70000}})),
                &[
                    "spec.service.namespace: Required value",
                    "spec.service.name: Required value",
                    "spec.service.port: Invalid value: 70000: port is not valid: must be between 1 and 65535, inclusive",
                ],
            ),
            (
                spec(json!({"caBundle": "eHh4", "insecureSkipTLSVerify": true})),
                &["spec.insecureSkipTLSVerify: Invalid value: true: may not be true if caBundle is present"],
            ),
            (
                json!({"metadata": {"name": "v2."}, "spec": {"group": "", "version": "v2"}}),
                &["spec.group: Required value: only v1 may have an empty group and it better be legacy kube"],
            ),
        ],
    );
    becomes(services, &[(json!({}), spec(json!({"service": {"port": 443}})))]);
    wrong_change(
        services,
        Part::Status,
        &[(
            json!({}),
            json!({"status": {"conditions": [{"type": "Available", "status": "Maybe"}]}}),
            &[
                "status.conditions[0].status: Unsupported value: \"Maybe\": supported values: \"True\", \"False\", \"Unknown\"",
            ],
        )],
    );
}

#[test]
fn migrations() {
    let migrations = "storagemigration.k8s.io/storageversionmigrations";
    wrong(
        migrations,
        &[(
            json!({"spec": {"resource": {"resource": ""}}}),
            &["spec.resource.resource: Required value: resource is required"],
        )],
    );
    wrong_change(
        migrations,
        Part::Main,
        &[(
            json!({}),
            json!({"spec": {"resource": {"group": "apps", "resource": "x"}}}),
            &[
                "group: Invalid value: \"apps\": field is immutable",
                "resource: Invalid value: \"x\": field is immutable",
            ],
        )],
    );
    let with = |kinds: &[&str]| {
        let condition = |kind: &&str| json!({"type": kind, "status": "True", "reason": "R", "lastTransitionTime": "2020-01-01T00:00:00Z"});
        json!({"status": {"conditions": kinds.iter().map(condition).collect::<Vec<_>>()}})
    };
    let says = |found: &[coracle_api::FieldError], wanted: &str| {
        assert!(found.len() == 1 && found[0].detail == wanted, "{found:?}")
    };
    for (before, after, wanted) in [
        (
            with(&[]),
            with(&["Succeeded", "Failed"]),
            "Both success and failed conditions cannot be true at the same time",
        ),
        (with(&[]), with(&["Succeeded", "Running"]), "Running condition cannot be true when success condition is true"),
        (with(&["Failed"]), with(&[]), "Failed condition cannot be set to false once it is true"),
    ] {
        says(&kind(migrations).rules.validate_update(&after, &before, Part::Status), wanted);
    }
    wrong_change(
        migrations,
        Part::Status,
        &[
            (
                json!({}),
                json!({"status": {"resourceVersion": "a"}}),
                &[
                    "status.resourceVersion: Invalid value: \"a\": failed to parse resource version \"a\": strconv.ParseInt: parsing \"a\": invalid syntax",
                ],
            ),
            (
                json!({"status": {"resourceVersion": "1"}}),
                json!({"status": {"resourceVersion": "2"}}),
                &["status.resourceVersion: Invalid value: \"2\": cannot be updated"],
            ),
        ],
    );
}

#[test]
fn runtimes() {
    let classes = "node.k8s.io/runtimeclasses";
    const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
    wrong(
        classes,
        &[
            (json!({"handler": ""}), &["handler: Required value"]),
            (json!({"handler": "A"}), &[&format!("handler: Invalid value: \"A\": {LABEL}")]),
        ],
    );
    wrong_change(
        classes,
        Part::Main,
        &[(json!({}), json!({"handler": "i"}), &["handler: Invalid value: null: field is immutable"])],
    );
}

#[test]
fn events() {
    let newer = |change: Value| {
        let plain = json!({"eventTime": "2020-01-01T00:00:00.000000Z", "reportingComponent": "a.b/c", "reportingInstance": "i", "action": "a", "reason": "r"});
        super::merged(plain, &change)
    };
    const NAMESPACE: &str = "does not match event.namespace";
    wrong(
        "events",
        &[
            (
                json!({"involvedObject": {"namespace": "other"}}),
                &[&format!("involvedObject.namespace: Invalid value: \"other\": {NAMESPACE}")],
            ),
            (json!({"involvedObject": {"namespace": null}}), &[]),
            (newer(json!({"involvedObject": {"namespace": "other"}})), &[]),
            (
                newer(json!({"reportingComponent": "", "action": "", "reason": "x".repeat(129)})),
                &[
                    "reportingController: Required value",
                    "reportingController: Invalid value: \"\": name part must be non-empty",
                    "reportingController: Invalid value: \"\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
                    "action: Required value",
                    "reason: Invalid value: \"\": can have at most 128 characters",
                ],
            ),
            (
                newer(json!({"message": "x".repeat(1025)})),
                &["message: Invalid value: \"\": can have at most 1024 characters"],
            ),
        ],
    );
    let strict = &crate::find("events.k8s.io", "v1", "events").unwrap().rules;
    let says = |found: Vec<coracle_api::FieldError>, wanted: &[&str]| super::exactly(&found, wanted, "events.k8s.io");
    let event = newer(json!({"type": "Normal"}));
    says(strict.validate(&event), &[]);
    says(
        strict.validate(&newer(json!({"type": "Odd", "count": 2, "series": {"count": 1}}))),
        &[
            "series.count: Invalid value: \"\": should be at least 2",
            "series.lastObservedTime: Required value",
            "type: Invalid value: \"\": has invalid value: Odd",
            "count: Invalid value: \"\": needs to be unset",
        ],
    );
    says(strict.validate(&json!({"type": "Normal"})), &["eventTime: Required value"]);
    says(
        strict.validate_update(&newer(json!({"type": "Normal", "action": "b"})), &event, Part::Main),
        &["action: Invalid value: \"b\": field is immutable"],
    );
}

#[test]
fn questions() {
    let pods = json!({"verb": "get", "resource": "pods", "namespace": "default"});
    let ask = |named: &str, body: Value, wanted: &[&str]| {
        super::exactly(&kind(&format!("authorization.k8s.io/{named}")).rules.validate(&body), wanted, named);
    };
    const ONE: &str = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
    ask("selfsubjectaccessreviews", json!({"spec": {"resourceAttributes": pods}}), &[]);
    ask(
        "selfsubjectaccessreviews",
        json!({"spec": {}}),
        &[&format!("spec.resourceAttributes: Invalid value: null: {ONE}")],
    );
    ask(
        "subjectaccessreviews",
        json!({"spec": {"resourceAttributes": pods}}),
        &["spec.user: Invalid value: \"\": at least one of user or group must be specified"],
    );
    ask(
        "subjectaccessreviews",
        json!({"metadata": {"name": "a"}, "spec": {"user": "u", "resourceAttributes": pods}}),
        &["metadata: Invalid value: {\"name\":\"a\"}: must be empty"],
    );
    ask(
        "localsubjectaccessreviews",
        json!({"metadata": {"namespace": "a"}, "spec": {"user": "u", "resourceAttributes": pods}}),
        &["spec.resourceAttributes.namespace: Invalid value: \"default\": must match metadata.namespace"],
    );
}

#[test]
fn candidates() {
    const KIND: &str = "coordination.k8s.io/leasecandidates";
    let spec = |spec: Value| json!({"spec": spec});
    wrong(
        KIND,
        &[
            (spec(json!({"leaseName": ""})), &["spec.leaseName: Required value"]),
            (
                spec(json!({"binaryVersion": "1.2", "emulationVersion": "v1.2.0", "strategy": "x.com/y"})),
                &[
                    "spec.emulationVersion: Invalid value: \"v1.2.0\": must be a valid semantic version",
                    "spec.binaryVersion: Invalid value: \"1.2\": must be a valid semantic version",
                ],
            ),
            (
                spec(json!({"binaryVersion": "1.2.0", "emulationVersion": "1.3.0"})),
                &["spec.binaryVersion: Invalid value: \"1.2.0\": must be greater than or equal to `emulationVersion`"],
            ),
            (
                spec(json!({"binaryVersion": "", "emulationVersion": "", "strategy": ""})),
                &["spec.binaryVersion: Required value", "spec.strategy: Required value"],
            ),
            (
                spec(json!({"emulationVersion": null})),
                &[
                    "spec.emulationVersion: Required value: must be specified when `strategy` is 'OldestEmulationVersion'",
                ],
            ),
            (
                spec(json!({"strategy": "Any"})),
                &["spec.strategy.strategy: Unsupported value: \"Any\": supported values: \"OldestEmulationVersion\""],
            ),
            (
                json!({"metadata": {"name": "a b"}}),
                &[
                    "metadata.name: Invalid value: \"a b\": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
                ],
            ),
        ],
    );
    wrong_change(
        KIND,
        Part::Main,
        &[(json!({}), spec(json!({"leaseName": "m"})), &["spec.leaseName: Invalid value: \"m\": field is immutable"])],
    );
}
