//! Ingresses, policies, ranges and addresses of services.

use super::{becomes, wrong, wrong_change};
use crate::Part;
use serde_json::{Value, json};

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";

fn route(change: Value) -> Value {
    let backend = json!({"service": {"name": "s", "port": {"number": 80}}});
    let path = super::merged(json!({"path": "/", "pathType": "Prefix", "backend": backend}), &change);
    json!({"spec": {"rules": [{"http": {"paths": [path]}}]}})
}

fn backend(backend: Value) -> Value {
    json!({"spec": {"rules": null, "defaultBackend": backend}})
}

#[test]
fn ingresses() {
    const AT: &str = "spec.rules[0].http.paths[0]";
    wrong(
        "networking.k8s.io/ingresses",
        &[
            (
                json!({"spec": {"rules": null}}),
                &["spec: Invalid value: null: either `defaultBackend` or `rules` must be specified"],
            ),
            (
                json!({"spec": {"rules": [{"host": "10.0.0.1"}]}}),
                &["spec.rules[0].host: Invalid value: \"10.0.0.1\": must be a DNS name, not an IP address"],
            ),
            (
                json!({"spec": {"rules": [{"host": "A"}]}}),
                &[&format!("spec.rules[0].host: Invalid value: \"A\": {SUBDOMAIN}")],
            ),
            (json!({"spec": {"rules": [{"host": "*.a"}]}}), &[]),
            (
                json!({"spec": {"rules": [{"host": "a.*"}]}}),
                &[
                    "spec.rules[0].host: Invalid value: \"a.*\": a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
                ],
            ),
            (json!({"spec": {"rules": [{"http": {"paths": []}}]}}), &["spec.rules[0].http.paths: Required value"]),
            (
                route(json!({"pathType": null})),
                &[&format!("{AT}.pathType: Required value: pathType must be specified")],
            ),
            (
                route(json!({"pathType": "Any"})),
                &[&format!(
                    "{AT}.pathType: Unsupported value: \"Any\": supported values: \"Exact\", \"ImplementationSpecific\", \"Prefix\""
                )],
            ),
            (route(json!({"path": "a"})), &[&format!("{AT}.path: Invalid value: \"a\": must be an absolute path")]),
            (route(json!({"path": null})), &[&format!("{AT}.path: Invalid value: \"\": must be an absolute path")]),
            (
                route(json!({"path": "/a//b/.."})),
                &[
                    &format!("{AT}.path: Invalid value: \"/a//b/..\": must not contain '//'"),
                    &format!("{AT}.path: Invalid value: \"/a//b/..\": cannot end with '/..'"),
                ],
            ),
            (route(json!({"path": "/%2f"})), &[&format!("{AT}.path: Invalid value: \"/%2f\": must not contain '%2f'")]),
            (route(json!({"pathType": "ImplementationSpecific", "path": null})), &[]),
            (
                route(json!({"pathType": "ImplementationSpecific", "path": "a"})),
                &[&format!("{AT}.path: Invalid value: \"a\": must be an absolute path")],
            ),
            (
                route(json!({"backend": {"service": null}})),
                &[&format!("{AT}.backend: Invalid value: \"\": resource or service backend is required")],
            ),
            (
                backend(
                    json!({"service": {"name": "s", "port": {"number": 1}}, "resource": {"kind": "k", "name": "n"}}),
                ),
                &["spec.defaultBackend: Invalid value: \"\": cannot set both resource and service backends"],
            ),
            (
                backend(json!({"resource": {"apiGroup": "a_b", "kind": "", "name": "a/b"}})),
                &[
                    &format!("spec.defaultBackend.resource.apiGroup: Invalid value: \"a_b\": {SUBDOMAIN}"),
                    "spec.defaultBackend.resource.kind: Required value",
                    "spec.defaultBackend.resource.name: Invalid value: \"a/b\": may not contain '/'",
                ],
            ),
            (
                backend(json!({"service": {"name": "", "port": {}}})),
                &[
                    "spec.defaultBackend.service.name: Required value",
                    "spec.defaultBackend: Required value: port name or number is required",
                ],
            ),
            (
                backend(json!({"service": {"name": "A", "port": {"name": "p", "number": 1}}})),
                &[
                    &format!("spec.defaultBackend.service.name: Invalid value: \"A\": {LABEL}"),
                    "spec.defaultBackend: Invalid value: \"\": cannot set both port name & port number",
                ],
            ),
            (
                backend(json!({"service": {"name": "s", "port": {"number": 70000}}})),
                &[
                    "spec.defaultBackend.service.port.number: Invalid value: 70000: must be between 1 and 65535, inclusive",
                ],
            ),
            (
                backend(json!({"service": {"name": "s", "port": {"name": "1"}}})),
                &[
                    "spec.defaultBackend.service.port.name: Invalid value: \"1\": must contain at least one letter (a-z)",
                ],
            ),
            (
                json!({"spec": {"ingressClassName": "A"}}),
                &[&format!("spec.ingressClassName: Invalid value: \"A\": {SUBDOMAIN}")],
            ),
            (
                json!({"spec": {"tls": [{"hosts": ["A"], "secretName": "B"}]}}),
                &[
                    &format!("spec.tls[0].hosts[0]: Invalid value: \"A\": {SUBDOMAIN}"),
                    &format!("spec.tls[0].secretName: Invalid value: \"B\": {SUBDOMAIN}"),
                ],
            ),
            (
                json!({"metadata": {"annotations": {"kubernetes.io/ingress.class": "a"}}, "spec": {"ingressClassName": "b"}}),
                &[
                    "annotations.kubernetes.io/ingress.class: Invalid value: \"a\": must match `ingressClassName` when both are specified",
                ],
            ),
        ],
    );
    let changes: &[(Value, Value, &[&str])] = &[
        (json!({"spec": {"tls": [{"secretName": "B"}]}}), json!({"spec": {"ingressClassName": "a"}}), &[]),
        (
            json!({}),
            json!({"metadata": {"annotations": {"kubernetes.io/ingress.class": "a"}}, "spec": {"ingressClassName": "b"}}),
            &[],
        ),
    ];
    wrong_change("networking.k8s.io/ingresses", Part::Main, changes);
    let status = |entry: Value| json!({"status": {"loadBalancer": {"ingress": [entry]}}});
    wrong_change(
        "networking.k8s.io/ingresses",
        Part::Status,
        &[
            (json!({}), status(json!({"ip": "10.0.0.1"})), &[]),
            (
                json!({}),
                status(json!({"ip": "010.0.0.1", "hostname": "10.0.0.1"})),
                &[
                    "status.loadBalancer.ingress[0].ip: Invalid value: \"010.0.0.1\": must not have leading 0s",
                    "status.loadBalancer.ingress[0].hostname: Invalid value: \"10.0.0.1\": must be a DNS name, not an IP address",
                ],
            ),
            (status(json!({"ip": "010.0.0.1"})), status(json!({"ip": "010.0.0.1", "hostname": "a"})), &[]),
        ],
    );
}

#[test]
fn ingress_classes() {
    let parameters = |p: Value| json!({"spec": {"parameters": p}});
    wrong(
        "networking.k8s.io/ingressclasses",
        &[
            (json!({"spec": {"controller": ""}}), &["spec.controller: Required value"]),
            (
                json!({"spec": {"controller": "foo"}}),
                &["spec.controller: Invalid value: \"foo\": must be a domain-prefixed path (such as \"acme.io/foo\")"],
            ),
            (
                json!({"spec": {"controller": format!("a/{}", "b".repeat(250))}}),
                &["spec.controller: Too long: may not be more than 250 bytes"],
            ),
            (parameters(json!({"kind": "k", "name": "n"})), &[]),
            (
                parameters(json!({"scope": "Any"})),
                &[
                    "spec.parameters.scope: Unsupported value: \"Any\": supported values: \"Cluster\", \"Namespace\"",
                    "spec.parameters.kind: Required value",
                    "spec.parameters.name: Required value",
                ],
            ),
            (
                parameters(json!({"kind": "a/b", "name": "n"})),
                &["spec.parameters.kind: Invalid value: \"a/b\": may not contain '/'"],
            ),
            (
                parameters(json!({"kind": "k", "name": "n", "scope": "Namespace"})),
                &["spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'"],
            ),
            (
                parameters(json!({"kind": "k", "name": "n", "namespace": "x"})),
                &["spec.parameters.namespace: Forbidden: `parameters.scope` is set to 'Cluster'"],
            ),
        ],
    );
    becomes(
        "networking.k8s.io/ingressclasses",
        &[(parameters(json!({"kind": "k", "name": "n"})), parameters(json!({"scope": "Cluster"})))],
    );
    wrong_change(
        "networking.k8s.io/ingressclasses",
        Part::Main,
        &[(
            json!({}),
            json!({"spec": {"controller": "a.b/c"}}),
            &["spec.controller: Invalid value: \"a.b/c\": field is immutable"],
        )],
    );
}

fn ingress(peer: Value) -> Value {
    json!({"spec": {"ingress": [{"from": [peer]}]}})
}

fn ports(port: Value) -> Value {
    json!({"spec": {"ingress": [{"ports": [port]}]}})
}

#[test]
fn network_policies() {
    const PEER: &str = "spec.ingress[0].from[0]";
    const PORT: &str = "spec.ingress[0].ports[0]";
    let policies = "networking.k8s.io/networkpolicies";
    wrong(
        policies,
        &[
            (ingress(json!({})), &[&format!("{PEER}: Required value: must specify a peer")]),
            (
                ingress(json!({"podSelector": {}, "ipBlock": {"cidr": "10.0.0.0/8"}})),
                &[&format!("{PEER}: Forbidden: may not specify both ipBlock and another peer")],
            ),
            (ingress(json!({"podSelector": {}, "namespaceSelector": {}})), &[]),
            (ingress(json!({"ipBlock": {"cidr": ""}})), &[&format!("{PEER}.ipBlock.cidr: Required value")]),
            (
                ingress(json!({"ipBlock": {"cidr": "10.0.0.1/8"}})),
                &[&format!(
                    "{PEER}.ipBlock.cidr: Invalid value: \"10.0.0.1/8\": must not have bits set beyond the prefix length"
                )],
            ),
            (
                ingress(json!({"ipBlock": {"cidr": "10.0.0.0"}})),
                &[&format!(
                    "{PEER}.ipBlock.cidr: Invalid value: \"10.0.0.0\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
                )],
            ),
            (ingress(json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}})), &[]),
            (
                ingress(json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16", "10.0.0.0/8", "x"]}})),
                &[
                    &format!(
                        "{PEER}.ipBlock.except[0]: Invalid value: \"11.0.0.0/16\": must be a strict subset of `cidr`"
                    ),
                    &format!(
                        "{PEER}.ipBlock.except[1]: Invalid value: \"10.0.0.0/8\": must be a strict subset of `cidr`"
                    ),
                    &format!(
                        "{PEER}.ipBlock.except[2]: Invalid value: \"x\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
                    ),
                ],
            ),
            (
                ports(json!({"protocol": "ICMP"})),
                &[&format!(
                    "{PORT}.protocol: Unsupported value: \"ICMP\": supported values: \"TCP\", \"UDP\", \"SCTP\""
                )],
            ),
            (
                ports(json!({"port": 0})),
                &[&format!("{PORT}.port: Invalid value: 0: must be between 1 and 65535, inclusive")],
            ),
            (
                ports(json!({"port": "a--b"})),
                &[&format!("{PORT}.port: Invalid value: \"a--b\": must not contain consecutive hyphens")],
            ),
            (
                ports(json!({"port": "a", "endPort": 5})),
                &[&format!("{PORT}.endPort: Invalid value: 5: may not be specified when `port` is non-numeric")],
            ),
            (
                ports(json!({"endPort": 5})),
                &[&format!("{PORT}.endPort: Invalid value: 5: may not be specified when `port` is not specified")],
            ),
            (
                ports(json!({"port": 6, "endPort": 5})),
                &[&format!("{PORT}.endPort: Invalid value: 5: must be greater than or equal to `port`")],
            ),
            (
                ports(json!({"port": 6, "endPort": 70000})),
                &[&format!("{PORT}.endPort: Invalid value: 70000: must be between 1 and 65535, inclusive")],
            ),
            (
                json!({"spec": {"policyTypes": ["Any"]}}),
                &["spec.policyTypes[0]: Unsupported value: \"Any\": supported values: \"Ingress\", \"Egress\""],
            ),
            (
                json!({"spec": {"policyTypes": ["Ingress", "Egress", "Ingress"]}}),
                &[
                    "spec.policyTypes: Invalid value: [\"Ingress\",\"Egress\",\"Ingress\"]: may not specify more than two policyTypes",
                ],
            ),
            (
                json!({"spec": {"podSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}}),
                &[
                    "spec.podSelector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
                ],
            ),
        ],
    );
    becomes(
        policies,
        &[
            (json!({}), json!({"spec": {"policyTypes": ["Ingress"]}})),
            (json!({"spec": {"egress": [{}]}}), json!({"spec": {"policyTypes": ["Ingress", "Egress"]}})),
            (
                json!({"spec": {"egress": [{"ports": [{"port": 1}]}]}}),
                json!({"spec": {"egress": [{"ports": [{"port": 1, "protocol": "TCP"}]}]}}),
            ),
        ],
    );
    let loose = ingress(json!({"ipBlock": {"cidr": "10.0.0.1/8"}}));
    wrong_change(policies, Part::Main, &[(loose, json!({"spec": {"policyTypes": ["Ingress"]}}), &[])]);
}

#[test]
fn the_service_network() {
    let parent = |p: Value| json!({"spec": {"parentRef": p}});
    wrong(
        "networking.k8s.io/ipaddresses",
        &[
            (
                json!({"metadata": {"name": "x"}}),
                &["metadata.name: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"],
            ),
            (
                json!({"metadata": {"name": "FD00::1"}}),
                &["metadata.name: Invalid value: \"FD00::1\": must be in canonical form (\"fd00::1\")"],
            ),
            (json!({"spec": null}), &["spec.parentRef: Required value"]),
            (
                parent(json!({"resource": "", "name": "", "group": "A", "namespace": "a/b"})),
                &[
                    &format!("spec.parentRef.group: Invalid value: \"A\": {SUBDOMAIN}"),
                    "spec.parentRef.namespace: Invalid value: \"a/b\": may not contain '/'",
                    "spec.parentRef.resource: Required value",
                    "spec.parentRef.name: Required value",
                ],
            ),
        ],
    );
    wrong_change(
        "networking.k8s.io/ipaddresses",
        Part::Main,
        &[(json!({}), parent(json!({"name": "t"})), &["spec.parentRef: Invalid value: null: field is immutable"])],
    );
    let cidrs = |list: Value| json!({"spec": {"cidrs": list}});
    wrong(
        "networking.k8s.io/servicecidrs",
        &[
            (cidrs(json!([])), &["spec.cidrs: Required value: at least one CIDR required"]),
            (cidrs(json!(["10.0.0.0/24", "fd00::/64"])), &[]),
            (
                cidrs(json!(["10.0.0.0/24", "10.1.0.0/24"])),
                &[
                    "spec.cidrs: Invalid value: [\"10.0.0.0/24\",\"10.1.0.0/24\"]: may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64",
                ],
            ),
            (
                cidrs(json!(["a", "b", "c"])),
                &["spec.cidrs: Invalid value: {\"CIDRs\":[\"a\",\"b\",\"c\"]}: may only hold up to 2 values"],
            ),
            (
                cidrs(json!(["FD00::/64"])),
                &["spec.cidrs[0]: Invalid value: \"FD00::/64\": must be in canonical form (\"fd00::/64\")"],
            ),
        ],
    );
    wrong_change(
        "networking.k8s.io/servicecidrs",
        Part::Main,
        &[
            (json!({}), cidrs(json!(["10.0.0.0/24", "fd00::/64"])), &[]),
            (
                json!({}),
                cidrs(json!(["10.0.1.0/24"])),
                &["spec.cidrs[0]: Invalid value: \"10.0.1.0/24\": field is immutable"],
            ),
            (
                cidrs(json!(["10.0.0.0/24", "fd00::/64"])),
                cidrs(json!(["10.0.0.0/24"])),
                &["spec.cidrs: Invalid value: [\"10.0.0.0/24\"]: field is immutable"],
            ),
        ],
    );
}

#[test]
fn endpoint_slices() {
    let slices = "discovery.k8s.io/endpointslices";
    let endpoint = |e: Value| json!({"endpoints": [e]});
    let address = |a: &str| json!({"endpoints": [{"addresses": [a]}]});
    let of = |kind: &str, a: &str| json!({"addressType": kind, "endpoints": [{"addresses": [a]}]});
    let many: Vec<String> = (0..101).map(|i| format!("10.0.0.{i}")).collect();
    wrong(
        slices,
        &[
            (json!({"addressType": ""}), &["addressType: Required value"]),
            (
                json!({"addressType": "IPX"}),
                &["addressType: Unsupported value: \"IPX\": supported values: \"FQDN\", \"IPv4\", \"IPv6\""],
            ),
            (endpoint(json!({"addresses": []})), &["endpoints[0].addresses: Required value"]),
            (
                endpoint(json!({"addresses": many})),
                &["endpoints[0].addresses: Too many: 101: must have at most 100 items"],
            ),
            (
                json!({"endpoints": vec![json!({"addresses": ["10.0.0.1"]}); 1001]}),
                &["endpoints: Too many: 1001: must have at most 1000 items"],
            ),
            (
                address("x"),
                &[
                    "endpoints[0].addresses[0]: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
                ],
            ),
            (address("fd00::1"), &["endpoints[0].addresses[0]: Invalid value: \"fd00::1\": must be an IPv4 address"]),
            (
                of("IPv6", "10.0.0.1"),
                &["endpoints[0].addresses[0]: Invalid value: \"10.0.0.1\": must be an IPv6 address"],
            ),
            (
                address("127.0.0.1"),
                &[
                    "endpoints[0].addresses[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
                ],
            ),
            (of("FQDN", "a.b."), &[]),
            (
                of("FQDN", "a"),
                &[
                    "endpoints[0].addresses[0]: Invalid value: \"a\": should be a domain with at least two segments separated by dots",
                ],
            ),
            (
                endpoint(json!({"addresses": ["10.0.0.1"], "hostname": "A", "nodeName": "B"})),
                &[
                    &format!("endpoints[0].nodeName: Invalid value: \"B\": {SUBDOMAIN}"),
                    &format!("endpoints[0].hostname: Invalid value: \"A\": {LABEL}"),
                ],
            ),
            (
                endpoint(json!({"addresses": ["10.0.0.1"], "hints": {"forZones": [{"name": "z"}, {"name": "z"}]}})),
                &["endpoints[0].hints.forZones[1].name: Duplicate value: \"z\""],
            ),
            (
                endpoint(json!({"addresses": ["10.0.0.1"], "hints": {"forNodes": vec![json!({"name": "n"}); 9]}})),
                &["endpoints[0].hints.forNodes: Too many: 9: must have at most 8 items"],
            ),
            (json!({"ports": [{"port": 1}, {"port": 2}]}), &["ports[1].name: Duplicate value: \"\""]),
            (json!({"ports": [{"name": "A"}]}), &[&format!("ports[0].name: Invalid value: \"A\": {LABEL}")]),
            (
                json!({"ports": [{"protocol": "ICMP"}]}),
                &["ports[0].protocol: Unsupported value: \"ICMP\": supported values: \"SCTP\", \"TCP\", \"UDP\""],
            ),
        ],
    );
    becomes(
        slices,
        &[(json!({"ports": [{"port": 1}]}), json!({"ports": [{"name": "", "port": 1, "protocol": "TCP"}]}))],
    );
    wrong_change(
        slices,
        Part::Main,
        &[
            (
                json!({}),
                json!({"addressType": "IPv6", "endpoints": []}),
                &["addressType: Invalid value: null: field is immutable"],
            ),
            (address("127.0.0.1"), json!({"ports": [{"name": "a"}]}), &[]),
        ],
    );
}
