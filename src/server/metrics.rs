//! What a port counts. Label values are closed sets; nothing of a peer becomes a label.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// How something ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Outcome {
    /// A short static word.
    pub outcome: &'static str,
}

/// Counters of a port. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Open connections.
    pub(crate) connections: Gauge,
    /// TLS handshakes: `ok`, `failed`, `timeout`.
    pub(crate) handshakes: Family<Outcome, Counter>,
    /// Changes of the serving certificate: `ok`, `failed`.
    pub(crate) reloads: Family<Outcome, Counter>,
    /// End of life of the serving certificate.
    pub(crate) expiry: Gauge,
}

// === impl Metrics ===

impl Metrics {
    /// Makes the counters known to a registry, under `{prefix}_…`.
    pub fn register(&self, registry: &mut Registry, prefix: &str) {
        let name = |suffix: &str| format!("{prefix}_{suffix}");
        registry.register(name("connections"), "Open connections", self.connections.clone());
        registry.register(name("handshakes"), "TLS handshakes", self.handshakes.clone());
        let help = "Changes of the serving certificate on disk";
        registry.register(name("certificate_reloads"), help, self.reloads.clone());
        let help = "End of life of the serving certificate";
        registry.register(name("certificate_expiry_timestamp_seconds"), help, self.expiry.clone());
    }

    pub(crate) fn handshake(&self, outcome: &'static str) {
        self.handshakes.get_or_create(&Outcome { outcome }).inc();
    }

    pub(crate) fn reload(&self, outcome: &'static str) {
        self.reloads.get_or_create(&Outcome { outcome }).inc();
    }
}
