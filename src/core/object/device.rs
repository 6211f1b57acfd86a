//! Dynamic resource allocation, `resource.k8s.io/v1` (`k8s.io/api` v0.36.3 `resource/v1/types.go`): devices, their
//! classes, and claims for them.
//!
//! Fields that would change what a device or a request means, and that nobody here reads, are kept by name, so that
//! whoever counts can say what it does not understand.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::Value;

use super::{
    meta::{ObjectMeta, null_as_default, null_items_as_default, null_values_as_default},
    node::Taint,
    pod::{NodeSelector, Toleration},
};
use crate::quantity::Quantity;

/// Fields that are not read, by name.
pub type Beyond = BTreeMap<String, Value>;

/// Devices of one pool, or some of them.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct ResourceSlice {
    /// Metadata.
    #[serde(deserialize_with = "null_as_default")]
    pub metadata: ObjectMeta,
    /// Specification.
    #[serde(deserialize_with = "null_as_default")]
    pub spec: ResourceSliceSpec,
}

/// `ResourceSliceSpec`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceSliceSpec {
    /// Driver that has published it.
    #[serde(deserialize_with = "null_as_default")]
    pub driver: String,
    /// Pool that the devices belong to.
    #[serde(deserialize_with = "null_as_default")]
    pub pool: ResourcePool,
    /// Node that can use the devices; empty where the node is given in another way.
    #[serde(deserialize_with = "null_as_default")]
    pub node_name: String,
    /// Devices.
    #[serde(deserialize_with = "null_items_as_default")]
    pub devices: Vec<Device>,
    /// Everything else: further ways to say which nodes, shared counters, and what is newer than this code.
    #[serde(flatten)]
    pub beyond: Beyond,
}

/// `ResourcePool`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourcePool {
    /// Name, unique for the driver.
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    /// Only slices of the highest generation are valid.
    #[serde(deserialize_with = "null_as_default")]
    pub generation: i64,
    /// How many slices of that generation make the pool complete.
    #[serde(deserialize_with = "null_as_default")]
    pub resource_slice_count: i64,
}

/// `Device`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Device {
    /// Name, unique in the pool.
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    /// Attributes by name; one without a domain is in the domain of the driver.
    #[serde(deserialize_with = "null_values_as_default")]
    pub attributes: BTreeMap<String, DeviceAttribute>,
    /// Capacities by name.
    #[serde(deserialize_with = "null_values_as_default")]
    pub capacity: BTreeMap<String, DeviceCapacity>,
    /// Taints, with the effects `None`, `NoSchedule`, `NoExecute`.
    #[serde(deserialize_with = "null_items_as_default")]
    pub taints: Vec<Taint>,
    /// Everything else: counters, sharing, binding conditions, and what is newer than this code.
    #[serde(flatten)]
    pub beyond: Beyond,
}

/// `DeviceAttribute`: exactly one of its fields is set.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct DeviceAttribute {
    /// A whole number.
    pub int: Option<i64>,
    /// Yes or no.
    pub bool: Option<bool>,
    /// A text.
    pub string: Option<String>,
    /// A semantic version.
    pub version: Option<String>,
    /// Everything else, lists among it.
    #[serde(flatten)]
    pub beyond: Beyond,
}

/// `DeviceCapacity`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct DeviceCapacity {
    /// How much.
    #[serde(deserialize_with = "null_as_default")]
    pub value: Quantity,
}

/// A class of devices.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct DeviceClass {
    /// Metadata.
    #[serde(deserialize_with = "null_as_default")]
    pub metadata: ObjectMeta,
    /// Specification.
    #[serde(deserialize_with = "null_as_default")]
    pub spec: DeviceClassSpec,
}

/// `DeviceClassSpec`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeviceClassSpec {
    /// What a device must be, all of it.
    #[serde(deserialize_with = "null_items_as_default")]
    pub selectors: Vec<DeviceSelector>,
    /// The extended resource that it stands for, so that devices may satisfy it beyond node allocatable.
    pub extended_resource_name: Option<String>,
    /// What drivers read, and nobody else.
    #[serde(skip_serializing)]
    pub config: IgnoredAny,
    /// Everything else: what is newer than this code.
    #[serde(flatten)]
    pub beyond: Beyond,
}

/// `DeviceSelector`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct DeviceSelector {
    /// An expression; none for a kind of selector that is newer than this code.
    pub cel: Option<CelDeviceSelector>,
}

/// `CELDeviceSelector`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct CelDeviceSelector {
    /// The expression.
    #[serde(deserialize_with = "null_as_default")]
    pub expression: String,
}

/// A claim that is made for each pod.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct ResourceClaimTemplate {
    /// Metadata.
    #[serde(deserialize_with = "null_as_default")]
    pub metadata: ObjectMeta,
    /// Specification.
    #[serde(deserialize_with = "null_as_default")]
    pub spec: ResourceClaimTemplateSpec,
}

/// The read part of `ResourceClaimTemplateSpec`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct ResourceClaimTemplateSpec {
    /// Specification of the claims.
    #[serde(deserialize_with = "null_as_default")]
    pub spec: ResourceClaimSpec,
}

/// The read part of `ResourceClaimSpec`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct ResourceClaimSpec {
    /// What is asked for.
    #[serde(deserialize_with = "null_as_default")]
    pub devices: DeviceClaim,
}

/// `DeviceClaim`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct DeviceClaim {
    /// Requests, all of which must be met.
    #[serde(deserialize_with = "null_items_as_default")]
    pub requests: Vec<DeviceRequest>,
    /// Constraints between the devices.
    #[serde(deserialize_with = "null_items_as_default")]
    pub constraints: Vec<DeviceConstraint>,
    /// What drivers read, and nobody else.
    #[serde(skip_serializing)]
    pub config: IgnoredAny,
    /// Everything else: what is newer than this code.
    #[serde(flatten)]
    pub beyond: Beyond,
}

/// `DeviceConstraint`: exactly one of the attributes is set.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeviceConstraint {
    /// Requests whose devices it is about; all, if there are none.
    #[serde(deserialize_with = "null_items_as_default")]
    pub requests: Vec<String>,
    /// Qualified name of an attribute that must be the same on all devices.
    pub match_attribute: Option<String>,
    /// Qualified name of an attribute that must differ.
    pub distinct_attribute: Option<String>,
    /// Everything else.
    #[serde(flatten)]
    pub beyond: Beyond,
}

/// `DeviceRequest`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeviceRequest {
    /// Name.
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    /// What exactly; none where there are alternatives.
    pub exactly: Option<ExactDeviceRequest>,
    /// Alternatives, the best first.
    #[serde(deserialize_with = "null_items_as_default")]
    pub first_available: Vec<DeviceSubRequest>,
    /// Everything else: what is newer than this code.
    #[serde(flatten)]
    pub beyond: Beyond,
}

/// `DeviceSubRequest`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct DeviceSubRequest {
    /// Name.
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    /// What exactly.
    #[serde(flatten)]
    pub exactly: ExactDeviceRequest,
}

/// `ExactDeviceRequest`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExactDeviceRequest {
    /// The class.
    #[serde(deserialize_with = "null_as_default")]
    pub device_class_name: String,
    /// What a device must be besides, all of it.
    #[serde(deserialize_with = "null_items_as_default")]
    pub selectors: Vec<DeviceSelector>,
    /// `ExactCount` (default) or `All`.
    #[serde(deserialize_with = "null_as_default")]
    pub allocation_mode: String,
    /// How many; 0 stands for 1.
    #[serde(deserialize_with = "null_as_default")]
    pub count: i64,
    /// Taints that do not matter.
    #[serde(deserialize_with = "null_items_as_default")]
    pub tolerations: Vec<Toleration>,
    /// Everything else: access for administration, capacity to consume, and what is newer than this code.
    #[serde(flatten)]
    pub beyond: Beyond,
}

/// A claim.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct ResourceClaim {
    /// Metadata.
    #[serde(deserialize_with = "null_as_default")]
    pub metadata: ObjectMeta,
    /// Status.
    #[serde(deserialize_with = "null_as_default")]
    pub status: ResourceClaimStatus,
}

/// The read part of `ResourceClaimStatus`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceClaimStatus {
    /// What has been allocated, if anything has.
    pub allocation: Option<AllocationResult>,
    /// Who uses it.
    #[serde(deserialize_with = "null_items_as_default")]
    pub reserved_for: Vec<Consumer>,
}

/// The read part of `AllocationResult`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AllocationResult {
    /// Devices.
    #[serde(deserialize_with = "null_as_default")]
    pub devices: DeviceAllocationResult,
    /// Nodes that can use them; none means all.
    pub node_selector: Option<NodeSelector>,
}

/// The read part of `DeviceAllocationResult`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct DeviceAllocationResult {
    /// Devices one by one.
    #[serde(deserialize_with = "null_items_as_default")]
    pub results: Vec<AllocatedDevice>,
}

/// The read part of `DeviceRequestAllocationResult`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AllocatedDevice {
    /// Driver.
    #[serde(deserialize_with = "null_as_default")]
    pub driver: String,
    /// Pool.
    #[serde(deserialize_with = "null_as_default")]
    pub pool: String,
    /// Name in the pool.
    #[serde(deserialize_with = "null_as_default")]
    pub device: String,
    /// Whether it is looked at only: then others may have it.
    #[serde(deserialize_with = "null_as_default")]
    pub admin_access: bool,
    /// What must have become of it before pods can use it.
    #[serde(deserialize_with = "null_items_as_default")]
    pub binding_conditions: Vec<String>,
}

/// `ResourceClaimConsumerReference`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Consumer {
    /// Resource in the plural: `pods`.
    #[serde(deserialize_with = "null_as_default")]
    pub resource: String,
    /// Name in the claim's namespace.
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
}
