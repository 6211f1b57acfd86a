//! Kueue lets through what its queue has quota for, so no more is granted.

use serde_json::json;

use super::{accident::queue, scene::*};
use crate::{
    capacity::LimitingFactor,
    clamp::Stance,
    cluster::{Change, Delta, QueueChange},
};

const LABEL: &str = "kueue.x-k8s.io/queue-name";

/// Three replicas run, three wait at the gate of a queue that has quota for two more, on a node with room for five.
fn gated(seconds: i64) -> Scene {
    let scene = Scene::new().node("a", 8).workload("llm", 6, 1).hpa("llm", 50, &queue());
    let mut scene = (0..3).fold(scene, |scene, index| scene.running("llm", index, "a", Some(40)));
    let template = scene.view.workloads.get_mut(&deployment("llm")).unwrap().template.as_mut().unwrap();
    template.metadata.labels.insert(LABEL.to_owned(), "team".to_owned());
    let since = scene.now - jiff::SignedDuration::from_secs(seconds);
    for index in 3..6 {
        scene = scene.unschedulable("llm", index, 0);
        let pod = scene.view.pods.get_mut(&key(&format!("llm-{index}"))).unwrap();
        pod.status.conditions = Box::default();
        pod.metadata.creation_timestamp = Some(since.into());
        pod.spec.scheduling_gates = serde_json::from_value(json!([{"name": "kueue.x-k8s.io/admission"}])).unwrap();
    }
    let local = json!({"metadata": {"name": "team", "namespace": "ml"}, "spec": {"clusterQueue": "all"}});
    let resources = |cpu: &str, gpus: &str| json!([{"name": "cpu", "nominalQuota": cpu, "total": "3"}, {"name": "nvidia.com/gpu", "nominalQuota": gpus, "total": "3"}]);
    let all = json!({
        "metadata": {"name": "all"},
        "spec": {"namespaceSelector": {}, "resourceGroups": [{
            "coveredResources": ["cpu", "nvidia.com/gpu"], "flavors": [{"name": "any", "resources": resources("99", "5")}],
        }]},
        "status": {
            "conditions": [{"type": "Active", "status": "True"}],
            "flavorsReservation": [{"name": "any", "resources": resources("0", "0")}],
        },
    });
    let changes = [
        QueueChange::Local(Delta::Applied(serde_json::from_value(local).unwrap())),
        QueueChange::Cluster(Delta::Applied(serde_json::from_value(all).unwrap())),
        QueueChange::Flavor(Delta::Applied(serde_json::from_value(json!({"metadata": {"name": "any"}})).unwrap())),
    ];
    for change in changes {
        scene.view.apply(Change::Queue(change));
    }
    scene
}

#[test]
fn pods_at_the_gate_of_a_queue_need_its_quota_and_are_shed_where_there_is_none() {
    let snapshot = gated(10).decide();
    let decision = &snapshot.decisions[&key("llm")];
    assert_eq!((decision.bound, decision.grant, decision.ceiling), (3, 5, 5));
    assert_eq!(decision.limiting_factor, LimitingFactor::Quota);
    assert_eq!((decision.stance, decision.cap), (Stance::Hold, 6));
    let change = decision.change.as_ref().unwrap();
    assert!(change.contains("Kueue's ClusterQueue all"), "{change}");
    let later = gated(130).decide();
    let decision = &later.decisions[&key("llm")];
    assert_eq!((decision.stance, decision.cap), (Stance::Shed, 5));
}
