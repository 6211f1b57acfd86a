//! How objects are decoded.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;
use crate::hpa::{State, Values};

/// JSON pointers to everything inside a value.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    let inner: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields.iter().map(|(key, value)| (key.replace('/', "~1"), value)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect(),
        _ => return,
    };
    for (key, value) in inner {
        let pointer = format!("{at}/{key}");
        pointers(value, &pointer, found);
        found.push(pointer);
    }
}

#[track_caller]
fn every_null_is_read<T: DeserializeOwned>(sample: &Value) {
    serde_json::from_value::<T>(sample.clone()).unwrap();
    let mut found = Vec::new();
    pointers(sample, "", &mut found);
    assert!(found.len() > 2);
    for pointer in found {
        let mut nulled = sample.clone();
        *nulled.pointer_mut(&pointer).unwrap() = Value::Null;
        if let Err(error) = serde_json::from_value::<T>(nulled) {
            panic!("{pointer}: {error}");
        }
    }
}

fn metadata() -> Value {
    json!({
        "name": "a", "namespace": "ml", "uid": "u", "labels": {"app": "a"}, "annotations": {"a": "b"},
        "creationTimestamp": "2026-01-01T00:00:00Z", "deletionTimestamp": "2026-01-01T00:00:00Z",
        "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "a", "uid": "u", "controller": true}],
    })
}

fn selector() -> Value {
    json!({"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]})
}

#[test]
fn null_reads_as_the_zero_value_wherever_it_stands_in_an_hpa() {
    let metric = json!({"name": "q", "selector": selector()});
    let target = json!({"type": "Value", "value": "1", "averageValue": "1", "averageUtilization": 1});
    let reference = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "a"});
    let policies = json!([{"type": "Pods", "value": 1, "periodSeconds": 1}]);
    let rules =
        json!({"stabilizationWindowSeconds": 1, "selectPolicy": "Max", "policies": policies, "tolerance": "100m"});
    every_null_is_read::<HorizontalPodAutoscaler>(&json!({
        "metadata": metadata(),
        "spec": {
            "scaleTargetRef": reference, "minReplicas": 1, "maxReplicas": 2,
            "metrics": [{
                "type": "Object",
                "object": {"describedObject": reference, "metric": metric, "target": target},
                "pods": {"metric": metric, "target": target},
                "resource": {"name": "cpu", "target": target},
                "containerResource": {"name": "cpu", "container": "c", "target": target},
                "external": {"metric": metric, "target": target},
            }],
            "behavior": {"scaleUp": rules, "scaleDown": rules},
        },
        "status": {
            "currentReplicas": 1, "desiredReplicas": 1, "lastScaleTime": "2026-01-01T00:00:00Z",
            "conditions": [{"type": "AbleToScale", "status": "True", "reason": "x"}],
        },
    }));
}

#[test]
fn null_reads_as_the_zero_value_wherever_it_stands_in_a_pod() {
    let resources = json!({"requests": {"cpu": "1"}, "limits": {"cpu": "1"}, "claims": [{"name": "c"}]});
    let container = json!({
        "name": "c", "resources": resources, "restartPolicy": "Always",
        "ports": [{"name": "p", "containerPort": 80, "hostPort": 80, "hostIP": "::", "protocol": "TCP"}],
    });
    let term = json!({
        "labelSelector": selector(), "namespaces": ["a"], "namespaceSelector": selector(), "topologyKey": "z",
        "matchLabelKeys": ["a"], "mismatchLabelKeys": ["a"],
    });
    let terms = json!({"requiredDuringSchedulingIgnoredDuringExecution": [term]});
    let requirement = json!({"key": "a", "operator": "In", "values": ["b"]});
    let node_terms = json!({"nodeSelectorTerms": [{"matchExpressions": [requirement], "matchFields": [requirement]}]});
    let status = json!({"name": "c", "resources": resources, "allocatedResources": {"cpu": "1"}});
    every_null_is_read::<Pod>(&json!({
        "metadata": metadata(),
        "spec": {
            "nodeName": "n", "schedulerName": "s", "nodeSelector": {"a": "b"},
            "affinity": {
                "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": node_terms},
                "podAffinity": terms, "podAntiAffinity": terms,
            },
            "tolerations": [{"key": "a", "operator": "Equal", "value": "b", "effect": "NoSchedule"}],
            "containers": [container], "initContainers": [container], "overhead": {"cpu": "1"},
            "resources": resources, "priority": 1, "priorityClassName": "p", "preemptionPolicy": "Never",
            "schedulingGroup": {"podGroupName": "g"}, "schedulingGates": [{"name": "g"}], "runtimeClassName": "r",
            "topologySpreadConstraints": [{
                "maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": selector(),
                "minDomains": 1, "nodeAffinityPolicy": "Honor", "nodeTaintsPolicy": "Honor", "matchLabelKeys": ["a"],
            }],
            "volumes": [{"name": "v", "emptyDir": {}}], "resourceClaims": [{"name": "c"}], "hostNetwork": true,
        },
        "status": {
            "phase": "Running", "podIP": "::1", "startTime": "2026-01-01T00:00:00Z", "nominatedNodeName": "n",
            "containerStatuses": [status], "initContainerStatuses": [status], "resources": resources,
            "allocatedResources": {"cpu": "1"},
            "conditions": [{
                "type": "Ready", "status": "True", "reason": "x", "message": "x",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }],
        },
    }));
}

#[test]
fn null_reads_as_the_zero_value_wherever_it_stands_in_a_node_or_scale() {
    every_null_is_read::<Node>(&json!({
        "metadata": metadata(),
        "spec": {"unschedulable": true, "taints": [{"key": "a", "value": "b", "effect": "NoSchedule"}]},
        "status": {
            "allocatable": {"cpu": "1"}, "capacity": {"cpu": "1"}, "conditions": [{"type": "Ready", "status": "True"}],
        },
    }));
    every_null_is_read::<Scale>(&json!({"specReplicas": 1, "statusReplicas": 1, "selector": "a=b"}));
}

#[test]
fn null_reads_as_the_zero_value_wherever_it_stands_in_values_and_state() {
    every_null_is_read::<Values>(&json!({
        "external": [{"metric": "q", "selector": "a=b", "values": ["1"]}],
        "pods": [{"metric": "q", "selector": "a=b", "values": {"p": "1"}}],
        "object": [{"metric": "q", "object": {"kind": "Service", "name": "s"}, "value": "1"}],
        "resource": [{
            "pod": "p", "timestamp": "2026-01-01T00:00:00Z", "window": "30s", "containers": {"c": {"cpu": "1"}},
        }],
    }));
    let event = json!({"replicaChange": 1, "time": "2026-01-01T00:00:00Z", "outdated": true});
    every_null_is_read::<State>(&json!({
        "recommendations": [{"replicas": 1, "time": "2026-01-01T00:00:00Z"}],
        "scaleUpEvents": [event], "scaleDownEvents": [event],
    }));
}
