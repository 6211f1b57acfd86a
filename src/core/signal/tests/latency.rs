//! Quantiles of workloads, from scrapes to signals.

use super::*;
use crate::histogram::{Flag, Histogram};

fn p99(signals: &Signals) -> Option<(Sample, &Quantile)> {
    let sample = signals.workloads.get(LATENCY_P99)?.get(&workload())?;
    Some((*sample, signals.quantiles.get(LATENCY_P99)?.get(&workload())?))
}

/// Scrapes of a pod every 10 s, each adding these observations below 1 s, from 1 to 10 s, and above.
fn serve(store: &mut Store, name: &str, from: i64, scrapes: i64, each: [f64; 3]) {
    for scrape in 0..scrapes {
        let below = |count: f64| count * (scrape + 1) as f64;
        let counts = [below(each[0]), below(each[0] + each[1]), below(each[0] + each[1] + each[2])];
        store.record(name, &target(name), observed(vec![latency(name, counts)]), at(from + scrape * 10));
    }
}

#[test]
fn the_first_scrape_of_a_pod_counts_nothing() {
    let view = view([pod("ml", "a")]);
    let mut store = Store::default();
    serve(&mut store, "a", 0, 1, [1e6, 0.0, 0.0]);
    assert_eq!(p99(&signals(&store, &view, at(0))), None);
}

#[test]
fn the_latency_of_a_workload_is_that_of_all_its_pods_together() {
    let view = view([pod("ml", "a"), pod("ml", "b")]);
    let mut store = Store::default();
    // 980 fast ones in one pod, 20 slow ones in the other: an average of the pods' own p99s would say about 5.5 s.
    serve(&mut store, "a", 0, 6, [196.0, 0.0, 0.0]);
    serve(&mut store, "b", 0, 6, [0.0, 4.0, 0.0]);
    let signals = signals(&store, &view, at(50));
    let (sample, quantile) = p99(&signals).unwrap();
    // Rank 990 of 1000: half of the 20 between 1 and 10 s.
    assert_eq!((sample.value, sample.at, sample.quality), (Milli(5500), at(50), Quality::Live));
    assert_eq!(quantile.observations.to_bits(), 1000.0_f64.to_bits());
    assert!(quantile.flags.is_empty());
}

#[test]
fn without_traffic_there_is_no_latency_rather_than_zero() {
    let view = view([pod("ml", "a")]);
    let mut store = Store::default();
    serve(&mut store, "a", 0, 30, [0.0, 0.0, 0.0]);
    assert_eq!(p99(&signals(&store, &view, at(290))), None);
}

#[test]
fn a_thin_window_is_widened_and_says_so() {
    let view = view([pod("ml", "a")]);
    let mut store = Store::default();
    serve(&mut store, "a", 0, 30, [5.0, 0.0, 0.0]);
    let wide = signals(&store, &view, at(290));
    let (_, quantile) = p99(&wide).unwrap();
    assert_eq!((quantile.observations.to_bits(), &quantile.flags), (145.0_f64.to_bits(), &[Flag::Widened].into()));
    let mut store = Store::default();
    serve(&mut store, "a", 0, 3, [5.0, 0.0, 5.0]);
    let thin = signals(&store, &view, at(20));
    let (sample, quantile) = p99(&thin).unwrap();
    assert_eq!(sample.value, Milli(10_000));
    assert_eq!(quantile.flags, [Flag::Saturated, Flag::Thin, Flag::Widened].into());
}

#[test]
fn a_restart_adds_what_was_counted_since_and_a_late_series_counts_whole() {
    let view = view([pod("ml", "a")]);
    let mut store = Store::default();
    let mut scrape = |seconds: i64, count: f64| {
        store.record("a", &target("a"), observed(vec![latency("a", [count; 3])]), at(seconds));
        signals(&store, &view, at(seconds))
    };
    scrape(0, 1000.0);
    assert_eq!(p99(&scrape(10, 1200.0)).unwrap().1.observations.to_bits(), 200.0_f64.to_bits());
    assert_eq!(p99(&scrape(20, 50.0)).unwrap().1.observations.to_bits(), 250.0_f64.to_bits());
    // The same scrape again, and an older one, add nothing.
    scrape(20, 70.0);
    assert_eq!(p99(&scrape(15, 90.0)).unwrap().1.observations.to_bits(), 250.0_f64.to_bits());
    let mut late = latency("a", [50.0; 3]);
    let Reading::Histogram { series, .. } = &mut late.reading else { panic!("no histogram") };
    series.insert("late".to_owned(), series[""].clone());
    store.record("a", &target("a"), observed(vec![late]), at(30));
    let signals = signals(&store, &view, at(30));
    assert_eq!(p99(&signals).unwrap().1.observations.to_bits(), 300.0_f64.to_bits());
}

#[test]
fn old_observations_leave_the_window() {
    let view = view([pod("ml", "a")]);
    let mut store = Store::default();
    serve(&mut store, "a", 0, 6, [0.0, 0.0, 100.0]);
    for scrape in 6..20_i64 {
        let fast = 500.0 * (scrape - 5) as f64;
        store.record("a", &target("a"), observed(vec![latency("a", [fast, fast, fast + 600.0])]), at(scrape * 10));
    }
    let signals = signals(&store, &view, at(190));
    let (sample, quantile) = p99(&signals).unwrap();
    assert!(sample.value < Milli(1000) && quantile.flags.is_empty(), "{sample:?} {quantile:?}");
}

#[test]
fn a_pod_that_fell_silent_does_not_age_the_latency_of_the_others() {
    let view = view([pod("ml", "a"), pod("ml", "b")]);
    let mut store = Store::default();
    serve(&mut store, "a", 0, 3, [0.0, 0.0, 100.0]);
    serve(&mut store, "b", 0, 6, [100.0, 0.0, 0.0]);
    let with_live = signals(&store, &view, at(50));
    let (sample, _) = p99(&with_live).unwrap();
    assert_eq!((sample.quality, sample.at), (Quality::Live, at(50)));
    assert!(sample.value <= Milli(1000));
    let all_silent = signals(&store, &view, at(70));
    let (sample, _) = p99(&all_silent).unwrap();
    assert_eq!((sample.quality, sample.at), (Quality::LastKnownGood, at(20)));
}

#[test]
fn layouts_that_differ_during_a_rollout_are_flagged() {
    let view = view([pod("ml", "a"), pod("ml", "b")]);
    let mut store = Store::default();
    serve(&mut store, "a", 0, 3, [100.0, 0.0, 0.0]);
    for scrape in 0..3_i64 {
        let count = 100.0 * (scrape + 1) as f64;
        let buckets = vec![(5.0, count), (10.0, count), (f64::INFINITY, count)];
        let series = [(String::new(), Histogram::new(buckets).unwrap())].into();
        let seen = Observation { reading: Reading::Histogram { quantile: 0.99, series }, ..latency("b", [0.0; 3]) };
        store.record("b", &target("b"), observed(vec![seen]), at(scrape * 10));
    }
    let signals = signals(&store, &view, at(20));
    let (sample, quantile) = p99(&signals).unwrap();
    assert_eq!((sample.value, &quantile.flags), (Milli(9900), &[Flag::MixedLayouts].into()));
}

#[test]
fn what_was_sampled_before_a_clock_went_back_is_not_live_for_ever() {
    let view = view([pod("ml", "a"), pod("ml", "b")]);
    let mut store = Store::default();
    store.record("a", &target("a"), observed(vec![queue("a", 1.0), latency("a", [1.0; 3])]), at(3600));
    store.record("b", &target("b"), observed(vec![queue("b", 1.0)]), at(3600));
    assert_eq!(queues(&signals(&store, &view, at(0))), []);
    serve(&mut store, "a", 0, 3, [100.0, 0.0, 0.0]);
    store.record("b", &target("b"), observed(vec![queue("b", 2.0)]), at(20));
    let signals = signals(&store, &view, at(20));
    assert_eq!(queues(&signals), [("b", 2000, Quality::Live)]);
    assert_eq!(p99(&signals).unwrap().1.observations.to_bits(), 200.0_f64.to_bits());
}

#[test]
fn a_pod_that_makes_up_series_for_ever_holds_no_more_than_two_scrapes_and_five_minutes() {
    let mut store = Store::default();
    for scrape in 0..1_000_i64 {
        let mut seen = latency("a", [scrape as f64; 3]);
        let Reading::Histogram { series, .. } = &mut seen.reading else { panic!("no histogram") };
        *series = [(format!("series {scrape:08}"), series[""].clone())].into();
        store.record("a", &target("a"), observed(vec![seen]), at(scrape * 5));
        assert!(store.held() <= 2 * (3 + 2) + 31 * 3, "{} after {scrape}", store.held());
        assert!(store.held_matches());
    }
}

#[test]
fn slots_and_layouts_count_against_the_bound_of_a_source() {
    let mut store = Store::new(Bounds { values_per_source: 40, values: 60, ..Bounds::default() });
    for scrape in 0..1_000_i64 {
        for name in ["a", "b"] {
            let buckets = vec![(1.0 + scrape as f64, 0.0), (f64::INFINITY, scrape as f64)];
            let series = [(format!("{scrape}"), Histogram::new(buckets).unwrap())].into();
            let seen =
                Observation { reading: Reading::Histogram { quantile: 0.99, series }, ..latency(name, [0.0; 3]) };
            store.record(name, &target(name), observed(vec![seen]), at(scrape));
            assert!(store.held_matches(), "after {scrape}");
        }
    }
    assert!(store.held() > 0);
    assert_eq!(signals(&store, &view([]), at(20)).sources["a"].refused.len(), 1);
}

#[test]
fn a_series_that_is_missing_once_goes_on_where_it_was() {
    let view = view([pod("ml", "a")]);
    let mut store = Store::default();
    let mut scrape = |seconds: i64, names: &[&str], count: f64| {
        let mut seen = latency("a", [count; 3]);
        let Reading::Histogram { series, .. } = &mut seen.reading else { panic!("no histogram") };
        *series = names.iter().map(|name| ((*name).to_owned(), series[""].clone())).collect();
        store.record("a", &target("a"), observed(vec![seen]), at(seconds));
        p99(&signals(&store, &view, at(seconds))).map_or(0.0, |(_, quantile)| quantile.observations)
    };
    scrape(0, &["x", "y"], 1000.0);
    let (once, back) = (scrape(10, &["x"], 1100.0), scrape(20, &["x", "y"], 1200.0));
    assert_eq!((once.to_bits(), back.to_bits()), (100.0_f64.to_bits(), 400.0_f64.to_bits()));
}
