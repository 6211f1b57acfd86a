//! Nodes that are here before their GPUs are.

use super::{accident::queue, scene::*};
use crate::{
    autoscaler::{NodeAutoscaler, NodeGroup},
    capacity::LimitingFactor,
};

/// The accident, and a second node that has four GPUs by its label and offers none yet.
fn registering() -> Scene {
    let mut scene = textbook(&queue()).node("b", 0);
    let node = scene.view.nodes.get_mut("b").unwrap();
    node.metadata.labels.insert("nvidia.com/gpu.count".to_owned(), "4".to_owned());
    scene
}

#[test]
fn gpus_that_have_not_registered_are_told_and_not_granted() {
    let snapshot = registering().decide();
    let decision = &snapshot.decisions[&key("llm")];
    assert_eq!((decision.grant, decision.ceiling, decision.limiting_factor), (8, 8, LimitingFactor::Gpu));
    let step = decision.steps.iter().find(|step| step.name == "arriving").unwrap();
    assert_eq!(step.value, Some(4));
    let change = decision.change.as_ref().unwrap();
    assert!(change.ends_with("those of node b have not registered yet"), "{change}");
    let there = textbook(&queue()).node("b", 4).decide();
    assert_eq!(there.decisions[&key("llm")].grant, 12);
}

#[test]
fn no_node_is_asked_for_in_place_of_one_that_is_here() {
    let mut scene = registering();
    scene.view.nodes.get_mut("a").unwrap().metadata.labels.insert("agentpool".to_owned(), "gpu".to_owned());
    let group = NodeGroup { name: "gpu".to_owned(), max: Some(9), target: 1, ..NodeGroup::default() };
    scene.view.node_autoscaler = Some(NodeAutoscaler { groups: vec![group], ..NodeAutoscaler::default() });
    // 15 are wanted, 8 fit, 4 will: only 3 are to make the autoscaler act.
    assert_eq!(scene.decide().decisions[&key("llm")].grant, 11);
}
