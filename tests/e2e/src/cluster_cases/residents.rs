//! Pods that have a node.

use serde_json::{Value, json};

use super::{Names, ports, required};
use crate::rng::Rng;

pub(super) fn pod(rng: &mut Rng, names: &Names, index: i64, nodes: i64) -> Value {
    let node = names.object(&format!("n{}", rng.range(0, nodes - 1)));
    let mut container = json!({"name": "main", "image": "none", "resources": {
        "requests": {"cpu": rng.pick(&["100m", "1", "0"]), "memory": rng.pick(&["1Gi", "500M"])},
        "limits": {rng.pick(&["nvidia.com/gpu", "nvidia.com/gpu", "nvidia.com/mig-1g.10gb"]): rng.pick(&["0", "0", "1"])},
    }});
    if rng.percent(12) {
        container["ports"] = ports(rng);
    }
    let namespace = if rng.percent(20) { super::OTHER } else { &names.namespace };
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": names.object(&format!("p{index}")), "namespace": namespace, "labels": names.labels(rng)},
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
    match rng.range(0, 9) {
        0 => pod["status"] = json!({"phase": rng.pick(&["Succeeded", "Failed"])}),
        1 => pod["status"] = resizing(rng),
        _ => {}
    }
    pod
}

/// A status as the kubelet writes it while it gives a pod more or less than before.
fn resizing(rng: &mut Rng) -> Value {
    let (actual, allocated) = (rng.pick(&["50m", "2", "3500m"]), rng.pick(&["50m", "2", "3"]));
    let mut status = json!({"phase": "Running", "containerStatuses": [{
        "name": "main", "image": "none", "imageID": "", "ready": true, "restartCount": 0,
        "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
        "resources": {"requests": {"cpu": actual, "memory": "1Gi"}},
        "allocatedResources": {"cpu": allocated, "memory": rng.pick(&["1Gi", "3Gi"])},
    }]});
    if rng.percent(40) {
        let reason = rng.pick(&["Infeasible", "Deferred"]);
        status["conditions"] = json!([{"type": "PodResizePending", "status": "True", "reason": reason}]);
    }
    status
}
