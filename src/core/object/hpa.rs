//! `autoscaling/v2` HorizontalPodAutoscaler.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::meta::{ObjectMeta, WorkloadKey, null_as_default};
use crate::{quantity::Quantity, selector::LabelSelector};

/// A HorizontalPodAutoscaler.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct HorizontalPodAutoscaler {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// Specification.
    pub spec: HpaSpec,
    /// Status.
    pub status: HpaStatus,
}

/// `HorizontalPodAutoscalerSpec`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HpaSpec {
    /// What is scaled.
    pub scale_target_ref: ObjectReference,
    /// Fewest replicas; absent means 1.
    pub min_replicas: Option<i32>,
    /// Most replicas.
    pub max_replicas: i32,
    /// Metrics, the largest proposal of which wins.
    #[serde(deserialize_with = "null_as_default")]
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
    pub kind: String,
    /// Name.
    pub name: String,
}

/// `MetricSpec`: the member that `type` names is set.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MetricSpec {
    /// `Object`, `Pods`, `Resource`, `ContainerResource`, `External`.
    #[serde(rename = "type")]
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
    pub described_object: ObjectReference,
    /// The metric.
    pub metric: MetricIdentifier,
    /// The target.
    pub target: MetricTarget,
}

/// `PodsMetricSource`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct PodsMetric {
    /// The metric.
    pub metric: MetricIdentifier,
    /// The target.
    pub target: MetricTarget,
}

/// `ResourceMetricSource`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct ResourceMetric {
    /// `cpu` or `memory`.
    pub name: String,
    /// The target.
    pub target: MetricTarget,
}

/// `ContainerResourceMetricSource`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct ContainerResourceMetric {
    /// `cpu` or `memory`.
    pub name: String,
    /// The container.
    pub container: String,
    /// The target.
    pub target: MetricTarget,
}

/// `ExternalMetricSource`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct ExternalMetric {
    /// The metric.
    pub metric: MetricIdentifier,
    /// The target.
    pub target: MetricTarget,
}

/// `MetricIdentifier`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct MetricIdentifier {
    /// Name of the metric.
    pub name: String,
    /// Which series; absent and empty mean the same.
    pub selector: Option<LabelSelector>,
}

/// `MetricTarget`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MetricTarget {
    /// `Utilization`, `Value`, `AverageValue`.
    #[serde(rename = "type")]
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
    pub policies: Option<Vec<ScalingPolicy>>,
    /// Tolerance of this direction; absent means the cluster's.
    pub tolerance: Option<Quantity>,
}

/// `HPAScalingPolicy`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ScalingPolicy {
    /// `Pods` or `Percent`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Pods or percent.
    pub value: i32,
    /// Period over which the value holds, in seconds.
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
    #[serde(deserialize_with = "null_as_default")]
    pub conditions: Vec<HpaCondition>,
}

/// The read part of `HorizontalPodAutoscalerCondition`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HpaCondition {
    /// `AbleToScale`, `ScalingActive`, `ScalingLimited`, `ScaledToZero`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False`, `Unknown`.
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
