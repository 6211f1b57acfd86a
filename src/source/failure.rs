//! Why a request failed, in words that a person can act on, and never with a credential or a foreign text in them.

use std::{error::Error, io, time::Duration};

use crate::config::duration::GoDuration;

/// A request that ran out of time.
pub(super) fn timed_out(after: Duration) -> String {
    format!("timed out after {}", GoDuration(after))
}

/// A large body that other large ones left no room for.
pub(super) fn crowded_out(after: Duration) -> String {
    format!("no room for its large body within {}: too many other targets send large bodies slowly", GoDuration(after))
}

/// A body above the bound.
pub(super) fn too_large(bytes: usize) -> String {
    const MEBIBYTE: usize = 1024 * 1024;
    if bytes.is_multiple_of(MEBIBYTE) {
        return format!("body larger than {} MiB", bytes / MEBIBYTE);
    }
    format!("body larger than {bytes} bytes")
}

/// A status that is not 200.
pub(super) fn status(status: http::StatusCode) -> String {
    let code = status.as_u16();
    match code {
        300..=399 => format!("HTTP {code}, redirects are not followed"),
        401 | 403 => format!("HTTP {code}, the target wants other credentials"),
        _ => format!("HTTP {code}"),
    }
}

/// An error of the HTTP client.
pub(super) fn client(error: &reqwest::Error) -> String {
    // The layers below tell a name or a certificate that is no good only in their texts.
    for cause in chain(error).map(ToString::to_string) {
        if cause.contains("dns") {
            return "the host name cannot be resolved".to_owned();
        }
        if cause.contains("certificate") {
            return "the certificate is not trusted (caFile)".to_owned();
        }
    }
    let io = chain(error).find_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    match io.and_then(of_io) {
        Some(reason) => reason.to_owned(),
        None if error.is_connect() => "cannot connect".to_owned(),
        None if io.is_some() || error.is_decode() || error.is_body() => BROKEN_BODY.to_owned(),
        None => "the answer is not valid HTTP".to_owned(),
    }
}

const BROKEN_BODY: &str = "the body ends early or is not what its encoding says";

const fn of_io(kind: io::ErrorKind) -> Option<&'static str> {
    match kind {
        io::ErrorKind::ConnectionRefused => Some("connection refused"),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Some("connection reset"),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Some("host unreachable"),
        io::ErrorKind::TimedOut => Some("connection timed out"),
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => Some(BROKEN_BODY),
        _ => None,
    }
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| (*error).source())
}
