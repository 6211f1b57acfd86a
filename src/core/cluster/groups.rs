//! The groups of pods that replicas of a LeaderWorkerSet are: which are whole, and what the others lack.

use std::{cmp::Reverse, collections::BTreeMap};

use crate::object::{Group, Pod, group};

/// The groups of one workload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups {
    /// Groups of which every pod is assigned to a node.
    pub whole: usize,
    /// The highest number of these.
    pub last_whole: Option<i32>,
    /// Groups that exist and are not whole, those that lack the most pods first.
    pub started: Vec<Started>,
}

/// What a group that exists lacks. Pods that are terminating or have ended are lacking, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Started {
    /// Leaders without a node: 0 or 1.
    pub leaders: u32,
    /// Workers without a node.
    pub workers: u32,
    /// Of all these, the workers that are still to be made.
    pub unmade: u32,
}

/// Pods of one group.
#[derive(Default)]
struct Members {
    leader: bool,
    workers: u32,
    waiting_workers: u32,
}

// === impl Groups ===

impl Groups {
    /// Counts the pods of all groups of a workload.
    pub fn of<'v>(group: &Group, pods: impl Iterator<Item = &'v Pod>) -> Self {
        let mut groups: BTreeMap<&str, Members> = BTreeMap::new();
        for pod in pods.filter(|pod| !pod.is_terminal() && !pod.is_terminating()) {
            if let Some(index) = group::group_index(pod) {
                groups.entry(index).or_default().add(pod);
            }
        }
        let lacks = groups.into_iter().map(|(index, members)| (index, members.lack(group.workers)));
        let (whole, started): (Vec<_>, Vec<_>) = lacks.partition(|(_, lack)| lack.pods() == 0);
        let mut started: Vec<_> = started.into_iter().map(|(_, lack)| lack).collect();
        started.sort_by_key(|lack| Reverse((lack.pods(), lack.leaders, lack.unmade)));
        let last_whole = whole.iter().filter_map(|(index, _)| index.parse().ok()).max();
        Self { whole: whole.len(), last_whole, started }
    }
}

// === impl Members ===

impl Members {
    fn add(&mut self, pod: &Pod) {
        match (group::is_leader(pod), pod.is_bound()) {
            (true, bound) => self.leader |= bound,
            (false, true) => self.workers = self.workers.saturating_add(1),
            (false, false) => self.waiting_workers = self.waiting_workers.saturating_add(1),
        }
    }

    fn lack(&self, workers: u32) -> Started {
        let lacking = workers.saturating_sub(self.workers);
        Started {
            leaders: u32::from(!self.leader),
            workers: lacking,
            unmade: lacking.saturating_sub(self.waiting_workers),
        }
    }
}

// === impl Started ===

impl Started {
    /// Pods without a node.
    #[must_use]
    pub fn pods(&self) -> u32 {
        self.leaders.saturating_add(self.workers)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(group: u32, worker: u32, node: &str, terminating: bool) -> Pod {
        let deleted = terminating.then_some("2026-01-01T00:00:00Z");
        let labels = json!({
            "leaderworkerset.sigs.k8s.io/group-index": group.to_string(),
            "leaderworkerset.sigs.k8s.io/worker-index": worker.to_string(),
        });
        let metadata = json!({ "labels": labels, "deletionTimestamp": deleted });
        serde_json::from_value(json!({ "metadata": metadata, "spec": { "nodeName": node } })).unwrap()
    }

    #[test]
    fn a_group_is_whole_when_each_of_its_pods_has_a_node() {
        let pods = [
            (0, 0, "a", false),
            (0, 1, "b", false),
            (0, 2, "c", false),
            (1, 0, "a", false),
            (1, 1, "", false),
            (2, 0, "", false),
            (3, 0, "a", false),
            (3, 1, "b", false),
            (3, 2, "c", true),
            (4, 0, "a", true),
        ];
        let pods: Vec<_> = pods.map(|(group, worker, node, gone)| pod(group, worker, node, gone)).to_vec();
        let groups = Groups::of(&Group { workers: 2, ..Group::default() }, pods.iter());
        let lacks = |leaders, workers, unmade| Started { leaders, workers, unmade };
        assert_eq!(
            groups,
            Groups { whole: 1, last_whole: Some(0), started: vec![lacks(1, 2, 2), lacks(0, 2, 1), lacks(0, 1, 1)] }
        );
    }
}
