//! Number conversions as the controller's compiled Go code performs them.
//!
//! Go leaves a float that does not fit an integer to the machine; kube-controller-manager on amd64 gets the smallest
//! integer, also for NaN. Rust's `as` saturates, which would turn a huge proposal into a huge one instead. In the
//! same way a quantity beyond an `i64` of thousandths overflows, differently by how it is written.

use crate::quantity::Milli;

/// Go's `int32(x)` on amd64: truncation, and `i32::MIN` for all that does not fit.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
pub fn to_i32(x: f64) -> i32 {
    let whole = x.trunc();
    if (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&whole) { whole as i32 } else { i32::MIN }
}

/// `int32(math.Ceil(x))`.
#[must_use]
pub fn ceil_to_i32(x: f64) -> i32 {
    to_i32(x.ceil())
}

/// `int32(math.Ceil(x))`, but `i32::MAX` for anything above it, where the controller guards the conversion.
#[must_use]
pub fn ceil_to_i32_capped(x: f64) -> i32 {
    if x > f64::from(i32::MAX) { i32::MAX } else { ceil_to_i32(x) }
}

/// Go's `int32(x)` of a wider integer: the low 32 bits.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "the low bits are what is wanted")]
pub const fn low_i32(x: i64) -> i32 {
    x as i32
}

/// Most digits of a decimal that apimachinery holds as an `i64` with a scale (`maxInt64Factors`).
const MAX_DIGITS: usize = 18;

/// `MilliValue()` of a quantity that is known to parse, with the overflow of apimachinery v0.36.3.
///
/// What fits is rounded away from zero. What does not wraps or becomes 0, depending on the digits and the suffix:
/// `9300000000000000` is -9146744073709551616 thousandths, `1e20` is 0. Which bits wrap is followed up to 1e29 units.
#[must_use]
pub fn milli_value(text: &str) -> Milli {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let digits_end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(digits_end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = Digits { negative: text.starts_with('-'), whole: whole.trim_start_matches('0'), fraction };
    Milli(match suffix.strip_suffix('i') {
        Some(prefix) => digits.binary(binary_exponent(prefix)),
        None => digits.decimal(decimal_exponent(suffix)),
    })
}

/// A number as it was written.
struct Digits<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
}

impl Digits<'_> {
    fn decimal(&self, exponent: i32) -> i64 {
        let scale = exponent.saturating_sub(length(self.fraction));
        if self.whole.len().max(1) + self.fraction.len() <= MAX_DIGITS && scale >= -9 {
            return scaled_to_milli(low_i64(self.mantissa()), scale);
        }
        arbitrary_to_milli(shift_decimal(self.mantissa(), scale.saturating_add(9)))
    }

    fn binary(&self, exponent: u32) -> i64 {
        // apimachinery estimates 3 decimal digits for 10 binary ones and takes the fast path up to 15 digits.
        let estimate = self.whole.len().max(1) + (exponent * 3 / 10) as usize + 1;
        let nano = self.mantissa().checked_mul(1_i128 << exponent).and_then(|scaled| scaled.checked_mul(1_000_000_000));
        let cap = i128::from(i64::MAX) * 1_000_000_000;
        let nano =
            nano.map_or(if self.negative { -cap } else { cap }, |nano| shift_decimal(nano, -length(self.fraction)));
        if self.fraction.is_empty() && estimate <= 15 {
            return scaled_to_milli(low_i64(nano / 1_000_000_000), 0);
        }
        arbitrary_to_milli(nano.clamp(-cap, cap))
    }

    fn mantissa(&self) -> i128 {
        let digits = self.whole.bytes().chain(self.fraction.bytes());
        let value = digits.fold(0_i128, |sum, digit| sum.saturating_mul(10).saturating_add(i128::from(digit - b'0')));
        if self.negative { -value } else { value }
    }
}

fn length(digits: &str) -> i32 {
    i32::try_from(digits.len()).unwrap_or(i32::MAX)
}

fn decimal_exponent(suffix: &str) -> i32 {
    const NAMED: [(&str, i32); 10] =
        [("", 0), ("n", -9), ("u", -6), ("m", -3), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
    let named = NAMED.iter().find(|(name, _)| *name == suffix).map(|(_, exponent)| *exponent);
    named.unwrap_or_else(|| suffix.get(1..).and_then(|digits| digits.parse().ok()).unwrap_or(0))
}

fn binary_exponent(prefix: &str) -> u32 {
    ["", "K", "M", "G", "T", "P", "E"]
        .iter()
        .zip(0..)
        .find(|(name, _)| **name == prefix)
        .map_or(0, |(_, power)| power * 10)
}

/// `int64Amount.AsScaledInt64(Milli)`: small shifts wrap, others give 0 when they overflow.
fn scaled_to_milli(value: i64, scale: i32) -> i64 {
    match scale.saturating_add(3) {
        shift @ (0..=3 | 6 | 9) => value.wrapping_mul(10_i64.pow(shift.unsigned_abs())),
        shift if shift > 0 => (0..shift).try_fold(value, |value, _| value.checked_mul(10)).unwrap_or(0),
        shift => low_i64(shift_decimal(i128::from(value), shift)),
    }
}

/// `scaledValue` of a quantity that is held with arbitrary precision, in nano-units: rounded up, negative ones too.
fn arbitrary_to_milli(nano: i128) -> i64 {
    const MICRO: i128 = 1_000_000;
    // Negative numbers of any size take the path that cuts them to 64 bits first.
    let nano = if nano < i128::from(i64::MAX) { i128::from(low_i64(nano)) } else { nano };
    low_i64(nano / MICRO + i128::from(nano % MICRO != 0))
}

/// `value * 10^power`, rounded away from zero, saturated.
fn shift_decimal(value: i128, power: i32) -> i128 {
    let factor = 10_i128.checked_pow(power.unsigned_abs());
    match (factor, power >= 0) {
        (Some(factor), true) => value.saturating_mul(factor),
        (Some(factor), false) => value / factor + if value % factor == 0 { 0 } else { value.signum() },
        (None, true) => value.saturating_mul(i128::MAX),
        (None, false) => value.signum(),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the low bits are what is wanted")]
const fn low_i64(x: i128) -> i64 {
    x as i64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::quantity::Quantity;

    #[test]
    fn a_value_in_range_is_rounded_away_from_zero_to_milli() {
        for (text, milli) in [
            ("0", 0),
            ("1", 1000),
            ("-1.5", -1500),
            ("1.00001", 1001),
            ("-0.0001", -1),
            ("100m", 100),
            ("1n", 1),
            ("2Ki", 2_048_000),
            ("1.5Gi", 1_610_612_736_000),
            ("12e3", 12_000_000),
            ("5e-1", 500),
            ("007", 7000),
        ] {
            assert_eq!(milli_value(text), Milli(milli), "{text}");
        }
    }

    #[test]
    fn a_value_out_of_range_wraps_or_becomes_zero_as_in_apimachinery() {
        for (text, milli) in [
            ("9300000000000000", -9_146_744_073_709_551_616),
            ("9300T", 0),
            ("1e20", 0),
            ("9223372036854775807", -1000),
        ] {
            assert_eq!(milli_value(text), Milli(milli), "{text}");
        }
    }

    #[test]
    fn a_float_that_does_not_fit_becomes_the_smallest_integer() {
        for x in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 3e9, -3e9, 2_147_483_648.0, 4_294_967_297.0] {
            assert_eq!(to_i32(x), i32::MIN, "{x}");
        }
    }

    #[test]
    fn a_float_that_fits_is_truncated() {
        assert_eq!(to_i32(2.9), 2);
        assert_eq!(to_i32(-2.9), -2);
        assert_eq!(to_i32(-2_147_483_648.5), i32::MIN);
        assert_eq!(to_i32(2_147_483_647.5), i32::MAX);
    }

    #[test]
    fn a_guarded_conversion_caps_only_from_above() {
        assert_eq!(ceil_to_i32_capped(1e18), i32::MAX);
        assert_eq!(ceil_to_i32_capped(-1e18), i32::MIN);
        assert_eq!(ceil_to_i32_capped(f64::NAN), i32::MIN);
        assert_eq!(ceil_to_i32_capped(2.000_001), 3);
    }

    #[test]
    fn a_wide_integer_keeps_its_low_bits() {
        assert_eq!(low_i32(i64::from(i32::MAX) + 1), i32::MIN);
        assert_eq!(low_i32(-1), -1);
    }

    proptest! {
        #[test]
        fn a_positive_quantity_of_common_size_is_rounded_up_to_milli(
            whole in 0_i64..1_000_000_000,
            decimals in "[0-9]{0,5}",
            suffix in prop::sample::select(vec!["", "n", "u", "m", "k", "Ki", "Mi", "e3", "e-3"]),
        ) {
            let text = format!("{whole}.{decimals}{suffix}");
            let quantity: Quantity = text.parse().unwrap();
            prop_assert_eq!(milli_value(&text), quantity.milli(), "{}", text);
        }

        #[test]
        fn no_quantity_makes_the_conversion_panic(text in "[-+]?[0-9]{0,30}\\.?[0-9]{0,30}([numkMGTPE]|[KMGTPE]i|[eE][-+]?[0-9]{1,3})?") {
            if text.parse::<Quantity>().is_ok() {
                let _ = milli_value(&text);
            }
        }
    }
}
