//! Nodes to come: labels that their likes agree on, those that they do not, and pods that are here.

use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};

use super::*;
use crate::{
    capacity::{Fits, Inventory, Template},
    object::{Pod, PodTemplate},
};

const ZONE: &str = "topology.kubernetes.io/zone";
const HOST: &str = "kubernetes.io/hostname";

/// A machine of a group that may have one more, in a zone or in none that it tells.
fn machine(group: &str, name: &str, zone: Option<&str>) -> Node {
    let mut labels = json!({"karpenter.sh/nodepool": group, HOST: name});
    if let Some(zone) = zone {
        labels[ZONE] = json!(zone);
    }
    let offered = json!({"cpu": "4", "pods": "110"});
    let ready = json!([{"type": "Ready", "status": "True"}]);
    from(json!({
        "metadata": {"name": name, "labels": labels},
        "status": {"allocatable": offered, "capacity": offered, "conditions": ready},
    }))
}

fn cluster(machines: &[(&str, &str, Option<&str>)], pods: &[Pod]) -> View {
    let groups: std::collections::BTreeSet<_> = machines.iter().map(|(group, ..)| (*group).to_owned()).collect();
    let groups = groups.into_iter().map(|name| {
        let target = machines.iter().filter(|(group, ..)| *group == name).count();
        let target = u32::try_from(target).unwrap();
        NodeGroup { name, max: Some(target + 1), target, ..NodeGroup::default() }
    });
    let autoscaler = NodeAutoscaler { groups: groups.collect(), ..NodeAutoscaler::default() };
    let mut view = View { node_autoscaler: Some(autoscaler), ..View::default() };
    view.namespaces.entry("ml".to_owned()).or_default();
    for (group, name, zone) in machines {
        view.nodes.insert((*name).to_owned(), machine(group, name, *zone));
    }
    view.pods = pods.iter().map(|pod| (pod.metadata.key(), pod.clone())).collect();
    view
}

fn template(more: &Value) -> PodTemplate {
    let mut spec = json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]});
    spec.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
    from(json!({"metadata": {"labels": {"app": "llm"}}, "spec": spec}))
}

fn resident(name: &str, node: &str, more: &Value) -> Pod {
    let PodTemplate { spec, .. } = template(more);
    let metadata = json!({"metadata": {"name": name, "namespace": "ml", "labels": {"app": "llm"}}});
    let mut pod: Pod = from(metadata);
    pod.spec = (*spec).into();
    pod.node_name = node.into();
    pod
}

fn asks(key: &str, operator: &str, values: &[&str]) -> Value {
    let expression = json!({"key": key, "operator": operator, "values": values});
    let term = json!({"nodeSelectorTerms": [{"matchExpressions": [expression]}]});
    json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": term}}})
}

fn between(kind: &str, key: &str) -> Value {
    let term = json!({"topologyKey": key, "labelSelector": {"matchLabels": {"app": "llm"}}});
    json!({"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}})
}

fn spread(key: &str) -> Value {
    json!({"topologySpreadConstraints": [{
        "topologyKey": key, "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "llm"}},
    }]})
}

const ONE: [(&str, &str, Option<&str>); 2] = [("gpu", "gpu-1", Some("a")), ("gpu", "gpu-2", Some("a"))];
const BOTH: [(&str, &str, Option<&str>); 2] = [("gpu", "gpu-1", Some("a")), ("gpu", "gpu-2", Some("b"))];

#[test]
fn a_label_on_which_the_nodes_of_a_group_agree_is_known_of_the_next_one() {
    let view = cluster(&ONE, &[]);
    for more in
        [json!({}), json!({"nodeSelector": {ZONE: "a"}}), asks(ZONE, "NotIn", &["b"]), asks("x", "DoesNotExist", &[])]
    {
        assert_eq!(headroom(&view, &template(&more)), Ok(Fits::exact(4)), "{more}");
    }
    assert_eq!(headroom(&view, &template(&json!({"nodeSelector": {ZONE: "b"}}))), Ok(Fits::exact(0)));
}

#[test]
fn a_label_on_which_they_do_not_agree_is_not_known() {
    let partly = [BOTH[0], ("gpu", "gpu-2", None)];
    for machines in [BOTH, partly] {
        let view = cluster(&machines, &[]);
        assert_eq!(headroom(&view, &template(&json!({}))), Ok(Fits::exact(4)));
        let selector = json!({"nodeSelector": {ZONE: "a"}});
        for more in [selector, asks(ZONE, "In", &["a"]), asks(ZONE, "NotIn", &["b"]), asks(ZONE, "DoesNotExist", &[])] {
            let why = headroom(&view, &template(&more)).unwrap_err();
            assert!(why.starts_with(&format!("nodes of group gpu do not agree on label {ZONE}")), "{why}");
        }
    }
}

#[test]
fn another_group_is_counted_on_where_that_label_is_known() {
    let view = cluster(&[BOTH[0], BOTH[1], ("other", "other-1", Some("a"))], &[]);
    assert_eq!(headroom(&view, &template(&json!({}))), Ok(Fits::exact(8)));
    assert_eq!(headroom(&view, &template(&json!({"nodeSelector": {ZONE: "a"}}))), Ok(Fits::exact(4)));
    assert!(headroom(&view, &template(&asks(ZONE, "NotIn", &["c"]))).is_err());
}

#[test]
fn constraints_that_look_beyond_a_node_are_not_judged_by_nodes_that_do_not_exist() {
    let view = cluster(&ONE, &[]);
    assert_eq!(headroom(&view, &template(&between("podAntiAffinity", HOST))), Ok(Fits::exact(1)));
    for more in [between("podAntiAffinity", ZONE), between("podAffinity", HOST), spread(ZONE), spread(HOST)] {
        assert!(headroom(&view, &template(&more)).unwrap_err().contains("look beyond a node"), "{more}");
    }
    for (key, expected) in [(HOST, true), (ZONE, false)] {
        let view = cluster(&ONE, &[resident("p", "gpu-1", &between("podAntiAffinity", key))]);
        assert_eq!(headroom(&view, &template(&json!({}))).is_ok(), expected, "{key}");
    }
}

fn demands() -> impl Strategy<Value = Value> {
    let operators = ["In", "NotIn", "Exists", "DoesNotExist"];
    let asked = (prop::sample::select(operators.to_vec()), prop::sample::select(vec![ZONE, "pool"]), "[ab]");
    let asked = asked.prop_map(|(operator, key, value): (_, _, String)| {
        let values = [value.as_str()];
        asks(key, operator, if operator.ends_with("In") { &values } else { &[] })
    });
    let kinds = prop::sample::select(vec!["podAffinity", "podAntiAffinity"]);
    let keys = || prop::sample::select(vec![ZONE, HOST]);
    prop_oneof![
        Just(json!({})),
        asked,
        "[ab]".prop_map(|zone| json!({"nodeSelector": {ZONE: zone}})),
        (kinds, keys()).prop_map(|(kind, key)| between(kind, key)),
        keys().prop_map(spread),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whichever zone the next node is really in, what was said to fit on it does.
    #[test]
    fn no_more_is_said_to_fit_on_a_node_to_come_than_does_once_it_is_here(
        zones in vec(prop::option::of("[ab]"), 1..4), demand in demands(),
        residents in vec((0_usize..4, demands()), 0..4), next in 0_usize..4,
    ) {
        let names: Vec<_> = (0..zones.len()).map(|index| format!("gpu-{index}")).collect();
        let machines: Vec<_> = names.iter().zip(&zones).map(|(name, zone)| ("gpu", &**name, zone.as_deref())).collect();
        let pods: Vec<_> = residents.iter().enumerate().map(|(index, (node, more))| {
            resident(&format!("p{index}"), &names[node % names.len()], more)
        }).collect();
        let view = cluster(&machines, &pods);
        let template = template(&demand);
        let said = headroom(&view, &template).map_or(0, |fits| fits.lo);
        let mut come = view.clone();
        for node in come.nodes.values_mut() {
            node.spec.unschedulable = true;
        }
        // The next one is like any of those that are here.
        let new = machine("gpu", "gpu-new", zones[next % zones.len()].as_deref());
        come.nodes.insert("gpu-new".to_owned(), new);
        let fits = Inventory::of(&come, &Policy::default()).fits(&Template::of(&template, "ml", &come)).fits;
        prop_assert!(said <= fits.lo, "{said} of {fits:?}");
    }
}
