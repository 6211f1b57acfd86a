//! What a run has seen, and whether that is enough to prove anything.

use std::{collections::BTreeMap, time::Duration};

use plimsoll_e2e::cluster_cases::Case;

use crate::Outcome;

/// Largest share of answers that may be `unknown`, in percent.
const MOST_UNKNOWN: usize = 15;
/// A constraint that fewer than so many of a hundred cases have is not tested.
const LEAST_COVERED: usize = 1;

#[derive(Debug, Default)]
pub(crate) struct Tally {
    classes: BTreeMap<String, usize>,
    features: BTreeMap<&'static str, usize>,
    /// Why answers are `unknown`.
    unmodelled: BTreeMap<String, usize>,
    bound: u64,
    /// Of those, replicas of cases with devices.
    with_devices: u64,
    /// Of all, replicas of cases with volumes that wait for a pod.
    with_waiting_volumes: u64,
    /// Answers in cases with such volumes, by class.
    of_waiting_volumes: BTreeMap<String, usize>,
    refused: usize,
    /// Cases that were tried once more.
    retried: usize,
}

// === impl Tally ===

impl Tally {
    pub(crate) fn add(&mut self, case: &Case, outcome: &Outcome) {
        *self.classes.entry(outcome.class.clone()).or_default() += 1;
        for code in &outcome.unmodelled {
            *self.unmodelled.entry(code.clone()).or_default() += 1;
        }
        self.bound += outcome.bound;
        self.with_devices += if case.has_devices() { outcome.bound } else { 0 };
        if case.has_waiting_volumes() {
            self.with_waiting_volumes += outcome.bound;
            *self.of_waiting_volumes.entry(outcome.class.clone()).or_default() += 1;
        }
        for (feature, has) in case.features() {
            *self.features.entry(feature).or_default() += usize::from(has);
        }
    }

    /// Counts a case that the API server refuses.
    pub(crate) fn refuse(&mut self) {
        self.refused += 1;
    }

    /// Counts a case of which the scheduler looked at some pods only.
    pub(crate) fn retry(&mut self) {
        self.retried += 1;
    }

    pub(crate) fn print(&self, took: Duration) {
        let Self { classes, features, unmodelled, bound, with_devices, refused, retried, .. } = self;
        println!(
            "{classes:?}, {bound} replicas bound, {with_devices} of them where there are devices, {refused} cases \
             refused by the API server, {retried} tried once more, in {took:.0?}"
        );
        let Self { of_waiting_volumes, with_waiting_volumes, .. } = self;
        println!("with volumes that wait for a pod: {of_waiting_volumes:?}, {with_waiting_volumes} replicas bound");
        println!("covered: {features:?}");
        println!("unmodelled: {unmodelled:?}");
    }

    pub(crate) fn check(&self, count: usize) {
        let answered: usize = self.classes.values().sum();
        let unknown = self.classes.get("unknown").copied().unwrap_or(0);
        assert!(answered * 10 >= count * 8, "the API server refused too many cases: {}", self.refused);
        assert!(unknown * 100 <= answered * MOST_UNKNOWN, "{unknown} of {answered} answers are unknown");
        for (feature, cases) in &self.features {
            assert!(cases * 100 >= answered * LEAST_COVERED, "{feature:?}: only {cases} of {answered} cases");
        }
    }
}
