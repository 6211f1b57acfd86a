//! The serving certificate: from files, or made on the spot where nobody gave any.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use sha2::{Digest, Sha256};

/// Largest file that is read.
const MAX_FILE: u64 = 1024 * 1024;

/// Where the serving certificate lives.
#[derive(Clone, Debug)]
pub struct Files {
    /// PEM chain, leaf first.
    pub certificate: PathBuf,
    /// PEM private key.
    pub key: PathBuf,
}

/// The bytes of both files and their digest: what is compared to notice a change.
#[derive(Clone)]
pub(crate) struct Content {
    certificate: Vec<u8>,
    key: Vec<u8>,
    pub(crate) digest: [u8; 32],
}

/// Why there is no serving certificate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not PEM of the right kind.
    #[error("{what} is not PEM: {source}")]
    Pem {
        /// Which one.
        what: &'static str,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// No certificate in the chain.
    #[error("the certificate file has no certificate")]
    Empty,
    /// The key is of an unknown kind, or does not belong to the certificate.
    #[error("the private key cannot serve the certificate: {0}")]
    Key(rustls::Error),
    /// A certificate could not be made.
    #[error("cannot make a self-signed certificate: {0}")]
    SelfSigned(rcgen::Error),
}

// === impl Files ===

impl Files {
    /// Reads both files. During a rotation the pair may be mixed for a moment: parsing then fails and the next
    /// reading succeeds.
    pub(crate) async fn read(&self) -> Result<Content, Error> {
        let certificate = read_bounded(&self.certificate).await?;
        let key = read_bounded(&self.key).await?;
        let digest = Sha256::new().chain_update(&certificate).chain_update([0]).chain_update(&key).finalize();
        Ok(Content { certificate, key, digest: digest.into() })
    }
}

/// Reads a file of at most one MiB.
pub async fn read_bounded(path: &Path) -> Result<Vec<u8>, Error> {
    let fail = |source| Error::Read { path: path.to_owned(), source };
    let length = tokio::fs::metadata(path).await.map_err(fail)?.len();
    if length > MAX_FILE {
        return Err(fail(io::Error::other(format!("{length} bytes are more than {MAX_FILE}"))));
    }
    tokio::fs::read(path).await.map_err(fail)
}

impl Content {
    pub(crate) fn parse(&self) -> Result<CertifiedKey, Error> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&self.certificate)
            .collect::<Result<_, _>>()
            .map_err(|source| Error::Pem { what: "the certificate file", source })?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|source| Error::Pem { what: "the private key file", source })?;
        certified(chain, key)
    }
}

fn certified(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<CertifiedKey, Error> {
    if chain.is_empty() {
        return Err(Error::Empty);
    }
    CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(Error::Key)
}

/// Makes a certificate for `names` (DNS names or addresses), good for development and first contact: nobody can
/// verify it, so an APIService would need `insecureSkipTLSVerify`.
pub(crate) fn self_signed(names: &[String]) -> Result<CertifiedKey, Error> {
    let made = rcgen::generate_simple_self_signed(names).map_err(Error::SelfSigned)?;
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())
        .map_err(|reason| Error::Key(rustls::Error::General(reason.to_owned())))?;
    certified(vec![made.cert.der().clone()], key)
}

/// End of life of a leaf, in seconds of Unix time.
pub(crate) fn expiry(key: &Arc<CertifiedKey>) -> Option<i64> {
    let (_, leaf) = x509_parser::parse_x509_certificate(key.cert.first()?).ok()?;
    Some(leaf.validity().not_after.timestamp())
}
