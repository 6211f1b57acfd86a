//! Which devices there are: those of complete pools, in the newest generation of each.
//!
//! `GatherPools` and `buildPool` in `k8s.io/dynamic-resource-allocation` v0.36.3
//! `structured/internal/incubating/pools_incubating.go`: nothing is taken from a pool of which slices are missing, or
//! in which two devices have one name. Each node looks at its own slices of a pool first, and at those of other nodes
//! only if its own do not make the pool complete.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::object::device::{Device, ResourceSlice};

/// Fields of a slice that say which of several nodes can use its devices.
const OF_SEVERAL_NODES: [&str; 3] = ["nodeSelector", "allNodes", "perDeviceNodeSelection"];
/// Pools of such devices come last.
const LATE: &str = "bindingConditions";

/// A device that can be allocated.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed<'a> {
    pub(super) driver: &'a str,
    pub(super) pool: &'a str,
    /// The one node that can use it; none where there may be several.
    pub(super) node: Option<&'a str>,
    pub(super) device: &'a Device,
    /// What of its slice is not understood.
    pub(super) beyond: Option<&'a str>,
}

/// All devices.
#[derive(Debug, Default)]
pub(super) struct Pools<'a> {
    /// On each node in the order in which the scheduler tries them: by driver, pool, slice, and as they are listed.
    pub(super) devices: Vec<Placed<'a>>,
    /// Nodes on which some pool is incomplete or ambiguous, and which.
    pub(super) unsettled: BTreeMap<&'a str, &'a str>,
}

type Slices<'a> = Vec<&'a ResourceSlice>;

// === impl Pools ===

impl<'a> Pools<'a> {
    pub(super) fn of(slices: &'a BTreeMap<String, ResourceSlice>) -> Self {
        let mut pools: BTreeMap<(&str, &str), Slices<'a>> = BTreeMap::new();
        for slice in slices.values() {
            pools.entry((&slice.spec.driver, &slice.spec.pool.name)).or_default().push(slice);
        }
        let mut all = Self::default();
        for pool in pools.values() {
            if pool.iter().all(|slice| is_of_one_node(slice)) { all.add_by_node(pool) } else { all.add_shared(pool) }
        }
        all.devices.sort_by_key(|placed| placed.beyond == Some(LATE));
        all.doubt_equal_names();
        all
    }

    /// A pool of which each slice is of one node.
    fn add_by_node(&mut self, pool: &Slices<'a>) {
        let nodes: BTreeSet<&str> = pool.iter().map(|slice| slice.spec.node_name.as_str()).collect();
        for node in nodes {
            let own = newest(pool.iter().copied().filter(|slice| slice.spec.node_name == node));
            let Some(first) = own.first() else { continue };
            let (generation, expected) = (first.spec.pool.generation, first.spec.pool.resource_slice_count);
            let is = |count: usize| i64::try_from(count) == Ok(expected);
            if own.iter().any(|slice| slice.spec.pool.resource_slice_count != expected) {
                // Which of them the scheduler believes is a matter of chance.
                self.unsettled.insert(node, &first.spec.pool.name);
                self.place(&own, Some("resourceSliceCount"));
                continue;
            }
            if !is(own.len()) {
                if pool.iter().any(|slice| slice.spec.pool.generation > generation) {
                    continue;
                }
                if !is(pool.iter().filter(|slice| slice.spec.pool.generation == generation).count()) {
                    self.unsettled.insert(node, &first.spec.pool.name);
                    continue;
                }
            }
            if are_distinct(&own) {
                self.place(&own, None);
            } else {
                self.unsettled.insert(node, &first.spec.pool.name);
            }
        }
    }

    /// A pool of which several nodes can use devices: they are told apart by nobody here, so that it is enough to know
    /// that they are there.
    fn add_shared(&mut self, pool: &Slices<'a>) {
        let slices = newest(pool.iter().copied());
        let present = i64::try_from(slices.len()).unwrap_or(i64::MAX);
        if slices.iter().any(|slice| slice.spec.pool.resource_slice_count <= present) && are_distinct(&slices) {
            self.place(&slices, None);
        }
    }

    fn place(&mut self, slices: &Slices<'a>, doubt: Option<&'a str>) {
        let late = slices.iter().flat_map(|slice| &slice.spec.devices).any(|it| said(&it.beyond).any(|it| it == LATE));
        for slice in slices {
            let spec = &slice.spec;
            let node = Some(spec.node_name.as_str()).filter(|_| is_of_one_node(slice));
            let beyond = said(&spec.beyond).find(|field| !OF_SEVERAL_NODES.contains(field)).or(doubt);
            let beyond = beyond.or(late.then_some(LATE));
            let of = |device| Placed { driver: &spec.driver, pool: &spec.pool.name, node, device, beyond };
            self.devices.extend(spec.devices.iter().map(of));
        }
    }

    /// Devices of different nodes that have one name in one pool are one to those who count what is allocated.
    fn doubt_equal_names(&mut self) {
        let key = |placed: &Placed<'a>| (placed.driver, placed.pool, placed.device.name.as_str());
        let mut seen: HashMap<_, usize> = HashMap::new();
        for placed in &self.devices {
            *seen.entry(key(placed)).or_default() += 1;
        }
        for placed in &mut self.devices {
            if seen.get(&key(placed)).is_some_and(|count| *count > 1) {
                placed.beyond = Some("name");
            }
        }
    }
}

fn is_of_one_node(slice: &ResourceSlice) -> bool {
    !slice.spec.node_name.is_empty() && !said(&slice.spec.beyond).any(|field| OF_SEVERAL_NODES.contains(&field))
}

fn newest<'a>(slices: impl Iterator<Item = &'a ResourceSlice>) -> Slices<'a> {
    let mut newest: Slices<'a> = Vec::new();
    for slice in slices {
        let known = newest.first().map_or(i64::MIN, |first| first.spec.pool.generation);
        if slice.spec.pool.generation > known {
            newest.clear();
        }
        if slice.spec.pool.generation >= known {
            newest.push(slice);
        }
    }
    newest
}

fn are_distinct(slices: &Slices<'_>) -> bool {
    let mut names = HashSet::new();
    slices.iter().flat_map(|slice| &slice.spec.devices).all(|device| names.insert(&device.name))
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
