//! The Kubernetes metrics APIs: `external.metrics.k8s.io/v1beta1`, `custom.metrics.k8s.io/v1beta1` and `v1beta2`.
//!
//! ```text
//!  request ─> route + query ─> who? (authentication) ─> may they? (authorization) ─> Answers (the core) ─> wire
//!                                    └────── kube-apiserver, remembered ──────┘  └─> KEDA's metrics server (its HPAs)
//! ```
//!
//! [`router`] is the whole API as a value; sockets, TLS and the peer's certificates are [`crate::server`]'s. What is
//! answered is [`Answers`]': nothing in here knows a source, a clamp or a cluster.

use std::{sync::Arc, time::Duration};

use axum::Router;
use plimsoll_core::answer::Answers;
use prometheus_client::registry::Registry;

pub mod args;
pub mod authentication;
pub mod authorization;
mod discovery;
mod failure;
mod handler;
pub mod health;
pub mod metrics;
mod openapi;
mod percent;
mod query;
mod reply;
mod review;
mod route;
pub mod upstream;
mod version;
mod wire;

pub use authentication::Authenticator;
pub use authorization::Authorizer;
pub use health::{Check, Health};
pub use metrics::Metrics;
pub use upstream::Upstream;

/// Longest time until a request is answered; only a review by kube-apiserver can come near it.
pub const DEADLINE: Duration = Duration::from_secs(1);

/// Who may ask.
#[derive(Clone, Debug)]
pub enum Guard {
    /// Anybody. For a demonstration on loopback without a cluster.
    Open,
    /// Whom kube-apiserver knows, for what it allows.
    Delegated(Box<Delegated>),
}

/// The two questions that kube-apiserver answers for us.
#[derive(Clone, Debug)]
pub struct Delegated {
    /// Who is asking?
    pub authenticator: Authenticator,
    /// May they?
    pub authorizer: Authorizer,
}

/// All that the API needs.
#[derive(Debug)]
pub struct State<A> {
    /// Where answers come from.
    pub answers: Arc<A>,
    /// Who may ask.
    pub guard: Guard,
    /// Checks of `/livez` and `/readyz`. Whether the guard knows whom to trust is added by [`router`].
    pub health: Health,
    /// Counters.
    pub metrics: Metrics,
    /// What `/metrics` shows.
    pub registry: Arc<Registry>,
    /// Who answers KEDA's HPAs.
    pub keda: Arc<Upstream>,
    /// See [`DEADLINE`].
    pub deadline: Duration,
}

/// The API. Requests should carry a [`crate::server::Peer`] extension, as [`crate::server::serve`] adds it; without
/// one a sender has no certificate.
pub fn router<A: Answers>(mut state: State<A>) -> Router {
    if let Guard::Delegated(delegated) = &state.guard {
        let authenticator = delegated.authenticator.clone();
        state.health.ready.push(Check::new("requestheader", move || authenticator.check()));
    }
    Router::new().fallback(handler::handle::<A>).with_state(Arc::new(state))
}
