//! The environment of a container: service variables, `envFrom`, `env`, with `$(VAR)` references.

use super::{
    expand::expand,
    fieldref::{self, Addresses},
};
use k8s_openapi::{
    api::core::v1::{ConfigMap, Container, EnvVarSource, Pod, Secret, Service},
    apimachinery::pkg::api::resource::Quantity,
};
use std::{collections::BTreeMap, sync::Arc};

/// Where values come from.
pub trait Sources {
    /// A ConfigMap of the pod's namespace.
    fn config_map(&self, name: &str) -> Option<Arc<ConfigMap>>;
    /// A Secret of the pod's namespace.
    fn secret(&self, name: &str) -> Option<Arc<Secret>>;
    /// All services of a namespace.
    fn services(&self, namespace: &str) -> Vec<Arc<Service>>;
}

/// What else the values depend on.
pub struct Facts<'a> {
    /// Addresses of node and pod.
    pub addresses: &'a Addresses,
    /// What the node has, for limits that are not set.
    pub allocatable: &'a BTreeMap<String, Quantity>,
}

/// The environment, or why it cannot be made (`CreateContainerConfigError`).
pub fn build(
    pod: &Pod,
    container: &Container,
    sources: &dyn Sources,
    facts: &Facts<'_>,
) -> Result<Vec<(String, String)>, String> {
    let mut env = Ordered::default();
    let links = super::of(pod).enable_service_links != Some(false);
    for (name, value) in service_env(pod, links, sources) {
        env.set(name, value);
    }
    for source in container.env_from.iter().flatten() {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        let found: Vec<(String, String)> = if let Some(reference) = &source.config_map_ref {
            match sources.config_map(&reference.name) {
                Some(map) => map.data.clone().into_iter().flatten().collect(),
                None if reference.optional == Some(true) => continue,
                None => return Err(format!("configmap \"{}\" not found", reference.name)),
            }
        } else if let Some(reference) = &source.secret_ref {
            match sources.secret(&reference.name) {
                Some(secret) => secret
                    .data
                    .clone()
                    .into_iter()
                    .flatten()
                    .map(|(k, v)| (k, String::from_utf8_lossy(&v.0).into_owned()))
                    .collect(),
                None if reference.optional == Some(true) => continue,
                None => return Err(format!("secret \"{}\" not found", reference.name)),
            }
        } else {
            continue;
        };
        for (key, value) in found {
            env.set(format!("{prefix}{key}"), value);
        }
    }
    for var in container.env.iter().flatten() {
        let value = match (&var.value, &var.value_from) {
            (Some(value), _) => Some(expand(value, |name| env.get(name))),
            (None, Some(from)) => from_source(pod, container, from, sources, facts)?,
            (None, None) => Some(String::new()),
        };
        if let Some(value) = value {
            env.set(var.name.clone(), value);
        }
    }
    Ok(env.list)
}

fn from_source(
    pod: &Pod,
    container: &Container,
    from: &EnvVarSource,
    sources: &dyn Sources,
    facts: &Facts<'_>,
) -> Result<Option<String>, String> {
    let namespace = super::namespace(pod);
    if let Some(field) = &from.field_ref {
        return fieldref::field(pod, &field.field_path, facts.addresses).map(Some);
    }
    if let Some(resource) = &from.resource_field_ref {
        return fieldref::resource(pod, container, resource, facts.allocatable).map(Some);
    }
    if let Some(key) = &from.config_map_key_ref {
        let optional = key.optional == Some(true);
        return match sources.config_map(&key.name) {
            None if optional => Ok(None),
            None => Err(format!("configmap \"{}\" not found", key.name)),
            Some(map) => match map.data.as_ref().and_then(|d| d.get(&key.key)) {
                Some(value) => Ok(Some(value.clone())),
                None if optional => Ok(None),
                None => Err(format!("couldn't find key {} in ConfigMap {namespace}/{}", key.key, key.name)),
            },
        };
    }
    if let Some(key) = &from.secret_key_ref {
        let optional = key.optional == Some(true);
        return match sources.secret(&key.name) {
            None if optional => Ok(None),
            None => Err(format!("secret \"{}\" not found", key.name)),
            Some(secret) => match secret.data.as_ref().and_then(|d| d.get(&key.key)) {
                Some(value) => Ok(Some(String::from_utf8_lossy(&value.0).into_owned())),
                None if optional => Ok(None),
                None => Err(format!("couldn't find key {} in Secret {namespace}/{}", key.key, key.name)),
            },
        };
    }
    Ok(Some(String::new()))
}

/// `NAME_SERVICE_HOST` and friends: of the pod's namespace if it wants links, of the API server always.
fn service_env(pod: &Pod, links: bool, sources: &dyn Sources) -> Vec<(String, String)> {
    let namespace = super::namespace(pod);
    let mut services: BTreeMap<String, Arc<Service>> = BTreeMap::new();
    for service in sources.services("default") {
        let name = service.metadata.name.clone().unwrap_or_default();
        if name == "kubernetes" {
            services.insert(name, service);
        }
    }
    if links {
        for service in sources.services(namespace) {
            services.insert(service.metadata.name.clone().unwrap_or_default(), service);
        }
    }
    services.into_iter().flat_map(|(name, service)| one_service(&name, &service)).collect()
}

fn one_service(name: &str, service: &Service) -> Vec<(String, String)> {
    let mut out = Vec::new();
    let Some(spec) = &service.spec else { return out };
    let Some(ip) = spec.cluster_ip.as_deref().filter(|ip| !ip.is_empty() && *ip != "None") else { return out };
    let ports = spec.ports.as_deref().unwrap_or_default();
    let Some(first) = ports.first() else { return out };
    let upper = |text: &str| text.to_uppercase().replace(['-', '.'], "_");
    let name = upper(name);
    let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_string() };
    out.push((format!("{name}_SERVICE_HOST"), ip.to_string()));
    out.push((format!("{name}_SERVICE_PORT"), first.port.to_string()));
    for port in ports {
        if let Some(port_name) = port.name.as_deref().filter(|n| !n.is_empty()) {
            out.push((format!("{name}_SERVICE_PORT_{}", upper(port_name)), port.port.to_string()));
        }
    }
    for (i, port) in ports.iter().enumerate() {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let url = format!("{}://{host}:{}", protocol.to_lowercase(), port.port);
        if i == 0 {
            out.push((format!("{name}_PORT"), url.clone()));
        }
        let prefix = format!("{name}_PORT_{}_{}", port.port, protocol.to_uppercase());
        out.push((prefix.clone(), url));
        out.push((format!("{prefix}_PROTO"), protocol.to_lowercase()));
        out.push((format!("{prefix}_PORT"), port.port.to_string()));
        out.push((format!("{prefix}_ADDR"), ip.to_string()));
    }
    out
}

/// Variables in order; the last value of a name counts, at its first place.
#[derive(Default)]
struct Ordered {
    list: Vec<(String, String)>,
    at: BTreeMap<String, usize>,
}

impl Ordered {
    fn set(&mut self, name: String, value: String) {
        match self.at.get(&name) {
            Some(i) => self.list[*i].1 = value,
            None => {
                self.at.insert(name.clone(), self.list.len());
                self.list.push((name, value));
            }
        }
    }

    fn get(&self, name: &str) -> Option<String> {
        self.at.get(name).map(|i| self.list[*i].1.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    struct Fixed;

    impl Sources for Fixed {
        fn config_map(&self, name: &str) -> Option<Arc<ConfigMap>> {
            let map = json!({"data": {"A": "1", "B": "2"}});
            (name == "map").then(|| Arc::new(serde_json::from_value(map).unwrap()))
        }
        fn secret(&self, name: &str) -> Option<Arc<Secret>> {
            let secret = json!({"data": {"S": "aGlkZGVu"}});
            (name == "secret").then(|| Arc::new(serde_json::from_value(secret).unwrap()))
        }
        fn services(&self, namespace: &str) -> Vec<Arc<Service>> {
            let (name, ip) = if namespace == "default" { ("kubernetes", "10.0.0.1") } else { ("my-db", "10.0.0.2") };
            let service = json!({"metadata": {"name": name}, "spec": {"clusterIP": ip, "ports": [{"name": "main", "port": 5, "protocol": "TCP"}]}});
            vec![Arc::new(serde_json::from_value(service).unwrap())]
        }
    }

    fn check(env_from: Value, env: Value, links: bool, expected: Result<&[&str], &str>) {
        let pod = json!({"metadata": {"name": "p", "namespace": "n"}, "spec": {"enableServiceLinks": links,
            "containers": [{"name": "c", "envFrom": env_from, "env": env}]}});
        let pod: Pod = serde_json::from_value(pod).unwrap();
        let addresses = Addresses::default();
        let allocatable = BTreeMap::new();
        let facts = Facts { addresses: &addresses, allocatable: &allocatable };
        let got = build(&pod, &super::super::of(&pod).containers[0], &Fixed, &facts);
        let shown = got.map(|list| {
            let list = list.into_iter().map(|(k, v)| format!("{k}={v}"));
            list.filter(|v| links || !v.starts_with("KUBERNETES_")).collect::<Vec<_>>()
        });
        match (shown, expected) {
            (Ok(got), Ok(expected)) if links => {
                for e in expected {
                    assert!(got.contains(&e.to_string()), "{e} in {got:?}");
                }
            }
            (got, expected) => {
                let expected =
                    expected.map(|e| e.iter().map(ToString::to_string).collect()).map_err(ToString::to_string);
                assert_eq!(got, expected);
            }
        }
    }

    #[test]
    fn values_come_from_their_sources() {
        let none = || json!([]);
        check(json!([{"configMapRef": {"name": "map"}, "prefix": "X_"}]), none(), false, Ok(&["X_A=1", "X_B=2"]));
        check(
            json!([{"configMapRef": {"name": "map"}}]),
            json!([{"name": "A", "value": "9"}]),
            false,
            Ok(&["A=9", "B=2"]),
        );
        check(json!([{"secretRef": {"name": "no"}}]), none(), false, Err("secret \"no\" not found"));
        check(json!([{"secretRef": {"name": "no", "optional": true}}]), none(), false, Ok(&[]));
        check(
            none(),
            json!([{"name": "A", "value": "x"}, {"name": "B", "value": "$(A)-$(C)-$$(A)"}]),
            false,
            Ok(&["A=x", "B=x-$(C)-$(A)"]),
        );
        check(
            none(),
            json!([{"name": "S", "valueFrom": {"secretKeyRef": {"name": "secret", "key": "S"}}}]),
            false,
            Ok(&["S=hidden"]),
        );
        check(
            none(),
            json!([{"name": "S", "valueFrom": {"configMapKeyRef": {"name": "map", "key": "Z"}}}]),
            false,
            Err("couldn't find key Z in ConfigMap n/map"),
        );
        check(
            none(),
            json!([{"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]),
            false,
            Ok(&["N=p"]),
        );
        check(
            none(),
            none(),
            true,
            Ok(&[
                "KUBERNETES_SERVICE_HOST=10.0.0.1",
                "MY_DB_SERVICE_HOST=10.0.0.2",
                "MY_DB_SERVICE_PORT_MAIN=5",
                "MY_DB_PORT=tcp://10.0.0.2:5",
                "MY_DB_PORT_5_TCP_ADDR=10.0.0.2",
            ]),
        );
    }
}
