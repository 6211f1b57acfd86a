//! One bounded HTTP exchange: size and time are limited whatever the other side does.

use std::{path::Path, sync::Arc, time::Duration};

use http::StatusCode;
use reqwest::{Certificate, Client, RequestBuilder, redirect};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout, timeout_at},
};

use super::failure;

/// Bodies up to this are read without asking: this many bytes per concurrent scrape are always affordable.
const SMALL_BODY: usize = 256 * 1024;
/// Larger bodies that are held at a time: with 8 MiB each they take 64 MiB at most.
const LARGE_BODIES: usize = 8;
/// How many times its timeout a large body may wait for its turn, until five rounds of others have used up theirs.
const TURNS: u32 = 5;
/// Longest idle connection that is kept for the next scrape.
const IDLE: Duration = Duration::from_secs(60);
/// Largest file of certificates.
const MAX_CA_BYTES: u64 = 4 * 1024 * 1024;

/// Makes bounded exchanges.
#[derive(Clone, Debug)]
pub(super) struct Fetcher {
    client: Client,
    timeout: Duration,
    body_bytes: usize,
    large: Arc<Semaphore>,
}

/// A body.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    /// Its share of the memory for large bodies, given back when it is dropped.
    share: Option<OwnedSemaphorePermit>,
}

/// How an exchange ended.
#[derive(Debug)]
pub(super) enum Exchange {
    /// With a body.
    Answered(Body),
    /// With a status other than 200.
    Status(StatusCode, String),
    /// With an answer that cannot be used.
    Unusable(String),
    /// Not in time.
    Slow(String),
    /// Without a connection.
    Unreachable(String),
}

/// Whom an `https` server is verified with.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trust<'a> {
    /// The authorities in a PEM file.
    File(&'a Path),
    /// The system's.
    System,
    /// Nobody: no `https` server is trusted.
    Nobody,
}

// === impl Fetcher ===

impl Fetcher {
    /// A fetcher with its own pool of connections. Follows no redirect and no proxy of the environment.
    pub(super) fn new(trust: Trust<'_>, timeout: Duration, body_bytes: usize) -> Result<Self, String> {
        // Without it the client would panic; `main` installs it first of all.
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err("no TLS provider is installed".to_owned());
        }
        let builder = Client::builder()
            .user_agent(concat!("plimsoll/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .no_proxy()
            .http1_only()
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(2);
        let builder = match trust {
            Trust::File(path) => builder.tls_certs_only(authorities(path)?),
            Trust::Nobody => builder.tls_certs_only([]),
            Trust::System => builder,
        };
        let client = builder.build().map_err(|error| format!("no HTTP client: {}", error.without_url()))?;
        Ok(Self { client, timeout, body_bytes, large: Arc::new(Semaphore::new(LARGE_BODIES)) })
    }

    /// The same with a share of its own of the memory for large bodies, so that others cannot use it up.
    pub(super) fn apart(&self) -> Self {
        Self { large: Arc::new(Semaphore::new(LARGE_BODIES)), ..self.clone() }
    }

    /// The client, to build a request with.
    pub(super) const fn client(&self) -> &Client {
        &self.client
    }

    /// Sends a request and reads the answer's body; an answer other than 200 is a failure.
    pub(super) async fn fetch(&self, request: RequestBuilder) -> Result<Body, String> {
        match self.exchange(request).await {
            Exchange::Answered(body) => Ok(body),
            Exchange::Status(_, reason)
            | Exchange::Unusable(reason)
            | Exchange::Slow(reason)
            | Exchange::Unreachable(reason) => Err(reason),
        }
    }

    /// As [`Fetcher::fetch`], with the ways to fail told apart.
    pub(super) async fn exchange(&self, request: RequestBuilder) -> Exchange {
        self.read(request).await.map_or_else(|failed| failed, Exchange::Answered)
    }

    async fn read(&self, request: RequestBuilder) -> Result<Body, Exchange> {
        let mut deadline = Instant::now() + self.timeout;
        let mut response = self.by(deadline, request.send()).await?;
        if response.status() != StatusCode::OK {
            return Err(Exchange::Status(response.status(), failure::status(response.status())));
        }
        let mut body = Body { bytes: Vec::new(), share: None };
        // Chunks come decompressed, a few KiB at a time, so a bomb is cut off at the bound.
        while let Some(chunk) = self.by(deadline, response.chunk()).await? {
            let bytes = body.bytes.len() + chunk.len();
            if bytes > self.body_bytes {
                return Err(Exchange::Unusable(failure::too_large(self.body_bytes)));
            }
            if body.share.is_none() && bytes > SMALL_BODY {
                let asked = Instant::now();
                body.share = Some(self.share().await?);
                // That others are slow is not this one's fault.
                deadline += asked.elapsed();
            }
            body.bytes.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// A step of an exchange that must end by then.
    async fn by<T>(&self, deadline: Instant, step: impl Future<Output = reqwest::Result<T>>) -> Result<T, Exchange> {
        let ended = timeout_at(deadline, step).await.ok();
        // A step that is ready at once is done however late it is: a body of many such steps would have no end.
        match ended.filter(|_| Instant::now() <= deadline) {
            Some(done) => done.map_err(|error| failed(&error.without_url())),
            None => Err(Exchange::Slow(failure::timed_out(self.timeout))),
        }
    }

    /// A share of the memory for large bodies.
    async fn share(&self) -> Result<OwnedSemaphorePermit, Exchange> {
        let patience = self.timeout.saturating_mul(TURNS);
        let turn = timeout(patience, self.large.clone().acquire_owned()).await;
        turn.ok().and_then(Result::ok).ok_or_else(|| Exchange::Slow(failure::crowded_out(patience)))
    }
}

fn failed(error: &reqwest::Error) -> Exchange {
    let reason = failure::client(error);
    if error.is_connect() { Exchange::Unreachable(reason) } else { Exchange::Unusable(reason) }
}

// === impl Body ===

impl Body {
    /// Whether reading it would hold up other tasks.
    pub(super) const fn is_large(&self) -> bool {
        self.bytes.len() > SMALL_BODY
    }
}

fn authorities(path: &Path) -> Result<Vec<Certificate>, String> {
    let shown = path.display();
    let size = std::fs::metadata(path).map_err(|error| format!("caFile {shown} cannot be read: {error}"))?.len();
    if size > MAX_CA_BYTES {
        return Err(format!("caFile {shown} is larger than {MAX_CA_BYTES} bytes"));
    }
    let pem = std::fs::read(path).map_err(|error| format!("caFile {shown} cannot be read: {error}"))?;
    let found = Certificate::from_pem_bundle(&pem).map_err(|_| format!("caFile {shown} is not PEM"))?;
    if found.is_empty() { Err(format!("caFile {shown} holds no certificate")) } else { Ok(found) }
}
