//! The scale of a workload: replicas, selector and pod template.

use serde::{Deserialize, Serialize};

use super::{group::Group, meta::null_as_default, pod::PodTemplate};
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
}
