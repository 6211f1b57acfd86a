//! The kinds of the group `apps` that have a pod template: Deployments, StatefulSets, ReplicaSets.

use plimsoll_core::{
    cluster::{Change, Delta},
    object::{ClaimTemplate, ObjectMeta, PodTemplate, Revision, Rollout, ScaleTarget, WorkloadKey, claim::ClaimOwner},
    selector::{LabelSelector, Selector},
};
use serde::Deserialize;
use serde_json::Value;

use super::{
    super::frame::{Identity, Undecodable},
    Kind, Salvage, trim,
};
use crate::kubernetes::health::Feed;

/// A kind of the group `apps` that has a pod template.
pub(in crate::kubernetes::watch) struct Apps {
    pub(in crate::kubernetes::watch) feed: Feed,
    pub(in crate::kubernetes::watch) kind: &'static str,
}
/// The read part of a Deployment, StatefulSet or ReplicaSet.
#[derive(Debug, Deserialize)]
pub(in crate::kubernetes::watch) struct AppsObject {
    metadata: ObjectMeta,
    spec: AppsSpec,
    #[serde(default)]
    status: Rollout,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AppsSpec {
    /// Absent means 1.
    replicas: Option<i32>,
    #[serde(default)]
    selector: LabelSelector,
    template: Option<PodTemplate>,
    /// Of a StatefulSet.
    volume_claim_templates: Option<Vec<ClaimTemplate>>,
}

// === impl Apps ===

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
    fn read(&mut self, object: AppsObject) -> Result<Option<Self::Item>, Undecodable> {
        let AppsObject { metadata, spec, status } = object;
        if self.feed == Feed::ReplicaSets && metadata.controller().is_some() {
            return Ok(None);
        }
        let ObjectMeta { namespace, name, mut annotations, generation, .. } = metadata;
        let selector = Selector::try_from(&spec.selector).map_err(|error| {
            let identity =
                Identity { namespace: namespace.clone(), name: name.clone(), resource_version: String::new() };
            Undecodable { identity, reason: error.to_string(), object: Box::default() }
        })?;
        trim(&mut annotations);
        let mut template = spec.template;
        if let (Some(template), Some(claims)) = (&mut template, &spec.volume_claim_templates) {
            template.claim(&ClaimOwner::StatefulSet(name.clone()), claims);
        }
        let target = ScaleTarget {
            spec_replicas: spec.replicas.unwrap_or(1),
            status_replicas: status.replicas,
            selector,
            template,
            group: None,
            annotations,
            revision: Revision::of(generation, &status),
        };
        Ok(Some((self.key(namespace, name), target)))
    }

    /// Without its pod template, or with what can be read of it.
    fn salvage(&mut self, bad: &Undecodable) -> Salvage<Self::Item> {
        let mut object = Value::clone(&bad.object);
        let template = object.pointer_mut("/spec/template").map(Value::take).unwrap_or_default();
        let read = serde_json::from_value::<AppsObject>(object).ok().and_then(|object| self.read(object).ok());
        match read {
            Some(Some((key, target))) => {
                Salvage::Part((key, ScaleTarget { template: PodTemplate::salvage(&template, &bad.reason), ..target }))
            }
            Some(None) => Salvage::Ended,
            None => Salvage::Nothing,
        }
    }

    fn change(&mut self, delta: Delta<Self::Item, WorkloadKey>) -> Change {
        Change::Workload { group: "apps".to_owned(), kind: self.kind.to_owned(), delta }
    }
}

#[cfg(test)]
mod tests {
    use plimsoll_core::object::claim::CLAIM_OF_EACH;
    use serde_json::json;

    use super::{super::LAST_APPLIED, *};

    fn read(kind: &mut Apps, object: Value) -> Option<(WorkloadKey, ScaleTarget)> {
        kind.read(serde_json::from_value(object).unwrap()).unwrap()
    }

    #[test]
    fn a_deployment_is_read_as_its_scale_and_template() {
        let mut kind = Apps { feed: Feed::Deployments, kind: "Deployment" };
        let object = json!({
            "metadata": {"namespace": "ml", "name": "llm", "annotations": {LAST_APPLIED: "{}", "a": "b"}},
            "spec": {"replicas": 5, "selector": {"matchLabels": {"app": "llm"}}, "template": {"spec": {"nodeName": ""}}},
            "status": {"replicas": 6}
        });
        let (key, target) = read(&mut kind, object).unwrap();
        assert_eq!(key.to_string(), "ml/deployment/llm");
        assert_eq!((target.spec_replicas, target.status_replicas), (5, 6));
        assert_eq!(target.selector.to_string(), "app=llm");
        assert_eq!(target.annotations.keys().collect::<Vec<_>>(), ["a"]);
        assert!(target.template.is_some());
    }

    #[test]
    fn claim_templates_of_a_stateful_set_are_volumes_of_its_pods() {
        let mut kind = Apps { feed: Feed::StatefulSets, kind: "StatefulSet" };
        let pod = json!({"spec": {"volumes": [{"name": "data", "emptyDir": {}}]}});
        let claims = json!([{"metadata": {"name": "data"}, "spec": {}}]);
        let object = json!({"metadata": {"name": "db"}, "spec": {"template": pod, "volumeClaimTemplates": claims}});
        let template = read(&mut kind, object).unwrap().1.template.unwrap();
        let volumes = serde_json::to_value(template.spec.volumes).unwrap();
        assert_eq!((volumes.as_array().unwrap().len(), &volumes[0]["name"]), (1, &json!("data")));
        let claim = &volumes[0][CLAIM_OF_EACH];
        assert_eq!(
            (&claim["owner"], &claim["template"]["metadata"]["name"]),
            (&json!({"StatefulSet": "db"}), &json!("data"))
        );
    }

    #[test]
    fn a_replica_set_that_belongs_to_a_deployment_is_left_out() {
        let mut kind = Apps { feed: Feed::ReplicaSets, kind: "ReplicaSet" };
        let mut object = json!({"metadata": {"namespace": "ml", "name": "llm-1"}, "spec": {"replicas": 0}});
        assert_eq!(read(&mut kind, object.clone()).unwrap().1.spec_replicas, 0);
        object["metadata"]["ownerReferences"] = json!([{"kind": "Deployment", "name": "llm", "controller": true}]);
        assert_eq!(read(&mut kind, object), None);
    }

    #[test]
    fn a_template_that_does_not_decode_leaves_the_workload_its_scale() {
        let mut kind = Apps { feed: Feed::Deployments, kind: "Deployment" };
        let mut object = json!({
            "metadata": {"namespace": "ml", "name": "llm"},
            "spec": {"replicas": 5, "selector": {"matchLabels": {"app": "llm"}}, "template": {"spec": {"containers": 7}}},
        });
        let mut salvage = |object: &Value| {
            let bad =
                Undecodable { identity: Identity::default(), reason: "7".to_owned(), object: Box::new(object.clone()) };
            kind.salvage(&bad)
        };
        let Salvage::Part((_, target)) = salvage(&object) else { panic!("nothing") };
        let flaw = target.template.and_then(|template| template.spec.flaw);
        assert_eq!((target.spec_replicas, flaw.map(|flaw| flaw.why).as_deref()), (5, Some("7")));
        object["spec"]["replicas"] = json!("many");
        assert!(matches!(salvage(&object), Salvage::Nothing));
    }

    #[test]
    fn a_selector_that_cannot_be_understood_is_an_error() {
        let mut kind = Apps { feed: Feed::Deployments, kind: "Deployment" };
        let selector = json!({"matchExpressions": [{"key": "a", "operator": "Like"}]});
        let object = json!({"metadata": {"name": "llm"}, "spec": {"selector": selector}});
        let bad = kind.read(serde_json::from_value(object).unwrap()).unwrap_err();
        assert!(bad.identity.path() == "llm" && bad.reason.contains("Like"), "{bad:?}");
    }
}
