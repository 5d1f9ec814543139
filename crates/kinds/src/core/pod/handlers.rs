//! What is wrong with probes and lifecycle hooks.

use crate::check::Check;
use crate::column::{items, string};
use coracle_api::{FieldError, Path, validation};
use serde_json::{Value, json};

const PROBES: &[&str] = &["livenessProbe", "readinessProbe", "startupProbe"];

/// `lifecycle` and probes of a container that may have them; `grace` is how long its pod has to stop, `system` its operating system.
pub(super) fn validate(check: &mut Check, path: &Path, container: &Value, grace: Option<i64>, system: &Value) {
    let (at, lifecycle) = (path.field("lifecycle"), &container["lifecycle"]);
    for hook in ["postStart", "preStop"] {
        if lifecycle[hook].is_object() {
            let kinds = ["exec", "httpGet", "tcpSocket", "sleep"];
            handler(check, &at.field(hook), &lifecycle[hook], &kinds, grace);
        }
    }
    if let Some(signal) = lifecycle["stopSignal"].as_str() {
        stop_signal(check, &at.field("stopSignal"), signal, string(&system["name"]));
    }
    for field in PROBES.iter().filter(|field| container[**field].is_object()) {
        probe(check, &path.field(field), &container[*field], field, grace);
    }
}

/// None of them is given.
pub(super) fn forbid(check: &mut Check, path: &Path, container: &Value, why: &str) {
    for field in ["lifecycle"].iter().chain(PROBES).filter(|field| container[**field].is_object()) {
        check.forbidden(path.field(field), why);
    }
}

fn probe(check: &mut Check, path: &Path, probe: &Value, name: &str, grace: Option<i64>) {
    handler(check, path, probe, &["exec", "httpGet", "tcpSocket", "grpc"], grace);
    let numbers = ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"];
    check.none_negative(path, probe, &numbers);
    let (at, seconds) = (path.field("terminationGracePeriodSeconds"), &probe["terminationGracePeriodSeconds"]);
    if seconds.as_i64().is_some_and(|n| n <= 0) {
        check.invalid(at.clone(), seconds, "must be greater than 0");
    }
    if name == "readinessProbe" {
        if !seconds.is_null() {
            check.invalid(at, seconds, "must not be set for readinessProbes");
        }
    } else if probe["successThreshold"].as_i64().unwrap_or(1) != 1 {
        check.invalid(path.field("successThreshold"), &probe["successThreshold"], "must be 1");
    }
}

fn handler(check: &mut Check, path: &Path, handler: &Value, kinds: &[&str], grace: Option<i64>) {
    let mut found = false;
    for kind in kinds.iter().filter(|kind| handler[**kind].is_object()) {
        let (at, action) = (path.field(kind), &handler[*kind]);
        if found {
            check.forbidden(at, "may not specify more than 1 handler type");
            continue;
        }
        found = true;
        match *kind {
            "exec" if items(&action["command"]).is_empty() => check.required(at.field("command"), ""),
            "httpGet" => http(check, &at, action),
            "tcpSocket" => check.port_or_name(at.field("port"), &action["port"]),
            "grpc" => check.port(at.field("port"), &action["port"]),
            "sleep" => sleep(check, at, &action["seconds"], grace),
            _ => {}
        }
    }
    if !found {
        check.required(path.clone(), "must specify a handler type");
    }
}

fn http(check: &mut Check, path: &Path, action: &Value) {
    if string(&action["path"]).is_empty() {
        check.required(path.field("path"), "");
    }
    check.port_or_name(path.field("port"), &action["port"]);
    let scheme = string(&action["scheme"]);
    if !matches!(scheme, "HTTP" | "HTTPS") {
        check.push(FieldError::not_supported(path.field("scheme"), scheme, &["HTTP", "HTTPS"]));
    }
    for header in items(&action["httpHeaders"]) {
        check.word(&path.field("httpHeaders"), &header["name"], validation::http_header_name);
    }
}

fn sleep(check: &mut Check, path: Path, seconds: &Value, grace: Option<i64>) {
    let (Some(grace), seconds) = (grace, seconds.as_i64().unwrap_or(0)) else { return };
    if !(0..=grace).contains(&seconds) {
        let why = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
        check.invalid(path, &json!(seconds), why);
    }
}

const LINUX_SIGNALS: &[&str] = &[
    "SIGABRT",
    "SIGALRM",
    "SIGBUS",
    "SIGCHLD",
    "SIGCLD",
    "SIGCONT",
    "SIGFPE",
    "SIGHUP",
    "SIGILL",
    "SIGINT",
    "SIGIO",
    "SIGIOT",
    "SIGKILL",
    "SIGPIPE",
    "SIGPOLL",
    "SIGPROF",
    "SIGPWR",
    "SIGQUIT",
    "SIGSEGV",
    "SIGSTKFLT",
    "SIGSTOP",
    "SIGSYS",
    "SIGTERM",
    "SIGTRAP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGUSR1",
    "SIGUSR2",
    "SIGVTALRM",
    "SIGWINCH",
    "SIGXCPU",
    "SIGXFSZ",
];

fn stop_signal(check: &mut Check, path: &Path, signal: &str, system: &str) {
    let real_time = signal
        .strip_prefix("SIGRTMIN")
        .or_else(|| signal.strip_prefix("SIGRTMAX"))
        .is_some_and(|rest| rest.is_empty() || rest.get(1..).is_some_and(|n| n.parse::<u8>().is_ok_and(|n| n <= 15)));
    match system {
        "" => check.forbidden(path.clone(), "may not be set for containers with empty `spec.os.name`"),
        "windows" if !matches!(signal, "SIGKILL" | "SIGTERM") => {
            check.push(FieldError::not_supported(path, signal, &["SIGKILL", "SIGTERM"]));
        }
        "linux" if !real_time && !LINUX_SIGNALS.contains(&signal) => {
            check.push(FieldError::not_supported(path, signal, LINUX_SIGNALS));
        }
        _ => {}
    }
}
