//! Claims that wait for their first pod: each replica's own, or one for all. Their volumes are made then, in some
//! places only, or are there and wait for a claim.

use serde_json::{Value, json};

use super::{DRIVER, OTHER_DRIVER, Volumes, place};
use crate::{
    cluster_cases::{CASE, Names},
    rng::Rng,
};

/// Of classes whose volumes nobody makes.
const NOBODY: &str = "kubernetes.io/no-provisioner";
/// The parameter of a class: the label of nodes by which its volumes are bound to a place once they are made.
pub const TOPOLOGY: &str = "topology";

/// Adds one class or two, and what of them is the template's or the other pods'.
pub(super) fn add(rng: &mut Rng, names: &Names, nodes: &[Value], volumes: &mut Volumes) {
    let mut class = class(rng, names, nodes, 0, volumes);
    for index in 0..rng.pick(&[1, 1, 1, 2]) {
        if index > 0 && rng.percent(40) {
            class = self::class(rng, names, nodes, index, volumes);
        }
        let spec = claim(rng, &class);
        match rng.range(0, 19) {
            0..10 => {
                let volume = ephemeral(names, &format!("fresh-{index}"), &spec);
                volumes.fresh.push(volume.clone());
                volumes.of_others.push(volume);
            }
            10..17 => each(rng, names, nodes, &spec, volumes),
            _ => {
                let name = names.object(&format!("shared-{index}"));
                volumes.objects.push(unbound(names, &name, &spec));
                volumes.fresh.push(json!({"name": name, "persistentVolumeClaim": {"claimName": name}}));
            }
        }
    }
}

/// A StorageClass, with volumes that wait for a claim of it; returns its name.
fn class(rng: &mut Rng, names: &Names, nodes: &[Value], index: i64, volumes: &mut Volumes) -> String {
    let name = names.object(&format!("class-{index}"));
    let provisioner = rng.pick(&[DRIVER, DRIVER, DRIVER, NOBODY]);
    let mut class = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {"name": name, "labels": {CASE: names.case}},
        "provisioner": provisioner, "volumeBindingMode": "WaitForFirstConsumer",
    });
    if provisioner == DRIVER {
        if rng.percent(60) {
            let terms = rng.pick(&[1, 1, 2]);
            class["allowedTopologies"] = (0..terms).map(|_| topology(rng, names)).collect();
        }
        if rng.percent(60) {
            class["parameters"] = json!({TOPOLOGY: names.key(rng.pick(&["host", "zone"]))});
        }
    }
    if provisioner == NOBODY || rng.percent(15) {
        volumes.objects.extend(waiting(rng, names, nodes, &name));
    }
    volumes.objects.push(class);
    name
}

/// Where a class makes volumes.
fn topology(rng: &mut Rng, names: &Names) -> Value {
    let mut all = vec![json!({"key": names.key("zone"), "values": [rng.pick(&["z1", "z2"]), "z3"]})];
    if rng.percent(25) {
        all.push(json!({"key": names.key("rack"), "values": [rng.pick(&["r1", "r2"])]}));
    }
    json!({"matchLabelExpressions": all})
}

/// The specification of a claim.
fn claim(rng: &mut Rng, class: &str) -> Value {
    let mode = rng.pick(&["ReadWriteOnce", "ReadWriteOnce", "ReadWriteOnce", "ReadWriteMany", "ReadWriteOncePod"]);
    let mut spec = json!({
        "accessModes": [mode], "storageClassName": class,
        "resources": {"requests": {"storage": rng.pick(&["1Gi", "2Gi"])}},
    });
    if rng.percent(8) {
        spec["selector"] = json!({"matchLabels": {"disk": "ssd"}});
    }
    if rng.percent(5) {
        spec["volumeMode"] = json!("Block");
    }
    spec
}

fn ephemeral(names: &Names, name: &str, spec: &Value) -> Value {
    let template = json!({"metadata": {"labels": {CASE: names.case}}, "spec": spec});
    json!({"name": name, "ephemeral": {"volumeClaimTemplate": template}})
}

fn unbound(names: &Names, name: &str, spec: &Value) -> Value {
    let metadata = json!({"name": name, "namespace": names.namespace, "labels": {CASE: names.case}});
    json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec})
}

/// A claim of each pod of a StatefulSet; some of earlier pods may be left, bound or not.
fn each(rng: &mut Rng, names: &Names, nodes: &[Value], spec: &Value, volumes: &mut Volumes) {
    let template = format!("data-{}", volumes.each.len());
    let left = if rng.percent(40) { rng.range(1, 2) } else { 0 };
    for ordinal in 0..left {
        let name = format!("{template}-{}-{ordinal}", names.object("replica"));
        let mut spec = spec.clone();
        if rng.percent(75) && spec.get("selector").is_none() {
            let driver = rng.pick(&[DRIVER, DRIVER, DRIVER, DRIVER, OTHER_DRIVER]);
            let affinity = rng.percent(60).then(|| place(rng, names, nodes));
            volumes.objects.push(super::volume(names, &name, (&spec, driver), affinity));
            spec["volumeName"] = json!(name);
        }
        volumes.objects.push(unbound(names, &name, &spec));
    }
    volumes.each.push(json!({"metadata": {"name": template, "labels": {CASE: names.case}}, "spec": spec}));
}

/// Volumes of single nodes, at most three on each, now and then of more; some too small, or of another kind.
fn waiting(rng: &mut Rng, names: &Names, nodes: &[Value], class: &str) -> Vec<Value> {
    let mut volumes = Vec::new();
    let (is_remote, is_shared) = (rng.percent(25), rng.percent(8));
    let modes = rng.pick(&[&["ReadWriteOnce"][..], &["ReadWriteOnce", "ReadWriteMany"], &["ReadWriteOncePod"]]);
    for (index, node) in nodes.iter().enumerate() {
        for place in 0..rng.range(0, 3) {
            let name = format!("{class}-{index}-{place}");
            let host = json!({"key": names.key("host"), "operator": "In", "values": [node["metadata"]["name"]]});
            let anywhere = json!({"key": names.key("host"), "operator": "Exists"});
            let key = if is_shared { anywhere } else { host };
            let mut labels = json!({CASE: names.case});
            if rng.percent(60) {
                labels["disk"] = json!("ssd");
            }
            let mut spec = json!({
                "capacity": {"storage": rng.pick(&["1Gi", "2Gi", "5Gi"])}, "accessModes": modes,
                "storageClassName": class, "persistentVolumeReclaimPolicy": "Retain",
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [key]}]}},
            });
            if is_remote {
                spec["csi"] = json!({"driver": rng.pick(&[DRIVER, DRIVER, OTHER_DRIVER]), "volumeHandle": name});
            } else {
                spec["local"] = json!({"path": "/mnt"});
            }
            if rng.percent(6) {
                spec["volumeMode"] = json!("Block");
            }
            volumes.push(json!({
                "apiVersion": "v1", "kind": "PersistentVolume",
                "metadata": {"name": name, "labels": labels}, "spec": spec,
            }));
        }
    }
    volumes
}
