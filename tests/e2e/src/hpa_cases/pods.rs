//! Pods in every state that the arithmetic distinguishes.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::ago;
use crate::rng::Rng;

pub(super) fn pods(rng: &mut Rng, now: Timestamp) -> Vec<Value> {
    let count = match rng.range(0, 19) {
        0 => 0,
        1 => rng.range(13, 40),
        _ => rng.range(1, 12),
    };
    // Most cases are tame, so that proposals and not failures are compared.
    let tame = rng.percent(60);
    (0..count).map(|index| pod(rng, now, index, tame)).collect()
}

pub(super) fn names(pods: &[Value]) -> Vec<String> {
    pods.iter().filter_map(|pod| pod["metadata"]["name"].as_str()).map(str::to_owned).collect()
}

fn pod(rng: &mut Rng, now: Timestamp, index: i64, tame: bool) -> Value {
    let index = if rng.percent(2) { index / 2 } else { index };
    let mut metadata = Map::new();
    metadata.insert("name".into(), json!(format!("p{index}")));
    let app = if rng.percent(if tame { 2 } else { 12 }) { "y" } else { "x" };
    let mut labels = json!({"app": app});
    if rng.percent(50) {
        labels["tier"] = json!("gpu");
    }
    metadata.insert("labels".into(), labels);
    match rng.range(0, 29) {
        0 => {
            metadata.insert("namespace".into(), json!("other"));
        }
        1..=9 => {}
        _ => {
            metadata.insert("namespace".into(), json!("ml"));
        }
    }
    if rng.percent(if tame { 3 } else { 12 }) {
        metadata.insert("deletionTimestamp".into(), json!(ago(now, 5)));
    }
    json!({"metadata": metadata, "spec": spec(rng, tame), "status": status(rng, now, tame)})
}

fn status(rng: &mut Rng, now: Timestamp, tame: bool) -> Value {
    let phase = if tame && rng.percent(85) {
        "Running"
    } else {
        rng.pick(&["Running", "Running", "Running", "Pending", "Pending", "Failed", "Succeeded", "Unknown", ""])
    };
    let mut status = Map::new();
    status.insert("phase".into(), json!(phase));
    let started = started(rng);
    if !rng.percent(if tame { 2 } else { 8 }) {
        status.insert("startTime".into(), json!(ago(now, started)));
    }
    let mut conditions = Vec::new();
    if rng.percent(30) {
        conditions.push(json!({"type": "PodScheduled", "status": "True"}));
    }
    if !rng.percent(if tame { 2 } else { 10 }) {
        conditions.push(ready(rng, now, started, tame));
    }
    status.insert("conditions".into(), json!(conditions));
    Value::Object(status)
}

/// Seconds since the start: long ago, or at an edge of the CPU initialisation period.
fn started(rng: &mut Rng) -> i64 {
    match rng.range(0, 9) {
        0 => 300 + rng.range(-1, 1),
        1..=3 => rng.range(0, 330),
        _ => rng.range(301, 4000),
    }
}

fn ready(rng: &mut Rng, now: Timestamp, started: i64, tame: bool) -> Value {
    let status =
        if rng.percent(if tame { 90 } else { 60 }) { "True" } else { rng.pick(&["False", "False", "Unknown"]) };
    let mut condition = json!({"type": "Ready", "status": status});
    if !rng.percent(4) {
        // Around the readiness delay of 30 s after the start, or anywhere up to now.
        let changed = if rng.percent(50) { started - 30 + rng.range(-1, 1) } else { rng.range(0, started.max(0)) };
        condition["lastTransitionTime"] = json!(ago(now, changed.max(0)));
    }
    condition
}

fn spec(rng: &mut Rng, tame: bool) -> Value {
    let mut containers = vec![container(rng, "c", tame)];
    if rng.percent(40) {
        containers.push(container(rng, "sidecar", tame));
    }
    let mut spec = json!({"containers": containers});
    if rng.percent(15) {
        let mut init = container(rng, "init", tame);
        if rng.percent(60) {
            init["restartPolicy"] = json!("Always");
        }
        spec["initContainers"] = json!([init, container(rng, "init2", tame)]);
    }
    if rng.percent(12) {
        spec["resources"] = resources(rng, tame);
        if rng.percent(20) {
            spec["resources"]["limits"]["hugepages-2Mi"] = json!("2Mi");
        }
    }
    if rng.percent(8) {
        spec["overhead"] = json!({"cpu": "50m", "memory": "16Mi"});
    }
    spec
}

fn container(rng: &mut Rng, name: &str, tame: bool) -> Value {
    json!({"name": name, "resources": resources(rng, tame)})
}

fn resources(rng: &mut Rng, tame: bool) -> Value {
    let mut lists = json!({"requests": {}, "limits": {}});
    for (resource, amounts) in [
        ("cpu", ["100m", "500m", "1", "2", "1500m", "0", "0.25"]),
        ("memory", ["128Mi", "1Gi", "1500M", "64Mi", "0.5Gi", "0", "1e9"]),
    ] {
        let zero_is_rare = |rng: &mut Rng| {
            let amount = rng.pick(&amounts);
            if amount == "0" && rng.percent(70) { amounts[0] } else { amount }
        };
        if rng.percent(if tame { 98 } else { 85 }) {
            lists["requests"][resource] = json!(zero_is_rare(rng));
        }
        if rng.percent(25) {
            lists["limits"][resource] = json!(zero_is_rare(rng));
        }
    }
    lists
}
