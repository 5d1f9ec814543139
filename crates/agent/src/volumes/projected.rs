//! `projected`: ConfigMaps, Secrets, the downward API and service account tokens in one directory.

use super::{
    Group, Kind, Ready, Request, atomic, config_map,
    content::{self, File, Files},
    downward, secret,
};
use crate::spec;
use async_trait::async_trait;
use k8s_openapi::api::core::v1::{ServiceAccountTokenProjection, Volume, VolumeProjection};

pub(super) struct Projected;

#[async_trait]
impl Kind for Projected {
    fn plugin(&self) -> &'static str {
        "kubernetes.io~projected"
    }

    fn is(&self, volume: &Volume) -> bool {
        volume.projected.is_some()
    }

    fn follows(&self) -> bool {
        true
    }

    fn group(&self) -> Group {
        Group::Reads
    }

    async fn set_up(&self, request: &Request<'_>) -> Result<Ready, String> {
        let volume = request.volume.projected.as_ref().ok_or("no projection")?;
        let mode = content::mode(volume.default_mode);
        let mut files = Files::new();
        for source in volume.sources.iter().flatten() {
            files.extend(one(request, source, mode).await?);
        }
        secret::in_memory(&request.dir)?;
        atomic::write(&request.dir, &files).map_err(|e| e.to_string())?;
        Ok(Ready { path: request.dir.clone(), read_only: true })
    }
}

async fn one(request: &Request<'_>, source: &VolumeProjection, mode: u32) -> Result<Files, String> {
    let (node, pod) = (request.node, request.pod);
    if let Some(map) = &source.config_map {
        config_map::files(node, pod, &map.name, map.items.as_ref(), mode, map.optional == Some(true)).await
    } else if let Some(from) = &source.secret {
        secret::files(node, pod, &from.name, from.items.as_ref(), mode, from.optional == Some(true)).await
    } else if let Some(fields) = &source.downward_api {
        downward::files(request, fields.items.as_deref().unwrap_or_default(), mode)
    } else if let Some(token) = &source.service_account_token {
        token_file(request, token, mode).await
    } else {
        Err("this kind of projection is not supported".into())
    }
}

async fn token_file(request: &Request<'_>, token: &ServiceAccountTokenProjection, mode: u32) -> Result<Files, String> {
    let pod = request.pod;
    let text = request.node.tokens.get(pod, token.audience.as_deref(), token.expiration_seconds).await?;
    let security = spec::of(pod).security_context.as_ref();
    // as upstream: only the one user that all containers run as may read it, else everybody in the pod
    let mode = if security.and_then(|s| s.fs_group).is_some() { 0o600 } else { mode };
    Ok(Files::from([(token.path.clone(), File { data: text.into_bytes(), mode })]))
}
