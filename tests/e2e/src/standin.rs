//! What answers at the addresses of a scenario's pods: inference servers and DCGM exporters.
//!
//! kwok's pods run nothing. This server watches the pods of one scenario, listens on each pod's own address and
//! port, and serves there what the real thing would, so that the adapter gets real HTTP from real addresses.
//! Load is conserved: a scenario sets totals ([`Load`]), which are divided over the Ready inference pods; it takes
//! load a moment to reach a new one. A pod that is not Ready reports none of it, and its exporter an idle GPU.

mod fleet;
mod histogram;
mod render;
mod serve;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use anyhow::Result;
use kube::Client;
use tokio::{sync::watch, task::JoinSet};

use fleet::Fleet;
pub use fleet::{Role, Target};

/// The label of every object of one scenario; its value is the scenario's name.
pub const WORLD: &str = "plimsoll.dev/e2e-world";
/// The annotation that chooses an inference pod's metric names: [`Dialect::Vllm`] by `vllm`.
pub const DIALECT: &str = "plimsoll.dev/e2e-dialect";
/// The annotation of an exporter's pod: how many GPUs its node has.
pub const GPUS: &str = "plimsoll.dev/e2e-gpus";

/// The load of one scenario, in totals over all its inference pods.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// Requests that wait.
    pub queue: f64,
    /// Per cent of one GPU, summed: 400 keeps four GPUs busy. A GPU shows at most 100.
    pub gpu: f64,
    /// Requests that are answered in a second.
    pub rate: f64,
}

/// The names under which an inference pod reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dialect {
    /// `inference_queue_length`, `inference_request_duration_seconds`.
    #[default]
    Generic,
    /// `vllm:num_requests_waiting` and its family.
    Vllm,
}

/// What all of a scenario's servers share.
#[derive(Debug)]
struct Shared {
    load: Mutex<Load>,
    fleet: Mutex<Fleet>,
    /// Whether requests are taken and not answered.
    silent: watch::Sender<bool>,
    inference_scrapes: AtomicU64,
    exporter_scrapes: AtomicU64,
}

/// The servers of one scenario; dropping it ends them.
#[derive(Debug)]
pub struct StandIn {
    shared: Arc<Shared>,
    alive: watch::Sender<bool>,
    _tasks: JoinSet<()>,
}

impl Load {
    /// No load at all.
    pub const NONE: Self = Self { queue: 0.0, gpu: 0.0, rate: 0.0 };

    /// A load for which targets of 10 waiting requests and of 80 % ask for exactly `replicas` replicas; the queue
    /// decides. Half a request less than a full target: a third of a request is rounded up to a thousandth on its
    /// way to the HPA, and these roundings must not ask for one more.
    #[must_use]
    pub fn for_replicas(replicas: u32) -> Self {
        let replicas = f64::from(replicas);
        Self { queue: (10.0 * replicas - 0.5).max(0.0), gpu: 70.0 * replicas, rate: 20.0 * replicas }
    }

    /// `factor` times as much of everything.
    #[must_use]
    pub fn times(self, factor: f64) -> Self {
        Self { queue: self.queue * factor, gpu: self.gpu * factor, rate: self.rate * factor }
    }
}

impl StandIn {
    /// Watches the pods that carry `WORLD=<world>` and answers for them.
    #[must_use]
    pub fn start(client: Client, world: &str) -> Self {
        let shared = Arc::new(Shared {
            load: Mutex::new(Load::NONE),
            fleet: Mutex::new(Fleet::default()),
            silent: watch::channel(false).0,
            inference_scrapes: AtomicU64::new(0),
            exporter_scrapes: AtomicU64::new(0),
        });
        let (alive, watching) = watch::channel(true);
        let mut tasks = JoinSet::new();
        let (news, pods) = watch::channel(());
        tasks.spawn(fleet::watch_pods(client, world.to_owned(), shared.clone(), news));
        tasks.spawn(serve::keep_listening(shared.clone(), pods, watching));
        Self { shared, alive, _tasks: tasks }
    }

    /// Changes the load from the next scrape on.
    pub fn set_load(&self, load: Load) {
        *lock(&self.shared.load) = load;
    }

    /// The load that is set.
    #[must_use]
    pub fn load(&self) -> Load {
        *lock(&self.shared.load)
    }

    /// Takes requests and does not answer them, as a server that hangs; what waits is answered when it does not any more.
    pub fn hang(&self, hangs: bool) {
        self.shared.silent.send_replace(hangs);
    }

    /// Closes every port: scrapes are refused, as by pods that have ended.
    pub fn kill(&self) {
        self.alive.send_replace(false);
    }

    /// Opens the ports again.
    pub fn revive(&self) {
        self.alive.send_replace(true);
    }

    /// How many scrapes inference pods and exporters have answered.
    #[must_use]
    pub fn scrapes(&self) -> (u64, u64) {
        (self.shared.inference_scrapes.load(Ordering::Relaxed), self.shared.exporter_scrapes.load(Ordering::Relaxed))
    }

    /// Waiting requests at each Ready pod; the whole queue where nothing is Ready.
    #[must_use]
    pub fn queue_per_pod(&self) -> f64 {
        self.load().queue * lock(&self.shared.fleet).part()
    }

    /// How many replicas share the load, once all Ready ones do; none while load is moving.
    #[must_use]
    pub fn settled(&self) -> Option<usize> {
        lock(&self.shared.fleet).settled()
    }

    /// The addresses that answer now, for a Prometheus that is told its targets.
    #[must_use]
    pub fn targets(&self) -> Vec<Target> {
        lock(&self.shared.fleet).targets()
    }
}

/// A poisoned lock means that another task panicked; its data are plain values that stay whole.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Shared {
    /// What is served at `target` now.
    fn page(&self, target: &Target) -> Result<String, std::fmt::Error> {
        let load = *lock(&self.load);
        let mut fleet = lock(&self.fleet);
        match &target.role {
            Role::Inference(dialect) => {
                self.inference_scrapes.fetch_add(1, Ordering::Relaxed);
                render::inference(&fleet.share_of(target, load), *dialect)
            }
            Role::Exporter { node } => {
                self.exporter_scrapes.fetch_add(1, Ordering::Relaxed);
                render::exporter(node, &fleet.gpus(node, load))
            }
        }
    }
}
