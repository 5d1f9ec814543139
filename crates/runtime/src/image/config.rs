//! What an image says about itself: the parts of its config and manifest that running it needs.

use serde::{Deserialize, Serialize};

/// How an image wants to be run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImageConfig {
    /// `user[:group]`, names or numbers.
    pub user: String,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// The program, unless the container names one.
    pub entrypoint: Vec<String>,
    /// Arguments, unless the container gives some.
    pub cmd: Vec<String>,
    /// Working directory.
    pub working_dir: String,
    /// Signal to stop with.
    pub stop_signal: String,
}

/// A pointer to a blob.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Descriptor {
    /// What the blob is.
    pub media_type: String,
    /// `sha256:…`.
    pub digest: String,
    /// Length in bytes.
    pub size: u64,
    /// Which machine an image of an index is for.
    pub platform: Option<Platform>,
    /// Names and notes.
    pub annotations: std::collections::BTreeMap<String, String>,
}

/// A machine type.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Platform {
    /// As Go names it (`amd64`).
    pub architecture: String,
    /// `linux`.
    pub os: String,
}

/// A manifest or an index: which of both shows in the fields.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Manifest {
    /// The image's config.
    pub config: Option<Descriptor>,
    /// Layers, lowest first.
    pub layers: Vec<Descriptor>,
    /// Manifests of an index.
    pub manifests: Vec<Descriptor>,
}

/// The config blob.
#[derive(Clone, Debug, Default)]
pub struct ConfigBlob {
    /// How to run it.
    pub config: ImageConfig,
    /// Digests of the unpacked layers, lowest first.
    pub diff_ids: Vec<String>,
}

impl ConfigBlob {
    /// Reads a config blob; a `null` in it is as good as nothing.
    pub fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct RootFs {
            #[serde(default)]
            diff_ids: Vec<String>,
        }
        #[derive(Deserialize)]
        struct Raw {
            config: Option<serde_json::Value>,
            rootfs: RootFs,
        }
        let raw: Raw = serde_json::from_slice(bytes)?;
        let config = match raw.config {
            Some(serde_json::Value::Object(mut map)) => {
                map.retain(|_, value| !value.is_null());
                serde_json::from_value(map.into())?
            }
            _ => ImageConfig::default(),
        };
        Ok(Self { config, diff_ids: raw.rootfs.diff_ids })
    }
}

/// This machine's architecture as Go names it.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

/// The manifest of an index that fits this machine; one without a platform fits if there is no better.
pub fn choose<'a>(manifests: &'a [Descriptor], architecture: &str) -> Option<&'a Descriptor> {
    let fits = |d: &&Descriptor| d.platform.as_ref().is_some_and(|p| p.os == "linux" && p.architecture == architecture);
    manifests.iter().find(fits).or_else(|| manifests.iter().find(|d| d.platform.is_none()))
}
