//! Logs: to standard error, one line per event, filtered by target and level.
//!
//! Standard output stays free for data.

use std::{io::IsTerminal, str::FromStr};

use tracing_subscriber::{EnvFilter, util::SubscriberInitExt};

/// What is logged when nothing is said: kube reports each failed request as an error by itself, which the watches
/// already do with the right words and once.
const DEFAULT_FILTER: &str = "info,kube_client::client::builder=off";

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// For people.
    #[default]
    Text,
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter does not parse.
    #[error("log filter {filter:?} is not valid: write a level (info) or directives (warn,plimsoll=debug)")]
    Filter {
        /// The filter as given.
        filter: String,
        /// What is wrong with it.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// There is a subscriber already.
    #[error("logging is already set up")]
    AlreadySet(#[source] tracing_subscriber::util::TryInitError),
}

/// Sets up logging for the process.
///
/// The filter is a level or a list of directives; without one, `info`. A caller that honours `RUST_LOG` passes it
/// (`--log-level` with that variable as its default).
pub fn init(filter: Option<&str>, format: Format) -> Result<(), Error> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(parse(filter)?)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match format {
        Format::Json => builder.json().flatten_event(true).finish().try_init(),
        Format::Text => builder.with_target(false).finish().try_init(),
    }
    .map_err(Error::AlreadySet)
}

fn parse(filter: Option<&str>) -> Result<EnvFilter, Error> {
    let filter = filter.map(str::trim).filter(|filter| !filter.is_empty()).unwrap_or(DEFAULT_FILTER);
    EnvFilter::from_str(filter).map_err(|source| Error::Filter { filter: filter.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_directives_are_filters() {
        for filter in [None, Some(""), Some("debug"), Some("warn,plimsoll::kubernetes=trace")] {
            parse(filter).unwrap();
        }
        assert_eq!(parse(None).unwrap().to_string(), "kube_client::client::builder=off,info");
    }

    #[test]
    fn a_bad_filter_is_refused_with_an_example() {
        let error = parse(Some("plimsoll=loud")).unwrap_err().to_string();
        assert!(error.contains("plimsoll=loud") && error.contains("warn,plimsoll=debug"), "{error}");
    }
}
