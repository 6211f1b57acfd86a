//! The Kubernetes objects of a scenario: nodes with GPUs, the DCGM exporters on them, the inference Deployment and
//! its HPA. Each builder's call reads like the situation; the objects are what a user would write.

use std::collections::BTreeMap;

use anyhow::Result;
use k8s_openapi::api::{
    apps::v1::Deployment,
    autoscaling::v2::HorizontalPodAutoscaler,
    core::v1::{Node, Pod},
};
use serde_json::{Map, Value, json};

use crate::standin::{DIALECT, Dialect, GPUS, WORLD};

/// The name of every scenario's Deployment, HPA and `app` label.
pub const WORKLOAD: &str = "llm";
/// Where the inference pods answer.
pub const METRICS_PORT: u16 = 8000;

/// What makes one node unlike another.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    resources: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
    published: u32,
}

impl Machine {
    /// With whole GPUs.
    #[must_use]
    pub fn gpus(count: u32) -> Self {
        Self::default().offers("nvidia.com/gpu", count)
    }

    /// With so much of a resource that device plugins announce, such as `nvidia.com/mig-1g.10gb`.
    #[must_use]
    pub fn offers(mut self, resource: &str, count: u32) -> Self {
        self.resources.insert(resource.into(), count.to_string());
        self
    }

    /// With whole GPUs that a DRA driver publishes in a slice, so that the node itself offers none.
    #[must_use]
    pub fn published(mut self, gpus: u32) -> Self {
        self.published = gpus;
        self
    }

    /// GPUs that a DRA driver publishes.
    #[must_use]
    pub fn published_gpus(&self) -> u32 {
        self.published
    }

    /// With a label.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// Whole GPUs, which are what its DCGM exporter reports on.
    #[must_use]
    pub fn whole_gpus(&self) -> u32 {
        self.resources.get("nvidia.com/gpu").and_then(|count| count.parse().ok()).unwrap_or(0)
    }

    /// A Ready-to-be node, which kwok will play.
    pub fn node(&self, name: &str, world: &str, address: std::net::Ipv4Addr) -> Result<Node> {
        let mut resources = json!({"cpu": "128", "memory": "1Ti", "pods": "110"});
        for (resource, count) in &self.resources {
            resources[resource] = json!(count);
        }
        let (key, value) = managed();
        let mut labels = json!({
            key: value, WORLD: world,
            "kubernetes.io/hostname": name, "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3",
        });
        for (key, value) in &self.labels {
            labels[key] = json!(value);
        }
        let node = json!({
            "metadata": {"name": name, "labels": labels},
            "status": {
                "capacity": resources, "allocatable": resources,
                "addresses": [
                    {"type": "InternalIP", "address": address.to_string()}, {"type": "Hostname", "address": name},
                ],
            },
        });
        Ok(serde_json::from_value(node)?)
    }
}

/// A pod of somebody else that holds GPUs of a node: a training job, a notebook.
pub fn squatter(name: &str, node: &str, gpus: u32) -> Result<Pod> {
    Ok(serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {
            "nodeName": node,
            "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "train", "image": "pytorch/pytorch:2.9.0",
                "resources": {"limits": {"cpu": "8", "memory": "64Gi", "nvidia.com/gpu": gpus.to_string()}},
            }],
        },
    }))?)
}

/// The label by which kwok manages a node; a node without it is a node whose kubelet has died.
#[must_use]
pub fn managed() -> (&'static str, &'static str) {
    crate::plane::MANAGED.split_once('=').unwrap_or((crate::plane::MANAGED, ""))
}

/// The DCGM exporter of one node, as its DaemonSet would run it: bound to the node, past every taint.
pub fn exporter(node: &str, world: &str, gpus: u32) -> Result<Pod> {
    Ok(serde_json::from_value(json!({
        "metadata": {
            "name": format!("dcgm-exporter-{node}"),
            "labels": {"app.kubernetes.io/name": "dcgm-exporter", WORLD: world},
            "annotations": {GPUS: gpus.to_string()},
        },
        "spec": {
            "nodeName": node,
            "tolerations": [{"operator": "Exists"}],
            "containers": [{
                "name": "exporter", "image": "nvcr.io/nvidia/k8s/dcgm-exporter:4.4.1",
                "ports": [{"name": "metrics", "containerPort": 9400}],
            }],
        },
    }))?)
}

/// An inference Deployment on this scenario's nodes only: one GPU per replica, unless it is told otherwise.
#[derive(Clone, Debug)]
pub struct Inference {
    world: String,
    replicas: u32,
    ready_after: Option<String>,
    dialect: Dialect,
    scraped: bool,
    devices: (String, u32),
    /// The ResourceClaimTemplate by which it gets its GPU instead.
    claims: Option<String>,
    placement: Map<String, Value>,
    queue: Option<String>,
}

impl Inference {
    /// `replicas` replicas for the scenario `world`.
    #[must_use]
    pub fn new(world: &str, replicas: u32) -> Self {
        Self {
            world: world.into(),
            replicas,
            ready_after: None,
            dialect: Dialect::default(),
            scraped: true,
            devices: ("nvidia.com/gpu".into(), 1),
            claims: None,
            placement: Map::new(),
            queue: None,
        }
    }

    /// Its pods wait until Kueue admits them to a LocalQueue.
    #[must_use]
    pub fn queued(mut self, queue: &str) -> Self {
        self.queue = Some(queue.into());
        self
    }

    /// Each pod becomes Ready this long after it began to run, as a Go duration: the load time of the model.
    #[must_use]
    pub fn ready_after(mut self, duration: &str) -> Self {
        self.ready_after = Some(duration.into());
        self
    }

    /// Reports under the names of another server.
    #[must_use]
    pub fn dialect(mut self, dialect: Dialect) -> Self {
        self.dialect = dialect;
        self
    }

    /// Without the `prometheus.io/*` annotations: only a Prometheus that knows its targets scrapes it.
    #[must_use]
    pub fn not_scraped_directly(mut self) -> Self {
        self.scraped = false;
        self
    }

    /// Asks for other devices than one GPU.
    #[must_use]
    pub fn devices(mut self, resource: &str, count: u32) -> Self {
        self.devices = (resource.into(), count);
        self
    }

    /// Asks for its GPU by a claim that is made from the template for each pod.
    #[must_use]
    pub fn claiming(mut self, template: &str) -> Self {
        self.claims = Some(template.into());
        self
    }

    /// Sets a field of the pods' `spec`, such as `topologySpreadConstraints`.
    #[must_use]
    pub fn placed(mut self, field: &str, value: Value) -> Self {
        self.placement.insert(field.into(), value);
        self
    }

    /// The label selector of its pods.
    #[must_use]
    pub fn selector() -> Value {
        json!({"matchLabels": {"app": WORKLOAD}})
    }

    fn annotations(&self) -> Value {
        let mut annotations = serde_json::Map::new();
        if self.scraped {
            annotations.insert("prometheus.io/scrape".into(), "true".into());
            annotations.insert("prometheus.io/port".into(), METRICS_PORT.to_string().into());
            annotations.insert("prometheus.io/path".into(), "/metrics".into());
        }
        if let Some(duration) = &self.ready_after {
            annotations.insert(crate::plane::READY_AFTER.into(), duration.as_str().into());
        }
        if self.dialect == Dialect::Vllm {
            annotations.insert(DIALECT.into(), "vllm".into());
        }
        annotations.into()
    }

    /// The pod template.
    #[must_use]
    pub fn template(&self) -> Value {
        let (resource, count) = &self.devices;
        let mut spec = json!({
            "nodeSelector": {WORLD: self.world},
            "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": "server", "image": "vllm/vllm-openai:v0.11.0",
                "ports": [{"name": "http", "containerPort": METRICS_PORT}],
                "resources": {
                    "requests": {"cpu": "4", "memory": "32Gi", resource: count.to_string()},
                    "limits": {resource: count.to_string()},
                },
            }],
        });
        if let Some(template) = &self.claims {
            spec["resourceClaims"] = json!([{"name": "gpu", "resourceClaimTemplateName": template}]);
            spec["containers"][0]["resources"] =
                json!({"requests": {"cpu": "4", "memory": "32Gi"}, "claims": [{"name": "gpu"}]});
        }
        for (field, value) in &self.placement {
            spec[field] = value.clone();
        }
        json!({
            "metadata": {"labels": {"app": WORKLOAD, WORLD: self.world}, "annotations": self.annotations()},
            "spec": spec,
        })
    }

    /// The Deployment.
    pub fn deployment(&self) -> Result<Deployment> {
        let labels: Map<String, Value> =
            self.queue.iter().map(|queue| ("kueue.x-k8s.io/queue-name".to_owned(), json!(queue))).collect();
        Ok(serde_json::from_value(json!({
            "metadata": {"name": WORKLOAD, "labels": labels},
            "spec": {"replicas": self.replicas, "selector": Self::selector(), "template": self.template()},
        }))?)
    }
}

/// An HPA of the textbook.
#[derive(Clone, Debug)]
pub struct Autoscaler {
    min: u32,
    max: u32,
    metrics: Vec<Value>,
    behavior: Option<Value>,
    mode: Option<&'static str>,
    /// API version and kind of what is scaled.
    target: (&'static str, &'static str),
}

impl Autoscaler {
    /// `Pods inference_queue_length AverageValue 10`.
    #[must_use]
    pub fn queue(min: u32, max: u32) -> Self {
        let queue = json!({"type": "Pods", "pods": {
            "metric": {"name": "inference_queue_length"}, "target": {"type": "AverageValue", "averageValue": "10"},
        }});
        Self { min, max, metrics: vec![queue], behavior: None, mode: None, target: ("apps/v1", "Deployment") }
    }

    /// The queue, and `External dcgm_gpu_utilization AverageValue 80`.
    #[must_use]
    pub fn queue_and_utilisation(min: u32, max: u32) -> Self {
        let mut autoscaler = Self::queue(min, max);
        let utilisation = json!({"type": "External", "external": {
            "metric": {"name": "dcgm_gpu_utilization"}, "target": {"type": "AverageValue", "averageValue": "80"},
        }});
        autoscaler.metrics.push(utilisation);
        autoscaler
    }

    /// Adds `External gpu_nodes_available Value 1`, the widely copied cure.
    #[must_use]
    pub fn with_nodes_available(mut self) -> Self {
        self.metrics.push(json!({"type": "External", "external": {
            "metric": {"name": "gpu_nodes_available"}, "target": {"type": "Value", "value": "1"},
        }}));
        self
    }

    /// `spec.behavior`.
    #[must_use]
    pub fn behavior(mut self, behavior: Value) -> Self {
        self.behavior = Some(behavior);
        self
    }

    /// Scales another kind than a Deployment.
    #[must_use]
    pub fn of(mut self, api_version: &'static str, kind: &'static str) -> Self {
        self.target = (api_version, kind);
        self
    }

    /// The annotation `plimsoll.dev/mode`.
    #[must_use]
    pub fn mode(mut self, mode: &'static str) -> Self {
        self.mode = Some(mode);
        self
    }

    /// The HPA.
    pub fn hpa(&self) -> Result<HorizontalPodAutoscaler> {
        let (api_version, kind) = self.target;
        let annotations: Value = self.mode.map_or_else(|| json!({}), |mode| json!({"plimsoll.dev/mode": mode}));
        Ok(serde_json::from_value(json!({
            "metadata": {"name": WORKLOAD, "annotations": annotations},
            "spec": {
                "scaleTargetRef": {"apiVersion": api_version, "kind": kind, "name": WORKLOAD},
                "minReplicas": self.min, "maxReplicas": self.max,
                "metrics": self.metrics, "behavior": self.behavior,
            },
        }))?)
    }
}
