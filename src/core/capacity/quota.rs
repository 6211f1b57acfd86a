//! ResourceQuota: how many pods of a template may still be created in their namespace.
//!
//! Rules of `pkg/quota/v1/evaluator/core/pods.go` and `k8s.io/apiserver/pkg/admission/plugin/resourcequota` v1.36.3. Quota
//! is charged when a pod is created, so pods that wait for a node have been charged already. What is used is what the
//! quota says or what its pods add up to, whichever is more: the status may lag behind pods that are seen already.

use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;

use super::{LimitingFactor, Reason, devices, queue, requests};
use crate::{
    cluster::View,
    object::{
        Labels, ObjectKey, PodSpec,
        admission::{ResourceQuota, ScopeRequirement},
        claim::CLAIM_OF_EACH,
        pod::{Container, PodAffinityTerm},
    },
    quantity::Quantity,
    selector::{LabelSelector, LabelSelectorRequirement, Selector},
};

/// What each container must state once a quota names it (`validationSet`).
const DEMANDED: [&str; 6] = ["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];
/// Parts of names of quotas over claims for storage.
const OF_STORAGE: [&str; 2] = ["persistentvolumeclaims", "requests.storage"];
/// Parts of names of quotas over claims for devices.
const OF_DEVICES: [&str; 2] = ["resourceclaims", "deviceclass.resource."];

/// What one more pod is charged with, by quota and resource name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Charge {
    amounts: Vec<(ObjectKey, String, Quantity)>,
    /// What is taken from others by it, which does not limit these pods.
    others: Vec<(ObjectKey, String, Quantity)>,
    /// The ClusterQueue that lets them through, if one has to.
    queue: Option<String>,
}

/// How many pods may still be created, and what limits them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QuotaRoom {
    /// Further pods that may be created.
    pub pods: u32,
    /// What limits them: the quota, its resource, what is used and what is allowed.
    pub reason: String,
}

/// Who limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    /// A ResourceQuota; what Kueue limits has no namespace here.
    Quota(ObjectKey),
    /// A flavor of a ClusterQueue.
    Flavor { queue: String, flavor: String },
}

/// What a quota lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shortage {
    pub(super) by: Limit,
    pub(super) resource: String,
    /// By how much it would have to be raised.
    pub(super) short: Quantity,
    /// What it allows.
    pub(super) hard: Quantity,
}

/// What all quotas leave.
#[derive(Clone, Debug, Default)]
pub(super) struct Quotas {
    left: Arc<BTreeMap<(ObjectKey, String), Left>>,
    /// What replicas that were placed have been charged with.
    taken: BTreeMap<(ObjectKey, String), Quantity>,
}

#[derive(Clone, Copy, Debug)]
struct Left {
    used: Quantity,
    hard: Quantity,
}

/// A pod in the eyes of a quota.
#[derive(Debug)]
struct Subject<'a> {
    spec: &'a PodSpec,
    class: &'a str,
}

// === impl Quotas ===

impl Quotas {
    pub(super) fn of(view: &View) -> Self {
        let mut left = BTreeMap::new();
        for (key, quota) in &view.resource_quotas {
            let charged = charged(key, quota, view);
            for (name, hard) in &quota.status.hard {
                // A limit that was lowered is about to be enforced.
                let hard = quota.spec.hard.get(name).map_or(*hard, |spec| *hard.min(spec));
                let used = quota.status.used.get(name).copied().unwrap_or_default();
                let used = used.max(charged.get(name.as_str()).copied().unwrap_or_default());
                left.insert((key.clone(), name.clone()), Left { used, hard });
            }
        }
        for (key, name, used, hard) in queue::books(view) {
            left.insert((key, name), Left { used, hard });
        }
        Self { left: Arc::new(left), taken: BTreeMap::new() }
    }

    /// How many more pods the quotas let through; none where no quota is about them.
    pub(super) fn room(&self, charge: &Charge) -> Option<QuotaRoom> {
        let rooms = charge.amounts.iter().filter_map(|(quota, name, amount)| {
            let (used, hard) = self.left(quota, name)?;
            let pods = (hard - used).nano().max(0) / amount.nano().max(1);
            let who = match quota.namespace.as_str() {
                "" => format!("Kueue's {}", quota.name),
                _ => format!("ResourceQuota {quota}"),
            };
            let reason = format!("{who}: {name} {used} of {hard} used, {amount} for each");
            Some(QuotaRoom { pods: u32::try_from(pods).unwrap_or(u32::MAX), reason })
        });
        rooms.min_by_key(|room| room.pods)
    }

    /// By how much quotas are exceeded once pods are charged, and what they allow: by quota and resource name.
    pub(super) fn shortage<'c>(&self, charges: impl Iterator<Item = (&'c Charge, u32)>) -> Vec<Shortage> {
        let mut needs: BTreeMap<(&ObjectKey, &str), Quantity> = BTreeMap::new();
        for (charge, pods) in charges {
            for (quota, name, amount) in &charge.amounts {
                *needs.entry((quota, name)).or_default() += amount.saturating_mul(pods.into());
            }
        }
        let short = needs.into_iter().filter_map(|((quota, name), need)| {
            let (used, hard) = self.left(quota, name)?;
            let short = used + need - hard;
            let by = || Limit::Quota(quota.clone());
            (short > Quantity::ZERO).then(|| Shortage { by: by(), resource: name.to_owned(), short, hard })
        });
        short.collect()
    }

    /// Charges one more pod.
    pub(super) fn take(&mut self, charge: &Charge) {
        for (quota, name, amount) in charge.amounts.iter().chain(&charge.others) {
            *self.taken.entry((quota.clone(), name.clone())).or_default() += *amount;
        }
    }

    /// Gives one pod's charge back.
    pub(super) fn release(&mut self, charge: &Charge) {
        for (quota, name, amount) in charge.amounts.iter().chain(&charge.others) {
            *self.taken.entry((quota.clone(), name.clone())).or_default() -= *amount;
        }
    }

    fn left(&self, quota: &ObjectKey, name: &str) -> Option<(Quantity, Quantity)> {
        let key = (quota.clone(), name.to_owned());
        let Left { used, hard } = self.left.get(&key)?;
        Some((*used + self.taken.get(&key).copied().unwrap_or_default(), *hard))
    }
}

/// What the pods of a quota's namespace add up to. Terminating ones are about to be given back.
fn charged(key: &ObjectKey, quota: &ResourceQuota, view: &View) -> BTreeMap<String, Quantity> {
    let mut sums: BTreeMap<String, Quantity> = BTreeMap::new();
    let pods = view.pods_in(&key.namespace).map(|(_, pod)| pod);
    for pod in pods.filter(|pod| !pod.is_terminal() && !pod.is_terminating()) {
        let subject = Subject { spec: &pod.spec, class: &pod.spec.priority_class_name };
        if subject.is_in(quota) {
            for (name, amount) in usage(&requests::held(pod), &requests::limits(&pod.spec)) {
                *sums.entry(name).or_default() += amount;
            }
        }
    }
    sums
}

// === impl Charge ===

impl Charge {
    /// With further amounts.
    pub(super) fn and(mut self, amounts: queue::Amounts) -> Self {
        self.amounts.extend(amounts.own);
        self.others.extend(amounts.others);
        self.queue = Some(amounts.queue);
        self
    }

    /// The ClusterQueue that lets the pods through, if one has to.
    pub(super) fn queue(&self) -> Option<&str> {
        self.queue.as_deref()
    }

    /// What pods of a specification, as admission leaves it, are charged with; else why no pod can be created.
    pub(super) fn of(spec: &PodSpec, namespace: &str, view: &View) -> Result<Self, Reason> {
        let refuse = |message: String| Reason::new("resourceQuota", message, LimitingFactor::Quota);
        let class = priority_class(spec, view);
        let subject = Subject { spec, class: &class };
        let usage = usage(&requests::exact(spec), &requests::limits(spec));
        let mut amounts = Vec::new();
        for (key, quota) in view.resource_quotas_in(namespace) {
            if !subject.is_in(quota) {
                continue;
            }
            let hard = &quota.status.hard;
            if let Some(missing) = hard.keys().find(|name| subject.lacks(name)) {
                return Err(refuse(format!("ResourceQuota {key}: every container must state {missing}")));
            }
            if let Some(name) = hard.keys().find(|name| is_of_pods(name) && !quota.status.used.contains_key(*name)) {
                return Err(refuse(format!("ResourceQuota {key}: what is used of {name} has not been counted yet")));
            }
            let charged = usage.iter().filter(|(name, amount)| hard.contains_key(name) && *amount > Quantity::ZERO);
            amounts.extend(charged.map(|(name, amount)| (key.clone(), name.clone(), *amount)));
        }
        Ok(Self { amounts, ..Self::default() })
    }

    /// Quotas over what the pods bring about besides themselves, which are not modelled.
    pub(super) fn unmodelled(spec: &PodSpec, namespace: &str, view: &View) -> Option<Reason> {
        let beside = Beside::of(spec, view);
        let quotas = || view.resource_quotas_in(namespace);
        let charges = |name: &&String| beside.charges(name, view);
        let found = quotas().find_map(|(key, quota)| Some((key, quota.spec.hard.keys().find(charges)?)));
        if let Some((key, name)) = found {
            let message = format!("ResourceQuota {key} limits {name}, which these pods may be charged with");
            return Some(Reason::new("resourceQuota", message, LimitingFactor::Quota));
        }
        // The controller fills the status in a moment, and refuses all pods until then.
        let empty = quotas().find(|(_, quota)| quota.status.hard.is_empty() && !quota.spec.hard.is_empty());
        let message = format!("ResourceQuota {} has no status yet", empty?.0);
        Some(Reason::new("resourceQuota", message, LimitingFactor::Quota))
    }
}

/// What pods bring about besides themselves.
struct Beside {
    /// Claims for storage.
    volumes: bool,
    /// Claims for devices, be they the pods' own or made by the scheduler for an extended resource.
    devices: bool,
    /// Of these, some that do not stand for an extended resource which the pods themselves are charged with.
    uncharged: bool,
}

// === impl Beside ===

impl Beside {
    fn of(spec: &PodSpec, view: &View) -> Self {
        let by_class =
            |name: &str| view.class_of_resource(name).is_some() || view.unreadable("deviceclasses", "").is_some();
        let requests = requests::of_spec(spec);
        let mut extended = requests.iter().map(|(name, _)| *name).filter(|name| is_extended(name));
        let implicit = requests.iter().any(|(name, _)| devices::is_of_class(name));
        let uncharged = implicit || !spec.resource_claims.is_empty();
        Self {
            volumes: spec.volumes.iter().any(|it| it.contains_key(CLAIM_OF_EACH) || it.contains_key("ephemeral")),
            devices: uncharged || extended.any(by_class),
            uncharged,
        }
    }

    /// Whether a quota over a resource may be charged with it (`claimEvaluator` of
    /// `pkg/quota/v1/evaluator/core/resource_claims.go`, v1.36.3): devices of a class count as the extended resource that
    /// it stands for, too, as far as their pods are not charged with that.
    fn charges(&self, name: &str, view: &View) -> bool {
        let is_of = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
        let stands = || name.strip_prefix("requests.").is_some_and(|name| view.class_of_resource(name).is_some());
        (self.volumes && is_of(&OF_STORAGE)) || (self.devices && is_of(&OF_DEVICES)) || (self.uncharged && stands())
    }
}

/// `PodUsageFunc`: plain and prefixed names of what is requested, and limits.
fn usage(requests: &[(&str, Quantity)], limits: &[(&str, Quantity)]) -> Vec<(String, Quantity)> {
    let one = Quantity::from_units(1);
    let mut usage = vec![("pods".to_owned(), one), ("count/pods".to_owned(), one)];
    for (name, amount) in requests {
        if matches!(*name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-") {
            usage.push(((*name).to_owned(), *amount));
            usage.push((format!("requests.{name}"), *amount));
        } else if is_extended(name) {
            usage.push((format!("requests.{name}"), *amount));
        }
    }
    let limited = limits.iter().filter(|(name, _)| matches!(*name, "cpu" | "memory" | "ephemeral-storage"));
    usage.extend(limited.map(|(name, amount)| (format!("limits.{name}"), *amount)));
    usage
}

/// `IsDRAExtendedResourceName`.
pub(super) fn is_extended(name: &str) -> bool {
    name.contains('/')
        && !name.starts_with("requests.")
        && (!name.contains("kubernetes.io/") || name.starts_with("deviceclass.resource.kubernetes.io/"))
}

/// The resources of a quota that its status must count before pods are let through (`podResources`).
fn is_of_pods(name: &str) -> bool {
    matches!(
        name,
        "pods" | "count/pods" | "ephemeral-storage" | "requests.ephemeral-storage" | "limits.ephemeral-storage"
    ) || DEMANDED.contains(&name)
        || name.starts_with("hugepages-")
        || name.strip_prefix("requests.").is_some_and(|name| name.starts_with("hugepages-") || is_extended(name))
}

/// Priority admission gives the global default class to pods that name none.
fn priority_class(spec: &PodSpec, view: &View) -> String {
    if !spec.priority_class_name.is_empty() {
        return spec.priority_class_name.clone();
    }
    let value = |name: &&String| view.priority_classes.get(*name).copied();
    view.global_default_classes.iter().min_by_key(value).cloned().unwrap_or_default()
}

// === impl Subject ===

impl Subject<'_> {
    /// Whether a quota is about the pod.
    fn is_in(&self, quota: &ResourceQuota) -> bool {
        let scopes = quota.spec.scopes.iter().map(|scope| ScopeRequirement {
            scope_name: scope.clone(),
            operator: "Exists".to_owned(),
            values: Vec::new(),
        });
        let selected = quota.spec.scope_selector.iter().flat_map(|selector| selector.match_expressions.clone());
        let relevant = quota.status.hard.keys().any(|name| is_of_pods(name));
        relevant && scopes.chain(selected).all(|scope| self.matches(&scope))
    }

    fn matches(&self, scope: &ScopeRequirement) -> bool {
        match scope.scope_name.as_str() {
            "Terminating" => self.spec.active_deadline_seconds.is_some_and(|seconds| seconds >= 0),
            "NotTerminating" => self.spec.active_deadline_seconds.is_none_or(|seconds| seconds < 0),
            "BestEffort" => self.is_best_effort(),
            "NotBestEffort" => !self.is_best_effort(),
            "PriorityClass" if scope.operator == "Exists" => !self.class.is_empty(),
            "PriorityClass" => self.has_class(scope),
            "CrossNamespacePodAffinity" => self.looks_elsewhere(),
            _ => false,
        }
    }

    /// `GetPodQOS`: no container, and not the pod, asks for CPU or memory.
    fn is_best_effort(&self) -> bool {
        let some = |list: &crate::object::pod::ResourceList| {
            ["cpu", "memory"].iter().any(|name| list.get(*name).is_some_and(|amount| *amount > Quantity::ZERO))
        };
        let asks = |container: &Container| some(&container.resources.requests) || some(&container.resources.limits);
        let containers = self.spec.containers.iter().chain(&self.spec.init_containers);
        let pod = self.spec.resources.as_ref().is_some_and(|it| some(&it.requests) || some(&it.limits));
        !pod && !containers.into_iter().any(asks)
    }

    fn has_class(&self, scope: &ScopeRequirement) -> bool {
        let requirement = LabelSelectorRequirement {
            key: "PriorityClass".to_owned(),
            operator: scope.operator.clone(),
            values: scope.values.clone(),
        };
        let selector = LabelSelector { match_expressions: vec![requirement], ..LabelSelector::default() };
        let class = (!self.class.is_empty()).then(|| ("PriorityClass".to_owned(), self.class.to_owned()));
        let labels: Labels = class.into_iter().collect();
        Selector::try_from(&selector).is_ok_and(|selector| selector.matches(&labels))
    }

    fn looks_elsewhere(&self) -> bool {
        let elsewhere = |term: &PodAffinityTerm| !term.namespaces.is_empty() || term.namespace_selector.is_some();
        let affinity = self.spec.affinity.iter().flat_map(|it| [&it.pod_affinity, &it.pod_anti_affinity]);
        affinity.flatten().any(|affinity| {
            let preferred = &affinity.preferred_during_scheduling_ignored_during_execution;
            affinity.required_during_scheduling_ignored_during_execution.iter().any(elsewhere)
                || preferred.iter().any(|weighted| elsewhere(&weighted.pod_affinity_term))
        })
    }

    /// Whether a container does not state what a quota names. Pod-level resources stand for all containers.
    fn lacks(&self, name: &str) -> bool {
        let (list, resource) = match name.split_once('.') {
            Some((list, resource)) => (list, resource),
            None => ("requests", name),
        };
        let states = |container: &Container| {
            let resources = &container.resources;
            resources.limits.contains_key(resource) || (list == "requests" && resources.requests.contains_key(resource))
        };
        let pod_level = self.spec.resources.as_ref().is_some_and(is_pod_level);
        let mut containers = self.spec.containers.iter().chain(&self.spec.init_containers);
        DEMANDED.contains(&name) && !pod_level && !containers.all(states)
    }
}

/// `IsPodLevelResourcesSet`.
fn is_pod_level(resources: &crate::object::pod::Resources) -> bool {
    let supported = |name: &String| matches!(name.as_str(), "cpu" | "memory") || name.starts_with("hugepages-");
    resources.requests.keys().chain(resources.limits.keys()).any(supported)
}
