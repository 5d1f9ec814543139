//! Formats with names: `format.dns1123Label().validate("x")`.

use super::{Entry, Opaque, entry, strings::text, time, url};
use crate::{
    cost::{Cost, ONE},
    fault::Fault,
    json::texts,
    value::Value,
};
use base64::Engine as _;
use coracle_api::validation as rules;

/// A format.
pub struct Format {
    name: &'static str,
    /// How long the pattern behind it is, or would be.
    pub(crate) pattern_size: u64,
    check: fn(&str) -> Vec<String>,
    of: super::Eval,
}

impl PartialEq for Format {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl std::fmt::Debug for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

macro_rules! formats {
    ($($at:literal $name:literal $size:literal $check:expr;)*) => {
        &[$(Format {
            name: $name,
            pattern_size: $size,
            check: $check,
            of: |_| Ok(Value::Opaque(Opaque::Format(&FORMATS[$at]))),
        }),*]
    };
}

static FORMATS: &[Format] = formats! {
    0 "dns1123Label" 30 |text| rules::label_name(text, false);
    1 "dns1123Subdomain" 60 |text| rules::subdomain_name(text, false);
    2 "dns1035Label" 30 |text| rules::dns1035_name(text, false);
    3 "qualifiedName" 60 rules::qualified_name;
    4 "dns1123LabelPrefix" 30 |text| rules::label_name(text, true);
    5 "dns1123SubdomainPrefix" 60 |text| rules::subdomain_name(text, true);
    6 "dns1035LabelPrefix" 30 |text| rules::dns1035_name(text, true);
    7 "labelValue" 40 rules::label_value;
    8 "uri" 1103 |text| url::problem(text).into_iter().collect();
    9 "uuid" 73 |text| wrong_unless(is_uuid(text), "does not match the UUID format");
    10 "byte" 88 |text| {
        let good = base64::engine::general_purpose::STANDARD.decode(text).is_ok();
        wrong_unless(good, "invalid base64")
    };
    11 "date" 142 |text| wrong_unless(time::date(text).is_ok(), "invalid date");
    12 "datetime" 142 |text| wrong_unless(time::date_time(text).is_ok(), "invalid datetime");
};

fn wrong_unless(good: bool, message: &str) -> Vec<String> {
    if good { Vec::new() } else { vec![message.into()] }
}

/// 32 hexadecimal digits, with or without dashes between the groups.
fn is_uuid(text: &str) -> bool {
    let digits: Vec<usize> = text.split('-').map(str::len).collect();
    let grouped = matches!(digits[..], [8, 4, 4, 4, 12] | [32]);
    grouped && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}

pub(super) fn entries() -> Vec<Entry> {
    let mut entries = vec![
        entry("format-named", "format.named(string) -> optional(kubernetes.NamedFormat)", ONE, |args| {
            let name = text(args, 0)?;
            let found = FORMATS.iter().find(|format| format.name == name);
            Ok(found.map_or(Value::Optional(None), |format| Value::some(Value::Opaque(Opaque::Format(format)))))
        }),
        entry(
            "format-validate",
            "kubernetes.NamedFormat.validate(string) -> optional(list(string))",
            Cost::Validate,
            |args| {
                let Value::Opaque(Opaque::Format(format)) = &args[0] else { return Err(Fault::NoSuchOverload) };
                let wrong = (format.check)(text(args, 1)?);
                Ok(if wrong.is_empty() { Value::Optional(None) } else { Value::some(texts(wrong)) })
            },
        ),
    ];
    entries.extend(FORMATS.iter().map(|format| {
        let name = format!("format.{}", format.name);
        entry(name.clone(), format!("{name}() -> kubernetes.NamedFormat"), ONE, format.of)
    }));
    entries
}
