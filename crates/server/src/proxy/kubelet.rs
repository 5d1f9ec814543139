//! Logs, exec, attach and port-forward: which node's agent is asked, and in which words.

use super::Destination;
use crate::{
    app::{App, Ask},
    egress::Peer,
    registry::Target,
};
use coracle_api::{Result, Status};
use coracle_kinds::Action;
use serde_json::Value;

/// Where a request about a pod goes; `None`: it asks for the log of a pod that has no node yet.
pub(super) fn destination(app: &App, ask: &Ask, target: Target<'_>, action: Action) -> Result<Option<Destination>> {
    let pod = app.registry.get(Target { subresource: "", ..target })?.value();
    let node = pod["spec"]["nodeName"].as_str().unwrap_or_default();
    let container = match action {
        Action::PortForward => String::new(),
        _ => container(target.name, &pod, ask.query.get("container").unwrap_or_default())?,
    };
    if node.is_empty() {
        return match action {
            Action::Log => Ok(None),
            _ => Err(Status::bad_request(format!("pod {} does not have a host assigned", target.name))),
        };
    }
    let (namespace, name) = (target.namespace, target.name);
    let path = match action {
        Action::Log => format!("/containerLogs/{namespace}/{name}/{container}"),
        Action::Exec => format!("/exec/{namespace}/{name}/{container}"),
        Action::Attach => format!("/attach/{namespace}/{name}/{container}"),
        _ => format!("/portForward/{namespace}/{name}"),
    };
    let query = query(ask, action)?;
    let path_and_query = if query.is_empty() { path } else { format!("{path}?{query}") };
    let address = app.egress.agent(node)?;
    Ok(Some(Destination { peer: Peer::Agent, address, path_and_query, prefix: None }))
}

/// The named container, or the only one.
fn container(pod: &str, value: &Value, asked: &str) -> Result<String> {
    let names = |list: &str| -> Vec<&str> {
        value["spec"][list].as_array().into_iter().flatten().filter_map(|c| c["name"].as_str()).collect()
    };
    let (containers, inits, ephemeral) = (names("containers"), names("initContainers"), names("ephemeralContainers"));
    if asked.is_empty() {
        return match containers.as_slice() {
            [one] if inits.is_empty() && ephemeral.is_empty() => Ok((*one).to_string()),
            [one] => Ok((*one).to_string()),
            many => {
                let mut message =
                    format!("a container name must be specified for pod {pod}, choose one of: [{}]", many.join(" "));
                for (list, what) in [(&inits, "init"), (&ephemeral, "ephemeral")] {
                    if !list.is_empty() {
                        message += &format!(" or one of the {what} containers: [{}]", list.join(" "));
                    }
                }
                Err(Status::bad_request(message))
            }
        };
    }
    if containers.iter().chain(&inits).chain(&ephemeral).any(|c| *c == asked) {
        Ok(asked.to_string())
    } else {
        Err(Status::bad_request(format!("container {asked} is not valid for pod {pod}")))
    }
}

/// The API's options under the kubelet's names.
fn query(ask: &Ask, action: Action) -> Result<String> {
    let mut out: Vec<String> = Vec::new();
    let mut add = |key: &str, value: &str| out.push(format!("{key}={}", encode(value)));
    match action {
        Action::Log => {
            for key in
                ["follow", "previous", "sinceSeconds", "sinceTime", "timestamps", "tailLines", "limitBytes", "stream"]
            {
                if let Some(value) = ask.query.get(key).filter(|v| !v.is_empty()) {
                    add(key, value);
                }
            }
        }
        Action::PortForward => ask.query.all("ports").for_each(|port| add("port", port)),
        _ => {
            for (theirs, ours) in [("input", "stdin"), ("output", "stdout"), ("error", "stderr"), ("tty", "tty")] {
                if ask.query.flag(ours) {
                    add(theirs, "1");
                }
            }
            if action == Action::Exec {
                if ask.query.get("command").is_none_or(str::is_empty) {
                    return Err(Status::bad_request("you must specify at least 1 command for the container"));
                }
                ask.query.all("command").for_each(|word| add("command", word));
            }
        }
    }
    Ok(out.join("&"))
}

/// Percent-encodes a query value.
fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn containers_are_named_or_the_only_one() {
        let pod = json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]}});
        assert_eq!(container("p", &pod, "i").unwrap(), "i");
        assert_eq!(
            container("p", &pod, "").unwrap_err().message,
            "a container name must be specified for pod p, choose one of: [a b] or one of the init containers: [i]"
        );
        assert_eq!(container("p", &pod, "x").unwrap_err().message, "container x is not valid for pod p");
    }
}
