//! Replicas that wait for nodes which a node autoscaler has yet to add.

use serde_json::json;

use super::{accident::queue, scene::*};
use crate::{
    autoscaler::{NodeAutoscaler, NodeGroup, Refusal},
    capacity::LimitingFactor,
    cluster::{Delta, StorageChange},
    decision::decide,
};

/// The accident with 8 GPUs on two nodes of a group that may grow to four.
fn growing() -> Scene {
    let mut scene = textbook(&queue());
    for node in scene.view.nodes.values_mut() {
        node.metadata.labels.insert("karpenter.sh/nodepool".to_owned(), "gpu".to_owned());
    }
    let nodes = u32::try_from(scene.view.nodes.len()).unwrap();
    let group = NodeGroup { name: "gpu".to_owned(), max: Some(nodes + 1), target: nodes, ..NodeGroup::default() };
    scene.view.node_autoscaler =
        Some(NodeAutoscaler { evidence: "test".to_owned(), groups: vec![group], ..NodeAutoscaler::default() });
    scene
}

fn group(scene: &mut Scene) -> &mut NodeGroup {
    &mut scene.view.node_autoscaler.as_mut().unwrap().groups[0]
}

fn grant(scene: &Scene) -> (i32, LimitingFactor) {
    let decision = &scene.decide().decisions[&key("llm")];
    (decision.grant, decision.limiting_factor)
}

/// GPUs of one node of the scene.
fn gpus(scene: &Scene) -> i32 {
    let node = scene.view.nodes.values().next().unwrap();
    i32::try_from(node.status.allocatable["nvidia.com/gpu"].units()).unwrap()
}

#[test]
fn replicas_are_granted_for_nodes_that_may_be_added_and_no_more() {
    let scene = growing();
    let expected = (8 + gpus(&scene)).min(15);
    assert_eq!(grant(&scene).0, expected);
    let decision = scene.decide().decisions[&key("llm")].clone();
    let step = decision.steps.iter().find(|step| step.name == "headroom").unwrap();
    assert_eq!(step.value, Some(expected - 8));
    assert_eq!(decision.ceiling, expected);
}

#[test]
fn a_refusal_takes_the_grant_back_and_is_named() {
    let mut scene = growing();
    group(&mut scene).refusal = Some(Refusal::by_code("OUT_OF_RESOURCES", "no such machine"));
    assert_eq!(grant(&scene), (8, LimitingFactor::NodeAutoscaler));
    let change = scene.decide().decisions[&key("llm")].change.clone().unwrap();
    assert!(change.contains("OUT_OF_RESOURCES: no such machine"), "{change}");
}

#[test]
fn what_holds_replicas_to_the_nodes_that_are_here_is_named_and_nobody_waits() {
    let mut scene = growing();
    let claim = json!({
        "metadata": {"name": "model", "namespace": "ml"}, "status": {"phase": "Pending"},
        "spec": {"accessModes": ["ReadWriteMany"], "storageClassName": "fast"},
    });
    let class = json!({"metadata": {"name": "fast"}, "provisioner": "x", "volumeBindingMode": "WaitForFirstConsumer"});
    for change in [
        StorageChange::Claim(Delta::Applied(serde_json::from_value(claim).unwrap())),
        StorageChange::Class(Delta::Applied(serde_json::from_value(class).unwrap())),
        StorageChange::Volume(Delta::Replaced(Vec::new())),
        StorageChange::Driver(Delta::Replaced(Vec::new())),
        StorageChange::Node(Delta::Replaced(Vec::new())),
        StorageChange::Attachment(Delta::Replaced(Vec::new())),
    ] {
        scene.view.storage.apply(change);
    }
    let volume = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "model"}}]);
    for target in scene.view.workloads.values_mut() {
        target.template.as_mut().unwrap().spec.volumes = serde_json::from_value(volume.clone()).unwrap();
    }
    let decision = scene.decide().decisions[&key("llm")].clone();
    let step = decision.steps.iter().find(|step| step.name == "headroom").unwrap();
    assert_eq!(step.value, Some(0));
    assert!(step.reason.contains("model is bound where its first pod goes"), "{}", step.reason);
    assert_ne!(decision.limiting_factor, LimitingFactor::NodeAutoscaler);
}

#[test]
fn where_it_is_not_known_what_a_node_would_be_for_it_one_replica_at_a_time_finds_out() {
    let mut scene = growing();
    let template = scene.view.workloads.get_mut(&deployment("llm")).unwrap().template.as_mut().unwrap();
    let selector = json!({ "matchLabels": { "app": "llm" } });
    let even = json!([{ "topologyKey": "kubernetes.io/os", "maxSkew": 99, "whenUnsatisfiable": "DoNotSchedule", "labelSelector": selector }]);
    template.spec.topology_spread_constraints = serde_json::from_value(even).unwrap();
    for node in scene.view.nodes.values_mut() {
        node.metadata.labels.insert("kubernetes.io/os".to_owned(), "linux".to_owned());
    }
    assert_eq!(grant(&scene), (9, LimitingFactor::NodeAutoscaler));
    let decision = scene.decide().decisions[&key("llm")].clone();
    let step = decision.steps.iter().find(|step| step.name == "headroom").unwrap();
    assert!(step.value == Some(1) && step.reason.contains("one at a time"), "{step:?}");
    group(&mut scene).max = Some(1);
    assert_eq!(grant(&scene).0, 8, "no node may be added");
}

#[test]
fn the_annotation_says_how_many_may_wait() {
    let annotated = |value: &str| grant(&growing().annotated("llm", "plimsoll.dev/headroom", value)).0;
    assert_eq!((annotated("none"), annotated("0"), annotated("1")), (8, 8, 9));
    assert_eq!(annotated("AUTO"), grant(&growing()).0);
    let scene = growing().annotated("llm", "plimsoll.dev/headroom", "lots");
    let notes = scene.decide().decisions[&key("llm")].notes.clone();
    assert!(notes.iter().any(|note| note.code == "UnknownHeadroom"), "{notes:?}");
}

#[test]
fn without_a_node_in_time_the_grant_is_taken_back_and_tried_again_later() {
    let scene = growing();
    let after = |second: i64| scene.now + jiff::SignedDuration::from_secs(second);
    let mut previous = scene.decide();
    let expected = previous.decisions[&key("llm")].grant;
    for (second, granted) in [(10, expected), (899, expected), (900, 8), (1400, 8), (1500, expected)] {
        let mut now = scene.clone();
        now.now = after(second);
        now.view.capacity_heard_at = Some(now.now);
        let age = now.now;
        for samples in now.signals.pods.values_mut() {
            for sample in samples.values_mut() {
                sample.at = age;
            }
        }
        previous = decide(&now.view, &now.signals, &now.policy, Some(&previous), now.now);
        assert_eq!(previous.decisions[&key("llm")].grant, granted, "after {second} s");
    }
}

#[test]
fn a_group_of_unknown_shape_is_tried_with_one_replica() {
    let mut scene = growing();
    group(&mut scene).name = "elsewhere".to_owned();
    assert_eq!(grant(&scene).0, 9);
}

#[test]
fn replicas_do_not_wait_for_a_node_that_is_overdue_by_what_was_learnt_of_others() {
    let mut scene = growing();
    let mut previous = scene.decide();
    for index in 0..3 {
        group(&mut scene).arriving = 1;
        previous = scene.after(Some(&previous));
        scene = scene.later(60).node(&format!("z{index}"), 0);
        let (now, node) = (scene.now, scene.view.nodes.get_mut(&format!("z{index}")).unwrap());
        node.metadata.labels.insert("karpenter.sh/nodepool".to_owned(), "gpu".to_owned());
        node.metadata.creation_timestamp = Some(now);
        previous = scene.after(Some(&previous));
        group(&mut scene).arriving = 0;
        previous = scene.after(Some(&previous));
    }
    group(&mut scene).arriving = 1;
    group(&mut scene).max = Some(0);
    let granted = 8 + gpus(&scene).min(7);
    for (seconds, grant) in [(0, granted), (119, granted), (1, 8)] {
        scene = scene.later(seconds);
        previous = scene.after(Some(&previous));
        assert_eq!(previous.decisions[&key("llm")].grant, grant, "{seconds} s later");
    }
    let change = previous.decisions[&key("llm")].change.clone().unwrap();
    assert!(change.contains("1 of its nodes are overdue"), "{change}");
}
