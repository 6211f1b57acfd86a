//! What webhooks make of pods counts for the next ones, too.

use serde_json::json;

use super::{accident::queue, scene::*};
use crate::capacity::{Fits, LimitingFactor};

#[test]
fn a_sidecar_that_is_injected_into_pods_is_part_of_what_the_next_ones_need() {
    let mut scene = textbook(&queue());
    let pod = scene.view.pods.get_mut(&key("llm-4")).unwrap();
    pod.metadata.creation_timestamp = Some(scene.now.into());
    let proxy = json!({"name": "proxy", "resources": {"requests": {"cpu": "30"}}});
    pod.spec.containers.push(serde_json::from_value(proxy).unwrap());
    // 64 CPUs: four pods of one and one of 31 run, so 29 are left.
    let snapshot = scene.decide();
    let decision = &snapshot.decisions[&key("llm")];
    assert_eq!((decision.fits, decision.limiting_factor), (Fits::exact(0), LimitingFactor::Cpu));
}
