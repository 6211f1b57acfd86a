//! What the API counts. Label values are closed sets; no name of a tenant becomes a label.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};

/// Around the bars: 50 ms is the goal, 1 s the end.
const BUCKETS: [f64; 9] = [0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    api: &'static str,
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Api {
    api: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Review {
    kind: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Authentication {
    method: &'static str,
}

/// Counters of the API. Clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    requests: Family<Request, Counter>,
    durations: Family<Api, Histogram, fn() -> Histogram>,
    reviews: Family<Review, Counter>,
    authentications: Family<Authentication, Counter>,
}

// === impl Metrics ===

impl Metrics {
    /// Makes the counters known to a registry.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register("api_requests", "Requests answered", metrics.requests.clone());
        let help = "From the head of a request to its answer";
        registry.register("api_request_duration_seconds", help, metrics.durations.clone());
        let help = "Reviews: remembered, asked of kube-apiserver, or without an answer";
        registry.register("api_reviews", help, metrics.reviews.clone());
        let help = "Requests by how their sender was identified";
        registry.register("api_authentications", help, metrics.authentications.clone());
        metrics
    }

    pub(crate) fn request(&self, api: &'static str, code: u16, seconds: f64) {
        self.requests.get_or_create(&Request { api, code }).inc();
        self.durations.get_or_create(&Api { api }).observe(seconds);
    }

    pub(crate) fn review(&self, kind: &'static str, outcome: &'static str) {
        self.reviews.get_or_create(&Review { kind, outcome }).inc();
    }

    pub(crate) fn authentication(&self, method: &'static str) {
        self.authentications.get_or_create(&Authentication { method }).inc();
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            reviews: Family::default(),
            authentications: Family::default(),
        }
    }
}
