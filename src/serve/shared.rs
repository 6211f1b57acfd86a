//! What requests are answered from: the newest snapshot and the newest live scales, each swapped whole.
//!
//! A request reads; it never waits, neither for a source nor for the evaluation.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicI64},
};

use arc_swap::{ArcSwap, ArcSwapOption};
use plimsoll_core::{
    answer::{Answers, CustomRequest, ExternalValue, ObjectValue, Reason, Refusal},
    cluster::Reach,
    decision::{self, Live, Snapshot, TriggerActivity},
    object::{ObjectKey, WorkloadKey},
    policy::Policy,
    quantity::Milli,
    selector::Selector,
    signal::Signals,
    trigger::Trigger,
};
use tokio::sync::watch;

use super::lifting::Found;
use crate::{
    clock,
    scaler::{Activity, Triggers},
};

/// The newest of everything, shared between the evaluation and the servers.
#[derive(Debug, Default)]
pub(super) struct Shared {
    snapshot: ArcSwapOption<Snapshot>,
    signals: ArcSwap<Signals>,
    live: ArcSwap<BTreeMap<WorkloadKey, Live>>,
    lifts: ArcSwap<Found>,
    /// Counts what may have changed an answer about a trigger.
    changes: watch::Sender<u64>,
    /// When the last evaluation ended, in seconds since the epoch; 0 before the first.
    pub(super) beat: AtomicI64,
}

// === impl Shared ===

impl Shared {
    /// Publishes an evaluation.
    pub(super) fn set_snapshot(&self, snapshot: Arc<Snapshot>, signals: Signals) {
        self.signals.store(Arc::new(signals));
        self.snapshot.store(Some(snapshot));
        self.changed();
    }

    /// Publishes the scales and pods of workloads, which are all in reach; those that are out of reach stay as they were.
    pub(super) fn set_live(&self, lives: BTreeMap<WorkloadKey, Live>, reach: &Reach) {
        let before = self.live.load();
        let rest = before.iter().filter(|(key, _)| !reach.includes(&key.namespace));
        let live = rest.map(|(key, live)| (key.clone(), live.clone())).chain(lives);
        self.live.store(Arc::new(live.collect()));
        self.changed();
    }

    /// Publishes what would lift limits.
    pub(super) fn set_lifts(&self, found: Arc<Found>) {
        self.lifts.store(found);
    }

    /// What would lift limits, as far as it has been searched for.
    pub(super) fn lifts(&self) -> Arc<Found> {
        self.lifts.load_full()
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// The newest snapshot; none before the first evaluation.
    pub(super) fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.snapshot.load_full()
    }

    /// The signals of the newest evaluation.
    pub(super) fn signals(&self) -> Arc<Signals> {
        self.signals.load_full()
    }

    fn current(&self) -> Result<Arc<Snapshot>, Refusal> {
        self.snapshot().ok_or_else(|| Refusal {
            reason: Reason::NotReady,
            message: "plimsoll has just started and has not made its first evaluation yet".to_owned(),
        })
    }
}

impl Answers for Shared {
    fn external(&self, namespace: &str, metric: &str, selector: &Selector) -> Result<Vec<ExternalValue>, Refusal> {
        let (snapshot, live) = (self.current()?, self.live.load());
        let scale = |workload: &WorkloadKey| live.get(workload).cloned();
        decision::answer_external(&snapshot, scale, namespace, metric, selector, clock::now())
    }

    fn custom(&self, request: &CustomRequest) -> Result<Vec<ObjectValue>, Refusal> {
        let (snapshot, live) = (self.current()?, self.live.load());
        let scale = |workload: &WorkloadKey| live.get(workload).cloned();
        decision::answer_custom(&snapshot, scale, request, clock::now())
    }

    fn external_metrics(&self) -> Vec<String> {
        let snapshot = self.snapshot();
        decision::external_metrics(snapshot.as_deref().map_or(&Policy::default(), |snapshot| &snapshot.policy))
    }

    fn custom_metrics(&self) -> Vec<String> {
        let snapshot = self.snapshot();
        decision::custom_metrics(snapshot.as_deref().map_or(&Policy::default(), |snapshot| &snapshot.policy))
    }
}

impl Triggers for Shared {
    fn value(&self, object: &ObjectKey, trigger: &Arc<Trigger>) -> Result<Milli, Refusal> {
        let (snapshot, live) = (self.current()?, self.live.load());
        let scale = |workload: &WorkloadKey| live.get(workload).cloned();
        decision::answer_trigger(&snapshot, scale, object, trigger, clock::now())
    }

    fn activity(&self, object: &ObjectKey, trigger: &Arc<Trigger>) -> Result<Activity, Refusal> {
        let (snapshot, live) = (self.current()?, self.live.load());
        let scale = |workload: &WorkloadKey| live.get(workload).cloned();
        let TriggerActivity { active, at_zero } =
            decision::trigger_activity(&snapshot, scale, object, trigger, clock::now())?;
        Ok(Activity { active, at_zero })
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use plimsoll_core::{
        cluster::{Census, View},
        object::ScaleTarget,
    };

    use super::*;

    fn view(scales: &[(&str, i32)]) -> View {
        let mut view = View::default();
        for (namespace, spec_replicas) in scales {
            let key = WorkloadKey { namespace: (*namespace).to_owned(), ..WorkloadKey::default() };
            view.workloads.insert(key, ScaleTarget { spec_replicas: *spec_replicas, ..ScaleTarget::default() });
        }
        view
    }

    fn scales(shared: &Shared) -> Vec<(String, i32)> {
        shared.live.load().iter().map(|(key, live)| (key.namespace.clone(), live.current)).collect()
    }

    #[test]
    fn live_scales_are_renewed_and_removed_within_reach_and_kept_beyond() {
        let shared = Shared::default();
        let before = view(&[("a", 1), ("b", 1), ("c", 1)]);
        let lives = |view: &View| Live::all(&Census::of(view, view.workloads.keys())).collect();
        shared.set_live(lives(&before), &Reach::Everywhere);
        let after = view(&[("a", 2)]);
        let reach = Reach::Within(["a", "b"].map(str::to_owned).into());
        shared.set_live(lives(&after), &reach);
        assert_eq!(scales(&shared), [("a".to_owned(), 2), ("c".to_owned(), 1)]);
    }
}
