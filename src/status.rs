//! The status API: what Plimsoll knows, decides and suffers, as JSON on a port of its own. Read-only.
//!
//! All tenants' data is on it, so it listens on loopback unless that is lifted on purpose ([`Args`]). What is
//! answered comes from [`Reports`], which the wiring implements on the newest snapshot; nothing here computes, and
//! no request waits for a source.

mod listen;
mod routes;

use std::fmt;

use serde_json::Value;

pub use listen::{Args, ListenError, serve};
pub use routes::router;

/// What a request is limited to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only this namespace.
    pub namespace: Option<String>,
}

/// What the status API answers from. All methods return at once.
pub trait Reports: Send + Sync + 'static {
    /// Workloads: scale, bound, ceiling, mode, limiting factor.
    fn workloads(&self, filter: &Filter) -> Value;
    /// The last decisions, in short.
    fn decisions(&self, filter: &Filter) -> Value;
    /// The last decision of one workload with every step; none if there is no such workload.
    fn decision(&self, namespace: &str, name: &str) -> Option<Value>;
    /// What fits where.
    fn capacity(&self) -> Value;
    /// Signals with value, age and quality.
    fn signals(&self, filter: &Filter) -> Value;
    /// Health of each source.
    fn sources(&self, filter: &Filter) -> Value;
    /// Who answers External metrics, and how KEDA's are asked for.
    fn coexistence(&self) -> Value;
    /// Whether the process works as it should; else what is wrong.
    fn health(&self) -> Result<(), String>;
    /// Our own metrics in text format.
    fn metrics(&self) -> Result<String, fmt::Error>;
}

// === impl Filter ===

impl Filter {
    /// Whether something in that namespace is asked for.
    #[must_use]
    pub fn admits(&self, namespace: &str) -> bool {
        self.namespace.as_deref().is_none_or(|wanted| wanted == namespace)
    }
}
