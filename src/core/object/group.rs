//! LeaderWorkerSets: workloads whose replica is a group of pods, a leader and its workers.
//!
//! Of `leaderworkerset.x-k8s.io/v1` (sigs.k8s.io/lws v0.7.0, `api/leaderworkerset/v1/leaderworkerset_types.go`).

use serde::Deserialize;

use super::{
    ClaimTemplate, ObjectMeta, Pod, PodTemplate, Revision, Rollout, ScaleTarget, WorkloadKey,
    claim::ClaimOwner,
    meta::{StringMap, null_as_default},
};
use crate::selector::{Selector, SelectorError};

/// API group.
pub const API_GROUP: &str = "leaderworkerset.x-k8s.io";
/// Kind.
pub const KIND: &str = "LeaderWorkerSet";
/// Label of all pods of a set: its name.
pub const SET_NAME: &str = "leaderworkerset.sigs.k8s.io/name";
/// Label of all pods of a group: its number within the set.
const GROUP_INDEX: &str = "leaderworkerset.sigs.k8s.io/group-index";
/// Label that tells the pods of a group apart; the leader is 0.
const WORKER_INDEX: &str = "leaderworkerset.sigs.k8s.io/worker-index";
/// Annotations of a set that keep its groups in topology domains of their own.
const EXCLUSIVE: [&str; 2] =
    ["leaderworkerset.sigs.k8s.io/exclusive-topology", "leaderworkerset.sigs.k8s.io/subgroup-exclusive-topology"];

/// The read part of a LeaderWorkerSet.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct LeaderWorkerSet {
    /// Metadata.
    #[serde(deserialize_with = "null_as_default")]
    pub metadata: ObjectMeta,
    /// Specification.
    #[serde(deserialize_with = "null_as_default")]
    pub spec: LeaderWorkerSetSpec,
    /// Status.
    #[serde(deserialize_with = "null_as_default")]
    pub status: LeaderWorkerSetStatus,
}

/// The read part of `LeaderWorkerSetSpec`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LeaderWorkerSetSpec {
    /// Groups; absent means 1.
    pub replicas: Option<i32>,
    /// What a group is made from.
    #[serde(deserialize_with = "null_as_default")]
    pub leader_worker_template: LeaderWorkerTemplate,
}

/// The read part of `LeaderWorkerTemplate`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LeaderWorkerTemplate {
    /// Template of the leader; absent means that of the workers.
    pub leader_template: Option<PodTemplate>,
    /// Template of the workers.
    #[serde(deserialize_with = "null_as_default")]
    pub worker_template: PodTemplate,
    /// Pods of a group, the leader included; absent means 1.
    pub size: Option<i32>,
    /// Claims that every pod makes.
    pub volume_claim_templates: Option<Vec<ClaimTemplate>>,
}

/// The read part of `LeaderWorkerSetStatus`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LeaderWorkerSetStatus {
    /// Selector of the leaders.
    #[serde(deserialize_with = "null_as_default")]
    pub hpa_pod_selector: String,
    /// How many groups there are, and of which revisions.
    #[serde(flatten)]
    pub rollout: Rollout,
}

/// What a replica has besides its leader, whose template is [`ScaleTarget::template`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Group {
    /// Number of workers.
    pub workers: u32,
    /// What they are made from.
    pub worker_template: PodTemplate,
    /// The annotation that keeps groups in topology domains of their own, if there is one.
    pub exclusive: Option<&'static str>,
}

// === impl LeaderWorkerSet ===

impl LeaderWorkerSet {
    /// What an HPA scales of it.
    ///
    /// # Errors
    ///
    /// Where the selector in its status cannot be parsed.
    pub fn into_scale_target(self) -> Result<ScaleTarget, SelectorError> {
        let Self { metadata, spec, status } = self;
        let selector: Selector = status.hpa_pod_selector.parse()?;
        let revision = Revision::of(metadata.generation, &status.rollout);
        let (leader, group) = spec.leader_worker_template.into_templates(&metadata.name, &metadata.annotations);
        Ok(ScaleTarget {
            spec_replicas: spec.replicas.unwrap_or(1),
            status_replicas: status.rollout.replicas,
            selector,
            template: Some(leader),
            group: Some(Box::new(group)),
            annotations: metadata.annotations,
            revision,
        })
    }
}

// === impl LeaderWorkerTemplate ===

impl LeaderWorkerTemplate {
    /// The leader's template and the rest of the group; `name` and `annotations` are those of the set.
    #[must_use]
    pub fn into_templates(self, name: &str, annotations: &StringMap) -> (PodTemplate, Group) {
        let Self { leader_template, mut worker_template, size, volume_claim_templates } = self;
        let mut leader = leader_template.unwrap_or_else(|| worker_template.clone());
        let claims = volume_claim_templates.unwrap_or_default();
        leader.claim(&ClaimOwner::StatefulSet(name.to_owned()), &claims);
        worker_template.claim(&ClaimOwner::Workers(name.to_owned()), &claims);
        let workers = u32::try_from(size.unwrap_or(1)).unwrap_or(0).saturating_sub(1);
        let exclusive = EXCLUSIVE.into_iter().find(|name| annotations.contains_key(*name));
        (leader, Group { workers, worker_template, exclusive })
    }
}

/// Whether a workload is a LeaderWorkerSet.
#[must_use]
pub fn is_group_kind(workload: &WorkloadKey) -> bool {
    workload.group == API_GROUP && workload.kind == KIND
}

/// The number of the group that a pod is of; none if it is of none.
#[must_use]
pub fn group_index(pod: &Pod) -> Option<&str> {
    pod.metadata.labels.get(GROUP_INDEX)
}

/// Whether a pod of a group leads it.
#[must_use]
pub fn is_leader(pod: &Pod) -> bool {
    pod.metadata.labels.get(WORKER_INDEX).is_some_and(|index| index == "0")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(object: Value) -> ScaleTarget {
        serde_json::from_value::<LeaderWorkerSet>(object).unwrap().into_scale_target().unwrap()
    }

    fn template(cpu: &str) -> Value {
        json!({ "spec": { "containers": [{ "name": "main", "resources": { "requests": { "cpu": cpu } } }] } })
    }

    #[test]
    fn a_set_is_read_as_its_scale_and_both_templates() {
        let target = read(json!({
            "metadata": { "annotations": { "leaderworkerset.sigs.k8s.io/exclusive-topology": "rack" } },
            "spec": {
                "replicas": 3,
                "leaderWorkerTemplate": { "size": 4, "leaderTemplate": template("1"), "workerTemplate": template("2") },
            },
            "status": { "replicas": 2, "hpaPodSelector": "leaderworkerset.sigs.k8s.io/worker-index=0" },
        }));
        let group = target.group.unwrap();
        assert_eq!((target.spec_replicas, target.status_replicas, group.workers), (3, 2, 3));
        assert_eq!(group.exclusive, Some("leaderworkerset.sigs.k8s.io/exclusive-topology"));
        assert_ne!(target.template.unwrap(), group.worker_template);
        assert!(!target.selector.is_empty());
    }

    #[test]
    fn what_is_absent_means_one_replica_of_one_pod_that_is_made_like_a_worker() {
        let target =
            read(json!({ "spec": { "leaderWorkerTemplate": { "workerTemplate": template("2") } }, "status": null }));
        let group = target.group.unwrap();
        assert_eq!((target.spec_replicas, group.workers), (1, 0));
        assert_eq!(target.template.unwrap(), group.worker_template);
    }

    #[test]
    fn an_absurd_size_is_no_worker() {
        let spec = json!({ "leaderWorkerTemplate": { "size": -5, "leaderTemplate": null } });
        assert_eq!(read(json!({ "spec": spec })).group.unwrap().workers, 0);
    }
}
