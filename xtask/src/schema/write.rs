//! The table's text. One line a type, one line a field; `coracle_api::schema` documents and reads the form.

use super::Type;
use std::{collections::BTreeMap, fmt::Write};

/// The facts.
pub fn table(types: &BTreeMap<String, Type>) -> String {
    let mut out = String::from("# Made by `cargo xtask schema`; the form is documented in schema/table.rs.\n");
    for (name, kind) in types.iter().filter(|(_, t)| t.scalar.is_none()) {
        let _ = writeln!(out, "T {name}{}", if kind.atomic { " !" } else { "" });
        if let Some(k) = &kind.kind {
            let group = if k.group.is_empty() { "-" } else { &k.group };
            let plural = if k.plural.is_empty() { "-" } else { &k.plural };
            let scope = if k.namespaced { "N" } else { "C" };
            let _ = writeln!(out, "K {group} {} {} {plural} {scope}", k.version, k.kind);
        }
        for (field, f) in &kind.fields {
            let wire = if f.wire.is_empty() { "0" } else { &f.wire };
            let _ = write!(out, "{field} {wire} {}{}", if f.required { "!" } else { "" }, f.shape);
            if !f.patch.is_empty() {
                let _ = write!(out, " p={}", f.patch);
            }
            if !f.default.is_empty() {
                let _ = write!(out, " d={}", f.default);
            }
            out.push('\n');
        }
    }
    out
}

/// The prose: `type<TAB>text`, then `<TAB>field<TAB>text`, newlines escaped.
pub fn descriptions(types: &BTreeMap<String, Type>) -> String {
    let flat = |text: &str| text.replace('\\', "\\\\").replace('\n', "\\n").replace('\t', " ");
    let mut out = String::new();
    for (name, kind) in types {
        let _ = writeln!(out, "{name}\t{}", flat(&kind.description));
        for (field, f) in &kind.fields {
            let _ = writeln!(out, "\t{field}\t{}", flat(&f.description));
        }
    }
    out
}
