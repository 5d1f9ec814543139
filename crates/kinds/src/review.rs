//! `authentication.k8s.io` and `authorization.k8s.io`: questions, answered at once and never stored.

use crate::descriptor::Kind;
use k8s_openapi::api::authentication::v1::{SelfSubjectReview, TokenReview};
use k8s_openapi::api::authorization::v1::{
    LocalSubjectAccessReview, SelfSubjectAccessReview, SelfSubjectRulesReview, SubjectAccessReview,
};
use k8s_openapi::api::core::v1::Binding;

/// Binding: a pod is put on a node. The older form of `pods/binding`.
pub static BINDING: Kind = Kind::review::<Binding>("binding", "io.k8s.api.core.v1.Binding");

/// TokenReview: whose token is this?
pub static TOKEN_REVIEW: Kind = Kind::review::<TokenReview>("tokenreview", "io.k8s.api.authentication.v1.TokenReview");

/// SelfSubjectReview: who am I?
pub static SELF_SUBJECT_REVIEW: Kind =
    Kind::review::<SelfSubjectReview>("selfsubjectreview", "io.k8s.api.authentication.v1.SelfSubjectReview");

/// SubjectAccessReview: may they?
pub static SUBJECT_ACCESS_REVIEW: Kind =
    Kind::review::<SubjectAccessReview>("subjectaccessreview", "io.k8s.api.authorization.v1.SubjectAccessReview");

/// LocalSubjectAccessReview: may they, in this namespace?
pub static LOCAL_SUBJECT_ACCESS_REVIEW: Kind = Kind::review::<LocalSubjectAccessReview>(
    "localsubjectaccessreview",
    "io.k8s.api.authorization.v1.LocalSubjectAccessReview",
);

/// SelfSubjectAccessReview: may I?
pub static SELF_SUBJECT_ACCESS_REVIEW: Kind = Kind::review::<SelfSubjectAccessReview>(
    "selfsubjectaccessreview",
    "io.k8s.api.authorization.v1.SelfSubjectAccessReview",
);

/// SelfSubjectRulesReview: what may I?
pub static SELF_SUBJECT_RULES_REVIEW: Kind = Kind::review::<SelfSubjectRulesReview>(
    "selfsubjectrulesreview",
    "io.k8s.api.authorization.v1.SelfSubjectRulesReview",
);
