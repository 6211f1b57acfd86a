//! The pods that an evaluation counts: listed by selector, and sorted into ready, unready, missing and ignored.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{ControllerConfig, GoDuration};
use crate::{
    object::{Pod, pod::PodCondition},
    selector::Selector,
};

/// One sample of one pod (`PodMetric`).
#[derive(Clone, Copy, Debug)]
pub(super) struct PodSample {
    /// End of the window that the sample covers.
    pub(super) timestamp: Timestamp,
    /// Length of that window.
    pub(super) window: GoDuration,
    /// Thousandths.
    pub(super) value: i64,
}

/// Samples by pod name (`PodMetricsInfo`); may name pods that the controller does not list.
pub(super) type PodSamplesByName = BTreeMap<String, PodSample>;

/// The names of the pods, by what may be assumed of them (`groupPods`).
#[derive(Debug, Default)]
pub(super) struct PodGroups<'a> {
    /// Pods whose sample counts.
    pub(super) ready: usize,
    /// Pending, and for CPU those that still start.
    pub(super) unready: BTreeSet<&'a str>,
    /// Without a sample.
    pub(super) missing: BTreeSet<&'a str>,
    /// Terminating or failed.
    pub(super) ignored: BTreeSet<&'a str>,
}

/// How a sample of a started pod is judged.
#[derive(Clone, Copy, Debug)]
pub(super) enum Judging<'a> {
    /// Every sample of a pod that is not Pending counts.
    Plain,
    /// CPU: what a starting pod burns says nothing.
    Cpu(&'a ControllerConfig, Timestamp),
}

/// The pods that the controller's lister finds: in the HPA's namespace, by selector, one per name.
///
/// A pod without a namespace is in the HPA's. Of several with one name the last counts, as in a watch.
#[must_use]
pub fn list<'a>(pods: &'a [Pod], namespace: &str, selector: &Selector) -> Vec<&'a Pod> {
    let mine = |pod: &&Pod| pod.metadata.namespace.is_empty() || pod.metadata.namespace == namespace;
    let by_name: BTreeMap<&str, &Pod> = pods.iter().filter(mine).map(|pod| (&*pod.metadata.name, pod)).collect();
    by_name.into_values().filter(|pod| selector.matches(&pod.metadata.labels)).collect()
}

/// Running and Ready pods, terminating ones included (`getReadyPodsCount`).
pub(super) fn running_and_ready(pods: &[&Pod]) -> usize {
    pods.iter().filter(|pod| pod.status.phase == "Running" && pod.is_ready()).count()
}

/// Sorts pods (`groupPods`).
pub(super) fn group<'a>(pods: &[&'a Pod], samples: &PodSamplesByName, judging: Judging<'_>) -> PodGroups<'a> {
    let mut groups = PodGroups::default();
    for pod in pods {
        let name = &*pod.metadata.name;
        if pod.is_terminating() || pod.status.phase == "Failed" {
            groups.ignored.insert(name);
        } else if pod.status.phase == "Pending" {
            groups.unready.insert(name);
        } else if let Some(sample) = samples.get(name) {
            if judging.starts(pod, sample) {
                groups.unready.insert(name);
            } else {
                groups.ready += 1;
            }
        } else {
            groups.missing.insert(name);
        }
    }
    groups
}

impl Judging<'_> {
    fn starts(self, pod: &Pod, sample: &PodSample) -> bool {
        let Self::Cpu(config, now) = self else { return false };
        let (Some(ready), Some(started)) = (pod.condition("Ready"), pod.status.start_time) else { return true };
        let (started, not_ready) = (started.into(), ready.status == "False");
        if after(started, config.cpu_initialization_period, now) {
            // The sample must cover a whole window since the pod last became Ready.
            not_ready || !covers(sample, ready)
        } else {
            // Not Ready, and never was but for the first moments: a pod that lost readiness later counts.
            let Some(changed) = ready.last_transition_time else { return not_ready };
            not_ready && after(started, config.initial_readiness_delay, changed.into())
        }
    }
}

/// Whether `start + duration` is after `then`.
fn after(start: Timestamp, duration: GoDuration, then: Timestamp) -> bool {
    start.as_nanosecond() + i128::from(duration.nanos) > then.as_nanosecond()
}

fn covers(sample: &PodSample, ready: &PodCondition) -> bool {
    ready.last_transition_time.is_none_or(|changed| {
        let changed = Timestamp::from(changed);
        sample.timestamp.as_nanosecond() >= changed.as_nanosecond() + i128::from(sample.window.nanos)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-01-01T01:00:00Z";

    fn pod(json: serde_json::Value) -> Pod {
        serde_json::from_value(json).unwrap()
    }

    /// A Running pod named `a`, started and turned `ready` so many seconds before [`NOW`].
    fn started(seconds: i64, ready: &str, changed: i64) -> Pod {
        let now: Timestamp = NOW.parse().unwrap();
        let ago = |seconds: i64| now.checked_sub(jiff::SignedDuration::from_secs(seconds)).unwrap().to_string();
        pod(serde_json::json!({"metadata": {"name": "a"}, "status": {
            "phase": "Running", "startTime": ago(seconds),
            "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": ago(changed)}]}}))
    }

    fn counts_for_cpu(pod: &Pod) -> bool {
        let config = ControllerConfig::default();
        let now: Timestamp = NOW.parse().unwrap();
        let sample = PodSample { timestamp: now, window: GoDuration::from_secs(30), value: 1 };
        let samples = BTreeMap::from([("a".to_owned(), sample)]);
        group(&[pod], &samples, Judging::Cpu(&config, now)).ready == 1
    }

    #[test]
    fn a_pod_without_a_namespace_is_in_the_hpas() {
        let pods = [
            pod(serde_json::json!({"metadata": {"name": "a"}})),
            pod(serde_json::json!({"metadata": {"name": "b", "namespace": "ml"}})),
            pod(serde_json::json!({"metadata": {"name": "c", "namespace": "other"}})),
        ];
        assert_eq!(list(&pods, "ml", &Selector::default()).len(), 2);
    }

    #[test]
    fn of_two_pods_with_one_name_the_last_counts() {
        let pods = [
            pod(serde_json::json!({"metadata": {"name": "a", "labels": {"app": "x"}}})),
            pod(serde_json::json!({"metadata": {"name": "a", "labels": {"app": "y"}}})),
        ];
        assert!(list(&pods, "ml", &"app=x".parse().unwrap()).is_empty());
        assert_eq!(list(&pods, "ml", &"app=y".parse().unwrap()).len(), 1);
    }

    #[test]
    fn a_terminating_pod_that_is_ready_counts_for_values_but_is_ignored_by_means() {
        let pod = pod(serde_json::json!({
            "metadata": {"name": "a", "deletionTimestamp": NOW},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}));
        assert_eq!(running_and_ready(&[&pod]), 1);
        assert_eq!(group(&[&pod], &BTreeMap::new(), Judging::Plain).ignored.len(), 1);
    }

    #[test]
    fn a_pending_pod_is_unready_even_with_a_sample_and_a_succeeded_one_can_be_missing() {
        let pods = [
            pod(serde_json::json!({"metadata": {"name": "a"}, "status": {"phase": "Pending"}})),
            pod(serde_json::json!({"metadata": {"name": "b"}, "status": {"phase": "Succeeded"}})),
        ];
        let groups = group(&pods.iter().collect::<Vec<_>>(), &BTreeMap::new(), Judging::Plain);
        assert_eq!((groups.unready.len(), groups.missing.len()), (1, 1));
    }

    #[test]
    fn cpu_of_a_young_pod_counts_once_a_window_has_passed_since_it_became_ready() {
        assert!(!counts_for_cpu(&started(100, "True", 29)));
        assert!(counts_for_cpu(&started(100, "True", 30)));
        assert!(!counts_for_cpu(&started(100, "False", 90)));
    }

    #[test]
    fn cpu_of_an_old_pod_that_is_not_ready_counts_only_if_it_was_ready_before() {
        assert!(counts_for_cpu(&started(1000, "True", 1)));
        assert!(!counts_for_cpu(&started(1000, "False", 980)));
        assert!(counts_for_cpu(&started(1000, "False", 960)));
    }

    #[test]
    fn cpu_of_a_pod_without_a_ready_condition_or_start_never_counts() {
        assert!(!counts_for_cpu(&pod(serde_json::json!({"metadata": {"name": "a"}, "status": {"phase": "Running"}}))));
    }
}
