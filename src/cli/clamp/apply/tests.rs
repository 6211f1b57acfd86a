//! Lines in, lines out.

use serde_json::{Value, json};

use super::*;

fn pod(name: &str, phase: &str) -> Value {
    let (node, ready) = if phase == "Running" { ("a", "True") } else { ("", "False") };
    json!({
        "metadata": { "name": name, "namespace": "ml", "labels": { "app": "llm" } },
        "spec": { "nodeName": node },
        "status": { "phase": phase, "conditions": [{ "type": "Ready", "status": ready }] },
    })
}

fn line(replicas: i32, running: usize, metrics: &Value, values: &Value) -> Value {
    let pods: Vec<_> = (0..usize::try_from(replicas).unwrap())
        .map(|index| pod(&format!("p{index}"), if index < running { "Running" } else { "Pending" }))
        .collect();
    json!({
        "hpa": { "metadata": { "name": "llm", "namespace": "ml" }, "spec": {
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "llm" },
            "maxReplicas": 50, "metrics": metrics, "behavior": {} } },
        "scale": { "specReplicas": replicas, "statusReplicas": replicas, "selector": "app=llm" },
        "pods": pods, "values": values,
        "capacity": { "bound": running, "fits": { "class": "exact", "lo": 8 - i64::try_from(running).unwrap(), "hi": 3 } },
    })
}

fn external(name: &str, target: &Value) -> Value {
    json!({ "type": "External", "external": { "metric": { "name": name }, "target": target } })
}

fn average(value: &str) -> Value {
    json!({ "type": "AverageValue", "averageValue": value })
}

fn answer(line: Value) -> Value {
    let line: Line = serde_json::from_value(line).unwrap();
    serde_json::to_value(clamp(&line, &Policy::default()).unwrap()).unwrap()
}

#[test]
fn a_sum_of_several_items_is_capped_in_proportion() {
    let metrics = json!([external("inference_queue_length", &average("10"))]);
    let values =
        json!({ "external": [{ "metric": "inference_queue_length", "selector": "", "values": ["100", "50"] }] });
    let answer = answer(line(5, 5, &metrics, &values));
    assert_eq!(answer["cap"], 8);
    assert_eq!(answer["clamped"], true);
    assert_eq!(answer["values"]["external"][0]["values"], json!(["53334m", "26666m"]));
}

#[test]
fn what_is_harmless_passes_unchanged() {
    let metrics = json!([external("inference_queue_length", &average("10"))]);
    let values =
        json!({ "external": [{ "metric": "inference_queue_length", "selector": "", "values": ["30", "40"] }] });
    let answer = answer(line(5, 5, &metrics, &values));
    assert_eq!((&answer["clamped"], &answer["values"]), (&json!(false), &values));
}

#[test]
fn pods_are_scaled_by_one_factor() {
    let metrics = json!([{ "type": "Pods", "pods": { "metric": { "name": "inference_queue_length" }, "target": average("10") } }]);
    let samples: serde_json::Map<_, _> = (0..5).map(|index| (format!("p{index}"), json!("30"))).collect();
    let values = json!({ "pods": [{ "metric": "inference_queue_length", "selector": "", "values": samples }] });
    let answer = answer(line(5, 5, &metrics, &values));
    assert_eq!(answer["values"]["pods"][0]["values"]["p0"], "16");
}

#[test]
fn the_count_of_free_nodes_has_no_vote_beside_others_and_is_capped_alone() {
    let guard = external("gpu_nodes_available", &json!({ "type": "Value", "value": "1" }));
    let values = json!({ "external": [{ "metric": "gpu_nodes_available", "selector": "", "values": ["3"] }] });
    let alone = answer(line(5, 5, &json!([guard]), &values));
    assert_eq!(alone["values"]["external"][0]["values"], json!(["1600m"]));
    let metrics = json!([guard, external("inference_queue_length", &average("10"))]);
    assert_eq!(answer(line(5, 5, &metrics, &values))["values"]["external"][0]["values"], json!(["0"]));
}

#[test]
fn unknown_capacity_grants_nothing_beyond_what_is_bound() {
    let metrics = json!([external("inference_queue_length", &average("10"))]);
    let values = json!({ "external": [{ "metric": "inference_queue_length", "values": [150] }] });
    let mut line = line(5, 5, &metrics, &values);
    line["capacity"]["fits"] = json!({ "class": "unknown", "lo": 3, "hi": null });
    let answer = answer(line);
    assert_eq!((&answer["cap"], &answer["values"]["external"][0]["values"]), (&json!(5), &json!(["50"])));
}

#[test]
fn a_surplus_is_held_or_shed_as_the_policy_says() {
    let metrics = json!([external("inference_queue_length", &average("10"))]);
    let values = json!({ "external": [{ "metric": "inference_queue_length", "values": ["300"] }] });
    let mut over = line(15, 8, &metrics, &values);
    assert_eq!(answer(over.clone())["cap"], 15);
    for never in [json!(false), json!("never")] {
        over["policy"] = json!({ "hold": never });
        assert_eq!(answer(over.clone())["values"]["external"][0]["values"], json!(["80"]));
    }
}

#[test]
fn what_others_serve_passes_and_is_said_to_escape() {
    let cpu = json!({ "type": "Resource", "resource": { "name": "cpu", "target": { "type": "Utilization", "averageUtilization": 80 } } });
    let values = json!({ "resource": [{ "pod": "p0", "containers": { "main": { "cpu": "1" } } }] });
    let answer = answer(line(5, 5, &json!([cpu]), &values));
    assert_eq!((&answer["values"], &answer["clamped"]), (&values, &json!(false)));
    assert!(answer["reason"].as_str().unwrap().contains("escapes the cap"));
}

#[test]
fn a_line_that_is_wrong_says_what_would_be_right() {
    let metrics = json!([external("m", &json!({ "type": "Value" }))]);
    let line: Line = serde_json::from_value(line(5, 5, &metrics, &json!({}))).unwrap();
    let error = clamp(&line, &Policy::default()).unwrap_err().to_string();
    assert!(error.contains("AverageValue or Value above 0"), "{error}");
}
