//! How far the ratio of value to target may be from 1 before anything changes, per direction.

use crate::{
    object::{HorizontalPodAutoscaler, hpa::ScalingRules},
    quantity::Quantity,
};

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

/// The tolerances of an HPA: each side's own, else the cluster's (`tolerancesForHpa`).
#[must_use]
pub fn tolerances_of(hpa: &HorizontalPodAutoscaler, cluster: f64) -> Tolerances {
    let own = |rules: Option<&ScalingRules>| rules.and_then(|rules| rules.tolerance).map_or(cluster, approximate);
    let behavior = hpa.spec.behavior.as_ref();
    Tolerances {
        down: own(behavior.and_then(|behavior| behavior.scale_down.as_ref())),
        up: own(behavior.and_then(|behavior| behavior.scale_up.as_ref())),
    }
}

/// `Quantity.AsApproximateFloat64()` of the canonical form, which is what the API server hands out.
///
/// The order of operations matters in the last bit: 300m is 300 times 0.001, not 3 times 0.1.
fn approximate(quantity: Quantity) -> f64 {
    let text = quantity.to_string();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        _ => 1.0,
    };
    digits.parse::<f64>().unwrap_or(f64::NAN) * factor
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_side_without_its_own_tolerance_has_the_clusters() {
        let hpa: HorizontalPodAutoscaler =
            serde_json::from_str(r#"{"spec":{"behavior":{"scaleUp":{"tolerance":"50m"},"scaleDown":{}}}}"#).unwrap();
        assert_eq!(tolerances_of(&hpa, 0.1), Tolerances { down: 0.1, up: 0.05 });
        assert_eq!(tolerances_of(&HorizontalPodAutoscaler::default(), 0.2), Tolerances::both(0.2));
    }

    #[test]
    fn a_tolerance_is_the_canonical_number_times_its_unit() {
        for text in ["0.3", "300m", "1", "0", "12345u", "2k"] {
            let quantity: Quantity = text.parse().unwrap();
            let value = approximate(quantity);
            let milli = quantity.milli().0 as f64;
            assert!((value * 1000.0 - milli).abs() <= 1.0, "{text}: {value}");
        }
        assert_eq!(approximate("0.3".parse().unwrap()).to_bits(), 0.3_f64.to_bits());
    }

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
