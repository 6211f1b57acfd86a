//! Values that are checked while they are read, so that an error points at them and nothing checks again.

use std::fmt;

use plimsoll_core::selector::Selector;
use reqwest::Url;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::address;

/// A URL that may be asked: `http` or `https`, with a host, without credentials and fragment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HttpUrl(Url);

/// The path of a scrape: starts with a slash; a query may follow.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HttpPath(String);

/// A label selector in string form that selects something less than everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelSelectorText(Selector);

/// A ratio from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio(f64);

/// `http` or `https`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// Plain.
    #[default]
    Http,
    /// TLS.
    Https,
}

// === impl HttpUrl ===

impl HttpUrl {
    /// Checks a URL.
    pub fn new(text: &str) -> Result<Self, String> {
        let shown: String = text.chars().take(200).collect();
        let url = Url::parse(text).map_err(|error| format!("{shown:?} is not a URL: {error}"))?;
        // Nothing of a URL with credentials is repeated: errors and status are read by others.
        if !url.username().is_empty() || url.password().is_some() {
            return Err("a URL must not carry credentials: use bearerTokenFile".to_owned());
        }
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("{shown:?} is neither http nor https"));
        }
        if url.fragment().is_some() {
            return Err(format!("{shown:?} has a fragment"));
        }
        address::host_allowed(&url).map_err(|reason| format!("{shown:?} {reason}"))?;
        Ok(Self(url))
    }

    /// The URL.
    #[must_use]
    pub const fn url(&self) -> &Url {
        &self.0
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

// === impl HttpPath ===

impl HttpPath {
    /// Checks a path.
    pub fn new(text: &str) -> Result<Self, String> {
        let shown: String = text.chars().take(80).collect();
        if !text.starts_with('/') || text.starts_with("//") {
            return Err(format!("{shown:?} is not a path: it must start with one slash"));
        }
        if text.len() > 1024 || text.contains(|c: char| c.is_control() || c.is_whitespace() || c == '#' || c == '\\') {
            return Err(format!("{shown:?} is not a path: it is too long or holds spaces, controls, # or \\"));
        }
        Ok(Self(text.to_owned()))
    }

    /// The path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for HttpPath {
    fn default() -> Self {
        Self("/metrics".to_owned())
    }
}

// === impl LabelSelectorText ===

impl LabelSelectorText {
    /// Checks a selector.
    pub fn new(text: &str) -> Result<Self, String> {
        let selector: Selector = text.parse().map_err(|error| format!("{error}"))?;
        if selector.is_empty() {
            return Err("the selector is empty, it would select every pod".to_owned());
        }
        Ok(Self(selector))
    }

    /// The selector.
    #[must_use]
    pub const fn selector(&self) -> &Selector {
        &self.0
    }
}

// === impl Ratio ===

impl Ratio {
    /// Checks a ratio.
    pub fn new(value: f64) -> Result<Self, String> {
        if (0.0..=1.0).contains(&value) { Ok(Self(value)) } else { Err(format!("{value} is not between 0 and 1")) }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

// === impl Scheme ===

impl Scheme {
    /// As in a URL.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

// === serde ===

macro_rules! checked_text {
    ($type:ty, $show:expr) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::new(&String::deserialize(deserializer)?).map_err(de::Error::custom)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(&$show(self))
            }
        }
    };
}

checked_text!(HttpUrl, |url: &HttpUrl| url.to_string());
checked_text!(HttpPath, |path: &HttpPath| path.0.clone());
checked_text!(LabelSelectorText, |selector: &LabelSelectorText| selector.0.to_string());

impl<'de> Deserialize<'de> for Ratio {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(f64::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl Serialize for Ratio {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_with_credentials_are_refused_without_repeating_them() {
        let error = HttpUrl::new("http://user:secret@prometheus:9090").unwrap_err();
        assert!(error.contains("bearerTokenFile") && !error.contains("secret"), "{error}");
    }

    #[test]
    fn odd_urls_are_refused() {
        for text in [
            "",
            "prometheus:9090",
            "ftp://x",
            "http://",
            "http://x#y",
            "http://169.254.169.254/latest",
            "http://0.0.0.0",
        ] {
            assert!(HttpUrl::new(text).is_err(), "{text}");
        }
        assert!(HttpUrl::new("https://prometheus.monitoring:9090/prom").is_ok());
    }

    #[test]
    fn a_path_starts_with_one_slash_and_stays_on_its_host() {
        for text in ["", "metrics", "//evil", "/a b", "/a#b", "/a\nb", "\\x"] {
            assert!(HttpPath::new(text).is_err(), "{text:?}");
        }
        assert!(HttpPath::new("/metrics?format=text").is_ok());
    }
}
