//! The evaluation loop: the one owner of the cluster view and of the signal store.
//!
//! ```text
//!  changes ─┐                        ┌─> Shared: live scales (at once), snapshot (per evaluation)
//!  scrapes ─┼─> Evaluation ──decide──┼─> scrape targets, namespaces to query
//!  ticks ───┘   (single writer)      └─> Events, gauges, the log
//! ```
//!
//! It evaluates on a tick and, debounced, on changes that matter. Nothing here waits for a source or for a request.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use plimsoll_core::{
    cluster::{Change, View},
    decision::{self, Snapshot},
    object::{HorizontalPodAutoscaler, WorkloadKey},
    signal::Store,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, Interval, MissedTickBehavior, interval, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{announce, gauges::Gauges, needs, shared::Shared};
use crate::{
    clock,
    config::Configuration,
    kubernetes::{WatchHealth, events::Publisher},
    source::{self, SourceEvent, SourceName, Target},
};

/// How long changes are collected before an evaluation outside of the tick: a rollout arrives as a burst.
const DEBOUNCE: Duration = Duration::from_millis(100);
/// Most changes applied before live scales are published: a relist of a large cluster must not delay them.
const BATCH: usize = 4096;

/// What flows into the loop.
#[derive(Debug)]
pub(super) struct Inputs {
    /// Changes of the cluster.
    pub(super) changes: mpsc::Receiver<Change>,
    /// What sources told.
    pub(super) sources: mpsc::Receiver<SourceEvent>,
    /// The configuration, live.
    pub(super) configuration: watch::Receiver<Arc<Configuration>>,
    /// When each watch was last heard of.
    pub(super) health: Arc<WatchHealth>,
}

/// Where the loop's results go.
#[derive(Debug)]
pub(super) struct Outputs {
    /// What requests are answered from.
    pub(super) shared: Arc<Shared>,
    /// What is scraped.
    pub(super) targets: watch::Sender<Arc<Vec<Target>>>,
    /// Namespaces that each signal is needed in.
    pub(super) needs: watch::Sender<Arc<source::prometheus::Needs>>,
    /// Events for people.
    pub(super) events: Publisher,
    /// What `/metrics` shows of decisions.
    pub(super) gauges: Gauges,
}

/// The loop.
#[derive(Debug)]
pub(super) struct Evaluation {
    inputs: Inputs,
    outputs: Outputs,
    view: View,
    store: Store,
    /// Targets that cannot be scraped, as of the last evaluation: those that are gone are forgotten.
    refused: BTreeSet<SourceName>,
    previous: Option<Arc<Snapshot>>,
}

/// Whoever feeds the loop is gone.
#[derive(Debug, thiserror::Error)]
#[error("nobody feeds the evaluation any more")]
pub(super) struct Closed;

// === impl Evaluation ===

impl Evaluation {
    /// A loop with an empty view.
    pub(super) fn new(inputs: Inputs, outputs: Outputs) -> Self {
        Self {
            inputs,
            outputs,
            view: View::default(),
            store: Store::default(),
            refused: BTreeSet::new(),
            previous: None,
        }
    }

    /// Runs until shutdown or until nobody feeds it any more.
    pub(super) async fn run(mut self, shutdown: CancellationToken) -> Result<(), Closed> {
        let mut tick = self.ticks();
        let mut due: Option<Instant> = None;
        loop {
            let when = due;
            // Every arm is cancel safe: receiving, ticking and sleeping lose nothing when another arm wins.
            let matters = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                change = self.inputs.changes.recv() => self.absorb(change.ok_or(Closed)?),
                event = self.inputs.sources.recv() => {
                    self.record(event.ok_or(Closed)?);
                    false
                }
                changed = self.inputs.configuration.changed() => {
                    changed.map_err(|_| Closed)?;
                    tick = self.ticks();
                    true
                }
                _ = tick.tick() => {
                    self.evaluate();
                    due = None;
                    false
                }
                () = sleep_until(when.unwrap_or_else(Instant::now)), if when.is_some() => {
                    self.evaluate();
                    due = None;
                    false
                }
            };
            if matters && due.is_none() {
                due = Some(Instant::now() + DEBOUNCE);
            }
        }
    }

    fn ticks(&mut self) -> Interval {
        let mut ticks = interval(self.inputs.configuration.borrow_and_update().tick);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    }

    /// Applies a change and all that wait behind it, then publishes the live scales that they touch.
    fn absorb(&mut self, first: Change) -> bool {
        let mut matters = false;
        let mut next = Some(first);
        for _ in 0..BATCH {
            let Some(change) = next else { break };
            matters |= self.view.apply(change).matters();
            next = self.inputs.changes.try_recv().ok();
        }
        if let Some(change) = next {
            matters |= self.view.apply(change).matters();
        }
        if matters {
            self.outputs.shared.set_live(&self.view, &self.workloads());
        }
        matters
    }

    /// The workloads that an HPA scales.
    fn workloads(&self) -> BTreeSet<WorkloadKey> {
        self.view.hpas.values().map(HorizontalPodAutoscaler::workload).collect()
    }

    fn record(&mut self, event: SourceEvent) {
        let kept = match event {
            SourceEvent::Scraped { source, subject, observed, at } => {
                self.store.record(&source, &subject, observed, at)
            }
            SourceEvent::Queried { source, signal, values, at } => {
                self.store.record_pod_values(&source, &signal, values, at)
            }
            SourceEvent::Failed { source, reason, at } => {
                tracing::debug!(%source, %reason, "a source failed");
                self.store.fail(&source, reason, at);
                true
            }
            SourceEvent::Gone { source } => {
                self.store.forget(&source);
                true
            }
        };
        if !kept {
            tracing::warn!("there are more sources than can be held; a new one is ignored");
        }
    }

    /// Decides on what is known now. Before every kind has been listed once, nothing is: half a cluster looks free.
    fn evaluate(&mut self) {
        if !self.inputs.health.ready() {
            return;
        }
        let configuration = Arc::clone(&self.inputs.configuration.borrow());
        let now = clock::now();
        self.view.capacity_heard_at = self.inputs.health.capacity_heard_at();
        let problems = self.inputs.health.capacity_problems();
        if let Some(problem) = problems.first() {
            tracing::warn!(%problem, count = problems.len(), "capacity is not known");
            self.view.capacity_heard_at = None;
        }
        self.discover(&configuration, now);
        let signals = self.store.signals(&self.view, &configuration.policy, now);
        let previous = self.previous.as_deref();
        let snapshot = Arc::new(decision::decide(&self.view, &signals, &configuration.policy, previous, now));
        announce::changes(previous, &snapshot, &self.view, &self.outputs.events);
        self.outputs.gauges.update(&snapshot);
        self.outputs.shared.set_live(&self.view, &self.workloads());
        self.outputs.shared.set_snapshot(Arc::clone(&snapshot), signals);
        self.outputs.shared.beat.store(now.as_second(), Ordering::Relaxed);
        self.previous = Some(snapshot);
    }

    /// Tells the sources what is to be measured.
    fn discover(&mut self, configuration: &Configuration, now: jiff::Timestamp) {
        let found = source::targets(&self.view, &configuration.sources);
        replace(&self.outputs.targets, found.targets);
        replace(&self.outputs.needs, needs::of(&self.view, &configuration.policy));
        for (name, reason) in &found.refused {
            self.store.fail(name, reason.as_str(), now);
        }
        let refused: BTreeSet<_> = found.refused.into_keys().collect();
        for gone in self.refused.difference(&refused) {
            self.store.forget(gone);
        }
        self.refused = refused;
    }
}

/// Publishes a value only if it differs, so that receivers wake up for news only.
fn replace<T: PartialEq>(sender: &watch::Sender<Arc<T>>, value: T) {
    sender.send_if_modified(|current| {
        let differs = **current != value;
        if differs {
            *current = Arc::new(value);
        }
        differs
    });
}
