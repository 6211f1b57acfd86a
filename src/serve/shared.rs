//! What requests are answered from: the newest snapshot and the newest live scales, each swapped whole.
//!
//! A request reads; it never waits, neither for a source nor for the evaluation.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::AtomicI64},
};

use arc_swap::{ArcSwap, ArcSwapOption};
use plimsoll_core::{
    answer::{Answers, CustomRequest, ExternalValue, ObjectValue, Reason, Refusal},
    cluster::View,
    decision::{self, Live, Snapshot},
    object::WorkloadKey,
    policy::Policy,
    selector::Selector,
    signal::Signals,
};

use crate::clock;

/// The newest of everything, shared between the evaluation and the servers.
#[derive(Debug, Default)]
pub(super) struct Shared {
    snapshot: ArcSwapOption<Snapshot>,
    signals: ArcSwap<Signals>,
    live: ArcSwap<BTreeMap<WorkloadKey, Live>>,
    /// When the last evaluation ended, in seconds since the epoch; 0 before the first.
    pub(super) beat: AtomicI64,
}

// === impl Shared ===

impl Shared {
    /// Publishes an evaluation.
    pub(super) fn set_snapshot(&self, snapshot: Arc<Snapshot>, signals: Signals) {
        self.signals.store(Arc::new(signals));
        self.snapshot.store(Some(snapshot));
    }

    /// Publishes the scales and pods of workloads.
    pub(super) fn set_live(&self, view: &View, workloads: &BTreeSet<WorkloadKey>) {
        let live = workloads.iter().filter_map(|key| Some((key.clone(), Live::of(view, key)?)));
        self.live.store(Arc::new(live.collect()));
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
