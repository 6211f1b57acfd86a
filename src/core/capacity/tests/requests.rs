//! Request vectors of odd pods.

use serde_json::{Value, json};

use super::*;

fn vector(spec: &Value) -> Vec<(String, i64)> {
    let template: PodTemplate = from(json!({"spec": spec}));
    let template = Template::of(&template, "ml", &View::default());
    template.requests().map(|(name, amount)| (name.to_owned(), amount)).collect()
}

fn cpu(requests: &str) -> Value {
    json!({"resources": {"requests": {"cpu": requests}}})
}

fn sidecar(requests: &str) -> Value {
    json!({"restartPolicy": "Always", "resources": {"requests": {"cpu": requests}}})
}

#[test]
fn containers_add_up_exactly_and_only_the_sum_is_rounded() {
    let spec = json!({"containers": [
        {"resources": {"requests": {"memory": "0.4", "cpu": "0.0004"}}},
        {"resources": {"requests": {"memory": "0.4", "cpu": "0.0004"}}},
    ]});
    assert_eq!(vector(&spec), [("cpu".to_owned(), 1), ("memory".to_owned(), 1)]);
}

#[test]
fn an_init_container_counts_where_it_is_larger() {
    let spec = json!({"containers": [cpu("2"), cpu("1")], "initContainers": [cpu("5"), cpu("1")]});
    assert_eq!(vector(&spec), [("cpu".to_owned(), 5000)]);
}

#[test]
fn a_sidecar_runs_beside_containers_and_beside_later_init_containers() {
    let spec = json!({"containers": [cpu("2")], "initContainers": [cpu("3"), sidecar("1"), cpu("2500m")]});
    assert_eq!(vector(&spec), [("cpu".to_owned(), 3500)]);
    let spec = json!({"containers": [cpu("2")], "initContainers": [sidecar("1"), sidecar("1")]});
    assert_eq!(vector(&spec), [("cpu".to_owned(), 4000)]);
}

#[test]
fn overhead_is_added_last() {
    let spec = json!({"containers": [cpu("1")], "initContainers": [cpu("2")], "overhead": {"cpu": "100m"}});
    assert_eq!(vector(&spec), [("cpu".to_owned(), 2100)]);
}

#[test]
fn absent_requests_default_to_limits_and_zeros_are_not_checked() {
    let spec = json!({"containers": [{"resources": {
        "requests": {"cpu": "1", "ephemeral-storage": "0"},
        "limits": {"cpu": "4", "nvidia.com/gpu": 2, "memory": "0"},
    }}]});
    assert_eq!(vector(&spec), [("cpu".to_owned(), 1000), ("nvidia.com/gpu".to_owned(), 2)]);
}

#[test]
fn pod_level_resources_replace_the_sum_of_containers() {
    let resources = json!({"requests": {"cpu": "3", "nvidia.com/gpu": "9"}});
    let spec = json!({"containers": [cpu("1"), cpu("1")], "resources": resources, "overhead": {"cpu": "1"}});
    assert_eq!(vector(&spec), [("cpu".to_owned(), 4000)]);
}

#[test]
fn a_pod_level_limit_is_the_request_of_what_no_container_requests() {
    let spec = json!({"containers": [cpu("1")], "resources": {"limits": {"cpu": "3", "memory": "1Ki"}}});
    assert_eq!(vector(&spec), [("cpu".to_owned(), 1000), ("memory".to_owned(), 1024)]);
}

#[test]
fn names_that_the_scheduler_does_not_check_are_left_out() {
    let requests = json!({"storage": "1Gi", "pods": "4", "requests.example.com/x": "1", "hugepages-2Mi": "2Mi"});
    let spec = json!({"containers": [{"resources": {"requests": requests}}]});
    assert_eq!(vector(&spec), [("hugepages-2Mi".to_owned(), 2 << 20)]);
}

#[test]
fn a_pod_in_resize_takes_the_largest_of_wanted_granted_and_effective() {
    let pod: Pod = from(json!({
        "metadata": {"name": "p", "namespace": "ml"},
        "spec": {"nodeName": "a", "containers": [{"name": "main", "resources": {"requests": {"cpu": "10"}}}]},
        "status": {"phase": "Running", "containerStatuses": [
            {"name": "main", "resources": {"requests": {"cpu": "20"}}, "allocatedResources": {"cpu": "30"}},
        ]},
    }));
    let template = from(json!({"spec": {"containers": [cpu("1")]}}));
    assert_eq!(answer(&mk_view([mk_node("a", 0)], [pod]), &template).fits.lo, 34);
}

#[test]
fn a_resize_that_is_infeasible_does_not_count_as_wanted() {
    let pod: Pod = from(json!({
        "metadata": {"name": "p", "namespace": "ml"},
        "spec": {"nodeName": "a", "containers": [{"name": "main", "resources": {"requests": {"cpu": "60"}}}]},
        "status": {"phase": "Running",
            "conditions": [{"type": "PodResizePending", "status": "True", "reason": "Infeasible"}],
            "containerStatuses": [{"name": "main", "resources": {"requests": {"cpu": "4"}}}]},
    }));
    let template = from(json!({"spec": {"containers": [cpu("1")]}}));
    assert_eq!(answer(&mk_view([mk_node("a", 0)], [pod]), &template).fits.lo, 60);
}
