//! Documents to a cluster view: lists are opened, kinds that decide nothing are counted, and an object that cannot be
//! read costs the room of its node and not the answer.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{anyhow, bail};
use plimsoll_core::{
    capacity::{negative_allocatable, negative_request},
    cluster::{BookingChange, Change, Delta, DeviceChange, Doubts, QueueChange, StorageChange, StorageKind, View},
    object::{
        Interner, Labels, Node, ObjectKey, PersistentVolumeClaim, Pod, ResourceQuota,
        autoscaling::{ProvisioningRequest, StoredTemplate},
        device::{ResourceClaim, ResourceClaimTemplate},
        kueue::LocalQueue,
    },
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use self::autoscaler::Autoscalers;
use super::named::WORKLOADS;
use crate::cli::documents::Source;

mod autoscaler;
mod kinds;

/// Deepest nesting of lists in lists.
const MAX_DEPTH: usize = 8;

/// What the inputs hold.
#[derive(Debug, Default)]
pub(super) struct Objects {
    /// The readable part of the cluster.
    pub(super) view: View,
    /// Nodes whose room is not known, and why.
    pub(super) unusable: BTreeMap<String, String>,
    /// Objects of kinds that decide nothing here.
    pub(super) ignored: BTreeMap<String, usize>,
    /// Kinds that a list of their own was given of, as the API server writes them, or an object.
    pub(super) seen: BTreeSet<String>,
    /// Whether there are lists of their own, and whether there are others: in those an empty kind leaves no trace.
    lists: (bool, bool),
    /// Why not all objects of a resource are known, by its name in the plural.
    doubts: BTreeMap<&'static str, Doubts>,
    autoscalers: Autoscalers,
    interner: Interner,
}

impl Objects {
    /// Adds the documents of one source.
    pub(super) fn add(&mut self, source: &Source, documents: Vec<Value>) -> anyhow::Result<()> {
        documents.into_iter().try_for_each(|document| self.document(source, document, ("", ""), 0))
    }

    /// Takes the nodes out whose room is not known. To be called when everything is added.
    pub(super) fn close(&mut self) {
        for name in self.unusable.keys() {
            self.view.nodes.remove(name);
        }
        if let Some((name, why)) = self.unusable.first_key_value() {
            let doubts = Doubts::from([(String::new(), format!("node {name:?} is left out: {why}"))]);
            self.view.apply(Change::Unreadable { resource: "nodes".to_owned(), doubts });
        }
        for (resource, doubts) in std::mem::take(&mut self.doubts) {
            self.view.apply(Change::Unreadable { resource: resource.to_owned(), doubts });
        }
        self.view.node_autoscaler = std::mem::take(&mut self.autoscalers).found();
    }

    /// Whether every list is of a kind of its own, so that a kind that is not among them was not asked for.
    pub(super) const fn is_by_kind(&self) -> bool {
        self.lists.0 && !self.lists.1
    }

    /// `listed` is the version and the kind of the items of a typed list, which do not say it themselves.
    fn document(&mut self, source: &Source, value: Value, listed: (&str, &str), depth: usize) -> anyhow::Result<()> {
        if depth > MAX_DEPTH {
            bail!("{source}: lists are nested deeper than {MAX_DEPTH}");
        }
        let mut object = match value {
            Value::Object(object) => object,
            Value::Array(items) => {
                return items.into_iter().try_for_each(|item| self.document(source, item, listed, depth + 1));
            }
            Value::Null => return Ok(()),
            other => bail!("{source}: found {} where a Kubernetes object should be", brief(&other)),
        };
        let named = object.get("kind").and_then(Value::as_str).unwrap_or(listed.1).to_owned();
        let version = object.get("apiVersion").and_then(Value::as_str).unwrap_or(listed.0).to_owned();
        if let Some(item_kind) = named.strip_suffix("List") {
            let items = object.remove("items").unwrap_or_default();
            if let Some(kind) = storage_kind(item_kind) {
                self.view.storage.know(kind);
            }
            self.view.devices.know(item_kind);
            self.view.queues.know(item_kind);
            if item_kind.is_empty() {
                self.lists.1 = true;
            } else {
                self.lists.0 = true;
                self.seen.insert(item_kind.to_owned());
            }
            let version = if item_kind.is_empty() { "" } else { &version };
            return self.document(source, items, (version, item_kind), depth + 1);
        }
        if !self.seen.contains(&named) {
            self.seen.insert(named.clone());
        }
        let (group, version) = version.split_once('/').unwrap_or(("", &version));
        self.object(source, (group, version), &named, Value::Object(object))
    }

    /// An object that decides something and cannot be read leaves unknown what depends on it.
    fn object(
        &mut self,
        source: &Source,
        (group, version): (&str, &str),
        kind: &str,
        object: Value,
    ) -> anyhow::Result<()> {
        let Some(place) = kinds::place(group, version, kind) else { return self.read(source, group, kind, object) };
        let name = name(source, kind, &object)?;
        let namespace = if place.namespaced { namespace_of(&object) } else { String::new() };
        let read = if place.understood {
            self.read(source, group, kind, object)
        } else {
            Err(anyhow!("{source}: {kind} {name:?} is of version {version:?}, which is not understood"))
        };
        let Err(error) = read else { return Ok(()) };
        match kind {
            "Node" => drop(self.unusable.insert(name, error.to_string())),
            "NodePool" | "NodeClaim" | "CapacityBuffer" => self.autoscalers.doubt(error.to_string()),
            _ if place.resource.is_empty() => return Err(error),
            _ => {
                let doubts = self.doubts.entry(place.resource).or_default();
                doubts.entry(namespace).or_insert_with(|| error.to_string());
            }
        }
        Ok(())
    }

    fn read(&mut self, source: &Source, group: &str, kind: &str, mut object: Value) -> anyhow::Result<()> {
        if self.autoscalers.take(source, group, kind, &mut object)? {
            return Ok(());
        }
        match (group, kind) {
            ("", "Node") => self.node(source, &object)?,
            ("", "Pod") => self.pod(source, &object)?,
            ("", "Namespace") => {
                let labels = decode::<Labels>(source, kind, &object, "/metadata/labels")?.unwrap_or_default();
                self.view.namespaces.entry(name(source, kind, &object)?).or_default().labels = labels;
            }
            ("", "ResourceQuota") => {
                let (key, mut quota) = namespaced::<ResourceQuota>(source, kind, object)?;
                quota.metadata.namespace = key.namespace.to_string();
                self.view.resource_quotas.insert(key, quota);
            }
            ("", "LimitRange") => {
                let (key, range) = namespaced(source, kind, object)?;
                self.view.limit_ranges.insert(key, range);
            }
            ("" | "node.k8s.io", "RuntimeClass") => {
                let name = name(source, kind, &object)?;
                self.view.runtime_classes.insert(name, whole(source, kind, object)?);
            }
            ("" | "scheduling.k8s.io", "PriorityClass") => self.priority_class(source, &object)?,
            ("" | "resource.k8s.io", "DeviceClass" | "ResourceSlice" | "ResourceClaim" | "ResourceClaimTemplate") => {
                let change = device(source, kind, object)?;
                self.view.apply(Change::Device(change));
            }
            ("" | "kueue.x-k8s.io", "LocalQueue" | "ClusterQueue" | "ResourceFlavor" | "Cohort") => {
                let change = queue(source, kind, object)?;
                self.view.apply(Change::Queue(change));
            }
            ("" | "autoscaling.x-k8s.io", "ProvisioningRequest") => {
                let (key, mut request) = namespaced::<ProvisioningRequest>(source, kind, object)?;
                request.metadata.namespace = key.namespace.to_string();
                self.view.apply(Change::Booking(BookingChange::Request(Delta::Applied(request))));
            }
            ("", "PodTemplate") => {
                let (key, mut template) = namespaced::<StoredTemplate>(source, kind, object)?;
                template.metadata.namespace = key.namespace.to_string();
                self.view.apply(Change::Booking(BookingChange::Template(Delta::Applied(template))));
            }
            ("", "PersistentVolumeClaim") => {
                let (key, mut claim) = namespaced::<PersistentVolumeClaim>(source, kind, object)?;
                claim.metadata.namespace = key.namespace.to_string();
                self.store(StorageChange::Claim(Delta::Applied(claim)));
            }
            ("", "PersistentVolume") => {
                self.store(StorageChange::Volume(Delta::Applied(whole(source, kind, object)?)));
            }
            ("" | "storage.k8s.io", "StorageClass") => {
                self.store(StorageChange::Class(Delta::Applied(whole(source, kind, object)?)));
            }
            ("" | "storage.k8s.io", "CSINode") => {
                self.store(StorageChange::Node(Delta::Applied(whole(source, kind, object)?)));
            }
            ("" | "storage.k8s.io", "CSIDriver") => {
                self.store(StorageChange::Driver(Delta::Applied(whole(source, kind, object)?)));
            }
            ("" | "storage.k8s.io", "VolumeAttachment") => {
                self.store(StorageChange::Attachment(Delta::Applied(whole(source, kind, object)?)));
            }
            _ if WORKLOADS.iter().any(|workload| workload.name == kind) => {}
            (_, "") => bail!("{source}: an object has no kind; give lists as `kubectl get … -o json` prints them"),
            _ => *self.ignored.entry(kind.to_owned()).or_default() += 1,
        }
        Ok(())
    }

    fn store(&mut self, change: StorageChange) {
        self.view.storage.apply(change);
    }

    fn node(&mut self, source: &Source, object: &Value) -> anyhow::Result<()> {
        let name = name(source, "Node", object)?;
        match sound::<Node>(object, negative_allocatable) {
            Ok(node) => drop(self.view.nodes.insert(name, node)),
            Err(error) => drop(self.unusable.insert(name, format!("{source}: the Node cannot be read: {error}"))),
        }
        Ok(())
    }

    /// What of a pod that cannot be read as a whole can be read says which nodes it leaves in doubt.
    fn pod(&mut self, source: &Source, object: &Value) -> anyhow::Result<()> {
        let (name, namespace) = (name(source, "Pod", object)?, namespace_of(object));
        let negative = |pod: &Pod| negative_request(&pod.spec).map(|negative| format!("spec.{negative}"));
        let pod = sound(object, negative).or_else(|error| {
            Pod::salvage(object, &error).ok_or_else(|| {
                anyhow!("{source}: Pod {namespace}/{name} cannot be read: {error}; correct it or leave it out")
            })
        });
        let mut pod = pod?;
        pod.metadata.namespace = namespace.into();
        self.interner.pod(&mut pod);
        self.view.pods.insert(pod.metadata.key(), pod);
        Ok(())
    }

    fn priority_class(&mut self, source: &Source, object: &Value) -> anyhow::Result<()> {
        let name = name(source, "PriorityClass", object)?;
        let value = decode::<i32>(source, "PriorityClass", object, "/value")?.unwrap_or_default();
        let is_default = decode::<bool>(source, "PriorityClass", object, "/globalDefault")?.unwrap_or_default();
        self.view.apply(Change::PriorityClass(Delta::Applied((name, value, is_default))));
        Ok(())
    }
}

/// A whole object; what it decides is not known if it cannot be read.
fn whole<T: DeserializeOwned>(source: &Source, kind: &str, object: Value) -> anyhow::Result<T> {
    let name = name(source, kind, &object)?;
    serde_json::from_value(object).map_err(|error| anyhow!("{source}: {kind} {name:?} cannot be read: {error}"))
}

fn namespaced<T: DeserializeOwned>(source: &Source, kind: &str, object: Value) -> anyhow::Result<(ObjectKey, T)> {
    let key = ObjectKey::new(namespace_of(&object), name(source, kind, &object)?);
    Ok((key, whole(source, kind, object)?))
}

fn device(source: &Source, kind: &str, object: Value) -> anyhow::Result<DeviceChange> {
    Ok(match kind {
        "DeviceClass" => DeviceChange::Class(Delta::Applied(whole(source, kind, object)?)),
        "ResourceSlice" => DeviceChange::Slice(Delta::Applied(whole(source, kind, object)?)),
        "ResourceClaim" => {
            let (key, mut claim) = namespaced::<ResourceClaim>(source, kind, object)?;
            claim.metadata.namespace = key.namespace.to_string();
            DeviceChange::Claim(Delta::Applied(claim))
        }
        _ => {
            let (key, mut template) = namespaced::<ResourceClaimTemplate>(source, kind, object)?;
            template.metadata.namespace = key.namespace.to_string();
            DeviceChange::ClaimTemplate(Delta::Applied(template))
        }
    })
}

fn queue(source: &Source, kind: &str, object: Value) -> anyhow::Result<QueueChange> {
    Ok(match kind {
        "LocalQueue" => {
            let (key, mut queue) = namespaced::<LocalQueue>(source, kind, object)?;
            queue.metadata.namespace = key.namespace.to_string();
            QueueChange::Local(Delta::Applied(queue))
        }
        "ClusterQueue" => QueueChange::Cluster(Delta::Applied(whole(source, kind, object)?)),
        "ResourceFlavor" => QueueChange::Flavor(Delta::Applied(whole(source, kind, object)?)),
        _ => QueueChange::Cohort(Delta::Applied(whole(source, kind, object)?)),
    })
}

/// The kind of storage that a list of its own is of: one without items says that there are none.
fn storage_kind(kind: &str) -> Option<StorageKind> {
    match kind {
        "PersistentVolumeClaim" => Some(StorageKind::Claim),
        "PersistentVolume" => Some(StorageKind::Volume),
        "StorageClass" => Some(StorageKind::Class),
        "CSINode" => Some(StorageKind::Node),
        "CSIDriver" => Some(StorageKind::Driver),
        "VolumeAttachment" => Some(StorageKind::Attachment),
        _ => None,
    }
}

/// The object, unless it cannot be decoded or has an amount that cannot be.
fn sound<T: DeserializeOwned>(object: &Value, negative: impl Fn(&T) -> Option<String>) -> Result<T, String> {
    let object = T::deserialize(object).map_err(|error| error.to_string())?;
    negative(&object).map_or(Ok(object), Err)
}

/// The namespace of a namespaced object; absent means `default`, as for kubectl.
pub(super) fn namespace_of(object: &Value) -> String {
    text(object, "/metadata/namespace").filter(|name| !name.is_empty()).unwrap_or_else(|| "default".to_owned())
}

/// The text at a JSON pointer.
pub(super) fn text(object: &Value, pointer: &str) -> Option<String> {
    object.pointer(pointer).and_then(Value::as_str).map(str::to_owned)
}

fn name(source: &Source, kind: &str, object: &Value) -> anyhow::Result<String> {
    let name = text(object, "/metadata/name").filter(|name| !name.is_empty());
    name.ok_or_else(|| anyhow!("{source}: a {kind} has no metadata.name"))
}

/// What is at a JSON pointer, if anything is.
pub(super) fn decode<T: DeserializeOwned>(
    source: &Source,
    kind: &str,
    object: &Value,
    pointer: &str,
) -> anyhow::Result<Option<T>> {
    let Some(value) = object.pointer(pointer).filter(|value| !value.is_null()) else { return Ok(None) };
    serde_json::from_value(value.clone()).map(Some).map_err(|error| {
        let name = text(object, "/metadata/name").unwrap_or_default();
        anyhow!("{source}: {kind} {name:?}: {}: {error}", pointer.trim_start_matches('/').replace('/', "."))
    })
}

fn brief(value: &Value) -> String {
    value.to_string().chars().take(40).collect()
}
