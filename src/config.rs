//! The configuration: one YAML file, read into checked values, without opening a connection.
//!
//! ```text
//!  text ──serde──> file::File ──check──> Configuration { policy, sources, tick }
//!         │ unknown key, wrong type, odd value    │ what takes two keys to judge
//!         └────────────── Error: name:line:column: message, and what would be right
//! ```
//!
//! Every key is in `docs/reference/configuration.yaml`. A bad file at a reload never replaces the last good one.

use std::{collections::BTreeSet, fs::File, io::Read, path::Path, sync::OnceLock, time::Duration};

use plimsoll_core::{hex, policy::Policy};
use sha2::{Digest, Sha256};

pub mod address;
mod check;
pub mod duration;
mod error;
mod file;
pub mod keda;
pub mod promql;
pub mod sources;
mod suggest;
pub mod value;
mod watch;

pub use error::Error;
pub use sources::SourceSettings;
pub use watch::{Watcher, watch};

/// `apiVersion` of the file.
pub const API_VERSION: &str = "plimsoll.dev/v1alpha1";
/// `kind` of the file.
pub const KIND: &str = "Configuration";
/// Longest file, in bytes: far above any real one, far below what would hurt.
const MAX_BYTES: usize = 1024 * 1024;

/// A checked configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Configuration {
    /// Time between two evaluations.
    pub tick: Duration,
    /// Policy of decisions.
    pub policy: Policy,
    /// Where measurements come from.
    pub sources: SourceSettings,
    /// KEDA's metrics server, if requests of its HPAs are passed on to it.
    pub keda: Option<keda::Keda>,
    /// SHA-256 of the text that it was read from, in hexadecimal; empty for the defaults.
    pub digest: String,
}

// === impl Configuration ===

impl Default for Configuration {
    fn default() -> Self {
        Self {
            tick: file::File::default().tick.value.0,
            policy: Policy::default(),
            sources: SourceSettings::default(),
            keda: None,
            digest: String::new(),
        }
    }
}

/// Reads a file.
pub fn load(path: &Path) -> Result<Configuration, Error> {
    parse(&read(path)?, &path.display().to_string())
}

fn read(path: &Path) -> Result<String, Error> {
    let name = path.display().to_string();
    let unreadable = |error: std::io::Error| Error::whole(&name, format!("cannot be read: {error}"));
    let mut text = String::new();
    let mut file = File::open(path).map_err(unreadable)?.take(MAX_BYTES as u64 + 1);
    file.read_to_string(&mut text).map_err(unreadable)?;
    Ok(text)
}

/// Reads a text; `name` stands in front of errors.
pub fn parse(text: &str, name: &str) -> Result<Configuration, Error> {
    if text.len() > MAX_BYTES {
        return Err(Error::whole(name, format!("is larger than {MAX_BYTES} bytes")));
    }
    let options = serde_saphyr::options! { strict_booleans: true };
    let file: file::File =
        serde_saphyr::from_str_with_options(text, options).map_err(|error| Error::yaml(name, &error, known_paths()))?;
    check::check(name, file, digest(text.as_bytes()))
}

fn digest(bytes: &[u8]) -> String {
    hex::encode(&Sha256::digest(bytes))
}

/// The paths of all keys, for suggestions.
fn known_paths() -> &'static BTreeSet<String> {
    static PATHS: OnceLock<BTreeSet<String>> = OnceLock::new();
    PATHS.get_or_init(|| suggest::paths(&serde_json::to_value(file::File::sample()).unwrap_or_default()))
}

#[cfg(test)]
mod tests;
