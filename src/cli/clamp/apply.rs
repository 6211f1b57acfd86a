//! Clamping one line: every value, by every metric of the HPA that reads it.

use anyhow::Context as _;
use plimsoll_core::{
    clamp::{
        Clamped, Effect, Guard, PodSample, Stance, apportion, average, average_proposal, pods, pods_proposal, ratio,
        ratio_proposal,
    },
    decision::{Live, Rules, Target, TargetKind},
    hpa,
    object::{
        HorizontalPodAutoscaler,
        hpa::{MetricIdentifier, MetricTarget, ObjectReference},
    },
    policy::{MetricKind, Mode, Policy},
    quantity::Milli,
    selector::Selector,
};

use super::shape::{Amount, Answer, Class, External, Line, Object, Pods, Values};

/// Answers one line.
pub(super) fn clamp(line: &Line, policy: &Policy) -> anyhow::Result<Answer> {
    let mut values = line.values.clone();
    let desk = Desk::new(line, policy)?;
    let mut reasons = Vec::new();
    for entry in values.external.iter_mut().flatten() {
        desk.external(entry, &mut reasons);
    }
    for entry in values.pods.iter_mut().flatten() {
        desk.pods(entry, &mut reasons);
    }
    for entry in values.object.iter_mut().flatten() {
        desk.object(entry, &mut reasons);
    }
    let clamped = values.is_changed();
    Ok(Answer { values, cap: desk.guard.cap(), clamped, reason: desk.reason(&reasons) })
}

/// A metric of the HPA, whichever type it is of.
struct Metric<'a> {
    kind: Kind,
    identifier: &'a MetricIdentifier,
    selector: Selector,
    target: Target,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    External,
    Pods,
    /// By kind and name; the first name for which there is a value is the one that is read.
    Object {
        kind: String,
        names: Vec<String>,
    },
}

/// The metrics of an HPA.
#[derive(Default)]
struct Metrics<'a> {
    clamped: Vec<Metric<'a>>,
    /// Names of those that somebody else serves.
    foreign: Vec<String>,
    /// Why others pass untouched.
    unusable: Vec<String>,
}

/// What became of one value, for the reason.
struct Said {
    metric: String,
    effect: Effect,
    note: &'static str,
}

/// One line, prepared.
struct Desk<'a> {
    line: &'a Line,
    policy: &'a Policy,
    metrics: Metrics<'a>,
    live: Live,
    guard: Guard,
    /// The metric that proposes the cap while a surplus is shed.
    carrier: Option<usize>,
}

impl<'a> Desk<'a> {
    fn new(line: &'a Line, policy: &'a Policy) -> anyhow::Result<Self> {
        let selector: Selector = line.scale.selector.parse().context("scale.selector")?;
        let ours = hpa::pods_of(&line.pods, hpa::namespace_of(&line.hpa), &selector);
        let workload = line.hpa.workload();
        let state = Live::count(&workload, line.scale.spec_replicas, line.scale.status_replicas, ours.into_iter());
        let capacity = &line.capacity;
        let lo = if capacity.fits.class == Class::Unknown { 0 } else { capacity.fits.lo.unwrap_or(0) };
        anyhow::ensure!(capacity.bound >= 0 && lo >= 0, "capacity.bound and capacity.fits.lo are counts of replicas");
        let replicas = |count: i64| i32::try_from(count).unwrap_or(i32::MAX);
        let bound = replicas(capacity.bound);
        let grant = bound.saturating_add(replicas(lo));
        let stance = if line.policy.hold { Stance::Hold } else { Stance::Shed };
        let guard = Rules::of(&line.hpa, Mode::Enforce, policy).guard(&state, grant, stance);
        // An HPA that says no maximum is none that stops growth.
        let max_replicas = if guard.max_replicas > 0 { guard.max_replicas } else { i32::MAX };
        let guard = Guard { bound, grant, max_replicas, ..guard };
        let mut desk = Self { line, policy, metrics: Metrics::of(&line.hpa), live: state, guard, carrier: None };
        desk.carrier = desk.carrier();
        Ok(desk)
    }

    // === values ===

    fn external(&self, entry: &mut External, said: &mut Vec<Said>) {
        let readers = self.readers(|metric| metric.reads(&Kind::External, &entry.metric, &entry.selector));
        let parts: Vec<_> = entry.values.iter().map(Amount::measured).collect();
        if readers.is_empty() || parts.is_empty() {
            return;
        }
        let total = sum(&parts);
        let servable = parts.iter().all(|part| *part == part.servable());
        let (value, effect, note) = self.whole(&entry.metric, &readers, total);
        let served = if value == total && servable { parts } else { apportion(value, &parts) };
        for (amount, value) in entry.values.iter_mut().zip(served) {
            amount.serve(value);
        }
        said.push(Said::of("External", &entry.metric, effect, note, servable));
    }

    fn object(&self, entry: &mut Object, said: &mut Vec<Said>) {
        let readers = self.readers(|metric| metric.reads_object(entry));
        if readers.is_empty() {
            return;
        }
        let servable = entry.value.measured() == entry.value.raw();
        let (value, effect, note) = self.whole(&entry.metric, &readers, entry.value.raw());
        entry.value.serve(value);
        said.push(Said::of("Object", &entry.metric, effect, note, servable));
    }

    fn pods(&self, entry: &mut Pods, said: &mut Vec<Said>) {
        let readers = self.readers(|metric| metric.reads(&Kind::Pods, &entry.metric, &entry.selector));
        if readers.is_empty() || entry.values.is_empty() {
            return;
        }
        let servable = entry.values.values().all(|value| value.measured() == value.raw());
        let (mut samples, missing) = self.samples(entry);
        let mut effect = Effect::Raw;
        for (index, metric) in readers.iter().chain(readers.iter().skip(1)) {
            let carried = self.carrier.is_some_and(|carrier| carrier != *index);
            let (values, next) =
                pods(&self.guard, metric.target.value, &samples, missing, self.live.unready(), carried);
            samples = samples.iter().zip(values).map(|(sample, value)| PodSample { value, ..*sample }).collect();
            effect = effect.max(next);
        }
        for (value, sample) in entry.values.values_mut().zip(&samples) {
            value.serve(sample.value);
        }
        said.push(Said::of("Pods", &entry.metric, effect, "", servable));
    }

    fn samples(&self, entry: &Pods) -> (Vec<PodSample>, usize) {
        self.live.samples(entry.values.iter().map(|(name, value)| (name.as_str(), value.raw())))
    }

    fn whole(&self, name: &str, readers: &[(usize, &Metric<'_>)], raw: Milli) -> (Milli, Effect, &'static str) {
        if self.has_no_vote(name) {
            let effect = if raw.0 == 0 { Effect::Raw } else { Effect::Capped };
            return (Milli(0), effect, "no vote beside metrics that carry demand");
        }
        let mut served = Clamped { value: raw, effect: Effect::Raw };
        for (index, metric) in readers.iter().chain(readers.iter().skip(1)) {
            let next = self.one(*index, metric, served.value);
            served = Clamped { value: next.value, effect: served.effect.max(next.effect) };
        }
        (served.value, served.effect, "")
    }

    fn one(&self, index: usize, metric: &Metric<'_>, raw: Milli) -> Clamped {
        let target = metric.target.value;
        match metric.target.kind {
            TargetKind::AverageValue => average(&self.guard, target, raw, self.carrier == Some(index)),
            TargetKind::Value => ratio(&self.guard, target, raw, self.carrier.is_some_and(|carrier| carrier != index)),
        }
    }

    // === which metric reads what ===

    fn readers(&self, reads: impl Fn(&Metric<'_>) -> bool) -> Vec<(usize, &Metric<'a>)> {
        self.metrics.clamped.iter().enumerate().filter(|(_, metric)| reads(metric)).collect()
    }

    /// `gpu_nodes_available` beside metrics that carry demand: a count of free nodes is no ratio of anything.
    fn has_no_vote(&self, name: &str) -> bool {
        let is_guard =
            |name: &str| self.policy.metric(name).is_some_and(|metric| metric.kind == MetricKind::CapacityGuard);
        is_guard(name)
            && (!self.metrics.foreign.is_empty()
                || self.metrics.clamped.iter().any(|metric| !is_guard(&metric.identifier.name)))
    }

    /// While a surplus is shed and more than the cap is asked for: the first metric that can propose the cap exactly.
    fn carrier(&self) -> Option<usize> {
        if !self.guard.sheds() || self.demand().is_none_or(|demand| demand <= self.guard.cap()) {
            return None;
        }
        let exact = |metric: &Metric<'_>| {
            metric.target.kind == TargetKind::AverageValue
                && metric.kind != Kind::Pods
                && !self.has_no_vote(&metric.identifier.name)
                && self.raw(metric).is_some()
        };
        self.metrics.clamped.iter().position(exact)
    }

    /// The largest proposal for the raw values.
    fn demand(&self) -> Option<i32> {
        let voting = self.metrics.clamped.iter().filter(|metric| !self.has_no_vote(&metric.identifier.name));
        voting.filter_map(|metric| self.proposal(metric)).max()
    }

    fn proposal(&self, metric: &Metric<'_>) -> Option<i32> {
        let target = metric.target.value;
        if metric.kind == Kind::Pods {
            let mut entries = self.line.values.pods.iter().flatten();
            let entry = entries.find(|entry| metric.reads(&Kind::Pods, &entry.metric, &entry.selector))?;
            let (samples, missing) = self.samples(entry);
            return pods_proposal(&self.guard, target, &samples, missing, self.live.unready());
        }
        let raw = self.raw(metric)?;
        Some(match metric.target.kind {
            TargetKind::AverageValue => average_proposal(&self.guard, target, raw),
            TargetKind::Value => ratio_proposal(&self.guard, target, raw),
        })
    }

    /// The raw sum that an External or Object metric reads, if there is one.
    fn raw(&self, metric: &Metric<'_>) -> Option<Milli> {
        let Values { external, object, .. } = &self.line.values;
        match &metric.kind {
            Kind::External => {
                let same = |entry: &&External| metric.reads(&Kind::External, &entry.metric, &entry.selector);
                let entry = external.iter().flatten().find(same).filter(|entry| !entry.values.is_empty())?;
                Some(sum(&entry.values.iter().map(Amount::measured).collect::<Vec<_>>()))
            }
            Kind::Object { names, .. } => names.iter().find_map(|name| {
                let same = |entry: &&Object| entry.described.name == *name && metric.reads_object(entry);
                object.iter().flatten().find(same).map(|entry: &Object| entry.value.raw())
            }),
            Kind::Pods => None,
        }
    }

    // === the reason ===

    fn reason(&self, said: &[Said]) -> String {
        let Guard { current, grant, bound, .. } = self.guard;
        let class = match self.line.capacity.fits.class {
            Class::Unknown => "; what fits is not known, so nothing is granted beyond it",
            Class::Exact | Class::Interval => "",
        };
        let stance = if self.guard.sheds() {
            format!("{} replicas of surplus are shed", current.saturating_sub(grant))
        } else if current > grant {
            format!("{} replicas of surplus are held", current.saturating_sub(grant))
        } else {
            "no surplus".to_owned()
        };
        let mut parts = vec![format!("grant {grant} (bound {bound}){class}; {stance}")];
        parts.extend(said.iter().map(|said| match said.note {
            "" => format!("{}: {}", said.metric, said.effect.as_str()),
            note => format!("{}: {note}", said.metric),
        }));
        let Metrics { foreign, unusable, .. } = &self.metrics;
        if !foreign.is_empty() {
            parts.push(format!("{} not served by us: it escapes the cap", foreign.join(", ")));
        }
        parts.extend(unusable.iter().map(|why| format!("{why}: its value passes untouched")));
        let min = self.line.hpa.spec.min_replicas.unwrap_or(1);
        if min > self.guard.cap() {
            parts.push(format!("minReplicas {min} is above the cap: the HPA enforces it all the same"));
        }
        parts.join("; ")
    }
}

/// The sum, bounded to what may be handed to an HPA only when it is whole.
fn sum(parts: &[Milli]) -> Milli {
    let total: i128 = parts.iter().map(|part| i128::from(part.0)).sum();
    Milli(i64::try_from(total.max(0)).unwrap_or(i64::MAX)).servable()
}

// === impl Said ===

impl Said {
    fn of(kind: &str, metric: &str, effect: Effect, note: &'static str, servable: bool) -> Self {
        let bounded = effect == Effect::Raw && note.is_empty() && !servable;
        let note = if bounded { "bounded, as no value below 0 or above 1e12 is served" } else { note };
        Self { metric: format!("{kind} {metric}"), effect, note }
    }
}

// === impl Metrics ===

impl<'a> Metrics<'a> {
    fn of(hpa: &'a HorizontalPodAutoscaler) -> Self {
        let mut metrics = Self::default();
        for spec in &hpa.spec.metrics {
            let of = if let (Some(external), "External") = (&spec.external, spec.kind.as_str()) {
                Some((Kind::External, &external.metric, &external.target))
            } else if let (Some(pods), "Pods") = (&spec.pods, spec.kind.as_str()) {
                Some((Kind::Pods, &pods.metric, &pods.target))
            } else if let (Some(object), "Object") = (&spec.object, spec.kind.as_str()) {
                Some((Kind::of_object(&object.described_object, hpa), &object.metric, &object.target))
            } else {
                None
            };
            match of.map(|(kind, identifier, target)| Metric::of(kind, identifier, target)) {
                Some(Ok(metric)) => metrics.clamped.push(metric),
                Some(Err(error)) => metrics.unusable.push(format!("{error:#}")),
                None => metrics.foreign.push(format!("{} metric", spec.kind)),
            }
        }
        if hpa.spec.metrics.is_empty() {
            metrics.foreign.push("the default Resource metric (cpu at 80 %)".to_owned());
        }
        metrics
    }
}

impl Kind {
    /// A Namespace is asked for by the HPA's own, whatever name the HPA gives; an API that serves it by name is obeyed.
    fn of_object(described: &ObjectReference, hpa: &HorizontalPodAutoscaler) -> Self {
        let mut names = vec![described.name.clone()];
        if described.kind == "Namespace" && !described.api_version.contains('/') {
            names.insert(0, hpa::namespace_of(hpa).to_owned());
        }
        Self::Object { kind: described.kind.clone(), names }
    }

    fn target(&self, target: &MetricTarget) -> Option<Target> {
        let source = match self {
            Self::Object { .. } => "Object",
            Self::External => "External",
            Self::Pods => "Pods",
        };
        Target::of(source, target)
    }
}

impl<'a> Metric<'a> {
    fn of(kind: Kind, identifier: &'a MetricIdentifier, target: &MetricTarget) -> anyhow::Result<Self> {
        let name = &identifier.name;
        let selector = identifier.selector.as_ref().map_or_else(|| Ok(Selector::default()), Selector::try_from);
        let selector = selector.with_context(|| format!("the selector of metric {name}"))?.normalized();
        let wanted = if kind == Kind::Pods { "AverageValue" } else { "AverageValue or Value" };
        let target =
            kind.target(target).with_context(|| format!("metric {name} needs a target of type {wanted} above 0"))?;
        Ok(Self { kind, identifier, selector, target })
    }

    /// Whether it reads the values of that name and selector; a text that is no selector selects nothing.
    fn reads(&self, kind: &Kind, name: &str, selector: &str) -> bool {
        let same = |selector: Selector| selector.normalized() == self.selector;
        self.kind == *kind && self.identifier.name == name && selector.parse::<Selector>().is_ok_and(same)
    }

    fn reads_object(&self, entry: &Object) -> bool {
        let Kind::Object { kind, names } = &self.kind else { return false };
        let described = &entry.described;
        self.identifier.name == entry.metric && *kind == described.kind && names.contains(&described.name)
    }
}

#[cfg(test)]
mod tests;
