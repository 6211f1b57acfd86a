//! From HPA to ScaledObject: one trigger per metric, so that KEDA's HPA compares the same values with the same targets.

use super::{Findings, Migrated, Scaler, TRANSFER, carried, name_in_trigger};
use crate::{
    decision::{Asked, AskedKind, Target, TargetKind},
    keda::Finding,
    object::{
        HorizontalPodAutoscaler, ObjectMeta,
        hpa::{MetricSpec, MetricTarget},
        keda::{Advanced, HpaConfig, ScaleTrigger, ScaledObject, ScaledObjectSpec},
        meta::StringMap,
    },
    policy::{MetricKind, Policy},
    signal::{GPU_UTILIZATION, LATENCY_P99, QUEUE_LENGTH},
    trigger::{Aggregation, Signal, Trigger},
};

/// One HPA on its way.
struct Forth<'a> {
    hpa: &'a HorizontalPodAutoscaler,
    policy: &'a Policy,
    scaler: &'a Scaler,
    findings: Findings,
}

/// The ScaledObject under which KEDA's HPA scales as this HPA does; the error is everything that has no equivalent.
pub fn to_scaled_object(
    hpa: &HorizontalPodAutoscaler,
    policy: &Policy,
    scaler: &Scaler,
) -> Result<Migrated<ScaledObject>, Vec<Finding>> {
    let mut forth = Forth { hpa, policy, scaler, findings: Findings::default() };
    let metrics = hpa.spec.metrics.iter().enumerate();
    let triggers: Vec<_> = metrics.filter_map(|(index, spec)| forth.trigger(index, spec)).collect();
    if !triggers.iter().any(ScaleTrigger::is_ours) {
        forth.findings.error("spec.metrics", "none of them becomes a trigger of ours: there is nothing to migrate");
    }
    let mut annotations = carried(&hpa.metadata.annotations, |_| false);
    let name = if scaler.take_over { hpa.metadata.name.clone() } else { String::new() };
    if scaler.take_over {
        annotations.insert(TRANSFER.to_owned(), "true".to_owned());
    }
    let metadata = ObjectMeta {
        name: hpa.metadata.name.clone(),
        namespace: hpa.metadata.namespace.clone(),
        labels: hpa.metadata.labels.clone(),
        annotations,
        ..ObjectMeta::default()
    };
    let horizontal_pod_autoscaler_config = HpaConfig { name, behavior: hpa.spec.behavior.clone() };
    let spec = ScaledObjectSpec {
        scale_target_ref: hpa.spec.scale_target_ref.clone(),
        // Absent, it is 1 in an HPA and 0 in a ScaledObject.
        min_replica_count: Some(hpa.spec.min_replicas.unwrap_or(1)),
        max_replica_count: Some(hpa.spec.max_replicas),
        advanced: Advanced { horizontal_pod_autoscaler_config, ..Advanced::default() },
        triggers,
        ..ScaledObjectSpec::default()
    };
    forth.findings.finish(ScaledObject { metadata, spec })
}

// === impl Forth ===

impl Forth<'_> {
    /// The trigger that stands for a metric; none where nothing has to, or nothing can.
    fn trigger(&mut self, index: usize, spec: &MetricSpec) -> Option<ScaleTrigger> {
        let at = format!("spec.metrics[{index}]");
        match (spec.kind.as_str(), &spec.resource, &spec.container_resource) {
            ("Resource", Some(resource), _) => {
                self.resource(&format!("{at}.resource"), &resource.name, None, &resource.target)
            }
            ("ContainerResource", _, Some(resource)) => {
                let container = Some(resource.container.as_str());
                self.resource(&format!("{at}.containerResource"), &resource.name, container, &resource.target)
            }
            _ => {
                let asked = Asked::of(self.hpa, spec);
                if asked.is_none() {
                    self.findings.error(format!("{at}.type"), "the member that it names is not there");
                }
                self.asked(&at, &spec.kind, &asked?)
            }
        }
    }

    /// A metric by name: of ours, or without equivalent.
    fn asked(&mut self, at: &str, source: &str, asked: &Asked<'_>) -> Option<ScaleTrigger> {
        let at = format!("{at}.{}", source.to_ascii_lowercase());
        let name = &asked.metric.name;
        let Some(served) = self.policy.metric(name).filter(|_| asked.kind != AskedKind::Foreign) else {
            let message =
                format!("{name:?} is not served by Plimsoll: KEDA's HPA asks KEDA only, so give it a trigger of KEDA");
            self.findings.error(format!("{at}.metric.name"), message);
            return None;
        };
        if let MetricKind::CapacityGuard | MetricKind::DesiredReplicas = served.kind {
            let message = format!("{name} is left out: every trigger is kept within what fits");
            self.findings.warn(&at, message);
            return None;
        }
        let Some(target) = Target::of(source, asked.target) else {
            self.findings.error(format!("{at}.target"), "is neither an AverageValue nor a Value above 0");
            return None;
        };
        let signal = self.signal(&at, name, &served.kind, target)?;
        match asked.kind {
            AskedKind::Pods => self.findings.warn(
                &at,
                "an HPA takes the mean of the pods, a trigger their sum over the replicas: they differ while pods have \
                 no sample; it comes back as an External metric",
            ),
            AskedKind::Target { .. } => self.findings.warn(&at, "it comes back as an External metric"),
            AskedKind::External | AskedKind::Foreign => {}
        }
        let mut trigger = Trigger::new(signal);
        if let Some(name) = name_in_trigger(name) {
            trigger.metric_name = name;
        }
        let mut metadata = trigger.metadata();
        metadata.insert("scalerAddress".to_owned(), self.scaler.address.clone());
        let by_value = target.kind == TargetKind::Value && !trigger.counts_replicas();
        Some(ScaleTrigger {
            kind: "external-push".to_owned(),
            metadata,
            metric_type: if by_value { "Value".to_owned() } else { String::new() },
            authentication_ref: self.scaler.authentication.clone(),
            ..ScaleTrigger::default()
        })
    }

    fn signal(&mut self, at: &str, name: &str, kind: &MetricKind, target: Target) -> Option<Signal> {
        let threshold = target.value;
        match kind {
            MetricKind::PerPod { signal } if signal == QUEUE_LENGTH => {
                Some(Signal::QueueLength { threshold, aggregation: Aggregation::Sum })
            }
            MetricKind::PerPod { signal } if signal == GPU_UTILIZATION => {
                Some(Signal::GpuUtilization { threshold, aggregation: Aggregation::Average })
            }
            MetricKind::PerWorkload { signal } if signal == LATENCY_P99 => {
                if target.kind == TargetKind::AverageValue {
                    let message = "a trigger compares it as a ratio over the Ready replicas; it comes back as a Value";
                    self.findings.warn(format!("{at}.target"), message);
                }
                Some(Signal::Latency { threshold })
            }
            _ => {
                let message =
                    format!("no trigger measures what {name} stands for: gpuUtilization, queueLength and latency are");
                self.findings.error(format!("{at}.metric.name"), message);
                None
            }
        }
    }

    /// KEDA's own triggers for what the kubelet measures (`cpu_memory_scaler.go` v2.21.0).
    fn resource(
        &mut self,
        at: &str,
        name: &str,
        container: Option<&str>,
        target: &MetricTarget,
    ) -> Option<ScaleTrigger> {
        if !matches!(name, "cpu" | "memory") {
            self.findings.error(format!("{at}.name"), "KEDA has triggers for cpu and memory only");
            return None;
        }
        let value = match target.kind.as_str() {
            "Utilization" => target.average_utilization.map(|percent| percent.to_string()),
            "AverageValue" => target.average_value.map(|quantity| quantity.to_string()),
            _ => None,
        };
        let Some(value) = value else {
            self.findings.error(format!("{at}.target"), "is neither a Utilization nor an AverageValue");
            return None;
        };
        let mut metadata = StringMap::from([("value".to_owned(), value)]);
        if let Some(container) = container {
            metadata.insert("containerName".to_owned(), container.to_owned());
        }
        let (kind, metric_type) = (name.to_owned(), target.kind.clone());
        Some(ScaleTrigger { kind, metadata, metric_type, ..ScaleTrigger::default() })
    }
}
