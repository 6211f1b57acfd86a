//! Ports on the node (plugin `nodeports`, v1.36.3): a pod that takes one shares its node with no other that wants it.

use crate::object::{PodSpec, pod::Container};

/// All addresses of a node.
const ANY: &str = "0.0.0.0";

/// A port that a pod takes on its node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct HostPort {
    address: String,
    protocol: String,
    port: u16,
}

/// The ports that a pod takes. On the node's network every container port is one (`SetDefaults_Pod`).
///
/// Of init containers only sidecars take part (`GetHostPorts` in `pkg/scheduler/util/utils.go`).
pub(super) fn of(spec: &PodSpec) -> Vec<HostPort> {
    let sidecars = spec.init_containers.iter().filter(|it| it.restart_policy.as_deref() == Some("Always"));
    let containers = spec.containers.iter().chain(sidecars);
    let mut ports: Vec<_> = containers.flat_map(|container| of_container(container, spec.host_network)).collect();
    ports.sort();
    ports.dedup();
    ports
}

/// Whether any port of the one is wanted by the other (`HostPortInfo.CheckConflict`).
pub(super) fn conflict(one: &[HostPort], other: &[HostPort]) -> bool {
    one.iter().any(|port| other.iter().any(|taken| port.conflicts(taken)))
}

fn of_container(container: &Container, host_network: bool) -> impl Iterator<Item = HostPort> {
    container.ports.iter().filter_map(move |port| {
        let number = if port.host_port == 0 && host_network { port.container_port } else { port.host_port };
        let or = |text: &str, default: &str| if text.is_empty() { default.to_owned() } else { text.to_owned() };
        let (address, protocol) = (or(&port.host_ip, ANY), or(&port.protocol, "TCP"));
        (number != 0).then_some(HostPort { address, protocol, port: number })
    })
}

impl HostPort {
    fn conflicts(&self, other: &Self) -> bool {
        let addresses = self.address == other.address || self.address == ANY || other.address == ANY;
        addresses && self.port == other.port && self.protocol == other.protocol
    }
}
