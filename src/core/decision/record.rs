//! The record of one decision: inputs, each step with its number and reason, the outcome, a digest.

use jiff::Timestamp;
use serde::Serialize;

use super::Chosen;
use crate::{
    answer::Reason,
    capacity::{Fits, LimitingFactor},
    clamp::Stance,
    object::{ObjectKey, WorkloadKey},
    policy::Mode,
    quantity::Milli,
    signal::Quality,
};

/// One evaluation of one HPA and its workload.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// The HPA.
    pub hpa: ObjectKey,
    /// What it scales.
    pub workload: WorkloadKey,
    /// What is done for it, and who chose that.
    pub mode: Chosen<Mode>,
    /// `scale.spec.replicas`.
    pub current: i32,
    /// `scale.status.replicas`.
    pub reported: i32,
    /// Pods assigned to a node, not terminal and not terminating.
    pub bound: i32,
    /// Pods without a node that are not terminating.
    pub pending: i32,
    /// Pods that are Running and Ready.
    pub ready: i32,
    /// Fewest replicas that the HPA allows.
    pub min_replicas: i32,
    /// Most replicas that the HPA allows.
    pub max_replicas: i32,
    /// Demand of each metric, in the order of the HPA.
    pub demands: Vec<Demand>,
    /// The largest proposal, before any limit; none if no metric is known.
    pub demand: Option<i32>,
    /// Further replicas that could be placed now, were the workload alone.
    pub fits: Fits,
    /// Bound plus what fits.
    pub ceiling: i32,
    /// Replicas allotted, never above the ceiling.
    pub grant: i32,
    /// Whether replicas above the grant stay.
    pub stance: Stance,
    /// No served value proposes more than this.
    pub cap: i32,
    /// The one constraint that binds.
    pub limiting_factor: LimitingFactor,
    /// What is lacking, in words; none where nothing limits. Which one change would do is searched for by trial
    /// ([`crate::capacity::Search`]), and is no part of the decision.
    pub change: Option<String>,
    /// How the outcome came about.
    pub steps: Vec<Step>,
    /// What a person should know of.
    pub notes: Vec<Note>,
    /// SHA-256 over everything above.
    pub digest: String,
}

/// What one metric asks for.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Demand {
    /// Name of the metric.
    pub metric: String,
    /// `External`, `Pods`, `Object`, ….
    pub source: String,
    /// The target, in thousandths; none for metrics of others.
    pub target: Option<Milli>,
    /// The raw value: the sum for External and Object metrics, the sum over the counted pods for Pods metrics.
    pub raw: Option<Milli>,
    /// Sample time of the oldest sample in it.
    pub at: Option<Timestamp>,
    /// How far it can be trusted.
    pub quality: Quality,
    /// Pods whose sample is missing and was assumed to be the mean of the others.
    pub imputed: u32,
    /// Replicas that the HPA would propose for it.
    pub replicas: Option<i32>,
    /// Why there is no value.
    pub refused: Option<Reason>,
    /// The same for people.
    pub reason: String,
}

/// One step of the decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// What was determined.
    pub name: &'static str,
    /// The number; none where it is not known.
    pub value: Option<i32>,
    /// Why it is that.
    pub reason: String,
}

/// Something that a person should know of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Note {
    /// Machine-readable.
    pub code: &'static str,
    /// For people: what, why it matters, what to do.
    pub message: String,
}

// === impl Note ===

impl Note {
    /// A note.
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}
