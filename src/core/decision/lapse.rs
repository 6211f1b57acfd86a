//! Devices that are there and, for the moment, not allocatable: a device plugin that restarts.
//!
//! While a plugin restarts, or once it finds a device unhealthy, the kubelet leaves the node's capacity as it is and
//! lowers its allocatable (`markResourceUnhealthy`, `pkg/kubelet/cm/devicemanager/manager.go` v1.36.3). The scheduler
//! places nothing on what is not allocatable, so nothing of it is promised. But what was granted before and is asked for
//! already stays granted for a grace: a restart takes seconds, and replicas that are taken back for it would only be
//! asked for again. A drop that outlasts the grace is acted on, and one that comes with less capacity at once.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::Snapshot;
use crate::{
    capacity::Replica,
    cluster::View,
    object::{Node, WorkloadKey},
    policy::Policy,
};

/// Devices of one resource of a node of which not all are allocatable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Lapse {
    /// How many there are.
    pub capacity: i64,
    /// How many pods may use.
    pub allocatable: i64,
    /// How many they could use before it fell.
    pub before: i64,
    /// Since when, while that may be a restart; none once it counts as it is.
    pub since: Option<Timestamp>,
}

/// All of them, and what had been granted before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Lapses {
    /// By node and resource name.
    pub devices: BTreeMap<String, BTreeMap<String, Lapse>>,
    /// Replicas that each workload was granted before the drops that are waited for.
    #[serde(serialize_with = "super::by_name")]
    pub granted: BTreeMap<WorkloadKey, i32>,
}

/// What was seen of the same devices at the last look.
#[derive(Clone, Copy)]
enum Earlier<'a> {
    /// There was none.
    Unseen,
    /// All of them were allocatable, or there was no such node.
    Whole,
    /// Not all of them were.
    Short(&'a Lapse),
}

// === impl Lapses ===

impl Lapses {
    /// What they are now. Without a previous look, nothing is known to have fallen.
    pub(super) fn continued(previous: Option<&Snapshot>, view: &View, policy: &Policy, now: Timestamp) -> Self {
        let mut devices = BTreeMap::new();
        for node in view.nodes.values() {
            let name = &node.metadata.name;
            let known = previous.and_then(|previous| previous.lapses.devices.get(name));
            let earlier = |resource| match (previous, known.and_then(|known| known.get(resource))) {
                (None, _) => Earlier::Unseen,
                (Some(_), None) => Earlier::Whole,
                (Some(_), Some(old)) => Earlier::Short(old),
            };
            let lapses: BTreeMap<_, _> = short(node, policy)
                .map(|(resource, capacity, allocatable)| {
                    let new = Lapse { capacity, allocatable, before: capacity, since: Some(now) };
                    (resource.to_owned(), new.after(earlier(resource), policy, now))
                })
                .collect();
            if !lapses.is_empty() {
                devices.insert(name.clone(), lapses);
            }
        }
        let mut lapses = Self { devices, granted: BTreeMap::new() };
        if let Some(previous) = previous.filter(|_| lapses.recent().next().is_some()) {
            lapses.granted.clone_from(&previous.lapses.granted);
            for decision in previous.decisions.values() {
                if !previous.lapses.granted.contains_key(&decision.workload) {
                    let granted = lapses.granted.entry(decision.workload.clone()).or_default();
                    *granted = decision.grant.max(*granted);
                }
            }
        }
        lapses
    }

    /// Replicas above `grant` that stay granted until it is clear whether the devices come back, and why: at most what
    /// the workload has been granted before and is asked to have already, and at most what was lost.
    pub(super) fn held(
        &self,
        workload: &WorkloadKey,
        replica: &Replica,
        (current, grant): (i32, i32),
        policy: &Policy,
        now: Timestamp,
    ) -> Option<(i32, String)> {
        let surplus = self.granted.get(workload)?.min(&current).saturating_sub(grant);
        let mut lost = BTreeMap::<&str, i64>::new();
        for (_, resource, lapse) in self.recent() {
            let gone = lapse.before.saturating_sub(lapse.allocatable).max(0);
            let sum = lost.entry(resource).or_default();
            *sum = sum.saturating_add(gone);
        }
        let mut needs = BTreeMap::<&str, i64>::new();
        for (resource, amount) in replica.requests() {
            let sum = needs.entry(resource).or_default();
            *sum = sum.saturating_add(amount);
        }
        let replicas = lost.iter().filter_map(|(resource, lost)| {
            let each = needs.get(resource).filter(|each| **each > 0)?;
            Some(lost.unsigned_abs().div_ceil(each.unsigned_abs()))
        });
        let held = surplus.min(i32::try_from(replicas.max()?).unwrap_or(i32::MAX));
        let (node, resource, lapse) = self.recent().find(|(_, resource, _)| needs.contains_key(resource))?;
        let Lapse { capacity, allocatable, before, since } = lapse;
        let message = format!(
            "{resource} of node {node} fell from {before} to {allocatable} of {capacity} {} s ago, as when a device \
             plugin restarts: what was granted stays for {} s, and nothing more is",
            since.map_or(0, |since| now.duration_since(since).as_secs()),
            policy.plugin_grace.as_secs(),
        );
        (held > 0).then_some((held, message))
    }

    /// Those that may be restarts.
    fn recent(&self) -> impl Iterator<Item = (&str, &str, &Lapse)> {
        let all = self.devices.iter().flat_map(|(node, lapses)| lapses.iter().map(move |entry| (node, entry)));
        all.filter(|(_, (_, lapse))| lapse.since.is_some()).map(|(node, (name, lapse))| (&**node, &**name, lapse))
    }
}

// === impl Lapse ===

impl Lapse {
    /// The lapse as it stands.
    fn after(self, old: Earlier<'_>, policy: &Policy, now: Timestamp) -> Self {
        let settled = Self { before: self.allocatable, since: None, ..self };
        let lapse = match old {
            Earlier::Whole => self,
            // What has come back in full is no loss, whatever else is still missing.
            Earlier::Short(old) if old.capacity == self.capacity && self.allocatable >= old.before => settled,
            // A further drop of the same restart has no time of its own.
            Earlier::Short(old) if old.capacity == self.capacity && old.since.is_some() => {
                Self { before: old.before, since: old.since, ..self }
            }
            Earlier::Short(old) if old.capacity == self.capacity && self.allocatable < old.allocatable => {
                Self { before: old.allocatable, ..self }
            }
            Earlier::Unseen | Earlier::Short(_) => settled,
        };
        let waits = |since: &Timestamp| now.duration_since(*since) < policy.plugin_grace;
        if lapse.since.as_ref().is_some_and(waits) { lapse } else { settled }
    }
}

/// Resources of which a node has more GPUs than it offers: name, capacity, allocatable.
fn short<'a>(node: &'a Node, policy: &'a Policy) -> impl Iterator<Item = (&'a str, i64, i64)> {
    let status = &node.status;
    let short = status.capacity.iter().filter_map(|(name, capacity)| {
        let allocatable = status.allocatable.get(name).copied().unwrap_or_default();
        let (capacity, allocatable) = (capacity.units().max(0), allocatable.units().max(0));
        (allocatable < capacity).then_some((name.as_str(), capacity, allocatable))
    });
    short.filter(|(name, ..)| policy.is_gpu(name))
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn look(old: Earlier<'_>, capacity: i64, allocatable: i64, second: i64) -> Lapse {
        let policy = Policy { plugin_grace: SignedDuration::from_secs(30), ..Policy::default() };
        let new = Lapse { capacity, allocatable, before: capacity, since: Some(at(second)) };
        new.after(old, &policy, at(second))
    }

    #[test]
    fn a_drop_is_waited_for_as_long_as_the_grace() {
        let first = look(Earlier::Whole, 8, 0, 100);
        assert_eq!((first.before, first.since), (8, Some(at(100))));
        let later = look(Earlier::Short(&first), 8, 0, 129);
        assert_eq!(later.since, Some(at(100)));
        let settled = look(Earlier::Short(&later), 8, 0, 130);
        assert_eq!((settled.before, settled.since), (0, None));
        assert_eq!(look(Earlier::Short(&settled), 8, 0, 131).since, None);
    }

    #[test]
    fn further_drops_of_one_restart_do_not_prolong_it() {
        let first = look(Earlier::Whole, 8, 4, 100);
        let second = look(Earlier::Short(&first), 8, 0, 120);
        assert_eq!((second.before, second.since), (8, Some(at(100))));
        assert_eq!(look(Earlier::Short(&second), 8, 2, 130).since, None);
    }

    #[test]
    fn a_restart_on_a_node_with_an_unhealthy_device_fell_from_what_was_healthy() {
        let unhealthy = look(Earlier::Unseen, 8, 7, 0);
        assert_eq!(unhealthy.since, None);
        let restart = look(Earlier::Short(&unhealthy), 8, 0, 100);
        assert_eq!((restart.before, restart.since), (7, Some(at(100))));
    }

    #[test]
    fn more_than_there_was_before_a_drop_is_no_loss() {
        let unhealthy = look(Earlier::Unseen, 8, 4, 0);
        let restart = look(Earlier::Short(&unhealthy), 8, 0, 100);
        assert_eq!((restart.before, restart.since), (4, Some(at(100))));
        let back = look(Earlier::Short(&restart), 8, 6, 105);
        assert_eq!((back.before, back.since), (6, None));
    }

    #[test]
    fn less_capacity_is_no_restart() {
        let first = look(Earlier::Whole, 8, 0, 100);
        assert_eq!(look(Earlier::Short(&first), 4, 0, 101).since, None);
    }
}
