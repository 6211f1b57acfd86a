//! The clamp: changing a served value so that the HPA's own arithmetic cannot pass the cap.
//!
//! ```text
//!  Guard (newest scale and pods, grant, stance) ──> cap
//!  raw value + target + Guard ──> average  External and Object metrics, `AverageValue`
//!                            ├──> ratio    External and Object metrics, `Value`
//!                            └──> pods     Pods metrics
//! ```
//!
//! An HPA takes the largest proposal of its metrics, so no metric can cap another: the cap has to live in every value
//! that is served. What is promised, for every state that a [`Guard`] stands for: the next replica count is at most
//! the larger of the current one and the cap, and the raw value is served whenever it already keeps to that. Two
//! things no value can cure, and the promise leaves out: reported replicas above the cap where our view still shows none
//! (kubernetes#138505: inside the tolerance an `AverageValue` metric proposes the reported count, so at most
//! the surge of a rollout leaks, for one sync), and metrics of the HPA that somebody else serves.
//!
//! Caps are floored to thousandths, raw values are rounded up as Kubernetes does, everything served is in
//! [0, 1e12]. The arithmetic is that of the controller of Kubernetes 1.36.3 ([`crate::hpa::proposal`]).

mod apportion;
mod average;
mod guard;
mod pods;
mod ratio;

use serde::Serialize;

pub use apportion::apportion;
pub use average::{average, average_proposal};
pub use guard::{Guard, Stance};
pub use pods::{PodSample, Standing, pods, pods_proposal};
pub use ratio::{ratio, ratio_proposal};

use crate::quantity::Milli;

/// What became of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Effect {
    /// Served as measured: its proposal is within the cap in every guarded state.
    Raw,
    /// Lowered so that its proposal is at most the cap.
    Capped,
    /// Capped, and the dead zone of the tolerance left alone, because leaving it would end a running pod of a rollout
    /// with a short scale-down window: the reported surge may leak into the replica count once.
    SurgeTolerated,
    /// Exactly the target: proposes the current count.
    Held,
    /// Changed so that the surplus above the cap is let go.
    Shed,
}

/// A served value and what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clamped {
    /// The value to serve.
    pub value: Milli,
    /// What became of it.
    pub effect: Effect,
}

// === impl Effect ===

impl Effect {
    /// The stable name, as used in labels and reasons.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Capped => "capped",
            Self::SurgeTolerated => "surgeTolerated",
            Self::Held => "held",
            Self::Shed => "shed",
        }
    }
}

/// Half-width, in ratios, of the strip around a tolerance bound in which nobody says on which side a ratio is: the
/// bound itself is computed from a decimal quantity that has no exact `f64`.
const EDGE: f64 = 1e-12;

/// Largest proposal that the controller computes without overflowing an `i32` on its unguarded paths.
const LARGEST_PROPOSAL: f64 = 2_147_483_647.0;

/// The smallest whole number of thousandths that is not below `x`; saturates, and is 0 for no number.
#[expect(clippy::cast_possible_truncation, reason = "the cast saturates, which is what is wanted")]
fn milli_above(x: f64) -> i64 {
    x.ceil() as i64
}

#[cfg(test)]
mod tests;
