//! What stands below an object: `status`, `scale`, `exec`, …; and which part of the object it writes.

use crate::descriptor::CREATE_ONLY;

/// A subresource of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subresource {
    /// What it does, and thereby its name.
    pub action: Action,
    /// Group of the body.
    pub group: &'static str,
    /// Version of the body.
    pub version: &'static str,
    /// Kind of the body; empty: the kind itself.
    pub kind: &'static str,
    /// The body's definition in the schema table.
    pub schema: &'static str,
    /// Verbs served.
    pub verbs: &'static [&'static str],
}

/// What a subresource does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Reads and writes `status` only. The body is the kind itself.
    Status,
    /// Reads and writes the replica count as an `autoscaling/v1` Scale.
    Scale {
        /// Where the wanted count is.
        spec: &'static str,
        /// Where the observed count is.
        status: &'static str,
        /// Where the pod selector is (a LabelSelector, or a plain map for ReplicationController).
        selector: &'static str,
    },
    /// Puts a pod on a node.
    Binding,
    /// Deletes a pod if its disruption budget allows.
    Eviction,
    /// Streams a container's log.
    Log,
    /// Runs a command in a container.
    Exec,
    /// Attaches to a container.
    Attach,
    /// Forwards ports.
    PortForward,
    /// Forwards HTTP requests to the object.
    Proxy,
    /// Issues a service-account token.
    Token,
    /// Writes the `Approved` and `Denied` conditions of a CSR. The body is the kind itself.
    Approval,
    /// Adds ephemeral containers. The body is the kind itself.
    EphemeralContainers,
    /// Changes container resources in place. The body is the kind itself.
    Resize,
    /// Writes `spec.finalizers` of a namespace. The body is the kind itself.
    Finalize,
}

impl Action {
    /// The path segment.
    pub fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Scale { .. } => "scale",
            Self::Binding => "binding",
            Self::Eviction => "eviction",
            Self::Log => "log",
            Self::Exec => "exec",
            Self::Attach => "attach",
            Self::PortForward => "portforward",
            Self::Proxy => "proxy",
            Self::Token => "token",
            Self::Approval => "approval",
            Self::EphemeralContainers => "ephemeralcontainers",
            Self::Resize => "resize",
            Self::Finalize => "finalize",
        }
    }

    /// The part of the object that the subresource writes, if it writes the object itself.
    pub fn part(self) -> Option<Part> {
        Some(match self {
            Self::Status => Part::Status,
            Self::Approval => Part::Approval,
            Self::EphemeralContainers => Part::EphemeralContainers,
            Self::Resize => Part::Resize,
            Self::Finalize => Part::Finalize,
            Self::Scale { .. } => Part::Main,
            _ => return None,
        })
    }
}

/// Which part of an object an update may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Everything but `status` (when the kind keeps status apart).
    Main,
    /// `status`.
    Status,
    /// The approval conditions of a CSR.
    Approval,
    /// `spec.ephemeralContainers`.
    EphemeralContainers,
    /// `spec.containers[*].resources`.
    Resize,
    /// `spec.finalizers`.
    Finalize,
}

macro_rules! body {
    ($group:literal, $version:literal, $kind:literal, $schema:literal) => {
        Subresource {
            action: Action::Status,
            group: $group,
            version: $version,
            kind: $kind,
            schema: $schema,
            verbs: &[],
        }
    };
}

impl Subresource {
    /// The verbs of most subresources.
    pub const READ_WRITE: &'static [&'static str] = &["get", "patch", "update"];

    const fn on(self, action: Action, verbs: &'static [&'static str]) -> Self {
        Self { action, verbs, ..self }
    }

    /// A subresource whose body is some other kind.
    pub const fn own(
        action: Action,
        group: &'static str,
        version: &'static str,
        kind: &'static str,
        schema: &'static str,
        verbs: &'static [&'static str],
    ) -> Self {
        Self { action, group, version, kind, schema, verbs }
    }

    /// A subresource whose body is `K` itself.
    pub const fn of<K: k8s_openapi::Resource>(action: Action, schema: &'static str) -> Self {
        Self::own(action, K::GROUP, K::VERSION, K::KIND, schema, Self::READ_WRITE)
    }

    /// `status` of `K`.
    pub const fn status<K: k8s_openapi::Resource>(schema: &'static str) -> Self {
        Self::of::<K>(Action::Status, schema)
    }

    /// `status` of the kind itself, whichever that is.
    pub const OWN_STATUS: Self = Self::own(Action::Status, "", "", "", "", Self::READ_WRITE);

    /// `scale`.
    pub const fn scale(selector: &'static str) -> Self {
        let action = Action::Scale { spec: "spec.replicas", status: "status.replicas", selector };
        body!("autoscaling", "v1", "Scale", "io.k8s.api.autoscaling.v1.Scale").on(action, Self::READ_WRITE)
    }

    /// `binding`.
    pub const BINDING: Self = body!("", "v1", "Binding", "io.k8s.api.core.v1.Binding").on(Action::Binding, CREATE_ONLY);
    /// `eviction`.
    pub const EVICTION: Self =
        body!("policy", "v1", "Eviction", "io.k8s.api.policy.v1.Eviction").on(Action::Eviction, CREATE_ONLY);
    /// `log`.
    pub const LOG: Self = body!("", "v1", "Pod", "io.k8s.api.core.v1.Pod").on(Action::Log, &["get"]);
    /// `exec`.
    pub const EXEC: Self = body!("", "v1", "PodExecOptions", "").on(Action::Exec, &["create", "get"]);
    /// `attach`.
    pub const ATTACH: Self = body!("", "v1", "PodAttachOptions", "").on(Action::Attach, &["create", "get"]);
    /// `portforward`.
    pub const PORT_FORWARD: Self =
        body!("", "v1", "PodPortForwardOptions", "").on(Action::PortForward, &["create", "get"]);
    /// `serviceaccounts/token`.
    pub const TOKEN: Self =
        body!("authentication.k8s.io", "v1", "TokenRequest", "io.k8s.api.authentication.v1.TokenRequest")
            .on(Action::Token, CREATE_ONLY);

    /// `proxy`, with the options' kind.
    pub const fn proxy(kind: &'static str) -> Self {
        const VERBS: &[&str] = &["create", "delete", "get", "patch", "update"];
        Self::own(Action::Proxy, "", "v1", kind, "", VERBS)
    }
}
