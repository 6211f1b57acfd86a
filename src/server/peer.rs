//! Who is at the other end of a connection, as far as TLS has proved it: possession of a key.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use rustls::pki_types::CertificateDer;

use super::Pool;

/// How long a verdict on a chain is reused. Bounds how long a certificate lives past its end on an open connection.
const VERDICT_LIFE: SignedDuration = SignedDuration::from_secs(5);
/// Verdicts kept per connection: one per pool, and there are two pools.
const VERDICTS: usize = 2;

/// The peer of a connection; a request extension. Clones share the memory of verdicts.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    certificates: Arc<[CertificateDer<'static>]>,
    verdicts: Arc<Mutex<Vec<Verdict>>>,
}

#[derive(Clone, Debug)]
struct Verdict {
    pool: [u8; 32],
    at: Timestamp,
    result: Result<(), String>,
}

// === impl Peer ===

impl Peer {
    /// A peer that presented `certificates`, leaf first, and proved possession of the leaf's key.
    #[must_use]
    pub fn new(address: SocketAddr, certificates: Vec<CertificateDer<'static>>) -> Self {
        Self { address, certificates: certificates.into(), verdicts: Arc::default() }
    }

    /// The leaf, unverified.
    #[must_use]
    pub fn leaf(&self) -> Option<&CertificateDer<'static>> {
        self.certificates.first()
    }

    /// Whether the leaf chains to `pool` now. Asked with each request, so that a removed authority is refused on a
    /// connection that is already open; a verdict on the same pool is reused for five seconds.
    pub fn verify(&self, pool: &Pool, now: Timestamp) -> Result<(), String> {
        let mut verdicts = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = |verdict: &&Verdict| {
            verdict.pool == pool.id() && now >= verdict.at && now.duration_since(verdict.at) < VERDICT_LIFE
        };
        if let Some(verdict) = verdicts.iter().find(fresh) {
            return verdict.result.clone();
        }
        let result = pool.verify(&self.certificates, now);
        verdicts.retain(|verdict| verdict.pool != pool.id());
        if verdicts.len() == VERDICTS {
            verdicts.remove(0);
        }
        verdicts.push(Verdict { pool: pool.id(), at: now, result: result.clone() });
        result
    }
}
