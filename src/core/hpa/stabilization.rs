//! Stabilisation: a proposal is weighed against the recommendations of the recent past.

use jiff::Timestamp;

use super::{
    GoDuration,
    state::{Recommendation, after_cutoff, before_cutoff, seconds},
};

/// Without a behaviour: the largest recommendation of the window, the proposal included (`stabilizeRecommendation`).
///
/// Remembers the proposal.
pub(super) fn highest(
    recommendations: &mut Vec<Recommendation>,
    proposal: i32,
    window: GoDuration,
    now: Timestamp,
) -> i32 {
    let is_old = |recommendation: &Recommendation| before_cutoff(recommendation.time, now, window.nanos);
    let recent = recommendations.iter().filter(|recommendation| !is_old(recommendation));
    let highest = recent.map(|recommendation| recommendation.replicas).fold(proposal, i32::max);
    remember(recommendations, proposal, now, is_old);
    highest
}

/// The windows of a behaviour, in seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Windows {
    /// For growing.
    pub(super) up: i32,
    /// For shrinking.
    pub(super) down: i32,
}

/// With a behaviour: the current count, moved up to the lowest and down to the highest recommendation of the windows
/// (`stabilizeRecommendationWithBehaviors`).
///
/// Remembers the proposal.
pub(super) fn within_windows(
    recommendations: &mut Vec<Recommendation>,
    proposal: i32,
    current: i32,
    windows: Windows,
    now: Timestamp,
) -> i32 {
    let (up, down) = (seconds(windows.up), seconds(windows.down));
    let recent = |window| {
        let fits = move |r: &&Recommendation| after_cutoff(r.time, now, window);
        recommendations.iter().filter(fits).map(|r| r.replicas)
    };
    let lowest = recent(up).fold(proposal, i32::min);
    let highest = recent(down).fold(proposal, i32::max);
    let stabilized = current.max(lowest).min(highest);
    let is_old = |r: &Recommendation| before_cutoff(r.time, now, up) && before_cutoff(r.time, now, down);
    remember(recommendations, proposal, now, is_old);
    stabilized
}

/// Puts a recommendation in the place of the last one that is too old, or at the end.
fn remember(
    recommendations: &mut Vec<Recommendation>,
    replicas: i32,
    now: Timestamp,
    is_old: impl Fn(&Recommendation) -> bool,
) {
    let new = Recommendation { replicas, time: now };
    match recommendations.iter().rposition(is_old) {
        Some(place) => recommendations[place] = new,
        None => recommendations.push(new),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-01-01T01:00:00Z".parse().unwrap()
    }

    fn past(entries: &[(i32, i64)]) -> Vec<Recommendation> {
        let at = |ago: i64| now().checked_sub(jiff::SignedDuration::from_secs(ago)).unwrap();
        entries.iter().map(|&(replicas, ago)| Recommendation { replicas, time: at(ago) }).collect()
    }

    #[test]
    fn without_behaviour_the_highest_recommendation_of_the_window_holds() {
        let mut recommendations = past(&[(9, 301), (7, 300), (3, 10)]);
        assert_eq!(highest(&mut recommendations, 2, GoDuration::from_secs(300), now()), 7);
    }

    #[test]
    fn the_slot_of_the_last_old_recommendation_is_used_again() {
        let mut recommendations = past(&[(9, 400), (7, 10), (8, 500), (6, 5)]);
        highest(&mut recommendations, 2, GoDuration::from_secs(300), now());
        let replicas: Vec<_> = recommendations.iter().map(|r| r.replicas).collect();
        assert_eq!(replicas, [9, 7, 2, 6]);
    }

    #[test]
    fn with_behaviour_growth_follows_the_lowest_and_shrinking_the_highest() {
        let windows = Windows { up: 60, down: 300 };
        assert_eq!(within_windows(&mut past(&[(6, 30), (4, 61)]), 10, 5, windows, now()), 6);
        assert_eq!(within_windows(&mut past(&[(4, 200), (8, 300)]), 2, 5, windows, now()), 4);
        assert_eq!(within_windows(&mut past(&[(9, 20)]), 2, 5, windows, now()), 5);
    }

    #[test]
    fn a_window_of_zero_sees_nothing_of_the_past() {
        let windows = Windows { up: 0, down: 0 };
        assert_eq!(within_windows(&mut past(&[(1, 1), (99, 0)]), 10, 5, windows, now()), 10);
    }
}
