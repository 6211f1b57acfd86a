//! Classic histograms: increase per series, sum over pods, then the quantile; never an average of quantiles.
//!
//! ```text
//!  scrapes of one series ─ increase_since (reset-aware) ─┐
//!  scrapes of one series ─ increase_since ───────────────┼─ merge (boundaries common to all) ─ quantile + flags
//!  …                                                     ┘
//! ```
//! The arithmetic of the quantile is that of Prometheus v0.315.0 `promql/quantile.go` `BucketQuantile`, without its
//! silence: what it corrects or cannot resolve is flagged here.

use std::{collections::BTreeSet, sync::Arc};

use serde::{Deserialize, Serialize};

/// Observations below which a 99th percentile is nothing but the maximum.
pub const THIN: f64 = 100.0;

/// Relative difference between neighbouring buckets that is floating-point noise (`smallDeltaTolerance` there).
const NOISE: f64 = 1e-12;

/// Largest number of buckets in one histogram; the largest known layout (vLLM) has 21.
pub const BUCKETS_MAX: usize = 256;

/// Cumulative bucket counts, ascending by upper bound; the last bound is `+Inf`.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// Shared, since the scrapes of a series differ in their counts only.
    bounds: Arc<[f64]>,
    counts: Vec<f64>,
}

/// Why buckets are no histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// No bucket `+Inf`, without which the number of observations is not known.
    #[error("has no +Inf bucket")]
    NoInfinity,
    /// A bound that is not a number, or a count that is negative or not finite.
    #[error("has a bucket whose bound or count is not a number in range")]
    Number,
    /// The same bound twice with different counts.
    #[error("has the same bucket twice with different counts")]
    Duplicate,
    /// More buckets than [`BUCKETS_MAX`].
    #[error("has more than 256 buckets")]
    TooMany,
}

/// What a reader of a quantile must know about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Flag {
    /// The rank is in the `+Inf` bucket: the value is the highest finite bound, and the truth is at least that.
    Saturated,
    /// Fewer than [`THIN`] observations: a high percentile is the maximum.
    Thin,
    /// The layouts differed; only boundaries that are in all of them were used.
    MixedLayouts,
    /// Counts fell with growing bounds and were raised to rise.
    ForcedMonotonic,
    /// The window was widened because the normal one was thin.
    Widened,
}

/// A quantile with what must be known about it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Quantile {
    /// The value, in the unit of the bounds.
    pub value: f64,
    /// Observations that it rests on.
    pub observations: f64,
    /// Caveats.
    pub flags: BTreeSet<Flag>,
}

/// A sum of histograms over the boundaries that all of them have.
#[derive(Clone, Debug, PartialEq)]
pub struct Merged {
    /// The sum.
    pub histogram: Histogram,
    /// Whether the layouts differed.
    pub mixed: bool,
}

// === impl Histogram ===

impl Histogram {
    /// A histogram from `(upper bound, cumulative count)` in any order.
    pub fn new(mut buckets: Vec<(f64, f64)>) -> Result<Self, Malformed> {
        if buckets.len() > BUCKETS_MAX {
            return Err(Malformed::TooMany);
        }
        if buckets.iter().any(|(bound, count)| !(*bound > f64::NEG_INFINITY && count.is_finite() && *count >= 0.0)) {
            return Err(Malformed::Number);
        }
        buckets.sort_by(|left, right| left.0.total_cmp(&right.0));
        buckets.dedup();
        if buckets.windows(2).any(|pair| same(pair[0].0, pair[1].0)) {
            return Err(Malformed::Duplicate);
        }
        match buckets.last() {
            Some((bound, _)) if *bound == f64::INFINITY => {
                let (bounds, counts): (Vec<_>, _) = buckets.into_iter().unzip();
                Ok(Self { bounds: bounds.into(), counts })
            }
            _ => Err(Malformed::NoInfinity),
        }
    }

    /// All observations.
    #[must_use]
    pub fn observations(&self) -> f64 {
        self.counts.last().copied().unwrap_or(0.0)
    }

    /// Whether both have the same boundaries.
    #[must_use]
    pub fn same_layout(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.bounds, &other.bounds) || self.bounds == other.bounds
    }

    /// What was counted since an earlier scrape of the same series.
    ///
    /// A counter that fell, or another layout, is a restart: everything counted since then is new.
    #[must_use]
    pub fn increase_since(&self, earlier: &Self) -> Self {
        let reset = !self.same_layout(earlier) || self.counts.iter().zip(&earlier.counts).any(|(now, then)| now < then);
        if reset {
            return self.clone();
        }
        let counts = self.counts.iter().zip(&earlier.counts).map(|(now, then)| now - then).collect();
        Self { bounds: Arc::clone(&earlier.bounds), counts }
    }

    /// Adds another one of the same layout; returns whether it was.
    #[must_use]
    pub fn add(&mut self, other: &Self) -> bool {
        let same = self.same_layout(other);
        if same {
            self.counts.iter_mut().zip(&other.counts).for_each(|(sum, count)| *sum += count);
        }
        same
    }

    /// Number of buckets.
    #[must_use]
    pub fn buckets(&self) -> usize {
        self.bounds.len()
    }

    /// The counts at some of the own bounds; cumulative counts stay true when boundaries are left out.
    fn restricted(&self, bounds: &[f64]) -> Self {
        let kept = self.bounds.iter().zip(&self.counts).filter(|(bound, _)| bounds.contains(bound));
        let (bounds, counts): (Vec<_>, _) = kept.map(|(bound, count)| (*bound, *count)).unzip();
        Self { bounds: bounds.into(), counts }
    }

    /// The quantile `q` in [0, 1]; none if nothing was observed or no finite bound is left.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<Quantile> {
        let observations = self.observations();
        let (counts, forced) = monotonic(&self.counts);
        let value = interpolate(q, &self.bounds, &counts)?;
        let saturated = index_of(q, &counts) + 1 == counts.len();
        let flags = [(saturated, Flag::Saturated), (observations < THIN, Flag::Thin), (forced, Flag::ForcedMonotonic)];
        let flags = flags.into_iter().filter_map(|(applies, flag)| applies.then_some(flag)).collect();
        Some(Quantile { value, observations, flags })
    }
}

/// Sums histograms over the boundaries common to all; none if there are none at all.
#[must_use]
pub fn merge<'a>(histograms: impl IntoIterator<Item = &'a Histogram>) -> Option<Merged> {
    let mut histograms = histograms.into_iter();
    let mut merged = Merged { histogram: histograms.next()?.clone(), mixed: false };
    for histogram in histograms {
        if merged.histogram.add(histogram) {
            continue;
        }
        merged.mixed = true;
        merged.histogram = merged.histogram.restricted(&histogram.bounds);
        let common = histogram.restricted(&merged.histogram.bounds);
        // Same bounds by construction.
        let _added = merged.histogram.add(&common);
    }
    Some(merged)
}

/// Counts that never fall, and whether more than noise had to be corrected.
fn monotonic(counts: &[f64]) -> (Vec<f64>, bool) {
    let mut forced = false;
    let mut previous = counts.first().copied().unwrap_or(0.0);
    let corrected = counts.iter().map(|&count| {
        if almost_equal(previous, count) {
            return previous;
        }
        if count < previous {
            forced = true;
            return previous;
        }
        previous = count;
        count
    });
    (corrected.collect(), forced)
}

/// `almost.Equal` of Prometheus for non-negative finite numbers.
fn almost_equal(left: f64, right: f64) -> bool {
    let (sum, difference) = (left + right, (left - right).abs());
    same(left, right)
        || if left == 0.0 || right == 0.0 || sum < f64::MIN_POSITIVE {
            difference < NOISE * f64::MIN_POSITIVE
        } else {
            difference / sum.min(f64::MAX) < NOISE
        }
}

#[expect(clippy::float_cmp, reason = "bounds and counts are compared as they were written")]
fn same(left: f64, right: f64) -> bool {
    left == right
}

/// Index of the bucket with the rank of `q`; the last one where no other reaches it.
fn index_of(q: f64, counts: &[f64]) -> usize {
    let last = counts.len().saturating_sub(1);
    let rank = q * counts.last().copied().unwrap_or(0.0);
    counts[..last].partition_point(|count| *count < rank)
}

/// `BucketQuantile` for sorted, monotonic buckets that end in `+Inf`.
fn interpolate(q: f64, bounds: &[f64], counts: &[f64]) -> Option<f64> {
    let observations = *counts.last()?;
    if bounds.len() < 2 || observations == 0.0 || !(0.0..=1.0).contains(&q) {
        return None;
    }
    let index = index_of(q, counts);
    if index + 1 == bounds.len() {
        return Some(bounds[index - 1]);
    }
    if index == 0 && bounds[0] <= 0.0 {
        return Some(bounds[0]);
    }
    let (start, below) = if index == 0 { (0.0, 0.0) } else { (bounds[index - 1], counts[index - 1]) };
    let inside = counts[index] - below;
    // Only rank 0 can fall into a bucket without observations; there the quotient would be NaN.
    let share = if inside == 0.0 { 0.0 } else { (q * observations - below) / inside };
    Some(start + (bounds[index] - start) * share)
}

#[cfg(test)]
mod tests;
