//! Rendering: JSON bodies, entity tags, and which media types a client takes.

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use plimsoll_core::hex;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::failure::Failure;

/// A response.
pub(crate) type Reply = Response<Body>;

/// Plain JSON.
pub(crate) const JSON: &str = "application/json";

/// A document that changes rarely: its bytes and their digest.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    pub(crate) media_type: &'static str,
    pub(crate) bytes: bytes::Bytes,
    pub(crate) digest: String,
}

/// Media types that a client takes, in its order; `None` where it does not say.
#[derive(Debug)]
pub(crate) struct Accept<'a>(Option<Vec<Range<'a>>>);

#[derive(Debug)]
struct Range<'a> {
    kind: &'a str,
    parameters: Vec<&'a str>,
}

// === responses ===

/// 200 with a JSON body; 500 if it cannot be printed, which no type here can cause.
pub(crate) fn json<T: Serialize>(body: &T) -> Reply {
    match serde_json::to_vec(body) {
        Ok(bytes) => {
            let mut reply = with_type(JSON, bytes.into());
            reply.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
            reply
        }
        Err(error) => {
            tracing::error!(%error, "an answer cannot be printed as JSON");
            status_only(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

/// 200 with text.
pub(crate) fn text(media_type: &'static str, body: String) -> Reply {
    let mut reply = with_type(media_type, body.into());
    reply.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    reply.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    reply
}

fn with_type(media_type: &'static str, body: Body) -> Reply {
    let mut reply = Response::new(body);
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    reply
}

fn status_only(status: StatusCode) -> Reply {
    let mut reply = Response::new(Body::empty());
    *reply.status_mut() = status;
    reply
}

// === impl Document ===

impl Document {
    /// Prints a document. `None` if it cannot be printed.
    pub(crate) fn new<T: Serialize>(media_type: &'static str, body: &T) -> Result<Self, Failure> {
        let bytes = serde_json::to_vec(body).map_err(|error| Failure::internal(error.to_string()))?;
        let digest = hex::encode(&Sha256::digest(&bytes));
        Ok(Self { media_type, bytes: bytes.into(), digest })
    }

    /// 200, or 304 where the client has these bytes already
    /// (`k8s.io/apiserver` v0.36.3 `pkg/endpoints/discovery/aggregated/etag.go`).
    pub(crate) fn reply(&self, headers: &HeaderMap) -> Reply {
        let tag = format!("\"{}\"", self.digest);
        let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        let same = known.flat_map(|value| value.split(',')).any(|value| value.trim() == tag);
        let mut reply = if same {
            status_only(StatusCode::NOT_MODIFIED)
        } else {
            with_type(self.media_type, self.bytes.clone().into())
        };
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            reply.headers_mut().insert(header::ETAG, tag);
        }
        reply.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
        reply.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public"));
        reply
    }
}

// === impl Accept ===

impl<'a> Accept<'a> {
    /// Reads the header; none means anything goes.
    pub(crate) fn new(headers: &'a HeaderMap) -> Self {
        if !headers.contains_key(header::ACCEPT) {
            return Self(None);
        }
        let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let ranges = values.flat_map(|value| value.split(',')).filter_map(Range::parse);
        Self(Some(ranges.collect()))
    }

    /// The first of the offered media types that the client takes, in the client's order. Offers are written
    /// `type/subtype` or, with parameters, exactly as they will be sent.
    pub(crate) fn choose(&self, offers: &[&'static str]) -> Option<&'static str> {
        let Some(ranges) = &self.0 else { return offers.last().copied() };
        ranges.iter().find_map(|range| offers.iter().copied().rev().find(|offer| range.takes(offer)))
    }

    /// Whether plain JSON is fine; if not, the 406 to send. An HPA asks for `application/vnd.kubernetes.protobuf,
    /// */*`, which it is.
    pub(crate) fn json(&self) -> Result<(), Failure> {
        self.choose(&[JSON]).map(drop).ok_or_else(|| Failure::not_acceptable(JSON))
    }
}

impl<'a> Range<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let kind = parts.next().filter(|kind| !kind.is_empty())?;
        let (weights, parameters): (Vec<_>, Vec<_>) = parts
            .filter(|part| !part.is_empty())
            .partition(|part| part.starts_with("q=") || part.starts_with("charset"));
        let refused = weights.iter().any(|part| part.strip_prefix("q=").and_then(|q| q.parse().ok()) == Some(0.0_f32));
        (!refused).then_some(Self { kind, parameters })
    }

    fn takes(&self, offer: &str) -> bool {
        let mut parts = offer.split(';');
        let kind = parts.next().unwrap_or_default();
        let offered: Vec<_> = parts.collect();
        let exact = self.kind.eq_ignore_ascii_case(kind)
            && self.parameters.len() == offered.len()
            && self.parameters.iter().all(|parameter| offered.contains(parameter));
        // A wildcard means the plain form: nobody gets a special document without naming it.
        let wildcard = matches!(self.kind, "*/*" | "application/*") && self.parameters.is_empty();
        exact || (wildcard && offered.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_accept_header_panics_or_chooses_what_was_not_offered(text in "[ -~]{0,60}") {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_str(&text).unwrap());
            let chosen = Accept::new(&headers).choose(&[JSON]);
            prop_assert!(chosen.is_none_or(|chosen| chosen == JSON));
        }
    }
}
