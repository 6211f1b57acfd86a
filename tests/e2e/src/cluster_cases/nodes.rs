//! Nodes, and the pods that run on them.

use serde_json::{Value, json};

use super::{CASE, Names, required};
use crate::rng::Rng;

/// Taint keys, which tolerations name too.
pub(super) const TAINTS: [&str; 2] = ["a", "b"];

pub(super) fn node(rng: &mut Rng, names: &Names, index: i64) -> Value {
    let name = names.object(&format!("n{index}"));
    let mut labels = json!({CASE: names.case, names.key("host"): name, "generation": rng.pick(&["80", "90", "x"])});
    if rng.percent(88) {
        labels[names.key("zone")] = json!(rng.pick(&["z1", "z2", "z3"]));
    }
    let gpus = rng.pick(&[0, 2, 3, 4, 4]);
    let offered = json!({
        "cpu": rng.pick(&["4", "3900m", "6500m", "16"]),
        "memory": rng.pick(&["8Gi", "5G", "6442450945"]),
        "pods": rng.pick(&["110", "110", "110", "4"]),
        "nvidia.com/gpu": gpus.to_string(),
    });
    let mut spec = json!({});
    if rng.percent(20) {
        let effect = rng.pick(&["NoSchedule", "NoExecute", "PreferNoSchedule"]);
        spec["taints"] = json!([{"key": rng.pick(&TAINTS), "value": rng.pick(&["1", "2", ""]), "effect": effect}]);
    }
    if rng.percent(7) {
        spec["unschedulable"] = json!(true);
    }
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}, "spec": spec,
        "status": {
            "allocatable": offered, "capacity": offered,
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "ready"}],
        },
    })
}

pub(super) fn resident(rng: &mut Rng, names: &Names, index: i64, nodes: i64) -> Value {
    let node = names.object(&format!("n{}", rng.range(0, nodes - 1)));
    let mut container = json!({"name": "main", "image": "none", "resources": {
        "requests": {"cpu": rng.pick(&["100m", "1", "0"]), "memory": rng.pick(&["1Gi", "500M"])},
        "limits": {"nvidia.com/gpu": rng.pick(&["0", "0", "1"])},
    }});
    if rng.percent(10) {
        container["ports"] = json!([{"containerPort": 80, "hostPort": 80}]);
    }
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": names.object(&format!("p{index}")), "namespace": "default", "labels": names.labels(rng)},
        "spec": {
            "nodeName": node, "containers": [container], "terminationGracePeriodSeconds": 0,
            "tolerations": [{"operator": "Exists"}],
        },
    });
    if rng.percent(20) {
        pod["spec"]["affinity"] = json!({"podAntiAffinity": required(&[names.affinity_term(rng)])});
    }
    if rng.percent(12) {
        // Deleted once it exists, it is terminating for as long as the finalizer stays.
        pod["metadata"]["finalizers"] = json!(["plimsoll.test/hold"]);
    }
    pod
}
