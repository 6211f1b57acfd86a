//! What may not be trusted: old capacity, missing samples, node autoscalers, metrics of others.

use jiff::SignedDuration;
use serde_json::json;

use super::scene::{Scene, average, external, external_of, key, pods, textbook};
use crate::{
    answer::Reason,
    capacity::LimitingFactor,
    quantity::Milli,
    signal::{Quality, SourceHealth},
};

fn scene() -> Scene {
    textbook(&[external("inference_queue_length", &average("10"))])
}

#[test]
fn nothing_grows_on_stale_capacity() {
    let mut scene = scene();
    scene.view.capacity_heard_at = Some(scene.now - SignedDuration::from_secs(61));
    let snapshot = scene.decide();
    let decision = &snapshot.decisions[&key("llm")];
    assert_eq!((decision.grant, decision.cap), (5, 5));
    assert_eq!(decision.limiting_factor, LimitingFactor::StaleCapacity);
    assert_eq!(scene.ask(&snapshot, "inference_queue_length", "").unwrap().value, Milli(50_000));
    scene.view.capacity_heard_at = None;
    assert_eq!(scene.decide().decisions[&key("llm")].grant, 5);
}

#[test]
fn nothing_grows_while_a_pod_cannot_be_read_and_the_record_says_which() {
    let mut scene = scene();
    scene.view.capacity_problem = Some("pod ml/odd cannot be read, so what it uses is unknown".to_owned());
    let decision = &scene.decide().decisions[&key("llm")];
    assert_eq!((decision.grant, decision.limiting_factor), (5, LimitingFactor::StaleCapacity));
    let fits = decision.steps.iter().find(|step| step.name == "fits").unwrap();
    assert_eq!(fits.reason, "not known: pod ml/odd cannot be read, so what it uses is unknown");
    assert_eq!(decision.change.as_deref(), Some("pods that can be read (see the step `fits`)"));
}

#[test]
fn nothing_grows_when_evaluation_has_stopped() {
    let scene = scene();
    let snapshot = scene.decide();
    let late = scene.clone().later(30);
    let answer = late.ask(&snapshot, "inference_queue_length", "").unwrap();
    assert_eq!((answer.value, answer.labels["quality"].as_str()), (Milli(50_000), "lastKnownGood"));
    let refusal = scene.later(121).ask(&snapshot, "inference_queue_length", "").unwrap_err();
    assert_eq!(refusal.reason, Reason::Stale);
}

#[test]
fn the_last_known_good_value_does_not_raise_replicas() {
    let scene = scene().quality(Quality::LastKnownGood);
    let snapshot = scene.decide();
    assert_eq!(scene.ask(&snapshot, "inference_queue_length", "").unwrap().value, Milli(50_000));
    let pods = textbook(&[pods("inference_queue_length", &average("10"))]).quality(Quality::LastKnownGood);
    let served = pods.ask_pods(&pods.decide(), "inference_queue_length", "app=llm").unwrap();
    assert!(served.iter().all(|pod| pod.value == Milli(10_000)));
}

#[test]
fn the_last_known_good_value_grows_into_no_surge_and_keeps_no_gpu_from_others() {
    let metric = |name: &str| [external_of("inference_queue_length", name, &average("10"))];
    let rollout = textbook(&metric("llm")).running("llm", 5, "a", Some(30)).running("llm", 6, "a", Some(30));
    let rollout = rollout.quality(Quality::LastKnownGood);
    let snapshot = rollout.decide();
    assert_eq!(snapshot.decisions[&key("llm")].bound, 7);
    let served = rollout.ask(&snapshot, "inference_queue_length", "workload=llm").unwrap();
    assert_eq!(served.labels["cap"], "5");
    assert!(served.value <= Milli(50_000), "{served:?}");

    let mut scene = textbook(&metric("llm")).quality(Quality::LastKnownGood).workload("other", 1, 1);
    scene = scene.hpa("other", 9, &metric("other")).running("other", 0, "a", Some(90));
    let decisions = scene.decide().decisions;
    assert_eq!((decisions[&key("llm")].grant, decisions[&key("other")].grant), (5, 3));
    assert_eq!(decisions[&key("llm")].limiting_factor, LimitingFactor::StaleSignal);
}

#[test]
fn a_missing_sample_counts_as_the_mean_and_too_many_are_an_error() {
    let mut scene = scene();
    scene.signals.pods.get_mut("queueLength").unwrap().remove(&key("llm-0"));
    let snapshot = scene.decide();
    let demand = &snapshot.decisions[&key("llm")].demands[0];
    assert_eq!((demand.raw, demand.imputed), (Some(Milli(150_000)), 1));
    scene.signals.pods.get_mut("queueLength").unwrap().remove(&key("llm-1"));
    let health = SourceHealth { error: Some("connection refused".to_owned()), ..SourceHealth::default() };
    for source in ["pod/ml/llm-1", "pod/elsewhere/secret-0", "prometheus/main/queueLength/elsewhere"] {
        scene.signals.sources.insert(source.to_owned(), health.clone());
    }
    let snapshot = scene.decide();
    let refusal = scene.ask(&snapshot, "inference_queue_length", "").unwrap_err();
    assert_eq!(refusal.reason, Reason::SourceDown);
    for part in ["inference_queue_length", "3 of 5 ready pods", "pod/ml/llm-1 fails: connection refused"] {
        assert!(refusal.message.contains(part), "{refusal}");
    }
    assert!(!refusal.message.contains("elsewhere"), "another namespace's sources are not named: {refusal}");
    let decision = &snapshot.decisions[&key("llm")];
    assert_eq!((decision.demand, decision.limiting_factor), (None, LimitingFactor::StaleSignal));
}

#[test]
fn pods_that_have_just_become_ready_do_not_make_a_sum_unknown() {
    let mut scene = scene();
    let now = scene.now;
    for name in ["llm-0", "llm-1", "llm-2"] {
        scene.signals.pods.get_mut("queueLength").unwrap().remove(&key(name));
        let ready = &mut scene.view.pods.get_mut(&key(name)).unwrap().status.conditions[0];
        ready.last_transition_time = Some((now - SignedDuration::from_secs(5)).into());
    }
    let demand = &scene.decide().decisions[&key("llm")].demands[0];
    assert_eq!((demand.raw, demand.imputed), (Some(Milli(150_000)), 3));
    let refused = scene.later(60).decide().decisions[&key("llm")].demands[0].refused;
    assert!(refused.is_some(), "later they should have been measured");
}

#[test]
fn a_pod_may_wait_for_the_next_collection_of_a_dcgm_exporter() {
    let mut scene = textbook(&[external("dcgm_gpu_utilization", &average("80"))]);
    let mut samples = scene.signals.pods["queueLength"].clone();
    let now = scene.now;
    for name in ["llm-0", "llm-1"] {
        samples.remove(&key(name));
        let ready = &mut scene.view.pods.get_mut(&key(name)).unwrap().status.conditions[0];
        ready.last_transition_time = Some((now - SignedDuration::from_secs(40)).into());
    }
    scene.signals.pods.insert("gpuUtilization".to_owned(), samples);
    let demand = &scene.decide().decisions[&key("llm")].demands[0];
    assert_eq!((demand.raw, demand.imputed), (Some(Milli(150_000)), 2));
    assert!(scene.later(10).decide().decisions[&key("llm")].demands[0].refused.is_some());
}

#[test]
fn only_exporters_of_the_workloads_own_nodes_are_named_and_no_url() {
    let mut scene = textbook(&[external("dcgm_gpu_utilization", &average("80"))]).node("b", 8);
    scene = scene.workload("dcgm", 2, 0).running("dcgm", 0, "a", None).running("dcgm", 1, "b", None);
    let health = SourceHealth { error: Some("connection refused".to_owned()), ..SourceHealth::default() };
    for source in ["exporter/ml/dcgm-0", "exporter/ml/dcgm-1", "exporter/ml/gone"] {
        scene.signals.sources.insert(source.to_owned(), health.clone());
    }
    let refusal = |scene: &Scene| scene.ask(&scene.decide(), "dcgm_gpu_utilization", "").unwrap_err().message;
    let told = refusal(&scene);
    assert!(told.contains("exporter/ml/dcgm-0 fails"), "{told}");
    assert!(!told.contains("dcgm-1") && !told.contains("gone") && !told.contains("further"), "{told}");
    scene.signals.sources.clear();
    scene.signals.sources.insert("url/http://box.internal:9400/metrics".to_owned(), health);
    let told = refusal(&scene);
    assert!(told.contains("a DCGM exporter fails: connection refused") && !told.contains("box.internal"), "{told}");
}

#[test]
fn without_any_sample_there_is_no_value_and_never_a_zero() {
    let mut scene = scene();
    scene.signals.pods.clear();
    let refusal = scene.ask(&scene.decide(), "inference_queue_length", "").unwrap_err();
    assert_eq!(refusal.reason, Reason::NoData);
    let pods = Scene { signals: scene.signals.clone(), ..textbook(&[pods("inference_queue_length", &average("10"))]) };
    assert!(pods.ask_pods(&pods.decide(), "inference_queue_length", "app=llm").is_err());
}

#[test]
fn metrics_of_others_are_said_to_escape_the_cap() {
    let cpu = json!({ "type": "Resource", "resource": { "name": "cpu", "target": { "type": "Utilization", "averageUtilization": 70 } } });
    let scene = textbook(&[external("inference_queue_length", &average("10")), cpu]);
    let snapshot = scene.decide();
    let notes = &snapshot.decisions[&key("llm")].notes;
    assert!(notes.iter().any(|note| note.code == "CapBypassed" && note.message.contains("Resource cpu")), "{notes:?}");
}

#[test]
fn a_minimum_above_what_fits_is_said() {
    let mut scene = scene();
    scene.view.hpas.get_mut(&key("llm")).unwrap().spec.min_replicas = Some(9);
    let snapshot = scene.decide();
    assert_eq!(snapshot.decisions[&key("llm")].notes[0].code, "MinReplicasAboveCeiling");
}

#[test]
fn a_template_that_is_not_modelled_is_frozen_at_what_is_bound() {
    let mut scene = scene();
    scene.limit("pods", "99", None);
    let decision = &scene.decide().decisions[&key("llm")];
    assert_eq!((decision.grant, decision.cap), (5, 5));
}
