//! Devices of dynamic resource allocation as columns of the inventory: one for each set of devices that requests can
//! select, holding how many of it are free on each node.
//!
//! The rules are those of `plugins/dynamicresources` and `noderesources/fit.go` (`shouldDelegateResourceToDRA`) of
//! Kubernetes v1.36.3: devices that claims have been allocated are taken, whoever uses them; an extended resource that a
//! DeviceClass stands for comes from devices on the nodes whose allocatable has none of it, and from allocatable on all
//! others. The allocator searches exhaustively, so where the sets of the requests are equal or disjoint, whole devices
//! can be counted. Where they overlap, where constraints bind devices together, and where requests name alternatives or
//! all devices of a node, the allocator itself is asked, node by node ([`Searched`]).
//!
//! What pods of other shapes take is charged to every set that may have lost it: what is promised then still fits.

mod allocated;
mod layout;
mod searched;
mod wants;

pub(super) use allocated::{Allocated, Taken};
pub(super) use layout::{Layout, Levy};
pub(super) use searched::Searched;
pub(super) use wants::{Found, Wants};

use std::sync::Arc;

use crate::{cluster::View, device::Selection};

/// Prefix of the resources that stand for a DeviceClass by its name.
const IMPLICIT: &str = "deviceclass.resource.kubernetes.io/";

/// Whether a resource is satisfied by devices alone, never by allocatable.
pub(super) fn is_of_class(resource: &str) -> bool {
    resource.starts_with(IMPLICIT)
}

/// The devices, if everything is known that decides which of them are free.
fn countable(view: &View) -> Result<&Arc<Selection>, String> {
    for kind in ["deviceclasses", "resourceslices", "resourceclaims"] {
        if let Some((_, why)) = view.unreadable.get(kind).and_then(|doubts| doubts.first_key_value()) {
            return Err(format!("{kind} cannot be read: {why}"));
        }
    }
    if view.devices.claims.is_none() {
        return Err("resourceclaims are not known".to_owned());
    }
    view.devices().ok_or_else(|| "resourceslices are not known".to_owned())
}
