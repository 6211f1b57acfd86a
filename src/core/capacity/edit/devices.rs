//! Devices of a node that comes: those of its like, all of them free but for what its DaemonSets' pods have by claims of
//! their own.
//!
//! Only slices of the like alone are copied, each pool under a name of its own: devices that several nodes can use do not
//! become more with a node. A pool that the like shares with other nodes is incomplete without them, and counts as such.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    cluster::{Change, Delta, DeviceChange, View},
    object::{
        Node, Pod,
        device::{Device, ResourceClaim, ResourceSlice},
    },
};

/// Attributes that tell one machine's device from all others, by the names that drivers give them in their own domain.
const OF_ONE_DEVICE: [&str; 5] = ["uuid", "serial", "serialNumber", "guid", "mac"];

/// The slices of a node's own devices.
pub(super) fn own<'v>(view: &'v View, node: &Node) -> Vec<&'v ResourceSlice> {
    let slices = view.devices.slices.iter().flat_map(BTreeMap::values);
    slices.filter(|slice| slice.spec.node_name == node.metadata.name).collect()
}

/// The slice as the node that comes has it.
pub(super) fn equipped(slice: &ResourceSlice, name: &str) -> Change {
    Change::Device(DeviceChange::Slice(Delta::Applied(published(slice, name))))
}

/// The claims for devices of the like that are made for a daemon's pod alone, as they will be for its copy.
pub(super) fn claimed(view: &View, own: &[&ResourceSlice], daemon: &Pod, copy: &Pod) -> Vec<Change> {
    if daemon.spec.resource_claims.is_empty() {
        return Vec::new();
    }
    let pools: BTreeSet<_> = own.iter().map(|slice| (&slice.spec.driver, &slice.spec.pool.name)).collect();
    let is_its = |claim: &&ResourceClaim| {
        let [user] = claim.status.reserved_for.as_slice() else { return false };
        let mut devices = claim.status.allocation.iter().flat_map(|it| &it.devices.results);
        user.resource == "pods"
            && *daemon.metadata.name == *user.name
            && *daemon.metadata.namespace == *claim.metadata.namespace
            && devices.all(|device| pools.contains(&(&device.driver, &device.pool)))
    };
    let claims = view.devices.claims.iter().flat_map(BTreeMap::values).filter(is_its);
    let claims = claims.map(|claim| allocated(claim, &daemon.node_name, copy));
    claims.map(|claim| Change::Device(DeviceChange::Claim(Delta::Applied(claim)))).collect()
}

fn published(slice: &ResourceSlice, node: &str) -> ResourceSlice {
    let mut slice = slice.clone();
    slice.metadata.name = format!("{}-{node}", slice.metadata.name);
    slice.metadata.uid.clear();
    slice.spec.pool.name = pool(&slice.spec.pool.name, &slice.spec.node_name, node);
    node.clone_into(&mut slice.spec.node_name);
    for device in &mut slice.spec.devices {
        rename(device, node);
    }
    slice
}

/// Pools are mostly called after their node.
fn pool(pool: &str, like: &str, node: &str) -> String {
    if pool == like { node.to_owned() } else { format!("{pool}-{node}") }
}

/// Who asks for one device by its number gets none of another machine.
fn rename(device: &mut Device, node: &str) {
    for (name, attribute) in &mut device.attributes {
        let name = name.rsplit('/').next().unwrap_or(name);
        if let Some(value) = attribute.string.as_mut().filter(|_| OF_ONE_DEVICE.contains(&name)) {
            *value = format!("{value}-{node}");
        }
    }
}

fn allocated(claim: &ResourceClaim, like: &str, user: &Pod) -> ResourceClaim {
    let mut claim = claim.clone();
    let node = &*user.node_name;
    claim.metadata.name = format!("{}-{node}", claim.metadata.name);
    claim.metadata.uid.clear();
    for consumer in &mut claim.status.reserved_for {
        user.metadata.name.as_ref().clone_into(&mut consumer.name);
    }
    for device in claim.status.allocation.iter_mut().flat_map(|it| &mut it.devices.results) {
        device.pool = pool(&device.pool, like, node);
    }
    claim
}
