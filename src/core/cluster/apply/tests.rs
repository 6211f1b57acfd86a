//! What a view says after changes.

use proptest::prelude::*;

use super::super::{Change, Delta, Effect, Namespace, View};
use crate::object::{
    HorizontalPodAutoscaler, LimitRange, Node, ObjectKey, ObjectMeta, Pod, ResourceQuota, ScaleTarget, WorkloadKey,
};

fn meta(namespace: &str, name: &str) -> ObjectMeta {
    ObjectMeta { namespace: namespace.to_owned(), name: name.to_owned(), ..ObjectMeta::default() }
}

fn node(name: &str, gpus: &str) -> Node {
    let mut node = Node { metadata: meta("", name), ..Node::default() };
    node.status.allocatable.insert("nvidia.com/gpu".to_owned(), gpus.parse().unwrap());
    node
}

fn pod(name: &str, node: &str) -> Pod {
    let mut pod = Pod { metadata: meta("ml", name).into(), ..Pod::default() };
    pod.node_name = node.into();
    pod
}

fn workload(kind: &str, name: &str) -> WorkloadKey {
    WorkloadKey { namespace: "ml".to_owned(), group: "apps".to_owned(), kind: kind.to_owned(), name: name.to_owned() }
}

fn workloads(kind: &str, names: &[&str]) -> Change {
    let list = names.iter().map(|name| (workload(kind, name), ScaleTarget::default())).collect();
    Change::Workload { group: "apps".to_owned(), kind: kind.to_owned(), delta: Delta::Replaced(list) }
}

fn labelled(key: &str) -> Namespace {
    Namespace { labels: [(key.to_owned(), "x".to_owned())].into(), ..Namespace::default() }
}

fn class(name: &str, value: i32, global_default: bool) -> Change {
    Change::PriorityClass(Delta::Applied((name.to_owned(), value, global_default)))
}

#[test]
fn a_relist_leaves_exactly_what_it_lists() {
    let mut view = View::default();
    view.apply(Change::Pod(Delta::Applied(pod("a", "n1"))));
    view.apply(Change::Pod(Delta::Applied(pod("b", "n1"))));
    let effect = view.apply(Change::Pod(Delta::Replaced(vec![pod("b", "n1"), pod("c", "n2")])));
    assert_eq!(effect, Effect::Matters);
    let names: Vec<_> = view.pods.keys().map(|key| key.name.as_str()).collect();
    assert_eq!(names, ["b", "c"]);
}

#[test]
fn saying_the_same_again_does_not_matter() {
    let changes = [
        Change::Node(Delta::Applied(node("n1", "8"))),
        Change::Pod(Delta::Replaced(vec![pod("a", "n1")])),
        Change::Hpa(Delta::Applied(HorizontalPodAutoscaler::default())),
        workloads("Deployment", &["llm"]),
        Change::Namespace(Delta::Replaced(vec![("ml".to_owned(), labelled("team"))])),
        Change::ResourceQuota(Delta::Replaced(vec![quota("ml", "gpus")])),
        Change::LimitRange(Delta::Applied(LimitRange::default())),
        class("high", 1000, true),
        Change::NodeAutoscaler(Some(crate::autoscaler::NodeAutoscaler::default())),
    ];
    let mut view = View::default();
    for change in changes {
        assert_eq!(view.apply(change.clone()), Effect::Matters, "{change:?}");
        assert_eq!(view.apply(change.clone()), Effect::Same, "{change:?}");
    }
}

#[test]
fn what_changes_capacity_matters_and_a_nodes_annotations_do_not() {
    let mut view = View::default();
    view.apply(Change::Node(Delta::Applied(node("n1", "8"))));
    let mut annotated = node("n1", "8");
    annotated.metadata.annotations.insert("volumes".to_owned(), "1".to_owned());
    assert_eq!(view.apply(Change::Node(Delta::Applied(annotated))), Effect::Minor);
    assert_eq!(view.apply(Change::Node(Delta::Applied(node("n1", "7")))), Effect::Matters);
    assert_eq!(view.apply(Change::Node(Delta::Deleted("n1".to_owned()))), Effect::Matters);
    assert_eq!(view.apply(Change::Node(Delta::Deleted("n1".to_owned()))), Effect::Same);
}

#[test]
fn a_pod_that_gets_a_node_matters() {
    let mut view = View::default();
    view.apply(Change::Pod(Delta::Applied(pod("a", ""))));
    assert!(view.apply(Change::Pod(Delta::Applied(pod("a", "n1")))).matters());
}

#[test]
fn a_relist_of_one_kind_leaves_the_other_kinds_alone() {
    let mut view = View::default();
    view.apply(workloads("Deployment", &["llm"]));
    view.apply(workloads("StatefulSet", &["db"]));
    view.apply(workloads("Deployment", &[]));
    assert_eq!(view.workloads.keys().collect::<Vec<_>>(), [&workload("StatefulSet", "db")]);
}

fn quota(namespace: &str, name: &str) -> ResourceQuota {
    let metadata = ObjectMeta { namespace: namespace.to_owned(), name: name.to_owned(), ..ObjectMeta::default() };
    ResourceQuota { metadata, ..ResourceQuota::default() }
}

#[test]
fn the_lowest_of_several_global_default_priorities_counts() {
    let mut view = View::default();
    view.apply(class("a", 20, true));
    view.apply(class("b", 10, true));
    view.apply(class("c", 5, false));
    assert_eq!(view.priority_classes.get(""), Some(&10));
    view.apply(Change::PriorityClass(Delta::Deleted("b".to_owned())));
    assert_eq!(view.priority_classes.get(""), Some(&20));
    view.apply(class("a", 20, false));
    assert_eq!(view.priority_classes.get(""), None);
}

/// Changes of different kinds and objects, each complete in itself.
fn independent_changes() -> Vec<Change> {
    vec![
        Change::Node(Delta::Replaced(vec![node("n1", "8"), node("n2", "4")])),
        Change::Pod(Delta::Replaced(vec![pod("a", "n1"), pod("b", "")])),
        Change::Hpa(Delta::Replaced(vec![HorizontalPodAutoscaler::default()])),
        workloads("Deployment", &["llm", "web"]),
        workloads("StatefulSet", &["db"]),
        Change::Namespace(Delta::Replaced(vec![("ml".to_owned(), labelled("team"))])),
        Change::ResourceQuota(Delta::Replaced(vec![quota("ml", "z"), quota("ml", "a")])),
        Change::ResourceQuota(Delta::Deleted(ObjectKey::new("other", "gone"))),
        Change::LimitRange(Delta::Replaced(vec![LimitRange::default()])),
        Change::PriorityClass(Delta::Replaced(vec![("high".to_owned(), 9, true)])),
        Change::NodeAutoscaler(Some(crate::autoscaler::NodeAutoscaler::default())),
    ]
}

fn view_of(changes: Vec<Change>) -> View {
    let mut view = View::default();
    for change in changes {
        view.apply(change);
    }
    view
}

proptest! {
    #[test]
    fn the_order_of_arrival_is_irrelevant(shuffled in Just(independent_changes()).prop_shuffle()) {
        prop_assert_eq!(view_of(shuffled), view_of(independent_changes()));
    }

    #[test]
    fn events_and_a_list_make_the_same_view(names in prop::collection::btree_set("[a-c]{1,2}", 0..6)) {
        let listed = names.iter().map(|name| pod(name, "n1")).collect();
        let one_by_one = names.iter().map(|name| Change::Pod(Delta::Applied(pod(name, "n1")))).collect();
        prop_assert_eq!(view_of(vec![Change::Pod(Delta::Replaced(listed))]), view_of(one_by_one));
    }
}
