//! Webhooks and admission policies.

use super::{becomes, wrong, wrong_change};
use crate::Part;
use serde_json::{Value, json};

const GROUP: &str = "admissionregistration.k8s.io";

fn hook(change: Value) -> Value {
    let rule = json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]});
    let plain = json!({"name": "a.b.c", "sideEffects": "None", "admissionReviewVersions": ["v1"], "rules": [rule], "clientConfig": {"url": "https://a.b/c"}});
    json!({"webhooks": [super::merged(plain, &change)]})
}

fn rule(change: Value) -> Value {
    let plain = json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]});
    hook(json!({"rules": [super::merged(plain, &change)]}))
}

#[test]
fn webhooks() {
    const RULE: &str = "webhooks[0].rules[0]";
    let service = |service: Value| hook(json!({"clientConfig": {"url": null, "service": service}}));
    for named in ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"] {
        let named = &format!("{GROUP}/{named}");
        wrong(
            named,
            &[
                (hook(json!({"name": ""})), &["webhooks[0].name: Required value"]),
                (
                    hook(json!({"name": "a.b"})),
                    &[
                        "webhooks[0].name: Invalid value: \"a.b\": should be a domain with at least three segments separated by dots",
                    ],
                ),
                (rule(json!({"operations": []})), &[&format!("{RULE}.operations: Required value")]),
                (
                    rule(json!({"operations": ["*", "CREATE"]})),
                    &[&format!(
                        "{RULE}.operations: Invalid value: [\"*\",\"CREATE\"]: if '*' is present, must not specify other operations"
                    )],
                ),
                (
                    rule(json!({"operations": ["READ"]})),
                    &[&format!(
                        "{RULE}.operations[0]: Unsupported value: \"READ\": supported values: \"*\", \"CONNECT\", \"CREATE\", \"DELETE\", \"UPDATE\""
                    )],
                ),
                (rule(json!({"apiGroups": []})), &[&format!("{RULE}.apiGroups: Required value")]),
                (
                    rule(json!({"apiGroups": ["*", "a"]})),
                    &[&format!(
                        "{RULE}.apiGroups: Invalid value: [\"*\",\"a\"]: if '*' is present, must not specify other API groups"
                    )],
                ),
                (
                    rule(json!({"apiVersions": ["*", ""]})),
                    &[
                        &format!(
                            "{RULE}.apiVersions: Invalid value: [\"*\",\"\"]: if '*' is present, must not specify other API versions"
                        ),
                        &format!("{RULE}.apiVersions[1]: Required value"),
                    ],
                ),
                (rule(json!({"resources": []})), &[&format!("{RULE}.resources: Required value")]),
                (
                    rule(json!({"resources": ["*/*", "a"]})),
                    &[&format!(
                        "{RULE}.resources: Invalid value: [\"*/*\",\"a\"]: if '*/*' is present, must not specify other resources"
                    )],
                ),
                (
                    rule(json!({"resources": ["a/*", "a/b"]})),
                    &[&format!(
                        "{RULE}.resources[1]: Invalid value: \"a/b\": if 'a/*' is present, must not specify a/b"
                    )],
                ),
                (
                    rule(json!({"resources": ["*/b", "a/b"]})),
                    &[&format!(
                        "{RULE}.resources[1]: Invalid value: \"a/b\": if '*/b' is present, must not specify a/b"
                    )],
                ),
                (
                    rule(json!({"resources": ["*", "a"]})),
                    &[&format!(
                        "{RULE}.resources: Invalid value: [\"*\",\"a\"]: if '*' is present, must not specify other resources without subresources"
                    )],
                ),
                (
                    rule(json!({"scope": "Any"})),
                    &[&format!(
                        "{RULE}.scope: Unsupported value: \"Any\": supported values: \"*\", \"Cluster\", \"Namespaced\""
                    )],
                ),
                (
                    hook(json!({"failurePolicy": "Any"})),
                    &["webhooks[0].failurePolicy: Unsupported value: \"Any\": supported values: \"Fail\", \"Ignore\""],
                ),
                (
                    hook(json!({"matchPolicy": "Any"})),
                    &[
                        "webhooks[0].matchPolicy: Unsupported value: \"Any\": supported values: \"Equivalent\", \"Exact\"",
                    ],
                ),
                (
                    hook(json!({"sideEffects": null})),
                    &["webhooks[0].sideEffects: Required value: must specify one of None, NoneOnDryRun"],
                ),
                (
                    hook(json!({"sideEffects": "Some"})),
                    &[
                        "webhooks[0].sideEffects: Unsupported value: \"Some\": supported values: \"None\", \"NoneOnDryRun\"",
                    ],
                ),
                (
                    hook(json!({"timeoutSeconds": 31})),
                    &[
                        "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds",
                    ],
                ),
                (
                    hook(json!({"clientConfig": {"url": null}})),
                    &["webhooks[0].clientConfig: Required value: exactly one of url or service is required"],
                ),
                (
                    hook(json!({"clientConfig": {"url": "http://a.b"}})),
                    &[
                        "webhooks[0].clientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL scheme; desired format: https://host[/path]",
                    ],
                ),
                // upstream takes the one for the other
                (service(json!({"namespace": "n"})), &["webhooks[0].clientConfig.service.namespace: Required value"]),
                (service(json!({"name": "s"})), &["webhooks[0].clientConfig.service.name: Required value"]),
                (
                    service(json!({"name": "s", "namespace": "n", "port": 70000})),
                    &[
                        "webhooks[0].clientConfig.service.port: Invalid value: 70000: port is not valid: must be between 1 and 65535, inclusive",
                    ],
                ),
                (
                    service(json!({"name": "s", "namespace": "n", "path": "a"})),
                    &[
                        "webhooks[0].clientConfig.service.path: Invalid value: \"a\": must start with a '/'",
                        "webhooks[0].clientConfig.service.path: Invalid value: \"a\": segment[0] may not be empty",
                    ],
                ),
                (
                    service(json!({"name": "s", "namespace": "n", "path": "/a//b"})),
                    &["webhooks[0].clientConfig.service.path: Invalid value: \"/a//b\": segment[1] may not be empty"],
                ),
                (
                    hook(json!({"admissionReviewVersions": []})),
                    &["webhooks[0].admissionReviewVersions: Required value: must specify one of v1, v1beta1"],
                ),
                (
                    hook(json!({"admissionReviewVersions": ["v1", "v1"]})),
                    &["webhooks[0].admissionReviewVersions[1]: Invalid value: \"v1\": duplicate version"],
                ),
                (
                    hook(json!({"admissionReviewVersions": ["v2"]})),
                    &[
                        "webhooks[0].admissionReviewVersions: Invalid value: [\"v2\"]: must include at least one of v1, v1beta1",
                    ],
                ),
                (
                    hook(json!({"matchConditions": [{"name": "", "expression": " "}]})),
                    &[
                        "webhooks[0].matchConditions[0].expression: Required value",
                        "webhooks[0].matchConditions[0].name: Required value",
                    ],
                ),
                (
                    hook(
                        json!({"matchConditions": [{"name": "a", "expression": "true"}, {"name": "a", "expression": "true"}]}),
                    ),
                    &["webhooks[0].matchConditions[1].name: Duplicate value: \"a\""],
                ),
                (
                    hook(
                        json!({"matchConditions": (0..65).map(|i| json!({"name": format!("n{i}"), "expression": "true"})).collect::<Vec<_>>()}),
                    ),
                    &["webhooks[0].matchConditions: Too many: 65: must have at most 64 items"],
                ),
            ],
        );
        let one = hook(json!({}));
        let twice = json!({"webhooks": [one["webhooks"][0], one["webhooks"][0]]});
        wrong(named, &[(twice.clone(), &["webhooks[1].name: Duplicate value: \"a.b.c\""])]);
        // what was accepted once may stay
        wrong_change(
            named,
            Part::Main,
            &[
                (hook(json!({"sideEffects": "Some"})), hook(json!({"sideEffects": "Unknown"})), &[]),
                (twice, json!({"metadata": {"labels": {"a": "b"}}}), &[]),
            ],
        );
        becomes(named, &[(json!({}), json!({}))]);
    }
    wrong(
        &format!("{GROUP}/mutatingwebhookconfigurations"),
        &[(
            hook(json!({"reinvocationPolicy": "Any"})),
            &["webhooks[0].reinvocationPolicy: Unsupported value: \"Any\": supported values: \"IfNeeded\", \"Never\""],
        )],
    );
    let mut full = hook(json!({"clientConfig": {"url": null, "service": {"name": "s", "namespace": "n", "port": 443}},
        "failurePolicy": "Fail", "matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {}, "timeoutSeconds": 10}));
    full["webhooks"][0]["rules"][0]["scope"] = json!("*");
    becomes(
        &format!("{GROUP}/validatingwebhookconfigurations"),
        &[(service(json!({"name": "s", "namespace": "n"})), full)],
    );
}

#[test]
fn policies() {
    let spec = |spec: Value| json!({"spec": spec});
    const ITEM: &str = "validations or auditAnnotations must contain at least one item";
    for named in ["mutatingadmissionpolicies", "validatingadmissionpolicies"] {
        let named = &format!("{GROUP}/{named}");
        wrong(
            named,
            &[
                (
                    spec(json!({"failurePolicy": "Any"})),
                    &["spec.failurePolicy: Unsupported value: \"Any\": supported values: \"Fail\", \"Ignore\""],
                ),
                (spec(json!({"matchConstraints": null})), &["spec.matchConstraints: Required value"]),
                (
                    spec(json!({"matchConstraints": {"resourceRules": []}})),
                    &["spec.matchConstraints.resourceRules: Required value"],
                ),
                (
                    spec(json!({"paramKind": {"apiVersion": "", "kind": "a b"}})),
                    &[
                        "spec.paramKind.apiVersion: Required value",
                        "spec.paramKind.kind: Invalid value: \"a b\": may have mixed case, but should otherwise match: a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')",
                    ],
                ),
                (
                    spec(json!({"paramKind": {"apiVersion": "a/b/c", "kind": "K"}})),
                    &["spec.paramKind.apiVersion: Invalid value: \"a/b/c\": unexpected GroupVersion string: a/b/c"],
                ),
                (
                    spec(json!({"variables": [{"name": "in", "expression": ""}]})),
                    &[
                        "spec.variables[0].name: Invalid value: \"in\": name is not a valid CEL identifier",
                        "spec.variables[0].expression: Required value: expression is not specified",
                    ],
                ),
            ],
        );
        becomes(
            named,
            &[(
                json!({}),
                spec(
                    json!({"failurePolicy": "Fail", "matchConstraints": {"matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {}}}),
                ),
            )],
        );
    }
    wrong(
        &format!("{GROUP}/validatingadmissionpolicies"),
        &[
            (
                spec(json!({"validations": null})),
                &[
                    &format!("spec.validations: Required value: {ITEM}"),
                    &format!("spec.auditAnnotations: Required value: {ITEM}"),
                ],
            ),
            (
                spec(
                    json!({"validations": [{"expression": "", "message": " ", "messageExpression": " ", "reason": "Any"}]}),
                ),
                &[
                    "spec.validations[0].expression: Required value: expression is not specified",
                    "spec.validations[0].messageExpression: Invalid value: \" \": must be non-empty if specified",
                    "spec.validations[0].message: Invalid value: \" \": message must be non-empty if specified",
                    "spec.validations[0].reason: Unsupported value: \"Any\": supported values: \"Forbidden\", \"Invalid\", \"RequestEntityTooLarge\"",
                ],
            ),
            (
                spec(json!({"validations": [{"expression": "true", "message": "a\nb"}]})),
                &["spec.validations[0].message: Invalid value: \"a\\nb\": message must not contain line breaks"],
            ),
            (
                spec(
                    json!({"auditAnnotations": [{"key": "a", "valueExpression": "'b'"}, {"key": "a", "valueExpression": ""}]}),
                ),
                &[
                    "spec.auditAnnotations[1].valueExpression: Required value: valueExpression is not specified",
                    "spec.auditAnnotations[1].key: Duplicate value: \"a\"",
                ],
            ),
        ],
    );
    wrong(
        &format!("{GROUP}/mutatingadmissionpolicies"),
        &[
            (
                spec(json!({"mutations": []})),
                &["spec.mutations: Required value: mutations must contain at least one item"],
            ),
            (
                spec(json!({"mutations": [{"patchType": "Merge"}]})),
                &[
                    "spec.mutations[0].patchType: Unsupported value: \"Merge\": supported values: \"ApplyConfiguration\", \"JSONPatch\"",
                ],
            ),
            (
                spec(json!({"mutations": [{"patchType": "JSONPatch", "applyConfiguration": {"expression": "x"}}]})),
                &[
                    "spec.mutations[0].jsonPatch: Required value: must be specified when patchType is JSONPatch",
                    "spec.mutations[0].applyConfiguration: Invalid value: \"{applyConfiguration}\": must not be specified when patchType is JSONPatch",
                ],
            ),
            (spec(json!({"reinvocationPolicy": ""})), &["spec.reinvocationPolicy: Required value"]),
            (
                spec(json!({"mutations": [
                    {"patchType": "JSONPatch", "jsonPatch": {"expression": "[]"}},
                    {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "'x'"}},
                    {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "Object{metadata: Object.metadata{labels: {'a': object.metadata.name}}}"}},
                ]})),
                &[
                    "spec.mutations[0].jsonPatch.expression: Invalid value: \"[]\": must evaluate to list(JSONPatch) but got list(dyn)",
                    "spec.mutations[1].applyConfiguration.expression: Invalid value: \"'x'\": must evaluate to Object but got string",
                ],
            ),
        ],
    );
}

#[test]
fn expressions() {
    let conditions = |list: Value| hook(json!({"matchConditions": list}));
    let named = |expression: &str| json!([{"name": "a", "expression": expression}]);
    wrong(
        &format!("{GROUP}/validatingwebhookconfigurations"),
        &[
            (
                conditions(named(
                    " object.metadata.name != '' && request.operation == 'CREATE' && authorizer.path('/a').check('get').allowed()",
                )),
                &[],
            ),
            (
                conditions(named("object.x +")),
                &[
                    "webhooks[0].matchConditions[0].expression: Invalid value: \"object.x +\": compilation failed: ERROR: <input>:1:11: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}\n | object.x +\n | ..........^",
                ],
            ),
            (
                conditions(named("'yes'")),
                &[
                    "webhooks[0].matchConditions[0].expression: Invalid value: \"'yes'\": must evaluate to bool but got string",
                ],
            ),
            (
                conditions(named("params.x == 1")),
                &[
                    "webhooks[0].matchConditions[0].expression: Invalid value: \"params.x == 1\": compilation failed: ERROR: <input>:1:1: undeclared reference to 'params' (in container '')\n | params.x == 1\n | ^",
                ],
            ),
        ],
    );
    let policy = |rest: Value| {
        let mut spec = json!({"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}});
        rest.as_object().into_iter().flatten().for_each(|(name, value)| spec[name] = value.clone());
        json!({"metadata": {"name": "p"}, "spec": spec})
    };
    const AT: &str = "spec.validations[0]";
    wrong(
        &format!("{GROUP}/validatingadmissionpolicies"),
        &[
            (
                policy(json!({
                    "matchConditions": named("params.data.on == 'true'"),
                    "variables": [{"name": "n", "expression": "object.spec.replicas"}, {"name": "twice", "expression": "int(variables.n) * 2"}],
                    "validations": [{"expression": "variables.twice <= int(params.data.max)", "messageExpression": "'no more than ' + params.data.max + string(variables.twice)"}],
                    "auditAnnotations": [{"key": "k", "valueExpression": "variables.twice > 2 ? 'many' : 'few'"}],
                })),
                &[],
            ),
            (
                policy(
                    json!({"variables": [{"name": "n", "expression": "nothing"}], "validations": [{"expression": "variables.n == 1"}]}),
                ),
                &[
                    "spec.variables[0].expression: Invalid value: \"nothing\": compilation failed: ERROR: <input>:1:1: undeclared reference to 'nothing' (in container '')\n | nothing\n | ^",
                ],
            ),
            (
                policy(
                    json!({"variables": [{"name": "n", "expression": "1"}], "validations": [{"expression": "variables.m == 1"}]}),
                ),
                &[&format!(
                    "{AT}.expression: Invalid value: \"variables.m == 1\": compilation failed: ERROR: <input>:1:10: undefined field 'm'\n | variables.m == 1\n | .........^"
                )],
            ),
            (
                policy(
                    json!({"validations": [{"expression": "object", "messageExpression": "authorizer.path('/').check('get').reason()"}]}),
                ),
                &[
                    &format!("{AT}.expression: Invalid value: \"object\": must evaluate to bool but got dyn"),
                    &format!(
                        "{AT}.messageExpression: Invalid value: \"authorizer.path('/').check('get').reason()\": compilation failed: ERROR: <input>:1:1: undeclared reference to 'authorizer' (in container '')\n | authorizer.path('/').check('get').reason()\n | ^"
                    ),
                ],
            ),
            (
                policy(json!({"auditAnnotations": [{"key": "k", "valueExpression": "true"}]})),
                &[
                    "spec.auditAnnotations[0].valueExpression: Invalid value: \"true\": must evaluate to one of [string null_type] but got bool",
                ],
            ),
        ],
    );
}

#[test]
fn bindings() {
    let reference = |r: Value| json!({"spec": {"paramRef": r}});
    const ACTIONS: &str = "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)";
    for named in ["mutatingadmissionpolicybindings", "validatingadmissionpolicybindings"] {
        wrong(
            &format!("{GROUP}/{named}"),
            &[
                (json!({"spec": {"policyName": ""}}), &["spec.policyName: Required value"]),
                (reference(json!({})), &["spec.paramRef: Required value: one of name or selector must be specified"]),
                (
                    reference(json!({"name": "a", "selector": {}})),
                    &[
                        "spec.paramRef.name: Forbidden: name and selector are mutually exclusive",
                        "spec.paramRef.selector: Forbidden: name and selector are mutually exclusive",
                    ],
                ),
                (
                    reference(json!({"name": "a", "parameterNotFoundAction": "Any"})),
                    &[
                        "spec.paramRef.parameterNotFoundAction: Unsupported value: \"Any\": supported values: \"Deny\", \"Allow\"",
                    ],
                ),
            ],
        );
    }
    wrong(
        &format!("{GROUP}/validatingadmissionpolicybindings"),
        &[
            (json!({"spec": {"validationActions": []}}), &["spec.validationActions: Required value"]),
            (
                json!({"spec": {"validationActions": ["Deny", "Warn", "Deny"]}}),
                &[
                    "spec.validationActions[2]: Duplicate value: \"Deny\"",
                    &format!("spec.validationActions: Invalid value: [\"Deny\",\"Warn\",\"Deny\"]: {ACTIONS}"),
                ],
            ),
            (
                json!({"spec": {"matchResources": {"resourceRules": [{}]}}}),
                &[
                    "spec.matchResouces.resourceRules[0].operations: Required value",
                    "spec.matchResouces.resourceRules[0].apiGroups: Required value",
                    "spec.matchResouces.resourceRules[0].apiVersions: Required value",
                    "spec.matchResouces.resourceRules[0].resources: Required value",
                ],
            ),
        ],
    );
}
