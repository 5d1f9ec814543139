//! Cells of Tables and fields of selectors: how `kubectl get` shows an object.

use jiff::Timestamp;
use serde_json::{Value, json};

/// What a cell may depend on beside the object.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// Now, for ages.
    pub now: Timestamp,
}

/// One column of a Table.
pub struct Column {
    /// Heading.
    pub name: &'static str,
    /// OpenAPI type of the cells.
    pub kind: &'static str,
    /// OpenAPI format: `name` for the first column.
    pub format: &'static str,
    /// What it shows.
    pub description: &'static str,
    /// 0 always shown, 1 with `-o wide`.
    pub priority: i32,
    /// Makes the cell.
    pub cell: fn(&Context, &Value) -> Value,
}

impl Column {
    /// A column of strings.
    pub const fn text(name: &'static str, cell: fn(&Context, &Value) -> Value) -> Self {
        Self { name, kind: "string", format: "", description: "", priority: 0, cell }
    }

    /// A column of whole numbers.
    pub const fn number(name: &'static str, cell: fn(&Context, &Value) -> Value) -> Self {
        Self { kind: "integer", ..Self::text(name, cell) }
    }

    /// Shown with `-o wide` only.
    pub const fn wide(self) -> Self {
        Self { priority: 1, ..self }
    }

    /// With a description.
    pub const fn about(self, description: &'static str) -> Self {
        Self { description, ..self }
    }
}

/// A field that field selectors may name.
pub struct SelectableField {
    /// `spec.nodeName`.
    pub path: &'static str,
    /// Its value in an object.
    pub get: fn(&Value) -> String,
}

/// `Name`.
pub const NAME: Column = Column {
    name: "Name",
    kind: "string",
    format: "name",
    description: "Name must be unique within a namespace. Is required when creating resources, although some resources \
                  may allow a client to request the generation of an appropriate name automatically.",
    priority: 0,
    cell: |_, object| json!(string(&object["metadata"]["name"])),
};

/// `Age`.
pub const AGE: Column =
    Column::text("Age", |context, object| json!(since(context, &object["metadata"]["creationTimestamp"])))
        .about("CreationTimestamp is a timestamp representing the server time when this object was created.");

/// `Created At`, of kinds without columns of their own.
pub const CREATED_AT: Column = Column {
    name: "Created At",
    kind: "date",
    format: "",
    description: "CreationTimestamp is a timestamp representing the server time when this object was created.",
    priority: 0,
    cell: |_, object| object["metadata"]["creationTimestamp"].clone(),
};

/// Columns of kinds whose only interesting fact is their age.
pub const NAME_AND_AGE: &[Column] = &[NAME, AGE];
/// Columns of kinds that upstream prints with its default convertor.
pub const DEFAULT: &[Column] = &[NAME, CREATED_AT];

/// Columns of a Scale.
pub const SCALE: &[Column] = &[
    NAME,
    Column::number("Desired", |_, scale| json!(number(&scale["spec"]["replicas"])))
        .about("replicas is the desired number of instances for the scaled object."),
    Column::number("Available", |_, scale| json!(number(&scale["status"]["replicas"])))
        .about("replicas is the actual number of observed instances of the scaled object."),
    AGE,
];

/// The string in `value`, or nothing.
pub fn string(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

/// The string in `value`, or `placeholder` when it is missing or empty.
pub fn string_or<'a>(value: &'a Value, placeholder: &'a str) -> &'a str {
    value.as_str().filter(|s| !s.is_empty()).unwrap_or(placeholder)
}

/// The array in `value`, or nothing.
pub fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The number in `value`, or 0.
pub fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or(0)
}

/// How long ago a timestamp was: `5m`, `<unknown>` when it is missing.
pub fn since(context: &Context, value: &Value) -> String {
    match value.as_str().and_then(|s| s.parse::<Timestamp>().ok()) {
        Some(then) => human_duration(context.now.as_second() - then.as_second()),
        None => "<unknown>".into(),
    }
}

/// Seconds as people read them, two units at most: `45s`, `2m30s`, `15m`, `3h20m`, `2d4h`, `40d`, `3y12d`.
pub fn human_duration(seconds: i64) -> String {
    if seconds < -1 {
        return "<invalid>".into();
    }
    let seconds = seconds.max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let pair = |a: i64, unit: &str, b: i64, small: &str| {
        if b == 0 { format!("{a}{unit}") } else { format!("{a}{unit}{b}{small}") }
    };
    match () {
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 => pair(minutes, "m", seconds % 60, "s"),
        () if minutes < 180 => format!("{minutes}m"),
        () if hours < 8 => pair(hours, "h", minutes % 60, "m"),
        () if hours < 48 => format!("{hours}h"),
        () if hours < 192 => pair(days, "d", hours % 24, "h"),
        () if days < 730 => format!("{days}d"),
        () if days < 8 * 365 => pair(days / 365, "y", days % 365, "d"),
        () => format!("{}y", days / 365),
    }
}

/// A map as `a=b,c=d`; `<none>` when it is empty.
pub fn labels(value: &Value) -> String {
    let pairs: Vec<String> = value
        .as_object()
        .map(|map| map.iter().map(|(key, value)| format!("{key}={}", string(value))).collect())
        .unwrap_or_default();
    or_none(pairs.join(","))
}

/// A LabelSelector as `a=b,c in (d,e)`; `<none>` when it selects everything.
pub fn selector(value: &Value) -> String {
    let mut terms: Vec<String> = value["matchLabels"]
        .as_object()
        .map(|map| map.iter().map(|(key, value)| format!("{key}={}", string(value))).collect())
        .unwrap_or_default();
    terms.extend(items(&value["matchExpressions"]).iter().map(|term| {
        let key = string(&term["key"]);
        let values = items(&term["values"]).iter().map(string).collect::<Vec<_>>().join(",");
        match string(&term["operator"]) {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_string(),
        }
    }));
    or_none(terms.join(","))
}

/// `<none>` for an empty text.
pub fn or_none(text: String) -> String {
    if text.is_empty() { "<none>".into() } else { text }
}

fn joined(template: &Value, field: &str) -> Value {
    let containers = items(&template["spec"]["containers"]);
    json!(containers.iter().map(|c| string(&c[field])).collect::<Vec<_>>().join(","))
}

/// `Containers` of a pod template in `spec.template`.
pub const CONTAINERS: Column = Column::text("Containers", |_, o| joined(&o["spec"]["template"], "name"))
    .wide()
    .about("Names of each container in the template.");
/// `Images` of a pod template in `spec.template`.
pub const IMAGES: Column = Column::text("Images", |_, o| joined(&o["spec"]["template"], "image"))
    .wide()
    .about("Images referenced by each container in the template.");
/// `Selector` of a workload.
pub const SELECTOR: Column = Column::text("Selector", |_, o| json!(selector(&o["spec"]["selector"]))).wide();

/// Access modes as `RWO,ROX`.
pub fn access_modes(modes: &Value) -> String {
    let has = |mode: &str| items(modes).iter().any(|m| m == mode);
    let known =
        [("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP")];
    known.iter().filter(|(mode, _)| has(mode)).map(|(_, short)| *short).collect::<Vec<_>>().join(",")
}
