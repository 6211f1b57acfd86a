//! What one metric proposes: the controller's replica calculator (`replica_calculator.go`, v1.36.3) as functions of
//! numbers.
//!
//! All values and targets are thousandths, ratios are `f64` computed in the controller's order of operations, and
//! sums wrap where the controller's do. *Current* is `scale.spec.replicas`; AverageValue of External and Object
//! metrics uses `scale.status.replicas` instead. A target of 0 is not refused: it yields what the controller yields.

use super::{
    number::{ceil_to_i32, ceil_to_i32_capped, low_i32},
    tolerance::Tolerances,
};
use crate::quantity::Milli;

/// What is known of the pods that a Pods or Resource metric is averaged over.
///
/// A pod is exactly one of: ignored (terminating or failed; counted nowhere), unready, missing, ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PodSamples {
    /// Sum over all samples that count: those of ready pods and of pods that the controller does not list.
    pub total: Milli,
    /// How many samples are in the sum.
    pub count: usize,
    /// Pods that are neither ignored, nor unready, nor missing.
    pub ready: usize,
    /// Pods whose sample, if any, does not count: Pending, and for CPU those that still start.
    pub unready: usize,
    /// Pods that should have a sample and have none.
    pub missing: usize,
}

/// Usage and requests of the pods that a utilisation is computed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UtilizationSamples {
    /// Samples over all pods, as for a plain value.
    pub samples: PodSamples,
    /// Sum of the samples whose pod has a request entry.
    pub usage: Milli,
    /// Sum of those pods' requests.
    pub requests: Milli,
    /// Sum of the requests of the missing pods, each times `max(100, target)` / 100 in whole milli.
    pub missing_fallback: Milli,
    /// Sum of the requests of the missing pods.
    pub missing_requests: Milli,
    /// Sum of the requests of the unready pods.
    pub unready_requests: Milli,
}

/// The controller's sum for External `Value` targets: capped where a positive value would overflow.
#[must_use]
pub fn sum_for_value(values: &[Milli]) -> Milli {
    let mut sum = 0_i64;
    for &Milli(value) in values {
        if value > 0 && sum > i64::MAX - value {
            return Milli(i64::MAX);
        }
        sum = sum.wrapping_add(value);
    }
    Milli(sum)
}

/// The controller's sum for External `AverageValue` targets: any negative partial sum counts as an overflow.
#[must_use]
pub fn sum_for_average(values: &[Milli]) -> Milli {
    let mut sum = 0_i64;
    for &Milli(value) in values {
        sum = sum.wrapping_add(value);
        if sum < 0 {
            return Milli(i64::MAX);
        }
    }
    Milli(sum)
}

/// External metric with an `AverageValue` target (`GetExternalPerPodMetricReplicas`).
///
/// `sum` is [`sum_for_average`] of the series. Within tolerance it proposes `status_replicas`, not the current count.
#[must_use]
pub fn external_average_value(sum: Milli, target: Milli, status_replicas: i32, tolerances: Tolerances) -> i32 {
    average_value(sum, target, status_replicas, tolerances, ceil_to_i32_capped)
}

/// Object metric with an `AverageValue` target (`GetObjectPerPodMetricReplicas`).
///
/// Differs from an External one only in that a proposal above `i32::MAX` is not capped but overflows.
#[must_use]
pub fn object_average_value(value: Milli, target: Milli, status_replicas: i32, tolerances: Tolerances) -> i32 {
    average_value(value, target, status_replicas, tolerances, ceil_to_i32)
}

fn average_value(sum: Milli, target: Milli, n: i32, tolerances: Tolerances, ceil: fn(f64) -> i32) -> i32 {
    let (sum, target) = (sum.0 as f64, target.0 as f64);
    let ratio = sum / (target * f64::from(n));
    if tolerances.within(ratio) { n } else { ceil(sum / target) }
}

/// External or Object metric with a `Value` target (`getUsageRatioReplicaCount`).
///
/// `sum` is [`sum_for_value`] of the series, or the object's value. `ready` gives the number of Running and Ready
/// pods (terminating ones included) or fails when the selector finds no pod at all; it is asked for only when the
/// controller asks.
pub fn value<E>(
    sum: Milli,
    target: Milli,
    spec_replicas: i32,
    ready: impl FnOnce() -> Result<usize, E>,
    tolerances: Tolerances,
) -> Result<i32, E> {
    let ratio = sum.0 as f64 / target.0 as f64;
    if spec_replicas == 0 {
        return Ok(ceil_to_i32(ratio));
    }
    if tolerances.within(ratio) {
        return Ok(spec_replicas);
    }
    Ok(ceil_to_i32_capped(ratio * ready()? as f64))
}

/// External metric with a `Value` target over a known number of Running and Ready pods.
///
/// `ready` counts terminating pods that are still Ready. The selector must find at least one pod, ready or not:
/// without any the controller fails instead.
#[must_use]
pub fn external_value(sum: Milli, target: Milli, spec_replicas: i32, ready: usize, tolerances: Tolerances) -> i32 {
    let Ok(replicas) = value(sum, target, spec_replicas, || Ok::<_, std::convert::Infallible>(ready), tolerances);
    replicas
}

/// Pods metric, or Resource metric with an `AverageValue` target (`calcPlainMetricReplicas`).
///
/// None when no sample counts: the controller fails then.
#[must_use]
pub fn pods_average_value(
    samples: &PodSamples,
    target: Milli,
    spec_replicas: i32,
    tolerances: Tolerances,
) -> Option<i32> {
    let ratio = mean_ratio(samples.total.0, samples.count, target)?;
    let refill = |fill: Fill| {
        let filled = match fill.missing {
            Missing::AtTarget => target.0.wrapping_mul(count_i64(samples.missing)),
            Missing::AtZero | Missing::Left => 0,
        };
        mean_ratio(samples.total.0.wrapping_add(filled), samples.count + fill.added, target)
    };
    propose(samples, ratio, spec_replicas, tolerances, refill)
}

/// Resource metric with a `Utilization` target in percent of requests (`GetResourceReplicas`).
///
/// None when no sample counts or the pods with samples request nothing: the controller fails then.
#[must_use]
pub fn utilization(
    known: &UtilizationSamples,
    target_percent: i32,
    spec_replicas: i32,
    tolerances: Tolerances,
) -> Option<i32> {
    if known.samples.count == 0 {
        return None;
    }
    let ratio = utilization_ratio(known.usage.0, known.requests.0, target_percent)?;
    let refill = |fill: Fill| {
        let (mut usage, mut requests) = (known.usage.0, known.requests.0);
        match fill.missing {
            Missing::AtTarget => usage = usage.wrapping_add(known.missing_fallback.0),
            Missing::AtZero | Missing::Left => {}
        }
        if fill.missing != Missing::Left {
            requests = requests.wrapping_add(known.missing_requests.0);
        }
        if fill.unready {
            requests = requests.wrapping_add(known.unready_requests.0);
        }
        utilization_ratio(usage, requests, target_percent)
    };
    propose(&known.samples, ratio, spec_replicas, tolerances, refill)
}

/// What is assumed of pods without a sample that counts.
#[derive(Clone, Copy)]
struct Fill {
    missing: Missing,
    unready: bool,
    /// Samples that the assumption adds.
    added: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    /// Shrinking: they use what is aimed at.
    AtTarget,
    /// Growing: they use nothing.
    AtZero,
    /// At a ratio of exactly 1, or without a number, nothing is assumed.
    Left,
}

/// The part that plain values and utilisations share: damping by pods without a sample that counts.
fn propose(
    samples: &PodSamples,
    ratio: f64,
    spec_replicas: i32,
    tolerances: Tolerances,
    refill: impl FnOnce(Fill) -> Option<f64>,
) -> Option<i32> {
    let growing_with_unready = samples.unready > 0 && ratio > 1.0;
    if !growing_with_unready && samples.missing == 0 {
        let stay = tolerances.within(ratio);
        return Some(if stay { spec_replicas } else { ceil_to_i32(ratio * samples.ready as f64) });
    }
    let fill = assumption(samples, ratio, growing_with_unready);
    let damped = refill(fill)?;
    let flipped = (ratio < 1.0 && damped > 1.0) || (ratio > 1.0 && damped < 1.0);
    if tolerances.within(damped) || flipped {
        return Some(spec_replicas);
    }
    let replicas = ceil_to_i32(damped * (samples.count + fill.added) as f64);
    let against = (damped < 1.0 && replicas > spec_replicas) || (damped > 1.0 && replicas < spec_replicas);
    Some(if against { spec_replicas } else { replicas })
}

fn assumption(samples: &PodSamples, ratio: f64, unready: bool) -> Fill {
    let missing = if ratio < 1.0 {
        Missing::AtTarget
    } else if ratio > 1.0 {
        Missing::AtZero
    } else {
        Missing::Left
    };
    let added_missing = if missing == Missing::Left { 0 } else { samples.missing };
    let added_unready = if unready { samples.unready } else { 0 };
    Fill { missing, unready, added: added_missing + added_unready }
}

/// `GetMetricUsageRatio`: the mean is cut to whole milli before it is compared.
fn mean_ratio(total: i64, count: usize, target: Milli) -> Option<f64> {
    let mean = total.checked_div(count_i64(count))?;
    Some(mean as f64 / target.0 as f64)
}

/// `GetResourceUtilizationRatio`: the utilisation is cut to whole percent before it is compared.
fn utilization_ratio(usage: i64, requests: i64, target_percent: i32) -> Option<f64> {
    if requests == 0 {
        return None;
    }
    let percent = low_i32(usage.wrapping_mul(100).wrapping_div(requests));
    Some(f64::from(percent) / f64::from(target_percent))
}

fn count_i64(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const T: Tolerances = Tolerances::both(0.1);

    fn milli(units: i64) -> Milli {
        Milli(units * 1000)
    }

    fn samples(values: &[i64], unready: usize, missing: usize) -> PodSamples {
        PodSamples { total: milli(values.iter().sum()), count: values.len(), ready: values.len(), unready, missing }
    }

    #[test]
    fn an_average_within_tolerance_keeps_the_reported_count_not_the_asked_for_one() {
        assert_eq!(external_average_value(milli(84), milli(10), 8, T), 8);
        assert_eq!(external_average_value(milli(84), milli(10), 9, T), 9);
    }

    #[test]
    fn an_average_beyond_tolerance_is_the_sum_over_the_target_rounded_up() {
        assert_eq!(external_average_value(milli(101), milli(10), 5, T), 11);
        assert_eq!(external_average_value(milli(0), milli(10), 5, T), 0);
    }

    #[test]
    fn an_average_over_no_reported_replica_is_never_within_tolerance() {
        assert_eq!(external_average_value(milli(30), milli(10), 0, T), 3);
        assert_eq!(external_average_value(milli(0), milli(10), 0, T), 0);
    }

    #[test]
    fn an_external_average_is_capped_where_an_object_average_overflows() {
        let huge = Milli(i64::MAX);
        assert_eq!(external_average_value(huge, Milli(1), 5, T), i32::MAX);
        assert_eq!(object_average_value(huge, Milli(1), 5, T), i32::MIN);
    }

    #[test]
    fn a_negative_partial_sum_counts_as_overflow_for_averages_only() {
        let values = [Milli(-5), Milli(9)];
        assert_eq!(sum_for_average(&values), Milli(i64::MAX));
        assert_eq!(sum_for_value(&values), Milli(4));
        assert_eq!(sum_for_value(&[Milli(i64::MAX), Milli(1), Milli(-7)]), Milli(i64::MAX));
    }

    #[test]
    fn a_value_scales_the_ready_pods_not_the_current_count() {
        assert_eq!(external_value(milli(3), milli(1), 8, 5, T), 15);
        assert_eq!(external_value(milli(1), milli(1), 8, 5, T), 8);
    }

    #[test]
    fn a_value_at_zero_replicas_ignores_pods_and_tolerance() {
        assert_eq!(external_value(Milli(1050), milli(1), 0, 5, T), 2);
    }

    #[test]
    fn pods_without_gaps_scale_by_the_mean() {
        assert_eq!(pods_average_value(&samples(&[30; 5], 0, 0), milli(10), 5, T), Some(15));
        assert_eq!(pods_average_value(&samples(&[11, 10, 9], 0, 0), milli(10), 7, T), Some(7));
    }

    #[test]
    fn the_mean_is_cut_to_whole_milli() {
        let known = PodSamples { total: Milli(3302), count: 3, ready: 3, unready: 0, missing: 0 };
        // 3302 / 3 = 1100.67 is cut to 1100, which is still within.
        assert_eq!(pods_average_value(&known, milli(1), 3, T), Some(3));
    }

    #[test]
    fn missing_pods_damp_growth_as_zero_and_shrinking_as_on_target() {
        // 8 pods, 5 sampled at 30 for a target of 10: 150 over 8 pods.
        assert_eq!(pods_average_value(&samples(&[30; 5], 0, 3), milli(10), 8, T), Some(15));
        // 5 sampled at 2: (10 + 30) / 8 = 5.
        assert_eq!(pods_average_value(&samples(&[2; 5], 0, 3), milli(10), 8, T), Some(4));
    }

    #[test]
    fn unready_pods_damp_growth_only() {
        assert_eq!(pods_average_value(&samples(&[20; 4], 4, 0), milli(10), 8, T), Some(8));
        assert_eq!(pods_average_value(&samples(&[5; 4], 4, 0), milli(10), 8, T), Some(2));
    }

    #[test]
    fn a_damped_proposal_against_its_own_direction_changes_nothing() {
        // Shrinking ratio, but more pods are counted than are asked for.
        assert_eq!(pods_average_value(&samples(&[8; 10], 0, 10), milli(10), 5, Tolerances::both(0.0)), Some(5));
    }

    #[test]
    fn without_any_sample_there_is_no_proposal() {
        assert_eq!(pods_average_value(&samples(&[], 2, 1), milli(10), 3, T), None);
        assert_eq!(utilization(&UtilizationSamples::default(), 80, 3, T), None);
    }

    #[test]
    fn utilisation_is_cut_to_whole_percent() {
        let known = UtilizationSamples {
            samples: PodSamples { total: Milli(889), count: 1, ready: 1, unready: 0, missing: 0 },
            usage: Milli(889),
            requests: Milli(1000),
            ..UtilizationSamples::default()
        };
        // 88.9 % is cut to 88 %, which is 1.1 of 80 %: within.
        assert_eq!(utilization(&known, 80, 4, T), Some(4));
        let above = UtilizationSamples { usage: Milli(890), ..known };
        assert_eq!(utilization(&above, 80, 4, T), Some(2));
    }

    #[test]
    fn utilisation_without_requests_has_no_proposal() {
        let known =
            UtilizationSamples { samples: samples(&[1], 0, 0), usage: milli(1), ..UtilizationSamples::default() };
        assert_eq!(utilization(&known, 80, 4, T), None);
    }

    #[test]
    fn missing_pods_shrink_utilisation_at_their_full_request() {
        let known = UtilizationSamples {
            samples: PodSamples { total: Milli(100), count: 1, ready: 1, unready: 0, missing: 1 },
            usage: Milli(100),
            requests: Milli(1000),
            missing_fallback: Milli(1000),
            missing_requests: Milli(1000),
            unready_requests: Milli(0),
        };
        // (100 + 1000) of 2000 is 55 %; of a target of 80 % that is 0.6875 over two pods.
        assert_eq!(utilization(&known, 80, 4, T), Some(2));
    }

    proptest! {
        #[test]
        fn no_number_makes_the_arithmetic_panic(
            total: i64, target: i64, replicas: i32, percent: i32, tolerance: f64,
            count in 0_usize..9, unready in 0_usize..9, missing in 0_usize..9,
        ) {
            let tolerances = Tolerances::both(tolerance);
            let samples = PodSamples { total: Milli(total), count, ready: count, unready, missing };
            let known = UtilizationSamples {
                samples, usage: Milli(total), requests: Milli(target), missing_fallback: Milli(target),
                missing_requests: Milli(target), unready_requests: Milli(total),
            };
            // A debug build panics where an operation overflows that is not meant to wrap.
            let _ = (
                pods_average_value(&samples, Milli(target), replicas, tolerances),
                utilization(&known, percent, replicas, tolerances),
                external_average_value(Milli(total), Milli(target), replicas, tolerances),
                object_average_value(Milli(total), Milli(target), replicas, tolerances),
                external_value(Milli(total), Milli(target), replicas, count, tolerances),
                sum_for_value(&[Milli(total), Milli(target)]),
            );
            prop_assert!(sum_for_average(&[Milli(total), Milli(target)]).0 >= 0);
        }

        #[test]
        fn a_value_that_meets_the_target_changes_nothing(
            target in 1_i64..1_000_000_000, replicas in 1_i32..1000, ready in 0_usize..1000,
        ) {
            let sum = Milli(target * i64::from(replicas));
            prop_assert_eq!(external_average_value(sum, Milli(target), replicas, T), replicas);
            prop_assert_eq!(external_value(Milli(target), Milli(target), replicas, ready, T), replicas);
        }

        #[test]
        fn missing_pods_never_make_a_proposal_bolder(
            value in 0_i64..100_000, count in 1_usize..20, missing in 0_usize..20,
        ) {
            let target = Milli(10_000);
            let total = Milli(value * i64::try_from(count).unwrap());
            let known = PodSamples { total, count, ready: count, unready: 0, missing };
            let current = i32::try_from(count + missing).unwrap();
            let damped = pods_average_value(&known, target, current, T).unwrap();
            // As if every pod used the mean of those that have a sample.
            let mean = value as f64 / 10_000.0 * f64::from(current);
            prop_assert!(f64::from((damped - current).abs()) <= (mean - f64::from(current)).abs().ceil());
        }
    }
}
