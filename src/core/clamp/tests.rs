//! The clamp against the controller's arithmetic, in states that our view need not have seen.

use proptest::prelude::*;

use super::*;
use crate::hpa::Tolerances;

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
    let surplus = Guard { grant: 15, ..surge };
    assert!(average_proposal(&surplus, T, average(&surplus, T, units(300), false).value) <= 20);
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

// === properties ===

fn tolerances() -> impl Strategy<Value = Tolerances> {
    prop_oneof![
        Just(Tolerances::default()),
        Just(Tolerances { down: 0.1, up: 0.0 }),
        Just(Tolerances::both(0.0)),
        (0_u32..400, 0_u32..400)
            .prop_map(|(down, up)| Tolerances { down: f64::from(down) / 1000.0, up: f64::from(up) / 1000.0 }),
    ]
}

fn targets() -> impl Strategy<Value = Milli> {
    prop_oneof![Just(Milli(1000)), Just(T), Just(Milli(80_000)), (1_i64..200_000).prop_map(Milli)]
}

prop_compose! {
    fn guards()(
        current in 1_i32..70, surge in -6_i32..8, terminating in 0_i32..10, unready in 0_i32..20, grant in 0_i32..80,
        shed in any::<bool>(), remembers in any::<bool>(), max_replicas in prop_oneof![Just(1000), 1_i32..90],
        down_window_seconds in prop_oneof![Just(0), Just(300)], tolerances in tolerances(),
    ) -> Guard {
        let reported = (current + surge).max(0);
        let matching = reported + terminating;
        let assigned = (matching - unready).max(0);
        let bound = (assigned - terminating).max(0);
        Guard {
            current, reported, matching, assigned, bound, ready: assigned, grant: grant.max(bound),
            stance: if shed { Stance::Shed } else { Stance::Hold },
            max_replicas: max_replicas.max(current), remembers, down_window_seconds, tolerances,
        }
    }
}

fn next(guard: &Guard, proposal: i32) -> i32 {
    let limit = if guard.remembers { guard.current.saturating_mul(2).max(4) } else { i32::MAX };
    proposal.min(limit).min(guard.max_replicas)
}

fn cap(guard: &Guard) -> i32 {
    guard.current.max(guard.grant)
}

fn growth(target: Milli, per_replica: i64, replicas: i32) -> Milli {
    Milli(target.0 * i64::from(replicas) * per_replica / 100)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_average_never_passes_the_cap(guard in guards(), target in targets(), load in 0_i64..400, nudge in -2_i64..3) {
        let raw = Milli(growth(target, load, guard.current).0 + nudge);
        let served = average(&guard, target, raw, false);
        let surge = if served.effect == Effect::SurgeTolerated { guard.reported } else { 0 };
        let after = next(&guard, average_proposal(&guard, target, served.value));
        prop_assert!(after <= cap(&guard).max(surge), "{after} from {served:?}");
        prop_assert!(surge <= cap(&guard) + cap(&guard).max(10) || surge == 0);
    }

    #[test]
    fn replicas_that_we_have_not_seen_leak_at_most_themselves(
        guard in guards(), target in targets(), load in 0_i64..400, seen in 0_i32..90,
    ) {
        let raw = growth(target, load, guard.current);
        let served = average(&guard, target, raw, false);
        let controller = Guard { reported: seen, ..guard };
        let after = next(&guard, average_proposal(&controller, target, served.value));
        prop_assert!(after <= cap(&guard).max(seen));
    }

    #[test]
    fn an_average_is_raw_whenever_it_keeps_to_the_cap(guard in guards(), target in targets(), load in 0_i64..400) {
        let guard = Guard { stance: Stance::Hold, ..guard };
        let raw = growth(target, load, guard.current);
        let every = (0..=guard.reported.max(guard.cap())).all(|reported| {
            average_proposal(&Guard { reported, ..guard }, target, raw) <= guard.cap()
        });
        if every {
            prop_assert_eq!(average(&guard, target, raw, false).effect, Effect::Raw);
        }
    }

    #[test]
    fn a_capped_average_does_not_shrink_what_asks_for_growth(guard in guards(), target in targets(), load in 100_i64..400) {
        let guard = Guard { stance: Stance::Hold, reported: guard.current, ..guard };
        let raw = growth(target, load, guard.current);
        let served = average(&guard, target, raw, false);
        prop_assert!(average_proposal(&guard, target, served.value) >= guard.current);
    }

    #[test]
    fn a_ratio_never_passes_the_cap_whatever_is_ready(
        guard in guards(), target in targets(), load in 0_i64..700, nudge in -2_i64..3, carried in any::<bool>(),
    ) {
        let raw = Milli(target.0 * load / 100 + nudge);
        let served = ratio(&guard, target, raw, carried);
        let most = if guard.sheds() { guard.assigned } else { guard.matching.max(guard.reported) };
        for ready in 0..=most {
            let after = next(&guard, ratio_proposal(&Guard { ready, ..guard }, target, served.value));
            prop_assert!(after <= cap(&guard), "{after} with {ready} ready from {served:?}");
        }
    }

    #[test]
    fn a_ratio_is_raw_whenever_it_keeps_to_the_cap(guard in guards(), target in targets(), load in 0_i64..400) {
        let guard = Guard { stance: Stance::Hold, ..guard };
        let raw = Milli(target.0 * load / 100);
        let every = (0..=guard.matching.max(guard.reported).max(1)).all(|ready| {
            ratio_proposal(&Guard { ready, ..guard }, target, raw) <= guard.cap()
        });
        let on_the_edge = [1.0 - guard.tolerances.down, 1.0 + guard.tolerances.up]
            .iter().any(|edge| (raw.0 as f64 / target.0 as f64 - edge).abs() < 1e-9);
        if every && !on_the_edge {
            prop_assert_eq!(ratio(&guard, target, raw, false).effect, Effect::Raw);
        }
    }

    #[test]
    fn a_capped_ratio_does_not_shrink_what_asks_for_growth(guard in guards(), target in targets(), load in 100_i64..400) {
        let guard = Guard { stance: Stance::Hold, ..guard };
        let raw = Milli(target.0 * load / 100);
        let served = ratio(&guard, target, raw, false);
        let before = ratio_proposal(&guard, target, raw).min(guard.current);
        prop_assert!(ratio_proposal(&guard, target, served.value) >= before);
    }

    #[test]
    fn pods_never_pass_the_cap_whichever_of_them_count(
        guard in guards(), target in targets(), loads in prop::collection::vec((0_i64..700, 0_u8..8), 1..40),
        seen in prop::collection::vec(0_u8..8, 40), missing in 0_usize..6, carried in any::<bool>(),
    ) {
        let standing = |code: u8| match code { 0 => Standing::Ignored, 1 => Standing::Pending, 2 => Standing::Unknown, _ => Standing::Counted };
        let samples: Vec<_> = loads.iter()
            .map(|(load, code)| PodSample { value: Milli(target.0 * load / 100), standing: standing(*code) })
            .collect();
        let unready = samples.iter().filter(|sample| sample.standing == Standing::Pending).count();
        let guard = Guard { matching: guard.matching.max(i32::try_from(loads.len() + missing).unwrap()), ..guard };
        let (served, effect) = pods(&guard, target, &samples, missing, unready, carried);
        prop_assert_eq!(served.len(), samples.len());
        let ours: Vec<_> = samples.iter().map(|sample| sample.standing).collect();
        if let Some(proposal) = pods_next(&guard, target, &served, &ours, missing) {
            prop_assert!(next(&guard, proposal) <= cap(&guard), "{proposal} from {served:?}, {effect:?}");
        }
        // The controller may have seen what we have not: pods that ended, that started, or that it does not know.
        let theirs: Vec<_> = ours.iter().zip(&seen)
            .map(|(ours, code)| if *ours == Standing::Ignored { *ours } else { standing(*code) })
            .collect();
        if !guard.sheds() && let Some(proposal) = pods_next(&guard, target, &served, &theirs, missing) {
            prop_assert!(next(&guard, proposal) <= cap(&guard), "{proposal} from {served:?}, {effect:?} seen as {theirs:?}");
        }
    }

    #[test]
    fn capped_pods_do_not_shrink_what_asks_for_growth(
        guard in guards(), target in targets(), loads in prop::collection::vec(0_i64..700, 1..40), missing in 0_usize..6, unready in 0_usize..6,
    ) {
        let guard = Guard { stance: Stance::Hold, ..guard };
        let samples = counted(&loads.iter().map(|load| target.0 * load / 100).collect::<Vec<_>>());
        let before = pods_proposal(&guard, target, &samples, missing, unready).unwrap();
        let (served, effect) = pods(&guard, target, &samples, missing, unready, false);
        let after = pods_next(&guard, target, &served, &[Standing::Counted; 40][..served.len()], missing);
        if effect == Effect::Raw {
            prop_assert!(after.is_some());
        } else {
            let next: Vec<_> = counted(&served.iter().map(|value| value.0).collect::<Vec<_>>());
            let after = pods_proposal(&guard, target, &next, missing, unready).unwrap();
            prop_assert!(after >= before.min(guard.current));
        }
    }

    #[test]
    fn shedding_keeps_every_bound_pod(guard in guards(), target in targets(), load in 100_i64..400) {
        let guard = Guard { stance: Stance::Shed, reported: guard.current, bound: guard.bound.min(guard.grant), ..guard };
        let raw = growth(target, load, guard.current);
        let served = average(&guard, target, raw, false);
        if guard.sheds() {
            let proposal = average_proposal(&guard, target, served.value);
            prop_assert!(proposal >= guard.bound && proposal <= guard.current);
        }
    }

    #[test]
    fn whatever_is_asked_what_is_served_can_be_served(
        guard in guards(), target in targets(), raw in any::<i64>(), values in prop::collection::vec(any::<i64>(), 1..6),
    ) {
        let servable = |value: Milli| value == value.servable();
        prop_assert!(servable(average(&guard, target, Milli(raw), true).value));
        prop_assert!(servable(ratio(&guard, target, Milli(raw), true).value));
        prop_assert!(pods(&guard, target, &counted(&values), 0, 0, false).0.into_iter().all(servable));
    }
}
