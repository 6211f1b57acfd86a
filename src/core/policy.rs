//! Policy: everything about a decision that is chosen by people, already checked.

use jiff::SignedDuration;
use serde::Serialize;

use crate::signal;

/// Annotation on an HPA, a ScaledObject or a namespace: `Enforce`, `Observe` or `Off`.
pub const MODE_ANNOTATION: &str = "plimsoll.dev/mode";
/// Annotation on an HPA: `always` never sheds a surplus.
pub const HOLD_ANNOTATION: &str = "plimsoll.dev/hold";
/// Annotation on an HPA: `now` sheds a surplus without grace.
pub const SHED_ANNOTATION: &str = "plimsoll.dev/shed";

/// Annotation on an HPA, then on a namespace: `auto`, `none`, or a number of replicas.
pub const HEADROOM_ANNOTATION: &str = "plimsoll.dev/headroom";

/// How many replicas may wait for nodes that a node autoscaler has yet to add.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Headroom {
    /// As many as the node autoscaler may add nodes for.
    #[default]
    Auto,
    /// None: nodes are never asked for.
    None,
    /// At most so many of them at a time.
    AtMost(u32),
}

/// What Plimsoll does for a workload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Mode {
    /// Serve clamped values.
    #[default]
    Enforce,
    /// Serve raw values, publish what would have been served.
    Observe,
    /// Serve raw values, keep no record.
    Off,
}

/// What happens to replicas above the grant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Surplus {
    /// Held until its pods have been unschedulable for the grace, then shed.
    #[default]
    ShedAfterGrace,
    /// Held always.
    Hold,
    /// Shed at once.
    ShedNow,
}

/// One metric name that is served, and what stands behind it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServedMetric {
    /// The name in HPAs.
    pub name: String,
    /// What stands behind it.
    pub kind: MetricKind,
}

/// What stands behind a metric name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum MetricKind {
    /// A signal of each pod: as it is for Pods metrics, summed over the workload's pods for External ones.
    PerPod {
        /// Name of the signal.
        signal: String,
    },
    /// A signal of the whole workload that is never summed.
    PerWorkload {
        /// Name of the signal.
        signal: String,
    },
    /// `gpu_nodes_available`: no vote beside metrics that carry demand.
    CapacityGuard,
    /// `plimsoll_desired_replicas`: the granted replica count.
    DesiredReplicas,
}

/// Cluster-wide policy, and the facts of the cluster that nobody can read from inside.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    /// Mode of workloads that nothing else decides for.
    pub mode: Mode,
    /// What happens to replicas above the grant.
    pub surplus: Surplus,
    /// How long a surplus is unschedulable before it is shed.
    pub shed_grace: SignedDuration,
    /// How long a drop of a node's allocatable GPUs may be a restart of their device plugin, if the capacity stays.
    pub plugin_grace: SignedDuration,
    /// How many replicas may wait for nodes that do not exist yet.
    pub headroom: Headroom,
    /// How long a replica waits for such a node before it is taken back.
    pub provision_timeout: SignedDuration,
    /// How long nothing is tried again after that; twice as long after each further failure.
    pub provision_pause: SignedDuration,
    /// Nodes that a group without any limit counts as able to add.
    pub unlimited_nodes: u32,
    /// Tolerance of kube-controller-manager (`--horizontal-pod-autoscaler-tolerance`).
    pub tolerance: f64,
    /// Sync period of kube-controller-manager (`--horizontal-pod-autoscaler-sync-period`).
    pub sync_period: SignedDuration,
    /// Down-scale window of kube-controller-manager (`--horizontal-pod-autoscaler-downscale-stabilization`).
    pub downscale_stabilization: SignedDuration,
    /// Age up to which a sample is live.
    pub live_bound: SignedDuration,
    /// Age up to which a sample is the last known good one.
    pub last_known_good_bound: SignedDuration,
    /// Age above which capacity is stale, so that nothing may grow.
    pub capacity_bound: SignedDuration,
    /// Smallest share of a workload's ready pods that must have a sample for a sum to be served.
    pub min_coverage: f64,
    /// Most slots of one shared GPU that are counted on; none for as many as its device plugin offers.
    pub max_sharers: Option<u32>,
    /// Resource names that are GPUs; a trailing `*` matches any ending.
    pub gpu_resources: Vec<String>,
    /// Metric names that are served.
    pub metrics: Vec<ServedMetric>,
}

// === impl Policy ===

impl Default for Policy {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            surplus: Surplus::default(),
            shed_grace: SignedDuration::from_secs(120),
            plugin_grace: SignedDuration::from_secs(30),
            headroom: Headroom::default(),
            provision_timeout: SignedDuration::from_secs(900),
            provision_pause: SignedDuration::from_secs(600),
            unlimited_nodes: 10,
            tolerance: 0.1,
            sync_period: SignedDuration::from_secs(15),
            downscale_stabilization: SignedDuration::from_secs(300),
            live_bound: SignedDuration::from_secs(10),
            last_known_good_bound: SignedDuration::from_secs(120),
            capacity_bound: SignedDuration::from_secs(60),
            min_coverage: 0.8,
            max_sharers: None,
            gpu_resources: [
                "nvidia.com/gpu",
                "nvidia.com/mig-*",
                "nvidia.com/gpu.shared",
                "amd.com/gpu",
                "gpu.intel.com/*",
            ]
            .map(str::to_owned)
            .to_vec(),
            metrics: default_metrics(),
        }
    }
}

impl Policy {
    /// Whether a resource name counts as GPU.
    #[must_use]
    pub fn is_gpu(&self, resource: &str) -> bool {
        self.gpu_resources.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(prefix) => resource.starts_with(prefix),
            None => resource == pattern,
        })
    }

    /// The metric served under a name, if any.
    #[must_use]
    pub fn metric(&self, name: &str) -> Option<&ServedMetric> {
        self.metrics.iter().find(|metric| metric.name == name)
    }
}

fn default_metrics() -> Vec<ServedMetric> {
    let per_pod = |signal: &str| MetricKind::PerPod { signal: signal.to_owned() };
    [
        ("inference_queue_length", per_pod(signal::QUEUE_LENGTH)),
        ("dcgm_gpu_utilization", per_pod(signal::GPU_UTILIZATION)),
        ("nvidia_gpu_utilization", per_pod(signal::GPU_UTILIZATION)),
        ("gpu_utilization", per_pod(signal::GPU_UTILIZATION)),
        ("inference_latency_p99_seconds", MetricKind::PerWorkload { signal: signal::LATENCY_P99.to_owned() }),
        ("gpu_nodes_available", MetricKind::CapacityGuard),
        ("plimsoll_desired_replicas", MetricKind::DesiredReplicas),
    ]
    .into_iter()
    .map(|(name, kind)| ServedMetric { name: name.to_owned(), kind })
    .collect()
}
