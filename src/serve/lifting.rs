//! What would lift the limits that the last evaluation found: changes that have been tried in the model.
//!
//! Trying one change looks at the whole cluster, so it is done in between: one trial at a time, with a rest that is
//! many times as long, while the answers to requests are long there. What was found is shown beside the decision and
//! is no part of it.

use std::{
    borrow::Cow,
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use plimsoll_core::{
    capacity::{Fits, Ledger, Lift, Limited, LimitingFactor, Model, Search, Step},
    cluster::{Census, Learnt, Started, View, is_own},
    decision::{Decision, Live, Snapshot},
    object::{Group, Pod, PodTemplate, WorkloadKey},
    policy::Policy,
};
use serde::Serialize;
use tokio::time::Instant;

/// After this time what was found is looked for again: nodes and pods have changed.
const FRESH: SignedDuration = SignedDuration::from_secs(30);
/// After this time already where what is bound or fits has changed since.
const FRESH_ENOUGH: SignedDuration = SignedDuration::from_secs(2);
/// Rest after a trial, in times of what it took: searching takes a tenth of one processor at most.
const RESTS: u32 = 9;

/// What was found for one workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Lifted {
    /// When it was found.
    pub(super) at: Timestamp,
    /// The change; none where nothing that was tried helps.
    #[serde(flatten)]
    pub(super) lift: Option<Lift>,
    /// Of which situation.
    #[serde(skip)]
    of: Situation,
}

/// What of a decision, if it changes, may change what lifts its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Situation {
    bound: i32,
    pending: i32,
    fits: Fits,
    factor: LimitingFactor,
}

/// By workload.
pub(super) type Found = BTreeMap<WorkloadKey, Lifted>;

/// Whoever searches.
#[derive(Debug)]
pub(super) struct Lifter {
    found: Arc<Found>,
    limited: BTreeMap<WorkloadKey, Situation>,
    queue: VecDeque<WorkloadKey>,
    job: Option<Job>,
    rests: Instant,
}

/// The search for one workload.
#[derive(Debug)]
struct Job {
    workload: WorkloadKey,
    of: Situation,
    search: Search,
    /// What its pods are made from; of groups, the leader and the rest.
    made_from: (PodTemplate, Option<Group>),
    started: Vec<Started>,
    pending: u32,
}

// === impl Lifter ===

impl Default for Lifter {
    fn default() -> Self {
        Self {
            found: Arc::default(),
            limited: BTreeMap::new(),
            queue: VecDeque::new(),
            job: None,
            rests: Instant::now(),
        }
    }
}

impl Lifter {
    /// What has been found.
    pub(super) fn found(&self) -> Arc<Found> {
        Arc::clone(&self.found)
    }

    /// Takes note of an evaluation: what is limited is searched for, what is not any more is forgotten. Returns whether
    /// anything was.
    pub(super) fn note(&mut self, snapshot: &Snapshot) -> bool {
        let limited = snapshot.decisions.values().filter(|decision| decision.limiting_factor.is_of_the_cluster());
        self.limited = limited.map(|decision| (decision.workload.clone(), Situation::of(decision))).collect();
        let Self { found, limited, queue, job, .. } = self;
        queue.retain(|workload| limited.contains_key(workload));
        job.take_if(|job| !limited.contains_key(&job.workload));
        for (workload, of) in &*limited {
            let is_fresh = found.get(workload).is_some_and(|lifted| {
                let fresh = if lifted.of == *of { FRESH } else { FRESH_ENOUGH };
                snapshot.at.duration_since(lifted.at) < fresh
            });
            let is_under_way = job.as_ref().is_some_and(|job| job.workload == *workload);
            if !is_fresh && !is_under_way && !queue.contains(workload) {
                queue.push_back(workload.clone());
            }
        }
        let forgotten = found.keys().any(|workload| !limited.contains_key(workload));
        if forgotten {
            Arc::make_mut(found).retain(|workload, _| limited.contains_key(workload));
        }
        forgotten
    }

    /// When the next trial is due; none while nothing is to be searched for.
    pub(super) fn due(&self) -> Option<Instant> {
        (self.job.is_some() || !self.queue.is_empty()).then_some(self.rests)
    }

    /// Makes one trial; returns whether a search has ended.
    pub(super) fn turn(&mut self, view: &mut View, ledger: &mut Arc<Ledger>, policy: &Policy, now: Timestamp) -> bool {
        let began = Instant::now();
        let model = Model { view, ledger, policy };
        let ended = match self.job.take() {
            None => {
                let next = self.queue.pop_front().and_then(|key| self.limited.remove_entry(&key));
                let Some((workload, of)) = next else { return false };
                self.job = Job::begin(workload.clone(), of, model);
                // One that nothing can be tried for is not tried again at once.
                self.job.is_none().then_some((workload, of, None))
            }
            Some(mut job) => match job.step(model) {
                Step::Further => {
                    self.job = Some(job);
                    None
                }
                Step::Found(lift) => Some((job.workload, job.of, Some(lift))),
                Step::Exhausted => Some((job.workload, job.of, None)),
            },
        };
        self.rests = Instant::now() + began.elapsed().max(Duration::from_millis(1)) * RESTS;
        let Some((workload, of, lift)) = ended else { return false };
        Arc::make_mut(&mut self.found).insert(workload, Lifted { at: now, lift, of });
        true
    }
}

// === impl Situation ===

impl Situation {
    fn of(decision: &Decision) -> Self {
        let Decision { bound, pending, fits, limiting_factor: factor, .. } = *decision;
        Self { bound, pending, fits, factor }
    }
}

// === impl Job ===

impl Job {
    fn begin(workload: WorkloadKey, of: Situation, mut model: Model<'_>) -> Option<Self> {
        let (made_from, started, pending) = {
            let census = Census::of(model.view, [&workload]);
            let Learnt { template, group } = census.learnt(&workload)?;
            let (_, live) = Live::all(&census).next()?;
            let started = census.groups(&workload).map(|groups| groups.started).unwrap_or_default();
            let made_from = (template.into_owned(), group.map(Cow::into_owned));
            (made_from, started, u32::try_from(live.charged()).unwrap_or(0))
        };
        let search = asked(&workload, &made_from, &started, pending, &mut model, Search::begin)?;
        Some(Self { workload, of, search, made_from, started, pending })
    }

    fn step(&mut self, mut model: Model<'_>) -> Step {
        let Self { workload, search, made_from, started, pending, .. } = self;
        let step = asked(workload, made_from, started, *pending, &mut model, |model, limited, own| {
            search.step(model, limited, own)
        });
        step.unwrap_or(Step::Exhausted)
    }
}

/// Asks a question about a workload; none where it is not known any more.
fn asked<T>(
    workload: &WorkloadKey,
    (template, group): &(PodTemplate, Option<Group>),
    started: &[Started],
    pending: u32,
    model: &mut Model<'_>,
    ask: impl FnOnce(&mut Model<'_>, Limited<'_>, &dyn Fn(&Pod) -> bool) -> T,
) -> Option<T> {
    let target = model.view.workloads.get(workload)?.clone();
    let limited = Limited { namespace: &workload.namespace, template, group: group.as_ref(), started, pending };
    Some(ask(model, limited, &|pod| is_own(workload, &target.selector, target.group.is_some(), pod)))
}

#[cfg(test)]
mod tests {
    use plimsoll_core::{decision, object::ObjectKey, signal::Signals};
    use serde_json::json;

    use super::*;

    /// A workload of one GPU a replica that is asked to have five at least, on a node of two and one that is cordoned.
    fn limited() -> (View, WorkloadKey) {
        let mut view = View { capacity_heard_at: Some(Timestamp::UNIX_EPOCH), ..View::default() };
        for (name, shut) in [("a", false), ("b", true)] {
            let offered = json!({"cpu": "8", "pods": "10", "nvidia.com/gpu": "2"});
            let node = json!({
                "metadata": {"name": name}, "spec": {"unschedulable": shut},
                "status": {"allocatable": offered, "conditions": [{"type": "Ready", "status": "True"}]},
            });
            view.nodes.insert(name.to_owned(), serde_json::from_value(node).unwrap());
        }
        let key = WorkloadKey {
            namespace: "ml".to_owned(),
            group: "apps".to_owned(),
            kind: "Deployment".to_owned(),
            name: "llm".to_owned(),
        };
        let limits = json!({"limits": {"nvidia.com/gpu": "1"}});
        let template = json!({"metadata": {"labels": {"app": "llm"}}, "spec": {"containers": [{"name": "c", "resources": limits}]}});
        let target = plimsoll_core::object::ScaleTarget {
            selector: "app=llm".parse().unwrap(),
            template: serde_json::from_value(template).unwrap(),
            ..Default::default()
        };
        view.workloads.insert(key.clone(), target);
        let metric = json!({"type": "External", "external": {
            "metric": {"name": "plimsoll_desired_replicas"}, "target": {"type": "AverageValue", "averageValue": "1"} }});
        let hpa = json!({"metadata": {"namespace": "ml", "name": "llm"}, "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "llm"},
            "minReplicas": 5, "maxReplicas": 9, "metrics": [metric]}});
        view.hpas.insert(ObjectKey::new("ml", "llm"), serde_json::from_value(hpa).unwrap());
        (view, key)
    }

    fn decided(view: &View, second: i64) -> Snapshot {
        let at = Timestamp::from_second(second).unwrap();
        let mut snapshot = decision::decide(view, &Signals::default(), &Policy::default(), None, at);
        for decision in snapshot.decisions.values_mut() {
            // Without a demand the signals are what limits.
            decision.limiting_factor = plimsoll_core::capacity::LimitingFactor::Gpu;
        }
        snapshot
    }

    fn search(lifter: &mut Lifter, view: &mut View, second: i64) {
        let mut ledger = Arc::new(Ledger::of(view));
        while lifter.due().is_some() {
            lifter.turn(view, &mut ledger, &Policy::default(), Timestamp::from_second(second).unwrap());
        }
    }

    #[tokio::test]
    async fn a_limit_is_searched_once_and_again_after_a_while_and_forgotten_when_it_is_gone() {
        let ((mut view, key), mut lifter) = (limited(), Lifter::default());
        lifter.note(&decided(&view, 0));
        search(&mut lifter, &mut view, 1);
        let lift = |lifter: &Lifter| lifter.found()[&key].lift.as_ref().map(|lift| lift.change.clone());
        assert_eq!(lift(&lifter).as_deref(), Some("uncordon node b"));
        lifter.note(&decided(&view, 20));
        assert_eq!(lifter.due(), None);
        view.nodes.remove("b");
        lifter.note(&decided(&view, 40));
        search(&mut lifter, &mut view, 41);
        assert_eq!(lift(&lifter).as_deref(), Some("add one node like a"));
        view.hpas.clear();
        assert!(lifter.note(&decided(&view, 42)));
        assert!(lifter.found().is_empty() && lifter.due().is_none());
    }
}
