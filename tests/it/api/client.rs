//! A reply, with what must hold for every one of them.

use axum::body::Body;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

/// A reply that was checked.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// Checks the invariants: no `Retry-After`, no redirect, a content type wherever there is a body, and a whole
    /// `metav1.Status` with every error.
    pub(crate) fn checked(status: StatusCode, headers: HeaderMap, body: Vec<u8>) -> Self {
        let reply = Self { status, headers, body };
        assert!(!reply.headers.contains_key(header::RETRY_AFTER), "{reply:?}");
        assert!(!status.is_redirection() || status == StatusCode::NOT_MODIFIED, "{reply:?}");
        assert_eq!(reply.body.is_empty(), !reply.headers.contains_key(header::CONTENT_TYPE), "{reply:?}");
        if (status.is_client_error() || status.is_server_error()) && !reply.content_type().starts_with("text/plain") {
            reply.check_status();
        }
        reply
    }

    fn check_status(&self) {
        let status = self.json();
        assert_eq!(self.content_type(), "application/json");
        assert_eq!(status["kind"], "Status");
        assert_eq!(status["apiVersion"], "v1");
        assert_eq!(status["metadata"], serde_json::json!({}));
        assert_eq!(status["status"], "Failure");
        assert_eq!(status["code"], self.status.as_u16());
        assert!(!status["reason"].as_str().unwrap().is_empty());
        assert!(!status["message"].as_str().unwrap().is_empty());
    }

    pub(crate) fn content_type(&self) -> &str {
        self.headers.get(header::CONTENT_TYPE).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub(crate) fn message(&self) -> String {
        self.json()["message"].as_str().unwrap().to_owned()
    }
}

/// Sends one request to a router.
pub(crate) async fn ask(router: &axum::Router, method: Method, path: &str, headers: &[(&str, &str)]) -> Reply {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes().to_vec();
    Reply::checked(parts.status, parts.headers, body)
}

/// `GET` without headers.
pub(crate) async fn get(router: &axum::Router, path: &str) -> Reply {
    ask(router, Method::GET, path, &[]).await
}
