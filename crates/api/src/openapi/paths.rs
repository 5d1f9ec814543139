//! The paths of a document: one per collection, object and subresource, with the parameters each verb takes.

use super::{Form, Served, definitions::Definitions};
use serde_json::{Map, Value, json};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";
const MEDIA: [&str; 2] = ["application/json", "application/yaml"];
// a custom resource takes all but the last: kubectl reads here which patch it may send
const PATCH_MEDIA: [&str; 4] = [
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];

/// (name, type, what it does)
type Parameter = (&'static str, &'static str, &'static str);

const PRETTY: Parameter = ("pretty", "string", "If 'true', then the output is pretty printed.");
const DRY_RUN: Parameter = (
    "dryRun",
    "string",
    "When present, indicates that modifications should not be persisted. An invalid or unrecognized dryRun directive will result in an error response and no further processing of the request. Valid values are: - All: all dry run stages will be processed",
);
const FIELD_MANAGER: Parameter = (
    "fieldManager",
    "string",
    "fieldManager is a name associated with the actor or entity that is making these changes. The value must be less than or 128 characters long, and only contain printable characters.",
);
const FIELD_VALIDATION: Parameter = (
    "fieldValidation",
    "string",
    "fieldValidation instructs the server on how to handle objects in the request (POST/PUT/PATCH) containing unknown or duplicate fields. Valid values are: Ignore, Warn, Strict.",
);
const FORCE: Parameter = (
    "force",
    "boolean",
    "Force is going to \"force\" Apply requests. It means user will re-acquire conflicting fields owned by other people. Force flag must be unset for non-apply patch requests.",
);
const WRITE: &[Parameter] = &[PRETTY, DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION];
const PATCH: &[Parameter] = &[PRETTY, DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION, FORCE];
const DELETE: &[Parameter] = &[
    PRETTY,
    DRY_RUN,
    ("gracePeriodSeconds", "integer", "The duration in seconds before the object should be deleted."),
    (
        "orphanDependents",
        "boolean",
        "Deprecated: please use the PropagationPolicy. Should the dependent objects be orphaned.",
    ),
    (
        "propagationPolicy",
        "string",
        "Whether and how garbage collection will be performed: Orphan, Background or Foreground.",
    ),
];
const LIST: &[Parameter] = &[
    PRETTY,
    ("allowWatchBookmarks", "boolean", "allowWatchBookmarks requests watch events with type \"BOOKMARK\"."),
    ("continue", "string", "The continue option should be set when retrieving more results from the server."),
    (
        "fieldSelector",
        "string",
        "A selector to restrict the list of returned objects by their fields. Defaults to everything.",
    ),
    (
        "labelSelector",
        "string",
        "A selector to restrict the list of returned objects by their labels. Defaults to everything.",
    ),
    ("limit", "integer", "limit is a maximum number of responses to return for a list call."),
    (
        "resourceVersion",
        "string",
        "resourceVersion sets a constraint on what resource versions a request may be served from.",
    ),
    ("resourceVersionMatch", "string", "resourceVersionMatch determines how resourceVersion is applied to list calls."),
    ("sendInitialEvents", "boolean", "sendInitialEvents=true may be set together with watch=true."),
    ("timeoutSeconds", "integer", "Timeout for the list/watch call."),
    (
        "watch",
        "boolean",
        "Watch for changes to the described resources and return them as a stream of add, update, and remove notifications.",
    ),
];

/// Adds the paths of one resource.
pub(super) fn add(paths: &mut Map<String, Value>, served: &Served, definitions: &mut Definitions<'_>) {
    let resource = &served.resource;
    let root = match &*resource.group {
        "" => format!("/api/{}", resource.version),
        group => format!("/apis/{group}/{}", resource.version),
    };
    let space = if resource.namespaced { "/namespaces/{namespace}" } else { "" };
    let collection = format!("{root}{space}/{}", resource.plural);
    let object = format!("{collection}/{{name}}");
    let gvk = json!({"group": resource.group, "kind": resource.kind, "version": resource.version});
    let (one, list) = (definitions.served(served, false), definitions.served(served, true));
    let status = definitions.reference(&format!("{META}.Status"));
    let patches = if served.definition.is_some() { &PATCH_MEDIA[..3] } else { &PATCH_MEDIA[..] };
    let make = |verb: &str| served.verbs.iter().any(|v| v == verb);
    let mut put =
        |path: &str, verb: &str, body: Option<Value>, answer: &Value, gvk: &Value, definitions: &Definitions<'_>| {
            let Some((method, parameters, action)) = method(verb) else { return };
            let item =
                paths.entry(path).or_insert_with(|| json!({"parameters": path_parameters(path, definitions.form)}));
            let operation = Operation { verb, action, parameters, body, answer, gvk, path, patches };
            item[method] = operation.value(definitions.form, &resource.group, &resource.version);
        };
    if make("list") {
        put(&collection, "list", None, &list, &gvk, definitions);
        if resource.namespaced {
            put(&format!("{root}/{}", resource.plural), "list", None, &list, &gvk, definitions);
        }
    }
    let options = definitions.reference(&format!("{META}.DeleteOptions"));
    let patch = definitions.patch();
    for (verb, path, body, answer) in [
        ("create", &collection, Some(one.clone()), &one),
        ("deletecollection", &collection, Some(options.clone()), &status),
        ("get", &object, None, &one),
        ("update", &object, Some(one.clone()), &one),
        ("patch", &object, Some(patch.clone()), &one),
        ("delete", &object, Some(options), &status),
    ] {
        if make(verb) {
            put(path, verb, body, answer, &gvk, definitions);
        }
    }
    for sub in &served.subresources {
        let path = format!("{object}/{}", sub.name);
        let spoken = definitions.kind(&sub.group, &sub.version, &sub.kind);
        let spoken = if sub.kind == resource.kind && sub.group == resource.group { one.clone() } else { spoken };
        let gvk = json!({"group": sub.group, "kind": sub.kind, "version": sub.version});
        for verb in &sub.verbs {
            let body = match verb.as_str() {
                "create" | "update" => Some(spoken.clone()),
                "patch" => Some(patch.clone()),
                _ => None,
            };
            put(&path, verb, body, &spoken, &gvk, definitions);
        }
    }
}

/// Verb → (HTTP method, parameters, action).
fn method(verb: &str) -> Option<(&'static str, &'static [Parameter], &'static str)> {
    Some(match verb {
        "get" => ("get", &[PRETTY], "get"),
        "list" => ("get", LIST, "list"),
        "create" => ("post", WRITE, "post"),
        "update" => ("put", WRITE, "put"),
        "patch" => ("patch", PATCH, "patch"),
        "delete" => ("delete", DELETE, "delete"),
        "deletecollection" => ("delete", LIST, "deletecollection"),
        _ => return None,
    })
}

struct Operation<'a> {
    verb: &'a str,
    action: &'a str,
    parameters: &'a [Parameter],
    body: Option<Value>,
    answer: &'a Value,
    gvk: &'a Value,
    path: &'a str,
    /// The media types of patches.
    patches: &'a [&'a str],
}

impl Operation<'_> {
    fn value(self, form: Form, group: &str, version: &str) -> Value {
        let mut parameters: Vec<Value> =
            self.parameters.iter().map(|p| parameter(p.0, p.1, p.2, "query", form)).collect();
        let tag = if group.is_empty() { "core" } else { group.split('.').next().unwrap_or_default() };
        let mut value = json!({
            "tags": [format!("{tag}_{version}")],
            "operationId": operation_id(self.verb, self.path),
            "x-kubernetes-action": self.action,
            "x-kubernetes-group-version-kind": self.gvk,
        });
        let content = |media: &[&str], schema: &Value| -> Value {
            media.iter().map(|m| ((*m).to_string(), json!({"schema": schema}))).collect::<Map<_, _>>().into()
        };
        let mut answer = json!({"description": "OK"});
        match form {
            Form::V3 => answer["content"] = content(&MEDIA, self.answer),
            Form::V2 => {
                answer["schema"] = self.answer.clone();
                value["produces"] = json!(MEDIA);
                value["consumes"] = if self.verb == "patch" { json!(self.patches) } else { json!(["*/*"]) };
                value["schemes"] = json!(["https"]);
            }
        }
        if let Some(body) = self.body {
            let required = !self.verb.starts_with("delete");
            match form {
                Form::V3 => {
                    let media: &[&str] = if self.verb == "patch" { self.patches } else { &["*/*"] };
                    value["requestBody"] = json!({"content": content(media, &body), "required": required});
                }
                Form::V2 => {
                    parameters.push(json!({"in": "body", "name": "body", "required": required, "schema": body}));
                }
            }
        }
        value["parameters"] = Value::Array(parameters);
        value["responses"] = json!({"200": answer, "401": {"description": "Unauthorized"}});
        value
    }
}

/// Unique, and readable: the verb and the words of the path.
fn operation_id(verb: &str, path: &str) -> String {
    let words = path.split(['/', '.', '-', '{', '}']).filter(|w| !w.is_empty());
    words.fold(verb.to_string(), |mut id, word| {
        let mut chars = word.chars();
        id.extend(chars.next().map(|c| c.to_ascii_uppercase()));
        id.push_str(chars.as_str());
        id
    })
}

fn path_parameters(path: &str, form: Form) -> Vec<Value> {
    let known =
        [("name", "name of the object"), ("namespace", "object name and auth scope, such as for teams and projects")];
    let in_path = known.iter().filter(|(name, _)| path.contains(&format!("{{{name}}}")));
    in_path
        .map(|(name, text)| {
            let mut value = parameter(name, "string", text, "path", form);
            value["required"] = true.into();
            value
        })
        .collect()
}

fn parameter(name: &str, of: &str, text: &str, place: &str, form: Form) -> Value {
    let mut value = json!({"name": name, "in": place, "description": text});
    match form {
        Form::V2 => {
            value["type"] = of.into();
            value["uniqueItems"] = true.into();
        }
        Form::V3 => value["schema"] = json!({"type": of, "uniqueItems": true}),
    }
    value
}
