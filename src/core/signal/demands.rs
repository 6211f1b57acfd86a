//! What the queries of triggers have told: demand that no pod can tell of, by namespace and query.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Quality, Sample, check};
use crate::{policy::Policy, quantity::Milli, trigger::Query};

/// Characters of a reason that are kept.
const REASON_MAX: usize = 300;

/// A query, and the namespace that it is bound to.
pub type DemandKey = (String, Query);

/// What is known of one query.
#[derive(Clone, Debug, Default)]
struct Told {
    /// The last good answer.
    last: Option<(Milli, Timestamp)>,
    /// Why there was none the last time.
    error: Option<String>,
}

/// The answers to all queries of triggers; as many as there are triggers.
#[derive(Clone, Debug, Default)]
pub struct Demands {
    told: BTreeMap<DemandKey, Told>,
}

// === impl Demands ===

impl Demands {
    /// Records an answer; one that is no demand is a failure. Says whether it differs from the one before.
    pub fn record(&mut self, key: DemandKey, value: f64, at: Timestamp) -> bool {
        let value = check("", value).ok().and_then(Milli::from_f64);
        let told = self.told.entry(key).or_default();
        let Some(value) = value else {
            told.error = Some("the answer is negative, infinite or no number".to_owned());
            return true;
        };
        let before = told.last.map(|(value, _)| value);
        *told = Told { last: Some((value, at)), error: None };
        before != Some(value)
    }

    /// Notes that there was no answer. The last good one stays and grows old. Says whether nothing was known before.
    pub fn fail(&mut self, key: DemandKey, reason: &str) -> bool {
        let told = self.told.entry(key).or_default();
        let first = told.last.is_none() && told.error.is_none();
        told.error = Some(reason.chars().take(REASON_MAX).collect());
        first
    }

    /// Forgets what nobody asks any more.
    pub fn retain(&mut self, asked: impl Fn(&DemandKey) -> bool) {
        self.told.retain(|key, _| asked(key));
    }

    /// What is known now: a sample of an age that may be served, or why there is none.
    #[must_use]
    pub fn samples(&self, policy: &Policy, now: Timestamp) -> BTreeMap<DemandKey, Result<Sample, String>> {
        let known = self.told.iter().filter_map(|(key, told)| Some((key.clone(), told.sample(policy, now)?)));
        known.collect()
    }
}

impl Told {
    fn sample(&self, policy: &Policy, now: Timestamp) -> Option<Result<Sample, String>> {
        let sample = self.last.map(|(value, at)| {
            let age = now.duration_since(at);
            let quality = if age <= policy.live_bound {
                Quality::Live
            } else if age <= policy.last_known_good_bound {
                Quality::LastKnownGood
            } else {
                Quality::Unknown
            };
            Sample { value, at, quality }
        });
        match (sample, &self.error) {
            (Some(sample), Some(error)) if sample.quality == Quality::Unknown => Some(Err(error.clone())),
            (Some(sample), _) => Some(Ok(sample)),
            (None, Some(error)) => Some(Err(error.clone())),
            (None, None) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> DemandKey {
        ("ml".to_owned(), Query { server: "http://p:9090".to_owned(), text: "sum(queue)".to_owned() })
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn an_answer_grows_old_and_is_then_what_failed() {
        let policy = Policy::default();
        let mut demands = Demands::default();
        assert!(demands.samples(&policy, at(0)).is_empty());
        assert!(demands.record(key(), 7.0, at(0)));
        assert!(!demands.record(key(), 7.0, at(1)), "the same again");
        assert!(!demands.fail(key(), "503"), "the last good answer stays");
        let quality = |now| demands.samples(&policy, at(now))[&key()].as_ref().map(|sample| sample.quality).ok();
        assert_eq!(quality(5), Some(Quality::Live));
        assert_eq!(quality(60), Some(Quality::LastKnownGood));
        assert_eq!(demands.samples(&policy, at(200))[&key()], Err("503".to_owned()));
        demands.retain(|_| false);
        assert!(demands.samples(&policy, at(5)).is_empty());
    }

    #[test]
    fn the_first_word_of_a_query_is_news_even_if_it_is_a_failure() {
        let mut demands = Demands::default();
        assert!(demands.fail(key(), "refused"));
        assert!(!demands.fail(key(), "refused"));
        assert!(demands.record(key(), 7.0, at(0)));
    }

    #[test]
    fn what_is_no_number_is_a_failure_and_not_nothing() {
        let mut demands = Demands::default();
        demands.record(key(), f64::NAN, at(0));
        assert!(demands.samples(&Policy::default(), at(0))[&key()].is_err());
    }
}
