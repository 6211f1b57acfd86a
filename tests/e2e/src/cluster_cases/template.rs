//! What is to be placed.

use serde_json::{Map, Value, json};

use super::{CASE, Names, PRIORITIES, RUNTIMES, nodes::TAINTS, ports, required};
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
    if rng.percent(25) {
        let starts = rng.range(1, 2);
        spec["initContainers"] = (0..starts).map(|index| init(rng, index)).collect();
    }
    if rng.percent(8) {
        spec["priorityClassName"] = json!(rng.pick(&PRIORITIES).0);
    }
    if rng.percent(8) {
        spec["runtimeClassName"] = json!(rng.pick(&RUNTIMES));
    }
    if rng.percent(12) {
        spec["resources"] = json!({"requests": {"cpu": "2", "memory": "2Gi"}, "limits": {"cpu": "3"}});
    }
    let tolerations = rng.range(0, 2);
    spec["tolerations"] = (0..tolerations).map(|_| toleration(rng)).collect();
    spec["topologySpreadConstraints"] = spread(rng, names);
    spec["affinity"] = affinity(rng, names, nodes);
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": names.object("replica"), "namespace": names.namespace, "labels": names.labels(rng)},
        "spec": spec,
    })
}

/// The template without one of its constraints, for each of them.
pub(super) fn parts(template: &Value) -> Vec<Value> {
    let all = [
        "/spec/initContainers/0",
        "/spec/tolerations/0",
        "/spec/tolerations/1",
        "/spec/topologySpreadConstraints/0",
        "/spec/topologySpreadConstraints/1",
        "/spec/affinity/nodeAffinity",
        "/spec/affinity/podAffinity",
        "/spec/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution/1",
        "/spec/affinity/podAntiAffinity",
        "/spec/volumes/0",
        "/spec/volumes/1",
        "/spec/resourceClaims/0",
        "/spec/resourceClaims/1",
        "/spec/resources",
        "/spec/priorityClassName",
        "/spec/runtimeClassName",
        "/spec/containers/0/ports",
        "/spec/containers/0/resources/requests/ephemeral-storage",
        "/spec/containers/0/resources/requests/cpu",
        "/spec/containers/0/resources/requests/memory",
    ];
    all.into_iter().filter_map(|pointer| without(template, pointer)).collect()
}

fn without(template: &Value, pointer: &str) -> Option<Value> {
    let mut template = template.clone();
    let (parent, last) = pointer.rsplit_once('/')?;
    let removed = match template.pointer_mut(parent)? {
        Value::Object(map) => map.remove(last).is_some_and(|value| !value.is_null()),
        Value::Array(items) => {
            let index = last.parse().ok().filter(|index| *index < items.len())?;
            items.remove(index);
            true
        }
        _ => false,
    };
    removed.then_some(template)
}

/// Asks for a GPU or a part of one at least, so that the nodes are full before the replicas run out.
fn container(rng: &mut Rng, name: &str) -> Value {
    let mut requests = Map::new();
    let kind = rng.pick(&["nvidia.com/gpu", "nvidia.com/gpu", "nvidia.com/gpu", "nvidia.com/mig-1g.10gb"]);
    let mut limits = json!({kind: rng.pick(&["1", "1", "1", "1", "2"])});
    requests.insert("cpu".into(), json!(rng.pick(&["1", "500m", "1500m", "333m", "0.1", "1e0"])));
    if rng.percent(60) {
        requests.insert("memory".into(), json!(rng.pick(&["1Gi", "500M", "1073741823", "1.5Gi", "123456789"])));
    }
    if rng.percent(8) {
        requests.insert("ephemeral-storage".into(), json!(rng.pick(&["3Gi", "4G"])));
    }
    if rng.percent(8) {
        // Refused unless both are equal.
        limits["hugepages-2Mi"] = json!("256Mi");
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
    container
}

fn toleration(rng: &mut Rng) -> Value {
    let operator = rng.pick(&["Equal", "Exists", ""]);
    let key = rng.pick(&[TAINTS[0], TAINTS[1], "node.kubernetes.io/unschedulable"]);
    let mut toleration = json!({"key": key, "effect": rng.pick(&["", "NoSchedule", "NoExecute"])});
    if !operator.is_empty() {
        toleration["operator"] = json!(operator);
    }
    if operator != "Exists" {
        toleration["value"] = json!(rng.pick(&["1", "2", ""]));
    }
    toleration
}

fn spread(rng: &mut Rng, names: &Names) -> Value {
    let mut constraints: Vec<Value> = Vec::new();
    for _ in 0..rng.pick(&[0, 0, 0, 1, 1, 2]) {
        let key = names.topology(rng);
        // One key may only be constrained once.
        if constraints.iter().any(|known| known["topologyKey"] == *key) {
            continue;
        }
        let mut constraint = json!({
            "topologyKey": key, "maxSkew": rng.range(1, 2), "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": names.selector(rng),
        });
        if rng.percent(20) {
            constraint["minDomains"] = json!(rng.range(1, 4));
        }
        if rng.percent(30) {
            constraint["nodeTaintsPolicy"] = json!("Honor");
        }
        if rng.percent(20) {
            constraint["nodeAffinityPolicy"] = json!("Ignore");
        }
        if rng.percent(15) && constraint["labelSelector"].is_object() {
            constraint["matchLabelKeys"] = json!(["tier"]);
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
        required(&(0..count).map(|_| names.affinity_term(rng)).collect::<Vec<_>>())
    };
    affinity.insert("podAffinity".into(), terms(rng, &[0, 0, 0, 0, 0, 1]));
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
    if rng.percent(30) {
        let node = names.object(&format!("n{}", rng.range(0, nodes - 1)));
        let field = json!({"key": "metadata.name", "operator": rng.pick(&["In", "NotIn"]), "values": [node]});
        term.insert("matchFields".into(), json!([field]));
    }
    Value::Object(term)
}

fn expression(rng: &mut Rng, names: &Names) -> Value {
    let zone = names.key("zone");
    match rng.range(0, 5) {
        0 => json!({"key": zone, "operator": "In", "values": ["z1", rng.pick(&["z2", "z3"])]}),
        1 => json!({"key": zone, "operator": "NotIn", "values": [rng.pick(&["z1", "z2"])]}),
        2 => json!({"key": zone, "operator": "Exists"}),
        3 => json!({"key": zone, "operator": "DoesNotExist"}),
        4 => json!({"key": "generation", "operator": "Gt", "values": [rng.pick(&["80", "85"])]}),
        _ => json!({"key": "generation", "operator": "Lt", "values": [rng.pick(&["85", "90"])]}),
    }
}
