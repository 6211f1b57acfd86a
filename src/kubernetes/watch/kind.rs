//! The watched kinds: where each is served, how it is read, and which change it makes.

use plimsoll_core::{
    cluster::{Change, Delta, Namespace},
    object::{
        HorizontalPodAutoscaler, Node, ObjectKey, ObjectMeta, Pod, PodTemplate, ScaleTarget, WorkloadKey,
        meta::StringMap,
    },
    selector::{LabelSelector, Selector},
};
use serde::{Deserialize, de::DeserializeOwned};

use super::frame::{Identity, Undecodable};
use crate::kubernetes::{health::Feed, scale::Targets};

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
    fn read(&self, object: Self::Object) -> Result<Option<Self::Item>, Undecodable>;
    fn change(&mut self, delta: Delta<Self::Item, Self::Key>) -> Change;
}

/// Nodes.
pub(super) struct Nodes;
/// Pods that have not ended: those that have hold nothing.
pub(super) struct Pods;
/// HorizontalPodAutoscalers; what they scale is handed to the poller of scale subresources.
pub(super) struct Hpas {
    pub(super) targets: Targets,
}
/// A kind of the group `apps` that has a pod template.
pub(super) struct Apps {
    pub(super) feed: Feed,
    pub(super) kind: &'static str,
}
/// Namespaces.
pub(super) struct Namespaces;
/// A kind of which only the names count.
pub(super) struct Named {
    pub(super) feed: Feed,
}
/// PriorityClasses.
pub(super) struct PriorityClasses;

/// The read part of a Deployment, StatefulSet or ReplicaSet.
#[derive(Debug, Deserialize)]
pub(super) struct AppsObject {
    metadata: ObjectMeta,
    spec: AppsSpec,
    #[serde(default)]
    status: AppsStatus,
}

#[derive(Debug, Deserialize)]
struct AppsSpec {
    /// Absent means 1.
    replicas: Option<i32>,
    #[serde(default)]
    selector: LabelSelector,
    template: Option<PodTemplate>,
}

#[derive(Debug, Default, Deserialize)]
struct AppsStatus {
    #[serde(default)]
    replicas: i32,
}

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

    fn read(&self, mut node: Node) -> Result<Option<Node>, Undecodable> {
        trim(&mut node.metadata.annotations);
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
        ObjectKey { namespace, name }
    }

    fn read(&self, mut pod: Pod) -> Result<Option<Pod>, Undecodable> {
        trim(&mut pod.metadata.annotations);
        Ok(Some(pod))
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
        ObjectKey { namespace, name }
    }

    fn read(&self, mut hpa: HorizontalPodAutoscaler) -> Result<Option<HorizontalPodAutoscaler>, Undecodable> {
        trim(&mut hpa.metadata.annotations);
        Ok(Some(hpa))
    }

    fn change(&mut self, delta: Delta<HorizontalPodAutoscaler, ObjectKey>) -> Change {
        self.targets.observe(&delta);
        Change::Hpa(delta)
    }
}

impl Kind for Apps {
    type Object = AppsObject;
    type Item = (WorkloadKey, ScaleTarget);
    type Key = WorkloadKey;

    fn feed(&self) -> Feed {
        self.feed
    }

    fn path(&self) -> String {
        format!("/apis/apps/v1/{}", self.feed.name())
    }

    fn key(&self, namespace: String, name: String) -> WorkloadKey {
        WorkloadKey { namespace, group: "apps".to_owned(), kind: self.kind.to_owned(), name }
    }

    /// A ReplicaSet that belongs to another workload is scaled by that one; there are ten of them per Deployment.
    fn read(&self, object: AppsObject) -> Result<Option<Self::Item>, Undecodable> {
        let AppsObject { metadata, spec, status } = object;
        if self.feed == Feed::ReplicaSets && metadata.controller().is_some() {
            return Ok(None);
        }
        let ObjectMeta { namespace, name, mut annotations, .. } = metadata;
        let selector = Selector::try_from(&spec.selector).map_err(|error| {
            let identity =
                Identity { namespace: namespace.clone(), name: name.clone(), resource_version: String::new() };
            Undecodable { identity, reason: error.to_string() }
        })?;
        trim(&mut annotations);
        let target = ScaleTarget {
            spec_replicas: spec.replicas.unwrap_or(1),
            status_replicas: status.replicas,
            selector,
            template: spec.template,
            annotations,
        };
        Ok(Some((self.key(namespace, name), target)))
    }

    fn change(&mut self, delta: Delta<Self::Item, WorkloadKey>) -> Change {
        Change::Workload { group: "apps".to_owned(), kind: self.kind.to_owned(), delta }
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

    fn read(&self, object: MetadataOnly) -> Result<Option<Self::Item>, Undecodable> {
        let ObjectMeta { name, labels, mut annotations, .. } = object.metadata;
        trim(&mut annotations);
        Ok(Some((name, Namespace { labels, annotations, ..Namespace::default() })))
    }

    fn change(&mut self, delta: Delta<Self::Item, String>) -> Change {
        Change::Namespace(delta)
    }
}

impl Kind for Named {
    type Object = MetadataOnly;
    type Item = ObjectKey;
    type Key = ObjectKey;

    fn feed(&self) -> Feed {
        self.feed
    }

    fn path(&self) -> String {
        format!("/api/v1/{}", self.feed.name())
    }

    fn key(&self, namespace: String, name: String) -> ObjectKey {
        ObjectKey { namespace, name }
    }

    fn read(&self, object: MetadataOnly) -> Result<Option<ObjectKey>, Undecodable> {
        Ok(Some(object.metadata.key()))
    }

    fn change(&mut self, delta: Delta<ObjectKey, ObjectKey>) -> Change {
        if self.feed == Feed::LimitRanges { Change::LimitRange(delta) } else { Change::ResourceQuota(delta) }
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

    fn read(&self, class: PriorityClass) -> Result<Option<Self::Item>, Undecodable> {
        Ok(Some((class.metadata.name, class.value, class.global_default)))
    }

    fn change(&mut self, delta: Delta<Self::Item, String>) -> Change {
        Change::PriorityClass(delta)
    }
}

fn trim(annotations: &mut StringMap) {
    annotations.remove(LAST_APPLIED);
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(kind: &Apps, object: Value) -> Option<(WorkloadKey, ScaleTarget)> {
        kind.read(serde_json::from_value(object).unwrap()).unwrap()
    }

    #[test]
    fn a_deployment_is_read_as_its_scale_and_template() {
        let kind = Apps { feed: Feed::Deployments, kind: "Deployment" };
        let object = json!({
            "metadata": {"namespace": "ml", "name": "llm", "annotations": {LAST_APPLIED: "{}", "a": "b"}},
            "spec": {"replicas": 5, "selector": {"matchLabels": {"app": "llm"}}, "template": {"spec": {"nodeName": ""}}},
            "status": {"replicas": 6}
        });
        let (key, target) = read(&kind, object).unwrap();
        assert_eq!(key.to_string(), "ml/deployment/llm");
        assert_eq!((target.spec_replicas, target.status_replicas), (5, 6));
        assert_eq!(target.selector.to_string(), "app=llm");
        assert_eq!(target.annotations.keys().collect::<Vec<_>>(), ["a"]);
        assert!(target.template.is_some());
    }

    #[test]
    fn a_replica_set_that_belongs_to_a_deployment_is_left_out() {
        let kind = Apps { feed: Feed::ReplicaSets, kind: "ReplicaSet" };
        let mut object = json!({"metadata": {"namespace": "ml", "name": "llm-1"}, "spec": {"replicas": 0}});
        assert_eq!(read(&kind, object.clone()).unwrap().1.spec_replicas, 0);
        object["metadata"]["ownerReferences"] = json!([{"kind": "Deployment", "name": "llm", "controller": true}]);
        assert_eq!(read(&kind, object), None);
    }

    #[test]
    fn a_selector_that_cannot_be_understood_is_an_error() {
        let kind = Apps { feed: Feed::Deployments, kind: "Deployment" };
        let selector = json!({"matchExpressions": [{"key": "a", "operator": "Like"}]});
        let object = json!({"metadata": {"name": "llm"}, "spec": {"selector": selector}});
        let bad = kind.read(serde_json::from_value(object).unwrap()).unwrap_err();
        assert!(bad.identity.path() == "llm" && bad.reason.contains("Like"), "{bad:?}");
    }
}
