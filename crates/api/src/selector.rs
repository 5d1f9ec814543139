//! Label and field selectors: their text form, their JSON form, and whether an object matches.
//!
//! Source: API conventions; apimachinery `labels.Parse`, `fields.ParseSelector`.

use crate::status::{Result, Status};
use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;
use std::{collections::BTreeMap, fmt};

/// A conjunction of requirements on labels. Empty matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    requirements: Vec<(String, Requirement)>,
    nothing: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Requirement {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
    GreaterThan(i64),
    LessThan(i64),
}

impl LabelSelector {
    /// A selector that matches no object (a nil selector upstream).
    pub fn nothing() -> Self {
        Self { requirements: Vec::new(), nothing: true }
    }

    /// All of `labels`, exactly (a Service's selector).
    pub fn from_map<'a>(labels: impl IntoIterator<Item = (&'a String, &'a String)>) -> Self {
        let requirements = labels.into_iter().map(|(k, v)| (k.clone(), Requirement::In(vec![v.clone()]))).collect();
        Self { requirements, nothing: false }
    }

    /// From the JSON form in a spec.
    ///
    /// # Errors
    /// On an unknown operator.
    pub fn from_spec(spec: &meta::LabelSelector) -> Result<Self> {
        let mut all = Self::from_map(spec.match_labels.iter().flatten());
        for r in spec.match_expressions.iter().flatten() {
            let values = r.values.clone().unwrap_or_default();
            let requirement = match r.operator.as_str() {
                "In" => Requirement::In(values),
                "NotIn" => Requirement::NotIn(values),
                "Exists" => Requirement::Exists,
                "DoesNotExist" => Requirement::Absent,
                other => return Err(Status::bad_request(format!("{other:?} is not a valid label selector operator"))),
            };
            all.requirements.push((r.key.clone(), requirement));
        }
        Ok(all)
    }

    /// From the text form of `labelSelector=`: `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1,m<2`.
    ///
    /// # Errors
    /// 400 with what was expected where.
    pub fn parse(text: &str) -> Result<Self> {
        let mut requirements = Vec::new();
        for part in split_outside_parentheses(text) {
            let part = part.trim();
            if part.is_empty() {
                continue;
            }
            requirements.push(parse_requirement(part).ok_or_else(|| {
                Status::bad_request(format!("unable to parse requirement: {part:?} is not a label requirement"))
            })?);
        }
        Ok(Self { requirements, nothing: false })
    }

    /// The requirements of both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let requirements = self.requirements.iter().chain(&other.requirements).cloned().collect();
        Self { requirements, nothing: self.nothing || other.nothing }
    }

    /// Whether every requirement holds.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        !self.nothing
            && self.requirements.iter().all(|(key, requirement)| {
                let value = labels.get(key);
                match requirement {
                    Requirement::In(values) => value.is_some_and(|v| values.contains(v)),
                    Requirement::NotIn(values) => value.is_none_or(|v| !values.contains(v)),
                    Requirement::Exists => value.is_some(),
                    Requirement::Absent => value.is_none(),
                    Requirement::GreaterThan(n) => value.and_then(|v| v.parse::<i64>().ok()).is_some_and(|v| v > *n),
                    Requirement::LessThan(n) => value.and_then(|v| v.parse::<i64>().ok()).is_some_and(|v| v < *n),
                }
            })
    }

    /// Labels that everything has that matches.
    pub fn exact(&self) -> impl Iterator<Item = (&str, &str)> {
        self.requirements.iter().filter_map(|(key, requirement)| match requirement {
            Requirement::In(values) if values.len() == 1 => Some((key.as_str(), values[0].as_str())),
            _ => None,
        })
    }

    /// Whether it matches everything.
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty() && !self.nothing
    }

    /// Whether nothing is required: true for the empty selector and for [`LabelSelector::nothing`].
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (key, requirement)) in self.requirements.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            match requirement {
                Requirement::In(v) if v.len() == 1 => write!(f, "{key}={}", v[0])?,
                Requirement::In(v) => write!(f, "{key} in ({})", v.join(","))?,
                Requirement::NotIn(v) if v.len() == 1 => write!(f, "{key}!={}", v[0])?,
                Requirement::NotIn(v) => write!(f, "{key} notin ({})", v.join(","))?,
                Requirement::Exists => f.write_str(key)?,
                Requirement::Absent => write!(f, "!{key}")?,
                Requirement::GreaterThan(n) => write!(f, "{key}>{n}")?,
                Requirement::LessThan(n) => write!(f, "{key}<{n}")?,
            }
        }
        Ok(())
    }
}

fn split_outside_parentheses(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (i, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn parse_requirement(part: &str) -> Option<(String, Requirement)> {
    let key_ok = |key: &str| {
        let key = key.trim();
        (!key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b)))
            .then(|| key.to_string())
    };
    let value_ok = |value: &str| {
        let value = value.trim();
        (value.len() <= 63 && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)))
            .then(|| value.to_string())
    };
    if let Some(key) = part.strip_prefix('!') {
        return Some((key_ok(key)?, Requirement::Absent));
    }
    if let Some(open) = part.find('(') {
        let values = part[open + 1..].strip_suffix(')')?;
        let values = values.split(',').map(value_ok).collect::<Option<Vec<_>>>()?;
        let head = part[..open].trim_end();
        return if let Some(key) = head.strip_suffix(" notin") {
            Some((key_ok(key)?, Requirement::NotIn(values)))
        } else {
            Some((key_ok(head.strip_suffix(" in")?)?, Requirement::In(values)))
        };
    }
    if let Some((key, value)) = part.split_once("!=") {
        return Some((key_ok(key)?, Requirement::NotIn(vec![value_ok(value)?])));
    }
    if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return Some((key_ok(key)?, Requirement::In(vec![value_ok(value)?])));
    }
    if let Some((key, value)) = part.split_once('>') {
        return Some((key_ok(key)?, Requirement::GreaterThan(value.trim().parse().ok()?)));
    }
    if let Some((key, value)) = part.split_once('<') {
        return Some((key_ok(key)?, Requirement::LessThan(value.trim().parse().ok()?)));
    }
    Some((key_ok(part)?, Requirement::Exists))
}

/// A conjunction of `field=value` and `field!=value`. Empty matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    /// (path, value, equal).
    pub terms: Vec<(String, String, bool)>,
}

impl FieldSelector {
    /// `field=value`.
    pub fn equals(field: &str, value: &str) -> Self {
        Self { terms: vec![(field.into(), value.into(), true)] }
    }

    /// From the text form of `fieldSelector=`.
    ///
    /// # Errors
    /// 400 when a term has no operator.
    pub fn parse(text: &str) -> Result<Self> {
        let mut terms = Vec::new();
        for part in text.split(',').filter(|p| !p.is_empty()) {
            let term = if let Some((field, value)) = part.split_once("!=") {
                (field, value, false)
            } else if let Some((field, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
                (field, value, true)
            } else {
                return Err(Status::bad_request(format!("invalid selector: '{text}'; can't understand '{part}'")));
            };
            terms.push((term.0.to_string(), term.1.to_string(), term.2));
        }
        Ok(Self { terms })
    }

    /// Whether every term holds; `field` gives the value of a path, empty if unset.
    pub fn matches<'a>(&self, mut field: impl FnMut(&str) -> &'a str) -> bool {
        self.terms.iter().all(|(path, value, equal)| (field(path) == value) == *equal)
    }

    /// The value that a path must equal, if one term says so.
    pub fn exact(&self, path: &str) -> Option<&str> {
        self.terms.iter().find(|(p, _, equal)| p == path && *equal).map(|(_, v, _)| v.as_str())
    }

    /// Whether it matches everything.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (path, value, equal)) in self.terms.iter().enumerate() {
            write!(f, "{}{path}{}{value}", if i > 0 { "," } else { "" }, if *equal { "=" } else { "!=" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_selectors() {
        let labels = BTreeMap::from([("app".to_string(), "web".to_string()), ("n".to_string(), "5".to_string())]);
        for (text, expected) in [
            ("", Some(true)),
            ("app=web", Some(true)),
            ("app==web,n=5", Some(true)),
            ("app!=web", Some(false)),
            ("x!=web", Some(true)),
            ("app in (db, web)", Some(true)),
            ("app notin (db,web)", Some(false)),
            ("x notin (db)", Some(true)),
            ("app", Some(true)),
            ("!app", Some(false)),
            ("n>4,n<6", Some(true)),
            ("n>5", Some(false)),
            ("app in web", None),
            ("a=b=c", None),
            ("=x", None),
        ] {
            let got = LabelSelector::parse(text).ok().map(|s| s.matches(&labels));
            assert_eq!(got, expected, "{text}");
        }
    }
}
