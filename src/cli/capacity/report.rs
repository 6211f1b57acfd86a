//! The answer: what is counted, and the form that JSON and YAML have. The table is in `print`.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::Context as _;
use plimsoll_core::{
    autoscaler::{Doubt, Outlook},
    capacity::{
        Answer, Class, Edit, Fits, Inventory, Ledger, Lift, LimitingFactor, Model, NodeGroupReport, QuotaRoom, Reason,
        Replica, Sharing, smallest,
    },
    cluster::View,
    decision::{Booked, beside_booked},
    object::{ObjectKey, Pod, PodSpec, autoscaling::CapacityBuffer},
    policy::Policy,
    quantity::Quantity,
};
use serde::Serialize;
use serde_json::Value;

use super::{
    live,
    objects::Objects,
    workload::{Replicas, Workload},
};
use crate::clock;

mod print;

/// What `plimsoll capacity` answers.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    workload: Subject,
    /// Pods of one replica.
    pods: u32,
    /// What one replica asks for.
    requests: BTreeMap<String, Quantity>,
    /// Claims for devices that each of its pods has: the template that they are made from, or the claim that is shared.
    claims: Vec<String>,
    /// Further replicas that could be placed now, `pending` ones included.
    fits: Fits,
    /// Replicas of which every pod is assigned, not terminal and not terminating.
    bound: u32,
    /// `bound` plus what may be promised of `fits`.
    ceiling: u32,
    limiting_factor: LimitingFactor,
    /// Replicas that wait for a node; they are the first to take what fits.
    pending: u32,
    /// Pods of others that wait for a node. What they may take as things are is not promised.
    pending_others: u32,
    /// This and what follows up to `unregistered`: none where what fits is not known.
    free_gpus: Option<i64>,
    stranded_gpus: Option<i64>,
    /// GPUs that are there and not allocatable where the workload may run.
    unhealthy_gpus: Option<i64>,
    /// GPUs that several pods share; none where none is.
    sharing: Option<Sharing>,
    groups: Vec<NodeGroupReport>,
    /// Further replicas that fit once the terminating pods are gone.
    releasing: Option<u32>,
    /// Replicas for nodes that a node autoscaler is bringing, and for GPUs that are about to register.
    arriving: Option<u32>,
    /// Nodes that are here and whose GPUs have not registered yet.
    unregistered: Vec<String>,
    /// Replicas for nodes that it may add beyond them.
    headroom: Option<u32>,
    /// Whether a group may add nodes of which nobody knows what they take, since none of them is here.
    headroom_unknown: bool,
    /// Why none can be counted on; none where some can, or where there is no node autoscaler.
    no_headroom: Option<String>,
    /// How many further replicas admission lets be created; none where nothing limits them.
    quota: Option<QuotaRoom>,
    /// Room that a node autoscaler has booked for pods of others, which is part of what fits.
    booked: Vec<Booked>,
    /// What fits beside that room, which is all that a workload is granted; none where nothing is booked.
    fits_beside_booked: Option<u32>,
    /// Room that a node autoscaler keeps free for this workload, which is part of what fits.
    buffers: Vec<Kept>,
    /// What constraints between pods make of it; none where they do not limit.
    constraint: Option<String>,
    unmodelled: Vec<Reason>,
    /// The smallest change that makes room for more, tried in the model; none where nothing limits or none was found.
    lift: Option<Lift>,
    /// What was answered before the changes of `--what-if`.
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<Before>,
    pub(super) warnings: Vec<String>,
    /// What is to be said of the GPUs besides their number.
    #[serde(skip)]
    remarks: Vec<String>,
}

/// The answer without the changes, and the changes.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Before {
    changes: Vec<Edit>,
    fits: Fits,
    bound: u32,
    ceiling: u32,
    limiting_factor: LimitingFactor,
}

/// A CapacityBuffer, and the pods that it keeps room for.
#[derive(Debug, Serialize)]
struct Kept {
    buffer: ObjectKey,
    replicas: u32,
}

#[derive(Debug, Serialize)]
struct Subject {
    namespace: String,
    kind: String,
    name: String,
}

// === impl Report ===

impl Report {
    /// The answer for a workload in what the inputs hold.
    pub(super) fn of(workload: &Workload, objects: &mut Objects, policy: &Policy) -> Self {
        let mut report = Self::counted(workload, objects, policy);
        report.lift = Self::lift(workload, objects, policy);
        report
    }

    /// The answer once changes are made.
    pub(super) fn after(
        self,
        changes: Vec<Edit>,
        mut workload: Workload,
        objects: &mut Objects,
        policy: &Policy,
    ) -> anyhow::Result<Self> {
        for edit in &changes {
            workload.edit(edit, &mut objects.view).with_context(|| format!("--what-if: {edit}"))?;
        }
        let Self { fits, bound, ceiling, limiting_factor, .. } = self;
        let before = Before { changes, fits, bound, ceiling, limiting_factor };
        Ok(Self { before: Some(before), ..Self::of(&workload, objects, policy) })
    }

    fn lift(workload: &Workload, objects: &mut Objects, policy: &Policy) -> Option<Lift> {
        let replicas = workload.replicas(&objects.view);
        let mut ledger = Arc::new(Ledger::of(&objects.view));
        let model = Model { view: &mut objects.view, ledger: &mut ledger, policy };
        smallest(model, workload.limited(&replicas), |pod| workload.owns(pod))
    }

    fn counted(workload: &Workload, objects: &Objects, policy: &Policy) -> Self {
        let view = &objects.view;
        let replicas = workload.replicas(view);
        let replica = workload.replica(view, &replicas);
        let others = |pod: &Pod| !workload.owns(pod);
        let answer = with_unusable(Inventory::of(view, policy).fits_replica_beside(&replica, others), objects);
        let pending_others = view.pods.values().filter(|pod| others(pod) && pod.is_pending()).count();
        let outlook = Outlook::of(view, policy, clock::now());
        let on = |room: &View| Inventory::of(room, policy).fits_replica(&replica).fits.lo;
        let doubt = outlook.doubt(&replica, view);
        let to_come = |room: &View| if doubt.is_some() { 0 } else { on(room) };
        let Replicas { bound, pending, charged, .. } = replicas;
        let known = answer.fits.class != Class::Unknown;
        let further = answer.further(charged);
        let booked = beside_booked(view, policy, workload.pod_template(), &replica, others);
        let (booked, beside) = booked.map_or_else(Default::default, |(booked, beside)| (booked, Some(beside)));
        let mut warnings = warnings(objects);
        warnings.extend(unseen(&replica, view));
        Self {
            booked,
            fits_beside_booked: beside.map(|beside| beside.min(answer.fits.lo)),
            buffers: kept(workload, view),
            pods: replica.pods(),
            requests: requests(&replica),
            fits: answer.fits,
            bound,
            ceiling: bound.saturating_add(further),
            limiting_factor: if further < answer.fits.lo { LimitingFactor::Quota } else { answer.limiting_factor },
            pending,
            pending_others: u32::try_from(pending_others).unwrap_or(u32::MAX),
            claims: claims(&workload.pod_template().1.spec),
            free_gpus: known.then_some(answer.free_gpus),
            stranded_gpus: known.then_some(answer.stranded_gpus),
            unhealthy_gpus: known.then_some(answer.unhealthy_gpus),
            sharing: answer.sharing,
            remarks: answer.remarks().collect(),
            groups: answer.groups,
            releasing: known
                .then(|| released(workload, objects, policy).map_or(0, |lo| lo.saturating_sub(answer.fits.lo))),
            arriving: known.then(|| to_come(&outlook.arriving).saturating_add(on(&outlook.registering))),
            unregistered: outlook.unregistered,
            headroom: known.then(|| to_come(&outlook.further)),
            headroom_unknown: doubt.as_ref().map_or(outlook.unknown, |doubt| doubt.may_try),
            no_headroom: outlook.reason.or(doubt.filter(|_| known).map(uncounted)),
            quota: answer.quota,
            constraint: answer.constraint,
            unmodelled: answer.unmodelled,
            lift: None,
            before: None,
            warnings: answer.cautions.into_iter().map(|it| it.message).chain(warnings).collect(),
            workload: Subject {
                namespace: workload.key.namespace.clone(),
                kind: workload.key.kind.clone(),
                name: workload.key.name.clone(),
            },
        }
    }
}

/// That nodes to come are not counted on.
fn uncounted(Doubt { reason, may_try }: Doubt) -> String {
    let tried = if may_try { "; one replica at a time may find out" } else { "" };
    format!("not counted on: {reason}{tried}")
}

/// What fits once the terminating pods are gone, if there are any.
fn released(workload: &Workload, objects: &Objects, policy: &Policy) -> Option<u32> {
    objects.view.pods.values().find(|pod| pod.is_terminating())?;
    let mut view = objects.view.clone();
    view.pods.retain(|_, pod| !pod.is_terminating());
    let replica = workload.replica(&view, &workload.replicas(&view));
    Some(Inventory::of(&view, policy).fits_replica_beside(&replica, |pod| !workload.owns(pod)).fits.lo)
}

/// Buffers that keep room for the workload.
fn kept(workload: &Workload, view: &View) -> Vec<Kept> {
    let buffers = view.node_autoscaler.iter().flat_map(|autoscaler| &autoscaler.buffers);
    let own = buffers.filter(|buffer| buffer.kept() > 0 && buffer.is_of(&workload.key));
    own.map(|buffer: &CapacityBuffer| Kept { buffer: buffer.metadata.key(), replicas: buffer.kept() }).collect()
}

/// Devices that may stand for what is asked for, and that the input does not show.
fn unseen(replica: &Replica, view: &View) -> Option<String> {
    let devices = &view.devices;
    let lists = [(devices.slices.is_none(), "ResourceSlices"), (devices.claims.is_none(), "ResourceClaims")];
    let lists: Vec<_> = lists.into_iter().filter(|(unseen, _)| *unseen).map(|(_, kind)| kind).collect();
    let (name, _) = replica.requests().find(|(name, _)| view.class_of_resource(name).is_some())?;
    (!lists.is_empty()).then(|| {
        format!("a DeviceClass stands for {name}, but the input has no list of {}, so devices of drivers are not counted; see --help", lists.join(", "))
    })
}

/// What one replica asks for, all its pods together.
fn requests(replica: &Replica) -> BTreeMap<String, Quantity> {
    let mut requests: BTreeMap<String, i64> = BTreeMap::new();
    for (name, amount) in replica.requests() {
        let sum = requests.entry(name.to_owned()).or_default();
        *sum = sum.saturating_add(amount);
    }
    requests
        .into_iter()
        .map(|(name, amount)| {
            let amount = quantity(&name, amount);
            (name, amount)
        })
        .collect()
}

/// Claims for devices by the name of their template or their own.
fn claims(spec: &PodSpec) -> Vec<String> {
    let name = |claim: &Value| {
        let names = ["resourceClaimTemplateName", "resourceClaimName", "name"];
        names.iter().find_map(|name| claim.get(name)?.as_str()).unwrap_or_default().to_owned()
    };
    spec.resource_claims.iter().map(name).collect()
}

/// Amounts are in milli for CPU and in whole units for everything else.
fn quantity(resource: &str, amount: i64) -> Quantity {
    if resource == "cpu" { Quantity::from_milli(amount) } else { Quantity::from_units(amount) }
}

/// Names the nodes whose room is not known, which promise nothing.
fn with_unusable(mut answer: Answer, objects: &Objects) -> Answer {
    answer.groups.extend(objects.unusable.iter().map(|(name, why)| NodeGroupReport {
        nodes: 1,
        names: vec![name.clone()],
        fits: 0,
        limiting_factor: LimitingFactor::Unmodelled,
        reason: why.clone(),
    }));
    answer
}

fn warnings(objects: &Objects) -> Vec<String> {
    let unusable = objects.unusable.iter().map(|(node, why)| format!("node {node:?} is left out: {why}"));
    let view = &objects.view;
    let others = view.unreadable.iter().filter(|(resource, _)| *resource != "nodes");
    let others = others.flat_map(|(_, doubts)| doubts.values().cloned());
    let problem = view.node_autoscaler.iter().filter_map(|it| it.problem.clone());
    let mut warnings: Vec<_> = unusable.chain(others).chain(problem).collect();
    if view.nodes.is_empty() {
        warnings.push("the input has no usable Node, so nothing fits; see --help for what to give".to_owned());
    }
    if view.pods.is_empty() {
        warnings.push("the input has no Pod, so every node counts as empty; see --help for what to give".to_owned());
    }
    let unknown = view.pods.values().map(|pod| pod.node_name.as_str());
    let unknown = unknown.filter(|node| !node.is_empty() && !view.nodes.contains_key(*node)).count();
    if unknown > 0 && objects.unusable.is_empty() {
        warnings.push(format!("{unknown} pods are on nodes that the input does not have"));
    }
    if objects.is_by_kind() {
        let unlisted: Vec<_> = live::required().filter(|kind| !objects.seen.contains(*kind)).collect();
        if !unlisted.is_empty() {
            let kinds = unlisted.join(", ");
            warnings.push(format!("the input has lists of single kinds and none of {kinds}, so it may lack them"));
        }
    }
    if !objects.ignored.is_empty() {
        let kinds: Vec<_> = objects.ignored.iter().map(|(kind, count)| format!("{kind} ({count})")).collect();
        warnings.push(format!("ignored, as they decide nothing here: {}", kinds.join(", ")));
    }
    warnings
}
