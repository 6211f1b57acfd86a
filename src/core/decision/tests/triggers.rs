//! KEDA's triggers: the accident through a ScaledObject, and the way from and to zero.

use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::scene::{Scene, deployment, key};
use crate::{
    answer::{Reason, Refusal},
    cluster::{Change, Delta},
    decision::{Live, Snapshot, TriggerActivity, answer_trigger, demands, profile_queries, scaled, trigger_activity},
    object::{
        WorkloadKey,
        keda::{Fallback, ScaledObject},
        meta::StringMap,
    },
    quantity::Milli,
    signal::{DemandKey, Quality, Sample},
    trigger::{Profile, Query, Trigger},
};

const SERVER: &str = "http://prometheus:9090";
const TEXT: &str = "sum(gateway_queue)";

fn metadata(pairs: &[(&str, &str)]) -> StringMap {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn queue() -> StringMap {
    metadata(&[("signal", "queueLength"), ("threshold", "10")])
}

/// With the queue at a gateway.
fn gateway() -> StringMap {
    let mut all = queue();
    all.extend(metadata(&[("serverAddress", SERVER), ("query", TEXT)]));
    all
}

fn object(name: &str, min: i32, triggers: &[StringMap]) -> ScaledObject {
    let triggers: Vec<_> = triggers.iter().map(|metadata| json!({"type": "external", "metadata": metadata})).collect();
    let behavior = json!({"scaleUp": {}, "scaleDown": {}});
    let object = json!({
        "metadata": {"name": name, "namespace": "ml"},
        "spec": {
            "scaleTargetRef": {"name": name}, "minReplicaCount": min, "maxReplicaCount": 50, "triggers": triggers,
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": behavior}},
        },
    });
    serde_json::from_value(object).unwrap()
}

fn with(mut scene: Scene, object: ScaledObject) -> Scene {
    scene.view.scaled_objects.insert(object.metadata.key(), object);
    scene
}

/// Five pods on eight GPUs with a queue for fifteen.
fn accident(triggers: &[StringMap]) -> Scene {
    let scene = Scene::new().node("a", 8).workload("llm", 5, 1);
    let scene = with(scene, object("llm", 1, triggers));
    (0..5).fold(scene, |scene, index| scene.running("llm", index, "a", Some(30)))
}

/// No pod, and so many requests at the gateway.
fn nothing(gpus: u32, waiting: Option<i64>, trigger: StringMap) -> Scene {
    let mut scene = with(Scene::new().node("a", gpus).workload("llm", 0, 1), object("llm", 0, &[trigger]));
    if let Some(waiting) = waiting {
        let sample = Sample { value: Milli(waiting * 1000), at: scene.now, quality: Quality::Live };
        scene.signals.demands.insert(demand(), Ok(sample));
    }
    scene
}

fn demand() -> DemandKey {
    ("ml".to_owned(), Query { server: SERVER.to_owned(), text: TEXT.to_owned() })
}

fn value(scene: &Scene, snapshot: &Snapshot, trigger: &StringMap) -> Result<i64, Refusal> {
    let live = |workload: &WorkloadKey| Live::of(&scene.view, workload);
    let trigger = Arc::new(Trigger::parse(trigger).unwrap());
    answer_trigger(snapshot, live, &key("llm"), &trigger, scene.now).map(|value| value.0)
}

fn activity(scene: &Scene, snapshot: &Snapshot, trigger: &StringMap) -> Result<TriggerActivity, Refusal> {
    let live = |workload: &WorkloadKey| Live::of(&scene.view, workload);
    let trigger = Arc::new(Trigger::parse(trigger).unwrap());
    trigger_activity(snapshot, live, &key("llm"), &trigger, scene.now)
}

fn active(scene: &Scene, trigger: &StringMap) -> bool {
    activity(scene, &scene.decide(), trigger).unwrap().active
}

#[test]
fn a_queue_for_fifteen_is_served_as_one_for_eight() {
    let scene = accident(&[queue()]);
    let snapshot = scene.decide();
    assert_eq!(value(&scene, &snapshot, &queue()), Ok(80_000));
    let decision = &snapshot.decisions[&key("keda-hpa-llm")];
    assert_eq!((decision.demand, decision.grant, decision.cap), (Some(15), 8, 8));
    assert!(scaled(&scene.view, &scene.policy).contains(&deployment("llm")));
}

#[test]
fn every_signal_is_capped_alike() {
    let composite = metadata(&[("signal", "composite"), ("queueThreshold", "10"), ("gpuThreshold", "70")]);
    let weighted = metadata(&[("signal", "composite"), ("queueThreshold", "10"), ("combine", "weighted")]);
    let largest = metadata(&[("signal", "queueLength"), ("threshold", "10"), ("aggregation", "max")]);
    let capacity = metadata(&[("signal", "capacity")]);
    for (trigger, served) in [(composite, 8_000), (weighted, 8_000), (largest, 80_000), (capacity, 8_000)] {
        let scene = accident(std::slice::from_ref(&trigger));
        assert_eq!(value(&scene, &scene.decide(), &trigger), Ok(served), "{trigger:?}");
    }
}

#[test]
fn a_value_target_is_capped_as_a_ratio() {
    let mut object = object("llm", 1, &[queue()]);
    object.spec.triggers[0].metric_type = "Value".to_owned();
    let scene = with(accident(&[]), object);
    let served = value(&scene, &scene.decide(), &queue()).unwrap();
    assert_eq!(served, 16_000, "ceil(16 / 10 x 5) is 8");
}

#[test]
fn capacity_off_serves_the_raw_value() {
    let mut raw = queue();
    raw.insert("capacity".to_owned(), "off".to_owned());
    let scene = accident(&[raw.clone(), queue()]);
    let snapshot = scene.decide();
    assert_eq!((value(&scene, &snapshot, &raw), value(&scene, &snapshot, &queue())), (Ok(150_000), Ok(80_000)));
}

#[test]
fn a_trigger_with_other_metadata_than_the_objects_is_not_answered() {
    let scene = accident(&[queue()]);
    let other = metadata(&[("signal", "queueLength"), ("threshold", "5")]);
    let refusal = value(&scene, &scene.decide(), &other).unwrap_err();
    assert_eq!(refusal.reason, Reason::NotReady);
    assert!(refusal.message.contains("exactly this metadata"), "{refusal}");
}

#[test]
fn demand_at_a_gateway_wakes_what_fits() {
    for (gpus, waiting, expected) in [(1, 3, true), (0, 3, false), (1, 0, false)] {
        let scene = nothing(gpus, Some(waiting), gateway());
        let activity = activity(&scene, &scene.decide(), &gateway()).unwrap();
        assert_eq!(activity, TriggerActivity { active: expected, at_zero: true }, "{gpus} GPUs, {waiting} waiting");
    }
}

#[test]
fn activation_is_strictly_above() {
    let mut trigger = gateway();
    trigger.insert("activationThreshold".to_owned(), "3".to_owned());
    assert!(!active(&nothing(1, Some(3), trigger.clone()), &trigger));
    assert!(active(&nothing(1, Some(4), trigger.clone()), &trigger));
}

#[test]
fn signals_of_pods_are_woken_by_the_query_too() {
    for signal in ["gpuUtilization", "latency"] {
        let mut trigger = gateway();
        trigger.insert("signal".to_owned(), signal.to_owned());
        let scene = nothing(1, Some(3), trigger.clone());
        let snapshot = scene.decide();
        assert!(activity(&scene, &snapshot, &trigger).unwrap().active, "{signal}");
        assert!(!active(&nothing(1, Some(0), trigger.clone()), &trigger), "{signal}");
    }
}

#[test]
fn without_a_replica_and_without_a_query_nothing_is_known() {
    let scene = nothing(1, None, queue());
    for refusal in [
        value(&scene, &scene.decide(), &queue()).unwrap_err(),
        activity(&scene, &scene.decide(), &queue()).unwrap_err(),
    ] {
        assert_eq!(refusal.reason, Reason::NoData);
        assert!(refusal.message.contains("serverAddress and query"), "{refusal}");
    }
}

#[test]
fn a_query_that_fails_is_unknown_and_not_nothing() {
    let mut scene = nothing(1, None, gateway());
    assert_eq!(value(&scene, &scene.decide(), &gateway()).unwrap_err().reason, Reason::NotReady);
    scene.signals.demands.insert(demand(), Err("503".to_owned()));
    let refusal = activity(&scene, &scene.decide(), &gateway()).unwrap_err();
    assert_eq!(refusal.reason, Reason::SourceDown);
    let mut zero = gateway();
    zero.insert("onMissing".to_owned(), "zero".to_owned());
    scene = with(scene, object("llm", 0, std::slice::from_ref(&zero)));
    assert_eq!(value(&scene, &scene.decide(), &zero), Ok(0));
}

/// Five pods that may sleep, and a gateway that does not answer.
fn unanswered(min: i32, trigger: &StringMap) -> Scene {
    let mut scene = with(accident(&[]), object("llm", min, std::slice::from_ref(trigger)));
    scene.signals.demands.insert(demand(), Err("503".to_owned()));
    scene
}

#[test]
fn what_may_sleep_is_not_put_to_sleep_by_an_error() {
    let mut scene = unanswered(0, &gateway());
    let snapshot = scene.decide();
    assert_eq!(value(&scene, &snapshot, &gateway()), Ok(50_000), "five replicas of ten");
    assert_eq!(activity(&scene, &snapshot, &gateway()), Ok(TriggerActivity { active: true, at_zero: false }));
    let decision = &snapshot.decisions[&key("keda-hpa-llm")];
    assert_eq!(decision.demands[0].refused, Some(Reason::SourceDown), "and people are told so");
    scene.view.scaled_objects.values_mut().for_each(|object| object.spec.triggers[0].metric_type = "Value".to_owned());
    assert_eq!(value(&scene, &scene.decide(), &gateway()), Ok(10_000), "a ratio of 1");
    // It holds as long as the scale is known, not longer.
    scene.now += SignedDuration::from_mins(10);
    assert_eq!(value(&scene, &snapshot, &gateway()).unwrap_err().reason, Reason::SourceDown);
}

#[test]
fn an_error_is_one_where_it_cannot_put_to_sleep_and_where_somebody_counts_on_it() {
    let refused = |scene: &Scene, trigger: &StringMap| {
        let snapshot = scene.decide();
        let reasons = (value(scene, &snapshot, trigger), activity(scene, &snapshot, trigger));
        (reasons.0.unwrap_err().reason, reasons.1.unwrap_err().reason)
    };
    let down = (Reason::SourceDown, Reason::SourceDown);
    assert_eq!(refused(&unanswered(1, &gateway()), &gateway()), down);
    let mut error = gateway();
    error.insert("onMissing".to_owned(), "error".to_owned());
    assert_eq!(refused(&unanswered(0, &error), &error), down);
    let mut scene = unanswered(0, &gateway());
    scene.view.scaled_objects.values_mut().for_each(|object| object.spec.fallback = Some(Fallback::default()));
    assert_eq!(refused(&scene, &gateway()), down);
    // Nothing is there that could be kept.
    let mut scene = nothing(1, None, gateway());
    scene.signals.demands.insert(demand(), Err("503".to_owned()));
    assert_eq!(refused(&scene, &gateway()), down);
}

#[test]
fn an_old_value_holds_or_is_an_error_as_the_trigger_says() {
    for (key, text, known) in [("onMissing", "hold", true), ("onMissing", "error", false), ("staleAfter", "20s", false)]
    {
        let mut trigger = gateway();
        trigger.insert(key.to_owned(), text.to_owned());
        let mut scene = nothing(1, None, trigger.clone());
        let at = scene.now - SignedDuration::from_secs(30);
        let sample = Sample { value: Milli(5_000), at, quality: Quality::LastKnownGood };
        scene.signals.demands.insert(demand(), Ok(sample));
        assert_eq!(value(&scene, &scene.decide(), &trigger).is_ok(), known, "{key}: {text}");
    }
}

#[test]
fn a_replica_that_loads_its_model_keeps_the_trigger_active_for_a_time() {
    let trigger = gateway();
    let mut scene =
        with(Scene::new().node("a", 1).workload("llm", 1, 1), object("llm", 0, std::slice::from_ref(&trigger)));
    scene = scene.unschedulable("llm", 0, 1);
    let sample = Sample { value: Milli(0), at: scene.now, quality: Quality::Live };
    scene.signals.demands.insert(demand(), Ok(sample));
    let created = scene.now - SignedDuration::from_mins(14);
    scene.view.pods.values_mut().for_each(|pod| pod.metadata.creation_timestamp = Some(created.into()));
    assert!(active(&scene, &trigger));
    let created = scene.now - SignedDuration::from_mins(16);
    scene.view.pods.values_mut().for_each(|pod| pod.metadata.creation_timestamp = Some(created.into()));
    assert!(!active(&scene, &trigger));
}

#[test]
fn what_sleeps_keeps_no_room() {
    let other = with(accident(&[queue()]), object("idle", 0, &[gateway()]));
    let mut scene = other.workload("idle", 0, 1);
    let sample = Sample { value: Milli(0), at: scene.now, quality: Quality::Live };
    scene.signals.demands.insert(demand(), Ok(sample));
    assert_eq!(scene.decide().decisions[&key("keda-hpa-llm")].grant, 8);
    let sample = Sample { value: Milli(1000), at: scene.now, quality: Quality::Live };
    scene.signals.demands.insert(demand(), Ok(sample));
    let snapshot = scene.decide();
    let grant = |name: &str| snapshot.decisions[&key(name)].grant;
    assert_eq!((grant("keda-hpa-llm"), grant("keda-hpa-idle")), (7, 1), "awake, it has its first replica");
}

#[test]
fn queries_are_urgent_where_nothing_runs() {
    let asleep = nothing(1, None, gateway());
    assert_eq!(demands(&asleep.view), [(demand(), true)].into());
    let awake = accident(&[gateway()]);
    assert_eq!(demands(&awake.view), [(demand(), false)].into());
}

#[test]
fn a_profile_is_asked_of_the_server_that_a_trigger_names_and_wakes_nobody() {
    let trigger = metadata(&[("signal", "queueLength"), ("profile", "tgi"), ("serverAddress", SERVER)]);
    let scene = nothing(1, None, trigger.clone());
    let wanted = [((SERVER.to_owned(), Profile::Tgi), ["ml".to_owned()].into())];
    assert_eq!(profile_queries(&scene.view), wanted.into());
    assert!(demands(&scene.view).is_empty());
    // The servers are not there to tell of a queue.
    assert_eq!(activity(&scene, &scene.decide(), &trigger).unwrap_err().reason, Reason::NoData);
    assert!(profile_queries(&nothing(1, None, gateway()).view).is_empty());
}

#[test]
fn bad_metadata_are_a_note_on_the_object() {
    let bad = metadata(&[("signal", "queueLength"), ("treshold", "1")]);
    let scene = accident(&[bad]);
    let snapshot = scene.decide();
    let note = &snapshot.decisions[&key("keda-hpa-llm")].notes[0];
    assert_eq!(note.code, "InvalidTrigger");
    assert!(note.message.contains("spec.triggers[0].metadata.treshold"), "{note:?}");
}

fn job(metadata: &StringMap) -> Value {
    let container =
        json!({"name": "main", "resources": {"limits": {"nvidia.com/gpu": "1"}, "requests": {"nvidia.com/gpu": "1"}}});
    json!({
        "metadata": {"name": "llm", "namespace": "ml"},
        "spec": {
            "jobTargetRef": {"template": {"spec": {"containers": [container], "restartPolicy": "Never"}}},
            "triggers": [{"type": "external", "metadata": metadata}],
        },
    })
}

#[test]
fn jobs_are_made_for_what_fits() {
    let mut scene = Scene::new().node("a", 3);
    let sample = Sample { value: Milli(100_000), at: scene.now, quality: Quality::Live };
    scene.signals.demands.insert(demand(), Ok(sample));
    scene.view.apply(Change::ScaledJob(Delta::Applied(serde_json::from_value(job(&gateway())).unwrap())));
    let snapshot = scene.decide();
    assert_eq!(value(&scene, &snapshot, &gateway()), Ok(30_000), "{:?}", snapshot.decisions);
    assert!(activity(&scene, &snapshot, &gateway()).unwrap().active);
    scene.view.apply(Change::ScaledJob(Delta::Replaced(Vec::new())));
    assert!(scene.view.workloads.is_empty());
}
