//! What stands before the scheduler: LimitRanges complete and refuse pods, ResourceQuotas count them.

use serde_json::{Map, Value, json};

use super::{Names, PRIORITIES};
use crate::rng::Rng;

pub(super) fn some(rng: &mut Rng, names: &Names) -> Vec<Value> {
    let mut guards = Vec::new();
    if rng.percent(40) {
        guards.push(guard(names, "LimitRange", "range", &json!({"limits": limits(rng)})));
    }
    for index in 0..rng.range(i64::from(guards.is_empty()), 2) {
        guards.push(guard(names, "ResourceQuota", &format!("quota-{index}"), &quota(rng)));
    }
    guards
}

fn guard(names: &Names, kind: &str, name: &str, spec: &Value) -> Value {
    let metadata = json!({"name": name, "namespace": names.namespace});
    json!({"apiVersion": "v1", "kind": kind, "metadata": metadata, "spec": spec})
}

fn limits(rng: &mut Rng) -> Value {
    let mut item = json!({"type": "Container"});
    if rng.percent(60) {
        item["default"] = json!({"cpu": "4", "memory": rng.pick(&["4Gi", "3Gi"])});
    }
    if rng.percent(50) {
        item["defaultRequest"] = json!({"memory": rng.pick(&["512Mi", "2Gi"]), "cpu": "250m"});
    }
    if rng.percent(20) {
        item["max"] = json!({"cpu": rng.pick(&["4", "5"])});
    }
    if rng.percent(15) {
        item["min"] = json!({"cpu": rng.pick(&["100m", "400m"])});
    }
    if rng.percent(10) {
        item["maxLimitRequestRatio"] = json!({"cpu": rng.pick(&["4", "16"])});
    }
    let mut items = vec![item];
    if rng.percent(20) {
        items.push(json!({"type": "Pod", "max": {"cpu": rng.pick(&["6", "12"])}}));
    }
    json!(items)
}

fn quota(rng: &mut Rng) -> Value {
    let mut hard = Map::new();
    for _ in 0..rng.range(1, 2) {
        let (name, amounts): (&str, &[&str]) = rng.pick(&[
            ("pods", &["0", "2", "5"]),
            ("count/pods", &["3", "9"]),
            ("requests.nvidia.com/gpu", &["0", "2", "3", "7"]),
            ("requests.nvidia.com/gpu", &["1", "4"]),
            ("requests.cpu", &["2500m", "6"]),
            ("cpu", &["3", "5100m"]),
            ("requests.memory", &["4Gi", "5G"]),
            ("limits.cpu", &["12", "30"]),
            ("requests.ephemeral-storage", &["10Gi"]),
            ("requests.hugepages-2Mi", &["300Mi"]),
        ]);
        hard.insert(name.to_owned(), json!(rng.pick(amounts)));
    }
    let mut quota = json!({"hard": hard});
    match rng.range(0, 9) {
        0 => quota["scopes"] = json!(["NotTerminating"]),
        1 => quota["scopes"] = json!(["Terminating"]),
        2 => {
            let classes = json!([{"scopeName": "PriorityClass", "operator": "In", "values": [PRIORITIES[0].0]}]);
            quota["scopeSelector"] = json!({"matchExpressions": classes});
        }
        3 => {
            let some = json!([{"scopeName": "NotBestEffort", "operator": "Exists"}]);
            quota["scopeSelector"] = json!({"matchExpressions": some});
        }
        _ => {}
    }
    quota
}
