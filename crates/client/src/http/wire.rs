//! Bodies of responses: objects, lists, streams of watch events, Status errors.

use super::connection::{Place, Reply, chain};
use crate::{ObjectList, WatchEvent};
use bytes::{Buf, Bytes, BytesMut};
use coracle_api::{Object, Resource, Result, Status};
use futures::stream::{self, BoxStream, StreamExt};
use http::{Response, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use std::{collections::VecDeque, sync::Arc, time::Duration};

fn broken(error: &hyper::Error) -> Status {
    Status::unavailable(format!("the connection to the server was lost: {}", chain(error)))
}

pub(super) async fn body(reply: Reply) -> Result<Bytes> {
    let Reply { response, place } = reply;
    let whole = response.into_body().collect().await.map_err(|e| broken(&e))?.to_bytes();
    drop(place);
    Ok(whole)
}

/// What a server that puts a request off says: seconds.
pub(super) fn retry_after(response: &Response<Incoming>) -> Option<Duration> {
    let seconds = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// The error that a response carries.
pub(super) async fn status(reply: Reply) -> Status {
    let code = reply.response.status();
    match body(reply).await {
        Ok(bytes) => decode_status(code.as_u16(), &bytes),
        Err(error) => error,
    }
}

fn decode_status(code: u16, bytes: &[u8]) -> Status {
    match serde_json::from_slice::<Status>(bytes) {
        Ok(mut status) if !status.message.is_empty() || !status.reason.is_empty() => {
            status.code = code;
            status
        }
        _ => {
            let reason = match code {
                401 => "Unauthorized",
                403 => "Forbidden",
                404 => "NotFound",
                409 => "Conflict",
                410 => "Expired",
                429 => "TooManyRequests",
                503 => "ServiceUnavailable",
                _ => "",
            };
            Status::new(code, reason, String::from_utf8_lossy(bytes).trim())
        }
    }
}

#[derive(Deserialize)]
struct List<'a> {
    #[serde(default)]
    metadata: ListMeta,
    #[serde(borrow, default)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ListMeta {
    resource_version: String,
    r#continue: String,
}

pub(super) fn list(bytes: &Bytes, resource: &Resource) -> Result<ObjectList> {
    let list: List<'_> = serde_json::from_slice(bytes)
        .map_err(|e| Status::internal(format!("a list of {resource} cannot be decoded: {e}")))?;
    let items = list.items.unwrap_or_default();
    let items = items.into_iter().map(|raw| item(bytes, raw.get(), resource)).collect::<Result<_>>()?;
    Ok(ObjectList {
        items,
        revision: list.metadata.resource_version.parse().unwrap_or(0),
        continue_token: list.metadata.r#continue,
    })
}

/// One item. In lists, servers leave out kind and version of the items; an object has them.
fn item(bytes: &Bytes, raw: &str, resource: &Resource) -> Result<Arc<Object>> {
    if raw.starts_with("{\"apiVersion\"") {
        // its own copy: an item must not keep the whole list in memory
        return Ok(Arc::new(Object::from_json(Bytes::copy_from_slice(raw.as_bytes()))?));
    }
    let mut value: Value = serde_json::from_slice(&bytes.slice_ref(raw.as_bytes())).map_err(Status::internal)?;
    value["apiVersion"] = resource.api_version().into();
    value["kind"] = resource.kind.as_ref().into();
    Ok(Arc::new(Object::from_value(&value)?))
}

struct Lines {
    body: Option<(Incoming, Place)>,
    buffer: BytesMut,
    searched: usize,
    ready: VecDeque<Result<WatchEvent>>,
}

impl Lines {
    /// Takes the complete lines out of the buffer.
    fn cut(&mut self) {
        while let Some(at) = self.buffer[self.searched..].iter().position(|b| *b == b'\n') {
            let line = self.buffer.split_to(self.searched + at);
            self.buffer.advance(1);
            self.searched = 0;
            if !line.is_empty() {
                self.ready.push_back(event(&line));
            }
        }
        self.searched = self.buffer.len();
    }
}

/// The events of a watch as they arrive. A broken connection is an error, a server that ends the watch is the end.
pub(super) fn events(reply: Reply) -> BoxStream<'static, Result<WatchEvent>> {
    let Reply { response, place } = reply;
    let lines = Lines {
        body: Some((response.into_body(), place)),
        buffer: BytesMut::new(),
        searched: 0,
        ready: VecDeque::new(),
    };
    stream::unfold(lines, |mut lines| async move {
        loop {
            if let Some(event) = lines.ready.pop_front() {
                if event.is_err() {
                    lines.body = None;
                    lines.ready.clear();
                }
                return Some((event, lines));
            }
            match lines.body.as_mut()?.0.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        lines.buffer.extend_from_slice(&data);
                        lines.cut();
                    }
                }
                Some(Err(error)) => lines.ready.push_back(Err(broken(&error))),
                None => return None,
            }
        }
    })
    .boxed()
}

#[derive(Deserialize)]
struct Event<'a> {
    r#type: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

fn event(line: &[u8]) -> Result<WatchEvent> {
    let event: Event<'_> = serde_json::from_slice(line)
        .map_err(|e| Status::internal(format!("an event of the watch cannot be decoded: {e}")))?;
    let raw = event.object.get().as_bytes();
    if event.r#type == "ERROR" {
        let status: Status = serde_json::from_slice(raw).map_err(Status::internal)?;
        return Err(status);
    }
    let object = Object::from_json(Bytes::copy_from_slice(raw))?;
    Ok(match event.r#type {
        "ADDED" => WatchEvent::Added(Arc::new(object)),
        "MODIFIED" => WatchEvent::Modified(Arc::new(object)),
        "DELETED" => WatchEvent::Deleted(Arc::new(object)),
        "BOOKMARK" => WatchEvent::Bookmark(object.revision()),
        other => return Err(Status::internal(format!("{other:?} is no event of a watch"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_decoded() {
        for (line, expected) in [
            (r#"{"type":"ADDED","object":{"metadata":{"name":"a","resourceVersion":"3"}}}"#, "added /a@3"),
            (r#"{"type":"MODIFIED","object":{"metadata":{"name":"a","namespace":"n"}}}"#, "modified n/a@0"),
            (r#"{"type":"DELETED","object":{"metadata":{"name":"a"}}}"#, "deleted /a@0"),
            (r#"{"type":"BOOKMARK","object":{"kind":"Pod","metadata":{"resourceVersion":"9"}}}"#, "bookmark 9"),
            (r#"{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"old"}}"#, "410 old"),
        ] {
            let got = match event(line.as_bytes()) {
                Ok(WatchEvent::Added(o)) => format!("added {o:?}"),
                Ok(WatchEvent::Modified(o)) => format!("modified {o:?}"),
                Ok(WatchEvent::Deleted(o)) => format!("deleted {o:?}"),
                Ok(WatchEvent::Bookmark(r)) => format!("bookmark {r}"),
                Err(e) => format!("{} {e}", e.code),
            };
            assert_eq!(got, expected);
        }
    }

    #[test]
    fn items_of_lists_get_kind_and_version() {
        let pods = Resource::of::<k8s_openapi::api::core::v1::Pod>();
        let body = r#"{"kind":"PodList","metadata":{"resourceVersion":"7","continue":"c"},"items":[{"metadata":{"name":"a"}},{"apiVersion":"v1","kind":"Pod","metadata":{"name":"b"}}]}"#;
        let list = list(&Bytes::from_static(body.as_bytes()), &pods).unwrap();
        assert_eq!((list.revision, list.continue_token.as_str()), (7, "c"));
        for (object, name) in list.items.iter().zip(["a", "b"]) {
            assert_eq!((object.value()["kind"].as_str(), object.meta().name.as_str()), (Some("Pod"), name));
        }
    }

    #[test]
    fn errors_that_are_no_status_still_have_a_reason() {
        for (code, body, reason, message) in [
            (404, r#"{"kind":"Status","reason":"NotFound","message":"gone","code":404}"#, "NotFound", "gone"),
            (403, "forbidden\n", "Forbidden", "forbidden"),
            (502, "", "", ""),
        ] {
            let status = decode_status(code, body.as_bytes());
            assert_eq!((status.code, status.reason.as_str(), status.message.as_str()), (code, reason, message));
        }
    }
}
