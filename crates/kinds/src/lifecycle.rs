//! Versions of kinds that are to go: since when that is said, when they go, and what comes instead.
//!
//! Source: the lifecycle functions of `k8s.io/api`; the words of the warning are those of apiserver's `pkg/endpoints/deprecation`.

use coracle_api::Resource;

/// (apiVersion, kind, deprecated in 1.x, gone in 1.x, apiVersion and kind of what to use instead)
type Entry = (&'static str, &'static str, u8, Option<u8>, Option<(&'static str, &'static str)>);

const ENTRIES: &[Entry] = &[
    ("v1", "ComponentStatus", 19, None, None),
    ("v1", "Endpoints", 33, None, Some(("discovery.k8s.io/v1", "EndpointSlice"))),
    ("admissionregistration.k8s.io/v1alpha1", "MutatingAdmissionPolicy", 35, Some(38), None),
    ("admissionregistration.k8s.io/v1alpha1", "MutatingAdmissionPolicyBinding", 35, Some(38), None),
    stable("admissionregistration.k8s.io/v1beta1", "admissionregistration.k8s.io/v1", "MutatingAdmissionPolicy"),
    stable("admissionregistration.k8s.io/v1beta1", "admissionregistration.k8s.io/v1", "MutatingAdmissionPolicyBinding"),
    stable("certificates.k8s.io/v1beta1", "certificates.k8s.io/v1", "ClusterTrustBundle"),
    stable("certificates.k8s.io/v1beta1", "certificates.k8s.io/v1", "PodCertificateRequest"),
    ("coordination.k8s.io/v1alpha2", "LeaseCandidate", 35, Some(38), None),
    ("coordination.k8s.io/v1beta1", "LeaseCandidate", 36, Some(39), None),
    ("resource.k8s.io/v1alpha3", "DeviceTaintRule", 36, Some(39), None),
    ("resource.k8s.io/v1beta1", "DeviceClass", 35, Some(38), None),
    ("resource.k8s.io/v1beta1", "ResourceClaim", 35, Some(38), None),
    ("resource.k8s.io/v1beta1", "ResourceClaimTemplate", 35, Some(38), None),
    ("resource.k8s.io/v1beta1", "ResourceSlice", 35, Some(38), None),
    ("resource.k8s.io/v1beta2", "DeviceClass", 36, Some(39), None),
    ("resource.k8s.io/v1beta2", "ResourceClaim", 36, Some(39), None),
    ("resource.k8s.io/v1beta2", "ResourceClaimTemplate", 36, Some(39), None),
    ("resource.k8s.io/v1beta2", "ResourceSlice", 36, Some(39), None),
    stable("storagemigration.k8s.io/v1beta1", "storagemigration.k8s.io/v1", "StorageVersionMigration"),
];

/// What became stable in 1.37 under the same name.
const fn stable(beta: &'static str, stable: &'static str, kind: &'static str) -> Entry {
    (beta, kind, 37, Some(40), Some((stable, kind)))
}

/// A version that is to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deprecation {
    /// What is said to who uses it.
    pub warning: String,
    /// The release without it, `1.40`; empty if that is open.
    pub removed: String,
}

/// Whether a version is to go.
pub(crate) fn of(resource: &Resource) -> Option<Deprecation> {
    let version = resource.api_version();
    let same = |(at, kind, ..): &&Entry| *at == version && *kind == resource.kind;
    let (_, kind, since, gone, instead) = ENTRIES.iter().find(same)?;
    let mut said = format!("{version} {kind} is deprecated in v1.{since}+");
    if let Some(gone) = gone {
        said.push_str(&format!(", unavailable in v1.{gone}+"));
    }
    if let Some((version, kind)) = instead {
        said.push_str(&format!("; use {version} {kind}"));
    }
    Some(Deprecation { warning: said, removed: gone.map(|gone| format!("1.{gone}")).unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_go_are_served_and_say_so() {
        let kinds: Vec<_> = crate::all().iter().chain(crate::optional()).collect();
        for (version, kind, ..) in ENTRIES {
            let served = kinds.iter().any(|k| k.resource.api_version() == *version && k.resource.kind == *kind);
            assert!(served, "{version} {kind}");
        }
        let said = |group, version, plural| crate::find(group, version, plural)?.deprecation().map(|d| d.warning);
        for (group, version, plural, expected) in [
            ("", "v1", "pods", None),
            ("", "v1", "componentstatuses", Some("v1 ComponentStatus is deprecated in v1.19+")),
            (
                "",
                "v1",
                "endpoints",
                Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"),
            ),
            (
                "resource.k8s.io",
                "v1beta1",
                "resourceclaims",
                Some("resource.k8s.io/v1beta1 ResourceClaim is deprecated in v1.35+, unavailable in v1.38+"),
            ),
            (
                "certificates.k8s.io",
                "v1beta1",
                "clustertrustbundles",
                Some(
                    "certificates.k8s.io/v1beta1 ClusterTrustBundle is deprecated in v1.37+, unavailable in v1.40+; use certificates.k8s.io/v1 ClusterTrustBundle",
                ),
            ),
        ] {
            assert_eq!(said(group, version, plural).as_deref(), expected);
        }
    }
}
