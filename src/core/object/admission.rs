//! What admission reads when a pod is created: ResourceQuota, LimitRange, RuntimeClass.

use serde::{Deserialize, Serialize};

use super::{
    meta::{ObjectMeta, StringMap, null_as_default, null_items_as_default, null_values_as_default},
    pod::{ResourceList, Toleration},
};

/// `v1.ResourceQuota`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct ResourceQuota {
    /// Metadata.
    #[serde(deserialize_with = "null_as_default")]
    pub metadata: ObjectMeta,
    /// Specification.
    #[serde(deserialize_with = "null_as_default")]
    pub spec: ResourceQuotaSpec,
    /// Status.
    #[serde(deserialize_with = "null_as_default")]
    pub status: ResourceQuotaStatus,
}

/// `v1.ResourceQuotaSpec`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceQuotaSpec {
    /// Limits by resource name.
    #[serde(deserialize_with = "null_as_default")]
    pub hard: ResourceList,
    /// Scopes that must all match.
    #[serde(deserialize_with = "null_items_as_default")]
    pub scopes: Vec<String>,
    /// Further scopes, with operators.
    pub scope_selector: Option<ScopeSelector>,
}

/// `v1.ScopeSelector`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ScopeSelector {
    /// Requirements, all of which must hold.
    #[serde(deserialize_with = "null_items_as_default")]
    pub match_expressions: Vec<ScopeRequirement>,
}

/// `v1.ScopedResourceSelectorRequirement`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ScopeRequirement {
    /// `Terminating`, `BestEffort`, `PriorityClass`, ….
    #[serde(deserialize_with = "null_as_default")]
    pub scope_name: String,
    /// `In`, `NotIn`, `Exists`, `DoesNotExist`.
    #[serde(deserialize_with = "null_as_default")]
    pub operator: String,
    /// Operands.
    #[serde(deserialize_with = "null_items_as_default")]
    pub values: Vec<String>,
}

/// `v1.ResourceQuotaStatus`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct ResourceQuotaStatus {
    /// The limits that are enforced.
    #[serde(deserialize_with = "null_as_default")]
    pub hard: ResourceList,
    /// What is charged.
    #[serde(deserialize_with = "null_as_default")]
    pub used: ResourceList,
}

/// `v1.LimitRange`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct LimitRange {
    /// Metadata.
    #[serde(deserialize_with = "null_as_default")]
    pub metadata: ObjectMeta,
    /// Specification.
    #[serde(deserialize_with = "null_as_default")]
    pub spec: LimitRangeSpec,
}

/// `v1.LimitRangeSpec`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct LimitRangeSpec {
    /// Limits, each of one type.
    #[serde(deserialize_with = "null_items_as_default")]
    pub limits: Vec<LimitRangeItem>,
}

/// `v1.LimitRangeItem`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LimitRangeItem {
    /// `Container`, `Pod`, `PersistentVolumeClaim`.
    #[serde(rename = "type", deserialize_with = "null_as_default")]
    pub kind: String,
    /// Least amounts.
    #[serde(deserialize_with = "null_as_default")]
    pub min: ResourceList,
    /// Largest amounts.
    #[serde(deserialize_with = "null_as_default")]
    pub max: ResourceList,
    /// Limits of containers that name none.
    #[serde(rename = "default", deserialize_with = "null_as_default")]
    pub default_limits: ResourceList,
    /// Requests of containers that name none.
    #[serde(rename = "defaultRequest", deserialize_with = "null_as_default")]
    pub default_requests: ResourceList,
    /// Largest ratio of limit to request.
    #[serde(deserialize_with = "null_as_default")]
    pub max_limit_request_ratio: ResourceList,
}

/// `node.k8s.io/v1.RuntimeClass`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct RuntimeClass {
    /// Metadata.
    #[serde(deserialize_with = "null_as_default")]
    pub metadata: ObjectMeta,
    /// What its pods take beside their containers.
    #[serde(deserialize_with = "null_as_default")]
    pub overhead: Overhead,
    /// Where its pods may run.
    #[serde(deserialize_with = "null_as_default")]
    pub scheduling: Scheduling,
}

/// `node.k8s.io/v1.Overhead`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Overhead {
    /// Amounts for each pod.
    #[serde(deserialize_with = "null_as_default")]
    pub pod_fixed: ResourceList,
}

/// `node.k8s.io/v1.Scheduling`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Scheduling {
    /// Labels that a node must carry.
    #[serde(deserialize_with = "null_values_as_default")]
    pub node_selector: StringMap,
    /// Further tolerations.
    #[serde(deserialize_with = "null_items_as_default")]
    pub tolerations: Vec<Toleration>,
}
