use proptest::prelude::*;

use super::*;

const INF: f64 = f64::INFINITY;

fn histogram(buckets: &[(f64, f64)]) -> Histogram {
    Histogram::new(buckets.to_vec()).unwrap()
}

fn close(left: f64, right: f64) -> bool {
    (left - right).abs() <= 1e-12 * left.abs().max(right.abs()).max(1.0)
}

fn assert_quantiles(buckets: &[(f64, f64)], expected: &[(f64, f64)]) {
    for (q, value) in expected {
        let quantile = histogram(buckets).quantile(*q).unwrap();
        assert!(close(quantile.value, *value), "{q}: {} instead of {value}", quantile.value);
        assert!(!quantile.flags.contains(&Flag::ForcedMonotonic), "{q}");
    }
}

/// `TestBucketQuantile_ForcedMonotonicity` of `promql/quantile_test.go`, Prometheus v0.315.0.
#[test]
#[expect(clippy::excessive_precision, reason = "the numbers are written as upstream writes them")]
fn quantiles_are_those_of_the_unit_tests_of_prometheus() {
    let simple = [(1.0, 15.0), (0.99, 14.85), (0.9, 13.5), (0.5, 7.5)];
    assert_quantiles(&[(10.0, 10.0), (15.0, 15.0), (20.0, 15.0), (30.0, 15.0), (INF, 15.0)], &simple);
    assert_quantiles(&[(10.0, 10.0), (15.0, 15.0), (20.0, 15.000_000_000_01), (30.0, 15.0), (INF, 15.0)], &simple);
    let real = [(1.0, 64.0), (0.99, 49.644_757_153_764_06), (0.9, 46.396_716_909_384_54), (0.5, 31.960_982_489_920_02)];
    let real_counts = [
        (1.0, 6_454_661.301_416_622_5),
        (5.0, 8_339_611.200_191_295_7),
        (10.0, 14_118_319.244_476_215_9),
        (25.0, 14_130_031.527_285_650_4),
        (50.0, 46_001_270.303_000_822_7),
        (64.0, 46_008_473.858_556_382_4),
        (80.0, 46_008_473.858_556_389_8),
        (100.0, 46_008_473.858_556_382_4),
        (250.0, 46_008_473.858_556_382_4),
        (1000.0, 46_008_473.858_556_389_8),
        (INF, 46_008_473.858_556_382_4),
    ];
    assert_quantiles(&real_counts, &real);
    let second = [
        (1.0, 0.1),
        (0.99, 0.034_687_500_002_812_61),
        (0.9, 0.004_635_416_666_718_75),
        (0.5, 0.002_575_231_481_510_417_4),
    ];
    let mut second_counts =
        vec![(0.005, 9.6), (0.01, 9.688_888_889), (0.025, 9.755_555_556), (0.05, 9.844_444_444), (0.1, 9.888_888_889)];
    second_counts.extend([0.25, 0.5, 1.0, 2.5, 5.0, 100.0, INF].map(|bound| (bound, 9.888_888_889)));
    second_counts.extend([(10.0, 9.888_888_889_001), (25.0, 9.888_888_889), (50.0, 9.888_888_888_999)]);
    assert_quantiles(&second_counts, &second);
}

/// `promqltest/testdata/histograms.test` of Prometheus v0.315.0, at 50 minutes.
#[test]
fn quantiles_are_those_of_the_query_tests_of_prometheus() {
    let positive = [(0.1, 50.0), (0.2, 70.0), (1.0, 110.0), (INF, 120.0)];
    let negative = [(-0.2, 10.0), (-0.1, 20.0), (0.3, 20.0), (INF, 30.0)];
    assert_quantiles(&positive, &[(0.0, 0.0), (0.2, 0.048), (0.5, 0.15), (0.8, 0.72), (1.0, 1.0)]);
    assert_quantiles(&negative, &[(0.0, -0.2), (0.2, -0.2), (0.5, -0.15), (0.8, 0.3), (1.0, 0.3)]);
    let middle = [(0.0, 0.0), (2.0, 10.0), (4.0, 20.0), (6.0, 30.0), (INF, 30.0)];
    assert_quantiles(&middle, &[(1.0 / 6.0, 1.0), (0.5, 3.0), (5.0 / 6.0, 5.0)]);
    let finite = [(0.0, 0.0), (0.1, 50.0), (0.2, 70.0), (1.0, 110.0), (INF, 110.0)];
    assert_quantiles(&finite, &[(0.25, 0.055), (0.5, 0.125), (0.75, 0.45), (1.0, 1.0)]);
    let finite = [(-0.25, 0.0), (-0.2, 10.0), (-0.1, 20.0), (0.3, 20.0), (INF, 20.0)];
    assert_quantiles(&finite, &[(0.0, -0.25), (0.25, -0.225), (0.5, -0.2), (0.75, -0.15), (1.0, -0.1)]);
}

#[test]
fn increases_are_summed_over_pods_before_the_quantile_as_in_the_query_tests() {
    let pods = [
        [(0.1, 1.0), (0.2, 3.0), (INF, 4.0)],
        [(0.1, 2.0), (0.2, 5.0), (INF, 6.0)],
        [(0.1, 3.0), (0.2, 4.0), (INF, 6.0)],
        [(0.1, 4.0), (0.2, 7.0), (INF, 9.0)],
    ]
    .map(|buckets| histogram(&buckets));
    let merged = merge(&pods).unwrap();
    assert!(!merged.mixed);
    assert!(close(merged.histogram.quantile(0.3).unwrap().value, 0.075));
    assert!(close(merged.histogram.quantile(0.5).unwrap().value, 0.127_777_777_777_777_78));
}

#[test]
fn what_is_no_histogram_is_refused() {
    for (buckets, reason) in [
        (vec![], Malformed::NoInfinity),
        (vec![(1.0, 1.0)], Malformed::NoInfinity),
        (vec![(f64::NAN, 1.0), (INF, 1.0)], Malformed::Number),
        (vec![(f64::NEG_INFINITY, 0.0), (INF, 1.0)], Malformed::Number),
        (vec![(1.0, -1.0), (INF, 1.0)], Malformed::Number),
        (vec![(1.0, 1.0), (INF, INF)], Malformed::Number),
        (vec![(1.0, 1.0), (1.0, 2.0), (INF, 2.0)], Malformed::Duplicate),
        ((0..300).map(|bound| (f64::from(bound), 1.0)).collect(), Malformed::TooMany),
    ] {
        assert_eq!(Histogram::new(buckets.clone()), Err(reason), "{buckets:?}");
    }
    assert_eq!(histogram(&[(INF, 2.0), (1.0, 1.0), (1.0, 1.0)]), histogram(&[(1.0, 1.0), (INF, 2.0)]));
}

#[test]
fn nothing_observed_has_no_quantile() {
    assert_eq!(histogram(&[(1.0, 0.0), (INF, 0.0)]).quantile(0.99), None);
    assert_eq!(histogram(&[(INF, 5.0)]).quantile(0.99), None);
    for q in [f64::NAN, -0.1, 1.1] {
        assert_eq!(histogram(&[(1.0, 1.0), (INF, 1.0)]).quantile(q), None);
    }
    assert_eq!(merge([]), None);
}

#[test]
fn a_rank_in_the_infinite_bucket_is_flagged_as_at_least() {
    let quantile = histogram(&[(0.3, 100.0), (7680.0, 900.0), (INF, 1000.0)]).quantile(0.99).unwrap();
    assert_eq!((quantile.value, quantile.flags), (7680.0, BTreeSet::from([Flag::Saturated])));
    let quantile = histogram(&[(0.3, 1000.0), (INF, 1000.0)]).quantile(1.0).unwrap();
    assert_eq!((quantile.value, quantile.flags), (0.3, BTreeSet::new()));
}

#[test]
fn few_observations_are_flagged_as_thin() {
    let flags = |count| histogram(&[(1.0, count), (INF, count)]).quantile(0.5).unwrap().flags;
    assert_eq!(flags(99.0), BTreeSet::from([Flag::Thin]));
    assert_eq!(flags(100.0), BTreeSet::new());
}

#[test]
fn falling_counts_are_raised_and_flagged() {
    let quantile = histogram(&[(1.0, 200.0), (2.0, 150.0), (INF, 400.0)]).quantile(0.6).unwrap();
    assert_eq!(quantile.flags, BTreeSet::from([Flag::Saturated, Flag::ForcedMonotonic]));
    assert_eq!(quantile.value.to_bits(), 2.0_f64.to_bits());
}

#[test]
fn a_restart_counts_everything_since_it() {
    let then = histogram(&[(1.0, 90.0), (INF, 100.0)]);
    let later = histogram(&[(1.0, 95.0), (INF, 110.0)]);
    assert_eq!(later.increase_since(&then), histogram(&[(1.0, 5.0), (INF, 10.0)]));
    let restarted = histogram(&[(1.0, 5.0), (INF, 7.0)]);
    assert_eq!(restarted.increase_since(&then), restarted);
    // More in all, but fewer in a bucket: a restart with much traffic.
    let busy = histogram(&[(1.0, 5.0), (INF, 200.0)]);
    assert_eq!(busy.increase_since(&then), busy);
    let other_layout = histogram(&[(2.0, 95.0), (INF, 110.0)]);
    assert_eq!(other_layout.increase_since(&then), other_layout);
}

#[test]
fn mixed_layouts_use_only_the_boundaries_that_all_have() {
    let old = histogram(&[(0.1, 10.0), (0.5, 50.0), (1.0, 90.0), (INF, 100.0)]);
    let new = histogram(&[(0.25, 10.0), (0.5, 20.0), (1.0, 95.0), (2.0, 99.0), (INF, 100.0)]);
    let merged = merge([&old, &new, &old]).unwrap();
    assert!(merged.mixed);
    assert_eq!(merged.histogram, histogram(&[(0.5, 120.0), (1.0, 275.0), (INF, 300.0)]));
    let nothing_in_common = merge([&old, &histogram(&[(7.0, 1.0), (INF, 1.0)])]).unwrap();
    assert_eq!(nothing_in_common.histogram, histogram(&[(INF, 101.0)]));
    assert_eq!(nothing_in_common.histogram.quantile(0.5), None);
}

fn any_histogram() -> impl Strategy<Value = Histogram> {
    prop::collection::btree_map(-50_i32..200, 0_u32..1000, 1..20).prop_map(|buckets| {
        let mut total = 0.0;
        let mut cumulative: Vec<_> = buckets
            .into_iter()
            .map(|(bound, count)| {
                total += f64::from(count);
                (f64::from(bound) / 4.0, total)
            })
            .collect();
        cumulative.push((INF, total + 1.0));
        Histogram::new(cumulative).unwrap()
    })
}

proptest! {
    #[test]
    fn a_quantile_rises_with_q_and_stays_within_the_bounds(histogram in any_histogram(), qs in prop::collection::vec(0.0..=1.0_f64, 2..6)) {
        let mut qs = qs;
        qs.sort_by(f64::total_cmp);
        let values: Vec<f64> = qs.iter().map(|q| histogram.quantile(*q).unwrap().value).collect();
        let finite = &histogram.bounds[..histogram.bounds.len() - 1];
        for pair in values.windows(2) {
            prop_assert!(pair[0] <= pair[1] + 1e-9, "{values:?}");
        }
        for value in values {
            prop_assert!(value <= finite[finite.len() - 1] + 1e-9 && value >= finite[0].min(0.0) - 1e-9);
        }
    }

    #[test]
    fn the_sum_of_increases_is_the_increase_of_the_sum(steps in prop::collection::vec((0_u32..100, 0_u32..100), 2..10)) {
        let mut totals = (0.0, 0.0);
        let scrapes: Vec<_> = steps.iter().map(|(low, high)| {
            totals = (totals.0 + f64::from(*low), totals.1 + f64::from(*high));
            histogram(&[(1.0, totals.0), (INF, totals.0 + totals.1)])
        }).collect();
        let increases: Vec<_> = scrapes.windows(2).map(|pair| pair[1].increase_since(&pair[0])).collect();
        let merged = merge(&increases).unwrap();
        prop_assert!(!merged.mixed);
        prop_assert_eq!(merged.histogram, scrapes[scrapes.len() - 1].increase_since(&scrapes[0]));
    }

    #[test]
    fn merging_does_not_depend_on_the_order(mut histograms in prop::collection::vec(any_histogram(), 1..6)) {
        let merged = merge(&histograms).unwrap();
        histograms.reverse();
        prop_assert_eq!(merge(&histograms).unwrap(), merged);
    }
}
