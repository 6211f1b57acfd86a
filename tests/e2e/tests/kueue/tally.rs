//! What a run has seen, what of it is wrong, and whether it is enough to prove anything.

use std::{collections::BTreeMap, fmt};

use anyhow::{Result, ensure};
use plimsoll_e2e::queue_cases::{ASKED, Case};

use crate::oracle::Outcome;

/// Largest share of answers that may be `unknown`, in percent.
const MOST_UNKNOWN: usize = 50;
/// A feature that fewer than so many of a hundred cases have is not tested.
const LEAST_COVERED: usize = 3;

#[derive(Debug, Default)]
pub(crate) struct Tally {
    classes: BTreeMap<String, usize>,
    features: BTreeMap<&'static str, usize>,
    /// Why answers were unknown.
    unknown: BTreeMap<String, usize>,
    admitted: u32,
    /// Cases in which the queue let fewer through than were asked for.
    limited: usize,
    wrong: Vec<String>,
}

// === impl Tally ===

impl Tally {
    pub(crate) fn add(&mut self, case: &Case, outcome: &Outcome) {
        let class = outcome.class().to_owned();
        if class == "unknown" {
            let why = outcome.answer["unmodelled"][0]["message"].as_str().unwrap_or_default();
            *self.unknown.entry(why.replace(&case.name, "*")).or_default() += 1;
        }
        *self.classes.entry(class).or_default() += 1;
        self.admitted += outcome.after.admitted;
        self.limited += usize::from(outcome.after.admitted < ASKED);
        for (feature, has) in case.features() {
            *self.features.entry(feature).or_default() += usize::from(has);
        }
        self.wrong.extend(outcome.wrong().map(|why| format!("{}: {why}: {outcome:?}", case.name)));
    }

    pub(crate) fn check(&self) -> Result<()> {
        ensure!(self.wrong.is_empty(), "{} cases differ:\n{}", self.wrong.len(), self.wrong.join("\n"));
        let answered: usize = self.classes.values().sum();
        let unknown = self.classes.get("unknown").copied().unwrap_or(0);
        ensure!(unknown * 100 <= answered * MOST_UNKNOWN, "{unknown} of {answered} answers are unknown");
        for (feature, cases) in &self.features {
            ensure!(cases * 100 >= answered * LEAST_COVERED, "{feature:?}: only {cases} of {answered} cases");
        }
        Ok(())
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { classes, features, unknown, admitted, limited, .. } = self;
        write!(formatter, "{classes:?}, {admitted} replicas admitted, {limited} cases limited by quota; ")?;
        write!(formatter, "covered: {features:?}; unknown: {unknown:?}")
    }
}

// === impl Outcome ===

impl Outcome {
    fn class(&self) -> &str {
        self.answer["fits"]["class"].as_str().unwrap_or_default()
    }

    /// In what way the answer is wrong, if it is.
    fn wrong(&self) -> Option<String> {
        let Self { answer, before, after } = self;
        let number = |value: &serde_json::Value| value.as_u64().and_then(|number| u32::try_from(number).ok());
        let hi = number(&answer["fits"]["hi"]);
        let Some(lo) = number(&answer["fits"]["lo"]) else { return Some("there is no answer".to_owned()) };
        let through = number(&answer["quota"]["pods"]).unwrap_or(u32::MAX);
        let bound = |fits: u32| before.bound.saturating_add(fits.min(through)).min(ASKED);
        let admitted = before.admitted.saturating_add(through).min(ASKED);
        match self.class() {
            "exact" if after.admitted != admitted => Some(format!("{admitted} should be let through")),
            "exact" if after.bound != bound(lo) => Some(format!("{} should be bound", bound(lo))),
            "exact" if through < lo && answer["limitingFactor"] != "quota" => Some("quota limits it".to_owned()),
            "interval" if after.bound < bound(lo) || hi.is_some_and(|hi| after.bound > bound(hi)) => {
                Some("the interval does not hold".to_owned())
            }
            "unknown" if lo != 0 => Some("a promise of what is not known".to_owned()),
            _ => None,
        }
    }
}
