//! From KEDA's objects to what is decided about.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::super::{BindingKey, Note, Subject, Target, TargetKind};
use crate::{
    cluster::View,
    keda::{Finding, Severity, findings_of_job, findings_of_object},
    object::{
        HorizontalPodAutoscaler, ObjectKey, ObjectMeta, WorkloadKey,
        hpa::{Behavior, HpaSpec, ObjectReference, ScalingPolicy, ScalingRules},
        keda::{ScaleTrigger, ScaledJob, ScaledObject},
    },
    selector::Selector,
    signal,
    trigger::{Profile, Query, Signal, Trigger},
};

/// Most triggers of an object that are looked at.
const MAX_TRIGGERS: usize = 64;

/// A ScaledObject or ScaledJob with triggers of ours.
#[derive(Debug)]
pub(in super::super) struct Scaled {
    /// The HPA that KEDA makes of it; of a ScaledJob no HPA is made, and the name is none that one could have.
    pub(in super::super) key: ObjectKey,
    /// That HPA as far as it decides anything, without metrics.
    pub(in super::super) hpa: HorizontalPodAutoscaler,
    /// What is scaled.
    pub(in super::super) workload: WorkloadKey,
    /// Replicas while nothing is active.
    pub(in super::super) idle: i32,
    /// Whether KEDA may take replicas away over an error, and nobody counts on the error.
    pub(in super::super) keeps: bool,
    /// The triggers that can be answered.
    pub(in super::super) triggers: Vec<Ours>,
    /// Whether others have a say that the clamp does not reach.
    pub(in super::super) bypassed: bool,
    /// What a person should know of.
    pub(in super::super) notes: Vec<Note>,
}

/// A trigger of ours.
#[derive(Debug)]
pub(in super::super) struct Ours {
    /// Under what it is asked for.
    pub(in super::super) key: BindingKey,
    /// What it asks.
    pub(in super::super) trigger: Arc<Trigger>,
    /// How the HPA compares.
    pub(in super::super) target: Target,
}

/// All objects with triggers of ours, sorted.
pub(in super::super) fn all(view: &View) -> Vec<Scaled> {
    let objects = view.scaled_objects.values().filter(|object| concern(&object.spec.triggers)).map(Scaled::of_object);
    let jobs = view.scaled_jobs.values().filter(|job| concern(&job.spec.triggers)).map(Scaled::of_job);
    objects.chain(jobs).collect()
}

/// The workloads of all of them.
pub(in super::super) fn workloads(view: &View) -> impl Iterator<Item = WorkloadKey> + '_ {
    let objects = view.scaled_objects.values().filter(|object| concern(&object.spec.triggers));
    let jobs = view.scaled_jobs.values().filter(|job| concern(&job.spec.triggers));
    objects.map(ScaledObject::workload).chain(jobs.map(ScaledJob::workload))
}

/// The triggers of ours that are well-formed, with the namespace of their object, its workload, and how many pods it
/// is asked to have.
fn parsed(view: &View) -> impl Iterator<Item = (WorkloadKey, Trigger)> + '_ {
    let objects = view.scaled_objects.values().map(|object| (object.workload(), &object.spec.triggers));
    let jobs = view.scaled_jobs.values().map(|job| (job.workload(), &job.spec.triggers));
    objects.chain(jobs).flat_map(|(workload, triggers)| {
        let ours = triggers.iter().take(MAX_TRIGGERS).filter(|trigger| trigger.is_ours());
        ours.filter_map(move |trigger| Some((workload.clone(), Trigger::parse(&trigger.metadata).ok()?)))
    })
}

/// By signal the namespaces in which triggers need it.
#[must_use]
pub fn trigger_signals(view: &View) -> BTreeMap<String, BTreeSet<String>> {
    let mut needs: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (workload, trigger) in parsed(view) {
        for name in signals_of(&trigger) {
            needs.entry(name.to_owned()).or_default().insert(workload.namespace.clone());
        }
    }
    needs
}

/// The queries of all triggers by namespace, and whether somebody waits for the answer with no replica running.
#[must_use]
pub fn demands(view: &View) -> BTreeMap<(String, Query), bool> {
    let mut demands = BTreeMap::new();
    for (workload, trigger) in parsed(view) {
        let Some(query) = trigger.query else { continue };
        let at_zero = view.workloads.get(&workload).is_none_or(|target| target.spec_replicas == 0);
        *demands.entry((workload.namespace, query)).or_insert(false) |= at_zero;
    }
    demands
}

/// By server address and profile the namespaces in which triggers want the profile's own query asked.
#[must_use]
pub fn profile_queries(view: &View) -> BTreeMap<(String, Profile), BTreeSet<String>> {
    let mut queries: BTreeMap<(String, Profile), BTreeSet<String>> = BTreeMap::new();
    for (workload, trigger) in parsed(view) {
        if let (Some(server), Some(profile)) = (trigger.server, trigger.profile) {
            queries.entry((server, profile)).or_default().insert(workload.namespace);
        }
    }
    queries
}

/// The signals that a trigger is made of.
fn signals_of(trigger: &Trigger) -> Vec<&'static str> {
    match &trigger.signal {
        Signal::GpuUtilization { .. } => vec![signal::GPU_UTILIZATION],
        Signal::QueueLength { .. } => vec![signal::QUEUE_LENGTH],
        Signal::Latency { .. } => vec![signal::LATENCY_P99],
        Signal::Composite(parts) => [
            (parts.gpu.is_some(), signal::GPU_UTILIZATION),
            (parts.queue.is_some(), signal::QUEUE_LENGTH),
            (parts.latency.is_some(), signal::LATENCY_P99),
        ]
        .into_iter()
        .filter_map(|(part, name)| part.then_some(name))
        .collect(),
        Signal::Capacity => Vec::new(),
    }
}

fn concern(triggers: &[ScaleTrigger]) -> bool {
    triggers.iter().take(MAX_TRIGGERS).any(ScaleTrigger::is_ours)
}

/// The key under which a trigger of an object is asked for.
pub(super) fn key(object: &ObjectKey, trigger: &Arc<Trigger>) -> BindingKey {
    BindingKey {
        namespace: object.namespace.to_string(),
        metric: trigger.metric_name.clone(),
        selector: Selector::default(),
        subject: Subject::Trigger(object.name.to_string(), Arc::clone(trigger)),
    }
}

// === impl Scaled ===

impl Scaled {
    fn of_object(object: &ScaledObject) -> Self {
        let target = &object.spec.scale_target_ref;
        let version = if target.api_version.is_empty() { "apps/v1" } else { &target.api_version };
        let workload = object.workload();
        let reference = ObjectReference {
            api_version: version.to_owned(),
            kind: workload.kind.clone(),
            name: workload.name.clone(),
        };
        let spec = HpaSpec {
            scale_target_ref: reference,
            min_replicas: Some(object.min_active()),
            max_replicas: object.max(),
            metrics: Vec::new(),
            behavior: object.spec.advanced.horizontal_pod_autoscaler_config.behavior.clone(),
        };
        let triggers = &object.spec.triggers;
        let formula = !object.spec.advanced.scaling_modifiers.formula.is_empty();
        let key = ObjectKey::new(&*object.metadata.namespace, object.hpa_name());
        Self {
            keeps: object.sleeps() && object.spec.fallback.is_none(),
            bypassed: formula || triggers.iter().any(|trigger| !trigger.is_ours()),
            notes: notes(&findings_of_object(object)),
            ..Self::new(key, &object.metadata, spec, workload, object.min_idle(), triggers)
        }
    }

    /// KEDA makes all Jobs that are missing at once, whatever there are.
    fn of_job(job: &ScaledJob) -> Self {
        let all = ScalingPolicy { kind: "Pods".to_owned(), value: i32::MAX, period_seconds: 1 };
        let scale_up = Some(ScalingRules { policies: Some(vec![all]), ..ScalingRules::default() });
        let spec = HpaSpec {
            min_replicas: Some(job.spec.min_replica_count.unwrap_or(0).max(0)),
            max_replicas: job.spec.max_replica_count.unwrap_or(100),
            behavior: Some(Behavior { scale_up, scale_down: None }),
            ..HpaSpec::default()
        };
        let key = ObjectKey::new(&*job.metadata.namespace, format!("scaledjob/{}", job.metadata.name));
        let idle = job.spec.min_replica_count.unwrap_or(0).max(0);
        Self {
            bypassed: job.spec.triggers.iter().any(|trigger| !trigger.is_ours()),
            notes: notes(&findings_of_job(job)),
            ..Self::new(key, &job.metadata, spec, job.workload(), idle, &job.spec.triggers)
        }
    }

    fn new(
        key: ObjectKey,
        metadata: &ObjectMeta,
        spec: HpaSpec,
        workload: WorkloadKey,
        idle: i32,
        triggers: &[ScaleTrigger],
    ) -> Self {
        let object = metadata.key();
        let ours = triggers.iter().take(MAX_TRIGGERS).filter(|trigger| trigger.is_ours());
        let triggers = ours.filter_map(|trigger| Ours::of(&object, trigger)).collect();
        let metadata = ObjectMeta { name: key.name.to_string(), ..metadata.clone() };
        let hpa = HorizontalPodAutoscaler { metadata, spec, ..HorizontalPodAutoscaler::default() };
        Self { key, hpa, workload, idle, keeps: false, triggers, bypassed: false, notes: Vec::new() }
    }
}

impl Ours {
    /// None where the metadata or the type of the target are wrong, which a note says.
    fn of(object: &ObjectKey, trigger: &ScaleTrigger) -> Option<Self> {
        let parsed = Arc::new(Trigger::parse(&trigger.metadata).ok()?);
        let kind = match trigger.metric_type.as_str() {
            "" | "AverageValue" => TargetKind::AverageValue,
            "Value" if !parsed.counts_replicas() => TargetKind::Value,
            _ => return None,
        };
        let target = Target { kind, value: parsed.target() };
        Some(Self { key: key(object, &parsed), trigger: parsed, target })
    }
}

/// One note for what does not work and one for what will surprise, since each is announced once.
fn notes(findings: &[Finding]) -> Vec<Note> {
    let of = |severity: Severity| {
        let found = findings.iter().filter(|finding| finding.severity == severity);
        let texts: Vec<_> = found.map(|finding| format!("{}: {}", finding.path, finding.message)).collect();
        texts.join("; ").chars().take(900).collect::<String>()
    };
    [("InvalidTrigger", of(Severity::Error)), ("TriggerCaution", of(Severity::Warning))]
        .into_iter()
        .filter(|(_, text)| !text.is_empty())
        .map(|(code, text)| Note::new(code, text))
        .collect()
}
