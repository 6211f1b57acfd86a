//! Pods metrics: the mean over the pods, times their number.
//!
//! The controller divides the sum of the samples by their number (whole thousandths) and multiplies by the number of
//! pods that it counts, so the sum over all pods bounds every proposal, whichever pods it counts. All pods are scaled
//! by one factor, so the picture that a person sees keeps its proportions; to hold, every pod reports exactly the
//! target, which proposes the current count whichever pods are counted.

use super::{EDGE, Effect, Guard, LARGEST_PROPOSAL, milli_above};
use crate::{
    hpa::proposal::{self, PodSamples},
    quantity::{MILLI_MAX, Milli},
};

/// How the controller treats the sample of a pod, as far as our view tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Running: its sample counts, and it is multiplied by.
    Counted,
    /// Pending: its sample is dropped, and replaced by 0 when the rest asks for growth.
    Pending,
    /// Terminating or failed: its sample is dropped, until the pod is gone; then it is that of an unknown one.
    Ignored,
    /// Not a pod of the workload that we know of: its sample counts in the mean only.
    Unknown,
}

/// The sample of one pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodSample {
    /// The raw value.
    pub value: Milli,
    /// How the controller treats it.
    pub standing: Standing,
}

/// What the controller would propose for those samples; none if it would fail for lack of samples.
///
/// `missing`: Running pods without a sample; `unready`: Pending pods, with or without one.
#[must_use]
pub fn pods_proposal(
    guard: &Guard,
    target: Milli,
    samples: &[PodSample],
    missing: usize,
    unready: usize,
) -> Option<i32> {
    let kept = |sample: &&PodSample| matches!(sample.standing, Standing::Counted | Standing::Unknown);
    let counted = PodSamples {
        total: Milli(samples.iter().filter(kept).fold(0_i64, |sum, sample| sum.saturating_add(sample.value.0))),
        count: samples.iter().filter(kept).count(),
        ready: samples.iter().filter(|sample| sample.standing == Standing::Counted).count(),
        unready,
        missing,
    };
    proposal::pods_average_value(&counted, target, guard.current, guard.tolerances)
}

/// Clamps the samples of all pods; the values come back in the order of the samples.
///
/// `carried`: while a surplus is shed, a metric of the `AverageValue` kind proposes the cap, so that this one may vote
/// lower.
#[must_use]
pub fn pods(
    guard: &Guard,
    target: Milli,
    samples: &[PodSample],
    missing: usize,
    unready: usize,
    carried: bool,
) -> (Vec<Milli>, Effect) {
    let samples: Vec<_> =
        samples.iter().map(|sample| PodSample { value: sample.value.servable(), ..*sample }).collect();
    let metric = Metric { guard, target, missing, unready };
    if guard.sheds() { metric.shed(&samples, carried) } else { metric.hold(&samples) }
}

/// Counts of pods beyond the samples that are checked one by one: reported replicas are a number that anybody writes.
const EXACT_COUNTS: usize = 4096;

struct Metric<'a> {
    guard: &'a Guard,
    target: Milli,
    missing: usize,
    unready: usize,
}

impl Metric<'_> {
    fn hold(&self, samples: &[PodSample]) -> (Vec<Milli>, Effect) {
        let raw: Vec<_> = samples.iter().map(|sample| sample.value).collect();
        if self.harmless(&raw) || (self.guard.max_is_within_cap() && self.bounded(&raw)) {
            return (raw, Effect::Raw);
        }
        let scaled = self.scaled(samples);
        let next: Vec<_> =
            samples.iter().zip(&scaled).map(|(sample, value)| PodSample { value: *value, ..*sample }).collect();
        if self.proposal(&next).is_none_or(|replicas| replicas <= self.guard.current) {
            return (vec![self.target; samples.len()], Effect::Held);
        }
        (scaled, Effect::Capped)
    }

    /// Every pod reports the same, just so much below the tolerance that the proposal is the largest below the cap.
    fn shed(&self, samples: &[PodSample], carried: bool) -> (Vec<Milli>, Effect) {
        let cap = self.guard.cap();
        let raw = samples.iter().map(|sample| sample.value);
        let total: i128 = raw.clone().map(|value| i128::from(value.0)).sum();
        let fits = total <= i128::from(cap) * i128::from(self.target.0);
        if fits && self.proposal(samples).is_some_and(|replicas| replicas <= cap) {
            return (raw.collect(), Effect::Raw);
        }
        let low = self.just_below_tolerance(samples);
        let next: Vec<_> = samples.iter().map(|sample| PodSample { value: low, ..*sample }).collect();
        let kept = self.proposal(&next).filter(|kept| *kept <= cap && (carried || *kept >= self.guard.bound));
        // Whatever of it comes to count meanwhile must not grow beyond the current count.
        let served = vec![low; samples.len()];
        if low.0 >= 0 && cap > 0 && kept.is_some() && self.within(&served, self.guard.holding_cap()) {
            return (served, Effect::Shed);
        }
        (vec![self.target; samples.len()], Effect::Held)
    }

    /// The largest equal value of all pods that is outside the tolerance although missing pods count as at target.
    fn just_below_tolerance(&self, samples: &[PodSample]) -> Milli {
        let kept = samples.iter().filter(|s| matches!(s.standing, Standing::Counted | Standing::Unknown)).count();
        if kept == 0 {
            return Milli(-1);
        }
        let (kept, missing, target) = (kept as f64, self.missing as f64, self.target.0 as f64);
        let edge = 1.0 - self.guard.tolerances.down - EDGE;
        let mut value = Milli(milli_above((edge * (kept + missing) - missing) * target / kept));
        let ratio = |value: Milli| (((value.0 as f64 * kept + missing * target) / (kept + missing)).floor()) / target;
        while value.0 >= 0 && (ratio(value) >= edge || value.0 as f64 / target >= edge) {
            value.0 -= 1;
        }
        value
    }

    fn proposal(&self, samples: &[PodSample]) -> Option<i32> {
        pods_proposal(self.guard, self.target, samples, self.missing, self.unready)
    }

    /// All samples times one factor, so that they add up to what the cap allows; those of ignored pods become 0.
    fn scaled(&self, samples: &[PodSample]) -> Vec<Milli> {
        let counts = |sample: &PodSample| sample.standing != Standing::Ignored;
        let total: i128 = samples.iter().filter(|s| counts(s)).map(|sample| i128::from(sample.value.0)).sum();
        let mut allowed = (i128::from(self.guard.cap()) * i128::from(self.target.0)).min(total);
        // The mean is floored to thousandths, so one thousandth per pod is the least change that can matter. It nearly
        // always suffices; the steps double so that no value takes more than some dozens of them.
        let mut step = i128::try_from(samples.len()).unwrap_or(1).max(1);
        loop {
            let factor = |sample: &PodSample| {
                let exact = (i128::from(sample.value.0) * allowed).checked_div(total).unwrap_or(0);
                Milli(if counts(sample) { i64::try_from(exact).unwrap_or(MILLI_MAX) } else { 0 })
            };
            let values: Vec<_> = samples.iter().map(factor).collect();
            if allowed <= 0 || self.harmless(&values) {
                return values;
            }
            allowed = (allowed - step).max(0);
            step *= 2;
        }
    }

    fn harmless(&self, values: &[Milli]) -> bool {
        self.within(values, self.guard.cap())
    }

    /// Whether no choice of counted pods proposes more than the cap.
    ///
    /// For each number `m` of counted pods the largest sum that `m` samples can have is the sum of the `m` largest.
    fn within(&self, values: &[Milli], cap: i32) -> bool {
        let mut sorted = values.to_vec();
        sorted.sort_unstable_by(|a, b| b.cmp(a));
        let cap = f64::from(cap);
        let most = values.len().max(usize::try_from(self.guard.most_ready()).unwrap_or(0)).saturating_add(self.missing);
        let exact = most.min(values.len().saturating_add(EXACT_COUNTS));
        let mut sum = 0_i64;
        let each = (1..=exact).all(|counted| {
            sum = sum.saturating_add(sorted.get(counted - 1).map_or(0, |value| value.0));
            let mean = sum / i64::try_from(counted).unwrap_or(i64::MAX);
            let ratio = mean as f64 / self.target.0 as f64;
            self.surely_within(ratio) || (ratio * counted as f64).ceil() <= cap
        });
        // Past the samples the sum stays, and mean times count is at most the sum, but for rounding.
        each && (exact == most || (sum as f64 / self.target.0 as f64 * (1.0 + EDGE)).ceil() <= cap)
    }

    fn surely_within(&self, ratio: f64) -> bool {
        let tolerances = self.guard.tolerances;
        self.guard.current > 0 && 1.0 - tolerances.down + EDGE <= ratio && ratio <= 1.0 + tolerances.up - EDGE
    }

    /// Whether the controller's unguarded conversions to `i32` and its sum in `i64` stay in range.
    fn bounded(&self, values: &[Milli]) -> bool {
        let total: i128 = values.iter().map(|value| i128::from(value.0)).sum();
        i64::try_from(total).is_ok() && (total as f64) / (self.target.0 as f64) < LARGEST_PROPOSAL
    }
}
