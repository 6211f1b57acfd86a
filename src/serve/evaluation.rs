//! The evaluation loop: the one owner of the cluster view and of the signal store.
//!
//! ```text
//!  changes ─┐                        ┌─> Shared: live scales (at once), snapshot (per evaluation)
//!  scrapes ─┼─> Evaluation ──decide──┼─> scrape targets, namespaces to query
//!  ticks ───┘   (single writer)      └─> Events, gauges, the log
//! ```
//!
//! It evaluates on a tick and, debounced, on changes that matter; while none is due it tries what would lift limits.
//! Nothing here waits for a source or for a request.

use std::{
    collections::BTreeMap,
    mem,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use plimsoll_core::{
    capacity::Ledger,
    cluster::{Census, Change, Reach, View},
    decision::{self, Known, Live, Snapshot},
    object::WorkloadKey,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, Interval, MissedTickBehavior, interval, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{announce, coexistence::Teller, gauges::Gauges, lifting::Lifter, needs, shared::Shared, told::Told};
use crate::{
    clock,
    config::Configuration,
    kubernetes::{WatchHealth, events::Publisher},
    source::{self, SourceEvent, SourceName, Target},
};

/// How long changes are collected before an evaluation outside of the tick: what belongs together arrives together.
const SETTLE: Duration = Duration::from_millis(10);
/// The least time from the end of an evaluation to the next outside of the tick: a rollout arrives as a burst. It is
/// never less than the evaluation took, so that at least every other moment is left for everything else.
const REST: Duration = Duration::from_millis(100);
/// Evaluations in a tick that fresh measurements may bring about: targets are scraped at all times of an interval, and
/// a new pod's first sample should not wait for a whole tick.
const SCRAPES: u32 = 5;
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
    /// What the queries of triggers are asked for.
    pub(super) demands: watch::Sender<Arc<source::demand::Demands>>,
    /// Namespaces that each signal is needed in.
    pub(super) needs: watch::Sender<Arc<source::prometheus::Needs>>,
    /// Events for people.
    pub(super) events: Publisher,
    /// What `/metrics` shows of decisions.
    pub(super) gauges: Gauges,
    /// Who answers External metrics.
    pub(super) coexistence: Teller,
}

/// The loop.
#[derive(Debug)]
pub(super) struct Evaluation {
    inputs: Inputs,
    outputs: Outputs,
    view: View,
    /// What the pods of the view hold.
    ledger: Arc<Ledger>,
    /// Scale and pods of every workload that concerns us.
    lives: Arc<BTreeMap<WorkloadKey, Live>>,
    scraped: source::Targets,
    /// What cannot be scraped, and why.
    refused: BTreeMap<SourceName, String>,
    /// Where pods and workloads have changed since it was last seen what there is to scrape.
    unseen: Reach,
    told: Told,
    previous: Option<Arc<Snapshot>>,
    lifter: Lifter,
    /// Until when no change makes it evaluate.
    rests: Instant,
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
            ledger: Arc::default(),
            lives: Arc::default(),
            scraped: source::Targets::default(),
            refused: BTreeMap::new(),
            unseen: Reach::Everywhere,
            told: Told::default(),
            previous: None,
            lifter: Lifter::default(),
            rests: Instant::now(),
        }
    }

    /// Runs until shutdown or until nobody feeds it any more.
    pub(super) async fn run(mut self, shutdown: CancellationToken) -> Result<(), Closed> {
        let mut tick = self.configured();
        let mut due: Option<Instant> = None;
        loop {
            let when = due;
            let lifts = self.lifter.due();
            // Every arm is cancel safe: receiving, ticking and sleeping lose nothing when another arm wins.
            let at = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                change = self.inputs.changes.recv() => self.absorb(change.ok_or(Closed)?).then(|| self.soon()),
                event = self.inputs.sources.recv() => {
                    let urgent = self.told.record(event.ok_or(Closed)?);
                    Some(if urgent { self.soon() } else { Instant::now() + tick.period() / SCRAPES })
                }
                changed = self.inputs.configuration.changed() => {
                    changed.map_err(|_| Closed)?;
                    tick = self.configured();
                    Some(self.soon())
                }
                _ = tick.tick() => {
                    self.evaluate();
                    due = None;
                    None
                }
                () = sleep_until(when.unwrap_or_else(Instant::now)), if when.is_some() => {
                    self.evaluate();
                    due = None;
                    None
                }
                () = sleep_until(lifts.unwrap_or_else(Instant::now)), if lifts.is_some() && when.is_none() => {
                    self.lift();
                    None
                }
            };
            if let Some(at) = at {
                due = Some(due.map_or(at, |due| due.min(at)));
            }
        }
    }

    /// When to evaluate for a change that has just come.
    fn soon(&self) -> Instant {
        self.rests.max(Instant::now() + SETTLE)
    }

    /// Takes the newest configuration; returns its tick.
    fn configured(&mut self) -> Interval {
        let configuration = Arc::clone(&self.inputs.configuration.borrow_and_update());
        self.told.store.set_age(configuration.policy.last_known_good_bound);
        self.count(Reach::Everywhere);
        let mut ticks = interval(configuration.tick);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    }

    /// Applies a change and those that wait behind it, then publishes the live scales of the namespaces that they touch.
    fn absorb(&mut self, first: Change) -> bool {
        let mut matters = false;
        let mut reach = Reach::default();
        let mut next = Some(first);
        for taken in 1..=BATCH {
            let Some(change) = next else { break };
            let touched = Reach::of(&change);
            Arc::make_mut(&mut self.ledger).note(&self.view, &change);
            if self.view.apply(change).matters() {
                matters = true;
                reach = reach.and(touched);
            }
            // What is taken out of the queue must be applied.
            next = if taken < BATCH { self.inputs.changes.try_recv().ok() } else { None };
        }
        if !reach.is_nowhere() {
            self.count(reach);
        }
        matters
    }

    /// Applies what waits already: a list counts as listed, and what was heard as heard, once it is in the queue.
    fn catch_up(&mut self) {
        let waiting = self.inputs.changes.len();
        for _ in 0..waiting.div_ceil(BATCH) {
            let Ok(change) = self.inputs.changes.try_recv() else { return };
            self.absorb(change);
        }
    }

    /// Counts the pods of the workloads within reach anew, and publishes that.
    fn count(&mut self, reach: Reach) {
        let configuration = Arc::clone(&self.inputs.configuration.borrow());
        Live::renew(Arc::make_mut(&mut self.lives), &self.view, &configuration.policy, &reach);
        self.outputs.shared.set_live(Arc::clone(&self.lives));
        self.unseen = mem::take(&mut self.unseen).and(reach);
    }

    /// Decides on what is known now. Before every kind has been listed once, nothing is: half a cluster looks free.
    fn evaluate(&mut self) {
        if !self.inputs.health.ready() {
            return;
        }
        self.catch_up();
        let began = Instant::now();
        let configuration = Arc::clone(&self.inputs.configuration.borrow());
        let now = clock::now();
        self.view.capacity_heard_at = self.inputs.health.capacity_heard_at();
        self.note_problems(&self.inputs.health.capacity_problems());
        let census = Census::of(&self.view, self.lives.keys());
        let unseen = mem::take(&mut self.unseen);
        if !unseen.is_nowhere() {
            self.scraped.renew(&self.view, &census, &configuration.sources, &unseen);
            let found = self.scraped.discovery(&configuration.sources);
            replace(&self.outputs.targets, found.targets);
            self.refused = found.refused;
        }
        let needs = needs::of(&self.view, &configuration.policy);
        let mut refused = self.refused.clone();
        refused.extend(source::prometheus::refused(&needs, &configuration.sources.prometheus));
        replace(&self.outputs.needs, needs);
        let demands = decision::demands(&self.view);
        self.told.demands.retain(|key| demands.contains_key(key));
        replace(&self.outputs.demands, demands);
        self.told.refuse(&refused, now);
        let mut signals = self.told.store.signals(&self.view, &census, &configuration.policy, now);
        signals.demands = self.told.demands.samples(&configuration.policy, now);
        let previous = self.previous.as_deref();
        let (ledger, policy) = (Arc::clone(&self.ledger), &configuration.policy);
        let known = Known { ledger, census: &census, lives: &self.lives };
        let snapshot = decision::decide_with(&self.view, known, &signals, policy, previous, now);
        let snapshot = Arc::new(snapshot);
        announce::changes(previous, &snapshot, &self.view, &self.outputs.events);
        self.outputs.gauges.update(&snapshot);
        self.outputs.coexistence.tell(snapshot.external_api.as_ref(), configuration.keda.is_some());
        self.outputs.shared.set_snapshot(Arc::clone(&snapshot), signals);
        self.outputs.shared.beat.store(now.as_second(), Ordering::Relaxed);
        if self.lifter.note(&snapshot) {
            self.outputs.shared.set_lifts(self.lifter.found());
        }
        self.previous = Some(snapshot);
        self.rests = Instant::now() + REST.max(began.elapsed());
    }

    /// Tries one change that might lift a limit.
    fn lift(&mut self) {
        let configuration = Arc::clone(&self.inputs.configuration.borrow());
        if self.lifter.turn(&mut self.view, &mut self.ledger, &configuration.policy, clock::now()) {
            self.outputs.shared.set_lifts(self.lifter.found());
        }
    }

    /// Notes why capacity is not known, and says so when it changes.
    fn note_problems(&mut self, problems: &[String]) {
        let problem = match problems {
            [] => None,
            [one] => Some(one.clone()),
            [first, rest @ ..] => Some(format!("{first}; and {} more", rest.len())),
        };
        if problem != self.view.capacity_problem {
            if let Some(problem) = &problem {
                tracing::warn!(%problem, "capacity is not known");
            } else {
                tracing::info!("capacity is known again");
            }
            self.view.capacity_problem = problem;
        }
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

#[cfg(test)]
mod tests {
    use plimsoll_core::{
        cluster::Delta,
        object::{Node, Pod},
    };
    use prometheus_client::registry::Registry;
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    use super::*;
    use crate::kubernetes::{Feed, events};

    fn object<T: DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).unwrap()
    }

    fn evaluation() -> (mpsc::Sender<Change>, Arc<WatchHealth>, Evaluation) {
        let (noticed, changes) = mpsc::channel(16);
        let health = Arc::<WatchHealth>::default();
        let inputs = Inputs {
            changes,
            sources: mpsc::channel(1).1,
            configuration: watch::channel(Arc::default()).1,
            health: Arc::clone(&health),
        };
        let mut registry = Registry::default();
        let outputs = Outputs {
            shared: Arc::default(),
            targets: watch::Sender::default(),
            demands: watch::Sender::default(),
            needs: watch::Sender::default(),
            events: events::queue().0,
            gauges: Gauges::register(&mut registry),
            coexistence: Teller::register(&mut registry),
        };
        (noticed, health, Evaluation::new(inputs, outputs))
    }

    #[test]
    fn pods_that_have_been_listed_and_wait_in_the_queue_hold_their_gpus_in_the_first_decision() {
        let (noticed, health, mut evaluation) = evaluation();
        let amounts = json!({"cpu": "8", "pods": "10", "nvidia.com/gpu": "2"});
        let status = json!({"allocatable": amounts, "conditions": [{"type": "Ready", "status": "True"}]});
        let node: Node = object(json!({"metadata": {"name": "a"}, "status": status}));
        let gpu = json!({"name": "c", "resources": {"limits": {"nvidia.com/gpu": "1"}}});
        let spec = json!({"nodeName": "a", "containers": [gpu]});
        let pod: Pod = object(json!({"metadata": {"name": "p", "namespace": "ml"}, "spec": spec}));
        for change in [Change::Node(Delta::Replaced(vec![node])), Change::Pod(Delta::Replaced(vec![pod]))] {
            noticed.try_send(change).unwrap();
        }
        for feed in Feed::REQUIRED {
            health.listed(feed, []);
        }
        evaluation.evaluate();
        assert_eq!(evaluation.previous.unwrap().free_gpus, 1);
    }
}
