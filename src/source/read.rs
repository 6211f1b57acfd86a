//! From a body to observations, off the async threads where it is large.

use std::sync::Arc;

use plimsoll_core::{
    exposition::Limits,
    profile::{self, Observed, Profile},
};

use super::fetch::Body;
use crate::config::sources;

/// Reads bodies by profile.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    profiles: Arc<[Profile]>,
    limits: Limits,
}

// === impl Reader ===

impl Reader {
    /// A reader with these profiles.
    pub(super) fn new(profiles: Vec<Profile>, limits: sources::Limits) -> Self {
        let limits = Limits {
            bytes: limits.body_bytes,
            samples: limits.samples,
            labels: limits.labels,
            label_value: limits.label_bytes,
            ..Limits::default()
        };
        Self { profiles: profiles.into(), limits }
    }

    /// Reads a body; a large one on a thread that may take its time.
    pub(super) async fn read(&self, body: Body, subject: profile::Target) -> Result<Observed, String> {
        if !body.is_large() {
            return self.observe(&body.bytes, &subject);
        }
        let reader = self.clone();
        let reading = tokio::task::spawn_blocking(move || reader.observe(&body.bytes, &subject));
        reading.await.unwrap_or_else(|_| Err("the body could not be read: this is a fault of ours".to_owned()))
    }

    fn observe(&self, body: &[u8], subject: &profile::Target) -> Result<Observed, String> {
        let Some(profile) = Profile::detect(&self.profiles, body, subject) else {
            return Err(self.unknown(body, subject));
        };
        let observed = profile.observe(body, subject, &self.limits).map_err(|error| error.to_string())?;
        match observed.report.faults.first() {
            Some(fault) if observed.observations.is_empty() => Err(format!("line {} {}", fault.line, fault.fault)),
            _ => Ok(observed),
        }
    }

    /// Why no profile reads the body: because it is none, or because it has none of the known metrics.
    fn unknown(&self, body: &[u8], subject: &profile::Target) -> String {
        if let Err(error) = plimsoll_core::exposition::read(body, &self.limits, |_| {}) {
            return error.to_string();
        }
        let names = self.profiles.iter().filter(|profile| profile.suits(subject)).map(|profile| profile.name.as_str());
        let names: Vec<_> = names.collect();
        format!("none of the metrics is of a known profile ({})", names.join(", "))
    }
}
