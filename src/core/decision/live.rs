//! The newest watched state of one workload: what the clamp computes with at request time.

use std::{collections::BTreeMap, sync::Arc};

use super::scaled;
use crate::{
    clamp::{PodSample, Standing},
    cluster::{Census, Reach, View},
    object::{ObjectKey, Pod, Text, WorkloadKey, kueue, owner::may_own},
    policy::Policy,
    quantity::Milli,
};

/// Scale and pods of a workload, now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Live {
    /// `scale.spec.replicas`.
    pub current: i32,
    /// `scale.status.replicas`.
    pub reported: i32,
    /// Pods that the selector matches and that have not ended, terminating ones included.
    pub matching: i32,
    /// Those of them that are assigned to a node.
    pub assigned: i32,
    /// Pods that are Running and Ready, terminating ones included.
    pub ready: i32,
    /// Replicas of its own, by selector and owner, that are assigned to a node and neither ended nor terminating.
    pub bound: i32,
    /// Replicas of its own without a node that are not terminating; groups of pods of which one has none.
    pub pending: i32,
    /// Of these, pods that have to be admitted by Kueue first.
    pub gated: i32,
    /// How the HPA controller treats a sample of each pod, by name.
    pub standings: Arc<BTreeMap<Text, Standing>>,
    /// The newest pods, by which it is learnt what becomes of a template.
    pub newest: Newest,
}

/// The newest pods of a workload that have not ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Newest {
    /// The newest pod; of groups, the newest leader.
    pub pod: Option<ObjectKey>,
    /// The newest worker of a group.
    pub worker: Option<ObjectKey>,
}

// === impl Live ===

impl Live {
    /// The state of a workload in a view; none if the workload is not known.
    #[must_use]
    pub fn of(view: &View, workload: &WorkloadKey) -> Option<Self> {
        Self::all(&Census::of(view, [workload])).next().map(|(_, live)| live)
    }

    /// The state of every workload of a census.
    pub fn all(census: &Census<'_>) -> impl Iterator<Item = (WorkloadKey, Self)> {
        census.workloads().map(|(key, target)| {
            (key.clone(), Self::in_census(census, key, target.spec_replicas, target.status_replicas))
        })
    }

    /// Brings the states of all workloads that concern us up to date, where only what is within reach has changed.
    pub fn renew(lives: &mut BTreeMap<WorkloadKey, Self>, view: &View, policy: &Policy, reach: &Reach) {
        let mut workloads = scaled(view, policy);
        workloads.retain(|workload| reach.includes(&workload.namespace));
        lives.retain(|workload, _| !reach.includes(&workload.namespace));
        lives.extend(Self::all(&Census::of(view, &workloads)));
    }

    /// The state of one workload of a census. A replica that is a group of pods is bound when all of them are.
    #[must_use]
    pub fn in_census(census: &Census<'_>, workload: &WorkloadKey, current: i32, reported: i32) -> Self {
        let pods = census.matching(workload).iter().map(|(_, pod)| *pod);
        let mut live = Self::count(workload, current, reported, pods);
        let (pod, worker) = census.newest_pods(workload);
        let key = |pod: &Pod| pod.metadata.key();
        live.newest = Newest { pod: pod.map(key), worker: worker.map(key) };
        if let Some(groups) = census.groups(workload) {
            let count = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
            (live.bound, live.pending) = (count(groups.whole), count(groups.started.len()));
        }
        live
    }

    /// Counts the pods that the selector of a workload matches, those that have ended included.
    pub fn count<'a>(workload: &WorkloadKey, current: i32, reported: i32, pods: impl Iterator<Item = &'a Pod>) -> Self {
        let mut live = Self { current, reported, ..Self::default() };
        let standing = |pod: &Pod| {
            live.add(workload, pod);
            (pod.metadata.name.clone(), standing(pod))
        };
        let standings = pods.map(standing).collect();
        live.standings = Arc::new(standings);
        live
    }

    fn add(&mut self, workload: &WorkloadKey, pod: &Pod) {
        if pod.is_terminal() {
            return;
        }
        let assigned = !pod.node_name.is_empty();
        self.matching += 1;
        self.assigned += i32::from(assigned);
        self.ready += i32::from(pod.status.phase == "Running" && pod.is_ready());
        let own = may_own(workload, pod);
        self.bound += i32::from(own && pod.is_bound());
        let waits = own && !assigned && !pod.is_terminating();
        self.pending += i32::from(waits);
        self.gated += i32::from(waits && kueue::waits(&pod.spec));
    }

    /// Replicas that wait for a node and have been charged to quotas.
    #[must_use]
    pub fn charged(&self) -> i32 {
        self.pending.saturating_sub(self.gated).max(0)
    }

    /// Pods that the controller takes for Pending.
    #[must_use]
    pub fn unready(&self) -> usize {
        self.standings.values().filter(|standing| **standing == Standing::Pending).count()
    }

    /// The samples of pods by name with their standing, and how many counted pods have none.
    pub fn samples<'a>(&self, values: impl Iterator<Item = (&'a str, Milli)>) -> (Vec<PodSample>, usize) {
        let mut missing = self.standings.values().filter(|standing| **standing == Standing::Counted).count();
        let samples = values.map(|(name, value)| {
            let standing = self.standings.get(name).copied().unwrap_or(Standing::Unknown);
            missing = missing.saturating_sub(usize::from(standing == Standing::Counted));
            PodSample { value, standing }
        });
        (samples.collect(), missing)
    }
}

// === impl Newest ===

impl Newest {
    /// The pods, as they are now.
    pub(super) fn pods<'v>(&self, view: &'v View) -> (Option<&'v Pod>, Option<&'v Pod>) {
        let find = |key: &Option<ObjectKey>| view.pods.get(key.as_ref()?);
        (find(&self.pod), find(&self.worker))
    }
}

/// How the controller treats a sample of the pod (`groupPods`, `replica_calculator.go` v1.36.3).
pub(super) fn standing(pod: &Pod) -> Standing {
    if pod.is_terminating() || pod.status.phase == "Failed" {
        Standing::Ignored
    } else if pod.status.phase == "Pending" {
        Standing::Pending
    } else {
        Standing::Counted
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::object::ScaleTarget;

    fn view(scales: &[(&str, i32)]) -> View {
        let mut view = View::default();
        for (namespace, spec_replicas) in scales {
            let hpa: crate::object::HorizontalPodAutoscaler = serde_json::from_value(json!({
                "metadata": { "name": "chat", "namespace": namespace },
                "spec": {
                    "maxReplicas": 9, "scaleTargetRef": { "kind": "Deployment", "apiVersion": "apps/v1", "name": "chat" },
                    "metrics": [{ "type": "External", "external": { "metric": { "name": "inference_queue_length" } } }],
                },
            }))
            .unwrap();
            let target = ScaleTarget { spec_replicas: *spec_replicas, ..ScaleTarget::default() };
            view.workloads.insert(hpa.workload(), target);
            view.hpas.insert(hpa.metadata.key(), hpa);
        }
        view
    }

    #[test]
    fn states_are_renewed_and_removed_within_reach_and_kept_beyond() {
        let (mut lives, policy) = (BTreeMap::new(), Policy::default());
        Live::renew(&mut lives, &view(&[("a", 1), ("b", 1), ("c", 1)]), &policy, &Reach::Everywhere);
        let reach = Reach::Within(["a", "b"].map(str::to_owned).into());
        Live::renew(&mut lives, &view(&[("a", 2)]), &policy, &reach);
        let scales: Vec<_> = lives.iter().map(|(key, live)| (&*key.namespace, live.current)).collect();
        assert_eq!(scales, [("a", 2), ("c", 1)]);
    }
}
