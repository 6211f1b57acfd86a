//! Five replicas, eight GPUs, a queue for fifteen.

use super::scene::{Scene, average, external, key, pods, textbook, value};
use crate::{
    answer::Reason,
    capacity::{Class, LimitingFactor},
    clamp::Stance,
    policy::Mode,
    quantity::Milli,
    signal::Quality,
};

pub(super) fn queue() -> [serde_json::Value; 1] {
    [external("inference_queue_length", &average("10"))]
}

/// Fifteen asked for, eight run, seven have waited for that many seconds.
fn over_scaled(seconds: i64) -> Scene {
    let metrics = [pods("inference_queue_length", &average("10")), external("dcgm_gpu_utilization", &average("80"))];
    let mut scene = Scene::new().node("a", 8).workload("llm", 15, 1).hpa("llm", 50, &metrics);
    for index in 0..8 {
        scene = scene.running("llm", index, "a", Some(19));
    }
    scene = (8..15).fold(scene, |scene, index| scene.unschedulable("llm", index, seconds));
    let utilization = scene.signals.pods["queueLength"].clone();
    scene.signals.pods.insert("gpuUtilization".to_owned(), utilization);
    scene
}

#[test]
fn a_queue_for_fifteen_is_granted_eight() {
    let decision = &textbook(&queue()).decide().decisions[&key("llm")];
    assert_eq!((decision.demand, decision.ceiling, decision.grant, decision.cap), (Some(15), 8, 8, 8));
    assert_eq!(decision.limiting_factor, LimitingFactor::Gpu);
    assert_eq!(decision.mode.value, Mode::Enforce);
}

#[test]
fn every_kind_of_metric_is_capped_at_eight() {
    let scene = textbook(&queue());
    let sum = scene.ask(&scene.decide(), "inference_queue_length", "").unwrap();
    assert_eq!(sum.value, Milli(80_000));
    assert_eq!((sum.labels["raw"].as_str(), sum.labels["cap"].as_str()), ("150", "8"));
    let scene = textbook(&[external("inference_queue_length", &value("100"))]);
    assert_eq!(scene.ask(&scene.decide(), "inference_queue_length", "").unwrap().value, Milli(150_000));
    let scene = textbook(&[external("inference_queue_length", &value("50"))]);
    assert_eq!(scene.ask(&scene.decide(), "inference_queue_length", "").unwrap().value, Milli(80_000));
    let scene = textbook(&[pods("inference_queue_length", &average("10"))]);
    let served = scene.ask_pods(&scene.decide(), "inference_queue_length", "app=llm").unwrap();
    assert_eq!(served.iter().map(|pod| pod.value).collect::<Vec<_>>(), [Milli(16_000); 5]);
}

#[test]
fn a_count_of_free_nodes_does_not_vote_beside_metrics_that_do() {
    let metrics = [external("inference_queue_length", &average("10")), external("gpu_nodes_available", &value("1"))];
    let scene = textbook(&metrics);
    let guard = scene.ask(&scene.decide(), "gpu_nodes_available", "").unwrap();
    assert_eq!((guard.value, guard.labels["raw"].as_str()), (Milli(0), "1"));
    let alone = textbook(&[external("gpu_nodes_available", &value("1"))]);
    let refusal = alone.ask(&alone.decide(), "gpu_nodes_available", "").unwrap_err();
    assert!(refusal.message.contains("says nothing of demand"), "{refusal}");
}

#[test]
fn the_desired_replicas_are_the_granted_ones() {
    let metrics =
        [external("inference_queue_length", &average("10")), external("plimsoll_desired_replicas", &average("1"))];
    let scene = textbook(&metrics);
    assert_eq!(scene.ask(&scene.decide(), "plimsoll_desired_replicas", "").unwrap().value, Milli(8000));
}

#[test]
fn desired_replicas_without_any_demand_are_refused_with_a_cure() {
    let alone = textbook(&[external("plimsoll_desired_replicas", &average("1"))]);
    let refusal = alone.ask(&alone.decide(), "plimsoll_desired_replicas", "").unwrap_err();
    assert_eq!(refusal.reason, Reason::NoData);
    assert!(refusal.message.contains("put one beside it that does"), "{refusal}");
}

#[test]
fn desired_replicas_are_trusted_no_further_than_the_demand_behind_them() {
    let metrics =
        [external("inference_queue_length", &average("10")), external("plimsoll_desired_replicas", &average("1"))];
    let scene = textbook(&metrics).quality(Quality::LastKnownGood);
    let snapshot = scene.decide();
    let answer = scene.ask(&snapshot, "plimsoll_desired_replicas", "").unwrap();
    assert_eq!((answer.value, answer.labels["quality"].as_str()), (Milli(5000), "lastKnownGood"));
    assert_eq!(snapshot.decisions[&key("llm")].demands[1].quality, Quality::LastKnownGood);
}

#[test]
fn observing_serves_the_raw_value_and_says_what_it_would_have_been() {
    let scene = textbook(&queue()).annotated("llm", "plimsoll.dev/mode", "Observe");
    let answer = scene.ask(&scene.decide(), "inference_queue_length", "").unwrap();
    assert_eq!((answer.value, answer.labels["wouldServe"].as_str()), (Milli(150_000), "80"));
    let scene = scene.annotated("llm", "plimsoll.dev/mode", "off");
    let snapshot = scene.decide();
    assert!(snapshot.decisions.is_empty());
    assert_eq!(scene.ask(&snapshot, "inference_queue_length", "").unwrap().value, Milli(150_000));
}

#[test]
fn a_surplus_is_held_for_a_grace_and_then_shed_to_what_runs() {
    let young = over_scaled(60);
    let held = young.decide();
    assert_eq!((held.decisions[&key("llm")].stance, held.decisions[&key("llm")].cap), (Stance::Hold, 15));
    let served = young.ask_pods(&held, "inference_queue_length", "app=llm").unwrap();
    assert!(served.iter().all(|pod| pod.value == Milli(10_000)), "exactly the target holds: {served:?}");

    let old = over_scaled(121);
    let shed = old.decide();
    let decision = &shed.decisions[&key("llm")];
    assert_eq!((decision.stance, decision.cap, decision.grant), (Stance::Shed, 8, 8));
    let served = old.ask_pods(&shed, "inference_queue_length", "app=llm").unwrap();
    assert!(served.iter().all(|pod| pod.value < Milli(9000)), "below the tolerance: {served:?}");
    let carried = old.ask(&shed, "dcgm_gpu_utilization", "").unwrap();
    assert_eq!(carried.value, Milli(640_000), "the metric that can propose the cap exactly does so");
}

#[test]
fn a_surplus_that_the_scheduler_rejects_is_shed_to_what_runs_even_if_the_template_is_not_modelled() {
    let unmodelled = |mut scene: Scene| {
        scene.limit("pods", "99", None);
        scene
    };
    let young = &unmodelled(over_scaled(60)).decide().decisions[&key("llm")];
    assert_eq!((young.fits.class, young.stance, young.cap), (Class::Unknown, Stance::Hold, 15));
    let old = unmodelled(over_scaled(121)).decide().decisions[&key("llm")].clone();
    assert_eq!((old.stance, old.grant, old.cap, old.bound), (Stance::Shed, 8, 8, 8));
    let mut deaf = unmodelled(over_scaled(121));
    deaf.view.capacity_heard_at = None;
    assert_eq!(deaf.decide().decisions[&key("llm")].stance, Stance::Hold);
    let mut unseen = unmodelled(over_scaled(121)).annotated("llm", "plimsoll.dev/shed", "now");
    unseen.view.pods.retain(|_, pod| pod.is_bound());
    assert_eq!(unseen.decide().decisions[&key("llm")].stance, Stance::Hold, "they may be about to be bound");
}

#[test]
fn annotations_hold_always_or_shed_at_once() {
    let held = over_scaled(1000).annotated("llm", "plimsoll.dev/hold", "always").decide();
    assert_eq!(held.decisions[&key("llm")].stance, Stance::Hold);
    let shed = over_scaled(0).annotated("llm", "plimsoll.dev/shed", "now").decide();
    assert_eq!(shed.decisions[&key("llm")].stance, Stance::Shed);
}

#[test]
fn a_cap_below_the_grant_is_explained_by_what_one_sync_may_add() {
    let mut scene = textbook(&queue()).node("b", 8);
    let step = |scene: &Scene| {
        let decision = scene.decide().decisions[&key("llm")].clone();
        let step = decision.steps.into_iter().find(|step| step.name == "sync");
        (decision.grant, decision.cap, step.and_then(|step| step.value))
    };
    assert_eq!(step(&scene), (15, 15, None));
    scene.view.hpas.get_mut(&key("llm")).unwrap().spec.behavior = None;
    assert_eq!(step(&scene), (15, 10, Some(10)));
}

#[test]
fn a_new_node_lifts_the_cap() {
    let scene = textbook(&queue()).node("b", 8);
    let decision = &scene.decide().decisions[&key("llm")];
    assert_eq!((decision.grant, decision.limiting_factor), (15, LimitingFactor::None));
    assert_eq!(scene.ask(&scene.decide(), "inference_queue_length", "").unwrap().value, Milli(150_000));
}

#[test]
fn a_quota_caps_the_grant_and_is_named() {
    let mut scene = textbook(&queue());
    scene.limit("requests.nvidia.com/gpu", "7", Some("5"));
    let decision = &scene.decide().decisions[&key("llm")];
    assert_eq!((decision.bound, decision.ceiling, decision.grant, decision.cap), (5, 7, 7, 7));
    assert_eq!(decision.limiting_factor, LimitingFactor::Quota);
    assert!(decision.change.as_ref().unwrap().contains("ResourceQuota ml/team: requests.nvidia.com/gpu 5 of 7 used"));
}
