//! The clamp against the controller's arithmetic, case by case.

use super::*;
use crate::hpa::Tolerances;

mod properties;

const T: Milli = Milli(10_000);

fn guard(current: i32, grant: i32) -> Guard {
    Guard {
        current,
        reported: current,
        matching: current,
        assigned: current.min(grant),
        ready: current.min(grant),
        bound: current.min(grant),
        grant,
        stance: Stance::Hold,
        max_replicas: 1000,
        remembers: false,
        down_window_seconds: 300,
        tolerances: Tolerances::default(),
    }
}

fn units(units: i64) -> Milli {
    Milli(units * 1000)
}

fn counted(values: &[i64]) -> Vec<PodSample> {
    values.iter().map(|v| PodSample { value: Milli(*v), standing: Standing::Counted }).collect()
}

/// What the controller makes of the served values of a Pods metric.
fn pods_next(guard: &Guard, target: Milli, served: &[Milli], seen: &[Standing], missing: usize) -> Option<i32> {
    let samples: Vec<_> =
        served.iter().zip(seen).map(|(value, standing)| PodSample { value: *value, standing: *standing }).collect();
    let unready = seen.iter().filter(|standing| **standing == Standing::Pending).count();
    pods_proposal(guard, target, &samples, missing, unready)
}

// === the accident ===

#[test]
fn a_queue_for_fifteen_on_eight_gpus_proposes_eight_with_every_kind_of_target() {
    let guard = guard(5, 8);
    let sum = average(&guard, T, units(150), false);
    assert_eq!((sum.value, average_proposal(&guard, T, sum.value)), (units(80), 8));
    let value = ratio(&guard, T, units(30), false);
    assert_eq!((value.value, ratio_proposal(&guard, T, value.value)), (units(16), 8));
    let (served, effect) = pods(&guard, T, &counted(&[30_000; 5]), 0, 0, false);
    assert_eq!((served.clone(), effect), (vec![units(16); 5], Effect::Capped));
    assert_eq!(pods_next(&guard, T, &served, &[Standing::Counted; 5], 0), Some(8));
}

#[test]
fn the_textbook_count_of_free_nodes_cannot_triple_the_replicas() {
    let guard = guard(5, 8);
    let served = ratio(&guard, Milli(1000), Milli(3000), false);
    assert_eq!(ratio_proposal(&guard, Milli(1000), Milli(3000)), 15);
    assert_eq!((served.value, ratio_proposal(&guard, Milli(1000), served.value)), (Milli(1600), 8));
}

#[test]
fn ready_pods_that_terminate_count_for_ratios() {
    let guard = Guard { matching: 16, assigned: 16, ready: 8, bound: 8, ..guard(8, 12) };
    let served = ratio(&guard, T, units(20), false);
    assert_eq!(served.effect, Effect::Held, "0.75 of the target would shrink 8 to 6");
    assert_eq!(served.value, T);
}

#[test]
fn a_cap_never_turns_growth_into_shrinking() {
    let guard = Guard { ready: 5, ..guard(10, 12) };
    assert_eq!(ratio(&guard, T, units(20), false), Clamped { value: T, effect: Effect::Held });
}

#[test]
fn what_is_over_scaled_holds_exactly() {
    let guard = Guard { ready: 8, bound: 8, assigned: 8, ..guard(15, 8) };
    assert_eq!(average_proposal(&guard, T, average(&guard, T, units(300), false).value), 15);
    assert_eq!(ratio(&guard, T, units(30), false).value, T);
    let (served, effect) = pods(&guard, T, &counted(&[30_000; 8]), 0, 7, false);
    assert_eq!((served, effect), (vec![T; 8], Effect::Held));
}

#[test]
fn a_surge_inside_the_tolerance_does_not_leak_into_the_replicas() {
    let surge = Guard { reported: 22, ..guard(20, 20) };
    let served = average(&surge, T, units(300), false);
    assert!(average_proposal(&surge, T, served.value) <= 20);
    let naive = units(200);
    assert_eq!(average_proposal(&surge, T, naive), 22, "kubernetes#138505");
}

#[test]
fn with_a_short_window_a_surge_is_left_alone_and_said() {
    let surge = Guard { reported: 21, down_window_seconds: 0, ..guard(20, 20) };
    let served = average(&surge, T, units(300), false);
    assert_eq!((served.value, served.effect), (units(200), Effect::SurgeTolerated));
    let surplus = Guard { grant: 15, bound: 15, ..surge };
    assert!(average_proposal(&surplus, T, average(&surplus, T, units(300), false).value) <= 20);
}

#[test]
fn a_surge_that_ends_meanwhile_does_not_leak_either() {
    let surge = Guard { reported: 23, ..guard(20, 20) };
    let served = average(&surge, T, units(300), false);
    for reported in 0..=23 {
        assert!(average_proposal(&Guard { reported, ..surge }, T, served.value) <= 20, "{reported}");
    }
    assert_eq!(average_proposal(&surge, T, served.value), 19, "no further below the cap than the tolerance");
}

#[test]
fn an_hpa_that_remembers_is_not_shown_more_than_one_sync_may_add() {
    let guard = Guard { remembers: true, ..guard(5, 20) };
    assert_eq!(average(&guard, T, units(500), false).value, units(100));
    assert_eq!(average(&Guard { current: 1, ..guard }, T, units(500), false).value, units(40));
}

#[test]
fn raw_values_pass_when_the_hpa_itself_stops_within_the_cap() {
    let guard = Guard { max_replicas: 8, ..guard(5, 8) };
    assert_eq!(average(&guard, T, units(500), false).effect, Effect::Raw);
    assert_eq!(ratio(&guard, T, units(500), false).effect, Effect::Raw);
    assert_eq!(pods(&guard, T, &counted(&[900_000; 5]), 0, 0, false).1, Effect::Raw);
}

#[test]
fn one_ulp_of_rounding_does_not_make_a_replica() {
    let guard = Guard { matching: 25, reported: 25, ..guard(20, 28) };
    let (served, _) = pods(&guard, T, &counted(&[11_200; 25]), 0, 0, false);
    assert!(pods_next(&guard, T, &served, &[Standing::Counted; 25], 0).unwrap() <= 28);
    assert_eq!(pods_next(&guard, T, &[Milli(11_200); 25], &[Standing::Counted; 25], 0), Some(29));
}

#[test]
fn absurd_counts_and_values_are_answered_within_the_cap() {
    const MOST: i32 = i32::MAX;
    for (reported, current, grant) in [(MOST, 5, 8), (MOST, MOST, 8), (5, 5, MOST), (MOST, 5, MOST)] {
        for (stance, huge) in [(Stance::Hold, T), (Stance::Hold, Milli(i64::MAX)), (Stance::Shed, Milli(i64::MAX))] {
            let guard = Guard { reported, matching: reported, current, stance, max_replicas: MOST, ..guard(5, grant) };
            let cap = guard.cap().max(current);
            for target in [Milli(1), T, Milli(1_000_000_000_000_000)] {
                let sum = average(&guard, target, huge, true);
                assert!(average_proposal(&guard, target, sum.value) <= cap, "{guard:?} {target:?}");
                let value = ratio(&guard, target, huge, true);
                assert!(ratio_proposal(&guard, target, value.value) <= cap, "{guard:?} {target:?}");
                let samples = vec![PodSample { value: huge, standing: Standing::Counted }; 5];
                let (served, _) = pods(&guard, target, &samples, 3, 2, true);
                assert!(pods_next(&guard, target, &served, &[Standing::Counted; 5], 3).unwrap() <= cap, "{guard:?}");
            }
        }
    }
}

// === shedding ===

#[test]
fn a_surplus_is_shed_to_what_is_bound_by_every_kind_of_target() {
    let guard = Guard { stance: Stance::Shed, ready: 8, bound: 8, assigned: 8, ..guard(15, 8) };
    let sum = average(&guard, T, units(150), false);
    assert_eq!((average_proposal(&guard, T, sum.value), sum.effect), (8, Effect::Shed));
    let value = ratio(&guard, T, units(30), false);
    assert_eq!((ratio_proposal(&guard, T, value.value), value.effect), (8, Effect::Shed));
    let (served, effect) = pods(&guard, T, &counted(&[19_000; 8]), 0, 7, false);
    let mut seen = vec![Standing::Counted; 8];
    seen.extend([Standing::Pending; 7]);
    assert_eq!((pods_next(&guard, T, &served, &seen, 0), effect), (Some(8), Effect::Shed));
}

#[test]
fn one_average_carries_the_cap_while_the_other_kinds_vote_low() {
    let guard = Guard { stance: Stance::Shed, ready: 20, bound: 20, assigned: 20, ..guard(26, 20) };
    let carried = average(&guard, T, units(60), true);
    assert_eq!(average_proposal(&guard, T, carried.value), 20);
    let (served, effect) = pods(&guard, T, &counted(&[20_000; 20]), 0, 6, true);
    assert_eq!(effect, Effect::Shed);
    assert!(pods_next(&guard, T, &served, &[Standing::Counted; 20], 0).unwrap() <= 20);
    let (served, effect) = pods(&guard, T, &counted(&[20_000; 20]), 0, 6, false);
    assert_eq!((served, effect), (vec![T; 20], Effect::Held), "alone it would end two running pods");
}

#[test]
fn nothing_bound_is_lost_to_the_tolerance() {
    let guard = Guard { stance: Stance::Shed, ready: 19, bound: 19, assigned: 19, ..guard(20, 19) };
    let served = average(&guard, T, units(300), false);
    assert_eq!((average_proposal(&guard, T, served.value), served.effect), (20, Effect::Held));
}

#[test]
fn shedding_amid_a_surge_ends_no_running_pod() {
    let guard =
        Guard { stance: Stance::Shed, reported: 52, matching: 52, bound: 48, down_window_seconds: 0, ..guard(49, 48) };
    let served = average(&guard, T, units(1350), false);
    assert_eq!((average_proposal(&guard, T, served.value), served.effect), (52, Effect::SurgeTolerated));
}

#[test]
fn what_no_value_can_shed_is_held_and_said() {
    let tolerances = Tolerances { down: 1.0, up: 0.1 };
    let guard = Guard { stance: Stance::Shed, tolerances, ..guard(15, 8) };
    assert_eq!(average(&guard, T, units(300), false), Clamped { value: units(150), effect: Effect::Held });
}

#[test]
fn pods_that_become_ready_while_a_surplus_is_shed_do_not_make_it_grow() {
    let tolerances = Tolerances::both(0.0);
    let guard = Guard { stance: Stance::Shed, matching: 9, assigned: 7, ready: 7, bound: 7, tolerances, ..guard(8, 7) };
    let served = ratio(&guard, T, Milli(9999), false);
    assert_eq!(ratio_proposal(&guard, T, served.value), 7);
    assert!(ratio_proposal(&Guard { ready: 9, ..guard }, T, served.value) <= 8);
}

#[test]
fn the_sample_of_a_pod_that_ends_is_not_multiplied_once_the_pod_is_gone() {
    let guard = guard(2, 2);
    let ending = PodSample { value: units(40), standing: Standing::Ignored };
    let samples = [counted(&[10_000, 10_000]), vec![ending]].concat();
    let (served, _) = pods(&guard, T, &samples, 0, 0, false);
    let gone = [Standing::Counted, Standing::Counted, Standing::Unknown];
    assert_eq!(pods_next(&guard, T, &served, &gone, 0), Some(2));
}
