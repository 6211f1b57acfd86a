//! Which devices there are: those of complete pools, in the newest generation of each.
//!
//! `GatherPools` and `buildPool` in `k8s.io/dynamic-resource-allocation` v0.36.3
//! `structured/internal/incubating/pools_incubating.go`: nothing is taken from a pool of which slices are missing, or
//! in which two devices have one name.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::object::device::{Device, ResourceSlice};

/// Fields of a slice that say which of several nodes can use its devices.
const OF_SEVERAL_NODES: [&str; 3] = ["nodeSelector", "allNodes", "perDeviceNodeSelection"];

/// A device that can be allocated.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed<'a> {
    pub(super) driver: &'a str,
    pub(super) pool: &'a str,
    /// The one node that can use it; none where there may be several.
    pub(super) node: Option<&'a str>,
    pub(super) device: &'a Device,
    /// A field of its slice that is not understood.
    pub(super) beyond: Option<&'a str>,
}

/// All devices of complete pools, by pool, slice and their order in it.
pub(super) fn devices<'a>(slices: &'a BTreeMap<String, ResourceSlice>) -> Vec<Placed<'a>> {
    let mut pools: BTreeMap<(&str, &str), Vec<&'a ResourceSlice>> = BTreeMap::new();
    for slice in slices.values() {
        let known = pools.entry((&slice.spec.driver, &slice.spec.pool.name)).or_default();
        let newest = known.first().map_or(i64::MIN, |first| first.spec.pool.generation);
        if slice.spec.pool.generation > newest {
            known.clear();
        }
        if slice.spec.pool.generation >= newest {
            known.push(slice);
        }
    }
    let complete = pools.into_values().filter(|slices| is_complete(slices) && are_distinct(slices));
    complete.flatten().flat_map(placed).collect()
}

fn is_complete(slices: &[&ResourceSlice]) -> bool {
    let present = i64::try_from(slices.len()).unwrap_or(i64::MAX);
    slices.iter().all(|slice| slice.spec.pool.resource_slice_count == present)
}

fn are_distinct(slices: &[&ResourceSlice]) -> bool {
    let mut names = HashSet::new();
    slices.iter().flat_map(|slice| &slice.spec.devices).all(|device| names.insert(&device.name))
}

fn placed(slice: &ResourceSlice) -> impl Iterator<Item = Placed<'_>> {
    let spec = &slice.spec;
    let fields: BTreeSet<&str> = said(&spec.beyond).collect();
    let several = OF_SEVERAL_NODES.iter().any(|field| fields.contains(field));
    let node = Some(spec.node_name.as_str()).filter(|node| !node.is_empty() && !several);
    let beyond = fields.into_iter().find(|field| !OF_SEVERAL_NODES.contains(field));
    spec.devices.iter().map(move |device| Placed { driver: &spec.driver, pool: &spec.pool.name, node, device, beyond })
}

/// The fields that say something: Go leaves out, or writes as null, what says nothing.
pub(super) fn said(beyond: &crate::object::device::Beyond) -> impl Iterator<Item = &str> {
    use serde_json::Value;
    let empty = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    };
    beyond.iter().filter(move |(_, value)| !empty(value)).map(|(name, _)| name.as_str())
}
