//! What pods hold of the nodes, kept up to date pod by pod: an event costs what its pod changes, not what is there.
//!
//! ```text
//!  View + Change ──> note ──> Ledger (sums by node and priority, kin by labels, who waits) ──> Inventory::with
//! ```
//!
//! Sums are exact and what is back to nothing is dropped, so a ledger that was kept equals one that is made anew.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    mem::take,
};

use super::{
    between::Residents,
    devices::Allocated,
    memo::{Memo, Sight},
    ports,
    requests::{self, PODS},
    volumes,
};
use crate::{
    cluster::{Change, Delta, DeviceChange, View},
    object::{Node, ObjectKey, Pod, Text},
};

/// What pods hold of the nodes.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// By name of the node, be it known or not.
    held: HashMap<Text, Held>,
    residents: Residents,
    /// Bound pods that hold ports or volumes.
    holders: BTreeSet<ObjectKey>,
    /// Pods without a node that have not ended.
    waiting: BTreeSet<ObjectKey>,
    /// Pods of which not everything can be read, and which have not ended.
    flawed: BTreeSet<ObjectKey>,
    /// Bound pods by priority.
    priorities: BTreeMap<i32, usize>,
    /// Devices that claims hold.
    allocated: Allocated,
    nodes: Versions,
    memo: Memo,
}

/// When nodes changed, as a count of changes.
#[derive(Clone, Debug, Default)]
struct Versions {
    last: u64,
    /// That of the last complete list.
    listed: u64,
    /// Since then.
    of: HashMap<String, u64>,
}

/// What the pods of one node hold, by their priority: milli-CPU, whole units of everything else.
pub(super) type Held = BTreeMap<i32, BTreeMap<Text, i128>>;

// === impl Ledger ===

impl Ledger {
    /// The ledger of a view.
    #[must_use]
    pub fn of(view: &View) -> Self {
        Self::of_pods(view.pods.iter(), Allocated::of(view.devices.claims.iter().flatten()))
    }

    fn of_pods<'p>(pods: impl Iterator<Item = (&'p ObjectKey, &'p Pod)>, allocated: Allocated) -> Self {
        let mut ledger = Self { allocated, ..Self::default() };
        for (key, pod) in pods {
            ledger.enter(key, pod);
        }
        ledger
    }

    /// Takes note of a change that is about to be put into the view.
    pub fn note(&mut self, view: &View, change: &Change) {
        match change {
            Change::Pod(delta) => self.note_pod(view, delta),
            Change::Node(delta) => self.nodes.note(view, delta),
            Change::Device(DeviceChange::Claim(delta)) => self.allocated.note(view, delta),
            _ => {}
        }
    }

    fn note_pod(&mut self, view: &View, delta: &Delta<Pod, ObjectKey>) {
        match delta {
            Delta::Applied(pod) => {
                let key = pod.metadata.key();
                let old = view.pods.get(&key);
                if old.is_some_and(|old| hold_the_same(old, pod)) {
                    return;
                }
                if let Some(old) = old {
                    self.leave(&key, old);
                }
                self.enter(&key, pod);
            }
            Delta::Deleted(key) => {
                if let Some(old) = view.pods.get(key) {
                    self.leave(key, old);
                }
            }
            Delta::Replaced(pods) => {
                let pods: BTreeMap<_, _> = pods.iter().map(|pod| (pod.metadata.key(), pod)).collect();
                let (nodes, memo) = (take(&mut self.nodes), take(&mut self.memo));
                let allocated = self.allocated.without_pods();
                *self = Self { nodes, memo, ..Self::of_pods(pods.iter().map(|(key, pod)| (key, *pod)), allocated) };
            }
        }
    }

    /// What the pods of a node hold.
    pub(super) fn held(&self, node: &str) -> Option<&Held> {
        self.held.get(node)
    }

    /// Whether any bound pod has a priority below.
    pub(super) fn has_below(&self, priority: i32) -> bool {
        self.priorities.first_key_value().is_some_and(|(lowest, _)| *lowest < priority)
    }

    /// Brings what was found out up to date with the nodes of an inventory; returns its turn.
    pub(super) fn see(&self, sight: Sight<'_>) -> u64 {
        let changed = |node: &str, since| self.nodes.of.get(node).copied().unwrap_or(0).max(self.nodes.listed) > since;
        self.memo.see(sight, self.nodes.last, changed)
    }

    /// Takes out what was found out, so that a trial neither uses nor spoils it.
    pub(super) fn set_memo_aside(&mut self) -> Memo {
        take(&mut self.memo)
    }

    /// Puts it back; nodes that have changed since are looked at again.
    pub(super) fn restore_memo(&mut self, memo: Memo) {
        self.memo = memo;
    }

    pub(super) fn memo(&self) -> &Memo {
        &self.memo
    }

    pub(super) fn allocated(&self) -> &Allocated {
        &self.allocated
    }

    pub(super) fn residents(&self) -> &Residents {
        &self.residents
    }

    /// Bound pods that hold ports or volumes.
    pub(super) fn holders<'v>(&self, view: &'v View) -> impl Iterator<Item = &'v Pod> {
        self.holders.iter().filter_map(|key| view.pods.get(key))
    }

    /// Pods without a node that have not ended.
    pub fn waiting<'v>(&self, view: &'v View) -> impl Iterator<Item = &'v Pod> {
        self.waiting.iter().filter_map(|key| view.pods.get(key))
    }

    /// Pods of which not everything can be read, and which have not ended.
    pub(super) fn flawed<'v>(&self, view: &'v View) -> impl ExactSizeIterator<Item = (&ObjectKey, Option<&'v Pod>)> {
        self.flawed.iter().map(|key| (key, view.pods.get(key)))
    }

    fn enter(&mut self, key: &ObjectKey, pod: &Pod) {
        if pod.is_terminal() {
            return;
        }
        if pod.spec.flaw.is_some() {
            self.flawed.insert(key.clone());
        }
        if pod.node_name.is_empty() {
            self.waiting.insert(key.clone());
            return;
        }
        let held = self.held.entry(pod.node_name.clone()).or_default();
        let priority = pod.spec.priority.unwrap_or(0);
        *self.priorities.entry(priority).or_default() += 1;
        let held = held.entry(priority).or_default();
        for (resource, amount) in taken(pod) {
            if let Some(sum) = held.get_mut(resource) {
                *sum += i128::from(amount);
            } else {
                held.insert(resource.into(), amount.into());
            }
        }
        self.residents.add(key, pod);
        self.allocated.bind(key, pod);
        if volumes::has_any(&pod.spec) || !ports::of(&pod.spec).is_empty() {
            self.holders.insert(key.clone());
        }
    }

    fn leave(&mut self, key: &ObjectKey, pod: &Pod) {
        if pod.is_terminal() {
            return;
        }
        self.flawed.remove(key);
        if pod.node_name.is_empty() {
            self.waiting.remove(key);
            return;
        }
        let priority = pod.spec.priority.unwrap_or(0);
        if let Some(count) = self.priorities.get_mut(&priority) {
            *count -= 1;
            if *count == 0 {
                self.priorities.remove(&priority);
            }
        }
        if let Some(held) = self.held.get_mut(&pod.node_name) {
            if let Some(sums) = held.get_mut(&priority) {
                for (resource, amount) in taken(pod) {
                    if let Some(sum) = sums.get_mut(resource) {
                        *sum -= i128::from(amount);
                        if *sum == 0 {
                            sums.remove(resource);
                        }
                    }
                }
                if sums.is_empty() {
                    held.remove(&priority);
                }
            }
            if held.is_empty() {
                self.held.remove(&pod.node_name);
            }
        }
        self.residents.remove(key, pod);
        self.allocated.unbind(key, pod);
        self.holders.remove(key);
    }
}

// === impl Versions ===

impl Versions {
    fn note(&mut self, view: &View, delta: &Delta<Node, String>) {
        self.last += 1;
        match delta {
            Delta::Applied(node) => {
                let name = &node.metadata.name;
                if view.nodes.get(name) != Some(node) {
                    self.of.insert(name.clone(), self.last);
                }
            }
            Delta::Deleted(name) => _ = self.of.remove(name),
            Delta::Replaced(_) => {
                self.listed = self.last;
                self.of.clear();
            }
        }
    }
}

/// What a bound pod takes of its node, itself counted.
fn taken(pod: &Pod) -> impl Iterator<Item = (&str, i64)> {
    std::iter::once((PODS, 1)).chain(requests::of_assigned(pod)).filter(|(_, amount)| *amount != 0)
}

/// Whether what happened to a pod leaves everything as it is here.
fn hold_the_same(old: &Pod, new: &Pod) -> bool {
    old.node_name == new.node_name
        && old.spec == new.spec
        && old.metadata.labels == new.metadata.labels
        && old.status.granted == new.status.granted
        && old.status.conditions == new.status.conditions
        && old.is_terminal() == new.is_terminal()
        && old.is_terminating() == new.is_terminating()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// A pod of few names, so that most changes are about pods that are there.
    fn pods() -> impl Strategy<Value = Pod> {
        let (name, node, kind) = (0_u8..6, 0_u8..4, 0_u8..6);
        (name, node, kind, any::<bool>(), any::<bool>(), 0_i32..2).prop_map(|(name, node, kind, ended, leaving, priority)| {
            let repels = |keys: serde_json::Value| {
                let term = json!({ "topologyKey": "zone", "labelSelector": {}, "matchLabelKeys": keys });
                json!({ "podAntiAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": [term] } })
            };
            let node = if node == 0 { String::new() } else { format!("n{node}") };
            let mut pod = json!({
                "metadata": { "name": format!("p{name}"), "namespace": "ml", "labels": { "app": format!("a{}", kind % 2) } },
                "spec": { "nodeName": node, "priority": priority, "containers": [{
                    "name": "c", "resources": { "requests": { "cpu": format!("{}m", 100 * u32::from(kind)) } },
                }] },
                "status": { "phase": if ended { "Failed" } else { "Running" } },
            });
            match kind {
                1 => pod["spec"]["affinity"] = repels(json!([])),
                2 => pod["spec"]["affinity"] = repels(json!(["app"])),
                3 => pod["spec"]["containers"][0]["ports"] = json!([{ "hostPort": 80, "containerPort": 80 }]),
                4 => pod["spec"]["volumes"] = json!([{ "name": "v", "persistentVolumeClaim": { "claimName": "c" } }]),
                _ => {}
            }
            if leaving {
                pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            }
            if kind == 5 { Pod::salvage(&pod, "odd").unwrap() } else { serde_json::from_value(pod).unwrap() }
        })
    }

    fn changes() -> impl Strategy<Value = Delta<Pod, ObjectKey>> {
        prop_oneof![
            8 => pods().prop_map(Delta::Applied),
            3 => pods().prop_map(|pod| Delta::Deleted(pod.metadata.key())),
            1 => prop::collection::vec(pods(), 0..6).prop_map(Delta::Replaced),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_ledger_that_was_kept_is_the_one_that_is_made_anew(changes in prop::collection::vec(changes(), 0..40)) {
            let (mut view, mut ledger) = (View::default(), Ledger::default());
            for delta in changes {
                let change = Change::Pod(delta);
                ledger.note(&view, &change);
                view.apply(change);
                let new = Ledger::of(&view);
                prop_assert_eq!(&ledger.held, &new.held);
                prop_assert_eq!(&ledger.residents, &new.residents);
                prop_assert_eq!((&ledger.holders, &ledger.waiting), (&new.holders, &new.waiting));
                prop_assert_eq!(&ledger.flawed, &new.flawed);
                prop_assert_eq!(&ledger.priorities, &new.priorities);
            }
        }
    }
}
