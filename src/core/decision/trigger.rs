//! KEDA's triggers: a ScaledObject is decided as the HPA that KEDA makes of it, one metric for each trigger of ours.
//!
//! ```text
//!  ScaledObject ──Scaled──> the HPA of KEDA, without its metrics ──> the same demand, division and clamp as any HPA
//!      └─ triggers of ours ──> Raw and State by trigger ──> answer (value) and activity (scale from and to zero)
//! ```
//!
//! KEDA asks with the metadata of the trigger, so that a request is about the trigger that has exactly these.

mod answer;
mod measure;
mod scaled;

use jiff::Timestamp;

use crate::{answer::Refusal, quantity::Milli};

pub use answer::{TriggerActivity, answer_trigger, trigger_activity};
pub(super) use measure::{Trials, proposal};
pub(super) use scaled::{Scaled, all, workloads};
pub use scaled::{demands, profile_queries, trigger_signals};

/// What is known of a trigger beside its value.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// What is compared with the activation value; none is a refusal.
    pub activity: Result<Milli, Refusal>,
    /// Above it, strictly, there is a reason to have replicas; none if the trigger is no reason ever.
    pub above: Option<Milli>,
    /// Until when a replica that is not Ready is a reason.
    pub warming_until: Option<Timestamp>,
    /// Whether replicas are only had where one fits.
    pub clamp: bool,
    /// Whether replicas that are there stay by an answer while nothing is known. An error would do where KEDA could be
    /// trusted with it: v2.21.0 takes a trigger for inactive when its other path of asking has just thrown the scalers
    /// away over the same error (`getScalerState`, `pkg/scaling/scale_handler.go`: `ErrCacheClosed`), and puts what may
    /// sleep to sleep.
    pub keeps: bool,
}

// === impl State ===

impl State {
    /// Whether the value is a reason to have replicas; none while it is not known.
    pub(super) fn is_above(&self) -> Option<bool> {
        let Some(above) = self.above else { return Some(false) };
        self.activity.as_ref().ok().map(|value| *value > above)
    }

    fn is_warming(&self, now: Timestamp) -> bool {
        self.warming_until.is_some_and(|until| now < until)
    }

    /// Whether there is a reason, as far as is known.
    pub(super) fn is_active(&self, now: Timestamp) -> bool {
        self.is_warming(now) || self.is_above() == Some(true)
    }
}
