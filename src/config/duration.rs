//! Durations as Go writes them (`time.ParseDuration`): `500ms`, `5s`, `1m30s`, `1.5h`.
//!
//! Only what a configuration may hold: no sign, at most ten years, and `0` needs no unit, as in Go.

use std::{fmt, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const UNITS: [(&str, u128); 8] = [
    // Longest first, so that `ms` is not read as `m`.
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];
/// Ten years: longer is a slip, and sums of such durations cannot overflow.
const MAX_NANOS: u128 = 10 * 365 * 24 * 3_600_000_000_000;

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
    nanos(text)
        .and_then(|nanos| u64::try_from(nanos).map_err(|_| "it is longer than ten years"))
        .map(Duration::from_nanos)
        .map_err(|reason| DurationError { text: text.chars().take(40).collect(), reason })
}

fn nanos(text: &str) -> Result<u128, &'static str> {
    if text == "0" {
        return Ok(0);
    }
    if text.is_empty() {
        return Err("it is empty");
    }
    if text.starts_with(['-', '+']) {
        return Err("a sign is not allowed");
    }
    let (mut rest, mut total) = (text, 0_u128);
    while !rest.is_empty() {
        let number = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
        let (digits, tail) = rest.split_at(number);
        let (unit, scale) = UNITS
            .into_iter()
            .find(|(unit, _)| tail.starts_with(unit))
            .ok_or("a unit of ns, us, ms, s, m, h is missing")?;
        total += amount(digits, scale)?;
        if total > MAX_NANOS {
            return Err("it is longer than ten years");
        }
        rest = &tail[unit.len()..];
    }
    Ok(total)
}

fn amount(digits: &str, scale: u128) -> Result<u128, &'static str> {
    const NO_NUMBER: &str = "a number is missing";
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return Err(NO_NUMBER);
    }
    if whole.len() > 19 || fraction.len() > 12 {
        return Err("it has too many digits");
    }
    let read = |text: &str| if text.is_empty() { Ok(0) } else { text.parse::<u128>().map_err(|_| NO_NUMBER) };
    let divisor = 10_u128.pow(u32::try_from(fraction.len()).unwrap_or(12));
    Ok(read(whole)? * scale + read(fraction)? * scale / divisor)
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
    /// Prints as Go does for whole milliseconds and more: `1m30s`, `1h0m0s`, `1.5s`, `500ms`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let duration = self.0;
        if duration < Duration::from_secs(1) {
            return match duration.as_nanos() {
                0 => f.write_str("0s"),
                nanos if nanos % 1_000_000 == 0 => write!(f, "{}ms", nanos / 1_000_000),
                nanos if nanos % 1_000 == 0 => write!(f, "{}us", nanos / 1_000),
                nanos => write!(f, "{nanos}ns"),
            };
        }
        let (hours, minutes) = (duration.as_secs() / 3600, duration.as_secs() / 60 % 60);
        if hours > 0 {
            write!(f, "{hours}h")?;
        }
        if hours > 0 || minutes > 0 {
            write!(f, "{minutes}m")?;
        }
        write!(f, "{}", duration.as_secs() % 60)?;
        if duration.subsec_nanos() > 0 {
            let fraction = format!("{:09}", duration.subsec_nanos());
            write!(f, ".{}", fraction.trim_end_matches('0'))?;
        }
        f.write_str("s")
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
