//! A pod as it is on the wire, and what is kept of it.

use jiff::Timestamp;
use serde::Deserialize;

use super::{
    ConditionState, ContainerStatus, Granted, Pod, PodCondition, PodMeta, PodSpec, PodStatus, ResourceList, Resources,
};
use crate::object::{
    Moment,
    autoscaling::CONSUMES,
    meta::{ObjectMeta, StringMap, null_as_default, null_items_as_default},
};

/// Annotations that anybody reads of a pod.
const READ_ANNOTATIONS: [&str; 4] = ["plimsoll.dev/", "prometheus.io/", CONSUMES[0], CONSUMES[1]];
/// Conditions that anybody reads of a pod; `PodScheduled` only while it is not true.
const READ_CONDITIONS: [&str; 3] = ["Ready", "PodScheduled", "PodResizePending"];
/// The volume that the ServiceAccount admission plugin adds under a random name
/// (`plugin/pkg/admission/serviceaccount/admission.go`, Kubernetes v1.36.3). It binds a pod to nothing.
const TOKEN_VOLUME: &str = "kube-api-access-";

/// `v1.Pod`.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Wire {
    #[serde(deserialize_with = "null_as_default")]
    pub(super) metadata: ObjectMeta,
    #[serde(deserialize_with = "null_as_default")]
    pub(super) spec: PodSpec,
    #[serde(deserialize_with = "null_as_default")]
    pub(super) status: WireStatus,
}

/// `v1.PodStatus`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct WireStatus {
    #[serde(deserialize_with = "null_as_default")]
    phase: String,
    #[serde(rename = "podIP", deserialize_with = "null_as_default")]
    pod_ip: String,
    start_time: Option<Timestamp>,
    #[serde(deserialize_with = "null_as_default")]
    nominated_node_name: String,
    #[serde(deserialize_with = "null_items_as_default")]
    container_statuses: Vec<ContainerStatus>,
    #[serde(deserialize_with = "null_items_as_default")]
    init_container_statuses: Vec<ContainerStatus>,
    resources: Option<Resources>,
    #[serde(deserialize_with = "null_as_default")]
    allocated_resources: ResourceList,
    #[serde(deserialize_with = "null_items_as_default")]
    conditions: Vec<WireCondition>,
}

/// `v1.PodCondition`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct WireCondition {
    #[serde(flatten)]
    state: ConditionState,
    last_transition_time: Option<Timestamp>,
}

impl From<Wire> for Pod {
    fn from(wire: Wire) -> Self {
        let Wire { metadata, mut spec, status } = wire;
        let node_name = std::mem::take(&mut spec.pinned_node).into();
        spec.volumes.retain(|volume| !is_token(volume));
        Self { metadata: metadata.into(), node_name, spec: spec.into(), status: status.into() }
    }
}

fn is_token(volume: &super::Volume) -> bool {
    let name = volume.get("name").and_then(serde_json::Value::as_str);
    name.is_some_and(|name| name.starts_with(TOKEN_VOLUME)) && volume.len() == 2 && volume.contains_key("projected")
}

impl From<ObjectMeta> for PodMeta {
    fn from(meta: ObjectMeta) -> Self {
        let mut annotations = meta.annotations;
        annotations.retain(|name, _| READ_ANNOTATIONS.iter().any(|read| name.starts_with(read)));
        Self {
            name: meta.name.into(),
            namespace: meta.namespace.into(),
            uid: meta.uid.as_str().into(),
            labels: meta.labels.into(),
            annotations: StringMap::into(annotations),
            owner_references: meta.owner_references.into(),
            creation_timestamp: meta.creation_timestamp.map(Moment::from),
            deletion_timestamp: meta.deletion_timestamp.map(Moment::from),
        }
    }
}

impl From<WireStatus> for PodStatus {
    fn from(wire: WireStatus) -> Self {
        let conditions = wire.conditions.into_iter().filter(WireCondition::is_read);
        let granted = Granted {
            container_statuses: resized(wire.container_statuses),
            init_container_statuses: resized(wire.init_container_statuses),
            resources: wire.resources,
            allocated_resources: wire.allocated_resources,
        };
        Self {
            phase: wire.phase.into(),
            pod_ip: wire.pod_ip.parse().ok(),
            start_time: wire.start_time.map(Moment::from),
            nominated_node_name: wire.nominated_node_name.into(),
            granted: granted.into(),
            conditions: conditions.map(PodCondition::from).collect(),
        }
    }
}

/// Only what says something of resources.
fn resized(statuses: Vec<ContainerStatus>) -> Vec<ContainerStatus> {
    statuses.into_iter().filter(|status| status.resources.is_some()).collect()
}

impl WireCondition {
    fn is_read(&self) -> bool {
        let ConditionState { kind, status, .. } = &self.state;
        READ_CONDITIONS.contains(&kind.as_str()) && (kind != "PodScheduled" || status != "True")
    }
}

impl From<WireCondition> for PodCondition {
    fn from(wire: WireCondition) -> Self {
        Self { state: wire.state.into(), last_transition_time: wire.last_transition_time.map(Moment::from) }
    }
}
