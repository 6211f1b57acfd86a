//! The cluster view: what has been watched, as plain values.
//!
//! An edge fills it (live: from watches; offline: from files; simulated: from events); everything in the core reads
//! it. It holds no derived state, so the same objects always make the same view, in any order of arrival.
//! `cluster/apply.rs` puts a [`Change`] into it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

mod apply;
mod bookings;
mod census;
mod devices;
mod doubt;
mod groups;
mod keda;
mod learnt;
mod queues;
mod reach;
mod storage;

pub use apply::Effect;
pub use bookings::{BookingChange, Bookings};
pub use census::{Census, is_own};
pub use devices::{DeviceChange, Devices};
pub use doubt::Doubts;
pub use groups::{Groups, Started};
pub use learnt::{Basis, Learnt};
pub use queues::{QueueChange, Queues};
pub use reach::Reach;
pub use storage::{Storage, StorageChange, StorageKind};

use crate::{
    autoscaler::NodeAutoscaler,
    coexistence::ExternalApi,
    object::{
        HorizontalPodAutoscaler, Labels, LimitRange, Node, ObjectKey, Pod, ResourceQuota, RuntimeClass, ScaleTarget,
        WorkloadKey,
        device::DeviceClass,
        keda::{ScaledJob, ScaledObject},
        meta::StringMap,
    },
};

/// Everything that is known of the cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct View {
    /// Nodes by name.
    pub nodes: BTreeMap<String, Node>,
    /// Pods, terminal ones left out where the watch filters them.
    pub pods: BTreeMap<ObjectKey, Pod>,
    /// KEDA's ScaledObjects.
    pub scaled_objects: BTreeMap<ObjectKey, ScaledObject>,
    /// KEDA's ScaledJobs; what they scale is among the workloads.
    pub scaled_jobs: BTreeMap<ObjectKey, ScaledJob>,
    /// HorizontalPodAutoscalers.
    pub hpas: BTreeMap<ObjectKey, HorizontalPodAutoscaler>,
    /// Scale targets.
    pub workloads: BTreeMap<WorkloadKey, ScaleTarget>,
    /// Namespaces. One without labels and annotations has no entry.
    pub namespaces: BTreeMap<String, Namespace>,
    /// ResourceQuotas.
    pub resource_quotas: BTreeMap<ObjectKey, ResourceQuota>,
    /// LimitRanges.
    pub limit_ranges: BTreeMap<ObjectKey, LimitRange>,
    /// RuntimeClasses by name.
    pub runtime_classes: BTreeMap<String, RuntimeClass>,
    /// Value of each PriorityClass; the entry under the empty name is the global default, if there is one.
    pub priority_classes: BTreeMap<String, i32>,
    /// DeviceClasses by name.
    pub device_classes: BTreeMap<String, DeviceClass>,
    /// Devices and claims for them.
    pub devices: Devices,
    /// Claims, volumes and what makes and attaches them.
    pub storage: Storage,
    /// What node autoscalers are asked to have room for, and the PodTemplates of a cluster.
    pub bookings: Bookings,
    /// Kueue's queues and their quota.
    pub queues: Queues,
    /// Names of the PriorityClasses that claim to be the global default; the lowest value of them is it.
    pub global_default_classes: BTreeSet<String>,
    /// Why objects are not known although they are there, by resource name in the plural.
    pub unreadable: BTreeMap<String, Doubts>,
    /// What adds nodes when pods do not fit, if anything does.
    pub node_autoscaler: Option<NodeAutoscaler>,
    /// Who answers External metrics; none before it has been asked.
    pub external_api: Option<ExternalApi>,
    /// When the watch of nodes or pods that was heard of longest ago was last heard of; none before the first list.
    pub capacity_heard_at: Option<Timestamp>,
    /// Why what is free is not known although nodes and pods are listed, e.g. a pod that cannot be read.
    pub capacity_problem: Option<String>,
}

/// What is read of a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Labels.
    pub labels: Labels,
    /// Annotations, for policy.
    pub annotations: StringMap,
    /// Whether the namespace is being deleted, so that nothing can be made in it.
    pub terminating: bool,
}

// === impl View ===

impl View {
    /// The ResourceQuotas of a namespace.
    pub fn resource_quotas_in<'a>(
        &'a self,
        namespace: &'a str,
    ) -> impl Iterator<Item = (&'a ObjectKey, &'a ResourceQuota)> + 'a {
        within(&self.resource_quotas, namespace)
    }

    /// The LimitRanges of a namespace.
    pub fn limit_ranges_in<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a LimitRange> + 'a {
        within(&self.limit_ranges, namespace).map(|(_, range)| range)
    }

    /// The pods of a namespace.
    pub fn pods_in<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = (&'a ObjectKey, &'a Pod)> + 'a {
        within(&self.pods, namespace)
    }
}

fn within<'a, T>(
    map: &'a BTreeMap<ObjectKey, T>,
    namespace: &str,
) -> impl Iterator<Item = (&'a ObjectKey, &'a T)> + use<'a, T> {
    // No text lies between one and the same with a NUL behind it.
    map.range(ObjectKey::new(namespace, "")..ObjectKey::new(format!("{namespace}\0"), ""))
}

/// A change of what is known of the cluster: what a watch, a file or the simulator tells.
#[derive(Clone, Debug)]
pub enum Change {
    /// Nodes.
    Node(Delta<Node, String>),
    /// Pods.
    Pod(Delta<Pod, ObjectKey>),
    /// KEDA's ScaledObjects.
    ScaledObject(Delta<ScaledObject, ObjectKey>),
    /// KEDA's ScaledJobs.
    ScaledJob(Delta<ScaledJob, ObjectKey>),
    /// HorizontalPodAutoscalers.
    Hpa(Delta<HorizontalPodAutoscaler, ObjectKey>),
    /// Scale targets of one kind.
    Workload {
        /// API group of the kind.
        group: String,
        /// The kind.
        kind: String,
        /// What changed.
        delta: Delta<(WorkloadKey, ScaleTarget), WorkloadKey>,
    },
    /// Namespaces: labels and annotations.
    Namespace(Delta<(String, Namespace), String>),
    /// ResourceQuotas.
    ResourceQuota(Delta<ResourceQuota, ObjectKey>),
    /// LimitRanges.
    LimitRange(Delta<LimitRange, ObjectKey>),
    /// RuntimeClasses.
    RuntimeClass(Delta<RuntimeClass, String>),
    /// PriorityClasses: name and value, and whether it is the global default.
    PriorityClass(Delta<(String, i32, bool), String>),
    /// Devices and claims for them.
    Device(DeviceChange),
    /// Kueue's queues and their quota.
    Queue(QueueChange),
    /// Claims, volumes and what makes and attaches them.
    Storage(StorageChange),
    /// ProvisioningRequests and PodTemplates.
    Booking(BookingChange),
    /// The node autoscaler, or none.
    NodeAutoscaler(Option<NodeAutoscaler>),
    /// Who answers External metrics.
    ExternalApi(ExternalApi),
    /// What of a resource is there but cannot be read; replaces what was said of it before.
    Unreadable {
        /// Resource name in the plural.
        resource: String,
        /// Why, by namespace; empty once all can be read.
        doubts: Doubts,
    },
}

/// A change of one kind of object.
#[derive(Clone, Debug)]
pub enum Delta<T, K> {
    /// An object is new or changed.
    Applied(T),
    /// An object is gone.
    Deleted(K),
    /// The complete list after a relist: whatever is not in it is gone, in one step.
    Replaced(Vec<T>),
}
