//! Options of a request as the query string says them.

use coracle_api::{ListOptions, WriteOptions, options::FieldValidation};
use std::fmt::Write as _;

/// A query string being built.
#[derive(Default)]
pub(super) struct Query(String);

impl Query {
    pub(super) fn list(options: &ListOptions) -> Self {
        let mut query = Self::selection(options);
        if options.limit > 0 {
            query.add("limit", &options.limit.to_string());
        }
        if !options.continue_token.is_empty() {
            query.add("continue", &options.continue_token);
        }
        query
    }

    pub(super) fn watch(options: &ListOptions) -> Self {
        let mut query = Self::selection(options);
        query.add("watch", "true");
        if let Some(revision) = options.revision {
            query.add("resourceVersion", &revision.to_string());
        }
        if options.bookmarks {
            query.add("allowWatchBookmarks", "true");
        }
        query
    }

    pub(super) fn write(options: &WriteOptions, apply: bool) -> Self {
        let mut query = Self::default();
        if options.dry_run {
            query.add("dryRun", "All");
        }
        if !options.field_manager.is_empty() {
            query.add("fieldManager", &options.field_manager);
        }
        if options.force && apply {
            query.add("force", "true");
        }
        match options.field_validation {
            FieldValidation::Warn => {}
            FieldValidation::Ignore => query.add("fieldValidation", "Ignore"),
            FieldValidation::Strict => query.add("fieldValidation", "Strict"),
        }
        query
    }

    fn selection(options: &ListOptions) -> Self {
        let mut query = Self::default();
        if !options.labels.is_everything() {
            query.add("labelSelector", &options.labels.to_string());
        }
        if !options.fields.is_empty() {
            query.add("fieldSelector", &options.fields.to_string());
        }
        query
    }

    fn add(&mut self, key: &str, value: &str) {
        self.0.push(if self.0.is_empty() { '?' } else { '&' });
        self.0.push_str(key);
        self.0.push('=');
        self.0.push_str(&escape(value));
    }

    /// Behind a path.
    pub(super) fn on(self, path: String) -> String {
        path + &self.0
    }
}

/// Percent-encoding of everything that is not unreserved.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte as char);
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_api::{FieldSelector, LabelSelector};

    #[test]
    fn options_become_queries() {
        let options = ListOptions {
            labels: LabelSelector::parse("a in (b,c)").unwrap(),
            fields: FieldSelector::equals("metadata.name", "x"),
            limit: 5,
            revision: Some(7),
            bookmarks: true,
            ..ListOptions::default()
        };
        let selection = "?labelSelector=a%20in%20%28b%2Cc%29&fieldSelector=metadata.name%3Dx";
        assert_eq!(Query::list(&options).on("/p".into()), format!("/p{selection}&limit=5"));
        let watch = format!("/p{selection}&watch=true&resourceVersion=7&allowWatchBookmarks=true");
        assert_eq!(Query::watch(&options).on("/p".into()), watch);
        let write = WriteOptions { dry_run: true, field_manager: "me".into(), force: true, ..WriteOptions::default() };
        assert_eq!(Query::write(&write, true).on("/p".into()), "/p?dryRun=All&fieldManager=me&force=true");
        assert_eq!(Query::write(&WriteOptions::default(), false).on("/p".into()), "/p");
    }
}
