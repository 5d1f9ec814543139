//! Which fields each endpoint throws away, so that nobody who writes there owns them.
//!
//! Source: `GetResetFields` of upstream's strategies.

use crate::descriptor::{Action, Kind};
use crate::made::TypeOf;
use coracle_api::managed::Reset;

const STATUS: Reset = Reset::These(&["status"]);
const SPEC: Reset = Reset::These(&["spec"]);
const ALL_BUT_STATUS: Reset = Reset::These(&["metadata", "spec"]);

/// Kinds whose `status` endpoint writes no metadata either.
const STATUS_ONLY: &[&str] = &[
    "APIService",
    "CustomResourceDefinition",
    "FlowSchema",
    "MutatingAdmissionPolicy",
    "PriorityLevelConfiguration",
    "ServiceCIDR",
    "StorageVersionMigration",
    "ValidatingAdmissionPolicy",
    "VolumeAttachment",
];

impl Kind {
    /// What is thrown away where this kind is written, or its subresource of that name.
    pub fn reset(&self, subresource: &str) -> Reset {
        let kind = &*self.resource.kind;
        match self.subresource(subresource).map(|s| &s.action) {
            None if kind == "CertificateSigningRequest" => Reset::These(&["spec", "status"]),
            None if self.status => STATUS,
            None => Reset::NONE,
            Some(Action::Status) => match kind {
                _ if matches!(self.schema, TypeOf::Custom(_)) => ALL_BUT_STATUS,
                "CertificateSigningRequest" => Reset::These(&["spec", "status.conditions"]),
                "Deployment" => Reset::These(&["spec", "metadata.labels"]),
                "Pod" => Reset::These(&["spec", "metadata.deletionTimestamp", "metadata.ownerReferences"]),
                kind if STATUS_ONLY.contains(&kind) => ALL_BUT_STATUS,
                _ => SPEC,
            },
            Some(Action::Approval) => Reset::These(&["spec", "status.certificate"]),
            Some(Action::EphemeralContainers) => Reset::AllBut(&["spec.ephemeralContainers"]),
            Some(Action::Resize) => Reset::AllBut(&["spec.containers.*.resources", "spec.containers.*.resizePolicy"]),
            Some(Action::Finalize) => STATUS,
            Some(_) => Reset::NONE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reset() {
        for (group, plural, subresource, expected) in [
            ("", "configmaps", "", Reset::NONE),
            ("", "pods", "", STATUS),
            ("apps", "deployments", "status", Reset::These(&["spec", "metadata.labels"])),
            ("batch", "jobs", "status", SPEC),
            ("storage.k8s.io", "volumeattachments", "status", ALL_BUT_STATUS),
            ("", "pods", "ephemeralcontainers", Reset::AllBut(&["spec.ephemeralContainers"])),
        ] {
            let kind = crate::find(group, "v1", plural).unwrap();
            assert_eq!(kind.reset(subresource), expected, "{plural}/{subresource}");
        }
    }
}
