//! Upstream's roles of controllers, `system:controller:<name>`, each bound to the service account of that name in kube-system.

use super::roles::events;
use crate::auth::rbac::Rule;

const READ: &str = "get,list,watch";

/// `(verbs, groups, resources)`.
type Entry = (&'static str, &'static str, &'static str);

/// Every controller's rules; all of them may also record events, where upstream lets them.
const ROLES: &[(&str, &[Entry])] = &[
    (
        "attachdetach-controller",
        &[
            ("list,watch", "", "persistentvolumeclaims,persistentvolumes"),
            (READ, "", "nodes"),
            ("patch,update", "", "nodes/status"),
            ("list,watch", "", "pods"),
            ("create,delete,get,list,watch", "storage.k8s.io", "volumeattachments"),
            (READ, "storage.k8s.io", "csidrivers,csinodes"),
        ],
    ),
    (
        "clusterrole-aggregation-controller",
        &[("escalate,get,list,patch,update,watch", "rbac.authorization.k8s.io", "clusterroles")],
    ),
    (
        "cronjob-controller",
        &[
            ("get,list,update,watch", "batch", "cronjobs"),
            ("create,delete,get,list,patch,update,watch", "batch", "jobs"),
            ("update", "batch", "cronjobs/status"),
            ("update", "batch", "cronjobs/finalizers"),
            ("delete,list", "", "pods"),
        ],
    ),
    (
        "daemon-set-controller",
        &[
            (READ, "apps,extensions", "daemonsets"),
            ("update", "apps,extensions", "daemonsets/status"),
            ("update", "apps,extensions", "daemonsets/finalizers"),
            ("list,watch", "", "nodes"),
            ("create,delete,list,patch,watch", "", "pods"),
            ("create", "", "pods/binding"),
            ("create,delete,get,list,patch,update,watch", "apps", "controllerrevisions"),
        ],
    ),
    (
        "deployment-controller",
        &[
            ("get,list,update,watch", "apps,extensions", "deployments"),
            ("update", "apps,extensions", "deployments/status"),
            ("update", "apps,extensions", "deployments/finalizers"),
            ("create,delete,get,list,patch,update,watch", "apps,extensions", "replicasets"),
            ("get,list,update,watch", "", "pods"),
        ],
    ),
    (
        "disruption-controller",
        &[
            (READ, "apps,extensions", "deployments"),
            (READ, "apps,extensions", "replicasets"),
            (READ, "", "replicationcontrollers"),
            (READ, "policy", "poddisruptionbudgets"),
            (READ, "apps", "statefulsets"),
            ("update", "policy", "poddisruptionbudgets/status"),
            ("patch,update", "", "pods/status"),
            (READ, "", "pods"),
            ("get", "*", "*/scale"),
        ],
    ),
    (
        "endpoint-controller",
        &[
            (READ, "", "pods,services"),
            ("create,delete,get,list,update", "", "endpoints"),
            ("create", "", "endpoints/restricted"),
        ],
    ),
    (
        "endpointslice-controller",
        &[
            (READ, "", "nodes,pods,services"),
            ("update", "", "services/finalizers"),
            ("create,delete,get,list,update", "discovery.k8s.io", "endpointslices"),
            ("create", "discovery.k8s.io", "endpointslices/restricted"),
        ],
    ),
    (
        "endpointslicemirroring-controller",
        &[
            (READ, "", "endpoints,services"),
            ("update", "", "services/finalizers"),
            ("update", "", "endpoints/finalizers"),
            ("create,delete,get,list,update", "discovery.k8s.io", "endpointslices"),
            ("create", "discovery.k8s.io", "endpointslices/restricted"),
        ],
    ),
    (
        "expand-controller",
        &[
            ("get,list,patch,update,watch", "", "persistentvolumes"),
            ("patch,update", "", "persistentvolumeclaims/status"),
            (READ, "", "persistentvolumeclaims"),
            (READ, "storage.k8s.io", "storageclasses"),
            ("get", "", "endpoints,secrets,services"),
        ],
    ),
    (
        "ephemeral-volume-controller",
        &[
            (READ, "", "pods"),
            ("update", "", "pods/finalizers"),
            ("create,get,list,watch", "", "persistentvolumeclaims"),
        ],
    ),
    (
        "resource-claim-controller",
        &[
            (READ, "", "pods"),
            ("update", "", "pods/finalizers"),
            ("create,delete,get,list,patch,update,watch", "resource.k8s.io", "resourceclaims"),
            (READ, "resource.k8s.io", "resourceclaimtemplates"),
            ("patch,update", "resource.k8s.io", "resourceclaims/status"),
            ("patch,update", "", "pods/status"),
        ],
    ),
    (
        "device-taint-eviction-controller",
        &[
            ("delete,get,list,watch", "", "pods"),
            ("patch,update", "", "pods/status"),
            (READ, "", "nodes"),
            (READ, "resource.k8s.io", "deviceclasses,devicetaintrules,resourceclaims,resourceslices"),
        ],
    ),
    ("generic-garbage-collector", &[("delete,get,list,patch,update,watch", "*", "*")]),
    (
        "horizontal-pod-autoscaler",
        &[
            (READ, "autoscaling", "horizontalpodautoscalers"),
            ("update", "autoscaling", "horizontalpodautoscalers/status"),
            ("get,update", "*", "*/scale"),
            ("list", "", "pods"),
            ("list", "metrics.k8s.io", "pods"),
            ("get,list", "custom.metrics.k8s.io", "*"),
            ("get,list", "external.metrics.k8s.io", "*"),
        ],
    ),
    (
        "job-controller",
        &[
            ("get,list,patch,update,watch", "batch", "jobs"),
            ("update", "batch", "jobs/status"),
            ("update", "batch", "jobs/finalizers"),
            ("create,delete,list,patch,watch", "", "pods"),
        ],
    ),
    (
        "namespace-controller",
        &[
            ("delete,get,list,watch", "", "namespaces"),
            ("update", "", "namespaces/finalize,namespaces/status"),
            ("delete,deletecollection,get,list", "*", "*"),
        ],
    ),
    (
        "node-controller",
        &[
            ("delete,get,list,patch,update,watch", "", "nodes"),
            ("patch,update", "", "nodes/status"),
            ("patch,update", "", "pods/status"),
            ("delete,get,list,watch", "", "pods"),
            (READ, "coordination.k8s.io", "leases"),
            (READ, "apps", "daemonsets"),
            ("create,get,list,update,watch", "networking.k8s.io", "clustercidrs"),
        ],
    ),
    (
        "persistent-volume-binder",
        &[
            ("create,delete,get,list,update,watch", "", "persistentvolumes"),
            ("update", "", "persistentvolumes/status"),
            ("get,list,update,watch", "", "persistentvolumeclaims"),
            ("update", "", "persistentvolumeclaims/status"),
            ("create,delete,get,list,watch", "", "pods"),
            (READ, "storage.k8s.io", "storageclasses"),
            (READ, "", "nodes"),
            ("create,delete,get", "", "endpoints,services"),
            ("get,list", "", "secrets"),
            ("watch", "", "events"),
        ],
    ),
    (
        "pod-garbage-collector",
        &[("delete,list,watch", "", "pods"), ("get,list,watch", "", "nodes"), ("patch", "", "pods/status")],
    ),
    (
        "replicaset-controller",
        &[
            ("get,list,update,watch", "apps,extensions", "replicasets"),
            ("update", "apps,extensions", "replicasets/status"),
            ("update", "apps,extensions", "replicasets/finalizers"),
            ("create,delete,list,patch,watch", "", "pods"),
        ],
    ),
    (
        "replication-controller",
        &[
            ("get,list,update,watch", "", "replicationcontrollers"),
            ("update", "", "replicationcontrollers/status"),
            ("update", "", "replicationcontrollers/finalizers"),
            ("create,delete,list,patch,watch", "", "pods"),
        ],
    ),
    ("resourcequota-controller", &[("list,watch", "*", "*"), ("update", "", "resourcequotas/status")]),
    ("route-controller", &[("list,watch", "", "nodes"), ("patch", "", "nodes/status")]),
    ("service-account-controller", &[("create", "", "serviceaccounts")]),
    (
        "service-controller",
        &[(READ, "", "services"), ("patch,update", "", "services/status"), ("list,watch", "", "nodes")],
    ),
    (
        "statefulset-controller",
        &[
            ("list,watch", "", "pods"),
            (READ, "apps", "statefulsets"),
            ("update", "apps", "statefulsets/status"),
            ("update", "apps", "statefulsets/finalizers"),
            ("create,delete,get,patch,update", "", "pods"),
            ("create,delete,get,list,patch,update,watch", "apps", "controllerrevisions"),
            ("create,get", "", "persistentvolumeclaims"),
            ("delete,list,patch,update,watch", "", "persistentvolumeclaims"),
        ],
    ),
    ("ttl-controller", &[("list,patch,update,watch", "", "nodes")]),
    ("ttl-after-finished-controller", &[("delete,get,list,watch", "batch", "jobs")]),
    (
        "certificate-controller",
        &[
            ("delete,get,list,watch", "certificates.k8s.io", "certificatesigningrequests"),
            ("update", "certificates.k8s.io", "certificatesigningrequests/approval,certificatesigningrequests/status"),
            ("approve", "certificates.k8s.io", "signers"),
            ("sign", "certificates.k8s.io", "signers"),
            ("create", "authorization.k8s.io", "subjectaccessreviews"),
        ],
    ),
    ("pvc-protection-controller", &[("get,list,update,watch", "", "persistentvolumeclaims"), (READ, "", "pods")]),
    ("pv-protection-controller", &[("get,list,update,watch", "", "persistentvolumes")]),
    (
        "vac-protection-controller",
        &[
            (READ, "", "persistentvolumeclaims,persistentvolumes"),
            ("get,list,update,watch", "storage.k8s.io", "volumeattributesclasses"),
        ],
    ),
    (
        "validatingadmissionpolicy-status-controller",
        &[
            (READ, "admissionregistration.k8s.io", "validatingadmissionpolicies"),
            ("get,patch,update", "admissionregistration.k8s.io", "validatingadmissionpolicies/status"),
        ],
    ),
    ("root-ca-cert-publisher", &[("create,update", "", "configmaps")]),
    ("legacy-service-account-token-cleaner", &[("get", "", "configmaps"), ("delete,patch", "", "secrets")]),
    (
        "service-cidrs-controller",
        &[
            ("get,list,patch,update,watch", "networking.k8s.io", "servicecidrs"),
            ("patch,update", "networking.k8s.io", "servicecidrs/finalizers"),
            ("patch,update", "networking.k8s.io", "servicecidrs/status"),
            (READ, "networking.k8s.io", "ipaddresses"),
        ],
    ),
];

/// Signers that the certificate controller approves and signs for.
const SIGNERS: [(&str, &[&str]); 2] = [
    // upstream leaves serving certificates to an approver of the administrator's; here the controller checks the node's names itself
    ("approve", &["kubernetes.io/kube-apiserver-client-kubelet", "kubernetes.io/kubelet-serving"]),
    (
        "sign",
        &[
            "kubernetes.io/kube-apiserver-client",
            "kubernetes.io/kube-apiserver-client-kubelet",
            "kubernetes.io/kubelet-serving",
            "kubernetes.io/legacy-unknown",
        ],
    ),
];

/// `(controller, rules)`.
pub fn roles() -> Vec<(&'static str, Vec<Rule>)> {
    ROLES
        .iter()
        .map(|(name, entries)| {
            let mut rules: Vec<Rule> = entries.iter().map(rule).collect();
            rules.push(events());
            (*name, rules)
        })
        .collect()
}

fn rule((verbs, groups, resources): &Entry) -> Rule {
    let mut rule = Rule::resources(verbs, groups, resources);
    if *resources == "signers"
        && let Some((_, names)) = SIGNERS.iter().find(|(verb, _)| verb == verbs)
    {
        rule.resource_names = names.iter().map(ToString::to_string).collect();
    }
    rule
}
