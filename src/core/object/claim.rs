//! `v1.PersistentVolumeClaim`, and the claims that controllers make for each pod of a workload.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    meta::{ObjectMeta, null_as_default, null_items_as_default},
    pod::{PodTemplate, Resources},
};
use crate::selector::LabelSelector;

/// The key under which a pod template carries a claim that a StatefulSet makes for each of its pods. The API server
/// accepts no volume source of this name, so that it comes from [`PodTemplate::claim`] alone.
pub const CLAIM_OF_EACH: &str = "volumeClaimTemplate";

/// A claim to storage.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct PersistentVolumeClaim {
    /// Metadata.
    #[serde(deserialize_with = "null_as_default")]
    pub metadata: ObjectMeta,
    /// Specification.
    #[serde(deserialize_with = "null_as_default")]
    pub spec: ClaimSpec,
    /// Status.
    #[serde(deserialize_with = "null_as_default")]
    pub status: ClaimStatus,
}

/// The read part of an item of `spec.volumeClaimTemplates`, or of an ephemeral volume.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct ClaimTemplate {
    /// Metadata, of which the name becomes that of the volume.
    #[serde(deserialize_with = "null_as_default")]
    pub metadata: ObjectMeta,
    /// Specification of the claims.
    #[serde(deserialize_with = "null_as_default")]
    pub spec: ClaimSpec,
}

/// The read part of `v1.PersistentVolumeClaimSpec`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClaimSpec {
    /// `ReadWriteOnce`, `ReadOnlyMany`, `ReadWriteMany`, `ReadWriteOncePod`.
    #[serde(deserialize_with = "null_items_as_default")]
    pub access_modes: Vec<String>,
    /// StorageClass; absent means the default one, empty means none.
    pub storage_class_name: Option<String>,
    /// The volume that it is bound to, or is to be bound to.
    #[serde(deserialize_with = "null_as_default")]
    pub volume_name: String,
    /// `Filesystem` (default) or `Block`.
    pub volume_mode: Option<String>,
    /// Volumes that may be bound.
    pub selector: Option<LabelSelector>,
    /// Size, as the request of `storage`.
    #[serde(deserialize_with = "null_as_default")]
    pub resources: Resources,
    /// VolumeAttributesClass.
    pub volume_attributes_class_name: Option<String>,
}

/// The read part of `v1.PersistentVolumeClaimStatus`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct ClaimStatus {
    /// `Pending`, `Bound`, `Lost`.
    #[serde(deserialize_with = "null_as_default")]
    pub phase: String,
}

/// How a StatefulSet names the claims of its pods: `<template>-<owner>-<ordinal>`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct ClaimOfEach {
    /// Who makes them.
    pub owner: ClaimOwner,
    /// The template.
    pub template: ClaimTemplate,
}

/// Who makes a claim for each of its pods.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum ClaimOwner {
    /// The StatefulSet of this name.
    StatefulSet(String),
    /// The StatefulSets of the workers of the LeaderWorkerSet of this name: each is named `<name>-<group>`.
    Workers(String),
}

// === impl ClaimOwner ===

impl ClaimOwner {
    /// What the names of all its pods begin with, before a dash.
    #[must_use]
    pub fn name(&self) -> &str {
        let (Self::StatefulSet(name) | Self::Workers(name)) = self;
        name
    }

    /// Whether what follows [`Self::name`] and a dash makes it the name of one of its pods.
    #[must_use]
    pub fn names(&self, rest: &str) -> bool {
        let is_ordinal = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match self {
            Self::StatefulSet(_) => is_ordinal(rest),
            Self::Workers(_) => {
                rest.split_once('-').is_some_and(|(group, worker)| is_ordinal(group) && is_ordinal(worker))
            }
        }
    }
}

// === impl PersistentVolumeClaim ===

impl PersistentVolumeClaim {
    /// Annotations that decide anything; agents write many more.
    pub const ANNOTATIONS: [&str; 3] =
        ["pv.kubernetes.io/bind-completed", "volume.kubernetes.io/selected-node", BETA_CLASS];

    /// Whether the volume controller is through with it (`isPVCFullyBound` of the scheduler).
    #[must_use]
    pub fn is_bound(&self) -> bool {
        !self.spec.volume_name.is_empty() && self.metadata.annotations.contains_key("pv.kubernetes.io/bind-completed")
    }

    /// The StorageClass by name; empty means none.
    #[must_use]
    pub fn class(&self) -> &str {
        let class = self.metadata.annotations.get(BETA_CLASS).or(self.spec.storage_class_name.as_ref());
        class.map_or("", String::as_str)
    }

    /// The node that the scheduler has chosen and that it is being provisioned for.
    #[must_use]
    pub fn selected_node(&self) -> Option<&str> {
        self.metadata.annotations.get("volume.kubernetes.io/selected-node").map(String::as_str)
    }

    /// Whether one pod alone may use it.
    #[must_use]
    pub fn is_for_one_pod(&self) -> bool {
        self.spec.access_modes.iter().any(|mode| mode == "ReadWriteOncePod")
    }
}

/// The annotation that named the class before there was a field; it wins where it is set.
pub const BETA_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

// === impl PodTemplate ===

impl PodTemplate {
    /// Adds the volumes of claim templates, each in the place of one that has its name already (`updateStorage` in
    /// `pkg/controller/statefulset/stateful_set_utils.go`, v1.36.3).
    pub fn claim(&mut self, owner: &ClaimOwner, templates: &[ClaimTemplate]) {
        for template in templates {
            let name = json!(template.metadata.name);
            let claim = ClaimOfEach { owner: owner.clone(), template: template.clone() };
            self.spec.volumes.retain(|volume| volume.get("name") != Some(&name));
            let volume = [("name".to_owned(), name), (CLAIM_OF_EACH.to_owned(), json!(claim))];
            self.spec.volumes.push(BTreeMap::from(volume));
        }
    }
}
