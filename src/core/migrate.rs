//! From an HPA with metrics of ours to the ScaledObject under which KEDA's HPA scales alike, and back.
//!
//! ```text
//!  HPA metric (External, Pods, Object)  <──> trigger external-push { signal, threshold, metricName }
//!  HPA metric (Resource, ContainerResource) <──> trigger cpu, memory
//!  minReplicas, maxReplicas, behavior   <──> minReplicaCount, maxReplicaCount, advanced.horizontalPodAutoscalerConfig
//!  annotation plimsoll.dev/headroom     <─── metadata.headroom
//! ```
//!
//! Nothing is lost in silence: what changes the replicas in ordinary operation and cannot be said on the other side is
//! an error, so that no object comes out; what only shows in a corner is a warning. Both name the field.

mod back;
mod forth;

use crate::{
    keda::{Finding, Severity},
    object::{keda::AuthenticationRef, meta::StringMap},
    policy::{MetricKind, Policy},
};

pub use back::to_hpa;
pub use forth::to_scaled_object;

/// By it KEDA's webhook lets a ScaledObject take over the HPA of that name
/// (`ScaledObjectTransferHpaOwnershipAnnotation`, `scaledobject_types.go` v2.21.0).
const TRANSFER: &str = "scaledobject.keda.sh/transfer-hpa-ownership";
/// What `kubectl apply` notes of the object that it was given: it is about the old one.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Label of the metric selector by which several HPAs of a namespace are told apart.
const WORKLOAD: &str = "workload";
/// Longest name of a trigger's metric.
const MAX_NAME: usize = 50;

/// How KEDA reaches our scaler, and what becomes of the HPA that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scaler {
    /// `host:port`.
    pub address: String,
    /// Where KEDA finds its certificate; none for a connection without TLS.
    pub authentication: Option<AuthenticationRef>,
    /// Whether KEDA takes over the HPA of the same name, so that there is no moment without one and none with two.
    pub take_over: bool,
}

/// What came of an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Migrated<T> {
    /// The equivalent.
    pub object: T,
    /// Where it is not quite the same; paths are those of the object that went in.
    pub warnings: Vec<Finding>,
}

/// What is found on the way.
#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

/// The name of a metric in a trigger: KEDA puts it into names and labels, where there is no underscore.
fn name_in_trigger(metric: &str) -> Option<String> {
    let name: String = metric.chars().map(|c| if c == '_' { '-' } else { c.to_ascii_lowercase() }).collect();
    let good = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    (good && (1..=MAX_NAME).contains(&name.len())).then_some(name)
}

/// The served name that a trigger's metric has in an HPA: the same but for underscores, else the first that is served
/// from the same.
fn name_in_hpa<'p>(policy: &'p Policy, metric: &str, kind: &MetricKind) -> Option<&'p str> {
    let served = || policy.metrics.iter().filter(|served| served.kind == *kind);
    let same = served().find(|served| name_in_trigger(&served.name).as_deref() == Some(metric));
    same.or_else(|| served().next()).map(|served| served.name.as_str())
}

/// Annotations that mean the same on the other object.
fn carried(annotations: &StringMap, is_left: impl Fn(&str) -> bool) -> StringMap {
    let kept = annotations.iter().filter(|(key, _)| *key != LAST_APPLIED && *key != TRANSFER && !is_left(key));
    kept.map(|(key, value)| (key.clone(), value.clone())).collect()
}

// === impl Findings ===

impl Findings {
    fn error(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(Finding { severity: Severity::Error, path: path.into(), message: message.into() });
    }

    fn warn(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(Finding { severity: Severity::Warning, path: path.into(), message: message.into() });
    }

    /// The object, unless something in it could not be said.
    fn finish<T>(mut self, object: T) -> Result<Migrated<T>, Vec<Finding>> {
        self.0.sort();
        if self.0.iter().any(|finding| finding.severity == Severity::Error) {
            return Err(self.0);
        }
        Ok(Migrated { object, warnings: self.0 })
    }
}

#[cfg(test)]
mod tests;
