//! What a request names: group, version, plural, kind, scope.

use std::{borrow::Cow, fmt};

/// One served resource (the `GroupVersionResource` with its kind and scope).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Resource {
    /// API group; empty for the core group.
    pub group: Cow<'static, str>,
    /// Version within the group, `v1`.
    pub version: Cow<'static, str>,
    /// Plural name in URLs, `pods`.
    pub plural: Cow<'static, str>,
    /// Kind, `Pod`.
    pub kind: Cow<'static, str>,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
}

impl Resource {
    /// A resource known at compile time.
    pub const fn fixed(
        group: &'static str,
        version: &'static str,
        plural: &'static str,
        kind: &'static str,
        namespaced: bool,
    ) -> Self {
        Self {
            group: Cow::Borrowed(group),
            version: Cow::Borrowed(version),
            plural: Cow::Borrowed(plural),
            kind: Cow::Borrowed(kind),
            namespaced,
        }
    }

    /// The resource of a typed built-in kind: `Resource::of::<Pod>()`.
    pub fn of<K: k8s_openapi::Resource>() -> Self
    where
        K::Scope: Scoped,
    {
        Self::fixed(K::GROUP, K::VERSION, K::URL_PATH_SEGMENT, K::KIND, <K::Scope as Scoped>::NAMESPACED)
    }

    /// `apps/v1`, or `v1` for the core group.
    pub fn api_version(&self) -> Cow<'static, str> {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            Cow::Owned(format!("{}/{}", self.group, self.version))
        }
    }

    /// `deployments.apps`, or `pods`: how messages name a resource.
    pub fn qualified(&self) -> Cow<'static, str> {
        if self.group.is_empty() { self.plural.clone() } else { Cow::Owned(format!("{}.{}", self.plural, self.group)) }
    }

    /// URL path of the collection (empty `namespace`: the cluster-wide collection) or of one object, without a leading host.
    pub fn path(&self, namespace: &str, name: Option<&str>) -> String {
        let mut path = if self.group.is_empty() {
            format!("/api/{}", self.version)
        } else {
            format!("/apis/{}/{}", self.group, self.version)
        };
        if self.namespaced && !namespace.is_empty() {
            path.push_str("/namespaces/");
            path.push_str(namespace);
        }
        path.push('/');
        path.push_str(&self.plural);
        if let Some(name) = name {
            path.push('/');
            path.push_str(name);
        }
        path
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.qualified())
    }
}

/// The scopes of `k8s-openapi`, as a constant.
pub trait Scoped {
    /// Whether objects of this scope live in namespaces.
    const NAMESPACED: bool;
}

impl Scoped for k8s_openapi::NamespaceResourceScope {
    const NAMESPACED: bool = true;
}

impl Scoped for k8s_openapi::ClusterResourceScope {
    const NAMESPACED: bool = false;
}

impl Scoped for k8s_openapi::SubResourceScope {
    const NAMESPACED: bool = true;
}
