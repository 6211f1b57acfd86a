//! Workloads whose labels overlap: whose a pod is decides what is promised.

use serde_json::json;

use super::scene::{Scene, average, deployment, external_of, key, pods};
use crate::{
    cluster::Census,
    coexistence::{ExternalApi, Owner},
    decision::Live,
    object::ObjectKey,
    quantity::Milli,
};

/// Gives a pod of the scene to a ReplicaSet.
fn controlled(mut scene: Scene, pod: &str, deployment: &str) -> Scene {
    let owner = json!({ "kind": "ReplicaSet", "name": format!("{deployment}-5d9f"), "controller": true });
    let metadata = &mut scene.view.pods.get_mut(&ObjectKey::new("ml", pod)).unwrap().metadata;
    metadata.labels.insert("app".to_owned(), "llm".to_owned());
    metadata.labels.insert("pod-template-hash".to_owned(), "5d9f".to_owned());
    metadata.owner_references = vec![serde_json::from_value(owner).unwrap()].into();
    scene
}

/// Two pods of `llm` and three of `llm-canary`, all of which the selector of `llm` matches; a pod of each waits.
fn overlapping() -> Scene {
    let metric = [external_of("inference_queue_length", "llm", &average("10"))];
    let mut scene = Scene::new().node("a", 8).workload("llm", 2, 1).hpa("llm", 50, &metric);
    scene = scene.workload("llm-canary", 3, 1);
    for (workload, count) in [("llm", 2), ("llm-canary", 3)] {
        for index in 0..count {
            scene = scene.running(workload, index, "a", Some(40));
            scene = controlled(scene, &format!("{workload}-{index}"), workload);
        }
    }
    scene
}

#[test]
fn the_pods_of_a_canary_raise_neither_demand_nor_ceiling_nor_grant_of_the_stable_one() {
    let scene = overlapping();
    let decision = &scene.decide().decisions[&key("llm")];
    assert_eq!(decision.demands[0].raw, Some(Milli(80_000)), "the canary's queue is its own");
    assert_eq!((decision.bound, decision.ceiling, decision.grant), (2, 5, 5));
}

#[test]
fn a_waiting_pod_of_a_canary_takes_its_place_as_anybodys_would() {
    let scene = overlapping().unschedulable("llm-canary", 3, 200);
    let decision = &controlled(scene, "llm-canary-3", "llm-canary").decide().decisions[&key("llm")];
    assert_eq!((decision.pending, decision.grant), (0, 4));
}

#[test]
fn what_the_controller_counts_it_counts_by_selector() {
    let live = Live::of(&overlapping().view, &deployment("llm")).unwrap();
    assert_eq!((live.matching, live.assigned, live.ready, live.standings.len()), (5, 5, 5, 5));
    assert_eq!((live.bound, live.pending), (2, 0));
}

#[test]
fn a_census_finds_the_pods_of_each_namespace_and_nobody_elses() {
    let mut scene = overlapping();
    let mut elsewhere = scene.view.pods[&ObjectKey::new("ml", "llm-0")].clone();
    elsewhere.metadata.namespace = "mla".into();
    scene.view.pods.insert(elsewhere.metadata.key(), elsewhere);
    let (stable, unknown) = (deployment("llm"), deployment("gone"));
    let census = Census::of(&scene.view, [&stable, &unknown]);
    assert_eq!(census.workloads().map(|(key, _)| key).collect::<Vec<_>>(), [&stable]);
    assert_eq!(census.matching(&stable).len(), 5);
    let own: Vec<_> = census.own(&stable).map(|(key, _)| key.to_string()).collect();
    assert_eq!(own, ["ml/llm-0", "ml/llm-1"]);
    assert!(census.matching(&unknown).is_empty());
}

#[test]
fn an_hpa_whose_external_metrics_somebody_else_answers_is_told_so() {
    let (external, own) =
        (external_of("inference_queue_length", "llm", &average("10")), pods("inference_queue_length", &average("10")));
    let noted = |metric: &serde_json::Value, owner: Owner| {
        let mut scene = Scene::new().node("a", 8).workload("llm", 2, 1).hpa("llm", 50, std::slice::from_ref(metric));
        scene.view.external_api = Some(ExternalApi { owner, unavailable: None });
        let snapshot = scene.decide();
        let notes = &snapshot.decisions[&key("llm")].notes;
        notes.iter().find(|note| note.code == "ExternalElsewhere").map(|note| note.message.clone())
    };
    let kedas = || Owner::Keda(ObjectKey::new("keda", "keda-metrics-apiserver"));
    let message = noted(&external, kedas()).unwrap();
    for part in ["inference_queue_length", "KEDA (keda/keda-metrics-apiserver)", "plimsoll migrate"] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(noted(&own, kedas()), None, "Pods metrics are asked for here all the same");
    assert_eq!(noted(&external, Owner::Ours), None);
    assert_eq!(noted(&external, Owner::Unknown("403".to_owned())), None, "what is not known is not told");
}
