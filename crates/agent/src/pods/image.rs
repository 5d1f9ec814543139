//! Images for containers: pull policy, backoff, credentials, events.

use super::{backoff::Backoffs, plan::Waiting, worker::event};
use crate::{context::Node, spec};
use coracle_client::EventType;
use coracle_runtime::{Credentials, Error, Image};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{Container, Pod};
use parking_lot::Mutex;

/// The image of a container, pulled if its policy says so.
pub(super) async fn ensure(
    node: &Node,
    pod: &Pod,
    container: &Container,
    pulls: &Mutex<Backoffs>,
) -> Result<Image, Waiting> {
    let name = container.image.clone().unwrap_or_default();
    let tell = |kind, reason: &str, message: &str| event(node, pod, &container.name, kind, reason, message);
    let policy = container.image_pull_policy.as_deref().unwrap_or_else(|| default_policy(&name));
    let present = match node.runtime.image(&name).await {
        Ok(found) => found,
        Err(error @ Error::InvalidImage(..)) => return Err(invalid(node, pod, container, &error)),
        Err(_) => None,
    };
    match (policy, present) {
        ("IfNotPresent" | "Never", Some(image)) => {
            let message = format!("Container image \"{name}\" already present on machine");
            tell(EventType::Normal, "Pulled", &message);
            return Ok(image);
        }
        ("Never", None) => {
            let message = format!("Container image \"{name}\" is not present with pull policy of Never");
            tell(EventType::Warning, "ErrImageNeverPull", &message);
            tell(EventType::Warning, "Failed", "Error: ErrImageNeverPull");
            return Err(wait(node, "ErrImageNeverPull", message, 10));
        }
        _ => {}
    }
    pull(node, pod, container, &name, pulls).await
}

async fn pull(
    node: &Node,
    pod: &Pod,
    container: &Container,
    name: &str,
    pulls: &Mutex<Backoffs>,
) -> Result<Image, Waiting> {
    let tell = |kind, reason: &str, message: &str| event(node, pod, &container.name, kind, reason, message);
    tell(EventType::Normal, "Pulling", &format!("Pulling image \"{name}\""));
    let begun = node.clock.now();
    match node.runtime.pull(name, &credentials(node, pod, name), None).await {
        Ok(image) => {
            pulls.lock().reset(name);
            let took = node.clock.now().duration_since(begun).as_millis();
            let took = if took < 1000 { format!("{took}ms") } else { format!("{}.{:03}s", took / 1000, took % 1000) };
            let message = format!(
                "Successfully pulled image \"{name}\" in {took} ({took} including waiting). Image size: {} bytes.",
                image.size
            );
            tell(EventType::Normal, "Pulled", &message);
            Ok(image)
        }
        Err(error @ Error::InvalidImage(..)) => Err(invalid(node, pod, container, &error)),
        Err(error) => {
            tell(EventType::Warning, "Failed", &format!("Failed to pull image \"{name}\": {error}"));
            tell(EventType::Warning, "Failed", "Error: ErrImagePull");
            let now = node.clock.now();
            let delay = pulls.lock().next(name, now, now);
            Err(Waiting { reason: "ErrImagePull".into(), message: error.to_string(), until: Some(now + delay) })
        }
    }
}

/// What a failed pull is called while the next try is not due.
pub(super) fn backing_off(node: &Node, pod: &Pod, container: &Container, waiting: &Waiting) -> Waiting {
    let name = container.image.clone().unwrap_or_default();
    let message = format!("Back-off pulling image \"{name}\": ErrImagePull: {}", waiting.message);
    event(node, pod, &container.name, EventType::Normal, "BackOff", &format!("Back-off pulling image \"{name}\""));
    event(node, pod, &container.name, EventType::Warning, "Failed", "Error: ImagePullBackOff");
    Waiting { reason: "ImagePullBackOff".into(), message, until: waiting.until }
}

fn invalid(node: &Node, pod: &Pod, container: &Container, error: &Error) -> Waiting {
    let image = container.image.as_deref().unwrap_or_default();
    let message = format!("Failed to apply default image tag \"{image}\": {error}");
    event(node, pod, &container.name, EventType::Warning, "InspectFailed", &message);
    event(node, pod, &container.name, EventType::Warning, "Failed", "Error: InvalidImageName");
    wait(node, "InvalidImageName", message, 30)
}

fn wait(node: &Node, reason: &str, message: String, seconds: i64) -> Waiting {
    let until = node.clock.now() + SignedDuration::from_secs(seconds);
    Waiting { reason: reason.into(), message, until: Some(until) }
}

/// Always for `:latest` and images without a tag.
fn default_policy(image: &str) -> &'static str {
    let last = image.rsplit('/').next().unwrap_or(image);
    match last.split_once('@').map_or(last.split_once(':').map(|(_, tag)| tag), |_| Some("digest")) {
        None | Some("latest") => "Always",
        Some(_) => "IfNotPresent",
    }
}

/// The registry host of an image name.
fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => "docker.io",
    }
}

fn credentials(node: &Node, pod: &Pod, image: &str) -> Vec<Credentials> {
    let host = registry(image);
    let mut out = Vec::new();
    for reference in spec::of(pod).image_pull_secrets.iter().flatten() {
        let Some(secret) = node.references.known_secret(spec::namespace(pod), &reference.name) else { continue };
        let data = secret.data.as_ref();
        let Some(json) = data.and_then(|d| d.get(".dockerconfigjson").or_else(|| d.get(".dockercfg"))) else {
            continue;
        };
        out.extend(read_config(&json.0, host));
    }
    out
}

/// Credentials for a registry in a Docker configuration.
fn read_config(json: &[u8], host: &str) -> Vec<Credentials> {
    use base64::Engine as _;
    let config: serde_json::Value = serde_json::from_slice(json).unwrap_or_default();
    let auths = config.get("auths").unwrap_or(&config);
    let mut out = Vec::new();
    for (server, entry) in auths.as_object().into_iter().flatten() {
        let server = server.trim_start_matches("https://").trim_start_matches("http://");
        let server = server.split('/').next().unwrap_or(server);
        let docker = host == "docker.io" && server.ends_with("docker.io");
        if server != host && !docker {
            continue;
        }
        let text = |key: &str| entry[key].as_str().map(str::to_string);
        let pair = text("auth")
            .and_then(|a| base64::engine::general_purpose::STANDARD.decode(a).ok())
            .and_then(|a| String::from_utf8(a).ok())
            .and_then(|a| a.split_once(':').map(|(u, p)| (u.to_string(), p.to_string())))
            .or_else(|| Some((text("username")?, text("password")?)));
        out.extend(pair.map(|(username, password)| Credentials { username, password }));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_decide_policy_and_registry() {
        for (image, policy, host) in [
            ("nginx", "Always", "docker.io"),
            ("nginx:latest", "Always", "docker.io"),
            ("nginx:1.2", "IfNotPresent", "docker.io"),
            ("a.b:5000/x", "Always", "a.b:5000"),
            ("localhost/x:1", "IfNotPresent", "localhost"),
            ("coracle.dev/demo@sha256:abc", "IfNotPresent", "coracle.dev"),
        ] {
            assert_eq!((default_policy(image), registry(image)), (policy, host), "{image}");
        }
    }

    #[test]
    fn docker_configurations_are_read() {
        for (json, host, expected) in [
            (r#"{"auths":{"https://a.b/v1/":{"auth":"dTpw"}}}"#, "a.b", vec!["u:p"]),
            (r#"{"auths":{"a.b":{"username":"x","password":"y"}}}"#, "a.b", vec!["x:y"]),
            (r#"{"a.b":{"auth":"dTpw"}}"#, "a.b", vec!["u:p"]),
            (r#"{"auths":{"a.b":{"auth":"dTpw"}}}"#, "c.d", vec![]),
            ("rubbish", "a.b", vec![]),
        ] {
            let got: Vec<String> =
                read_config(json.as_bytes(), host).iter().map(|c| format!("{}:{}", c.username, c.password)).collect();
            assert_eq!(got, expected);
        }
    }
}
