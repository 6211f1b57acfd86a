//! Who may ask, and for how long an answer may take: before every call.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwapOption;
use axum::{
    body::Body,
    extract::{Request, State},
    middleware::Next,
};
use http::Response;
use tonic::{Code, Status};

use super::Metrics;
use crate::{
    clock,
    server::{Peer, Pool, Tls, certificate::read_bounded},
};

/// How often the file of authorities is read again.
const POLL: Duration = Duration::from_secs(5);
/// The health service says nothing of anybody, and kubelet has no certificate.
const HEALTH: &str = "/grpc.health.v1.Health/";

/// Who may ask.
#[derive(Debug, Default)]
pub struct Clients {
    /// File with the authorities of clients; none means that anybody may ask.
    file: Option<PathBuf>,
    pool: ArcSwapOption<Pool>,
}

/// What is checked before every call.
#[derive(Debug)]
pub(super) struct Guard {
    pub(super) clients: Arc<Clients>,
    pub(super) metrics: Metrics,
    pub(super) deadline: Duration,
}

/// Lets a request pass, or answers it.
pub(super) async fn check(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let allowed = if path.starts_with(HEALTH) { Ok(()) } else { guard.clients.admit(request.extensions().get()) };
    let response = match allowed {
        Ok(()) => tokio::time::timeout(guard.deadline, next.run(request)).await.unwrap_or_else(|_| {
            let text = format!("no answer within {:?}", guard.deadline);
            Status::deadline_exceeded(text).into_http()
        }),
        Err(status) => status.into_http(),
    };
    // A call that went well has its status in the trailers.
    let code = response.headers().get("grpc-status").map_or(Code::Ok, |code| Code::from_bytes(code.as_bytes()));
    guard.metrics.call(&path, code);
    response
}

// === impl Clients ===

impl Clients {
    /// Anybody may ask.
    #[must_use]
    pub fn anybody() -> Self {
        Self::default()
    }

    /// Whose certificate chains to an authority in the file. Nobody, until the file can be read.
    #[must_use]
    pub fn of_file(file: PathBuf) -> Self {
        Self { file: Some(file), pool: ArcSwapOption::empty() }
    }

    fn admit(&self, peer: Option<&Peer>) -> Result<(), Status> {
        let Some(file) = &self.file else { return Ok(()) };
        let Some(pool) = self.pool.load_full() else {
            let text = format!("the authorities of clients cannot be read yet ({})", file.display());
            return Err(Status::unavailable(text));
        };
        let verdict = match peer {
            Some(peer) if peer.leaf().is_some() => peer.verify(&pool, clock::now()),
            _ => Err("no certificate was presented".to_owned()),
        };
        verdict.map_err(|reason| {
            Status::unauthenticated(format!(
                "{reason}; KEDA takes tlsClientCert and tlsClientKey from the TriggerAuthentication of the trigger, signed \
                 by an authority of --scaler-client-ca-file"
            ))
        })
    }

    /// Follows the file for ever. A bad change is logged, and the last good authorities stay in force.
    pub async fn follow(&self, tls: &Tls) {
        let Some(file) = &self.file else { return std::future::pending().await };
        let mut tick = tokio::time::interval(POLL);
        let mut said = None;
        loop {
            tick.tick().await;
            match self.reload(file, tls).await {
                Ok(()) => said = None,
                Err(reason) if said.as_ref() != Some(&reason) => {
                    tracing::warn!(file = %file.display(), reason, "the authorities of KEDA's clients are not usable");
                    said = Some(reason);
                }
                Err(_) => {}
            }
        }
    }

    /// Reads the file now.
    pub async fn reload(&self, file: &Path, tls: &Tls) -> Result<(), String> {
        let bytes = read_bounded(file).await.map_err(|error| error.to_string())?;
        let pool = Pool::from_pem(&bytes).map_err(|error| error.to_string())?;
        if self.pool.load().as_ref().is_some_and(|known| known.id() == pool.id()) {
            return Ok(());
        }
        // Go's client withholds a certificate from a server that does not name its issuer.
        tls.set_client_authorities(pool.subjects()).map_err(|error| error.to_string())?;
        tracing::info!(file = %file.display(), "authorities of KEDA's clients read");
        self.pool.store(Some(Arc::new(pool)));
        Ok(())
    }
}
