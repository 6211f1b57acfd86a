//! Nodes whose GPUs have not registered yet.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::*;

const GPU: &str = "nvidia.com/gpu";

fn now() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().unwrap()
}

/// A node that has been ready for a minute.
fn node(name: &str, gpus: Option<u32>, labels: &Value) -> Node {
    let since = (now() - SignedDuration::from_secs(60)).to_string();
    let mut resources = json!({"cpu": "64", "memory": "512Gi", "pods": "110"});
    if let Some(gpus) = gpus {
        resources[GPU] = json!(gpus.to_string());
    }
    from(json!({
        "metadata": {"name": name, "labels": labels},
        "status": {
            "capacity": resources, "allocatable": resources,
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": since}],
        },
    }))
}

fn outlook_of(nodes: impl IntoIterator<Item = Node>) -> Outlook {
    let nodes = nodes.into_iter().map(|node| (node.metadata.name.clone(), node)).collect();
    Outlook::of(&View { nodes, ..View::default() }, &Policy::default(), now())
}

/// What each node will offer.
fn expected(outlook: &Outlook) -> Vec<(&str, i64)> {
    let nodes = outlook.registering.nodes.values();
    nodes.map(|node| (node.metadata.name.as_str(), node.status.allocatable[GPU].units())).collect()
}

#[test]
fn gpus_that_labels_tell_of_are_on_their_way() {
    let outlook = outlook_of([
        node("counted", None, &json!({"nvidia.com/gpu.count": "8"})),
        node("zero", Some(0), &json!({"nvidia.com/gpu.present": "true", "nvidia.com/gpu.count": "4"})),
        node("shared", None, &json!({"nvidia.com/gpu.count": "2", "nvidia.com/gpu.replicas": "5"})),
        node(
            "karpenter",
            None,
            &json!({"karpenter.k8s.aws/instance-gpu-count": "1", "karpenter.k8s.aws/instance-gpu-manufacturer": "nvidia"}),
        ),
        node("plain", None, &json!({"nvidia.com/gpu.count": "0"})),
        node("here", Some(8), &json!({"nvidia.com/gpu.count": "8"})),
    ]);
    assert_eq!(expected(&outlook), [("counted", 8), ("karpenter", 1), ("shared", 10), ("zero", 4)]);
    assert_eq!(outlook.unregistered, ["counted", "karpenter", "shared", "zero"]);
}

#[test]
fn how_many_is_learnt_from_a_node_of_the_same_kind_or_is_not_known() {
    let product = |product: &str| json!({"nvidia.com/gpu.product": product});
    let nodes = [node("old", Some(8), &product("H100")), node("new", None, &product("H100"))];
    assert_eq!(expected(&outlook_of(nodes)), [("new", 8)]);
    let outlook = outlook_of([node("old", Some(8), &product("A100")), node("new", None, &product("H100"))]);
    assert_eq!((expected(&outlook), outlook.unregistered.as_slice()), (vec![], &["new".to_owned()][..]));
}

#[test]
fn a_node_that_has_been_ready_for_long_is_not_waited_for() {
    let mut late = node("late", None, &json!({"nvidia.com/gpu.count": "8"}));
    late.status.conditions[0].last_transition_time = Some(now() - Policy::default().provision_timeout);
    assert!(outlook_of([late]).is_empty());
}

#[test]
fn devices_that_are_allocated_by_claims_never_register() {
    let mut view = View::default();
    view.nodes.insert("a".to_owned(), node("a", None, &json!({"nvidia.com/gpu.count": "8"})));
    let slice = from(json!({"metadata": {"name": "s"}, "spec": {"nodeName": "a", "driver": "gpu.nvidia.com"}}));
    view.devices.slices = Some([("s".to_owned(), slice)].into());
    assert!(Outlook::of(&view, &Policy::default(), now()).is_empty());
}

#[test]
fn a_node_of_a_group_is_being_brought_until_its_gpus_have_registered() {
    let labels = json!({"karpenter.sh/nodepool": "gpu", "nvidia.com/gpu.count": "8"});
    let group = NodeGroup { name: "gpu".to_owned(), max: Some(2), target: 2, arriving: 1, ..NodeGroup::default() };
    let written = now() - SignedDuration::from_secs(120);
    let autoscaler = NodeAutoscaler { groups: vec![group], updated: Some(written), ..NodeAutoscaler::default() };
    let mut view = View { node_autoscaler: Some(autoscaler), ..View::default() };
    view.nodes.insert("b".to_owned(), node("b", None, &labels));
    let outlook = Outlook::of(&view, &Policy::default(), now());
    // Ready since it was written about, and of no use yet.
    let offers: Vec<_> = outlook.arriving.nodes.values().map(|node| node.status.allocatable[GPU].units()).collect();
    assert_eq!((offers, outlook.registering.nodes.len()), (vec![8], 0));
    view.nodes.insert("b".to_owned(), node("b", Some(8), &labels));
    assert!(Outlook::of(&view, &Policy::default(), now()).arriving.nodes.is_empty());
}

#[test]
fn a_claim_knows_what_its_node_will_offer() {
    let pool: karpenter::NodePool = from(json!({"metadata": {"name": "gpu"}}));
    let claim: karpenter::NodeClaim = from(json!({
        "metadata": {"name": "gpu-1", "labels": {"karpenter.sh/nodepool": "gpu"}},
        "status": {"allocatable": {"cpu": "60", GPU: "4"}, "conditions": [{"type": "Launched", "status": "True"}]},
    }));
    let groups = karpenter::groups(vec![pool], &[claim]);
    assert_eq!((groups[0].shape[GPU].units(), groups[0].arriving), (4, 1));
    let autoscaler = NodeAutoscaler { groups, ..NodeAutoscaler::default() };
    let mut view = View { node_autoscaler: Some(autoscaler), ..View::default() };
    view.nodes.insert("gpu-1".to_owned(), node("gpu-1", None, &json!({"karpenter.sh/nodepool": "gpu"})));
    let outlook = Outlook::of(&view, &Policy::default(), now());
    let offers: Vec<_> = outlook.arriving.nodes.values().map(|node| &node.status.allocatable).collect();
    assert_eq!((offers[0][GPU].units(), offers[0]["cpu"].units()), (4, 64));
}
