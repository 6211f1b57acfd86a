#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    object::{HorizontalPodAutoscaler, keda::ScaledObject},
    trigger::{Signal, Trigger},
};

fn scaler() -> Scaler {
    let authentication = AuthenticationRef { name: "plimsoll".into(), kind: "ClusterTriggerAuthentication".into() };
    Scaler { address: "scaler.ns.svc:9443".into(), authentication: Some(authentication), take_over: true }
}

fn hpa(metrics: &[Value]) -> HorizontalPodAutoscaler {
    let metadata = json!({
        "name": "chat", "namespace": "ml", "uid": "1", "labels": {"team": "a"},
        "annotations": {LAST_APPLIED: "{}", "plimsoll.dev/mode": "Observe"},
    });
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "chat"});
    let spec = json!({"scaleTargetRef": target, "maxReplicas": 47, "metrics": metrics});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
}

fn external(name: &str, target: &Value) -> Value {
    let selector = json!({"matchLabels": {"workload": "chat"}});
    json!({"type": "External", "external": {"metric": {"name": name, "selector": selector}, "target": target}})
}

fn average(value: &str) -> Value {
    json!({"type": "AverageValue", "averageValue": value})
}

fn forth(metrics: &[Value]) -> Result<Migrated<ScaledObject>, Vec<Finding>> {
    to_scaled_object(&hpa(metrics), &Policy::default(), &scaler())
}

fn back(spec: &Value) -> Result<Migrated<HorizontalPodAutoscaler>, Vec<Finding>> {
    let object = json!({
        "metadata": {"name": "chat", "namespace": "ml", "annotations": {"keda.sh/x": "1", "a": "b"}},
        "spec": spec,
    });
    to_hpa(&serde_json::from_value(object).unwrap(), &Policy::default())
}

fn ours(metadata: &Value) -> Value {
    json!({"type": "external", "metadata": metadata})
}

fn paths(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(|finding| format!("{:?} {}", finding.severity, finding.path)).collect()
}

#[test]
fn the_common_hpa_becomes_triggers_with_the_same_targets() {
    let Migrated { object, warnings } = forth(&[
        external("inference_queue_length", &average("10")),
        external("dcgm_gpu_utilization", &average("80")),
        external("inference_latency_p99_seconds", &json!({"type": "Value", "value": "500m"})),
        external("gpu_nodes_available", &json!({"type": "Value", "value": "1"})),
        json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}}),
    ])
    .unwrap();
    assert_eq!(paths(&warnings), ["Warning spec.metrics[3].external"]);
    assert_eq!((object.spec.min_replica_count, object.spec.max_replica_count), (Some(1), Some(47)));
    let triggers: Vec<_> = object.spec.triggers.iter().map(|trigger| serde_json::to_value(trigger).unwrap()).collect();
    let metadata = |index: usize, key: &str| triggers[index]["metadata"][key].as_str().unwrap_or("-").to_owned();
    let keys = ["signal", "threshold", "metricName", "scalerAddress"];
    let written = |index: usize| keys.map(|key| metadata(index, key)).join(" ");
    assert_eq!(written(0), "queueLength 10 inference-queue-length scaler.ns.svc:9443");
    assert_eq!(written(1), "gpuUtilization 80 dcgm-gpu-utilization scaler.ns.svc:9443");
    assert_eq!(written(2), "latency 0.5 inference-latency-p99-seconds scaler.ns.svc:9443");
    assert_eq!((&triggers[3]["type"], &triggers[3]["metadata"]), (&json!("cpu"), &json!({"value": "60"})));
    assert!(triggers[..3].iter().all(|trigger| trigger["type"] == "external-push"));
}

#[test]
fn the_hpa_that_is_there_is_taken_over_by_name() {
    let metrics = [external("inference_queue_length", &average("10"))];
    let object = forth(&metrics).unwrap().object;
    assert_eq!((object.hpa_name().as_str(), object.metadata.name.as_str()), ("chat", "chat"));
    let annotations: Vec<_> = object.metadata.annotations.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(annotations, ["plimsoll.dev/mode=Observe", "scaledobject.keda.sh/transfer-hpa-ownership=true"]);
    assert_eq!(object.metadata.uid, "");
    let beside = Scaler { take_over: false, ..scaler() };
    let object = to_scaled_object(&hpa(&metrics), &Policy::default(), &beside).unwrap().object;
    assert_eq!((object.hpa_name().as_str(), object.metadata.annotations.len()), ("keda-hpa-chat", 1));
}

#[test]
fn what_no_trigger_can_say_names_its_field() {
    let queue = || external("inference_queue_length", &average("10"));
    let object = |name: &str| {
        let described = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": name});
        json!({"type": "Object", "object": {
            "describedObject": described, "metric": {"name": "inference_queue_length"}, "target": average("10"),
        }})
    };
    let pods = |name: &str| json!({"type": "Pods", "pods": {"metric": {"name": name}, "target": average("10")}});
    for (metric, expected) in [
        (external("http_requests", &average("10")), Err("spec.metrics[1].external.metric.name")),
        (external("inference_queue_length", &average("0")), Err("spec.metrics[1].external.target")),
        (object("other"), Err("spec.metrics[1].object.metric.name")),
        (object("chat"), Ok("spec.metrics[1].object")),
        (pods("gpu_utilization"), Ok("spec.metrics[1].pods")),
        (external("inference_latency_p99_seconds", &average("1")), Ok("spec.metrics[1].external.target")),
        (external("plimsoll_desired_replicas", &average("1")), Ok("spec.metrics[1].external")),
        (
            json!({"type": "Resource", "resource": {"name": "nvidia.com/gpu", "target": average("1")}}),
            Err("spec.metrics[1].resource.name"),
        ),
        (json!({"type": "External"}), Err("spec.metrics[1].type")),
    ] {
        let found = forth(&[queue(), metric.clone()]);
        let found = found.map(|migrated| paths(&migrated.warnings)).map_err(|findings| paths(&findings));
        let expected =
            expected.map(|path| vec![format!("Warning {path}")]).map_err(|path| vec![format!("Error {path}")]);
        assert_eq!(found, expected, "{metric}");
    }
    let guard = external("gpu_nodes_available", &json!({"type": "Value", "value": "1"}));
    assert_eq!(paths(&forth(&[guard]).unwrap_err())[0], "Error spec.metrics");
}

#[test]
fn a_composite_trigger_becomes_one_metric_for_each_part() {
    let Migrated { object, warnings } = back(&json!({
        "scaleTargetRef": {"name": "chat"}, "minReplicaCount": 2, "pollingInterval": 15,
        "triggers": [
            ours(&json!({
                "signal": "composite", "queueThreshold": "10", "gpuThreshold": "70", "latencyThreshold": "500ms",
                "headroom": "3",
            })),
            {"type": "memory", "metricType": "AverageValue", "metadata": {"value": "2Gi", "containerName": "server"}},
        ],
    }))
    .unwrap();
    assert_eq!(paths(&warnings), ["Warning spec.pollingInterval"]);
    let hpa = serde_json::to_value(&object).unwrap();
    assert_eq!(hpa["spec"]["scaleTargetRef"], json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "chat"}));
    assert_eq!((object.spec.min_replicas, object.spec.max_replicas), (Some(2), 100));
    assert_eq!(hpa["metadata"]["annotations"], json!({"a": "b", "plimsoll.dev/headroom": "3"}));
    let metrics = hpa["spec"]["metrics"].as_array().unwrap();
    let names: Vec<_> = metrics.iter().map(|metric| &metric["external"]["metric"]["name"]).collect();
    assert_eq!(names[..3], ["inference_queue_length", "dcgm_gpu_utilization", "inference_latency_p99_seconds"]);
    assert_eq!(metrics[2]["external"]["target"]["value"], "500m");
    assert_eq!(metrics[3]["containerResource"]["container"], "server");
}

#[test]
fn what_no_hpa_can_say_names_its_field() {
    let queue = |key: &str, value: &str| ours(&json!({"signal": "queueLength", "threshold": "10", key: value}));
    let with = |spec: Value, trigger: Value| {
        let mut whole = json!({"scaleTargetRef": {"name": "chat"}, "minReplicaCount": 1, "triggers": [trigger]});
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        whole
    };
    for (spec, expected) in [
        (with(json!({"minReplicaCount": 0}), queue("warmup", "auto")), "Error spec.minReplicaCount"),
        (with(json!({"idleReplicaCount": 1}), queue("warmup", "auto")), "Error spec.idleReplicaCount"),
        (with(json!({}), ours(&json!({"signal": "queueLength"}))), "Error spec.triggers[0].metadata.threshold"),
        (with(json!({}), queue("aggregation", "max")), "Error spec.triggers[0].metadata.aggregation"),
        (with(json!({}), queue("capacity", "off")), "Error spec.triggers[0].metadata.capacity"),
        (with(json!({}), queue("priority", "5")), "Error spec.triggers[0].metadata.priority"),
        (with(json!({}), queue("onMissing", "zero")), "Error spec.triggers[0].metadata.onMissing"),
        (with(json!({}), queue("onMissing", "error")), "Warning spec.triggers[0].metadata.onMissing"),
        (with(json!({}), queue("staleAfter", "60s")), "Warning spec.triggers[0].metadata.staleAfter"),
        (with(json!({}), queue("activationThreshold", "2")), "Warning spec.triggers[0].metadata.activationThreshold"),
        (with(json!({}), queue("warmup", "off")), "Warning spec.triggers[0].metadata.warmup"),
        (with(json!({}), json!({"type": "kafka"})), "Error spec.triggers[0].type"),
        (
            with(
                json!({}),
                json!({"type": "cpu", "metricType": "Utilization", "metadata": {"value": "5", "activationValue": "1"}}),
            ),
            "Warning spec.triggers[0].metadata.activationValue",
        ),
        (with(json!({}), json!({"type": "cpu", "metricType": "Value"})), "Error spec.triggers[0].metricType"),
        (
            with(json!({"advanced": {"scalingModifiers": {"formula": "a"}}}), queue("warmup", "auto")),
            "Error spec.advanced.scalingModifiers.formula",
        ),
        (with(json!({}), queue("query", "sum(up)")), "Error spec.triggers[0].metadata.serverAddress"),
    ] {
        let found = back(&spec).map_or_else(|findings| paths(&findings), |migrated| paths(&migrated.warnings));
        assert!(found.iter().any(|found| found == expected), "{spec}: {found:?}");
    }
    let asked =
        json!({"signal": "queueLength", "threshold": "1", "serverAddress": "http://p:9090", "query": "sum(up)"});
    let found = paths(&back(&with(json!({}), ours(&asked))).unwrap_err());
    assert_eq!(found, ["Error spec.triggers[0].metadata.query"]);
    let asked = json!({"signal": "queueLength", "profile": "vllm", "serverAddress": "http://p:9090"});
    let found = paths(&back(&with(json!({}), ours(&asked))).unwrap_err());
    assert_eq!(found, ["Error spec.triggers[0].metadata.serverAddress"]);
}

#[test]
fn a_paused_object_stays_paused() {
    let object = json!({
        "metadata": {"name": "chat", "annotations": {"autoscaling.keda.sh/paused": "true"}},
        "spec": {"minReplicaCount": 1, "triggers": [ours(&json!({"signal": "queueLength", "threshold": "1"}))]},
    });
    let found = to_hpa(&serde_json::from_value(object).unwrap(), &Policy::default()).unwrap_err();
    assert_eq!(paths(&found), ["Error metadata.annotations[autoscaling.keda.sh/paused]"]);
}

fn metrics() -> impl Strategy<Value = Value> {
    let quantity = || (1..=2_000_000_i64).prop_map(|milli| format!("{milli}m"));
    let name = prop::sample::select(vec!["inference_queue_length", "dcgm_gpu_utilization", "nvidia_gpu_utilization"]);
    let target = (any::<bool>(), quantity()).prop_map(|(by_value, quantity)| {
        if by_value { json!({"type": "Value", "value": quantity}) } else { average(&quantity) }
    });
    let summed = (name, target).prop_map(|(name, target)| external(name, &target));
    let latency = quantity()
        .prop_map(|value| external("inference_latency_p99_seconds", &json!({"type": "Value", "value": value})));
    let percent = (1..=100_i32).prop_map(|percent| json!({"type": "Utilization", "averageUtilization": percent}));
    let target = prop_oneof![percent, quantity().prop_map(|value| average(&value))];
    let resource = (prop::sample::select(vec!["cpu", "memory"]), prop::option::of("[a-z]{1,9}"), target);
    let resource = resource.prop_map(|(name, container, target)| match container {
        Some(container) => json!({
            "type": "ContainerResource",
            "containerResource": {"name": name, "container": container, "target": target},
        }),
        None => json!({"type": "Resource", "resource": {"name": name, "target": target}}),
    });
    prop_oneof![3 => summed, 1 => latency, 1 => resource]
}

fn behaviors() -> impl Strategy<Value = Option<Value>> {
    let policy = (prop::sample::select(vec!["Pods", "Percent"]), 1..=100_i32, 1..=1800_i32)
        .prop_map(|(kind, value, seconds)| json!({"type": kind, "value": value, "periodSeconds": seconds}));
    let rules = (
        prop::option::of(0..=3600_i32),
        prop::option::of(prop::sample::select(vec!["Max", "Min", "Disabled"])),
        prop::option::of(prop::collection::vec(policy, 1..3)),
        prop::option::of(prop::sample::select(vec!["0", "50m", "1"])),
    );
    let rules = rules.prop_map(|(window, select, policies, tolerance)| {
        json!({
            "stabilizationWindowSeconds": window, "selectPolicy": select, "policies": policies, "tolerance": tolerance,
        })
    });
    let rules = prop::option::of(rules);
    let both = (rules.clone(), rules).prop_map(|(up, down)| json!({"scaleUp": up, "scaleDown": down}));
    prop::option::of(both)
}

fn hpas() -> impl Strategy<Value = HorizontalPodAutoscaler> {
    let of_ours = external("inference_queue_length", &average("10"));
    let metrics = prop::collection::vec(metrics(), 0..5).prop_map(move |mut metrics| {
        metrics.push(of_ours.clone());
        metrics
    });
    let annotations =
        prop::collection::btree_map("plimsoll.dev/headroom|[a-z]{1,5}/[a-z]{1,5}", "auto|none|[0-9]", 0..3);
    (metrics, behaviors(), annotations, 1..=20_i32, 0..=80_i32).prop_map(
        |(metrics, behavior, annotations, min, more)| {
            let mut hpa = hpa(&metrics);
            hpa.metadata.uid = String::new();
            hpa.metadata.annotations = annotations;
            hpa.spec.min_replicas = Some(min);
            hpa.spec.max_replicas = min + more;
            hpa.spec.behavior = behavior.map(|behavior| serde_json::from_value(behavior).unwrap());
            hpa
        },
    )
}

/// Triggers that an HPA can stand for, with and without what only KEDA needs.
fn triggers() -> impl Strategy<Value = Value> {
    let number = || (1..=2_000_000_i64).prop_map(|milli| format!("{}.{:03}", milli / 1000, milli % 1000));
    let signal = prop::sample::select(vec![("queueLength", "sum"), ("gpuUtilization", "avg"), ("queueLength", "avg")]);
    let summed = (signal, number(), any::<bool>()).prop_map(|((signal, aggregation), threshold, by_value)| {
        let metadata = json!({"signal": signal, "threshold": threshold, "aggregation": aggregation});
        json!({"type": "external", "metricType": if by_value { "Value" } else { "" }, "metadata": metadata})
    });
    let latency = number().prop_map(|threshold| ours(&json!({"signal": "latency", "threshold": threshold})));
    let composite = (number(), number(), number()).prop_map(|(queue, gpu, latency)| {
        ours(&json!({"signal": "composite", "queueThreshold": queue, "gpuThreshold": gpu, "latencyThreshold": latency}))
    });
    let cpu = (1..=100_i32).prop_map(
        |percent| json!({"type": "cpu", "metricType": "Utilization", "metadata": {"value": percent.to_string()}}),
    );
    let extras = prop::sample::select(vec![("warmup", "off"), ("activationThreshold", "1"), ("headroom", "2")]);
    let ours = (prop_oneof![summed, latency, composite], prop::option::of(extras)).prop_map(|(mut trigger, extra)| {
        if let Some((key, value)) = extra {
            trigger["metadata"][key] = json!(value);
        }
        trigger
    });
    prop_oneof![4 => ours, 1 => cpu]
}

/// What the HPA of an object compares: signal or kind, target, and type of it.
fn compared(object: &ScaledObject) -> Vec<String> {
    let mut all = Vec::new();
    for trigger in &object.spec.triggers {
        let Ok(parsed) = Trigger::parse(&trigger.metadata) else {
            all.push(format!("{} {:?} {}", trigger.kind, trigger.metadata, trigger.metric_type));
            continue;
        };
        let by = if trigger.metric_type == "Value" { "Value" } else { "AverageValue" };
        match &parsed.signal {
            Signal::Composite(parts) => {
                let named = [("queueLength", parts.queue), ("gpuUtilization", parts.gpu), ("latency", parts.latency)];
                all.extend(
                    named.into_iter().filter_map(|(name, part)| Some(format!("{name} {:?} {by}", part?.threshold))),
                );
            }
            Signal::Latency { threshold } => all.push(format!("latency {threshold:?} {by}")),
            signal => all.push(format!("{} {:?} {by}", signal.name(), parsed.target())),
        }
    }
    all
}

proptest! {
    #[test]
    fn a_scaled_object_that_becomes_an_hpa_comes_back_with_the_same_signals_and_targets(
        triggers in prop::collection::vec(triggers(), 1..5), min in 1..=20_i32, more in 0..=80_i32,
    ) {
        let first = ours(&json!({"signal": "queueLength", "threshold": "10"}));
        let triggers: Vec<_> = std::iter::once(first).chain(triggers).collect();
        let object: ScaledObject = serde_json::from_value(json!({
            "metadata": {"name": "chat", "namespace": "ml"},
            "spec": {
                "scaleTargetRef": {"name": "chat"}, "minReplicaCount": min, "maxReplicaCount": min + more,
                "triggers": triggers,
            },
        })).unwrap();
        let hpa = to_hpa(&object, &Policy::default()).unwrap().object;
        let again = to_scaled_object(&hpa, &Policy::default(), &scaler()).unwrap().object;
        prop_assert_eq!(compared(&again), compared(&object));
        prop_assert_eq!((again.min_idle(), again.max(), again.workload()), (object.min_idle(), object.max(), object.workload()));
    }

    #[test]
    fn there_and_back_is_the_same_hpa(hpa in hpas(), take_over in any::<bool>()) {
        let scaler = Scaler { take_over, ..scaler() };
        let forth = to_scaled_object(&hpa, &Policy::default(), &scaler).unwrap();
        prop_assert_eq!(&forth.warnings, &[]);
        let back = to_hpa(&forth.object, &Policy::default()).unwrap();
        prop_assert_eq!(&back.warnings, &[]);
        prop_assert_eq!(&back.object, &hpa);
        let again = to_scaled_object(&back.object, &Policy::default(), &scaler).unwrap();
        prop_assert_eq!(again.object, forth.object);
    }

    #[test]
    fn what_selects_a_metric_for_an_hpa_does_not_matter_to_a_trigger(hpa in hpas(), value in "[a-z]{1,9}") {
        let mut other = hpa.clone();
        for metric in other.spec.metrics.iter_mut().filter_map(|spec| spec.external.as_mut()) {
            metric.metric.selector = Some(serde_json::from_value(json!({"matchLabels": {"app": value}})).unwrap());
        }
        let [one, two] = [hpa, other].map(|hpa| to_scaled_object(&hpa, &Policy::default(), &scaler()));
        prop_assert_eq!(one, two);
    }
}
