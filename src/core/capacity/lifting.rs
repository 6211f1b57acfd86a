//! The smallest change that lets one more replica be placed, checked by making it in the model.
//!
//! Candidates are tried from the cheapest to the dearest for whoever runs the cluster: uncordon a node, move one pod
//! away, add one node. The first that raises what may be promised is the answer; if none does, there is no answer, and
//! no guess either.

use std::cmp::Reverse;

use serde::Serialize;

use super::{Edit, Inventory, Replica, Template};
use crate::{
    cluster::{Started, View},
    object::{Group, Node, Pod, PodTemplate},
    policy::Policy,
};

/// Most trials of each sort of change: a trial counts the whole cluster anew.
const MAX_TRIALS: usize = 12;
/// Most nodes of which pods are tried.
const MAX_NODES: usize = 6;

/// A change that was tried and helps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Lift {
    /// The change.
    pub edit: Edit,
    /// How many more replicas may be promised after it.
    pub gain: u32,
}

/// The question: whose replicas, and what may be promised as things are.
#[derive(Clone, Copy, Debug)]
pub struct Limited<'a> {
    /// Namespace of the workload.
    pub namespace: &'a str,
    /// Its pod template.
    pub template: &'a PodTemplate,
    /// The rest of a replica that is a group of pods.
    pub group: Option<&'a Group>,
    /// Its groups that are not whole.
    pub started: &'a [Started],
    /// What may be promised now.
    pub lo: u32,
}

/// Finds the smallest change; the view is as it was when this returns.
pub fn smallest(view: &mut View, policy: &Policy, limited: Limited<'_>, is_own: impl Fn(&Pod) -> bool) -> Option<Lift> {
    let candidates = candidates(view, policy, limited, &is_own);
    candidates.into_iter().find_map(|edit| {
        let after = edit.tried(view, |view| {
            Inventory::of(view, policy).fits_replica_beside(&limited.replica(view), |pod| !is_own(pod)).fits.lo
        });
        let gain = after.ok()?.saturating_sub(limited.lo);
        (gain > 0).then_some(Lift { edit, gain })
    })
}

fn candidates(view: &View, policy: &Policy, limited: Limited<'_>, is_own: &impl Fn(&Pod) -> bool) -> Vec<Edit> {
    let mut edits: Vec<_> = cordoned(view).collect();
    edits.extend(movable(view, policy, is_own));
    edits.extend(shapes(view, policy, limited));
    edits
}

fn cordoned(view: &View) -> impl Iterator<Item = Edit> {
    let nodes = view.nodes.values().filter(|node| node.spec.unschedulable && node.is_ready());
    nodes.take(MAX_TRIALS).map(|node| Edit::Uncordon { node: node.metadata.name.clone() })
}

/// Pods of others, on the nodes with most free GPUs first, the smallest first. A DaemonSet's would come back.
fn movable(view: &View, policy: &Policy, is_own: &impl Fn(&Pod) -> bool) -> Vec<Edit> {
    let inventory = Inventory::of(view, policy);
    let gpus = |node: &Node| inventory.free_gpus_of(&node.metadata.name);
    let mut nodes: Vec<_> = view.nodes.values().filter(|node| node.is_ready() && !node.spec.unschedulable).collect();
    nodes.sort_by_key(|node| (Reverse(gpus(node)), &node.metadata.name));
    nodes.truncate(MAX_NODES);
    let mut pods: Vec<_> = view.pods.values().filter(|pod| is_movable(pod) && !is_own(pod)).collect();
    let rank = |pod: &Pod| nodes.iter().position(|node| node.metadata.name == pod.node_name);
    pods.retain(|pod| rank(pod).is_some());
    let size = |pod: &Pod| Template::of_pod(pod, view).gpus(|name| policy.is_gpu(name));
    pods.sort_by_cached_key(|pod| (size(pod), rank(pod), pod.metadata.key()));
    // Of each node the largest alone may do what no small one does.
    let (largest, rest): (Vec<_>, Vec<_>) = pods
        .iter()
        .enumerate()
        .partition(|(index, pod)| !pods.iter().skip(index + 1).any(|other| other.node_name == pod.node_name));
    let half = MAX_TRIALS / 2;
    let chosen = rest.into_iter().take(half).chain(largest.into_iter().take(half));
    chosen.map(|(_, pod)| Edit::DeletePod { pod: pod.metadata.key() }).collect()
}

fn is_movable(pod: &Pod) -> bool {
    pod.is_bound() && pod.metadata.controller().is_none_or(|owner| owner.kind != "DaemonSet" && owner.kind != "Node")
}

/// One node of each shape that takes a pod when it is empty, those with fewest GPUs first; then as many of it as a
/// replica has pods.
fn shapes(view: &View, policy: &Policy, limited: Limited<'_>) -> Vec<Edit> {
    let replica = limited.replica(view);
    let inventory = Inventory::of(view, policy);
    let takes = |node: &Node| replica.templates().any(|template| inventory.would_take(&node.metadata.name, template));
    let mut nodes: Vec<_> = view.nodes.values().filter(|node| takes(node)).collect();
    let gpus = |node: &Node| -> i64 {
        let amounts = node.status.allocatable.iter().filter(|(name, _)| policy.is_gpu(name));
        amounts.map(|(_, amount)| amount.units()).fold(0, i64::saturating_add)
    };
    nodes.sort_by_cached_key(|node| (gpus(node), node.metadata.name.clone()));
    let mut seen: Vec<(&Node, i64)> = Vec::new();
    for node in nodes {
        let alike = |(known, _): &(&Node, i64)| {
            known.status.allocatable == node.status.allocatable && known.spec.taints == node.spec.taints
        };
        if seen.len() < MAX_TRIALS && !seen.iter().any(alike) {
            seen.push((node, gpus(node)));
        }
    }
    let counts = if replica.is_group() { vec![1, replica.pods()] } else { vec![1] };
    let add = |count| {
        seen.iter().map(move |(node, _)| Edit::AddNodes { count, like: node.metadata.name.clone() }).collect::<Vec<_>>()
    };
    counts.into_iter().flat_map(add).collect()
}

// === impl Limited ===

impl Limited<'_> {
    fn replica(&self, view: &View) -> Replica {
        Replica::of(self.template, self.group, self.namespace, view, self.started.to_vec())
    }
}
