//! Devices of a driver in place of what device plugins announce.

use std::collections::HashMap;

use plimsoll_core::{
    cluster::{Change, Delta, DeviceChange, View},
    object::PodTemplate,
};
use serde_json::{Value, from_value, json};

const DRIVER: &str = "gpu.nvidia.com";
const GPU: &str = "nvidia.com/gpu";
const GPUS: usize = 8;
/// As many as a node has pods without a GPU, and some more.
const NETWORKS: usize = 32;

/// Turns the GPUs of a view into devices, and gives every pod a claim: for its GPUs, or for a network device.
pub(super) fn claim(view: &mut View) {
    for kind in ["ResourceSlice", "ResourceClaim", "ResourceClaimTemplate"] {
        view.devices.know(kind);
    }
    for (name, resource) in [("gpu", Some(GPU)), ("network", None)] {
        let expression = format!("device.driver == '{DRIVER}' && device.attributes['{DRIVER}'].type == '{name}'");
        let spec = json!({"selectors": [{"cel": {"expression": expression}}], "extendedResourceName": resource});
        let class = from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap();
        view.apply(Change::Device(DeviceChange::Class(Delta::Applied(class))));
    }
    let request = json!({"name": "r", "exactly": {"deviceClassName": "network"}});
    let spec = json!({"spec": {"devices": {"requests": [request]}}});
    let template = from_value(json!({"metadata": {"namespace": "ml", "name": "network"}, "spec": spec})).unwrap();
    view.apply(Change::Device(DeviceChange::ClaimTemplate(Delta::Applied(template))));
    let nodes: Vec<String> = view.nodes.keys().cloned().collect();
    let slices = nodes.iter().map(|node| from_value(slice(node)).unwrap()).collect();
    view.apply(Change::Device(DeviceChange::Slice(Delta::Replaced(slices))));
    for node in view.nodes.values_mut() {
        node.status.allocatable.remove(GPU);
    }
    let asked = json!([{"name": "network", "resourceClaimTemplateName": "network"}]);
    let asked: Vec<Value> = from_value(asked).unwrap();
    let templates = view.workloads.values_mut().filter_map(|target| target.template.as_mut());
    for template in templates.filter(|template| gpus(template) == 0) {
        template.spec.resource_claims.clone_from(&asked);
    }
    let mut used: HashMap<(String, &str), usize> = HashMap::new();
    let mut claims = Vec::new();
    for pod in view.pods.values() {
        let mut template = PodTemplate::default();
        template.spec.containers.clone_from(&pod.spec.containers);
        let (kind, count, most) = match gpus(&template) {
            0 => ("network", 1, NETWORKS),
            count => ("gpu", count, GPUS),
        };
        let first = used.entry((pod.node_name.to_string(), kind)).or_default();
        let devices = (*first..*first + count).filter(|index| *index < most);
        let results: Vec<_> = devices
            .map(|index| json!({"driver": DRIVER, "pool": pod.node_name.as_str(), "device": format!("{kind}-{index}")}))
            .collect();
        *first += count;
        let users = json!([{"resource": "pods", "name": pod.metadata.name}]);
        let status = json!({"allocation": {"devices": {"results": results}}, "reservedFor": users});
        let metadata = json!({"namespace": "ml", "name": pod.metadata.name});
        claims.push(from_value(json!({"metadata": metadata, "status": status})).unwrap());
    }
    view.apply(Change::Device(DeviceChange::Claim(Delta::Replaced(claims))));
}

fn gpus(template: &PodTemplate) -> usize {
    let requests = template.spec.containers.iter().filter_map(|container| container.resources.requests.get(GPU));
    usize::try_from(requests.map(|amount| amount.units()).sum::<i64>()).unwrap()
}

fn slice(node: &str) -> Value {
    let device = |kind: &'static str| move |index| json!({"name": format!("{kind}-{index}"), "attributes": {"type": {"string": kind}}});
    let devices: Vec<_> = (0..GPUS).map(device("gpu")).chain((0..NETWORKS).map(device("network"))).collect();
    let pool = json!({"name": node, "generation": 1, "resourceSliceCount": 1});
    json!({
        "metadata": {"name": node},
        "spec": {"driver": DRIVER, "nodeName": node, "pool": pool, "devices": devices},
    })
}
