//! One evaluation of everything.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;

use self::scaled::ByTriggers;
use super::{
    Attempt, BindingKey, Booked, Chosen, Lapses, Live, Note, Raw, Reservation, Rules, Snapshot, Target,
    arbitration::{Allotment, Applicant, Division, Reach, divide},
    chosen, digest,
    record::Demand,
    reservation,
    scaled::{refers_to_ours, scaled as workloads},
    sources::Sources,
    trigger,
};
use crate::{
    autoscaler::Outlook,
    capacity::{Ledger, Replica},
    clamp::Stance,
    cluster::{Basis, Census, Learnt, View},
    object::{HorizontalPodAutoscaler, ObjectKey, Pod, ScaleTarget, WorkloadKey, kueue},
    policy::{Headroom, Mode, Policy, Surplus},
    selector::Selector,
    signal::{Quality, Signals},
};

mod conclude;
mod measure;
mod scaled;

/// One HPA that refers to a metric of ours, on its way to a decision.
struct Case<'v> {
    hpa: &'v HorizontalPodAutoscaler,
    key: &'v ObjectKey,
    workload: WorkloadKey,
    mode: Chosen<Mode>,
    surplus: Chosen<Surplus>,
    headroom: Chosen<Headroom>,
    rules: Rules,
    live: Live,
    measured: Vec<Measurement>,
    notes: Vec<Note>,
    by_triggers: ByTriggers,
}

/// What may be expected for one workload: of a node autoscaler, and of devices that have gone for the moment.
struct Expected<'a> {
    outlook: &'a Outlook,
    /// What others have booked.
    booked: &'a [Booked],
    lapses: &'a Lapses,
    /// One of its replicas, if its template is known.
    replica: Option<&'a Replica>,
    /// Until when it is not asked again after it failed.
    paused: Option<Timestamp>,
}

/// One metric of an HPA, measured.
struct Measurement {
    record: Demand,
    /// Where it is ours: under which key it is asked for, its target, and its raw value.
    served: Option<(BindingKey, Option<Target>, Raw)>,
}

/// Decides about every workload whose HPA refers to a metric that is served.
#[must_use]
pub fn decide(
    view: &View,
    signals: &Signals,
    policy: &Policy,
    previous: Option<&Snapshot>,
    now: Timestamp,
) -> Snapshot {
    let census = Census::of(view, &workloads(view, policy));
    let lives = Live::all(&census).collect();
    let known = Known { ledger: Arc::new(Ledger::of(view)), census: &census, lives: &lives };
    decide_with(view, known, signals, policy, previous, now)
}

/// What is known of a view already.
#[derive(Clone, Debug)]
pub struct Known<'c, 'v> {
    /// What its pods hold.
    pub ledger: Arc<Ledger>,
    /// The pods of the workloads that [`scaled`](super::scaled()) names.
    pub census: &'c Census<'v>,
    /// Scale and pods of each of them.
    pub lives: &'c BTreeMap<WorkloadKey, Live>,
}

/// The same where more than the view is known.
#[must_use]
pub fn decide_with<'v>(
    view: &'v View,
    Known { ledger, census, lives }: Known<'_, 'v>,
    signals: &Signals,
    policy: &Policy,
    previous: Option<&Snapshot>,
    now: Timestamp,
) -> Snapshot {
    let hpas: Vec<_> = view.hpas.iter().filter(|(_, hpa)| refers_to_ours(hpa, policy)).collect();
    let objects = trigger::all(view);
    let sources = Sources::of(view, census, signals);
    let surroundings = measure::Surroundings { view, signals, policy, census, sources, lives, now };
    let cases = hpas.into_iter().map(|(key, hpa)| surroundings.case(key, hpa));
    let cases: Vec<_> = cases.chain(objects.iter().map(|object| surroundings.scaled(object))).collect();
    let fresh = is_fresh(view, policy, now);
    let outlook = Outlook::after(previous.map(|previous| &previous.arrivals), view, policy, now);
    let attempts = attempts(&cases, previous, policy, now);
    let applicants = applicants(view, census, &cases, previous, &attempts, now);
    let division = divide(view, ledger, policy, census, &applicants, &outlook, fresh);
    let mut snapshot = Snapshot {
        at: now,
        decisions: BTreeMap::new(),
        reservations: reservations(&cases, &division, previous, policy, now),
        attempts: attempted(&cases, &division, &attempts, now),
        arrivals: outlook.arrivals.clone(),
        booked: division.booked.clone(),
        lapses: Lapses::continued(previous, view, policy, now),
        free_gpus: division.free_gpus,
        capacity_heard_at: view.capacity_heard_at,
        external_api: view.external_api.clone(),
        sources: signals.sources.clone(),
        digest: String::new(),
        bindings: BTreeMap::new(),
        triggers: BTreeMap::new(),
        enforced: BTreeMap::new(),
        samples: signals.pods.clone(),
        labels: surroundings.labels(previous.map(|previous| &previous.labels)),
        policy: policy.clone(),
    };
    for case in cases {
        conclude::enforce(&mut snapshot.enforced, &case, view);
        conclude::bind(&mut snapshot.bindings, &case, &division);
        snapshot.triggers.extend(case.by_triggers.states.iter().cloned());
        if case.mode.value != Mode::Off {
            let paused = attempts.get(&case.workload).and_then(|attempt| attempt.paused_until);
            let replica = applicants.get(&case.workload).and_then(|applicant| applicant.replica.as_ref());
            let expected =
                Expected { outlook: &outlook, booked: &division.booked, lapses: &snapshot.lapses, replica, paused };
            let decision = conclude::decision(case, &division, &expected, view, policy, census, fresh, now);
            snapshot.decisions.insert(decision.hpa.clone(), decision);
        }
    }
    let digests: Vec<_> = snapshot.decisions.values().map(|decision| &decision.digest).collect();
    snapshot.digest = digest::of(&digests);
    snapshot
}

fn is_fresh(view: &View, policy: &Policy, now: Timestamp) -> bool {
    view.capacity_problem.is_none()
        && view.capacity_heard_at.is_some_and(|heard| now.duration_since(heard) <= policy.capacity_bound)
}

/// What each workload brings to the division; several HPAs of one workload speak with one voice.
fn applicants<'v>(
    view: &'v View,
    census: &Census<'_>,
    cases: &[Case<'_>],
    previous: Option<&Snapshot>,
    attempts: &BTreeMap<WorkloadKey, Attempt>,
    now: Timestamp,
) -> BTreeMap<&'v WorkloadKey, Applicant> {
    let mut applicants: BTreeMap<&WorkloadKey, Applicant> = BTreeMap::new();
    for case in cases {
        let Some((key, target)) = view.workloads.get_key_value(&case.workload) else { continue };
        let want = case.want();
        if let Some(known) = applicants.get_mut(key) {
            known.want = known.want.max(want);
            known.floor = known.floor.max(case.rules.min_replicas);
            known.reach = known.reach.and(case.reach());
            continue;
        }
        let held = previous.and_then(|snapshot| snapshot.reservations.get(key)).map(Vec::as_slice);
        let template = target.template.as_ref();
        let learnt = template.map(|template| {
            let (group, newest) = (target.group.as_deref(), case.live.newest.pods(view));
            Learnt::of(template, group, newest, (Basis::InForce, &target.revision), &view.queues)
        });
        let started = census.groups(key).map(|groups| groups.started).unwrap_or_default();
        applicants.insert(
            key,
            Applicant {
                replica: learnt.map(|Learnt { template, group }| {
                    Replica::of(&template, group.as_deref(), &key.namespace, view, started)
                }),
                priority: case
                    .by_triggers
                    .priority
                    .unwrap_or_else(|| template.map_or(0, |template| priority(view, template))),
                floor: case.rules.min_replicas,
                want,
                reserved: reservation::level(held.unwrap_or_default(), now),
                reach: case.reach(),
                live: case.live.clone(),
                asks: !matches!(case.headroom.value, Headroom::None | Headroom::AtMost(0)),
                headroom: match (attempts.get(key).is_some_and(Attempt::is_paused), case.headroom.value) {
                    (true, _) | (false, Headroom::None) => 0,
                    (false, Headroom::Auto) => i32::MAX,
                    (false, Headroom::AtMost(most)) => i32::try_from(most).unwrap_or(i32::MAX),
                },
            },
        );
    }
    applicants
}

fn priority(view: &View, template: &crate::object::PodTemplate) -> i32 {
    let class = view.priority_classes.get(&template.spec.priority_class_name);
    template.spec.priority.or_else(|| class.copied()).unwrap_or(0)
}

/// Attempts to have nodes added, as they stand.
fn attempts(
    cases: &[Case<'_>],
    previous: Option<&Snapshot>,
    policy: &Policy,
    now: Timestamp,
) -> BTreeMap<WorkloadKey, Attempt> {
    let attempt = |case: &Case<'_>| {
        let before = previous?.attempts.get(&case.workload);
        Some((case.workload.clone(), Attempt::continued(before, case.live.bound, policy, now)?))
    };
    cases.iter().filter_map(attempt).collect()
}

/// The same after the division.
fn attempted(
    cases: &[Case<'_>],
    division: &Division<'_>,
    before: &BTreeMap<WorkloadKey, Attempt>,
    now: Timestamp,
) -> BTreeMap<WorkloadKey, Attempt> {
    let attempt = |case: &Case<'_>| {
        let purposeful = division.allotments.get(&case.workload).map_or(0, Allotment::purposeful);
        let before = before.get(&case.workload).copied();
        Some((case.workload.clone(), Attempt::after(before, purposeful, case.live.bound, now)?))
    };
    cases.iter().filter_map(attempt).collect()
}

fn reservations(
    cases: &[Case<'_>],
    division: &Division<'_>,
    previous: Option<&Snapshot>,
    policy: &Policy,
    now: Timestamp,
) -> BTreeMap<WorkloadKey, Vec<Reservation>> {
    let mut reservations = BTreeMap::new();
    for case in cases {
        let Some(allotment) = division.allotments.get(&case.workload) else { continue };
        let held = previous.and_then(|snapshot| snapshot.reservations.get(&case.workload));
        let promised = allotment.grant.min(case.rules.next_sync(case.live.current));
        let held = held.map(Vec::as_slice).unwrap_or_default();
        let renewed = reservation::renewed(held, promised, case.live.bound, policy.sync_period, now);
        if !renewed.is_empty() {
            reservations.insert(case.workload.clone(), renewed);
        }
    }
    reservations
}

// === impl Case ===

impl Case<'_> {
    /// The largest proposal of the metrics that are known.
    fn demand(&self) -> Option<i32> {
        self.measured.iter().filter_map(|measurement| measurement.record.replicas).max()
    }

    /// Completes the metrics that are the replica count itself: it is as good as the worst measurement behind it.
    fn follow(&mut self) {
        let known = || self.measured.iter().map(|known| &known.record).filter(|record| record.replicas.is_some());
        let Some(worst) = known().map(|record| record.quality).max() else { return };
        let oldest = known().filter_map(|record| record.at).min();
        let want = self.want();
        for Measurement { record, served } in &mut self.measured {
            let Some((_, _, Raw::Replicas { count, at, quality })) = served else { continue };
            (*count, *at, *quality) = (Some(want), oldest.unwrap_or(*at), worst);
            (record.at, record.quality) = (Some(*at), worst);
        }
    }

    /// What the HPA would ask for in the end; without any demand it stays where it is, and what is not live any more
    /// cannot raise it, so that nothing is kept for that.
    fn want(&self) -> i32 {
        let trusted = |record: &Demand| match record.quality {
            Quality::Live => record.replicas,
            _ => record.replicas.map(|replicas| replicas.min(self.live.current)),
        };
        let asked = self.measured.iter().filter_map(|measurement| trusted(&measurement.record)).max();
        self.bounded(asked.max(self.by_triggers.reach).unwrap_or(self.live.current))
    }

    /// How far the HPA may go in its next sync: with metrics of others as far as its policies let it.
    fn reach(&self) -> Reach {
        let (current, rules) = (self.live.current, &self.rules);
        let next = rules.next_sync(current).min(rules.max_replicas).max(current);
        let obeys = self.mode.value == Mode::Enforce && !rules.bypassed;
        Reach {
            most: if obeys || rules.bypassed { next } else { next.min(self.want()) },
            idle: rules.idle(current),
            obeys,
        }
    }

    /// A replica count within the bounds of the HPA.
    fn bounded(&self, replicas: i32) -> i32 {
        replicas.clamp(self.rules.min_replicas, self.rules.max_replicas.max(self.rules.min_replicas))
    }

    /// Whether a surplus of the workload is to go, with the reason. That pods are unschedulable is the scheduler's own
    /// word: it counts where what fits is not `known`, too, and then the grant is what is bound.
    fn stance(
        &self,
        grant: i32,
        census: &Census<'_>,
        fresh: bool,
        known: bool,
        policy: &Policy,
        now: Timestamp,
    ) -> (Stance, String) {
        let hold = |reason: &str| (Stance::Hold, reason.to_owned());
        if self.live.current <= grant {
            return hold("there is no surplus");
        }
        if !fresh {
            return hold("the surplus is held: nodes and pods have not been heard of for too long");
        }
        if census.last_bound(&self.workload).is_some_and(|last| last >= grant) {
            return hold(
                "the surplus is held: the replicas with the highest numbers would go, and not all of them wait",
            );
        }
        let surplus = self.live.current - grant;
        // A pod that Kueue does not let through has no place from the beginning.
        let gated =
            |pod: &Pod| pod.metadata.creation_timestamp.filter(|_| kueue::waits(&pod.spec)).map(Timestamp::from);
        let without_place = |pod: &Pod| pod.unschedulable_since().or_else(|| gated(pod));
        let oldest = census.own(&self.workload).filter_map(|(_, pod)| without_place(pod)).min();
        match (self.surplus.value, oldest) {
            (Surplus::Hold, _) => {
                (Stance::Hold, format!("{surplus} replicas of surplus are held ({})", self.surplus.by))
            }
            // What fits is not known: only the scheduler's own word makes it a surplus.
            (_, None) if !known => hold("the surplus is held: what fits is not known, and no pod is unschedulable"),
            (Surplus::ShedNow, _) => {
                (Stance::Shed, format!("{surplus} replicas of surplus are shed at once ({})", self.surplus.by))
            }
            (Surplus::ShedAfterGrace, Some(since)) if now.duration_since(since) >= policy.shed_grace => {
                let seconds = now.duration_since(since).as_secs();
                (
                    Stance::Shed,
                    format!("{surplus} replicas of surplus are shed: a pod has been unschedulable for {seconds} s"),
                )
            }
            (Surplus::ShedAfterGrace, _) => (
                Stance::Hold,
                format!("{surplus} replicas of surplus are held for the grace of {} s", policy.shed_grace.as_secs()),
            ),
        }
    }
}

/// The selector of a workload's pods; empty where it is not known.
fn pod_selector(target: Option<&ScaleTarget>) -> Selector {
    target.map(|target| target.selector.clone()).unwrap_or_default()
}
