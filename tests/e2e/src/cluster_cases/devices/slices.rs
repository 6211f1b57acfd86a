//! ResourceSlices: at most four devices on a node, in pools of a node or of several.

use serde_json::{Value, json};

use super::{DRIVER, object};
use crate::{cluster_cases::Names, rng::Rng};

/// Most devices of a node.
const MOST: i64 = 4;

pub(super) fn some(rng: &mut Rng, names: &Names, nodes: &[Value]) -> Vec<Value> {
    let mut slices = Vec::new();
    let shared = rng.percent(15).then(|| names.object("pool"));
    let there = i64::try_from(nodes.len()).unwrap_or(1);
    for (index, node) in nodes.iter().enumerate() {
        let count = rng.pick(&[0, 2, 3, MOST, MOST]);
        let devices: Vec<_> = (0..count).map(|index| device(rng, index)).collect();
        let pool = |name: &str, generation: i64, count: i64| json!({"name": name, "generation": generation, "resourceSliceCount": count});
        let mut add = |name: &str, pool: Value, devices: &[Value]| {
            let spec =
                json!({"driver": DRIVER, "nodeName": node["metadata"]["name"], "pool": pool, "devices": devices});
            slices.push(object(names, "ResourceSlice", &format!("s{index}-{name}"), &spec));
        };
        let own = names.object(&format!("pool-{index}"));
        if let Some(shared) = &shared {
            // Names are unique in a pool, be the devices of other nodes.
            let devices: Vec<_> = devices.into_iter().map(|it| renamed(it, &format!("n{index}"))).collect();
            let count = if rng.percent(85) { there } else { there + 1 };
            add("of-all", pool(shared, rng.pick(&[1, 1, 1, 1, 1, 2]), count), &devices);
            continue;
        }
        let (front, back) = devices.split_at(devices.len() / 2);
        match rng.range(0, 9) {
            // A slice is missing.
            0 => add("a", pool(&own, 1, 2), &devices),
            // A newer generation has replaced more devices by fewer.
            1 => {
                add("b", pool(&own, 1, 1), &devices);
                add("a", pool(&own, 2, 1), front);
            }
            // A newer generation is not complete yet.
            2 => {
                add("b", pool(&own, 1, 1), &devices);
                add("a", pool(&own, 2, 2), front);
            }
            3 | 4 => {
                add("b", pool(&own, 1, 2), front);
                add("a", pool(&own, 1, 2), back);
            }
            5 => {
                add("a", pool(&own, 1, 1), front);
                add("b", pool(&format!("{own}-more"), 3, 1), back);
            }
            // Two devices of one name.
            6 if rng.percent(40) => {
                add("a", pool(&own, 1, 2), &devices);
                add("b", pool(&own, 1, 2), devices.get(..1).unwrap_or_default());
            }
            _ => add("a", pool(&own, 1, 1), &devices),
        }
    }
    slices
}

fn renamed(mut device: Value, prefix: &str) -> Value {
    device["name"] = json!(format!("{prefix}-{}", device["name"].as_str().unwrap_or_default()));
    device
}

fn device(rng: &mut Rng, index: i64) -> Value {
    let mut attributes = json!({
        "model": {"string": rng.pick(&["h100", "h100", "a100", "l4"])},
        "index": {"int": index},
        "numa": {"int": index / 2},
        "driverVersion": {"version": rng.pick(&["550.9.1", "550.12.0", "560.0.0-rc1"])},
        "other.test/rack": {"string": rng.pick(&["r1", "r2"])},
    });
    if rng.percent(30) {
        attributes["nvlink"] = json!({"bool": rng.percent(70)});
    }
    if rng.percent(2) {
        // A selector that reads it cannot be evaluated, there as here.
        attributes["model"] = json!({"int": 100});
    }
    let memory = rng.pick(&["80Gi", "80Gi", "40Gi", "24Gi"]);
    let mut device = json!({
        "name": format!("d{index}"), "attributes": attributes, "capacity": {"memory": {"value": memory}},
    });
    if rng.percent(12) {
        let effect = rng.pick(&["NoSchedule", "NoSchedule", "NoExecute", "None"]);
        device["taints"] =
            json!([{"key": rng.pick(&["sick", "odd"]), "value": rng.pick(&["1", ""]), "effect": effect}]);
    }
    device
}

/// Devices with the node and the pool that they are in: those that the newest slices of their pools name.
pub(super) fn placed(objects: &[Value]) -> Vec<Value> {
    let slices = || objects.iter().filter(|object| object["kind"] == "ResourceSlice").map(|slice| &slice["spec"]);
    let newest = |pool: &Value| {
        let same = slices().filter(|spec| spec["pool"]["name"] == pool["name"]);
        same.filter_map(|spec| spec["pool"]["generation"].as_i64()).max()
    };
    let current = slices().filter(|spec| spec["pool"]["generation"].as_i64() == newest(&spec["pool"]));
    let of_slice = |spec: &Value| {
        let place = json!({"node": spec["nodeName"], "pool": spec["pool"]["name"]});
        let devices = spec["devices"].as_array().cloned().unwrap_or_default();
        devices.into_iter().map(move |device| {
            let mut place = place.clone();
            place["name"] = device["name"].clone();
            place
        })
    };
    current.flat_map(of_slice).collect()
}
