//! Kinds that decide: which of their versions are understood, and as which resource what cannot be read is told of.

/// A kind.
struct Known {
    group: &'static str,
    versions: &'static [&'static str],
    kind: &'static str,
    /// The resource in the plural; empty where doubts are not told by resource.
    resource: &'static str,
    namespaced: bool,
}

const fn of(
    (group, versions): (&'static str, &'static [&'static str]),
    kind: &'static str,
    resource: &'static str,
    namespaced: bool,
) -> Known {
    Known { group, versions, kind, resource, namespaced }
}

type Versions = (&'static str, &'static [&'static str]);
const CORE: Versions = ("", &["v1"]);
const STORAGE: Versions = ("storage.k8s.io", &["v1"]);
const DEVICES: Versions = ("resource.k8s.io", &["v1"]);
const KUEUE: Versions = ("kueue.x-k8s.io", &["v1beta1", "v1beta2"]);
const KARPENTER: Versions = ("karpenter.sh", &["v1", "v1beta1"]);
const REQUESTS: Versions = ("autoscaling.x-k8s.io", &["v1", "v1beta1"]);
const BUFFERS: Versions = ("autoscaling.x-k8s.io", &["v1beta1", "v1alpha1"]);

const KINDS: [Known; 26] = [
    of(CORE, "Node", "", false),
    of(CORE, "Pod", "", true),
    of(CORE, "Namespace", "", false),
    of(CORE, "ResourceQuota", "resourcequotas", true),
    of(CORE, "LimitRange", "limitranges", true),
    of(CORE, "PodTemplate", "podtemplates", true),
    of(CORE, "PersistentVolumeClaim", "persistentvolumeclaims", true),
    of(CORE, "PersistentVolume", "persistentvolumes", false),
    of(("node.k8s.io", &["v1"]), "RuntimeClass", "runtimeclasses", false),
    of(("scheduling.k8s.io", &["v1"]), "PriorityClass", "priorityclasses", false),
    of(STORAGE, "StorageClass", "storageclasses", false),
    of(STORAGE, "CSINode", "csinodes", false),
    of(STORAGE, "CSIDriver", "csidrivers", false),
    of(STORAGE, "VolumeAttachment", "volumeattachments", false),
    of(DEVICES, "DeviceClass", "deviceclasses", false),
    of(DEVICES, "ResourceSlice", "resourceslices", false),
    of(DEVICES, "ResourceClaim", "resourceclaims", true),
    of(DEVICES, "ResourceClaimTemplate", "resourceclaimtemplates", true),
    of(KUEUE, "LocalQueue", "localqueues", true),
    of(KUEUE, "ClusterQueue", "clusterqueues", false),
    of(KUEUE, "ResourceFlavor", "resourceflavors", false),
    of(KUEUE, "Cohort", "cohorts", false),
    of(REQUESTS, "ProvisioningRequest", "provisioningrequests", true),
    of(BUFFERS, "CapacityBuffer", "", true),
    of(KARPENTER, "NodePool", "", false),
    of(KARPENTER, "NodeClaim", "", false),
];

/// Where an object is found, as far as its kind decides anything.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// The resource in the plural; empty where doubts are not told by resource.
    pub(super) resource: &'static str,
    /// Whether it belongs to a namespace.
    pub(super) namespaced: bool,
    /// Whether its version is understood.
    pub(super) understood: bool,
}

/// The place of an object by its group, version and kind; of one that does not say its version, by the others.
pub(super) fn place(group: &str, version: &str, kind: &str) -> Option<Place> {
    let said = !version.is_empty();
    let known = KINDS.iter().find(|known| known.kind == kind && (!said || known.group == group))?;
    let Known { resource, namespaced, versions, .. } = *known;
    Some(Place { resource, namespaced, understood: !said || versions.contains(&version) })
}
