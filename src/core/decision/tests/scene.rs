//! Builders: a call reads like the situation.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::{
    answer::{CustomRequest, ExternalValue, ObjectValue, Objects, Refusal},
    cluster::{Namespace, View},
    decision::{Live, Snapshot, answer_custom, answer_external, decide},
    object::{ObjectKey, ResourceQuota, ScaleTarget, WorkloadKey},
    policy::Policy,
    quantity::Milli,
    signal::{QUEUE_LENGTH, Quality, Sample, Signals},
};

/// A cluster, its signals and a clock.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    pub(super) view: View,
    pub(super) signals: Signals,
    pub(super) policy: Policy,
    pub(super) now: Timestamp,
}

impl Scene {
    /// Puts a quota on the namespace; without what is used it is not known what it lets through.
    pub(super) fn limit(&mut self, resource: &str, hard: &str, used: Option<&str>) {
        let hard = json!({ resource: hard });
        let status = used.map(|used| json!({ "hard": hard, "used": { resource: used } }));
        let quota: ResourceQuota = serde_json::from_value(json!({
            "metadata": { "name": "team", "namespace": "ml" }, "spec": { "hard": hard }, "status": status,
        }))
        .unwrap();
        self.view.resource_quotas.insert(quota.metadata.key(), quota);
    }
}

pub(super) fn deployment(name: &str) -> WorkloadKey {
    WorkloadKey {
        namespace: "ml".to_owned(),
        group: "apps".to_owned(),
        kind: "Deployment".to_owned(),
        name: name.to_owned(),
    }
}

pub(super) fn external(metric: &str, target: &Value) -> Value {
    json!({ "type": "External", "external": { "metric": { "name": metric }, "target": target } })
}

pub(super) fn external_of(metric: &str, workload: &str, target: &Value) -> Value {
    let selector = json!({ "matchLabels": { "workload": workload } });
    json!({ "type": "External", "external": { "metric": { "name": metric, "selector": selector }, "target": target } })
}

pub(super) fn pods(metric: &str, target: &Value) -> Value {
    json!({ "type": "Pods", "pods": { "metric": { "name": metric }, "target": target } })
}

pub(super) fn average(value: &str) -> Value {
    json!({ "type": "AverageValue", "averageValue": value })
}

pub(super) fn value(value: &str) -> Value {
    json!({ "type": "Value", "value": value })
}

impl Scene {
    pub(super) fn new() -> Self {
        let now = "2026-01-01T12:00:00Z".parse().unwrap();
        let view = View { capacity_heard_at: Some(now), ..View::default() };
        let mut scene = Self { view, signals: Signals::default(), policy: Policy::default(), now };
        scene.view.namespaces.insert("ml".to_owned(), Namespace::default());
        scene
    }

    pub(super) fn node(mut self, name: &str, gpus: u32) -> Self {
        let node = json!({
            "metadata": { "name": name, "labels": { "kubernetes.io/hostname": name } },
            "status": {
                "allocatable": { "cpu": "64", "memory": "512Gi", "pods": "110", "nvidia.com/gpu": gpus.to_string() },
                "conditions": [{ "type": "Ready", "status": "True" }],
            },
        });
        self.view.nodes.insert(name.to_owned(), serde_json::from_value(node).unwrap());
        self
    }

    /// A Deployment whose replicas take that many GPUs each.
    pub(super) fn workload(mut self, name: &str, replicas: i32, gpus: u32) -> Self {
        let template = json!({
            "metadata": { "labels": { "app": name } },
            "spec": { "containers": [{ "name": "main", "resources": {
                "requests": { "cpu": "1", "nvidia.com/gpu": gpus.to_string() },
                "limits": { "nvidia.com/gpu": gpus.to_string() } } }] },
        });
        let target = ScaleTarget {
            spec_replicas: replicas,
            status_replicas: replicas,
            selector: format!("app={name}").parse().unwrap(),
            template: Some(serde_json::from_value(template).unwrap()),
            ..ScaleTarget::default()
        };
        self.view.workloads.insert(deployment(name), target);
        self
    }

    pub(super) fn hpa(mut self, name: &str, max: i32, metrics: &[Value]) -> Self {
        let hpa = json!({
            "metadata": { "name": name, "namespace": "ml" },
            "spec": {
                "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": name },
                "minReplicas": 1, "maxReplicas": max, "metrics": metrics, "behavior": {},
            },
        });
        self.view.hpas.insert(ObjectKey::new("ml", name), serde_json::from_value(hpa).unwrap());
        self
    }

    pub(super) fn annotated(mut self, hpa: &str, name: &str, value: &str) -> Self {
        let hpa = self.view.hpas.get_mut(&ObjectKey::new("ml", hpa)).unwrap();
        hpa.metadata.annotations.insert(name.to_owned(), value.to_owned());
        self
    }

    /// A pod that runs and is ready, with that many requests waiting in it.
    pub(super) fn running(mut self, workload: &str, index: usize, node: &str, queue: Option<i64>) -> Self {
        let key = self.pod(workload, index, node, "Running", &json!({ "type": "Ready", "status": "True" }));
        if let Some(queue) = queue {
            let sample = Sample { value: Milli(queue * 1000), at: self.now, quality: Quality::Live };
            self.signals.pods.entry(QUEUE_LENGTH.to_owned()).or_default().insert(key, sample);
        }
        self
    }

    /// A pod that has found no place for that many seconds.
    pub(super) fn unschedulable(mut self, workload: &str, index: usize, seconds: i64) -> Self {
        let since = (self.now - SignedDuration::from_secs(seconds)).to_string();
        let condition = json!({ "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "lastTransitionTime": since });
        self.pod(workload, index, "", "Pending", &condition);
        self
    }

    fn pod(&mut self, workload: &str, index: usize, node: &str, phase: &str, condition: &Value) -> ObjectKey {
        let name = format!("{workload}-{index}");
        let key = ObjectKey::new("ml", &*name);
        let template = self.view.workloads[&deployment(workload)].template.clone().unwrap();
        let mut pod: crate::object::Pod = serde_json::from_value(json!({
            "metadata": { "name": name, "namespace": "ml", "labels": { "app": workload } },
            "status": { "phase": phase, "conditions": [condition] },
        }))
        .unwrap();
        pod.spec = (*template.spec).into();
        pod.node_name = node.into();
        self.view.pods.insert(key.clone(), pod);
        key
    }

    pub(super) fn later(mut self, seconds: i64) -> Self {
        self.now += SignedDuration::from_secs(seconds);
        self.view.capacity_heard_at = Some(self.now);
        for sample in self.signals.pods.values_mut().flat_map(|samples| samples.values_mut()) {
            sample.at = self.now;
        }
        self
    }

    pub(super) fn quality(mut self, quality: Quality) -> Self {
        for sample in self.signals.pods.values_mut().flat_map(|samples| samples.values_mut()) {
            sample.quality = quality;
        }
        self
    }

    // === acting ===

    pub(super) fn decide(&self) -> Snapshot {
        self.after(None)
    }

    pub(super) fn after(&self, previous: Option<&Snapshot>) -> Snapshot {
        decide(&self.view, &self.signals, &self.policy, previous, self.now)
    }

    pub(super) fn ask(&self, snapshot: &Snapshot, metric: &str, selector: &str) -> Result<ExternalValue, Refusal> {
        let live = |workload: &WorkloadKey| Live::of(&self.view, workload);
        let selector = selector.parse().unwrap();
        answer_external(snapshot, live, "ml", metric, &selector, self.now).map(|values| values[0].clone())
    }

    pub(super) fn ask_pods(
        &self,
        snapshot: &Snapshot,
        metric: &str,
        selector: &str,
    ) -> Result<Vec<ObjectValue>, Refusal> {
        let request = CustomRequest {
            namespace: "ml".to_owned(),
            resource: "pods".to_owned(),
            objects: Objects::Matching(selector.parse().unwrap()),
            metric: metric.to_owned(),
            metric_selector: crate::selector::Selector::default(),
        };
        answer_custom(snapshot, |workload| Live::of(&self.view, workload), &request, self.now)
    }
}

/// Five pods on eight GPUs, with a queue for fifteen.
pub(super) fn textbook(metrics: &[Value]) -> Scene {
    let scene = Scene::new().node("a", 8).workload("llm", 5, 1).hpa("llm", 50, metrics);
    (0..5).fold(scene, |scene, index| scene.running("llm", index, "a", Some(30)))
}

pub(super) fn key(name: &str) -> ObjectKey {
    ObjectKey::new("ml", name)
}
