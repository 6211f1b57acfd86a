//! Fleets to measure with.
#![allow(unreachable_pub, reason = "part of several benches")]

mod devices;

use jiff::Timestamp;
use plimsoll_core::{
    cluster::View,
    object::{HorizontalPodAutoscaler, Interner, Node, ObjectKey, Pod, ScaleTarget, WorkloadKey},
    quantity::Milli,
    signal::{GPU_UTILIZATION, QUEUE_LENGTH, Quality, Sample, Signals},
};
use serde_json::{Value, from_value, json};

/// How large a fleet is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub nodes: usize,
    pub workloads: usize,
    /// Bound pods, spread over all nodes.
    pub pods: usize,
    /// Whether workloads differ in what they ask for, most of them for no GPU; else each replica has one.
    pub mixed: bool,
    /// Whether GPUs are devices of a driver, and each replica without one has a network device: a claim a pod.
    pub devices: bool,
}

/// A common fleet.
#[allow(dead_code, reason = "not every bench uses it")]
pub const COMMON: Size = Size { nodes: 1_200, workloads: 200, pods: 8_000, mixed: false, devices: false };
/// A large one.
#[allow(dead_code, reason = "not every bench uses it")]
pub const LARGE: Size = Size { nodes: 5_000, workloads: 500, pods: 150_000, mixed: true, devices: false };
/// A large one with as many claims as pods.
#[allow(dead_code, reason = "not every bench uses it")]
pub const CLAIMED: Size = Size { devices: true, ..LARGE };

fn node(name: &str) -> Node {
    let allocatable = json!({ "cpu": "192", "memory": "2Ti", "pods": "110", "nvidia.com/gpu": "8" });
    from_value(json!({
        "metadata": { "name": name, "labels": { "kubernetes.io/hostname": name, "pool": "gpu" } },
        "spec": { "taints": [{ "key": "nvidia.com/gpu", "effect": "NoSchedule" }] },
        "status": { "allocatable": allocatable, "conditions": [{ "type": "Ready", "status": "True" }] },
    }))
    .unwrap()
}

/// The specification of the pods of a workload.
fn spec(workload: usize, mixed: bool) -> Value {
    let requests = match workload {
        _ if !mixed => json!({ "cpu": "8", "memory": "64Gi", "nvidia.com/gpu": "1" }),
        gpus if gpus % 10 == 0 => {
            let count = 1 << (gpus / 10 % 3);
            json!({ "cpu": "8", "memory": format!("{}Gi", 32 + gpus % 64), "nvidia.com/gpu": count.to_string() })
        }
        _ => json!({ "cpu": format!("{}m", 100 + workload * 3), "memory": format!("{}Mi", 512 + workload * 8) }),
    };
    json!({
        "nodeSelector": { "pool": "gpu" },
        "tolerations": [{ "key": "nvidia.com/gpu", "operator": "Exists" }],
        "containers": [{ "name": "server", "resources": { "requests": requests } }],
    })
}

fn pod(workload: &str, mut spec: Value, index: usize, node: &str) -> Pod {
    spec["nodeName"] = json!(node);
    from_value(json!({
        "metadata": { "name": format!("{workload}-{index}"), "namespace": "ml", "labels": { "app": workload } },
        "spec": spec,
        "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] },
    }))
    .unwrap()
}

fn hpa(workload: &str, most: i32) -> HorizontalPodAutoscaler {
    let average = |value: &str| json!({ "type": "AverageValue", "averageValue": value });
    let selector = json!({ "matchLabels": { "workload": workload } });
    from_value(json!({
        "metadata": { "name": workload, "namespace": "ml" },
        "spec": {
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": workload },
            "minReplicas": 2, "maxReplicas": most, "behavior": {},
            "metrics": [
                { "type": "Pods", "pods": { "metric": { "name": "inference_queue_length" }, "target": average("10") } },
                { "type": "External", "external": {
                    "metric": { "name": "dcgm_gpu_utilization", "selector": selector }, "target": average("80") } },
            ],
        },
    }))
    .unwrap()
}

pub fn key(workload: &str) -> WorkloadKey {
    WorkloadKey {
        namespace: "ml".to_owned(),
        group: "apps".to_owned(),
        kind: "Deployment".to_owned(),
        name: workload.to_owned(),
    }
}

/// Two thirds of the GPUs are taken, and every workload wants more than its share of the rest.
#[allow(dead_code, reason = "not every bench uses it")]
pub fn fleet(now: Timestamp) -> (View, Signals) {
    fleet_of(now, COMMON)
}

/// A fleet of a size; every workload wants more than its share of what is free.
pub fn fleet_of(now: Timestamp, Size { nodes, workloads, pods, mixed, devices }: Size) -> (View, Signals) {
    let mut view = View { capacity_heard_at: Some(now), ..View::default() };
    let mut signals = Signals::default();
    let mut interner = Interner::default();
    for index in 0..nodes {
        let name = format!("node-{index:04}");
        view.nodes.insert(name.clone(), node(&name));
    }
    for index in 0..pods {
        let workload = format!("llm-{:03}", index % workloads);
        let node = if mixed { index.wrapping_mul(2_654_435_761) >> 7 } else { index } % nodes;
        let mut pod = pod(&workload, spec(index % workloads, mixed), index, &format!("node-{node:04}"));
        interner.pod(&mut pod);
        let key = pod.metadata.key();
        let sample = |value: i64| Sample { value: Milli(value * 1000), at: now, quality: Quality::Live };
        signals.pods.entry(QUEUE_LENGTH.to_owned()).or_default().insert(key.clone(), sample(30));
        signals.pods.entry(GPU_UTILIZATION.to_owned()).or_default().insert(key.clone(), sample(95));
        view.pods.insert(key, pod);
    }
    for index in 0..workloads {
        let name = format!("llm-{index:03}");
        let replicas = i32::try_from(pods / workloads).unwrap();
        let target = ScaleTarget {
            spec_replicas: replicas,
            status_replicas: replicas,
            selector: format!("app={name}").parse().unwrap(),
            template: from_value(json!({ "metadata": {}, "spec": spec(index, mixed) })).ok(),
            ..ScaleTarget::default()
        };
        view.workloads.insert(key(&name), target);
        view.hpas.insert(ObjectKey::new("ml", &*name), hpa(&name, replicas.saturating_mul(2).max(100)));
    }
    if devices {
        devices::claim(&mut view);
    }
    (view, signals)
}
