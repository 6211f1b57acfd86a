//! Every change of a scenario's Deployment and pods, in order, as the API server announced it.
//!
//! A scenario asserts on what happened at *any* instant, so nothing is sampled: each watch event is one entry. A
//! [`Mark`] is a moment; questions are asked about the time since a mark.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::TryStreamExt;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Api, Client, ResourceExt,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};
use tokio::{task::JoinSet, time::Instant};

use crate::workload::WORKLOAD;

/// A moment of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(Duration);

/// Pods by what they do at one instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Bound to a node and running.
    pub running: usize,
    /// Of these, Ready.
    pub ready: usize,
    /// Not bound to any node.
    pub pending: usize,
    /// Of these, those for which the scheduler found no place.
    pub unplaced: usize,
}

/// `spec.replicas` from one moment on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Since the recording began.
    pub at: Duration,
    /// `spec.replicas`.
    pub replicas: i32,
}

/// The recording of one scenario; dropping it ends it.
#[derive(Debug)]
pub struct Trajectory {
    record: Arc<Mutex<Record>>,
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Record {
    began: Instant,
    steps: Vec<Step>,
    pods: BTreeMap<String, Seen>,
    pending: Vec<(Duration, usize)>,
    unplaced: Vec<(Duration, usize)>,
    lost: Vec<(Duration, String)>,
    without_place: Vec<(Duration, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts of a pod's status")]
struct Seen {
    bound: bool,
    running: bool,
    ready: bool,
    leaving: bool,
    unschedulable: bool,
}

// === impl Trajectory ===

impl Trajectory {
    /// Records the Deployment [`WORKLOAD`] and its pods in `namespace`.
    #[must_use]
    pub fn record(client: &Client, namespace: &str) -> Self {
        let record = Arc::new(Mutex::new(Record::new()));
        let mut tasks = JoinSet::new();
        tasks.spawn(watch_deployment(Api::namespaced(client.clone(), namespace), record.clone()));
        tasks.spawn(watch_pods(Api::namespaced(client.clone(), namespace), record.clone()));
        Self { record, _tasks: tasks }
    }

    fn read(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The beginning of the recording.
    #[must_use]
    pub fn start(&self) -> Mark {
        Mark(Duration::ZERO)
    }

    /// This moment.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark(self.read().now())
    }

    /// Since `mark`.
    #[must_use]
    pub fn since(&self, mark: Mark) -> Duration {
        self.read().now().saturating_sub(mark.0)
    }

    /// How long after `mark` a step was.
    #[must_use]
    pub fn from(&self, mark: Mark, step: Step) -> Duration {
        step.at.saturating_sub(mark.0)
    }

    /// The newest `spec.replicas`; 0 before the Deployment was seen.
    #[must_use]
    pub fn replicas(&self) -> i32 {
        self.read().steps.last().map_or(0, |step| step.replicas)
    }

    /// The pods now.
    #[must_use]
    pub fn pods(&self) -> Count {
        self.read().count()
    }

    /// The largest `spec.replicas` at any instant since `mark`, the one then in force included.
    #[must_use]
    pub fn most_replicas(&self, mark: Mark) -> i32 {
        self.steps(mark).iter().map(|step| step.replicas).max().unwrap_or(0)
    }

    /// The smallest one.
    #[must_use]
    pub fn fewest_replicas(&self, mark: Mark) -> i32 {
        self.steps(mark).iter().map(|step| step.replicas).min().unwrap_or(0)
    }

    /// Each value of `spec.replicas` since `mark`, the one then in force first.
    #[must_use]
    pub fn steps(&self, mark: Mark) -> Vec<Step> {
        let record = self.read();
        let first = record.steps.partition_point(|step| step.at <= mark.0).saturating_sub(1);
        record.steps[first..].to_vec()
    }

    /// The pods that were bound to a node and were deleted since `mark`, whoever did it.
    #[must_use]
    pub fn lost(&self, mark: Mark) -> Vec<String> {
        self.read().lost.iter().filter(|(at, _)| *at > mark.0).map(|(_, pod)| pod.clone()).collect()
    }

    /// The pods for which the scheduler found no place since `mark`, be it for an instant.
    #[must_use]
    pub fn without_place(&self, mark: Mark) -> Vec<String> {
        self.read().without_place.iter().filter(|(at, _)| *at > mark.0).map(|(_, pod)| pod.clone()).collect()
    }

    /// The most pods without a node at any instant since `mark`.
    #[must_use]
    pub fn most_pending(&self, mark: Mark) -> usize {
        most(&self.read().pending, mark)
    }

    /// The most pods at any instant since `mark` for which the scheduler found no place.
    #[must_use]
    pub fn most_unplaced(&self, mark: Mark) -> usize {
        most(&self.read().unplaced, mark)
    }

    /// `5 -> 8 (4.1 s) -> 15 (9.0 s)`, times counted from `mark`.
    #[must_use]
    pub fn path(&self, mark: Mark) -> String {
        let mut text = String::new();
        for (index, step) in self.steps(mark).iter().enumerate() {
            let _ = match index {
                0 => write!(text, "{}", step.replicas),
                _ => write!(text, " -> {} ({:.1} s)", step.replicas, step.at.saturating_sub(mark.0).as_secs_f64()),
            };
        }
        text
    }
}

// === impl Record ===

impl Record {
    fn new() -> Self {
        Self {
            began: Instant::now(),
            steps: Vec::new(),
            pods: BTreeMap::new(),
            pending: Vec::new(),
            unplaced: Vec::new(),
            lost: Vec::new(),
            without_place: Vec::new(),
        }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn count(&self) -> Count {
        let staying = || self.pods.values().filter(|pod| !pod.leaving);
        Count {
            running: staying().filter(|pod| pod.running).count(),
            ready: staying().filter(|pod| pod.ready).count(),
            pending: staying().filter(|pod| !pod.bound).count(),
            unplaced: staying().filter(|pod| !pod.bound && pod.unschedulable).count(),
        }
    }

    fn deployment(&mut self, deployment: &Deployment) {
        let replicas = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        if self.steps.last().is_none_or(|step| step.replicas != replicas) {
            self.steps.push(Step { at: self.now(), replicas });
        }
    }

    fn pod(&mut self, pod: &Pod) {
        let seen = Seen::of(pod);
        let before = self.pods.insert(pod.name_any(), seen);
        if seen.leaving && seen.bound && before.is_none_or(|before| !before.leaving) {
            self.lost.push((self.now(), pod.name_any()));
        }
        if seen.unschedulable && before.is_none_or(|before| !before.unschedulable) {
            self.without_place.push((self.now(), pod.name_any()));
        }
        self.note_pending();
    }

    /// A pod may be gone without having been seen to leave.
    fn pod_gone(&mut self, name: &str) {
        if self.pods.remove(name).is_some_and(|pod| pod.bound && !pod.leaving) {
            self.lost.push((self.now(), name.to_owned()));
        }
        self.note_pending();
    }

    fn note_pending(&mut self) {
        let (now, Count { pending, unplaced, .. }) = (self.now(), self.count());
        for (counts, count) in [(&mut self.pending, pending), (&mut self.unplaced, unplaced)] {
            if counts.last().is_none_or(|(_, last)| *last != count) {
                counts.push((now, count));
            }
        }
    }
}

/// The largest count since `mark`, the one then in force included.
fn most(counts: &[(Duration, usize)], mark: Mark) -> usize {
    let first = counts.partition_point(|(at, _)| *at <= mark.0).saturating_sub(1);
    counts[first..].iter().map(|(_, count)| *count).max().unwrap_or(0)
}

impl Seen {
    fn of(pod: &Pod) -> Self {
        let status = pod.status.as_ref();
        let conditions = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        Self {
            bound: pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some()),
            running: status.and_then(|status| status.phase.as_deref()) == Some("Running"),
            ready: conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True"),
            leaving: pod.metadata.deletion_timestamp.is_some(),
            unschedulable: conditions.iter().any(|condition| condition.reason.as_deref() == Some("Unschedulable")),
        }
    }
}

async fn watch_deployment(deployments: Api<Deployment>, record: Arc<Mutex<Record>>) {
    let config = watcher::Config::default().fields(&format!("metadata.name={WORKLOAD}"));
    let mut stream = std::pin::pin!(watcher::watcher(deployments, config).default_backoff());
    loop {
        // An error is a broken watch: the stream itself starts a new one after its back-off.
        let Ok(Some(event)) = stream.try_next().await else { continue };
        if let Event::Apply(deployment) | Event::InitApply(deployment) = event {
            record.lock().unwrap_or_else(PoisonError::into_inner).deployment(&deployment);
        }
    }
}

async fn watch_pods(pods: Api<Pod>, record: Arc<Mutex<Record>>) {
    let config = watcher::Config::default().labels(&format!("app={WORKLOAD}"));
    let mut stream = std::pin::pin!(watcher::watcher(pods, config).default_backoff());
    loop {
        let Ok(Some(event)) = stream.try_next().await else { continue };
        let mut record = record.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Apply(pod) | Event::InitApply(pod) => record.pod(&pod),
            Event::Delete(pod) => record.pod_gone(&pod.name_any()),
            Event::Init | Event::InitDone => {}
        }
    }
}
