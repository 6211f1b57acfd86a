//! What is to be placed.

use serde_json::{Map, Value, json};

use super::{CASE, Names, PRIORITIES, RUNTIMES, nodes::TOLERABLE, ports, required};
use crate::rng::Rng;

pub(super) fn pod(rng: &mut Rng, names: &Names, nodes: i64) -> Value {
    let mut spec = json!({
        "containers": [container(rng, "main")],
        "nodeSelector": {CASE: names.case},
        "terminationGracePeriodSeconds": 0,
    });
    if rng.percent(12) {
        spec["containers"][0]["ports"] = ports(rng);
    }
    if rng.percent(12) {
        let cpu = rng.pick(&["250m", "1", "0"]);
        let beside = json!({"name": "beside", "image": "none", "resources": {"requests": {"cpu": cpu}}});
        spec["containers"].as_array_mut().into_iter().for_each(|all| all.push(beside.clone()));
    }
    if rng.percent(25) {
        let starts = rng.range(1, 3);
        spec["initContainers"] = (0..starts).map(|index| init(rng, index)).collect();
    }
    if rng.percent(10) {
        spec["nodeSelector"][names.key("zone")] = json!(rng.pick(&["z1", "z2"]));
    }
    if rng.percent(4) {
        let rule = json!({"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [3]}});
        spec["containers"][0]["restartPolicy"] = json!("Never");
        spec["containers"][0]["restartPolicyRules"] = json!([rule]);
    }
    surroundings(rng, &mut spec);
    let tolerations = rng.range(0, 2);
    spec["tolerations"] = (0..tolerations).map(|_| toleration(rng)).collect();
    spec["topologySpreadConstraints"] = spread(rng, names);
    spec["affinity"] = affinity(rng, names, nodes);
    if rng.percent(50) {
        simplify(rng, &mut spec);
    }
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": names.object("replica"), "namespace": names.namespace, "labels": names.labels(rng)},
        "spec": spec,
    })
}

/// Leaves few constraints, so that what is left decides about many replicas.
pub(super) fn simplify(rng: &mut Rng, spec: &mut Value) {
    let pointers = ["/affinity/nodeAffinity", "/affinity/podAffinity", "/affinity/podAntiAffinity"];
    let fields = ["/topologySpreadConstraints", "/initContainers", "/resources", "/runtimeClassName"];
    for pointer in pointers.into_iter().chain(fields).chain(["/containers/0/ports", "/hostNetwork"]) {
        if let Some(value) = spec.pointer_mut(pointer).filter(|_| rng.percent(75)) {
            *value = Value::Null;
        }
    }
    if rng.percent(60) {
        spec["tolerations"] = json!([{"operator": "Exists"}]);
    }
}

/// What is said of the pod as a whole.
fn surroundings(rng: &mut Rng, spec: &mut Value) {
    if rng.percent(15) {
        spec["priorityClassName"] = json!(rng.pick(&PRIORITIES).0);
    }
    if rng.percent(8) {
        spec["runtimeClassName"] = json!(rng.pick(&RUNTIMES));
    }
    if rng.percent(15) {
        spec["resources"] = pod_level(rng);
    }
    if rng.percent(10) {
        spec["activeDeadlineSeconds"] = json!(3600);
    }
    if rng.percent(5) {
        // Every container port is then one of the node.
        spec["hostNetwork"] = json!(true);
        spec["containers"][0]["ports"] = json!([{"containerPort": rng.pick(&[80, 81])}]);
    }
    if rng.percent(2) {
        spec["schedulingGates"] = json!([{"name": "plimsoll.test/gate"}]);
    }
}

/// Stands for what containers ask for, as far as it is named.
fn pod_level(rng: &mut Rng) -> Value {
    match rng.range(0, 3) {
        0 => json!({"requests": {"cpu": rng.pick(&["2", "3300m"]), "memory": "2Gi"}, "limits": {"cpu": "4"}}),
        1 => json!({"requests": {"memory": "3Gi"}}),
        2 => json!({"limits": {"cpu": "4", "memory": "3Gi"}}),
        _ => json!({"requests": {"cpu": "4"}, "limits": {"memory": "4Gi"}}),
    }
}

/// Asks for a GPU or a part of one most often.
fn container(rng: &mut Rng, name: &str) -> Value {
    let mut requests = Map::new();
    let mut limits = Map::new();
    let kind = rng.pick(&["nvidia.com/gpu", "nvidia.com/gpu", "nvidia.com/gpu", "nvidia.com/mig-1g.10gb"]);
    let has_gpus = rng.percent(90);
    if has_gpus {
        limits.insert(kind.into(), json!(rng.pick(&["1", "1", "1", "1", "2"])));
    }
    if rng.percent(5) {
        // No node offers any. Asking for none of it does no harm.
        limits.insert("plimsoll.test/nowhere".into(), json!(rng.pick(&["0", "0", "1"])));
    }
    if has_gpus || rng.percent(90) {
        requests.insert("cpu".into(), json!(rng.pick(&["1", "500m", "1500m", "333m", "0.1", "1e0", "0"])));
    }
    if rng.percent(60) {
        requests.insert("memory".into(), json!(rng.pick(&["1Gi", "500M", "1073741823", "1.5Gi", "123456789"])));
    }
    if rng.percent(8) {
        requests.insert("ephemeral-storage".into(), json!(rng.pick(&["3Gi", "4G"])));
    }
    if rng.percent(8) {
        // Refused unless both are equal.
        limits.insert("hugepages-2Mi".into(), json!("256Mi"));
        requests.insert("hugepages-2Mi".into(), json!("256Mi"));
    }
    json!({"name": name, "image": "none", "resources": {"requests": requests, "limits": limits}})
}

fn init(rng: &mut Rng, index: i64) -> Value {
    let cpu = rng.pick(&["500m", "1", "2", "3"]);
    let mut container = json!({"name": format!("i{index}"), "image": "none", "resources": {"requests": {"cpu": cpu}}});
    if rng.percent(50) {
        container["restartPolicy"] = json!("Always");
    }
    if rng.percent(20) {
        container["resources"]["limits"] = json!({"nvidia.com/gpu": "1"});
    }
    if rng.percent(15) {
        container["ports"] = ports(rng);
    }
    container
}

fn toleration(rng: &mut Rng) -> Value {
    if rng.percent(10) {
        return json!({"operator": "Exists"});
    }
    let operator = rng.pick(&["Equal", "Exists", ""]);
    let effect = rng.pick(&["", "NoSchedule", "NoExecute", "PreferNoSchedule"]);
    let mut toleration = json!({"key": rng.pick(&TOLERABLE), "effect": effect});
    if !operator.is_empty() {
        toleration["operator"] = json!(operator);
    }
    if operator != "Exists" {
        toleration["value"] = json!(rng.pick(&["1", "2", ""]));
    }
    if effect == "NoExecute" && rng.percent(50) {
        toleration["tolerationSeconds"] = json!(rng.pick(&[0, 300]));
    }
    toleration
}

fn spread(rng: &mut Rng, names: &Names) -> Value {
    let mut constraints: Vec<Value> = Vec::new();
    // One key may only be constrained once.
    let keys: &[&str] = rng.pick(&[
        &[][..],
        &[],
        &[],
        &["zone"],
        &["host"],
        &["rack"],
        &["zone", "host"],
        &["rack", "zone"],
        &["host", "rack", "zone"],
    ]);
    for key in keys {
        // What is only a wish decides nothing.
        let demand = rng.pick(&["DoNotSchedule", "DoNotSchedule", "DoNotSchedule", "DoNotSchedule", "ScheduleAnyway"]);
        let mut constraint = json!({
            "topologyKey": names.key(key), "maxSkew": rng.pick(&[1, 1, 2, 3]), "whenUnsatisfiable": demand,
            "labelSelector": names.selector(rng),
        });
        if rng.percent(20) && demand == "DoNotSchedule" {
            constraint["minDomains"] = json!(rng.range(1, 4));
        }
        if rng.percent(30) {
            constraint["nodeTaintsPolicy"] = json!(rng.pick(&["Honor", "Honor", "Ignore"]));
        }
        if rng.percent(20) {
            constraint["nodeAffinityPolicy"] = json!(rng.pick(&["Ignore", "Ignore", "Honor"]));
        }
        if rng.percent(20)
            && let Some(key) = names.label_key(rng, &constraint["labelSelector"])
        {
            constraint["matchLabelKeys"] = json!([key]);
        }
        constraints.push(constraint);
    }
    json!(constraints)
}

fn affinity(rng: &mut Rng, names: &Names, nodes: i64) -> Value {
    let mut affinity = Map::new();
    if rng.percent(20) {
        let terms: Vec<_> = (0..rng.range(1, 2)).map(|_| node_term(rng, names, nodes)).collect();
        let selector = json!({"nodeSelectorTerms": terms});
        affinity.insert("nodeAffinity".into(), json!({"requiredDuringSchedulingIgnoredDuringExecution": selector}));
    }
    let terms = |rng: &mut Rng, counts: &[i64]| {
        let count = rng.pick(counts);
        let mut terms = required(&(0..count).map(|_| names.affinity_term(rng)).collect::<Vec<_>>());
        if rng.percent(5) {
            let wish = json!([{"weight": 1, "podAffinityTerm": names.affinity_term(rng)}]);
            terms["preferredDuringSchedulingIgnoredDuringExecution"] = wish;
        }
        terms
    };
    affinity.insert("podAffinity".into(), terms(rng, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2]));
    affinity.insert("podAntiAffinity".into(), terms(rng, &[0, 0, 0, 0, 1, 2]));
    affinity.retain(|_, value| !value.is_null());
    Value::Object(affinity)
}

fn node_term(rng: &mut Rng, names: &Names, nodes: i64) -> Value {
    let mut term = Map::new();
    if rng.percent(80) {
        let count = rng.range(1, 2);
        term.insert("matchExpressions".into(), (0..count).map(|_| expression(rng, names)).collect());
    }
    if rng.percent(45) {
        let node = names.object(&format!("n{}", rng.range(0, nodes - 1)));
        let field = json!({"key": "metadata.name", "operator": rng.pick(&["In", "NotIn"]), "values": [node]});
        term.insert("matchFields".into(), json!([field]));
    }
    Value::Object(term)
}

fn expression(rng: &mut Rng, names: &Names) -> Value {
    let zone = names.key(rng.pick(&["zone", "zone", "rack"]));
    match rng.range(0, 6) {
        0 => json!({"key": zone, "operator": "In", "values": ["z1", rng.pick(&["z2", "z3", "r1"])]}),
        1 => json!({"key": zone, "operator": "NotIn", "values": [rng.pick(&["z1", "z2", "r1"])]}),
        2 => json!({"key": zone, "operator": "Exists"}),
        3 => json!({"key": zone, "operator": "DoesNotExist"}),
        4 => json!({"key": "generation", "operator": "Gt", "values": [rng.pick(&["80", "85", "1"])]}),
        5 => json!({"key": "generation", "operator": "Lt", "values": [rng.pick(&["85", "90"])]}),
        _ => json!({"key": "generation", "operator": "NotIn", "values": ["80"]}),
    }
}
