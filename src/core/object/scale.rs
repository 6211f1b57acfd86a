//! The scale of a workload: replicas, selector and pod template.

use serde::{Deserialize, Serialize};

use super::{
    group::Group,
    meta::null_as_default,
    pod::{Pod, PodTemplate},
};
use crate::selector::Selector;

/// What an HPA reads of a scale subresource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Scale {
    /// `scale.spec.replicas`: *current*, always.
    #[serde(deserialize_with = "null_as_default")]
    pub spec_replicas: i32,
    /// `scale.status.replicas`: what AverageValue targets divide by.
    #[serde(deserialize_with = "null_as_default")]
    pub status_replicas: i32,
    /// `scale.status.selector`, in the string form of a label selector.
    #[serde(deserialize_with = "null_as_default")]
    pub selector: String,
}

/// A watched scale target.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScaleTarget {
    /// Replicas asked for and reported.
    pub spec_replicas: i32,
    /// Replicas that the workload's controller reports, surge pods included.
    pub status_replicas: i32,
    /// Parsed `scale.status.selector`.
    pub selector: Selector,
    /// The pod template, where the kind has one that is watched.
    pub template: Option<PodTemplate>,
    /// The rest of a replica that is a group of pods; its leader is made from the template.
    pub group: Option<Box<Group>>,
    /// Annotations of the workload, for policy.
    pub annotations: super::meta::StringMap,
    /// Which of its pods are made from the template as it is now.
    pub revision: Revision,
}

/// Which pods of a workload are made from its template as it is now.
///
/// With `OnDelete`, with a partition, and until a rollout has made its first pod, the newest pod is one of a template
/// that has been replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Revision {
    /// All of them.
    #[default]
    All,
    /// Those with this value of the label `controller-revision-hash`.
    Hash(String),
    /// It is not known of any.
    None,
}

/// What the status of a Deployment, StatefulSet or LeaderWorkerSet says of its pods' revisions.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rollout {
    /// The specification that it speaks of.
    #[serde(deserialize_with = "null_as_default")]
    observed_generation: i64,
    /// Pods, or groups of them.
    #[serde(deserialize_with = "null_as_default")]
    pub replicas: i32,
    /// Those of them that are made from the template.
    #[serde(deserialize_with = "null_as_default")]
    updated_replicas: i32,
    /// Of a StatefulSet, what the pods of the template are labelled with.
    #[serde(deserialize_with = "null_as_default")]
    update_revision: String,
}

/// Label of the pods of a StatefulSet.
const REVISION_HASH: &str = "controller-revision-hash";

// === impl Revision ===

impl Revision {
    /// What a status says of an object of a generation.
    #[must_use]
    pub fn of(generation: i64, status: &Rollout) -> Self {
        // A LeaderWorkerSet of an older release does not say what it has observed.
        if (1..generation).contains(&status.observed_generation) {
            return Self::None;
        }
        if !status.update_revision.is_empty() {
            return Self::Hash(status.update_revision.clone());
        }
        let all = status.updated_replicas > 0 && status.updated_replicas >= status.replicas;
        if all { Self::All } else { Self::None }
    }

    /// Whether a pod is made from the template as it is now.
    #[must_use]
    pub fn has(&self, pod: &Pod) -> bool {
        match self {
            Self::All => true,
            Self::Hash(hash) => pod.metadata.labels.get(REVISION_HASH) == Some(hash.as_str()),
            Self::None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn revision(status: Value) -> Revision {
        Revision::of(4, &serde_json::from_value(status).unwrap())
    }

    #[test]
    fn all_pods_are_of_the_template_once_a_rollout_that_was_seen_is_over() {
        let status = |observed: i64, replicas: i32, updated: i32| json!({"observedGeneration": observed, "replicas": replicas, "updatedReplicas": updated});
        for (observed, replicas, updated, expected) in [
            (4, 3, 3, Revision::All),
            (4, 3, 2, Revision::None),
            (4, 3, 0, Revision::None),
            (3, 3, 3, Revision::None),
            (0, 3, 3, Revision::All),
            (4, 0, 0, Revision::None),
        ] {
            assert_eq!(revision(status(observed, replicas, updated)), expected, "{observed} {replicas} {updated}");
        }
    }

    #[test]
    fn pods_of_a_stateful_set_say_of_which_revision_they_are() {
        let status = json!({"observedGeneration": 4, "replicas": 3, "updatedReplicas": 1, "updateRevision": "db-2"});
        let revision = revision(status);
        let pod = |hash: &str| serde_json::from_value(json!({"metadata": {"labels": {REVISION_HASH: hash}}})).unwrap();
        assert!(revision.has(&pod("db-2")) && !revision.has(&pod("db-1")) && !revision.has(&Pod::default()));
    }
}
