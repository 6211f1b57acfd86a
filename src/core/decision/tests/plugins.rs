//! Device plugins that restart: GPUs that are there and not allocatable for the moment.

use super::{accident::queue, scene::*};
use crate::{decision::Snapshot, policy::SHED_ANNOTATION};

const GPU: &str = "nvidia.com/gpu";

/// The accident, where a surplus is shed at once: 5 run, 3 are being made on the 3 GPUs that are left.
fn growing() -> Scene {
    let mut scene = textbook(&queue()).annotated("llm", SHED_ANNOTATION, "now");
    let node = scene.view.nodes.get_mut("a").unwrap();
    node.status.capacity = node.status.allocatable.clone();
    asked(scene, 8)
}

fn asked(mut scene: Scene, replicas: i32) -> Scene {
    scene.view.workloads.get_mut(&deployment("llm")).unwrap().spec_replicas = replicas;
    scene
}

fn allocatable(mut scene: Scene, gpus: u32) -> Scene {
    let node = scene.view.nodes.get_mut("a").unwrap();
    node.status.allocatable.insert(GPU.to_owned(), gpus.to_string().parse().unwrap());
    scene
}

/// Grant, ceiling, cap.
fn numbers(snapshot: &Snapshot) -> (i32, i32, i32) {
    let decision = &snapshot.decisions[&key("llm")];
    (decision.grant, decision.ceiling, decision.cap)
}

#[test]
fn what_was_granted_and_is_asked_for_stays_granted_for_a_grace_while_a_plugin_restarts() {
    let scene = growing();
    let before = scene.decide();
    assert_eq!(numbers(&before), (8, 8, 8));
    let scene = allocatable(scene, 0).later(5);
    let during = scene.after(Some(&before));
    assert_eq!(numbers(&during), (8, 8, 8));
    let held = during.decisions[&key("llm")].steps.iter().find(|step| step.name == "held").unwrap();
    assert_eq!(held.value, Some(3));
    assert!(held.reason.contains("nvidia.com/gpu of node a fell from 8 to 0 of 8"), "{}", held.reason);

    let scene = scene.later(29);
    let still = scene.after(Some(&during));
    assert_eq!(numbers(&still), (8, 8, 8));
    let back = allocatable(scene.clone(), 8).after(Some(&still));
    assert_eq!(numbers(&back), (8, 8, 8));
    assert!(back.lapses.granted.is_empty() && back.lapses.devices.is_empty());

    let after = scene.later(1).after(Some(&still));
    assert_eq!(numbers(&after), (5, 5, 5), "what does not come back is acted on");
}

#[test]
fn nothing_new_is_promised_on_gpus_that_are_not_allocatable_now() {
    let scene = asked(growing(), 5);
    let before = scene.decide();
    assert_eq!(numbers(&before), (8, 8, 8));
    let scene = allocatable(scene, 0).later(5);
    let during = scene.after(Some(&before));
    assert_eq!(numbers(&during), (5, 5, 5));
    // The HPA had read the promise before the plugin went, and acts on it now.
    let acted = asked(scene, 8).later(5).after(Some(&during));
    assert_eq!(numbers(&acted), (8, 8, 8));
    let further = asked(allocatable(growing(), 0), 12).later(15).after(Some(&acted));
    assert_eq!(numbers(&further).0, 8, "what was never granted is not held");
}

#[test]
fn no_more_is_held_than_the_devices_that_went_could_take() {
    let scene = growing();
    let before = scene.decide();
    let scene = allocatable(scene, 6).later(5);
    assert_eq!(numbers(&scene.after(Some(&before))), (8, 8, 8), "one of them fits, two went");
    let mut scene = allocatable(growing(), 8).later(5);
    let node = scene.view.nodes.get_mut("a").unwrap();
    node.status.allocatable.insert("cpu".to_owned(), "5".parse().unwrap());
    assert_eq!(numbers(&scene.after(Some(&before))).0, 5, "no device went");
}

#[test]
fn absurd_numbers_of_devices_end_nothing() {
    let scene = growing();
    let before = scene.decide();
    let mut scene = allocatable(scene, 0).later(5);
    let mut absurd = scene.view.nodes.get("a").unwrap().clone();
    for (name, capacity) in [("b", "9223372036854775807"), ("c", "9223372036854775807"), ("d", "-1")] {
        name.clone_into(&mut absurd.metadata.name);
        absurd.status.capacity.insert("nvidia.com/gpu".to_owned(), capacity.parse().unwrap());
        scene.view.nodes.insert(name.to_owned(), absurd.clone());
    }
    assert!(numbers(&scene.after(Some(&before))).0 <= 8);
}

#[test]
fn devices_that_were_missing_at_the_first_look_are_no_restart() {
    let scene = allocatable(growing(), 6);
    let first = scene.decide();
    assert_eq!(numbers(&first), (6, 6, 6));
    assert_eq!(numbers(&scene.later(5).after(Some(&first))), (6, 6, 6));
}
