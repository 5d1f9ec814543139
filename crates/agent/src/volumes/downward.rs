//! `downwardAPI`: fields of the pod as files.

use super::{
    Group, Kind, Ready, Request, atomic,
    content::{self, File, Files},
};
use crate::spec::{self, fieldref};
use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Container, DownwardAPIVolumeFile, Volume};

pub(super) struct Downward;

#[async_trait]
impl Kind for Downward {
    fn plugin(&self) -> &'static str {
        "kubernetes.io~downward-api"
    }

    fn is(&self, volume: &Volume) -> bool {
        volume.downward_api.is_some()
    }

    fn follows(&self) -> bool {
        true
    }

    fn group(&self) -> Group {
        Group::Reads
    }

    async fn set_up(&self, request: &Request<'_>) -> Result<Ready, String> {
        let source = request.volume.downward_api.as_ref().ok_or("no downward API")?;
        let items = source.items.as_deref().unwrap_or_default();
        let files = files(request, items, content::mode(source.default_mode))?;
        atomic::write(&request.dir, &files).map_err(|e| e.to_string())?;
        Ok(Ready { path: request.dir.clone(), read_only: true })
    }
}

/// The files that the downward API gives.
pub(super) fn files(request: &Request<'_>, items: &[DownwardAPIVolumeFile], mode: u32) -> Result<Files, String> {
    let none = Container::default();
    let first = spec::of(request.pod).containers.first().unwrap_or(&none);
    let mut files = Files::new();
    for item in items {
        let text = if let Some(field) = &item.field_ref {
            fieldref::field(request.pod, &field.field_path, request.addresses)?
        } else if let Some(resource) = &item.resource_field_ref {
            fieldref::resource(request.pod, first, resource, &request.node.machine.allocatable())?
        } else {
            continue;
        };
        let mode = item.mode.and_then(|m| u32::try_from(m).ok()).unwrap_or(mode);
        files.insert(item.path.clone(), File { data: text.into_bytes(), mode });
    }
    Ok(files)
}
