//! Which HPA a request is about, and what is answered when it is about none.

use super::scene::{average, deployment, external, external_of, key, pods, textbook, value};
use crate::{
    answer::{CustomRequest, Objects, Reason},
    decision::{Live, answer_custom, custom_metrics, external_metrics},
    policy::Policy,
    quantity::Milli,
    selector::Selector,
    signal::{LATENCY_P99, Quality, Sample},
};

fn queue() -> [serde_json::Value; 1] {
    [external("inference_queue_length", &average("10"))]
}

#[test]
fn one_name_for_two_workloads_is_ambiguous_until_a_selector_tells_them_apart() {
    let scene = textbook(&queue()).workload("other", 1, 1).hpa("other", 9, &queue());
    let refusal = scene.ask(&scene.decide(), "inference_queue_length", "").unwrap_err();
    assert_eq!(refusal.reason, Reason::Ambiguous);
    for part in ["ml/llm", "ml/other", "matchLabels.workload=llm"] {
        assert!(refusal.message.contains(part), "{refusal}");
    }
    let scene = scene.hpa("other", 9, &[external_of("inference_queue_length", "other", &average("10"))]);
    assert!(scene.ask(&scene.decide(), "inference_queue_length", "").is_ok());
    assert_eq!(
        scene.ask(&scene.decide(), "inference_queue_length", "workload in (other)").unwrap_err().reason,
        Reason::NoData
    );
}

#[test]
fn a_metric_that_no_hpa_asks_for_is_not_found_with_a_hint() {
    let scene = textbook(&queue());
    let snapshot = scene.decide();
    let refusal = scene.ask(&snapshot, "inference_queue_length", "a=b").unwrap_err();
    assert!(
        refusal.reason == Reason::NotFound && refusal.message.contains("HPAs there use the selectors \"\""),
        "{refusal}"
    );
    let refusal = scene.ask(&snapshot, "made_up", "").unwrap_err();
    assert!(
        refusal.reason == Reason::NotFound && refusal.message.contains("could not find the metric made_up"),
        "{refusal}"
    );
}

#[test]
fn pods_whose_cap_nobody_enforces_show_their_raw_values_by_any_selector() {
    let scene = textbook(&queue()).annotated("llm", "plimsoll.dev/mode", "Observe");
    let served = scene.ask_pods(&scene.decide(), "inference_queue_length", "").unwrap();
    assert_eq!(served.iter().map(|pod| pod.value).collect::<Vec<_>>(), [Milli(30_000); 5]);
    assert!(scene.ask_pods(&scene.decide(), "inference_queue_length", "app=none").is_err());
}

#[test]
fn a_selector_that_is_not_the_hpas_does_not_lead_around_its_cap() {
    let scene = textbook(&[pods("inference_queue_length", &average("10"))]).workload("free", 1, 1);
    let scene = scene.running("free", 0, "a", Some(70));
    let snapshot = scene.decide();
    let ask = |selector| scene.ask_pods(&snapshot, "inference_queue_length", selector);
    for selector in ["", "app", "app in (llm, free)", "app!=free"] {
        let refusal = ask(selector).unwrap_err();
        assert_eq!(refusal.reason, Reason::NotReady, "{selector}");
        assert!(refusal.message.contains("HPA ml/llm") && refusal.message.contains("app=llm"), "{refusal}");
    }
    assert_eq!(ask("app=llm").unwrap()[0].value, Milli(14_000));
    assert_eq!(ask("app=free").unwrap()[0].value, Milli(70_000));
}

#[test]
fn an_hpa_whose_scale_cannot_be_read_gets_no_raw_samples() {
    let mut scene = textbook(&[pods("inference_queue_length", &average("10"))]);
    let target = &mut scene.view.hpas.get_mut(&key("llm")).unwrap().spec.scale_target_ref;
    (target.api_version, target.kind) = ("argoproj.io/v1alpha1".to_owned(), "Rollout".to_owned());
    for selector in ["app=llm", ""] {
        let refusal = scene.ask_pods(&scene.decide(), "inference_queue_length", selector).unwrap_err();
        assert_eq!(refusal.reason, Reason::NotReady);
        for part in ["HPA ml/llm", "grant get on rollouts/scale in the API group \"argoproj.io\""] {
            assert!(refusal.message.contains(part), "{refusal}");
        }
    }
    let scene = scene.annotated("llm", "plimsoll.dev/mode", "Observe");
    let served = scene.ask_pods(&scene.decide(), "inference_queue_length", "app=llm").unwrap();
    assert_eq!(served[0].value, Milli(30_000), "who only observes does not mind");
}

#[test]
fn a_pod_by_name_and_the_workload_as_an_object_are_answered() {
    let object = serde_json::json!({ "type": "Object", "object": {
        "describedObject": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "llm" },
        "metric": { "name": "inference_queue_length" }, "target": { "type": "AverageValue", "averageValue": "10" } } });
    let scene = textbook(&[object]);
    let snapshot = scene.decide();
    let ask = |resource: &str, name: &str| {
        let request = CustomRequest {
            namespace: "ml".to_owned(),
            resource: resource.to_owned(),
            objects: Objects::Named(name.to_owned()),
            metric: "inference_queue_length".to_owned(),
            metric_selector: Selector::default(),
        };
        answer_custom(&snapshot, |workload| Live::of(&scene.view, workload), &request, scene.now)
    };
    assert_eq!(ask("pods", "llm-3").unwrap()[0].value, Milli(30_000));
    let workload = ask("deployments.apps", "llm").unwrap();
    assert_eq!(
        (workload[0].value, workload[0].kind.as_str(), workload[0].api_version.as_str()),
        (Milli(80_000), "Deployment", "apps/v1")
    );
    assert_eq!(ask("deployments.apps", "other").unwrap_err().reason, Reason::NotFound);
}

#[test]
fn the_clamp_runs_on_the_newest_scale() {
    let scene = textbook(&queue());
    let snapshot = scene.decide();
    let mut scaled = scene.clone();
    scaled.view.workloads.get_mut(&deployment("llm")).unwrap().spec_replicas = 12;
    assert_eq!(scaled.ask(&snapshot, "inference_queue_length", "").unwrap().value, Milli(120_000), "held at 12");
    scaled.view.workloads.clear();
    assert_eq!(scaled.ask(&snapshot, "inference_queue_length", "").unwrap_err().reason, Reason::NotReady);
}

#[test]
fn a_pod_that_ends_meanwhile_is_left_out() {
    let scene = textbook(&[pods("inference_queue_length", &average("10"))]);
    let snapshot = scene.decide();
    let mut now = scene.clone();
    now.view.pods.get_mut(&key("llm-0")).unwrap().metadata.deletion_timestamp = Some(scene.now.into());
    assert_eq!(now.ask_pods(&snapshot, "inference_queue_length", "app=llm").unwrap().len(), 4);
}

#[test]
fn a_quantile_is_never_summed_but_multiplied_where_the_hpa_divides() {
    let p99 = |target| {
        let mut scene = textbook(&[external("inference_latency_p99_seconds", &target)]).node("b", 64);
        let sample = Sample { value: Milli(1500), at: scene.now, quality: Quality::Live };
        scene.signals.workloads.entry(LATENCY_P99.to_owned()).or_default().insert(deployment("llm"), sample);
        scene.ask(&scene.decide(), "inference_latency_p99_seconds", "").unwrap().value
    };
    assert_eq!(p99(value("500m")), Milli(1500));
    assert_eq!(p99(average("500m")), Milli(7500));
}

#[test]
fn labels_are_valid_label_values() {
    let scene = textbook(&queue());
    for (name, value) in scene.ask(&scene.decide(), "inference_queue_length", "").unwrap().labels {
        let text = format!("{name}={value}");
        assert!(text.parse::<Selector>().is_ok(), "{text}");
    }
}

#[test]
fn discovery_lists_are_sorted_and_not_empty() {
    let policy = Policy::default();
    assert!(external_metrics(&policy).is_sorted() && external_metrics(&policy).len() == 7);
    assert_eq!(custom_metrics(&policy)[0], "pods/dcgm_gpu_utilization");
}
