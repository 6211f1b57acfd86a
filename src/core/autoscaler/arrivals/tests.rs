//! Nodes that come while somebody looks, and nodes that do not.

use proptest::prelude::*;
use serde_json::json;

use super::{super::Outlook, *};
use crate::autoscaler::NodeAutoscaler;

/// A cluster with one group, whose nodes come one after the other.
#[derive(Default)]
struct Scene {
    view: View,
    arrivals: Option<Arrivals>,
    second: i64,
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).unwrap()
}

impl Scene {
    fn new() -> Self {
        let mut scene = Self::default();
        scene.node("gpu-0", -100_000, Some("4"));
        scene.says(0);
        scene.look(0);
        scene
    }

    fn node(&mut self, name: &str, made: i64, gpus: Option<&str>) {
        let mut offered = json!({"cpu": "64", "pods": "110"});
        offered["nvidia.com/gpu"] = json!(gpus);
        let offered = if gpus.is_some() { offered } else { json!({"cpu": "64", "pods": "110"}) };
        let node = json!({
            "metadata": {
                "name": name, "creationTimestamp": at(made),
                "labels": {"karpenter.sh/nodepool": "gpu", "nvidia.com/gpu.count": "4"},
            },
            "status": {"allocatable": offered, "capacity": offered, "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": at(made)}]},
        });
        self.view.nodes.insert(name.to_owned(), serde_json::from_value(node).unwrap());
    }

    fn says(&mut self, arriving: u32) {
        let group = NodeGroup { name: "gpu".to_owned(), max: Some(40), arriving, ..NodeGroup::default() };
        self.view.node_autoscaler = Some(NodeAutoscaler { groups: vec![group], ..NodeAutoscaler::default() });
    }

    fn look(&mut self, second: i64) -> Outlook {
        self.second = second;
        let outlook = Outlook::after(self.arrivals.as_ref(), &self.view, &Policy::default(), at(second));
        self.arrivals = Some(outlook.arrivals.clone());
        outlook
    }

    /// A node is wanted now, and comes after so long.
    fn brings(&mut self, name: &str, after: i64) {
        let began = self.second;
        self.says(1);
        self.look(began);
        self.node(name, began + after - 1, Some("4"));
        self.look(began + after);
        self.says(0);
        self.look(began + after + 5);
    }

    fn seconds(&self) -> Vec<i64> {
        let groups = &self.arrivals.as_ref().unwrap().groups;
        groups.get("gpu").map(|group| group.seconds.iter().copied().collect()).unwrap_or_default()
    }

    fn arriving(&self) -> Vec<Arriving> {
        self.arrivals.as_ref().unwrap().arriving(&Policy::default())
    }
}

#[test]
fn the_time_from_wanted_to_usable_is_learnt_by_group_and_tells_when_the_next_is_due() {
    let mut scene = Scene::new();
    scene.says(1);
    scene.look(10);
    let first = &scene.arriving()[0];
    assert_eq!((first.expected, first.overdue, first.samples), (at(310), at(910), 0));
    scene.node("gpu-1", 80, Some("4"));
    scene.look(100);
    scene.says(0);
    scene.look(110);
    scene.brings("gpu-2", 60);
    scene.brings("gpu-3", 200);
    assert_eq!(scene.seconds(), [90, 60, 200]);
    scene.says(2);
    let now = scene.second;
    scene.look(now);
    let next = &scene.arriving()[0];
    assert_eq!((next.nodes, next.samples), (2, 3));
    assert_eq!((next.expected, next.overdue), (at(now + 90), at(now + 400)));
}

#[test]
fn a_node_has_come_when_its_gpus_have_and_not_before() {
    let mut scene = Scene::new();
    scene.says(1);
    scene.look(10);
    scene.node("gpu-1", 40, None);
    scene.look(50);
    assert_eq!(scene.seconds(), Vec::<i64>::new());
    scene.node("gpu-1", 40, Some("4"));
    scene.look(130);
    assert_eq!(scene.seconds(), [120]);
    // The autoscaler hears of it later; it is not taken for one that was given up.
    scene.says(0);
    scene.look(140);
    assert_eq!((scene.seconds(), scene.arriving()), (vec![120], Vec::new()));
}

#[test]
fn what_is_given_up_is_no_sample_and_nodes_that_were_there_are_none_either() {
    let mut scene = Scene::new();
    scene.says(2);
    scene.look(10);
    scene.says(0);
    scene.look(60);
    assert_eq!((scene.seconds(), scene.arriving()), (Vec::new(), Vec::new()));
    let mut restarted = Scene { arrivals: None, ..scene };
    restarted.node("gpu-1", 50, Some("4"));
    restarted.look(70);
    assert_eq!(restarted.seconds(), Vec::<i64>::new());
}

#[test]
fn overdue_nodes_are_counted_on_no_more_and_none_is_asked_for_beside_them() {
    let mut scene = Scene::new();
    for index in 1..=3 {
        scene.brings(&format!("gpu-{index}"), 80);
    }
    scene.says(1);
    let began = scene.second;
    let hopeful = scene.look(began);
    assert_eq!((hopeful.arriving.nodes.len(), hopeful.reason), (1, None));
    assert!(!scene.look(began + 159).arriving.nodes.is_empty());
    let overdue = scene.look(began + 160);
    assert!(overdue.is_empty());
    assert_eq!(overdue.reason.as_deref(), Some("node group gpu: 1 of its nodes are overdue"));
    // It comes after all, and its group is counted on again.
    scene.node("gpu-9", began + 290, Some("4"));
    scene.says(0);
    let after = scene.look(began + 300);
    assert!(!after.is_empty() && after.reason.is_none());
}

#[test]
fn what_the_autoscaler_says_no_more_is_not_forgotten_while_it_is_silent() {
    let mut scene = Scene::new();
    scene.brings("gpu-1", 70);
    let known = scene.arrivals.clone();
    scene.view.node_autoscaler.as_mut().unwrap().problem = Some("cannot be read".to_owned());
    scene.look(scene.second + 10);
    assert_eq!(scene.arrivals, known);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_comes_and_is_said_no_more_is_expected_than_is_said(
        steps in prop::collection::vec((0_u32..6, prop::option::of(0_u8..40), 1_i64..400), 0..60),
    ) {
        let mut scene = Scene::new();
        for (said, node, seconds) in steps {
            if let Some(node) = node {
                let made = scene.second;
                scene.node(&format!("gpu-{node}"), made, Some("4"));
            }
            scene.says(said);
            let now = scene.second + seconds;
            scene.look(now);
            let group = scene.arrivals.as_ref().unwrap().groups.get("gpu").cloned().unwrap_or_default();
            prop_assert!(group.expected.len() <= said as usize);
            prop_assert!(group.seconds.len() <= SAMPLES && group.seconds.iter().all(|seconds| *seconds > 0));
            prop_assert!(group.expected.iter().is_sorted());
        }
    }
}
