//! Whose a pod is. Labels alone do not say it: a canary often carries all labels that the stable selector asks for.

use super::{Pod, WorkloadKey};

/// Label with which a Deployment tells the pods of its ReplicaSets apart.
const TEMPLATE_HASH: &str = "pod-template-hash";

/// Whether a pod that a workload's selector matches may be its own: unless its controller is known to be another's.
///
/// A Deployment's pods are controlled by its ReplicaSets, which are named `<deployment>-<pod-template-hash>`
/// (`pkg/controller/deployment/sync.go`, Kubernetes v1.36.3); those of a ReplicaSet or StatefulSet by itself. How
/// other kinds make pods is not known, so that every controller is accepted for them, and a pod without a controller
/// is whose labels it wears.
#[must_use]
pub fn may_own(workload: &WorkloadKey, pod: &Pod) -> bool {
    let Some(controller) = pod.metadata.controller().filter(|_| workload.group == "apps") else { return true };
    match workload.kind.as_str() {
        "Deployment" => {
            let suffix = controller.name.strip_prefix(&workload.name).and_then(|rest| rest.strip_prefix('-'));
            let hash = pod.metadata.labels.get(TEMPLATE_HASH);
            controller.kind == "ReplicaSet" && suffix.is_some_and(|suffix| hash.is_none_or(|hash| suffix == hash))
        }
        "ReplicaSet" | "StatefulSet" => controller.kind == workload.kind && controller.name == workload.name,
        _ => true,
    }
}

/// The number of a pod of a StatefulSet, from 0 or from `spec.ordinals.start`. Whoever makes it smaller takes the highest
/// numbers away first, whether they run or not (`pkg/controller/statefulset/stateful_set_control.go`, Kubernetes
/// v1.36.3). None for a workload that chooses otherwise.
#[must_use]
pub fn ordinal(workload: &WorkloadKey, pod: &Pod) -> Option<i32> {
    let (_, number) = pod.metadata.name.rsplit_once('-').filter(|_| is_numbered(workload))?;
    number.parse().ok()
}

/// Whether the pods of a workload have numbers that say which go first.
#[must_use]
pub fn is_numbered(workload: &WorkloadKey) -> bool {
    workload.group == "apps" && workload.kind == "StatefulSet"
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn workload(kind: &str, group: &str) -> WorkloadKey {
        let [kind, group, name, namespace] = [kind, group, "chat", "ml"].map(str::to_owned);
        WorkloadKey { namespace, group, kind, name }
    }

    fn pod(kind: &str, name: &str, hash: Option<&str>) -> Pod {
        let labels = hash.map_or_else(|| json!({}), |hash| json!({ "pod-template-hash": hash }));
        let owner = json!({ "kind": kind, "name": name, "controller": true });
        serde_json::from_value(json!({ "metadata": { "labels": labels, "ownerReferences": [owner] } })).unwrap()
    }

    #[test]
    fn a_controller_that_is_known_to_be_anothers_disowns() {
        let rows = [
            ("Deployment", "ReplicaSet", "chat-5d9f", Some("5d9f"), true),
            ("Deployment", "ReplicaSet", "chat-canary-5d9f", Some("5d9f"), false),
            ("Deployment", "ReplicaSet", "chat-5d9f", None, true),
            ("Deployment", "ReplicaSet", "chatty-5d9f", None, false),
            ("Deployment", "ReplicaSet", "other-5d9f", Some("5d9f"), false),
            ("Deployment", "StatefulSet", "chat-5d9f", Some("5d9f"), false),
            ("ReplicaSet", "ReplicaSet", "chat", None, true),
            ("ReplicaSet", "ReplicaSet", "chat-2", None, false),
            ("StatefulSet", "StatefulSet", "chat", None, true),
            ("StatefulSet", "ReplicaSet", "chat", None, false),
        ];
        for (kind, controller, name, hash, expected) in rows {
            let found = may_own(&workload(kind, "apps"), &pod(controller, name, hash));
            assert_eq!(found, expected, "{kind} of {controller} {name} {hash:?}");
        }
    }

    #[test]
    fn bare_pods_and_kinds_that_nothing_is_known_of_are_believed_by_label() {
        assert!(may_own(&workload("Deployment", "apps"), &Pod::default()));
        assert!(may_own(&workload("Rollout", "argoproj.io"), &pod("ReplicaSet", "other-1", None)));
        assert!(may_own(&workload("LeaderWorkerSet", "apps"), &pod("StatefulSet", "other", None)));
    }
}
