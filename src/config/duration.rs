//! Durations as Go writes them (`time.ParseDuration`): `500ms`, `5s`, `1m30s`, `1.5h`.
//!
//! Only what a configuration may hold: no sign, at most ten years, and `0` needs no unit, as in Go.

use std::{fmt, time::Duration};

use plimsoll_core::hpa;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Ten years: longer is a slip, and sums of such durations cannot overflow.
const MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3_600);

/// A duration in Go form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GoDuration(pub Duration);

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a duration: {reason} (examples: 500ms, 5s, 1m30s)")]
pub struct DurationError {
    text: String,
    reason: &'static str,
}

/// Reads a duration in Go form.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    read(text).map_err(|reason| DurationError { text: text.chars().take(40).collect(), reason })
}

fn read(text: &str) -> Result<Duration, &'static str> {
    if text.starts_with(['-', '+']) {
        return Err("a sign is not allowed");
    }
    let read = text.parse::<hpa::GoDuration>();
    let hpa::GoDuration { nanos } = read.map_err(|_| "a number, or a unit of ns, us, ms, s, m, h, is missing")?;
    let duration = Duration::from_nanos(nanos.unsigned_abs());
    if duration > MAX { Err("it is longer than ten years") } else { Ok(duration) }
}

// === impl GoDuration ===

impl GoDuration {
    /// A whole number of seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hpa::GoDuration { nanos: i64::try_from(self.0.as_nanos()).unwrap_or(i64::MAX) }.fmt(f)
    }
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse(&text).map(Self).map_err(de::Error::custom)
    }
}

impl Serialize for GoDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, millis) in [
            ("0", 0),
            ("500ms", 500),
            ("5s", 5_000),
            ("1m30s", 90_000),
            ("1.5h", 5_400_000),
            (".5s", 500),
            ("1h0m0s", 3_600_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_examples() {
        for text in
            ["", "5", "s", "-5s", "5 s", "5x", "1..5s", "5s3", "99999999999999999999s", "1e3s", "100000h", "５s"]
        {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.ends_with("(examples: 500ms, 5s, 1m30s)"), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn the_printed_form_reads_back(millis in 0_u64..1_000_000_000) {
            let duration = GoDuration(Duration::from_millis(millis));
            prop_assert_eq!(parse(&duration.to_string()), Ok(duration.0));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,40}|[0-9.hmsnuµ]{0,40}") {
            let _: Result<Duration, DurationError> = parse(&text);
        }
    }
}
