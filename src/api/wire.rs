//! The wire types of the metrics APIs, field by field as in `k8s.io/metrics` v0.36.3 `pkg/apis/*/types.go`.
//!
//! Keys that Go prints even when empty (`metricLabels`, `selector`, `metadata`, `items`) are printed; those that it
//! omits (`window`) are left out, since no value here has one window.

use jiff::Timestamp;
use plimsoll_core::{
    answer::{CustomRequest, ExternalValue, ObjectValue},
    object::{Labels, meta::StringMap},
    quantity::Quantity,
    selector::{LabelSelector, LabelSelectorRequirement, Requirement, Selector},
};
use serde::{Serialize, Serializer};

/// A list with items of one kind.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct List<T> {
    kind: &'static str,
    api_version: &'static str,
    metadata: Metadata,
    items: Vec<T>,
}

/// `metav1.ListMeta`, always empty: there is nothing to page through or to resume from.
#[derive(Clone, Copy, Debug, Serialize)]
struct Metadata {}

/// `external.metrics.k8s.io/v1beta1` `ExternalMetricValue`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ExternalMetricValue {
    metric_name: String,
    metric_labels: StringMap,
    #[serde(serialize_with = "rfc3339")]
    timestamp: Timestamp,
    value: Quantity,
}

/// `custom.metrics.k8s.io/v1beta1` `MetricValue`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MetricValueV1beta1 {
    described_object: ObjectReference,
    metric_name: String,
    #[serde(serialize_with = "rfc3339")]
    timestamp: Timestamp,
    value: Quantity,
    selector: Option<LabelSelector>,
}

/// `custom.metrics.k8s.io/v1beta2` `MetricValue`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MetricValueV1beta2 {
    described_object: ObjectReference,
    metric: MetricIdentifier,
    #[serde(serialize_with = "rfc3339")]
    timestamp: Timestamp,
    value: Quantity,
}

/// `MetricIdentifier`.
#[derive(Clone, Debug, Serialize)]
struct MetricIdentifier {
    name: String,
    selector: Option<LabelSelector>,
}

/// The used part of `v1.ObjectReference`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ObjectReference {
    kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    namespace: String,
    name: String,
    api_version: String,
}

/// `metav1.Time`: whole seconds in UTC.
fn rfc3339<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&at.strftime("%Y-%m-%dT%H:%M:%SZ"))
}

/// An External metric.
pub(crate) fn external(metric: &str, values: Vec<ExternalValue>) -> List<ExternalMetricValue> {
    let item = |value: ExternalValue| ExternalMetricValue {
        metric_name: metric.to_owned(),
        metric_labels: value.labels,
        timestamp: value.at,
        value: value.value.quantity(),
    };
    List {
        kind: "ExternalMetricValueList",
        api_version: "external.metrics.k8s.io/v1beta1",
        metadata: Metadata {},
        items: values.into_iter().map(item).collect(),
    }
}

/// Custom metrics in version v1beta1.
pub(crate) fn custom_v1beta1(request: &CustomRequest, values: Vec<ObjectValue>) -> List<MetricValueV1beta1> {
    let selector = label_selector(&request.metric_selector);
    let item = |value: ObjectValue| MetricValueV1beta1 {
        timestamp: value.at,
        value: value.value.quantity(),
        described_object: value.into(),
        metric_name: request.metric.clone(),
        selector: selector.clone(),
    };
    custom("custom.metrics.k8s.io/v1beta1", values.into_iter().map(item).collect())
}

/// Custom metrics in version v1beta2.
pub(crate) fn custom_v1beta2(request: &CustomRequest, values: Vec<ObjectValue>) -> List<MetricValueV1beta2> {
    let metric = MetricIdentifier { name: request.metric.clone(), selector: label_selector(&request.metric_selector) };
    let item = |value: ObjectValue| MetricValueV1beta2 {
        timestamp: value.at,
        value: value.value.quantity(),
        described_object: value.into(),
        metric: metric.clone(),
    };
    custom("custom.metrics.k8s.io/v1beta2", values.into_iter().map(item).collect())
}

fn custom<T>(api_version: &'static str, items: Vec<T>) -> List<T> {
    List { kind: "MetricValueList", api_version, metadata: Metadata {}, items }
}

impl From<ObjectValue> for ObjectReference {
    fn from(value: ObjectValue) -> Self {
        let ObjectValue { kind, api_version, object, .. } = value;
        Self { kind, namespace: object.namespace.into(), name: object.name.into(), api_version }
    }
}

/// The selector as an object; none for an empty one, and for one that the object form cannot express.
fn label_selector(selector: &Selector) -> Option<LabelSelector> {
    if selector.is_empty() {
        return None;
    }
    let expressions: Option<Vec<_>> = selector.requirements().iter().map(expression).collect();
    Some(LabelSelector { match_labels: Labels::default(), match_expressions: expressions? })
}

fn expression(requirement: &Requirement) -> Option<LabelSelectorRequirement> {
    let operator = requirement.operator.object_form()?;
    Some(LabelSelectorRequirement {
        key: requirement.key.clone(),
        operator: operator.to_owned(),
        values: requirement.values.iter().cloned().collect(),
    })
}
