//! CertificateSigningRequests: approved if a rule says so, signed if approved, deleted when done with.
//!
//! Rules as upstream's kube-controller-manager and (for serving certificates, which upstream leaves to others) as the certificates API
//! describes the signers: <https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/#kubernetes-signers>.

use crate::{ClusterSettings, Context, Controller, Key, Requeue};
use async_trait::async_trait;
use coracle_api::{Object, Resource, Result, Status, WriteOptions};
use coracle_client::{Change, ClientExt, Kind, Typed, View, ViewExt};
use coracle_pki::{CertificateRequest, Pki, Usage};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    authorization::v1::SubjectAccessReview,
    certificates::v1::{CertificateSigningRequest, CertificateSigningRequestSpec},
    core::v1::Node,
};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

const NODE_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
const NODE_SERVING: &str = "kubernetes.io/kubelet-serving";
const CLIENT: &str = "kubernetes.io/kube-apiserver-client";

/// The longest life of a certificate, and what it gets if it asks for nothing.
const LIFE: Duration = Duration::from_secs(365 * 24 * 3600);
/// How long requests stay: approved and issued or denied an hour, undecided a day.
const KEEP_DECIDED: SignedDuration = SignedDuration::from_hours(1);
const KEEP_PENDING: SignedDuration = SignedDuration::from_hours(24);

/// How long a request that no rule approves waits until it is looked at again: rights may have been given meanwhile.
const UNSURE: Duration = Duration::from_secs(60);

/// The controller.
pub struct Certificates {
    pki: Arc<Pki>,
}

impl Certificates {
    /// Signs with the cluster's authority.
    pub fn new(settings: &ClusterSettings) -> Self {
        Self { pki: settings.pki.clone() }
    }
}

/// What is to be done with a request.
#[derive(Debug, PartialEq)]
enum Plan {
    /// Nothing before this long.
    Wait(SignedDuration),
    /// Ask whether the requestor may `create certificatesigningrequests/<subresource>`; approve with the message if so.
    ApproveIf(&'static str, &'static str),
    /// Approve with the message.
    Approve(&'static str),
    /// Sign for that long.
    Sign(Vec<Usage>, Duration),
    /// It cannot be signed.
    Fail(String),
    /// Its time is over.
    Delete,
}

/// What there is to know about a request.
struct Facts<'a> {
    csr: &'a CertificateSigningRequest,
    request: Result<CertificateRequest, String>,
    /// Addresses and names of the node that asks.
    node: Vec<String>,
}

fn plan(facts: &Facts<'_>, now: Timestamp) -> Plan {
    let (spec, status) = (&facts.csr.spec, facts.csr.status.as_ref());
    let conditions = status.and_then(|s| s.conditions.as_deref()).unwrap_or_default();
    let has = |kind: &str| conditions.iter().find(|c| c.type_ == kind && c.status == "True");
    let issued = status.and_then(|s| s.certificate.as_ref()).is_some_and(|c| !c.0.is_empty());
    let decided = has("Denied").or_else(|| has("Failed")).or_else(|| has("Approved").filter(|_| issued));
    let (since, keep) = match decided {
        Some(condition) => (condition.last_update_time.as_ref().map(|t| t.0), KEEP_DECIDED),
        None => (None, KEEP_PENDING),
    };
    let since = since.or_else(|| facts.csr.metadata.creation_timestamp.as_ref().map(|t| t.0)).unwrap_or(now);
    let left = (since + keep).duration_since(now);
    if left <= SignedDuration::ZERO {
        return Plan::Delete;
    }
    if decided.is_some() || ![NODE_CLIENT, NODE_SERVING, CLIENT].contains(&spec.signer_name.as_str()) {
        return Plan::Wait(left);
    }
    let request = match &facts.request {
        Ok(request) => request,
        Err(why) if has("Approved").is_some() => return Plan::Fail(why.clone()),
        Err(_) => return Plan::Wait(left),
    };
    let usages = spec.usages.as_deref().unwrap_or_default();
    if has("Approved").is_none() {
        return recognize(spec, request, usages, &facts.node).unwrap_or(Plan::Wait(left));
    }
    match permitted(&spec.signer_name, request, usages) {
        Ok(()) => sign(spec, usages),
        Err(why) => Plan::Fail(why),
    }
}

fn sign(spec: &CertificateSigningRequestSpec, usages: &[String]) -> Plan {
    let wanted = spec.expiration_seconds.and_then(|s| u64::try_from(s).ok()).map(Duration::from_secs);
    let usages: Result<Vec<Usage>, _> = usages.iter().map(|u| Usage::parse(u)).collect();
    match usages {
        Ok(usages) => Plan::Sign(usages, wanted.unwrap_or(LIFE).clamp(Duration::from_secs(600), LIFE)),
        Err(error) => Plan::Fail(error.to_string()),
    }
}

/// Whether a rule approves the request without a human.
fn recognize(
    spec: &CertificateSigningRequestSpec,
    request: &CertificateRequest,
    usages: &[String],
    node: &[String],
) -> Option<Plan> {
    permitted(&spec.signer_name, request, usages).ok()?;
    let itself = spec.username.as_deref() == Some(request.common_name.as_str());
    match spec.signer_name.as_str() {
        NODE_CLIENT if itself => Some(Plan::ApproveIf(
            "selfnodeclient",
            "Auto approving self kubelet client certificate after SubjectAccessReview.",
        )),
        NODE_CLIENT => {
            Some(Plan::ApproveIf("nodeclient", "Auto approving kubelet client certificate after SubjectAccessReview."))
        }
        NODE_SERVING if itself => {
            let mut names = request.dns_names.iter().cloned().chain(request.addresses.iter().map(ToString::to_string));
            names.all(|name| node.contains(&name)).then_some(Plan::Approve(
                "Auto approving kubelet serving certificate: it names only the node's own addresses.",
            ))
        }
        _ => None,
    }
}

/// Whether a signer may sign the request at all.
fn permitted(signer: &str, request: &CertificateRequest, usages: &[String]) -> Result<(), String> {
    let only = |allowed: &[&str], needed: &str| {
        if let Some(other) = usages.iter().find(|u| !allowed.contains(&u.as_str())) {
            return Err(format!("usage {other:?} is not permitted by signer {signer:?}"));
        }
        if usages.iter().any(|u| u == needed) { Ok(()) } else { Err(format!("usage {needed:?} is required")) }
    };
    let named = !request.dns_names.is_empty() || !request.addresses.is_empty();
    let other_names = !request.emails.is_empty() || !request.uris.is_empty();
    if signer != CLIENT {
        if request.organizations != ["system:nodes"] {
            return Err("subject organization is not system:nodes".into());
        }
        if !request.common_name.starts_with("system:node:") {
            return Err("subject common name does not begin with system:node:".into());
        }
    }
    match signer {
        NODE_SERVING if !named => Err("DNS or IP subjectAltName is required".into()),
        NODE_SERVING if other_names => Err("email and URI subjectAltNames are not allowed".into()),
        NODE_SERVING => only(&["key encipherment", "digital signature", "server auth"], "server auth"),
        NODE_CLIENT if named || other_names => Err("subjectAltNames are not allowed".into()),
        NODE_CLIENT => only(&["key encipherment", "digital signature", "client auth"], "client auth"),
        _ if request.organizations.iter().any(|o| o == "system:masters") => {
            Err("organization system:masters is not permitted".into())
        }
        _ => only(&["key encipherment", "digital signature", "client auth"], "client auth"),
    }
}

#[async_trait]
impl Controller for Certificates {
    fn name(&self) -> &'static str {
        "certificate-controller"
    }

    fn watches(&self) -> Vec<Resource> {
        vec![CertificateSigningRequest::resource(), Node::resource()]
    }

    fn keys(&self, view: &dyn View, change: &Change) -> Vec<Key> {
        if *change.resource == Node::resource() { waiting_for(view, change) } else { vec![Key::from_change(change)] }
    }

    async fn reconcile(&self, ctx: &Context, key: &Key) -> Result<Requeue> {
        let Some(csr) = ctx.view.typed::<CertificateSigningRequest>("", &key.name) else { return Ok(Requeue::No) };
        let text = String::from_utf8_lossy(&csr.spec.request.0).into_owned();
        let node = csr.spec.username.as_deref().and_then(|u| u.strip_prefix("system:node:"));
        let facts = Facts {
            csr: &csr,
            request: CertificateRequest::from_pem(&text).map_err(|e| e.to_string()),
            node: node.map(|name| addresses(&*ctx.view, name)).unwrap_or_default(),
        };
        match plan(&facts, ctx.clock.now()) {
            Plan::Wait(left) => Ok(Requeue::After(Duration::try_from(left).unwrap_or_default())),
            Plan::ApproveIf(subresource, message) => {
                if !review(ctx, &csr, subresource).await? {
                    // a human may still decide, or nobody ever does
                    return Ok(Requeue::After(UNSURE));
                }
                condition(ctx, &csr, "approval", "Approved", "AutoApproved", message).await?;
                Ok(Requeue::No)
            }
            Plan::Approve(message) => {
                condition(ctx, &csr, "approval", "Approved", "AutoApproved", message).await?;
                Ok(Requeue::No)
            }
            Plan::Sign(usages, life) => {
                let request = facts.request.map_err(Status::internal)?;
                let signed = self.pki.authority().sign(&request, &usages, life, ctx.clock.now());
                let certificate = signed.map_err(Status::internal)?;
                let mut body = csr.object.value();
                body["status"]["certificate"] = json!(k8s_openapi::ByteString(certificate.into_bytes()));
                write(ctx, &csr, "status", body).await?;
                Ok(Requeue::No)
            }
            Plan::Fail(why) => {
                condition(ctx, &csr, "status", "Failed", "SignerValidationFailure", &why).await?;
                Ok(Requeue::No)
            }
            Plan::Delete => {
                ctx.client.delete_typed(&csr, None).await?;
                Ok(Requeue::No)
            }
        }
    }
}

/// A node asks for its serving certificate before the world knows its addresses: its undecided requests wait for them.
fn waiting_for(view: &dyn View, change: &Change) -> Vec<Key> {
    let said = |object: &Arc<Object>| {
        let node = object.view::<Node>().ok()?;
        Some(node.status.as_ref()?.addresses.as_ref()?.iter().map(|a| a.address.clone()).collect::<Vec<_>>())
    };
    let before = change.old.as_ref().and_then(said);
    let now = change.new.as_ref().and_then(said);
    if now.is_none() || now == before {
        return Vec::new();
    }
    let user = format!("system:node:{}", change.object().meta().name);
    let all = view.typed_list::<CertificateSigningRequest>("").into_iter();
    let pending = all.filter(|csr| {
        let decided = csr.status.as_ref().and_then(|s| s.conditions.as_ref()).is_some_and(|c| !c.is_empty());
        !decided && csr.spec.signer_name == NODE_SERVING && csr.spec.username.as_deref() == Some(&user)
    });
    pending.map(|csr| Key::new("", csr.name())).collect()
}

/// What a node may be called in a certificate of its own: its name and the addresses in its status.
fn addresses(view: &dyn View, name: &str) -> Vec<String> {
    let Some(node) = view.typed::<Node>("", name) else { return Vec::new() };
    let addresses = node.status.as_ref().and_then(|s| s.addresses.as_deref()).unwrap_or_default();
    addresses.iter().map(|a| a.address.clone()).chain([name.to_string()]).collect()
}

/// Asks whether the requestor may create that virtual subresource.
async fn review(ctx: &Context, csr: &Typed<CertificateSigningRequest>, subresource: &str) -> Result<bool> {
    let spec = &csr.spec;
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "metadata": {},
        "spec": {
            "user": spec.username, "uid": spec.uid, "groups": spec.groups, "extra": spec.extra,
            "resourceAttributes": {
                "group": "certificates.k8s.io", "resource": "certificatesigningrequests", "verb": "create",
                "subresource": subresource,
            },
        },
    });
    let resource = SubjectAccessReview::resource();
    let answer = ctx.client.create(&resource, "", review, &WriteOptions::default()).await?;
    Ok(answer.value()["status"]["allowed"] == true)
}

async fn condition(
    ctx: &Context,
    csr: &Typed<CertificateSigningRequest>,
    subresource: &str,
    kind: &str,
    reason: &str,
    message: &str,
) -> Result<()> {
    let mut body = csr.object.value();
    let now = format!("{:.0}", ctx.clock.now());
    let condition = json!({
        "type": kind, "status": "True", "reason": reason, "message": message,
        "lastUpdateTime": now, "lastTransitionTime": now,
    });
    match &mut body["status"]["conditions"] {
        Value::Array(conditions) => conditions.push(condition),
        none => *none = json!([condition]),
    }
    write(ctx, csr, subresource, body).await
}

async fn write(ctx: &Context, csr: &Typed<CertificateSigningRequest>, subresource: &str, body: Value) -> Result<()> {
    let resource = CertificateSigningRequest::resource();
    ctx.client.update(&resource, "", csr.name(), subresource, body, &WriteOptions::default()).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_pki::{Key as PrivateKey, Names, Subject};

    fn now() -> Timestamp {
        Timestamp::from_second(1_700_000_000).unwrap()
    }

    struct Case<'a> {
        signer: &'a str,
        by: &'a str,
        subject: (&'a str, &'a [&'a str]),
        names: &'a [&'a str],
        usages: &'a [&'a str],
        /// Type and age in seconds.
        conditions: &'a [(&'a str, i64)],
        issued: bool,
        age: i64,
    }

    const NODE: Case<'_> = Case {
        signer: NODE_CLIENT,
        by: "system:bootstrap:abcdef",
        subject: ("system:node:a", &["system:nodes"]),
        names: &[],
        usages: &["digital signature", "client auth"],
        conditions: &[],
        issued: false,
        age: 0,
    };

    fn found(case: &Case<'_>) -> String {
        let names = Names { dns: case.names.iter().map(ToString::to_string).collect(), ..Names::default() };
        let key = PrivateKey::generate().unwrap();
        let pem = coracle_pki::request::create(&key, &Subject::new(case.subject.0, case.subject.1), &names).unwrap();
        let at = |age: i64| (now() - SignedDuration::from_secs(age)).to_string();
        let conditions: Vec<Value> = case
            .conditions
            .iter()
            .map(|(kind, age)| json!({"type": kind, "status": "True", "lastUpdateTime": at(*age)}))
            .collect();
        let csr: CertificateSigningRequest = serde_json::from_value(json!({
            "metadata": {"name": "c", "creationTimestamp": at(case.age)},
            "spec": {"request": k8s_openapi::ByteString(pem.clone().into_bytes()), "signerName": case.signer,
                     "username": case.by, "usages": case.usages},
            "status": {"conditions": conditions,
                       "certificate": case.issued.then(|| k8s_openapi::ByteString(b"pem".to_vec()))},
        }))
        .unwrap();
        let request = CertificateRequest::from_pem(&pem).map_err(|e| e.to_string());
        let facts = Facts { csr: &csr, request, node: vec!["a".into(), "10.0.0.1".into()] };
        match plan(&facts, now()) {
            Plan::Wait(_) => "wait".into(),
            Plan::ApproveIf(what, _) => format!("approve if {what}"),
            Plan::Approve(_) => "approve".into(),
            Plan::Sign(..) => "sign".into(),
            Plan::Fail(why) => format!("fail: {why}"),
            Plan::Delete => "delete".into(),
        }
    }

    #[test]
    fn requests() {
        let check = |case: Case<'_>, wanted: &str| assert_eq!(found(&case), wanted, "{} by {}", case.signer, case.by);
        check(NODE, "approve if nodeclient");
        check(Case { by: "system:node:a", ..NODE }, "approve if selfnodeclient");
        check(Case { by: "system:node:b", ..NODE }, "approve if nodeclient");
        check(Case { subject: ("system:node:a", &["system:masters"]), ..NODE }, "wait");
        check(Case { usages: &["client auth", "server auth"], ..NODE }, "wait");
        check(Case { names: &["a"], ..NODE }, "wait");
        check(Case { conditions: &[("Approved", 1)], ..NODE }, "sign");
        check(Case { conditions: &[("Denied", 1)], ..NODE }, "wait");
        check(Case { conditions: &[("Approved", 1)], issued: true, ..NODE }, "wait");
        check(Case { conditions: &[("Approved", 3601)], issued: true, ..NODE }, "delete");
        check(Case { age: 86_401, ..NODE }, "delete");
        check(
            Case { conditions: &[("Approved", 1)], usages: &["server auth"], ..NODE },
            "fail: usage \"server auth\" is not permitted by signer \"kubernetes.io/kube-apiserver-client-kubelet\"",
        );
        let serving = || Case {
            signer: NODE_SERVING,
            by: "system:node:a",
            names: &["a"],
            usages: &["digital signature", "server auth"],
            ..NODE
        };
        check(serving(), "approve");
        check(Case { names: &["elsewhere"], ..serving() }, "wait");
        check(Case { by: "system:node:b", ..serving() }, "wait");
        let human = || Case { signer: CLIENT, by: "ann", subject: ("ann", &["dev"]), ..NODE };
        check(human(), "wait");
        check(Case { conditions: &[("Approved", 1)], ..human() }, "sign");
        check(
            Case { conditions: &[("Approved", 1)], subject: ("ann", &["system:masters"]), ..human() },
            "fail: organization system:masters is not permitted",
        );
        check(Case { signer: "example.com/other", conditions: &[("Approved", 1)], ..NODE }, "wait");
    }
}
