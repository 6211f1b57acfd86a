//! What claims ask for, and claims that have been allocated.

use serde_json::{Value, json};

use super::{DRIVER, object, selector, toleration};
use crate::{cluster_cases::Names, rng::Rng};

/// Requests, and constraints between them.
pub(super) fn asked(rng: &mut Rng, classes: &[&str]) -> Value {
    let count = rng.pick(&[1, 1, 1, 2]);
    let requests: Vec<_> = (0..count).map(|index| request(rng, classes, index)).collect();
    let mut asked = json!({"requests": requests});
    if rng.percent(25) {
        let attribute = rng.pick(&["numa", "numa", "model", "nvlink"]);
        let name = if rng.percent(15) { "other.test/rack".to_owned() } else { format!("{DRIVER}/{attribute}") };
        let mut constraint = json!({rng.pick(&["matchAttribute", "matchAttribute", "distinctAttribute"]): name});
        if rng.percent(30) {
            constraint["requests"] = json!(["r0"]);
        }
        asked["constraints"] = json!([constraint]);
    }
    asked
}

fn request(rng: &mut Rng, classes: &[&str], index: i64) -> Value {
    let mut request = json!({"name": format!("r{index}")});
    if rng.percent(15) {
        let choices = (0..2).map(|choice| {
            let mut exact = exact(rng, classes);
            exact["name"] = json!(format!("c{choice}"));
            exact
        });
        request["firstAvailable"] = choices.collect();
    } else {
        request["exactly"] = exact(rng, classes);
    }
    request
}

fn exact(rng: &mut Rng, classes: &[&str]) -> Value {
    let mut exact = json!({"deviceClassName": rng.pick(classes)});
    if rng.percent(12) {
        exact["allocationMode"] = json!("All");
    } else if rng.percent(40) {
        exact["count"] = json!(rng.pick(&[1, 2, 2, 3]));
        exact["allocationMode"] = json!("ExactCount");
    }
    if rng.percent(35) {
        exact["selectors"] = json!([selector(rng)]);
    }
    if rng.percent(20) {
        exact["tolerations"] = json!([toleration(rng)]);
    }
    exact
}

/// A claim that holds a device.
pub(super) fn allocated(names: &Names, name: &str, device: &Value) -> Value {
    let request = json!({"name": "r", "exactly": {"deviceClassName": names.object("class-0")}});
    let result = json!({"request": "r", "driver": DRIVER, "pool": device["pool"], "device": device["name"]});
    let field = json!({"key": "metadata.name", "operator": "In", "values": [device["node"]]});
    let place = json!({"nodeSelectorTerms": [{"matchFields": [field]}]});
    let mut claim = object(names, "ResourceClaim", "", &json!({"devices": {"requests": [request]}}));
    claim["metadata"]["name"] = json!(name);
    claim["status"] = json!({"allocation": {
        "devices": {"results": [result]}, "nodeSelector": place, "allocationTimestamp": "2026-01-01T00:00:00Z",
    }});
    claim
}
