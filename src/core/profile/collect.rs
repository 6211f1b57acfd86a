//! The first half of reading a body: which samples matter, and what each of them is about.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    Kind, Origin, Profile, Target,
    identity::{self, Subject},
};
use crate::{
    exposition::Sample,
    signal::{self, Refused},
};

/// A sample that matters. The order of the fields is the order in which rows are grouped.
#[derive(Clone, Debug, PartialEq, PartialOrd)]
pub(super) struct Row {
    /// Index of the rule.
    pub(super) rule: usize,
    /// The pod; none for a device that belongs to none.
    pub(super) subject: Option<Subject>,
    /// The device.
    pub(super) device: String,
    /// Index of the alternative.
    pub(super) origin: usize,
    /// The series within the device.
    pub(super) series: String,
    /// Upper bound of the bucket; 0 for gauges.
    pub(super) bound: f64,
    /// Value in the canonical unit, or cumulative count.
    pub(super) value: f64,
    /// Timestamp of the sample.
    pub(super) at: Option<Timestamp>,
}

/// What has been collected of a body.
pub(super) struct Collected<'p> {
    profile: &'p Profile,
    target: &'p Target,
    pub(super) rows: Vec<Row>,
    pub(super) refused: BTreeMap<Refused, u64>,
}

impl<'p> Collected<'p> {
    pub(super) fn new(profile: &'p Profile, target: &'p Target) -> Self {
        Self { profile, target, rows: Vec::new(), refused: BTreeMap::new() }
    }

    /// Takes a sample for every alternative of every rule that it belongs to.
    pub(super) fn take(&mut self, sample: &Sample<'_, '_>) {
        let profile = self.profile;
        for (rule_index, rule) in profile.signals.iter().enumerate() {
            for (origin_index, origin) in rule.from.iter().enumerate() {
                if !origin.matches(rule.kind, sample) {
                    continue;
                }
                match self.row(rule_index, origin_index, sample) {
                    Ok(row) => self.rows.extend(row),
                    Err(refused) => *self.refused.entry(refused).or_default() += 1,
                }
            }
        }
    }

    /// The row of a sample; none if it speaks of no device.
    fn row(&self, rule: usize, origin: usize, sample: &Sample<'_, '_>) -> Result<Option<Row>, Refused> {
        let Some(device) = identity::device(self.profile, sample) else { return Ok(None) };
        let Rule { signal, kind, scale } = self.rule(rule, origin);
        let (bound, value) = match kind {
            Kind::Gauge { .. } => (0.0, gauge(self.profile, signal, scale, sample.value)?),
            Kind::Histogram { .. } => bucket(scale, sample)?,
        };
        let at = sample.timestamp_ms.map(|ms| Timestamp::from_millisecond(ms).map_err(|_| Refused::Future));
        Ok(Some(Row {
            rule,
            subject: identity::subject(self.profile, self.target, sample),
            device,
            origin,
            series: identity::series(self.profile, sample),
            bound,
            value,
            at: at.transpose()?,
        }))
    }

    fn rule(&self, rule: usize, origin: usize) -> Rule<'p> {
        let rule = &self.profile.signals[rule];
        Rule { signal: &rule.signal, kind: rule.kind, scale: rule.from[origin].scale }
    }
}

/// What a row needs to know of its rule.
struct Rule<'p> {
    signal: &'p str,
    kind: Kind,
    scale: f64,
}

fn gauge(profile: &Profile, signal: &str, scale: f64, value: f64) -> Result<f64, Refused> {
    if profile.blank.iter().any(|(first, last)| (*first..=*last).contains(&value)) {
        return Err(Refused::Blank);
    }
    signal::check(signal, value * scale)
}

fn bucket(scale: f64, sample: &Sample<'_, '_>) -> Result<(f64, f64), Refused> {
    let bound: f64 = sample.label("le").and_then(|le| le.parse().ok()).ok_or(Refused::Bucket)?;
    if bound.is_nan() || !sample.value.is_finite() || sample.value < 0.0 {
        return Err(Refused::Bucket);
    }
    Ok((bound * scale, sample.value))
}

impl Origin {
    fn matches(&self, kind: Kind, sample: &Sample<'_, '_>) -> bool {
        let name = match kind {
            Kind::Gauge { .. } => Some(sample.name),
            Kind::Histogram { .. } => sample.name.strip_suffix("_bucket"),
        };
        name == Some(&*self.metric)
            && self.labels.iter().all(|(name, value)| sample.label(name) == Some(value))
            && self.require.iter().all(|name| sample.label(name).is_some())
            && self.without.iter().all(|name| sample.label(name).is_none())
    }
}
