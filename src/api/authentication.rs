//! Who is asking? Front proxy, then client certificate, then bearer token, as every aggregated API server does it
//! (`k8s.io/apiserver` v0.36.3 `pkg/authentication/authenticatorfactory/delegating.go`).
//!
//! ```text
//!  leaf chains to the requestheader CA, name allowed ──> X-Remote-User, -Group, -Extra-
//!  leaf chains to the client CA                      ──> CN, O            (X-Remote-* means nothing)
//!  Authorization: Bearer                             ──> TokenReview
//!  none of these                                     ──> nobody
//! ```
//!
//! Each step that had something to judge and failed is remembered: the request is refused if no later step succeeds.
//! A sender that is identified gets the group `system:authenticated`, without which discovery by kube-apiserver's
//! group-less identities would be forbidden.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use http::{HeaderMap, header};
use kube::Client;

mod bearer;
mod certificate;
mod requestheader;
mod trust;
mod watch;

pub use requestheader::FrontProxy;
pub use trust::{Store, Trust};
pub use watch::{FrontProxyFlags, Lookup, watch};

use self::bearer::Tokens;
use super::{failure::Failure, metrics::Metrics, review};
use crate::server::Peer;

/// Group of everybody who is identified.
const AUTHENTICATED: &str = "system:authenticated";

/// An identity, as in `user.Info`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// Name.
    pub name: String,
    /// Unique over time, where the authority gives one.
    pub uid: String,
    /// Groups.
    pub groups: Vec<String>,
    /// Further attributes.
    pub extra: BTreeMap<String, Vec<String>>,
}

/// Why a step that had something to judge did not identify anybody.
#[derive(Debug)]
pub(crate) enum Rejection {
    /// The credentials are bad.
    Bad(String),
    /// They cannot be judged now.
    Unjudged(review::Error),
}

/// Identifies senders.
#[derive(Clone, Debug)]
pub struct Authenticator {
    trust: Arc<Store>,
    tokens: Option<Tokens>,
    metrics: Metrics,
}

// === impl Authenticator ===

impl Authenticator {
    /// `client` reviews bearer tokens; without one they identify nobody. Verdicts are kept for `token_life`.
    #[must_use]
    pub fn new(trust: Arc<Store>, client: Option<Client>, token_life: Duration, metrics: &Metrics) -> Self {
        let tokens = client.map(|client| Tokens::new(client, token_life, metrics.clone()));
        Self { trust, tokens, metrics: metrics.clone() }
    }

    /// Whether what identifies kube-apiserver's proxy is known.
    pub fn check(&self) -> Result<(), String> {
        self.trust.load().check()
    }

    /// The sender; `None` if it shows nothing that could identify it. Headers that carry identity are removed,
    /// whoever sent them.
    pub(crate) async fn authenticate(
        &self,
        peer: Option<&Peer>,
        headers: &mut HeaderMap,
    ) -> Result<Option<User>, Failure> {
        let (result, method) = self.identify(peer, headers).await;
        headers.remove(header::AUTHORIZATION);
        if let Some(proxy) = &self.trust.load().front_proxy {
            proxy.strip(headers);
        }
        self.metrics.authentication(method);
        result.map(|user| user.map(User::authenticated))
    }

    async fn identify(
        &self,
        peer: Option<&Peer>,
        headers: &HeaderMap,
    ) -> (Result<Option<User>, Failure>, &'static str) {
        let trust = self.trust.load_full();
        let now = crate::clock::now();
        let mut rejections = Vec::new();
        if let Some((peer, proxy)) = peer.filter(|peer| peer.leaf().is_some()).zip(trust.front_proxy.as_ref()) {
            match proxy.authenticate(peer, headers, now) {
                Ok(Some(user)) => return (Ok(Some(user)), "requestheader"),
                Ok(None) => {}
                Err(rejection) => rejections.push(rejection),
            }
        }
        if let Some((peer, pool)) = peer.zip(trust.client.as_ref()) {
            match certificate::authenticate(peer, pool, now) {
                Ok(Some(user)) => return (Ok(Some(user)), "certificate"),
                Ok(None) => {}
                Err(rejection) => rejections.push(rejection),
            }
        }
        if let Some(tokens) = &self.tokens {
            match tokens.authenticate(headers).await {
                Ok(Some(user)) => return (Ok(Some(user)), "token"),
                Ok(None) => {}
                Err(rejection) => rejections.push(rejection),
            }
        }
        refuse(&rejections)
    }
}

/// What a client may know: that it is refused, or that nobody can tell now. Why goes to the log.
fn refuse(rejections: &[Rejection]) -> (Result<Option<User>, Failure>, &'static str) {
    for rejection in rejections {
        if let Rejection::Unjudged(error) = rejection {
            return (Err(error.failure("cannot check the bearer token with kube-apiserver")), "unjudged");
        }
    }
    if rejections.is_empty() {
        return (Ok(None), "none");
    }
    for rejection in rejections {
        if let Rejection::Bad(reason) = rejection {
            tracing::debug!(reason, "credentials refused");
        }
    }
    (Err(Failure::unauthorized()), "refused")
}

// === impl User ===

impl User {
    /// With the group of everybody who is identified.
    fn authenticated(mut self) -> Self {
        if !self.groups.iter().any(|group| group == AUTHENTICATED || group == "system:unauthenticated") {
            self.groups.push(AUTHENTICATED.to_owned());
        }
        self
    }
}
