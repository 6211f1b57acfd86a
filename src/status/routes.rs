//! Paths, parameters and forms of the status API.

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{FromRequestParts, Path, Query, Request, State},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts};
use serde::Deserialize;
use serde_json::json;
use tokio::time::timeout;

use super::{Filter, Reports};

/// Time in which a request is answered: everything is in memory, so more means that something is stuck.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Longest name of a namespace or an object.
const MAX_NAME: usize = 253;
/// What `/` lists.
const ENDPOINTS: [(&str, &str); 10] = [
    ("/api/v1/workloads", "scale targets and what limits them (?namespace=)"),
    ("/api/v1/decisions", "the last decision of each workload (?namespace=)"),
    ("/api/v1/decisions/{namespace}/{name}", "one decision with every step"),
    ("/api/v1/capacity", "what fits where"),
    ("/api/v1/signals", "measurements with age and quality (?namespace=)"),
    ("/api/v1/sources", "health of each source (?namespace=)"),
    ("/api/v1/coexistence", "who answers External metrics, and how KEDA's are asked for"),
    ("/healthz", "whether the process works"),
    ("/metrics", "our own metrics, text format"),
    ("/", "this list"),
];

type Shared = Arc<dyn Reports>;

/// An error in the API's form.
struct Failure(StatusCode, String);

/// The parameters of a query string; unknown ones are refused, so that a slip is not taken for "everything".
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    namespace: Option<String>,
}

/// The filter of a request.
struct Asked(Filter);

/// The status API.
pub fn router(reports: Shared) -> Router {
    Router::new()
        .route("/", get(index))
        .route(
            "/api/v1/workloads",
            get(|State(r): State<Shared>, Asked(filter): Asked| async move { Json(r.workloads(&filter)) }),
        )
        .route(
            "/api/v1/decisions",
            get(|State(r): State<Shared>, Asked(filter): Asked| async move { Json(r.decisions(&filter)) }),
        )
        .route("/api/v1/decisions/{namespace}/{name}", get(decision))
        .route("/api/v1/capacity", get(|State(r): State<Shared>| async move { Json(r.capacity()) }))
        .route(
            "/api/v1/signals",
            get(|State(r): State<Shared>, Asked(filter): Asked| async move { Json(r.signals(&filter)) }),
        )
        .route(
            "/api/v1/sources",
            get(|State(r): State<Shared>, Asked(filter): Asked| async move { Json(r.sources(&filter)) }),
        )
        .route("/api/v1/coexistence", get(|State(r): State<Shared>| async move { Json(r.coexistence()) }))
        .route("/healthz", get(health))
        .route("/metrics", get(metrics))
        .fallback(|| async { Failure(StatusCode::NOT_FOUND, "no such path; / lists them all".to_owned()) })
        .method_not_allowed_fallback(|| async { Failure(StatusCode::METHOD_NOT_ALLOWED, "only GET".to_owned()) })
        .layer(from_fn(guard))
        .with_state(reports)
}

async fn index() -> Json<serde_json::Value> {
    let endpoints: Vec<_> = ENDPOINTS.iter().map(|(path, what)| json!({"path": path, "what": what})).collect();
    Json(json!({"name": "plimsoll", "version": env!("CARGO_PKG_VERSION"), "endpoints": endpoints}))
}

async fn decision(State(reports): State<Shared>, Path((namespace, name)): Path<(String, String)>) -> Response {
    match reports.decision(&namespace, &name) {
        Some(decision) => Json(decision).into_response(),
        None => Failure(
            StatusCode::NOT_FOUND,
            format!("there is no decision for {:?}", cut(&format!("{namespace}/{name}"))),
        )
        .into_response(),
    }
}

async fn health(State(reports): State<Shared>) -> Response {
    match reports.health() {
        Ok(()) => "ok\n".into_response(),
        Err(reason) => Failure(StatusCode::SERVICE_UNAVAILABLE, reason).into_response(),
    }
}

async fn metrics(State(reports): State<Shared>) -> Response {
    const TEXT: HeaderValue = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    match reports.metrics() {
        Ok(text) => ([(header::CONTENT_TYPE, TEXT)], text).into_response(),
        Err(_) => {
            Failure(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be written".to_owned()).into_response()
        }
    }
}

/// What holds for every request: an address in the Host header, no body, an answer in time, nothing cached.
async fn guard(request: Request, next: Next) -> Response {
    let mut response = match refusal(request.headers()) {
        Some(refused) => refused.into_response(),
        None => timeout(ANSWER_WITHIN, next.run(request)).await.unwrap_or_else(|_| {
            Failure(StatusCode::SERVICE_UNAVAILABLE, "not answered in time".to_owned()).into_response()
        }),
    };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn refusal(headers: &HeaderMap) -> Option<Failure> {
    if !is_address(headers) {
        let reason = "the Host header must be an IP address or localhost: a web page may not read this";
        return Some(Failure(StatusCode::FORBIDDEN, reason.to_owned()));
    }
    has_body(headers).then(|| Failure(StatusCode::PAYLOAD_TOO_LARGE, "a request has no body here".to_owned()))
}

/// Whether a request names us by address: a page that a browser has loaded from elsewhere can make its own name
/// resolve to loopback (DNS rebinding), but cannot change the name in this header.
fn is_address(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else { return true };
    let Ok(authority) = http::uri::Authority::try_from(host.as_bytes()) else { return false };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

fn has_body(headers: &HeaderMap) -> bool {
    let length = headers.get(header::CONTENT_LENGTH);
    headers.contains_key(header::TRANSFER_ENCODING) || length.is_some_and(|length| length != "0")
}

fn cut(text: &str) -> String {
    text.chars().take(MAX_NAME).collect()
}

// === impl Asked ===

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let bad = |reason: String| Failure(StatusCode::BAD_REQUEST, reason);
        let Query(Parameters { namespace }) = Query::<Parameters>::from_request_parts(parts, state)
            .await
            .map_err(|_| bad("the only parameter is namespace, once".to_owned()))?;
        if namespace.as_ref().is_some_and(|name| name.is_empty() || name.len() > MAX_NAME) {
            return Err(bad("namespace is empty or too long".to_owned()));
        }
        Ok(Self(Filter { namespace }))
    }
}

// === impl Failure ===

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.0, Json(json!({"error": self.1, "code": self.0.as_u16()}))).into_response()
    }
}

#[cfg(test)]
mod tests;
