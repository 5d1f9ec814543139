//! Ports of containers: their names, and those that the node answers on.

use k8s_openapi::{
    api::core::v1::{Container, Pod},
    apimachinery::pkg::util::intstr::IntOrString,
};

/// A port given by number or by the name of a container port.
pub fn resolve(port: &IntOrString, container: &Container) -> Result<u16, String> {
    match port {
        IntOrString::Int(number) => u16::try_from(*number).map_err(|_| format!("invalid port number: {number}")),
        IntOrString::String(name) => {
            if let Ok(number) = name.parse() {
                return Ok(number);
            }
            let named = container.ports.iter().flatten().find(|p| p.name.as_deref() == Some(name));
            named
                .and_then(|p| u16::try_from(p.container_port).ok())
                .ok_or_else(|| format!("couldn't find port: {name:?} in container {:?}", container.name))
        }
    }
}

/// A port on the node: (address, protocol, port), and the container port behind it.
pub type NodePort = ((String, String, i32), i32);

/// The node's ports that a pod takes.
pub fn host_ports(pod: &Pod) -> Vec<NodePort> {
    let containers =
        super::init_containers(pod).iter().filter(|c| super::is_sidecar(c)).chain(&super::of(pod).containers);
    let ports = containers.flat_map(|c| c.ports.iter().flatten());
    let taken = ports.filter_map(|p| {
        let port = p.host_port.filter(|p| *p > 0)?;
        let address = p.host_ip.clone().filter(|a| !a.is_empty()).unwrap_or_else(|| "0.0.0.0".into());
        Some(((address, p.protocol.clone().unwrap_or_else(|| "TCP".into()), port), p.container_port))
    });
    taken.collect()
}

/// Whether two ports of the node exclude each other.
pub fn conflict(a: &(String, String, i32), b: &(String, String, i32)) -> bool {
    a.1 == b.1 && a.2 == b.2 && (a.0 == b.0 || a.0 == "0.0.0.0" || b.0 == "0.0.0.0")
}
