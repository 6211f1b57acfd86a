//! Labels of an object: few, read often, hardly ever changed. Objects by the thousand have them.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{meta::null_values_as_default, text::Text};

/// Labels by key: sorted, without spare room, of texts that objects may share.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels(Box<[(Text, Text)]>);

// === impl Labels ===

impl Labels {
    /// The value of a label.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        let place = self.find(key).ok()?;
        self.0.get(place).map(|(_, value)| value.as_str())
    }

    /// Whether there is a label of that key.
    #[must_use]
    pub fn contains_key(&self, key: &str) -> bool {
        self.find(key).is_ok()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Key and value of each, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&Text, &Text)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    /// Sets one label. This copies all of them.
    pub fn insert(&mut self, key: impl Into<Text>, value: impl Into<Text>) {
        *self = std::mem::take(self).with([(key, value)]);
    }

    /// These labels, with others that replace those of the same key.
    #[must_use]
    pub fn with<K: Into<Text>, V: Into<Text>>(self, others: impl IntoIterator<Item = (K, V)>) -> Self {
        let others = others.into_iter().map(|(key, value)| (key.into(), value.into()));
        self.0.into_iter().chain(others).collect()
    }

    /// The texts of all keys and values.
    pub(super) fn texts_mut(&mut self) -> impl Iterator<Item = &mut Text> {
        self.0.iter_mut().flat_map(|(key, value)| [key, value])
    }

    fn find(&self, key: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| known.as_str().cmp(key))
    }
}

impl<K: Into<Text>, V: Into<Text>> FromIterator<(K, V)> for Labels {
    /// Of several values of one key, the last counts.
    fn from_iter<I: IntoIterator<Item = (K, V)>>(labels: I) -> Self {
        let labels: BTreeMap<Text, Text> = labels.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        Self(labels.into_iter().collect())
    }
}

impl<K: Into<Text>, V: Into<Text>, const N: usize> From<[(K, V); N]> for Labels {
    fn from(labels: [(K, V); N]) -> Self {
        labels.into_iter().collect()
    }
}

impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Labels {
    /// Reads `null`, be it for all or for a value, as Go does.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        null_values_as_default::<_, Text>(deserializer).map(Self::from_iter)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn labels_are_found_in_any_order_of_arrival_and_null_is_none_or_empty() {
        let labels: Labels = serde_json::from_value(json!({ "z": "1", "a": "2", "m": null })).unwrap();
        assert_eq!(labels, Labels::from([("a", "2"), ("z", "1"), ("m", "")]));
        assert_eq!((labels.get("a"), labels.get("b")), (Some("2"), None));
        assert_eq!(serde_json::to_string(&labels).unwrap(), r#"{"a":"2","m":"","z":"1"}"#);
        assert!(serde_json::from_value::<Labels>(json!(null)).unwrap().is_empty());
    }

    #[test]
    fn setting_a_label_replaces_its_value() {
        let mut labels = Labels::from([("a", "1"), ("b", "2")]);
        labels.insert("b", "3");
        labels.insert("c", "4");
        assert_eq!(labels, Labels::from([("a", "1"), ("b", "3"), ("c", "4")]));
    }
}
