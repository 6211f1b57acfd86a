//! What is decided around the metrics. Answers of the real controller to many more cases: `tests/e2e/cases/hpa.jsonl`.

use serde_json::{Value, json};

use super::*;

/// A situation like a sentence: `mk(5).max(50).external("q", "10", &["80"]).evaluate()`.
struct Mk {
    hpa: Value,
    scale: Value,
    external: Vec<Value>,
    state: State,
}

fn now() -> Timestamp {
    "2026-01-01T01:00:00Z".parse().unwrap()
}

fn mk(current: i32) -> Mk {
    Mk {
        hpa: json!({"metadata": {"namespace": "ml"}, "spec": {"maxReplicas": 50, "metrics": []}}),
        scale: json!({"specReplicas": current, "statusReplicas": current, "selector": "app=x"}),
        external: vec![],
        state: State::default(),
    }
}

impl Mk {
    fn bounds(mut self, min: i32, max: i32) -> Self {
        self.hpa["spec"]["minReplicas"] = json!(min);
        self.hpa["spec"]["maxReplicas"] = json!(max);
        self
    }

    /// An External metric with an AverageValue target; without values its fetch failed.
    fn external(mut self, metric: &str, target: &str, values: &[&str]) -> Self {
        let spec = json!({"type": "External", "external": {
            "metric": {"name": metric}, "target": {"type": "AverageValue", "averageValue": target}}});
        self.hpa["spec"]["metrics"].as_array_mut().unwrap().push(spec);
        if !values.is_empty() {
            self.external.push(json!({"metric": metric, "selector": "", "values": values}));
        }
        self
    }

    fn with(mut self, pointer: &str, value: Value) -> Self {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        self.hpa.pointer_mut(parent).unwrap()[key] = value;
        self
    }

    fn evaluate(&self) -> Outcome {
        let hpa = serde_json::from_value(self.hpa.clone()).unwrap();
        let scale = serde_json::from_value(self.scale.clone()).unwrap();
        let values = serde_json::from_value(json!({"external": self.external})).unwrap();
        let situation = Situation { hpa: &hpa, scale: Some(&scale), pods: &[], values: &values, state: &self.state };
        evaluate(&situation, &ControllerConfig::default(), now())
    }
}

fn reason<'a>(outcome: &'a Outcome, kind: &str) -> &'a str {
    outcome.conditions.iter().find(|condition| condition.kind == kind).map_or("", |condition| &condition.reason)
}

#[test]
fn above_the_maximum_the_count_is_cut_at_once_without_asking_metrics() {
    let outcome = mk(15).bounds(1, 8).external("q", "10", &["1000"]).evaluate();
    assert_eq!((outcome.desired_replicas, outcome.rescaled_to), (8, Some(8)));
    assert!(outcome.proposals.is_empty());
    assert_eq!(reason(&outcome, "AbleToScale"), "SucceededRescale");
}

#[test]
fn below_the_minimum_the_count_is_raised_at_once() {
    assert_eq!(mk(2).bounds(4, 8).external("q", "10", &[]).evaluate().rescaled_to, Some(4));
}

#[test]
fn zero_replicas_switch_the_hpa_off_and_clear_the_mark_of_having_scaled_to_zero() {
    let conditions = json!({"conditions": [{"type": "ScaledToZero", "status": "True", "reason": "ScaledToZero"}]});
    let outcome = mk(0).with("/status", conditions).external("q", "10", &["1000"]).evaluate();
    assert_eq!((outcome.desired_replicas, outcome.rescaled_to, &outcome.error), (0, None, &None));
    assert_eq!(reason(&outcome, "ScalingActive"), "ScalingDisabled");
    assert_eq!(reason(&outcome, "ScaledToZero"), "");
}

#[test]
fn a_failed_metric_stops_shrinking_but_not_growth() {
    let growth = mk(5).external("gone", "10", &[]).external("q", "10", &["80"]).evaluate();
    assert_eq!(growth.rescaled_to, Some(8));
    assert!(growth.error.is_some());
    assert_eq!(reason(&growth, "ScalingActive"), "ValidMetricFound");
    let shrinking = mk(5).external("gone", "10", &[]).external("q", "10", &["10"]).evaluate();
    assert_eq!(shrinking.rescaled_to, None);
    assert_eq!(reason(&shrinking, "ScalingActive"), "FailedGetExternalMetric");
}

#[test]
fn after_a_failure_the_desired_count_is_what_it_was() {
    let outcome = mk(5).with("/status", json!({"desiredReplicas": 7})).external("gone", "10", &[]).evaluate();
    assert_eq!(outcome.desired_replicas, 7);
    assert_eq!(outcome.state.recommendations.len(), 1);
}

#[test]
fn an_empty_memory_begins_with_the_current_count() {
    let outcome = mk(5).external("q", "10", &["10"]).evaluate();
    let replicas: Vec<_> = outcome.state.recommendations.iter().map(|r| r.replicas).collect();
    assert_eq!(replicas, [5, 1]);
    assert_eq!((outcome.desired_replicas, outcome.rescaled_to), (5, None));
    assert_eq!(reason(&outcome, "AbleToScale"), "ScaleDownStabilized");
}

#[test]
fn an_empty_memory_does_not_hold_shrinking_within_a_behaviour_without_a_window() {
    let behavior = json!({"scaleDown": {"stabilizationWindowSeconds": 0}});
    let outcome = mk(5).with("/spec/behavior", behavior).external("q", "10", &["10"]).evaluate();
    assert_eq!(outcome.rescaled_to, Some(1));
    assert_eq!(outcome.state.scale_down_events[0].replica_change, 4);
}

#[test]
fn changes_are_remembered_only_with_a_behaviour() {
    assert!(mk(5).external("q", "10", &["80"]).evaluate().state.scale_up_events.is_empty());
    let with = mk(5).with("/spec/behavior", json!({})).external("q", "10", &["80"]).evaluate();
    assert_eq!(with.state.scale_up_events[0].replica_change, 3);
}

#[test]
fn a_scale_without_a_readable_selector_is_a_failure() {
    for selector in ["", "a=b=c"] {
        let mut situation = mk(5).external("q", "10", &["80"]);
        situation.scale["selector"] = json!(selector);
        let outcome = situation.evaluate();
        assert_eq!(reason(&outcome, "ScalingActive"), "InvalidSelector");
        assert!(outcome.error.is_some() && outcome.proposals.is_empty());
    }
}

#[test]
fn a_metric_whose_member_is_not_set_is_a_failure_and_no_panic() {
    for kind in ["Object", "Pods", "Resource", "ContainerResource", "External", "Other"] {
        let outcome = mk(5).with("/spec/metrics", json!([{"type": kind}])).evaluate();
        assert!(outcome.proposals[0].error.is_some(), "{kind}");
    }
}
