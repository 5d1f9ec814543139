//! Kubeconfig files: which server, how trusted, who asks.

use crate::http::{HttpConfig, Identity, Trust};
use base64::Engine as _;
use coracle_api::{Result, Status};
use serde::Deserialize;
use std::path::{Path, PathBuf};

#[derive(Deserialize, Default)]
#[serde(default)]
struct File {
    clusters: Vec<Named<ClusterEntry>>,
    users: Vec<Named<UserEntry>>,
    contexts: Vec<Named<ContextEntry>>,
    #[serde(rename = "current-context")]
    current: String,
}

#[derive(Deserialize)]
struct Named<T> {
    name: String,
    #[serde(flatten)]
    entry: T,
}

#[derive(Deserialize)]
struct ClusterEntry {
    cluster: Cluster,
}

#[derive(Deserialize)]
struct UserEntry {
    #[serde(default)]
    user: User,
}

#[derive(Deserialize)]
struct ContextEntry {
    context: Context,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct Cluster {
    server: String,
    certificate_authority: Option<PathBuf>,
    certificate_authority_data: Option<String>,
    insecure_skip_tls_verify: bool,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct User {
    client_certificate: Option<PathBuf>,
    client_certificate_data: Option<String>,
    client_key: Option<PathBuf>,
    client_key_data: Option<String>,
    token: Option<String>,
    #[serde(rename = "tokenFile")]
    token_file: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Context {
    cluster: String,
    #[serde(default)]
    user: String,
}

/// Reads a kubeconfig file's current context, or the one named.
///
/// # Errors
/// When the file cannot be read, or names a context, cluster or user that it does not define.
pub fn load(path: &Path, context: Option<&str>) -> Result<HttpConfig> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| Status::bad_request(format!("the kubeconfig {} cannot be read: {e}", path.display())))?;
    parse(&text, path.parent().unwrap_or(Path::new(".")), context)
        .map_err(|e| Status::bad_request(format!("the kubeconfig {} cannot be used: {e}", path.display())))
}

/// Reads kubeconfig text; relative file names in it are below `base`.
fn parse(text: &str, base: &Path, context: Option<&str>) -> Result<HttpConfig, String> {
    let file: File = serde_saphyr::from_str(text).map_err(|e| e.to_string())?;
    let name = context.unwrap_or(&file.current);
    let context = &find(&file.contexts, name).ok_or_else(|| format!("context {name:?} does not exist"))?.context;
    let cluster = &find(&file.clusters, &context.cluster)
        .ok_or_else(|| format!("cluster {:?} does not exist", context.cluster))?
        .cluster;
    let user = match context.user.as_str() {
        "" => &User::default(),
        name => &find(&file.users, name).ok_or_else(|| format!("user {name:?} does not exist"))?.user,
    };
    let trust = match data_or_file(base, &cluster.certificate_authority_data, &cluster.certificate_authority)? {
        _ if cluster.insecure_skip_tls_verify => Trust::Insecure,
        Some(ca) => Trust::Ca(ca),
        None if cluster.server.starts_with("http://") => Trust::Insecure,
        None => return Err(format!("cluster {:?} has no certificate-authority-data", context.cluster)),
    };
    let certificate = data_or_file(base, &user.client_certificate_data, &user.client_certificate)?;
    let key = data_or_file(base, &user.client_key_data, &user.client_key)?;
    let token = match (&user.token, &user.token_file) {
        (Some(token), _) => Some(token.clone()),
        (None, Some(file)) => Some(String::from_utf8_lossy(&read(&base.join(file))?).trim().to_string()),
        (None, None) => None,
    };
    let identity = match (certificate, key, token) {
        (Some(certificate), Some(key), _) => Identity::Certificate { certificate, key },
        (_, _, Some(token)) => Identity::Token(token),
        _ => Identity::Anonymous,
    };
    Ok(HttpConfig { server: cluster.server.clone(), trust, identity })
}

fn find<'a, T>(list: &'a [Named<T>], name: &str) -> Option<&'a T> {
    list.iter().find(|n| n.name == name).map(|n| &n.entry)
}

fn data_or_file(base: &Path, data: &Option<String>, file: &Option<PathBuf>) -> Result<Option<Vec<u8>>, String> {
    match (data, file) {
        (Some(data), _) => {
            base64::engine::general_purpose::STANDARD.decode(data.trim()).map(Some).map_err(|e| e.to_string())
        }
        (None, Some(file)) => read(&base.join(file)).map(Some),
        (None, None) => Ok(None),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_are_resolved() {
        let text = "apiVersion: v1\nkind: Config\ncurrent-context: a\npreferences: {}\nclusters:\n- name: c\n  cluster:\n    server: https://h:1\n    certificate-authority-data: Y2E=\nusers:\n- name: u\n  user:\n    client-certificate-data: Yw==\n    client-key-data: aw==\n- name: t\n  user: {token: secret}\ncontexts:\n- name: a\n  context: {cluster: c, user: u}\n- name: b\n  context: {cluster: c, user: t, namespace: x}\n- name: bad\n  context: {cluster: nope, user: t}\n";
        for (context, expected) in [
            (None, "https://h:1 cert c k"),
            (Some("b"), "https://h:1 token secret"),
            (Some("bad"), "cluster \"nope\" does not exist"),
            (Some("none"), "context \"none\" does not exist"),
        ] {
            let got = match parse(text, Path::new("/"), context) {
                Err(e) => e,
                Ok(config) => {
                    assert!(matches!(&config.trust, Trust::Ca(ca) if ca == b"ca"));
                    let who = match config.identity {
                        Identity::Anonymous => "nobody".to_string(),
                        Identity::Token(t) => format!("token {t}"),
                        Identity::Certificate { certificate, key } => {
                            format!("cert {} {}", String::from_utf8_lossy(&certificate), String::from_utf8_lossy(&key))
                        }
                    };
                    format!("{} {who}", config.server)
                }
            };
            assert_eq!(got, expected);
        }
    }
}
