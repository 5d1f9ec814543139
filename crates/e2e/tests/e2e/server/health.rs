//! What a server says of itself: health by check, metrics.

use coracle_testkit::{Kubectl, VERSIONS, in_world};

/// The value of the one line of the metrics that begins so.
fn value(metrics: &str, line: &str) -> f64 {
    let found: Vec<&str> = metrics.lines().filter_map(|l| l.strip_prefix(line)).collect();
    assert_eq!(found.len(), 1, "{line}: {found:?}");
    found[0].trim().parse().unwrap()
}

fn raw(kubectl: &Kubectl, path: &str) -> String {
    kubectl.ok(&format!("get --raw {path}"))
}

#[test]
fn checks_and_metrics() {
    in_world(|world| {
        let server = world.server();
        let kubectl = server.kubectl(VERSIONS[0]);
        assert_eq!(raw(&kubectl, "/readyz"), "ok");
        assert_eq!(raw(&kubectl, "/livez/etcd"), "ok");
        let all = raw(&kubectl, "/readyz?verbose&exclude=log&exclude=none");
        assert!(all.starts_with("[+]ping ok\n[+]log excluded: ok\n[+]etcd ok\n"), "{all}");
        let warning = "warn: some health checks cannot be excluded: no matches for \"none\"\nreadyz check passed\n";
        assert!(all.ends_with(warning), "{all}");

        for n in 0..3 {
            kubectl.ok(&format!("create configmap c{n}"));
        }
        kubectl.fails("create configmap c0");
        let labels = "dry_run=\"\",group=\"\",version=\"v1\",resource=\"configmaps\",subresource=\"\"";
        let metrics = raw(&kubectl, "/metrics");
        let post = format!("verb=\"POST\",{labels},scope=\"namespace\",component=\"apiserver\"");
        for (line, expected) in [
            (format!("apiserver_request_total{{{post},code=\"201\"}} "), 3.0),
            (format!("apiserver_request_total{{{post},code=\"409\"}} "), 1.0),
            (format!("apiserver_request_duration_seconds_count{{{post}}} "), 4.0),
            (format!("apiserver_request_duration_seconds_bucket{{{post},le=\"+Inf\"}} "), 4.0),
            ("apiserver_current_inflight_requests{request_kind=\"mutating\"} ".into(), 0.0),
        ] {
            assert_eq!(value(&metrics, &line), expected, "{line}");
        }
        // those of the server itself are there, too
        assert!(value(&metrics, "apiserver_storage_objects{resource=\"configmaps\"} ") >= 3.0);
        assert!(
            value(&metrics, "apiserver_storage_objects{resource=\"clusterroles.rbac.authorization.k8s.io\"} ") > 10.0
        );
        for name in [
            "process_resident_memory_bytes ",
            "process_start_time_seconds ",
            "workqueue_adds_total{name=\"namespace-controller\"} ",
        ] {
            assert!(metrics.lines().any(|l| l.starts_with(name)), "{name}");
        }

        let log = std::fs::File::create(world.dir().join("watch.log")).unwrap();
        let watch = kubectl.command(&["get", "configmaps", "--watch", "-o", "name"]).start(log);
        watch.line_with(|line| line == "configmap/c2");
        let metrics = raw(&kubectl, "/metrics");
        let long = "group=\"\",version=\"v1\",resource=\"configmaps\",subresource=\"\",scope=\"namespace\",component=\"apiserver\"";
        assert_eq!(value(&metrics, &format!("apiserver_longrunning_requests{{verb=\"WATCH\",{long}}} ")), 1.0);
        kubectl.ok("delete configmap c1");
        watch.line_with(|line| line == "configmap/c1");
        let metrics = raw(&kubectl, "/metrics");
        let sent = "apiserver_watch_events_total{group=\"\",version=\"v1\",resource=\"configmaps\"} ";
        assert!(value(&metrics, sent) >= 1.0);
    });
}
