//! Pods that have a node.

use serde_json::{Value, json};

use super::{CASE, Names, PRIORITIES, ports, required};
use crate::rng::Rng;

pub(super) fn pod(rng: &mut Rng, names: &Names, index: i64, nodes: i64) -> Value {
    // Now and then on a node that is gone.
    let last = if rng.percent(4) { nodes } else { nodes - 1 };
    let node = names.object(&format!("n{}", rng.range(0, last)));
    let mut container = json!({"name": "main", "image": "none", "resources": {
        "requests": {"cpu": rng.pick(&["100m", "1", "0"]), "memory": rng.pick(&["1Gi", "500M"])},
        "limits": {rng.pick(&["nvidia.com/gpu", "nvidia.com/gpu", "nvidia.com/mig-1g.10gb"]): rng.pick(&["0", "0", "1"])},
    }});
    if rng.percent(12) {
        container["ports"] = ports(rng);
    }
    if rng.percent(6) {
        // Of the lowest class, which holds no more than its place.
        container["resources"] = json!({});
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
    more(rng, &mut pod["spec"]);
    let term = |rng: &mut Rng| required(&[names.affinity_term(rng)]);
    match rng.range(0, 9) {
        0 | 1 => pod["spec"]["affinity"] = json!({"podAntiAffinity": term(rng)}),
        // Only those that wait are asked whom they want beside them.
        2 => pod["spec"]["affinity"] = json!({"podAffinity": term(rng)}),
        _ => {}
    }
    if rng.percent(12) {
        // Deleted once it exists, it is terminating for as long as the finalizer stays.
        pod["metadata"]["finalizers"] = json!(["plimsoll.test/hold"]);
    }
    match rng.range(0, 9) {
        0 => pod["status"] = json!({"phase": rng.pick(&["Succeeded", "Failed"])}),
        1 => pod["status"] = resizing(rng),
        2 => wait(rng, names, &mut pod),
        _ => {}
    }
    pod
}

/// What decides how much it holds, and who may evict it.
fn more(rng: &mut Rng, spec: &mut Value) {
    if rng.percent(12) {
        let mut first = json!({"name": "first", "image": "none", "resources": {
            "requests": {"cpu": rng.pick(&["300m", "2"])}, "limits": {"nvidia.com/gpu": rng.pick(&["0", "1"])},
        }});
        if rng.percent(60) {
            first["restartPolicy"] = json!("Always");
        }
        spec["initContainers"] = json!([first]);
    }
    if rng.percent(8) {
        spec["resources"] = json!({"requests": {"cpu": "1500m", "memory": "2Gi"}});
    }
    if rng.percent(8) {
        spec["runtimeClassName"] = json!(super::RUNTIMES[0]);
    }
    if rng.percent(15) {
        spec["priorityClassName"] = json!(rng.pick(&PRIORITIES).0);
    }
}

/// Takes its node from a pod: it waits for a gate to open, with room promised to it or not, or for a node that is not
/// there.
fn wait(rng: &mut Rng, names: &Names, pod: &mut Value) {
    let node = pod["spec"]["nodeName"].take();
    pod["spec"].as_object_mut().into_iter().for_each(|spec| drop(spec.remove("nodeName")));
    pod["metadata"].as_object_mut().into_iter().for_each(|metadata| drop(metadata.remove("finalizers")));
    if rng.percent(30) {
        pod["spec"]["nodeSelector"] = json!({CASE: "nowhere"});
        return;
    }
    pod["spec"]["schedulingGates"] = json!([{"name": "plimsoll.test/gate"}]);
    pod["spec"]["nodeSelector"] = json!({CASE: names.case});
    if rng.percent(50) {
        pod["status"] = json!({"nominatedNodeName": node});
    }
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
