//! `autoscaling/v2` HorizontalPodAutoscaler.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::meta::{ObjectMeta, WorkloadKey, null_as_default, null_items_as_default, nullable_items};
use crate::{quantity::Quantity, selector::LabelSelector};

/// A HorizontalPodAutoscaler.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct HorizontalPodAutoscaler {
    /// Metadata.
    #[serde(deserialize_with = "null_as_default")]
    pub metadata: ObjectMeta,
    /// Specification.
    #[serde(deserialize_with = "null_as_default")]
    pub spec: HpaSpec,
    /// Status.
    #[serde(deserialize_with = "null_as_default")]
    pub status: HpaStatus,
}

/// `HorizontalPodAutoscalerSpec`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HpaSpec {
    /// What is scaled.
    #[serde(deserialize_with = "null_as_default")]
    pub scale_target_ref: ObjectReference,
    /// Fewest replicas; absent means 1.
    pub min_replicas: Option<i32>,
    /// Most replicas.
    #[serde(deserialize_with = "null_as_default")]
    pub max_replicas: i32,
    /// Metrics, the largest proposal of which wins.
    #[serde(deserialize_with = "null_items_as_default")]
    pub metrics: Vec<MetricSpec>,
    /// Policies and stabilisation.
    pub behavior: Option<Behavior>,
}

/// `CrossVersionObjectReference`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectReference {
    /// Group and version, e.g. `apps/v1`.
    #[serde(deserialize_with = "null_as_default")]
    pub api_version: String,
    /// Kind.
    #[serde(deserialize_with = "null_as_default")]
    pub kind: String,
    /// Name.
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
}

/// `MetricSpec`: the member that `type` names is set.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MetricSpec {
    /// `Object`, `Pods`, `Resource`, `ContainerResource`, `External`.
    #[serde(rename = "type", deserialize_with = "null_as_default")]
    pub kind: String,
    /// A metric of one object.
    pub object: Option<ObjectMetric>,
    /// A metric of each pod.
    pub pods: Option<PodsMetric>,
    /// CPU or memory of each pod.
    pub resource: Option<ResourceMetric>,
    /// CPU or memory of one container of each pod.
    pub container_resource: Option<ContainerResourceMetric>,
    /// A metric of no object.
    pub external: Option<ExternalMetric>,
}

/// `ObjectMetricSource`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectMetric {
    /// The object.
    #[serde(deserialize_with = "null_as_default")]
    pub described_object: ObjectReference,
    /// The metric.
    #[serde(deserialize_with = "null_as_default")]
    pub metric: MetricIdentifier,
    /// The target.
    #[serde(deserialize_with = "null_as_default")]
    pub target: MetricTarget,
}

/// `PodsMetricSource`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct PodsMetric {
    /// The metric.
    #[serde(deserialize_with = "null_as_default")]
    pub metric: MetricIdentifier,
    /// The target.
    #[serde(deserialize_with = "null_as_default")]
    pub target: MetricTarget,
}

/// `ResourceMetricSource`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct ResourceMetric {
    /// `cpu` or `memory`.
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    /// The target.
    #[serde(deserialize_with = "null_as_default")]
    pub target: MetricTarget,
}

/// `ContainerResourceMetricSource`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct ContainerResourceMetric {
    /// `cpu` or `memory`.
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    /// The container.
    #[serde(deserialize_with = "null_as_default")]
    pub container: String,
    /// The target.
    #[serde(deserialize_with = "null_as_default")]
    pub target: MetricTarget,
}

/// `ExternalMetricSource`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct ExternalMetric {
    /// The metric.
    #[serde(deserialize_with = "null_as_default")]
    pub metric: MetricIdentifier,
    /// The target.
    #[serde(deserialize_with = "null_as_default")]
    pub target: MetricTarget,
}

/// `MetricIdentifier`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct MetricIdentifier {
    /// Name of the metric.
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    /// Which series; absent and empty mean the same.
    pub selector: Option<LabelSelector>,
}

/// `MetricTarget`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MetricTarget {
    /// `Utilization`, `Value`, `AverageValue`.
    #[serde(rename = "type", deserialize_with = "null_as_default")]
    pub kind: String,
    /// For `Value`.
    pub value: Option<Quantity>,
    /// For `AverageValue`.
    pub average_value: Option<Quantity>,
    /// For `Utilization`, in percent of requests.
    pub average_utilization: Option<i32>,
}

/// `HorizontalPodAutoscalerBehavior`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Behavior {
    /// Rules for growth.
    pub scale_up: Option<ScalingRules>,
    /// Rules for shrinking.
    pub scale_down: Option<ScalingRules>,
}

/// `HPAScalingRules`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ScalingRules {
    /// Window of past recommendations that is considered, in seconds.
    pub stabilization_window_seconds: Option<i32>,
    /// `Max`, `Min` or `Disabled`.
    pub select_policy: Option<String>,
    /// Policies; absent and empty mean the defaults.
    #[serde(deserialize_with = "nullable_items")]
    pub policies: Option<Vec<ScalingPolicy>>,
    /// Tolerance of this direction; absent means the cluster's.
    pub tolerance: Option<Quantity>,
}

/// `HPAScalingPolicy`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ScalingPolicy {
    /// `Pods` or `Percent`.
    #[serde(rename = "type", deserialize_with = "null_as_default")]
    pub kind: String,
    /// Pods or percent.
    #[serde(deserialize_with = "null_as_default")]
    pub value: i32,
    /// Period over which the value holds, in seconds.
    #[serde(deserialize_with = "null_as_default")]
    pub period_seconds: i32,
}

/// The read part of `HorizontalPodAutoscalerStatus`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HpaStatus {
    /// Replicas last seen.
    #[serde(deserialize_with = "null_as_default")]
    pub current_replicas: i32,
    /// Replicas last asked for.
    #[serde(deserialize_with = "null_as_default")]
    pub desired_replicas: i32,
    /// When the HPA last changed the replicas.
    pub last_scale_time: Option<Timestamp>,
    /// Conditions.
    #[serde(deserialize_with = "null_items_as_default")]
    pub conditions: Vec<HpaCondition>,
}

/// The read part of `HorizontalPodAutoscalerCondition`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HpaCondition {
    /// `AbleToScale`, `ScalingActive`, `ScalingLimited`, `ScaledToZero`.
    #[serde(rename = "type", deserialize_with = "null_as_default")]
    pub kind: String,
    /// `True`, `False`, `Unknown`.
    #[serde(deserialize_with = "null_as_default")]
    pub status: String,
    /// Reason.
    #[serde(deserialize_with = "null_as_default")]
    pub reason: String,
}

// === impl HorizontalPodAutoscaler ===

impl HorizontalPodAutoscaler {
    /// The workload that the HPA scales.
    #[must_use]
    pub fn workload(&self) -> WorkloadKey {
        let target = &self.spec.scale_target_ref;
        let group = target.api_version.split_once('/').map_or("", |(group, _)| group);
        WorkloadKey {
            namespace: self.metadata.namespace.clone(),
            group: group.to_owned(),
            kind: target.kind.clone(),
            name: target.name.clone(),
        }
    }
}
