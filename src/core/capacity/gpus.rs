//! What device plugins make of GPUs: not all of them healthy, some offered several times over.
//!
//! A plugin that shares its devices (time-slicing, MPS) announces `replicas` slots for each, under the device's name or,
//! renamed, with `.shared` behind it; GPU feature discovery puts the number in the label `<resource>.replicas` and the way in
//! `<resource>.sharing-strategy` (NVIDIA k8s-device-plugin, `docs/gpu-feature-discovery`). The scheduler counts slots, and
//! so does the model; but slots are no compute, so devices are told beside them, and policy may limit the sharers.

use std::collections::BTreeSet;

use super::{LimitingFactor, Reason, Sharing, inventory::Demand};
use crate::{
    object::{Node, PodSpec},
    policy::Policy,
};

/// What is behind the name of a resource whose devices are shared.
const RENAMED: &str = ".shared";
/// What mig-manager of NVIDIA's GPU operator is at: `pending`, `rebooting`, `success`, `failed`.
const MIG_STATE: &str = "nvidia.com/mig.config.state";
/// Longest state that is quoted.
const MAX_STATE: usize = 20;
/// What resources of NVIDIA's begin with.
pub(super) const NVIDIA: &str = "nvidia.com/";

/// What is known of the GPUs of all nodes, where it is not the usual.
#[derive(Debug, Default)]
pub(super) struct Gpus {
    /// Row, column and count of those that are there and not allocatable.
    unhealthy: Vec<(usize, usize, i64)>,
    shared: Vec<Shared>,
}

/// Devices of one node and resource that are shared.
#[derive(Debug)]
struct Shared {
    row: usize,
    column: usize,
    /// Slots of each device.
    slots: i64,
    /// Devices that are allocatable.
    devices: i64,
    /// Slots of each that policy allows to use; none where it allows all.
    allowed: Option<i64>,
}

// === impl Gpus ===

impl Gpus {
    /// Looks at all nodes, and takes from what empty nodes offer, in rows of `columns`, what policy does not allow.
    pub(super) fn of(
        nodes: &[&Node],
        columns: &[&str],
        gpus: &[usize],
        policy: &Policy,
        allocatable: &mut [i64],
    ) -> Self {
        let (mut found, width) = (Self::default(), columns.len());
        for &column in gpus {
            let Some(&name) = columns.get(column) else { continue };
            let replicas = format!("{}.replicas", device(name));
            for (row, node) in nodes.iter().enumerate() {
                let Some(cell) = allocatable.get_mut(row * width + column) else { continue };
                let capacity = node.status.capacity.get(name).map_or(0, |capacity| capacity.units());
                if capacity > *cell {
                    found.unhealthy.push((row, column, capacity - *cell));
                }
                let label = node.metadata.labels.get(&replicas);
                let slots = label.and_then(|text| text.parse::<i64>().ok()).unwrap_or(1);
                if slots <= 1 || *cell <= 0 {
                    continue;
                }
                let devices = *cell / slots;
                let allowed = policy.max_sharers.map(i64::from).filter(|most| *most < slots);
                if let Some(allowed) = allowed {
                    *cell = (*cell).min(devices.saturating_mul(allowed));
                }
                found.shared.push(Shared { row, column, slots, devices, allowed });
            }
        }
        found
    }

    /// Those that are there and not allocatable, by row, of the columns that count.
    pub(super) fn unhealthy<'a>(
        &'a self,
        counts: impl Fn(usize) -> bool + 'a,
    ) -> impl Iterator<Item = (usize, i64)> + 'a {
        let counted = self.unhealthy.iter().filter(move |(_, column, _)| counts(*column));
        counted.map(|(row, _, count)| (*row, *count))
    }

    /// What is shared of the columns that count, on the rows that are open; `free` is what is left of a cell.
    pub(super) fn sharing(
        &self,
        counts: impl Fn(usize) -> bool,
        is_open: impl Fn(usize) -> bool,
        free: impl Fn(usize, usize) -> i64,
    ) -> Option<Sharing> {
        let mut sharing = Sharing::default();
        for shared in self.shared.iter().filter(|shared| counts(shared.column) && is_open(shared.row)) {
            let slots = free(shared.row, shared.column).max(0);
            let each = shared.allowed.unwrap_or(shared.slots);
            sharing.free_slots = sharing.free_slots.saturating_add(slots);
            sharing.free_devices = sharing.free_devices.saturating_add(slots / each);
            sharing.devices = sharing.devices.saturating_add(shared.devices);
            sharing.sharers = sharing.sharers.max(each);
        }
        (sharing.devices > 0).then_some(sharing)
    }

    /// Whether policy keeps pods off slots that the scheduler would give them.
    pub(super) fn withholds(&self, demand: &Demand) -> bool {
        self.shared.iter().any(|shared| shared.allowed.is_some() && demand.amount(shared.column) > 0)
    }

    /// What pods of which a container asks for several slots have to fear, where a node shares such devices.
    pub(super) fn caution(&self, demand: &Demand, columns: &[&str], several: &[String]) -> Option<Reason> {
        let name = |shared: &Shared| columns.get(shared.column).copied().unwrap_or_default();
        let asked = |shared: &&Shared| {
            let device = device(name(shared));
            demand.amount(shared.column) > 0 && several.iter().any(|several| several == device)
        };
        let name = name(self.shared.iter().find(asked)?);
        let message = format!(
            "several of {name} are slots of shared GPUs on some nodes: with failRequestsGreaterThanOne, which MPS implies, \
             the kubelet refuses such pods (UnexpectedAdmissionError), and without it they get no more compute for them"
        );
        Some(Reason::new("sharedGpus", message, LimitingFactor::Gpu))
    }
}

/// The devices behind a resource name.
fn device(resource: &str) -> &str {
    resource.strip_suffix(RENAMED).unwrap_or(resource)
}

/// The devices of which a single container asks for several: the plugin sees requests container by container.
pub(super) fn several(spec: &PodSpec) -> Vec<String> {
    let lists = spec.containers.iter().chain(&spec.init_containers);
    let lists = lists.flat_map(|container| [&container.resources.requests, &container.resources.limits]);
    let asked = lists.flatten().filter(|(name, amount)| name.contains('/') && amount.units() > 1);
    let names: BTreeSet<_> = asked.map(|(name, _)| device(name)).collect();
    names.into_iter().map(str::to_owned).collect()
}

/// Why a node's GPUs are not to be counted on although the scheduler would use them, for pods that ask for several of
/// some devices (`several`) or for any of NVIDIA's (`nvidia`).
pub(super) fn unusable(node: &Node, several: &[String], nvidia: bool) -> Option<String> {
    let label = |key: &str| node.metadata.labels.get(key);
    let state = label(MIG_STATE).filter(|state| nvidia && *state != "success");
    if let Some(state) = state {
        let state: String = state.chars().take(MAX_STATE).collect();
        return Some(format!("its GPUs are being partitioned ({MIG_STATE} is {state}), so they are not promised"));
    }
    let mps = several.iter().find(|device| label(&format!("{device}.sharing-strategy")) == Some("mps"))?;
    Some(format!("its {mps} are shared by MPS, whose plugin refuses several for one container"))
}
