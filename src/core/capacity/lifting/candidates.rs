//! Changes that may make room, the cheapest first.

use std::cmp::Reverse;

use super::Try;
use crate::{
    capacity::{Edit, Inventory, Replica, Template},
    cluster::View,
    object::{Node, Pod},
};

/// Most trials of each sort of change: a trial looks at the whole cluster.
const MAX_TRIALS: usize = 12;
/// Most nodes of which pods are tried.
const MAX_NODES: usize = 6;

/// All of them, at most three times [`MAX_TRIALS`].
pub(super) fn all(
    view: &View,
    inventory: &Inventory<'_>,
    replica: &Replica,
    is_own: &dyn Fn(&Pod) -> bool,
) -> Vec<Try> {
    let mut tries: Vec<_> = cordoned(view, inventory, replica).collect();
    tries.extend(movable(view, inventory, replica, is_own));
    tries.extend(shapes(view, inventory, replica));
    tries
}

fn cordoned<'a>(view: &'a View, inventory: &'a Inventory<'_>, replica: &'a Replica) -> impl Iterator<Item = Try> + 'a {
    let nodes = view.nodes.values().filter(|node| node.spec.unschedulable && node.is_ready());
    let nodes = nodes.filter(|node| takes(inventory, replica, node)).take(MAX_TRIALS);
    nodes.map(|node| Try::Make(vec![Edit::Uncordon { node: node.metadata.name.clone() }]))
}

/// Whether a node would take a pod of the replica if it were empty.
fn takes(inventory: &Inventory<'_>, replica: &Replica, node: &Node) -> bool {
    replica.templates().any(|template| inventory.would_take(&node.metadata.name, template))
}

/// Pods of others, on the nodes with most free GPUs first, the smallest first. A DaemonSet's would come back.
fn movable(view: &View, inventory: &Inventory<'_>, replica: &Replica, is_own: &dyn Fn(&Pod) -> bool) -> Vec<Try> {
    let policy = inventory.shape().policy;
    let is_open = |node: &&Node| node.is_ready() && !node.spec.unschedulable && takes(inventory, replica, node);
    let mut nodes: Vec<_> = view.nodes.values().filter(is_open).collect();
    nodes.sort_by_cached_key(|node| (Reverse(inventory.free_gpus_of(&node.metadata.name)), &node.metadata.name));
    nodes.truncate(MAX_NODES);
    let rank = |pod: &Pod| nodes.iter().position(|node| node.metadata.name == pod.node_name);
    let mut pods: Vec<_> = view.pods.values().filter_map(|pod| Some((rank(pod)?, pod))).collect();
    pods.retain(|(_, pod)| is_movable(pod) && !is_own(pod));
    let size = |pod: &Pod| Template::of_pod(pod, view).gpus(|name| policy.is_gpu(name));
    pods.sort_by_cached_key(|(rank, pod)| (size(pod), *rank, pod.metadata.key()));
    // Of each node the largest alone may do what no small one does.
    let (largest, rest): (Vec<_>, Vec<_>) = pods
        .iter()
        .enumerate()
        .partition(|(index, (rank, _))| !pods.iter().skip(index + 1).any(|(other, _)| other == rank));
    let half = MAX_TRIALS / 2;
    let chosen = rest.into_iter().take(half).chain(largest.into_iter().take(half));
    chosen.map(|(_, (_, pod))| Try::Move(pod.metadata.key())).collect()
}

fn is_movable(pod: &Pod) -> bool {
    pod.is_bound() && pod.metadata.controller().is_none_or(|owner| owner.kind != "DaemonSet" && owner.kind != "Node")
}

/// One node of each shape that takes a pod when it is empty, those with fewest GPUs first; then as many of it as a
/// replica has pods.
fn shapes(view: &View, inventory: &Inventory<'_>, replica: &Replica) -> Vec<Try> {
    let policy = inventory.shape().policy;
    let mut nodes: Vec<_> = view.nodes.values().filter(|node| takes(inventory, replica, node)).collect();
    let gpus = |node: &Node| -> i64 {
        let amounts = node.status.allocatable.iter().filter(|(name, _)| policy.is_gpu(name));
        amounts.map(|(_, amount)| amount.units()).fold(0, i64::saturating_add)
    };
    nodes.sort_by_cached_key(|node| (gpus(node), node.metadata.name.clone()));
    let mut seen: Vec<&Node> = Vec::new();
    for node in nodes {
        let alike = |known: &&Node| {
            known.status.allocatable == node.status.allocatable && known.spec.taints == node.spec.taints
        };
        if seen.len() < MAX_TRIALS / 2 && !seen.iter().any(alike) {
            seen.push(node);
        }
    }
    let counts = if replica.is_group() { vec![1, replica.pods()] } else { vec![1] };
    let add = |count| {
        let edit = move |node: &&Node| Edit::AddNodes { count, like: node.metadata.name.clone() };
        seen.iter().map(edit).map(|edit| Try::Make(vec![edit])).collect::<Vec<_>>()
    };
    counts.into_iter().flat_map(add).collect()
}
