//! What a KEDA trigger asks of us: its metadata, read into one checked type.
//!
//! KEDA hands a trigger's `metadata` over as a map of texts. [`Trigger::parse`] reads it once, finds everything that
//! is wrong with it, and nothing checks again: the external scaler, the decision and the offline lint share the type.
//! Targets and names follow from the metadata alone, so that `GetMetricSpec` cannot fail for any other reason.

mod parse;
mod reader;
mod unread;
mod write;

use jiff::SignedDuration;
use serde::Serialize;

use crate::{object::meta::StringMap, quantity::Milli};

/// Target of the signals that are replica counts: one of the value is one replica.
pub const ONE_REPLICA: Milli = Milli(1000);

/// A checked trigger.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Trigger {
    /// Name of its metric, as KEDA asks for it.
    pub metric_name: String,
    /// What is measured, and the target of it.
    pub signal: Signal,
    /// Servers whose defaults are meant.
    pub profile: Option<Profile>,
    /// The trigger is active above this value, strictly.
    pub activation: Milli,
    /// What stands in for a value that is not known.
    pub on_missing: OnMissing,
    /// How long the last good value stands in.
    pub stale_after: SignedDuration,
    /// How long a replica that is not Ready keeps the trigger active; none for not at all.
    pub warmup: Option<SignedDuration>,
    /// Whether values are kept within what fits.
    pub clamp: bool,
    /// Replicas beyond what fits that a node autoscaler may be asked for; none for what annotations and policy say.
    pub headroom: Option<Headroom>,
    /// Priority in the division of what is free; none for that of the pods.
    pub priority: Option<i32>,
    /// Where the demand is read that no pod can tell of; none for the pods alone.
    pub query: Option<Query>,
    /// Address of the Prometheus server that is asked the profile's own query for what waits, by pod; none where the
    /// pods are asked themselves, or the trigger's own query is.
    pub server: Option<String>,
}

/// What is measured.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Signal {
    /// Utilisation of the replicas' GPUs, in percent.
    GpuUtilization {
        /// Target per replica.
        threshold: Milli,
        /// How replicas are taken together.
        aggregation: Aggregation,
    },
    /// Waiting requests.
    QueueLength {
        /// Target per replica.
        threshold: Milli,
        /// How replicas are taken together.
        aggregation: Aggregation,
    },
    /// 99th percentile of the request duration; served as replicas.
    Latency {
        /// The objective, in thousandths of a second.
        threshold: Milli,
    },
    /// Several of the above in one value; served as replicas.
    Composite(Composite),
    /// Replicas that are placed and that may be added.
    Capacity,
}

/// Parts of a composite signal, at least one.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Composite {
    /// Waiting requests per replica.
    pub queue: Option<Part>,
    /// Utilisation per replica, in percent.
    pub gpu: Option<Part>,
    /// 99th percentile of the request duration, in thousandths of a second.
    pub latency: Option<Part>,
    /// How the parts' replicas are taken together.
    pub combine: Combine,
}

/// One part of a composite signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    /// The target.
    pub threshold: Milli,
    /// Its weight in [`Combine::Weighted`], in thousandths.
    pub weight: Milli,
}

/// How the parts of a composite signal are taken together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Combine {
    /// The largest proposal, as an HPA does with its metrics.
    #[default]
    Max,
    /// The weighted mean of the proposals, rounded up.
    Weighted,
}

/// How the values of several replicas are taken together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Aggregation {
    /// The sum: a total that the HPA divides by the replicas.
    Sum,
    /// The mean of each replica.
    Average,
    /// The largest.
    Max,
    /// The smallest.
    Min,
    /// The 95th percentile: the value below or at which 95 % of the replicas are.
    P95,
}

/// Servers whose defaults a trigger takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// vLLM.
    Vllm,
    /// Triton Inference Server.
    Triton,
    /// Text Generation Inference.
    Tgi,
    /// Text Embeddings Inference.
    Tei,
    /// SGLang.
    Sglang,
}

/// What stands in for a value that is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum OnMissing {
    /// The last good value for a while, then an error, on which KEDA changes nothing.
    #[default]
    Hold,
    /// An error at once.
    Error,
    /// 0: no data means no demand.
    Zero,
}

/// Replicas beyond what fits that a node autoscaler may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Headroom {
    /// At most this many.
    Replicas(u32),
    /// What the node autoscaler reports that it may add.
    Autoscaler,
}

/// An instant query whose value is the demand of the whole workload.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Query {
    /// Address of the server, which the administrator has configured.
    pub server: String,
    /// PromQL; it is bound to the namespace of the object.
    pub text: String,
}

/// Something that is wrong with a trigger's metadata.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, thiserror::Error)]
#[error("{key}: {message}")]
pub struct Problem {
    /// The key.
    pub key: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

// === impl Trigger ===

impl Trigger {
    /// The trigger of which nothing else is said.
    #[must_use]
    pub fn new(signal: Signal) -> Self {
        Self {
            metric_name: signal.metric_name().to_owned(),
            signal,
            profile: None,
            activation: Milli(0),
            on_missing: OnMissing::default(),
            stale_after: parse::STALE_AFTER,
            warmup: Some(parse::WARMUP),
            clamp: true,
            headroom: None,
            priority: None,
            query: None,
            server: None,
        }
    }

    /// Reads a trigger's metadata; the error is everything that is wrong with it, by key.
    pub fn parse(metadata: &StringMap) -> Result<Self, Vec<Problem>> {
        parse::parse(metadata)
    }

    /// The metadata that parse to this trigger.
    #[must_use]
    pub fn metadata(&self) -> StringMap {
        write::metadata(self)
    }

    /// The target of the served value, above 0.
    #[must_use]
    pub const fn target(&self) -> Milli {
        match self.signal {
            Signal::GpuUtilization { threshold, .. } | Signal::QueueLength { threshold, .. } => threshold,
            Signal::Latency { .. } | Signal::Composite(_) | Signal::Capacity => ONE_REPLICA,
        }
    }

    /// Whether the served value is a replica count, which only a target of type AverageValue reads rightly.
    #[must_use]
    pub const fn counts_replicas(&self) -> bool {
        matches!(self.signal, Signal::Latency { .. } | Signal::Composite(_) | Signal::Capacity)
    }
}

impl Profile {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Vllm, Self::Triton, Self::Tgi, Self::Tei, Self::Sglang];

    /// The name in metadata, which is that of the profile by which the servers' metrics are read.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vllm => "vllm",
            Self::Triton => "triton",
            Self::Tgi => "tgi",
            Self::Tei => "tei",
            Self::Sglang => "sglang",
        }
    }
}

impl Signal {
    /// Whether what waits is part of the value.
    #[must_use]
    pub const fn counts_waiting(&self) -> bool {
        match self {
            Self::QueueLength { .. } | Self::Composite(Composite { queue: Some(_), .. }) => true,
            Self::GpuUtilization { .. } | Self::Latency { .. } | Self::Composite(_) | Self::Capacity => false,
        }
    }

    /// The name in metadata.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::GpuUtilization { .. } => "gpuUtilization",
            Self::QueueLength { .. } => "queueLength",
            Self::Latency { .. } => "latency",
            Self::Composite(_) => "composite",
            Self::Capacity => "capacity",
        }
    }

    /// Name of the metric where the metadata gives none.
    #[must_use]
    pub const fn metric_name(&self) -> &'static str {
        match self {
            Self::GpuUtilization { .. } => "plimsoll-gpu-utilization",
            Self::QueueLength { .. } => "plimsoll-queue-length",
            Self::Latency { .. } => "plimsoll-latency",
            Self::Composite(_) => "plimsoll-composite",
            Self::Capacity => "plimsoll-capacity",
        }
    }
}

#[cfg(test)]
mod tests;
