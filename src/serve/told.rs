//! What sources have told, and which of them cannot be asked at all.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use plimsoll_core::signal::{Demands, Store};

use crate::source::{SourceEvent, SourceName};

/// The signal store, with what must be known to keep it tidy.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// What sources have told.
    pub(super) store: Store,
    /// What the queries of triggers have told.
    pub(super) demands: Demands,
    /// Targets that cannot be scraped, as of the last evaluation: those that are gone are forgotten.
    refused: BTreeSet<SourceName>,
    /// Whether a source was ignored since there was last room for one.
    full: bool,
}

// === impl Told ===

impl Told {
    /// Records what a source tells; says whether an evaluation should follow at once, since somebody may wait for a
    /// first replica, or for a first answer.
    pub(super) fn record(&mut self, event: SourceEvent) -> bool {
        let mut urgent = false;
        let kept = match event {
            SourceEvent::Scraped { source, subject, observed, at } => {
                self.store.record(&source, &subject, observed, at)
            }
            SourceEvent::Queried { source, signal, values, at } => {
                self.store.record_pod_values(&source, &signal, values, at)
            }
            SourceEvent::Demanded { key, result, at, .. } => {
                urgent = match result {
                    Ok(value) => self.demands.record(key, value, at),
                    Err(reason) => self.demands.fail(key, &reason),
                };
                true
            }
            SourceEvent::Failed { source, reason, at } => {
                tracing::debug!(%source, %reason, "a source failed");
                self.store.fail(&source, reason, at);
                true
            }
            SourceEvent::Gone { source } => {
                self.store.forget(&source);
                self.full = false;
                true
            }
        };
        if !kept && !self.full {
            tracing::warn!(held = self.store.len(), "there are more sources than can be held; new ones are ignored");
            self.full = true;
        }
        urgent
    }

    /// Notes which targets cannot be scraped, and why.
    pub(super) fn refuse(&mut self, refused: &BTreeMap<SourceName, String>, now: Timestamp) {
        for (name, reason) in refused {
            self.store.fail(name, reason.as_str(), now);
        }
        let refused: BTreeSet<_> = refused.keys().cloned().collect();
        for gone in self.refused.difference(&refused) {
            self.store.forget(gone);
        }
        self.refused = refused;
    }
}

#[cfg(test)]
mod tests {
    use plimsoll_core::signal::Bounds;

    use super::*;

    fn failed(source: &str) -> SourceEvent {
        SourceEvent::Failed { source: source.into(), reason: "503".to_owned(), at: Timestamp::UNIX_EPOCH }
    }

    fn answered(source: &str) -> SourceEvent {
        let signal = "queueLength".to_owned();
        SourceEvent::Queried { source: source.into(), signal, values: Vec::new(), at: Timestamp::UNIX_EPOCH }
    }

    #[test]
    fn that_there_is_no_room_is_said_once_until_there_is_room_again() {
        let mut told = Told { store: Store::new(Bounds { sources: 1, ..Bounds::default() }), ..Told::default() };
        let _urgent = told.record(failed("a"));
        assert!(!told.full);
        let _urgent = told.record(answered("b"));
        let _urgent = told.record(answered("a"));
        assert!(told.full, "a source that is held frees no room");
        let _urgent = told.record(SourceEvent::Gone { source: "a".into() });
        assert!(!told.full);
    }

    #[test]
    fn a_target_that_is_not_refused_any_more_is_forgotten() {
        let mut told = Told::default();
        told.refuse(&[("pod/ml/a".into(), "no port".to_owned())].into(), Timestamp::UNIX_EPOCH);
        assert_eq!(told.store.len(), 1);
        told.refuse(&BTreeMap::new(), Timestamp::UNIX_EPOCH);
        assert!(told.store.is_empty());
    }
}
