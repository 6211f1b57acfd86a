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
fn a_metric_without_a_usable_target_passes_and_is_named_while_its_siblings_are_capped() {
    let metrics = json!([external("bad", &json!({ "type": "Value" })), external("q", &average("10"))]);
    let values = json!({ "external": [{ "metric": "bad", "values": ["9"] }, { "metric": "q", "values": ["150"] }] });
    let answer = answer(line(5, 5, &metrics, &values));
    let served = |index: usize| answer["values"]["external"][index]["values"][0].clone();
    assert_eq!((served(0), served(1)), (json!("9"), json!("80")));
    let reason = answer["reason"].as_str().unwrap();
    assert!(reason.contains("bad needs a target of type AverageValue or Value above 0"), "{reason}");
}

#[test]
fn negative_parts_are_summed_before_anything_is_bounded() {
    let metrics = json!([external("q", &average("10"))]);
    let of = |parts: &Value| {
        let values = json!({ "external": [{ "metric": "q", "values": parts }] });
        let answer = answer(line(5, 5, &metrics, &values));
        (answer["values"]["external"][0]["values"].clone(), answer["clamped"].clone(), answer["reason"].to_string())
    };
    assert_eq!(of(&json!(["90", "-50"])).0, json!(["40", "0"]));
    let (served, clamped, reason) = of(&json!(["-50"]));
    assert_eq!((served, clamped), (json!(["0"]), json!(true)));
    assert!(reason.contains("q: bounded"), "{reason}");
}

#[test]
fn pods_of_other_namespaces_are_not_the_workloads() {
    let metrics = json!([{ "type": "Pods", "pods": { "metric": { "name": "q" }, "target": average("10") } }]);
    let values = json!({ "pods": [{ "metric": "q", "values": { "p0": "20", "p1": "20" } }] });
    let mut line = line(2, 2, &metrics, &values);
    line["capacity"]["fits"]["lo"] = json!(0);
    let alone = answer(line.clone());
    let mut other = pod("p0", "Running");
    other["metadata"]["namespace"] = json!("other");
    other["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    line["pods"].as_array_mut().unwrap().push(other);
    assert_eq!(answer(line), alone);
    assert_eq!(alone["values"]["pods"][0]["values"], json!({ "p0": "10", "p1": "10" }));
}

#[test]
fn a_namespace_is_capped_as_it_is_read_by_the_hpas_own_name() {
    let described = json!({ "apiVersion": "v1", "kind": "Namespace", "name": "whatever" });
    let metrics = json!([{ "type": "Object", "object": {
        "metric": { "name": "q" }, "describedObject": described, "target": average("10") } }]);
    let values =
        json!({ "object": [{ "metric": "q", "object": { "kind": "Namespace", "name": "ml" }, "value": "200" }] });
    assert_eq!(answer(line(5, 5, &metrics, &values))["values"]["object"][0]["value"], "80");
}

#[test]
fn null_absent_and_unknown_keys_are_read_as_by_hpa_evaluate() {
    let metrics = json!([external("q", &average("10"))]);
    let values = json!({ "mark": 1, "pods": null, "external": [
        { "metric": "q", "selector": null, "values": ["150"], "mark": { "a": [2] } },
        { "metric": "q", "values": null }, { "metric": "q" } ] });
    let mut line = line(5, 5, &metrics, &values);
    line["mark"] = json!("x");
    line["capacity"]["fits"]["lo"] = json!(u32::MAX);
    for policy in [json!(null), json!({}), json!({ "hold": null })] {
        line["policy"] = policy;
        let answer = answer(line.clone());
        assert_eq!(answer["cap"], i32::MAX);
        assert_eq!(
            (&answer["values"]["mark"], &answer["values"]["external"][0]["mark"]),
            (&json!(1), &json!({ "a": [2] }))
        );
    }
    (line["pods"], line["values"]) = (json!(null), json!(null));
    assert_eq!(answer(line)["values"], json!({}));
}

#[test]
fn an_hpa_without_a_maximum_does_not_let_everything_pass() {
    let metrics = json!([external("q", &average("10"))]);
    let mut line = line(5, 5, &metrics, &json!({ "external": [{ "metric": "q", "values": ["150"] }] }));
    line["hpa"]["spec"].as_object_mut().unwrap().remove("maxReplicas");
    assert_eq!(answer(line)["values"]["external"][0]["values"], json!(["80"]));
}

#[test]
fn a_line_that_is_wrong_says_what_would_be_right() {
    let mut wrong = line(5, 5, &json!([]), &json!({}));
    wrong["policy"] = json!({ "hold": 3 });
    let error = serde_json::from_value::<Line>(wrong.clone()).unwrap_err().to_string();
    assert!(error.contains(r#"hold must be true, false, "always" or "never", not 3"#), "{error}");
    wrong["policy"] = json!(null);
    wrong["values"] = json!({ "external": [{ "metric": "q", "values": [null] }] });
    assert!(serde_json::from_value::<Line>(wrong).unwrap_err().to_string().contains("not null"));
}
