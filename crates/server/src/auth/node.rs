//! The Node authorizer: a node may read its own pods and what those refer to, and nothing of other nodes.
//!
//! The relation is asked of the world's own index (pods by node) at the moment of the request: a pod that was just bound has its
//! Secrets readable at once.

use super::{Attributes, User, rbac::Rule};
use coracle_api::{FieldSelector, Resource};
use coracle_client::View;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, PodSpec};
use std::sync::{Arc, LazyLock};

const CLAIMS: Resource = Resource::fixed("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", true);
const PODS: Resource = Resource::fixed("", "v1", "pods", "Pod", true);
const ATTACHMENTS: Resource = Resource::fixed("storage.k8s.io", "v1", "volumeattachments", "VolumeAttachment", false);

/// What every node may, apart from the resources that are decided one by one. The same rules stand in `system:node`.
pub fn rules() -> Vec<Rule> {
    let r = Rule::resources;
    vec![
        r("create", "authentication.k8s.io", "tokenreviews"),
        r("create", "authorization.k8s.io", "localsubjectaccessreviews,subjectaccessreviews"),
        r("get,list,watch", "", "services"),
        r("create,get,list,watch", "", "nodes"),
        r("patch,update", "", "nodes/status"),
        r("patch,update", "", "nodes"),
        r("create,patch,update", "", "events"),
        r("create,patch,update", "events.k8s.io", "events"),
        r("get,list,watch", "", "pods"),
        r("create,delete", "", "pods"),
        r("patch,update", "", "pods/status"),
        r("create", "", "pods/eviction"),
        r("get,list,watch", "", "configmaps,secrets"),
        r("get", "", "persistentvolumeclaims,persistentvolumes"),
        r("get", "", "endpoints"),
        r("create,get,list,watch", "certificates.k8s.io", "certificatesigningrequests"),
        r("create,delete,get,patch,update", "coordination.k8s.io", "leases"),
        r("get", "storage.k8s.io", "volumeattachments"),
        r("create", "", "serviceaccounts/token"),
        r("get,patch,update", "", "persistentvolumeclaims/status"),
        r("get,list,watch", "storage.k8s.io", "csidrivers"),
        r("create,delete,get,patch,update", "storage.k8s.io", "csinodes"),
        r("get,list,watch", "node.k8s.io", "runtimeclasses"),
        r("get", "resource.k8s.io", "resourceclaims"),
        r("deletecollection,list,watch", "resource.k8s.io", "resourceslices"),
        r("get,list,watch", "certificates.k8s.io", "clustertrustbundles"),
    ]
}

static RULES: LazyLock<Vec<Rule>> = LazyLock::new(rules);

/// The node that a user is, if it is one.
pub fn node_name(user: &User) -> Option<&str> {
    user.name.strip_prefix("system:node:").filter(|_| user.in_group("system:nodes"))
}

/// Whether a node may: `Ok` it may; `Err` it may not by this authorizer, and why (may be empty).
pub fn decide(view: &dyn View, node: &str, a: &Attributes) -> Result<(), String> {
    if node.is_empty() {
        return Err("unknown node".into());
    }
    let asks = Asks { view, node, a };
    match (a.group.as_str(), a.resource.as_str()) {
        ("", "secrets") => asks.read_if("can only read namespaced object of this type", refers_to_secret),
        ("", "configmaps") => asks.read_if("can only read namespaced object of this type", refers_to_config_map),
        ("", "persistentvolumeclaims") => asks.claim(),
        ("", "persistentvolumes") => asks.get_if(|| asks.volume_is_used()),
        ("storage.k8s.io", "volumeattachments") => asks.get_if(|| asks.is_attached_here()),
        ("resource.k8s.io", "resourceclaims") => asks.get_if(|| asks.pod_refers(refers_to_resource_claim)),
        ("", "serviceaccounts") => asks.service_account(),
        ("coordination.k8s.io", "leases") => asks.lease(),
        ("storage.k8s.io", "csinodes") => asks.csi_node(),
        ("", "nodes") => asks.node_object(),
        ("", "pods") => asks.pods(),
        _ => asks.by_rules(),
    }
}

struct Asks<'a> {
    view: &'a dyn View,
    node: &'a str,
    a: &'a Attributes,
}

type Verdict = Result<(), String>;

impl Asks<'_> {
    fn unrelated(&self) -> String {
        format!("no relationship found between node '{}' and this object", self.node)
    }

    fn by_rules(&self) -> Verdict {
        if RULES.iter().any(|rule| rule.allows(self.a)) { Ok(()) } else { Err(String::new()) }
    }

    /// Whether a pod of this node, in the namespace of the request, refers to the named object.
    fn pod_refers(&self, refers: fn(&Pod, &PodSpec, &str) -> bool) -> bool {
        self.pods_here().any(|(namespace, pod)| {
            namespace == self.a.namespace && pod.spec.as_ref().is_some_and(|spec| refers(&pod, spec, &self.a.name))
        })
    }

    fn pods_here(&self) -> impl Iterator<Item = (String, Arc<Pod>)> {
        self.view
            .pods_on_node(self.node)
            .into_iter()
            .filter_map(|object| Some((object.meta().namespace.clone(), object.view::<Pod>().ok()?)))
    }

    fn read_if(&self, otherwise: &str, refers: fn(&Pod, &PodSpec, &str) -> bool) -> Verdict {
        let a = self.a;
        if !matches!(a.verb.as_str(), "get" | "list" | "watch") || a.namespace.is_empty() {
            return Err(otherwise.into());
        }
        if !a.subresource.is_empty() {
            return Err("cannot read subresource".into());
        }
        if a.name.is_empty() {
            return Err("No Object name found".into());
        }
        if self.pod_refers(refers) { Ok(()) } else { Err(self.unrelated()) }
    }

    fn get_if(&self, related: impl FnOnce() -> bool) -> Verdict {
        if self.a.verb != "get" {
            return Err("can only get individual resources of this type".into());
        }
        if !self.a.subresource.is_empty() {
            return Err("cannot get subresource".into());
        }
        if related() { Ok(()) } else { Err(self.unrelated()) }
    }

    fn claim(&self) -> Verdict {
        if self.a.subresource == "status" {
            if !matches!(self.a.verb.as_str(), "get" | "update" | "patch") {
                return Err("can only get/update/patch this type".into());
            }
            return if self.pod_refers(refers_to_claim) { Ok(()) } else { Err(self.unrelated()) };
        }
        self.get_if(|| self.pod_refers(refers_to_claim))
    }

    fn volume_is_used(&self) -> bool {
        self.pods_here().any(|(namespace, pod)| {
            claims(&pod).any(|claim| {
                self.view
                    .get(&CLAIMS, &namespace, &claim)
                    .and_then(|object| object.view::<PersistentVolumeClaim>().ok())
                    .and_then(|claim| claim.spec.as_ref()?.volume_name.clone())
                    .is_some_and(|volume| volume == self.a.name)
            })
        })
    }

    fn is_attached_here(&self) -> bool {
        self.view
            .get(&ATTACHMENTS, "", &self.a.name)
            .is_some_and(|object| object.value()["spec"]["nodeName"] == self.node)
    }

    fn service_account(&self) -> Verdict {
        let allowed = matches!((self.a.verb.as_str(), self.a.subresource.as_str()), ("create", "token") | ("get", ""));
        if !allowed {
            return Err("can only get or create tokens for individual service accounts".into());
        }
        let uses = |_: &Pod, spec: &PodSpec, name: &str| spec.service_account_name.as_deref() == Some(name);
        if self.pod_refers(uses) { Ok(()) } else { Err(self.unrelated()) }
    }

    fn lease(&self) -> Verdict {
        if !matches!(self.a.verb.as_str(), "get" | "create" | "update" | "patch" | "delete") {
            return Err("can only get, create, update, patch, or delete a node lease".into());
        }
        if self.a.namespace != "kube-node-lease" {
            return Err("can only access leases in the \"kube-node-lease\" system namespace".into());
        }
        if self.a.verb != "create" && self.a.name != self.node {
            return Err("can only access node lease with the same name as the requesting node".into());
        }
        Ok(())
    }

    fn csi_node(&self) -> Verdict {
        if !matches!(self.a.verb.as_str(), "get" | "create" | "update" | "patch" | "delete") {
            return Err("can only get, create, update, patch, or delete a CSINode".into());
        }
        if !self.a.subresource.is_empty() {
            return Err("cannot authorize CSINode subresources".into());
        }
        if self.a.verb != "create" && self.a.name != self.node {
            return Err("can only access CSINode with the same name as the requesting node".into());
        }
        Ok(())
    }

    fn node_object(&self) -> Verdict {
        let reads = matches!(self.a.verb.as_str(), "get" | "list" | "watch");
        if self.a.subresource.is_empty() && reads && self.a.name != self.node {
            return Err(format!("node '{}' cannot read '{}', only its own Node object", self.node, self.a.name));
        }
        self.by_rules()
    }

    fn pods(&self) -> Verdict {
        match (self.a.subresource.as_str(), self.a.verb.as_str()) {
            ("", "get") => {
                let here = self
                    .view
                    .get(&PODS, &self.a.namespace, &self.a.name)
                    .and_then(|object| object.view::<Pod>().ok())
                    .is_some_and(|pod| pod.spec.as_ref().is_some_and(|s| s.node_name.as_deref() == Some(self.node)));
                if here { Ok(()) } else { Err(self.unrelated()) }
            }
            ("", "list" | "watch") => {
                let fields = FieldSelector::parse(&self.a.field_selector).unwrap_or_default();
                if fields.exact("spec.nodeName") == Some(self.node) {
                    Ok(())
                } else {
                    Err("can only list/watch pods with spec.nodeName field selector".into())
                }
            }
            _ => self.by_rules(),
        }
    }
}

fn claims(pod: &Pod) -> impl Iterator<Item = String> {
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_ref()).into_iter().flatten();
    volumes.filter_map(|volume| {
        if let Some(claim) = &volume.persistent_volume_claim {
            return Some(claim.claim_name.clone());
        }
        // the claim of an ephemeral volume is named after pod and volume
        volume.ephemeral.as_ref()?;
        Some(format!("{}-{}", pod.metadata.name.as_deref().unwrap_or_default(), volume.name))
    })
}

fn refers_to_claim(pod: &Pod, _: &PodSpec, name: &str) -> bool {
    claims(pod).any(|claim| claim == name)
}

fn refers_to_resource_claim(pod: &Pod, spec: &PodSpec, name: &str) -> bool {
    let direct = spec.resource_claims.iter().flatten().any(|c| c.resource_claim_name.as_deref() == Some(name));
    let made = pod.status.as_ref().and_then(|s| s.resource_claim_statuses.as_ref());
    direct || made.into_iter().flatten().any(|c| c.resource_claim_name.as_deref() == Some(name))
}

/// Environment of every container: `(configMap, secret)` names it refers to.
fn environment(spec: &PodSpec) -> impl Iterator<Item = (Option<&str>, Option<&str>)> {
    let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
    let ephemeral = spec.ephemeral_containers.iter().flatten().map(|c| (&c.env, &c.env_from));
    containers.map(|c| (&c.env, &c.env_from)).chain(ephemeral).flat_map(|(env, from)| {
        let one = env.iter().flatten().filter_map(|e| e.value_from.as_ref()).map(|source| {
            (
                source.config_map_key_ref.as_ref().map(|r| r.name.as_str()),
                source.secret_key_ref.as_ref().map(|r| r.name.as_str()),
            )
        });
        let all = from.iter().flatten().map(|source| {
            (
                source.config_map_ref.as_ref().map(|r| r.name.as_str()),
                source.secret_ref.as_ref().map(|r| r.name.as_str()),
            )
        });
        one.chain(all)
    })
}

fn refers_to_config_map(_: &Pod, spec: &PodSpec, name: &str) -> bool {
    let in_volumes = spec.volumes.iter().flatten().any(|volume| {
        let plain = volume.config_map.as_ref().is_some_and(|c| c.name == name);
        let projected = volume.projected.iter().flat_map(|p| p.sources.iter().flatten());
        plain || projected.filter_map(|s| s.config_map.as_ref()).any(|c| c.name == name)
    });
    in_volumes || environment(spec).any(|(map, _)| map == Some(name))
}

fn refers_to_secret(_: &Pod, spec: &PodSpec, name: &str) -> bool {
    let in_volumes = spec.volumes.iter().flatten().any(|volume| {
        let plain = volume.secret.as_ref().is_some_and(|s| s.secret_name.as_deref() == Some(name));
        let csi = volume.csi.as_ref().and_then(|c| c.node_publish_secret_ref.as_ref()).is_some_and(|r| r.name == name);
        let projected = volume.projected.iter().flat_map(|p| p.sources.iter().flatten());
        plain || csi || projected.filter_map(|s| s.secret.as_ref()).any(|s| s.name == name)
    });
    in_volumes
        || spec.image_pull_secrets.iter().flatten().any(|r| r.name == name)
        || environment(spec).any(|(_, secret)| secret == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::testing::World;
    use serde_json::json;

    fn world() -> World {
        let world = World::default();
        world.put(
            &PODS,
            json!({"metadata": {"namespace": "a", "name": "p"}, "spec": {
            "nodeName": "n1", "serviceAccountName": "app", "imagePullSecrets": [{"name": "pull"}],
            "containers": [{"name": "c",
                "env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "key", "key": "k"}}}],
                "envFrom": [{"configMapRef": {"name": "env"}}]}],
            "volumes": [
                {"name": "v1", "secret": {"secretName": "vol"}},
                {"name": "v2", "projected": {"sources": [{"configMap": {"name": "kube-root-ca.crt"}}]}},
                {"name": "v3", "persistentVolumeClaim": {"claimName": "data"}},
                {"name": "v4", "ephemeral": {}},
            ]}}),
        );
        world.put(
            &PODS,
            json!({"metadata": {"namespace": "a", "name": "q"}, "spec": {"nodeName": "n2", "containers": []}}),
        );
        world.put(&CLAIMS, json!({"metadata": {"namespace": "a", "name": "data"}, "spec": {"volumeName": "pv1"}}));
        world.put(&ATTACHMENTS, json!({"metadata": {"name": "va"}, "spec": {"nodeName": "n1"}}));
        world
    }

    #[test]
    fn a_node_reads_what_its_pods_need_and_no_more() {
        let world = world();
        for (request, expected) in [
            ("get - secrets a vol", true),
            ("get - secrets a key", true),
            ("get - secrets a pull", true),
            ("watch - secrets a pull", true),
            ("get - secrets a other", false),
            ("get - secrets b vol", false),
            ("list - secrets a", false),
            ("update - secrets a vol", false),
            ("get - configmaps a env", true),
            ("get - configmaps a kube-root-ca.crt", true),
            ("get - configmaps a x", false),
            ("get - persistentvolumeclaims a data", true),
            ("get - persistentvolumeclaims a p-v4", true),
            ("list - persistentvolumeclaims a", false),
            ("get - persistentvolumes - pv1", true),
            ("get - persistentvolumes - pv2", false),
            ("get storage.k8s.io volumeattachments - va", true),
            ("create - serviceaccounts/token a app", true),
            ("create - serviceaccounts/token a default", false),
            ("delete - serviceaccounts a app", false),
            ("get - pods a p", true),
            ("get - pods a q", false),
            ("list - pods - - spec.nodeName=n1", true),
            ("watch - pods - - spec.nodeName=n2", false),
            ("list - pods", false),
            ("patch - pods/status a p", true),
            ("create - pods/eviction a p", true),
            ("patch - pods a p", false),
            ("get - nodes - n1", true),
            ("get - nodes - n2", false),
            ("list - nodes", false),
            ("patch - nodes/status - n1", true),
            ("delete - nodes - n1", false),
            ("update coordination.k8s.io leases kube-node-lease n1", true),
            ("update coordination.k8s.io leases kube-node-lease n2", false),
            ("create coordination.k8s.io leases kube-node-lease", true),
            ("get coordination.k8s.io leases kube-system n1", false),
            ("list - services", true),
            ("create certificates.k8s.io certificatesigningrequests", true),
            ("list apps deployments", false),
        ] {
            let p: Vec<&str> = request.split(' ').collect();
            let at = |i: usize| p.get(i).filter(|s| **s != "-").unwrap_or(&"").to_string();
            let (resource, sub) = p[2].split_once('/').unwrap_or((p[2], ""));
            let a = Attributes {
                verb: at(0),
                group: at(1),
                resource: resource.into(),
                subresource: sub.into(),
                namespace: at(3),
                name: at(4),
                field_selector: at(5),
                ..Attributes::default()
            };
            assert_eq!(decide(&world, "n1", &a).is_ok(), expected, "{request}: {:?}", decide(&world, "n1", &a));
        }
    }
}
