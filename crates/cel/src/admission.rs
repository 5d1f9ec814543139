//! What expressions of admission policies and match conditions may use.
//!
//! `object` and `oldObject` are dynamic, `request` and `namespaceObject` have declared fields. A policy's `variables` are expressions themselves:
//! each is run when it is first asked for, and once.
//!
//! Source: the Kubernetes documentation "Validating Admission Policy", "Validation expression".

use crate::{
    decl::{DYNAMIC, Decl},
    env::{CompileError, Env, Program},
    eval::Variables,
    fault::{Fault, Result},
    library::{Authorize, Subject, authorizer, resource_check},
    types::{Library, Type},
    value::{Map, Value},
};
use serde_json::{Value as Json, json};
use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    sync::{Arc, LazyLock},
};

/// What there is beside the object and the request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Available {
    /// `params`: the policy has a parameter.
    pub params: bool,
    /// `authorizer`.
    pub authorizer: bool,
}

/// The environment of a policy's or match condition's expressions.
pub fn env(available: Available) -> Env {
    let dynamic = || Arc::clone(&DYNAMIC);
    let mut env = Env::new()
        .with("object", dynamic())
        .with("oldObject", dynamic())
        .with("request", Arc::clone(&REQUEST))
        .with("namespaceObject", Arc::clone(&NAMESPACE));
    if available.params {
        env = env.with("params", dynamic());
    }
    if available.authorizer {
        env = env
            .with("authorizer", Decl::of_type(Type::Library(Library::Authorizer)))
            .with("authorizer.requestResource", Decl::of_type(Type::Library(Library::ResourceCheck)));
    }
    env
}

/// Compiles an expression that is to have one of these types (any, if there are none). An error is what upstream says of it.
pub fn compile(env: &Env, expression: &str, wanted: &[Type]) -> std::result::Result<Program, String> {
    let program = env.compile(expression).map_err(|error| error.detail())?;
    let found = program.output();
    if wanted.is_empty() || wanted.contains(found) {
        return Ok(program);
    }
    let shown: Vec<String> = wanted.iter().map(Type::declared).collect();
    let wanted = if shown.len() == 1 { shown.concat() } else { format!("one of [{}]", shown.join(" ")) };
    Err(format!("must evaluate to {wanted} but got {}", found.declared()))
}

/// The type of what `ApplyConfiguration` mutations make.
pub fn object_type(env: &Env) -> Type {
    env.structure("Object").unwrap_or(Type::Dyn)
}

/// The type of what `JSONPatch` mutations make.
pub fn patch_type(env: &Env) -> Type {
    Type::list(env.structure("JSONPatch").unwrap_or(Type::Dyn))
}

/// `request`: the fields of an `AdmissionRequest` but the objects.
static REQUEST: LazyLock<Arc<Decl>> = LazyLock::new(|| {
    let text = || Decl::of_type(Type::String);
    let texts = |names: &[&str], of: &str| Decl::of_fields(of, names.iter().map(|name| (name.to_string(), text())));
    let kind = texts(&["group", "version", "kind"], "kubernetes.GroupVersionKind");
    let resource = texts(&["group", "version", "resource"], "kubernetes.GroupVersionResource");
    let many = |schema: Json| Decl::from_schema(&schema, false, "").unwrap_or_else(|| Arc::clone(&DYNAMIC));
    let list = || json!({"type": "array", "items": {"type": "string"}});
    let user = Decl::of_fields(
        "kubernetes.UserInfo",
        [
            ("username", text()),
            ("uid", text()),
            ("groups", many(list())),
            ("extra", many(json!({"type": "object", "additionalProperties": list()}))),
        ]
        .map(|(name, decl)| (name.to_string(), decl)),
    );
    let fields = [
        ("kind", Arc::clone(&kind)),
        ("resource", Arc::clone(&resource)),
        ("subResource", text()),
        ("requestKind", kind),
        ("requestResource", resource),
        ("requestSubResource", text()),
        ("name", text()),
        ("namespace", text()),
        ("operation", text()),
        ("userInfo", user),
        ("dryRun", Decl::of_type(Type::Bool)),
        ("options", Arc::clone(&DYNAMIC)),
    ];
    Decl::of_fields("kubernetes.AdmissionRequest", fields.map(|(name, decl)| (name.to_string(), decl)))
});

/// `namespaceObject`: what of a namespace does not depend on who looks.
static NAMESPACE: LazyLock<Arc<Decl>> = LazyLock::new(|| {
    let (text, time) = (json!({"type": "string"}), json!({"type": "string", "format": "date-time"}));
    let map = json!({"type": "object", "additionalProperties": text});
    let list = json!({"type": "array", "items": text});
    let schema = json!({"type": "object", "properties": {
        "metadata": {"type": "object", "properties": {
            "name": text, "generateName": text, "namespace": text, "labels": map, "annotations": map, "UID": text,
            "creationTimestamp": time, "deletionTimestamp": time, "deletionGracePeriodSeconds": {"type": "integer"},
            "generation": {"type": "integer"}, "resourceVersion": text, "finalizers": list,
        }},
        "spec": {"type": "object", "properties": {"finalizers": list}},
        "status": {"type": "object", "properties": {"phase": text, "conditions": {"type": "array", "items": {"type": "object", "properties": {
            "status": text, "type": text, "lastTransitionTime": time, "message": text, "reason": text,
        }}}}},
    }});
    Decl::from_schema(&schema, false, "kubernetes.Namespace").unwrap_or_else(|| Arc::clone(&DYNAMIC))
});

/// A policy's variables, each of which may use those before it as `variables.<name>`.
#[derive(Debug, Default)]
pub struct Composition {
    programs: Vec<(String, Program)>,
}

impl Composition {
    /// Compiles variables, and adds them to the environment. An error comes with the place of the variable.
    pub fn compile<'t>(
        mut env: Env,
        variables: impl IntoIterator<Item = (&'t str, &'t str)>,
    ) -> Result<(Env, Self), (usize, CompileError)> {
        let (mut made, mut fields) = (Self::default(), Vec::new());
        for (at, (name, expression)) in variables.into_iter().enumerate() {
            let program = env.compile(expression).map_err(|error| (at, error))?;
            fields.push((name.to_string(), Decl::of_type(program.output().clone())));
            env = with_variables(env, &fields);
            made.programs.push((name.to_string(), program));
        }
        Ok((env, made))
    }
}

/// An environment with a policy's variables, of which these are declared.
pub fn with_variables(env: Env, declared: &[(String, Arc<Decl>)]) -> Env {
    // by its whole name a variable is found without looking at the others
    let named = declared.iter().fold(env, |env, (name, decl)| env.with(format!("variables.{name}"), Arc::clone(decl)));
    named.with("variables", Decl::of_fields("kubernetes.variables", declared.iter().cloned()))
}

/// The values for one request. It is made once, for all expressions of a policy.
pub struct Inputs<'a> {
    /// The object; null when it is deleted.
    pub object: &'a Json,
    /// The object before; null when it is created.
    pub old_object: &'a Json,
    /// The request, as an `AdmissionRequest`'s JSON.
    pub request: &'a Json,
    /// The policy's parameter; null if there is none.
    pub params: &'a Json,
    /// The namespace that the object is in, or is; null if there is none.
    pub namespace: &'a Json,
    /// Who decides on `authorizer`'s questions.
    pub authorizer: Option<Arc<dyn Authorize>>,
    /// The policy's variables.
    pub composition: &'a Composition,
    known: RefCell<HashMap<String, Result<Value<'a>>>>,
    cost: Cell<u64>,
}

impl<'a> Inputs<'a> {
    /// The values of a request without parameter, namespace, authorizer and variables.
    pub fn new(object: &'a Json, old_object: &'a Json, request: &'a Json) -> Self {
        static NOTHING: Json = Json::Null;
        static ALONE: Composition = Composition { programs: Vec::new() };
        Self {
            object,
            old_object,
            request,
            params: &NOTHING,
            namespace: &NOTHING,
            authorizer: None,
            composition: &ALONE,
            known: RefCell::default(),
            cost: Cell::new(0),
        }
    }

    /// What the variables that were asked for have cost so far. It comes on top of what expressions cost that use them.
    pub fn cost(&self) -> u64 {
        self.cost.get()
    }

    /// All variables, where one asks whether there is one.
    fn all(&self) -> Option<Result<Value<'a>>> {
        let names = self.composition.programs.iter().map(|(name, _)| name);
        let entries: Result<Vec<_>> =
            names.filter_map(|name| Some(self.composed(name)?.map(|value| (Value::text(name), value)))).collect();
        Some(entries.and_then(Map::owned).map(Value::Map))
    }

    fn composed(&self, name: &str) -> Option<Result<Value<'a>>> {
        if let Some(value) = self.known.borrow().get(name) {
            return Some(value.clone());
        }
        let (_, program) = self.composition.programs.iter().find(|(there, _)| there == name)?;
        let outcome = program.run(self, crate::limits::PER_CALL);
        self.cost.set(self.cost.get().saturating_add(outcome.cost));
        self.known.borrow_mut().insert(name.to_string(), outcome.result.clone());
        Some(outcome.result)
    }

    /// The resource that the request is about, to be asked about.
    fn request_resource(&self, authorizer: &Arc<dyn Authorize>) -> Value<'a> {
        let text = |path: &str| self.request.pointer(path).and_then(Json::as_str).unwrap_or_default().to_string();
        let subject = Subject::Resource {
            group: text("/resource/group"),
            resource: text("/resource/resource"),
            subresource: text("/subResource"),
            namespace: text("/namespace"),
            name: text("/name"),
            field_selector: None,
            label_selector: None,
        };
        resource_check(Arc::clone(authorizer), subject)
    }
}

impl<'a> Variables<'a> for Inputs<'a> {
    fn get(&self, name: &str) -> Option<Result<Value<'a>>> {
        let unauthorized = || Fault::other("no authorizer");
        let authorizer_or = || self.authorizer.as_ref().ok_or_else(unauthorized);
        match name {
            "object" => Some(Value::from_json(self.object, &DYNAMIC)),
            "oldObject" => Some(Value::from_json(self.old_object, &DYNAMIC)),
            "request" => Some(Value::from_json(self.request, &REQUEST)),
            "params" => Some(Value::from_json(self.params, &DYNAMIC)),
            "namespaceObject" if self.namespace.is_null() => Some(Ok(Value::Null)),
            "namespaceObject" => Some(Value::from_json(self.namespace, &NAMESPACE)),
            "authorizer" => Some(authorizer_or().map(|who| authorizer(Arc::clone(who)))),
            "authorizer.requestResource" => Some(authorizer_or().map(|who| self.request_resource(who))),
            "variables" => self.all(),
            other => self.composed(other.strip_prefix("variables.")?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Decision, Question, limits, to_json};

    struct Named;

    impl Authorize for Named {
        fn authorize(&self, question: &Question) -> Decision {
            match &question.subject {
                Subject::Path(path) => Decision { allowed: path == "/healthz", ..Decision::default() },
                Subject::Resource { group, resource, subresource, namespace, name, .. } => Decision {
                    allowed: question.verb == "get",
                    reason: format!(
                        "{} {group}/{resource}/{subresource} {namespace}/{name} {:?}",
                        question.verb, question.service_account
                    ),
                    error: String::new(),
                },
            }
        }
    }

    fn run(expression: &str) -> String {
        let object = json!({"metadata": {"name": "web"}, "spec": {"replicas": 3, "tags": ["a"]}});
        let request = json!({"operation": "CREATE", "namespace": "ns", "name": "web", "dryRun": false,
            "resource": {"group": "apps", "version": "v1", "resource": "deployments"},
            "userInfo": {"username": "ann", "groups": ["dev"], "extra": {"k": ["v"]}}});
        let namespace =
            json!({"metadata": {"name": "ns", "labels": {"env": "prod"}, "creationTimestamp": "2024-01-01T00:00:00Z"}});
        let available = Available { params: true, authorizer: true };
        let variables = [
            ("replicas", "object.spec.replicas"),
            ("twice", "variables.replicas * 2"),
            ("bad", "1 / (variables.replicas - 3)"),
        ];
        let (env, composition) = Composition::compile(env(available), variables).expect("variables");
        let program = match env.compile(expression) {
            Ok(program) => program,
            Err(error) => return error.to_string().lines().next().unwrap_or_default().to_string(),
        };
        let params = json!({"max": 5});
        let mut inputs = Inputs::new(&object, &Json::Null, &request);
        inputs.params = &params;
        inputs.namespace = &namespace;
        inputs.authorizer = Some(Arc::new(Named));
        inputs.composition = &composition;
        match program.run(&inputs, limits::PER_CALL).result {
            Ok(value) => to_json(&value).map_or_else(|| "?".into(), |json| json.to_string()),
            Err(fault) => format!("error: {fault}"),
        }
    }

    #[test]
    fn policies() {
        for (expression, expected) in [
            ("object.spec.replicas <= params.max", "true"),
            ("oldObject == null", "true"),
            ("has(oldObject.spec)", "false"),
            ("object.spec.nothing", "error: no such key: nothing"),
            ("request.operation == 'CREATE' && request.resource.group == 'apps'", "true"),
            ("'dev' in request.userInfo.groups && request.userInfo.extra['k'][0] == 'v'", "true"),
            ("request.uid", "ERROR: <input>:1:8: undefined field 'uid'"),
            ("request.dryRun", "false"),
            ("namespaceObject.metadata.labels.env", "\"prod\""),
            ("namespaceObject.metadata.creationTimestamp.getFullYear()", "2024"),
            ("variables.twice", "6"),
            ("variables.twice + variables.replicas", "9"),
            ("variables.bad == 1", "error: division by zero"),
            ("variables.none", "ERROR: <input>:1:10: undefined field 'none'"),
            ("has(variables.twice) && has(variables.bad)", "true"),
            ("authorizer.path('/healthz').check('get').allowed()", "true"),
            ("authorizer.group('').resource('pods').check('list').allowed()", "false"),
            (
                "authorizer.serviceAccount('ns', 'sa').group('apps').resource('deployments').subresource('scale').namespace('x').name('y').check('get').reason()",
                "\"get apps/deployments/scale x/y Some((\\\"ns\\\", \\\"sa\\\"))\"",
            ),
            ("authorizer.requestResource.check('get').reason()", "\"get apps/deployments/ ns/web None\""),
            ("authorizer.requestResource.check('get').errored()", "false"),
            (
                "[1, 2, 3].map(x, authorizer.path('/healthz').check('get').allowed())[0]",
                "error: operation cancelled: actual cost limit exceeded",
            ),
        ] {
            assert_eq!(run(expression), expected, "{expression}");
        }
    }

    #[test]
    fn variables_run_once() {
        let (env, composition) =
            Composition::compile(env(Available::default()), [("x", "object.a + 1")]).expect("variables");
        let object = json!({"a": 1});
        let mut inputs = Inputs::new(&object, &Json::Null, &Json::Null);
        inputs.composition = &composition;
        let program = env.compile("variables.x + variables.x").expect("an expression");
        let outcome = program.run(&inputs, limits::PER_CALL);
        assert_eq!(
            (outcome.result.map(|value| to_json(&value)), outcome.cost, inputs.cost()),
            (Ok(Some(json!(4))), 3, 3)
        );
        let (at, error) = Composition::compile(env, [("y", "1"), ("z", "variables.y + 'a'")]).expect_err("no sum");
        assert_eq!(at, 1);
        assert!(error.to_string().contains("found no matching overload for '_+_' applied to '(int, string)'"));
    }

    #[test]
    fn mutations() {
        let plain = env(Available::default());
        assert!(plain.compile("Object{}").is_err_and(|e| e.to_string().contains("undeclared reference to 'Object'")));
        let env = plain.with_mutation();
        for (expression, expected) in [
            ("Object{}", "{}"),
            ("Object{spec: Object.spec{replicas: object.a + 1}}", r#"{"spec":{"replicas":2}}"#),
            (
                "Object{spec: Object.spec{?absent: object.?b, ?there: object.?a, list: [Object.spec.list{k: 'x'}]}}",
                r#"{"spec":{"list":[{"k":"x"}],"there":1}}"#,
            ),
            (
                "Object{spec: Object.status{}}",
                "unexpected type name \"Object.status\", expected \"Object.spec\", which matches field name path from root Object type",
            ),
            (
                "[JSONPatch{op: 'add', path: '/a/' + jsonpatch.escapeKey('b/c'), value: {'k': 1}}]",
                r#"[{"op":"add","path":"/a/b~1c","value":{"k":1}}]"#,
            ),
            (
                "JSONPatch{op: 1}",
                "ERROR: <input>:1:13: expected type of field 'op' is 'string' but provided type is 'int'",
            ),
            ("JSONPatch{what: 1}", "ERROR: <input>:1:15: undefined field 'what'"),
            ("Objection{}", "ERROR: <input>:1:10: undeclared reference to 'Objection' (in container '')"),
        ] {
            let object = json!({"a": 1});
            let found = match env.compile(expression) {
                Ok(program) => {
                    assert!(program.estimated_cost().max >= 40);
                    let outcome = program.run(&Inputs::new(&object, &Json::Null, &Json::Null), limits::PER_CALL);
                    outcome.result.map_or_else(|e| e.to_string(), |v| to_json(&v).unwrap_or_default().to_string())
                }
                Err(error) => error.to_string().lines().next().unwrap_or_default().to_string(),
            };
            assert_eq!(found, expected, "{expression}");
        }
    }
}
