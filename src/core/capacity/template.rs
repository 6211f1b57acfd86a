//! A pod template as placement sees it: what it asks for, which nodes it may use, and what of it is not modelled.

use std::{borrow::Cow, sync::Arc};

use serde::Serialize;

use super::{
    LimitingFactor, absurd,
    admission::{self, Admitted},
    between::{Seat, Terms},
    devices::{self, Found, Wants},
    doubt,
    filters::Filter,
    ports::{self, HostPort},
    queue,
    quota::Charge,
    requests,
    volumes::{Claims, Needs},
};
use crate::{
    cluster::View,
    object::{Labels, Pod, PodSpec, PodTemplate},
};

/// Something that decides about placement and is not modelled, so that nothing may be promised.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reason {
    /// Machine-readable: the field or object, in camel case.
    pub code: &'static str,
    /// For people: what it is and why it matters.
    pub message: String,
    /// The factor that it stands for.
    #[serde(skip)]
    pub factor: LimitingFactor,
}

/// A checked pod template.
#[derive(Clone, Debug)]
pub struct Template {
    /// Namespace of its pods.
    pub namespace: String,
    /// What its pods demand of others, and what others see of them.
    pub(super) seat: Arc<Seat>,
    /// What [`Seat::terms`] are made from, for labels that are added later; and its volumes.
    pub(super) placement: Arc<PodSpec>,
    /// What quotas charge for each pod that is created; else why none can be.
    pub(super) creation: Result<Charge, Reason>,
    /// Ports that it takes on a node.
    pub(super) ports: Arc<[HostPort]>,
    /// What its volumes use up.
    pub(super) claims: Arc<Claims>,
    /// Whether it is that of a pod that exists, whose labels controllers have completed already.
    pub(super) exists: bool,
    /// What the template alone shows to be not modelled; [`super::Inventory::unmodelled`] adds what other pods do.
    pub unmodelled: Vec<Reason>,
    /// Request vector without zeros, one pod included as `pods`; milli-CPU and whole units.
    pub(super) requests: Vec<(String, i64)>,
    /// Resolved priority, if its class is known.
    pub(super) priority: Option<i32>,
    /// Whether its pods may evict others.
    pub(super) preempts: bool,
    /// Devices that it asks for.
    pub(super) wants: Arc<Wants>,
    /// Whether a DeviceClass stands for a resource that it asks for and its devices cannot be counted: then nodes that
    /// offer none of it may take replicas all the same.
    pub(super) delegates: bool,
    pub(super) filter: Arc<Filter>,
    /// Templates with equal filters have equal keys.
    pub(super) filter_key: Arc<str>,
}

/// Classes that every cluster has (`pkg/apis/scheduling/types.go`).
const SYSTEM_PRIORITIES: [(&str, i32); 2] =
    [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];

// === impl Template ===

impl Template {
    /// The template of a workload: pods that do not exist yet and have admission before them.
    #[must_use]
    pub fn of(template: &PodTemplate, namespace: &str, view: &View) -> Self {
        let Admitted { spec, refusal, unmodelled: unknown } = admission::admit(&template.spec, namespace, view);
        let mut unmodelled = of_spec(&spec);
        unmodelled.extend(unknown);
        unmodelled.extend(Charge::unmodelled(&spec, namespace, view));
        unmodelled.extend(doubt::of(&spec, namespace, view));
        let creation = refusal.map_or_else(|| Charge::of(&spec, namespace, view), Err);
        let (spec, creation) = match queue::admit(&spec, &template.metadata, namespace, view) {
            Ok(None) => (spec, creation),
            Ok(Some((spec, amounts))) => (Cow::Owned(spec), creation.map(|charge| charge.and(amounts))),
            Err(reason) => {
                unmodelled.push(reason);
                (spec, creation)
            }
        };
        let needs = Needs::of(&spec, namespace, None, view);
        let template = Self::new(&spec, namespace, &template.metadata.labels, needs, unmodelled, view);
        Self { creation, ..template }
    }

    /// The template of a pod that exists and waits for a node: admission is behind it.
    #[must_use]
    pub fn of_pod(pod: &Pod, view: &View) -> Self {
        let unmodelled = of_spec(&pod.spec);
        let (namespace, name) = (&pod.metadata.namespace, &pod.metadata.name);
        let needs = Needs::of(&pod.spec, namespace, Some(name), view);
        let template = Self::new(&pod.spec, namespace, &pod.metadata.labels, needs, unmodelled, view);
        Self { exists: true, ..template }
    }

    fn new(
        spec: &PodSpec,
        namespace: &str,
        labels: &Labels,
        needs: Needs,
        mut unmodelled: Vec<Reason>,
        view: &View,
    ) -> Self {
        let mut requests = vec![(requests::PODS.to_owned(), 1)];
        let Found { wants, places, unmodelled: uncountable, open: delegates, .. } = Wants::of(spec, namespace, view);
        unmodelled.extend(uncountable);
        let counted = requests::of_spec(spec).into_iter().filter(|(name, _)| !devices::is_of_class(name));
        requests.extend(counted.map(|(name, amount)| (name.to_owned(), amount)));
        let filter = Filter::of(spec, [needs.places, places].concat());
        unmodelled.extend(needs.unmodelled);
        let terms = Terms::of(spec, namespace, labels).unwrap_or_else(|error| {
            unmodelled.push(Reason::new("podPlacement", error, LimitingFactor::Affinity));
            Terms::default()
        });
        if delegates && !terms.is_empty() {
            // Which domains devices open decides about the others.
            let message = "constraints between pods, and a DeviceClass that stands for a resource that is asked for";
            unmodelled.push(Reason::new("deviceClass", message.to_owned(), LimitingFactor::Gpu));
        }
        if needs.claims.is_partial() && !terms.is_empty() {
            let message = "volumes of earlier replicas and terms about other pods decide together where replicas go";
            unmodelled.push(Reason::new("volumes", message.to_owned(), LimitingFactor::Volume));
        }
        Self {
            namespace: namespace.to_owned(),
            seat: Arc::new(Seat { namespace: namespace.to_owned(), labels: labels.clone(), terms }),
            placement: Arc::new(PodSpec {
                affinity: spec.affinity.clone(),
                topology_spread_constraints: spec.topology_spread_constraints.clone(),
                volumes: spec.volumes.clone(),
                ..PodSpec::default()
            }),
            ports: ports::of(spec).into(),
            claims: Arc::new(needs.claims),
            exists: false,
            creation: Ok(Charge::default()),
            unmodelled,
            requests,
            priority: priority(spec, view),
            wants: Arc::new(wants),
            delegates,
            preempts: spec.preemption_policy.as_deref() != Some("Never"),
            filter_key: format!("{filter:?}").into(),
            filter: Arc::new(filter),
        }
    }

    /// What one replica asks for, without zeros: milli-CPU, whole units of everything else.
    pub fn requests(&self) -> impl Iterator<Item = (&str, i64)> {
        self.requests.iter().skip(1).map(|(name, amount)| (name.as_str(), *amount))
    }

    /// Whether it can be said which devices it asks for.
    pub(super) fn knows_devices(&self) -> bool {
        !self.delegates && !self.unmodelled.iter().any(|reason| matches!(reason.code, "resourceClaims" | "deviceClass"))
    }

    /// GPUs that one replica asks for, of all kinds together.
    #[must_use]
    pub fn gpus(&self, is_gpu: impl Fn(&str) -> bool) -> i64 {
        self.requests().filter(|(name, _)| is_gpu(name)).map(|(_, amount)| amount).fold(0, i64::saturating_add)
    }
}

fn priority(spec: &PodSpec, view: &View) -> Option<i32> {
    if let Some(priority) = spec.priority {
        return Some(priority);
    }
    if view.unreadable("priorityclasses", "").is_some() {
        return None;
    }
    let class = spec.priority_class_name.as_str();
    if class.is_empty() {
        return Some(view.priority_classes.get("").copied().unwrap_or(0));
    }
    let system = SYSTEM_PRIORITIES.iter().find(|(name, _)| *name == class).map(|(_, value)| *value);
    view.priority_classes.get(class).copied().or(system)
}

fn of_spec(spec: &PodSpec) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let negative = absurd::negative_request(spec);
    reasons.extend(negative.map(|message| Reason::new("resources", message, LimitingFactor::Unmodelled)));
    let flaw = spec.flaw.as_ref().map(|flaw| format!("what pods are made from cannot be read: {}", flaw.why));
    reasons.extend(flaw.map(|message| Reason::new("spec", message, LimitingFactor::Unmodelled)));
    reasons.extend(of_scheduling(spec));
    reasons
}

/// Who schedules the pods, and whether yet.
fn of_scheduling(spec: &PodSpec) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let mut add = |code, message: String| reasons.push(Reason::new(code, message, LimitingFactor::Unmodelled));
    if !matches!(spec.scheduler_name.as_str(), "" | "default-scheduler") {
        add("schedulerName", format!("pods are placed by {:?}, whose rules are not known", spec.scheduler_name));
    }
    if !spec.pinned_node.is_empty() {
        add("nodeName", format!("pods are pinned to node {:?} without a scheduler", spec.pinned_node));
    }
    if let Some(gate) = spec.scheduling_gates.first() {
        add("schedulingGates", format!("pods wait until scheduling gate {:?} is removed", gate.name));
    }
    if spec.scheduling_group.is_some() {
        add("schedulingGroup", "pods are scheduled as a group".to_owned());
    }
    reasons
}

// === impl Reason ===

impl Reason {
    pub(super) const fn new(code: &'static str, message: String, factor: LimitingFactor) -> Self {
        Self { code, message, factor }
    }
}
