//! Asking for metrics, as any client does: `metrics.k8s.io`, `custom.metrics.k8s.io`, `external.metrics.k8s.io`.
//!
//! Source: upstream's `pkg/controller/podautoscaler/metrics/client.go` and `k8s.io/metrics/pkg/client`; errors are in its words.

use super::{
    metric::Reading,
    replicas::{Sample, Samples, millis},
    target,
};
use coracle_api::{LabelSelector, ListOptions, Object, Resource, Status, duration};
use coracle_client::{Client, View, http::escape};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::autoscaling::v2::{CrossVersionObjectReference, MetricIdentifier, MetricSpec},
    apimachinery::pkg::apis::meta::v1,
};
use serde_json::Value;
use std::sync::Arc;

const POD_METRICS: Resource = Resource::fixed("metrics.k8s.io", "v1beta1", "pods", "PodMetrics", true);
const CUSTOM: &str = "custom.metrics.k8s.io";
const EXTERNAL: &str = "external.metrics.k8s.io";
/// Versions of custom metrics that are understood, the best first.
const CUSTOM_VERSIONS: [&str; 2] = ["v1beta2", "v1beta1"];
/// The window of custom metrics that name none.
const DEFAULT_WINDOW: SignedDuration = SignedDuration::from_secs(60);

type Found<T> = Result<T, String>;

/// Asks for the metrics of one autoscaler.
pub struct Meter<'a> {
    /// As whom.
    pub client: &'a dyn Client,
    /// Where kinds are looked up.
    pub view: &'a dyn View,
    /// Whose.
    pub namespace: &'a str,
    /// Of which pods.
    pub selector: &'a LabelSelector,
}

impl Meter<'_> {
    /// A reading for each metric.
    pub async fn read(&self, metrics: &[MetricSpec]) -> Vec<Found<Reading>> {
        let mut usage = None;
        let mut readings = Vec::with_capacity(metrics.len());
        for spec in metrics {
            // what pods use is asked for once, however many metrics look at it
            if spec.resource.is_some() || spec.container_resource.is_some() {
                let all = match &usage {
                    Some(all) => all,
                    None => usage.insert(self.usage().await),
                };
                readings.push(all.as_ref().map_err(Clone::clone).and_then(|all| of_resource(spec, all)));
            } else {
                readings.push(self.of_adapter(spec).await);
            }
        }
        readings
    }

    async fn usage(&self) -> Found<Vec<Arc<Object>>> {
        let options = ListOptions { labels: self.selector.clone(), ..ListOptions::default() };
        match self.client.list(&POD_METRICS, self.namespace, &options).await {
            Ok(list) if list.items.is_empty() => Err("no metrics returned from resource metrics API".into()),
            Ok(list) => Ok(list.items),
            Err(error) => {
                let told = told(&error, "pods.metrics.k8s.io");
                Err(format!("unable to fetch metrics from resource metrics API: {told}"))
            }
        }
    }

    async fn of_adapter(&self, spec: &MetricSpec) -> Found<Reading> {
        if let Some(source) = &spec.pods {
            let all = self.custom("pods/*", &source.metric, Some(self.selector)).await?;
            return Ok(Reading::Pods(all.iter().filter_map(custom_sample).collect()));
        }
        if let Some(source) = &spec.object {
            let path = self.object(&source.described_object)?;
            return match self.custom(&path, &source.metric, None).await?.as_slice() {
                [one] => Ok(Reading::Whole(amount(&one["value"]))),
                all => Err(format!(
                    "unable to fetch metrics from custom metrics API: the custom metrics API server returned {} results when we asked for exactly one",
                    all.len()
                )),
            };
        }
        match &spec.external {
            Some(source) => self.external(&source.metric).await,
            None => Err("the metric has no source".into()),
        }
    }

    /// Where an object stands below its namespace, whose own metrics have a place of their own.
    fn object(&self, to: &CrossVersionObjectReference) -> Found<String> {
        let version = to.api_version.as_deref().unwrap_or_default();
        let group = version.split_once('/').map_or("", |(group, _)| group);
        if to.kind == "Namespace" && group.is_empty() {
            return Ok("metrics".into());
        }
        let found = target::resources(self.view, group, &to.kind).into_iter().next();
        let resource = found.ok_or_else(|| {
            let why = format!("no matches for kind {:?} in group {group:?}", to.kind);
            format!("unable to fetch metrics from custom metrics API: {why}")
        })?;
        Ok(format!("{}/{}", resource.qualified(), escape(&to.name)))
    }

    async fn custom(&self, of: &str, metric: &MetricIdentifier, pods: Option<&LabelSelector>) -> Found<Vec<Value>> {
        let failed = |why: String| format!("unable to fetch metrics from custom metrics API: {why}");
        let group = self.client.read(&format!("/apis/{CUSTOM}")).await.map_err(|error| match error.is_not_found() {
            true => failed(format!("no custom metrics API ({CUSTOM}) registered")),
            false => failed(error.to_string()),
        })?;
        let served: Vec<&str> =
            group["versions"].as_array().into_iter().flatten().filter_map(|v| v["version"].as_str()).collect();
        let version = CUSTOM_VERSIONS.into_iter().find(|v| served.contains(v));
        let version = version.ok_or_else(|| failed("no known available metric versions found".into()))?;
        let mut query = Vec::new();
        if let Some(pods) = pods {
            query.push(format!("labelSelector={}", escape(&pods.to_string())));
        }
        if let Some(selector) = text(metric.selector.as_ref()).map_err(failed)? {
            query.push(format!("metricLabelSelector={}", escape(&selector)));
        }
        let name = escape(&metric.name);
        let path = format!("/apis/{CUSTOM}/{version}/namespaces/{}/{of}/{name}?{}", self.namespace, query.join("&"));
        let answer = self.client.read(&path).await;
        let answer =
            answer.map_err(|e| failed(told(&e, &format!("{}.{CUSTOM}", of.split('/').next().unwrap_or(of)))))?;
        match answer["items"].as_array() {
            Some(items) if !items.is_empty() => Ok(items.clone()),
            _ => Err("no metrics returned from custom metrics API".into()),
        }
    }

    async fn external(&self, metric: &MetricIdentifier) -> Found<Reading> {
        let failed = |why: String| format!("unable to fetch metrics from external metrics API: {why}");
        let selector = text(metric.selector.as_ref()).map_err(failed)?.unwrap_or_default();
        let (name, namespace) = (escape(&metric.name), self.namespace);
        let path =
            format!("/apis/{EXTERNAL}/v1beta1/namespaces/{namespace}/{name}?labelSelector={}", escape(&selector));
        let answer = self.client.read(&path).await;
        let answer = answer.map_err(|e| failed(told(&e, &format!("{}.{EXTERNAL}", metric.name))))?;
        match answer["items"].as_array() {
            Some(items) if !items.is_empty() => {
                let sum = items.iter().fold(0_i64, |sum, item| sum.saturating_add(amount(&item["value"])));
                Ok(Reading::Whole(sum))
            }
            _ => Err("no metrics returned from external metrics API".into()),
        }
    }
}

/// An error as Go's clients tell it: where the server says nothing more, what was asked for.
fn told(error: &Status, asked: &str) -> String {
    let text = error.to_string();
    if text == "the server could not find the requested resource" { format!("{text} (get {asked})") } else { text }
}

fn text(selector: Option<&v1::LabelSelector>) -> Found<Option<String>> {
    let Some(selector) = selector else { return Ok(None) };
    let parsed = LabelSelector::from_spec(selector).map_err(|e| e.to_string())?;
    Ok(Some(parsed.to_string()).filter(|text| !text.is_empty()))
}

fn amount(value: &Value) -> i64 {
    value.as_str().map(millis).or_else(|| value.as_i64().map(|n| n.saturating_mul(1000))).unwrap_or(0)
}

fn time(value: &Value) -> Timestamp {
    value.as_str().and_then(|t| t.parse().ok()).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn custom_sample(item: &Value) -> Option<(String, Sample)> {
    let pod = item["describedObject"]["name"].as_str()?.to_string();
    let window = item["windowSeconds"].as_i64().map_or(DEFAULT_WINDOW, SignedDuration::from_secs);
    Some((pod, Sample { value: amount(&item["value"]), at: time(&item["timestamp"]), window }))
}

/// What pods use of a resource, with all their containers or one of them.
fn of_resource(spec: &MetricSpec, all: &[Arc<Object>]) -> Found<Reading> {
    let (resource, container) = match (&spec.resource, &spec.container_resource) {
        (Some(source), _) => (source.name.as_str(), None),
        (None, Some(source)) => (source.name.as_str(), Some(source.container.as_str())),
        (None, None) => return Err("the metric has no source".into()),
    };
    let mut samples = Samples::new();
    for object in all {
        let meta = object.meta();
        let value = object.value();
        let of_pod = value["containers"].as_array().map(Vec::as_slice).unwrap_or_default();
        let wanted = |c: &&Value| container.is_none_or(|name| c["name"] == name);
        let mut parts = of_pod.iter().filter(wanted).peekable();
        if let (Some(name), None) = (container, parts.peek()) {
            return Err(format!(
                "failed to get container metrics: container {name} not present in metrics for pod {}/{}",
                meta.namespace, meta.name
            ));
        }
        let known = parts.peek().is_some();
        let sum = parts.map(|c| c["usage"][resource].as_str().map(millis)).sum::<Option<i64>>();
        // a pod of which something is missing says nothing
        if let (true, Some(sum)) = (known, sum) {
            let nanos = value["window"].as_str().and_then(duration::parse).unwrap_or(0);
            let window = SignedDuration::from_nanos(nanos);
            samples.insert(meta.name.clone(), Sample { value: sum, at: time(&value["timestamp"]), window });
        }
    }
    Ok(Reading::Pods(samples))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn usage_is_that_of_whole_pods_or_of_one_container() {
        let pod = |name: &str, containers: Value| {
            let value = json!({"metadata": {"name": name, "namespace": "ns"}, "timestamp": "2024-01-01T00:00:00Z",
                "window": "15s", "containers": containers});
            Arc::new(Object::from_value(&value).unwrap())
        };
        let of = |name: &str, cpu: &str| json!({"name": name, "usage": {"cpu": cpu}});
        let all = [
            pod("a", json!([of("web", "100m"), of("log", "1000001n")])),
            pod("b", json!([of("web", "1"), {"name": "log", "usage": {}}])),
        ];
        let spec = |value: Value| serde_json::from_value::<MetricSpec>(value).unwrap();
        let read = |value: Value| match of_resource(&spec(value), &all) {
            Ok(Reading::Pods(samples)) => {
                let all = samples.iter().map(|(pod, s)| format!("{pod}={}/{}s", s.value, s.window.as_secs()));
                all.collect::<Vec<_>>().join(" ")
            }
            Ok(Reading::Whole(_)) => unreachable!(),
            Err(why) => why,
        };
        let target = json!({"type": "Utilization", "averageUtilization": 50});
        let whole = json!({"type": "Resource", "resource": {"name": "cpu", "target": target}});
        assert_eq!(read(whole), "a=102/15s");
        let part = |container: &str| {
            let source = json!({"name": "cpu", "container": container, "target": target});
            read(json!({"type": "ContainerResource", "containerResource": source}))
        };
        assert_eq!(part("web"), "a=100/15s b=1000/15s");
        let why = "failed to get container metrics: container x not present in metrics for pod ns/a";
        assert_eq!(part("x"), why);
    }
}
