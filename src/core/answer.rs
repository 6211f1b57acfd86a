//! What is asked through the metrics APIs and what is answered, free of any wire format.

use jiff::Timestamp;
use serde::Serialize;

use crate::{
    object::{ObjectKey, meta::StringMap},
    quantity::Milli,
    selector::Selector,
};

/// The value of an External metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalValue {
    /// The value.
    pub value: Milli,
    /// Sample time of the oldest sample in it.
    pub at: Timestamp,
    /// Explanation that travels with the value: raw value, cap, reason.
    pub labels: StringMap,
}

/// The value of a custom metric of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectValue {
    /// Kind of the object, e.g. `Pod`.
    pub kind: String,
    /// Group and version, e.g. `v1`.
    pub api_version: String,
    /// The object; the namespace is empty for cluster-scoped ones.
    pub object: ObjectKey,
    /// The value.
    pub value: Milli,
    /// Sample time.
    pub at: Timestamp,
}

/// A request for custom metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomRequest {
    /// Namespace; empty for cluster-scoped objects.
    pub namespace: String,
    /// Resource with group as in the path, e.g. `pods` or `deployments.apps`.
    pub resource: String,
    /// One object by name, or those that a selector matches.
    pub objects: Objects,
    /// The metric.
    pub metric: String,
    /// Which series.
    pub metric_selector: Selector,
}

/// Which objects a request for custom metrics is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Objects {
    /// One, by name.
    Named(String),
    /// All that match.
    Matching(Selector),
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// Machine-readable reason.
    pub reason: Reason,
    /// What a person reads in the HPA's condition: which metric, which source, how stale, what to do.
    pub message: String,
}

/// Machine-readable reasons for refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Reason {
    /// Nobody serves this metric for this object.
    NotFound,
    /// The request itself is wrong.
    BadRequest,
    /// Two workloads match; a selector must tell them apart.
    Ambiguous,
    /// The source of the metric does not answer.
    SourceDown,
    /// The newest sample is too old.
    Stale,
    /// There is no sample yet.
    NoData,
    /// What the answer depends on is not known yet: the first evaluation, the scale of a target, or the selector that
    /// an HPA asks with.
    NotReady,
}

/// What the API servers ask. Implemented where snapshot, live scales and clock meet.
pub trait Answers: Send + Sync + 'static {
    /// An External metric of a namespace.
    fn external(&self, namespace: &str, metric: &str, selector: &Selector) -> Result<Vec<ExternalValue>, Refusal>;

    /// A custom metric of one or several objects.
    fn custom(&self, request: &CustomRequest) -> Result<Vec<ObjectValue>, Refusal>;

    /// Names of the External metrics that discovery lists, sorted; never empty.
    fn external_metrics(&self) -> Vec<String>;

    /// `resource/metric` names that discovery lists for custom metrics, sorted; never empty.
    fn custom_metrics(&self) -> Vec<String>;
}

// === impl Reason ===

impl Reason {
    /// The stable name, as used in messages, labels and status.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "NotFound",
            Self::BadRequest => "BadRequest",
            Self::Ambiguous => "Ambiguous",
            Self::SourceDown => "SourceDown",
            Self::Stale => "Stale",
            Self::NoData => "NoData",
            Self::NotReady => "NotReady",
        }
    }
}
