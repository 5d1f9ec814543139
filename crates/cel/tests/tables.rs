//! Expressions and what becomes of them, as tables in text: `cases/*.txt`.
//!
//! A file has blocks, each with the schema and the value of `self`, and lines `expression -> result`. A result is JSON, or
//! `error: …` (when run), `compile error: …`, or `~ …` for an error with this text in it; behind it may follow `| cost N` (as run) and `| max N` (as estimated).

use coracle_cel::{CompileError, Decl, Env, Type, Value, limits, to_json};
use serde_json::Value as Json;
use std::{fs, path::Path, sync::Arc};

#[test]
fn expressions() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let dir = std::env::var("CEL_CASES").map_or(dir, Into::into);
    let mut wrong = Vec::new();
    let mut seen = 0;
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        for (at, case) in read(&fs::read_to_string(&path).unwrap()) {
            seen += 1;
            if let Err(found) = case.check() {
                wrong.push(format!(
                    "{name}:{at}: {}\n    expected {}\n    found    {found}",
                    case.expression, case.expected
                ));
            }
        }
    }
    assert!(seen > 100);
    assert!(wrong.is_empty(), "{} of {seen} cases:\n{}", wrong.len(), wrong.join("\n"));
}

struct Case {
    schema: Json,
    value: Json,
    old: Option<Json>,
    expression: String,
    expected: String,
    cost: Option<u64>,
    max: Option<u64>,
}

fn read(text: &str) -> Vec<(usize, Case)> {
    let (mut schema, mut value, mut old) = (Json::Null, Json::Null, None);
    let mut cases = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let json =
            |text: &str| -> Json { serde_json::from_str(text).unwrap_or_else(|e| panic!("line {}: {e}", at + 1)) };
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        } else if let Some(text) = line.strip_prefix("schema: ") {
            (schema, old) = (json(text), None);
        } else if let Some(text) = line.strip_prefix("self: ") {
            value = json(text);
        } else if let Some(text) = line.strip_prefix("old: ") {
            old = Some(json(text));
        } else {
            let (expression, rest) = line.rsplit_once(" -> ").unwrap_or_else(|| panic!("line {}: no arrow", at + 1));
            let mut parts = rest.split(" | ").map(str::trim);
            let expected = parts.next().unwrap_or_default().to_string();
            let (mut cost, mut max) = (None, None);
            for part in parts {
                match part.split_once(' ') {
                    Some(("cost", n)) => cost = n.parse().ok(),
                    Some(("max", n)) => max = n.parse().ok(),
                    _ => panic!("line {}: {part}", at + 1),
                }
            }
            let (schema, value, old) = (schema.clone(), value.clone(), old.clone());
            let expression = expression.trim().replace("\\n", "\n");
            cases.push((at + 1, Case { schema, value, old, expression, expected, cost, max }));
        }
    }
    cases
}

impl Case {
    fn check(&self) -> Result<(), String> {
        let decl = match self.schema.is_null() {
            true => Decl::of_type(Type::Dyn),
            false => Decl::from_schema(&self.schema, self.schema["x-kubernetes-embedded-resource"] == true, "selfType")
                .expect("a visible schema"),
        };
        let env = Env::new()
            .with("self", Arc::clone(&decl))
            .with("oldSelf", Arc::clone(&decl))
            .with_sizes_of(Arc::clone(&decl));
        let program = match env.compile(&self.expression) {
            Ok(program) => program,
            Err(error) => {
                let message = match &error {
                    CompileError::Invalid(issues) => {
                        issues.iter().map(|issue| issue.message.as_str()).collect::<Vec<_>>().join("; ")
                    }
                    CompileError::Failing(fault) => fault.to_string(),
                };
                return self.compare(&format!("compile error: {message}"), None, None);
            }
        };
        let max = program.estimated_cost().max;
        if self.expected == "ok" {
            return self.compare("ok", None, Some(max));
        }
        let value = Value::from_json(&self.value, &decl).map_err(|e| format!("self: {e}"))?;
        let old =
            self.old.as_ref().map(|old| Value::from_json(old, &decl)).transpose().map_err(|e| format!("old: {e}"))?;
        let mut variables = vec![("self", value)];
        variables.extend(old.map(|old| ("oldSelf", old)));
        let outcome = program.run(variables.as_slice(), limits::PER_CALL);
        let found = match outcome.result {
            Ok(Value::Type(ty)) => ty.runtime_name().to_string(),
            Ok(Value::Optional(None)) => "none".to_string(),
            Ok(value) => to_json(&value).map_or_else(|| format!("{value:?}"), |json| json.to_string()),
            Err(fault) => format!("error: {fault}"),
        };
        self.compare(&found, Some(outcome.cost), Some(max))
    }

    fn compare(&self, found: &str, cost: Option<u64>, max: Option<u64>) -> Result<(), String> {
        let fits = match self.expected.strip_prefix("~ ") {
            Some(part) => found.contains("error: ") && found.contains(part),
            None => found == self.expected,
        };
        let good = fits && (self.cost.is_none() || self.cost == cost) && (self.max.is_none() || self.max == max);
        let shown = |name: &str, n: Option<u64>| n.map(|n| format!(" | {name} {n}")).unwrap_or_default();
        if good { Ok(()) } else { Err(format!("{found}{}{}", shown("cost", cost), shown("max", max))) }
    }
}
