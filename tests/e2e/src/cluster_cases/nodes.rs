//! Nodes.

use serde_json::{Value, json};

use super::{CASE, Names};
use crate::rng::Rng;

/// Taint keys, which tolerations name too.
pub(super) const TAINTS: [&str; 2] = ["a", "b"];
/// Keys that tolerations name.
pub(super) const TOLERABLE: [&str; 6] =
    [TAINTS[0], TAINTS[0], TAINTS[1], "node.kubernetes.io/unschedulable", NOT_READY, OUT_OF_SERVICE];
const NOT_READY: &str = "node.kubernetes.io/not-ready";
/// What the kubelet must be able to do for pods with a rule to restart all of their containers.
const RESTARTS_ALL: &str = "RestartAllContainersOnContainerExits";
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

pub(super) fn node(rng: &mut Rng, names: &Names, index: i64) -> Value {
    let name = names.object(&format!("n{index}"));
    let mut labels = json!({CASE: names.case, names.key("host"): name});
    if rng.percent(90) {
        labels["generation"] = json!(rng.pick(&["80", "90", "x", "2", ""]));
    }
    if rng.percent(88) {
        labels[names.key("zone")] = json!(rng.pick(&["z1", "z2", "z3"]));
    }
    if rng.percent(60) {
        labels[names.key("rack")] = json!(rng.pick(&["r1", "r2"]));
    }
    let (allocatable, capacity) = offered(rng);
    let mut spec = json!({});
    let mut ready = "True";
    if rng.percent(6) {
        // As the node controller marks it, in whole or in part.
        ready = rng.pick(&["False", "Unknown", "True"]);
        let effects = rng.pick(&[&["NoSchedule", "NoExecute"][..], &["NoExecute"], &["NoSchedule"], &[]]);
        spec["taints"] = effects.iter().map(|effect| json!({"key": NOT_READY, "effect": effect})).collect();
    } else if rng.percent(20) {
        let count = rng.pick(&[1, 1, 1, 2]);
        spec["taints"] = (0..count).map(|index| taint(rng, TAINTS[index])).collect();
    }
    if rng.percent(7) {
        spec["unschedulable"] = json!(true);
    }
    let features = if rng.percent(50) { json!([RESTARTS_ALL]) } else { json!([]) };
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}, "spec": spec,
        "status": {
            "allocatable": allocatable, "capacity": capacity, "declaredFeatures": features,
            "conditions": [{"type": "Ready", "status": ready, "reason": "Kubelet", "message": "as it is"}],
        },
    })
}

fn taint(rng: &mut Rng, key: &str) -> Value {
    let effect = rng.pick(&["NoSchedule", "NoExecute", "PreferNoSchedule"]);
    if key == TAINTS[1] && rng.percent(50) {
        return json!({"key": OUT_OF_SERVICE, "value": "nodeshutdown", "effect": effect});
    }
    let mut taint = json!({"key": key, "effect": effect});
    if rng.percent(80) {
        taint["value"] = json!(rng.pick(&["1", "2", ""]));
    }
    taint
}

/// What pods may use, and what there is.
fn offered(rng: &mut Rng) -> (Value, Value) {
    let mut offered = json!({
        "cpu": rng.pick(&["4", "3900m", "6500m", "16"]),
        "memory": rng.pick(&["8Gi", "5G", "6442450945"]),
        "pods": rng.pick(&["110", "110", "110", "4"]),
        "nvidia.com/gpu": rng.pick(&["0", "2", "3", "4", "4"]),
        "nvidia.com/mig-1g.10gb": rng.pick(&["0", "2", "4"]),
        "ephemeral-storage": rng.pick(&["10Gi", "100Gi"]),
        "hugepages-2Mi": rng.pick(&["0", "512Mi"]),
    });
    if rng.percent(12) {
        let name = rng.pick(&["nvidia.com/gpu", "ephemeral-storage", "hugepages-2Mi", "memory", "cpu", "pods"]);
        match offered.as_object_mut() {
            // What is not named is not there.
            Some(all) if rng.percent(50) => drop(all.remove(name)),
            _ => offered[name] = json!("0"),
        }
    }
    let mut capacity = offered.clone();
    if rng.percent(10) {
        // Some are unhealthy.
        capacity["nvidia.com/gpu"] = json!("8");
    }
    (offered, capacity)
}
