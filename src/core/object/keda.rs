//! `keda.sh/v1alpha1` ScaledObject and ScaledJob (KEDA v2.21.0 `apis/keda/v1alpha1`).

use serde::{Deserialize, Serialize};

use super::{
    hpa::{Behavior, ObjectReference},
    meta::{ObjectMeta, StringMap, WorkloadKey, null_as_default, null_items_as_default, null_values_as_default},
};

/// A ScaledObject.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct ScaledObject {
    /// Metadata.
    #[serde(deserialize_with = "null_as_default")]
    pub metadata: ObjectMeta,
    /// Specification.
    #[serde(deserialize_with = "null_as_default")]
    pub spec: ScaledObjectSpec,
}

/// The read part of `ScaledObjectSpec`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ScaledObjectSpec {
    /// What is scaled; without kind a Deployment.
    #[serde(deserialize_with = "null_as_default")]
    pub scale_target_ref: ObjectReference,
    /// Seconds from one poll to the next; absent means 30.
    pub polling_interval: Option<i32>,
    /// Replicas while nothing is active, below the minimum.
    pub idle_replica_count: Option<i32>,
    /// Fewest replicas; absent means 0.
    pub min_replica_count: Option<i32>,
    /// Most replicas; absent means 100.
    pub max_replica_count: Option<i32>,
    /// What KEDA serves while a trigger fails; absent means nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Fallback>,
    /// What is passed on to the HPA, and the formula.
    #[serde(deserialize_with = "null_as_default")]
    pub advanced: Advanced,
    /// Triggers.
    #[serde(deserialize_with = "null_items_as_default")]
    pub triggers: Vec<ScaleTrigger>,
}

/// The read part of `Fallback`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Fallback {
    /// Replicas while it is in force.
    #[serde(deserialize_with = "null_as_default")]
    pub replicas: i32,
}

/// The read part of `AdvancedConfig`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Advanced {
    /// What is passed on to the HPA.
    #[serde(deserialize_with = "null_as_default")]
    pub horizontal_pod_autoscaler_config: HpaConfig,
    /// A formula in place of the triggers' own metrics.
    #[serde(deserialize_with = "null_as_default")]
    pub scaling_modifiers: ScalingModifiers,
}

/// `HorizontalPodAutoscalerConfig`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct HpaConfig {
    /// Name of the HPA; empty means `keda-hpa-` and the name of the object.
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    /// Policies and stabilisation.
    pub behavior: Option<Behavior>,
}

/// The read part of `ScalingModifiers`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ScalingModifiers {
    /// The formula; empty means none.
    #[serde(deserialize_with = "null_as_default")]
    pub formula: String,
}

/// The read part of `ScaleTriggers`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ScaleTrigger {
    /// Kind of scaler, e.g. `external-push`.
    #[serde(rename = "type", deserialize_with = "null_as_default")]
    pub kind: String,
    /// Name, for a formula.
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    /// Whether the HPA is served what the last poll found.
    #[serde(deserialize_with = "null_as_default")]
    pub use_cached_metrics: bool,
    /// What the scaler is told.
    #[serde(deserialize_with = "null_values_as_default")]
    pub metadata: StringMap,
    /// `AverageValue`, `Value`, `Utilization`; empty means the first.
    #[serde(deserialize_with = "null_as_default")]
    pub metric_type: String,
    /// Where KEDA finds what it shows the scaler.
    pub authentication_ref: Option<AuthenticationRef>,
}

/// `AuthenticationRef`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct AuthenticationRef {
    /// Name of the object.
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    /// `TriggerAuthentication`, which empty means, or `ClusterTriggerAuthentication`.
    #[serde(deserialize_with = "null_as_default")]
    pub kind: String,
}

/// A ScaledJob.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct ScaledJob {
    /// Metadata.
    #[serde(deserialize_with = "null_as_default")]
    pub metadata: ObjectMeta,
    /// Specification.
    #[serde(deserialize_with = "null_as_default")]
    pub spec: ScaledJobSpec,
}

/// The read part of `ScaledJobSpec`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ScaledJobSpec {
    /// The Jobs that are made.
    #[serde(deserialize_with = "null_as_default")]
    pub job_target_ref: JobTemplate,
    /// Fewest Jobs; absent means 0.
    pub min_replica_count: Option<i32>,
    /// Most Jobs; absent means 100.
    pub max_replica_count: Option<i32>,
    /// Triggers.
    #[serde(deserialize_with = "null_items_as_default")]
    pub triggers: Vec<ScaleTrigger>,
}

/// The read part of `batchv1.JobSpec`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct JobTemplate {
    /// Pods of a Job at a time; absent means 1.
    pub parallelism: Option<i32>,
    /// The pod template.
    pub template: Option<super::PodTemplate>,
}

/// Label with the name of the ScaledJob, on every Job that KEDA makes and on its pods
/// (`pkg/scaling/executor/scale_jobs.go` v2.21.0).
pub const SCALED_JOB_LABEL: &str = "scaledjob.keda.sh/name";
/// Group of KEDA's objects.
pub const GROUP: &str = "keda.sh";

// === impl ScaledObject ===

impl ScaledObject {
    /// The workload that the object scales.
    #[must_use]
    pub fn workload(&self) -> WorkloadKey {
        let target = &self.spec.scale_target_ref;
        let (group, kind) = match (target.api_version.as_str(), target.kind.as_str()) {
            ("", "") => ("apps", "Deployment"),
            ("", kind) => ("apps", kind),
            (version, kind) => (version.split_once('/').map_or("", |(group, _)| group), kind),
        };
        let (group, kind) = (group.to_owned(), if kind.is_empty() { "Deployment" } else { kind }.to_owned());
        WorkloadKey { namespace: self.metadata.namespace.clone(), group, kind, name: target.name.clone() }
    }

    /// Name of the HPA that KEDA makes for it (`getHPAName`, `controllers/keda/hpa.go` v2.21.0).
    #[must_use]
    pub fn hpa_name(&self) -> String {
        let name = &self.spec.advanced.horizontal_pod_autoscaler_config.name;
        if name.is_empty() { format!("keda-hpa-{}", self.metadata.name) } else { name.clone() }
    }

    /// Fewest replicas while something is active: what the HPA has for its minimum.
    #[must_use]
    pub fn min_active(&self) -> i32 {
        self.spec.min_replica_count.unwrap_or(0).max(1)
    }

    /// Replicas while nothing is active.
    #[must_use]
    pub fn min_idle(&self) -> i32 {
        self.spec.idle_replica_count.or(self.spec.min_replica_count).unwrap_or(0).max(0)
    }

    /// Whether KEDA takes replicas away itself when it finds no trigger active: all of them, or those above the idle
    /// count (`RequestScale`, `pkg/scaling/executor/scale_scaledobjects.go` v2.21.0).
    #[must_use]
    pub fn sleeps(&self) -> bool {
        self.spec.idle_replica_count.is_some() || self.spec.min_replica_count.unwrap_or(0) <= 0
    }

    /// Most replicas (`defaultHPAMaxReplicas`, `scaledobject_types.go` v2.21.0).
    #[must_use]
    pub fn max(&self) -> i32 {
        self.spec.max_replica_count.unwrap_or(100)
    }
}

impl ScaledJob {
    /// The Jobs of the object as a workload.
    #[must_use]
    pub fn workload(&self) -> WorkloadKey {
        WorkloadKey {
            namespace: self.metadata.namespace.clone(),
            group: GROUP.to_owned(),
            kind: "ScaledJob".to_owned(),
            name: self.metadata.name.clone(),
        }
    }
}

impl ScaleTrigger {
    /// Whether the trigger is answered by us: of an external type, and told in our words or under our name.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        let named = self.metadata.get("scalerAddress").is_some_and(|address| address.contains("plimsoll"));
        self.is_external() && (named || self.metadata.contains_key("signal"))
    }

    /// Whether an external scaler answers it.
    #[must_use]
    pub fn is_external(&self) -> bool {
        matches!(self.kind.as_str(), "external" | "external-push")
    }
}
