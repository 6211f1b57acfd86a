//! When an answer must not claim to be exact.

use serde_json::{Value, json};

use super::*;
use crate::{
    capacity::{Class, Fits, LimitingFactor},
    cluster::Namespace,
};

fn codes(view: &View, more: Value) -> Vec<&'static str> {
    let answer = answer(view, &mk_template(1, more));
    assert_eq!(answer.fits.class == Class::Unknown, !answer.unmodelled.is_empty());
    assert!(answer.fits.class != Class::Unknown || (answer.fits.lo, answer.fits.hi) == (0, None));
    answer.unmodelled.iter().map(|reason| reason.code).collect()
}

#[test]
fn everything_that_is_not_modelled_is_unknown_and_named() {
    let view = mk_view([mk_node("a", 8)], []);
    let expression = json!({"key": "app", "operator": "Near", "values": []});
    let malformed = json!({"topologyKey": "zone", "labelSelector": {"matchExpressions": [expression]}});
    for (more, code) in [
        (json!({"schedulerName": "volcano"}), "schedulerName"),
        (json!({"overhead": {"cpu": "-1"}}), "resources"),
        (json!({"nodeName": "a"}), "nodeName"),
        (json!({"schedulingGates": [{"name": "x"}]}), "schedulingGates"),
        (json!({"schedulingGroup": {"podGroupName": "g"}}), "schedulingGroup"),
        (json!({"runtimeClassName": "gvisor"}), "runtimeClassName"),
        (json!({"resourceClaims": [{"name": "c"}]}), "resourceClaims"),
        (json!({"volumes": [{"name": "m", "persistentVolumeClaim": {"claimName": "m"}}]}), "volumes"),
        (json!({"volumes": [{"name": "m", "ephemeral": {}}]}), "volumes"),
        (
            json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [malformed]}}}),
            "podPlacement",
        ),
    ] {
        assert_eq!(codes(&view, more), [code]);
    }
}

fn doubtful(resource: &str, namespace: &str) -> View {
    let mut view = mk_view([mk_node("a", 8)], []);
    let doubts = [(namespace.to_owned(), "403".to_owned())].into();
    view.unreadable.insert(resource.to_owned(), doubts);
    view
}

#[test]
fn a_kind_that_cannot_be_read_makes_unknown_what_needs_it_and_nothing_else() {
    let kata = json!({"runtimeClassName": "kata"});
    for (resource, namespace, more, expected) in [
        ("resourcequotas", "", json!({}), Some("resourceQuota")),
        ("resourcequotas", "ml", json!({}), Some("resourceQuota")),
        ("resourcequotas", "web", json!({}), None),
        ("limitranges", "ml", json!({}), Some("limitRange")),
        ("limitranges", "web", json!({}), None),
        ("runtimeclasses", "", json!({}), None),
        ("runtimeclasses", "", kata, Some("runtimeClassName")),
        ("priorityclasses", "", json!({}), None),
    ] {
        let mut view = doubtful(resource, namespace);
        view.runtime_classes.insert("kata".to_owned(), crate::object::RuntimeClass::default());
        let codes = codes(&view, more);
        assert_eq!(codes.first().copied(), expected, "{resource} {namespace}");
    }
}

#[test]
fn a_quota_of_some_priorities_needs_the_default_class_of_pods_that_name_none() {
    let mut view = doubtful("priorityclasses", "");
    let scope = json!({"scopeName": "PriorityClass", "operator": "In", "values": ["high"]});
    let quota = json!({"metadata": {"namespace": "ml", "name": "q"}, "status": {"hard": {"pods": "1"}},
        "spec": {"hard": {"pods": "1"}, "scopeSelector": {"matchExpressions": [scope]}}});
    view.resource_quotas.insert(crate::object::ObjectKey::new("ml", "q"), serde_json::from_value(quota).unwrap());
    assert_eq!(codes(&view, json!({})), ["priorityClassName"]);
    assert_eq!(codes(&view, json!({"priorityClassName": "low"})), [""; 0]);
}

#[test]
fn device_classes_that_cannot_be_read_leave_the_upper_end_open() {
    let fits = answer(&doubtful("deviceclasses", ""), &mk_template(1, json!({}))).fits;
    assert_eq!((fits.class, fits.lo, fits.hi), (Class::Interval, 8, None));
}

#[test]
fn a_template_that_kueue_admits_is_unknown() {
    let view = mk_view([mk_node("a", 8)], []);
    let mut template = mk_template(1, json!({}));
    template.metadata.labels.insert("kueue.x-k8s.io/queue-name".to_owned(), "gpus".to_owned());
    let unmodelled = answer(&view, &template).unmodelled;
    assert_eq!((unmodelled.len(), unmodelled[0].code), (1, "kueue"));
    assert!(unmodelled[0].message.contains("\"gpus\""));
}

#[test]
fn what_does_not_bind_leaves_the_answer_exact() {
    let view = mk_view([mk_node("a", 8)], []);
    let soft = json!({"preferredDuringSchedulingIgnoredDuringExecution": []});
    for more in [
        json!({"schedulerName": "default-scheduler"}),
        json!({"hostNetwork": true}),
        json!({"volumes": [{"name": "a", "emptyDir": {}, "csi": null}]}),
        json!({"volumes": [{"name": "a", "configMap": {}}, {"name": "b", "emptyDir": {"medium": "Memory"}}, {"name": "c"}]}),
        json!({"affinity": {"podAffinity": soft, "podAntiAffinity": soft}}),
        json!({"topologySpreadConstraints": [{"topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}]}),
    ] {
        assert_eq!(codes(&view, more), [""; 0]);
    }
}

#[test]
fn what_devices_may_satisfy_beyond_allocatable_is_not_bounded_from_above() {
    let mut view = mk_view([mk_node("a", 8)], []);
    let class = json!({"metadata": {"name": "gpu.nvidia.com"}, "spec": {"extendedResourceName": "nvidia.com/gpu"}});
    view.device_classes.insert("gpu.nvidia.com".to_owned(), serde_json::from_value(class).unwrap());
    let fits = |view: &View, more| answer(view, &mk_template(1, more)).fits;
    assert_eq!(fits(&view, json!({})), Fits { class: Class::Interval, lo: 8, hi: None });
    let spread = json!([{"topologyKey": "z", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}]);
    assert_eq!(codes(&view, json!({"topologySpreadConstraints": spread})), ["deviceClass"]);
    view.nodes.clear();
    assert_eq!(fits(&view, json!({})), Fits { class: Class::Interval, lo: 0, hi: None });
    let named = json!({"containers": [{"resources": {"limits": {"deviceclass.resource.kubernetes.io/gpu": "1"}}}]});
    assert_eq!(codes(&view, named), ["deviceClass"]);
}

#[test]
fn a_skew_that_no_api_server_accepts_is_unknown() {
    let view = mk_view([mk_node("a", 8)], []);
    let spread = |skew: i32| json!({"topologySpreadConstraints": [{"topologyKey": "z", "maxSkew": skew, "whenUnsatisfiable": "DoNotSchedule"}]});
    assert_eq!((codes(&view, spread(0)), codes(&view, spread(-1))), (vec!["podPlacement"], vec!["podPlacement"]));
    assert!(codes(&view, spread(1)).is_empty());
}

fn repelling(term: &Value) -> Pod {
    let mut pod = mk_pod("guard", "a", 0);
    let terms = json!({"requiredDuringSchedulingIgnoredDuringExecution": [term]});
    pod.spec.affinity = Some(from(json!({"podAntiAffinity": terms})));
    pod
}

/// Whether the only node is closed by anti-affinity.
fn repelled(view: &View) -> bool {
    let answer = answer(view, &mk_template(1, json!({})));
    assert_eq!(answer.fits, Fits::exact(if answer.fits.lo == 0 { 0 } else { 8 }));
    answer.limiting_factor == LimitingFactor::Affinity && answer.fits.lo == 0
}

#[test]
fn anti_affinity_of_a_placed_pod_counts_where_it_selects_the_template() {
    let selecting = json!({"matchLabels": {"app": "llm"}});
    for (term, repels) in [
        (json!({"topologyKey": "kubernetes.io/hostname", "labelSelector": selecting}), true),
        (json!({"topologyKey": "kubernetes.io/hostname", "labelSelector": {}}), true),
        (json!({"topologyKey": "kubernetes.io/hostname"}), false),
        (json!({"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "cv"}}}), false),
        (json!({"topologyKey": "kubernetes.io/hostname", "labelSelector": selecting, "namespaces": ["other"]}), false),
        (json!({"topologyKey": "kubernetes.io/hostname", "labelSelector": selecting, "namespaceSelector": {}}), true),
    ] {
        let view = mk_view([mk_node("a", 8)], [repelling(&term)]);
        assert_eq!(repelled(&view), repels);
    }
}

#[test]
fn labels_that_controllers_add_may_be_selected() {
    let added = |app: &str| {
        let expressions = json!([{"key": "pod-template-hash", "operator": "Exists"}]);
        json!({"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": app}, "matchExpressions": expressions}})
    };
    let view = mk_view([mk_node("a", 8)], [repelling(&added("llm"))]);
    let fits = answer(&view, &mk_template(1, json!({}))).fits;
    assert_eq!(fits, Fits::exact(0), "every pod that a controller makes of the template has the label");
    let existing = Template::of_pod(&mk_pod("llm", "", 1), &view);
    assert_eq!(Inventory::of(&view, &Policy::default()).fits(&existing).fits, Fits::exact(8));
    let view = mk_view([mk_node("a", 8)], [repelling(&added("cv"))]);
    assert!(!repelled(&view));
}

/// A bound replica of an earlier revision, which repels those of its own revision.
fn revision(hash: &str, node: &str) -> Pod {
    let mut pod = mk_pod("llm", node, 1);
    pod.metadata.name = format!("llm-{hash}-{node}").into();
    pod.metadata.labels.insert("pod-template-hash".to_owned(), hash.to_owned());
    pod
}

#[test]
fn which_revision_comes_next_is_not_guessed_when_constraints_ask_for_it() {
    let constraint = |keys: Value| {
        json!({"topologySpreadConstraints": [{
            "topologyKey": "kubernetes.io/hostname", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"app": "llm"}}, "matchLabelKeys": keys,
        }]})
    };
    let nodes = || [mk_node("a", 3), mk_node("b", 8)];
    let fits = |pods: Vec<Pod>, keys| answer(&mk_view(nodes(), pods), &mk_template(1, constraint(keys))).fits;
    let hash = || json!(["pod-template-hash"]);
    assert_eq!(fits(vec![], hash()), Fits::exact(7));
    let mut second = revision("x", "a");
    second.metadata.name = format!("{}2", second.metadata.name).into();
    let one = vec![revision("x", "a"), second];
    assert_eq!(fits(one.clone(), json!([])), Fits::exact(5));
    // As revision x 5 more, as a new one 1 on a and 2 on b.
    assert_eq!(fits(one.clone(), hash()), Fits { class: Class::Interval, lo: 3, hi: Some(5) });
    let many = ["v", "w", "x", "y", "z"].map(|hash| revision(hash, "a"));
    let many = mk_view([mk_node("a", 9)], many);
    assert_eq!(answer(&many, &mk_template(1, constraint(hash()))).unmodelled[0].code, "podLabels");
}

#[test]
fn a_namespace_selector_reads_the_labels_of_the_namespace() {
    let selecting = json!({"matchLabels": {"app": "llm"}});
    let term = |key: &str, value: &str| json!({"topologyKey": "kubernetes.io/hostname", "labelSelector": selecting, "namespaceSelector": {"matchLabels": {key: value}}});
    for (term, repels) in [(term("t", "x"), false), (term("kubernetes.io/metadata.name", "ml"), true)] {
        let mut view = mk_view([mk_node("a", 8)], [repelling(&term)]);
        view.namespaces.insert("ml".to_owned(), Namespace::default());
        assert_eq!(repelled(&view), repels);
    }
}

#[test]
fn a_namespace_selector_over_a_namespace_that_is_not_known_is_unknown() {
    let by_label = json!({"matchLabels": {"t": "x"}});
    let term = json!({"topologyKey": "kubernetes.io/hostname", "labelSelector": {}, "namespaceSelector": by_label});
    assert_eq!(codes(&mk_view([mk_node("a", 8)], [repelling(&term)]), json!({})), ["namespaces"]);
    let near = json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}});
    assert_eq!(codes(&mk_view([mk_node("a", 8)], [mk_pod("x", "a", 1)]), near), ["namespaces"]);
}

#[test]
fn a_waiting_pod_repels_nobody() {
    let mut pod = repelling(&json!({"topologyKey": "kubernetes.io/hostname", "labelSelector": {}}));
    pod.node_name = "".into();
    assert_eq!(codes(&mk_view([mk_node("a", 8)], [pod]), json!({})), [""; 0]);
}

#[test]
fn room_that_only_preemption_would_make_is_not_promised() {
    let view = mk_view([mk_node("a", 8)], [mk_pod("low", "a", 5)]);
    let fits = |more: Value| answer(&view, &mk_template(1, more)).fits;
    assert_eq!(fits(json!({"priority": 0})), Fits::exact(3));
    assert_eq!(fits(json!({"priority": 1})), Fits { class: Class::Interval, lo: 3, hi: Some(8) });
    assert_eq!(fits(json!({"priority": 1, "preemptionPolicy": "Never"})), Fits::exact(3));
    assert_eq!(fits(json!({"priorityClassName": "not-listed"})), Fits { class: Class::Interval, lo: 3, hi: Some(8) });
}

#[test]
fn priority_comes_from_the_class_and_from_the_global_default() {
    let mut view = mk_view([mk_node("a", 8)], [mk_pod("low", "a", 5)]);
    view.priority_classes.insert("batch".to_owned(), -5);
    assert_eq!(answer(&view, &mk_template(1, json!({"priorityClassName": "batch"}))).fits, Fits::exact(3));
    view.priority_classes.insert(String::new(), 7);
    assert_eq!(answer(&view, &mk_template(1, json!({}))).fits.class, Class::Interval);
}

fn nominated(app: &str, priority: i32) -> Pod {
    let mut pod = mk_pod(app, "", 5);
    pod.spec.priority = Some(priority);
    pod.status.nominated_node_name = "a".into();
    pod
}

#[test]
fn room_is_kept_for_nominated_pods_of_at_least_the_same_priority() {
    for (priority, lo) in [(-1, 8), (0, 3), (1, 3)] {
        let view = mk_view([mk_node("a", 8)], [nominated("other", priority)]);
        let answer = answer(&view, &mk_template(1, json!({"priority": 0})));
        assert_eq!(answer.fits, Fits::exact(lo));
        assert_eq!(answer.limiting_factor == LimitingFactor::Priority, lo == 3);
    }
}

#[test]
fn a_nominated_replica_of_the_workload_itself_hides_no_room() {
    let view = mk_view([mk_node("a", 8)], [nominated("llm", 0)]);
    assert_eq!(answer(&view, &mk_template(1, json!({}))).fits, Fits::exact(8));
}

#[test]
fn admission_is_behind_a_pod_that_exists() {
    let view = mk_view([mk_node("a", 8)], []);
    let mut pod = mk_pod("llm", "", 1);
    pod.spec.runtime_class_name = Some("nvidia".to_owned());
    assert!(Template::of_pod(&pod, &view).unmodelled.is_empty());
}

#[test]
fn a_node_that_cannot_be_read_hides_a_domain_and_pods_that_repel() {
    let mut node = mk_node("a", 8);
    node.metadata.labels.insert("zone", "one");
    let spread = json!({"topologySpreadConstraints": [{
        "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "llm"}},
    }]});
    let term = |app: &str| repelling(&json!({"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": app}}}));
    let seen = |pod: Option<Pod>, more: &Value| {
        let pods = pod.into_iter().map(|mut pod| {
            pod.node_name = "hidden".into();
            pod
        });
        let mut view = mk_view([node.clone()], pods);
        let known = answer(&view, &mk_template(1, more.clone())).fits;
        let doubts = [(String::new(), "hidden cannot be read".to_owned())].into();
        view.unreadable.insert("nodes".to_owned(), doubts);
        (known, answer(&view, &mk_template(1, more.clone())).fits)
    };
    let plain = json!({});
    let (exact, bounded) = (Fits::exact(8), Fits::between(8, None));
    assert_eq!(seen(None, &plain), (exact, bounded), "what it offers is not promised");
    assert_eq!(seen(None, &spread), (exact, Fits::unknown()));
    assert_eq!(seen(Some(term("llm")), &plain), (exact, Fits::unknown()));
    assert_eq!(seen(Some(term("cv")), &plain), (exact, bounded));
}
