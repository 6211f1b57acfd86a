//! What admission lets through, and what it makes of a template.

use serde_json::{Value, json};

use super::*;
use crate::{
    capacity::{Class, Fits},
    cluster::Namespace,
    object::{LimitRange, ObjectKey, ResourceQuota, RuntimeClass},
};

fn quota(name: &str, spec: &Value, used: &Value) -> ResourceQuota {
    let status = json!({"hard": spec["hard"], "used": used});
    from(json!({"metadata": {"name": name, "namespace": "ml"}, "spec": spec, "status": status}))
}

fn add_quota(view: &mut View, quota: ResourceQuota) {
    view.resource_quotas.insert(quota.metadata.key(), quota);
}

/// What a quota with one limit leaves for [`mk_template`] with further fields.
fn room(hard: (&str, &str), used: &str, more: Value) -> Option<u32> {
    let mut view = mk_view([mk_node("a", 8)], []);
    add_quota(&mut view, quota("team", &json!({"hard": {hard.0: hard.1}}), &json!({hard.0: used})));
    let answer = answer(&view, &mk_template(2, more));
    assert_eq!(answer.fits, Fits::exact(4), "quota does not change what the scheduler could place");
    answer.quota.map(|room| room.pods)
}

#[test]
fn every_resource_of_a_quota_limits_creation_by_what_a_pod_is_charged() {
    for (hard, used, pods) in [
        (("pods", "10"), "7", Some(3)),
        (("count/pods", "10"), "10", Some(0)),
        (("cpu", "4"), "1500m", Some(2)),
        (("requests.cpu", "4"), "0", Some(4)),
        (("requests.memory", "3Gi"), "1", Some(2)),
        (("requests.nvidia.com/gpu", "8"), "3", Some(2)),
        (("requests.nvidia.com/gpu", "2"), "6", Some(0)),
        (("limits.ephemeral-storage", "1Gi"), "0", None),
        (("requests.amd.com/gpu", "0"), "0", None),
        (("count/deployments.apps", "0"), "0", None),
    ] {
        assert_eq!(room(hard, used, json!({})), pods, "{hard:?}");
    }
}

#[test]
fn overhead_is_charged_and_the_tightest_quota_counts() {
    assert_eq!(room(("cpu", "4"), "0", json!({"overhead": {"cpu": "1"}})), Some(2));
    let mut view = mk_view([mk_node("a", 8)], []);
    add_quota(&mut view, quota("wide", &json!({"hard": {"pods": "100"}}), &json!({"pods": "0"})));
    add_quota(
        &mut view,
        quota("tight", &json!({"hard": {"pods": "9", "cpu": "3"}}), &json!({"pods": "0", "cpu": "1"})),
    );
    let room = answer(&view, &mk_template(1, json!({}))).quota.unwrap();
    assert_eq!(room.pods, 2);
    assert_eq!(room.reason, "ResourceQuota ml/tight: cpu 1 of 3 used, 1 for each");
}

#[test]
fn pods_that_the_status_does_not_count_yet_are_counted() {
    let mut view = mk_view([mk_node("a", 8)], [mk_pod("one", "a", 1), mk_pod("two", "", 1)]);
    add_quota(
        &mut view,
        quota("team", &json!({"hard": {"requests.nvidia.com/gpu": "8"}}), &json!({"requests.nvidia.com/gpu": "1"})),
    );
    assert_eq!(answer(&view, &mk_template(1, json!({}))).quota.unwrap().pods, 6);
    view.pods.get_mut(&ObjectKey::new("ml", "two")).unwrap().metadata.deletion_timestamp =
        Some(jiff::Timestamp::UNIX_EPOCH.into());
    assert_eq!(answer(&view, &mk_template(1, json!({}))).quota.unwrap().pods, 7);
}

#[test]
fn a_limit_that_is_being_lowered_counts_already() {
    let mut view = mk_view([mk_node("a", 8)], []);
    let mut lowered = quota("team", &json!({"hard": {"pods": "3"}}), &json!({"pods": "1"}));
    lowered.status.hard.insert("pods".to_owned(), "9".parse().unwrap());
    add_quota(&mut view, lowered);
    assert_eq!(answer(&view, &mk_template(1, json!({}))).quota.unwrap().pods, 2);
}

#[test]
fn scopes_say_whom_a_quota_is_about() {
    let class = |operator: &str, values: Value| json!({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": operator, "values": values}]}});
    let elsewhere = json!({"affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 1, "podAffinityTerm": {"topologyKey": "z", "namespaces": ["x"]}},
    ]}}});
    let bare = json!({"containers": [{"name": "c", "resources": {"limits": {"nvidia.com/gpu": "1"}}}]});
    for (scope, more, limits) in [
        (json!({"scopes": ["NotTerminating"]}), json!({}), true),
        (json!({"scopes": ["Terminating"]}), json!({}), false),
        (json!({"scopes": ["Terminating"]}), json!({"activeDeadlineSeconds": 60}), true),
        (json!({"scopes": ["NotBestEffort"]}), json!({}), true),
        (json!({"scopes": ["BestEffort"]}), json!({}), false),
        (json!({"scopes": ["BestEffort"]}), bare, true),
        (json!({"scopes": ["PriorityClass"]}), json!({}), false),
        (json!({"scopes": ["PriorityClass"]}), json!({"priorityClassName": "high"}), true),
        (class("In", json!(["high", "low"])), json!({"priorityClassName": "high"}), true),
        (class("In", json!(["low"])), json!({"priorityClassName": "high"}), false),
        (class("NotIn", json!(["low"])), json!({"priorityClassName": "high"}), true),
        (class("DoesNotExist", json!([])), json!({}), true),
        (json!({"scopes": ["CrossNamespacePodAffinity"]}), json!({}), false),
        (json!({"scopes": ["CrossNamespacePodAffinity"]}), elsewhere, true),
        (json!({"scopes": ["NotTerminating", "BestEffort"]}), json!({}), false),
        (json!({"scopes": ["SomethingNew"]}), json!({}), false),
    ] {
        let mut view = mk_view([mk_node("a", 8)], []);
        let mut spec = json!({"hard": {"pods": "1"}});
        spec.as_object_mut().unwrap().extend(scope.as_object().unwrap().clone());
        add_quota(&mut view, quota("team", &spec, &json!({"pods": "0"})));
        assert_eq!(answer(&view, &mk_template(1, more)).quota.is_some(), limits, "{scope}");
    }
}

#[test]
fn the_global_default_class_is_the_class_of_pods_that_name_none() {
    let mut view = mk_view([mk_node("a", 8)], []);
    view.global_default_classes.insert("standard".to_owned());
    let spec = json!({"hard": {"pods": "1"}, "scopes": ["PriorityClass"]});
    add_quota(&mut view, quota("team", &spec, &json!({"pods": "0"})));
    assert_eq!(answer(&view, &mk_template(1, json!({}))).quota.unwrap().pods, 1);
}

#[test]
fn pods_that_do_not_state_what_a_quota_names_are_refused() {
    let mut view = mk_view([mk_node("a", 8)], []);
    add_quota(&mut view, quota("team", &json!({"hard": {"limits.cpu": "9"}}), &json!({"limits.cpu": "0"})));
    let refused = answer(&view, &mk_template(1, json!({}))).quota.unwrap();
    assert_eq!(
        (refused.pods, refused.reason.as_str()),
        (0, "ResourceQuota ml/team: every container must state limits.cpu")
    );
    let whole = json!({"resources": {"limits": {"cpu": "3"}}});
    assert_eq!(answer(&view, &mk_template(1, whole)).quota.unwrap().pods, 3);
}

#[test]
fn a_quota_that_is_not_counted_yet_or_is_about_claims_is_unknown() {
    let mut view = mk_view([mk_node("a", 8)], []);
    let mut fresh = quota("team", &json!({"hard": {"pods": "9"}}), &json!({}));
    fresh.status = crate::object::admission::ResourceQuotaStatus::default();
    add_quota(&mut view, fresh);
    let answer = answer(&view, &mk_template(1, json!({})));
    assert_eq!((answer.fits.class, answer.unmodelled[0].code), (Class::Unknown, "resourceQuota"));
}

fn ranged(item: &Value) -> View {
    let mut view = mk_view([mk_node("a", 8)], []);
    let range: LimitRange = from(json!({"metadata": {"name": "r", "namespace": "ml"}, "spec": {"limits": [item]}}));
    view.limit_ranges.insert(range.metadata.key(), range);
    view
}

#[test]
fn defaults_of_a_limit_range_are_part_of_what_a_replica_asks_for() {
    let bare = json!({"containers": [{"name": "c", "resources": {"limits": {"nvidia.com/gpu": "1"}}}]});
    let view = ranged(&json!({"type": "Container", "default": {"cpu": "32"}, "defaultRequest": {"cpu": "16"}}));
    assert_eq!(answer(&view, &mk_template(1, bare)).fits, Fits::exact(4));
    assert_eq!(answer(&view, &mk_template(1, json!({}))).fits, Fits::exact(8), "what is stated stays");
    let low = ranged(&json!({"type": "Container", "default": {"cpu": "500m"}}));
    let room = answer(&low, &mk_template(1, json!({}))).quota.unwrap();
    assert_eq!(room.pods, 0);
    assert!(room.reason.contains("above its limit"), "{}", room.reason);
}

#[test]
fn a_template_outside_of_a_limit_range_is_refused() {
    for (item, refused) in [
        (json!({"type": "Container", "min": {"cpu": "1"}}), false),
        (json!({"type": "Container", "min": {"cpu": "2"}}), true),
        (json!({"type": "Container", "min": {"ephemeral-storage": "1"}}), true),
        (json!({"type": "Container", "max": {"nvidia.com/gpu": "1"}}), false),
        (json!({"type": "Container", "max": {"cpu": "8"}}), true),
        (json!({"type": "Container", "maxLimitRequestRatio": {"nvidia.com/gpu": "1"}}), false),
        (json!({"type": "Container", "maxLimitRequestRatio": {"cpu": "2"}}), true),
        (json!({"type": "Pod", "max": {"nvidia.com/gpu": "1"}}), false),
        (json!({"type": "Pod", "min": {"memory": "2Gi"}}), true),
        (json!({"type": "PersistentVolumeClaim", "min": {"storage": "9Ei"}}), false),
    ] {
        let answer = answer(&ranged(&item), &mk_template(1, json!({})));
        assert_eq!(answer.quota.map(|room| room.pods), refused.then_some(0), "{item}");
    }
}

fn classed(class: Value) -> View {
    let mut view = mk_view([mk_node("a", 8), mk_node("b", 8)], []);
    let class: RuntimeClass = from(class);
    view.runtime_classes.insert(class.metadata.name.clone(), class);
    view
}

#[test]
fn a_runtime_class_adds_overhead_nodes_and_tolerations() {
    let named = || json!({"runtimeClassName": "kata"});
    let fits = |class: Value| answer(&classed(class), &mk_template(1, named())).fits;
    assert_eq!(fits(json!({"metadata": {"name": "kata"}})), Fits::exact(16));
    assert_eq!(fits(json!({"metadata": {"name": "kata"}, "overhead": {"podFixed": {"cpu": "31"}}})), Fits::exact(4));
    let only_a = json!({"nodeSelector": {"kubernetes.io/hostname": "a"}});
    assert_eq!(fits(json!({"metadata": {"name": "kata"}, "scheduling": only_a})), Fits::exact(8));
    assert_eq!(fits(json!({"metadata": {"name": "other"}})).class, Class::Unknown);
    let mut tainted =
        classed(json!({"metadata": {"name": "kata"}, "scheduling": {"tolerations": [{"operator": "Exists"}]}}));
    tainted.nodes.get_mut("a").unwrap().spec.taints = from(json!([{"key": "x", "effect": "NoSchedule"}]));
    assert_eq!(answer(&tainted, &mk_template(1, named())).fits, Fits::exact(16));
    let elsewhere = json!({"runtimeClassName": "kata", "nodeSelector": {"kubernetes.io/hostname": "b"}});
    let view = classed(json!({"metadata": {"name": "kata"}, "scheduling": only_a}));
    assert_eq!(answer(&view, &mk_template(1, elsewhere)).quota.unwrap().pods, 0);
}

#[test]
fn pod_level_requests_are_made_before_a_limit_range_gives_requests_to_containers() {
    let view = ranged(&json!({"type": "Container", "defaultRequest": {"cpu": "100m"}}));
    let bare = json!({"name": "c"});
    let stated = json!({"name": "d", "resources": {"requests": {"cpu": "2"}}});
    let fits = |containers: Value, resources: Value| {
        answer(&view, &mk_template(1, json!({"containers": containers, "resources": resources}))).fits
    };
    assert_eq!(fits(json!([bare]), json!({"limits": {"cpu": "16"}})), Fits::exact(4));
    assert_eq!(fits(json!([bare, stated]), json!({"limits": {"memory": "1Gi"}})), Fits::exact(32));
    assert_eq!(fits(json!([bare, bare]), json!({"requests": {"memory": "1Gi"}})), Fits::exact(110));
}

#[test]
fn nothing_is_made_in_a_namespace_that_is_being_deleted() {
    let mut view = mk_view([mk_node("a", 8)], []);
    view.namespaces.insert("ml".to_owned(), Namespace { terminating: true, ..Namespace::default() });
    let answer = answer(&view, &mk_template(1, json!({})));
    assert_eq!((answer.fits, answer.quota.map(|room| room.pods)), (Fits::exact(8), Some(0)));
}
