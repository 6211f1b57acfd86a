//! Durations as Go prints and reads them: `300ms`, `1m30s`, `0s`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize, Serializer, de};

/// Units by name, in nanoseconds (`time.ParseDuration`, Go 1.26). Both signs for micro are in use.
const UNITS: [(&str, i64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60 * 1_000_000_000),
    ("h", 3_600 * 1_000_000_000),
];

/// A signed count of nanoseconds, Go's `time.Duration`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GoDuration {
    /// Nanoseconds.
    pub nanos: i64,
}

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a duration (examples: 30s, 1m30s, 500ms)")]
pub struct DurationError(String);

impl GoDuration {
    /// A whole number of seconds.
    #[must_use]
    pub const fn from_secs(seconds: i32) -> Self {
        Self { nanos: seconds as i64 * 1_000_000_000 }
    }
}

impl FromStr for GoDuration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let nanos = if text.len() > 64 { None } else { parse(text) };
        nanos.map(|nanos| Self { nanos }).ok_or_else(|| DurationError(text.chars().take(64).collect()))
    }
}

fn parse(text: &str) -> Option<i64> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if unsigned == "0" {
        return Some(0);
    }
    if unsigned.is_empty() {
        return None;
    }
    let mut rest = unsigned;
    let mut total = 0_i64;
    while !rest.is_empty() {
        let (nanos, after) = component(rest)?;
        total = total.checked_add(nanos)?;
        rest = after;
    }
    Some(if negative { -total } else { total })
}

/// One number with its unit, and what follows it.
fn component(text: &str) -> Option<(i64, &str)> {
    let digits_end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, rest) = text.split_at(digits_end);
    let unit_end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(unit_end);
    let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    Some((whole.checked_mul(*scale)?.checked_add(fraction_of(fraction, *scale))?, rest))
}

/// The part of a unit that decimals mean, cut to whole nanoseconds.
fn fraction_of(digits: &str, scale: i64) -> i64 {
    // 18 decimals of the longest unit fit an i128 with room to spare; further ones mean less than a nanosecond.
    let digits: String = digits.chars().take(18).collect();
    let Ok(value) = digits.parse::<i128>() else { return 0 };
    let power = u32::try_from(digits.len()).unwrap_or(0);
    i64::try_from(value * i128::from(scale) / 10_i128.pow(power)).unwrap_or(0)
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SECOND: u64 = 1_000_000_000;
        let nanos = self.nanos.unsigned_abs();
        if nanos == 0 {
            return f.write_str("0s");
        }
        if self.nanos < 0 {
            f.write_str("-")?;
        }
        if nanos < SECOND {
            let (unit, name) =
                [(1_000_000, "ms"), (1_000, "µs")].into_iter().find(|(unit, _)| nanos >= *unit).unwrap_or((1, "ns"));
            return write!(f, "{}{name}", Decimal { value: nanos, unit });
        }
        let (hours, minutes) = (nanos / (3_600 * SECOND), nanos / (60 * SECOND) % 60);
        if hours > 0 {
            write!(f, "{hours}h")?;
        }
        if hours > 0 || minutes > 0 {
            write!(f, "{minutes}m")?;
        }
        write!(f, "{}s", Decimal { value: nanos % (60 * SECOND), unit: SECOND })
    }
}

/// A count of nanoseconds in a power of ten of them, without trailing zeros.
struct Decimal {
    value: u64,
    unit: u64,
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.value / self.unit)?;
        let (mut rest, mut unit) = (self.value % self.unit, self.unit);
        if rest > 0 {
            f.write_str(".")?;
        }
        while rest > 0 {
            unit /= 10;
            write!(f, "{}", rest / unit)?;
            rest %= unit;
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
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
    fn a_printed_duration_reads_back() {
        for text in ["0s", "1ns", "1.5µs", "300ms", "1s", "1m30s", "5m0s", "1h0m0.25s", "-2m0s"] {
            let duration: GoDuration = text.parse().unwrap();
            assert_eq!(duration.to_string(), text);
        }
    }

    #[test]
    fn components_add_up_and_may_have_decimals() {
        assert_eq!("1m30s".parse::<GoDuration>().unwrap(), GoDuration::from_secs(90));
        assert_eq!("1.5h".parse::<GoDuration>().unwrap(), GoDuration::from_secs(5400));
        assert_eq!(".5s".parse::<GoDuration>().unwrap().nanos, 500_000_000);
        assert_eq!("0".parse::<GoDuration>().unwrap().nanos, 0);
    }

    #[test]
    fn a_number_without_a_unit_is_refused() {
        for text in ["", "5", "s", ".s", "1x", "1 s", "-", "1.2.3s", "9999999999999h", "1s5"] {
            assert!(text.parse::<GoDuration>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_duration_prints_so_that_it_reads_back(nanos in (i64::MIN + 1)..i64::MAX) {
            let duration = GoDuration { nanos };
            prop_assert_eq!(duration.to_string().parse::<GoDuration>(), Ok(duration));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,20}") {
            let _ = text.parse::<GoDuration>();
        }
    }
}
