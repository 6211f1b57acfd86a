//! The only place that reads a clock.

use jiff::Timestamp;

/// The present, for evaluation, ages and stamps.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that may")]
pub fn now() -> Timestamp {
    Timestamp::now()
}
