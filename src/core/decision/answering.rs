//! Answering one request from a snapshot and the newest watched scale: pure, in microseconds, without any source.
//!
//! Unknown is an error, never 0. Whatever is not live any more may not make the workload grow; whatever is too old is
//! refused with metric, source, age and cure, since that text is what `kubectl describe hpa` shows.

mod labels;
mod served;

use jiff::Timestamp;

use super::{Binding, BindingKey, Enforced, Live, Raw, Snapshot, Subject, binding::scale_permission};
use crate::{
    answer::{CustomRequest, ExternalValue, ObjectValue, Objects, Reason, Refusal},
    object::{ObjectKey, WorkloadKey},
    policy::{MetricKind, Policy},
    selector::Selector,
    signal::Quality,
};

pub(super) use served::Situation;

/// An External metric of a namespace.
pub fn answer_external(
    snapshot: &Snapshot,
    live: impl Fn(&WorkloadKey) -> Option<Live>,
    namespace: &str,
    metric: &str,
    selector: &Selector,
    now: Timestamp,
) -> Result<Vec<ExternalValue>, Refusal> {
    let key = BindingKey {
        namespace: namespace.to_owned(),
        metric: metric.to_owned(),
        selector: selector.normalized(),
        subject: Subject::External,
    };
    let bindings = one_workload(snapshot, &key)?.ok_or_else(|| nobody(snapshot, &key))?;
    Ok(vec![Situation::new(snapshot, bindings, live, now)?.whole(metric)?])
}

/// A custom metric of one or several objects.
pub fn answer_custom(
    snapshot: &Snapshot,
    live: impl Fn(&WorkloadKey) -> Option<Live>,
    request: &CustomRequest,
    now: Timestamp,
) -> Result<Vec<ObjectValue>, Refusal> {
    let subject = match (request.resource.as_str(), &request.objects) {
        ("pods", Objects::Matching(selector)) => Subject::Pods(selector.normalized()),
        ("pods", Objects::Named(name)) => return one_pod(snapshot, request, name),
        (resource, Objects::Named(name)) => Subject::Object(resource.to_owned(), name.clone()),
        (_, Objects::Matching(_)) => return Err(unknown_object(request)),
    };
    let key = BindingKey {
        namespace: request.namespace.clone(),
        metric: request.metric.clone(),
        selector: request.metric_selector.normalized(),
        subject,
    };
    let Some(bindings) = one_workload(snapshot, &key)? else {
        return match &request.objects {
            Objects::Matching(selector) => raw_pods(snapshot, request, selector),
            Objects::Named(_) => Err(unknown_object(request)),
        };
    };
    let situation = Situation::new(snapshot, bindings, live, now)?;
    match &request.objects {
        Objects::Matching(_) => situation.pods(&request.metric, &request.namespace),
        Objects::Named(name) => situation.object(&request.metric, &request.namespace, name),
    }
}

/// Names of the External metrics that are served, sorted.
#[must_use]
pub fn external_metrics(policy: &Policy) -> Vec<String> {
    let mut names: Vec<_> = policy.metrics.iter().map(|metric| metric.name.clone()).collect();
    names.sort();
    names.dedup();
    names
}

/// `resource/metric` names of the custom metrics that are served, sorted.
#[must_use]
pub fn custom_metrics(policy: &Policy) -> Vec<String> {
    let per_pod = policy.metrics.iter().filter(|metric| matches!(metric.kind, MetricKind::PerPod { .. }));
    let mut names: Vec<_> = per_pod.map(|metric| format!("pods/{}", metric.name)).collect();
    names.sort();
    names.dedup();
    names
}

/// The bindings of a request, if there are any and they agree on the workload.
pub(super) fn one_workload<'s>(snapshot: &'s Snapshot, key: &BindingKey) -> Result<Option<&'s [Binding]>, Refusal> {
    let bindings = snapshot.bindings.get(key).map(Vec::as_slice).unwrap_or_default();
    let Some(first) = bindings.first() else { return Ok(None) };
    match bindings.iter().find(|other| other.workload != first.workload) {
        None => Ok(Some(bindings)),
        Some(other) => Err(ambiguous(key, first, other)),
    }
}

fn ambiguous(key: &BindingKey, first: &Binding, other: &Binding) -> Refusal {
    let BindingKey { namespace, metric, .. } = key;
    let message = format!(
        "{metric} in namespace {namespace} is asked for by HPA {} (scales {}) and HPA {} (scales {}) with the same \
         selector {:?}: give each metric its own, e.g. metric.selector.matchLabels.workload={} and \
         metric.selector.matchLabels.workload={}",
        first.hpa,
        first.workload,
        other.hpa,
        other.workload,
        key.selector.to_string(),
        first.workload.name,
        other.workload.name,
    );
    Refusal { reason: Reason::Ambiguous, message }
}

/// Nobody refers to that External metric: the usual cause is a namespace or a selector.
fn nobody(snapshot: &Snapshot, key: &BindingKey) -> Refusal {
    let BindingKey { namespace, metric, selector, .. } = key;
    if snapshot.policy.metric(metric).is_none() {
        let message = format!(
            "the server could not find the metric {metric}; served are: {}",
            external_metrics(&snapshot.policy).join(", ")
        );
        return Refusal { reason: Reason::NotFound, message };
    }
    let others = snapshot
        .bindings
        .keys()
        .filter(|other| other.namespace == *namespace && other.metric == *metric && other.subject == Subject::External);
    let selectors: Vec<_> = others.map(|other| format!("{:?}", other.selector.to_string())).take(5).collect();
    let hint = if selectors.is_empty() {
        "an External metric is served for the HPA that refers to it".to_owned()
    } else {
        format!("HPAs there use the selectors {}", selectors.join(", "))
    };
    let message = format!(
        "the server could not find the metric {metric}: no HPA in namespace {namespace} refers to it with the selector \
         {:?}; {hint}",
        selector.to_string()
    );
    Refusal { reason: Reason::NotFound, message }
}

fn unknown_object(request: &CustomRequest) -> Refusal {
    let CustomRequest { resource, metric, namespace, .. } = request;
    let message = format!(
        "the server could not find the metric {metric} for {resource} in namespace {namespace}: no HPA there refers to \
         it; metrics of pods are served by selector and by name"
    );
    Refusal { reason: Reason::NotFound, message }
}

// === requests that no HPA makes ===

fn signal_of<'s>(snapshot: &'s Snapshot, request: &CustomRequest) -> Result<&'s str, Refusal> {
    if let Some(MetricKind::PerPod { signal }) = snapshot.policy.metric(&request.metric).map(|metric| &metric.kind) {
        return Ok(signal);
    }
    let names = custom_metrics(&snapshot.policy).join(", ");
    let message = format!("the server could not find the metric {} for pods; served are: {names}", request.metric);
    Err(Refusal { reason: Reason::NotFound, message })
}

/// The raw samples of all pods that a selector matches: what a person asks for with `kubectl get --raw`.
///
/// An HPA that our view lags behind asks in the same way, and raw samples would carry it past its cap. So there are
/// none as soon as one of the pods belongs, or may belong, to a workload whose HPA enforces a cap with this metric.
fn raw_pods(snapshot: &Snapshot, request: &CustomRequest, selector: &Selector) -> Result<Vec<ObjectValue>, Refusal> {
    let values =
        raw_values(snapshot, request, |key| snapshot.labels.get(key).is_some_and(|labels| selector.matches(labels)))?;
    let name = (request.namespace.clone(), request.metric.clone());
    for enforced in snapshot.enforced.get(&name).into_iter().flatten() {
        let labels = values.iter().filter_map(|value| snapshot.labels.get(&value.object));
        if enforced.pods.is_empty() || labels.into_iter().any(|labels| enforced.pods.matches(labels)) {
            return Err(goes_around(request, selector, enforced));
        }
    }
    Ok(values)
}

fn goes_around(request: &CustomRequest, selector: &Selector, enforced: &Enforced) -> Refusal {
    let Enforced { hpa, workload, pods } = enforced;
    let why = if pods.is_empty() {
        format!("the scale of {workload} is not known: if it exists, {}", scale_permission(workload))
    } else {
        format!("the selector of {workload} is {:?}", pods.to_string())
    };
    let message = format!(
        "{} of the pods {:?} is not served raw, since HPA {hpa} enforces a cap with it, and {why}; a single pod is \
         served raw by its name",
        request.metric,
        selector.to_string(),
    );
    Refusal { reason: Reason::NotReady, message }
}

fn one_pod(snapshot: &Snapshot, request: &CustomRequest, name: &str) -> Result<Vec<ObjectValue>, Refusal> {
    raw_values(snapshot, request, |key| key.name == name)
}

fn raw_values(
    snapshot: &Snapshot,
    request: &CustomRequest,
    wanted: impl Fn(&ObjectKey) -> bool,
) -> Result<Vec<ObjectValue>, Refusal> {
    let signal = signal_of(snapshot, request)?;
    let first = ObjectKey::new(&*request.namespace, "");
    let samples = snapshot.samples.get(signal).into_iter().flat_map(|samples| samples.range(first.clone()..));
    let in_namespace = samples.take_while(|(key, _)| key.namespace == request.namespace);
    let usable = in_namespace
        .filter(|(key, sample)| matches!(sample.quality, Quality::Live | Quality::LastKnownGood) && wanted(key));
    let values: Vec<_> =
        usable.map(|(key, sample)| pod_value(key.clone(), sample.value.servable(), sample.at)).collect();
    if values.is_empty() {
        let message =
            format!("no pod in namespace {} that was asked for has a sample of {}", request.namespace, request.metric);
        return Err(Refusal { reason: Reason::NoData, message });
    }
    Ok(values)
}

fn pod_value(object: ObjectKey, value: crate::quantity::Milli, at: Timestamp) -> ObjectValue {
    ObjectValue { kind: "Pod".to_owned(), api_version: "v1".to_owned(), object, value, at }
}

/// What stands in the way of a value of the whole workload, if the raw value is none.
fn refused(raw: &Raw) -> Option<&Refusal> {
    if let Raw::Refused(refusal) = raw { Some(refusal) } else { None }
}
