//! Node autoscalers: what they may still add, what they are bringing, and why they cannot.
//!
//! ```text
//!  ConfigMap cluster-autoscaler-status ──> status ──┐
//!  NodePools, NodeClaims ──> karpenter ─────────────┼─> NodeGroup ──> Outlook (nodes that may come, as a view)
//!  nodes of the cluster (shape by example) ─────────┘
//! ```
//!
//! Nodes that are here and whose GPUs are not yet are found by their registration, with a node autoscaler or without one.
//!
//! A group of nodes says how many it may have, never what they look like: that is learnt from its nodes. A node that
//! does not exist yet is a copy of one that does, with nothing on it but its DaemonSets' pods.

mod arrivals;
pub(crate) mod bookings;
pub mod karpenter;
mod likes;
mod outlook;
mod registration;
pub mod status;

use jiff::Timestamp;
use serde::Serialize;

pub use arrivals::{Arrivals, Arriving};
pub use outlook::{Doubt, Outlook};

use crate::object::{Node, autoscaling::CapacityBuffer, pod::ResourceList};

/// Labels by which providers say to which group a node belongs.
const GROUP_LABELS: [&str; 8] = [
    "karpenter.sh/nodepool",
    "cloud.google.com/gke-nodepool",
    "eks.amazonaws.com/nodegroup",
    "alpha.eksctl.io/nodegroup-name",
    "kubernetes.azure.com/agentpool",
    "agentpool",
    "kops.k8s.io/instancegroup",
    "cluster-autoscaler.kubernetes.io/nodegroup",
];

/// A node autoscaler and what it says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeAutoscaler {
    /// What shows that there is one, e.g. `ConfigMap kube-system/cluster-autoscaler-status`.
    pub evidence: String,
    /// Its groups of nodes, by name.
    pub groups: Vec<NodeGroup>,
    /// When it last said anything; none where that is not told, as objects of the API are always current.
    pub updated: Option<Timestamp>,
    /// Why what it says is not known, although it is there.
    pub problem: Option<String>,
    /// What it keeps free, where it is asked to.
    pub buffers: Vec<CapacityBuffer>,
}

/// Nodes of one shape that are added and removed together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeGroup {
    /// Name: of a node group of Cluster Autoscaler, or of a NodePool.
    pub name: String,
    /// Most nodes; none without such a limit.
    pub max: Option<u32>,
    /// Nodes that it wants to have.
    pub target: u32,
    /// Nodes that it is bringing: wanted, and not ready yet.
    pub arriving: u32,
    /// What its machines offer by the word of the autoscaler, which may know before a node's devices have registered;
    /// empty where it does not tell.
    pub shape: ResourceList,
    /// What further nodes may offer together, by resource; empty without such limits.
    pub left: ResourceList,
    /// Why it adds none now.
    pub refusal: Option<Refusal>,
}

/// Why a group adds no node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// The kind of it.
    pub kind: RefusalKind,
    /// The autoscaler's own words.
    pub message: String,
}

/// The kinds of reasons for adding no node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum RefusalKind {
    /// As many nodes as are allowed.
    Limit,
    /// The provider has no machine of that kind.
    StockOut,
    /// The provider's quota is used up.
    Quota,
    /// An attempt failed for another reason, and the next one waits.
    Backoff,
    /// It is not ready, or does not scale by itself.
    Unavailable,
}

// === impl NodeGroup ===

impl NodeGroup {
    /// Nodes that may still be added by count; none without a limit.
    #[must_use]
    pub fn further(&self) -> Option<u32> {
        self.max.map(|max| max.saturating_sub(self.target))
    }

    /// Whether a node belongs to the group: by the provider's label, whose value is the group's name or the part of
    /// it that people chose, or by the name of the node, which starts with that of its machine group.
    #[must_use]
    pub fn has(&self, node: &Node) -> bool {
        let name = self.name.rsplit('/').next().unwrap_or(&self.name);
        let labels = &node.metadata.labels;
        let labelled = GROUP_LABELS.iter().filter_map(|label| labels.get(label)).any(|value| names(name, value));
        let prefix = name.strip_suffix("-grp").unwrap_or(name);
        let named = node.metadata.name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('-'));
        labelled || named
    }
}

/// Whether a group's name is a value or has it as a part between dashes, as providers build names from it.
fn names(group: &str, value: &str) -> bool {
    !value.is_empty() && (group == value || format!("-{group}-").contains(&format!("-{value}-")))
}

// === impl Refusal ===

impl Refusal {
    /// A refusal by an error code and what it says, as providers of Cluster Autoscaler and Karpenter word them.
    #[must_use]
    pub fn by_code(code: &str, message: &str) -> Self {
        let code_of = code.to_ascii_uppercase();
        let has = |parts: &[&str]| parts.iter().any(|part| code_of.contains(part));
        let kind = if has(&["QUOTA", "LIMITEXCEEDED"]) {
            RefusalKind::Quota
        } else if has(&["OUT_OF_RESOURCES", "STOCKOUT", "INSUFFICIENT", "RESOURCE_POOL_EXHAUSTED", "CAPACITY"]) {
            RefusalKind::StockOut
        } else {
            RefusalKind::Backoff
        };
        let cut: String = message.chars().take(200).collect();
        let text = if cut.is_empty() { code.to_owned() } else { format!("{code}: {cut}") };
        Self { kind, message: text }
    }
}

#[cfg(test)]
mod tests;
