//! Cases in text, `cases/apply.txt`: writes in order, what each was refused with, and what is left in the end.
//! `UPDATE_CASES=1` writes what comes out.

use super::*;
use crate::{
    options::FieldValidation,
    patch,
    schema::{NewField, OwnedType, Scalar, Schema, conform, yaml},
};
use proptest::prelude::*;
use std::fmt::Write;

const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/cases/apply.txt");

/// A type with every topology.
fn zoo() -> OwnedType {
    let mut b = Schema::builder();
    let meta = Schema::builtin().type_named("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta").unwrap();
    let meta = b.import(meta);
    let meta = b.reference(meta);
    let (text, int, truth) = (b.scalar(Scalar::String), b.scalar(Scalar::Int64), b.scalar(Scalar::Bool));
    let any = b.scalar(Scalar::Json);
    let field = |name: &str, shape| NewField {
        name: name.into(),
        shape,
        required: false,
        nullable: false,
        default: String::new(),
    };
    let inner = b.object("x.v1.Inner", vec![field("name", text), field("a", int), field("b", int)], false, false);
    let inner = b.reference(inner);
    let port = vec![
        field("port", int),
        NewField { default: "\"TCP\"".into(), ..field("protocol", text) },
        field("name", text),
    ];
    let port = b.object("x.v1.Port", port, false, false);
    let port = b.reference(port);
    let whole = b.object("x.v1.Whole", vec![field("a", int), field("b", int)], true, false);
    let whole = b.reference(whole);
    let open = b.object("x.v1.Open", vec![field("known", text)], false, true);
    let fields = vec![
        field("text", text),
        field("int", int),
        field("truth", truth),
        field("any", any),
        field("inner", inner),
        field("whole", whole),
        field("open", b.reference(open)),
        field("list", b.list(inner, &["name"], false)),
        field("pairs", b.list(inner, &["name", "a"], false)),
        field("ports", b.list(port, &["port", "protocol"], false)),
        field("set", b.list(text, &[], true)),
        field("numbers", b.list(int, &[], true)),
        field("atoms", b.list(text, &[], false)),
        field("map", b.map(text, false)),
        field("maps", b.map(inner, false)),
        field("wholemap", b.map(text, true)),
    ];
    let spec = b.object("x.v1.Spec", fields, false, false);
    let (spec, status) = (b.reference(spec), b.reference(spec));
    let root = vec![
        field("apiVersion", text),
        field("kind", text),
        field("metadata", meta),
        field("spec", spec),
        field("status", status),
    ];
    let root = b.object("x.v1.Zoo", root, false, false);
    b.finish(root, "x", "v1", "Zoo")
}

/// A case's world: one object and its type.
struct World<'a> {
    version: &'a str,
    kind: &'a str,
    of: Option<Type<'a>>,
    live: Option<Value>,
    second: i64,
}

impl World<'_> {
    fn endpoint(&self, subresource: &'static str) -> Endpoint<'_> {
        let reset = match subresource {
            "status" => Reset::These(&["spec"]),
            "resize" => Reset::AllBut(&["spec.containers.*.resources"]),
            _ => Reset::These(&["status"]),
        };
        Endpoint { version: self.version, kind: self.kind, of: self.of, subresource, reset, versions: &OneVersion }
    }

    /// What the server makes of a value before it stores it.
    fn stored(&self, value: &Value) -> Value {
        self.of.map_or_else(|| value.clone(), |of| conform(value, of, FieldValidation::Ignore).unwrap().value)
    }

    /// `<manager> <operation>[/subresource] [force]: <body>`
    fn write(&mut self, line: &str) -> Result<()> {
        self.second += 1;
        let (head, body) = line.split_once(": ").unwrap();
        let words: Vec<&str> = head.split(' ').collect();
        let (operation, subresource) = words[1].split_once('/').unwrap_or((words[1], ""));
        let subresource = ["", "status", "resize"].into_iter().find(|s| *s == subresource).unwrap();
        let mut body: Value = serde_json::from_slice(&yaml::to_json(body.as_bytes()).unwrap()).unwrap();
        let writer = Writer { manager: words[0], time: Timestamp::from_second(self.second).unwrap() };
        let endpoint = self.endpoint(subresource);
        if operation == "merge" {
            body = patch::merge(self.live.clone().unwrap(), &body);
        }
        for (name, value) in [("apiVersion", json!(self.version)), ("kind", json!(self.kind))] {
            body.as_object_mut().unwrap().entry(name).or_insert(value);
        }
        let new = if operation == "apply" {
            let force = if words.contains(&"force") { OnConflict::Take } else { OnConflict::Refuse };
            self.stored(&apply(self.live.as_ref(), &body, writer, force, &endpoint)?)
        } else {
            let mut new = self.stored(&body);
            track_update(self.live.as_ref(), &mut new, writer, &endpoint);
            new
        };
        self.live = Some(new);
        Ok(())
    }

    fn show(&self) -> String {
        let mut object = self.live.clone().unwrap_or_default();
        let books = Books::of(&object).unwrap();
        let mut out = String::new();
        if let Some(map) = object.as_object_mut() {
            map.remove("apiVersion");
            map.remove("kind");
            if let Some(metadata) = map.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.remove("managedFields");
            }
            map.retain(|name, value| name != "metadata" || value != &json!({}));
        }
        let _ = writeln!(out, "= {object}");
        for entry in books.to_value().iter().flat_map(|l| l.as_array().unwrap()) {
            let text = |name: &str| entry[name].as_str().unwrap_or("-").to_string();
            let time = entry["time"].as_str().map_or("-".into(), |t| t[17..19].to_string());
            let _ = writeln!(
                out,
                "= {} {}{} {time} {}",
                text("manager"),
                text("operation"),
                entry["subresource"].as_str().map_or(String::new(), |s| format!("/{s}")),
                entry["fieldsV1"],
            );
        }
        out
    }
}

fn run_case(case: &str) -> String {
    let zoo = zoo();
    let mut lines = case.lines().filter(|l| !l.starts_with(['=', '!']));
    let mut out = format!("{}\n", lines.next().unwrap());
    let mut world = World { version: "x/v1", kind: "Zoo", of: Some(zoo.view()), live: None, second: 0 };
    for line in lines {
        let _ = writeln!(out, "{line}");
        if let Some(kind) = line.strip_prefix("kind: ") {
            let (version, kind) = kind.split_once(' ').unwrap();
            let of = Schema::builtin().type_of_api_version(version, kind);
            world = World { version, kind, of, ..world };
        } else if let Err(refused) = world.write(line) {
            let _ = writeln!(out, "! {} {}", refused.code, refused.message.replace('\n', " | "));
        }
    }
    out + &world.show()
}

#[test]
fn cases_end_as_written() {
    let text = std::fs::read_to_string(CASES).unwrap();
    let (head, cases) = text.split_once("\n\n").unwrap();
    let got: Vec<String> = cases.trim().split("\n\n").map(run_case).collect();
    let got = format!("{head}\n\n{}", got.join("\n"));
    if std::env::var_os("UPDATE_CASES").is_some() {
        std::fs::write(CASES, &got).unwrap();
    }
    for (got, kept) in got.split("\n\n").zip(text.split("\n\n")) {
        assert_eq!(got.trim(), kept.trim());
    }
}

/// Values that fit the zoo's `spec`, mostly.
fn any_spec() -> impl Strategy<Value = Value> {
    let text = || prop::sample::select(vec!["x", "y", "z"]).prop_map(Value::from);
    let int = || (0..3i64).prop_map(Value::from);
    let inner = || prop::collection::btree_map(prop::sample::select(vec!["a", "b"]), int(), 0..3);
    let object =
        |map: BTreeMap<&'static str, Value>| Value::Object(map.into_iter().map(|(k, v)| (k.to_string(), v)).collect());
    let set = |values: Vec<Value>| {
        let mut seen = Vec::new();
        values.into_iter().for_each(|v| {
            if !seen.contains(&v) {
                seen.push(v)
            }
        });
        Value::Array(seen)
    };
    let list =
        prop::collection::btree_map(prop::sample::select(vec!["x", "y", "z"]), inner(), 0..3).prop_map(move |items| {
            items
                .into_iter()
                .map(|(name, inner)| {
                    let mut item = object(inner);
                    item["name"] = json!(name);
                    item
                })
                .collect::<Value>()
        });
    let field = prop_oneof![
        text().prop_map(|v| ("text", v)),
        int().prop_map(|v| ("int", v)),
        Just(("int", Value::Null)),
        inner().prop_map(move |v| ("inner", object(v))),
        inner().prop_map(move |v| ("whole", object(v))),
        inner().prop_map(move |v| ("open", object(v))),
        list.prop_map(|v| ("list", v)),
        prop::collection::vec(text(), 0..4).prop_map(move |v| ("set", set(v))),
        prop::collection::vec(text(), 0..3).prop_map(|v| ("atoms", Value::Array(v))),
        prop::collection::btree_map(prop::sample::select(vec!["k", "l"]), text(), 0..3)
            .prop_map(move |v| ("map", object(v))),
    ];
    prop::collection::vec(field, 0..6)
        .prop_map(|fields| Value::Object(fields.into_iter().map(|(k, v)| (k.to_string(), v)).collect()))
}

/// A write: who, how, what.
fn any_write() -> impl Strategy<Value = String> {
    let who = prop::sample::select(vec!["a", "b", "kubectl"]);
    let how = prop::sample::select(vec!["apply", "apply force", "update", "merge", "update/status"]);
    (who, how, any_spec()).prop_map(|(who, how, spec)| format!("{who} {how}: {}", json!({"spec": spec})))
}

fn timeless(object: Option<&Value>) -> Value {
    let mut object = object.cloned().unwrap_or_default();
    for entry in object["metadata"]["managedFields"].as_array_mut().into_iter().flatten() {
        entry["time"].take();
    }
    object
}

proptest! {
    #[test]
    fn any_writes_keep_the_books(writes in prop::collection::vec(any_write(), 1..6), config in any_spec()) {
        let zoo = zoo();
        for of in [Some(zoo.view()), None] {
            let mut said = set_of(&json!({"spec": config}), Topology::of(of));
            said.compact();
            // whoever says nothing leaves no books, and the next one finds what was there before
            if said.is_empty() {
                continue;
            }
            let mut world = World { version: "x/v1", kind: "Zoo", of, live: None, second: 0 };
            for write in writes.iter().filter(|w| !w.contains(" merge")).take(1).chain(&writes) {
                if world.live.is_some() || !write.contains(" merge") {
                    let _ = world.write(write);
                }
            }
            let apply = format!("c apply force: {}", json!({"spec": config}));
            world.write(&apply).unwrap();
            let first = world.live.clone().unwrap();
            world.write(&apply).unwrap();
            // a null is a change each time, of which only the time is left: the server does not write that
            prop_assert_eq!(timeless(world.live.as_ref()), timeless(Some(&first)), "apply is idempotent");
            // what is owned by the applier is what it said, where it is not one of the system's fields
            let books = Books::of(&first).unwrap();
            let mine = books.0.get(&Id::new("c", Operation::Apply, "x/v1", ""));
            prop_assert_eq!(mine.map(|m| m.fields.clone()).unwrap_or_default(), said);
            // written and read again the books are the same
            let again = books.to_value().map(|list| Books::read(&list)).transpose().unwrap().unwrap_or_default();
            prop_assert_eq!(again, books);
        }
    }

    #[test]
    fn nothing_makes_bookkeeping_panic(live in crate::testing::any_object(), config in crate::testing::any_object()) {
        let zoo = zoo();
        let deployment = Schema::builtin().type_of("apps", "v1", "Deployment");
        for of in [Some(zoo.view()), deployment, None] {
            let world = World { version: "", kind: "", of, live: None, second: 0 };
            let writer = Writer { manager: "a", time: Timestamp::UNIX_EPOCH };
            let _ = apply(Some(&live), &config, writer, OnConflict::Refuse, &world.endpoint(""));
            let _ = apply(None, &config, writer, OnConflict::Take, &world.endpoint("status"));
            let mut new = config.clone();
            track_update(Some(&live), &mut new, writer, &world.endpoint(""));
        }
    }
}
