//! Sources: where measurements come from, and nothing about what they mean.
//!
//! ```text
//!  cluster view ──targets()──> Vec<Target> ──watch──> scrape::run ──┐
//!  namespaces in need of a query ──watch──> prometheus::run ───────┴──mpsc──> SourceEvent ──> signal::Store
//! ```
//!
//! Bodies and answers are foreign input: bounded in size, time, count and depth here, read by the core. A source
//! that fails does so alone, with a reason that a person can act on; nothing is ever 0 because something failed.
//! Whose data it is comes from the Kubernetes API or from the namespace that was asked for, never from a payload.

use std::sync::Arc;

use jiff::Timestamp;
use plimsoll_core::{
    object::ObjectKey,
    profile::{self, Observed},
    signal::DemandKey,
};
use reqwest::Url;

mod address;
pub mod demand;
mod failure;
mod fetch;
pub mod prometheus;
mod read;
mod results;
mod schedule;
pub mod scrape;
mod targets;

pub use results::Results;
pub use targets::{Discovery, Targets};

/// Name of a source, unique and stable: `pod/inference/chat-0`, `exporter/gpu/dcgm-x`, `url/http://…`,
/// `prometheus/main/queueLength/inference`.
pub type SourceName = Arc<str>;

/// One endpoint that is scraped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Name of the source.
    pub source: SourceName,
    /// What is asked.
    pub url: Url,
    /// Whose data it may carry.
    pub subject: profile::Target,
    /// Whether the pod is ready; one that becomes ready is asked at once, whatever pause it was in.
    pub ready: bool,
}

/// What a source has to tell.
#[derive(Clone, Debug, PartialEq)]
pub enum SourceEvent {
    /// A scrape succeeded.
    Scraped {
        /// The source.
        source: SourceName,
        /// Whose data it may carry.
        subject: profile::Target,
        /// What it told.
        observed: Observed,
        /// When it was received.
        at: Timestamp,
    },
    /// A query succeeded.
    Queried {
        /// The source.
        source: SourceName,
        /// The signal.
        signal: String,
        /// Values of pods, each with its sample time. Not yet checked: NaN, duplicates and odd times are in here.
        values: Vec<(ObjectKey, f64, Timestamp)>,
        /// When it was received.
        at: Timestamp,
    },
    /// The query of a trigger was asked.
    Demanded {
        /// The source.
        source: SourceName,
        /// The query.
        key: DemandKey,
        /// The value, not yet checked, or why there is none.
        result: Result<f64, String>,
        /// When it was received.
        at: Timestamp,
    },
    /// An attempt failed; earlier values stay and grow old.
    Failed {
        /// The source.
        source: SourceName,
        /// Why, for people.
        reason: String,
        /// When.
        at: Timestamp,
    },
    /// The source does not exist any more.
    Gone {
        /// The source.
        source: SourceName,
    },
}

// === impl SourceEvent ===

impl SourceEvent {
    /// The source that it is about.
    #[must_use]
    pub const fn source(&self) -> &SourceName {
        match self {
            Self::Scraped { source, .. }
            | Self::Queried { source, .. }
            | Self::Demanded { source, .. }
            | Self::Failed { source, .. }
            | Self::Gone { source } => source,
        }
    }
}
