//! Pods that cannot be read as a whole, and amounts that no machine has.

use serde_json::{Value, json};

use super::*;
use crate::capacity::{Class, Fits, LimitingFactor};

/// A pod on a node, or one that waits, whose containers cannot be read.
fn odd(node: &str, more: Value) -> Pod {
    let mut pod = json!({
        "metadata": {"name": "odd", "namespace": "web", "labels": {"app": "odd"}},
        "spec": {"nodeName": node, "containers": "many"},
        "status": {"phase": "Running"},
    });
    if let (Some(spec), Value::Object(more)) = (pod["spec"].as_object_mut(), more) {
        spec.extend(more);
    }
    Pod::salvage(&pod, "containers are no list").unwrap()
}

fn nodes() -> [Node; 2] {
    [mk_node("a", 8), mk_node("b", 4)]
}

fn interval(lo: u32, hi: u32) -> Fits {
    Fits { class: Class::Interval, lo, hi: Some(hi) }
}

#[test]
fn only_the_node_of_a_bound_pod_is_not_counted_on() {
    let answer = answer(&mk_view(nodes(), [odd("a", json!({}))]), &mk_template(1, json!({})));
    assert_eq!(answer.fits, interval(4, 12));
    let closed = answer.groups.iter().find(|group| group.names == ["a"]).unwrap();
    assert_eq!((closed.fits, closed.limiting_factor), (0, LimitingFactor::Unmodelled));
    assert_eq!(closed.reason, "pod web/odd is here, and what it takes cannot be read: containers are no list");
    let gone = odd("elsewhere", json!({}));
    assert_eq!(super::answer(&mk_view(nodes(), [gone]), &mk_template(1, json!({}))).fits, Fits::exact(12));
}

#[test]
fn free_gpus_of_a_node_that_nobody_can_tell_about_are_not_free() {
    let view = mk_view(nodes(), [odd("a", json!({}))]);
    assert_eq!(Inventory::of(&view, &Policy::default()).total_free_gpus(), 4);
}

#[test]
fn a_waiting_pod_may_go_wherever_what_can_be_read_of_it_lets_it() {
    let fits = |more: Value| {
        let mut tainted = mk_node("b", 4);
        tainted.spec.taints = from(json!([{"key": "gpu", "effect": "NoSchedule"}]));
        let tolerating = json!({"tolerations": [{"operator": "Exists"}]});
        answer(&mk_view([mk_node("a", 8), tainted], [odd("", more)]), &mk_template(1, tolerating)).fits
    };
    assert_eq!(fits(json!({})), interval(4, 12));
    assert_eq!(fits(json!({"nodeSelector": {"pool": "cpu"}})), Fits::exact(12));
    assert_eq!(fits(json!({"nodeSelector": 7})), interval(4, 12));
    assert_eq!(fits(json!({"tolerations": [{"key": "gpu", "operator": "Exists"}]})), interval(0, 12));
    assert_eq!(fits(json!({"tolerations": 7})), interval(0, 12));
}

#[test]
fn a_terminating_pod_without_a_node_is_nothing_and_one_with_a_node_holds_it() {
    for (node, expected) in [("", Fits::exact(12)), ("a", interval(4, 12))] {
        let mut pod = odd(node, json!({}));
        pod.metadata.deletion_timestamp = Some(crate::object::Moment::from(jiff::Timestamp::UNIX_EPOCH));
        assert_eq!(answer(&mk_view(nodes(), [pod]), &mk_template(1, json!({}))).fits, expected);
    }
}

#[test]
fn what_can_be_read_of_a_pod_decides_about_others() {
    let near = |app: &str| {
        let term = json!({"topologyKey": "kubernetes.io/hostname", "namespaceSelector": {}, "labelSelector": {"matchLabels": {"app": app}}});
        json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}})
    };
    let fits = |pod: Pod, more: Value| answer(&mk_view(nodes(), [pod]), &mk_template(1, more)).fits;
    assert_eq!(fits(odd("a", near("llm")), json!({})), interval(4, 12));
    assert_eq!(fits(odd("a", json!({})), near("odd")), interval(4, 12));
    assert_eq!(fits(odd("", near("llm")), json!({})), Fits::unknown());
    assert_eq!(fits(odd("", json!({})), near("odd")), Fits::unknown());
    assert_eq!(fits(odd("", near("cv")), near("cv")), interval(0, 12));
}

#[test]
fn a_template_that_cannot_be_read_as_a_whole_is_unknown() {
    let mut template = mk_template(1, json!({}));
    template.spec.flaw = odd("", json!({})).spec.flaw.clone();
    let answer = answer(&mk_view(nodes(), []), &template);
    assert_eq!((answer.fits, answer.unmodelled[0].code), (Fits::unknown(), "spec"));
}

#[test]
fn an_amount_that_no_machine_has_promises_nothing_to_those_who_ask_for_it() {
    let mut odd = mk_node("c", 0);
    odd.status.allocatable = from(json!({"cpu": "64", "memory": "512Gi", "pods": "110", "nvidia.com/gpu": "1e30"}));
    let view = mk_view([mk_node("a", 8), odd.clone()], []);
    let fits = |gpus| answer(&view, &mk_template(gpus, json!({}))).fits;
    assert_eq!(fits(1), interval(8, 8 + 64));
    assert_eq!(fits(0), Fits::exact(128));
    odd.status.allocatable = from(json!({"cpu": "1e30", "memory": "1e30", "pods": "1e30", "nvidia.com/gpu": "8"}));
    let all = mk_view([mk_node("a", 8), odd], []);
    assert_eq!(answer(&all, &mk_template(1, json!({}))).fits, interval(8, 16));
}

#[test]
fn a_request_that_no_machine_meets_fits_nowhere() {
    for amount in ["1e30", "9223372036854775807"] {
        let huge = json!({"requests": {"nvidia.com/gpu": amount}});
        let two = json!({"containers": [{"resources": huge}, {"resources": huge}]});
        assert_eq!(answer(&mk_view(nodes(), []), &mk_template(0, two)).fits, Fits::exact(0));
    }
    let mut pod = mk_pod("huge", "a", 0);
    pod.spec.containers = from(json!([{"resources": {"requests": {"nvidia.com/gpu": "1e30"}}}]));
    let mut other = pod.clone();
    other.metadata.name = "huge2".into();
    assert_eq!(answer(&mk_view(nodes(), [pod, other]), &mk_template(1, json!({}))).fits, Fits::exact(4));
}

#[test]
fn the_first_of_a_series_may_go_to_a_node_that_is_not_counted_on_and_lead_the_others_there() {
    let near = json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "llm"}}}]}}});
    let in_zone = |mut node: Node, zone: &str| {
        node.metadata.labels.insert("zone", zone);
        node
    };
    let nodes = [in_zone(mk_node("a", 8), "one"), in_zone(mk_node("b", 4), "two")];
    let known = answer(&mk_view(nodes.clone(), []), &mk_template(1, near.clone())).fits;
    assert_eq!(known, interval(4, 8));
    let fits = answer(&mk_view(nodes, [odd("b", json!({}))]), &mk_template(1, near)).fits;
    assert_eq!((fits.class, fits.lo), (Class::Interval, 1));
}
