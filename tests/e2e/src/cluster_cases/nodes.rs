//! Nodes.

use serde_json::{Value, json};

use super::{CASE, Names};
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
        "nvidia.com/mig-1g.10gb": rng.pick(&["0", "2", "4"]),
        "ephemeral-storage": rng.pick(&["10Gi", "100Gi"]),
        "hugepages-2Mi": rng.pick(&["0", "512Mi"]),
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
