//! Signals: named, unit-carrying measurements of pods and workloads, with sample time and quality.
//!
//! Canonical units: requests for `queueLength`, percent (0 to 100) for `gpuUtilization`, seconds for latencies.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    object::{ObjectKey, WorkloadKey},
    quantity::Milli,
};

/// Requests that wait in a pod.
pub const QUEUE_LENGTH: &str = "queueLength";
/// Mean utilisation of a pod's GPUs, in percent.
pub const GPU_UTILIZATION: &str = "gpuUtilization";
/// 99th percentile of the request duration over all pods of a workload, in seconds.
pub const LATENCY_P99: &str = "latencyP99";

/// How far a value can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Quality {
    /// At most two intervals old.
    Live,
    /// Older, but within the bound: may not raise the answer above the current clamp.
    LastKnownGood,
    /// Nothing is known; the value that proposes the current count stands in.
    Hold,
    /// Nothing is known.
    Unknown,
}

/// One measured value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// The value, in thousandths of the signal's unit.
    pub value: Milli,
    /// When it was measured, as far as the source says; else when it was received.
    pub at: Timestamp,
    /// Quality at the time of the evaluation that these signals are for.
    pub quality: Quality,
}

/// All signals at one evaluation.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Signals {
    /// Signal name to pod to sample. Pods without data are absent, never 0.
    pub pods: BTreeMap<String, BTreeMap<ObjectKey, Sample>>,
    /// Signal name to workload to sample, for signals that are never summed (quantiles).
    pub workloads: BTreeMap<String, BTreeMap<WorkloadKey, Sample>>,
    /// Health of each source.
    pub sources: BTreeMap<String, SourceHealth>,
}

/// Health of one source: a scrape target or a query.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceHealth {
    /// Last time that the source answered well.
    pub last_success: Option<Timestamp>,
    /// Why the last attempt failed; none if it succeeded.
    pub error: Option<String>,
    /// Values of the last good answer that were refused, with the reason, counted.
    pub refused: BTreeMap<String, u64>,
}
