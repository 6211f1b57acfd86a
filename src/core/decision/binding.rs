//! Which HPA metric a request is about: the request carries no HPA, only namespace, metric and selectors.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;

use super::Rules;
use crate::{
    answer::Refusal,
    object::{
        HorizontalPodAutoscaler, ObjectKey, Text, WorkloadKey,
        hpa::{MetricIdentifier, MetricSpec, MetricTarget},
    },
    quantity::Milli,
    selector::Selector,
    signal::{Quality, Sample},
    trigger::Trigger,
};

/// What identifies a request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BindingKey {
    /// Namespace of HPA and request.
    pub namespace: String,
    /// Name of the metric.
    pub metric: String,
    /// Selector of the metric, normalized.
    pub selector: Selector,
    /// Which API, and which objects.
    pub subject: Subject,
}

/// Which API a request goes to, and which objects it is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// The external metrics API.
    External,
    /// Pods by selector, normalized.
    Pods(Selector),
    /// One object: resource with group, e.g. `deployments.apps`, and name.
    Object(String, String),
    /// A trigger of a ScaledObject or ScaledJob: name of that, and what the trigger asks.
    Trigger(String, Arc<Trigger>),
}

/// One metric of one HPA.
#[derive(Clone, Debug, PartialEq)]
pub struct Binding {
    /// The HPA.
    pub hpa: ObjectKey,
    /// What it scales.
    pub workload: WorkloadKey,
    /// Group and version of what it scales, as the HPA names them.
    pub api_version: String,
    /// How the HPA computes.
    pub rules: Arc<Rules>,
    /// The target; none if it is not one that can be served.
    pub target: Option<Target>,
    /// The raw value.
    pub raw: Raw,
    /// Whether it proposes the cap while a surplus is shed.
    pub carries: bool,
    /// Whether another metric of the HPA does.
    pub carried: bool,
}

/// An HPA that enforces its cap with a metric: its pods' raw samples are served to nobody by selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enforced {
    /// The HPA.
    pub hpa: ObjectKey,
    /// What it scales.
    pub workload: WorkloadKey,
    /// The selector of its pods; empty while its scale is not known, so that any pod may be one of them.
    pub pods: Selector,
}

/// A target of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// How it compares.
    pub kind: TargetKind,
    /// The value, above 0.
    pub value: Milli,
}

/// How a target compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetKind {
    /// Against the value divided by the replicas.
    AverageValue,
    /// Against the value.
    Value,
}

/// A raw value, as the evaluation found it.
#[derive(Clone, Debug, PartialEq)]
pub enum Raw {
    /// A value of the whole workload.
    Whole {
        /// The value.
        value: Milli,
        /// Sample time of the oldest sample in it.
        at: Timestamp,
        /// How far it can be trusted.
        quality: Quality,
    },
    /// A value that the HPA divides by the replicas although it belongs to each: multiplied at request time.
    Each {
        /// The value.
        value: Milli,
        /// Its sample time.
        at: Timestamp,
        /// How far it can be trusted.
        quality: Quality,
    },
    /// Values of pods by name.
    Pods {
        /// The samples.
        samples: Arc<BTreeMap<Text, Sample>>,
        /// How far they can be trusted, together.
        quality: Quality,
    },
    /// `gpu_nodes_available` beside metrics that carry demand.
    NoVote {
        /// When the capacity was seen.
        at: Timestamp,
        /// Nodes with room for another replica.
        nodes: u32,
    },
    /// The replica count itself; none while no demand is known, which holds the current one.
    Replicas {
        /// Replicas asked for.
        count: Option<i32>,
        /// Sample time of the oldest measurement behind it.
        at: Timestamp,
        /// The worst of the measurements behind it.
        quality: Quality,
    },
    /// There is none.
    Refused(Refusal),
}

/// What an HPA metric asks for, whichever type it is of.
#[derive(Clone, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) metric: &'a MetricIdentifier,
    pub(crate) target: &'a MetricTarget,
    pub(crate) kind: AskedKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AskedKind {
    External,
    Pods,
    /// The scale target itself, as an object.
    Target {
        resource: String,
        name: String,
    },
    /// Another object: not ours.
    Foreign,
}

// === impl Target ===

impl Target {
    /// The target of a metric of type `source` (`External`, `Pods`, `Object`), taken as the controller takes it
    /// (`horizontal.go` v1.36.3): only that of an object goes by its own type, an External one by what is set.
    ///
    /// None for utilisation, or where the value is absent or not above 0.
    #[must_use]
    pub fn of(source: &str, target: &MetricTarget) -> Option<Self> {
        let average = match source {
            "External" => target.average_value.is_some(),
            "Pods" => true,
            _ if target.kind == "AverageValue" => true,
            _ if target.kind == "Value" => false,
            _ => return None,
        };
        let (kind, value) =
            if average { (TargetKind::AverageValue, target.average_value) } else { (TargetKind::Value, target.value) };
        let value = value?.milli();
        (value.0 > 0).then_some(Self { kind, value })
    }
}

// === impl Asked ===

impl<'a> Asked<'a> {
    /// What a metric asks for; none for Resource and ContainerResource metrics.
    pub(crate) fn of(hpa: &HorizontalPodAutoscaler, spec: &'a MetricSpec) -> Option<Self> {
        if let ("External", Some(external)) = (spec.kind.as_str(), &spec.external) {
            return Some(Self { metric: &external.metric, target: &external.target, kind: AskedKind::External });
        }
        if let ("Pods", Some(pods)) = (spec.kind.as_str(), &spec.pods) {
            return Some(Self { metric: &pods.metric, target: &pods.target, kind: AskedKind::Pods });
        }
        let ("Object", Some(object)) = (spec.kind.as_str(), &spec.object) else { return None };
        let (described, scaled) = (&object.described_object, &hpa.spec.scale_target_ref);
        let same = described.kind == scaled.kind
            && described.name == scaled.name
            && group(&described.api_version) == group(&scaled.api_version);
        let kind = if same {
            let resource = resource_of(&described.kind, group(&described.api_version));
            AskedKind::Target { resource, name: described.name.clone() }
        } else {
            AskedKind::Foreign
        };
        Some(Self { metric: &object.metric, target: &object.target, kind })
    }

    /// The key under which the HPA will ask; `pods` is the selector of its scale target.
    pub(super) fn key(&self, namespace: &str, pods: &Selector) -> Option<BindingKey> {
        let selector = match &self.metric.selector {
            Some(selector) => Selector::try_from(selector).ok()?.normalized(),
            None => Selector::default(),
        };
        let subject = match &self.kind {
            AskedKind::External => Subject::External,
            AskedKind::Pods => Subject::Pods(pods.normalized()),
            AskedKind::Target { resource, name } => Subject::Object(resource.clone(), name.clone()),
            AskedKind::Foreign => return None,
        };
        Some(BindingKey { namespace: namespace.to_owned(), metric: self.metric.name.clone(), selector, subject })
    }
}

fn group(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

/// The permission that reading the scale of a workload needs, for people.
pub(super) fn scale_permission(workload: &WorkloadKey) -> String {
    let resource = resource_of(&workload.kind, "");
    format!("grant get on {resource}/scale in the API group {:?}", workload.group)
}

/// Resource name of a kind, with its group: the plural that all scalable kinds in use have.
fn resource_of(kind: &str, group: &str) -> String {
    let plural = format!("{}s", kind.to_ascii_lowercase());
    if group.is_empty() { plural } else { format!("{plural}.{group}") }
}
