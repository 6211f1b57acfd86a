//! How many fit, and what is said to stop the next one.

use serde_json::{Value, json};

use super::*;
use crate::capacity::{Fits, LimitingFactor};

fn tainted(mut node: Node, key: &str) -> Node {
    node.spec.taints.push(from(json!({"key": key, "effect": "NoSchedule"})));
    node
}

fn labelled(mut node: Node, key: &str, value: &str) -> Node {
    node.metadata.labels.insert(key.to_owned(), value.to_owned());
    node
}

fn unready(mut node: Node) -> Node {
    node.status.conditions.clear();
    node
}

#[track_caller]
fn expect(view: &View, template: &PodTemplate, count: u32, factor: LimitingFactor) {
    let answer = answer(view, template);
    assert_eq!((answer.fits, answer.limiting_factor), (Fits::exact(count), factor), "{answer:#?}");
}

#[test]
fn free_gpus_bound_the_count() {
    let view = mk_view([mk_node("a", 8), mk_node("b", 8)], [mk_pod("p", "a", 5)]);
    expect(&view, &mk_template(1, json!({})), 11, LimitingFactor::Gpu);
    let answer = answer(&view, &mk_template(1, json!({})));
    assert_eq!((answer.free_gpus, answer.stranded_gpus), (11, 0));
}

#[test]
fn three_free_gpus_on_each_of_eight_nodes_hold_no_replica_that_wants_four() {
    let nodes = (0..8).map(|i| mk_node(&format!("n{i}"), 3));
    let view = mk_view(nodes, []);
    expect(&view, &mk_template(4, json!({})), 0, LimitingFactor::Fragmentation);
    let nodes = (0..8).map(|i| mk_node(&format!("n{i}"), 8));
    let view = mk_view(nodes, (0..8).map(|i| mk_pod(&format!("p{i}"), &format!("n{i}"), 5)));
    expect(&view, &mk_template(4, json!({})), 0, LimitingFactor::Fragmentation);
    assert_eq!(answer(&view, &mk_template(4, json!({}))).stranded_gpus, 24);
}

#[test]
fn terminating_pods_hold_their_gpus_and_terminal_ones_do_not() {
    let mut terminating = mk_pod("t", "a", 3);
    terminating.metadata.deletion_timestamp = Some(jiff::Timestamp::UNIX_EPOCH.into());
    let mut done = mk_pod("d", "a", 2);
    done.status.phase = "Succeeded".into();
    let view = mk_view([mk_node("a", 8)], [terminating, done]);
    expect(&view, &mk_template(1, json!({})), 5, LimitingFactor::Gpu);
}

#[test]
fn the_pod_count_of_a_node_binds_and_is_zero_when_absent() {
    let mut few = mk_node("a", 8);
    few.status.allocatable.insert("pods".to_owned(), "3".parse().unwrap());
    let view = mk_view([few.clone()], [mk_pod("p", "a", 0)]);
    expect(&view, &mk_template(1, json!({})), 2, LimitingFactor::PodCount);
    few.status.allocatable.remove("pods");
    expect(&mk_view([few], []), &mk_template(1, json!({})), 0, LimitingFactor::PodCount);
}

#[test]
fn cpu_is_compared_in_milli_and_memory_in_bytes() {
    let mut node = mk_node("a", 8);
    node.status.allocatable.insert("cpu".to_owned(), "3999m".parse().unwrap());
    expect(&mk_view([node.clone()], []), &mk_template(1, json!({})), 3, LimitingFactor::Cpu);
    node.status.allocatable.insert("cpu".to_owned(), "4".parse().unwrap());
    node.status.allocatable.insert("memory".to_owned(), "2147483647".parse().unwrap());
    expect(&mk_view([node], []), &mk_template(1, json!({})), 1, LimitingFactor::Memory);
}

#[test]
fn tolerations_open_tainted_nodes_by_every_operator() {
    let mut node = mk_node("a", 4);
    node.spec.taints.push(from(json!({"key": "pool", "value": "llm", "effect": "NoExecute"})));
    node.spec.taints.push(from(json!({"key": "soft", "effect": "PreferNoSchedule"})));
    let view = mk_view([node], []);
    let with = |tolerations: Value| mk_template(1, json!({"tolerations": tolerations}));
    expect(&view, &with(json!([])), 0, LimitingFactor::Taint);
    expect(&view, &with(json!([{"key": "pool", "value": "cv"}])), 0, LimitingFactor::Taint);
    expect(
        &view,
        &with(json!([{"key": "pool", "operator": "Exists", "effect": "NoSchedule"}])),
        0,
        LimitingFactor::Taint,
    );
    expect(&view, &with(json!([{"key": "pool", "operator": "Gt", "value": "1"}])), 0, LimitingFactor::Taint);
    for tolerated in [
        json!([{"key": "pool", "value": "llm"}]),
        json!([{"key": "pool", "operator": "Equal", "value": "llm", "effect": "NoExecute"}]),
        json!([{"key": "pool", "operator": "Exists"}]),
        json!([{"operator": "Exists"}]),
    ] {
        expect(&view, &with(tolerated), 4, LimitingFactor::Gpu);
    }
}

#[test]
fn pods_that_need_a_feature_of_the_kubelet_fit_only_where_it_is_declared() {
    let mut able = mk_node("a", 2);
    able.status.declared_features = vec!["RestartAllContainersOnContainerExits".to_owned()];
    let view = mk_view([able, mk_node("b", 8)], []);
    expect(&view, &mk_template(1, json!({})), 10, LimitingFactor::Gpu);
    let mut restarts = mk_template(1, json!({}));
    restarts.spec.containers[0].restart_policy_rules = from(json!([{"action": "Restart"}]));
    expect(&view, &restarts, 10, LimitingFactor::Gpu);
    restarts.spec.containers[0].restart_policy_rules = from(json!([{"action": "RestartAllContainers"}]));
    expect(&view, &restarts, 2, LimitingFactor::Gpu);
    let mapped = mk_template(1, json!({"hostNetwork": true, "hostUsers": false}));
    expect(&view, &mapped, 0, LimitingFactor::Affinity);
}

#[test]
fn a_cordoned_node_takes_nothing_unless_the_cordon_is_tolerated() {
    let mut node = mk_node("a", 4);
    node.spec.unschedulable = true;
    let view = mk_view([node], []);
    expect(&view, &mk_template(1, json!({})), 0, LimitingFactor::Taint);
    let tolerations = json!([{"key": "node.kubernetes.io/unschedulable", "operator": "Exists"}]);
    expect(&view, &mk_template(1, json!({"tolerations": tolerations})), 4, LimitingFactor::Gpu);
}

#[test]
fn a_node_that_is_not_ready_is_promised_to_nobody_but_raises_what_may_be_until_a_taint_repels() {
    let not_ready = || unready(mk_node("a", 8));
    let effect = |mut node: Node, effect: &str| {
        node.spec.taints.iter_mut().for_each(|taint| effect.clone_into(&mut taint.effect));
        node
    };
    let unreachable = |node| tainted(node, "node.kubernetes.io/unreachable");
    let own = json!({"tolerations": [{"operator": "Exists"}]});
    let seconds = json!({"tolerations": [{"key": "node.kubernetes.io/unreachable", "value": "x"}]});
    for (node, more, hi) in [
        (not_ready(), json!({}), 10),
        (unreachable(not_ready()), json!({}), 2),
        (unreachable(not_ready()), own.clone(), 10),
        (effect(unreachable(not_ready()), "NoExecute"), json!({}), 10),
        (effect(unreachable(mk_node("a", 8)), "NoExecute"), json!({}), 10),
        (effect(unreachable(mk_node("a", 8)), "NoExecute"), seconds, 2),
        (tainted(not_ready(), "other"), json!({}), 2),
    ] {
        let view = mk_view([node, mk_node("b", 2)], []);
        assert_eq!(answer(&view, &mk_template(1, more)).fits, Fits::between(2, Some(hi)));
    }
    let view = mk_view([effect(unreachable(mk_node("a", 8)), "NoExecute")], []);
    expect(&view, &mk_template(1, own), 8, LimitingFactor::Gpu);
}

#[test]
fn taints_are_the_factor_when_only_nodes_without_gpus_are_open() {
    let view = mk_view([tainted(mk_node("gpu", 8), "nvidia.com/gpu"), mk_node("cpu", 0)], []);
    expect(&view, &mk_template(1, json!({})), 0, LimitingFactor::Taint);
}

#[test]
fn node_selectors_and_every_affinity_operator_choose_nodes() {
    let nodes = [labelled(mk_node("a", 1), "gen", "80"), labelled(mk_node("b", 2), "gen", "90"), mk_node("c", 4)];
    let view = mk_view(nodes, []);
    expect(&view, &mk_template(1, json!({"nodeSelector": {"gen": "90"}})), 2, LimitingFactor::Gpu);
    expect(&view, &mk_template(1, json!({"nodeSelector": {"gen": "100"}})), 0, LimitingFactor::Affinity);
    let term = |expressions: Value| {
        let required = json!({"nodeSelectorTerms": [{"matchExpressions": expressions}]});
        affine(&required)
    };
    for (expressions, count) in [
        (json!([{"key": "gen", "operator": "In", "values": ["80", "90"]}]), 3),
        (json!([{"key": "gen", "operator": "NotIn", "values": ["80"]}]), 6),
        (json!([{"key": "gen", "operator": "Exists"}]), 3),
        (json!([{"key": "gen", "operator": "DoesNotExist"}]), 4),
        (json!([{"key": "gen", "operator": "Gt", "values": ["80"]}]), 2),
        (json!([{"key": "gen", "operator": "Lt", "values": ["90"]}]), 1),
        (json!([{"key": "gen", "operator": "Exists"}, {"key": "gen", "operator": "NotIn", "values": ["90"]}]), 1),
        (json!([]), 0),
        (json!([{"key": "gen", "operator": "Like", "values": ["8"]}]), 0),
        (json!([{"key": "gen", "operator": "Gt", "values": ["x"]}]), 0),
        (json!([{"key": "gen", "operator": "In", "values": []}]), 0),
    ] {
        let factor = if count == 0 { LimitingFactor::Affinity } else { LimitingFactor::Gpu };
        expect(&view, &term(expressions), count, factor);
    }
}

fn affine(required: &Value) -> PodTemplate {
    let affinity = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}});
    mk_template(1, json!({"affinity": affinity}))
}

#[test]
fn terms_are_alternatives_and_fields_name_nodes() {
    let view = mk_view([mk_node("a", 1), mk_node("b", 2), mk_node("c", 4)], []);
    let field = |operator: &str, name: &str| json!({"matchFields": [{"key": "metadata.name", "operator": operator, "values": [name]}]});
    let count = |terms: Value| answer(&view, &affine(&json!({"nodeSelectorTerms": terms}))).fits.lo;
    assert_eq!(count(json!([field("In", "b"), field("In", "c")])), 6);
    assert_eq!(count(json!([field("NotIn", "c")])), 3);
    assert_eq!(count(json!([{}, field("In", "a")])), 1);
    assert_eq!(count(json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["a", "b"]}]}])), 0);
}

#[test]
fn groups_say_what_stops_the_next_replica_on_which_nodes() {
    let nodes = [mk_node("a", 8), mk_node("b", 8), tainted(mk_node("c", 8), "dedicated")];
    let answer = answer(&mk_view(nodes, []), &mk_template(3, json!({})));
    let seen: Vec<_> =
        answer.groups.iter().map(|group| (group.nodes, group.names.join(","), group.fits, &*group.reason)).collect();
    assert_eq!(
        seen,
        [
            (2, "a,b".to_owned(), 4, "not enough nvidia.com/gpu for one more"),
            (1, "c".to_owned(), 0, "taint dedicated:NoSchedule is not tolerated"),
        ]
    );
    assert_eq!((answer.free_gpus, answer.stranded_gpus), (16, 4));
}

#[test]
fn an_empty_cluster_fits_nothing_for_want_of_gpus() {
    expect(&mk_view([], []), &mk_template(1, json!({})), 0, LimitingFactor::Gpu);
}

#[test]
fn a_resource_that_no_node_offers_is_named() {
    let template = mk_template(1, json!({"containers": [{"resources": {"limits": {"amd.com/gpu": "1"}}}]}));
    let answer = answer(&mk_view([mk_node("a", 8)], []), &template);
    assert_eq!((answer.fits, answer.limiting_factor), (Fits::exact(0), LimitingFactor::Gpu));
    assert_eq!(answer.groups[0].reason, "no node offers amd.com/gpu");
}

#[test]
fn placing_packs_the_fullest_node_and_releasing_gives_it_back() {
    let view = mk_view([mk_node("a", 8), mk_node("b", 8)], [mk_pod("p", "b", 5)]);
    let policy = Policy::default();
    let mut inventory = Inventory::of(&view, &policy);
    let template = Template::of(&mk_template(2, json!({})), "ml", &view);
    let row = inventory.place(&template).unwrap();
    assert_eq!(inventory.node_name(row), Some("b"));
    assert_eq!(inventory.fits(&template).fits, Fits::exact(4));
    inventory.release(row, &template);
    assert_eq!(inventory.fits(&template).fits, Fits::exact(5));
    assert_eq!(inventory.total_free_gpus(), 11);
}
