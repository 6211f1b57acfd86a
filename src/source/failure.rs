//! Why a request failed, in words that a person can act on, and never with a credential or a foreign text in them.

use std::{error::Error, io, time::Duration};

use crate::config::duration::GoDuration;

/// A request that ran out of time.
pub(super) fn timed_out(after: Duration) -> String {
    format!("timed out after {}", GoDuration(after))
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
    if let Some(io) = find::<io::Error>(error).filter(|io| io.kind() != io::ErrorKind::Other) {
        return of_io(io.kind());
    }
    let text = chain(error).map(ToString::to_string).find(|text| text.contains("dns") || text.contains("certificate"));
    match text {
        Some(text) if text.contains("dns") => "the host name cannot be resolved".to_owned(),
        Some(_) => "the certificate is not trusted (see caFile)".to_owned(),
        None if error.is_connect() => "cannot connect".to_owned(),
        None if error.is_decode() || error.is_body() => {
            "the body ends early or is not what its encoding says".to_owned()
        }
        None => "the answer is not valid HTTP".to_owned(),
    }
}

fn of_io(kind: io::ErrorKind) -> String {
    match kind {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset => "connection reset".to_owned(),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "host unreachable".to_owned(),
        io::ErrorKind::TimedOut => "connection timed out".to_owned(),
        io::ErrorKind::InvalidData => {
            "the body or its encoding is malformed, or the certificate is not trusted".to_owned()
        }
        io::ErrorKind::UnexpectedEof => "the body ends early".to_owned(),
        other => format!("connection failed: {other}"),
    }
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| (*error).source())
}

fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    chain(error).find_map(|error| error.downcast_ref())
}
