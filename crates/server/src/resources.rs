//! Requests about resources: from HTTP to the registry, and back to the form that the client wants.

use crate::{
    answer,
    app::{App, Ask},
    auth::Attributes,
    catalog::Served,
    custom::Custom,
    decode,
    frames::Teller,
    http::{
        body::{self, Body},
        negotiate::{self, Accepted, BodySyntax, Endpoint, Syntax},
        websocket,
    },
    metrics::Labels,
    options, proxy,
    registry::{Change, Deleted, Target, list::too_large, meta},
    table::Include,
    usage,
    watch::{self, Travel, Watch},
};
use bytes::Bytes;
use coracle_api::{
    DeleteOptions, Object, Patch, PatchKind, Resource, Result, Schema, Status, options::FieldValidation, schema::Type,
};
use coracle_client::View;
use coracle_kinds::Action;
use futures::StreamExt as _;
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};
use std::sync::Arc;

const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
/// The largest request body, as upstream.
const MAX_BODY: usize = 3 << 20;
/// How much more than that is read away, so that the client hears why it is refused.
const MAX_DRAINED: usize = 16 << 20;

/// Answers a request that names a resource.
pub async fn serve(app: &Arc<App>, ask: &Ask, request: Request<Incoming>) -> Result<Response<Body>> {
    let info = &ask.info;
    let Some(served) = app.registry.catalog.find(&info.group, &info.version, &info.resource) else {
        return Ok(body::text(404, "404 page not found\n"));
    };
    let namespace = if served.resource.namespaced { info.namespace.as_str() } else { "" };
    if served.resource.namespaced && namespace.is_empty() && !info.name.is_empty() && path_names_object(ask) {
        return Err(not_served());
    }
    let target = Target { served: &served, namespace, name: path_name(ask), subresource: &info.subresource };
    if !info.subresource.is_empty() && served.kind.subresource(&info.subresource).is_none() {
        return Err(not_served());
    }
    tell_deprecation(app, ask, &served);
    if !info.subresource.is_empty() {
        return subresource(app, ask, target, request).await;
    }
    let verb = info.verb.as_str();
    if !served.kind.verbs.contains(&verb) {
        return Err(Status::method_not_allowed());
    }
    if served.kind.measured {
        return usage::serve(app, ask, target).await;
    }
    if !served.kind.is_stored() {
        return ask_only(app, ask, target, request).await;
    }
    match verb {
        "get" => get(app, ask, target).await,
        "list" => list(app, ask, target).await,
        "watch" => start_watch(app, ask, served.clone(), target, request),
        "create" => create(app, ask, target, request).await,
        "update" => update(app, ask, target, request).await,
        "patch" => patch(app, ask, target, request).await,
        "delete" => delete(app, ask, target, request).await,
        "deletecollection" => delete_collection(app, ask, target, request).await,
        _ => Err(Status::method_not_allowed()),
    }
}

/// Who uses a version that is to go hears of it.
fn tell_deprecation(app: &App, ask: &Ask, served: &Served) {
    if let Some(deprecation) = &served.deprecation {
        ask.caller.warn([deprecation.warning.clone()]);
        app.metrics.deprecated(&ask.info, &deprecation.removed);
    }
    if let Some(warning) = served.custom.as_ref().and_then(|c| c.of()?.warning.clone()) {
        ask.caller.warn([warning]);
        app.metrics.deprecated(&ask.info, "");
    }
}

/// The name in the path. (For lists by `metadata.name` the route knows a name too; that one is only for authorization.)
fn path_name(ask: &Ask) -> &str {
    if path_names_object(ask) { &ask.info.name } else { "" }
}

fn path_names_object(ask: &Ask) -> bool {
    !matches!(ask.info.verb.as_str(), "list" | "watch" | "deletecollection")
        || ask.info.path.trim_end_matches('/').ends_with(&format!("/{}", ask.info.name)) && ask.info.verb == "get"
}

fn not_served() -> Status {
    Status::new(404, "NotFound", "the server could not find the requested resource")
}

async fn read(request: Request<Incoming>) -> Result<Bytes> {
    let mut body = request.into_body();
    match Limited::new(&mut body, MAX_BODY).collect().await {
        Ok(all) => Ok(all.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            // a client that still writes would see a broken connection instead of the answer
            let mut rest = Limited::new(body, MAX_DRAINED);
            while let Some(Ok(_)) = rest.frame().await {}
            Err(Status::new(413, "RequestEntityTooLarge", format!("Request entity too large: limit is {MAX_BODY}")))
        }
        Err(error) => Err(Status::bad_request(format!("the request body could not be read: {error}"))),
    }
}

/// The body as a value of a type (`None`: any object), which `expected` names if it is a resource's.
async fn decoded(
    ask: &Ask,
    expected: Option<&Resource>,
    of: Option<Type<'_>>,
    request: Request<Incoming>,
    validation: FieldValidation,
) -> Result<Value> {
    let syntax = negotiate::body_syntax(&ask.headers)?;
    let bytes = read(request).await?;
    let (value, warnings) = match syntax {
        BodySyntax::Protobuf => return decode::protobuf_body(of, &bytes),
        BodySyntax::Text(media) => decode::body(of, &bytes, media, validation).map_err(|status| {
            // of an object of another kind it is not told which of its fields do not fit
            let (version, kind) = coracle_api::schema::decode::type_meta(&bytes, media);
            let resource = expected.filter(|_| status.code == 400);
            resource.and_then(|r| meta::mismatch(r, &version, &kind)).unwrap_or(status)
        })?,
    };
    ask.caller.warn(warnings);
    Ok(value)
}

/// The body as an object of a kind.
async fn decoded_object(
    ask: &Ask,
    served: &Served,
    request: Request<Incoming>,
    validation: FieldValidation,
) -> Result<Value> {
    if served.custom.is_none() {
        return decoded(ask, Some(&served.resource), served.kind.type_of(), request, validation).await;
    }
    let media = negotiate::custom_media(&ask.headers)?;
    let bytes = read(request).await?;
    let (value, warnings) = decode::object(&served.kind, &bytes, media, validation)?;
    ask.caller.warn(warnings);
    Ok(value)
}

/// One object, in the form that the client wants.
async fn object(
    ask: &Ask,
    accepted: Accepted,
    code: u16,
    served: &Served,
    stored: &Arc<Object>,
) -> Result<Response<Body>> {
    answer::object(ask, accepted, code, served, &served.load(stored).await?)
}

async fn get(app: &App, ask: &Ask, target: Target<'_>) -> Result<Response<Body>> {
    let accepted = answer::accepted(ask, target.served)?;
    if let Some(least) = options::get(&ask.query)?
        && least > app.registry.store.revision()
    {
        return Err(too_large(least, app.registry.store.revision()));
    }
    object(ask, accepted, 200, target.served, &app.registry.get(target)?).await
}

async fn list(app: &App, ask: &Ask, target: Target<'_>) -> Result<Response<Body>> {
    let accepted = answer::accepted(ask, target.served)?;
    let want = options::list(target.served, &ask.query)?;
    if target.served.custom.is_some() && want.selection.has_fields() {
        // fields are those of this version: it is made where it is missing, before it is asked for object by object
        target.served.load_all(app.registry.view.list(&target.served.resource, target.namespace)).await?;
    }
    let mut page = app.registry.list(target, &want)?;
    page.items = target.served.load_all(page.items).await?;
    let mut metadata = json!({"resourceVersion": page.revision.to_string()});
    if !page.continue_token.is_empty() {
        metadata["continue"] = json!(page.continue_token);
    }
    if let Some(remaining) = page.remaining {
        metadata["remainingItemCount"] = json!(remaining);
    }
    answer::list(ask, accepted, target.served, &metadata, &page.items)
}

fn start_watch(
    app: &App,
    ask: &Ask,
    served: Arc<Served>,
    target: Target<'_>,
    request: Request<Incoming>,
) -> Result<Response<Body>> {
    let accepted = negotiate::accept_stream(&ask.takes.accept, answer::endpoint(&served))?;
    let mut want = options::watch(&served, target.namespace, &ask.query)?;
    // the deprecated /watch/… paths name one object
    if ask.info.path.contains("/watch/") && !ask.info.name.is_empty() {
        want.selection = want.selection.only(&ask.info.name);
    }
    // what is there must not wait for what a webhook is still asked for
    let asks = served.custom.as_ref().is_some_and(Custom::asks);
    let teller = Teller::new(served, accepted, Include::parse(ask.query.get("includeObject"))?);
    let to_socket = websocket::asked(&ask.headers);
    let travel = if to_socket || asks { Travel::Alone } else { Travel::Together };
    let frames: body::Pieces = match Watch::begin(&app.registry.store, want, app.stop.clone()) {
        Ok(watch) => {
            let sent = app.metrics.watched(&ask.info);
            let told = watch::told(watch, teller, travel).map(move |told| {
                sent.add(told.frames);
                told.bytes
            });
            Box::pin(told)
        }
        // as upstream's watch cache: the watch begins, and says that it cannot go on
        Err(status) => {
            let frame = teller.error(&status);
            Box::pin(futures::stream::iter([frame]))
        }
    };
    if to_socket {
        let labels = Labels::of(&ask.info, &ask.method, false, &app.registry.catalog);
        let framing = if accepted.syntax == Syntax::Protobuf { websocket::binary } else { websocket::text };
        return websocket::accept(request, frames, framing, app.metrics.running(&labels));
    }
    let mut response = Response::new(body::streamed(frames));
    let media_type = HeaderValue::from_static(accepted.syntax.stream_media_type());
    response.headers_mut().insert(header::CONTENT_TYPE, media_type);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    Ok(response)
}

async fn create(app: &App, ask: &Ask, target: Target<'_>, request: Request<Incoming>) -> Result<Response<Body>> {
    if !target.name.is_empty() {
        // a POST names the collection; only its body names the object
        return Err(Status::method_not_allowed());
    }
    let accepted = answer::accepted(ask, target.served)?;
    let options = options::write(ask)?;
    let body = decoded_object(ask, target.served, request, options.field_validation).await?;
    let created = app.registry.create(&ask.caller, target, body, &options).await?;
    object(ask, accepted, 201, target.served, &created).await
}

async fn update(app: &App, ask: &Ask, target: Target<'_>, request: Request<Incoming>) -> Result<Response<Body>> {
    let accepted = answer::accepted(ask, target.served)?;
    let options = options::write(ask)?;
    let body = decoded_object(ask, target.served, request, options.field_validation).await?;
    let code = created_code(app, ask, target)?;
    let updated = app.registry.update(&ask.caller, target, Change::Replace(body), &options).await?;
    object(ask, accepted, code, target.served, &updated).await
}

/// 201 if the write will create; that is then a create also for authorization.
fn created_code(app: &App, ask: &Ask, target: Target<'_>) -> Result<u16> {
    if !target.subresource.is_empty() || app.registry.get(target).is_ok() {
        return Ok(200);
    }
    let apply = ask.info.verb == "patch";
    if apply || target.served.kind.create_on_update {
        let mut attributes = Attributes::of(&ask.info);
        attributes.verb = "create".into();
        crate::app::decide(app, &ask.caller.user, &attributes)?;
    }
    Ok(201)
}

async fn patch(app: &App, ask: &Ask, target: Target<'_>, request: Request<Incoming>) -> Result<Response<Body>> {
    let accepted = answer::accepted(ask, target.served)?;
    let options = options::write(ask)?;
    let patch = read_patch(ask, target, request).await?;
    let code = if patch.kind == PatchKind::Apply { created_code(app, ask, target)? } else { 200 };
    let updated = app.registry.update(&ask.caller, target, Change::Patch(patch), &options).await?;
    object(ask, accepted, code, target.served, &updated).await
}

async fn read_patch(ask: &Ask, target: Target<'_>, request: Request<Incoming>) -> Result<Patch> {
    let kind = negotiate::patch_kind(&ask.headers)?;
    if target.served.custom.is_some() && kind == PatchKind::Strategic {
        return Err(negotiate::no_strategic());
    }
    let bytes = read(request).await?;
    decode::patch_body(kind, &bytes)
}

async fn delete_options(ask: &Ask, request: Request<Incoming>) -> Result<DeleteOptions> {
    let bytes = read(request).await?;
    let mut options = if bytes.is_empty() {
        DeleteOptions::default()
    } else {
        let value = match negotiate::body_syntax(&ask.headers)? {
            BodySyntax::Protobuf => decode::protobuf_body(Schema::builtin().type_named(DELETE_OPTIONS), &bytes)?,
            BodySyntax::Text(media) => decode::body(None, &bytes, media, FieldValidation::Ignore)?.0,
        };
        serde_json::from_value(value)
            .map_err(|e| Status::bad_request(format!("DeleteOptions cannot be decoded: {e}")))?
    };
    options::delete(&ask.query, &mut options)?;
    Ok(options)
}

async fn delete(app: &App, ask: &Ask, target: Target<'_>, request: Request<Incoming>) -> Result<Response<Body>> {
    let accepted = answer::accepted(ask, target.served)?;
    let options = delete_options(ask, request).await?;
    match app.registry.delete(&ask.caller, target, &options).await? {
        Deleted::Going(left) => object(ask, accepted, 200, target.served, &left).await,
        // upstream's pods come back whole
        Deleted::Gone(last) if target.served.bucket == "/pods/" => {
            object(ask, accepted, 200, target.served, &last).await
        }
        Deleted::Gone(last) => {
            let resource = &target.served.resource;
            let mut details = json!({"name": target.name, "kind": resource.plural, "uid": last.meta().uid});
            if !resource.group.is_empty() {
                details["group"] = json!(resource.group);
            }
            Ok(answer::meta(&ask.takes, 200, &success(details), "Status"))
        }
    }
}

fn success(details: Value) -> Value {
    let mut status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"});
    if !details.is_null() {
        status["details"] = details;
    }
    status
}

async fn delete_collection(
    app: &App,
    ask: &Ask,
    target: Target<'_>,
    request: Request<Incoming>,
) -> Result<Response<Body>> {
    let accepted = answer::accepted(ask, target.served)?;
    let options = delete_options(ask, request).await?;
    let want = options::list(target.served, &ask.query)?;
    let items = app.registry.delete_collection(&ask.caller, target, &want.selection, &options).await?;
    let metadata = json!({"resourceVersion": app.registry.store.revision().to_string()});
    let items = target.served.load_all(items).await?;
    answer::list(ask, accepted, target.served, &metadata, &items)
}

/// Whether question and answer are in syntaxes that are spoken here: that is said before anything is done.
fn understood(ask: &Ask) -> Result<()> {
    negotiate::accept(&ask.takes.accept, Endpoint::Plain)?;
    negotiate::body_syntax(&ask.headers)?;
    Ok(())
}

/// Kinds that are asked and never stored: reviews, and the collection form of bindings.
async fn ask_only(app: &App, ask: &Ask, target: Target<'_>, request: Request<Incoming>) -> Result<Response<Body>> {
    understood(ask)?;
    let options = options::write(ask)?;
    let body =
        decoded(ask, Some(&target.served.resource), target.served.kind.type_of(), request, options.field_validation)
            .await?;
    answer_question(app, ask, target, body, &options).await
}

async fn answer_question(
    app: &App,
    ask: &Ask,
    target: Target<'_>,
    body: Value,
    options: &coracle_api::WriteOptions,
) -> Result<Response<Body>> {
    let resource = &target.served.resource;
    if resource.plural == "bindings" && resource.group.is_empty() {
        let name = body["metadata"]["name"].as_str().unwrap_or_default().to_string();
        let pods = app.registry.catalog.find("", "v1", "pods").ok_or_else(not_served)?;
        let pod = Target { served: &pods, namespace: target.namespace, name: &name, subresource: "binding" };
        app.registry.bind(&ask.caller, pod, &body, options).await?;
        return Ok(answer::meta(&ask.takes, 201, &success(Value::Null), "Status"));
    }
    let mut body = body;
    if resource.namespaced && body["metadata"]["namespace"].is_null() {
        body["metadata"]["namespace"] = target.namespace.into();
    }
    let errors = target.served.kind.rules.validate(&body);
    if !errors.is_empty() {
        return Err(Status::invalid(resource, "", &errors));
    }
    match app.auth.reviewer.review(&ask.caller.user, resource, target.namespace, body) {
        Some(answer) => Ok(answer::value(&ask.takes, 201, &answer?, target.served.kind.type_of())),
        None => Err(Status::method_not_allowed()),
    }
}

async fn subresource(
    app: &Arc<App>,
    ask: &Ask,
    target: Target<'_>,
    request: Request<Incoming>,
) -> Result<Response<Body>> {
    let Some(sub) = target.served.kind.subresource(target.subresource) else { return Err(not_served()) };
    let verb = ask.info.verb.as_str();
    let passed_on = matches!(sub.action, Action::Proxy) && proxy::takes(&ask.method);
    if !sub.verbs.contains(&verb) && !passed_on {
        return Err(Status::method_not_allowed());
    }
    let (registry, of) = (&app.registry, Schema::builtin().type_named(sub.schema));
    match sub.action {
        Action::Log | Action::Exec | Action::Attach | Action::PortForward | Action::Proxy => {
            proxy::serve(app, ask, target, sub.action, request).await
        }
        Action::Scale { .. } => {
            let accepted = negotiate::accept(&ask.takes.accept, Endpoint::Objects { protobuf: true })?;
            if verb == "update" {
                negotiate::body_syntax(&ask.headers)?;
            }
            let options = options::write(ask)?;
            let scale = match verb {
                "get" => registry.get_scale(target).await?,
                "update" => {
                    let body = decoded(ask, None, of, request, options.field_validation).await?;
                    registry.put_scale(&ask.caller, target, body, &options).await?
                }
                _ => {
                    let patch = read_patch(ask, target, request).await?;
                    registry.patch_scale(&ask.caller, target, &patch, &options).await?
                }
            };
            answer::scale(ask, accepted, &scale, of)
        }
        Action::Binding | Action::Eviction | Action::Token => {
            understood(ask)?;
            let options = options::write(ask)?;
            let body = decoded(ask, None, of, request, options.field_validation).await?;
            match sub.action {
                Action::Binding => registry.bind(&ask.caller, target, &body, &options).await?,
                Action::Eviction => registry.evict(&ask.caller, target, &body, &options).await?,
                _ => {
                    let user = &ask.caller.user;
                    let token = app.auth.reviewer.token(user, target.namespace, target.name, body)?;
                    return Ok(answer::value(&ask.takes, 201, &token, of));
                }
            }
            Ok(answer::meta(&ask.takes, 201, &success(Value::Null), "Status"))
        }
        _ => match verb {
            "get" => get(app, ask, target).await,
            "update" => update(app, ask, target, request).await,
            "patch" => patch(app, ask, target, request).await,
            _ => Err(Status::method_not_allowed()),
        },
    }
}
