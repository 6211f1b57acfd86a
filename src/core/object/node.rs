//! `v1.Node`: what placement reads of it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    meta::{ObjectMeta, null_as_default, null_items_as_default},
    pod::ResourceList,
    shared::Shared,
};

/// The label that every node carries with its own name.
pub const HOSTNAME: &str = "kubernetes.io/hostname";

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Node {
    /// Metadata.
    #[serde(deserialize_with = "null_as_default")]
    pub metadata: ObjectMeta,
    /// Specification.
    #[serde(deserialize_with = "null_as_default")]
    pub spec: NodeSpec,
    /// Status.
    #[serde(deserialize_with = "null_as_default")]
    pub status: NodeStatus,
}

/// The read part of `v1.NodeSpec`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct NodeSpec {
    /// Whether the node is cordoned.
    #[serde(deserialize_with = "null_as_default")]
    pub unschedulable: bool,
    /// Taints.
    #[serde(deserialize_with = "null_items_as_default")]
    pub taints: Vec<Taint>,
}

/// The read part of `v1.Taint`, and of `DeviceTaint` of `resource.k8s.io`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Taint {
    /// Key.
    #[serde(deserialize_with = "null_as_default")]
    pub key: String,
    /// Value.
    #[serde(deserialize_with = "null_as_default")]
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule`, `NoExecute`.
    #[serde(deserialize_with = "null_as_default")]
    pub effect: String,
}

/// The read part of `v1.NodeStatus`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeStatus {
    /// What pods may use.
    #[serde(deserialize_with = "null_as_default")]
    pub allocatable: Shared<ResourceList>,
    /// What the machine has.
    #[serde(deserialize_with = "null_as_default")]
    pub capacity: Shared<ResourceList>,
    /// Conditions.
    #[serde(deserialize_with = "null_items_as_default")]
    pub conditions: Vec<NodeCondition>,
    /// What its kubelet says that it can do for pods.
    #[serde(deserialize_with = "null_items_as_default")]
    pub declared_features: Vec<String>,
}

/// The read part of `v1.NodeCondition`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeCondition {
    /// Type, e.g. `Ready`.
    #[serde(rename = "type", deserialize_with = "null_as_default")]
    pub kind: String,
    /// `True`, `False`, `Unknown`.
    #[serde(deserialize_with = "null_as_default")]
    pub status: String,
    /// Since when.
    pub last_transition_time: Option<Timestamp>,
}

// === impl Node ===

impl Node {
    /// Since when the node has been ready, if it is and says so.
    #[must_use]
    pub fn ready_since(&self) -> Option<Timestamp> {
        let mut conditions = self.status.conditions.iter();
        conditions.find(|condition| condition.kind == "Ready" && condition.status == "True")?.last_transition_time
    }

    /// Whether the `Ready` condition is true; a node that reports no conditions counts as not ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.status.conditions.iter().any(|condition| condition.kind == "Ready" && condition.status == "True")
    }
}
