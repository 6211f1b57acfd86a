//! Nodes that come, go, and are cordoned, with everything that is theirs.

use super::EditError;
use crate::{
    cluster::{Change, Delta, DeviceChange, StorageChange, View},
    object::{Node, Pod, Uid, device::ResourceSlice},
};

/// Most nodes that one edit adds.
pub(super) const MAX_ADDED: u32 = 10_000;
/// The label that every node carries with its own name.
const HOSTNAME: &str = "kubernetes.io/hostname";
/// Taints with this prefix speak of the state of one machine, not of its kind.
const STATE_TAINT: &str = "node.kubernetes.io/";

fn on<'v>(view: &'v View, node: &'v Node) -> impl Iterator<Item = &'v Pod> {
    view.pods.values().filter(|pod| pod.node_name == node.metadata.name)
}

pub(super) fn added(view: &View, count: u32, like: &Node) -> Result<Vec<Change>, EditError> {
    if count > MAX_ADDED {
        return Err(EditError::TooMany(count));
    }
    let daemons: Vec<_> = on(view, like).filter(|pod| is_daemon(pod) && pod.is_bound()).collect();
    let mut changes = Vec::new();
    let names = (1_u64..).map(|index| format!("{}-added-{index}", like.metadata.name));
    let free = names.filter(|name| !view.nodes.contains_key(name));
    for name in free.take(count as usize) {
        for daemon in &daemons {
            changes.push(Change::Pod(Delta::Applied(moved(daemon, &name))));
        }
        changes.extend(driven(view, like, &name));
        changes.extend(equipped(view, like, &name));
        changes.push(Change::Node(Delta::Applied(named(like, &name))));
    }
    Ok(changes)
}

fn named(like: &Node, name: &str) -> Node {
    let mut node = like.clone();
    name.clone_into(&mut node.metadata.name);
    node.metadata.uid.clear();
    node.metadata.deletion_timestamp = None;
    if node.metadata.labels.contains_key(HOSTNAME) {
        node.metadata.labels.insert(HOSTNAME.to_owned(), name.to_owned());
    }
    node.spec.unschedulable = false;
    node.spec.taints.retain(|taint| !taint.key.starts_with(STATE_TAINT));
    for condition in node.status.conditions.iter_mut().filter(|condition| condition.kind == "Ready") {
        "True".clone_into(&mut condition.status);
    }
    node
}

/// The drivers that attach volumes to the node.
fn driven(view: &View, like: &Node, name: &str) -> Option<Change> {
    let mut drivers = view.storage.nodes.as_ref()?.get(&like.metadata.name)?.clone();
    name.clone_into(&mut drivers.metadata.name);
    drivers.metadata.uid.clear();
    Some(Change::Storage(StorageChange::Node(Delta::Applied(drivers))))
}

/// The devices that belong to the node, in pools of its own.
fn equipped(view: &View, like: &Node, name: &str) -> impl Iterator<Item = Change> {
    let slices = view.devices.slices.iter().flat_map(|slices| slices.values());
    let own = slices.filter(|slice| slice.spec.node_name == like.metadata.name);
    own.map(|slice| Change::Device(DeviceChange::Slice(Delta::Applied(published(slice, name)))))
}

fn published(slice: &ResourceSlice, node: &str) -> ResourceSlice {
    let mut slice = slice.clone();
    slice.metadata.name = format!("{}-{node}", slice.metadata.name);
    slice.metadata.uid.clear();
    let pool = &mut slice.spec.pool.name;
    *pool = if *pool == slice.spec.node_name { node.to_owned() } else { format!("{pool}-{node}") };
    node.clone_into(&mut slice.spec.node_name);
    slice
}

fn moved(daemon: &Pod, node: &str) -> Pod {
    let mut pod = daemon.clone();
    pod.metadata.name = format!("{}-{node}", daemon.metadata.name).into();
    pod.metadata.uid = Uid::default();
    pod.node_name = node.into();
    pod
}

fn is_daemon(pod: &Pod) -> bool {
    pod.metadata.controller().is_some_and(|owner| owner.kind == "DaemonSet")
}

pub(super) fn removed(view: &View, node: &Node) -> Vec<Change> {
    let pods = on(view, node).map(|pod| Change::Pod(Delta::Deleted(pod.metadata.key())));
    pods.chain([Change::Node(Delta::Deleted(node.metadata.name.clone()))]).collect()
}

/// The node controller taints what is cordoned, a moment later.
pub(super) fn cordoned(node: &Node, unschedulable: bool) -> Change {
    let mut node = node.clone();
    node.spec.unschedulable = unschedulable;
    node.spec.taints.retain(|taint| taint.key != "node.kubernetes.io/unschedulable");
    Change::Node(Delta::Applied(node))
}
