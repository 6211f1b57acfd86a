//! TLS of a port: what is presented, what is asked of the client, and how both change while it runs.
//!
//! A client certificate is *asked for, never demanded*, and any chain is accepted at this level: TLS proves that the
//! peer holds the leaf's key, and whether the leaf means anything is decided per request against the pools of that
//! moment ([`super::Peer`]). The subjects of all authorities go into the request, since Go's client (kube-apiserver)
//! withholds its proxy certificate from a server that does not name its issuer.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use rustls::{
    DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, UnixTime},
    server::{
        ClientHello, ResolvesServerCert,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
};

use super::{
    certificate::{self, Error, Files},
    metrics::Metrics,
};

/// How often the files are read again. Certificates must be in use within 10 s of their change.
const POLL: Duration = Duration::from_secs(5);

/// TLS of a port; shared with the tasks that change it.
pub struct Tls {
    config: ArcSwap<ServerConfig>,
    parts: Mutex<Parts>,
    files: Option<Files>,
    metrics: Metrics,
}

/// What the present [`ServerConfig`] was built from.
struct Parts {
    key: Arc<CertifiedKey>,
    authorities: Arc<[DistinguishedName]>,
    digest: Option<[u8; 32]>,
}

// === impl Tls ===

impl Tls {
    /// Presents what the files hold, and follows them ([`Tls::watch_files`]).
    pub async fn from_files(files: Files, metrics: Metrics) -> Result<Self, Error> {
        let content = files.read().await?;
        let parts = Parts::new(content.parse()?, Some(content.digest));
        Self::new(parts, Some(files), metrics)
    }

    /// Presents a certificate made for `names` now.
    pub fn self_signed(names: &[String], metrics: Metrics) -> Result<Self, Error> {
        Self::new(Parts::new(certificate::self_signed(names)?, None), None, metrics)
    }

    fn new(parts: Parts, files: Option<Files>, metrics: Metrics) -> Result<Self, Error> {
        let config = ArcSwap::from_pointee(parts.config()?);
        note_expiry(&metrics, &parts.key);
        Ok(Self { config, parts: Mutex::new(parts), files, metrics })
    }

    /// The configuration for a handshake that begins now.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        self.config.load_full()
    }

    /// Names the authorities whose certificates clients should present. Connections that are open stay.
    pub fn set_client_authorities(&self, subjects: &[DistinguishedName]) -> Result<(), Error> {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        if !parts.authorities.iter().map(AsRef::as_ref).eq(subjects.iter().map(AsRef::<[u8]>::as_ref)) {
            parts.authorities = subjects.into();
            self.config.store(Arc::new(parts.config()?));
        }
        Ok(())
    }

    /// Follows the files for ever. A bad change is counted and logged, and the last good certificate stays in use.
    pub async fn watch_files(&self) {
        let mut tick = tokio::time::interval(POLL);
        loop {
            tick.tick().await;
            self.reload().await;
        }
    }

    /// Reads the files now, if there are any.
    pub async fn reload(&self) {
        let Some(files) = &self.files else { return };
        match self.try_reload(files).await {
            Ok(false) => {}
            Ok(true) => {
                self.metrics.reload("ok");
                tracing::info!(file = %files.certificate.display(), "serving certificate replaced");
            }
            Err(error) => {
                self.metrics.reload("failed");
                tracing::warn!(%error, "the serving certificate on disk is not usable; the last good one stays");
            }
        }
    }

    async fn try_reload(&self, files: &Files) -> Result<bool, Error> {
        let content = files.read().await?;
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        if parts.digest == Some(content.digest) {
            return Ok(false);
        }
        let next = Parts {
            key: Arc::new(content.parse()?),
            authorities: Arc::clone(&parts.authorities),
            digest: Some(content.digest),
        };
        self.config.store(Arc::new(next.config()?));
        note_expiry(&self.metrics, &next.key);
        *parts = next;
        Ok(true)
    }
}

fn note_expiry(metrics: &Metrics, key: &Arc<CertifiedKey>) {
    if let Some(seconds) = certificate::expiry(key) {
        metrics.expiry.set(seconds);
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

// === impl Parts ===

impl Parts {
    fn new(key: CertifiedKey, digest: Option<[u8; 32]>) -> Self {
        Self { key: Arc::new(key), authorities: Arc::default(), digest }
    }

    /// TLS 1.2 and 1.3; HTTP/2 preferred (`k8s.io/apiserver` v0.36.3 `pkg/server/secure_serving.go`).
    fn config(&self) -> Result<ServerConfig, Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let algorithms = provider.signature_verification_algorithms;
        let verifier = AskForCertificate { authorities: Arc::clone(&self.authorities), algorithms };
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(Error::Key)?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_cert_resolver(Arc::new(Always(Arc::clone(&self.key))));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

/// Presents one certificate, whatever name the client asks for.
#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl ResolvesServerCert for Always {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// Asks for a certificate, accepts any or none; the handshake's signature is still verified.
#[derive(Debug)]
struct AskForCertificate {
    authorities: Arc<[DistinguishedName]>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for AskForCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.authorities
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
