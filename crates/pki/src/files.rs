//! The directory in which a server keeps its keys: made at the first start, kept afterwards.
//!
//! | file | what |
//! |---|---|
//! | `ca.crt`, `ca.key` | the cluster's authority |
//! | `sa.key` | signs service account tokens |
//! | `<name>.crt`, `<name>.key` | a certificate of the server itself (`apiserver`, `apiserver-kubelet-client`, `admin`) |
//!
//! Everything is 0600 in a directory of 0700, and written beside its place first, so that a crash leaves the old file or the new one.

use crate::{Authority, Error, Identity, Key, Names, Result, Subject, TokenKey, Usage};
use jiff::Timestamp;
use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// The keys of a server.
#[derive(Clone, Debug)]
pub struct Pki {
    directory: PathBuf,
    authority: Authority,
    tokens: TokenKey,
}

impl Pki {
    /// Opens the directory; what is missing is made.
    pub fn open(directory: &Path, now: Timestamp) -> Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(at(directory))?;
        let (certificate, key) = (directory.join("ca.crt"), directory.join("ca.key"));
        let authority = match (read(&certificate)?, read(&key)?) {
            (Some(certificate), Some(key)) => Authority::from_pem(&certificate, &key)?,
            (Some(_), None) => {
                return Err(Error::malformed(format!(
                    "{} is there but {} is not: put the key back, or remove both to make a new authority (every node must then join again)",
                    certificate.display(),
                    key.display()
                )));
            }
            // a key alone is what a crash during the first start leaves
            (None, _) => {
                let authority = Authority::create("coracle-ca", now)?;
                write(&key, &authority.key().to_pem())?;
                write(&certificate, &authority.certificate_pem())?;
                authority
            }
        };
        let path = directory.join("sa.key");
        let tokens = match read(&path)? {
            Some(text) => Key::from_pem(&text)?,
            None => {
                let key = Key::generate()?;
                write(&path, &key.to_pem())?;
                key
            }
        };
        Ok(Self { directory: directory.to_path_buf(), authority, tokens: TokenKey::new(tokens) })
    }

    /// The cluster's authority.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The key that signs service account tokens.
    pub fn tokens(&self) -> &TokenKey {
        &self.tokens
    }

    /// The API server's own certificate: the kept one if it is valid for these names and not yet due, else a new one.
    pub fn serving(&self, names: &Names, now: Timestamp) -> Result<Identity> {
        let usages = [Usage::DIGITAL_SIGNATURE, Usage::KEY_ENCIPHERMENT, Usage::SERVER_AUTH];
        self.kept("apiserver", &Subject::new("kube-apiserver", &[]), names, &usages, now)
    }

    /// The certificate with which the API server calls nodes (logs, exec).
    pub fn kubelet_client(&self, now: Timestamp) -> Result<Identity> {
        self.client(
            "apiserver-kubelet-client",
            &Subject::new("kube-apiserver-kubelet-client", &["system:masters"]),
            now,
        )
    }

    /// The administrator's certificate.
    pub fn admin(&self, now: Timestamp) -> Result<Identity> {
        self.client("admin", &Subject::new("kubernetes-admin", &["system:masters"]), now)
    }

    /// A client certificate kept under `name`.
    pub fn client(&self, name: &str, subject: &Subject, now: Timestamp) -> Result<Identity> {
        let usages = [Usage::DIGITAL_SIGNATURE, Usage::KEY_ENCIPHERMENT, Usage::CLIENT_AUTH];
        self.kept(name, subject, &Names::default(), &usages, now)
    }

    fn kept(&self, name: &str, subject: &Subject, names: &Names, usages: &[Usage], now: Timestamp) -> Result<Identity> {
        let crt = self.directory.join(format!("{name}.crt"));
        let key = self.directory.join(format!("{name}.key"));
        if let (Some(chain), Some(key)) = (read(&crt)?, read(&key)?)
            && let Ok(identity) = Identity::from_pem(&chain, &key)
            && self.fits(&identity, subject, names, now)
        {
            return Ok(identity);
        }
        let identity = self.authority.identity(subject, names, usages, now)?;
        write(&key, &identity.key.to_pem())?;
        write(&crt, &identity.chain_pem())?;
        Ok(identity)
    }

    fn fits(&self, identity: &Identity, subject: &Subject, names: &Names, now: Timestamp) -> bool {
        let Ok(says) = identity.certificate() else { return false };
        let held = Names { dns: says.dns_names.clone(), addresses: says.addresses.clone(), ..Names::default() };
        says.common_name == subject.common_name
            && says.organizations == subject.organizations
            && held.normalized() == names.clone().normalized()
            && now < says.renew_at()
            && self.authority.has_signed(&identity.chain[0])
            && belongs(identity)
    }
}

/// Whether the key is the certificate's: a crash between the two files may have parted them.
fn belongs(identity: &Identity) -> bool {
    use x509_parser::prelude::{FromDer, X509Certificate};
    X509Certificate::from_der(&identity.chain[0])
        .is_ok_and(|(_, cert)| cert.public_key().raw == identity.key.public_info())
}

fn at(path: &Path) -> impl FnOnce(std::io::Error) -> Error + '_ {
    move |source| Error::File { path: path.to_path_buf(), source }
}

fn read(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at(path)(error)),
    }
}

/// Writes a secret file: whole or not at all, and readable by its owner only.
pub fn write(path: &Path, text: &str) -> Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let mut file: File =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside).map_err(at(&beside))?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_data()).map_err(at(&beside))?;
    fs::rename(&beside, path).map_err(at(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{os::unix::fs::PermissionsExt, time::Duration};

    #[test]
    fn a_second_start_finds_the_same_keys_and_renews_only_what_is_due() {
        let now: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pki");
        let names = Names::of_server(&["h1".into(), "0.0.0.0".into()], "10.96.0.1".parse().ok(), "cluster.local");
        let first = Pki::open(&path, now).unwrap();
        let serving = first.serving(&names, now).unwrap();
        let again = Pki::open(&path, now).unwrap();
        assert_eq!(again.authority().hash(), first.authority().hash());
        assert_eq!(again.tokens().id(), first.tokens().id());
        assert_eq!(again.serving(&names, now).unwrap().chain, serving.chain);
        let more = Names::of_server(&["h2".into()], "10.96.0.1".parse().ok(), "cluster.local");
        let renamed = again.serving(&more, now).unwrap();
        assert_ne!(renamed.chain, serving.chain);
        let later = now + Duration::from_secs(300 * 86400);
        assert_ne!(again.serving(&more, later).unwrap().chain, renamed.chain);
        for file in fs::read_dir(&path).unwrap() {
            assert_eq!(file.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        fs::remove_file(path.join("ca.key")).unwrap();
        assert!(Pki::open(&path, now).unwrap_err().to_string().contains("put the key back"));
    }
}
