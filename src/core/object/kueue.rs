//! Kueue's queues and their quota, as far as they decide whether a pod is let through.
//!
//! Of `kueue.x-k8s.io/v1beta1` and `v1beta2` (`apis/kueue/v1beta2/clusterqueue_types.go`), which differ in few names.

use serde::Deserialize;

use super::{
    ObjectMeta, Pod, PodSpec,
    meta::{Condition, StringMap, null_as_default, null_items_as_default},
    node::Taint,
    pod::Toleration,
};
use crate::{quantity::Quantity, selector::LabelSelector};

/// Label of a workload and of its pods: the LocalQueue.
pub const QUEUE_NAME: &str = "kueue.x-k8s.io/queue-name";
/// Annotation of pods that are admitted one by one or together: the kind of workload that they are of.
pub const PARENT: &str = "kueue.x-k8s.io/pod-suspending-parent";
/// Label of pods that are admitted together.
pub const POD_GROUP: &str = "kueue.x-k8s.io/pod-group-name";
/// Scheduling gate of a pod that has not been admitted.
pub const GATE: &str = "kueue.x-k8s.io/admission";

/// A LocalQueue.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct LocalQueue {
    /// Metadata.
    #[serde(deserialize_with = "null_as_default")]
    pub metadata: ObjectMeta,
    /// Specification.
    #[serde(deserialize_with = "null_as_default")]
    pub spec: LocalQueueSpec,
}

/// The read part of `LocalQueueSpec`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LocalQueueSpec {
    /// The ClusterQueue that has the quota.
    #[serde(deserialize_with = "null_as_default")]
    pub cluster_queue: String,
    /// Anything but `None` stops it.
    pub stop_policy: Option<String>,
}

/// A ClusterQueue.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ClusterQueue {
    /// Metadata.
    #[serde(deserialize_with = "null_as_default")]
    pub metadata: ObjectMeta,
    /// Specification.
    #[serde(deserialize_with = "null_as_default")]
    pub spec: ClusterQueueSpec,
    /// Status.
    #[serde(deserialize_with = "null_as_default")]
    pub status: ClusterQueueStatus,
}

/// The read part of `ClusterQueueSpec`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterQueueSpec {
    /// Quotas by resource and flavor.
    #[serde(deserialize_with = "null_items_as_default")]
    pub resource_groups: Vec<ResourceGroup>,
    /// Queues of one cohort lend each other quota; `cohort` in `v1beta1`.
    #[serde(alias = "cohort", deserialize_with = "null_as_default")]
    pub cohort_name: String,
    /// `BestEffortFIFO` (default) or `StrictFIFO`.
    #[serde(deserialize_with = "null_as_default")]
    pub queueing_strategy: String,
    /// Namespaces that may use it; none where absent.
    pub namespace_selector: Option<LabelSelector>,
    /// Further checks before anything is admitted, in `v1beta1`.
    #[serde(deserialize_with = "null_as_default")]
    pub admission_checks: Vec<String>,
    /// The same by flavor; only its presence is read.
    pub admission_checks_strategy: Option<serde_json::Value>,
    /// Anything but `None` stops it.
    pub stop_policy: Option<String>,
}

/// `ResourceGroup`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceGroup {
    /// Resources that every flavor has.
    #[serde(deserialize_with = "null_as_default")]
    pub covered_resources: Vec<String>,
    /// Kinds of machines, in the order in which they are tried.
    #[serde(deserialize_with = "null_items_as_default")]
    pub flavors: Vec<FlavorQuotas>,
}

/// `FlavorQuotas`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct FlavorQuotas {
    /// The ResourceFlavor.
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    /// Its quota.
    #[serde(deserialize_with = "null_items_as_default")]
    pub resources: Vec<FlavorQuota>,
}

/// The quota of one flavor and resource.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FlavorQuota {
    /// The resource.
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    /// What the queue itself has.
    #[serde(deserialize_with = "null_as_default")]
    pub nominal_quota: Quantity,
    /// Most that it may borrow; none where it may borrow all that is free.
    pub borrowing_limit: Option<Quantity>,
    /// Most that it lends; none where it lends all that it does not use.
    pub lending_limit: Option<Quantity>,
}

/// The read part of `ClusterQueueStatus`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterQueueStatus {
    /// Conditions.
    #[serde(deserialize_with = "null_items_as_default")]
    pub conditions: Vec<Condition>,
    /// What workloads have reserved, by flavor.
    #[serde(deserialize_with = "null_items_as_default")]
    pub flavors_reservation: Vec<FlavorUsage>,
    /// Workloads that wait.
    #[serde(deserialize_with = "null_as_default")]
    pub pending_workloads: i32,
}

/// `FlavorUsage`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct FlavorUsage {
    /// The ResourceFlavor.
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    /// What is used of it.
    #[serde(deserialize_with = "null_items_as_default")]
    pub resources: Vec<ResourceUsage>,
}

/// `ResourceUsage`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ResourceUsage {
    /// The resource.
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    /// How much, what is borrowed included.
    #[serde(deserialize_with = "null_as_default")]
    pub total: Quantity,
}

/// A ResourceFlavor.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ResourceFlavor {
    /// Metadata.
    #[serde(deserialize_with = "null_as_default")]
    pub metadata: ObjectMeta,
    /// Specification.
    #[serde(deserialize_with = "null_as_default")]
    pub spec: ResourceFlavorSpec,
}

/// The read part of `ResourceFlavorSpec`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceFlavorSpec {
    /// Labels of its nodes, which admitted pods are made to select.
    #[serde(deserialize_with = "null_as_default")]
    pub node_labels: StringMap,
    /// Taints of its nodes, which pods must tolerate to be given the flavor.
    #[serde(deserialize_with = "null_items_as_default")]
    pub node_taints: Vec<Taint>,
    /// Tolerations that admitted pods are given.
    #[serde(deserialize_with = "null_items_as_default")]
    pub tolerations: Vec<Toleration>,
    /// The topology by which pods are placed together, if any.
    #[serde(deserialize_with = "null_as_default")]
    pub topology_name: String,
}

/// A Cohort. One without any is only a name.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Cohort {
    /// Metadata.
    #[serde(deserialize_with = "null_as_default")]
    pub metadata: ObjectMeta,
    /// Specification.
    #[serde(deserialize_with = "null_as_default")]
    pub spec: CohortSpec,
}

/// The read part of `CohortSpec`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CohortSpec {
    /// The cohort that it is part of; `parent` in `v1beta1`.
    #[serde(alias = "parent", deserialize_with = "null_as_default")]
    pub parent_name: String,
    /// Quota of its own.
    #[serde(deserialize_with = "null_items_as_default")]
    pub resource_groups: Vec<ResourceGroup>,
}

// === impl ClusterQueue ===

impl ClusterQueue {
    /// Whether it admits anything; none where it has not said so.
    #[must_use]
    pub fn is_active(&self) -> Option<bool> {
        let condition = self.status.conditions.iter().find(|condition| condition.kind == "Active")?;
        Some(condition.status == "True")
    }

    /// The quotas of all flavors: flavor and quota.
    pub fn quotas(&self) -> impl Iterator<Item = (&str, &FlavorQuota)> {
        quotas(&self.spec.resource_groups)
    }

    /// What is reserved of a resource of a flavor.
    #[must_use]
    pub fn reserved(&self, flavor: &str, resource: &str) -> Quantity {
        let flavors = self.status.flavors_reservation.iter().filter(|usage| usage.name == flavor);
        let usages = flavors.flat_map(|usage| &usage.resources).filter(|usage| usage.name == resource);
        usages.map(|usage| usage.total).fold(Quantity::ZERO, |sum, total| sum + total)
    }
}

// === impl Cohort ===

impl Cohort {
    /// Its own quotas: flavor and quota.
    pub fn quotas(&self) -> impl Iterator<Item = (&str, &FlavorQuota)> {
        quotas(&self.spec.resource_groups)
    }
}

fn quotas(groups: &[ResourceGroup]) -> impl Iterator<Item = (&str, &FlavorQuota)> {
    let flavors = groups.iter().flat_map(|group| &group.flavors);
    flavors.flat_map(|flavor| flavor.resources.iter().map(|quota| (flavor.name.as_str(), quota)))
}

/// Whether a pod waits to be admitted, so that quota is still to be found for it.
#[must_use]
pub fn waits(spec: &PodSpec) -> bool {
    spec.scheduling_gates.iter().any(|gate| gate.name == GATE)
}

/// Whether Kueue has let a pod through, and given it flavors.
#[must_use]
pub fn is_admitted(pod: &Pod) -> bool {
    let metadata = &pod.metadata;
    let is_queued = metadata.labels.contains_key(QUEUE_NAME) || metadata.annotations.contains_key(PARENT);
    is_queued && !waits(&pod.spec)
}

/// Whether a stop policy stops anything.
#[must_use]
pub fn is_stopped(policy: Option<&String>) -> bool {
    policy.is_some_and(|policy| !policy.is_empty() && policy != "None")
}
