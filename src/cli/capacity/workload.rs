//! The workload that is asked about: its pod template, its namespace and the selector of its pods.

use std::{borrow::Cow, cmp::Reverse};

use anyhow::{anyhow, bail};
use plimsoll_core::{
    capacity::{Edit, EditError, Limited, Replica, negative_request},
    cluster::{Basis, Groups, Learnt, Started, View, is_own},
    object::{
        ClaimTemplate, Group, Labels, Pod, PodTemplate, Revision, Rollout, WorkloadKey,
        claim::ClaimOwner,
        group::{self, LeaderWorkerTemplate, is_group_kind},
        kueue,
    },
    selector::{LabelSelector, Selector},
};
use serde_json::{Map, Value};

use super::{
    named::WORKLOADS,
    objects::{decode, namespace_of, text},
};
use crate::cli::documents::Source;

/// Where a LeaderWorkerSet has its templates.
const GROUP_TEMPLATE: &str = "/spec/leaderWorkerTemplate";

/// How many replicas there are.
#[derive(Clone, Debug)]
pub(super) struct Replicas {
    /// Replicas of which every pod is assigned, not terminal and not terminating.
    pub(super) bound: u32,
    /// Replicas that wait for a node.
    pub(super) pending: u32,
    /// Those of them that have been charged to quotas: they do not wait at a gate of Kueue.
    pub(super) charged: u32,
    /// Those of them that are groups of pods.
    started: Vec<Started>,
}

/// A workload.
#[derive(Debug)]
pub(super) struct Workload {
    /// Who it is.
    pub(super) key: WorkloadKey,
    /// What its pods are made from; the leaders, where replicas are groups of pods.
    template: PodTemplate,
    /// The rest of such a group.
    group: Option<Group>,
    /// Which pods are its own; an empty one selects none.
    selector: Selector,
    /// Which of them are made from the template as it is now.
    revision: Revision,
}

impl Workload {
    /// The one object among the documents of a source that makes pods.
    pub(super) fn find(source: &Source, documents: Vec<Value>, namespace: Option<&str>) -> anyhow::Result<Self> {
        let mut objects = Vec::new();
        for document in documents {
            flatten(document, &mut objects);
        }
        let kinds: Vec<_> = objects.iter().filter_map(|object| text(object, "/kind")).collect();
        let mut makers = objects.into_iter().filter(|object| template_at(object).is_some());
        match (makers.next(), makers.next()) {
            (Some(maker), None) => Self::of(source, &placed(source, maker, namespace)?),
            (Some(_), Some(_)) => bail!("{source}: several objects make pods; leave the one in that --for is about"),
            (None, _) => bail!(
                "{source}: nothing here makes pods (found: {}); give a Deployment, a StatefulSet, a ReplicaSet, \
                 a LeaderWorkerSet, anything else with spec.template, or a Pod",
                if kinds.is_empty() { "no object".to_owned() } else { kinds.join(", ") }
            ),
        }
    }

    /// Whether a pod belongs to the workload, by selector and owner.
    pub(super) fn owns(&self, pod: &Pod) -> bool {
        is_own(&self.key, &self.selector, self.group.is_some(), pod)
    }

    /// Its replicas in a view.
    pub(super) fn replicas(&self, view: &View) -> Replicas {
        let own = || view.pods.values().filter(|pod| self.owns(pod));
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        match &self.group {
            Some(group) => {
                let Groups { whole, started, .. } = Groups::of(group, own());
                Replicas { bound: count(whole), pending: count(started.len()), charged: count(started.len()), started }
            }
            None => Replicas {
                bound: count(own().filter(|pod| pod.is_bound()).count()),
                pending: count(own().filter(|pod| pod.is_pending()).count()),
                charged: count(own().filter(|pod| pod.is_pending() && !kueue::waits(&pod.spec)).count()),
                started: Vec::new(),
            },
        }
    }

    /// Takes over what the newest of its pods shows of what becomes of its template.
    pub(super) fn learn(&mut self, view: &View, basis: Basis) {
        let newest = |is_of_kind: &dyn Fn(&Pod) -> bool| {
            let is_legible = |pod: &&Pod| pod.spec.flaw.is_none() && !pod.is_terminal() && !pod.is_terminating();
            let own = view.pods.values().filter(|pod| self.owns(pod)).filter(is_legible);
            own.filter(|pod| is_of_kind(pod))
                .max_by_key(|pod| (pod.metadata.creation_timestamp, Reverse(&pod.metadata.name)))
        };
        let pods = match self.group {
            Some(_) => (newest(&group::is_leader), newest(&|pod| !group::is_leader(pod))),
            None => (newest(&|_| true), None),
        };
        let basis = (basis, &self.revision);
        let Learnt { template, group } = Learnt::of(&self.template, self.group.as_ref(), pods, basis, &view.queues);
        (self.template, self.group) = (template.into_owned(), group.map(Cow::into_owned));
    }

    /// One replica as placement sees it.
    pub(super) fn replica(&self, view: &View, replicas: &Replicas) -> Replica {
        let started = replicas.started.clone();
        Replica::of(&self.template, self.group.as_ref(), &self.key.namespace, view, started)
    }

    /// Where its pods are, and what they (or the leaders of its groups) are made from.
    pub(super) fn pod_template(&self) -> (&str, &PodTemplate) {
        (&self.key.namespace, &self.template)
    }

    /// The question what would let more replicas be promised.
    pub(super) fn limited<'a>(&'a self, replicas: &'a Replicas) -> Limited<'a> {
        Limited {
            namespace: &self.key.namespace,
            template: &self.template,
            group: self.group.as_ref(),
            started: &replicas.started,
            pending: replicas.charged,
        }
    }

    /// Makes a change in the cluster or in what the pods are made from.
    pub(super) fn edit(&mut self, edit: &Edit, view: &mut View) -> Result<(), EditError> {
        edit.apply(view, &mut self.template)?;
        match (edit, &mut self.group) {
            (Edit::Request { .. }, Some(group)) => edit.apply(view, &mut group.worker_template),
            _ => Ok(()),
        }
    }

    fn of(source: &Source, object: &Value) -> anyhow::Result<Self> {
        let key = key(object);
        let version = text(object, "/apiVersion").unwrap_or_default();
        let known = WORKLOADS.iter().find(|it| it.name == key.kind && it.group == key.group);
        if let Some(known) = known.map(|it| format!("{}/v1", it.group)).filter(|known| *known != version) {
            bail!("{source}: a {} is understood in {known}, not in {version}", key.kind);
        }
        if is_group_kind(&key) { Self::of_groups(source, object, key) } else { Self::of_pods(source, object, key) }
    }

    /// A LeaderWorkerSet.
    fn of_groups(source: &Source, object: &Value, key: WorkloadKey) -> anyhow::Result<Self> {
        let template = decode::<LeaderWorkerTemplate>(source, &key.kind, object, GROUP_TEMPLATE)?;
        let annotations = decode(source, &key.kind, object, "/metadata/annotations")?.unwrap_or_default();
        let (template, group) = template.unwrap_or_default().into_templates(&key.name, &annotations);
        for made in [&template, &group.worker_template] {
            if let Some(negative) = negative_request(&made.spec) {
                bail!("{source}: {}: {negative}", key.kind);
            }
        }
        let revision = revision(source, object, &key.kind)?;
        Ok(Self { key, template, group: Some(group), selector: Selector::default(), revision })
    }

    fn of_pods(source: &Source, object: &Value, key: WorkloadKey) -> anyhow::Result<Self> {
        let kind = key.kind.clone();
        let pointer = template_at(object).unwrap_or_default();
        let template = decode::<PodTemplate>(source, &kind, object, pointer)?;
        let mut template = template.ok_or_else(|| anyhow!("{source}: the pod template is empty"))?;
        if let Some(negative) = negative_request(&template.spec) {
            let place = pointer.trim_start_matches('/').replace('/', ".");
            let place = if place.is_empty() { "spec".to_owned() } else { format!("{place}.spec") };
            bail!("{source}: {kind}: {place}.{negative}");
        }
        let claims = decode::<Vec<ClaimTemplate>>(source, &kind, object, "/spec/volumeClaimTemplates")?;
        template.claim(&ClaimOwner::StatefulSet(key.name.clone()), &claims.unwrap_or_default());
        if pointer.is_empty() {
            // A pod stands for others like it, which the scheduler will place afresh.
            template.spec.pinned_node.clear();
        }
        let selector = selector(source, object, &key.kind, &template.metadata.labels)?;
        let revision = revision(source, object, &kind)?;
        Ok(Self { key, template, group: None, selector, revision })
    }
}

fn key(object: &Value) -> WorkloadKey {
    let group = text(object, "/apiVersion").unwrap_or_default();
    WorkloadKey {
        namespace: namespace_of(object),
        group: group.split_once('/').map_or("", |(group, _)| group).to_owned(),
        name: text(object, "/metadata/name").unwrap_or_default(),
        kind: text(object, "/kind").unwrap_or_default(),
    }
}

/// What the object says of the revisions of its pods; what is made once has the template that it was made with.
fn revision(source: &Source, object: &Value, kind: &str) -> anyhow::Result<Revision> {
    if matches!(kind, "Pod" | "Job") {
        return Ok(Revision::All);
    }
    let generation = decode::<i64>(source, kind, object, "/metadata/generation")?.unwrap_or_default();
    let status = decode::<Rollout>(source, kind, object, "/status")?.unwrap_or_default();
    Ok(Revision::of(generation, &status))
}

/// The object in the namespace that is asked for, as kubectl would create it.
fn placed(source: &Source, mut object: Value, namespace: Option<&str>) -> anyhow::Result<Value> {
    let said = text(&object, "/metadata/namespace").filter(|said| !said.is_empty());
    match (said, namespace) {
        (Some(said), Some(asked)) if said != asked => {
            bail!("{source}: the workload is of namespace {said:?}, not of {asked:?} as -n says")
        }
        (None, Some(asked)) => {
            let metadata = object
                .as_object_mut()
                .and_then(|it| it.entry("metadata").or_insert_with(|| Value::Object(Map::new())).as_object_mut());
            metadata.map(|metadata| metadata.insert("namespace".to_owned(), asked.into()));
        }
        _ => {}
    }
    Ok(object)
}

fn flatten(document: Value, objects: &mut Vec<Value>) {
    match document {
        Value::Array(items) => items.into_iter().for_each(|item| flatten(item, objects)),
        Value::Object(mut object) => match object.remove("items") {
            Some(items) => flatten(items, objects),
            None => objects.push(Value::Object(object)),
        },
        _ => {}
    }
}

/// Where the pod template of an object is.
fn template_at(object: &Value) -> Option<&'static str> {
    if text(object, "/kind").as_deref() == Some("Pod") {
        return Some("");
    }
    if object.pointer(GROUP_TEMPLATE).is_some_and(|template| template.get("workerTemplate").is_some()) {
        return Some(GROUP_TEMPLATE);
    }
    let places = ["/spec/template", "/spec/jobTemplate/spec/template", "/template"];
    places.into_iter().find(|place| object.pointer(place).is_some_and(|template| template.get("spec").is_some()))
}

/// `spec.selector`, in the old form of ReplicationControllers too; else the labels of the template.
fn selector(source: &Source, object: &Value, kind: &str, labels: &Labels) -> anyhow::Result<Selector> {
    let given = object.pointer("/spec/selector").filter(|given| given.is_object());
    let by_labels = |labels: &Labels| LabelSelector { match_labels: labels.clone(), ..LabelSelector::default() };
    let selector = match given {
        None => by_labels(labels),
        Some(given) if given.get("matchLabels").is_some() || given.get("matchExpressions").is_some() => {
            decode(source, kind, object, "/spec/selector")?.unwrap_or_default()
        }
        Some(_) => by_labels(&decode(source, kind, object, "/spec/selector")?.unwrap_or_default()),
    };
    Selector::try_from(&selector).map_err(|error| anyhow!("{source}: {kind}: spec.selector: {error}"))
}
