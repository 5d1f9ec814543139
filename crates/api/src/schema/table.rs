//! The text form of the built-in table and its reader.
//!
//! ```text
//! T <type> [!]                                  a type; `!`: server-side apply owns it as one value
//! K <group or -> <version> <kind> <plural or -> <N or C>   what makes it a kind; scope: namespaced or cluster
//! <field> <wire> [!]<shape> [p=<strategy>[:<key>]] [d=<JSON default>]      `!`: required
//! ```
//! `<wire>` says how the field stands in protobuf, see [`Wire`]: `<number>[.<number>…][=|+][:<form>]`, or `0` if it has no place there.
//! Shapes: `s` string, `i` int32, `l` int64, `d` number, `b` bool, `y` bytes, `x` int or string, `q` quantity, `t` time,
//! `u` microtime, `n` duration, `j` any JSON, `@Type`, `[…]item` list (`` atomic, `=` set, `a,b` map by these keys), `{}item` map,
//! `{!}item` map that is one value.

use super::{FieldData, KindData, ListKind, Node, Scalar, Schema, Text, TypeData, Wire};
use std::collections::HashMap;

const TABLE: &str = include_str!("builtin.txt");

/// Reads the built-in table. It is generated and tested; a line that says nothing known is skipped.
pub(super) fn builtin() -> Schema {
    let mut schema = Schema { text: TABLE.into(), go_semantics: true, ..Schema::default() };
    for name in TABLE.lines().filter_map(|l| l.strip_prefix("T ")) {
        let (name, atomic) = name.split_once(' ').map_or((name, false), |(n, _)| (n, true));
        let name = span(name);
        schema.by_name.insert(name.of(TABLE).into(), schema.types.len() as u32);
        schema.types.push(TypeData { name, atomic, ..TypeData::default() });
    }
    let mut nodes = HashMap::new();
    let mut current = None;
    for line in TABLE.lines() {
        let mut words = line.split(' ');
        match words.next() {
            None | Some("#" | "") => {}
            Some("T") => {
                let next = current.map_or(0, |c: usize| c + 1);
                schema.types[next].fields = schema.fields.len() as u32..schema.fields.len() as u32;
                current = Some(next);
            }
            Some("K") => {
                let words: Vec<&str> = words.map(|w| if w == "-" { "" } else { w }).collect();
                if let ([group, version, kind, plural, scope], Some(at)) = (words.as_slice(), current) {
                    let data = KindData {
                        group: group.to_string(),
                        version: version.to_string(),
                        kind: kind.to_string(),
                        plural: plural.to_string(),
                        namespaced: *scope == "N",
                        type_id: at as u32,
                    };
                    schema.by_kind.insert((data.group.clone(), data.version.clone(), data.kind.clone()), at as u32);
                    schema.kinds.push(data);
                }
            }
            Some(name) => {
                if let Some(at) = current
                    && let Some(field) = field(name, words, &mut schema, &mut nodes)
                {
                    schema.fields.push(field);
                    schema.types[at].fields.end += 1;
                }
            }
        }
    }
    schema.order_for_wire();
    schema
}

fn field<'t>(
    name: &'t str,
    mut words: impl Iterator<Item = &'t str>,
    schema: &mut Schema,
    nodes: &mut HashMap<&'t str, u32>,
) -> Option<FieldData> {
    let wire = Wire::parse(words.next()?)?;
    let shape = words.next()?;
    let (required, shape) = shape.strip_prefix('!').map_or((false, shape), |rest| (true, rest));
    let mut field =
        FieldData { name: span(name), wire, required, node: node(shape, schema, nodes)?, ..FieldData::default() };
    for word in words {
        if let Some(patch) = word.strip_prefix("p=") {
            let (strategy, key) = patch.split_once(':').unwrap_or((patch, ""));
            field.merge = strategy.split(',').any(|s| s == "merge");
            field.replace = strategy == "replace";
            field.retain_keys = strategy.split(',').any(|s| s == "retainKeys");
            field.merge_key = span(key);
        } else if let Some(default) = word.strip_prefix("d=") {
            field.default = span(default);
        }
    }
    Some(field)
}

/// The node of a shape; equal shapes share one node.
fn node<'t>(shape: &'t str, schema: &mut Schema, nodes: &mut HashMap<&'t str, u32>) -> Option<u32> {
    if let Some(id) = nodes.get(shape) {
        return Some(*id);
    }
    let node = match shape.as_bytes().first()? {
        b's' => Node::Scalar(Scalar::String),
        b'i' => Node::Scalar(Scalar::Int32),
        b'l' => Node::Scalar(Scalar::Int64),
        b'd' => Node::Scalar(Scalar::Number),
        b'b' => Node::Scalar(Scalar::Bool),
        b'y' => Node::Scalar(Scalar::Bytes),
        b'x' => Node::Scalar(Scalar::IntOrString),
        b'q' => Node::Scalar(Scalar::Quantity),
        b't' => Node::Scalar(Scalar::Time),
        b'u' => Node::Scalar(Scalar::MicroTime),
        b'n' => Node::Scalar(Scalar::Duration),
        b'j' => Node::Scalar(Scalar::Json),
        b'@' => Node::Object(*schema.by_name.get(&shape[1..])?),
        b'[' => {
            let (keys, item) = shape[1..].split_once(']')?;
            let kind = match keys {
                "" => ListKind::Atomic,
                "=" => ListKind::Set,
                keys => ListKind::Map(span(keys)),
            };
            Node::List { item: node(item, schema, nodes)?, kind }
        }
        b'{' => {
            let (atomic, item) = shape[1..].split_once('}')?;
            Node::Map { item: node(item, schema, nodes)?, atomic: atomic == "!" }
        }
        _ => return None,
    };
    let id = schema.nodes.len() as u32;
    schema.nodes.push(node);
    nodes.insert(shape, id);
    Some(id)
}

/// A place in the table's text.
fn span(part: &str) -> Text {
    if part.is_empty() {
        return Text::default();
    }
    Text { start: (part.as_ptr() as usize - TABLE.as_ptr() as usize) as u32, len: part.len() as u16 }
}
