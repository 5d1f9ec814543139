//! The node agent: pods to runtime, volumes, probes, status, service proxy, DNS.
