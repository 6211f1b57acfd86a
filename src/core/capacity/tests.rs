//! Situations by builder functions, and the answer that each must get.

mod admission;
mod between;
mod devices;
mod flawed;
mod gpus;
mod kept;
mod lifting;
mod limits;
mod properties;
mod queue;
mod replica;
mod requests;
mod trust;
mod waiting;

use serde_json::{Value, json};

use super::{Answer, Inventory, Template};
use crate::{
    cluster::View,
    object::{Node, Pod, PodTemplate},
    policy::Policy,
};

/// A ready node with 64 CPUs, 512 GiB, 110 pods and that many GPUs.
pub(super) fn mk_node(name: &str, gpus: u32) -> Node {
    let resources = json!({"cpu": "64", "memory": "512Gi", "pods": "110", "nvidia.com/gpu": gpus.to_string()});
    from(json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {"allocatable": resources, "conditions": [{"type": "Ready", "status": "True"}]},
    }))
}

/// A running pod on a node.
pub(super) fn mk_pod(name: &str, node: &str, gpus: u32) -> Pod {
    from(json!({
        "metadata": {"name": name, "namespace": "ml", "labels": {"app": name}},
        "spec": {"nodeName": node, "priority": 0, "containers": [container(gpus)]},
        "status": {"phase": "Running"},
    }))
}

fn container(gpus: u32) -> Value {
    json!({"name": "main", "resources": {
        "requests": {"cpu": "1", "memory": "1Gi"},
        "limits": {"nvidia.com/gpu": gpus.to_string()},
    }})
}

/// A template that wants GPUs, one CPU and 1 GiB, with further fields of its specification.
pub(super) fn mk_template(gpus: u32, more: Value) -> PodTemplate {
    let mut spec = json!({"containers": [container(gpus)]});
    if let (Value::Object(spec), Value::Object(more)) = (&mut spec, more) {
        spec.extend(more);
    }
    from(json!({"metadata": {"labels": {"app": "llm"}}, "spec": spec}))
}

pub(super) fn mk_view(nodes: impl IntoIterator<Item = Node>, pods: impl IntoIterator<Item = Pod>) -> View {
    View {
        nodes: nodes.into_iter().map(|node| (node.metadata.name.clone(), node)).collect(),
        pods: pods.into_iter().map(|pod| (pod.metadata.key(), pod)).collect(),
        ..View::default()
    }
}

pub(super) fn answer(view: &View, template: &PodTemplate) -> Answer {
    Inventory::of(view, &Policy::default()).fits(&Template::of(template, "ml", view))
}

pub(super) fn from<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}
