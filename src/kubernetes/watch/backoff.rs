//! How long to wait after a failure, and how often to talk about it.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    time::Duration,
};

use tokio::time::Instant;

use crate::kubernetes::request::Failure;

/// First wait.
const FIRST: Duration = Duration::from_millis(800);
/// Longest wait while the server says no: client-go's reflector waits so long too (v0.36.3 `tools/cache/reflector.go`).
const MAX_REFUSED: Duration = Duration::from_secs(30);
/// Longest wait while the server cannot be reached or is not well: it is to be heard again within 10 s of coming back.
const MAX_DOWN: Duration = Duration::from_secs(8);
/// How often a failure that goes on is logged.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// Exponential waits with jitter.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
    /// Whether the last failure was that of a server that is down.
    down: bool,
}

/// Lets the first failure through to the log, and a repeated one once a minute.
#[derive(Debug, Default)]
pub(crate) struct Quiet {
    logged: Option<(String, Instant)>,
}

// === impl Backoff ===

impl Backoff {
    /// The wait before the next attempt.
    pub(crate) fn next(&mut self, failure: &Failure) -> Duration {
        let random = RandomState::new().build_hasher().finish();
        self.next_with(failure, f64::from(u32::try_from(random >> 32).unwrap_or(0)) / f64::from(u32::MAX))
    }

    /// Only failures in a row lengthen the wait.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Half of the wait is certain, half is left to chance (`random` in [0, 1]), so that replicas do not come together.
    fn next_with(&mut self, failure: &Failure, random: f64) -> Duration {
        let (down, asked) = match failure {
            Failure::Refused { code, retry_after, .. } => (*code >= 500, retry_after.unwrap_or_default()),
            Failure::Unreadable(_) | Failure::Request(_) => (false, Duration::ZERO),
            Failure::Unreachable(_) | Failure::Silent(_) => (true, Duration::ZERO),
        };
        // A server that is back and says something definite (410: list again) has nothing to do with its outage.
        if self.down && !down {
            self.failures = 0;
        }
        self.down = down;
        let max = if down { MAX_DOWN } else { MAX_REFUSED };
        let wait = FIRST.saturating_mul(1 << self.failures.min(6)).min(max);
        self.failures = self.failures.saturating_add(1);
        wait.mul_f64(0.5 + random / 2.0).max(asked)
    }
}

// === impl Quiet ===

impl Quiet {
    /// Whether to log this failure now.
    pub(crate) fn speak(&mut self, failure: &Failure) -> bool {
        let (kind, now) = (class(failure), Instant::now());
        let speak = self.logged.as_ref().is_none_or(|(last, at)| *last != kind || now - *at >= LOG_EVERY);
        if speak {
            self.logged = Some((kind, now));
        }
        speak
    }

    /// Whether to log this failure now, if it is to be logged only once.
    pub(crate) fn speak_once(&mut self, failure: &Failure) -> bool {
        let kind = class(failure);
        let known = self.logged.as_ref().is_some_and(|(last, _)| *last == kind);
        !known && self.speak(failure)
    }

    /// Whether there was a failure before this success.
    pub(crate) fn recovered(&mut self) -> bool {
        self.logged.take().is_some()
    }
}

/// What makes two failures the same to a reader of the log.
fn class(failure: &Failure) -> String {
    match failure {
        Failure::Refused { code, .. } => code.to_string(),
        Failure::Request(_) => "request".to_owned(),
        Failure::Unreachable(_) => "unreachable".to_owned(),
        Failure::Silent(_) => "silent".to_owned(),
        Failure::Unreadable(_) => "unreadable".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u16, retry_after: Option<u64>) -> Failure {
        let retry_after = retry_after.map(Duration::from_secs);
        Failure::Refused { code, reason: String::new(), message: String::new(), retry_after }
    }

    #[test]
    fn waits_double_up_to_a_bound_that_depends_on_the_failure() {
        let down = Failure::Unreachable(String::new());
        for (failure, last) in [(refused(403, None), 30.0), (refused(503, None), 8.0), (down, 8.0)] {
            let mut backoff = Backoff::default();
            let waits: Vec<f64> = (0..8).map(|_| backoff.next_with(&failure, 1.0).as_secs_f64()).collect();
            assert_eq!(waits[..3], [0.8, 1.6, 3.2]);
            assert!((waits[7] - last).abs() < 1e-9);
            backoff.reset();
            assert!((backoff.next_with(&failure, 0.0).as_secs_f64() - 0.4).abs() < 1e-9);
        }
    }

    #[test]
    fn the_first_definite_answer_after_an_outage_is_followed_at_once() {
        let mut backoff = Backoff::default();
        for _ in 0..5 {
            backoff.next(&Failure::Unreachable(String::new()));
        }
        assert!((backoff.next_with(&refused(410, None), 1.0).as_secs_f64() - 0.8).abs() < 1e-9);
        assert!((backoff.next_with(&refused(410, None), 1.0).as_secs_f64() - 1.6).abs() < 1e-9);
    }

    #[test]
    fn a_server_that_names_a_time_is_not_asked_earlier() {
        assert_eq!(Backoff::default().next(&refused(429, Some(7))), Duration::from_secs(7));
    }

    #[test]
    fn a_failure_that_goes_on_is_logged_once_and_a_different_one_again() {
        let mut quiet = Quiet::default();
        assert!(quiet.speak(&refused(403, None)));
        assert!(!quiet.speak(&refused(403, None)));
        assert!(quiet.speak(&refused(503, None)));
        assert!(quiet.recovered() && !quiet.recovered());
    }
}
