//! The files that every container gets: `/etc/hosts` and `/etc/resolv.conf`.

use k8s_openapi::api::core::v1::{Pod, PodDNSConfig};
use std::fmt::Write as _;

/// `/etc/hosts` of a pod. `node` is the node's own file, for pods in the node's network.
pub fn hosts(pod: &Pod, pod_ips: &[String], cluster_domain: &str, node: &str) -> String {
    let mut out = if super::host_network(pod) {
        format!("# Kubernetes-managed hosts file (host network).\n{node}")
    } else {
        let mut out = String::from(
            "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n",
        );
        let hostname = super::hostname(pod);
        for ip in pod_ips {
            let _ = match super::domain_name(pod, cluster_domain) {
                Some(full) => writeln!(out, "{ip}\t{full}\t{hostname}"),
                None => writeln!(out, "{ip}\t{hostname}"),
            };
        }
        out
    };
    if let Some(aliases) = super::of(pod).host_aliases.as_ref().filter(|a| !a.is_empty()) {
        out.push_str("\n# Entries added by HostAliases.\n");
        for alias in aliases {
            let _ = writeln!(out, "{}\t{}", alias.ip, alias.hostnames.as_deref().unwrap_or_default().join("\t"));
        }
    }
    out
}

/// Name servers, search domains and options.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolver {
    /// Name servers.
    pub servers: Vec<String>,
    /// Search domains.
    pub searches: Vec<String>,
    /// Options (`ndots:5`).
    pub options: Vec<String>,
}

impl Resolver {
    /// Reads a resolv.conf.
    pub fn parse(text: &str) -> Self {
        let mut out = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => out.servers.extend(words.next().map(str::to_string)),
                // the last search line counts, as in the resolver itself
                Some("search") => out.searches = words.map(str::to_string).collect(),
                Some("options") => out.options = words.map(str::to_string).collect(),
                _ => {}
            }
        }
        out
    }

    /// As a resolv.conf.
    pub fn render(&self) -> String {
        let mut out = String::new();
        if !self.searches.is_empty() {
            let _ = writeln!(out, "search {}", self.searches.join(" "));
        }
        for server in &self.servers {
            let _ = writeln!(out, "nameserver {server}");
        }
        if !self.options.is_empty() {
            let _ = writeln!(out, "options {}", self.options.join(" "));
        }
        out
    }

    fn merge(&mut self, config: &PodDNSConfig) {
        let add = |list: &mut Vec<String>, more: &Option<Vec<String>>| {
            for entry in more.iter().flatten() {
                if !list.contains(entry) {
                    list.push(entry.clone());
                }
            }
        };
        add(&mut self.servers, &config.nameservers);
        add(&mut self.searches, &config.searches);
        for option in config.options.iter().flatten() {
            let Some(name) = option.name.as_deref() else { continue };
            self.options.retain(|o| o.split(':').next() != Some(name));
            self.options.push(match option.value.as_deref().filter(|v| !v.is_empty()) {
                Some(value) => format!("{name}:{value}"),
                None => name.to_string(),
            });
        }
    }
}

/// The resolver of a pod, by its DNS policy. `node` is the node's own.
pub fn resolver(pod: &Pod, cluster_dns: &[String], cluster_domain: &str, node: &Resolver) -> Resolver {
    let spec = super::of(pod);
    let policy = match spec.dns_policy.as_deref().unwrap_or("ClusterFirst") {
        "ClusterFirst" if super::host_network(pod) => "Default",
        "ClusterFirstWithHostNet" => "ClusterFirst",
        other => other,
    };
    let mut out = match policy {
        "None" => Resolver::default(),
        "ClusterFirst" if !cluster_dns.is_empty() => {
            let mut searches = vec![
                format!("{}.svc.{cluster_domain}", super::namespace(pod)),
                format!("svc.{cluster_domain}"),
                cluster_domain.to_string(),
            ];
            for domain in &node.searches {
                if domain != "." && !searches.contains(domain) {
                    searches.push(domain.clone());
                }
            }
            Resolver { servers: cluster_dns.to_vec(), searches, options: vec!["ndots:5".into()] }
        }
        _ => node.clone(),
    };
    if let Some(config) = &spec.dns_config {
        out.merge(config);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(spec: Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "n"}, "spec": spec})).unwrap()
    }

    #[test]
    fn resolvers() {
        let node = Resolver::parse("nameserver 9.9.9.9\nsearch corp.example\noptions edns0\n");
        for (spec, expected) in [
            (
                json!({"containers": []}),
                "search n.svc.cluster.local svc.cluster.local cluster.local corp.example\nnameserver 10.96.0.10\noptions ndots:5\n",
            ),
            (
                json!({"containers": [], "dnsPolicy": "Default"}),
                "search corp.example\nnameserver 9.9.9.9\noptions edns0\n",
            ),
            (
                json!({"containers": [], "hostNetwork": true}),
                "search corp.example\nnameserver 9.9.9.9\noptions edns0\n",
            ),
            (
                json!({"containers": [], "dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.1.1.1"], "searches": ["x.y"], "options": [{"name": "ndots", "value": "2"}, {"name": "rotate"}]}}),
                "search x.y\nnameserver 1.1.1.1\noptions ndots:2 rotate\n",
            ),
            (
                json!({"containers": [], "dnsPolicy": "ClusterFirstWithHostNet", "hostNetwork": true, "dnsConfig": {"options": [{"name": "ndots", "value": "1"}]}}),
                "search n.svc.cluster.local svc.cluster.local cluster.local corp.example\nnameserver 10.96.0.10\noptions ndots:1\n",
            ),
        ] {
            let got = resolver(&pod(spec.clone()), &["10.96.0.10".into()], "cluster.local", &node).render();
            assert_eq!(got, expected, "{spec}");
        }
    }

    #[test]
    fn hosts_files() {
        let ips = ["10.1.0.5".to_string()];
        for (spec, tail) in [
            (json!({"containers": []}), "\n10.1.0.5\tp\n"),
            (json!({"containers": [], "hostname": "h", "subdomain": "s"}), "\n10.1.0.5\th.s.n.svc.cluster.local\th\n"),
            (
                json!({"containers": [], "hostAliases": [{"ip": "1.2.3.4", "hostnames": ["a", "b"]}]}),
                "\n\n# Entries added by HostAliases.\n1.2.3.4\ta\tb\n",
            ),
            (json!({"containers": [], "hostNetwork": true}), "(host network).\n127.0.0.1 node\n"),
        ] {
            let got = hosts(&pod(spec), &ips, "cluster.local", "127.0.0.1 node\n");
            assert!(got.ends_with(tail), "{got:?} ends with {tail:?}");
        }
    }
}
