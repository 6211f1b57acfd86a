//! `autoscaling.x-k8s.io`: what people ask node autoscalers for (`k8s.io/autoscaler/cluster-autoscaler/apis`):
//! `provisioningrequest/autoscaling.x-k8s.io/v1` and `capacitybuffer/autoscaling.x-k8s.io/v1alpha1`, whose read part is the
//! same in `v1beta1`.

use serde::{Deserialize, Serialize};

use super::{
    meta::{Condition, ObjectMeta, WorkloadKey, null_as_default, null_items_as_default},
    pod::PodTemplate,
};

/// Annotations with which a pod says which ProvisioningRequest it consumes; the second is the older one
/// (`cluster-autoscaler/provisioningrequest/pods`).
pub const CONSUMES: [&str; 2] = [
    "autoscaling.x-k8s.io/consume-provisioning-request",
    "cluster-autoscaler.kubernetes.io/consume-provisioning-request",
];
/// Classes for which Cluster Autoscaler books room: that which is there, and that which it adds.
const BOOKED: [&str; 2] = ["check-capacity.autoscaling.x-k8s.io", "best-effort-atomic-scale-up.autoscaling.x-k8s.io"];

/// A request for room for several pods at once.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct ProvisioningRequest {
    /// Metadata.
    #[serde(deserialize_with = "null_as_default")]
    pub metadata: ObjectMeta,
    /// Specification.
    #[serde(deserialize_with = "null_as_default")]
    pub spec: ProvisioningRequestSpec,
    /// Status.
    #[serde(deserialize_with = "null_as_default")]
    pub status: Status,
}

/// The read part of `ProvisioningRequestSpec`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProvisioningRequestSpec {
    /// Groups of pods.
    #[serde(deserialize_with = "null_items_as_default")]
    pub pod_sets: Vec<PodSet>,
    /// How it is provided for.
    #[serde(deserialize_with = "null_as_default")]
    pub provisioning_class_name: String,
}

/// `PodSet`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSet {
    /// A PodTemplate of the namespace.
    #[serde(deserialize_with = "null_as_default")]
    pub pod_template_ref: Reference,
    /// Pods that will be made from it.
    #[serde(deserialize_with = "null_as_default")]
    pub count: i32,
}

/// A reference within the namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Reference {
    /// Name.
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
}

/// The read part of both kinds' status.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Status {
    /// Conditions.
    #[serde(deserialize_with = "null_items_as_default")]
    pub conditions: Vec<Condition>,
    /// Of a buffer: pods that room is kept for.
    pub replicas: Option<i32>,
}

/// Room that is kept free for pods to come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct CapacityBuffer {
    /// Metadata.
    #[serde(deserialize_with = "null_as_default")]
    pub metadata: ObjectMeta,
    /// Specification.
    #[serde(deserialize_with = "null_as_default")]
    pub spec: CapacityBufferSpec,
    /// Status.
    #[serde(deserialize_with = "null_as_default")]
    pub status: Status,
}

/// The read part of `CapacityBufferSpec`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CapacityBufferSpec {
    /// The workload whose replicas it has room for; absent where a PodTemplate says what for.
    pub scalable_ref: Option<ScalableRef>,
}

/// `ScalableRef`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ScalableRef {
    /// API group.
    #[serde(deserialize_with = "null_as_default")]
    pub api_group: String,
    /// Kind.
    #[serde(deserialize_with = "null_as_default")]
    pub kind: String,
    /// Name.
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
}

/// `v1.PodTemplate`, which these refer to.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct StoredTemplate {
    /// Metadata.
    #[serde(deserialize_with = "null_as_default")]
    pub metadata: ObjectMeta,
    /// The template.
    #[serde(deserialize_with = "null_as_default")]
    pub template: PodTemplate,
}

// === impl Status ===

impl Status {
    /// Whether a condition is true.
    #[must_use]
    pub fn is(&self, kind: &str) -> bool {
        self.conditions.iter().any(|condition| condition.says(kind, "True"))
    }
}

// === impl ProvisioningRequest ===

impl ProvisioningRequest {
    /// Whether Cluster Autoscaler keeps room for it: `ShouldCapacityBeBooked`
    /// (`cluster-autoscaler/provisioningrequest/conditions`).
    #[must_use]
    pub fn is_booked(&self) -> bool {
        BOOKED.contains(&self.spec.provisioning_class_name.as_str())
            && !self.status.is("Failed")
            && !self.status.is("BookingExpired")
            && self.status.is("Provisioned")
    }
}

// === impl CapacityBuffer ===

impl CapacityBuffer {
    /// Whether it has room for replicas of a workload.
    #[must_use]
    pub fn is_of(&self, workload: &WorkloadKey) -> bool {
        let is_it =
            |it: &ScalableRef| it.kind == workload.kind && it.name == workload.name && it.api_group == workload.group;
        self.metadata.namespace == workload.namespace && self.spec.scalable_ref.as_ref().is_some_and(is_it)
    }

    /// Pods that an autoscaler keeps room for; 0 while it does not.
    #[must_use]
    pub fn kept(&self) -> u32 {
        let is_active = self.status.is("ReadyForProvisioning") && self.status.is("Provisioning");
        let replicas = self.status.replicas.filter(|_| is_active).unwrap_or(0);
        u32::try_from(replicas).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(class: &str, conditions: &[(&str, &str)]) -> ProvisioningRequest {
        let conditions: Vec<_> =
            conditions.iter().map(|(kind, status)| json!({"type": kind, "status": status, "reason": "r"})).collect();
        let sets = json!([{"podTemplateRef": {"name": "t"}, "count": 3}]);
        serde_json::from_value(json!({
            "metadata": {"namespace": "ml", "name": "train"},
            "spec": {"podSets": sets, "provisioningClassName": class, "parameters": null},
            "status": {"conditions": conditions, "provisioningClassDetails": {}},
        }))
        .unwrap()
    }

    #[test]
    fn room_is_booked_from_provisioned_to_expired_for_the_classes_of_cluster_autoscaler() {
        let check = "check-capacity.autoscaling.x-k8s.io";
        assert!(!request(check, &[("Accepted", "True")]).is_booked());
        assert!(request(check, &[("Accepted", "True"), ("Provisioned", "True")]).is_booked());
        assert!(!request(check, &[("Provisioned", "True"), ("BookingExpired", "True")]).is_booked());
        assert!(!request(check, &[("Provisioned", "True"), ("Failed", "True")]).is_booked());
        assert!(request(check, &[("Provisioned", "True"), ("Failed", "False")]).is_booked());
        let of_a_provider = request("queued-provisioning.gke.io", &[("Provisioned", "True")]);
        assert!(!of_a_provider.is_booked());
        assert_eq!(of_a_provider.spec.pod_sets[0].count, 3);
    }

    #[test]
    fn a_buffer_keeps_room_once_it_is_resolved_and_provisioned() {
        let buffer = |conditions: serde_json::Value| -> CapacityBuffer {
            serde_json::from_value(json!({
                "metadata": {"namespace": "ml", "name": "spare"},
                "spec": {"scalableRef": {"apiGroup": "apps", "kind": "Deployment", "name": "chat"}, "percentage": 20},
                "status": {"replicas": 2, "conditions": conditions, "podTemplateRef": null},
            }))
            .unwrap()
        };
        let ready = json!({"type": "ReadyForProvisioning", "status": "True"});
        assert_eq!(buffer(json!([ready])).kept(), 0);
        assert_eq!(buffer(json!([ready, {"type": "Provisioning", "status": "True"}])).kept(), 2);
        assert_eq!(buffer(json!(null)).kept(), 0);
    }
}
