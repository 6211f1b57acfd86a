//! Pods of others that wait for a node.

use serde_json::json;

use super::*;
use crate::capacity::Fits;

/// A pod that nobody has placed, of the workload `app`.
fn waiting(app: &str, gpus: u32) -> Pod {
    mk_pod(app, "", gpus)
}

#[track_caller]
fn expect(nodes: &[Node], pods: Vec<Pod>, gpus: u32, fits: Fits) {
    let view = mk_view(nodes.iter().cloned(), pods);
    let template = Template::of(&mk_template(gpus, json!({})), "ml", &view);
    let policy = Policy::default();
    let answer = Inventory::of(&view, &policy).fits_beside(&template, |pod| pod.metadata.name != "llm");
    assert_eq!(answer.fits, fits, "{answer:#?}");
}

#[test]
fn what_waiting_pods_of_others_may_take_is_not_promised() {
    let two = [mk_node("a", 8), mk_node("b", 8)];
    expect(&two, vec![], 1, Fits::exact(16));
    expect(&two, vec![waiting("cv", 3)], 1, Fits::between(13, Some(16)));
    expect(&two, vec![waiting("cv", 3), waiting("tts", 8)], 1, Fits::between(5, Some(16)));
    expect(&two, vec![waiting("llm", 3)], 1, Fits::exact(16));
}

#[test]
fn where_they_go_is_not_guessed() {
    let nodes = [mk_node("a", 3), mk_node("b", 8)];
    expect(&nodes, vec![waiting("cv", 1)], 8, Fits::between(0, Some(1)));
    expect(&nodes, vec![waiting("cv", 4)], 1, Fits::between(7, Some(11)));
}

#[test]
fn what_they_leave_enough_of_or_cannot_get_keeps_the_answer_exact() {
    let two = [mk_node("a", 8), mk_node("b", 8)];
    expect(&two, vec![waiting("cv", 0)], 1, Fits::exact(16));
    expect(&two, vec![waiting("cv", 9)], 1, Fits::exact(16));
    expect(
        &[mk_node("a", 8), mk_node("b", 6)],
        vec![waiting("cv", 1), waiting("tts", 1)],
        4,
        Fits::between(1, Some(3)),
    );
    expect(&[mk_node("a", 7)], vec![waiting("cv", 1), waiting("tts", 2)], 4, Fits::exact(1));
}

#[test]
fn no_more_is_held_back_than_there_is_room_for() {
    let nodes = [mk_node("a", 8), mk_node("b", 4), mk_node("c", 4)];
    let many = ["k", "l", "m"].map(|app| waiting(app, 8)).to_vec();
    expect(&nodes, many, 1, Fits::between(8, Some(16)));
}

#[test]
fn pods_that_cannot_be_bound_now_take_nothing() {
    let nodes = [mk_node("a", 8)];
    let mut gated = waiting("cv", 1);
    gated.spec.scheduling_gates = from(json!([{"name": "g"}]));
    let mut foreign = waiting("cv", 1);
    foreign.spec.scheduler_name = "volcano".to_owned();
    let mut elsewhere = refused(1);
    elsewhere.spec.node_selector.insert("zone".to_owned(), "b".to_owned());
    for pod in [refused(9), elsewhere, gated, foreign] {
        expect(&nodes, vec![pod], 1, Fits::exact(8));
    }
}

/// A pod for which the scheduler has found no room.
fn refused(gpus: u32) -> Pod {
    let mut pod = waiting("cv", gpus);
    pod.status = from(json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]}));
    pod
}

#[test]
fn a_pod_that_found_no_room_takes_what_has_come_since() {
    expect(&[mk_node("a", 8)], vec![refused(3)], 1, Fits::between(5, Some(8)));
}

#[test]
fn a_nominated_pod_of_a_lower_priority_may_be_bound_before_or_is_on_its_way() {
    for (priority, fits) in [(-1, Fits::between(5, Some(8))), (0, Fits::exact(5))] {
        let mut pod = waiting("cv", 3);
        pod.spec.priority = Some(priority);
        pod.status.nominated_node_name = "a".into();
        expect(&[mk_node("a", 8)], vec![pod.clone()], 1, fits);
        pod.status.nominated_node_name = "gone".into();
        expect(&[mk_node("a", 8)], vec![pod], 1, Fits::between(5, Some(8)));
    }
}

#[test]
fn a_waiting_pod_that_would_repel_leaves_nothing_to_promise() {
    let mut pod = waiting("cv", 0);
    let term = json!({"topologyKey": "z", "labelSelector": {"matchLabels": {"app": "llm"}}});
    pod.spec.affinity =
        Some(from(json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}})));
    expect(&[mk_node("a", 8)], vec![pod], 1, Fits::between(0, Some(8)));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn wherever_they_are_bound_no_less_fits_than_was_promised(
        gpus in proptest::collection::vec(0_u32..9, 1..5),
        others in proptest::collection::vec((0_u32..5, 0_usize..5), 0..6),
        wanted in 1_u32..5,
    ) {
        let nodes: Vec<_> = gpus.iter().enumerate().map(|(index, gpus)| mk_node(&format!("n{index}"), *gpus)).collect();
        let pods: Vec<_> = others.iter().enumerate().map(|(index, (gpus, _))| waiting(&format!("o{index}"), *gpus)).collect();
        let view = mk_view(nodes.clone(), pods.clone());
        let template = mk_template(wanted, json!({}));
        let policy = Policy::default();
        let promised = Inventory::of(&view, &policy).fits_beside(&Template::of(&template, "ml", &view), |_| true).fits.lo;
        let mut left = gpus;
        let bound = pods.into_iter().zip(others).filter_map(|(mut pod, (gpus, node))| {
            let free = left.get_mut(node).filter(|free| **free >= gpus)?;
            *free -= gpus;
            pod.node_name = format!("n{node}").into();
            Some(pod)
        });
        let view = mk_view(nodes, bound.collect::<Vec<_>>());
        proptest::prop_assert!(promised <= answer(&view, &template).fits.lo);
    }
}
