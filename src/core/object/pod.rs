//! `v1.Pod`: what placement, readiness and HPA arithmetic read of it.
//!
//! Large clusters have pods by the hundred thousand, most of them replicas of a few templates. So what replicas have in
//! common is behind [`Shared`], made one by an [`Interner`](super::Interner), and what nobody reads is not kept.

mod decode;
mod salvage;

use std::{
    collections::BTreeMap,
    net::IpAddr,
    ops::{Deref, DerefMut},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    labels::Labels,
    meta::{
        ObjectKey, ObjectMeta, OwnerReference, StringMap, null_as_default, null_items_as_default,
        null_values_as_default,
    },
    moment::Moment,
    node::Taint,
    shared::Shared,
    text::Text,
    uid::Uid,
};
use crate::{quantity::Quantity, selector::LabelSelector};

/// Resource name to amount.
pub type ResourceList = BTreeMap<String, Quantity>;

/// A volume: its name, and exactly one source under its own key.
pub type Volume = BTreeMap<String, Value>;

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(from = "decode::Wire")]
pub struct Pod {
    /// Metadata.
    pub metadata: PodMeta,
    /// Node that the pod is assigned to; empty while it is not.
    pub node_name: Text,
    /// Specification.
    pub spec: Shared<PodSpec>,
    /// Status.
    pub status: PodStatus,
}

/// The read part of a pod's `metav1.ObjectMeta`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "ObjectMeta")]
pub struct PodMeta {
    /// Name, unique within the namespace.
    pub name: Text,
    /// Namespace.
    pub namespace: Text,
    /// Unique over time.
    pub uid: Uid,
    /// Labels.
    pub labels: Shared<Labels>,
    /// Annotations that anybody reads: those of Plimsoll and those that say where metrics are.
    pub annotations: Shared<StringMap>,
    /// Owners, of which at most one is the controller.
    pub owner_references: Shared<Vec<OwnerReference>>,
    /// When the pod was made.
    pub creation_timestamp: Option<Moment>,
    /// Set while the pod is terminating.
    pub deletion_timestamp: Option<Moment>,
}

/// `v1.PodTemplateSpec`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct PodTemplate {
    /// Metadata that its pods will carry.
    #[serde(deserialize_with = "null_as_default")]
    pub metadata: ObjectMeta,
    /// Specification of its pods.
    #[serde(deserialize_with = "null_as_default")]
    pub spec: Box<PodSpec>,
}

/// The read part of `v1.PodSpec`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    /// Node that a template itself names, past the scheduler. That of a pod is [`Pod::node_name`].
    #[serde(rename = "nodeName", deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
    pub pinned_node: String,
    /// Scheduler that places the pod; empty means `default-scheduler`.
    #[serde(deserialize_with = "null_as_default")]
    pub scheduler_name: String,
    /// Labels that a node must carry.
    #[serde(deserialize_with = "null_values_as_default")]
    pub node_selector: StringMap,
    /// Node and pod affinity.
    pub affinity: Option<Affinity>,
    /// Tolerations.
    #[serde(deserialize_with = "null_items_as_default")]
    pub tolerations: Vec<Toleration>,
    /// Containers.
    #[serde(deserialize_with = "null_items_as_default")]
    pub containers: Vec<Container>,
    /// Init containers, sidecars (`restartPolicy: Always`) included.
    #[serde(deserialize_with = "null_items_as_default")]
    pub init_containers: Vec<Container>,
    /// Overhead that the runtime class adds.
    #[serde(deserialize_with = "null_as_default")]
    pub overhead: ResourceList,
    /// Pod-level resources.
    pub resources: Option<Resources>,
    /// Resolved priority.
    pub priority: Option<i32>,
    /// Priority class by name.
    #[serde(deserialize_with = "null_as_default")]
    pub priority_class_name: String,
    /// `Never` keeps the pod from evicting others; absent means `PreemptLowerPriority`.
    pub preemption_policy: Option<String>,
    /// Group that is scheduled as one; only its presence is read.
    pub scheduling_group: Option<Value>,
    /// Topology spread constraints.
    #[serde(deserialize_with = "null_items_as_default")]
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,
    /// Scheduling gates by name.
    #[serde(deserialize_with = "null_items_as_default")]
    pub scheduling_gates: Vec<SchedulingGate>,
    /// Runtime class.
    pub runtime_class_name: Option<String>,
    /// Volumes; of a pod without the one that holds its service account's token.
    #[serde(deserialize_with = "null_items_as_default")]
    pub volumes: Vec<Volume>,
    /// Claims of dynamic resource allocation.
    #[serde(deserialize_with = "null_as_default")]
    pub resource_claims: Vec<Value>,
    /// Seconds after which the pod is ended.
    pub active_deadline_seconds: Option<i64>,
    /// Whether the pod uses the node's network.
    #[serde(deserialize_with = "null_as_default")]
    pub host_network: bool,
    /// Whether the pod uses the node's users; `false` gives it users of its own.
    pub host_users: Option<bool>,
    /// What cannot be read of all this, if anything cannot: it is as if it had not been said.
    #[serde(skip)]
    pub flaw: Option<Box<Flaw>>,
}

/// Why a specification says less than was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flaw {
    /// The reason, for people.
    pub why: String,
    /// Whether tolerations are among it, so that no taint is known to keep the pod away.
    pub tolerations: bool,
}

/// The read part of `v1.Container`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Container {
    /// Name.
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    /// Requests and limits.
    #[serde(deserialize_with = "null_as_default")]
    pub resources: Resources,
    /// Ports.
    #[serde(deserialize_with = "null_items_as_default")]
    pub ports: Vec<ContainerPort>,
    /// `Always` on an init container makes it a sidecar.
    pub restart_policy: Option<String>,
    /// What becomes of the container, or of all, when it ends.
    #[serde(deserialize_with = "null_items_as_default")]
    pub restart_policy_rules: Vec<RestartRule>,
}

/// The read part of `v1.ContainerRestartRule`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct RestartRule {
    /// `Restart` or `RestartAllContainers`.
    #[serde(deserialize_with = "null_as_default")]
    pub action: String,
}

/// The read part of `v1.ResourceRequirements`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Resources {
    /// Requests.
    #[serde(deserialize_with = "null_as_default")]
    pub requests: ResourceList,
    /// Limits; a request that is absent defaults to its limit at admission.
    #[serde(deserialize_with = "null_as_default")]
    pub limits: ResourceList,
    /// Claims of dynamic resource allocation.
    #[serde(deserialize_with = "null_as_default")]
    pub claims: Vec<Value>,
}

/// The read part of `v1.ContainerPort`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerPort {
    /// Name, by which metrics ports are found.
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    /// Port in the container.
    #[serde(deserialize_with = "null_as_default")]
    pub container_port: u16,
    /// Port on the node; 0 means none.
    #[serde(deserialize_with = "null_as_default")]
    pub host_port: u16,
    /// Address on the node.
    #[serde(rename = "hostIP", deserialize_with = "null_as_default")]
    pub host_ip: String,
    /// Protocol; empty means TCP.
    #[serde(deserialize_with = "null_as_default")]
    pub protocol: String,
}

/// `v1.Affinity`; only required terms bind.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Affinity {
    /// Node affinity.
    pub node_affinity: Option<NodeAffinity>,
    /// Pod affinity.
    pub pod_affinity: Option<PodAffinity>,
    /// Pod anti-affinity.
    pub pod_anti_affinity: Option<PodAffinity>,
}

/// `v1.NodeAffinity`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeAffinity {
    /// Hard terms, any of which suffices.
    pub required_during_scheduling_ignored_during_execution: Option<NodeSelector>,
}

/// `v1.NodeSelector`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeSelector {
    /// Terms, any of which suffices.
    #[serde(deserialize_with = "null_items_as_default")]
    pub node_selector_terms: Vec<NodeSelectorTerm>,
}

/// `v1.NodeSelectorTerm`: all of its requirements must hold; an empty term matches nothing.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeSelectorTerm {
    /// Requirements on labels.
    #[serde(deserialize_with = "null_items_as_default")]
    pub match_expressions: Vec<NodeSelectorRequirement>,
    /// Requirements on fields; only `metadata.name` exists.
    #[serde(deserialize_with = "null_items_as_default")]
    pub match_fields: Vec<NodeSelectorRequirement>,
}

/// `v1.NodeSelectorRequirement`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct NodeSelectorRequirement {
    /// Label or field.
    #[serde(deserialize_with = "null_as_default")]
    pub key: String,
    /// `In`, `NotIn`, `Exists`, `DoesNotExist`, `Gt`, `Lt`.
    #[serde(deserialize_with = "null_as_default")]
    pub operator: String,
    /// Operands.
    #[serde(deserialize_with = "null_items_as_default")]
    pub values: Vec<String>,
}

/// `v1.PodAffinity` or `v1.PodAntiAffinity`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodAffinity {
    /// Hard terms, all of which must hold.
    #[serde(deserialize_with = "null_items_as_default")]
    pub required_during_scheduling_ignored_during_execution: Vec<PodAffinityTerm>,
    /// Soft terms, which decide nothing about placement.
    #[serde(deserialize_with = "null_items_as_default")]
    pub preferred_during_scheduling_ignored_during_execution: Vec<WeightedPodAffinityTerm>,
}

/// `v1.WeightedPodAffinityTerm`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WeightedPodAffinityTerm {
    /// The term.
    #[serde(deserialize_with = "null_as_default")]
    pub pod_affinity_term: PodAffinityTerm,
}

/// `v1.PodAffinityTerm`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodAffinityTerm {
    /// Pods that the term speaks of; absent matches none.
    pub label_selector: Option<LabelSelector>,
    /// Namespaces by name; none and no selector means the pod's own.
    #[serde(deserialize_with = "null_items_as_default")]
    pub namespaces: Vec<String>,
    /// Namespaces by label; an empty one means all.
    pub namespace_selector: Option<LabelSelector>,
    /// Node label that names the domain.
    #[serde(deserialize_with = "null_as_default")]
    pub topology_key: String,
    /// Keys merged into the selector.
    #[serde(deserialize_with = "null_items_as_default")]
    pub match_label_keys: Vec<String>,
    /// Keys merged into the selector, negated.
    #[serde(deserialize_with = "null_items_as_default")]
    pub mismatch_label_keys: Vec<String>,
}

/// `v1.Toleration`, and `DeviceToleration` of `resource.k8s.io`, without the time for which it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Toleration {
    /// Taint key; empty matches all.
    #[serde(deserialize_with = "null_as_default")]
    pub key: String,
    /// `Equal` (default) or `Exists`.
    #[serde(deserialize_with = "null_as_default")]
    pub operator: String,
    /// Value for `Equal`.
    #[serde(deserialize_with = "null_as_default")]
    pub value: String,
    /// Effect; empty matches all.
    #[serde(deserialize_with = "null_as_default")]
    pub effect: String,
}

/// `v1.TopologySpreadConstraint`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopologySpreadConstraint {
    /// Largest permitted difference.
    #[serde(deserialize_with = "null_as_default")]
    pub max_skew: i32,
    /// Node label that names the domain.
    #[serde(deserialize_with = "null_as_default")]
    pub topology_key: String,
    /// `DoNotSchedule` binds, `ScheduleAnyway` does not.
    #[serde(deserialize_with = "null_as_default")]
    pub when_unsatisfiable: String,
    /// Pods that are counted.
    pub label_selector: Option<LabelSelector>,
    /// Domains that must exist.
    pub min_domains: Option<i32>,
    /// `Honor` (default) or `Ignore`.
    pub node_affinity_policy: Option<String>,
    /// `Ignore` (default) or `Honor`.
    pub node_taints_policy: Option<String>,
    /// Keys merged into the selector.
    #[serde(deserialize_with = "null_items_as_default")]
    pub match_label_keys: Vec<String>,
}

/// `v1.PodSchedulingGate`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct SchedulingGate {
    /// Name of the gate.
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
}

/// The read part of `v1.PodStatus`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(from = "decode::WireStatus")]
pub struct PodStatus {
    /// `Pending`, `Running`, `Succeeded`, `Failed`, `Unknown`.
    pub phase: Text,
    /// Address of the pod; none before it has one that can be read.
    pub pod_ip: Option<IpAddr>,
    /// When the kubelet acknowledged the pod.
    pub start_time: Option<Moment>,
    /// Node nominated by preemption.
    pub nominated_node_name: Text,
    /// What the node has granted; differs from the specification during a resize.
    pub granted: Shared<Granted>,
    /// Conditions that anybody reads: `Ready`, `PodResizePending`, and `PodScheduled` while it is not true.
    pub conditions: Box<[PodCondition]>,
}

/// The resources that the kubelet has granted to a pod and put into effect.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Granted {
    /// By container; those of which nothing is known are left out.
    pub container_statuses: Vec<ContainerStatus>,
    /// The same for init containers.
    pub init_container_statuses: Vec<ContainerStatus>,
    /// Pod-level resources that are in effect.
    pub resources: Option<Resources>,
    /// Pod-level requests that the node has granted.
    pub allocated_resources: ResourceList,
}

/// The read part of `v1.ContainerStatus`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerStatus {
    /// Name of the container.
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    /// Resources that are in effect.
    pub resources: Option<Resources>,
    /// Requests that the node has granted.
    #[serde(deserialize_with = "null_as_default")]
    pub allocated_resources: ResourceList,
}

/// The read part of `v1.PodCondition`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "decode::WireCondition")]
pub struct PodCondition {
    /// What it says.
    pub state: Shared<ConditionState>,
    /// Last change of status.
    pub last_transition_time: Option<Moment>,
}

/// What a condition says, which is the same for most pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct ConditionState {
    /// Type, e.g. `Ready`, `PodScheduled`.
    #[serde(rename = "type", deserialize_with = "null_as_default")]
    pub kind: String,
    /// `True`, `False`, `Unknown`.
    #[serde(deserialize_with = "null_as_default")]
    pub status: String,
    /// Reason, e.g. `Unschedulable`.
    #[serde(deserialize_with = "null_as_default")]
    pub reason: String,
}

// === impl PodSpec ===

impl PodSpec {
    /// The node affinity that binds.
    #[must_use]
    pub fn required_node_affinity(&self) -> Option<&NodeSelector> {
        self.affinity.as_ref()?.node_affinity.as_ref()?.required_during_scheduling_ignored_during_execution.as_ref()
    }
}

// === impl Pod ===

impl Pod {
    /// The condition of that type, if present.
    #[must_use]
    pub fn condition(&self, kind: &str) -> Option<&PodCondition> {
        self.status.conditions.iter().find(|condition| condition.kind == kind)
    }

    /// Whether the `Ready` condition is true.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.condition("Ready").is_some_and(|condition| condition.status == "True")
    }

    /// Whether the pod has ended: phase `Succeeded` or `Failed`.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        matches!(self.status.phase.as_str(), "Succeeded" | "Failed")
    }

    /// Whether the pod is being deleted.
    #[must_use]
    pub fn is_terminating(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }

    /// Whether the pod is *bound*: assigned to a node, not terminal and not terminating.
    #[must_use]
    pub fn is_bound(&self) -> bool {
        !self.node_name.is_empty() && !self.is_terminal() && !self.is_terminating()
    }

    /// Whether the pod waits for a node.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.node_name.is_empty() && !self.is_terminal() && !self.is_terminating()
    }

    /// Since when the scheduler has found no place, if it has found none.
    #[must_use]
    pub fn unschedulable_since(&self) -> Option<Timestamp> {
        self.condition("PodScheduled")
            .filter(|condition| condition.status == "False" && condition.reason == "Unschedulable")
            .and_then(|condition| condition.last_transition_time)
            .map(Timestamp::from)
    }
}

// === impl Toleration ===

impl Toleration {
    /// Whether it tolerates a taint: of a node (`Toleration.ToleratesTaint` of Kubernetes v1.36.3, with the alpha
    /// comparison operators off) or of a device (`ToleratesTaint` in `k8s.io/dynamic-resource-allocation` v0.36.3
    /// `resourceclaim/devicetoleration.go`).
    #[must_use]
    pub fn tolerates(&self, taint: &Taint) -> bool {
        let matches = |own: &str, other: &str| own.is_empty() || own == other;
        matches(&self.effect, &taint.effect)
            && matches(&self.key, &taint.key)
            && match self.operator.as_str() {
                "" | "Equal" => self.value == taint.value,
                "Exists" => true,
                _ => false,
            }
    }
}

// === impl PodMeta ===

impl PodMeta {
    /// The key of the pod; it shares the text of the names.
    #[must_use]
    pub fn key(&self) -> ObjectKey {
        ObjectKey { namespace: self.namespace.clone(), name: self.name.clone() }
    }

    /// The owner that manages the pod, if any.
    #[must_use]
    pub fn controller(&self) -> Option<&OwnerReference> {
        self.owner_references.iter().find(|owner| owner.controller == Some(true))
    }
}

// === impl PodCondition ===

impl Deref for PodCondition {
    type Target = ConditionState;

    fn deref(&self) -> &ConditionState {
        &self.state
    }
}

impl DerefMut for PodCondition {
    fn deref_mut(&mut self) -> &mut ConditionState {
        &mut self.state
    }
}
