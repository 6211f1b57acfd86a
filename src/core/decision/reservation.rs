//! Reservations: what is promised to a workload until it is bound.
//!
//! A grant is read by an HPA some time after the tick that made it, and the pods that follow are bound later still.
//! Until then the same room must not be promised again. A reservation begins when the tick decides it, covers what
//! the workload's HPA may ask for in its next sync, and ends when that is bound or after two sync periods.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// A replica count that is promised until a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reservation {
    /// Replicas in all.
    pub replicas: i32,
    /// When the promise ends.
    pub until: Timestamp,
}

/// The largest promise that still holds.
pub(super) fn level(reservations: &[Reservation], now: Timestamp) -> i32 {
    reservations.iter().filter(|held| held.until > now).map(|held| held.replicas).max().unwrap_or(0)
}

/// The promises after a tick that promised `replicas`: falling in count, rising in time.
pub(super) fn renewed(
    previous: &[Reservation],
    replicas: i32,
    bound: i32,
    sync_period: SignedDuration,
    now: Timestamp,
) -> Vec<Reservation> {
    let until = sync_period.checked_mul(2).and_then(|ttl| now.checked_add(ttl).ok()).unwrap_or(now);
    let outlived = |held: &&Reservation| held.until > now && held.replicas > replicas.max(bound);
    let mut kept: Vec<_> = previous.iter().filter(outlived).copied().collect();
    if replicas > bound {
        kept.push(Reservation { replicas, until });
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_promise_lasts_two_sync_periods_even_if_the_next_one_is_smaller() {
        let period = SignedDuration::from_secs(15);
        let first = renewed(&[], 8, 5, period, at(0));
        let second = renewed(&first, 6, 5, period, at(10));
        assert_eq!((level(&second, at(29)), level(&second, at(31)), level(&second, at(41))), (8, 6, 0));
    }

    #[test]
    fn what_is_bound_is_no_promise_any_more() {
        let first = renewed(&[], 8, 5, SignedDuration::from_secs(15), at(0));
        assert!(renewed(&first, 8, 8, SignedDuration::from_secs(15), at(5)).is_empty());
    }
}
