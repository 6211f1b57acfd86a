//! Claims that are bound: to volumes of a zone or a node, to volumes for one pod, to volumes that nodes attach few of;
//! and those that wait for a pod.

mod fresh;

use serde_json::{Value, json};

use super::{CASE, Names};
use crate::rng::Rng;

pub use fresh::TOPOLOGY;

/// Who makes and attaches volumes.
pub const DRIVER: &str = "csi.plimsoll.test";
/// Who attaches some others.
const OTHER_DRIVER: &str = "other.csi.plimsoll.test";
/// Cases of a hundred with volumes where some of them wait for a pod.
const WAITING: i64 = 65;

/// The volumes of a case.
#[derive(Debug, Default)]
pub(super) struct Volumes {
    /// PersistentVolumes, their claims and classes, and what nodes attach.
    pub(super) objects: Vec<Value>,
    /// The bound claims by name.
    claims: Vec<String>,
    /// Volumes of the template whose claims wait for a pod.
    fresh: Vec<Value>,
    /// Volumes of other pods that are made for each of them.
    of_others: Vec<Value>,
    /// Claims that a StatefulSet makes for each of its pods.
    pub(super) each: Vec<Value>,
}

pub(super) fn some(rng: &mut Rng, names: &Names, nodes: &[Value]) -> Volumes {
    let mut volumes = Volumes::default();
    let waits = rng.percent(WAITING);
    for index in 0..if waits { rng.range(0, 1) } else { rng.range(1, 2) } {
        let name = names.object(&format!("v{index}"));
        let modes = json!([rng.pick(&["ReadWriteOncePod", "ReadWriteMany", "ReadWriteMany", "ReadWriteOnce"])]);
        let mut spec = json!({
            "accessModes": modes, "storageClassName": "", "resources": {"requests": {"storage": "1Gi"}},
        });
        let affinity = rng.percent(60).then(|| place(rng, names, nodes));
        volumes.objects.push(volume(names, &name, (&spec, DRIVER), affinity));
        spec["volumeName"] = json!(name);
        volumes.objects.push(json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": name, "namespace": names.namespace, "labels": {CASE: names.case}}, "spec": spec,
        }));
        volumes.claims.push(name);
    }
    if waits {
        fresh::add(rng, names, nodes, &mut volumes);
    }
    for node in nodes {
        if rng.percent(40) {
            continue;
        }
        let mut drivers = vec![driver(DRIVER, rng.pick(&[0, 1, 2, 2, 3, 16]))];
        if waits && rng.percent(30) {
            drivers.push(driver(OTHER_DRIVER, rng.pick(&[0, 1, 2])));
        }
        volumes.objects.push(json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "CSINode",
            "metadata": {"name": node["metadata"]["name"], "labels": {CASE: names.case}},
            "spec": {"drivers": drivers},
        }));
    }
    volumes
}

/// Whether a volume of the template waits for a pod.
pub(super) fn waits(volume: &Value) -> bool {
    volume["ephemeral"].is_object() || volume["name"].as_str().is_some_and(|name| name.contains("-shared-"))
}

fn driver(name: &str, count: i64) -> Value {
    json!({"name": name, "nodeID": "n", "topologyKeys": [], "allocatable": {"count": count}})
}

/// A volume of a driver that is kept for the claim of its name.
fn volume(names: &Names, name: &str, (claim, driver): (&Value, &str), affinity: Option<Value>) -> Value {
    let mut spec = json!({
        "capacity": claim["resources"]["requests"], "accessModes": claim["accessModes"],
        "storageClassName": claim["storageClassName"], "volumeMode": claim["volumeMode"],
        "persistentVolumeReclaimPolicy": "Retain", "claimRef": {"namespace": names.namespace, "name": name},
        "csi": {"driver": driver, "volumeHandle": name},
    });
    if let Some(term) = affinity {
        spec["nodeAffinity"] = json!({"required": {"nodeSelectorTerms": [term]}});
    }
    json!({
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {"name": name, "labels": {CASE: names.case}}, "spec": spec,
    })
}

fn place(rng: &mut Rng, names: &Names, nodes: &[Value]) -> Value {
    let zone = json!({"key": names.key("zone"), "operator": "In", "values": ["z1", rng.pick(&["z2", "z3"])]});
    let index = rng.range(0, i64::try_from(nodes.len()).unwrap_or(1) - 1);
    let host = json!({
        "key": names.key("host"), "operator": rng.pick(&["In", "NotIn"]),
        "values": [names.object(&format!("n{index}"))],
    });
    json!({"matchExpressions": [if rng.percent(60) { zone } else { host }]})
}

impl Volumes {
    /// Whether some wait for a pod.
    pub(super) fn wait(&self) -> bool {
        !self.fresh.is_empty() || !self.each.is_empty()
    }

    /// Lets the replicas use bound claims, and what waits for them.
    pub(super) fn mount(&self, rng: &mut Rng, template: &mut Value) {
        let mut volumes = self.bound(rng, 80);
        volumes.extend(self.fresh.clone());
        template["spec"]["volumes"] = json!(volumes);
    }

    /// Lets a pod that is there use bound claims, or have volumes of its own. One that terminates may be too late for
    /// those.
    pub(super) fn lend(&self, rng: &mut Rng, pod: &mut Value) {
        let mut volumes = self.bound(rng, 30);
        let stays = pod.pointer("/metadata/finalizers").is_none();
        volumes.extend(self.of_others.iter().filter(|_| stays && rng.percent(30)).cloned());
        pod["spec"]["volumes"] = json!(volumes);
    }

    fn bound(&self, rng: &mut Rng, percent: i64) -> Vec<Value> {
        let used = self.claims.iter().filter(|_| rng.percent(percent));
        used.map(|claim| json!({"name": claim, "persistentVolumeClaim": {"claimName": claim}})).collect()
    }
}
