//! The group `storage.k8s.io`: how volumes come to be, and how many of them a node can attach.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::meta::{ObjectMeta, null_as_default, null_items_as_default};

/// `v1.StorageClass`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StorageClass {
    /// Metadata.
    #[serde(deserialize_with = "null_as_default")]
    pub metadata: ObjectMeta,
    /// Who makes the volumes.
    #[serde(deserialize_with = "null_as_default")]
    pub provisioner: String,
    /// `Immediate` or `WaitForFirstConsumer`.
    #[serde(deserialize_with = "null_as_default")]
    pub volume_binding_mode: String,
    /// Where volumes can be made, any of which suffices; none means everywhere.
    #[serde(deserialize_with = "null_items_as_default")]
    pub allowed_topologies: Vec<TopologySelectorTerm>,
}

/// `v1.TopologySelectorTerm`: all of its requirements must hold; an empty term matches nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopologySelectorTerm {
    /// Requirements.
    #[serde(deserialize_with = "null_items_as_default")]
    pub match_label_expressions: Vec<TopologySelectorRequirement>,
}

/// `v1.TopologySelectorLabelRequirement`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(default)]
pub struct TopologySelectorRequirement {
    /// Label of the node.
    #[serde(deserialize_with = "null_as_default")]
    pub key: String,
    /// Values, any of which suffices.
    #[serde(deserialize_with = "null_items_as_default")]
    pub values: Vec<String>,
}

/// `v1.CSINode`: the drivers of a node.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct CsiNode {
    /// Metadata; the name is that of the node.
    #[serde(deserialize_with = "null_as_default")]
    pub metadata: ObjectMeta,
    /// Specification.
    #[serde(deserialize_with = "null_as_default")]
    pub spec: CsiNodeSpec,
}

/// The read part of `v1.CSINodeSpec`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct CsiNodeSpec {
    /// Drivers.
    #[serde(deserialize_with = "null_items_as_default")]
    pub drivers: Vec<CsiNodeDriver>,
}

/// The read part of `v1.CSINodeDriver`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CsiNodeDriver {
    /// Name of the driver.
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    /// What the driver calls the node.
    #[serde(rename = "nodeID", deserialize_with = "null_as_default")]
    pub node_id: String,
    /// Labels of the node that say where its volumes can be used.
    #[serde(deserialize_with = "null_items_as_default")]
    pub topology_keys: Vec<String>,
    /// What the driver can do on the node.
    #[serde(deserialize_with = "null_as_default")]
    pub allocatable: VolumeNodeResources,
}

/// `v1.VolumeNodeResources`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct VolumeNodeResources {
    /// Most volumes of the driver that the node attaches; none means no limit. One that cannot be read lets none in.
    #[serde(deserialize_with = "limit")]
    pub count: Option<i32>,
}

fn limit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i32>, D::Error> {
    let value = Option::<Value>::deserialize(deserializer)?;
    Ok(value.map(|value| value.as_i64().and_then(|count| i32::try_from(count).ok()).unwrap_or(0)))
}

/// `v1.CSIDriver`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct CsiDriver {
    /// Metadata.
    #[serde(deserialize_with = "null_as_default")]
    pub metadata: ObjectMeta,
    /// Specification.
    #[serde(deserialize_with = "null_as_default")]
    pub spec: CsiDriverSpec,
}

/// The read part of `v1.CSIDriverSpec`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CsiDriverSpec {
    /// Whether the scheduler asks `CSIStorageCapacity` objects before it has a volume made.
    #[serde(deserialize_with = "null_as_default")]
    pub storage_capacity: bool,
}

/// `v1.VolumeAttachment`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct VolumeAttachment {
    /// Metadata.
    #[serde(deserialize_with = "null_as_default")]
    pub metadata: ObjectMeta,
    /// Specification.
    #[serde(deserialize_with = "null_as_default")]
    pub spec: VolumeAttachmentSpec,
}

/// The read part of `v1.VolumeAttachmentSpec`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VolumeAttachmentSpec {
    /// The driver.
    #[serde(deserialize_with = "null_as_default")]
    pub attacher: String,
    /// The node.
    #[serde(deserialize_with = "null_as_default")]
    pub node_name: String,
    /// What is attached.
    #[serde(deserialize_with = "null_as_default")]
    pub source: VolumeAttachmentSource,
}

/// The read part of `v1.VolumeAttachmentSource`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VolumeAttachmentSource {
    /// PersistentVolume by name.
    #[serde(deserialize_with = "null_as_default")]
    pub persistent_volume_name: String,
}

/// Marks the class of claims that name none.
const DEFAULT: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];

// === impl StorageClass ===

impl StorageClass {
    /// Annotations that decide anything.
    pub const ANNOTATIONS: [&str; 2] = DEFAULT;

    /// Whether it is a default class; of several the newest counts (`pkg/volume/util/storageclass.go`, v1.36.3).
    #[must_use]
    pub fn is_default(&self) -> bool {
        DEFAULT.into_iter().any(|key| self.metadata.annotations.get(key).is_some_and(|value| value == "true"))
    }

    /// Whether the scheduler chooses where volumes are made.
    #[must_use]
    pub fn waits_for_a_pod(&self) -> bool {
        self.volume_binding_mode == "WaitForFirstConsumer"
    }

    /// Whether it makes volumes at all.
    #[must_use]
    pub fn provisions(&self) -> bool {
        !matches!(self.provisioner.as_str(), "" | "kubernetes.io/no-provisioner")
    }

    /// The CSI driver that makes the volumes, where node limits may count them.
    #[must_use]
    pub fn driver(&self) -> &str {
        match self.provisioner.as_str() {
            "kubernetes.io/aws-ebs" => "ebs.csi.aws.com",
            "kubernetes.io/gce-pd" => "pd.csi.storage.gke.io",
            "kubernetes.io/azure-disk" => "disk.csi.azure.com",
            "kubernetes.io/cinder" => "cinder.csi.openstack.org",
            "kubernetes.io/portworx-volume" => "pxd.portworx.com",
            other => other,
        }
    }
}
