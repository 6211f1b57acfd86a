//! Profiles: how one kind of server or exporter names its metrics, in which unit, and how its series are aggregated.
//!
//! A profile is data (`profile/*.json`); this file says what it can express, [`observe`](Profile::observe) reads a
//! body with it. Whose data it is comes from the target that was scraped, never from the payload. The one exception
//! are exporters, which report for the pods of their node: only a target that is an [`Target::Exporter`] may use a
//! profile that takes names from labels, and what it names is a *claim* that `signal::Store` checks against the
//! live pods.

mod collect;
mod identity;
mod query;
mod reduce;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    exposition::{self, BodyError, Limits},
    histogram::Histogram,
    object::ObjectKey,
    signal::Refused,
};

/// How one kind of server or exporter names its metrics.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Profile {
    /// Name.
    pub name: String,
    /// A metric whose name begins so means that this profile reads the body.
    pub detect: Vec<String>,
    /// Where the identity of the data comes from.
    pub identity: Identity,
    /// Labels that identify one device, each with its alternative names. Without any, the pod is the device.
    #[serde(default)]
    pub key: Vec<Vec<String>>,
    /// Ranges of values, both ends included, that stand for "not measured".
    #[serde(default)]
    pub blank: Vec<(f64, f64)>,
    /// The signals that it yields.
    pub signals: Vec<Rule>,
}

/// Where the identity of the data comes from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Identity {
    /// It is about the pod that was scraped.
    Target,
    /// It is about the pods that the labels name.
    Labels(Claims),
}

/// Labels that name a pod.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Claims {
    /// As the exporter writes them, in order of preference.
    pub own: Vec<Claim>,
    /// As a Prometheus in between renames them, keeping the plain names for the exporter itself.
    #[serde(default)]
    pub relabelled: Vec<Claim>,
}

/// The labels of one way to name a pod.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Claim {
    /// Label with the namespace.
    pub namespace: String,
    /// Label with the name.
    pub pod: String,
    /// Label with the uid, where there may be one.
    #[serde(default)]
    pub uid: Option<String>,
}

/// How one signal is made.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// Name of the signal.
    pub signal: String,
    /// What kind of metric it is made of.
    pub kind: Kind,
    /// Alternatives: per device, the first one with a usable value is taken.
    pub from: Vec<Origin>,
}

/// What kind of metric a signal is made of.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Kind {
    /// A gauge, one value per pod.
    Gauge {
        /// How the series of one pod become one value.
        aggregate: Aggregate,
    },
    /// A classic histogram, of which a quantile over all pods of a workload is published.
    Histogram {
        /// The quantile, in (0, 1).
        quantile: f64,
    },
}

/// How the series of one pod become one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Aggregate {
    /// The sum.
    Sum,
    /// The arithmetic mean.
    Mean,
    /// The largest.
    Max,
}

/// One metric that a signal can be made of.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Origin {
    /// Name of the metric; for a histogram without `_bucket`.
    pub metric: String,
    /// Labels that a series must carry, with these values.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Labels that a series must carry, whatever the value.
    #[serde(default)]
    pub require: Vec<String>,
    /// Labels that a series must not carry.
    #[serde(default)]
    pub without: Vec<String>,
    /// Factor to the canonical unit, e.g. 100 for a ratio that becomes percent.
    #[serde(default = "one")]
    pub scale: f64,
}

/// What was scraped: it decides whose data a body may carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A workload's own pod: whatever it says is about itself.
    Pod(ObjectKey),
    /// An exporter that the administrator chose: it may name the pods of its node.
    Exporter {
        /// The exporter's own pod, where it is one.
        pod: Option<ObjectKey>,
        /// The node that it reports for, where that is known.
        node: Option<String>,
    },
}

/// One signal of one pod, as a body tells it. Not yet checked against the live pods.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// Name of the signal.
    pub signal: String,
    /// The pod.
    pub pod: ObjectKey,
    /// Its uid, if the payload names one.
    pub uid: Option<String>,
    /// What was read.
    pub reading: Reading,
    /// Time of the oldest sample in it, where the payload has times.
    pub at: Option<Timestamp>,
    /// Whether several pods share the device, so that the share of each is an estimate.
    pub approximate: bool,
}

/// What was read.
#[derive(Clone, Debug, PartialEq)]
pub enum Reading {
    /// A value in the canonical unit.
    Gauge(f64),
    /// The cumulative counts of each series, by the identity of the series within the pod.
    Histogram {
        /// The quantile to be published.
        quantile: f64,
        /// The series.
        series: BTreeMap<String, Histogram>,
    },
}

/// What a body tells.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// Signals of pods, sorted by signal and pod.
    pub observations: Vec<Observation>,
    /// Values that were refused, by reason.
    pub refused: BTreeMap<Refused, u64>,
    /// How the body was read.
    pub report: exposition::Report,
}

/// Why a body tells nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObserveError {
    /// The body is no usable exposition.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The target may not name pods.
    #[error(
        "profile {profile:?} takes pod names from labels, which only an exporter may do; name the target as an exporter in the configuration if it is one"
    )]
    Untrusted {
        /// The profile.
        profile: String,
    },
    /// The target is no pod, and the profile has no other identity.
    #[error(
        "profile {profile:?} speaks of the pod that is scraped, but this target is no workload's pod; scrape the pods themselves"
    )]
    NoPod {
        /// The profile.
        profile: String,
    },
}

/// Why a text is not a profile.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// Not the expected structure.
    #[error("this is not a profile: {0}")]
    Json(#[from] serde_json::Error),
    /// A number out of its range.
    #[error("signal {signal:?} of profile {profile:?}: {what}")]
    Range {
        /// The profile.
        profile: String,
        /// The signal.
        signal: String,
        /// What must hold.
        what: &'static str,
    },
}

const fn one() -> f64 {
    1.0
}

// === impl Profile ===

impl Profile {
    /// The built-in profiles, in the order of detection.
    pub fn builtin() -> Result<Vec<Self>, ProfileError> {
        [
            include_str!("profile/dcgm.json"),
            // Triton serves some models by vLLM, which then tells more than Triton does.
            include_str!("profile/vllm.json"),
            include_str!("profile/sglang.json"),
            include_str!("profile/tgi.json"),
            include_str!("profile/tei.json"),
            include_str!("profile/triton.json"),
            include_str!("profile/generic.json"),
        ]
        .into_iter()
        .map(Self::from_json)
        .collect()
    }

    /// A profile from JSON, checked.
    pub fn from_json(text: &str) -> Result<Self, ProfileError> {
        let profile: Self = serde_json::from_str(text)?;
        for rule in &profile.signals {
            rule.check().map_err(|what| ProfileError::Range {
                profile: profile.name.clone(),
                signal: rule.signal.clone(),
                what,
            })?;
        }
        Ok(profile)
    }

    /// Whether the profile may read a body of that target.
    #[must_use]
    pub fn suits(&self, target: &Target) -> bool {
        match (&self.identity, target) {
            (Identity::Target, Target::Pod(_)) | (Identity::Labels(_), Target::Exporter { .. }) => true,
            (Identity::Target, Target::Exporter { .. }) | (Identity::Labels(_), Target::Pod(_)) => false,
        }
    }

    /// The first profile that suits the target and has one of its metrics in the body.
    #[must_use]
    pub fn detect<'p>(profiles: &'p [Self], body: &[u8], target: &Target) -> Option<&'p Self> {
        profiles.iter().filter(|profile| profile.suits(target)).find(|profile| profile.speaks(body))
    }

    /// Whether a line of the body begins with one of the profile's metrics.
    fn speaks(&self, body: &[u8]) -> bool {
        body.split(|byte| *byte == b'\n')
            .any(|line| self.detect.iter().any(|prefix| line.starts_with(prefix.as_bytes())))
    }

    /// Reads a body.
    pub fn observe(&self, body: &[u8], target: &Target, limits: &Limits) -> Result<Observed, ObserveError> {
        if !self.suits(target) {
            let profile = self.name.clone();
            return Err(match self.identity {
                Identity::Target => ObserveError::NoPod { profile },
                Identity::Labels(_) => ObserveError::Untrusted { profile },
            });
        }
        let mut collected = collect::Collected::new(self, target);
        let report = exposition::read(body, limits, |sample| collected.take(&sample))?;
        let mut refused = collected.refused;
        let observations = reduce::reduce(self, collected.rows, &mut refused);
        Ok(Observed { observations, refused, report })
    }
}

// === impl Rule ===

impl Rule {
    fn check(&self) -> Result<(), &'static str> {
        if self.from.is_empty() {
            return Err("name at least one metric under `from`");
        }
        if self.from.iter().any(|origin| !(origin.scale > 0.0 && origin.scale.is_finite())) {
            return Err("`scale` must be a positive number");
        }
        match self.kind {
            Kind::Histogram { quantile } if !(quantile > 0.0 && quantile < 1.0) => {
                Err("`quantile` must lie between 0 and 1")
            }
            Kind::Histogram { .. } | Kind::Gauge { .. } => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
