#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use serde_json::{Value, json};

use super::*;

fn object(spec: &Value) -> ScaledObject {
    let object = json!({"metadata": {"name": "chat", "namespace": "ml"}, "spec": spec});
    serde_json::from_value(object).unwrap()
}

fn ours(metadata: &Value) -> Value {
    json!({"type": "external-push", "metadata": metadata})
}

/// Severity initial and path of each finding.
fn found(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(|finding| format!("{:?} {}", finding.severity, finding.path)).collect()
}

#[test]
fn a_good_object_has_no_findings() {
    let tolerance = json!({"tolerance": "0"});
    let good = object(&json!({
        "scaleTargetRef": {"name": "chat"}, "minReplicaCount": 1, "maxReplicaCount": 47,
        "advanced": {"horizontalPodAutoscalerConfig": {"behavior": {"scaleUp": tolerance, "scaleDown": tolerance}}},
        "triggers": [ours(&json!({"signal": "composite", "queueThreshold": "10"}))],
    }));
    assert_eq!(findings_of_object(&good), []);
    assert_eq!(good.workload().to_string(), "ml/deployment/chat");
    assert_eq!((good.hpa_name().as_str(), good.min_active(), good.min_idle()), ("keda-hpa-chat", 1, 1));
}

#[test]
fn each_trap_is_found_where_it_is() {
    let ten = json!({"signal": "queueLength", "threshold": "10"});
    let capacity = || ours(&json!({"signal": "capacity"}));
    for (spec, expected) in [
        (
            json!({"minReplicaCount": 1, "triggers": [ours(&json!({"signal": "queueLength"}))]}),
            vec!["Error spec.triggers[0].metadata.threshold"],
        ),
        (json!({"triggers": [ours(&ten)]}), vec!["Warning spec.triggers[0].metadata"]),
        (json!({"minReplicaCount": 1, "triggers": [ours(&ten), {"type": "cpu"}]}), vec!["Warning spec.triggers[1]"]),
        (json!({"minReplicaCount": 1, "triggers": [capacity()], "maxReplicaCount": 9}), vec!["Error spec.triggers"]),
        (
            json!({"minReplicaCount": 1, "triggers": [ours(&ten), capacity()]}),
            vec!["Warning spec.advanced.horizontalPodAutoscalerConfig.behavior"],
        ),
        (
            json!({"minReplicaCount": 3, "maxReplicaCount": 2, "triggers": [ours(&ten)]}),
            vec!["Error spec.maxReplicaCount"],
        ),
        (
            json!({"minReplicaCount": 1, "advanced": {"scalingModifiers": {"formula": "a"}}, "triggers": [ours(&ten)]}),
            vec!["Warning spec.advanced.scalingModifiers.formula"],
        ),
    ] {
        assert_eq!(found(&findings_of_object(&object(&spec))), expected, "{spec}");
    }
}

#[test]
fn a_replica_count_with_a_value_target_is_an_error() {
    let mut trigger = ours(&json!({"signal": "latency", "threshold": "500ms"}));
    trigger["metricType"] = json!("Value");
    let findings =
        findings_of_object(&object(&json!({"minReplicaCount": 1, "maxReplicaCount": 9, "triggers": [trigger]})));
    assert_eq!(found(&findings), ["Error spec.triggers[0].metricType"]);
}

#[test]
fn old_values_of_the_poll_are_warned_of() {
    let mut trigger = ours(&json!({"signal": "queueLength", "threshold": "10"}));
    trigger["useCachedMetrics"] = json!(true);
    let spec = json!({"minReplicaCount": 1, "pollingInterval": 60, "triggers": [trigger]});
    assert_eq!(found(&findings_of_object(&object(&spec))), ["Warning spec.triggers[0].useCachedMetrics"]);
}

#[test]
fn objects_of_others_are_left_alone() {
    let foreign =
        json!({"triggers": [{"type": "external", "metadata": {"scalerAddress": "kaito:1"}}, {"type": "cpu"}]});
    assert_eq!(findings_of_object(&object(&foreign)), []);
}

#[test]
fn a_scaled_job_takes_the_queue_and_no_pushes() {
    let query = json!({"signal": "latency", "threshold": "1", "serverAddress": "http://p:9090", "query": "up"});
    let job: ScaledJob = serde_json::from_value(json!({"spec": {"triggers": [ours(&query)]}})).unwrap();
    let expected = ["Error spec.triggers[0].metadata.signal", "Warning spec.triggers[0].type"];
    assert_eq!(found(&findings_of_job(&job)), expected);
}
