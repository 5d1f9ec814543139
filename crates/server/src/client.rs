//! The client of components in this process: an identity and decoded objects. It skips TLS and codecs, never authorization or admission.

use crate::{
    app::{App, decide},
    auth::{Attributes, User},
    catalog::Served,
    decode,
    registry::{Caller, Change, Deleted, Target, list},
    route::{Query, RequestInfo},
    usage,
    watch::{self, Begin, Selection, Watch},
};
use async_trait::async_trait;
use coracle_api::{
    DeleteOptions, ListOptions, Object, Patch, PatchKind, Resource, Result, Status, WriteOptions,
    options::FieldValidation,
};
use coracle_client::{Client, ObjectList, WatchEvent};
use coracle_kinds::Action;
use futures::{StreamExt, stream::BoxStream};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

/// A watch in this process ends when its reader drops it.
const FOREVER: Duration = Duration::from_secs(365 * 86400);

/// A [`Client`] in the server's process.
pub struct LocalClient {
    app: Arc<App>,
    user: User,
}

impl LocalClient {
    /// A client that acts as `user`.
    pub fn new(app: Arc<App>, user: User) -> Self {
        Self { app, user }
    }

    fn served(&self, resource: &Resource) -> Result<Arc<Served>> {
        let found = self.app.registry.catalog.of(resource);
        found.ok_or_else(not_served)
    }

    fn may(&self, verb: &str, resource: &Resource, namespace: &str, name: &str, subresource: &str) -> Result<()> {
        let attributes = Attributes {
            verb: verb.into(),
            group: resource.group.to_string(),
            version: resource.version.to_string(),
            resource: resource.plural.to_string(),
            subresource: subresource.into(),
            namespace: namespace.into(),
            name: name.into(),
            ..Attributes::default()
        };
        decide(&self.app, &self.user, &attributes)
    }

    fn options(&self, options: &WriteOptions) -> WriteOptions {
        let mut options = options.clone();
        // what is wrong in our own objects is logged, not refused
        options.field_validation = FieldValidation::Warn;
        if options.field_manager.is_empty() {
            options.field_manager = component(&self.user.name).to_string();
        }
        options
    }

    fn conform(&self, served: &Served, body: &Value) -> Result<Value> {
        let (value, warnings) = decode::conform(&served.kind, body, FieldValidation::Warn)?;
        if !warnings.is_empty() {
            tracing::warn!(user = self.user.name, kind = %served.resource.kind, ?warnings, "a component wrote fields that do not exist");
        }
        Ok(value)
    }

    fn caller(&self) -> Caller {
        Caller::new(self.user.clone())
    }

    fn selection(&self, served: &Arc<Served>, options: &ListOptions) -> Result<Selection> {
        Selection::new(served, &options.labels, &options.fields)
    }
}

fn not_served() -> Status {
    Status::new(404, "NotFound", "the server could not find the requested resource")
}

fn target<'a>(served: &'a Arc<Served>, namespace: &'a str, name: &'a str, subresource: &'a str) -> Target<'a> {
    Target { served, namespace, name, subresource }
}

#[async_trait]
impl Client for LocalClient {
    async fn get(&self, resource: &Resource, namespace: &str, name: &str) -> Result<Arc<Object>> {
        self.may("get", resource, namespace, name, "")?;
        let served = self.served(resource)?;
        if served.kind.measured {
            return usage::get(&self.app, target(&served, namespace, name, "")).await;
        }
        let stored = self.app.registry.get(target(&served, namespace, name, ""))?;
        served.present(&served.load(&stored).await?)
    }

    async fn read(&self, path: &str) -> Result<Value> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let info = RequestInfo::parse("GET", path, &Query::parse(query));
        decide(&self.app, &self.user, &Attributes::of(&info))?;
        let served = self.app.registry.catalog.find(&info.group, &info.version, &info.resource);
        let served = served.filter(|_| info.is_resource()).ok_or_else(not_served)?;
        let namespace = if served.resource.namespaced { info.namespace.as_str() } else { "" };
        let target = target(&served, namespace, &info.name, &info.subresource);
        match served.kind.subresource(&info.subresource).map(|sub| &sub.action) {
            Some(Action::Scale { .. }) => self.app.registry.get_scale(target).await,
            _ if info.subresource.is_empty() && !info.name.is_empty() => {
                Ok(self.get(&served.resource, namespace, &info.name).await?.value())
            }
            _ => Err(not_served()),
        }
    }

    async fn list(&self, resource: &Resource, namespace: &str, options: &ListOptions) -> Result<ObjectList> {
        self.may("list", resource, namespace, "", "")?;
        let served = self.served(resource)?;
        if served.kind.measured {
            let selection = self.selection(&served, options)?;
            let items = usage::list(&self.app, target(&served, namespace, "", ""), &selection).await?;
            return Ok(ObjectList { items, ..ObjectList::default() });
        }
        let want = list::Want {
            selection: self.selection(&served, options)?,
            limit: options.limit,
            continue_token: options.continue_token.clone(),
            state: list::State::Newest,
        };
        let page = self.app.registry.list(target(&served, namespace, "", ""), &want)?;
        let items = served.load_all(page.items).await?;
        let items =
            if served.is_native() { items } else { items.iter().map(|o| served.present(o)).collect::<Result<_>>()? };
        Ok(ObjectList { items, revision: page.revision, continue_token: page.continue_token })
    }

    async fn watch(
        &self,
        resource: &Resource,
        namespace: &str,
        options: &ListOptions,
    ) -> Result<BoxStream<'static, Result<WatchEvent>>> {
        self.may("watch", resource, namespace, "", "")?;
        let served = self.served(resource)?;
        let want = watch::Want {
            prefix: served.prefix(namespace),
            selection: self.selection(&served, options)?,
            begin: options.revision.map_or(Begin::Existing(0), Begin::After),
            bookmarks: options.bookmarks,
            timeout: FOREVER,
        };
        let watch = Watch::begin(&self.app.registry.store, want, self.app.stop.clone())?;
        Ok(watch::events(watch).boxed())
    }

    async fn create(
        &self,
        resource: &Resource,
        namespace: &str,
        body: Value,
        options: &WriteOptions,
    ) -> Result<Arc<Object>> {
        self.may("create", resource, namespace, "", "")?;
        let served = self.served(resource)?;
        let body = self.conform(&served, &body)?;
        if !served.kind.is_stored() {
            let answer = self.app.auth.reviewer.review(&self.user, resource, namespace, body);
            return Object::from_value(&answer.ok_or_else(Status::method_not_allowed)??).map(Arc::new);
        }
        let target = target(&served, namespace, "", "");
        let created = self.app.registry.create(&self.caller(), target, body, &self.options(options)).await?;
        served.present(&served.load(&created).await?)
    }

    async fn post(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        subresource: &str,
        body: Value,
    ) -> Result<Value> {
        self.may("create", resource, namespace, name, subresource)?;
        let served = self.served(resource)?;
        let action = served.kind.subresource(subresource).ok_or_else(Status::method_not_allowed)?.action;
        let target = target(&served, namespace, name, subresource);
        let (registry, caller, options) = (&self.app.registry, self.caller(), self.options(&WriteOptions::default()));
        match action {
            Action::Binding => registry.bind(&caller, target, &body, &options).await?,
            Action::Eviction => registry.evict(&caller, target, &body, &options).await?,
            Action::Token => return self.app.auth.reviewer.token(&self.user, namespace, name, body),
            _ => return Err(Status::method_not_allowed()),
        }
        Ok(json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}))
    }

    async fn update(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        subresource: &str,
        body: Value,
        options: &WriteOptions,
    ) -> Result<Arc<Object>> {
        self.may("update", resource, namespace, name, subresource)?;
        let served = self.served(resource)?;
        let options = self.options(options);
        let target = target(&served, namespace, name, subresource);
        if subresource == "scale" {
            let scale = self.app.registry.put_scale(&self.caller(), target, body, &options).await?;
            return Object::from_value(&scale).map(Arc::new);
        }
        let change = Change::Replace(self.conform(&served, &body)?);
        let updated = self.app.registry.update(&self.caller(), target, change, &options).await?;
        served.present(&served.load(&updated).await?)
    }

    async fn patch(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        subresource: &str,
        patch: Patch,
        options: &WriteOptions,
    ) -> Result<Arc<Object>> {
        self.may("patch", resource, namespace, name, subresource)?;
        let served = self.served(resource)?;
        let options = self.options(options);
        let target = target(&served, namespace, name, subresource);
        if subresource == "scale" {
            let scale = self.app.registry.patch_scale(&self.caller(), target, &patch, &options).await?;
            return Object::from_value(&scale).map(Arc::new);
        }
        if patch.kind == PatchKind::Apply && self.app.registry.get(target).is_err() {
            self.may("create", resource, namespace, name, "")?;
        }
        let updated = self.app.registry.update(&self.caller(), target, Change::Patch(patch), &options).await?;
        served.present(&served.load(&updated).await?)
    }

    async fn delete(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Option<Arc<Object>>> {
        self.may("delete", resource, namespace, name, "")?;
        let served = self.served(resource)?;
        match self.app.registry.delete(&self.caller(), target(&served, namespace, name, ""), options).await? {
            Deleted::Gone(_) => Ok(None),
            Deleted::Going(left) => served.present(&served.load(&left).await?).map(Some),
        }
    }
}

/// The name under which a component of this process writes, as upstream's do: controllers are one program.
fn component(user: &str) -> &str {
    if user.starts_with("system:serviceaccount:kube-system:") {
        return "kube-controller-manager";
    }
    user.rsplit(':').next().unwrap_or_default()
}
