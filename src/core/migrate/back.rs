//! From ScaledObject to HPA: each trigger of ours is one metric, a composite one is several, of which an HPA takes the
//! largest proposal as the trigger does.

use super::{Findings, Migrated, WORKLOAD, carried, name_in_hpa};
use crate::{
    keda::{Finding, Severity, findings_of_object},
    object::{
        HorizontalPodAutoscaler, Labels, ObjectMeta,
        hpa::{
            ContainerResourceMetric, ExternalMetric, HpaSpec, MetricIdentifier, MetricSpec, MetricTarget,
            ObjectReference, ResourceMetric,
        },
        keda::{ScaleTrigger, ScaledObject},
    },
    policy::{HEADROOM_ANNOTATION, MetricKind, Policy},
    quantity::{Milli, Quantity},
    selector::LabelSelector,
    signal::{GPU_UTILIZATION, LATENCY_P99, QUEUE_LENGTH},
    trigger::{Aggregation, Combine, Composite, Headroom, OnMissing, Signal, Trigger},
};

/// Annotations by which KEDA stops scaling: an HPA has no such switch.
const PAUSES: [&str; 4] = ["paused", "paused-replicas", "paused-scale-in", "paused-scale-out"];

/// One ScaledObject on its way.
struct Back<'a> {
    object: &'a ScaledObject,
    policy: &'a Policy,
    /// Value of the label in each metric's selector.
    workload: String,
    findings: Findings,
}

/// The HPA that scales as KEDA's would; the error is everything that has no equivalent.
pub fn to_hpa(object: &ScaledObject, policy: &Policy) -> Result<Migrated<HorizontalPodAutoscaler>, Vec<Finding>> {
    let workload = object.workload();
    let mut back = Back { object, policy, workload: workload.name.clone(), findings: Findings::default() };
    let wrong = findings_of_object(object).into_iter().filter(|finding| finding.severity == Severity::Error);
    back.findings.0.extend(wrong);
    back.bounds();
    back.scaling_of_keda();
    let mut headroom = None;
    let mut metrics = Vec::new();
    for (index, trigger) in object.spec.triggers.iter().enumerate() {
        let at = format!("spec.triggers[{index}]");
        if !trigger.is_ours() {
            metrics.extend(back.resource(&at, trigger));
            continue;
        }
        // What is wrong with it has been found above.
        let Ok(parsed) = Trigger::parse(&trigger.metadata) else { continue };
        headroom = headroom.max(parsed.headroom);
        back.beside(&at, trigger, &parsed);
        metrics.extend(back.metrics(&at, trigger, &parsed));
    }
    let metadata = back.metadata(headroom);
    let target = &object.spec.scale_target_ref;
    let api_version = if target.api_version.is_empty() { "apps/v1" } else { &target.api_version };
    let spec = HpaSpec {
        scale_target_ref: ObjectReference {
            api_version: api_version.to_owned(),
            kind: workload.kind,
            name: workload.name,
        },
        min_replicas: Some(object.min_active()),
        max_replicas: object.max(),
        metrics,
        behavior: object.spec.advanced.horizontal_pod_autoscaler_config.behavior.clone(),
    };
    back.findings.finish(HorizontalPodAutoscaler { metadata, spec, ..HorizontalPodAutoscaler::default() })
}

// === impl Back ===

impl Back<'_> {
    /// Whether it sleeps, which an HPA does not (gate HPAScaleToZero is alpha and off in v1.36).
    fn bounds(&mut self) {
        let spec = &self.object.spec;
        if spec.idle_replica_count.is_some() {
            self.findings.error("spec.idleReplicaCount", "an HPA has one minimum, active or not: remove it");
        } else if self.object.min_idle() == 0 {
            let message = "an HPA does not scale to zero: set it to 1 or more";
            self.findings.error("spec.minReplicaCount", message);
        }
    }

    /// What KEDA does beside its HPA.
    fn scaling_of_keda(&mut self) {
        let spec = &self.object.spec;
        if !spec.advanced.scaling_modifiers.formula.is_empty() {
            let message = "an HPA has no formula, it takes the largest proposal: remove it";
            self.findings.error("spec.advanced.scalingModifiers.formula", message);
        }
        if spec.fallback.is_some() {
            self.findings.warn("spec.fallback", "is left out: an HPA keeps its replicas while a metric fails");
        }
        if spec.polling_interval.is_some() {
            self.findings.warn("spec.pollingInterval", "is left out: an HPA asks in its controller's sync period");
        }
        for pause in PAUSES {
            let name = format!("autoscaling.keda.sh/{pause}");
            if self.object.metadata.annotations.contains_key(&name) {
                let path = format!("metadata.annotations[{name}]");
                self.findings.error(path, "an HPA cannot be paused: remove it first");
            }
        }
    }

    fn metadata(&self, headroom: Option<Headroom>) -> ObjectMeta {
        let of = &self.object.metadata;
        let kedas =
            |key: &str| key.split_once('/').is_some_and(|(group, _)| group == "keda.sh" || group.ends_with(".keda.sh"));
        let mut annotations = carried(&of.annotations, kedas);
        if let Some(headroom) = headroom {
            let text = match headroom {
                Headroom::Autoscaler => "auto".to_owned(),
                Headroom::Replicas(0) => "none".to_owned(),
                Headroom::Replicas(most) => most.to_string(),
            };
            annotations.insert(HEADROOM_ANNOTATION.to_owned(), text);
        }
        let named = &self.object.spec.advanced.horizontal_pod_autoscaler_config.name;
        let name = if named.is_empty() { &of.name } else { named };
        ObjectMeta {
            name: name.clone(),
            namespace: of.namespace.clone(),
            labels: of.labels.clone(),
            annotations,
            ..ObjectMeta::default()
        }
    }

    /// What a trigger says beside signal and target.
    fn beside(&mut self, at: &str, trigger: &ScaleTrigger, parsed: &Trigger) {
        let key = |key: &str| format!("{at}.metadata.{key}");
        let default = Trigger::new(parsed.signal.clone());
        if parsed.query.is_some() {
            let message = "an HPA metric has no query of its own, the pods are asked: remove it and serverAddress";
            self.findings.error(key("query"), message);
        }
        if parsed.server.is_some() {
            let message = "an HPA metric has no server of its own: remove it, and have the queue of the pods scraped or \
                           asked for under prometheus[].queries";
            self.findings.error(key("serverAddress"), message);
        }
        if !parsed.clamp {
            let message = "metrics of HPAs are kept within what fits: remove it, or annotate the HPA with \
                           plimsoll.dev/mode: Observe";
            self.findings.error(key("capacity"), message);
        }
        if parsed.priority.is_some() {
            let message = "the priority of an HPA's workload is that of its pods: give them a PriorityClass";
            self.findings.error(key("priority"), message);
        }
        if parsed.on_missing == OnMissing::Zero {
            let message = "to an HPA no data are an error, on which nothing changes: use hold";
            self.findings.error(key("onMissing"), message);
        }
        let dropped = [
            ("onMissing", parsed.on_missing == OnMissing::Error, "is left out: the last good value is held"),
            (
                "staleAfter",
                parsed.stale_after != default.stale_after,
                "is left out: policy.lastKnownGoodBound has effect",
            ),
            ("activationThreshold", parsed.activation.0 > 0, "is left out: nothing is ever inactive"),
            ("warmup", parsed.warmup != default.warmup, "is left out: nothing is ever inactive"),
        ];
        for (name, _, message) in dropped.into_iter().filter(|(_, is_set, _)| *is_set) {
            self.findings.warn(key(name), message);
        }
        if trigger.use_cached_metrics {
            self.findings.warn(format!("{at}.useCachedMetrics"), "is left out: an HPA is always served the newest");
        }
    }

    /// The metrics that a trigger of ours is.
    fn metrics(&mut self, at: &str, trigger: &ScaleTrigger, parsed: &Trigger) -> Vec<MetricSpec> {
        let by_value = trigger.metric_type == "Value";
        let name = parsed.metric_name.as_str();
        match &parsed.signal {
            Signal::QueueLength { threshold, aggregation } => {
                self.summed(at, name, QUEUE_LENGTH, *threshold, *aggregation, by_value)
            }
            Signal::GpuUtilization { threshold, aggregation } => {
                self.summed(at, name, GPU_UTILIZATION, *threshold, *aggregation, by_value)
            }
            Signal::Latency { threshold } => self.latency(at, name, *threshold),
            Signal::Composite(parts) => self.parts(at, parts),
            Signal::Capacity => {
                let message = "an HPA takes the largest proposal, so room would only raise it: remove the trigger";
                self.findings.error(format!("{at}.metadata.signal"), message);
                Vec::new()
            }
        }
    }

    fn summed(
        &mut self,
        at: &str,
        name: &str,
        signal: &str,
        threshold: Milli,
        aggregation: Aggregation,
        by_value: bool,
    ) -> Vec<MetricSpec> {
        if !matches!(aggregation, Aggregation::Sum | Aggregation::Average) {
            let message = "an HPA is served the sum over the replicas, which it divides by them: use sum or avg";
            self.findings.error(format!("{at}.metadata.aggregation"), message);
        }
        self.external(at, name, &MetricKind::PerPod { signal: signal.to_owned() }, threshold, by_value)
    }

    fn latency(&mut self, at: &str, name: &str, threshold: Milli) -> Vec<MetricSpec> {
        self.external(at, name, &MetricKind::PerWorkload { signal: LATENCY_P99.to_owned() }, threshold, true)
    }

    fn parts(&mut self, at: &str, parts: &Composite) -> Vec<MetricSpec> {
        if parts.combine == Combine::Weighted {
            let message = "an HPA takes the largest proposal: use max";
            self.findings.error(format!("{at}.metadata.combine"), message);
        }
        let queue = parts.queue.map(|part| self.summed(at, "", QUEUE_LENGTH, part.threshold, Aggregation::Sum, false));
        let gpu = parts.gpu.map(|part| self.summed(at, "", GPU_UTILIZATION, part.threshold, Aggregation::Sum, false));
        let latency = parts.latency.map(|part| self.latency(at, "", part.threshold));
        [queue, gpu, latency].into_iter().flatten().flatten().collect()
    }

    fn external(&mut self, at: &str, name: &str, kind: &MetricKind, target: Milli, by_value: bool) -> Vec<MetricSpec> {
        let Some(name) = name_in_hpa(self.policy, name, kind) else {
            let message = "no metric is served from this signal: give it one under policy.metrics";
            self.findings.error(format!("{at}.metadata.signal"), message);
            return Vec::new();
        };
        let quantity = Some(target.quantity());
        let target = if by_value {
            MetricTarget { kind: "Value".to_owned(), value: quantity, ..MetricTarget::default() }
        } else {
            MetricTarget { kind: "AverageValue".to_owned(), average_value: quantity, ..MetricTarget::default() }
        };
        let match_labels = Labels::from([(WORKLOAD, self.workload.as_str())]);
        let selector = Some(LabelSelector { match_labels, ..LabelSelector::default() });
        let metric = MetricIdentifier { name: name.to_owned(), selector };
        let external = Some(ExternalMetric { metric, target });
        vec![MetricSpec { kind: "External".to_owned(), external, ..MetricSpec::default() }]
    }

    /// The metric that a trigger of somebody else is, if an HPA has it.
    fn resource(&mut self, at: &str, trigger: &ScaleTrigger) -> Option<MetricSpec> {
        if !matches!(trigger.kind.as_str(), "cpu" | "memory") {
            let kind: String = trigger.kind.chars().take(64).collect();
            self.findings.error(format!("{at}.type"), format!("an HPA cannot ask a {kind} trigger: remove it"));
            return None;
        }
        for key in trigger.metadata.keys().filter(|key| !matches!(key.as_str(), "value" | "containerName")) {
            let key: String = key.chars().take(64).collect();
            self.findings.warn(format!("{at}.metadata.{key}"), "is left out: an HPA has value and container only");
        }
        let value = trigger.metadata.get("value").map_or("", |text| text.trim());
        let kind = trigger.metric_type.clone();
        let target = match kind.as_str() {
            "Utilization" => value.parse().ok().map(|percent| MetricTarget {
                kind,
                average_utilization: Some(percent),
                ..MetricTarget::default()
            }),
            "AverageValue" => value.parse::<Quantity>().ok().map(|quantity| MetricTarget {
                kind,
                average_value: Some(quantity),
                ..MetricTarget::default()
            }),
            _ => {
                self.findings.error(format!("{at}.metricType"), "is neither Utilization nor AverageValue");
                return None;
            }
        };
        let Some(target) = target else {
            self.findings.error(format!("{at}.metadata.value"), "is not what the metricType takes");
            return None;
        };
        let name = trigger.kind.clone();
        let container = trigger.metadata.get("containerName").filter(|name| !name.is_empty());
        Some(match container.cloned() {
            Some(container) => MetricSpec {
                kind: "ContainerResource".to_owned(),
                container_resource: Some(ContainerResourceMetric { name, container, target }),
                ..MetricSpec::default()
            },
            None => MetricSpec {
                kind: "Resource".to_owned(),
                resource: Some(ResourceMetric { name, target }),
                ..MetricSpec::default()
            },
        })
    }
}
