//! `authentication.k8s.io` and `authorization.k8s.io`: questions, answered at once and never stored.

use crate::check::Check;
use crate::descriptor::{Kind, Rules};
use crate::place::Place;
use coracle_api::FieldError;
use k8s_openapi::api::authentication::v1::{SelfSubjectReview, TokenReview};
use k8s_openapi::api::authorization::v1::{
    LocalSubjectAccessReview, SelfSubjectAccessReview, SelfSubjectRulesReview, SubjectAccessReview,
};
use k8s_openapi::api::core::v1::Binding;
use serde_json::Value;

/// Binding: a pod is put on a node. The older form of `pods/binding`.
pub static BINDING: Kind = Kind::review::<Binding>("binding", "io.k8s.api.core.v1.Binding");

/// TokenReview: whose token is this?
pub static TOKEN_REVIEW: Kind = Kind::review::<TokenReview>("tokenreview", "io.k8s.api.authentication.v1.TokenReview");

/// SelfSubjectReview: who am I?
pub static SELF_SUBJECT_REVIEW: Kind =
    Kind::review::<SelfSubjectReview>("selfsubjectreview", "io.k8s.api.authentication.v1.SelfSubjectReview");

/// SubjectAccessReview: may they?
pub static SUBJECT_ACCESS_REVIEW: Kind =
    Kind::review::<SubjectAccessReview>("subjectaccessreview", "io.k8s.api.authorization.v1.SubjectAccessReview")
        .rules(&Access { whose: Whose::Anybody });

/// LocalSubjectAccessReview: may they, in this namespace?
pub static LOCAL_SUBJECT_ACCESS_REVIEW: Kind = Kind::review::<LocalSubjectAccessReview>(
    "localsubjectaccessreview",
    "io.k8s.api.authorization.v1.LocalSubjectAccessReview",
)
.rules(&Access { whose: Whose::AnybodyHere });

/// SelfSubjectAccessReview: may I?
pub static SELF_SUBJECT_ACCESS_REVIEW: Kind = Kind::review::<SelfSubjectAccessReview>(
    "selfsubjectaccessreview",
    "io.k8s.api.authorization.v1.SelfSubjectAccessReview",
)
.rules(&Access { whose: Whose::Own });

/// SelfSubjectRulesReview: what may I?
pub static SELF_SUBJECT_RULES_REVIEW: Kind = Kind::review::<SelfSubjectRulesReview>(
    "selfsubjectrulesreview",
    "io.k8s.api.authorization.v1.SelfSubjectRulesReview",
);

#[derive(Clone, Copy, PartialEq)]
enum Whose {
    Own,
    Anybody,
    AnybodyHere,
}

/// What a question about access must say.
struct Access {
    whose: Whose,
}

impl Rules for Access {
    fn validate(&self, object: &Value) -> Vec<FieldError> {
        Check::run(|check| {
            let at = Place::of(object).field("spec");
            let (resource, other) = (at.field("resourceAttributes"), at.field("nonResourceAttributes"));
            match (resource.given(), other.given()) {
                (true, true) => check.bad(&other, "cannot be specified in combination with resourceAttributes"),
                (false, false) => {
                    let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
                    check.bad(&resource, why);
                }
                _ => {}
            }
            for list in ["fieldSelector", "labelSelector"].map(|field| resource.field(field)) {
                selector(check, &list);
            }
            let nobody = at.field("user").empty() && at.field("groups").empty();
            if self.whose != Whose::Own && nobody {
                check.bad_text(&at.field("user"), "at least one of user or group must be specified");
            }
            let here = self.whose == Whose::AnybodyHere;
            metadata(check, &Place::of(object).field("metadata"), here);
            let namespace = resource.field("namespace");
            if here && resource.given() && namespace.text() != object["metadata"]["namespace"].as_str().unwrap_or("") {
                check.bad_text(&namespace, "must match metadata.namespace");
            }
            if here && other.given() {
                check.bad(&other, "disallowed on this kind of request");
            }
        })
    }
}

/// A field or label selector: as text or as requirements, not both and not neither.
fn selector(check: &mut Check, at: &Place) {
    let (raw, requirements) = (at.field("rawSelector"), at.field("requirements"));
    if !at.given() {
        return;
    }
    match (raw.empty(), requirements.empty()) {
        (false, false) => check.bad(&raw, "may not specified at the same time as requirements"),
        (true, true) => {
            let why = format!("when {} is specified, requirements or rawSelector is required", at.path);
            check.required(requirements.path, &why);
        }
        _ => {}
    }
}

/// A question has no metadata.
fn metadata(check: &mut Check, at: &Place, namespaced: bool) {
    let own = |key: &str| key == "managedFields" || namespaced && key == "namespace" || key == "creationTimestamp";
    if at.entries().any(|(key, value)| !own(key) && !value.empty()) {
        let why = if namespaced { "must be empty except for namespace" } else { "must be empty" };
        check.bad(at, why);
    }
}
