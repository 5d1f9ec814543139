//! `/containerLogs`: what `kubectl logs` shows.

use super::{Body, query::Query};
use crate::{
    context::Node,
    logs::{self, Options},
    pods, spec,
};
use coracle_api::{Result, Status};
use coracle_runtime::ContainerState;
use http::{Response, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};

/// Chunks that wait for a slow reader.
const AHEAD: usize = 16;

pub(super) async fn serve(node: &Arc<Node>, pod: &Pod, container: &str, query: &Query) -> Result<Response<Body>> {
    let bad = |message: String| Err(Status::bad_request(message));
    if spec::container(pod, container).is_none() {
        return bad(format!("container {container} is not valid for pod {}", spec::name(pod)));
    }
    let options = options(query, node.clock.now())?;
    let observed = pods::containers(node, pod).await;
    let found = if query.flag("previous") {
        match observed.latest(container) {
            // one that waits to be started again is the previous one itself
            Some(c) if c.state == ContainerState::Exited && is_waiting(pod, container) => Some(c),
            _ => observed.previous(container),
        }
    } else {
        observed.latest(container)
    };
    let Some(found) = found else {
        if query.flag("previous") {
            return bad(format!(
                "previous terminated container \"{container}\" in pod \"{}\" not found",
                spec::name(pod)
            ));
        }
        let why = waiting_reason(pod, container);
        return bad(format!("container \"{container}\" in pod \"{}\" is waiting to start: {why}", spec::name(pod)));
    };
    let path = pods::log_dir(node, pod).join(&found.spec.log_path);
    let (sender, receiver) = mpsc::channel(AHEAD);
    let (runtime, id) = (node.runtime.clone(), found.id.clone());
    node.tasks.spawn("logs", async move {
        let ended = || {
            let (runtime, id) = (runtime.clone(), id.clone());
            async move { !runtime.container(&id).await.is_ok_and(|c| c.state == ContainerState::Running) }
        };
        if let Err(error) = logs::stream(path, options, ended, sender.clone()).await {
            let _ = sender.send(Err(error)).await;
        }
    });
    let frames = ReceiverStream::new(receiver).map(|chunk| chunk.map(Frame::data));
    let mut response = Response::new(BodyExt::boxed(StreamBody::new(frames)));
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain"));
    Ok(response)
}

fn container_state<'a>(pod: &'a Pod, container: &str) -> Option<&'a k8s_openapi::api::core::v1::ContainerState> {
    let status = pod.status.as_ref()?;
    let all = status.container_statuses.iter().flatten().chain(status.init_container_statuses.iter().flatten());
    all.into_iter().find(|s| s.name == container)?.state.as_ref()
}

fn is_waiting(pod: &Pod, container: &str) -> bool {
    container_state(pod, container).is_some_and(|s| s.waiting.is_some())
}

fn waiting_reason(pod: &Pod, container: &str) -> String {
    let waiting = container_state(pod, container).and_then(|s| s.waiting.as_ref());
    let reason = waiting.and_then(|w| w.reason.clone()).unwrap_or_else(|| "ContainerCreating".into());
    // upstream says the same with other words for images
    match reason.as_str() {
        "ErrImagePull" | "ImagePullBackOff" => "trying and failing to pull image".into(),
        _ => reason,
    }
}

fn options(query: &Query, now: Timestamp) -> Result<Options> {
    let number = |key: &str| -> Result<Option<u64>> {
        match query.get(key).filter(|v| !v.is_empty()) {
            None => Ok(None),
            Some(text) => {
                let value = text.parse().map_err(|_| Status::bad_request(format!("invalid {key}: {text:?}")))?;
                Ok(Some(value))
            }
        }
    };
    let since = match (number("sinceSeconds")?, query.get("sinceTime").filter(|v| !v.is_empty())) {
        (Some(seconds), _) => {
            Some(now - SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::from(i32::MAX))))
        }
        (None, Some(text)) => {
            Some(text.parse().map_err(|_| Status::bad_request(format!("invalid sinceTime: {text:?}")))?)
        }
        (None, None) => None,
    };
    Ok(Options {
        follow: query.flag("follow"),
        tail: number("tailLines")?,
        since,
        timestamps: query.flag("timestamps"),
        limit_bytes: number("limitBytes")?,
        stream: match query.get("stream") {
            Some("Stdout") => Some("stdout".into()),
            Some("Stderr") => Some("stderr".into()),
            _ => None,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read() {
        let now = Timestamp::from_second(1000).unwrap();
        let parse = |text: &str| options(&Query::parse(text), now);
        let got = parse("follow=true&tailLines=5&sinceSeconds=10&timestamps=1&limitBytes=7&stream=Stderr").unwrap();
        let expected = Options {
            follow: true,
            tail: Some(5),
            since: Some(Timestamp::from_second(990).unwrap()),
            timestamps: true,
            limit_bytes: Some(7),
            stream: Some("stderr".into()),
        };
        assert_eq!(got, expected);
        assert_eq!(parse("").unwrap(), Options::default());
        assert!(parse("tailLines=x").is_err() && parse("sinceTime=x").is_err());
    }
}
