//! `configMap`: keys of a ConfigMap as files.

use super::{
    Group, Kind, Ready, Request, atomic,
    content::{self, Files},
};
use crate::{context::Node, spec};
use async_trait::async_trait;
use k8s_openapi::api::core::v1::{KeyToPath, Pod, Volume};
use std::collections::BTreeMap;

pub(super) struct ConfigMapVolume;

#[async_trait]
impl Kind for ConfigMapVolume {
    fn plugin(&self) -> &'static str {
        "kubernetes.io~configmap"
    }

    fn is(&self, volume: &Volume) -> bool {
        volume.config_map.is_some()
    }

    fn follows(&self) -> bool {
        true
    }

    fn group(&self) -> Group {
        Group::Reads
    }

    async fn set_up(&self, request: &Request<'_>) -> Result<Ready, String> {
        let source = request.volume.config_map.as_ref().ok_or("no ConfigMap")?;
        let mode = content::mode(source.default_mode);
        let optional = source.optional == Some(true);
        let files = files(request.node, request.pod, &source.name, source.items.as_ref(), mode, optional).await?;
        atomic::write(&request.dir, &files).map_err(|e| e.to_string())?;
        Ok(Ready { path: request.dir.clone(), read_only: true })
    }
}

/// The files that a ConfigMap gives.
pub(super) async fn files(
    node: &Node,
    pod: &Pod,
    name: &str,
    items: Option<&Vec<KeyToPath>>,
    mode: u32,
    optional: bool,
) -> Result<Files, String> {
    let Some(map) = node.references.config_map(spec::namespace(pod), name).await? else {
        return if optional { Ok(Files::new()) } else { Err(format!("configmap \"{name}\" not found")) };
    };
    let mut data: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    data.extend(map.data.iter().flatten().map(|(k, v)| (k.clone(), v.clone().into_bytes())));
    data.extend(map.binary_data.iter().flatten().map(|(k, v)| (k.clone(), v.0.clone())));
    content::select("configmap", &data, items, mode, optional)
}
