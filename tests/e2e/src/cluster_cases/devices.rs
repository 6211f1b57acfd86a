//! Devices: slices of pools, some of them incomplete, replaced or ambiguous; classes and claims that select devices in
//! several words; claims that have been allocated; and pods that ask by claim, or by an extended resource.

use serde_json::{Map, Value, json};

use super::{CASE, Names};
use crate::rng::Rng;

mod claims;
mod slices;

/// Who publishes the devices.
const DRIVER: &str = "gpu.plimsoll.test";
const GROUP: &str = "resource.k8s.io/v1";

/// The devices of a case.
#[derive(Debug, Default)]
pub(super) struct Devices {
    /// ResourceSlices, DeviceClasses and ResourceClaimTemplates.
    pub(super) objects: Vec<Value>,
    /// ResourceClaims with their status, made when the pods are there.
    pub(super) claims: Vec<Value>,
}

/// Gives the nodes devices, lets some be in use, and lets the template ask for them.
pub(super) fn some(
    rng: &mut Rng,
    names: &Names,
    nodes: &mut [Value],
    pods: &mut Vec<Value>,
    pod: &mut Value,
) -> Devices {
    let mut devices = Devices::default();
    let resource = names.resource();
    for node in nodes.iter_mut() {
        // Absent, or offered by a device plugin, be it none.
        if let Some(amount) = rng.pick(&[None, None, None, Some("0"), Some("2")]) {
            node["status"]["allocatable"][&resource] = json!(amount);
            node["status"]["capacity"][&resource] = json!(amount);
        }
    }
    devices.objects.extend(slices::some(rng, names, nodes));
    let classes = classes(rng, names, &resource);
    devices.objects.extend(classes.iter().cloned());
    let classes: Vec<_> = classes.iter().filter_map(|class| class["metadata"]["name"].as_str()).collect();
    residents(rng, names, pods, &mut devices);
    ask(rng, names, &classes, pod, &mut devices);
    if rng.percent(60) {
        // Little else decides, so that most of the devices are allocated.
        for field in ["topologySpreadConstraints", "affinity", "volumes", "runtimeClassName"] {
            pod["spec"].as_object_mut().and_then(|spec| spec.remove(field));
        }
        pod["spec"]["tolerations"] = json!([{"operator": "Exists"}]);
    }
    devices
}

fn object(names: &Names, kind: &str, name: &str, spec: &Value) -> Value {
    let mut metadata = json!({"name": names.object(name), "labels": {CASE: names.case}});
    if kind.starts_with("ResourceClaim") {
        metadata["namespace"] = json!(names.namespace);
    }
    json!({"apiVersion": GROUP, "kind": kind, "metadata": metadata, "spec": spec})
}

fn classes(rng: &mut Rng, names: &Names, resource: &str) -> Vec<Value> {
    let class = |rng: &mut Rng, index: i64| {
        let count = rng.pick(&[1, 1, 2]);
        let selectors: Vec<_> = (0..count).map(|_| selector(rng)).collect();
        let mut spec = json!({"selectors": selectors});
        if index == 0 || rng.percent(15) {
            spec["extendedResourceName"] = json!(resource);
        }
        object(names, "DeviceClass", &format!("class-{index}"), &spec)
    };
    let count = rng.pick(&[1, 2, 2]);
    (0..count).map(|index| class(rng, index)).collect()
}

/// What a device must be.
fn selector(rng: &mut Rng) -> Value {
    let (of, size) = (format!("device.attributes['{DRIVER}']"), format!("device.capacity['{DRIVER}'].memory"));
    let words = [
        format!("device.driver == '{DRIVER}'"),
        format!("device.driver == '{DRIVER}'"),
        "true".to_owned(),
        format!("{of}.model == 'h100'"),
        format!("{of}.model in ['h100', 'l4']"),
        format!("{of}.model.startsWith('a') || {of}.model == 'l4'"),
        format!("'{DRIVER}' in [device.driver] && {size}.compareTo(quantity('60Gi')) >= 0"),
        format!("{size}.isGreaterThan(quantity('24Gi'))"),
        format!("{of}.driverVersion.compareTo(semver('550.10.0')) >= 0"),
        format!("has({of}.nvlink) && {of}.nvlink"),
        format!("!('nvlink' in {of}) || {of}.index > 0"),
        format!("{of}.index < 2"),
        format!("device.attributes['other.test'].rack != 'r1' && {of}.model != 'l4'"),
    ];
    let last = i64::try_from(words.len()).unwrap_or(1) - 1;
    let index = usize::try_from(rng.range(0, last)).unwrap_or(0);
    json!({"cel": {"expression": words[index]}})
}

fn toleration(rng: &mut Rng) -> Value {
    match rng.range(0, 2) {
        0 => json!({"operator": "Exists"}),
        1 => json!({"key": "sick", "operator": "Exists", "effect": "NoSchedule"}),
        _ => json!({"key": "sick", "operator": "Equal", "value": "1"}),
    }
}

/// Claims that have been allocated devices: for pods on the node, or left by pods that are gone.
fn residents(rng: &mut Rng, names: &Names, pods: &mut Vec<Value>, devices: &mut Devices) {
    let all = slices::placed(&devices.objects);
    for (index, device) in all.iter().enumerate() {
        if !rng.percent(20) {
            continue;
        }
        let name = names.object(&format!("used-{index}"));
        let mut claim = claims::allocated(names, &name, device);
        if rng.percent(80) {
            let container = json!({"name": "main", "image": "none"});
            let (namespace, node) = (&names.namespace, device["node"].clone());
            pods.push(json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": name, "namespace": namespace, "labels": {CASE: names.case}},
                "spec": {
                    "nodeName": node, "containers": [container], "terminationGracePeriodSeconds": 0,
                    "tolerations": [{"operator": "Exists"}],
                    "resourceClaims": [{"name": "device", "resourceClaimName": name}],
                },
            }));
            claim["status"]["reservedFor"] = json!([{"resource": "pods", "name": name}]);
        }
        devices.claims.push(claim);
    }
}

/// Lets the replicas ask: by claims that are made from templates, or by an extended resource.
fn ask(rng: &mut Rng, names: &Names, classes: &[&str], pod: &mut Value, devices: &mut Devices) {
    let by_resource = rng.percent(45);
    if by_resource {
        let implicit = format!("deviceclass.resource.kubernetes.io/{}", rng.pick(classes));
        let resource = if rng.percent(20) { implicit } else { names.resource() };
        let containers = |list: &str| format!("/spec/{list}");
        for list in ["containers", "initContainers"].map(containers) {
            for container in pod.pointer_mut(&list).and_then(Value::as_array_mut).into_iter().flatten() {
                rename(container, &resource);
            }
        }
    } else if rng.percent(70)
        && let Some(limits) = pod.pointer_mut("/spec/containers/0/resources/limits").and_then(Value::as_object_mut)
    {
        limits.remove("nvidia.com/gpu");
    }
    let mut claims = Vec::new();
    if rng.percent(15)
        && let Some(shared) = devices.claims.first()
    {
        claims.push(json!({"name": "shared", "resourceClaimName": shared["metadata"]["name"]}));
    }
    for index in 0..if by_resource { rng.pick(&[0, 0, 0, 1]) } else { rng.pick(&[1, 1, 2]) } {
        let name = format!("asked-{index}");
        let spec = json!({"spec": {"devices": claims::asked(rng, classes)}});
        devices.objects.push(object(names, "ResourceClaimTemplate", &name, &spec));
        claims.push(json!({"name": name, "resourceClaimTemplateName": names.object(&name)}));
    }
    if !claims.is_empty() {
        pod["spec"]["resourceClaims"] = json!(claims);
    }
}

/// Turns whole GPUs of a container into another resource.
fn rename(container: &mut Value, resource: &str) {
    let limits = container.pointer_mut("/resources/limits").and_then(Value::as_object_mut);
    if let Some(limits) = limits
        && let Some(amount) = limits.remove("nvidia.com/gpu")
    {
        limits.insert(resource.to_owned(), amount);
    }
}

/// What a case has of devices, for counting what was covered.
pub(super) fn features(objects: &[Value], claims: &[Value], spec: &Value) -> Vec<(&'static str, bool)> {
    let of =
        |kind: &str, holds: &dyn Fn(&Value) -> bool| objects.iter().any(|it| it["kind"] == kind && holds(&it["spec"]));
    let asked = |pointer: &str| {
        let given = |request: &Value| request.pointer(pointer).is_some();
        of("ResourceClaimTemplate", &|spec| {
            spec.pointer("/spec/devices/requests").and_then(Value::as_array).into_iter().flatten().any(given)
        })
    };
    let limits = spec.pointer("/containers/0/resources/limits").and_then(Value::as_object);
    let extended = |limits: &Map<String, Value>| {
        limits.keys().any(|name| name.contains("plimsoll.test/") || name.starts_with("deviceclass."))
    };
    let several = |spec: &Value| spec["pool"]["resourceSliceCount"].as_i64().is_some_and(|count| count > 1);
    let tainted = |spec: &Value| spec["devices"].as_array().into_iter().flatten().any(|it| it["taints"].is_array());
    vec![
        ("claims for devices", spec["resourceClaims"].is_array()),
        ("devices as extended resources", limits.is_some_and(extended)),
        ("devices in use", !claims.is_empty()),
        ("devices with taints", of("ResourceSlice", &tainted)),
        ("pools of several slices", of("ResourceSlice", &several)),
        ("several devices of a request", asked("/exactly/count")),
        ("alternatives of a request", asked("/firstAvailable")),
        (
            "constraints between devices",
            of("ResourceClaimTemplate", &|spec| spec.pointer("/spec/devices/constraints").is_some()),
        ),
    ]
}
