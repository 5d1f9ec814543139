//! Which of the built-in versions are served: what `--runtime-config` says, as upstream reads it.
//!
//! Stable versions are served unless switched off, beta and alpha ones only if switched on. What names a resource counts more than
//! what names its version, and that more than `api/ga`, `api/beta`, `api/alpha` and `api/all`.

use coracle_api::Resource;
use coracle_kinds::Kind;
use std::collections::BTreeMap;

/// What is switched on and off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuntimeConfig {
    said: BTreeMap<String, bool>,
}

/// What a configuration does not say right.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A key of another form.
    #[error("runtime-config invalid key {0}")]
    Key(String),
    /// Neither on nor off.
    #[error("invalid value {0}={1}")]
    Value(String, String),
    /// Nothing would be left.
    #[error("invalid key with only api/all=false")]
    Nothing,
    /// A group that there is not.
    #[error("unknown api groups {0}")]
    Group(String),
    /// A version that its group does not have.
    #[error("group version {0} that has not been registered")]
    Version(String),
    /// A resource that is not in lower case.
    #[error("invalid key {0}: group/version/resource and resource is always lowercase plural, not {1:?}")]
    Resource(String, String),
}

/// How settled a version is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Stable,
    Beta,
    Alpha,
}

impl Stage {
    fn of(version: &str) -> Self {
        match version {
            v if v.contains("alpha") => Self::Alpha,
            v if v.contains("beta") => Self::Beta,
            _ => Self::Stable,
        }
    }

    fn key(self) -> &'static str {
        match self {
            Self::Stable => "api/ga",
            Self::Beta => "api/beta",
            Self::Alpha => "api/alpha",
        }
    }
}

const ALL: &str = "api/all";
const MANY: &[&str] = &[ALL, "api/ga", "api/beta", "api/alpha"];

impl RuntimeConfig {
    /// Reads `KEY=VALUE` entries; `known` are all resources that could be served.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn read<'a>(
        entries: impl IntoIterator<Item = &'a str>,
        known: impl Iterator<Item = &'a Resource> + Clone,
    ) -> Result<Self, ConfigError> {
        let mut said = BTreeMap::new();
        for entry in entries.into_iter().map(str::trim).filter(|e| !e.is_empty()) {
            let (key, value) = entry.split_once('=').unwrap_or((entry, ""));
            let on = match value {
                "true" => true,
                "false" => false,
                "" | "1" | "t" | "T" | "TRUE" | "True" if !MANY.contains(&key) => true,
                "0" | "f" | "F" | "FALSE" | "False" if !MANY.contains(&key) => false,
                _ => return Err(ConfigError::Value(key.into(), value.into())),
            };
            if !MANY.contains(&key) {
                check(key, known.clone())?;
            }
            said.insert(key.to_string(), on);
        }
        if said.len() == 1 && said.get(ALL) == Some(&false) {
            return Err(ConfigError::Nothing);
        }
        Ok(Self { said })
    }

    /// Whether a kind is served.
    pub fn serves(&self, kind: &Kind) -> bool {
        let resource = &kind.resource;
        let version = format!("{}/{}", resource.group, resource.version);
        let stage = Stage::of(&resource.version);
        let keys = [&format!("{version}/{}", resource.plural), version.as_str(), stage.key(), ALL];
        // upstream's add-on serves its beta version whatever the server's own ones are
        let (keys, default) = if kind.measured { (&keys[..2], true) } else { (&keys[..], stage == Stage::Stable) };
        keys.iter().find_map(|key| self.said.get(*key)).copied().unwrap_or(default)
    }
}

fn check<'a>(key: &str, mut known: impl Iterator<Item = &'a Resource> + Clone) -> Result<(), ConfigError> {
    let (group, version, plural) = match key.split('/').collect::<Vec<_>>()[..] {
        [group, version] => (group, version, ""),
        [group, version, plural] => (group, version, plural),
        _ => return Err(ConfigError::Key(key.into())),
    };
    if !known.clone().any(|r| r.group == group) {
        return Err(ConfigError::Group(group.into()));
    }
    if !known.any(|r| r.group == group && r.version == version) {
        return Err(ConfigError::Version(format!("{group}/{version}")));
    }
    if plural.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(ConfigError::Resource(key.into(), plural.into()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> impl Iterator<Item = &'static Resource> + Clone {
        coracle_kinds::all().iter().chain(coracle_kinds::optional()).map(|k| &k.resource)
    }

    fn served(entries: &[&'static str], group: &str, version: &str, plural: &str) -> bool {
        let config = RuntimeConfig::read(entries.iter().copied(), known()).unwrap();
        config.serves(coracle_kinds::find(group, version, plural).expect("a known kind"))
    }

    #[test]
    fn what_is_named_more_exactly_counts_more() {
        let claims = |entries: &[&'static str]| served(entries, "resource.k8s.io", "v1beta2", "resourceclaims");
        assert!(!claims(&[]), "beta is off by default");
        for on in [
            &["api/beta=true"][..],
            &["api/all=true"],
            &["resource.k8s.io/v1beta2"],
            &["resource.k8s.io/v1beta2=true", "api/beta=false"],
            &["resource.k8s.io/v1beta2/resourceclaims=1", "resource.k8s.io/v1beta2=false"],
            &["api/all=false", "api/beta=true"],
        ] {
            assert!(claims(on), "{on:?}");
        }
        for off in [
            &["api/alpha=true"][..],
            &["resource.k8s.io/v1beta1=true"],
            &["api/all=true", "api/beta=false"],
            &["resource.k8s.io/v1beta2=true", "resource.k8s.io/v1beta2/resourceclaims=false"],
            &["resource.k8s.io/v1beta2/deviceclasses=true"],
        ] {
            assert!(!claims(off), "{off:?}");
        }
    }

    #[test]
    fn stable_versions_can_be_switched_off() {
        assert!(served(&[], "batch", "v1", "jobs") && served(&["api/beta=true"], "", "v1", "pods"));
        assert!(!served(&["batch/v1=false"], "batch", "v1", "jobs"));
        assert!(!served(&["api/all=false", "/v1=true"], "batch", "v1", "jobs"));
        assert!(served(&["api/all=false", "/v1=true"], "", "v1", "pods"));
        let measured = |entries: &[&'static str]| served(entries, "metrics.k8s.io", "v1beta1", "nodes");
        assert!(measured(&[]) && measured(&["api/beta=false"]) && !measured(&["metrics.k8s.io/v1beta1=false"]));
    }

    #[test]
    fn what_cannot_be_is_said() {
        for (entries, why) in [
            (&["api/all=false"][..], "invalid key with only api/all=false"),
            (&["api/beta=yes"], "invalid value api/beta=yes"),
            (&["api/beta"], "invalid value api/beta="),
            (&["batch/v1=2"], "invalid value batch/v1=2"),
            (&["v1=true"], "runtime-config invalid key v1"),
            (&["example.com/v1=true"], "unknown api groups example.com"),
            (&["batch/v9=true"], "group version batch/v9 that has not been registered"),
            (
                &["batch/v1/Jobs=true"],
                "invalid key batch/v1/Jobs: group/version/resource and resource is always lowercase plural, not \"Jobs\"",
            ),
        ] {
            assert_eq!(RuntimeConfig::read(entries.iter().copied(), known()).unwrap_err().to_string(), why);
        }
    }
}
