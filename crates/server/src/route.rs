//! From a URL to what it asks for (upstream's `RequestInfo`): verb, group, version, resource, subresource, namespace, name.

/// What a request asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestInfo {
    /// `get`, `list`, `watch`, `create`, … for resources; the HTTP method in lower case for other paths.
    pub verb: String,
    /// API group; empty for the core group and for other paths.
    pub group: String,
    /// API version.
    pub version: String,
    /// Plural; empty for paths that name no resource.
    pub resource: String,
    /// Subresource or empty.
    pub subresource: String,
    /// Namespace or empty. `namespaces/<name>` itself has its own name here, as upstream.
    pub namespace: String,
    /// Name or empty.
    pub name: String,
    /// What follows the subresource (`proxy/…`), without a leading slash.
    pub rest: String,
    /// The whole path.
    pub path: String,
}

/// Subresources of namespaces; any other word after a namespace's name is a resource in it.
const NAMESPACE_SUBRESOURCES: [&str; 2] = ["status", "finalize"];

impl RequestInfo {
    /// Reads a request line. `query` decides between list and watch, and a `fieldSelector` of `metadata.name=…` names the object.
    pub fn parse(method: &str, path: &str, query: &Query) -> Self {
        let mut info = Self { path: path.to_string(), verb: method.to_ascii_lowercase(), ..Self::default() };
        let parts: Vec<&str> = path.trim_matches('/').split('/').filter(|p| !p.is_empty()).collect();
        let mut rest = match parts.as_slice() {
            ["api", version, rest @ ..] if !rest.is_empty() => {
                info.version = (*version).to_string();
                rest
            }
            ["apis", group, version, rest @ ..] if !rest.is_empty() => {
                info.group = (*group).to_string();
                info.version = (*version).to_string();
                rest
            }
            _ => return info,
        };
        let mut forced_watch = false;
        if rest[0] == "watch" && rest.len() > 1 {
            // the deprecated /api/v1/watch/… form
            forced_watch = true;
            rest = &rest[1..];
        }
        if let ["namespaces", name, tail @ ..] = rest {
            info.namespace = decode(name);
            if !tail.is_empty() && !NAMESPACE_SUBRESOURCES.contains(&tail[0]) {
                rest = tail;
            }
        }
        info.resource = rest[0].to_string();
        info.name = rest.get(1).map(|n| decode(n)).unwrap_or_default();
        info.subresource = rest.get(2).map(ToString::to_string).unwrap_or_default();
        if rest.len() > 3 {
            info.rest = rest[3..].join("/");
            if path.ends_with('/') {
                info.rest.push('/');
            }
        } else if rest.len() == 3 && path.ends_with('/') {
            info.rest = "/".into();
        }
        info.verb = match (method, info.name.is_empty()) {
            _ if forced_watch => "watch",
            ("GET" | "HEAD", false) => "get",
            ("GET" | "HEAD", true) if query.flag("watch") => "watch",
            ("GET" | "HEAD", true) => "list",
            ("POST", _) => "create",
            ("PUT", _) => "update",
            ("PATCH", _) => "patch",
            ("DELETE", false) => "delete",
            ("DELETE", true) => "deletecollection",
            _ => "",
        }
        .to_string();
        if info.name.is_empty() && matches!(info.verb.as_str(), "list" | "watch" | "deletecollection") {
            // a single object by field selector is authorized by its name, as upstream
            if let Some(name) = query.get("fieldSelector").and_then(|f| f.strip_prefix("metadata.name="))
                && !name.contains(',')
            {
                info.name = name.trim_start_matches('=').to_string();
            }
        }
        info
    }

    /// Whether it names a resource (and not a path such as `/healthz`).
    pub fn is_resource(&self) -> bool {
        !self.resource.is_empty()
    }
}

/// A decoded query string, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(pub Vec<(String, String)>);

impl Query {
    /// From the text after `?`.
    pub fn parse(text: &str) -> Self {
        Self(
            text.split('&')
                .filter(|p| !p.is_empty())
                .map(|pair| {
                    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode_plus(key), decode_plus(value))
                })
                .collect(),
        )
    }

    /// The first value of `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// All values of `key`.
    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// Whether `key` is there and neither `false` nor `0`, as upstream reads booleans.
    pub fn flag(&self, key: &str) -> bool {
        self.get(key).is_some_and(|v| !matches!(v.to_ascii_lowercase().as_str(), "false" | "0"))
    }
}

fn decode_plus(text: &str) -> String {
    if text.contains('+') { decode(&text.replace('+', " ")) } else { decode(text) }
}

/// Percent-decoding; a malformed escape stays as it is.
pub fn decode(text: &str) -> String {
    if !text.contains('%') {
        return text.to_string();
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let hex = |b: u8| char::from(b).to_digit(16).map(|d| d as u8);
        if bytes[i] == b'%'
            && let (Some(high), Some(low)) =
                (bytes.get(i + 1).copied().and_then(hex), bytes.get(i + 2).copied().and_then(hex))
        {
            out.push(high * 16 + low);
            i += 3;
        } else {
            out.push(bytes[i]);
            i += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_become_request_infos() {
        for (method, url, expected) in [
            ("GET", "/healthz", "get |||||"),
            ("GET", "/api", "get |||||"),
            ("GET", "/api/v1", "get |||||"),
            ("GET", "/api/v1/pods", "list |v1|pods|||"),
            ("GET", "/api/v1/pods?watch=true", "watch |v1|pods|||"),
            ("GET", "/api/v1/pods?watch=0", "list |v1|pods|||"),
            ("GET", "/api/v1/namespaces", "list |v1|namespaces|||"),
            ("GET", "/api/v1/namespaces/a", "get |v1|namespaces||a|a"),
            ("PUT", "/api/v1/namespaces/a/finalize", "update |v1|namespaces|finalize|a|a"),
            ("POST", "/api/v1/namespaces/a/pods", "create |v1|pods||a|"),
            ("POST", "/api/v1/namespaces/a/pods/p/exec", "create |v1|pods|exec|a|p"),
            ("DELETE", "/apis/apps/v1/namespaces/a/deployments", "deletecollection apps|v1|deployments||a|"),
            ("PATCH", "/apis/apps/v1/namespaces/a/deployments/d/status", "patch apps|v1|deployments|status|a|d"),
            ("GET", "/api/v1/nodes?fieldSelector=metadata.name%3Dn1&watch=1", "watch |v1|nodes|||n1"),
            ("GET", "/api/v1/watch/namespaces/a/pods", "watch |v1|pods||a|"),
        ] {
            let (path, query) = url.split_once('?').unwrap_or((url, ""));
            let i = RequestInfo::parse(method, path, &Query::parse(query));
            let got = format!(
                "{} {}|{}|{}|{}|{}|{}",
                i.verb, i.group, i.version, i.resource, i.subresource, i.namespace, i.name
            );
            assert_eq!(got, expected, "{method} {url}");
        }
    }
}
