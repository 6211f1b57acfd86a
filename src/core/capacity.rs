//! Capacity: how many further replicas of a pod template the scheduler could place now, and what stops the next.
//!
//! ```text
//!  View ──> Inventory (free vector per node, one column per resource) ──> fits(template) ──> Answer
//!  View + PodTemplate ──> Template (requests, filters, what is not modelled) ┘   place / release on a clone
//! ```
//!
//! The rules are those of kube-scheduler v1.36.3 with its default profile: `NodeUnschedulable`, `TaintToleration`,
//! `NodeAffinity`, `NodePorts`, `NodeResourcesFit`, `PodTopologySpread`, `InterPodAffinity`, and those of volumes. The
//! answer says of itself how far it can be trusted ([`Class`]): a template that needs any other plugin to answer *no*
//! is [`Class::Unknown`], never a guess. Nothing here evicts a pod: room that only preemption would make is in `hi`,
//! never in `lo`.

mod absurd;
mod admission;
mod between;
mod devices;
mod doubt;
mod edit;
mod explain;
mod filters;
mod gpus;
mod inventory;
mod ledger;
mod lifting;
mod memo;
mod model;
mod newcomers;
mod placer;
mod ports;
mod queue;
mod quota;
mod replica;
mod requests;
mod rivals;
mod template;
mod volumes;
mod waiting;

use serde::Serialize;

pub use absurd::{negative_allocatable, negative_request};
pub use edit::{Edit, EditError};
pub use inventory::Inventory;
pub use ledger::Ledger;
pub use lifting::{Lift, Limited, Search, Step, smallest};
pub use model::Model;
pub use newcomers::Repellers;
pub use placer::Placer;
pub use quota::QuotaRoom;
pub use replica::Replica;
pub use rivals::{Displacement, Rivals};
pub use template::{Reason, Template};

/// How far an answer can be trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Class {
    /// What kube-scheduler would bind, no more and no less.
    Exact,
    /// At least `lo`; at most `hi`, where that is known.
    Interval,
    /// Something that decides is not modelled; nothing may be promised.
    #[default]
    Unknown,
}

/// How many further replicas could be placed now, the workload's own pending ones included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Fits {
    /// How far the numbers can be trusted.
    pub class: Class,
    /// What may be promised; 0 when unknown.
    pub lo: u32,
    /// The most that could be bound; equal to `lo` when exact, none when there is no known bound.
    pub hi: Option<u32>,
}

/// The one constraint that binds: what would have to change for another replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum LimitingFactor {
    /// Nothing limits.
    #[default]
    None,
    /// No free GPU is left where the workload may run.
    Gpu,
    /// Enough free GPUs in sum, but on no single node.
    Fragmentation,
    /// CPU requests.
    Cpu,
    /// Memory requests.
    Memory,
    /// Another resource: ephemeral storage, huge pages, a further extended resource.
    OtherResource,
    /// The number of pods that a node accepts.
    PodCount,
    /// Taints that are not tolerated; cordoned and not-ready nodes belong here.
    Taint,
    /// Node selector, node affinity, features that kubelets declare, or pod (anti-)affinity.
    Affinity,
    /// Ports on the node.
    HostPort,
    /// Volumes: their place, or how many of them a node attaches.
    Volume,
    /// Topology spread constraints.
    TopologySpread,
    /// A ResourceQuota or LimitRange.
    Quota,
    /// Room that is kept for pods of at least the same priority.
    Priority,
    /// Room that replicas of others may take which are promised and not bound yet.
    Contention,
    /// The template uses something that is not modelled.
    Unmodelled,
    /// The policy for node autoscalers.
    NodeAutoscaler,
    /// The HPA's own maximum.
    MaxReplicas,
    /// Signals are too old.
    StaleSignal,
    /// The view of the cluster is too old.
    StaleCapacity,
}

/// Nodes that treat the template alike.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeGroupReport {
    /// Number of nodes.
    pub nodes: u32,
    /// The first few of them by name.
    pub names: Vec<String>,
    /// Replicas that they take together, each by itself: constraints between pods may allow fewer.
    pub fits: u32,
    /// What stops the next replica on each of them.
    pub limiting_factor: LimitingFactor,
    /// The same in words.
    pub reason: String,
}

/// GPUs that several pods use at a time, by time-slicing or MPS, where a template may run.
///
/// The scheduler counts slots, and slots are what fits; they are no compute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sharing {
    /// Slots that are free, and that policy allows to use.
    pub free_slots: i64,
    /// Whole devices that they would make, node by node.
    pub free_devices: i64,
    /// Devices that are shared.
    pub devices: i64,
    /// The most slots of one device: as many as its plugin offers, or as policy allows.
    pub sharers: i64,
}

/// What fits, and why not more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// How many further replicas.
    pub fits: Fits,
    /// What stops the next one.
    pub limiting_factor: LimitingFactor,
    /// The nodes, grouped by what stops the next replica on them; largest room first.
    pub groups: Vec<NodeGroupReport>,
    /// Free GPUs of the kinds that the template requests (of every kind if it requests none) where it may run.
    pub free_gpus: i64,
    /// Those of them that no further replica can use.
    pub stranded_gpus: i64,
    /// GPUs of these kinds that are there and not allocatable: unhealthy, or their device plugin restarts.
    pub unhealthy_gpus: i64,
    /// Those that are shared; none where none is.
    pub sharing: Option<Sharing>,
    /// What pods of the template may meet on a node that the scheduler does not know of.
    pub cautions: Vec<Reason>,
    /// How many further pods (whole replicas, where they are groups of pods) ResourceQuotas, LimitRanges and RuntimeClasses let be created, pending ones not counted;
    /// none where nothing limits them.
    pub quota: Option<QuotaRoom>,
    /// What constraints between pods make of it, in words; none where they do not limit.
    pub constraint: Option<String>,
    /// Why the class is `unknown`; empty otherwise.
    pub unmodelled: Vec<Reason>,
}

// === impl LimitingFactor ===

impl LimitingFactor {
    /// Whether a change of nodes, pods or quotas may lift it.
    #[must_use]
    pub const fn is_of_the_cluster(self) -> bool {
        match self {
            Self::Gpu
            | Self::Fragmentation
            | Self::Cpu
            | Self::Memory
            | Self::OtherResource
            | Self::PodCount
            | Self::Taint
            | Self::Affinity
            | Self::HostPort
            | Self::Volume
            | Self::TopologySpread
            | Self::Quota
            | Self::Priority
            | Self::NodeAutoscaler => true,
            Self::None
            | Self::Contention
            | Self::Unmodelled
            | Self::MaxReplicas
            | Self::StaleSignal
            | Self::StaleCapacity => false,
        }
    }
}

// === impl Answer ===

impl Answer {
    /// What is to be said of the GPUs besides their number, in words.
    pub fn remarks(&self) -> impl Iterator<Item = String> {
        let unhealthy = (self.unhealthy_gpus > 0).then(|| {
            format!(
                "{} GPUs are there and not allocatable: unhealthy, or their device plugin restarts",
                self.unhealthy_gpus
            )
        });
        let shared = self.sharing.map(|Sharing { free_slots, free_devices, devices, sharers }| {
            format!(
                "{free_slots} free slots of shared GPUs make {free_devices} whole devices of {devices}, at up to {sharers} \
                 slots each: slots are no compute"
            )
        });
        unhealthy.into_iter().chain(shared)
    }

    /// Replicas that may be promised: what fits, as far as their pods exist (`created` of them wait for a node) or may
    /// be created.
    #[must_use]
    pub fn further(&self, created: u32) -> u32 {
        let creatable = self.quota.as_ref().map_or(u32::MAX, |room| created.saturating_add(room.pods));
        if self.fits.class == Class::Unknown { 0 } else { self.fits.lo.min(creatable) }
    }
}

// === impl Fits ===

impl Fits {
    /// Exactly that many.
    #[must_use]
    pub const fn exact(count: u32) -> Self {
        Self { class: Class::Exact, lo: count, hi: Some(count) }
    }

    /// At least `lo`, at most `hi`; exact where they are equal.
    #[must_use]
    pub fn between(lo: u32, hi: Option<u32>) -> Self {
        if hi == Some(lo) { Self::exact(lo) } else { Self { class: Class::Interval, lo, hi } }
    }

    /// Nothing is known, so nothing is promised.
    #[must_use]
    pub const fn unknown() -> Self {
        Self { class: Class::Unknown, lo: 0, hi: None }
    }
}

#[cfg(test)]
mod tests;
