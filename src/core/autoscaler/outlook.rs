//! Nodes that may come, as a view of their own: what would fit on them is asked of the same model.

use jiff::Timestamp;

use super::{NodeAutoscaler, NodeGroup};
use crate::{
    capacity::Edit,
    cluster::{Change, Delta, View},
    object::Node,
    policy::Policy,
};

/// Most nodes of one group that are looked at.
const MAX_NODES: u32 = 50;
/// Age at which the status of Cluster Autoscaler, written about every 10 s, means that it does not work (its FAQ).
const STALE: jiff::SignedDuration = jiff::SignedDuration::from_secs(180);

/// What the node autoscaler may do.
#[derive(Clone, Debug, Default)]
pub struct Outlook {
    /// Nodes that are being brought, empty but for DaemonSets' pods.
    pub arriving: View,
    /// Nodes that may be added beyond them.
    pub further: View,
    /// Whether a group may add nodes that nobody knows the shape of.
    pub unknown: bool,
    /// Why no node may be added, where none may.
    pub reason: Option<String>,
}

// === impl Outlook ===

impl Outlook {
    /// What may come as things are; nothing without a node autoscaler.
    #[must_use]
    pub fn of(view: &View, policy: &Policy, now: Timestamp) -> Self {
        let mut outlook = Self::default();
        let Some(autoscaler) = &view.node_autoscaler else { return outlook };
        if let Some(reason) = doubt(autoscaler, now) {
            return Self { reason: Some(reason), ..outlook };
        }
        let mut reasons = Vec::new();
        for group in &autoscaler.groups {
            let group = &since(group, autoscaler.updated, view);
            let like = example(view, group);
            let further = room(group, like, policy);
            reasons.extend(refusal(group, further));
            let Some(like) = like else {
                outlook.unknown |= further > 0;
                continue;
            };
            add(&mut outlook.arriving, view, like, group.arriving);
            add(&mut outlook.further, view, like, further);
        }
        let none = outlook.further.nodes.is_empty() && !outlook.unknown;
        outlook.reason = none.then(|| match reasons.as_slice() {
            [] => "the node autoscaler has no group of nodes".to_owned(),
            reasons => reasons.join("; "),
        });
        for room in [&mut outlook.arriving, &mut outlook.further] {
            room.namespaces.clone_from(&view.namespaces);
            room.priority_classes.clone_from(&view.priority_classes);
            room.limit_ranges.clone_from(&view.limit_ranges);
            room.runtime_classes.clone_from(&view.runtime_classes);
            room.device_classes.clone_from(&view.device_classes);
        }
        outlook
    }

    /// Whether nothing may come.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.arriving.nodes.is_empty() && self.further.nodes.is_empty() && !self.unknown
    }
}

fn doubt(autoscaler: &NodeAutoscaler, now: Timestamp) -> Option<String> {
    let age = autoscaler.updated.map(|updated| now.duration_since(updated)).filter(|age| *age > STALE);
    let stale = age.map(|age| format!("{} has not been written for {} s", autoscaler.evidence, age.as_secs()));
    autoscaler.problem.clone().or(stale)
}

/// The group as it is now: nodes that have become ready since it was written about are not expected any more.
///
/// Times of conditions are whole seconds, so that a node of the very second counts as one of these.
fn since(group: &NodeGroup, updated: Option<Timestamp>, view: &View) -> NodeGroup {
    let Some(updated) = updated else { return group.clone() };
    let came = |node: &&Node| node.ready_since().is_some_and(|since| since.as_second() >= updated.as_second());
    let came = view.nodes.values().filter(|node| group.has(node)).filter(came).count();
    let came = u32::try_from(came).unwrap_or(u32::MAX);
    NodeGroup {
        arriving: group.arriving.saturating_sub(came),
        // Those that were not even wanted then are wanted now.
        target: group.target.saturating_add(came.saturating_sub(group.arriving)),
        ..group.clone()
    }
}

/// A node of the group, the one that offers most of what counts first.
fn example<'v>(view: &'v View, group: &NodeGroup) -> Option<&'v Node> {
    let nodes = view.nodes.values().filter(|node| group.has(node));
    // A node whose devices have not registered yet offers fewer resources than its likes.
    nodes.max_by_key(|node| (node.is_ready(), node.status.allocatable.len(), std::cmp::Reverse(&node.metadata.name)))
}

/// Nodes that the group may add.
fn room(group: &NodeGroup, like: Option<&Node>, policy: &Policy) -> u32 {
    if group.refusal.is_some() {
        return 0;
    }
    let by_count = group.further();
    let by_resource = like.and_then(|like| {
        let limits = group.left.iter().filter_map(|(name, left)| {
            let each = like.status.capacity.get(name).or_else(|| like.status.allocatable.get(name))?;
            let nodes = left.nano().max(0) / each.nano().max(1);
            Some(u32::try_from(nodes).unwrap_or(u32::MAX))
        });
        limits.min()
    });
    let limit = by_count.into_iter().chain(by_resource).min();
    limit.unwrap_or(policy.unlimited_nodes).min(MAX_NODES)
}

fn refusal(group: &NodeGroup, further: u32) -> Option<String> {
    match &group.refusal {
        Some(refusal) => Some(format!("node group {}: {}", group.name, refusal.message)),
        None if further == 0 => Some(format!("node group {} has reached its limits", group.name)),
        None => None,
    }
}

/// Adds copies of a node to a room, with the DaemonSets' pods that run on it.
fn add(room: &mut View, view: &View, like: &Node, count: u32) {
    let edit = Edit::AddNodes { count: count.min(MAX_NODES), like: like.metadata.name.clone() };
    for change in edit.changes(view).unwrap_or_default() {
        if matches!(change, Change::Node(Delta::Applied(_)) | Change::Pod(Delta::Applied(_))) {
            room.apply(change);
        }
    }
}
