//! Identity from a bearer token, judged by kube-apiserver in a `TokenReview`.
//!
//! Tokens are remembered by their digest only. Good and bad verdicts live equally long, as in Kubernetes.

use std::time::Duration;

use http::{HeaderMap, header};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use kube::{Api, Client, api::PostParams};
use sha2::{Digest, Sha256};

use super::{Rejection, User};
use crate::api::{
    metrics::Metrics,
    review::{self, Reviews},
};

/// How long a review may take.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Longest token that is passed on; service account tokens have about 1,200 bytes.
const MAX_TOKEN: usize = 16 * 1024;

/// Judges tokens.
#[derive(Clone, Debug)]
pub(super) struct Tokens {
    api: Api<TokenReview>,
    reviews: Reviews<Option<User>>,
}

// === impl Tokens ===

impl Tokens {
    pub(super) fn new(client: Client, life: Duration, metrics: Metrics) -> Self {
        Self { api: Api::all(client), reviews: Reviews::new("token", TIMEOUT, move |_| life, metrics) }
    }

    /// The user of the token; nobody if there is none.
    pub(super) async fn authenticate(&self, headers: &HeaderMap) -> Result<Option<User>, Rejection> {
        let Some(token) = token(headers) else { return Ok(None) };
        if token.len() > MAX_TOKEN {
            return Err(Rejection::Bad("the bearer token is too long".to_owned()));
        }
        let key = Sha256::digest(token).into();
        let api = self.api.clone();
        let token = token.to_owned();
        match self.reviews.get(key, move || ask(api, token)).await {
            Ok(Some(user)) => Ok(Some(user)),
            Ok(None) => Err(Rejection::Bad("invalid bearer token".to_owned())),
            Err(error) => Err(Rejection::Unjudged(error)),
        }
    }
}

/// The token of `Authorization: Bearer …` (`pkg/authentication/request/bearertoken`).
fn token(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?.trim();
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

async fn ask(api: Api<TokenReview>, token: String) -> Result<Option<User>, review::Error> {
    let spec = TokenReviewSpec { token, audiences: None };
    let review = TokenReview { spec, ..TokenReview::default() };
    let status = api.create(&PostParams::default(), &review).await?.status.unwrap_or_default();
    if !status.authenticated.unwrap_or(false) {
        return Ok(None);
    }
    let user = status.user.ok_or_else(|| review::Error::Failed("the review came back without a user".into()))?;
    Ok(Some(user.into()))
}

impl From<UserInfo> for User {
    fn from(info: UserInfo) -> Self {
        Self {
            name: info.username.unwrap_or_default(),
            uid: info.uid.unwrap_or_default(),
            groups: info.groups.unwrap_or_default(),
            extra: info.extra.unwrap_or_default(),
        }
    }
}
