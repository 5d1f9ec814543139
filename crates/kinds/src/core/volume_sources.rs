//! What is wrong with the sources of volumes, of pods and of persistent volumes: a table.
//!
//! Source: the `validate…VolumeSource` functions of `pkg/apis/core/validation`.

use crate::check::{Check, filled};
use crate::column::{items, number, string};
use crate::place::Place;
use coracle_api::{FieldError, Path, validation};
use serde_json::{Value, json};

/// A kind of source.
pub struct Source {
    /// Its field.
    pub field: &'static str,
    /// The field as upstream names it when there are two sources.
    pub second: &'static str,
    /// The field as upstream names it when something in it is wrong.
    pub within: &'static str,
    /// What must hold.
    pub rules: &'static [Rule],
}

/// Something that must hold for a source.
#[derive(Clone, Copy)]
pub enum Rule {
    /// The field is given.
    Needs(&'static str),
    /// The field of a reference is given, if the reference is.
    NeedsIn(&'static str, &'static str),
    /// The list has an entry.
    NeedsSome(&'static str),
    /// The number is between 0 and 255; the message says from where.
    Byte(&'static str, u8),
    /// The bits of a file's mode.
    Mode(&'static str),
    /// A label, needed or not.
    Label(&'static str, bool),
    /// Anything else.
    With(fn(&mut Check, &Path, &Value)),
}

pub(crate) const fn source(field: &'static str, rules: &'static [Rule]) -> Source {
    Source { field, second: field, within: field, rules }
}

use Rule::{Byte, Label, Mode, Needs, NeedsIn, NeedsSome, With};

const DISK: &[Rule] = &[Needs("pdName"), Byte("partition", 1)];
const BLOCK_STORE: &[Rule] = &[Needs("volumeID"), Byte("partition", 1)];
const NFS: &[Rule] = &[Needs("server"), Needs("path"), With(absolute)];
const GLUSTER: &[Rule] = &[Needs("endpoints"), Needs("path")];
const RBD: &[Rule] = &[NeedsSome("monitors"), Needs("image")];
const CINDER: &[Rule] = &[Needs("volumeID"), NeedsIn("secretRef", "name")];
const SCALE_IO: &[Rule] = &[Needs("gateway"), Needs("system"), Needs("volumeName")];
const AZURE_FILE: &[Rule] = &[Needs("secretName"), Needs("shareName")];

/// Sources that only pods have, and those that upstream judges differently for them, in upstream's order.
pub static OF_PODS: &[Source] = &[
    source("emptyDir", &[With(empty_dir)]),
    source("hostPath", &[With(host_path)]),
    source("gitRepo", &[Needs("repository"), With(git_directory)]),
    Source { within: "persistentDisk", ..source("gcePersistentDisk", DISK) },
    source("awsElasticBlockStore", BLOCK_STORE),
    source("secret", &[Needs("secretName"), Mode("defaultMode"), With(keys)]),
    source("nfs", NFS),
    source("iscsi", &[With(iscsi)]),
    source("glusterfs", GLUSTER),
    source("flocker", &[With(flocker)]),
    source("persistentVolumeClaim", &[Needs("claimName")]),
    source("rbd", RBD),
    source("cinder", CINDER),
    Source { second: "cephFS", ..source("cephfs", &[NeedsSome("monitors")]) },
    source("quobyte", &[With(quobyte)]),
    Source {
        second: "downwarAPI",
        ..source("downwardAPI", &[Mode("defaultMode"), With(super::pod::volumes::downward)])
    },
    source("fc", &[With(fibre)]),
    source("flexVolume", &[Needs("driver"), With(flex_options)]),
    source("configMap", &[Needs("name"), Mode("defaultMode"), With(keys)]),
    source("azureFile", AZURE_FILE),
    source("vsphereVolume", &[Needs("volumePath")]),
    source("photonPersistentDisk", &[Needs("pdID")]),
    source("portworxVolume", &[Needs("volumeID")]),
    source("azureDisk", &[With(azure_disk)]),
    source("storageos", &[Label("volumeName", true), Label("volumeNamespace", false), NeedsIn("secretRef", "name")]),
    source("projected", &[Mode("defaultMode"), With(super::pod::projected::validate)]),
    source("scaleIO", SCALE_IO),
    source("csi", &[With(csi_driver), With(csi_secret)]),
    source("ephemeral", &[With(super::pod::volumes::ephemeral)]),
    source("image", &[With(image_policy)]),
];

/// Sources of persistent volumes.
pub static OF_VOLUMES: &[Source] = &[
    source("hostPath", &[With(host_path)]),
    Source { within: "persistentDisk", ..source("gcePersistentDisk", DISK) },
    source("awsElasticBlockStore", BLOCK_STORE),
    source("glusterfs", &[Needs("endpoints"), Needs("path"), With(gluster_namespace)]),
    source("flocker", &[With(flocker)]),
    source("nfs", NFS),
    source("rbd", RBD),
    source("quobyte", &[With(quobyte)]),
    Source { second: "cephFS", ..source("cephfs", &[NeedsSome("monitors")]) },
    source("iscsi", &[With(iscsi), NeedsIn("secretRef", "name")]),
    source("cinder", &[Needs("volumeID"), NeedsIn("secretRef", "name"), NeedsIn("secretRef", "namespace")]),
    source("fc", &[With(fibre)]),
    source("flexVolume", &[Needs("driver"), With(flex_options)]),
    source("azureFile", &[Needs("secretName"), Needs("shareName"), With(azure_namespace)]),
    source("vsphereVolume", &[Needs("volumePath")]),
    source("photonPersistentDisk", &[Needs("pdID")]),
    source("portworxVolume", &[Needs("volumeID")]),
    source("azureDisk", &[With(azure_disk)]),
    source("scaleIO", SCALE_IO),
    source("local", &[With(local)]),
    source(
        "storageos",
        &[
            Label("volumeName", true),
            Label("volumeNamespace", false),
            NeedsIn("secretRef", "name"),
            NeedsIn("secretRef", "namespace"),
        ],
    ),
    source("csi", &[With(csi_driver), Needs("volumeHandle"), With(csi_secrets)]),
];

/// Judges the sources in `object`, which must be one; returns its descriptor.
pub fn validate<'a>(
    check: &mut Check,
    path: &Path,
    object: &Value,
    sources: &'a [Source],
    also: &mut dyn FnMut(&mut Check, &Source),
) -> Option<&'a Source> {
    let mut found: Option<&Source> = None;
    for source in sources.iter().filter(|s| object[s.field].is_object()) {
        if found.is_some() {
            check.forbidden(path.field(source.second), "may not specify more than 1 volume type");
            continue;
        }
        found = Some(source);
        apply(check, &path.field(source.within), &object[source.field], source.rules);
        also(check, source);
    }
    if found.is_none() {
        check.required(path.clone(), "must specify a volume type");
    }
    found
}

fn apply(check: &mut Check, path: &Path, value: &Value, rules: &[Rule]) {
    for rule in rules {
        match *rule {
            Needs(field) if string(&value[field]).is_empty() => check.required(path.field(field), ""),
            NeedsIn(reference, field)
                if value[reference].is_object() && string(&value[reference][field]).is_empty() =>
            {
                check.required(path.field(reference).field(field), "");
            }
            NeedsSome(field) if items(&value[field]).is_empty() => check.required(path.field(field), ""),
            Byte(field, from) if !(0..=255).contains(&number(&value[field])) => {
                check.invalid(path.field(field), &value[field], format!("must be between {from} and 255, inclusive"));
            }
            Mode(field) => mode(check, path.field(field), &value[field]),
            Label(field, true) if string(&value[field]).is_empty() => check.required(path.field(field), ""),
            Label(field, _) => check.text(path.field(field), &value[field], validation::dns1123_label),
            With(rule) => rule(check, path, value),
            _ => {}
        }
    }
}

/// The bits of a file's mode.
pub fn mode(check: &mut Check, path: Path, mode: &Value) {
    if mode.as_i64().is_some_and(|m| !(0..=0o777).contains(&m)) {
        check.invalid(path, mode, "must be a number between 0 and 0777 (octal), both inclusive");
    }
}

/// The items that choose keys and name their files.
pub fn keys(check: &mut Check, path: &Path, source: &Value) {
    for (index, item) in items(&source["items"]).iter().enumerate() {
        key_to_path(check, &path.field("items").index(index), item);
    }
}

/// A key and its file.
pub fn key_to_path(check: &mut Check, path: &Path, item: &Value) {
    apply(check, path, item, &[Needs("key"), Needs("path")]);
    own_path(check, &path.field("path"), &item["path"]);
    mode(check, path.field("mode"), &item["mode"]);
}

/// No step upwards in a path.
pub fn no_backsteps(check: &mut Check, path: &Path, value: &Value) {
    if string(value).split('/').any(|part| part == "..") {
        check.invalid(path.clone(), value, "must not contain '..'");
    }
}

/// A path that stays below where it starts.
pub fn descending(check: &mut Check, path: &Path, value: &Value) {
    if string(value).starts_with('/') {
        check.invalid(path.clone(), value, "must be a relative path");
    }
    no_backsteps(check, path, value);
}

/// A path that stays in its volume and does not look like what the node puts there.
pub fn own_path(check: &mut Check, path: &Path, value: &Value) {
    descending(check, path, value);
    let text = string(value);
    if text.starts_with("..") && !text.starts_with("../") {
        check.invalid(path.clone(), value, "must not start with '..'");
    }
}

fn empty_dir(check: &mut Check, path: &Path, source: &Value) {
    if crate::amounts::amount(&source["sizeLimit"]).is_some_and(|a| a.is_negative()) {
        check.forbidden(path.field("sizeLimit"), "SizeLimit field must be a valid resource quantity");
    }
}

/// A path on the node.
pub fn host_path(check: &mut Check, path: &Path, source: &Value) {
    if string(&source["path"]).is_empty() {
        check.required(path.field("path"), "");
        return;
    }
    no_backsteps(check, &path.field("path"), &source["path"]);
    let kinds = ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
    check.exactly_one_of(path.field("type"), &source["type"], &kinds);
}

fn local(check: &mut Check, path: &Path, source: &Value) {
    if string(&source["path"]).is_empty() {
        check.required(path.field("path"), "");
    } else {
        no_backsteps(check, &path.field("path"), &source["path"]);
    }
}

fn git_directory(check: &mut Check, path: &Path, source: &Value) {
    descending(check, &path.field("directory"), &source["directory"]);
}

fn absolute(check: &mut Check, path: &Path, source: &Value) {
    if !string(&source["path"]).starts_with('/') {
        check.invalid(path.field("path"), &json!(string(&source["path"])), "must be an absolute path");
    }
}

fn gluster_namespace(check: &mut Check, path: &Path, source: &Value) {
    let (at, given) = (path.field("endpointsNamespace"), &source["endpointsNamespace"]);
    match given.as_str() {
        Some("") => {
            check.invalid(at, given, "if the endpointnamespace is set, it must be a valid namespace name");
        }
        Some(_) => check.text(at, given, validation::dns1123_label),
        None => {}
    }
}

fn azure_namespace(check: &mut Check, path: &Path, source: &Value) {
    if source["secretNamespace"] == "" {
        check.required(path.field("secretNamespace"), "");
    }
}

fn flocker(check: &mut Check, path: &Path, source: &Value) {
    match (filled(source, "datasetName"), filled(source, "datasetUUID")) {
        (false, false) => check.required(path.clone(), "one of datasetName and datasetUUID is required"),
        (true, true) => {
            let why = "datasetName and datasetUUID can not be specified simultaneously";
            check.invalid(path.clone(), &json!("resource"), why);
        }
        _ => {}
    }
    if string(&source["datasetName"]).contains('/') {
        check.invalid(path.field("datasetName"), &source["datasetName"], "must not contain '/'");
    }
}

fn quobyte(check: &mut Check, path: &Path, source: &Value) {
    const PAIRS: &str = "must be a host:port pair or multiple pairs separated by commas";
    let registry = string(&source["registry"]);
    if registry.is_empty() {
        check.required(path.field("registry"), PAIRS);
    } else if string(&source["tenant"]).len() >= 65 {
        check.required(path.field("tenant"), "must be a UUID and may not exceed a length of 64 characters");
    } else {
        for pair in registry.split(',') {
            if pair.rsplit_once(':').is_none_or(|(host, _)| host.contains(':') && !host.starts_with('[')) {
                check.invalid(path.field("registry"), &source["registry"], PAIRS);
            }
        }
    }
    apply(check, path, source, &[Needs("volume")]);
}

fn fibre(check: &mut Check, path: &Path, source: &Value) {
    let at = path.field("targetWWNs");
    let (names, ids) = (filled(source, "targetWWNs"), filled(source, "wwids"));
    if !names && !ids {
        check.required(at, "must specify either targetWWNs or wwids, but not both");
    } else if names && ids {
        let why = "targetWWNs and wwids can not be specified simultaneously";
        check.invalid(at, &source["targetWWNs"], why);
    }
    if names {
        if source["lun"].is_null() {
            check.required(path.field("lun"), "lun is required if targetWWNs is specified");
        } else {
            apply(check, path, source, &[Byte("lun", 0)]);
        }
    }
}

fn flex_options(check: &mut Check, path: &Path, source: &Value) {
    for (key, _) in crate::amounts::entries(&source["options"]) {
        let domain = key.split_once('/').map_or(key.as_str(), |(domain, _)| domain);
        let domain = format!(".{}", domain.to_lowercase());
        if domain.ends_with(".kubernetes.io") || domain.ends_with(".k8s.io") {
            let why = "kubernetes.io and k8s.io namespaces are reserved";
            check.invalid(path.field("options").key(key), &json!(key), why);
        }
    }
}

fn azure_disk(check: &mut Check, path: &Path, source: &Value) {
    apply(check, path, source, &[Needs("diskName"), Needs("diskURI")]);
    check.exactly_one_of(path.field("cachingMode"), &source["cachingMode"], &["None", "ReadOnly", "ReadWrite"]);
    check.exactly_one_of(path.field("kind"), &source["kind"], &["Dedicated", "Managed", "Shared"]);
    let (kind, uri) = (&source["kind"], string(&source["diskURI"]));
    if kind == "Managed" && !uri.starts_with("/subscriptions/") {
        let form = "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}";
        check.push(FieldError::not_supported(path.field("diskURI"), uri, &[form]));
    }
    if kind.is_string() && kind != "Managed" && !uri.starts_with("https://") {
        let form = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd";
        check.push(FieldError::not_supported(path.field("diskURI"), uri, &[form]));
    }
}

fn csi_driver(check: &mut Check, path: &Path, source: &Value) {
    check.driver_name(&Place::at(path.field("driver"), &source["driver"]));
}

fn csi_secret(check: &mut Check, path: &Path, source: &Value) {
    let secret = &source["nodePublishSecretRef"];
    if !secret.is_object() {
        return;
    }
    if string(&secret["name"]).is_empty() {
        check.required(path.field("nodePublishSecretRef").field("name"), "");
    } else {
        check.text(path.field("name"), &secret["name"], validation::dns1123_subdomain);
    }
}

fn csi_secrets(check: &mut Check, path: &Path, source: &Value) {
    let references =
        ["controllerPublishSecretRef", "controllerExpandSecretRef", "nodePublishSecretRef", "nodeExpandSecretRef"];
    for reference in references.into_iter().filter(|r| source[*r].is_object()) {
        let (at, secret) = (path.field(reference), &source[reference]);
        check.required_text(at.field("name"), &secret["name"], validation::dns1123_subdomain);
        check.required_text(at.field("namespace"), &secret["namespace"], validation::dns1123_label);
    }
}

fn image_policy(check: &mut Check, path: &Path, source: &Value) {
    let policies = ["Always", "IfNotPresent", "Never"];
    check.required_one_of(path.field("pullPolicy"), &source["pullPolicy"], &policies);
}

fn iscsi(check: &mut Check, path: &Path, source: &Value) {
    apply(check, path, source, &[Needs("targetPortal"), Needs("iqn")]);
    iscsi_name(check, &path.field("iqn"), &source["iqn"]);
    apply(check, path, source, &[Byte("lun", 0)]);
    if (source["chapAuthDiscovery"] == true || source["chapAuthSession"] == true) && !source["secretRef"].is_object() {
        check.required(path.field("secretRef"), "");
    }
    iscsi_name(check, &path.field("initiatorname"), &source["initiatorName"]);
}

/// `iqn.2001-04.com.example:name`, `eui.` and 16 characters, `naa.` and 32.
fn iscsi_name(check: &mut Check, path: &Path, value: &Value) {
    let Some(name) = value.as_str().filter(|n| !n.is_empty()) else { return };
    let hex = |prefix: &str, length: usize| {
        name.strip_prefix(prefix)
            .and_then(|rest| rest.get(1..))
            .is_some_and(|rest| rest.len() == length && rest.bytes().all(|b| b.is_ascii_alphanumeric()))
    };
    let fits = match name.get(..3) {
        Some("iqn") => is_qualified_iscsi(name),
        Some("eui") => hex("eui", 16),
        Some("naa") => hex("naa", 32),
        _ => {
            check.invalid(path.clone(), value, "must be valid format starting with iqn, eui, or naa");
            return;
        }
    };
    if !fits {
        check.invalid(path.clone(), value, "must be valid format");
    }
}

fn is_qualified_iscsi(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("iqn.") else { return false };
    let Some((date, rest)) = rest.split_once('.') else { return false };
    let digits = |text: &str, length: usize| text.len() == length && text.bytes().all(|b| b.is_ascii_digit());
    let dated = date.split_once('-').is_some_and(|(year, month)| digits(year, 4) && digits(month, 2));
    let Some((authority, own)) = rest.split_once(':') else { return false };
    let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.');
    dated
        && !authority.is_empty()
        && authority.bytes().all(word)
        && !own.is_empty()
        && !own.contains(|c: char| c.is_whitespace() || ",;*&$|".contains(c))
}
