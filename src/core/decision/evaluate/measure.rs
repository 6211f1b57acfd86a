//! Measuring one HPA: mode, pods, and what each of its metrics asks for.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Case, Measurement, chosen, pod_selector};
use crate::{
    answer::{Reason, Refusal},
    clamp::{Guard, Stance, average_proposal, pods_proposal, ratio_proposal},
    cluster::{Census, View},
    decision::{
        Chosen, Demand, Live, Note, Raw, Rules, Target, TargetKind,
        binding::{Asked, AskedKind, scale_permission},
        demand::{self, Measured},
        scaled::{served, served_metrics},
        sources::Sources,
    },
    object::{HorizontalPodAutoscaler, Labels, ObjectKey, Shared, WorkloadKey, hpa::MetricSpec},
    policy::{HEADROOM_ANNOTATION, Headroom, MODE_ANNOTATION, MetricKind, Mode, Policy, Surplus},
    quantity::Milli,
    signal::{Quality, Signals},
};

/// Labels of pods.
type LabelsOfPods = Shared<BTreeMap<ObjectKey, Shared<Labels>>>;

/// What every HPA is measured in.
pub(super) struct Surroundings<'v, 'c> {
    pub(super) view: &'v View,
    pub(super) signals: &'c Signals,
    pub(super) policy: &'c Policy,
    pub(super) census: &'c Census<'v>,
    pub(super) sources: Sources<'c, 'v>,
    pub(super) lives: &'c BTreeMap<WorkloadKey, Live>,
    pub(super) now: Timestamp,
}

impl<'v> Surroundings<'v, '_> {
    pub(super) fn case<'a>(&self, key: &'a ObjectKey, hpa: &'a HorizontalPodAutoscaler) -> Case<'a> {
        let workload = hpa.workload();
        let target = self.view.workloads.get(&workload);
        let mode = Chosen::<Mode>::mode(hpa, self.view, self.policy);
        let mut rules = Rules::of(hpa, mode.value, self.policy);
        let foreign = foreign(hpa, self.policy);
        rules.bypassed = !foreign.is_empty();
        let live = self.live(&workload);
        let measured = self.measured(&workload, &live);
        let guard = rules.guard(&live, live.bound, Stance::Hold);
        let metric = |spec| self.metric(hpa, spec, target.is_some(), &measured, &guard);
        let measurements = hpa.spec.metrics.iter().map(metric).collect();
        let notes = self.notes(hpa, &foreign, target.is_some());
        let surplus = Chosen::<Surplus>::surplus(hpa, self.policy);
        let headroom = Chosen::<Headroom>::headroom(hpa, self.view, self.policy);
        let by_triggers = super::ByTriggers::default();
        let measured = measurements;
        let mut case = Case { hpa, key, workload, mode, surplus, headroom, rules, live, measured, notes, by_triggers };
        case.follow();
        case
    }

    /// Scale and pods of a workload; of one that is not known, nothing.
    pub(super) fn live(&self, workload: &WorkloadKey) -> Live {
        self.lives.get(workload).cloned().unwrap_or_default()
    }

    pub(super) fn measured<'a>(&'a self, workload: &'a WorkloadKey, live: &'a Live) -> Measured<'a, 'v> {
        let Self { signals, policy, census, now, ref sources, .. } = *self;
        Measured { workload, census, sources, live, signals, policy, now }
    }

    /// Labels of all pods that have samples: one walk along pods and samples, all of which are sorted. Mostly they are
    /// what they were before.
    pub(super) fn labels(&self, before: Option<&LabelsOfPods>) -> LabelsOfPods {
        if let Some(before) = before.filter(|before| self.are_labelled(before)) {
            return before.clone();
        }
        let labels: BTreeMap<_, _> =
            self.measured_labels().map(|(key, labels)| (key.clone(), labels.clone())).collect();
        labels.into()
    }

    fn are_labelled(&self, known: &LabelsOfPods) -> bool {
        let mut known = known.iter();
        self.measured_labels().all(|measured| known.next().is_some_and(|known| measured == known))
            && known.next().is_none()
    }

    fn measured_labels(&self) -> impl Iterator<Item = (&'v ObjectKey, &'v Shared<Labels>)> {
        let mut signals: Vec<_> = self.signals.pods.values().map(|samples| samples.keys().peekable()).collect();
        let mut measured = move |key: &ObjectKey| {
            let mut any = false;
            for keys in &mut signals {
                while keys.next_if(|next| *next < key).is_some() {}
                any |= keys.peek().is_some_and(|next| *next == key);
            }
            any
        };
        let pods = self.view.pods.iter().filter(move |(key, _)| measured(key));
        pods.map(|(key, pod)| (key, &pod.metadata.labels))
    }

    fn notes(&self, hpa: &HorizontalPodAutoscaler, foreign: &[String], known: bool) -> Vec<Note> {
        let mut notes = Vec::new();
        if let Some(text) = chosen::unknown_mode(hpa, self.view) {
            let text: String = text.chars().take(64).collect();
            let message = format!("the annotation {MODE_ANNOTATION}={text:?} is ignored; use Enforce, Observe or Off");
            notes.push(Note::new("UnknownMode", message));
        }
        if let Some(text) = chosen::unknown_headroom(hpa, self.view) {
            let text: String = text.chars().take(64).collect();
            let message = format!(
                "the annotation {HEADROOM_ANNOTATION}={text:?} is ignored; use auto, none or a number of replicas"
            );
            notes.push(Note::new("UnknownHeadroom", message));
        }
        if !foreign.is_empty() {
            let message = format!(
                "{} escape the cap, because an HPA takes its largest proposal: set maxReplicas to what fits, or drop them",
                foreign.join(", ")
            );
            notes.push(Note::new("CapBypassed", message));
        }
        notes.extend(self.unasked(hpa));
        if !known {
            let workload = hpa.workload();
            let cure = scale_permission(&workload);
            let message = format!("the scale of {workload} is not known, so nothing is served: if it exists, {cure}");
            notes.push(Note::new("TargetUnknown", message));
        }
        notes
    }

    /// That the HPA asks somebody else for its External metrics.
    fn unasked(&self, hpa: &HorizontalPodAutoscaler) -> Option<Note> {
        let elsewhere = self.view.external_api.as_ref()?.elsewhere()?;
        let asked = hpa.spec.metrics.iter().filter_map(|spec| Asked::of(hpa, spec));
        let external = asked.filter(|asked| asked.kind == AskedKind::External && served(asked, self.policy).is_some());
        let names: Vec<_> = external.map(|asked| asked.metric.name.as_str()).collect();
        let message = format!(
            "{} of it are External metrics, which are not asked for here, since {elsewhere}: use Pods metrics, or a \
             ScaledObject of KEDA (plimsoll migrate makes it), or let the APIService lead to Plimsoll",
            names.join(", ")
        );
        (!names.is_empty()).then(|| Note::new("ExternalElsewhere", message))
    }

    fn metric(
        &self,
        hpa: &HorizontalPodAutoscaler,
        spec: &MetricSpec,
        known: bool,
        measured: &Measured<'_, '_>,
        guard: &Guard,
    ) -> Measurement {
        let asked = Asked::of(hpa, spec).and_then(|asked| Some((&served(&asked, self.policy)?.kind, asked)));
        let Some((kind, asked)) = asked else {
            return Measurement { record: unserved(spec), served: None };
        };
        let target = Target::of(&spec.kind, asked.target);
        let name = &asked.metric.name;
        let mut imputed = 0;
        let raw = match target {
            _ if !known => {
                refused(Reason::NotFound, format!("{name}: the scale target {} is not known", hpa.workload()))
            }
            None => refused(Reason::BadRequest, format!("{name} needs a target of type AverageValue or Value above 0")),
            Some(target) => self.raw(hpa, &asked, kind, target, measured, &mut imputed),
        };
        let replicas = target.and_then(|target| proposal(guard, target, &raw, measured.live));
        let record = record(spec, name, target, &raw, imputed, replicas);
        let selector = pod_selector(self.view.workloads.get(measured.workload));
        let key = asked.key(&hpa.metadata.namespace, &selector);
        Measurement { record, served: key.map(|key| (key, target, raw)) }
    }

    fn raw(
        &self,
        hpa: &HorizontalPodAutoscaler,
        asked: &Asked<'_>,
        kind: &MetricKind,
        target: Target,
        measured: &Measured<'_, '_>,
        imputed: &mut u32,
    ) -> Raw {
        let name = &asked.metric.name;
        let pods = asked.kind == AskedKind::Pods;
        match kind {
            MetricKind::PerPod { signal } if pods => measured.each(name, signal),
            MetricKind::PerPod { signal } => {
                let sum = measured.sum(name, signal);
                *imputed = sum.imputed;
                sum.raw
            }
            _ if pods => refused(
                Reason::BadRequest,
                format!("{name} belongs to the whole workload: use it as an External metric"),
            ),
            MetricKind::PerWorkload { signal } => match (measured.whole(name, signal), target.kind) {
                (Err(refusal), _) => Raw::Refused(refusal),
                (Ok(sample), TargetKind::Value) => {
                    Raw::Whole { value: sample.value.servable(), at: sample.at, quality: sample.quality }
                }
                (Ok(sample), TargetKind::AverageValue) => {
                    Raw::Each { value: sample.value.servable(), at: sample.at, quality: sample.quality }
                }
            },
            MetricKind::CapacityGuard if has_company(hpa, self.policy) => Raw::NoVote { at: self.now, nodes: 0 },
            MetricKind::CapacityGuard => refused(
                Reason::NoData,
                format!(
                    "{name} is the only metric of HPA {}: room says nothing of demand; add a metric that does, e.g. inference_queue_length",
                    hpa.metadata.key()
                ),
            ),
            MetricKind::DesiredReplicas if target.kind != TargetKind::AverageValue => {
                refused(Reason::BadRequest, format!("{name} is a replica count: use a target of type AverageValue"))
            }
            MetricKind::DesiredReplicas if has_demand(hpa, self.policy) => {
                Raw::Replicas { count: None, at: self.now, quality: Quality::Hold }
            }
            MetricKind::DesiredReplicas => refused(
                Reason::NoData,
                format!(
                    "{name} follows the demand of the other metrics of HPA {}, and none of ours carries any; put one \
                     beside it that does, e.g. inference_queue_length",
                    hpa.metadata.key()
                ),
            ),
        }
    }
}

fn refused(reason: Reason, message: String) -> Raw {
    Raw::Refused(Refusal { reason, message })
}

/// Whether an HPA has a metric that carries demand beside the capacity guard.
fn has_company(hpa: &HorizontalPodAutoscaler, policy: &Policy) -> bool {
    has_demand(hpa, policy) || !foreign(hpa, policy).is_empty()
}

/// Whether an HPA has a metric of ours that measures demand.
fn has_demand(hpa: &HorizontalPodAutoscaler, policy: &Policy) -> bool {
    let mut kinds = served_metrics(hpa, policy).map(|metric| &metric.kind);
    kinds.any(|kind| matches!(kind, MetricKind::PerPod { .. } | MetricKind::PerWorkload { .. }))
}

/// The metrics of an HPA that somebody else serves.
fn foreign(hpa: &HorizontalPodAutoscaler, policy: &Policy) -> Vec<String> {
    let foreign = hpa
        .spec
        .metrics
        .iter()
        .filter(|spec| Asked::of(hpa, spec).is_none_or(|asked| served(&asked, policy).is_none()));
    foreign.map(|spec| format!("{} {}", spec.kind, name_of(spec))).collect()
}

fn name_of(spec: &MetricSpec) -> &str {
    let object = spec.object.as_ref().map(|object| &object.metric.name);
    let pods = spec.pods.as_ref().map(|pods| &pods.metric.name);
    let external = spec.external.as_ref().map(|external| &external.metric.name);
    let resource = spec.resource.as_ref().map(|resource| &resource.name);
    let container = spec.container_resource.as_ref().map(|resource| &resource.name);
    object.or(pods).or(external).or(resource).or(container).map_or("", String::as_str)
}

/// What the HPA would propose for a raw value.
fn proposal(guard: &Guard, target: Target, raw: &Raw, live: &Live) -> Option<i32> {
    let whole = |value: Milli| match target.kind {
        TargetKind::AverageValue => average_proposal(guard, target.value, value),
        TargetKind::Value => ratio_proposal(guard, target.value, value),
    };
    match raw {
        Raw::Whole { value, .. } => Some(whole(*value)),
        Raw::Each { value, .. } => Some(whole(demand::times(*value, live.reported))),
        Raw::Pods { samples, .. } => {
            let values = samples.iter().map(|(name, sample)| (name.as_str(), sample.value));
            let (samples, missing) = live.samples(values);
            pods_proposal(guard, target.value, &samples, missing, live.unready())
        }
        Raw::NoVote { .. } | Raw::Replicas { .. } | Raw::Refused(_) => None,
    }
}

fn unserved(spec: &MetricSpec) -> Demand {
    let reason = "not served by us: escapes the cap".to_owned();
    let name = name_of(spec);
    Demand { reason, ..record(spec, name, None, &refused(Reason::NotFound, String::new()), 0, None) }
}

pub(super) fn record(
    spec: &MetricSpec,
    name: &str,
    target: Option<Target>,
    raw: &Raw,
    imputed: u32,
    replicas: Option<i32>,
) -> Demand {
    let (value, at, quality) = match raw {
        Raw::Whole { value, at, quality } | Raw::Each { value, at, quality } => (Some(*value), Some(*at), *quality),
        Raw::Pods { samples, quality } => {
            let total = samples.values().fold(0_i64, |sum, sample| sum.saturating_add(sample.value.0));
            (Some(Milli(total)), demand::oldest(samples), *quality)
        }
        Raw::NoVote { at, .. } => (None, Some(*at), Quality::Live),
        Raw::Replicas { at, quality, .. } => (None, Some(*at), *quality),
        Raw::Refused(_) => (None, None, Quality::Unknown),
    };
    let reason = match (raw, imputed, replicas) {
        (Raw::Refused(refusal), ..) => refusal.message.clone(),
        (Raw::NoVote { .. }, ..) => "0, which is no vote: the other metrics carry demand and cap".to_owned(),
        (Raw::Replicas { .. }, ..) => "follows the other metrics".to_owned(),
        (_, 0, _) => "by the HPA's own rule".to_owned(),
        (_, some, _) => format!("by the HPA's own rule; {some} ready pods without a sample count as the mean"),
    };
    Demand {
        metric: name.to_owned(),
        source: spec.kind.clone(),
        target: target.map(|target| target.value),
        raw: value,
        at,
        quality,
        imputed,
        replicas,
        refused: if let Raw::Refused(refusal) = raw { Some(refusal.reason) } else { None },
        reason,
    }
}
