//! Puts a [`Change`] into a [`View`].
//!
//! A relist replaces one kind in one step: there is no moment at which half of its objects are missing (missing pods
//! would look like free GPUs). Kinds do not depend on each other, so the order in which they arrive is irrelevant.

use std::{collections::BTreeMap, mem};

use super::{Change, Delta, Namespace, View};
use crate::autoscaler::NodeAutoscaler;
use crate::object::{Node, ScaleTarget, WorkloadKey};

/// What a change did to the view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Nothing: the view already said so.
    Same,
    /// Something that no decision waits for; the next tick is soon enough.
    Minor,
    /// Something that decisions depend on: evaluate soon.
    Matters,
}

// === impl Effect ===

impl Effect {
    /// Whether an evaluation should follow before the next tick.
    #[must_use]
    pub fn matters(self) -> bool {
        self == Self::Matters
    }

    pub(super) fn changed(changed: bool) -> Self {
        if changed { Self::Matters } else { Self::Same }
    }
}

// === impl View ===

impl View {
    /// Puts a change into the view and says how much it matters.
    pub fn apply(&mut self, change: Change) -> Effect {
        match change {
            Change::Node(delta) => apply(&mut self.nodes, delta, |node| node.metadata.name.clone(), compare_nodes),
            Change::Pod(delta) => apply(&mut self.pods, delta, |pod| pod.metadata.key(), compare),
            Change::ScaledObject(delta) => {
                apply(&mut self.scaled_objects, delta, |object| object.metadata.key(), compare)
            }
            Change::ScaledJob(delta) => self.apply_scaled_job(delta),
            Change::Hpa(delta) => apply(&mut self.hpas, delta, |hpa| hpa.metadata.key(), compare),
            Change::Workload { group, kind, delta } => self.apply_workload(&group, &kind, delta),
            Change::Namespace(delta) => self.apply_namespace(delta),
            Change::ResourceQuota(delta) => {
                apply(&mut self.resource_quotas, delta, |quota| quota.metadata.key(), compare)
            }
            Change::LimitRange(delta) => apply(&mut self.limit_ranges, delta, |range| range.metadata.key(), compare),
            Change::RuntimeClass(delta) => {
                apply(&mut self.runtime_classes, delta, |class| class.metadata.name.clone(), compare)
            }
            Change::PriorityClass(delta) => self.apply_priority_class(delta),
            Change::Device(change) => self.apply_device(change),
            Change::Queue(change) => self.apply_queue(change),
            Change::Storage(change) => self.storage.apply(change),
            Change::Booking(change) => self.bookings.apply(change),
            Change::NodeAutoscaler(new) => self.apply_autoscaler(new),
            Change::ExternalApi(new) => {
                let old = self.external_api.replace(new);
                Effect::changed(old != self.external_api)
            }
            Change::Unreadable { resource, doubts } => self.apply_doubts(resource, doubts),
        }
    }

    /// That the same was said again is soon enough at the next tick.
    fn apply_autoscaler(&mut self, new: Option<NodeAutoscaler>) -> Effect {
        let old = mem::replace(&mut self.node_autoscaler, new);
        let said = |it: &Option<NodeAutoscaler>| it.clone().map(|it| NodeAutoscaler { updated: None, ..it });
        if old == self.node_autoscaler {
            return Effect::Same;
        }
        if said(&old) == said(&self.node_autoscaler) { Effect::Minor } else { Effect::Matters }
    }

    /// A relist replaces the workloads of its own group and kind only.
    fn apply_workload(
        &mut self,
        group: &str,
        kind: &str,
        delta: Delta<(WorkloadKey, ScaleTarget), WorkloadKey>,
    ) -> Effect {
        match delta {
            Delta::Applied((key, target)) => insert(&mut self.workloads, key, target, compare),
            Delta::Deleted(key) => Effect::changed(self.workloads.remove(&key).is_some()),
            Delta::Replaced(list) => {
                let ours = |key: &WorkloadKey| key.group == group && key.kind == kind;
                let new: BTreeMap<_, _> = list.into_iter().collect();
                let same = self.workloads.iter().filter(|(key, _)| ours(key)).eq(&new);
                self.workloads.retain(|key, _| !ours(key));
                self.workloads.extend(new);
                Effect::changed(!same)
            }
        }
    }

    fn apply_namespace(&mut self, delta: Delta<(String, Namespace), String>) -> Effect {
        match delta {
            Delta::Applied((name, namespace)) => self.describe_namespace(&name, namespace),
            Delta::Deleted(name) => self.describe_namespace(&name, Namespace::default()),
            Delta::Replaced(list) => {
                let new: BTreeMap<_, _> = list.into_iter().collect();
                let gone: Vec<_> = self.namespaces.keys().filter(|name| !new.contains_key(*name)).cloned().collect();
                let gone = gone.into_iter().map(|name| (name, Namespace::default()));
                let all: Vec<_> = gone.chain(new).collect();
                let effects = all.into_iter().map(|(name, namespace)| self.describe_namespace(&name, namespace));
                effects.max().unwrap_or(Effect::Same)
            }
        }
    }

    /// Sets what is known of a namespace.
    fn describe_namespace(&mut self, name: &str, described: Namespace) -> Effect {
        let Namespace { labels, annotations, terminating } = described;
        let entry = self.namespaces.entry(name.to_owned()).or_default();
        let changed = entry.labels != labels || entry.annotations != annotations || entry.terminating != terminating;
        (entry.labels, entry.annotations, entry.terminating) = (labels, annotations, terminating);
        self.drop_empty_namespace(name);
        Effect::changed(changed)
    }

    /// Keeps the view the same whatever came and went: an entry without content says nothing.
    fn drop_empty_namespace(&mut self, name: &str) {
        if self.namespaces.get(name).is_some_and(|namespace| *namespace == Namespace::default()) {
            self.namespaces.remove(name);
        }
    }

    fn apply_priority_class(&mut self, delta: Delta<(String, i32, bool), String>) -> Effect {
        let before = (self.priority_classes.clone(), self.global_default_classes.clone());
        match delta {
            Delta::Applied(class) => self.set_priority_class(class),
            Delta::Deleted(name) => self.remove_priority_class(&name),
            Delta::Replaced(list) => {
                self.priority_classes.clear();
                self.global_default_classes.clear();
                for class in list {
                    self.set_priority_class(class);
                }
            }
        }
        self.settle_global_default();
        Effect::changed(before != (self.priority_classes.clone(), self.global_default_classes.clone()))
    }

    fn set_priority_class(&mut self, (name, value, global_default): (String, i32, bool)) {
        self.remove_priority_class(&name);
        self.priority_classes.insert(name.clone(), value);
        if global_default {
            self.global_default_classes.insert(name);
        }
    }

    fn remove_priority_class(&mut self, name: &str) {
        self.priority_classes.remove(name);
        self.global_default_classes.remove(name);
    }

    /// Of several global defaults the lowest counts (`plugin/pkg/admission/priority/admission.go`, Kubernetes v1.36.3).
    fn settle_global_default(&mut self) {
        self.priority_classes.remove("");
        let defaults = self.global_default_classes.iter().filter_map(|name| self.priority_classes.get(name));
        if let Some(lowest) = defaults.min().copied() {
            self.priority_classes.insert(String::new(), lowest);
        }
    }
}

// === one kind in one map ===

pub(super) fn apply<K: Ord, T>(
    map: &mut BTreeMap<K, T>,
    delta: Delta<T, K>,
    key: fn(&T) -> K,
    compare: fn(&T, &T) -> Effect,
) -> Effect {
    match delta {
        Delta::Applied(object) => insert(map, key(&object), object, compare),
        Delta::Deleted(key) => Effect::changed(map.remove(&key).is_some()),
        Delta::Replaced(list) => {
            let new = list.into_iter().map(|object| (key(&object), object)).collect();
            let old = mem::replace(map, new);
            compare_maps(&old, map, compare)
        }
    }
}

fn insert<K: Ord, T>(map: &mut BTreeMap<K, T>, key: K, new: T, compare: fn(&T, &T) -> Effect) -> Effect {
    let effect = map.get(&key).map_or(Effect::Matters, |old| compare(old, &new));
    map.insert(key, new);
    effect
}

fn compare_maps<K: Ord, T>(old: &BTreeMap<K, T>, new: &BTreeMap<K, T>, compare: fn(&T, &T) -> Effect) -> Effect {
    if !old.keys().eq(new.keys()) {
        return Effect::Matters;
    }
    old.values().zip(new.values()).map(|(old, new)| compare(old, new)).max().unwrap_or(Effect::Same)
}

pub(super) fn compare<T: PartialEq>(old: &T, new: &T) -> Effect {
    Effect::changed(old != new)
}

/// Agents on a node rewrite its annotations all the time; placement does not read them.
fn compare_nodes(old: &Node, new: &Node) -> Effect {
    let (a, b) = (&old.metadata, &new.metadata);
    if (&a.uid, &a.labels, a.deletion_timestamp) != (&b.uid, &b.labels, b.deletion_timestamp)
        || old.spec != new.spec
        || old.status != new.status
    {
        return Effect::Matters;
    }
    if old == new { Effect::Same } else { Effect::Minor }
}

#[cfg(test)]
mod tests;
