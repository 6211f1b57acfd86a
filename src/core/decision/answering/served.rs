//! The clamp at request time: raw value and grant of the snapshot, scale and pods of now.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{labels, pod_value, refused};
use crate::{
    answer::{ExternalValue, ObjectValue, Reason, Refusal},
    clamp::{Clamped, Effect, Guard, PodSample, Stance, Standing, average, pods, ratio},
    decision::{Binding, Decision, Live, Raw, Snapshot, Target, TargetKind, demand},
    object::{ObjectKey, Text, WorkloadKey},
    policy::Mode,
    quantity::Milli,
    signal::{Quality, Sample},
};

/// One request, the metrics of HPAs that it is about, and the state of their workload.
pub(in super::super) struct Situation<'s> {
    snapshot: &'s Snapshot,
    bindings: &'s [Binding],
    first: &'s Binding,
    live: Live,
    now: Timestamp,
}

/// The raw value of a whole workload at this moment.
#[derive(Clone, Copy)]
pub(super) struct Whole {
    pub(super) value: Milli,
    pub(super) at: Timestamp,
    pub(super) quality: Quality,
}

impl<'s> Situation<'s> {
    pub(in super::super) fn new(
        snapshot: &'s Snapshot,
        bindings: &'s [Binding],
        live: impl Fn(&WorkloadKey) -> Option<Live>,
        now: Timestamp,
    ) -> Result<Self, Refusal> {
        let missing = |message: String| Refusal { reason: Reason::NotReady, message };
        let first = bindings.first().ok_or_else(|| missing("there is no binding".to_owned()))?;
        if let Some(refusal) = refused(&first.raw) {
            return Err(refusal.clone());
        }
        let live = live(&first.workload)
            .ok_or_else(|| missing(format!("the scale of {} is not known yet", first.workload)))?;
        Ok(Self { snapshot, bindings, first, live, now })
    }

    /// The value that proposes the current count, for where nothing is known and an error would cost the replicas that
    /// are there. None without any, and where the scale itself is not known any more.
    pub(in super::super) fn held(
        snapshot: &'s Snapshot,
        bindings: &'s [Binding],
        live: impl Fn(&WorkloadKey) -> Option<Live>,
        now: Timestamp,
    ) -> Option<Milli> {
        let first = bindings.first()?;
        let live = live(&first.workload).filter(|live| live.current > 0)?;
        let target = first.target?;
        let value = match target.kind {
            TargetKind::AverageValue => demand::times(target.value, live.current),
            // A ratio of 1 is the current count, whatever is ready (`GetExternalMetricReplicas`, v1.36.3).
            TargetKind::Value => target.value,
        };
        let situation = Self { snapshot, bindings, first, live, now };
        let whole = Whole { value, at: snapshot.at, quality: situation.aged(snapshot.at, Quality::Hold) };
        if whole.quality == Quality::Unknown {
            return None;
        }
        Some(if situation.enforces() { situation.clamp(whole).0.value } else { value })
    }

    /// The value of the whole workload, for External requests.
    pub(in super::super) fn whole(&self, metric: &str) -> Result<ExternalValue, Refusal> {
        if let Raw::NoVote { at, nodes } = self.first.raw {
            let value = ExternalValue { value: Milli(0), at, labels: labels::no_vote(nodes) };
            return Ok(value);
        }
        let raw = self.raw(metric)?;
        let (clamped, guard) = self.clamp(raw);
        let served = if self.enforces() { clamped.value } else { raw.value };
        let labels = labels::of(self.first, self.decision(), raw, clamped, &guard, self.mode());
        Ok(ExternalValue { value: served, at: raw.at, labels })
    }

    /// The same for a request about the scale target as an object.
    pub(super) fn object(&self, metric: &str, namespace: &str, name: &str) -> Result<Vec<ObjectValue>, Refusal> {
        let answer = self.whole(metric)?;
        let workload = &self.first.workload;
        let api_version = self.first.api_version.clone();
        let object = ObjectKey::new(namespace, name);
        Ok(vec![ObjectValue { kind: workload.kind.clone(), api_version, object, value: answer.value, at: answer.at }])
    }

    /// The values of the workload's pods.
    pub(super) fn pods(&self, metric: &str, namespace: &str) -> Result<Vec<ObjectValue>, Refusal> {
        let Raw::Pods { samples, quality } = &self.first.raw else {
            return Err(self.stale(metric, None));
        };
        let known = self.counted(samples);
        let oldest = known.iter().map(|(_, sample)| sample.at).min();
        let quality = self.aged(oldest.unwrap_or(self.snapshot.at), *quality);
        if known.is_empty() || quality == Quality::Unknown {
            return Err(self.stale(metric, demand::oldest(samples)));
        }
        let values = self.pod_values(&known, quality);
        let answers = known.iter().zip(values);
        Ok(answers
            .map(|((name, sample), value)| pod_value(ObjectKey::new(namespace, *name), value, sample.at))
            .collect())
    }

    /// Samples of pods that count now: those that have ended or are ending since have none any more.
    fn counted<'a>(&self, samples: &'a BTreeMap<Text, Sample>) -> Vec<(&'a str, &'a Sample)> {
        let counts = |name: &str| self.live.standings.get(name) == Some(&Standing::Counted);
        let recent = |sample: &Sample| self.aged(sample.at, sample.quality) != Quality::Unknown;
        samples
            .iter()
            .map(|(name, sample)| (name.as_str(), sample))
            .filter(|(name, s)| counts(name) && recent(s))
            .collect()
    }

    fn pod_values(&self, known: &[(&str, &Sample)], quality: Quality) -> Vec<Milli> {
        let raw = || known.iter().map(|(_, sample)| sample.value.servable()).collect::<Vec<_>>();
        if !self.enforces() {
            return raw();
        }
        let (mut samples, missing) = self.live.samples(known.iter().map(|(name, sample)| (*name, sample.value)));
        for binding in self.bindings {
            let Some(target) = binding.target else { continue };
            let guard = self.guard(binding, quality);
            let carried = binding.carried && self.carries(binding, &guard);
            let (values, _) = pods(&guard, target.value, &samples, missing, self.live.unready(), carried);
            samples = samples.iter().zip(values).map(|(sample, value)| PodSample { value, ..*sample }).collect();
        }
        samples.into_iter().map(|sample| sample.value).collect()
    }

    // === raw values ===

    fn raw(&self, metric: &str) -> Result<Whole, Refusal> {
        let whole = match &self.first.raw {
            Raw::Whole { value, at, quality } => Whole { value: *value, at: *at, quality: *quality },
            Raw::Each { value, at, quality } => {
                Whole { value: demand::times(*value, self.live.reported), at: *at, quality: *quality }
            }
            Raw::Replicas { count, at, quality } => {
                let target = self.first.target.map_or(Milli(1000), |target| target.value);
                Whole { value: demand::times(target, count.unwrap_or(self.live.current)), at: *at, quality: *quality }
            }
            Raw::Refused(refusal) => return Err(refusal.clone()),
            Raw::Pods { .. } | Raw::NoVote { .. } => return Err(self.stale(metric, None)),
        };
        match self.aged(whole.at, whole.quality) {
            Quality::Unknown => Err(self.stale(metric, Some(whole.at))),
            quality => Ok(Whole { quality, ..whole }),
        }
    }

    /// The quality now: the snapshot itself ages too.
    fn aged(&self, at: Timestamp, quality: Quality) -> Quality {
        let policy = &self.snapshot.policy;
        let behind = self.now.duration_since(self.snapshot.at);
        if self.now.duration_since(at) > policy.last_known_good_bound || behind > policy.last_known_good_bound {
            Quality::Unknown
        } else if behind > policy.live_bound && quality == Quality::Live {
            Quality::LastKnownGood
        } else {
            quality
        }
    }

    fn stale(&self, metric: &str, at: Option<Timestamp>) -> Refusal {
        let workload = &self.first.workload;
        let age = at.map_or_else(
            || "no pod that counts has a sample".to_owned(),
            |at| format!("the newest value is {} s old", self.now.duration_since(at).as_secs()),
        );
        let behind = self.now.duration_since(self.snapshot.at).as_secs();
        let message =
            format!("{metric} of {workload} is unknown (Stale): {age}; the last evaluation was {behind} s ago");
        Refusal { reason: Reason::Stale, message }
    }

    // === the clamp ===

    fn decision(&self) -> Option<&'s Decision> {
        self.snapshot.decisions.get(&self.first.hpa)
    }

    fn mode(&self) -> Mode {
        self.first.rules.mode
    }

    /// One HPA that enforces is enough: the value is the same for all that ask for it.
    fn enforces(&self) -> bool {
        self.bindings.iter().any(|binding| binding.rules.mode == Mode::Enforce)
    }

    /// The states to guard against: nothing grows on old data, be it of the signal or of the capacity.
    fn guard(&self, binding: &Binding, quality: Quality) -> Guard {
        let outdated = self.now.duration_since(self.snapshot.at) > self.snapshot.policy.capacity_bound;
        let decision = self.snapshot.decisions.get(&binding.hpa).filter(|_| !outdated);
        let grant = decision.map_or(self.live.bound, |decision| decision.grant);
        let stance = decision.map_or(Stance::Hold, |decision| decision.stance);
        let guard = binding.rules.guard(&self.live, grant, stance);
        // During a rollout more is bound than asked for: that is no room to grow into either.
        if quality == Quality::Live { guard } else { Guard { grant: guard.grant.min(guard.current), ..guard } }
    }

    /// Whether the demand is above the cap, so that one metric has to propose the cap while the others vote low.
    fn carries(&self, binding: &Binding, guard: &Guard) -> bool {
        let demand = self.snapshot.decisions.get(&binding.hpa).and_then(|decision| decision.demand);
        demand.is_some_and(|demand| demand > guard.cap())
    }

    /// The lowest of what the bindings allow; one more round, since leaving one dead zone may enter another.
    fn clamp(&self, raw: Whole) -> (Clamped, Guard) {
        let mut served = Clamped { value: raw.value, effect: Effect::Raw };
        for binding in self.bindings.iter().chain(self.bindings.iter().skip(1)) {
            let Some(target) = binding.target else { continue };
            let guard = self.guard(binding, raw.quality);
            let next = self.one(binding, &guard, target, served.value);
            served = Clamped { value: next.value, effect: served.effect.max(next.effect) };
        }
        (served, self.guard(self.first, raw.quality))
    }

    fn one(&self, binding: &Binding, guard: &Guard, target: Target, raw: Milli) -> Clamped {
        let needed = self.carries(binding, guard);
        match target.kind {
            TargetKind::AverageValue => average(guard, target.value, raw, binding.carries && needed),
            TargetKind::Value => ratio(guard, target.value, raw, binding.carried && needed),
        }
    }
}
