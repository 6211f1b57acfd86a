//! Signals: named, unit-carrying measurements of pods and workloads, with sample time and quality.
//!
//! Canonical units: requests for `queueLength`, percent (0 to 100) for `gpuUtilization`, seconds for latencies.

mod demands;
mod join;
mod store;
mod window;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::{
    demands::{DemandKey, Demands},
    store::{Bounds, Store},
};
use crate::{
    histogram::Quantile,
    object::{ObjectKey, Shared, WorkloadKey},
    quantity::{MILLI_MAX, Milli},
};

/// Requests that wait in a pod.
pub const QUEUE_LENGTH: &str = "queueLength";
/// Mean utilisation of a pod's GPUs, in percent.
pub const GPU_UTILIZATION: &str = "gpuUtilization";
/// Share of a pod's KV cache that is in use, in percent.
pub const KV_CACHE_USAGE: &str = "kvCacheUsage";
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
    pub pods: BTreeMap<String, Shared<BTreeMap<ObjectKey, Sample>>>,
    /// Signal name to workload to sample, for signals that are never summed (quantiles).
    pub workloads: BTreeMap<String, BTreeMap<WorkloadKey, Sample>>,
    /// What must be known about the quantiles among them, e.g. that the truth is at least the value.
    pub quantiles: BTreeMap<String, BTreeMap<WorkloadKey, Quantile>>,
    /// Health of each source.
    pub sources: BTreeMap<String, SourceHealth>,
    /// Answers to the queries of triggers, or why there is none.
    #[serde(skip)]
    pub demands: BTreeMap<DemandKey, Result<Sample, String>>,
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
    /// Values of the last good answer that are estimates, since several pods share a device.
    pub approximate: u64,
}

/// Why a single value is refused. The others of its source are not touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refused {
    /// A line that is not of the format.
    Malformed,
    /// NaN or infinite.
    NotFinite,
    /// Below 0.
    Negative,
    /// Above what the signal's unit allows, e.g. a utilisation above 100 %.
    OutOfRange,
    /// A number that stands for "not measured".
    Blank,
    /// A bucket or histogram that is none.
    Bucket,
    /// The same series twice with different values.
    Duplicate,
    /// Sampled more than the permitted skew in the future.
    Future,
    /// Sampled too long ago.
    TooOld,
    /// More series in one histogram than permitted.
    TooManySeries,
    /// More values than permitted.
    TooManyValues,
    /// Names a pod that does not exist or does not run.
    NotRunning,
    /// Names a pod with another uid.
    OtherPod,
    /// Names a pod on another node than the exporter's.
    OtherNode,
}

/// Checks a value in the canonical unit of its signal: finite, at least 0, and at most 100 for percentages and 1e12
/// for everything else. What is out of range is refused, never clamped: it was not measured.
pub fn check(signal: &str, value: f64) -> Result<f64, Refused> {
    let most = if matches!(signal, GPU_UTILIZATION | KV_CACHE_USAGE) { 100.0 } else { (MILLI_MAX / 1000) as f64 };
    if !value.is_finite() {
        return Err(Refused::NotFinite);
    }
    if value < 0.0 {
        return Err(Refused::Negative);
    }
    if value > most { Err(Refused::OutOfRange) } else { Ok(value) }
}

// === impl Refused ===

impl Refused {
    /// The stable name, as used in status and metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformedLine",
            Self::NotFinite => "notFinite",
            Self::Negative => "negative",
            Self::OutOfRange => "outOfRange",
            Self::Blank => "blank",
            Self::Bucket => "malformedBucket",
            Self::Duplicate => "duplicate",
            Self::Future => "future",
            Self::TooOld => "tooOld",
            Self::TooManySeries => "tooManySeries",
            Self::TooManyValues => "tooManyValues",
            Self::NotRunning => "notRunning",
            Self::OtherPod => "otherPod",
            Self::OtherNode => "otherNode",
        }
    }
}

#[cfg(test)]
mod tests;
