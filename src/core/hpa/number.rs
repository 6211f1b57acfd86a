//! Number conversions as the controller's compiled Go code performs them.
//!
//! Go leaves a float that does not fit an integer to the machine; kube-controller-manager on amd64 gets the smallest
//! integer, also for NaN. Rust's `as` saturates, which would turn a huge proposal into a huge one instead.

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

#[cfg(test)]
mod tests {
    use super::*;

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
}
