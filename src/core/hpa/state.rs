//! What the controller remembers of one HPA between two evaluations.
//!
//! It lives in the controller's memory only, so a restart of the controller starts from an empty state.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::object::meta::{null_as_default, null_items_as_default};

/// Everything that is remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct State {
    /// Recommendations before stabilisation. Not in order of time: the slot of one that is too old is used again.
    #[serde(deserialize_with = "null_items_as_default")]
    pub recommendations: Vec<Recommendation>,
    /// Past growth; kept only for HPAs with `behavior`.
    #[serde(deserialize_with = "null_items_as_default")]
    pub scale_up_events: Vec<ScaleEvent>,
    /// Past shrinking; kept only for HPAs with `behavior`.
    #[serde(deserialize_with = "null_items_as_default")]
    pub scale_down_events: Vec<ScaleEvent>,
}

/// What an evaluation proposed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Recommendation {
    /// Replicas.
    #[serde(deserialize_with = "null_as_default")]
    pub replicas: i32,
    /// When.
    #[serde(deserialize_with = "null_as_default")]
    pub time: Timestamp,
}

/// One change of the replica count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScaleEvent {
    /// Replicas added or removed, not negative.
    #[serde(deserialize_with = "null_as_default")]
    pub replica_change: i32,
    /// When.
    #[serde(deserialize_with = "null_as_default")]
    pub time: Timestamp,
    /// Older than every policy's period: the slot may be used again. Such an event still counts where it is in a
    /// period after all.
    #[serde(default, deserialize_with = "null_as_default")]
    pub outdated: bool,
}

impl State {
    /// Remembers the first recommendation: the current count (`recordInitialRecommendation`).
    pub(super) fn seed(&mut self, current: i32, now: Timestamp) {
        if self.recommendations.is_empty() {
            self.recommendations.push(Recommendation { replicas: current, time: now });
        }
    }
}

/// Whether `time` is before `now - seconds`, strictly, as the controller's `Before(cutoff)`.
pub(super) fn before_cutoff(time: Timestamp, now: Timestamp, window_nanos: i64) -> bool {
    time.as_nanosecond() < now.as_nanosecond() - i128::from(window_nanos)
}

/// Whether `time` is after `now - seconds`, strictly, as the controller's `After(cutoff)`.
pub(super) fn after_cutoff(time: Timestamp, now: Timestamp, window_nanos: i64) -> bool {
    time.as_nanosecond() > now.as_nanosecond() - i128::from(window_nanos)
}

/// A number of seconds in nanoseconds; every `i32` fits.
pub(super) fn seconds(seconds: i32) -> i64 {
    i64::from(seconds) * 1_000_000_000
}
