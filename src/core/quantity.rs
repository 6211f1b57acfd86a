//! Kubernetes quantities, exact: `100m`, `1.5Gi`, `12e3`.
//!
//! A [`Quantity`] is a whole number of nano-units in an `i128`, so that everything Kubernetes can express
//! (`k8s.io/apimachinery` v0.36.3 `pkg/api/resource`: at most nine decimals, magnitude below 2^63) is held without
//! rounding. What goes to an HPA is [`Milli`], an integer count of thousandths, since the controller itself computes
//! with `Quantity.MilliValue()`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const NANO: i128 = 1_000_000_000;

/// Largest value, in thousandths, that is ever handed to an HPA: 1e12 units.
///
/// Above about 9.22e15 units `MilliValue` overflows an `i64` silently (apimachinery `ScaledValue`).
pub const MILLI_MAX: i64 = 1_000_000_000_000_000;

/// An exact Kubernetes quantity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity {
    nano: i128,
}

/// An integer count of thousandths: the unit of every number that an HPA computes with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Milli(pub i64);

/// Why a text is not a quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a quantity: {reason} (examples: 500m, 2, 1.5Gi, 12e3)")]
pub struct QuantityError {
    text: String,
    reason: &'static str,
}

// === impl Quantity ===

impl Quantity {
    /// A whole number of units.
    #[must_use]
    pub const fn from_units(units: i64) -> Self {
        Self { nano: units as i128 * NANO }
    }

    /// A whole number of thousandths.
    #[must_use]
    pub const fn from_milli(milli: i64) -> Self {
        Self { nano: milli as i128 * (NANO / 1000) }
    }

    /// Thousandths, rounded away from zero as `Quantity.MilliValue()` does, saturated to `i64`.
    #[must_use]
    pub fn milli(self) -> Milli {
        Milli(saturate(ceil_away(self.nano, NANO / 1000)))
    }

    /// The exact sum, saturated.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self { nano: self.nano.saturating_add(other.nano) }
    }

    /// Whole units, rounded away from zero as `Quantity.Value()` does, saturated to `i64`.
    #[must_use]
    pub fn units(self) -> i64 {
        saturate(ceil_away(self.nano, NANO))
    }
}

/// Division that rounds away from zero, as apimachinery's `ScaledValue` does.
fn ceil_away(value: i128, unit: i128) -> i128 {
    let whole = value / unit;
    if value % unit == 0 { whole } else { whole + value.signum() }
}

fn saturate(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).map_err(|reason| QuantityError { text: text.chars().take(64).collect(), reason })
    }
}

fn parse(text: &str) -> Result<Quantity, &'static str> {
    if text.len() > 64 {
        return Err("longer than 64 characters");
    }
    let (negative, unsigned) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let digits_end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (digits, suffix) = unsigned.split_at(digits_end);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if fraction.contains('.') {
        return Err("more than one decimal point");
    }
    if whole.is_empty() && fraction.is_empty() {
        return Err("no digits");
    }
    let (base, exponent) = scale(suffix).ok_or("unknown suffix")?;
    let mut mantissa: i128 = 0;
    for digit in whole.bytes().chain(fraction.bytes()) {
        mantissa = mantissa.saturating_mul(10).saturating_add(i128::from(digit - b'0'));
        if mantissa > i128::MAX / 1_000_000 {
            break;
        }
    }
    let nano = apply_scale(mantissa, fraction.len(), base, exponent);
    // Magnitudes above 2^63 - 1 are capped, as apimachinery's maxAllowed does.
    let nano = nano.min(i128::from(i64::MAX) * NANO);
    Ok(Quantity { nano: if negative { -nano } else { nano } })
}

/// Base and exponent of a suffix.
fn scale(suffix: &str) -> Option<(u32, i32)> {
    Some(match suffix {
        "" => (10, 0),
        "n" => (10, -9),
        "u" => (10, -6),
        "m" => (10, -3),
        "k" => (10, 3),
        "M" => (10, 6),
        "G" => (10, 9),
        "T" => (10, 12),
        "P" => (10, 15),
        "E" => (10, 18),
        "Ki" => (2, 10),
        "Mi" => (2, 20),
        "Gi" => (2, 30),
        "Ti" => (2, 40),
        "Pi" => (2, 50),
        "Ei" => (2, 60),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?;
            return exponent.parse::<i32>().ok().map(|e| (10, e.clamp(-64, 64)));
        }
    })
}

fn apply_scale(mantissa: i128, decimals: usize, base: u32, exponent: i32) -> i128 {
    let decimals = i32::try_from(decimals).unwrap_or(i32::MAX);
    if base == 2 {
        let scaled = mantissa.saturating_mul(1_i128 << exponent).saturating_mul(NANO);
        return divide_up(scaled, decimals);
    }
    let power = 9 + exponent - decimals;
    if power >= 0 {
        10_i128
            .checked_pow(power.unsigned_abs())
            .map_or(if mantissa == 0 { 0 } else { i128::MAX }, |factor| mantissa.saturating_mul(factor))
    } else {
        divide_up(mantissa, -power)
    }
}

/// Divides by a power of ten, rounding up: what is finer than a nano-unit is rounded away from zero.
fn divide_up(value: i128, power: i32) -> i128 {
    10_i128.checked_pow(power.unsigned_abs()).map_or(i128::from(value != 0), |divisor| ceil_away(value, divisor))
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SUFFIXES: [(&str, i128); 10] = [
            ("E", 1_000_000_000_000_000_000),
            ("P", 1_000_000_000_000_000),
            ("T", 1_000_000_000_000),
            ("G", 1_000_000_000),
            ("M", 1_000_000),
            ("k", 1_000),
            ("", 1),
            ("m", 0),
            ("u", 0),
            ("n", 0),
        ];
        if self.nano == 0 {
            return f.write_str("0");
        }
        let units = [
            NANO * SUFFIXES[0].1,
            NANO * SUFFIXES[1].1,
            NANO * SUFFIXES[2].1,
            NANO * SUFFIXES[3].1,
            NANO * SUFFIXES[4].1,
            NANO * SUFFIXES[5].1,
            NANO,
            1_000_000,
            1_000,
            1,
        ];
        for ((suffix, _), unit) in SUFFIXES.iter().zip(units) {
            if self.nano % unit == 0 {
                return write!(f, "{}{suffix}", self.nano / unit);
            }
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(QuantityVisitor)
    }
}

struct QuantityVisitor;

impl de::Visitor<'_> for QuantityVisitor {
    type Value = Quantity;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a Kubernetes quantity, as a string or a number")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Quantity, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, units: i64) -> Result<Quantity, E> {
        Ok(Quantity::from_units(units))
    }

    fn visit_u64<E: de::Error>(self, units: u64) -> Result<Quantity, E> {
        Ok(Quantity::from_units(i64::try_from(units).unwrap_or(i64::MAX)))
    }

    fn visit_f64<E: de::Error>(self, units: f64) -> Result<Quantity, E> {
        units.to_string().parse().map_err(E::custom)
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

// === impl Milli ===

impl Milli {
    /// The value as a quantity, for the wire.
    #[must_use]
    pub const fn quantity(self) -> Quantity {
        Quantity::from_milli(self.0)
    }

    /// Clamps to what may be handed to an HPA: [0, 1e12] units.
    #[must_use]
    pub fn servable(self) -> Self {
        Self(self.0.clamp(0, MILLI_MAX))
    }
}
