//! Workloads whose replicas are groups of pods.

use serde_json::{Value, json};

use super::scene::*;
use crate::{
    capacity::LimitingFactor,
    clamp::Stance,
    decision::{Decision, Live},
    object::{LeaderWorkerSet, Pod, WorkloadKey},
    signal::{Quality, Sample, Signals},
};

fn set(name: &str) -> WorkloadKey {
    let [namespace, group, kind] = ["ml", "leaderworkerset.x-k8s.io", "LeaderWorkerSet"].map(str::to_owned);
    WorkloadKey { namespace, group, kind, name: name.to_owned() }
}

fn pod_template() -> Value {
    json!({ "spec": { "containers": [{ "name": "main", "resources": { "limits": { "nvidia.com/gpu": "8" } } }] } })
}

/// Adds a set whose replicas are `size` pods with eight GPUs each, and an HPA for it that asks for more.
fn with_set(mut scene: Scene, name: &str, replicas: i32, size: u32) -> Scene {
    let object: LeaderWorkerSet = serde_json::from_value(json!({
        "spec": { "replicas": replicas, "leaderWorkerTemplate": { "size": size, "workerTemplate": pod_template() } },
        "status": { "replicas": replicas, "hpaPodSelector": format!(
            "leaderworkerset.sigs.k8s.io/name={name},leaderworkerset.sigs.k8s.io/worker-index=0"
        ) },
    }))
    .unwrap();
    scene.view.workloads.insert(set(name), object.into_scale_target().unwrap());
    let mut scene = scene.hpa(name, 50, &[pods("inference_queue_length", &average("1"))]);
    let hpa = scene.view.hpas.get_mut(&key(name)).unwrap();
    let target = &mut hpa.spec.scale_target_ref;
    (target.kind, target.api_version) = ("LeaderWorkerSet".to_owned(), "leaderworkerset.x-k8s.io/v1".to_owned());
    scene
}

fn with_pod(mut scene: Scene, name: &str, group: u32, worker: u32, node: Option<&str>) -> Scene {
    let pod_name = format!("{name}-{group}-{worker}");
    let labels = json!({
        "leaderworkerset.sigs.k8s.io/name": name,
        "leaderworkerset.sigs.k8s.io/group-index": group.to_string(),
        "leaderworkerset.sigs.k8s.io/worker-index": worker.to_string(),
    });
    let mut pod: Pod = serde_json::from_value(pod_template()).unwrap();
    pod.metadata = serde_json::from_value(json!({ "name": pod_name, "namespace": "ml", "labels": labels })).unwrap();
    pod.node_name = node.unwrap_or_default().into();
    pod.status = serde_json::from_value(json!({
        "phase": if node.is_some() { "Running" } else { "Pending" },
        "conditions": [{ "type": "Ready", "status": if node.is_some() { "True" } else { "False" } }],
    }))
    .unwrap();
    if worker == 0 && node.is_some() {
        let sample = Sample { value: crate::quantity::Milli(40_000), at: scene.now, quality: Quality::Live };
        let Signals { pods, .. } = &mut scene.signals;
        pods.entry(crate::signal::QUEUE_LENGTH.to_owned()).or_default().insert(key(&pod_name), sample);
    }
    scene.view.pods.insert(key(&pod_name), pod);
    scene
}

fn nodes(count: usize) -> Scene {
    (0..count).fold(Scene::new(), |scene, index| scene.node(&format!("n{index}"), 8))
}

/// A set of groups of two, one of which runs on the first two nodes.
fn one_group(scene: Scene, name: &str, replicas: i32, first: usize) -> Scene {
    let scene = with_set(scene, name, replicas, 2);
    let scene = with_pod(scene, name, 0, 0, Some(&format!("n{first}")));
    with_pod(scene, name, 0, 1, Some(&format!("n{}", first + 1)))
}

fn decision(scene: &Scene, name: &str) -> Decision {
    scene.decide().decisions.remove(&key(name)).unwrap()
}

#[test]
fn only_whole_groups_are_granted() {
    for (free, grant) in [(0, 1), (1, 1), (2, 2), (3, 2), (4, 3), (7, 4)] {
        let scene = one_group(nodes(2 + free), "llm", 1, 0);
        let decision = decision(&scene, "llm");
        assert_eq!((decision.bound, decision.grant, decision.cap), (1, grant, grant), "{free} free nodes");
        assert_eq!(decision.limiting_factor, LimitingFactor::Gpu);
    }
}

#[test]
fn a_group_of_which_one_pod_waits_is_not_bound_and_needs_one_node() {
    let scene = with_pod(one_group(nodes(4), "llm", 2, 0), "llm", 1, 0, Some("n2"));
    let scene = with_pod(scene, "llm", 1, 1, None);
    let live = Live::of(&scene.view, &set("llm")).unwrap();
    assert_eq!((live.bound, live.pending, live.matching), (1, 1, 2));
    assert_eq!(decision(&scene, "llm").grant, 2);
}

#[test]
fn groups_are_counted_whole_for_a_scaled_object_too() {
    let mut scene = with_pod(one_group(nodes(4), "llm", 2, 0), "llm", 1, 0, Some("n2"));
    scene = with_pod(scene, "llm", 1, 1, None);
    scene.view.hpas.clear();
    let target = json!({ "apiVersion": "leaderworkerset.x-k8s.io/v1", "kind": "LeaderWorkerSet", "name": "llm" });
    let trigger = json!({ "type": "external", "metadata": { "signal": "queueLength", "threshold": "1" } });
    let spec = json!({ "scaleTargetRef": target, "maxReplicaCount": 50, "triggers": [trigger] });
    let object = json!({ "metadata": { "name": "llm", "namespace": "ml" }, "spec": spec });
    scene.view.scaled_objects.insert(key("llm"), serde_json::from_value(object).unwrap());
    let decision = scene.decide().decisions.into_values().next().unwrap();
    assert_eq!((decision.bound, decision.pending, decision.grant), (1, 1, 2));
}

#[test]
fn pods_of_a_group_that_cannot_be_whole_take_room_all_the_same() {
    // The waiting group lacks two pods and one node is left: the scheduler will give it to one of them.
    let scene = with_pod(one_group(nodes(3), "llm", 2, 0), "llm", 1, 0, None);
    let scene = with_pod(scene, "llm", 1, 1, None);
    let other = scene.workload("chat", 0, 8).hpa("chat", 5, &[external("inference_queue_length", &average("1"))]);
    let snapshot = other.decide();
    assert_eq!(snapshot.decisions[&key("llm")].grant, 1);
    let reserved = snapshot.decisions.get(&key("chat")).map_or(0, |decision| decision.grant);
    assert_eq!(reserved, 0);
}

#[test]
fn two_sets_share_whole_groups() {
    let scene = one_group(one_group(nodes(9), "a", 1, 0), "b", 1, 2);
    let grants = ["a", "b"].map(|name| decision(&scene, name).grant);
    assert_eq!(grants, [2, 2], "five nodes are free: a group of two for each, and one is left");
}

#[test]
fn a_surplus_of_groups_is_shed_when_a_worker_finds_no_place_unless_a_whole_group_would_go_first() {
    let stance = |whole: u32, stuck: u32| {
        let scene = with_set(nodes(3), "llm", 2, 2);
        let scene = with_pod(with_pod(scene, "llm", whole, 0, Some("n0")), "llm", whole, 1, Some("n1"));
        let mut scene = with_pod(with_pod(scene, "llm", stuck, 0, Some("n2")), "llm", stuck, 1, None);
        let since = (scene.now - jiff::SignedDuration::from_secs(3600)).to_string();
        let worker = scene.view.pods.get_mut(&key(&format!("llm-{stuck}-1"))).unwrap();
        worker.status.conditions = serde_json::from_value(json!([
            { "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "lastTransitionTime": since },
        ]))
        .unwrap();
        let decision = decision(&scene, "llm");
        assert_eq!((decision.bound, decision.grant, decision.current), (1, 1, 2));
        decision.stance
    };
    assert_eq!(stance(0, 1), Stance::Shed);
    assert_eq!(stance(1, 0), Stance::Hold);
}

#[test]
fn a_stateful_set_sheds_only_what_waits_at_its_end() {
    let stance = |waits: usize| {
        let mut scene = textbook(&[pods("inference_queue_length", &average("1"))]);
        scene.view.nodes.clear();
        scene.view.pods.clear();
        let mut scene = (0..3).fold(scene.node("a", 2), |scene, index| {
            if index == waits {
                scene.unschedulable("llm", index, 3600)
            } else {
                scene.running("llm", index, "a", Some(30))
            }
        });
        let mut target = scene.view.workloads.remove(&deployment("llm")).unwrap();
        target.spec_replicas = 3;
        let key_of_set = WorkloadKey { kind: "StatefulSet".to_owned(), ..deployment("llm") };
        scene.view.workloads.insert(key_of_set, target);
        scene.view.hpas.get_mut(&key("llm")).unwrap().spec.scale_target_ref.kind = "StatefulSet".to_owned();
        decision(&scene, "llm").stance
    };
    assert_eq!(stance(2), Stance::Shed);
    assert_eq!(stance(0), Stance::Hold);
}
