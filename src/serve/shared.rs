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

    /// Publishes the scales and pods of all workloads.
    pub(super) fn set_live(&self, lives: Arc<BTreeMap<WorkloadKey, Live>>) {
        self.live.store(lives);
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
