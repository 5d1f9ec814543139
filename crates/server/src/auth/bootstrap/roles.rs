//! Upstream's default roles and bindings (`plugin/pkg/auth/authorizer/rbac/bootstrappolicy`), as tables; controllers apart.

use crate::auth::{node, rbac::Rule};

/// A cluster role.
pub struct ClusterRole {
    /// Its name.
    pub name: String,
    /// The roles that it is a part of.
    pub aggregates_to: &'static [&'static str],
    /// Its rules.
    pub rules: Vec<Rule>,
}

/// A role in a namespace, bound under its own name.
pub struct NamespacedRole {
    /// Where.
    pub namespace: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Its rules.
    pub rules: Vec<Rule>,
    /// Who has it.
    pub subjects: &'static [Subject],
}

/// Whom a binding names.
pub enum Subject {
    /// A user.
    User(&'static str),
    /// A group.
    Group(&'static str),
    /// A service account of kube-system.
    Account(&'static str),
}

use Subject::{Account, Group, User};

const READ: &str = "get,list,watch";
const WRITE: &str = "create,delete,deletecollection,patch,update";
const RBAC: &str = "rbac.authorization.k8s.io";

/// Who may see what is used, as metrics-server's manifests have it.
const METRICS_READER: &str = "system:aggregated-metrics-reader";

/// Roles made of others: `(name, part of, the roles that it is made of)`.
pub const AGGREGATED: [(&str, Option<&str>, &[&str]); 3] = [
    (
        "admin",
        None,
        &["system:aggregate-to-admin", "system:aggregate-to-edit", "system:aggregate-to-view", METRICS_READER],
    ),
    ("edit", Some("admin"), &["system:aggregate-to-edit", "system:aggregate-to-view", METRICS_READER]),
    ("view", Some("edit"), &["system:aggregate-to-view", METRICS_READER]),
];

/// `(binding, cluster role, subjects)`.
pub const CLUSTER_BINDINGS: &[(&str, &str, &[Subject])] = &[
    ("cluster-admin", "cluster-admin", &[Group("system:masters")]),
    ("system:monitoring", "system:monitoring", &[Group("system:monitoring")]),
    ("system:discovery", "system:discovery", &[Group("system:authenticated")]),
    ("system:basic-user", "system:basic-user", &[Group("system:authenticated")]),
    (
        "system:public-info-viewer",
        "system:public-info-viewer",
        &[Group("system:authenticated"), Group("system:unauthenticated")],
    ),
    ("system:node-proxier", "system:node-proxier", &[User("system:kube-proxy")]),
    ("system:kube-controller-manager", "system:kube-controller-manager", &[User("system:kube-controller-manager")]),
    ("system:kube-dns", "system:kube-dns", &[Account("kube-dns")]),
    ("system:kube-scheduler", "system:kube-scheduler", &[User("system:kube-scheduler")]),
    ("system:volume-scheduler", "system:volume-scheduler", &[User("system:kube-scheduler")]),
    ("system:node", "system:node", &[]),
    (
        "system:service-account-issuer-discovery",
        "system:service-account-issuer-discovery",
        &[Group("system:serviceaccounts")],
    ),
    // what kubeadm binds when it sets a cluster up: nodes join by bootstrap token and renew their own certificates
    ("coracle:kubelet-bootstrap", "system:node-bootstrapper", &[Group("system:bootstrappers")]),
    (
        "coracle:node-autoapprove-bootstrap",
        "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
        &[Group("system:bootstrappers")],
    ),
    (
        "coracle:node-autoapprove-certificate-rotation",
        "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
        &[Group("system:nodes")],
    ),
    // the agent is kubelet, service proxy and DNS in one, under the node's identity
    ("coracle:node", "coracle:node", &[Group("system:nodes")]),
    ("coracle:local-path-provisioner", "coracle:local-path-provisioner", &[Account("local-path-provisioner")]),
];

fn r(verbs: &str, groups: &str, resources: &str) -> Rule {
    Rule::resources(verbs, groups, resources)
}

fn named(rule: Rule, names: &[&str]) -> Rule {
    Rule { resource_names: names.iter().map(ToString::to_string).collect(), ..rule }
}

/// Recording events in both of their groups.
pub fn events() -> Rule {
    r("create,patch,update", ",events.k8s.io", "events")
}

/// Every cluster role that is not a controller's and not made of others.
pub fn cluster_roles() -> Vec<ClusterRole> {
    let plain = |(name, rules): (&str, Vec<Rule>)| ClusterRole { name: name.to_string(), aggregates_to: &[], rules };
    let mut all: Vec<ClusterRole> = people().into_iter().chain(components()).chain(signers()).map(plain).collect();
    let parts: [(&'static [&'static str], _); 3] =
        [(&["admin"], admin_part()), (&["edit"], edit_part()), (&["view"], view_part())];
    for (part_of, rules) in parts {
        all.push(ClusterRole { name: format!("system:aggregate-to-{}", part_of[0]), aggregates_to: part_of, rules });
    }
    all.push(ClusterRole {
        name: METRICS_READER.into(),
        aggregates_to: &["admin", "edit", "view"],
        rules: vec![r(READ, "metrics.k8s.io", "nodes,pods")],
    });
    all
}

/// The rules of some parts together, in upstream's order of names.
pub fn aggregate(parts: &[&str]) -> Vec<Rule> {
    let mut rules = Vec::new();
    for part in cluster_roles().into_iter().filter(|role| parts.contains(&role.name.as_str())) {
        for rule in part.rules {
            if !rules.contains(&rule) {
                rules.push(rule);
            }
        }
    }
    rules
}

fn people() -> Vec<(&'static str, Vec<Rule>)> {
    vec![
        ("cluster-admin", vec![r("*", "*", "*"), Rule::paths("*", "*")]),
        (
            "system:discovery",
            vec![Rule::paths(
                "get",
                "/api,/api/*,/apis,/apis/*,/healthz,/livez,/openapi,/openapi/*,/readyz,/version,/version/",
            )],
        ),
        (
            "system:monitoring",
            vec![Rule::paths("get", "/healthz,/healthz/*,/livez,/livez/*,/metrics,/metrics/slis,/readyz,/readyz/*")],
        ),
        (
            "system:basic-user",
            vec![
                r("create", "authorization.k8s.io", "selfsubjectaccessreviews,selfsubjectrulesreviews"),
                r("create", "authentication.k8s.io", "selfsubjectreviews"),
            ],
        ),
        ("system:public-info-viewer", vec![Rule::paths("get", "/healthz,/livez,/readyz,/version,/version/")]),
        (
            "system:service-account-issuer-discovery",
            vec![Rule::paths(
                "get",
                "/.well-known/openid-configuration,/.well-known/openid-configuration/,/openid/v1/jwks,/openid/v1/jwks/",
            )],
        ),
        ("system:cluster-trust-bundle-discovery", vec![r(READ, "certificates.k8s.io", "clustertrustbundles")]),
        (
            "system:auth-delegator",
            vec![
                r("create", "authentication.k8s.io", "tokenreviews"),
                r("create", "authorization.k8s.io", "subjectaccessreviews"),
            ],
        ),
    ]
}

fn components() -> Vec<(&'static str, Vec<Rule>)> {
    let mut node_rules = node::rules();
    node_rules.push(r("get", "", "serviceaccounts"));
    vec![
        ("system:node", node_rules),
        (
            "system:node-bootstrapper",
            vec![r("create,get,list,watch", "certificates.k8s.io", "certificatesigningrequests")],
        ),
        ("system:node-problem-detector", vec![r("get", "", "nodes"), r("patch", "", "nodes/status"), events()]),
        (
            "system:node-proxier",
            vec![
                r("list,watch", "", "endpoints,services"),
                r(READ, "", "nodes"),
                events(),
                r("list,watch", "discovery.k8s.io", "endpointslices"),
                r("list,watch", "networking.k8s.io", "servicecidrs"),
            ],
        ),
        (
            "coracle:node",
            vec![
                r(READ, "", "endpoints,namespaces,nodes,services"),
                r(READ, "discovery.k8s.io", "endpointslices"),
                r(READ, "networking.k8s.io", "networkpolicies"),
            ],
        ),
        (
            "system:kubelet-api-admin",
            vec![
                r(READ, "", "nodes"),
                r("proxy", "", "nodes"),
                r(
                    "*",
                    "",
                    "nodes/checkpoint,nodes/configz,nodes/healthz,nodes/log,nodes/metrics,nodes/pods,nodes/proxy,nodes/stats",
                ),
            ],
        ),
        ("system:kube-aggregator", vec![r(READ, "", "endpoints,services")]),
        ("system:kube-dns", vec![r("list,watch", "", "endpoints,services")]),
        ("system:kube-controller-manager", controller_manager()),
        ("system:kube-scheduler", scheduler()),
        (
            "system:volume-scheduler",
            vec![
                r("get,list,patch,update,watch", "", "persistentvolumes"),
                r(READ, "storage.k8s.io", "storageclasses"),
                r("get,list,patch,update,watch", "", "persistentvolumeclaims"),
            ],
        ),
        ("system:persistent-volume-provisioner", provisioner()),
        ("coracle:local-path-provisioner", {
            let mut rules = provisioner();
            rules.push(r("patch,update", "", "persistentvolumeclaims,persistentvolumes"));
            // it asks a node by an annotation to remove a directory; that is less than `nodes/proxy`, which runs commands
            rules.push(r("get,list,patch,watch", "", "nodes"));
            rules.push(r("create", "storage.k8s.io", "storageclasses"));
            rules
        }),
        ("system:heapster", vec![r(READ, "", "events,namespaces,nodes,pods"), r(READ, "extensions", "deployments")]),
    ]
}

fn provisioner() -> Vec<Rule> {
    vec![
        r("create,delete,get,list,watch", "", "persistentvolumes"),
        r("get,list,update,watch", "", "persistentvolumeclaims"),
        r(READ, "storage.k8s.io", "storageclasses"),
        r("watch", "", "events"),
        events(),
    ]
}

fn controller_manager() -> Vec<Rule> {
    vec![
        events(),
        r("create", "coordination.k8s.io", "leases"),
        named(r("get,update", "coordination.k8s.io", "leases"), &["kube-controller-manager"]),
        r("create", "", "secrets,serviceaccounts"),
        r("delete", "", "secrets"),
        r("get", "", "configmaps,namespaces,secrets,serviceaccounts"),
        r("update", "", "secrets,serviceaccounts"),
        r("create", "authentication.k8s.io", "tokenreviews"),
        r("create", "authorization.k8s.io", "subjectaccessreviews"),
        r("list,watch", "*", "*"),
        r("create", "", "serviceaccounts/token"),
    ]
}

fn scheduler() -> Vec<Rule> {
    vec![
        events(),
        r("create", "coordination.k8s.io", "leases"),
        named(r("get,list,update,watch", "coordination.k8s.io", "leases"), &["kube-scheduler"]),
        r("create", "coordination.k8s.io", "leasecandidates"),
        r("deletecollection,get,list,patch,update,watch", "coordination.k8s.io", "leasecandidates"),
        r(READ, "", "nodes"),
        r("delete,get,list,watch", "", "pods"),
        r("create", "", "bindings,pods/binding"),
        r("patch,update", "", "pods/status"),
        r(READ, "", "replicationcontrollers,services"),
        r(READ, "apps,extensions", "replicasets"),
        r(READ, "apps", "statefulsets"),
        r(READ, "policy", "poddisruptionbudgets"),
        r(READ, "", "persistentvolumeclaims,persistentvolumes"),
        r("create", "authentication.k8s.io", "tokenreviews"),
        r("create", "authorization.k8s.io", "subjectaccessreviews"),
        r(READ, "storage.k8s.io", "csinodes"),
        r(READ, "", "namespaces"),
        r(READ, "storage.k8s.io", "csidrivers"),
        r(READ, "storage.k8s.io", "csistoragecapacities"),
        r(READ, "storage.k8s.io", "volumeattachments"),
        r(READ, "resource.k8s.io", "deviceclasses,resourceslices"),
        r("get,list,patch,update,watch", "resource.k8s.io", "resourceclaims"),
        r("patch,update", "resource.k8s.io", "resourceclaims/status"),
    ]
}

fn signers() -> Vec<(&'static str, Vec<Rule>)> {
    let csr = |sub: &str| vec![r("create", "certificates.k8s.io", &format!("certificatesigningrequests/{sub}"))];
    let approve = |signer: &str| vec![named(r("approve", "certificates.k8s.io", "signers"), &[signer])];
    vec![
        ("system:certificates.k8s.io:certificatesigningrequests:nodeclient", csr("nodeclient")),
        ("system:certificates.k8s.io:certificatesigningrequests:selfnodeclient", csr("selfnodeclient")),
        ("system:certificates.k8s.io:legacy-unknown-approver", approve("kubernetes.io/legacy-unknown")),
        ("system:certificates.k8s.io:kubelet-serving-approver", approve("kubernetes.io/kubelet-serving")),
        ("system:certificates.k8s.io:kube-apiserver-client-approver", approve("kubernetes.io/kube-apiserver-client")),
        (
            "system:certificates.k8s.io:kube-apiserver-client-kubelet-approver",
            approve("kubernetes.io/kube-apiserver-client-kubelet"),
        ),
    ]
}

fn admin_part() -> Vec<Rule> {
    vec![
        r("create", "authorization.k8s.io", "localsubjectaccessreviews"),
        r(&format!("{WRITE},{READ}"), RBAC, "rolebindings,roles"),
    ]
}

fn edit_part() -> Vec<Rule> {
    vec![
        r(READ, "", "pods/attach,pods/exec,pods/portforward,pods/proxy,secrets,services/proxy"),
        r("impersonate", "", "serviceaccounts"),
        r(WRITE, "", "pods,pods/attach,pods/exec,pods/portforward,pods/proxy"),
        r("create", "", "pods/eviction"),
        r(
            WRITE,
            "",
            "configmaps,events,persistentvolumeclaims,replicationcontrollers,replicationcontrollers/scale,secrets,serviceaccounts,services,services/proxy",
        ),
        r("create", "", "serviceaccounts/token"),
        r(
            WRITE,
            "apps",
            "daemonsets,deployments,deployments/rollback,deployments/scale,replicasets,replicasets/scale,statefulsets,statefulsets/scale",
        ),
        r(WRITE, "autoscaling", "horizontalpodautoscalers"),
        r(WRITE, "batch", "cronjobs,jobs"),
        r(
            WRITE,
            "extensions",
            "daemonsets,deployments,deployments/rollback,deployments/scale,ingresses,networkpolicies,replicasets,replicasets/scale,replicationcontrollers/scale",
        ),
        r(WRITE, "policy", "poddisruptionbudgets"),
        r(WRITE, "networking.k8s.io", "ingresses,networkpolicies"),
        r(&format!("{WRITE},{READ}"), "coordination.k8s.io", "leases"),
        r(WRITE, "resource.k8s.io", "resourceclaims,resourceclaimtemplates"),
    ]
}

fn view_part() -> Vec<Rule> {
    vec![
        r(
            READ,
            "",
            "configmaps,endpoints,persistentvolumeclaims,persistentvolumeclaims/status,pods,replicationcontrollers,replicationcontrollers/scale,serviceaccounts,services,services/status",
        ),
        r(
            READ,
            "",
            "bindings,events,limitranges,namespaces/status,pods/log,pods/status,replicationcontrollers/status,resourcequotas,resourcequotas/status",
        ),
        r(READ, "", "namespaces"),
        r(READ, "discovery.k8s.io", "endpointslices"),
        r(
            READ,
            "apps",
            "controllerrevisions,daemonsets,daemonsets/status,deployments,deployments/scale,deployments/status,replicasets,replicasets/scale,replicasets/status,statefulsets,statefulsets/scale,statefulsets/status",
        ),
        r(READ, "autoscaling", "horizontalpodautoscalers,horizontalpodautoscalers/status"),
        r(READ, "batch", "cronjobs,cronjobs/status,jobs,jobs/status"),
        r(
            READ,
            "extensions",
            "daemonsets,daemonsets/status,deployments,deployments/scale,deployments/status,ingresses,ingresses/status,networkpolicies,replicasets,replicasets/scale,replicasets/status,replicationcontrollers/scale",
        ),
        r(READ, "policy", "poddisruptionbudgets,poddisruptionbudgets/status"),
        r(READ, "networking.k8s.io", "ingresses,ingresses/status,networkpolicies"),
        r(READ, "resource.k8s.io", "resourceclaims,resourceclaims/status,resourceclaimtemplates"),
    ]
}

/// Roles in namespaces.
pub fn namespaced() -> Vec<NamespacedRole> {
    let lock = |name: &str| vec![r("watch", "", "configmaps"), named(r("get,update", "", "configmaps"), &[name])];
    let role = |namespace, name, rules, subjects| NamespacedRole { namespace, name, rules, subjects };
    let reader = named(r(READ, "", "configmaps"), &["extension-apiserver-authentication"]);
    vec![
        role(
            "kube-system",
            "extension-apiserver-authentication-reader",
            vec![reader],
            &[User("system:kube-controller-manager"), User("system:kube-scheduler")],
        ),
        role(
            "kube-system",
            "system:controller:bootstrap-signer",
            vec![r(READ, "", "secrets")],
            &[Account("bootstrap-signer")],
        ),
        role(
            "kube-system",
            "system:controller:cloud-provider",
            vec![r("create,get,list,watch", "", "configmaps")],
            &[Account("cloud-provider")],
        ),
        role(
            "kube-system",
            "system:controller:token-cleaner",
            vec![r("delete,get,list,watch", "", "secrets"), events()],
            &[Account("token-cleaner")],
        ),
        role(
            "kube-system",
            "system::leader-locking-kube-controller-manager",
            lock("kube-controller-manager"),
            &[User("system:kube-controller-manager"), Account("kube-controller-manager")],
        ),
        role(
            "kube-system",
            "system::leader-locking-kube-scheduler",
            lock("kube-scheduler"),
            &[User("system:kube-scheduler"), Account("kube-scheduler")],
        ),
        role(
            "kube-public",
            "system:controller:bootstrap-signer",
            vec![r(READ, "", "configmaps"), named(r("update", "", "configmaps"), &["cluster-info"]), events()],
            &[Account("bootstrap-signer")],
        ),
    ]
}
