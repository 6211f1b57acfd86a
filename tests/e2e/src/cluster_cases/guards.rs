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
    if rng.percent(30) {
        items.push(json!({"type": "PersistentVolumeClaim", rng.pick(&["min", "max"]): {"storage": "1500Mi"}}));
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
            ("requests.nvidia.com/mig-1g.10gb", &["0", "3"]),
            ("requests.cpu", &["2500m", "6"]),
            ("cpu", &["3", "5100m"]),
            ("requests.memory", &["4Gi", "5G"]),
            ("memory", &["3Gi"]),
            ("limits.cpu", &["12", "30"]),
            ("limits.memory", &["9Gi", "20Gi"]),
            ("requests.ephemeral-storage", &["10Gi"]),
            ("requests.hugepages-2Mi", &["300Mi"]),
            // Nothing that these pods bring about.
            ("count/configmaps", &["1"]),
            ("services.loadbalancers", &["0"]),
        ]);
        hard.insert(name.to_owned(), json!(rng.pick(amounts)));
    }
    let mut quota = json!({"hard": hard});
    match rng.range(0, 11) {
        0 => quota["scopes"] = json!(["NotTerminating"]),
        1 | 2 => quota["scopes"] = json!(["Terminating"]),
        3 | 4 => scope(&mut quota, &by_priority(rng)),
        5 => scope(&mut quota, &json!({"scopeName": "NotBestEffort", "operator": "Exists"})),
        6 => scope(&mut quota, &json!({"scopeName": "CrossNamespacePodAffinity", "operator": "Exists"})),
        7 => {
            // Such a quota may count nothing else.
            quota["hard"] = json!({"pods": rng.pick(&["0", "3"])});
            quota["scopes"] = json!(["BestEffort"]);
        }
        _ => {}
    }
    quota
}

fn scope(quota: &mut Value, scope: &Value) {
    // Those counts are of no pods and cannot be scoped.
    if let Some(hard) = quota["hard"].as_object_mut() {
        hard.retain(|name, _| !matches!(name.as_str(), "count/configmaps" | "services.loadbalancers"));
        hard.entry("pods").or_insert(json!("4"));
    }
    quota["scopeSelector"] = json!({"matchExpressions": [scope]});
}

fn by_priority(rng: &mut Rng) -> Value {
    let operator = rng.pick(&["In", "In", "NotIn", "Exists", "DoesNotExist"]);
    let mut scope = json!({"scopeName": "PriorityClass", "operator": operator});
    if operator.ends_with("In") {
        scope["values"] = json!([rng.pick(&PRIORITIES).0, rng.pick(&["evicting", "none"])]);
    }
    scope
}
