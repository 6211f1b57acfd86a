//! A pool of certificate authorities, and whether a client's leaf chains to it.
//!
//! Pools are kept apart on purpose: merged into one, any certificate of the client CA could speak as the front proxy
//! (`k8s.io/apiserver` v0.36.3 `pkg/authentication/request/headerrequest` verifies against its own pool).

use std::{fmt, sync::Arc};

use jiff::Timestamp;
use rustls::{
    DistinguishedName, RootCertStore,
    pki_types::{CertificateDer, UnixTime, pem::PemObject},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use sha2::{Digest, Sha256};

/// Largest bundle that is read: a ConfigMap holds 1 MiB.
const MAX_BUNDLE: usize = 1024 * 1024;
/// Most authorities in a bundle; during a rotation there are two.
const MAX_AUTHORITIES: usize = 256;

/// Certificate authorities that a client's certificate may chain to.
#[derive(Clone)]
pub struct Pool {
    id: [u8; 32],
    subjects: Vec<DistinguishedName>,
    verifier: Arc<dyn ClientCertVerifier>,
}

/// Why a bundle is not a pool.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Longer than a ConfigMap can be.
    #[error("the bundle has {0} bytes; at most {MAX_BUNDLE} are read")]
    TooLong(usize),
    /// More certificates than any rotation needs.
    #[error("the bundle has more than {MAX_AUTHORITIES} certificates")]
    TooMany,
    /// No certificate in it.
    #[error("the bundle has no certificate (expected PEM blocks \"BEGIN CERTIFICATE\")")]
    Empty,
    /// A block is not PEM.
    #[error("the bundle is not PEM: {0}")]
    Pem(rustls::pki_types::pem::Error),
    /// A block is not a certificate.
    #[error("certificate {index} of the bundle cannot be a certificate authority: {source}")]
    Certificate {
        /// Its place, from 1.
        index: usize,
        /// What is wrong with it.
        source: rustls::Error,
    },
    /// The verifier could not be built.
    #[error("the bundle cannot verify clients: {0}")]
    Verifier(rustls::server::VerifierBuilderError),
}

// === impl Pool ===

impl Pool {
    /// Reads a PEM bundle.
    pub fn from_pem(pem: &[u8]) -> Result<Self, Error> {
        if pem.len() > MAX_BUNDLE {
            return Err(Error::TooLong(pem.len()));
        }
        let mut roots = RootCertStore::empty();
        for (index, certificate) in CertificateDer::pem_slice_iter(pem).enumerate() {
            if index == MAX_AUTHORITIES {
                return Err(Error::TooMany);
            }
            let certificate = certificate.map_err(Error::Pem)?;
            roots.add(certificate).map_err(|source| Error::Certificate { index: index + 1, source })?;
        }
        if roots.is_empty() {
            return Err(Error::Empty);
        }
        let subjects = roots.subjects();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().map_err(Error::Verifier)?;
        Ok(Self { id: Sha256::digest(pem).into(), subjects, verifier })
    }

    /// Digest of the bundle: pools with equal digests judge alike.
    #[must_use]
    pub const fn id(&self) -> [u8; 32] {
        self.id
    }

    /// Subjects of the authorities, for the hint in the TLS handshake.
    #[must_use]
    pub fn subjects(&self) -> &[DistinguishedName] {
        &self.subjects
    }

    /// Verifies the leaf `chain[0]` through the rest of `chain`: signatures, validity at `now`, use for client
    /// authentication. The error is a sentence for a log.
    pub fn verify(&self, chain: &[CertificateDer<'_>], now: Timestamp) -> Result<(), String> {
        let (leaf, intermediates) = chain.split_first().ok_or_else(|| "no certificate was presented".to_owned())?;
        let seconds = u64::try_from(now.as_second()).map_err(|_| "the clock is before 1970".to_owned())?;
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        self.verifier.verify_client_cert(leaf, intermediates, now).map(drop).map_err(|error| error.to_string())
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("authorities", &self.subjects.len()).finish_non_exhaustive()
    }
}
