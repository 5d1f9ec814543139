use super::*;
use crate::options::FieldValidation;
use crate::schema::{Media, Scalar, Shape, WireForm, decode as decode_json};
use serde_json::Map;

/// Values that fill every field of a type: those that JSON and protobuf agree on. Deterministic for a seed.
struct Filler(u64);

impl Filler {
    fn next(&mut self, below: u64) -> u64 {
        // xorshift
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }

    fn text(&mut self) -> String {
        ["a", "some-name", "ü€😀", "with \"quotes\" and\nlines", "0", "true"][self.next(6) as usize].to_string()
    }

    fn scalar(&mut self, scalar: Scalar) -> Value {
        let pick = |n: u64, all: &[&str]| json!(all[n as usize % all.len()]);
        match scalar {
            Scalar::String => json!(self.text()),
            Scalar::Int32 => json!([1, -1, i32::MAX, i32::MIN, 300][self.next(5) as usize]),
            Scalar::Int64 => json!([1, -1, i64::MAX, i64::MIN, 300][self.next(5) as usize]),
            Scalar::Number => json!([json!(1.5), json!(-3), json!(1e-9)][self.next(3) as usize]),
            Scalar::Bool => json!(true),
            Scalar::Bytes => pick(self.next(3), &["aGk=", "AAEC/w==", "YQ=="]),
            Scalar::IntOrString => [json!(80), json!(-1), json!("http"), json!("25%")][self.next(4) as usize].clone(),
            Scalar::Quantity => pick(self.next(5), &["100m", "1Gi", "5", "1e3", "-2n"]),
            Scalar::Time => {
                pick(self.next(3), &["2024-01-02T03:04:05Z", "1970-01-01T00:00:00Z", "1969-12-31T23:59:59Z"])
            }
            Scalar::MicroTime => pick(self.next(3), &["2024-01-02T03:04:05.000000Z", "1969-12-31T23:59:58.250000Z"]),
            Scalar::Duration => pick(self.next(3), &["0s", "15.203s", "-1m30s"]),
            Scalar::Json => [json!({"f:a": {".": {}}, "n": [1, -2.5, null, true, "x"]}), json!("text"), json!([])]
                [self.next(3) as usize]
                .clone(),
        }
    }

    fn value(&mut self, shape: Shape<'_>, form: WireForm, of: Type<'_>, depth: usize) -> Value {
        match (form, shape) {
            (WireForm::Empty, _) => json!({}),
            (WireForm::SchemaOrBool, _) if self.next(2) == 0 => json!(self.next(2) == 0),
            (WireForm::SchemaOrArray, Shape::Scalar(_)) if self.next(2) == 0 => {
                json!([self.object(of, depth + 1), self.object(of, depth + 1)])
            }
            (WireForm::SchemaOrStrings, Shape::Scalar(_)) if self.next(2) == 0 => json!(["a", "b"]),
            (WireForm::SchemaOrArray | WireForm::SchemaOrBool | WireForm::SchemaOrStrings, Shape::Scalar(_)) => {
                self.object(of, depth + 1)
            }
            (_, Shape::Scalar(scalar)) => self.scalar(scalar),
            (_, Shape::Object(inner)) => self.object(inner, depth + 1),
            (form, Shape::List(list)) => {
                let n = 1 + self.next(2);
                (0..n).map(|_| self.value(list.item(), form, of, depth)).collect()
            }
            (form, Shape::Map(map)) => {
                let keys = ["b/c", "a", "ä"].into_iter().take(1 + self.next(3) as usize);
                Value::Object(keys.map(|k| (k.to_string(), self.value(map.item(), form, of, depth))).collect())
            }
        }
    }

    fn object(&mut self, of: Type<'_>, depth: usize) -> Value {
        let mut map = Map::new();
        for field in of.fields().filter(|f| !f.wire().path().is_empty()) {
            // schemas hold schemas; deep down, and here and there, fields are left out
            let recursive = ["JSONSchemaProps", "CompositePodGroupTemplate"].contains(&of.short_name()) && depth > 2;
            if (recursive && !matches!(field.shape(), Shape::Scalar(s) if s != Scalar::Json)) || self.next(8) == 0 {
                continue;
            }
            let value = self.value(field.shape(), field.wire().form(), of, depth);
            let dropped = field.wire().is_always_written() && !field.is_required() && value == json!({});
            if !dropped {
                map.insert(field.name().into(), value);
            }
        }
        // what Go always writes and JSON always has
        for field in of.fields().filter(|f| f.wire().is_always_written()) {
            let zero = match field.shape() {
                Shape::Scalar(Scalar::String) if field.wire().keeps_zero() => json!(""),
                Shape::Scalar(Scalar::Bool) if field.wire().keeps_zero() => json!(false),
                Shape::Scalar(Scalar::Int32 | Scalar::Int64) if field.wire().keeps_zero() => json!(0),
                Shape::Scalar(Scalar::Duration) if field.wire().keeps_zero() => json!("0s"),
                Shape::Scalar(Scalar::IntOrString) if field.is_required() => json!(0),
                Shape::Scalar(Scalar::Quantity) if field.is_required() => json!("0"),
                Shape::Object(inner) if field.is_required() => self.object(inner, depth + 1),
                _ => continue,
            };
            map.entry(field.name()).or_insert(zero);
        }
        // structs that are always written and hold what is always there
        for field in
            of.fields().filter(|f| f.wire().is_always_written() && !map.contains_key(f.name())).collect::<Vec<_>>()
        {
            if let Shape::Object(inner) = field.shape() {
                let bare = read::message(&bare(inner), inner).unwrap();
                if bare != json!({}) {
                    map.insert(field.name().into(), bare);
                }
            }
        }
        Value::Object(map)
    }
}

/// The message of a value that has nothing.
fn bare(of: Type<'_>) -> Vec<u8> {
    encode(&json!({}), of).unwrap().content().to_vec()
}

#[test]
fn every_kind_goes_from_json_to_protobuf_and_back_and_the_other_way() {
    let mut kinds = 0;
    for of in Schema::builtin().types().filter(|t| t.wire_fields().pop().is_some()) {
        kinds += 1;
        for seed in 1..4 {
            let mut value = Filler(seed * 0x9e37_79b9).object(of, 0);
            let (api_version, kind) = ("some/v1", of.short_name());
            value["apiVersion"] = json!(api_version);
            value["kind"] = json!(kind);
            // what reads JSON takes it, and changes nothing
            if of.field("apiVersion").is_some() && of.field("spec").is_some() {
                let json = decode_json(value.to_string().as_bytes(), Media::Json, Some(of), FieldValidation::Strict);
                json.unwrap_or_else(|e| panic!("{}: {e}", of.name()));
            }
            let message = encode(&value, of).unwrap_or_else(|e| panic!("{}: {e}", of.name()));
            let back = decode(message.envelope(), of).unwrap_or_else(|e| panic!("{}: {e}", of.name()));
            assert_eq!(back, value, "{}, seed {seed}", of.name());
            assert_eq!(encode(&back, of).unwrap(), message, "{}, seed {seed}", of.name());
        }
    }
    assert!(kinds > 700, "{kinds}");
}

/// Bytes that upstream's code made.
fn sent_by_kubectl() -> impl Iterator<Item = Vec<u8>> {
    let lines = include_str!("kubectl.txt").lines().filter(|l| !l.starts_with('#'));
    lines.map(|line| {
        line.as_bytes().chunks(2).map(|b| u8::from_str_radix(str::from_utf8(b).unwrap(), 16).unwrap()).collect()
    })
}

fn type_of(bytes: &[u8]) -> Type<'static> {
    let (api_version, kind, _) = envelope(bytes.strip_prefix(MAGIC).unwrap()).unwrap();
    Schema::builtin().type_of_api_version(&api_version, &kind).unwrap_or_else(|| panic!("{api_version} {kind}"))
}

#[test]
fn upstreams_bytes_are_ours() {
    for bytes in sent_by_kubectl() {
        let of = type_of(&bytes);
        let value = decode(&bytes, of).unwrap();
        assert_eq!(encode(&value, of).unwrap().envelope(), &bytes, "{value}");
        // a cut message is refused or is another object, and never a panic
        for end in 0..bytes.len() - raw::ENVELOPE_END.len() {
            let cut = decode(&bytes[..end], of);
            assert!(cut.is_err() || cut.unwrap() != value, "{end}");
        }
    }
}

#[test]
fn what_go_always_writes_is_left_out_where_json_leaves_it_out() {
    let all: Vec<Value> = sent_by_kubectl().map(|bytes| decode(&bytes, type_of(&bytes)).unwrap()).collect();
    let of = |kind: &str| all.iter().find(|v| v["kind"] == kind).unwrap();
    assert_eq!(
        of("Deployment"),
        &json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "foo", "namespace": "default", "labels": {"app": "foo"}},
            "spec": {
                "replicas": 2, "selector": {"matchLabels": {"app": "foo"}},
                "template": {
                    "metadata": {"labels": {"app": "foo"}},
                    "spec": {"containers": [{"name": "x", "image": "x:1", "ports": [{"containerPort": 80}]}]},
                },
            },
        })
    );
    assert_eq!(
        of("ConfigMap"),
        &json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "default"},
            "binaryData": {"bin": "Yf8AYg=="}, "data": {"txt": "hi\n"},
        })
    );
}

#[test]
fn bodies_that_are_no_objects() {
    let of = Schema::builtin().type_of("", "v1", "ConfigMap").unwrap();
    let unrecognized = "the object provided is unrecognized (must be of type ConfigMap): ";
    let prefix = "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]";
    for (bytes, expected) in [
        (&b""[..], format!("{unrecognized}empty data (<empty>)")),
        (b"{\"kind\":\"ConfigMap\"}", format!("{unrecognized}{prefix} ({{\"kind\":\"ConfigMap\"}})")),
        (b"k8s\0", format!("{unrecognized}empty body (6b387300)")),
        (b"k8s\0\x0a\xff", format!("{unrecognized}unexpected EOF (6b3873000aff)")),
        (
            b"k8s\0\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12\x02\x0a\x07",
            "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: unexpected EOF".to_string(),
        ),
        (
            b"k8s\0\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12\x02\x0a\x01",
            "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: unexpected EOF".to_string(),
        ),
    ] {
        let error = decode(bytes, of).unwrap_err();
        assert_eq!((error.code, error.message), (400, expected));
    }
}

#[test]
fn lists_and_frames_hold_their_objects() {
    let of = Schema::builtin().type_of("", "v1", "ConfigMap").unwrap();
    let object = |name: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
    for names in [&[][..], &["a"], &["a", "b"]] {
        let items: Vec<Message> = names.iter().map(|n| encode(&object(n), of).unwrap()).collect();
        let metadata = json!({"resourceVersion": "7", "remainingItemCount": 3, "continue": "x"});
        let bytes = list("v1", "ConfigMapList", &metadata, items.iter()).unwrap();
        let mut expected: Vec<Value> = names.iter().map(|n| object(n)).collect();
        expected.iter_mut().for_each(|v| v.as_object_mut().unwrap().retain(|k, _| k == "metadata"));
        let mut value = json!({"apiVersion": "v1", "kind": "ConfigMapList", "metadata": metadata});
        if !expected.is_empty() {
            value["items"] = json!(expected);
        }
        let list_type = Schema::builtin().type_of("", "v1", "ConfigMapList").unwrap();
        assert_eq!(decode(&bytes, list_type).unwrap(), value);
        assert_eq!(encode(&value, list_type).unwrap().envelope(), &bytes, "the same as encoded in one go");
    }
    let message = encode(&object("a"), of).unwrap();
    let frame = frame("ADDED", message.envelope());
    let (length, event) = frame.split_at(4);
    assert_eq!(usize::try_from(u32::from_be_bytes(length.try_into().unwrap())).unwrap(), event.len());
    let fields: Vec<_> = Fields::new(event).map(Result::unwrap).collect();
    let [(1, Raw::Bytes(b"ADDED")), (2, Raw::Bytes(extension))] = fields[..] else { panic!("{fields:?}") };
    assert_eq!(Fields::new(extension).next().unwrap().unwrap(), (1, Raw::Bytes(message.envelope())));
}
