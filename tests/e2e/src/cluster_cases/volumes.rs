//! Claims that are bound: to volumes of a zone or a node, to volumes for one pod, to volumes that nodes attach few of.

use serde_json::{Value, json};

use super::{CASE, Names};
use crate::rng::Rng;

const DRIVER: &str = "csi.plimsoll.test";

/// The volumes of a case.
#[derive(Debug, Default)]
pub(super) struct Volumes {
    /// PersistentVolumes, their claims, and what nodes attach.
    pub(super) objects: Vec<Value>,
    /// The claims by name.
    pub(super) claims: Vec<String>,
}

pub(super) fn some(rng: &mut Rng, names: &Names, nodes: &[Value]) -> Volumes {
    let mut volumes = Volumes::default();
    for index in 0..rng.range(1, 2) {
        let name = names.object(&format!("v{index}"));
        let labels = json!({CASE: names.case});
        let modes = json!([rng.pick(&["ReadWriteOncePod", "ReadWriteMany", "ReadWriteMany", "ReadWriteOnce"])]);
        let mut spec = json!({
            "capacity": {"storage": "1Gi"}, "accessModes": modes, "storageClassName": "",
            "persistentVolumeReclaimPolicy": "Retain", "claimRef": {"namespace": names.namespace, "name": name},
            "csi": {"driver": DRIVER, "volumeHandle": name},
        });
        if rng.percent(60) {
            spec["nodeAffinity"] = json!({"required": {"nodeSelectorTerms": [place(rng, names, nodes)]}});
        }
        volumes.objects.push(json!({
            "apiVersion": "v1", "kind": "PersistentVolume",
            "metadata": {"name": name, "labels": labels}, "spec": spec,
        }));
        volumes.objects.push(json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {
                "name": name, "namespace": names.namespace, "labels": labels,
                "annotations": {"pv.kubernetes.io/bind-completed": "yes"},
            },
            "spec": {
                "accessModes": modes, "storageClassName": "", "volumeName": name,
                "resources": {"requests": {"storage": "1Gi"}},
            },
        }));
        volumes.claims.push(name);
    }
    for node in nodes {
        if rng.percent(40) {
            continue;
        }
        let count = rng.pick(&[0, 1, 1, 2, 16]);
        let driver = json!({"name": DRIVER, "nodeID": "n", "topologyKeys": [], "allocatable": {"count": count}});
        volumes.objects.push(json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "CSINode",
            "metadata": {"name": node["metadata"]["name"], "labels": {CASE: names.case}},
            "spec": {"drivers": [driver]},
        }));
    }
    volumes
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
    /// Lets a pod use one of the claims, or two.
    pub(super) fn mount(&self, rng: &mut Rng, spec: &mut Value, percent: i64) {
        let used = self.claims.iter().filter(|_| rng.percent(percent));
        let volumes: Vec<_> =
            used.map(|claim| json!({"name": claim, "persistentVolumeClaim": {"claimName": claim}})).collect();
        spec["volumes"] = json!(volumes);
    }
}
