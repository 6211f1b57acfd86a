//! The watched kinds: where each is served, how it is read, and which change it makes.

mod admission;
mod apps;
mod bookings;
mod devices;
mod keda;
mod queues;
mod storage;

use plimsoll_core::{
    capacity::negative_request,
    cluster::{Change, Delta, Namespace},
    object::{HorizontalPodAutoscaler, Interner, Node, ObjectKey, ObjectMeta, Pod, meta::StringMap, pod::Flaw},
};
use serde::{Deserialize, de::DeserializeOwned};

use super::frame::Undecodable;
use crate::kubernetes::{health::Feed, scale::Targets};

pub(super) use admission::{LimitRanges, ResourceQuotas, RuntimeClasses};
pub(super) use apps::Apps;
pub(super) use keda::{ScaledJobs, ScaledObjects};
pub(super) use storage::Stored;

/// The whole object once more, written by `kubectl apply`: read by nobody here.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A watched kind.
pub(super) trait Kind: Send + Sync + 'static {
    /// The read part of the object on the wire.
    type Object: DeserializeOwned + Send;
    /// What the view keeps of it.
    type Item: Send;
    /// By what the view finds it.
    type Key: Send;

    fn feed(&self) -> Feed;
    /// Path of the list over all namespaces.
    fn path(&self) -> String;
    /// Field selector, where not all objects are wanted.
    fn fields(&self) -> Option<&'static str> {
        None
    }
    fn key(&self, namespace: String, name: String) -> Self::Key;
    /// None for an object that the view does not keep; an error for one that cannot be understood.
    fn read(&mut self, object: Self::Object) -> Result<Option<Self::Item>, Undecodable>;
    /// What is left of one that cannot be understood as a whole.
    fn salvage(&mut self, _: &Undecodable) -> Salvage<Self::Item> {
        Salvage::Nothing
    }
    fn change(&mut self, delta: Delta<Self::Item, Self::Key>) -> Change;
    /// Whether a version, as `/apis/group/version`, is one that is read here.
    fn knows(&self, version: &str) -> bool {
        self.path().rsplit_once('/').is_some_and(|(known, _)| known == version)
    }
    /// The server does not have it where it was looked for.
    fn absent(&mut self) {}
}

/// What is left of an object that does not decode.
pub(super) enum Salvage<T> {
    /// Enough to keep it, with a note of what is missing.
    Part(T),
    /// It has ended, so that what it says does not matter.
    Ended,
    /// Too little.
    Nothing,
}

/// Nodes.
#[derive(Default)]
pub(super) struct Nodes {
    interner: Interner,
}
/// Pods that have not ended: those that have hold nothing.
#[derive(Default)]
pub(super) struct Pods {
    interner: Interner,
}
/// HorizontalPodAutoscalers; what they scale is handed to the poller of scale subresources.
pub(super) struct Hpas {
    pub(super) targets: Targets,
}
/// Namespaces.
pub(super) struct Namespaces;
/// PriorityClasses.
pub(super) struct PriorityClasses;

/// An object of which only the metadata is read.
#[derive(Debug, Deserialize)]
pub(super) struct MetadataOnly {
    metadata: ObjectMeta,
}

/// The read part of a PriorityClass.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PriorityClass {
    metadata: ObjectMeta,
    #[serde(default)]
    value: i32,
    #[serde(default)]
    global_default: bool,
}

// === kinds ===

impl Kind for Nodes {
    type Object = Node;
    type Item = Node;
    type Key = String;

    fn feed(&self) -> Feed {
        Feed::Nodes
    }

    fn path(&self) -> String {
        "/api/v1/nodes".to_owned()
    }

    fn key(&self, _: String, name: String) -> String {
        name
    }

    fn read(&mut self, mut node: Node) -> Result<Option<Node>, Undecodable> {
        trim(&mut node.metadata.annotations);
        node.status.conditions.retain(|condition| condition.kind == "Ready");
        self.interner.node(&mut node);
        Ok(Some(node))
    }

    fn change(&mut self, delta: Delta<Node, String>) -> Change {
        Change::Node(delta)
    }
}

impl Kind for Pods {
    type Object = Pod;
    type Item = Pod;
    type Key = ObjectKey;

    fn feed(&self) -> Feed {
        Feed::Pods
    }

    fn path(&self) -> String {
        "/api/v1/pods".to_owned()
    }

    fn fields(&self) -> Option<&'static str> {
        Some("status.phase!=Succeeded,status.phase!=Failed")
    }

    fn key(&self, namespace: String, name: String) -> ObjectKey {
        ObjectKey::new(namespace, name)
    }

    fn read(&mut self, mut pod: Pod) -> Result<Option<Pod>, Undecodable> {
        if let Some(negative) = negative_request(&pod.spec) {
            pod.spec.flaw = Some(Box::new(Flaw { why: format!("spec.{negative}"), tolerations: false }));
        }
        self.interner.pod(&mut pod);
        Ok(Some(pod))
    }

    fn salvage(&mut self, bad: &Undecodable) -> Salvage<Pod> {
        match Pod::salvage(&bad.object, &bad.reason) {
            None => Salvage::Nothing,
            Some(pod) if pod.is_terminal() => Salvage::Ended,
            Some(mut pod) => {
                self.interner.pod(&mut pod);
                Salvage::Part(pod)
            }
        }
    }

    fn change(&mut self, delta: Delta<Pod, ObjectKey>) -> Change {
        Change::Pod(delta)
    }
}

impl Kind for Hpas {
    type Object = HorizontalPodAutoscaler;
    type Item = HorizontalPodAutoscaler;
    type Key = ObjectKey;

    fn feed(&self) -> Feed {
        Feed::HorizontalPodAutoscalers
    }

    fn path(&self) -> String {
        "/apis/autoscaling/v2/horizontalpodautoscalers".to_owned()
    }

    fn key(&self, namespace: String, name: String) -> ObjectKey {
        ObjectKey::new(namespace, name)
    }

    fn read(&mut self, mut hpa: HorizontalPodAutoscaler) -> Result<Option<HorizontalPodAutoscaler>, Undecodable> {
        trim(&mut hpa.metadata.annotations);
        Ok(Some(hpa))
    }

    fn change(&mut self, delta: Delta<HorizontalPodAutoscaler, ObjectKey>) -> Change {
        self.targets.observe(&delta);
        Change::Hpa(delta)
    }
}

impl Kind for Namespaces {
    type Object = MetadataOnly;
    type Item = (String, Namespace);
    type Key = String;

    fn feed(&self) -> Feed {
        Feed::Namespaces
    }

    fn path(&self) -> String {
        "/api/v1/namespaces".to_owned()
    }

    fn key(&self, _: String, name: String) -> String {
        name
    }

    fn read(&mut self, object: MetadataOnly) -> Result<Option<Self::Item>, Undecodable> {
        let ObjectMeta { name, labels, mut annotations, deletion_timestamp, .. } = object.metadata;
        trim(&mut annotations);
        let terminating = deletion_timestamp.is_some();
        Ok(Some((name, Namespace { labels, annotations, terminating })))
    }

    fn change(&mut self, delta: Delta<Self::Item, String>) -> Change {
        Change::Namespace(delta)
    }
}

impl Kind for PriorityClasses {
    type Object = PriorityClass;
    type Item = (String, i32, bool);
    type Key = String;

    fn feed(&self) -> Feed {
        Feed::PriorityClasses
    }

    fn path(&self) -> String {
        "/apis/scheduling.k8s.io/v1/priorityclasses".to_owned()
    }

    fn key(&self, _: String, name: String) -> String {
        name
    }

    fn read(&mut self, class: PriorityClass) -> Result<Option<Self::Item>, Undecodable> {
        Ok(Some((class.metadata.name, class.value, class.global_default)))
    }

    fn change(&mut self, delta: Delta<Self::Item, String>) -> Change {
        Change::PriorityClass(delta)
    }
}

fn trim(annotations: &mut StringMap) {
    annotations.remove(LAST_APPLIED);
}
