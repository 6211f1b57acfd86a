//! How fast the count may change: behaviour policies, and the fixed limit of HPAs without a behaviour.

use std::cmp::Ordering;

use jiff::Timestamp;

use super::{
    number::{ceil_to_i32, to_i32},
    state::{ScaleEvent, State, after_cutoff, before_cutoff, seconds},
};
use crate::object::hpa::{ScalingPolicy, ScalingRules};

/// A count after its limits, with the reason for the condition `ScalingLimited`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limited {
    /// Replicas.
    pub(super) replicas: i32,
    /// `DesiredWithinRange`, `TooFewReplicas`, `TooManyReplicas`, `ScaleUpLimit` or `ScaleDownLimit`.
    pub(super) reason: &'static str,
}

/// The bounds of an HPA.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Fewest replicas.
    pub(super) min: i32,
    /// Most replicas.
    pub(super) max: i32,
}

/// Without a behaviour: at most double, or 4 (`convertDesiredReplicasWithRules`).
pub(super) fn by_fixed_limit(current: i32, desired: i32, bounds: Bounds) -> Limited {
    let fastest = to_i32((2.0 * f64::from(current)).max(4.0));
    let (most, reason) = if bounds.max > fastest { (fastest, "ScaleUpLimit") } else { (bounds.max, "TooManyReplicas") };
    if desired < bounds.min {
        Limited { replicas: bounds.min, reason: "TooFewReplicas" }
    } else if desired > most {
        Limited { replicas: most, reason }
    } else {
        Limited { replicas: desired, reason: "DesiredWithinRange" }
    }
}

/// With a behaviour: by policies and events (`convertDesiredReplicasWithBehaviorRate`).
pub(super) fn by_policies(
    current: i32,
    desired: i32,
    bounds: Bounds,
    rules: (&ScalingRules, &ScalingRules),
    state: &State,
    now: Timestamp,
) -> Limited {
    let within = Limited { replicas: desired, reason: "DesiredWithinRange" };
    match desired.cmp(&current) {
        Ordering::Equal => within,
        Ordering::Greater => {
            let fastest = up_limit(current, rules.0, state, now).max(current);
            let (most, reason) =
                if bounds.max > fastest { (fastest, "ScaleUpLimit") } else { (bounds.max, "TooManyReplicas") };
            if desired > most { Limited { replicas: most, reason } } else { within }
        }
        Ordering::Less => {
            let fastest = down_limit(current, rules.1, state, now).min(current);
            let (fewest, reason) =
                if bounds.min < fastest { (fastest, "ScaleDownLimit") } else { (bounds.min, "TooFewReplicas") };
            if desired < fewest { Limited { replicas: fewest, reason } } else { within }
        }
    }
}

/// `calculateScaleUpLimitWithScalingRules`. Percentages are rounded up, so that one replica can grow.
fn up_limit(current: i32, rules: &ScalingRules, state: &State, now: Timestamp) -> i32 {
    let percent = |start: i32, value: i32| ceil_to_i32(f64::from(start) * (1.0 + f64::from(value) / 100.0));
    let proposals = proposals(current, rules, state, now, i32::wrapping_add, percent);
    match rules.select_policy.as_deref() {
        Some("Disabled") => current,
        Some("Min") => proposals.fold(i32::MAX, i32::min),
        _ => proposals.fold(i32::MIN, i32::max),
    }
}

/// `calculateScaleDownLimitWithBehaviors`. Percentages are cut.
fn down_limit(current: i32, rules: &ScalingRules, state: &State, now: Timestamp) -> i32 {
    let percent = |start: i32, value: i32| to_i32(f64::from(start) * (1.0 - f64::from(value) / 100.0));
    let proposals = proposals(current, rules, state, now, i32::wrapping_sub, percent);
    match rules.select_policy.as_deref() {
        Some("Disabled") => current,
        Some("Min") => proposals.fold(i32::MIN, i32::max),
        _ => proposals.fold(i32::MAX, i32::min),
    }
}

/// What each policy would allow, from the count at the start of its period.
fn proposals(
    current: i32,
    rules: &ScalingRules,
    state: &State,
    now: Timestamp,
    pods: fn(i32, i32) -> i32,
    percent: fn(i32, i32) -> i32,
) -> impl Iterator<Item = i32> {
    let policies = rules.policies.as_deref().unwrap_or_default();
    let mut proposed = 0;
    policies.iter().map(move |policy| {
        let start = start_of_period(current, policy, state, now);
        match policy.kind.as_str() {
            "Pods" => proposed = pods(start, policy.value),
            "Percent" => proposed = percent(start, policy.value),
            // A kind that the API server refuses repeats the policy before it.
            _ => {}
        }
        proposed
    })
}

fn start_of_period(current: i32, policy: &ScalingPolicy, state: &State, now: Timestamp) -> i32 {
    let added = change(&state.scale_up_events, policy.period_seconds, now);
    let deleted = change(&state.scale_down_events, policy.period_seconds, now);
    current.wrapping_sub(added).wrapping_add(deleted)
}

/// `getReplicasChangePerPeriod`: outdated events count too where they are in the period.
fn change(events: &[ScaleEvent], period: i32, now: Timestamp) -> i32 {
    let recent = events.iter().filter(|event| after_cutoff(event.time, now, seconds(period)));
    recent.fold(0, |sum, event| sum.wrapping_add(event.replica_change))
}

/// Remembers a change of the count, in the place of the last outdated event or at the end (`storeScaleEvent`).
pub(super) fn store_event(events: &mut Vec<ScaleEvent>, rules: &ScalingRules, change: i32, now: Timestamp) {
    let policies = rules.policies.as_deref().unwrap_or_default();
    let longest = policies.iter().map(|policy| policy.period_seconds).fold(0, i32::max);
    for event in events.iter_mut() {
        event.outdated |= before_cutoff(event.time, now, seconds(longest));
    }
    let new = ScaleEvent { replica_change: change, time: now, outdated: false };
    match events.iter().rposition(|event| event.outdated) {
        Some(place) => events[place] = new,
        None => events.push(new),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-01-01T01:00:00Z".parse().unwrap()
    }

    fn event(replica_change: i32, ago: i64, outdated: bool) -> ScaleEvent {
        let time = now().checked_sub(jiff::SignedDuration::from_secs(ago)).unwrap();
        ScaleEvent { replica_change, time, outdated }
    }

    fn rules(select: &str, policies: &[(&str, i32, i32)]) -> ScalingRules {
        let policy = |&(kind, value, period): &(&str, i32, i32)| ScalingPolicy {
            kind: kind.into(),
            value,
            period_seconds: period,
        };
        ScalingRules {
            select_policy: Some(select.into()),
            policies: Some(policies.iter().map(policy).collect()),
            ..ScalingRules::default()
        }
    }

    const TO_100: Bounds = Bounds { min: 1, max: 100 };

    #[test]
    fn without_behaviour_growth_is_double_or_four() {
        let limited = |current, desired| by_fixed_limit(current, desired, TO_100);
        assert_eq!(limited(1, 50), Limited { replicas: 4, reason: "ScaleUpLimit" });
        assert_eq!(limited(10, 50), Limited { replicas: 20, reason: "ScaleUpLimit" });
        assert_eq!(limited(60, 200), Limited { replicas: 100, reason: "TooManyReplicas" });
        assert_eq!(limited(10, 0), Limited { replicas: 1, reason: "TooFewReplicas" });
        assert_eq!(limited(10, 12), Limited { replicas: 12, reason: "DesiredWithinRange" });
    }

    #[test]
    fn of_several_policies_the_fastest_or_the_slowest_is_selected() {
        let policies = [("Pods", 4, 15), ("Percent", 100, 15)];
        let state = State::default();
        assert_eq!(up_limit(10, &rules("Max", &policies), &state, now()), 20);
        assert_eq!(up_limit(10, &rules("Min", &policies), &state, now()), 14);
        assert_eq!(up_limit(10, &rules("Disabled", &policies), &state, now()), 10);
        assert_eq!(down_limit(10, &rules("Max", &policies), &state, now()), 0);
        assert_eq!(down_limit(10, &rules("Min", &policies), &state, now()), 6);
    }

    #[test]
    fn percentages_round_up_for_growth_and_are_cut_for_shrinking() {
        let policies = [("Percent", 50, 15)];
        assert_eq!(up_limit(1, &rules("Max", &policies), &State::default(), now()), 2);
        assert_eq!(down_limit(5, &rules("Max", &policies), &State::default(), now()), 2);
    }

    #[test]
    fn a_policy_counts_from_the_start_of_its_period() {
        let state = State {
            scale_up_events: vec![event(3, 10, false), event(5, 15, false)],
            scale_down_events: vec![event(1, 5, true)],
            ..State::default()
        };
        // 10 - 3 + 1 = 8 at the start; the event of exactly 15 s ago is out.
        assert_eq!(up_limit(10, &rules("Max", &[("Pods", 4, 15)]), &state, now()), 12);
    }

    #[test]
    fn a_used_up_period_never_turns_growth_into_shrinking() {
        let state = State { scale_up_events: vec![event(9, 1, false)], ..State::default() };
        let up = rules("Max", &[("Pods", 4, 15)]);
        assert_eq!(by_policies(10, 20, TO_100, (&up, &up), &state, now()).replicas, 10);
    }

    #[test]
    fn a_side_without_policies_cannot_move() {
        let none = rules("Max", &[]);
        let state = State::default();
        assert_eq!(by_policies(10, 20, TO_100, (&none, &none), &state, now()).replicas, 10);
        assert_eq!(by_policies(10, 5, TO_100, (&none, &none), &state, now()).replicas, 10);
    }

    #[test]
    fn an_event_takes_the_slot_of_the_last_outdated_one() {
        let mut events = vec![event(1, 16, false), event(2, 15, false), event(3, 99, true), event(4, 1, false)];
        store_event(&mut events, &rules("Max", &[("Pods", 4, 15)]), 7, now());
        let seen: Vec<_> = events.iter().map(|e| (e.replica_change, e.outdated)).collect();
        assert_eq!(seen, [(1, true), (2, false), (7, false), (4, false)]);
    }
}
