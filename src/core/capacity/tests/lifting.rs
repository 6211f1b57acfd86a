//! The smallest change that lifts a limit, and what trying it leaves behind.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{from, mk_node, mk_pod, mk_template, mk_view};
use crate::{
    capacity::{Edit, Inventory, Ledger, Lift, Limited, Model, Template, smallest},
    cluster::{Change, Delta, DeviceChange, StorageChange, View},
    object::{ObjectKey, Pod, PodTemplate, ResourceQuota},
    policy::Policy,
};

pub(super) fn lift(view: &mut View, template: &PodTemplate) -> Option<Lift> {
    let (policy, mut ledger) = (Policy::default(), Arc::new(Ledger::of(view)));
    let model = Model { view, ledger: &mut ledger, policy: &policy };
    let limited = Limited { namespace: "ml", template, group: None, started: &[], pending: 0 };
    smallest(model, limited, |_| false)
}

fn promised(view: &View, template: &PodTemplate) -> u32 {
    Inventory::of(view, &Policy::default()).fits_beside(&Template::of(template, "ml", view), |_| true).further(0)
}

fn limit(view: &mut View, hard: &Value, used: &Value) {
    let quota: ResourceQuota = from(json!({
        "metadata": {"name": "team", "namespace": "ml"}, "spec": {"hard": hard}, "status": {"hard": hard, "used": used},
    }));
    view.apply(Change::ResourceQuota(Delta::Applied(quota)));
}

fn cordoned(name: &str, gpus: u32) -> crate::object::Node {
    let mut node = mk_node(name, gpus);
    node.spec.unschedulable = true;
    node
}

#[test]
fn a_quota_alone_is_raised_by_what_one_replica_lacks() {
    let mut view = mk_view([mk_node("a", 8)], []);
    limit(
        &mut view,
        &json!({"requests.nvidia.com/gpu": "5", "pods": "2"}),
        &json!({"requests.nvidia.com/gpu": "3", "pods": "2"}),
    );
    let lift = lift(&mut view, &mk_template(4, json!({}))).unwrap();
    assert_eq!(
        lift.change,
        "allow 1 more of pods in ResourceQuota ml/team, 3 in all, and allow 2 more of requests.nvidia.com/gpu in \
         ResourceQuota ml/team, 7 in all"
    );
    assert_eq!((lift.gain, lift.edits.len()), (1, 2));
}

#[test]
fn where_quota_and_room_both_limit_both_are_lifted() {
    let mut view = mk_view([mk_node("a", 4), cordoned("b", 4)], []);
    limit(&mut view, &json!({"requests.nvidia.com/gpu": "4"}), &json!({"requests.nvidia.com/gpu": "0"}));
    let lift = lift(&mut view, &mk_template(4, json!({}))).unwrap();
    let quota = ObjectKey::new("ml", "team");
    let raised = Edit::Quota { quota, resource: "requests.nvidia.com/gpu".to_owned(), hard: "8".parse().unwrap() };
    assert_eq!((lift.gain, lift.edits), (1, vec![raised, Edit::Uncordon { node: "b".to_owned() }]));
}

#[test]
fn a_quota_that_does_not_limit_yet_stays_as_it_is() {
    let mut view = mk_view([mk_node("a", 4), cordoned("b", 4)], []);
    limit(&mut view, &json!({"pods": "10"}), &json!({"pods": "0"}));
    let lift = lift(&mut view, &mk_template(4, json!({}))).unwrap();
    assert_eq!(lift.edits, [Edit::Uncordon { node: "b".to_owned() }]);
}

#[test]
fn a_pod_is_moved_where_it_has_another_place_and_a_node_is_added_where_it_has_none() {
    // Seven of eight are free on a; the pod in the way fits on b.
    let crowded = |free: u32| mk_view([mk_node("a", 8), mk_node("b", free)], [mk_pod("small", "a", 1)]);
    let moved = lift(&mut crowded(1), &mk_template(8, json!({}))).unwrap();
    assert_eq!((moved.change.as_str(), moved.gain), ("move pod ml/small to node b", 1));
    let added = lift(&mut crowded(0), &mk_template(8, json!({}))).unwrap();
    assert_eq!((added.change.as_str(), added.gain), ("add one node like a", 1));
}

#[test]
fn what_nothing_lifts_is_not_guessed() {
    let mut view = mk_view([mk_node("a", 4)], []);
    assert_eq!(lift(&mut view, &mk_template(8, json!({}))), None);
    let gated = mk_template(1, json!({"schedulerName": "other"}));
    assert_eq!(lift(&mut view, &gated), None);
}

#[test]
fn a_node_that_is_added_has_the_drivers_and_devices_of_its_like() {
    let mut bare = mk_node("a", 0);
    bare.status.allocatable.remove("nvidia.com/gpu");
    let mut view = mk_view([bare], []);
    let node = json!({"metadata": {"name": "a"}, "spec": {"drivers": [{"name": "d", "nodeID": "1", "allocatable": {"count": 3}}]}});
    view.apply(Change::Storage(StorageChange::Node(Delta::Applied(from(node)))));
    let device = json!({"name": "gpu-0", "attributes": {"type": {"string": "gpu"}}});
    let pool = json!({"name": "a", "generation": 1, "resourceSliceCount": 1});
    let slice = json!({"driver": "gpu.nvidia.com", "nodeName": "a", "pool": pool, "devices": [device]});
    let selectors = json!([{"cel": {"expression": "device.driver == 'gpu.nvidia.com'"}}]);
    let class = json!({"metadata": {"name": "gpu"}, "spec": {"selectors": selectors, "extendedResourceName": "nvidia.com/gpu"}});
    for change in [
        DeviceChange::Slice(Delta::Applied(from(json!({"metadata": {"name": "a-1"}, "spec": slice})))),
        DeviceChange::Class(Delta::Applied(from(class))),
        DeviceChange::Claim(Delta::Replaced(Vec::new())),
    ] {
        view.apply(Change::Device(change));
    }
    let template = mk_template(1, json!({}));
    assert_eq!(promised(&view, &template), 1);
    let before = view.clone();
    let found = lift(&mut view, &template).unwrap();
    assert_eq!((found.change.as_str(), found.gain), ("add one node like a", 1));
    assert_eq!(view, before);
    let edit = Edit::AddNodes { count: 2, like: "a".to_owned() };
    edit.apply(&mut view, &mut template.clone()).unwrap();
    assert_eq!(promised(&view, &template), 3);
    let limits = view.storage.nodes.unwrap();
    assert_eq!(limits["a-added-1"].spec, limits["a"].spec);
}

fn pods() -> impl Strategy<Value = Vec<Pod>> {
    let pod = (0_usize..4, 1_u32..4);
    prop::collection::vec(pod, 0..8).prop_map(|pods| {
        let pods = pods.into_iter().enumerate();
        pods.map(|(index, (node, gpus))| mk_pod(&format!("p{index}"), &format!("n{node}"), gpus)).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_named_helps_by_what_is_said_and_trying_leaves_no_trace(
        nodes in prop::collection::vec((0_u32..6, any::<bool>()), 1..5),
        pods in pods(), gpus in 1_u32..6, allowed in prop::option::of((0_u32..12, 0_u32..12)),
    ) {
        let nodes = nodes.iter().enumerate().map(|(index, (gpus, shut))| {
            let name = format!("n{index}");
            if *shut { cordoned(&name, *gpus) } else { mk_node(&name, *gpus) }
        });
        let mut view = mk_view(nodes, pods);
        if let Some((hard, used)) = allowed {
            limit(&mut view, &json!({"requests.nvidia.com/gpu": hard.to_string()}), &json!({"requests.nvidia.com/gpu": used.to_string()}));
        }
        let template = mk_template(gpus, json!({}));
        let (policy, before) = (Policy::default(), view.clone());
        let mut ledger = Arc::new(Ledger::of(&view));
        let fits = |view: &View, ledger: &Arc<Ledger>| {
            Inventory::with(view, &policy, Arc::clone(ledger)).fits(&Template::of(&template, "ml", view))
        };
        let answer = fits(&view, &ledger);
        let limited = Limited { namespace: "ml", template: &template, group: None, started: &[], pending: 0 };
        let model = Model { view: &mut view, ledger: &mut ledger, policy: &policy };
        let found = smallest(model, limited, |_| false);
        prop_assert_eq!(&view, &before);
        prop_assert_eq!(fits(&view, &ledger), answer);
        if let Some(Lift { edits, gain, .. }) = found {
            let promised_before = promised(&view, &template);
            for edit in &edits {
                edit.apply(&mut view, &mut template.clone()).unwrap();
            }
            prop_assert_eq!(promised(&view, &template), promised_before + gain);
        }
    }
}
