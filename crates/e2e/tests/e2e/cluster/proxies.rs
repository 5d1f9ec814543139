//! The API's proxies to pods, Services and nodes, from a server that is outside the pod network.

use super::{WEB, name, ready_pods};
use coracle_testkit::{Kubectl, Run, VERSIONS, in_world};
use std::{
    io::{Read, Write},
    net::TcpStream,
};

/// A request over `kubectl proxy`.
fn ask(address: &str, method: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = if matches!(method, "POST" | "PUT" | "PATCH") { 2 } else { 0 };
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{}",
        &"{}"[..length]
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn raw(kubectl: &Kubectl, path: &str) -> Run {
    kubectl.command(&["get", "--raw", path])
}

#[test]
fn pods_services_and_nodes_answer() {
    in_world(|world| {
        let cluster = world.cluster(2);
        let kubectl = cluster.kubectl();
        kubectl.apply(WEB);
        kubectl.ok("scale deployment web --replicas 2");
        let pods = ready_pods(&kubectl, "app=web", 2);
        let base = "/api/v1/namespaces/default";
        for pod in &pods {
            // with and without a port: the first that the pod declares
            for target in [name(pod).to_string(), format!("{}:8080", name(pod)), format!("http:{}:8080", name(pod))] {
                let said = raw(&kubectl, &format!("{base}/pods/{target}/proxy/")).ok();
                assert!(said.contains(name(pod)), "{target}: {said}");
            }
        }
        for target in ["web:http", "web:80", "http:web:80"] {
            let said = raw(&kubectl, &format!("{base}/services/{target}/proxy/healthz")).ok();
            assert_eq!(said.trim(), "\"ok\"", "{target}");
        }
        let said = raw(&kubectl, "/api/v1/nodes/node-2/proxy/healthz").ok();
        assert_eq!(said.trim(), "ok");
        assert!(raw(&kubectl, "/api/v1/nodes/node-1:10250/proxy/pods").ok().contains("PodList"));
        for (path, expected) in [
            (format!("{base}/services/web:81/proxy/"), "no service port 81 found for service \"web\""),
            (format!("{base}/services/web:none/proxy/"), "no endpoints available for service \"web\""),
            (format!("{base}/services/ftp:web:80/proxy/"), "invalid service request \"ftp:web:80\""),
            (format!("{base}/pods/{}:9/proxy/", name(&pods[0])), "error trying to reach service: dial tcp "),
            (format!("{base}/pods/{}:9/proxy/", name(&pods[0])), ":9: connect: connection refused"),
        ] {
            let said = raw(&kubectl, &path).fails();
            assert!(said.contains(expected), "{path}: {said}");
        }
        for version in VERSIONS {
            let log = std::fs::File::create(world.dir().join("proxy.log")).unwrap();
            let proxy = cluster.kubectl_of(version).command(&["proxy", "--port=0"]).start(log);
            let line = proxy.line_with(|line| line.starts_with("Starting to serve on "));
            let address = line.trim_start_matches("Starting to serve on ");
            for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
                let answer = ask(address, method, &format!("{base}/services/web:http/proxy/healthz"));
                assert!(answer.starts_with("HTTP/1.1 200 OK"), "{method}: {answer}");
            }
            let answer = ask(address, "GET", &format!("{base}/services/web:http/proxy?a=b"));
            let expected = format!("{base}/services/web:http/proxy/?a=b");
            assert!(answer.starts_with("HTTP/1.1 301") && answer.contains(&expected), "{answer}");
            let answer = ask(address, "GET", &format!("{base}/services/web:http/proxy/none"));
            assert!(answer.starts_with("HTTP/1.1 404"), "the application's own answer: {answer}");
        }
    });
}
