//! An ingress that names no class gets the default one.

use super::{Plugin, Request, default_storage_class::newest_marked};
use async_trait::async_trait;
use coracle_api::{Resource, Result};
use serde_json::{Value, json};

const CLASSES: Resource = Resource::fixed("networking.k8s.io", "v1", "ingressclasses", "IngressClass", false);

/// The plugin.
pub struct DefaultIngressClass;

#[async_trait]
impl Plugin for DefaultIngressClass {
    fn name(&self) -> &'static str {
        "DefaultIngressClass"
    }

    async fn mutate(&self, request: &Request<'_>, ingress: &mut Value) -> Result<()> {
        let annotation = &ingress["metadata"]["annotations"]["kubernetes.io/ingress.class"];
        let named = !ingress["spec"]["ingressClassName"].is_null() || !annotation.is_null();
        if !request.creates("networking.k8s.io", "ingresses") || named || !ingress["spec"].is_object() {
            return Ok(());
        }
        let classes = request.view.list(&CLASSES, "");
        if let Some(class) = newest_marked(classes, &["ingressclass.kubernetes.io/is-default-class"]) {
            ingress["spec"]["ingressClassName"] = json!(class.meta().name);
        }
        Ok(())
    }
}
