//! What a CSI driver's provisioner does: it makes the volume of a claim once the scheduler has chosen a node for it.

use std::collections::BTreeSet;

use plimsoll_e2e::cluster_cases::{Case, STORAGE_DRIVER, TOPOLOGY};
use serde_json::{Value, json};

use crate::api::{Api, CLAIMS_TO_STORAGE, NODES, STORAGE_CLASSES, VOLUMES};

/// Annotation: the node that the scheduler has chosen.
const NODE: &str = "volume.kubernetes.io/selected-node";
/// Annotation: whom the controller asks for the volume.
const PROVISIONER: &str = "volume.kubernetes.io/storage-provisioner";

/// Makes the volumes that are asked for. Returns the claims and volumes that are still being bound.
pub(crate) async fn provision(api: &Api) -> BTreeSet<String> {
    let claims = api.items(CLAIMS_TO_STORAGE, "v1", "PersistentVolumeClaim").await;
    let mut binding = BTreeSet::new();
    for claim in claims.iter().filter(|claim| !is_bound(claim)) {
        let annotations = &claim["metadata"]["annotations"];
        let Some(node) = annotations[NODE].as_str() else { continue };
        binding.insert(format!("claim {}", claim["metadata"]["name"]));
        if annotations[PROVISIONER] == STORAGE_DRIVER && claim["spec"]["volumeName"].is_null() {
            let volume = volume(api, claim, node).await;
            api.create_once(VOLUMES, &volume).await;
        }
    }
    // A case that was refused may have volumes for claims that are not there.
    let name = |it: &Value| [it["namespace"].clone(), it["name"].clone()];
    let claimed: Vec<_> = claims.iter().map(|claim| name(&claim["metadata"])).collect();
    let volumes = api.items(VOLUMES, "v1", "PersistentVolume").await;
    let unbound = volumes.iter().filter(|it| !is_bound(it) && claimed.contains(&name(&it["spec"]["claimRef"])));
    binding.extend(unbound.map(|volume| format!("volume {}", volume["metadata"]["name"])));
    binding
}

/// Whether the controllers have looked at every volume of a case and made the claims of the pods that are there.
pub(crate) async fn is_ready(api: &Api, case: &Case, label: &str) -> bool {
    let volumes = api.items(&format!("{VOLUMES}?{label}"), "v1", "PersistentVolume").await;
    let claims = api.items(&format!("{CLAIMS_TO_STORAGE}?{label}"), "v1", "PersistentVolumeClaim").await;
    let is_made = |name: &String| claims.iter().any(|claim| claim["metadata"]["name"] == **name);
    volumes
        .iter()
        .all(|it| if it["spec"]["claimRef"].is_null() { it["status"]["phase"] == "Available" } else { is_bound(it) })
        && claims.iter().all(|it| it["spec"]["volumeName"].is_null() || is_bound(it))
        && case.pods.iter().flat_map(ephemeral).all(|name| is_made(&name))
}

/// The claims that are made for a pod.
fn ephemeral(pod: &Value) -> impl Iterator<Item = String> {
    let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten().filter(|it| it["ephemeral"].is_object());
    let text = |it: &Value| it.as_str().unwrap().to_owned();
    volumes.map(move |volume| format!("{}-{}", text(&pod["metadata"]["name"]), text(&volume["name"])))
}

fn is_bound(it: &Value) -> bool {
    it["status"]["phase"] == "Bound"
}

/// A volume for a claim. If its class says so, it can be used only where the node is.
async fn volume(api: &Api, claim: &Value, node: &str) -> Value {
    let (metadata, spec) = (&claim["metadata"], &claim["spec"]);
    let name = format!("pvc-{}", metadata["uid"].as_str().unwrap());
    let of = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "namespace": metadata["namespace"], "name": metadata["name"], "uid": metadata["uid"],
    });
    let mut volume = json!({"metadata": {"name": name}, "spec": {
        "capacity": spec["resources"]["requests"], "accessModes": spec["accessModes"], "claimRef": of,
        "volumeMode": spec["volumeMode"], "storageClassName": spec["storageClassName"],
        "persistentVolumeReclaimPolicy": "Retain", "csi": {"driver": STORAGE_DRIVER, "volumeHandle": name},
    }});
    let class = api.get(&format!("{STORAGE_CLASSES}/{}", spec["storageClassName"].as_str().unwrap())).await;
    if let Some(key) = class["parameters"][TOPOLOGY].as_str()
        && let Some(value) = api.get(&format!("{NODES}/{node}")).await["metadata"]["labels"][key].as_str()
    {
        let expression = json!({"key": key, "operator": "In", "values": [value]});
        volume["spec"]["nodeAffinity"] =
            json!({"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}});
    }
    volume
}
