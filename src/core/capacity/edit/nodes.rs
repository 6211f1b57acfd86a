//! Nodes that come, go, and are cordoned, with everything that is theirs.

use serde_json::Value;

use super::{EditError, devices};
use crate::{
    cluster::{Change, Delta, StorageChange, View},
    object::{CsiNode, Node, ObjectKey, Pod, Uid, claim::BETA_CLASS, node::HOSTNAME},
};

/// Most nodes that one edit adds.
pub(super) const MAX_ADDED: u32 = 10_000;
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
    let drivers = view.storage.nodes.as_ref().and_then(|nodes| nodes.get(&like.metadata.name));
    let slices = devices::own(view, like);
    let mut changes = Vec::new();
    let names = (1_u64..).map(|index| format!("{}-added-{index}", like.metadata.name));
    let free = names.filter(|name| !view.nodes.contains_key(name));
    for name in free.take(count as usize) {
        for daemon in &daemons {
            let copy = moved(daemon, &name);
            changes.extend(devices::claimed(view, &slices, daemon, &copy));
            changes.extend(claimed(view, daemon, &copy));
            changes.push(Change::Pod(Delta::Applied(copy)));
        }
        changes.extend(drivers.map(|drivers| driven(drivers, &name)));
        changes.extend(slices.iter().map(|slice| devices::equipped(slice, &name)));
        changes.push(Change::Node(Delta::Applied(named(like, drivers, &name))));
    }
    Ok(changes)
}

fn named(like: &Node, drivers: Option<&CsiNode>, name: &str) -> Node {
    let mut node = like.clone();
    name.clone_into(&mut node.metadata.name);
    node.metadata.uid.clear();
    node.metadata.deletion_timestamp = None;
    for key in own_labels(like, drivers) {
        node.metadata.labels.insert(key, name);
    }
    node.spec.unschedulable = false;
    node.spec.taints.retain(|taint| !taint.key.starts_with(STATE_TAINT));
    for condition in node.status.conditions.iter_mut().filter(|condition| condition.kind == "Ready") {
        "True".clone_into(&mut condition.status);
    }
    node
}

/// Labels that a node shares with no other: its name, also as drivers of local volumes call it where they say which node
/// can use them.
fn own_labels<'a>(like: &'a Node, drivers: Option<&'a CsiNode>) -> impl Iterator<Item = &'a str> {
    let labels = &like.metadata.labels;
    let hostname = labels.get(HOSTNAME);
    let topologies = drivers.into_iter().flat_map(|drivers| &drivers.spec.drivers).flat_map(move |driver| {
        let names = [Some(like.metadata.name.as_str()), hostname, Some(driver.node_id.as_str())];
        let is_name =
            move |key: &&String| labels.get(key).is_some_and(|value| !value.is_empty() && names.contains(&Some(value)));
        driver.topology_keys.iter().filter(is_name).map(String::as_str)
    });
    hostname.map(|_| HOSTNAME).into_iter().chain(topologies)
}

/// The drivers that attach volumes to the node.
fn driven(drivers: &CsiNode, name: &str) -> Change {
    let mut drivers = drivers.clone();
    name.clone_into(&mut drivers.metadata.name);
    drivers.metadata.uid.clear();
    Change::Storage(StorageChange::Node(Delta::Applied(drivers)))
}

/// The claims that are made for a daemon's pod, as they will be for its copy: its volumes are attached like those of all.
fn claimed<'v>(view: &'v View, daemon: &'v Pod, copy: &'v Pod) -> impl Iterator<Item = Change> + 'v {
    let made = daemon.spec.volumes.iter().filter(|volume| volume.get("ephemeral").is_some_and(|it| !it.is_null()));
    let names = made.filter_map(|volume| volume.get("name").and_then(Value::as_str));
    names.filter_map(move |volume| {
        let key = |pod: &Pod| ObjectKey::new(&*pod.metadata.namespace, format!("{}-{volume}", pod.metadata.name));
        let mut claim = view.storage.claims.as_ref()?.get(&key(daemon))?.clone();
        key(copy).name.as_ref().clone_into(&mut claim.metadata.name);
        claim.metadata.uid.clear();
        claim.metadata.annotations.retain(|annotation, _| annotation == BETA_CLASS);
        claim.spec.volume_name.clear();
        "Pending".clone_into(&mut claim.status.phase);
        Some(Change::Storage(StorageChange::Claim(Delta::Applied(claim))))
    })
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
