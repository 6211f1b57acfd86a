//! From a measured HPA and its allotment to bindings and the record.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;

use super::{Case, Expected, Measurement, pod_selector};
use crate::{
    capacity::{Answer, Class, Fits, LimitingFactor},
    clamp::Guard,
    cluster::{Census, View},
    decision::{
        Binding, BindingKey, Decision, Enforced, Note, Raw, Step, Subject, TargetKind,
        arbitration::{Allotment, Division, further},
        digest,
    },
    object::WorkloadKey,
    policy::{Headroom, Mode, Policy},
};

/// Most bookings that a decision tells of.
const MAX_TOLD: usize = 3;

/// Adds what the HPA's requests are found by.
pub(super) fn bind(bindings: &mut BTreeMap<BindingKey, Vec<Binding>>, case: &Case<'_>, division: &Division<'_>) {
    let nodes = division.allotments.get(&case.workload).map_or(0, nodes_with_room);
    let rules = Arc::new(case.rules.clone());
    let raw_rules = Arc::new(case.rules.serving_raw());
    let carrier = case.measured.iter().position(carries);
    for (index, measurement) in case.measured.iter().enumerate() {
        let Some((key, target, raw)) = &measurement.served else { continue };
        if matches!(&key.subject, Subject::Pods(selector) if selector.is_empty()) {
            continue; // Not what the HPA will ask: it fails itself without the selector of its scale.
        }
        let binding = Binding {
            hpa: case.key.clone(),
            workload: case.workload.clone(),
            api_version: case.hpa.spec.scale_target_ref.api_version.clone(),
            rules: if case.by_triggers.raw.contains(key) { Arc::clone(&raw_rules) } else { Arc::clone(&rules) },
            target: *target,
            raw: completed(raw, nodes),
            carries: carrier == Some(index),
            carried: carrier.is_some_and(|carrier| carrier != index),
        };
        bindings.entry(key.clone()).or_default().push(binding);
    }
}

/// Adds for which pods no raw samples may be served. An HPA whose scale is not known asks for its pods with a selector
/// that is not known either; for other types of metrics it is refused anyway.
pub(super) fn enforce(enforced: &mut BTreeMap<(String, String), Vec<Enforced>>, case: &Case<'_>, view: &View) {
    if case.mode.value != Mode::Enforce {
        return;
    }
    let pods = pod_selector(view.workloads.get(&case.workload));
    for (key, ..) in case.measured.iter().filter_map(|measurement| measurement.served.as_ref()) {
        if pods.is_empty() && !matches!(key.subject, Subject::Pods(_)) {
            continue;
        }
        let entry = Enforced { hpa: case.key.clone(), workload: case.workload.clone(), pods: pods.clone() };
        enforced.entry((key.namespace.clone(), key.metric.clone())).or_default().push(entry);
    }
}

/// Whether a metric can propose the cap exactly, whatever the state of the pods.
fn carries(measurement: &Measurement) -> bool {
    measurement.served.as_ref().is_some_and(|(key, target, raw)| {
        let exact = target.is_some_and(|target| target.kind == TargetKind::AverageValue);
        exact && !matches!(key.subject, Subject::Pods(_)) && matches!(raw, Raw::Whole { .. } | Raw::Each { .. })
    })
}

/// What is only known when everything is divided.
fn completed(raw: &Raw, nodes: u32) -> Raw {
    match raw {
        Raw::NoVote { at, .. } => Raw::NoVote { at: *at, nodes },
        other => other.clone(),
    }
}

/// The record of one HPA.
#[expect(clippy::too_many_arguments, reason = "a record is of everything that was known")]
pub(super) fn decision(
    case: Case<'_>,
    division: &Division<'_>,
    expected: &Expected<'_>,
    view: &View,
    policy: &Policy,
    census: &Census<'_>,
    fresh: bool,
    now: Timestamp,
) -> Decision {
    let allotment = division.allotments.get(&case.workload);
    let fits = allotment.map_or(Fits::unknown(), |allotment| allotment.alone.fits);
    let grant = allotment.map_or(case.live.bound, |allotment| allotment.grant);
    let held = expected.held(&case, grant, policy, now);
    let grant = grant.saturating_add(held.as_ref().map_or(0, |(count, _)| *count));
    let known = fits.class != Class::Unknown;
    let (stance, surplus) = case.stance(grant, census, fresh, known, policy, now);
    let guard = case.rules.guard(&case.live, grant, stance);
    let further = allotment.map_or(0, |allotment| further(&allotment.alone, case.live.charged()));
    let purposeful = allotment.map_or(0, Allotment::purposeful);
    let ceiling = case.live.bound.saturating_add(further).saturating_add(purposeful).max(grant);
    let limiting_factor = limiting_factor(&case, allotment, grant);
    let alone = allotment.map(|allotment| &allotment.alone);
    let mut notes = case.notes.clone();
    notes.extend(alone.iter().flat_map(|alone| &alone.cautions).map(|it| Note::new("SharedGpus", it.message.clone())));
    notes.extend(bounds(&case, ceiling, known));
    let mut decision = Decision {
        hpa: case.key.clone(),
        workload: case.workload.clone(),
        mode: case.mode.clone(),
        current: case.live.current,
        reported: case.live.reported,
        bound: case.live.bound,
        pending: case.live.pending,
        ready: case.live.ready,
        min_replicas: case.rules.min_replicas,
        max_replicas: case.rules.max_replicas,
        demand: case.demand(),
        fits,
        ceiling,
        grant,
        stance,
        cap: guard.cap(),
        limiting_factor,
        change: change(&case, limiting_factor, alone, expected, (grant, ceiling), view),
        steps: steps(&case, allotment, expected, held, fits, ceiling, &guard, surplus, view, now),
        notes,
        demands: case.measured.into_iter().map(|measurement| measurement.record).collect(),
        digest: String::new(),
    };
    decision.digest = digest::of(&decision);
    decision
}

fn limiting_factor(case: &Case<'_>, allotment: Option<&Allotment>, grant: i32) -> LimitingFactor {
    let then = allotment.map_or(LimitingFactor::Unmodelled, |allotment| allotment.then);
    match case.demand() {
        None if case.by_triggers.reach.is_some() => then,
        None => LimitingFactor::StaleSignal,
        Some(_) if then != LimitingFactor::None => then,
        Some(demand) if case.bounded(demand) > case.want() => LimitingFactor::StaleSignal,
        Some(demand) if demand > grant && grant >= case.rules.max_replicas => LimitingFactor::MaxReplicas,
        Some(_) => LimitingFactor::None,
    }
}

fn bounds(case: &Case<'_>, ceiling: i32, known: bool) -> Option<Note> {
    let min = case.rules.min_replicas;
    let message = format!(
        "minReplicas {min} is above what fits ({ceiling}): the HPA enforces it all the same, and the rest stays Pending"
    );
    (known && min > ceiling).then(|| Note::new("MinReplicasAboveCeiling", message))
}

/// What is lacking.
fn change(
    case: &Case<'_>,
    factor: LimitingFactor,
    alone: Option<&Answer>,
    expected: &Expected<'_>,
    (grant, ceiling): (i32, i32),
    view: &View,
) -> Option<String> {
    let unmet = case.want().saturating_sub(grant).max(0);
    let text = match factor {
        LimitingFactor::None => return None,
        LimitingFactor::MaxReplicas if grant < ceiling => format!("raise maxReplicas of HPA {}", case.key),
        LimitingFactor::MaxReplicas => {
            format!("a higher maxReplicas of HPA {}, and then room: no more than its {grant} replicas fit", case.key)
        }
        LimitingFactor::Gpu => {
            let ill = alone.map_or(0, |alone| alone.unhealthy_gpus);
            let ill = if ill > 0 { format!("; {ill} there are not allocatable") } else { String::new() };
            format!("{unmet} more replicas need free GPUs on nodes that they may use{ill}{}", expected.unregistered())
        }
        LimitingFactor::Fragmentation => {
            format!(
                "free GPUs are scattered: one node with enough of them together would do{}",
                expected.unregistered()
            )
        }
        LimitingFactor::Cpu | LimitingFactor::Memory | LimitingFactor::PodCount | LimitingFactor::OtherResource => {
            format!("{unmet} more replicas need room on nodes that have free GPUs, or smaller requests")
        }
        LimitingFactor::Taint => {
            "a matching toleration, or nodes that are ready, not cordoned and not tainted".to_owned()
        }
        LimitingFactor::Volume => "nodes on which the volumes can be used".to_owned(),
        LimitingFactor::HostPort => "nodes on which the host port is free".to_owned(),
        LimitingFactor::Affinity | LimitingFactor::TopologySpread => {
            match alone.and_then(|it| it.constraint.as_ref()) {
                Some(constraint) => format!("wider constraints, or room where they allow it: {constraint}"),
                None => "a wider node selector, affinity or spread".to_owned(),
            }
        }
        LimitingFactor::Quota => match alone.and_then(|it| it.quota.as_ref()) {
            Some(quota) => format!("more quota: {}", quota.reason),
            None => "a quota that is counted, or none (see the step `fits`)".to_owned(),
        },
        LimitingFactor::Priority => "room that is not kept for pods of higher priority".to_owned(),
        LimitingFactor::Contention => {
            "that larger replicas of others are bound first: until then any node that is left may be theirs".to_owned()
        }
        LimitingFactor::Unmodelled => "a pod template that uses only what is modelled".to_owned(),
        LimitingFactor::NodeAutoscaler => format!("more nodes: {}", expected.describe()),
        LimitingFactor::StaleSignal => "sources that answer".to_owned(),
        LimitingFactor::StaleCapacity if view.capacity_problem.is_some() => {
            "pods that can be read (see the step `fits`)".to_owned()
        }
        LimitingFactor::StaleCapacity => "a connection to the Kubernetes API that delivers nodes and pods".to_owned(),
    };
    Some(text)
}

#[expect(clippy::too_many_arguments, reason = "the steps are the whole story, told in one place")]
fn steps(
    case: &Case<'_>,
    allotment: Option<&Allotment>,
    expected: &Expected<'_>,
    held: Option<(i32, String)>,
    fits: Fits,
    ceiling: i32,
    guard: &Guard,
    surplus: String,
    view: &View,
    now: Timestamp,
) -> Vec<Step> {
    let step = |name, value, reason: String| Step { name, value, reason };
    let live = &case.live;
    let unmodelled = allotment.map(|allotment| &allotment.alone.unmodelled).filter(|reasons| !reasons.is_empty());
    let fits_reason = match (fits.class, unmodelled) {
        (Class::Exact, _) => "what the scheduler could place now".to_owned(),
        (Class::Interval, _) => "at least this many could be placed now".to_owned(),
        (Class::Unknown, Some(reasons)) => {
            format!(
                "not known: {}",
                reasons.iter().map(|reason| reason.message.as_str()).collect::<Vec<_>>().join("; ")
            )
        }
        (Class::Unknown, None) => match (&view.capacity_problem, view.capacity_heard_at) {
            (Some(problem), _) => format!("not known: {problem}"),
            (None, Some(at)) => {
                format!("not known: nodes or pods were last heard of {} s ago", now.duration_since(at).as_secs())
            }
            (None, None) => "not known: nodes and pods have not been listed yet".to_owned(),
        },
    };
    let remarks = allotment.into_iter().flat_map(|allotment| allotment.alone.remarks());
    let fits_reason = remarks.fold(fits_reason, |reason, remark| format!("{reason}; {remark}"));
    let winner = case.measured.iter().filter(|m| m.record.replicas.is_some()).max_by_key(|m| m.record.replicas);
    let demand_reason = winner.map_or_else(
        || "no metric is known, so nothing changes".to_owned(),
        |measurement| format!("the largest proposal, of {}", measurement.record.metric),
    );
    let mut steps = vec![
        step("current", Some(live.current), "replicas that the workload is asked to have".to_owned()),
        step("bound", Some(live.bound), format!("pods on a node; {} wait for one", live.pending)),
        step("demand", case.demand(), demand_reason),
        step("want", Some(case.want()), format!("within {} and {}", case.rules.min_replicas, case.rules.max_replicas)),
        step("fits", (fits.class != Class::Unknown).then(|| i32::try_from(fits.lo).unwrap_or(i32::MAX)), fits_reason),
        step("ceiling", Some(ceiling), "bound, what fits, and what waits for nodes".to_owned()),
        step("grant", Some(guard.grant), "after pods that wait, promises, floors and equal shares".to_owned()),
    ];
    if let Some(limit) = guard.sync_limit().filter(|limit| *limit == guard.cap() && *limit < guard.grant) {
        let reason = "the HPA has no behavior and would remember more than one sync may add, max(2 x current, 4)";
        steps.push(step("sync", Some(limit), reason.to_owned()));
    }
    steps.extend(held.map(|(count, reason)| step("held", Some(count), reason)));
    steps.push(step("cap", Some(guard.cap()), surplus));
    steps.extend(headroom(case, allotment, expected, view));
    steps.extend(expected.kept(&case.workload, allotment, view));
    let held_back = allotment.map(|allotment| allotment.held_back).filter(|held_back| *held_back > 0);
    steps.extend(held_back.map(|count| {
        let reason = "theirs as soon as the replicas of others are bound that may go where these would";
        step("next", Some(count), reason.to_owned())
    }));
    let awaited = allotment.map(|allotment| allotment.awaited).filter(|awaited| *awaited > 0);
    steps.extend(awaited.map(|count| {
        let reason = format!("granted as soon as there are GPUs{}", expected.unregistered());
        step("arriving", Some(count), reason)
    }));
    steps
}

/// The step about replicas that wait for nodes.
fn headroom(case: &Case<'_>, allotment: Option<&Allotment>, expected: &Expected<'_>, view: &View) -> Option<Step> {
    view.node_autoscaler.as_ref()?;
    let (arriving, asking) = allotment.map_or((0, 0), |allotment| (allotment.arriving, allotment.asking));
    let doubt = allotment.and_then(|allotment| allotment.doubt.as_ref());
    let doubt = doubt.map(|it| format!("nodes that do not exist yet are not counted on: {}", it.reason));
    let by = &case.headroom.by;
    let reason = match case.headroom.value {
        Headroom::None => format!("no replica may wait for nodes that do not exist ({by})"),
        _ if arriving + asking > 0 => {
            let doubt = doubt.map(|doubt| format!("; one at a time: {doubt}")).unwrap_or_default();
            format!("{arriving} for nodes that are being brought, {asking} for nodes that may be added ({by}){doubt}")
        }
        _ => doubt.unwrap_or_else(|| expected.describe()),
    };
    Some(Step { name: "headroom", value: Some(arriving + asking), reason })
}

impl Expected<'_> {
    /// Replicas that stay granted while devices may come back.
    fn held(&self, case: &Case<'_>, grant: i32, policy: &Policy, now: Timestamp) -> Option<(i32, String)> {
        self.lapses.held(&case.workload, self.replica?, (case.live.current, grant), policy, now)
    }

    /// Nodes whose GPUs are yet to register, as the end of a sentence.
    fn unregistered(&self) -> String {
        match self.outlook.unregistered.as_slice() {
            [] => String::new(),
            [node] => format!("; those of node {node} have not registered yet"),
            [node, rest @ ..] => format!("; those of node {node} and of {} more have not registered yet", rest.len()),
        }
    }

    /// The steps about room that node autoscalers keep: for others, where the workload lacks room, and for itself.
    fn kept(&self, workload: &WorkloadKey, allotment: Option<&Allotment>, view: &View) -> Vec<Step> {
        let step = |name, value: u32, reason| Step { name, value: i32::try_from(value).ok(), reason };
        let lacks = allotment.is_some_and(|allotment| allotment.then.is_of_the_cluster());
        let booked = Some(self.booked).filter(|booked| lacks && !booked.is_empty());
        let booked = booked.map(|booked| {
            let told: Vec<_> = booked.iter().take(MAX_TOLD).map(ToString::to_string).collect();
            let more = booked.len().saturating_sub(MAX_TOLD);
            let more = if more > 0 { format!("; and {more} more") } else { String::new() };
            let pods = booked.iter().map(|booked| booked.pods).fold(0, u32::saturating_add);
            step("booked", pods, format!("{}{more}", told.join("; ")))
        });
        let buffers = view.node_autoscaler.iter().flat_map(|autoscaler| &autoscaler.buffers);
        let own = buffers.filter(|buffer| buffer.kept() > 0 && buffer.is_of(workload)).map(|buffer| {
            let reason = format!(
                "CapacityBuffer {} has room for these kept free; it is part of what fits, and refilled when it is used",
                buffer.metadata.key()
            );
            step("buffer", buffer.kept(), reason)
        });
        let unread = view.unreadable.get("provisioningrequests").and_then(|doubts| doubts.first_key_value());
        let unread = unread.map(|(_, why)| Step {
            name: "unreadBookings",
            value: None,
            reason: format!("nothing is kept for what ProvisioningRequests have booked that cannot be read: {why}"),
        });
        booked.into_iter().chain(unread).chain(own).collect()
    }

    /// Why no more may be expected.
    fn describe(&self) -> String {
        match (self.paused, &self.outlook.reason) {
            (Some(until), reason) => {
                let more = reason.as_ref().map(|reason| format!("; {reason}")).unwrap_or_default();
                format!("no node came in time, so none is asked for until {until}{more}")
            }
            (None, Some(reason)) => reason.clone(),
            (None, None) => "the nodes that may be added take no further replica".to_owned(),
        }
    }
}

/// Nodes on which another replica would fit.
fn nodes_with_room(allotment: &Allotment) -> u32 {
    allotment.alone.groups.iter().filter(|group| group.fits > 0).map(|group| group.nodes).sum()
}
