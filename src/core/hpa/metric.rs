//! One metric of an HPA: its value is looked up, its pods are sorted, and the arithmetic proposes a count
//! (`computeReplicasForMetric` and the calculator's `Get…Replicas`).

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    ControllerConfig, Tolerances, Values,
    pods::{self, Judging, PodGroups, PodSample, PodSamplesByName},
    proposal::{self, PodSamples, UtilizationSamples},
    requests::{self, Requests},
    values::{MetricValue, PodUsage},
};
use crate::{
    object::{
        Pod,
        hpa::{ExternalMetric, MetricSpec, MetricTarget, ObjectMetric, PodsMetric},
    },
    quantity::{Milli, Quantity},
    selector::{LabelSelector, Selector, SelectorError},
};

/// Why a metric proposes nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    #[error("no value of metric {0:?} was fetched: check that the metric is served and that its selector matches")]
    NotFetched(String),
    #[error("the answer for metric {0:?} holds no value")]
    Empty(String),
    #[error("the metric selector is not valid: {0}")]
    Selector(#[from] SelectorError),
    #[error("no pod matches the selector of the scale target")]
    NoPods,
    #[error("no pod has a sample that counts: all are unready, missing or ignored")]
    NoSamples,
    #[error("pods with samples request none of {0:?}: set requests")]
    NoRequests(String),
    #[error("container {container:?} of pod {pod:?} requests no {resource:?}: set a request")]
    NoRequest { resource: String, container: String, pod: String },
    #[error("pod {pod:?} has no container {container:?}")]
    NoContainer { container: String, pod: String },
    #[error("the target of the metric is not set: {0} is needed")]
    NoTarget(&'static str),
    #[error("metric source type {0:?} is unknown or its member is not set")]
    UnknownType(String),
}

/// What every metric of one evaluation is computed from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context<'a> {
    pub(super) namespace: &'a str,
    /// The pods of the scale target.
    pub(super) pods: &'a [&'a Pod],
    pub(super) values: &'a Values,
    pub(super) spec_replicas: i32,
    pub(super) status_replicas: i32,
    pub(super) tolerances: Tolerances,
    pub(super) config: &'a ControllerConfig,
    pub(super) now: Timestamp,
}

/// A metric's name for people: that of the metric, or of the resource.
pub(super) fn name(spec: &MetricSpec) -> &str {
    match spec {
        MetricSpec { object: Some(source), .. } if spec.kind == "Object" => &source.metric.name,
        MetricSpec { pods: Some(source), .. } if spec.kind == "Pods" => &source.metric.name,
        MetricSpec { external: Some(source), .. } if spec.kind == "External" => &source.metric.name,
        MetricSpec { resource: Some(source), .. } if spec.kind == "Resource" => &source.name,
        MetricSpec { container_resource: Some(source), .. } if spec.kind == "ContainerResource" => &source.name,
        _ => "",
    }
}

/// The reason that the condition `ScalingActive` gives when this metric fails.
pub(super) fn failure_reason(spec: &MetricSpec) -> &'static str {
    match spec.kind.as_str() {
        "Object" => "FailedGetObjectMetric",
        "Pods" => "FailedGetPodsMetric",
        "Resource" => "FailedGetResourceMetric",
        "ContainerResource" => "FailedGetContainerResourceMetric",
        "External" => "FailedGetExternalMetric",
        _ => "InvalidMetricSourceType",
    }
}

/// What a metric proposes.
pub(super) fn propose(context: &Context<'_>, spec: &MetricSpec) -> Result<i32, Failure> {
    let unknown = || Failure::UnknownType(spec.kind.clone());
    match spec.kind.as_str() {
        "Object" => context.object(spec.object.as_ref().ok_or_else(unknown)?),
        "Pods" => context.pods_metric(spec.pods.as_ref().ok_or_else(unknown)?),
        "External" => context.external(spec.external.as_ref().ok_or_else(unknown)?),
        "Resource" => {
            let source = spec.resource.as_ref().ok_or_else(unknown)?;
            context.resource(&source.name, "", &source.target)
        }
        "ContainerResource" => {
            let source = spec.container_resource.as_ref().ok_or_else(unknown)?;
            context.resource(&source.name, &source.container, &source.target)
        }
        _ => Err(unknown()),
    }
}

// === impl Context ===

impl Context<'_> {
    fn external(&self, source: &ExternalMetric) -> Result<i32, Failure> {
        let (average, value) = (source.target.average_value, source.target.value);
        if average.is_none() && value.is_none() {
            return Err(Failure::NoTarget("value or averageValue"));
        }
        let metric = &source.metric;
        let selector = selector_of(metric.selector.as_ref())?;
        let series =
            self.values.external(&metric.name, &selector).ok_or_else(|| Failure::NotFetched(metric.name.clone()))?;
        if series.values.is_empty() {
            return Err(Failure::Empty(metric.name.clone()));
        }
        let values: Vec<Milli> = series.values.iter().map(|value| value.0).collect();
        if let Some(average) = average {
            let sum = proposal::sum_for_average(&values);
            let target = average.milli();
            return Ok(proposal::external_average_value(sum, target, self.status_replicas, self.tolerances));
        }
        self.value(proposal::sum_for_value(&values), value)
    }

    fn object(&self, source: &ObjectMetric) -> Result<i32, Failure> {
        selector_of(source.metric.selector.as_ref())?;
        let target = &source.target;
        let (value, average) = match target.kind.as_str() {
            "Value" => (target.value, None),
            "AverageValue" => (None, target.average_value),
            _ => (None, None),
        };
        if value.is_none() && average.is_none() {
            return Err(Failure::NoTarget("value or averageValue, as the target's type says"));
        }
        let MetricValue(usage) = self
            .values
            .object(&source.metric.name, &source.described_object, self.namespace)
            .ok_or_else(|| Failure::NotFetched(source.metric.name.clone()))?
            .value;
        if let Some(average) = average {
            return Ok(proposal::object_average_value(usage, average.milli(), self.status_replicas, self.tolerances));
        }
        self.value(usage, value)
    }

    fn value(&self, sum: Milli, target: Option<Quantity>) -> Result<i32, Failure> {
        let target = target.ok_or(Failure::NoTarget("value"))?.milli();
        let ready = || if self.pods.is_empty() { Err(Failure::NoPods) } else { Ok(pods::running_and_ready(self.pods)) };
        proposal::value(sum, target, self.spec_replicas, ready, self.tolerances)
    }

    fn pods_metric(&self, source: &PodsMetric) -> Result<i32, Failure> {
        let metric = &source.metric;
        let selector = selector_of(metric.selector.as_ref())?;
        let target = source.target.average_value.ok_or(Failure::NoTarget("averageValue"))?.milli();
        let series =
            self.values.pods(&metric.name, &selector).ok_or_else(|| Failure::NotFetched(metric.name.clone()))?;
        if series.values.is_empty() {
            return Err(Failure::Empty(metric.name.clone()));
        }
        let sample = |value: &MetricValue| PodSample {
            timestamp: self.now,
            window: super::GoDuration::from_secs(60),
            value: value.0.0,
        };
        let samples = series.values.iter().map(|(pod, value)| (pod.clone(), sample(value))).collect();
        self.plain(samples, target, Judging::Plain)
    }

    fn resource(&self, resource: &str, container: &str, target: &MetricTarget) -> Result<i32, Failure> {
        if target.average_value.is_none() && target.average_utilization.is_none() {
            return Err(Failure::NoTarget("averageUtilization or averageValue"));
        }
        if self.values.resource.is_empty() {
            return Err(Failure::NotFetched(resource.to_owned()));
        }
        let usages = self.values.resource.iter();
        let sample = |usage: &PodUsage| usage_of(usage, resource, container).map(|value| self.sample(usage, value));
        let samples = usages.filter_map(|usage| Some((usage.pod.clone(), sample(usage)?))).collect();
        let judging = if resource == "cpu" { Judging::Cpu(self.config, self.now) } else { Judging::Plain };
        match (target.average_value, target.average_utilization) {
            (Some(average), _) => self.plain(samples, average.milli(), judging),
            (None, percent) => self.utilization(samples, (resource, container), percent.unwrap_or_default(), judging),
        }
    }

    fn sample(&self, usage: &PodUsage, value: i64) -> PodSample {
        PodSample { timestamp: usage.timestamp.unwrap_or(self.now), window: usage.window, value }
    }

    fn plain(&self, mut samples: PodSamplesByName, target: Milli, judging: Judging<'_>) -> Result<i32, Failure> {
        let groups = self.group(&mut samples, judging)?;
        let known = counted(&samples, &groups);
        proposal::pods_average_value(&known, target, self.spec_replicas, self.tolerances).ok_or(Failure::NoSamples)
    }

    fn utilization(
        &self,
        mut samples: PodSamplesByName,
        (resource, container): (&str, &str),
        target_percent: i32,
        judging: Judging<'_>,
    ) -> Result<i32, Failure> {
        let groups = self.group(&mut samples, judging)?;
        let requests = requests::of_pods(self.pods, container, resource)?;
        let known = utilized(&samples, &groups, &requests, target_percent);
        proposal::utilization(&known, target_percent, self.spec_replicas, self.tolerances)
            .ok_or_else(|| Failure::NoRequests(resource.to_owned()))
    }

    /// Sorts the pods and leaves only the samples that count.
    fn group(&self, samples: &mut PodSamplesByName, judging: Judging<'_>) -> Result<PodGroups<'_>, Failure> {
        if self.pods.is_empty() {
            return Err(Failure::NoPods);
        }
        let groups = pods::group(self.pods, samples, judging);
        samples.retain(|pod, _| !groups.ignored.contains(&**pod) && !groups.unready.contains(&**pod));
        if samples.is_empty() { Err(Failure::NoSamples) } else { Ok(groups) }
    }
}

/// Sums in 64 bits, wrapping as the controller's.
fn wrapping_sum(values: impl Iterator<Item = i64>) -> Milli {
    Milli(values.fold(0, i64::wrapping_add))
}

fn counted(samples: &PodSamplesByName, groups: &PodGroups<'_>) -> PodSamples {
    PodSamples {
        total: wrapping_sum(samples.values().map(|sample| sample.value)),
        count: samples.len(),
        ready: groups.ready,
        unready: groups.unready.len(),
        missing: groups.missing.len(),
    }
}

fn utilized(
    samples: &PodSamplesByName,
    groups: &PodGroups<'_>,
    requests: &Requests<'_>,
    target_percent: i32,
) -> UtilizationSamples {
    let of = |pod: &str| requests.get(pod).copied().unwrap_or_default();
    let fallback = i64::from(target_percent.max(100));
    let known = || samples.iter().filter(|(pod, _)| requests.contains_key(&***pod));
    UtilizationSamples {
        samples: counted(samples, groups),
        usage: wrapping_sum(known().map(|(_, sample)| sample.value)),
        requests: wrapping_sum(known().map(|(pod, _)| of(pod))),
        missing_fallback: wrapping_sum(groups.missing.iter().map(|pod| of(pod).wrapping_mul(fallback) / 100)),
        missing_requests: wrapping_sum(groups.missing.iter().map(|pod| of(pod))),
        unready_requests: wrapping_sum(groups.unready.iter().map(|pod| of(pod))),
    }
}

/// A pod's usage (`getPodMetrics`), or one container's (`getContainerMetrics`). A pod of which one container does not
/// report the resource has no sample.
fn usage_of(usage: &PodUsage, resource: &str, container: &str) -> Option<i64> {
    let of = |container: &BTreeMap<String, Option<MetricValue>>| Some((*container.get(resource)?)?.0.0);
    if !container.is_empty() {
        return of(usage.containers.get(container)?);
    }
    if usage.containers.is_empty() {
        return None;
    }
    usage.containers.values().try_fold(0_i64, |sum, container| Some(sum.wrapping_add(of(container)?)))
}

/// The metric selector, checked as strictly as the API does.
fn selector_of(selector: Option<&LabelSelector>) -> Result<Selector, SelectorError> {
    let Some(selector) = selector else { return Ok(Selector::default()) };
    let selector = Selector::try_from(selector)?;
    // Keys and values are only checked by the parser.
    selector.to_string().parse()
}

// === impl Failure ===

impl Failure {
    pub(super) fn no_request(resource: &str, container: &str, pod: &Pod) -> Self {
        let (resource, container) = (resource.to_owned(), container.to_owned());
        Self::NoRequest { resource, container, pod: pod.metadata.name.to_string() }
    }

    pub(super) fn no_container(container: &str, pod: &Pod) -> Self {
        Self::NoContainer { container: container.to_owned(), pod: pod.metadata.name.to_string() }
    }
}
