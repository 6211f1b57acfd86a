//! Purposeful Pending pods: what makes a node autoscaler act, and when it is taken back.
//!
//! Replicas beyond what fits now are granted as far as the node autoscaler may add nodes for them. While it says that
//! it cannot, nothing is granted. Where no replica is bound for as long as a node may take to come, the attempt has
//! failed: it is taken back, and not made again for a while that doubles with each failure.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::policy::Policy;

/// Doublings of the pause after failures.
const MAX_DOUBLINGS: u32 = 4;

/// An attempt to have nodes added for a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// When it began, or when a replica was last bound.
    pub since: Timestamp,
    /// Replicas that were bound then.
    pub bound: i32,
    /// Attempts that failed in a row.
    pub failures: u32,
    /// Until when none is made after a failure; none while one is under way.
    pub paused_until: Option<Timestamp>,
}

// === impl Attempt ===

impl Attempt {
    /// The attempt as it stands: progress renews it, silence ends it, and a pause ends after its time.
    pub(super) fn continued(previous: Option<&Self>, bound: i32, policy: &Policy, now: Timestamp) -> Option<Self> {
        let attempt = *previous?;
        if bound > attempt.bound {
            return Some(Self { since: now, bound, failures: 0, paused_until: None });
        }
        match attempt.paused_until {
            Some(until) if now < until => Some(attempt),
            Some(_) => Some(Self { since: now, bound, paused_until: None, ..attempt }),
            None if now.duration_since(attempt.since) < policy.provision_timeout => Some(attempt),
            None => {
                let pause = pause(policy, attempt.failures);
                let until = now.checked_add(pause).unwrap_or(Timestamp::MAX);
                Some(Self { failures: attempt.failures.saturating_add(1), paused_until: Some(until), ..attempt })
            }
        }
    }

    /// The attempt after a division that granted replicas beyond what fits, or none.
    pub(super) fn after(before: Option<Self>, purposeful: i32, bound: i32, now: Timestamp) -> Option<Self> {
        let is_remembered = |attempt: &Self| attempt.paused_until.is_some() || attempt.failures > 0;
        if purposeful > 0 {
            let new = Self { since: now, bound, failures: 0, paused_until: None };
            return Some(before.unwrap_or(new));
        }
        // Nothing is asked for: only failures are worth remembering.
        before.filter(is_remembered).map(|attempt| Self { since: now, bound, ..attempt })
    }

    /// Whether nothing is granted for now.
    pub(super) fn is_paused(&self) -> bool {
        self.paused_until.is_some()
    }
}

fn pause(policy: &Policy, failures: u32) -> SignedDuration {
    policy.provision_pause.checked_mul(1 << failures.min(MAX_DOUBLINGS)).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn policy() -> Policy {
        Policy {
            provision_timeout: SignedDuration::from_secs(900),
            provision_pause: SignedDuration::from_secs(600),
            ..Policy::default()
        }
    }

    fn step(previous: Option<Attempt>, purposeful: i32, bound: i32, second: i64) -> Option<Attempt> {
        let before = Attempt::continued(previous.as_ref(), bound, &policy(), at(second));
        let granted = if before.is_some_and(|attempt| attempt.is_paused()) { 0 } else { purposeful };
        Attempt::after(before, granted, bound, at(second))
    }

    #[test]
    fn an_attempt_without_progress_ends_and_the_next_waits_twice_as_long() {
        let first = step(None, 3, 8, 0);
        assert!(!step(first, 3, 8, 899).unwrap().is_paused());
        let paused = step(first, 3, 8, 900);
        assert_eq!(paused.unwrap().paused_until, Some(at(1500)));
        assert!(step(paused, 3, 8, 1499).unwrap().is_paused());
        let again = step(paused, 3, 8, 1500);
        assert!(!again.unwrap().is_paused());
        assert_eq!(step(again, 3, 8, 2400).unwrap().paused_until, Some(at(2400 + 1200)));
    }

    #[test]
    fn every_bound_replica_gives_the_attempt_new_time() {
        let first = step(None, 3, 8, 0);
        let renewed = step(first, 2, 9, 800);
        assert!(!step(renewed, 2, 9, 1600).unwrap().is_paused());
        assert!(step(renewed, 2, 9, 1700).unwrap().is_paused());
    }

    #[test]
    fn what_is_not_asked_for_any_more_is_forgotten_unless_it_failed() {
        assert_eq!(step(step(None, 3, 8, 0), 0, 8, 10), None);
        let paused = step(step(None, 3, 8, 0), 3, 8, 900);
        assert!(step(paused, 0, 8, 1000).is_some());
        assert_eq!(step(paused, 0, 8, 1000).unwrap().failures, 1);
    }
}
