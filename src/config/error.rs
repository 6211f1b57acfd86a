//! Why a configuration is refused: where, what, and what would be right.
//!
//! The text is `config.yaml:12:5: unknown key "scrapeIntervall", did you mean "scrape.interval"?`.

use std::collections::BTreeSet;

use plimsoll_core::suggest::nearest;
use serde_saphyr::{Error as Yaml, Location};

use super::suggest::nearest_path;

/// Why a configuration is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}{}: {message}", self.place())]
pub struct Error {
    name: String,
    position: Option<(u64, u64)>,
    message: String,
}

// === impl Error ===

impl Error {
    /// An error of the file as a whole.
    pub(super) fn whole(name: &str, message: impl Into<String>) -> Self {
        Self { name: name.to_owned(), position: None, message: message.into() }
    }

    /// An error at a place in the file.
    pub(super) fn at(name: &str, location: Location, message: impl Into<String>) -> Self {
        let known = location != Location::UNKNOWN && location.line() > 0;
        let position = known.then(|| (location.line(), location.column()));
        Self { name: name.to_owned(), position, message: message.into() }
    }

    /// An error of the YAML reader.
    pub(super) fn yaml(name: &str, error: &Yaml, paths: &BTreeSet<String>) -> Self {
        let error = error.without_snippet();
        Self::at(name, error.location().unwrap_or(Location::UNKNOWN), message(error, paths))
    }

    /// Line and column, from 1, if the error has a place.
    #[must_use]
    pub const fn position(&self) -> Option<(u64, u64)> {
        self.position
    }

    fn place(&self) -> String {
        self.position.map_or_else(String::new, |(line, column)| format!(":{line}:{column}"))
    }
}

fn message(error: &Yaml, paths: &BTreeSet<String>) -> String {
    match error {
        Yaml::SerdeUnknownField { field, expected, .. } => unknown_key(field, expected, paths),
        Yaml::SerdeUnknownVariant { variant, expected, .. } => {
            let listed = expected.join(", ");
            let hint = nearest(variant, expected.iter().copied()).map(|near| format!(", did you mean {near:?}?"));
            format!("unknown value {:?}{} (one of {listed})", cut(variant), hint.unwrap_or_default())
        }
        Yaml::SerdeMissingField { field, .. } => format!("key {field:?} is missing"),
        Yaml::DuplicateMappingKey { key: Some(key), .. } => format!("key {:?} is given twice", cut(key)),
        Yaml::SerdeInvalidType { unexpected, expected, .. } | Yaml::SerdeInvalidValue { unexpected, expected, .. } => {
            format!("found {}, expected {expected}", cut(unexpected))
        }
        Yaml::InvalidScalar { ty, .. } => format!("expected {}", in_words(ty)),
        Yaml::Unexpected { expected, .. } => format!("expected {}", in_words(expected)),
        Yaml::NullIntoString { .. } => "the value is missing".to_owned(),
        Yaml::InvalidBooleanStrict { .. } => "expected true or false".to_owned(),
        Yaml::Message { msg, .. } => msg.clone(),
        Yaml::MultipleDocuments { .. } => "the file holds several documents, expected one".to_owned(),
        other => cut(&plain_text(other)),
    }
}

fn unknown_key(field: &str, expected: &[&str], paths: &BTreeSet<String>) -> String {
    let near = nearest(field, expected.iter().copied()).or_else(|| nearest_path(field, paths));
    let hint = match near {
        Some(near) => format!(", did you mean {near:?}?"),
        None => format!(" (one of {})", expected.join(", ")),
    };
    format!("unknown key {:?}{hint}", cut(field))
}

/// The reader's names of types, in words of people.
fn in_words(ty: &str) -> &str {
    match ty {
        "u16" => "a whole number from 0 to 65535",
        "u8" | "u32" | "u64" | "usize" => "a whole number, not negative",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "floating point" | "f32" | "f64" => "a number",
        "mapping start" => "a mapping of keys to values",
        "sequence start" => "a list",
        "string scalar" => "a text",
        other => other,
    }
}

/// The reader's own text, without its line and column, which are already in front.
fn plain_text(error: &Yaml) -> String {
    let text = error.to_string();
    let end = text.find(" at line ").or_else(|| text.find('\n')).unwrap_or(text.len());
    text[..end].trim_start_matches("error: ").to_owned()
}

fn cut(text: &str) -> String {
    text.chars().take(200).collect()
}
