//! Files and standard input to documents: JSON (any number of values one after the other) or YAML (any number of
//! documents), bounded in size. What the documents mean is no business of this file.

use std::{fmt, fs::File, io::Read, path::PathBuf};

use anyhow::{Context as _, anyhow, ensure};
use serde_json::Value;

/// Largest input that is read: 30,000 full pods are about 250 MB of JSON.
const MAX_JSON: u64 = 512 * 1024 * 1024;
/// Largest YAML input, which costs more to read.
const MAX_YAML: usize = 64 * 1024 * 1024;

/// Where an input comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Standard input.
    Stdin,
    /// A file.
    File(PathBuf),
    /// The API server.
    Cluster,
    /// One of the others, whichever has it.
    Input,
}

/// The documents of every source, in order.
pub(super) fn read_all(sources: &[Source], mut stdin: impl Read) -> anyhow::Result<Vec<Vec<Value>>> {
    sources.iter().map(|source| read(source, &mut stdin)).collect()
}

/// The documents of a source.
pub(super) fn read(source: &Source, stdin: &mut impl Read) -> anyhow::Result<Vec<Value>> {
    documents(source, stdin).with_context(|| format!("reading {source}"))
}

/// The objects of a document: a list's items, or the document itself.
pub(super) fn items(document: Value) -> Vec<Value> {
    match document {
        Value::Object(mut fields) if fields.get("items").is_some_and(Value::is_array) => match fields.remove("items") {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        },
        Value::Array(items) => items,
        other => vec![other],
    }
}

fn documents(source: &Source, stdin: &mut impl Read) -> anyhow::Result<Vec<Value>> {
    let bytes = match source {
        Source::Stdin => bounded(stdin)?,
        Source::File(path) => bounded(&mut File::open(path)?)?,
        Source::Cluster | Source::Input => return Ok(Vec::new()),
    };
    parse(&bytes)
}

fn bounded(reader: &mut impl Read) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(MAX_JSON + 1).read_to_end(&mut bytes)?;
    ensure!(bytes.len() as u64 <= MAX_JSON, "larger than {MAX_JSON} bytes; give the objects in several files");
    Ok(bytes)
}

fn parse(bytes: &[u8]) -> anyhow::Result<Vec<Value>> {
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    match first {
        None => Ok(Vec::new()),
        Some(b'{' | b'[') => {
            let documents = serde_json::Deserializer::from_slice(bytes).into_iter();
            documents.collect::<Result<_, _>>().context("this is not JSON as kubectl prints it")
        }
        Some(_) => parse_yaml(bytes),
    }
}

fn parse_yaml(bytes: &[u8]) -> anyhow::Result<Vec<Value>> {
    ensure!(bytes.len() <= MAX_YAML, "more than {MAX_YAML} bytes of YAML; use -o json instead");
    let text = std::str::from_utf8(bytes).context("this is neither JSON nor UTF-8 text")?;
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_nodes: 8_000_000, max_events: 24_000_000, max_documents: 100_000 },
    };
    serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
        // What follows the first line is a picture of the place that it names.
        let error = error.to_string();
        anyhow!("this is not YAML as kubectl prints it: {}", error.lines().next().unwrap_or_default())
    })
}

// === impl Source ===

impl From<PathBuf> for Source {
    fn from(path: PathBuf) -> Self {
        if path.as_os_str() == "-" { Self::Stdin } else { Self::File(path) }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdin => f.write_str("standard input"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Cluster => f.write_str("the cluster"),
            Self::Input => f.write_str("the input"),
        }
    }
}
