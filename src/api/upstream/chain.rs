//! One way to KEDA's metrics server: its files as they were read, a client made of them, and an exchange.

use std::{error::Error as _, fmt, path::PathBuf, time::Duration};

use axum::body::Body;
use http::{HeaderName, HeaderValue, StatusCode, header};
use reqwest::{Certificate, Client, Identity as ClientIdentity, Url, redirect};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{Identity, MARK, Question, Settings};
use crate::{
    api::{
        reply::Reply,
        route::{EXTERNAL, ExternalRoute},
    },
    server::certificate::read_bounded,
};

/// Largest answer that is passed back: a metric of one ScaledObject is some hundred bytes.
const MAX_ANSWER: usize = 1024 * 1024;
/// Longest idle connection that is kept: several HPA periods.
const IDLE: Duration = Duration::from_secs(60);
/// What of the answer's head belongs to its bytes. `Retry-After` does not: client-go would sleep in an HPA worker.
const ANSWERED_WITH: [HeaderName; 5] = [
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CACHE_CONTROL,
    header::VARY,
    header::X_CONTENT_TYPE_OPTIONS,
];

/// A client with everything that it needs.
pub(super) struct Chain {
    pub(super) settings: Settings,
    base: Url,
    client: Client,
    token: Option<HeaderValue>,
    pub(super) digest: [u8; 32],
}

/// What the files hold.
pub(super) struct Material {
    authorities: Vec<u8>,
    identity: Vec<u8>,
    pub(super) digest: [u8; 32],
}

/// Why there is no answer.
pub(super) struct Trouble {
    pub(super) outcome: &'static str,
    pub(super) cause: &'static str,
    pub(super) message: String,
}

/// The read part of `metav1.Status`.
#[derive(Debug, Deserialize)]
struct Status {
    #[serde(default)]
    message: String,
}

// === impl Material ===

impl Material {
    /// Reads them.
    pub(super) async fn read(settings: &Settings) -> Result<Self, String> {
        let read = async |path: &PathBuf| read_bounded(path).await.map_err(|error| error.to_string());
        let authorities = read(&settings.ca_file).await?;
        let identity = match &settings.identity {
            Identity::Token(token) => read(token).await?,
            Identity::Certificate { certificate, key } => {
                [read(certificate).await?, b"\n".to_vec(), read(key).await?].concat()
            }
        };
        let digest = Sha256::new().chain_update(&authorities).chain_update([0]).chain_update(&identity).finalize();
        Ok(Self { authorities, identity, digest: digest.into() })
    }
}

// === impl Chain ===

impl Chain {
    /// A way; the error says what of the settings or the files is wrong.
    pub(super) fn new(settings: &Settings, material: &Material) -> Result<Self, String> {
        // Without it the client would panic; `main` installs it first of all.
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err("no TLS provider is installed".to_owned());
        }
        let shown = settings.ca_file.display();
        let authorities = Certificate::from_pem_bundle(&material.authorities)
            .map_err(|_| format!("keda.caFile {shown} is not PEM"))?;
        if authorities.is_empty() {
            return Err(format!("keda.caFile {shown} holds no certificate"));
        }
        let builder = Client::builder()
            .user_agent(concat!("plimsoll/", env!("CARGO_PKG_VERSION")))
            .https_only(true)
            .redirect(redirect::Policy::none())
            .no_proxy()
            // What KEDA has compressed stays so; a connection that hangs must hold up no other request.
            .no_gzip()
            .http1_only()
            .pool_idle_timeout(IDLE)
            .tls_certs_only(authorities);
        let (builder, token) = match &settings.identity {
            Identity::Token(path) => (builder, Some(bearer(&material.identity, path)?)),
            Identity::Certificate { certificate, .. } => {
                let identity = ClientIdentity::from_pem(&material.identity).map_err(|error| {
                    format!("the client certificate {} and its key cannot be used: {error}", certificate.display())
                })?;
                (builder.identity(identity), None)
            }
        };
        let client = builder.build().map_err(|error| format!("no HTTP client: {}", causes(&error)))?;
        let base = Url::parse(&settings.url).map_err(|error| format!("keda.url {}: {error}", settings.url))?;
        Ok(Self { settings: settings.clone(), base, client, token, digest: material.digest })
    }

    /// One exchange; its time is the caller's to bound.
    pub(super) async fn ask(&self, question: &Question) -> Result<Reply, Trouble> {
        let ExternalRoute { namespace, metric } = &question.route;
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["apis", EXTERNAL, "v1beta1", "namespaces", namespace, metric]);
        }
        let mut request = self
            .client
            .get(url)
            .query(&[("labelSelector", &question.selector)])
            .headers(question.headers.clone())
            .header(MARK, HeaderValue::from_static("1"));
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, token.clone());
        }
        let response = request.send().await.map_err(|error| self.unreachable(error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = self.body(response).await?;
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(self.denied(status, &bytes)),
            status if status.is_informational() || status.is_redirection() => {
                Err(self.unusable(format!("answers {status}")))
            }
            status => {
                let mut reply = Reply::new(Body::from(bytes));
                *reply.status_mut() = status;
                let kept = ANSWERED_WITH.iter().filter_map(|name| Some((name, headers.get(name)?)));
                reply.headers_mut().extend(kept.map(|(name, value)| (name.clone(), value.clone())));
                Ok(reply)
            }
        }
    }

    async fn body(&self, mut response: reqwest::Response) -> Result<Vec<u8>, Trouble> {
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(error))? {
            if bytes.len() + chunk.len() > MAX_ANSWER {
                return Err(self.unusable(format!("answers more than {MAX_ANSWER} bytes")));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    fn unreachable(&self, error: reqwest::Error) -> Trouble {
        let (url, why) = (&self.settings.url, causes(&error.without_url()));
        let cure = if why.contains("certificate") {
            ": keda.caFile must hold the authority of its certificate (ca.crt in KEDA's Secret kedaorg-certs), and the \
             certificate the host of keda.url"
        } else {
            ": is it running, and does a NetworkPolicy let Plimsoll reach it?"
        };
        let message = format!("its metrics server at {url} cannot be reached: {why}{cure}");
        Trouble { outcome: "unreachable", cause: "KedaUnreachable", message }
    }

    fn unusable(&self, why: impl fmt::Display) -> Trouble {
        let message = format!("its metrics server at {} {why}", self.settings.url);
        Trouble { outcome: "unusable", cause: "KedaUnusable", message }
    }

    /// What KEDA says of our identity would only puzzle whoever reads it as said of the HPA's.
    fn denied(&self, status: StatusCode, bytes: &[u8]) -> Trouble {
        let said = serde_json::from_slice::<Status>(bytes).map(|status| status.message).unwrap_or_default();
        let said: String = said.chars().take(300).collect();
        let cure = match status {
            StatusCode::UNAUTHORIZED => "check keda.bearerTokenFile or the client certificate",
            _ => "grant list on all resources of external.metrics.k8s.io to that identity",
        };
        let url = &self.settings.url;
        let message =
            format!("its metrics server at {url} does not answer Plimsoll ({}): {said}: {cure}", status.as_u16());
        Trouble { outcome: "denied", cause: "KedaDenied", message }
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain").field("settings", &self.settings).finish_non_exhaustive()
    }
}

fn bearer(token: &[u8], path: &std::path::Path) -> Result<HeaderValue, String> {
    let token = std::str::from_utf8(token).map(str::trim).unwrap_or_default();
    let value = HeaderValue::from_str(&format!("Bearer {token}")).ok().filter(|_| !token.is_empty());
    let mut value = value.ok_or_else(|| format!("keda.bearerTokenFile {} holds no token", path.display()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// An error with its causes.
fn causes(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text.chars().take(500).collect()
}

// === impl Trouble ===

impl Trouble {
    pub(super) fn unconfigured() -> Self {
        let message = "Plimsoll owns the APIService v1beta1.external.metrics.k8s.io and is not told where KEDA's \
                       metrics server is: set keda.url in its configuration, or give the APIService back to KEDA"
            .to_owned();
        Self { outcome: "unconfigured", cause: "KedaNotConfigured", message }
    }
}
