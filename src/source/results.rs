//! Where sources tell their results, and which sources the receiver has heard of.
//!
//! A new configuration is a new run, which does not know what the one before had asked. What was told outlives runs,
//! so that the next one can say which of it is gone.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::mpsc;

use super::{SourceEvent, SourceName};

/// The way to the store of signals; a clone shares what was told.
#[derive(Clone, Debug)]
pub struct Results {
    sender: mpsc::Sender<SourceEvent>,
    told: Arc<Mutex<BTreeSet<SourceName>>>,
}

/// Nobody takes results any more.
#[derive(Debug)]
pub(super) struct Closed;

// === impl Results ===

impl Results {
    /// A way on which nothing has been told yet.
    #[must_use]
    pub fn new(sender: mpsc::Sender<SourceEvent>) -> Self {
        Self { sender, told: Arc::default() }
    }

    /// Tells an event as soon as there is room. Cancel safe: it is told and noted, or neither.
    pub(super) async fn tell(&self, event: SourceEvent) -> Result<(), Closed> {
        let permit = self.sender.reserve().await.map_err(|_| Closed)?;
        match &event {
            SourceEvent::Gone { source } => drop(self.told().remove(source)),
            other => drop(self.told().insert(other.source().clone())),
        }
        permit.send(event);
        Ok(())
    }

    /// The sources that something was told of and that are gone now.
    pub(super) fn stale(&self, gone: impl Fn(&SourceName) -> bool) -> BTreeSet<SourceName> {
        self.told().iter().filter(|source| gone(source)).cloned().collect()
    }

    fn told(&self) -> MutexGuard<'_, BTreeSet<SourceName>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
