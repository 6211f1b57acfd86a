//! The query of a request: selectors, and what a metrics API refuses.

use axum::extract;
use http::Uri;
use plimsoll_core::selector::Selector;

use super::failure::Failure;

/// Parameters of a request, parsed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query {
    /// External: the metric's selector. Custom: the objects.
    pub(crate) label_selector: Selector,
    /// Custom: the metric's selector.
    pub(crate) metric_label_selector: Selector,
    /// `?verbose` of the health endpoints.
    pub(crate) verbose: bool,
}

// === impl Query ===

impl Query {
    /// Reads the query. Unknown parameters are ignored, as Kubernetes does; one that is given twice is refused, so
    /// that nobody can have one authorised and the other answered.
    pub(crate) fn parse(uri: &Uri) -> Result<Self, Failure> {
        let pairs = extract::Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|_| Failure::bad_request("the query is not a list of name=value pairs"))?;
        let one = |name: &str| {
            let mut values = pairs.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
            let first = values.next();
            if values.next().is_some() {
                return Err(Failure::bad_request(&format!("{name} is given more than once")));
            }
            Ok(first)
        };
        if one("fieldSelector")?.is_some_and(|value| !value.is_empty()) {
            return Err(Failure::bad_request("metrics have no fields to select by: leave fieldSelector out"));
        }
        if one("watch")?.is_some_and(|value| !matches!(value, "0" | "false")) {
            return Err(Failure::method_not_allowed("metrics cannot be watched: ask again instead"));
        }
        let selector = |name: &str| one(name).and_then(|value| parse_selector(name, value.unwrap_or_default()));
        Ok(Self {
            label_selector: selector("labelSelector")?,
            metric_label_selector: selector("metricLabelSelector")?,
            verbose: one("verbose")?.is_some(),
        })
    }
}

fn parse_selector(name: &str, text: &str) -> Result<Selector, Failure> {
    text.parse().map_err(|error| Failure::bad_request(&format!("{name}: {error}")))
}
