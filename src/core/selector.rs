//! Label selectors: the object form (`metav1.LabelSelector`) and the string form of queries and scales.
//!
//! Grammar, order and printing follow `k8s.io/apimachinery` v0.36.3 `pkg/labels/selector.go`: requirements are
//! sorted by key, values are sorted sets, and the printed form parses back to an equal selector.

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::object::{
    Labels, Text,
    meta::{null_as_default, null_items_as_default},
};

/// Most requirements in one selector that is read from outside.
const MAX_REQUIREMENTS: usize = 64;
/// Longest selector text that is read from outside, in bytes.
const MAX_TEXT: usize = 16 * 1024;

/// `metav1.LabelSelector`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelSelector {
    /// Labels that must be equal.
    #[serde(skip_serializing_if = "Labels::is_empty")]
    pub match_labels: Labels,
    /// Further requirements.
    #[serde(deserialize_with = "null_items_as_default", skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<LabelSelectorRequirement>,
}

/// `metav1.LabelSelectorRequirement`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct LabelSelectorRequirement {
    /// Label key.
    #[serde(deserialize_with = "null_as_default")]
    pub key: String,
    /// `In`, `NotIn`, `Exists`, `DoesNotExist`.
    #[serde(deserialize_with = "null_as_default")]
    pub operator: String,
    /// Operands.
    #[serde(deserialize_with = "null_items_as_default")]
    pub values: Vec<String>,
}

/// A parsed selector; without requirements it matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selector {
    requirements: Vec<Requirement>,
}

/// One requirement on one label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Requirement {
    /// Label key.
    pub key: String,
    /// Comparison.
    pub operator: Operator,
    /// Sorted operands.
    pub values: BTreeSet<String>,
}

/// How a requirement compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operator {
    /// The label is one of the values.
    In,
    /// The label is absent or none of the values.
    NotIn,
    /// The label is present.
    Exists,
    /// The label is absent.
    DoesNotExist,
    /// The label is an integer above the value.
    GreaterThan,
    /// The label is an integer below the value.
    LessThan,
    /// Written `key=value`; means the same as `In` with one value.
    Equals,
    /// Written `key!=value`; means the same as `NotIn` with one value.
    NotEquals,
}

/// Why a selector is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("selector {text:?} is not valid: {reason}")]
pub struct SelectorError {
    text: String,
    reason: String,
}

// === impl Selector ===

impl Selector {
    /// Whether a set of labels satisfies every requirement.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.requirements.iter().all(|requirement| requirement.matches(labels))
    }

    /// The selector of pods that have these labels, and perhaps more.
    #[must_use]
    pub fn of_labels(labels: &Labels) -> Self {
        let requirement = |(key, value): (&Text, &Text)| Requirement {
            key: key.as_str().to_owned(),
            operator: Operator::Equals,
            values: [value.as_str().to_owned()].into(),
        };
        Self { requirements: labels.iter().map(requirement).collect() }
    }

    /// Whether the selector has no requirement, so that it matches everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// The requirements, sorted by key.
    #[must_use]
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// A label that everything that matches carries, with its value.
    #[must_use]
    pub fn required_label(&self) -> Option<(&str, &str)> {
        self.requirements.iter().find_map(|requirement| {
            let exact = matches!(requirement.operator, Operator::Equals | Operator::In);
            let value = requirement.values.first().filter(|_| exact && requirement.values.len() == 1)?;
            Some((requirement.key.as_str(), value.as_str()))
        })
    }

    /// The form under which equal meanings compare equal: `a=b` and `a in (b)` become one.
    #[must_use]
    pub fn normalized(&self) -> Self {
        let mut requirements: Vec<_> = self.requirements.iter().map(Requirement::normalized).collect();
        requirements.sort();
        requirements.dedup();
        Self { requirements }
    }

    fn from_requirements(mut requirements: Vec<Requirement>) -> Self {
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Self { requirements }
    }
}

impl Operator {
    /// The name in the object form (`metav1.LabelSelectorRequirement`); none where that cannot express it.
    #[must_use]
    pub const fn object_form(self) -> Option<&'static str> {
        match self {
            Self::In | Self::Equals => Some("In"),
            Self::NotIn | Self::NotEquals => Some("NotIn"),
            Self::Exists => Some("Exists"),
            Self::DoesNotExist => Some("DoesNotExist"),
            Self::GreaterThan | Self::LessThan => None,
        }
    }
}

impl Requirement {
    /// Whether a set of labels satisfies the requirement.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        let label = labels.get(&self.key);
        match self.operator {
            Operator::In | Operator::Equals => label.is_some_and(|value| self.values.contains(value)),
            Operator::NotIn | Operator::NotEquals => label.is_none_or(|value| !self.values.contains(value)),
            Operator::Exists => label.is_some(),
            Operator::DoesNotExist => label.is_none(),
            Operator::GreaterThan => self.compare(label).is_some_and(|(label, value)| label > value),
            Operator::LessThan => self.compare(label).is_some_and(|(label, value)| label < value),
        }
    }

    fn compare(&self, label: Option<&str>) -> Option<(i64, i64)> {
        Some((label?.parse().ok()?, self.values.first()?.parse().ok()?))
    }

    fn normalized(&self) -> Self {
        let operator = match self.operator {
            Operator::Equals => Operator::In,
            Operator::NotEquals => Operator::NotIn,
            other => other,
        };
        Self { operator, ..self.clone() }
    }
}

impl TryFrom<&LabelSelector> for Selector {
    type Error = SelectorError;

    fn try_from(selector: &LabelSelector) -> Result<Self, SelectorError> {
        let equals = selector.match_labels.iter().map(|(key, value)| Requirement {
            key: key.as_str().to_owned(),
            operator: Operator::Equals,
            values: BTreeSet::from([value.as_str().to_owned()]),
        });
        let mut requirements: Vec<_> = equals.collect();
        for expression in &selector.match_expressions {
            requirements.push(expression.requirement()?);
        }
        Ok(Self::from_requirements(requirements))
    }
}

impl LabelSelectorRequirement {
    fn requirement(&self) -> Result<Requirement, SelectorError> {
        let fail = |reason: &str| SelectorError { text: self.key.clone(), reason: reason.to_owned() };
        let operator = match self.operator.as_str() {
            "In" => Operator::In,
            "NotIn" => Operator::NotIn,
            "Exists" => Operator::Exists,
            "DoesNotExist" => Operator::DoesNotExist,
            other => return Err(fail(&format!("unknown operator {other:?}"))),
        };
        let wants_values = matches!(operator, Operator::In | Operator::NotIn);
        if wants_values == self.values.is_empty() {
            return Err(fail("In and NotIn take values, Exists and DoesNotExist take none"));
        }
        Ok(Requirement { key: self.key.clone(), operator, values: self.values.iter().cloned().collect() })
    }
}

// === printing ===

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.requirements.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            write!(f, "{requirement}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = || self.values.iter().map(String::as_str).collect::<Vec<_>>().join(",");
        let key = &self.key;
        match self.operator {
            Operator::In => write!(f, "{key} in ({})", joined()),
            Operator::NotIn => write!(f, "{key} notin ({})", joined()),
            Operator::Exists => write!(f, "{key}"),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::GreaterThan => write!(f, "{key}>{}", joined()),
            Operator::LessThan => write!(f, "{key}<{}", joined()),
            Operator::Equals => write!(f, "{key}={}", joined()),
            Operator::NotEquals => write!(f, "{key}!={}", joined()),
        }
    }
}

// === parsing ===

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let fail = |reason: String| SelectorError { text: text.chars().take(128).collect(), reason };
        if text.len() > MAX_TEXT {
            return Err(fail(format!("longer than {MAX_TEXT} bytes")));
        }
        let mut parser = Parser { rest: text.trim() };
        let mut requirements = Vec::new();
        while !parser.rest.is_empty() {
            if requirements.len() == MAX_REQUIREMENTS {
                return Err(fail(format!("more than {MAX_REQUIREMENTS} requirements")));
            }
            requirements.push(parser.requirement().map_err(&fail)?);
            if !parser.rest.is_empty() {
                parser.expect(',').map_err(&fail)?;
                if parser.rest.is_empty() {
                    return Err(fail("ends with a comma".to_owned()));
                }
            }
        }
        Ok(Self::from_requirements(requirements))
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn requirement(&mut self) -> Result<Requirement, String> {
        if let Some(rest) = self.rest.strip_prefix('!') {
            self.rest = rest.trim_start();
            let key = self.key()?;
            return Ok(Requirement { key, operator: Operator::DoesNotExist, values: BTreeSet::new() });
        }
        let key = self.key()?;
        let operator = self.operator()?;
        let values = match operator {
            Operator::Exists | Operator::DoesNotExist => BTreeSet::new(),
            Operator::In | Operator::NotIn => self.value_set()?,
            Operator::GreaterThan | Operator::LessThan => {
                let value = self.value()?;
                value.parse::<i64>().map_err(|_| format!("{value:?} is not an integer"))?;
                BTreeSet::from([value])
            }
            Operator::Equals | Operator::NotEquals => BTreeSet::from([self.value()?]),
        };
        Ok(Requirement { key, operator, values })
    }

    fn operator(&mut self) -> Result<Operator, String> {
        const SYMBOLS: [(&str, Operator); 5] = [
            ("!=", Operator::NotEquals),
            ("==", Operator::Equals),
            ("=", Operator::Equals),
            (">", Operator::GreaterThan),
            ("<", Operator::LessThan),
        ];
        if self.rest.is_empty() || self.rest.starts_with(',') {
            return Ok(Operator::Exists);
        }
        for (symbol, operator) in SYMBOLS {
            if let Some(rest) = self.rest.strip_prefix(symbol) {
                self.rest = rest.trim_start();
                return Ok(operator);
            }
        }
        match self.word() {
            "in" => Ok(Operator::In),
            "notin" => Ok(Operator::NotIn),
            other => Err(format!("found {other:?} where an operator should be")),
        }
    }

    fn key(&mut self) -> Result<String, String> {
        let key = self.word();
        if is_qualified_name(key) { Ok(key.to_owned()) } else { Err(format!("{key:?} is not a label key")) }
    }

    fn value(&mut self) -> Result<String, String> {
        let value = self.word();
        if is_label_value(value) { Ok(value.to_owned()) } else { Err(format!("{value:?} is not a label value")) }
    }

    fn value_set(&mut self) -> Result<BTreeSet<String>, String> {
        self.expect('(')?;
        let mut values = BTreeSet::new();
        loop {
            values.insert(self.value()?);
            if self.rest.starts_with(')') {
                break;
            }
            self.expect(',')?;
        }
        self.expect(')')?;
        Ok(values)
    }

    fn expect(&mut self, token: char) -> Result<(), String> {
        self.rest = self.rest.strip_prefix(token).ok_or_else(|| format!("{token:?} is missing"))?.trim_start();
        Ok(())
    }

    fn word(&mut self) -> &'a str {
        let end = self.rest.find(|c: char| c.is_whitespace() || "(),!=<>".contains(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest.trim_start();
        word
    }
}

/// `validation.IsQualifiedName`: an optional DNS prefix, a slash, and a name of at most 63 characters.
fn is_qualified_name(key: &str) -> bool {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let prefix_ok = prefix.is_none_or(|prefix| prefix.len() <= 253 && prefix.split('.').all(is_dns_label));
    prefix_ok && !name.is_empty() && is_label_value(name)
}

/// One part of `validation.IsDNS1123Subdomain`: lower case, alphanumeric at both ends.
fn is_dns_label(label: &str) -> bool {
    let lower = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let ends = [label.bytes().next(), label.bytes().last()];
    ends.into_iter().all(|end| end.is_some_and(lower)) && label.bytes().all(|b| lower(b) || b == b'-')
}

/// `validation.IsValidLabelValue`: at most 63 characters, alphanumeric at both ends.
fn is_label_value(value: &str) -> bool {
    let bytes = value.as_bytes();
    let inner = bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    let ends = [bytes.first(), bytes.last()].into_iter().flatten().all(u8::is_ascii_alphanumeric);
    bytes.len() <= 63 && inner && ends
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn every_operator_parses_matches_and_prints_back() {
        let text = "!gone,app in (a,b),gpu>2,gpu<9,tier!=x,zone notin (z1),region=eu,present";
        let selector: Selector = text.parse().unwrap();
        assert!(selector.matches(&labels(&[("app", "b"), ("gpu", "3"), ("region", "eu"), ("present", "")])));
        assert!(!selector.matches(&labels(&[("app", "c"), ("gpu", "3"), ("region", "eu"), ("present", "")])));
        let again: Selector = selector.to_string().parse().unwrap();
        assert_eq!(again, selector);
    }

    #[test]
    fn the_printed_form_is_sorted_by_key() {
        let selector: Selector = "b=1, a in (z,y)".parse().unwrap();
        assert_eq!(selector.to_string(), "a in (y,z),b=1");
    }

    #[test]
    fn equality_and_a_set_of_one_mean_the_same() {
        let equals: Selector = "a=1".parse().unwrap();
        let set: Selector = "a in (1)".parse().unwrap();
        assert_ne!(equals, set);
        assert_eq!(equals.normalized(), set.normalized());
    }

    #[test]
    fn an_empty_text_selects_everything() {
        let selector: Selector = "".parse().unwrap();
        assert!(selector.is_empty() && selector.matches(&Labels::default()));
    }

    #[test]
    fn malformed_selectors_are_refused_with_a_reason() {
        for text in [
            "a=b=c", "a in b", "a in (", "=b", "a=b,", "a b", "a>x", "-a=b", "a in ()x", "a==b c", "-a/b=c", "a-/b",
            "a..b/c", "A/b",
        ] {
            assert!(text.parse::<Selector>().is_err(), "{text}");
        }
    }
}
