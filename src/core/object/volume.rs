//! `v1.PersistentVolume`: what placement reads of it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    claim::BETA_CLASS,
    meta::{ObjectMeta, null_as_default, null_items_as_default},
    pod::{NodeSelector, ResourceList},
};

/// A volume that exists.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct PersistentVolume {
    /// Metadata.
    #[serde(deserialize_with = "null_as_default")]
    pub metadata: ObjectMeta,
    /// Specification.
    #[serde(deserialize_with = "null_as_default")]
    pub spec: VolumeSpec,
    /// Status.
    #[serde(deserialize_with = "null_as_default")]
    pub status: VolumeStatus,
}

/// The read part of `v1.PersistentVolumeSpec`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VolumeSpec {
    /// Size, under `storage`.
    #[serde(deserialize_with = "null_as_default")]
    pub capacity: ResourceList,
    /// What claims may ask of it.
    #[serde(deserialize_with = "null_items_as_default")]
    pub access_modes: Vec<String>,
    /// The claim that has it, or that it is reserved for.
    pub claim_ref: Option<ClaimReference>,
    /// StorageClass; empty means none.
    #[serde(deserialize_with = "null_as_default")]
    pub storage_class_name: String,
    /// `Filesystem` (default) or `Block`.
    pub volume_mode: Option<String>,
    /// Nodes that can use it.
    #[serde(deserialize_with = "null_as_default")]
    pub node_affinity: VolumeNodeAffinity,
    /// VolumeAttributesClass.
    pub volume_attributes_class_name: Option<String>,
    /// The volume of a CSI driver.
    pub csi: Option<CsiVolume>,
    /// A source that a CSI driver serves today.
    pub aws_elastic_block_store: Option<Value>,
    /// The same.
    pub gce_persistent_disk: Option<Value>,
    /// The same.
    pub azure_disk: Option<Value>,
    /// The same.
    pub cinder: Option<Value>,
    /// The same.
    pub portworx_volume: Option<Value>,
}

/// The read part of `v1.ObjectReference` to a claim.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct ClaimReference {
    /// Namespace.
    #[serde(deserialize_with = "null_as_default")]
    pub namespace: String,
    /// Name.
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
}

/// `v1.VolumeNodeAffinity`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct VolumeNodeAffinity {
    /// Hard terms, any of which suffices.
    pub required: Option<NodeSelector>,
}

/// The read part of `v1.CSIPersistentVolumeSource`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CsiVolume {
    /// The driver.
    #[serde(deserialize_with = "null_as_default")]
    pub driver: String,
    /// What the driver knows it by.
    #[serde(deserialize_with = "null_as_default")]
    pub volume_handle: String,
}

/// The read part of `v1.PersistentVolumeStatus`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct VolumeStatus {
    /// `Available`, `Bound`, `Released`, `Failed`, `Pending`.
    #[serde(deserialize_with = "null_as_default")]
    pub phase: String,
}

// === impl PersistentVolume ===

impl PersistentVolume {
    /// Annotations that decide anything.
    pub const ANNOTATIONS: [&str; 1] = [BETA_CLASS];

    /// The StorageClass by name; empty means none.
    #[must_use]
    pub fn class(&self) -> &str {
        self.metadata.annotations.get(BETA_CLASS).unwrap_or(&self.spec.storage_class_name)
    }

    /// The CSI driver that serves the source of the volume instead of Kubernetes itself, if it is one of those whose
    /// translation the scheduler takes into account (`isCSIMigrationOn` of v1.36.3).
    #[must_use]
    pub fn migrated_to(&self) -> Option<&'static str> {
        let spec = &self.spec;
        let sources = [
            (&spec.aws_elastic_block_store, "ebs.csi.aws.com"),
            (&spec.gce_persistent_disk, "pd.csi.storage.gke.io"),
            (&spec.azure_disk, "disk.csi.azure.com"),
            (&spec.cinder, "cinder.csi.openstack.org"),
            (&spec.portworx_volume, "pxd.portworx.com"),
        ];
        sources.into_iter().find(|(source, _)| source.is_some()).map(|(_, driver)| driver)
    }
}
