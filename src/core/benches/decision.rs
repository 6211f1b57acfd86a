//! One evaluation of 200 workloads on 1,200 nodes, and one request answered from its snapshot.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a bench")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use jiff::Timestamp;
use plimsoll_core::{
    cluster::{Census, View},
    decision::{Live, answer_external, decide, scaled},
    object::{HorizontalPodAutoscaler, Node, ObjectKey, Pod, ScaleTarget, WorkloadKey},
    policy::Policy,
    profile::{Observation, Observed, Reading, Target},
    quantity::Milli,
    selector::Selector,
    signal::{GPU_UTILIZATION, QUEUE_LENGTH, Quality, Sample, Signals, Store},
};
use serde_json::{Value, from_value, json};

const NODES: usize = 1_200;
const WORKLOADS: usize = 200;
const BOUND: usize = 8_000;

fn node(name: &str) -> Node {
    let allocatable = json!({ "cpu": "192", "memory": "2Ti", "pods": "110", "nvidia.com/gpu": "8" });
    from_value(json!({
        "metadata": { "name": name, "labels": { "kubernetes.io/hostname": name, "pool": "gpu" } },
        "spec": { "taints": [{ "key": "nvidia.com/gpu", "effect": "NoSchedule" }] },
        "status": { "allocatable": allocatable, "conditions": [{ "type": "Ready", "status": "True" }] },
    }))
    .unwrap()
}

fn spec() -> Value {
    json!({
        "nodeSelector": { "pool": "gpu" },
        "tolerations": [{ "key": "nvidia.com/gpu", "operator": "Exists" }],
        "containers": [{ "name": "server", "resources": {
            "requests": { "cpu": "8", "memory": "64Gi", "nvidia.com/gpu": "1" }, "limits": { "nvidia.com/gpu": "1" } } }],
    })
}

fn pod(workload: &str, index: usize, node: &str) -> Pod {
    let mut spec = spec();
    spec["nodeName"] = json!(node);
    from_value(json!({
        "metadata": { "name": format!("{workload}-{index}"), "namespace": "ml", "labels": { "app": workload } },
        "spec": spec,
        "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] },
    }))
    .unwrap()
}

fn hpa(workload: &str) -> HorizontalPodAutoscaler {
    let average = |value: &str| json!({ "type": "AverageValue", "averageValue": value });
    let selector = json!({ "matchLabels": { "workload": workload } });
    from_value(json!({
        "metadata": { "name": workload, "namespace": "ml" },
        "spec": {
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": workload },
            "minReplicas": 2, "maxReplicas": 100, "behavior": {},
            "metrics": [
                { "type": "Pods", "pods": { "metric": { "name": "inference_queue_length" }, "target": average("10") } },
                { "type": "External", "external": {
                    "metric": { "name": "dcgm_gpu_utilization", "selector": selector }, "target": average("80") } },
            ],
        },
    }))
    .unwrap()
}

fn key(workload: &str) -> WorkloadKey {
    WorkloadKey {
        namespace: "ml".to_owned(),
        group: "apps".to_owned(),
        kind: "Deployment".to_owned(),
        name: workload.to_owned(),
    }
}

/// Two thirds of the GPUs are taken, and every workload wants more than its share of the rest.
fn fleet(now: Timestamp) -> (View, Signals) {
    let mut view = View { capacity_heard_at: Some(now), ..View::default() };
    let mut signals = Signals::default();
    for index in 0..NODES {
        let name = format!("node-{index:04}");
        view.nodes.insert(name.clone(), node(&name));
    }
    for index in 0..BOUND {
        let workload = format!("llm-{:03}", index % WORKLOADS);
        let pod = pod(&workload, index, &format!("node-{:04}", index % NODES));
        let key = pod.metadata.key();
        let sample = |value: i64| Sample { value: Milli(value * 1000), at: now, quality: Quality::Live };
        signals.pods.entry(QUEUE_LENGTH.to_owned()).or_default().insert(key.clone(), sample(30));
        signals.pods.entry(GPU_UTILIZATION.to_owned()).or_default().insert(key.clone(), sample(95));
        view.pods.insert(key, pod);
    }
    let template = from_value(json!({ "metadata": {}, "spec": spec() })).ok();
    for index in 0..WORKLOADS {
        let name = format!("llm-{index:03}");
        let replicas = i32::try_from(BOUND / WORKLOADS).unwrap();
        let target = ScaleTarget {
            spec_replicas: replicas,
            status_replicas: replicas,
            selector: format!("app={name}").parse().unwrap(),
            template: template.clone(),
            ..ScaleTarget::default()
        };
        view.workloads.insert(key(&name), target);
        view.hpas.insert(ObjectKey::new("ml", &*name), hpa(&name));
    }
    (view, signals)
}

/// What a scrape of every pod has told.
fn store(view: &View, now: Timestamp) -> Store {
    let mut store = Store::default();
    for pod in view.pods.keys() {
        let reading = Reading::Gauge(30.0);
        let (signal, at) = (QUEUE_LENGTH.to_owned(), Some(now));
        let observation = Observation { signal, pod: pod.clone(), uid: None, reading, at, approximate: false };
        let observed = Observed { observations: vec![observation], ..Observed::default() };
        assert!(store.record(&format!("pod/{pod}"), &Target::Pod(pod.clone()), observed, now));
    }
    store
}

fn benches(criterion: &mut Criterion) {
    let now: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
    let (view, signals) = fleet(now);
    let policy = Policy::default();
    criterion.bench_function("decide/200 workloads on 1,200 nodes", |bencher| {
        bencher.iter(|| decide(black_box(&view), &signals, &policy, None, now));
    });
    let store = store(&view, now);
    criterion.bench_function("census, signals, own pods, live/200 workloads with 8,000 pods", |bencher| {
        bencher.iter(|| {
            let workloads = scaled(black_box(&view), &policy);
            let census = Census::of(&view, &workloads);
            let signals = store.signals(&view, &census, &policy, now);
            let own: usize = census.workloads().map(|(workload, _)| census.own(workload).count()).sum();
            (signals, own, Live::all(&census).collect::<Vec<_>>())
        });
    });
    let snapshot = decide(&view, &signals, &policy, None, now);
    let live = Live::of(&view, &key("llm-007")).unwrap();
    let selector: Selector = "workload=llm-007".parse().unwrap();
    criterion.bench_function("answer/one External request", |bencher| {
        bencher.iter(|| {
            let live = |_: &WorkloadKey| Some(live.clone());
            answer_external(black_box(&snapshot), live, "ml", "dcgm_gpu_utilization", &selector, now)
        });
    });
}

criterion_group!(decision, benches);
criterion_main!(decision);
