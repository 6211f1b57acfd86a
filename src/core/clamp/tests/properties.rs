//! The clamp against the controller's arithmetic, in states that our view need not have seen.

use proptest::prelude::*;

use super::*;

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
        let known = guard.reported > cap(&guard) && served.effect != Effect::SurgeTolerated;
        let most = if known { cap(&guard) } else { cap(&guard).max(seen) };
        prop_assert!(after <= most, "{after} from {served:?}");
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
        for ready in 0..=guard.matching.max(guard.reported) {
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
        let theirs: Vec<_> = seen.iter().take(ours.len()).map(|code| standing(*code)).collect();
        if let Some(proposal) = pods_next(&guard, target, &served, &theirs, missing) {
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
    fn shedding_with_a_short_window_ends_nothing_bound_that_is_asked_for(
        guard in guards(), target in targets(), load in 0_i64..400, carries in any::<bool>(),
    ) {
        let guard = Guard { stance: Stance::Shed, down_window_seconds: 0, bound: guard.bound.min(guard.grant), ..guard };
        let raw = growth(target, load, guard.current);
        let served = average(&guard, target, raw, carries);
        // During a surge more may be bound than one sync of an HPA without behavior may ask for.
        let kept = guard.bound.min(guard.holding_cap()).min(average_proposal(&guard, target, raw));
        if guard.sheds() && guard.reported >= guard.bound {
            prop_assert!(average_proposal(&guard, target, served.value) >= kept, "{served:?}");
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
