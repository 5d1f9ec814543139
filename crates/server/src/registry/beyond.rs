//! Rules that look beyond the object: those few of upstream's strategies that ask for another one.
//!
//! Source: `pkg/registry/resource/utils.go`.

use super::{Registry, Target, core_key};
use coracle_api::{FieldError, Path};
use coracle_kinds::Part;
use serde_json::Value;

/// The label of namespaces in which devices may be claimed for administration.
const ADMINISTRATION: &str = "resource.kubernetes.io/admin-access";

impl Registry {
    /// What is wrong with a new object, seen from the others.
    pub(super) fn errors_of_new(&self, target: Target<'_>, object: &Value) -> Option<FieldError> {
        let requests = match of_devices(target)? {
            "resourceclaims" => &object["spec"]["devices"]["requests"],
            "resourceclaimtemplates" => &object["spec"]["spec"]["devices"]["requests"],
            _ => return None,
        };
        let index = requests.as_array()?.iter().position(|r| r["exactly"]["adminAccess"] == true)?;
        self.administration(target, &Path::root("spec").field("devices").field("requests").index(index))
    }

    /// What is wrong with a change, seen from the other objects.
    pub(super) fn errors_of_change(
        &self,
        target: Target<'_>,
        new: &Value,
        old: &Value,
        part: Part,
    ) -> Option<FieldError> {
        if of_devices(target)? != "resourceclaims" || part != Part::Status {
            return None;
        }
        let granted = |claim: &Value| {
            let results = claim["status"]["allocation"]["devices"]["results"].as_array();
            results.and_then(|results| results.iter().position(|result| result["adminAccess"] == true))
        };
        let index = granted(new).filter(|_| granted(old).is_none())?;
        let results = Path::root("status").field("allocation").field("devices").field("results");
        self.administration(target, &results.index(index))
    }

    fn administration(&self, target: Target<'_>, at: &Path) -> Option<FieldError> {
        let path = at.field("adminAccess");
        let snapshot = self.store.snapshot();
        let Some(namespace) = snapshot.get(&core_key("namespaces", "", target.namespace)) else {
            let why = format!("namespaces \"{}\" not found", target.namespace);
            return Some(FieldError::internal(
                path,
                format!("could not retrieve namespace to verify admin access: {why}"),
            ));
        };
        let labelled = namespace.object().meta().labels.get(ADMINISTRATION).is_some_and(|value| value == "true");
        (!labelled).then(|| {
            let why = format!(
                "admin access to devices requires the `{ADMINISTRATION}: true` label on the containing namespace"
            );
            FieldError::forbidden(path, why)
        })
    }
}

fn of_devices<'a>(target: Target<'a>) -> Option<&'a str> {
    let resource = &target.served.resource;
    (resource.group == "resource.k8s.io").then_some(&*resource.plural)
}
