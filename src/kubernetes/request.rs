//! Single calls to the Kubernetes API, bounded in size and time, and the ways in which they fail.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, header::RETRY_AFTER};
use http_body_util::{BodyExt, Limited};
use kube::{Client, client::Body, core::Status};
use serde::de::DeserializeOwned;

/// Largest refusal that is read, in bytes.
const MAX_STATUS: usize = 64 * 1024;
/// Longest wait that a server may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The request cannot be written.
    #[error("cannot form the request: {0}")]
    Request(String),
    /// No connection, or it broke.
    #[error("cannot reach the API server: {0}")]
    Unreachable(String),
    /// Connected, but silent.
    #[error("the API server said nothing for {} s", .0.as_secs_f64())]
    Silent(Duration),
    /// The server said no.
    #[error("the API server answered {code} {reason}: {message}")]
    Refused {
        /// HTTP status, or the code in a watch's error event.
        code: u16,
        /// `metav1.StatusReason`.
        reason: String,
        /// For people.
        message: String,
        /// When the server wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// The answer is larger than anything expected, or not what was asked for.
    #[error("cannot read the answer: {0}")]
    Unreadable(String),
}

// === impl Failure ===

impl Failure {
    /// Whether the server refused with that code.
    #[must_use]
    pub fn is(&self, wanted: u16) -> bool {
        matches!(self, Self::Refused { code, .. } if *code == wanted)
    }

    /// A refusal as a `metav1.Status` says it.
    #[must_use]
    pub fn from_status(status: Status) -> Self {
        let seconds = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
        let wait = Duration::from_secs(seconds.into());
        Self::Refused {
            code: status.code,
            reason: status.reason,
            message: status.message,
            retry_after: (!wait.is_zero()).then_some(wait.min(MAX_RETRY_AFTER)),
        }
    }
}

/// Sends a request and returns the answer once its head says success.
pub async fn open(client: &Client, request: Request<Vec<u8>>, patience: Duration) -> Result<Response<Body>, Failure> {
    let call = async {
        let response = client.send(request.map(Body::from)).await.map_err(failure)?;
        if response.status().is_success() { Ok(response) } else { Err(refusal(response).await) }
    };
    tokio::time::timeout(patience, call).await.map_err(|_| Failure::Silent(patience))?
}

/// Sends a request and returns the whole body, at most `max` bytes of it.
pub async fn fetch(
    client: &Client,
    request: Request<Vec<u8>>,
    max: usize,
    patience: Duration,
) -> Result<Bytes, Failure> {
    let call = async {
        let response = open(client, request, patience).await?;
        read(response, max).await
    };
    tokio::time::timeout(patience, call).await.map_err(|_| Failure::Silent(patience))?
}

/// Gets the object at a path.
pub async fn get<T: DeserializeOwned>(
    client: &Client,
    path: &str,
    max: usize,
    patience: Duration,
) -> Result<T, Failure> {
    let request = Request::get(path).body(Vec::new()).map_err(|error| Failure::Request(error.to_string()))?;
    let body = fetch(client, request, max, patience).await?;
    serde_json::from_slice(&body).map_err(|error| Failure::Unreadable(error.to_string()))
}

/// What is not there is no failure.
pub fn present<T>(answer: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(failure) if failure.is(404) => Ok(None),
        Err(failure) => Err(failure),
    }
}

async fn read(response: Response<Body>, max: usize) -> Result<Bytes, Failure> {
    let body = Limited::new(response.into_body(), max);
    match body.collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            Err(Failure::Unreadable(format!("it is larger than {max} bytes")))
        }
        Err(error) => Err(Failure::Unreachable(chain(&*error))),
    }
}

async fn refusal(response: Response<Body>) -> Failure {
    let code = response.status().as_u16();
    let header = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let body = read(response, MAX_STATUS).await.unwrap_or_default();
    let status = serde_json::from_slice(&body).unwrap_or_else(|_| {
        let text: String = String::from_utf8_lossy(&body).chars().take(200).collect();
        Status { message: text, ..Status::default() }
    });
    let failure = Failure::from_status(Status { code, ..status });
    match (failure, header.map(Duration::from_secs)) {
        (Failure::Refused { code, reason, message, retry_after }, header) => Failure::Refused {
            code,
            reason,
            message,
            retry_after: header.map(|wait| wait.min(MAX_RETRY_AFTER)).or(retry_after),
        },
        (other, _) => other,
    }
}

/// A failure of a call that kube makes whole.
pub(crate) fn failure(error: kube::Error) -> Failure {
    match error {
        kube::Error::Api(status) => Failure::from_status(*status),
        other => Failure::Unreachable(chain(&other)),
    }
}

/// An error with all its causes; the first alone says little ("client error (Connect)").
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        source = error.source();
    }
    text
}
