//! How the address of a Prometheus server in a trigger is compared with those of the configuration: only servers that
//! the administrator has configured are asked.

use crate::config::{sources::PrometheusServer, value::HttpUrl};

/// The address of a server in the form in which they are compared.
pub(super) fn of(server: &PrometheusServer) -> String {
    comparable(&server.url)
}

/// The same of an address that somebody wrote; none if it is none that could be configured.
pub(super) fn written(text: &str) -> Option<String> {
    HttpUrl::new(text).ok().as_ref().map(comparable)
}

/// What is said of an address that is none of the configuration.
pub(super) fn unknown(text: &str) -> String {
    format!(
        "serverAddress {text} is none of the servers of the configuration: its administrator adds it under prometheus[]"
    )
}

fn comparable(url: &HttpUrl) -> String {
    url.url().as_str().trim_end_matches('/').to_ascii_lowercase()
}
