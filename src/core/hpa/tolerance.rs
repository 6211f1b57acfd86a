//! How far the ratio of value to target may be from 1 before anything changes, per direction.

/// Tolerances of both directions (`Tolerances` of `replica_calculator.go`, v1.36.3).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerances {
    /// Shrinking: ratios of at least `1 - down` change nothing.
    pub down: f64,
    /// Growing: ratios of at most `1 + up` change nothing.
    pub up: f64,
}

impl Tolerances {
    /// The same tolerance in both directions.
    #[must_use]
    pub const fn both(tolerance: f64) -> Self {
        Self { down: tolerance, up: tolerance }
    }

    /// Whether a ratio changes nothing; both ends belong to the range, NaN does not.
    #[must_use]
    pub fn within(self, ratio: f64) -> bool {
        (1.0 - self.down) <= ratio && ratio <= (1.0 + self.up)
    }
}

impl Default for Tolerances {
    /// `--horizontal-pod-autoscaler-tolerance=0.1`.
    fn default() -> Self {
        Self::both(0.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_the_range_change_nothing() {
        let tolerances = Tolerances { down: 0.5, up: 0.25 };
        assert!(tolerances.within(0.5) && tolerances.within(1.25));
        assert!(!tolerances.within(0.499_999) && !tolerances.within(1.250_001));
    }

    #[test]
    fn no_number_is_never_within() {
        assert!(!Tolerances::both(f64::INFINITY).within(f64::NAN));
    }
}
