//! Types, fields, descriptions and list topology from the sources of `k8s-openapi`.

use super::{Field, Kind, Type, literal, rust_files};
use anyhow::{Context, Result};
use serde_json::Value;
use std::{collections::BTreeMap, fs, path::Path};

/// Types that are no structs on the wire. `j`: any JSON.
const SCALARS: &[(&str, &str)] = &[
    ("Quantity", "q"),
    ("IntOrString", "x"),
    (".Time", "t"),
    ("MicroTime", "u"),
    ("RawExtension", "j"),
    ("FieldsV1", "j"),
    ("v1.JSON", "j"),
    ("meta.v1.Patch", "j"),
    ("JSONSchemaPropsOrArray", "j"),
    ("JSONSchemaPropsOrBool", "j"),
    ("JSONSchemaPropsOrStringArray", "j"),
    ("CustomResourceSubresourceStatus", "j"),
];

/// Reads every type below `root`.
pub fn read(root: &Path) -> Result<BTreeMap<String, Type>> {
    let mut sources = Vec::new();
    let mut names = BTreeMap::new();
    for file in rust_files(root)? {
        let text = fs::read_to_string(&file)?;
        let Some(name) = text.strip_prefix("// Generated from definition ") else { continue };
        let name = name.lines().next().unwrap_or_default().to_string();
        let module = file.parent().and_then(|d| d.strip_prefix(root).ok()).context("a file outside the root")?;
        let rust = format!(
            "crate::{}::{}",
            module.to_string_lossy().replace('/', "::"),
            name.rsplit('.').next().unwrap_or_default()
        );
        names.insert(rust, name.clone());
        sources.push((name, text));
    }
    let mut types = BTreeMap::new();
    for (name, text) in &sources {
        let kind = one_type(name, text, &names).with_context(|| name.clone())?;
        types.insert(name.clone(), kind);
    }
    add_lists(&mut types);
    Ok(types)
}

fn one_type(name: &str, text: &str, names: &BTreeMap<String, String>) -> Result<Type> {
    let schema = match text.split_once("json_schema!(") {
        Some((_, literal)) => literal::parse(literal)?,
        None => Value::Null,
    };
    let mut kind = Type {
        description: schema["description"].as_str().unwrap_or_default().to_string(),
        scalar: SCALARS.iter().find(|(end, _)| name.ends_with(end)).map(|(_, code)| *code),
        kind: resource(text),
        ..Type::default()
    };
    if name.ends_with("CustomResourceSubresourceStatus") {
        kind.scalar = Some("j");
    }
    if kind.scalar.is_some() {
        return Ok(kind);
    }
    let topology = topology(text);
    let required: Vec<&str> =
        schema["required"].as_array().map(|l| l.iter().filter_map(Value::as_str).collect()).unwrap_or_default();
    for (field, value) in schema["properties"].as_object().into_iter().flatten() {
        let rust = rust_name(text, field);
        let how = topology.get(rust.as_str()).map_or("", String::as_str);
        kind.fields.insert(
            field.clone(),
            Field {
                description: value["description"].as_str().unwrap_or_default().to_string(),
                shape: shape(value, how, names)?,
                // the crate makes every kind's metadata mandatory, upstream doesn't
                required: required.contains(&field.as_str()) && !(kind.kind.is_some() && field == "metadata"),
                ..Field::default()
            },
        );
    }
    Ok(kind)
}

/// The compact shape of a field; see the reader in `coracle_api::schema`.
fn shape(value: &Value, how: &str, names: &BTreeMap<String, String>) -> Result<String> {
    if let Some(path) = value["$ref"].as_str() {
        let name = names.get(path).with_context(|| format!("unknown type {path}"))?;
        return Ok(SCALARS
            .iter()
            .find(|(end, _)| name.ends_with(end))
            .map_or_else(|| format!("@{name}"), |(_, code)| (*code).to_string()));
    }
    Ok(match (value["type"].as_str().unwrap_or_default(), value["format"].as_str().unwrap_or_default()) {
        ("string", "byte") => "y".into(),
        ("string", "date-time") => "t".into(),
        ("string", _) => "s".into(),
        ("integer", "int32") => "i".into(),
        ("integer", _) => "l".into(),
        ("number", _) => "d".into(),
        ("boolean", _) => "b".into(),
        ("array", _) => format!("[{}]{}", how.trim_start_matches('!'), shape(&value["items"], "", names)?),
        ("object", _) if value.get("additionalProperties").is_some() => {
            let atomic = if how == "!" { "!" } else { "" };
            format!("{{{atomic}}}{}", shape(&value["additionalProperties"], "", names)?)
        }
        _ => "j".into(),
    })
}

/// Rust field → `=` (set), `key,key` (map), `!` (atomic map), from the merge implementation.
fn topology(text: &str) -> BTreeMap<&str, String> {
    let mut found = BTreeMap::new();
    let Some((_, merge)) = text.split_once("fn merge_from(") else { return found };
    let merge = merge.split("impl<'de>").next().unwrap_or_default();
    for call in merge.split("crate::merge_strategies::").skip(1) {
        let Some((_, field)) = call.split_once("&mut self.") else { continue };
        let field = field.split([',', ')']).next().unwrap_or_default();
        let how = if call.starts_with("list::map") {
            let keys = call.split("lhs.").skip(1).map(|k| k.split(' ').next().unwrap_or_default());
            keys.map(camel).collect::<Vec<_>>().join(",")
        } else if call.starts_with("list::set") {
            "=".into()
        } else if call.starts_with("map::atomic") {
            "!".into()
        } else {
            continue;
        };
        found.insert(field, how);
    }
    found
}

/// Merge keys are plain words but for initialisms, of which only `ip` and `uid` occur, in lower case.
fn camel(rust: &str) -> String {
    let mut out = String::new();
    let mut upper = false;
    for c in rust.trim_end_matches('_').chars() {
        match c {
            '_' => upper = true,
            c if upper => {
                out.push(c.to_ascii_uppercase());
                upper = false;
            }
            c => out.push(c),
        }
    }
    out
}

fn rust_name(text: &str, field: &str) -> String {
    let marker = format!("\"{field}\" => Field::Key_");
    let rest = text.split_once(&marker).map_or("", |(_, rest)| rest);
    rest.split(',').next().unwrap_or_default().to_string()
}

fn resource(text: &str) -> Option<Kind> {
    let body = text.split_once("impl crate::Resource for ")?.1;
    let constant = |name: &str| {
        let rest = body.split_once(&format!("const {name}: &'static str = \""))?.1;
        Some(rest.split('"').next()?.to_string())
    };
    let scope = body.split_once("type Scope = crate::")?.1;
    let kind = constant("KIND")?;
    // what is only spoken below another resource, or never stored, is no resource of its own
    let alone = !scope.starts_with("SubResource") && kind != "Status";
    Some(Kind {
        group: constant("GROUP")?,
        version: constant("VERSION")?,
        kind,
        plural: constant("URL_PATH_SEGMENT").filter(|_| alone).unwrap_or_default(),
        namespaced: scope.starts_with("Namespace"),
        list: body.contains("impl crate::ListableResource").then(|| constant("LIST_KIND")).flatten(),
    })
}

/// `k8s-openapi` has one generic list type; on the wire every listable kind has its own.
pub(super) fn add_lists(types: &mut BTreeMap<String, Type>) {
    const TYPE_META: [(&str, &str); 2] = [
        (
            "apiVersion",
            "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized schemas to the latest internal value, and may reject unrecognized values. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources",
        ),
        (
            "kind",
            "Kind is a string value representing the REST resource this object represents. Servers may infer this from the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds",
        ),
    ];
    let mut lists = Vec::new();
    for (name, item) in types.iter() {
        let Some(Kind { list: Some(list), group, version, namespaced, .. }) = &item.kind else { continue };
        let mut fields = BTreeMap::new();
        for (field, description) in TYPE_META {
            let description = description.to_string();
            fields.insert(field.to_string(), Field { description, shape: "s".into(), ..Field::default() });
        }
        fields.insert("metadata".into(), Field {
            description: "Standard list metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds".into(),
            shape: "@io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta".into(),
            wire: "1=".into(),
            ..Field::default()
        });
        let description = format!("Items is the list of {}.", item.kind.as_ref().map_or("", |k| k.plural.as_str()));
        fields.insert(
            "items".into(),
            Field { description, shape: format!("[]@{name}"), required: true, wire: "2".into(), ..Field::default() },
        );
        let short = name.rsplit('.').next().unwrap_or_default();
        let list_name = format!("{}{list}", &name[..name.len() - short.len()]);
        let kind = Kind {
            group: group.clone(),
            version: version.clone(),
            kind: list.clone(),
            plural: String::new(),
            namespaced: *namespaced,
            list: None,
        };
        let description = format!("{list} is a list of {short} objects.");
        lists.push((list_name, Type { description, fields, kind: Some(kind), ..Type::default() }));
    }
    types.extend(lists);
}
