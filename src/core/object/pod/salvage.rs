//! What can be read of a pod, or of a template, that does not decode as a whole: each field by itself.
//!
//! A pod that takes an amount that nobody can read still says on which node it does, and which pods it repels.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{
    Flaw, Pod, PodSpec, PodTemplate,
    decode::{Wire, WireStatus},
};
use crate::object::meta::ObjectMeta;

/// Fields without which it is not known whose a pod is, where it is, or which pods it repels.
const VITAL: [&str; 6] = ["name", "namespace", "labels", "deletionTimestamp", "nodeName", "affinity"];

// === impl Pod ===

impl Pod {
    /// What can be read of a pod that does not decode for a reason; none where that is too little to know whom it
    /// concerns.
    #[must_use]
    pub fn salvage(object: &Value, why: &str) -> Option<Self> {
        let (metadata, lost) = fields::<ObjectMeta>(object.get("metadata"))?;
        let (spec, lost_of_spec) = spec(object.get("spec"), why)?;
        let (status, _) = fields::<WireStatus>(object.get("status"))?;
        let is_vital = lost.iter().chain(&lost_of_spec).any(|field| VITAL.contains(field));
        let pod = Self::from(Wire { metadata, spec, status });
        (!pod.metadata.name.is_empty() && (!is_vital || pod.is_terminal())).then_some(pod)
    }
}

// === impl PodTemplate ===

impl PodTemplate {
    /// The same for a template: it says of itself what is missing.
    #[must_use]
    pub fn salvage(object: &Value, why: &str) -> Option<Self> {
        let (metadata, lost) = fields(object.get("metadata"))?;
        let (spec, _) = spec(object.get("spec"), why)?;
        (!lost.contains(&"labels")).then(|| Self { metadata, spec: Box::new(spec) })
    }
}

fn spec<'v>(value: Option<&'v Value>, why: &str) -> Option<(PodSpec, Vec<&'v str>)> {
    let (mut spec, lost) = fields::<PodSpec>(value)?;
    spec.flaw = Some(Box::new(Flaw { why: why.to_owned(), tolerations: lost.contains(&"tolerations") }));
    Some((spec, lost))
}

/// An object of those of its fields that decode, and the names of the others.
fn fields<T: Default + DeserializeOwned>(value: Option<&Value>) -> Option<(T, Vec<&str>)> {
    let fields = match value {
        None | Some(Value::Null) => return Some((T::default(), Vec::new())),
        Some(Value::Object(fields)) => fields,
        Some(_) => return None,
    };
    let decodes = |(name, value): &(&String, &Value)| {
        let alone: Map<_, _> = [((*name).clone(), (*value).clone())].into_iter().collect();
        serde_json::from_value::<T>(Value::Object(alone)).is_ok()
    };
    let (good, bad): (Vec<_>, Vec<_>) = fields.iter().partition(decodes);
    let good: Map<_, _> = good.into_iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    let whole = serde_json::from_value(Value::Object(good)).ok()?;
    Some((whole, bad.into_iter().map(|(name, _)| name.as_str()).collect()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod() -> Value {
        json!({
            "metadata": {"name": "p", "namespace": "ml", "labels": {"app": "llm"}, "creationTimestamp": "yesterday"},
            "spec": {"nodeName": "n1", "containers": [{"resources": {"requests": {"cpu": "much"}}}], "priority": 7},
            "status": {"phase": "Running", "startTime": 7, "conditions": [{"type": "Ready", "status": "True"}]},
        })
    }

    fn salvaged(change: impl FnOnce(&mut Value)) -> Option<Pod> {
        let mut pod = pod();
        change(&mut pod);
        assert!(serde_json::from_value::<Pod>(pod.clone()).is_err());
        Pod::salvage(&pod, "cpu")
    }

    #[test]
    fn what_decodes_is_kept_and_what_does_not_is_said() {
        let pod = salvaged(|_| {}).unwrap();
        assert_eq!((pod.node_name.as_str(), pod.metadata.labels.get("app")), ("n1", Some("llm")));
        assert!(pod.is_ready() && pod.is_bound() && pod.spec.containers.is_empty());
        assert_eq!(pod.spec.priority, Some(7));
        assert_eq!(pod.spec.flaw, Some(Box::new(Flaw { why: "cpu".to_owned(), tolerations: false })));
        let pod = salvaged(|pod| pod["spec"]["tolerations"] = json!("all")).unwrap();
        assert!(pod.spec.flaw.as_ref().is_some_and(|flaw| flaw.tolerations));
    }

    #[test]
    fn a_pod_of_which_nobody_can_say_whom_it_concerns_is_not_salvaged_unless_it_has_ended() {
        for place in ["/metadata/labels", "/spec/nodeName", "/metadata/name"] {
            let spoil = |pod: &mut Value| *pod.pointer_mut(place).unwrap() = json!(7);
            assert_eq!(salvaged(spoil), None, "{place}");
        }
        let affinity = json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": 7}});
        assert_eq!(salvaged(|pod| pod["spec"]["affinity"] = affinity.clone()), None);
        assert_eq!(salvaged(|pod| pod["metadata"]["deletionTimestamp"] = json!("soon")), None);
        assert_eq!(salvaged(|pod| pod["spec"] = json!([])), None);
        let ended = salvaged(|pod| {
            pod["spec"]["affinity"] = affinity.clone();
            pod["status"]["phase"] = json!("Failed");
        });
        assert!(ended.unwrap().is_terminal());
    }

    #[test]
    fn a_template_says_that_it_is_not_read_whole() {
        let template = PodTemplate::salvage(&pod(), "cpu").unwrap();
        assert!(template.spec.flaw.is_some() && template.spec.priority == Some(7));
    }
}
