//! `metav1.Status`: every answer that is not an answer.
//!
//! The message reaches `kubectl describe hpa` word for word, so it says what to do. There is never a `Retry-After`:
//! client-go would sleep that long inside an HPA worker (`k8s.io/client-go` v0.36.3 `rest/with_retry.go`).

use http::{HeaderValue, StatusCode, header};
use plimsoll_core::answer::{Reason, Refusal};
use serde::Serialize;

use super::reply::{self, Reply};

/// A failed request, on its way to the client.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) code: StatusCode,
    reason: &'static str,
    message: String,
    details: Option<Box<Details>>,
}

/// `metav1.Status`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    kind: &'static str,
    api_version: &'static str,
    metadata: Empty,
    #[serde(rename = "status")]
    outcome: &'static str,
    message: String,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Box<Details>>,
    code: u16,
}

#[derive(Debug, Serialize)]
struct Empty {}

/// `metav1.StatusDetails`.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Details {
    /// Name of the object.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) name: String,
    /// Its API group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) group: String,
    /// Its resource; Kubernetes calls the field so.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) kind: String,
    /// Machine-readable causes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) causes: Vec<Cause>,
}

/// `metav1.StatusCause`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Cause {
    pub(crate) reason: String,
    pub(crate) message: String,
}

// === impl Failure ===

impl Failure {
    fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: None }
    }

    pub(crate) fn bad_request(message: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    pub(crate) fn method_not_allowed(message: &str) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
    }

    pub(crate) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized")
    }

    pub(crate) fn forbidden(message: String, details: Details) -> Self {
        Self { details: Some(Box::new(details)), ..Self::new(StatusCode::FORBIDDEN, "Forbidden", message) }
    }

    pub(crate) fn path_not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", "the server could not find the requested resource")
    }

    pub(crate) fn not_found(message: String, details: Details) -> Self {
        let failure = Self::new(StatusCode::NOT_FOUND, "NotFound", message);
        failure.caused(details, "NotFound")
    }

    pub(crate) fn not_acceptable(offered: &str) -> Self {
        let message = format!("only the following media types are accepted: {offered}");
        Self::new(StatusCode::NOT_ACCEPTABLE, "NotAcceptable", message)
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message)
    }

    /// Not now, with a machine-readable cause.
    pub(crate) fn unavailable(cause: &str, message: impl Into<String>) -> Self {
        let failure = Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message);
        failure.caused(Details::default(), cause)
    }

    /// A refusal of the core. Ambiguity is a 409: the caller, not time, has to change something, and a 5xx would
    /// count against the availability of the API.
    pub(crate) fn refused(refusal: Refusal, details: Details) -> Self {
        let (code, reason) = match refusal.reason {
            Reason::NotFound => (StatusCode::NOT_FOUND, "NotFound"),
            Reason::BadRequest => (StatusCode::BAD_REQUEST, "BadRequest"),
            Reason::Ambiguous => (StatusCode::CONFLICT, "Conflict"),
            Reason::SourceDown | Reason::Stale | Reason::NoData | Reason::NotReady => {
                (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable")
            }
        };
        Self::new(code, reason, refusal.message).caused(details, refusal.reason.as_str())
    }

    fn caused(self, details: Details, cause: &str) -> Self {
        let cause = Cause { reason: cause.to_owned(), message: self.message.clone() };
        Self { details: Some(Box::new(Details { causes: vec![cause], ..details })), ..self }
    }

    /// The response.
    pub(crate) fn reply(self) -> Reply {
        let status = Status {
            kind: "Status",
            api_version: "v1",
            metadata: Empty {},
            outcome: "Failure",
            message: self.message,
            reason: self.reason,
            details: self.details,
            code: self.code.as_u16(),
        };
        let mut reply = reply::json(&status);
        *reply.status_mut() = self.code;
        reply.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if self.code == StatusCode::METHOD_NOT_ALLOWED {
            reply.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET"));
        }
        reply
    }
}
