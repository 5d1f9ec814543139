//! How upstream prints values of its inner types: under Go's names, in Go's order, with everything that is not set.
//!
//! Only error messages need it, where a whole structure is what is wrong.

use serde_json::{Value, json};
use std::fmt::Write;

/// A field of an inner type: its name there, its name on the wire, and what it shows.
pub struct Field(pub &'static str, pub &'static str, pub Show);

/// How a field shows.
#[derive(Clone, Copy)]
pub enum Show {
    /// As JSON; `null` when it is not set (pointers, lists, maps).
    Null,
    /// A plain string.
    Text,
    /// A plain number.
    Number,
    /// A pointer to another inner type.
    Of(&'static [Field]),
}

/// `value` as Go prints it.
pub fn show(value: &Value, fields: &[Field]) -> String {
    let mut text = String::from("{");
    for (index, Field(inner, outer, how)) in fields.iter().enumerate() {
        let field = &value[*outer];
        let shown = match (how, field) {
            (Show::Text, Value::Null) => json!("").to_string(),
            (Show::Number, Value::Null) => "0".into(),
            (Show::Of(fields), Value::Object(_)) => show(field, fields),
            (_, field) => field.to_string(),
        };
        // writing into a string cannot fail
        let _ = write!(text, "{}\"{inner}\":{shown}", if index == 0 { "" } else { "," });
    }
    text.push('}');
    text
}

const SECCOMP: &[Field] =
    &[Field("Type", "type", Show::Text), Field("LocalhostProfile", "localhostProfile", Show::Null)];

/// `core.SeccompProfile`.
pub const SECCOMP_PROFILE: &[Field] = SECCOMP;

/// `core.SecurityContext`.
pub const SECURITY_CONTEXT: &[Field] = &[
    Field(
        "Capabilities",
        "capabilities",
        Show::Of(&[Field("Add", "add", Show::Null), Field("Drop", "drop", Show::Null)]),
    ),
    Field("Privileged", "privileged", Show::Null),
    Field(
        "SELinuxOptions",
        "seLinuxOptions",
        Show::Of(&[
            Field("User", "user", Show::Text),
            Field("Role", "role", Show::Text),
            Field("Type", "type", Show::Text),
            Field("Level", "level", Show::Text),
        ]),
    ),
    Field(
        "WindowsOptions",
        "windowsOptions",
        Show::Of(&[
            Field("GMSACredentialSpecName", "gmsaCredentialSpecName", Show::Null),
            Field("GMSACredentialSpec", "gmsaCredentialSpec", Show::Null),
            Field("RunAsUserName", "runAsUserName", Show::Null),
            Field("HostProcess", "hostProcess", Show::Null),
        ]),
    ),
    Field("RunAsUser", "runAsUser", Show::Null),
    Field("RunAsGroup", "runAsGroup", Show::Null),
    Field("RunAsNonRoot", "runAsNonRoot", Show::Null),
    Field("ReadOnlyRootFilesystem", "readOnlyRootFilesystem", Show::Null),
    Field("AllowPrivilegeEscalation", "allowPrivilegeEscalation", Show::Null),
    Field("ProcMount", "procMount", Show::Null),
    Field("SeccompProfile", "seccompProfile", Show::Of(SECCOMP)),
    Field("AppArmorProfile", "appArmorProfile", Show::Of(SECCOMP)),
];

/// `core.PodResourceClaim`.
pub const POD_CLAIM: &[Field] = &[
    Field("Name", "name", Show::Text),
    Field("ResourceClaimName", "resourceClaimName", Show::Null),
    Field("ResourceClaimTemplateName", "resourceClaimTemplateName", Show::Null),
];

/// `core.ClusterTrustBundleProjection`.
pub const TRUST_BUNDLE: &[Field] = &[
    Field("Name", "name", Show::Null),
    Field("SignerName", "signerName", Show::Null),
    Field("LabelSelector", "labelSelector", Show::Null),
    Field("Optional", "optional", Show::Null),
    Field("Path", "path", Show::Text),
];

/// `core.Taint`.
pub const TAINT: &[Field] = &[
    Field("Key", "key", Show::Text),
    Field("Value", "value", Show::Text),
    Field("Effect", "effect", Show::Text),
    Field("TimeAdded", "timeAdded", Show::Null),
];

/// `core.ServicePort`, of which only protocol and port count.
pub const SERVICE_PORT: &[Field] = &[
    Field("Name", "", Show::Text),
    Field("Protocol", "protocol", Show::Text),
    Field("AppProtocol", "", Show::Null),
    Field("Port", "port", Show::Number),
    Field("TargetPort", "", Show::Number),
    Field("NodePort", "", Show::Number),
];

/// `core.NodeAddress`.
pub const NODE_ADDRESS: &[Field] = &[Field("Type", "type", Show::Text), Field("Address", "address", Show::Text)];

/// `apps.DeploymentStrategy`, `apps.DaemonSetUpdateStrategy`.
pub const STRATEGY: &[Field] = &[
    Field("Type", "type", Show::Text),
    Field(
        "RollingUpdate",
        "rollingUpdate",
        Show::Of(&[
            Field("MaxUnavailable", "maxUnavailable", Show::Number),
            Field("MaxSurge", "maxSurge", Show::Number),
        ]),
    ),
];

/// `apps.RollingUpdateStatefulSetStrategy`.
pub const PARTITIONED: &[Field] =
    &[Field("Partition", "partition", Show::Number), Field("MaxUnavailable", "maxUnavailable", Show::Null)];

/// `apps.StatefulSetUpdateStrategy`.
pub const PARTITIONED_STRATEGY: &[Field] =
    &[Field("Type", "type", Show::Text), Field("RollingUpdate", "rollingUpdate", Show::Of(PARTITIONED))];

/// `policy.PodDisruptionBudgetSpec`.
pub const BUDGET: &[Field] = &[
    Field("MinAvailable", "minAvailable", Show::Null),
    Field("Selector", "selector", Show::Null),
    Field("MaxUnavailable", "maxUnavailable", Show::Null),
    Field("UnhealthyPodEvictionPolicy", "unhealthyPodEvictionPolicy", Show::Null),
];

/// `core.NodeSelectorTerm` and what is in it.
pub fn node_selector_term(term: &Value) -> String {
    let list = |field: &str| match term[field].as_array() {
        None => "null".to_string(),
        Some(all) => format!("[{}]", all.iter().map(|e| show(e, REQUIREMENT)).collect::<Vec<_>>().join(",")),
    };
    format!("{{\"MatchExpressions\":{},\"MatchFields\":{}}}", list("matchExpressions"), list("matchFields"))
}

const REQUIREMENT: &[Field] = &[
    Field("Key", "key", Show::Text),
    Field("Operator", "operator", Show::Text),
    Field("Values", "values", Show::Null),
];

/// A list of inner values.
pub fn list(values: &Value, show: impl Fn(&Value) -> String) -> String {
    match values.as_array() {
        None => "null".to_string(),
        Some(all) => format!("[{}]", all.iter().map(show).collect::<Vec<_>>().join(",")),
    }
}
