//! KEDA's external scaler: the five calls of `proto/externalscaler.proto`, on a port of their own.
//!
//! ```text
//!  call ─> who? (certificate of KEDA) ─> metadata ─> core::trigger ─> Triggers (snapshot, newest scale) ─> wire
//!                                                          └─ stream: the same again whenever something changed
//! ```
//!
//! KEDA sets no deadline and drops what it knows of a scaler that answers with an error, so every call is answered
//! within [`DEADLINE`], from memory, and errors are kept for what cannot be known. What is answered is [`Triggers`]'.
//! KEDA: v2.21.0 `pkg/scalers/external_scaler.go`.

use std::{sync::Arc, time::Duration};

use axum::{Router, middleware};
use plimsoll_core::{answer::Refusal, object::ObjectKey, quantity::Milli, trigger::Trigger};
use tokio::sync::{Semaphore, watch};
use tonic::service::Routes;

mod args;
mod guard;
mod health;
mod metrics;
mod push;
mod service;
mod wire;

pub use args::Args;
pub use guard::Clients;
pub use health::HealthReporter;
pub use metrics::Metrics;
pub use wire::proto;

use crate::server::Limits;
use guard::Guard;
use proto::external_scaler_server::ExternalScalerServer;
use service::Scaler;

/// Longest time until a call is answered, or a stream begins.
pub const DEADLINE: Duration = Duration::from_secs(1);
/// Longest message: metadata are at most 64 pairs of at most 4 KiB.
const MAX_MESSAGE: usize = 320 * 1024;
/// Streams at a time, over all connections: two for each of 25,000 triggers.
const MAX_STREAMS: usize = 50_000;
/// Age of a connection: DNS is only asked again for a new one, so that this is when KEDA finds new replicas.
pub const CONNECTION_AGE: Duration = Duration::from_secs(15 * 60);

/// What a trigger is answered from; nothing here waits.
pub trait Triggers: Send + Sync + 'static {
    /// The value of a trigger of a ScaledObject or ScaledJob.
    fn value(&self, object: &ObjectKey, trigger: &Arc<Trigger>) -> Result<Milli, Refusal>;

    /// Whether there is a reason to have replicas.
    fn activity(&self, object: &ObjectKey, trigger: &Arc<Trigger>) -> Result<Activity, Refusal>;

    /// Changes whenever answers may have.
    fn changes(&self) -> watch::Receiver<u64>;
}

/// Whether there is a reason to have replicas, and whether there are any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activity {
    /// There is a reason.
    pub active: bool,
    /// There are no replicas: KEDA has not acted yet.
    pub at_zero: bool,
}

/// All that the scaler needs.
#[derive(Debug)]
pub struct State<T> {
    /// Where answers come from.
    pub triggers: Arc<T>,
    /// Who may ask.
    pub clients: Arc<Clients>,
    /// Counters.
    pub metrics: Metrics,
    /// See [`DEADLINE`].
    pub deadline: Duration,
}

/// The scaler, and what its health service says of it. Requests should carry what [`crate::server::serve`] adds.
pub fn router<T: Triggers>(state: State<T>) -> (Router, HealthReporter) {
    let (reporter, health) = health::service();
    let guard = Arc::new(Guard { clients: state.clients, metrics: state.metrics.clone(), deadline: state.deadline });
    let scaler = Scaler {
        triggers: state.triggers,
        metrics: state.metrics,
        // Far less than the deadline: who waited is told why, on a machine that is busy too.
        patience: state.deadline / 2,
        streams: Arc::new(Semaphore::new(MAX_STREAMS)),
    };
    let scaler = ExternalScalerServer::new(scaler).max_decoding_message_size(MAX_MESSAGE);
    let services = Routes::new(scaler).add_service(health).prepare();
    let router = services.into_axum_router().layer(middleware::from_fn_with_state(guard, guard::check));
    (router, reporter)
}

/// The bounds of the port.
#[must_use]
pub fn limits(age: Duration) -> Limits {
    Limits {
        // KEDA holds one connection per address for all its objects, with two streams for each push trigger.
        connections: 256,
        streams: 20_000,
        // A connection whose objects are polled rarely is not idle.
        idle: Duration::from_secs(600),
        age: Some(age),
        // KEDA cancels the streams of all objects of a namespace at once.
        pending_resets: 2_000,
        ..Limits::default()
    }
}
