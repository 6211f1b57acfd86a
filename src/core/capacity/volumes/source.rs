//! What a volume of a pod is.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::object::{
    PodSpec,
    claim::{CLAIM_OF_EACH, ClaimOfEach, ClaimTemplate},
};

/// Volume sources that no scheduler plugin looks at.
const NEUTRAL: [&str; 20] = [
    "configMap",
    "secret",
    "emptyDir",
    "projected",
    "downwardAPI",
    "hostPath",
    "nfs",
    "image",
    "gitRepo",
    "csi",
    "azureFile",
    "cephfs",
    "fc",
    "flexVolume",
    "flocker",
    "glusterfs",
    "photonPersistentDisk",
    "quobyte",
    "scaleIO",
    "vsphereVolume",
];
/// Sources that a CSI driver serves today, so that they count against its limits.
const MIGRATED: [(&str, &str); 5] = [
    ("awsElasticBlockStore", "ebs.csi.aws.com"),
    ("gcePersistentDisk", "pd.csi.storage.gke.io"),
    ("azureDisk", "disk.csi.azure.com"),
    ("cinder", "cinder.csi.openstack.org"),
    ("portworxVolume", "pxd.portworx.com"),
];

/// A source that decides about placement.
#[derive(Debug)]
pub(super) enum Source<'a> {
    /// A claim, by name.
    Claim(&'a str),
    /// A claim that a StatefulSet makes for each pod.
    OfEach(ClaimOfEach),
    /// A claim that is made for each pod of which this is a volume.
    Ephemeral { volume: &'a str, template: ClaimTemplate },
    /// A source that is served by a CSI driver.
    Migrated { kind: &'a str, driver: &'static str, source: &'a Value },
    /// Anything else, which is not modelled.
    Other(&'a str),
}

/// `v1.EphemeralVolumeSource`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Ephemeral {
    volume_claim_template: ClaimTemplate,
}

/// The sources of a pod that decide about placement.
pub(super) fn of(spec: &PodSpec) -> impl Iterator<Item = Source<'_>> {
    spec.volumes.iter().flat_map(of_volume)
}

/// An empty source is an `emptyDir` by default.
fn of_volume(volume: &BTreeMap<String, Value>) -> impl Iterator<Item = Source<'_>> {
    let sources = volume.iter().filter(|(kind, source)| *kind != "name" && !source.is_null());
    let placed = sources.filter(|(kind, _)| !NEUTRAL.contains(&kind.as_str()));
    placed.map(|(kind, source)| read(volume, kind, source).unwrap_or(Source::Other(kind)))
}

fn read<'a>(volume: &'a BTreeMap<String, Value>, kind: &'a str, source: &'a Value) -> Option<Source<'a>> {
    match kind {
        "persistentVolumeClaim" => source.get("claimName").and_then(Value::as_str).map(Source::Claim),
        CLAIM_OF_EACH => ClaimOfEach::deserialize(source).ok().map(Source::OfEach),
        "ephemeral" => {
            let volume = volume.get("name").and_then(Value::as_str)?;
            let template = Ephemeral::deserialize(source).ok()?.volume_claim_template;
            Some(Source::Ephemeral { volume, template })
        }
        _ => {
            let (_, driver) = MIGRATED.into_iter().find(|(name, _)| *name == kind)?;
            Some(Source::Migrated { kind, driver, source })
        }
    }
}
