//! What is known of Kueue's queues.

use std::collections::BTreeMap;

use super::{Delta, Effect, View, apply};
use crate::object::{
    ObjectKey, Pod,
    kueue::{self, ClusterQueue, Cohort, LocalQueue, ResourceFlavor},
    pod::Toleration,
};

/// Queues and their quota. A cluster without Kueue has none of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Queues {
    /// LocalQueues.
    pub local: BTreeMap<ObjectKey, LocalQueue>,
    /// ClusterQueues by name.
    pub cluster: BTreeMap<String, ClusterQueue>,
    /// ResourceFlavors by name.
    pub flavors: BTreeMap<String, ResourceFlavor>,
    /// Cohorts by name; none while they have not been listed.
    pub cohorts: Option<BTreeMap<String, Cohort>>,
}

/// A change of queues.
#[derive(Clone, Debug)]
pub enum QueueChange {
    /// LocalQueues.
    Local(Delta<LocalQueue, ObjectKey>),
    /// ClusterQueues.
    Cluster(Delta<ClusterQueue, String>),
    /// ResourceFlavors.
    Flavor(Delta<ResourceFlavor, String>),
    /// Cohorts.
    Cohort(Delta<Cohort, String>),
}

// === impl Queues ===

impl Queues {
    /// A list of that kind was read, be it that there is none of it.
    pub fn know(&mut self, kind: &str) {
        if kind == "Cohort" {
            self.cohorts.get_or_insert_default();
        }
    }

    /// Whether a pod may select nodes by a label because it was given a flavor.
    pub(super) fn may_have_labelled(&self, pod: &Pod, key: &str) -> bool {
        kueue::is_admitted(pod) && self.flavors.values().any(|flavor| flavor.spec.node_labels.contains_key(key))
    }

    /// Whether a pod may tolerate something because it was given a flavor.
    pub(super) fn may_have_tolerated(&self, pod: &Pod, toleration: &Toleration) -> bool {
        kueue::is_admitted(pod) && self.flavors.values().any(|flavor| flavor.spec.tolerations.contains(toleration))
    }
}

// === impl View ===

impl View {
    pub(super) fn apply_queue(&mut self, change: QueueChange) -> Effect {
        let queues = &mut self.queues;
        match change {
            QueueChange::Local(delta) => apply::apply(&mut queues.local, delta, |it| it.metadata.key(), apply::compare),
            QueueChange::Cluster(delta) => {
                apply::apply(&mut queues.cluster, delta, |it| it.metadata.name.clone(), apply::compare)
            }
            QueueChange::Flavor(delta) => {
                apply::apply(&mut queues.flavors, delta, |it| it.metadata.name.clone(), apply::compare)
            }
            QueueChange::Cohort(delta) => {
                let unknown = queues.cohorts.is_none();
                let cohorts = queues.cohorts.get_or_insert_default();
                let effect = apply::apply(cohorts, delta, |it| it.metadata.name.clone(), apply::compare);
                if unknown { Effect::Matters } else { effect }
            }
        }
    }
}
