//! Devices that pods claim.

use super::{becomes, plain, wrong, wrong_change};
use crate::Part;
use serde_json::{Value, json};

const CLAIMS: &str = "resource.k8s.io/resourceclaims";
const TEMPLATES: &str = "resource.k8s.io/resourceclaimtemplates";
const CLASSES: &str = "resource.k8s.io/deviceclasses";
const SLICES: &str = "resource.k8s.io/resourceslices";
const RULES: &str = "resource.k8s.io/devicetaintrules";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const REFERENCE: &str =
    "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";

fn text(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

#[test]
fn requests() {
    let one =
        |request: Value| json!({"spec": {"devices": {"requests": [request], "constraints": null, "config": null}}});
    let exactly = |mut more: Value| {
        more["deviceClassName"] = json!("c");
        one(json!({"name": "a", "exactly": more}))
    };
    let many: Vec<Value> =
        (0..33).map(|i| json!({"name": format!("a{i}"), "exactly": {"deviceClassName": "c"}})).collect();
    wrong(
        CLAIMS,
        &[
            (
                one(json!({"name": "A", "exactly": {"deviceClassName": "c"}})),
                &[text(format!("spec.devices.requests[0].name: Invalid value: \"A\": {LABEL}"))],
            ),
            (
                one(json!({"name": "a"})),
                &["spec.devices.requests[0]: Required value: exactly one of `exactly` or `firstAvailable` is required"],
            ),
            (
                one(
                    json!({"name": "a", "exactly": {"deviceClassName": "c"}, "firstAvailable": [{"name": "x", "deviceClassName": "c"}]}),
                ),
                &[
                    "spec.devices.requests[0]: Invalid value: null: exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set",
                ],
            ),
            (
                one(json!({"name": "a", "exactly": {}})),
                &["spec.devices.requests[0].exactly.deviceClassName: Required value"],
            ),
            (
                one(json!({"name": "a", "firstAvailable": [{"name": "x"}, {"name": "x", "deviceClassName": "c"}]})),
                &[
                    "spec.devices.requests[0].firstAvailable[0].deviceClassName: Required value",
                    "spec.devices.requests[0].firstAvailable[1]: Duplicate value: {\"allocationMode\":\"ExactCount\",\"count\":1,\"deviceClassName\":\"c\",\"name\":\"x\"}",
                ],
            ),
            (
                json!({"spec": {"devices": {"requests": many, "constraints": null, "config": null}}}),
                &["spec.devices.requests: Too many: 33: must have at most 32 items"],
            ),
            (
                exactly(json!({"allocationMode": "All", "count": 2})),
                &[
                    "spec.devices.requests[0].exactly.count: Invalid value: 2: must not be specified when allocationMode is 'All'",
                ],
            ),
            (
                exactly(json!({"count": -1})),
                &["spec.devices.requests[0].exactly.count: Invalid value: -1: must be greater than zero"],
            ),
            (
                exactly(json!({"allocationMode": "Some", "selectors": [{}]})),
                &[
                    "spec.devices.requests[0].exactly.selectors[0].cel: Required value",
                    "spec.devices.requests[0].exactly.allocationMode: Unsupported value: \"Some\": supported values: \"All\", \"ExactCount\"",
                ],
            ),
            (
                exactly(json!({"selectors": [{"cel": {"expression": "x".repeat(10_241)}}]})),
                &[
                    "spec.devices.requests[0].exactly.selectors[0].cel.expression: Too long: may not be more than 10240 bytes",
                ],
            ),
            (
                exactly(json!({"tolerations": [
                    {"key": "a b"}, {"operator": "Exists", "value": "v"}, {"operator": "Any", "effect": "Often"},
                ]})),
                &[
                    "spec.devices.requests[0].exactly.tolerations[1].value: Invalid value: \"v\": must be empty for operator `Exists`",
                    text(format!(
                        "spec.devices.requests[0].exactly.tolerations[0].key: Invalid value: \"a b\": {QUALIFIED}"
                    )),
                    "spec.devices.requests[0].exactly.tolerations[2].operator: Unsupported value: \"Any\": supported values: \"Equal\", \"Exists\"",
                    "spec.devices.requests[0].exactly.tolerations[2].effect: Unsupported value: \"Often\": supported values: \"NoExecute\", \"NoSchedule\", \"None\"",
                ],
            ),
        ],
    );
    becomes(
        CLAIMS,
        &[(
            json!({}),
            json!({"spec": {"devices": {"requests": [
                {"name": "a", "exactly": {
                    "deviceClassName": "c", "allocationMode": "ExactCount", "count": 1,
                    "tolerations": [{"key": "k", "operator": "Equal"}],
                }},
                {"name": "b", "firstAvailable": [
                    {"name": "x", "deviceClassName": "c", "allocationMode": "ExactCount", "count": 1},
                    {"name": "y", "deviceClassName": "d", "allocationMode": "ExactCount", "count": 1},
                ]},
            ]}}}),
        )],
    );
}

#[test]
fn constraints_and_configuration() {
    let constraint = |c: Value| json!({"spec": {"devices": {"constraints": [c]}}});
    let config = |c: Value| json!({"spec": {"devices": {"config": [c]}}});
    let opaque = |o: Value| config(json!({"opaque": o}));
    wrong(
        CLAIMS,
        &[
            (
                constraint(json!({"requests": ["b/z"], "matchAttribute": "x.io/v"})),
                &[text(format!("spec.devices.constraints[0].requests[0]: Invalid value: \"b/z\": {REFERENCE}"))],
            ),
            (
                constraint(json!({"requests": ["a/b/c"], "matchAttribute": "x.io/v"})),
                &[text(format!("spec.devices.constraints[0].requests[0]: Invalid value: \"a/b/c\": {REFERENCE}"))],
            ),
            (
                constraint(json!({"requests": ["a", "a"], "matchAttribute": "x.io/v"})),
                &["spec.devices.constraints[0].requests[1]: Duplicate value: \"a\""],
            ),
            (
                constraint(json!({"requests": ["a"]})),
                &[
                    "spec.devices.constraints[0]: Required value: exactly one of \"matchAttribute\" or \"distinctAttribute\" is required, but multiple fields are set",
                ],
            ),
            (
                constraint(json!({"matchAttribute": "v"})),
                &[
                    "spec.devices.constraints[0].matchAttribute: Invalid value: \"v\": a fully qualified name must be a domain and a name separated by a slash",
                ],
            ),
            (
                constraint(json!({"distinctAttribute": "x/y/z"})),
                &[
                    "spec.devices.constraints[0].distinctAttribute: Invalid value: \"x/y/z\": must not contain more than one slash",
                ],
            ),
            (config(json!({})), &["spec.devices.config[0].opaque: Required value"]),
            (opaque(json!({"driver": "d.io"})), &["spec.devices.config[0].opaque.parameters: Required value"]),
            (
                opaque(json!({"driver": "", "parameters": [1]})),
                &[
                    "spec.devices.config[0].opaque.parameters: Invalid value: \"<value omitted>\": must be a valid JSON object",
                    "spec.devices.config[0].opaque.driver: Required value",
                ],
            ),
            (
                opaque(json!({"driver": "d.io", "parameters": {"a": "x".repeat(10_240)}})),
                &["spec.devices.config[0].opaque.parameters: Too long: may not be more than 10240 bytes"],
            ),
        ],
    );
    wrong_change(
        CLAIMS,
        Part::Main,
        &[(
            json!({}),
            json!({"spec": {"devices": {"constraints": null}}}),
            &["spec: Invalid value: null: field is immutable"],
        )],
    );
    wrong(
        TEMPLATES,
        &[
            (
                json!({"spec": {"metadata": {"labels": {"a b": "c"}}}}),
                &[text(format!("spec.metadata.labels: Invalid value: \"a b\": {QUALIFIED}"))],
            ),
            (
                json!({"spec": {"spec": {"devices": {"constraints": null, "config": null, "requests": [{"name": "a", "exactly": {}}]}}}}),
                &["spec.spec.devices.requests[0].exactly.deviceClassName: Required value"],
            ),
        ],
    );
    wrong(
        CLASSES,
        &[
            (json!({"spec": {"selectors": [{}]}}), &["spec.selectors[0].cel: Required value"]),
            (
                json!({"spec": {"config": [{"opaque": {"driver": "d.io"}}]}}),
                &["spec.config[0].opaque.parameters: Required value"],
            ),
            (
                json!({"spec": {"extendedResourceName": "cpu"}}),
                &["spec.extendedResourceName: Invalid value: \"cpu\": must be a valid extended resource name"],
            ),
        ],
    );
}

#[test]
fn what_is_allocated() {
    let result = json!({"request": "a", "driver": "d.io", "pool": "p", "device": "e"});
    let allocation = |r: Value| json!({"devices": {"results": [super::merged(result.clone(), &r)]}});
    let consumer = json!({"resource": "pods", "name": "p", "uid": "u"});
    let status = |s: Value| json!({"status": s});
    let given = status(json!({"allocation": allocation(json!({}))}));
    let device = |d: Value| {
        let plain = json!({"driver": "d.io", "pool": "p", "device": "e"});
        status(json!({"devices": [super::merged(plain, &d)]}))
    };
    wrong_change(
        CLAIMS,
        Part::Status,
        &[
            (json!({}), given.clone(), &[]),
            (
                json!({}),
                status(json!({"allocation": allocation(json!({"request": "c", "pool": "", "device": "E"}))})),
                &[
                    text(format!("status.allocation.devices.results[0].request: Invalid value: \"c\": {REFERENCE}")),
                    text(format!("status.allocation.devices.results[0].device: Invalid value: \"E\": {LABEL}")),
                    "status.allocation.devices.results[0].pool: Required value",
                ],
            ),
            (
                json!({}),
                status(json!({"allocation": allocation(json!({"bindingConditions": ["a", "a"], "shareID": "1"}))})),
                &[
                    "status.allocation.devices.results[0].bindingConditions[1]: Duplicate value: \"a\"",
                    "status.allocation.devices.results[0].bindingFailureConditions: Invalid value: null: bindingFailureConditions are required to use bindingConditions",
                    "status.allocation.devices.results[0].shareID: Invalid value: \"1\": uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with lowercase hexadecimal characters",
                ],
            ),
            (
                given.clone(),
                status(json!({"allocation": allocation(json!({"device": "f"}))})),
                &["status.allocation: Invalid value: null: field cannot be modified once set"],
            ),
            (
                json!({}),
                status(json!({"reservedFor": [consumer]})),
                &["status.reservedFor: Forbidden: may not be specified when `allocated` is not set"],
            ),
            (
                given.clone(),
                status(json!({"reservedFor": [consumer, {"name": "q", "uid": "u"}]})),
                &[
                    "status.reservedFor[1].resource: Required value",
                    "status.reservedFor[1]: Duplicate value: {\"name\":\"q\",\"uid\":\"u\"}",
                ],
            ),
            (given.clone(), device(json!({})), &[]),
            (
                given.clone(),
                device(json!({"device": "f"})),
                &["status.devices[0]: Invalid value: d.io/p/f: must be an allocated device in the claim"],
            ),
            (
                given.clone(),
                device(json!({"data": "x", "networkData": {"ips": ["10.0.0.1"], "interfaceName": "i".repeat(257)}})),
                &[
                    "status.devices[0].data: Invalid value: \"<value omitted>\": must be a valid JSON object",
                    "status.devices[0].networkData.ips[0]: Invalid value: \"10.0.0.1\": must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)",
                    "status.devices[0].networkData.interfaceName: Too long: may not be more than 256 bytes",
                ],
            ),
        ],
    );
    let mut old = super::merged(plain(CLAIMS), &given);
    old["status"]["devices"] = json!([{"driver": "d.io", "pool": "p", "device": "e"}]);
    let mut new = old.clone();
    new["status"]["allocation"] = Value::Null;
    super::kind(CLAIMS).prepare_update(&mut new, &old, Part::Status);
    assert!(new["status"]["devices"].is_null(), "what was said of a device goes with it: {new}");
}

#[test]
fn slices() {
    let spec = |spec: Value| json!({"spec": spec});
    let device = |d: Value| spec(json!({"devices": [super::merged(json!({"name": "e"}), &d)]}));
    let many: Vec<Value> = (0..129).map(|i| json!({"name": format!("d{i}")})).collect();
    let tainted: Vec<Value> =
        (0..65).map(|i| json!({"name": format!("d{i}"), "taints": [{"key": "k", "effect": "None"}]})).collect();
    const NODES: &str = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
    wrong(
        SLICES,
        &[
            (spec(json!({"driver": ""})), &["spec.driver: Required value"]),
            (
                spec(json!({"pool": {"name": "", "resourceSliceCount": 0, "generation": -1}})),
                &[
                    "spec.pool.name: Required value",
                    "spec.pool.resourceSliceCount: Invalid value: 0: must be greater than zero",
                    "spec.pool.generation: Invalid value: -1: must be greater than or equal to zero",
                ],
            ),
            (spec(json!({"nodeName": null})), &[text(format!("spec: Required value: {NODES}"))]),
            (
                spec(json!({"nodeName": ""})),
                &[
                    "spec.nodeName: Invalid value: \"\": must be either unset or set to a non-empty string",
                    text(format!("spec: Required value: {NODES}")),
                ],
            ),
            (
                spec(json!({"allNodes": true})),
                &[text(format!(
                    "spec: Invalid value: \"{{`nodeName`, `allNodes`}}\": {NODES}, but multiple fields are set"
                ))],
            ),
            (
                spec(json!({"allNodes": false})),
                &["spec.allNodes: Invalid value: false: must be either unset or set to true"],
            ),
            (
                spec(json!({"nodeName": null, "nodeSelector": {"nodeSelectorTerms": []}})),
                &[
                    "spec.nodeSelector.nodeSelectorTerms: Required value: must have at least one node selector term",
                    "spec.nodeSelector.nodeSelectorTerms: Invalid value: []: must have exactly one node selector term",
                ],
            ),
            (
                spec(json!({"sharedCounters": [{"name": "s", "counters": {"c": {"value": "1"}}}]})),
                &["spec: Invalid value: \"\": only one of `sharedCounters` or `devices` is allowed"],
            ),
            (
                spec(json!({"devices": null, "sharedCounters": [{"name": "", "counters": {}}]})),
                &["spec.sharedCounters[0].name: Required value", "spec.sharedCounters[0].counters: Required value"],
            ),
            (spec(json!({"devices": many})), &["spec.devices: Too many: 129: must have at most 128 items"]),
            (spec(json!({"devices": tainted})), &["spec.devices: Too many: 65: must have at most 64 items"]),
            (spec(json!({"devices": [{"name": "e"}, {"name": "e"}]})), &["spec.devices[1]: Duplicate value: \"e\""]),
            (device(json!({"name": "E"})), &[text(format!("spec.devices[0].name: Invalid value: \"E\": {LABEL}"))]),
            (
                device(json!({"attributes": {"/a": {"int": 1}}})),
                &["spec.devices[0].attributes: Invalid value: \"\": the domain must not be empty"],
            ),
            (
                device(json!({"attributes": {"a.b/c/d": {"int": 1}}})),
                &["spec.devices[0].attributes: Invalid value: \"a.b/c/d\": must not contain more than one slash"],
            ),
            (
                device(json!({"attributes": {"a": {"version": "1.2"}}})),
                &[
                    "spec.devices[0].attributes[a].version: Invalid value: \"1.2\": must be a string compatible with semver.org spec 2.0.0",
                ],
            ),
            (
                device(json!({"attributes": {"a": {"string": "x".repeat(65)}}})),
                &["spec.devices[0].attributes[a].string: Too long: may not be more than 64 bytes"],
            ),
            (
                device(json!({"attributes": {"a": {"int": 1, "bool": true}}})),
                &[
                    "spec.devices[0].attributes[a]: Invalid value: \"{int, bool}\": must specify exactly one of: `int`, `bool`, `string`, `version`, `bools`, `ints`, `strings`, `versions`",
                ],
            ),
            (
                device(json!({"capacity": {"m": {"value": "1Gi", "requestPolicy": {"default": "1"}}}})),
                &["spec.devices[0].capacity[m].requestPolicy: Forbidden: allowMultipleAllocations must be true"],
            ),
            (
                device(json!({"taints": [{"key": "", "effect": "Often"}]})),
                &[
                    "spec.devices[0].taints[0].key: Invalid value: \"\": name part must be non-empty",
                    text(format!("spec.devices[0].taints[0].key: Invalid value: \"\": {QUALIFIED}")),
                    "spec.devices[0].taints[0].effect: Unsupported value: \"Often\": supported values: \"NoExecute\", \"NoSchedule\", \"None\"",
                ],
            ),
            (
                device(json!({"nodeName": "n"})),
                &[
                    "spec.devices[0]: Invalid value: null: `nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec",
                ],
            ),
            (
                spec(json!({"nodeName": null, "perDeviceNodeSelection": true})),
                &[
                    "spec.devices[0]: Required value: exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec",
                ],
            ),
            (
                device(json!({"bindingConditions": ["a"], "bindingFailureConditions": ["a"]})),
                &[
                    "spec.devices[0].bindingFailureConditions[0]: Invalid value: \"a\": bindingFailureConditions must not overlap with bindingConditions",
                ],
            ),
        ],
    );
    wrong_change(
        SLICES,
        Part::Main,
        &[(
            json!({}),
            spec(json!({"driver": "e.io", "nodeName": "m", "pool": {"name": "q"}})),
            &[
                "spec.pool.name: Invalid value: \"q\": field is immutable",
                "spec.driver: Invalid value: \"e.io\": field is immutable",
                "spec.nodeName: Invalid value: \"m\": field is immutable",
            ],
        )],
    );
}

#[test]
fn policies_of_capacity() {
    let policy = |p: Value| {
        let capacity = json!({"m": {"value": "10", "requestPolicy": p}});
        json!({"spec": {"devices": [{"name": "e", "allowMultipleAllocations": true, "capacity": capacity}]}})
    };
    const AT: &str = "spec.devices[0].capacity[m].requestPolicy";
    let at = |rest: &str| text(format!("{AT}{rest}"));
    wrong(
        SLICES,
        &[
            (policy(json!({"default": "2", "validValues": ["1", "2"]})), &[]),
            (
                policy(json!({"default": "2", "validValues": ["1"], "validRange": {"min": "1"}})),
                &[at(
                    ": Forbidden: exactly one policy can be specified, cannot specify \"validValues\" and \"validRange\" at the same time",
                )],
            ),
            (
                policy(json!({"validValues": ["1"]})),
                &[at(".default: Required value: required when validValues is defined")],
            ),
            (
                policy(json!({"default": "3", "validValues": ["2", "1", "1", "20"]})),
                &[
                    at(".validValues[1]: Invalid value: \"1\": values must be sorted in ascending order"),
                    at(".validValues[3]: Invalid value: \"20\": option is larger than capacity value: 10"),
                    at(".validValues[2]: Duplicate value: \"1\""),
                    at(".validValues: Invalid value: \"3\": default value is not valid according to the requestPolicy"),
                ],
            ),
            (
                policy(json!({"default": "1", "validRange": {}})),
                &[at(".validRange.min: Required value: required when validRange is defined")],
            ),
            (
                policy(json!({"default": "1", "validRange": {"min": "2", "max": "20"}})),
                &[
                    at(".validRange.default: Invalid value: \"1\": default is less than min: 2"),
                    at(".validRange.max: Invalid value: \"20\": max is larger than capacity value: 10"),
                ],
            ),
            (
                policy(json!({"default": "4", "validRange": {"min": "1", "step": "2"}})),
                &[at(".validRange.step: Invalid value: \"4\": value is not a multiple of a given step (2) from (1)")],
            ),
            (policy(json!({"default": "1500m", "validRange": {"min": "1", "step": "500m"}})), &[]),
            (
                policy(json!({"default": "1", "validRange": {"min": "1", "step": "0"}})),
                &[at(".validRange.step: Invalid value: \"0\": must be greater than zero")],
            ),
        ],
    );
}

#[test]
fn taint_rules() {
    let taint = |t: Value| json!({"spec": {"taint": t}});
    wrong(
        RULES,
        &[
            (json!({"spec": {"deviceSelector": {"driver": ""}}}), &["spec.deviceSelector.driver: Required value"]),
            (
                json!({"spec": {"deviceSelector": {"device": "E"}}}),
                &[text(format!("spec.deviceSelector.device: Invalid value: \"E\": {LABEL}"))],
            ),
            (taint(json!({"effect": ""})), &["spec.taint.effect: Required value"]),
            (
                taint(json!({"effect": "Any"})),
                &[
                    "spec.taint.effect: Unsupported value: \"Any\": supported values: \"NoExecute\", \"NoSchedule\", \"None\"",
                ],
            ),
        ],
    );
    let kind = super::kind(RULES);
    let stamped = |old: Option<&Value>, mut new: Value| {
        kind.rules.stamp(&mut new, old, "2026-01-02T00:00:00Z");
        new["spec"]["taint"]["timeAdded"].clone()
    };
    let mut old = plain(RULES);
    assert_eq!(stamped(None, old.clone()), "2026-01-02T00:00:00Z");
    old["spec"]["taint"]["timeAdded"] = json!("2026-01-01T00:00:00Z");
    let mut new = old.clone();
    new["spec"]["taint"]["value"] = json!("other");
    assert_eq!(stamped(Some(&old), new.clone()), "2026-01-01T00:00:00Z", "a new value is no new taint");
    new["spec"]["taint"]["effect"] = json!("None");
    assert_eq!(stamped(Some(&old), new), "2026-01-02T00:00:00Z", "a new effect is");
}
