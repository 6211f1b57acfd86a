//! The values that an evaluation works with, as the metrics APIs delivered them.
//!
//! An entry that is absent means that the fetch failed. Selectors are in canonical string form, empty when none.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{GoDuration, number::milli_value};
use crate::{
    object::{
        hpa::ObjectReference,
        meta::{null_as_default, null_items_as_default, null_values_as_default},
    },
    quantity::{Milli, Quantity},
    selector::Selector,
};

/// Everything that was fetched for one evaluation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Values {
    /// External metrics.
    #[serde(deserialize_with = "null_items_as_default")]
    pub external: Vec<ExternalSeries>,
    /// Metrics of pods.
    #[serde(deserialize_with = "null_items_as_default")]
    pub pods: Vec<PodSeries>,
    /// Metrics of single objects.
    #[serde(deserialize_with = "null_items_as_default")]
    pub object: Vec<ObjectSample>,
    /// CPU and memory of pods; empty means that the resource metrics API did not answer.
    #[serde(deserialize_with = "null_items_as_default")]
    pub resource: Vec<PodUsage>,
}

/// One External metric: one value a series.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct ExternalSeries {
    /// Name.
    #[serde(deserialize_with = "null_as_default")]
    pub metric: String,
    /// Metric selector.
    #[serde(default, deserialize_with = "null_as_default")]
    pub selector: String,
    /// Values, in the order of the answer; none is an answer without items, which the controller refuses.
    #[serde(default, deserialize_with = "null_items_as_default")]
    pub values: Vec<MetricValue>,
}

/// One metric of pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct PodSeries {
    /// Name.
    #[serde(deserialize_with = "null_as_default")]
    pub metric: String,
    /// Metric selector.
    #[serde(default, deserialize_with = "null_as_default")]
    pub selector: String,
    /// Value by pod.
    #[serde(default, deserialize_with = "null_values_as_default")]
    pub values: BTreeMap<String, MetricValue>,
}

/// One metric of one object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct ObjectSample {
    /// Name of the metric.
    #[serde(deserialize_with = "null_as_default")]
    pub metric: String,
    /// The object.
    #[serde(deserialize_with = "null_as_default")]
    pub object: ObjectName,
    /// The value.
    #[serde(deserialize_with = "null_as_default")]
    pub value: MetricValue,
}

/// An object within the HPA's namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct ObjectName {
    /// Kind.
    #[serde(deserialize_with = "null_as_default")]
    pub kind: String,
    /// Name.
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
}

/// Usage of one pod (`metrics.k8s.io` `PodMetrics`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct PodUsage {
    /// Name of the pod.
    #[serde(deserialize_with = "null_as_default")]
    pub pod: String,
    /// End of the window; absent means the time of the evaluation.
    #[serde(default)]
    pub timestamp: Option<Timestamp>,
    /// Length of the window.
    #[serde(default, deserialize_with = "null_as_default")]
    pub window: GoDuration,
    /// Usage by container and resource name.
    #[serde(default, deserialize_with = "null_values_as_default")]
    pub containers: BTreeMap<String, BTreeMap<String, Option<MetricValue>>>,
}

/// A value in thousandths, read with `Quantity.MilliValue()`'s own rounding and overflow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct MetricValue(pub Milli);

// === impl Values ===

impl Values {
    /// The series of an External metric.
    #[must_use]
    pub fn external(&self, metric: &str, selector: &Selector) -> Option<&ExternalSeries> {
        self.external.iter().find(|series| series.metric == metric && names(&series.selector, selector))
    }

    /// The values of a Pods metric.
    #[must_use]
    pub fn pods(&self, metric: &str, selector: &Selector) -> Option<&PodSeries> {
        self.pods.iter().find(|series| series.metric == metric && names(&series.selector, selector))
    }

    /// The value of an Object metric. A Namespace is asked for by the HPA's own, whatever name the HPA gives.
    #[must_use]
    pub fn object(&self, metric: &str, described: &ObjectReference, namespace: &str) -> Option<&ObjectSample> {
        let find = |name: &str| {
            let is = |object: &ObjectName| object.kind == described.kind && object.name == name;
            self.object.iter().find(|sample| sample.metric == metric && is(&sample.object))
        };
        let namespaced = described.kind != "Namespace" || described.api_version.contains('/');
        if namespaced { find(&described.name) } else { find(namespace).or_else(|| find(&described.name)) }
    }
}

/// Whether a selector's text means `selector`: literally, or after it is brought to the canonical form.
fn names(text: &str, selector: &Selector) -> bool {
    selector.to_string() == text || text.parse::<Selector>().is_ok_and(|parsed| parsed == *selector)
}

// === impl MetricValue ===

impl<'de> Deserialize<'de> for MetricValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MetricValueVisitor)
    }
}

struct MetricValueVisitor;

impl de::Visitor<'_> for MetricValueVisitor {
    type Value = MetricValue;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a Kubernetes quantity, as a string or a number")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<MetricValue, E> {
        text.parse::<Quantity>().map_err(E::custom)?;
        Ok(MetricValue(milli_value(text)))
    }

    fn visit_i64<E: de::Error>(self, units: i64) -> Result<MetricValue, E> {
        self.visit_str(&units.to_string())
    }

    fn visit_u64<E: de::Error>(self, units: u64) -> Result<MetricValue, E> {
        self.visit_str(&units.to_string())
    }

    fn visit_f64<E: de::Error>(self, units: f64) -> Result<MetricValue, E> {
        self.visit_str(&units.to_string())
    }
}

impl Serialize for MetricValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.quantity().serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_metric_and_selector() {
        let values: Values = serde_json::from_str(
            r#"{"external":[{"metric":"q","selector":"","values":["1"]},{"metric":"q","selector":"a=b","values":["2"]}]}"#,
        )
        .unwrap();
        let with: Selector = "a=b".parse().unwrap();
        assert_eq!(values.external("q", &with).unwrap().values, [MetricValue(Milli(2000))]);
        assert_eq!(values.external("q", &Selector::default()).unwrap().values, [MetricValue(Milli(1000))]);
        assert!(values.external("other", &with).is_none());
    }

    #[test]
    fn a_namespace_is_asked_for_by_the_hpas_own() {
        let values: Values = serde_json::from_str(
            r#"{"object":[{"metric":"q","object":{"kind":"Namespace","name":"ml"},"value":"3"}]}"#,
        )
        .unwrap();
        let described = ObjectReference { kind: "Namespace".into(), name: "other".into(), api_version: "v1".into() };
        assert_eq!(values.object("q", &described, "ml").unwrap().value, MetricValue(Milli(3000)));
        assert!(values.object("q", &described, "elsewhere").is_none());
    }

    #[test]
    fn values_print_back_in_the_shape_they_were_read() {
        let text = r#"{"external":[{"metric":"q","selector":"","values":["1500m"]}],"pods":[],"object":[],"resource":[{"pod":"a","timestamp":"2026-01-01T00:00:00Z","window":"30s","containers":{"c":{"cpu":"1"}}}]}"#;
        let values: Values = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&values).unwrap(), text);
    }
}
