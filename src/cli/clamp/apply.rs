//! Clamping one line: every value, by every metric of the HPA that reads it.

use anyhow::Context as _;
use plimsoll_core::{
    clamp::{
        Clamped, Effect, Guard, PodSample, Stance, apportion, average, average_proposal, pods, pods_proposal, ratio,
        ratio_proposal,
    },
    decision::{Live, Rules, Target, TargetKind},
    object::{HorizontalPodAutoscaler, hpa::MetricIdentifier, hpa::MetricTarget},
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
        desk.external(entry, &mut reasons)?;
    }
    for entry in values.pods.iter_mut().flatten() {
        desk.pods(entry, &mut reasons)?;
    }
    for entry in values.object.iter_mut().flatten() {
        desk.object(entry, &mut reasons)?;
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
    Object { kind: String, name: String },
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
    metrics: Vec<Metric<'a>>,
    /// Metrics that pass untouched.
    foreign: Vec<String>,
    live: Live,
    guard: Guard,
    /// The metric that proposes the cap while a surplus is shed.
    carrier: Option<usize>,
}

impl<'a> Desk<'a> {
    fn new(line: &'a Line, policy: &'a Policy) -> anyhow::Result<Self> {
        let selector: Selector = line.scale.selector.parse().context("scale.selector")?;
        let ours = line.pods.iter().filter(|pod| selector.matches(&pod.metadata.labels));
        let state = Live::count(&line.hpa.workload(), line.scale.spec_replicas, line.scale.status_replicas, ours);
        let capacity = &line.capacity;
        let lo = if capacity.fits.class == Class::Unknown { 0 } else { capacity.fits.lo.unwrap_or(0) };
        anyhow::ensure!(capacity.bound >= 0 && lo >= 0, "capacity.bound and capacity.fits.lo are counts of replicas");
        let grant = capacity.bound.saturating_add(lo);
        let stance = if line.policy.hold { Stance::Hold } else { Stance::Shed };
        let rules = Rules::of(&line.hpa, Mode::Enforce, policy);
        let guard = Guard { bound: capacity.bound, grant, ..rules.guard(&state, grant, stance) };
        let (metrics, foreign) = metrics(&line.hpa)?;
        let mut desk = Self { line, policy, metrics, foreign, live: state, guard, carrier: None };
        desk.carrier = desk.carrier();
        Ok(desk)
    }

    // === values ===

    fn external(&self, entry: &mut External, said: &mut Vec<Said>) -> anyhow::Result<()> {
        let selector = parsed(&entry.selector)?;
        let readers: Vec<_> = self.readers(&Kind::External, &entry.metric, Some(&selector)).collect();
        let parts: Vec<_> = entry.values.iter().map(Amount::raw).collect();
        if readers.is_empty() || parts.is_empty() {
            return Ok(());
        }
        let total = sum(&parts);
        let (value, effect, note) = self.whole(&entry.metric, &readers, total);
        let served = if value == total { parts } else { apportion(value, &parts) };
        for (amount, value) in entry.values.iter_mut().zip(served) {
            amount.serve(value);
        }
        said.push(Said { metric: format!("External {}", entry.metric), effect, note });
        Ok(())
    }

    fn object(&self, entry: &mut Object, said: &mut Vec<Said>) -> anyhow::Result<()> {
        let kind = Kind::Object { kind: entry.described.kind.clone(), name: entry.described.name.clone() };
        let selector = entry.selector.as_deref().map(parsed).transpose()?;
        let readers: Vec<_> = self.readers(&kind, &entry.metric, selector.as_ref()).collect();
        if readers.is_empty() {
            return Ok(());
        }
        let (value, effect, note) = self.whole(&entry.metric, &readers, entry.value.raw());
        entry.value.serve(value);
        said.push(Said { metric: format!("Object {}", entry.metric), effect, note });
        Ok(())
    }

    fn pods(&self, entry: &mut Pods, said: &mut Vec<Said>) -> anyhow::Result<()> {
        let selector = parsed(&entry.selector)?;
        let readers: Vec<_> = self.readers(&Kind::Pods, &entry.metric, Some(&selector)).collect();
        if readers.is_empty() || entry.values.is_empty() {
            return Ok(());
        }
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
        said.push(Said { metric: format!("Pods {}", entry.metric), effect, note: "" });
        Ok(())
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

    fn readers<'d>(
        &'d self,
        kind: &'d Kind,
        name: &'d str,
        selector: Option<&'d Selector>,
    ) -> impl Iterator<Item = (usize, &'d Metric<'a>)> {
        self.metrics.iter().enumerate().filter(move |(_, metric)| {
            metric.kind == *kind
                && metric.identifier.name == name
                && selector.is_none_or(|selector| metric.selector == *selector)
        })
    }

    /// `gpu_nodes_available` beside metrics that carry demand: a count of free nodes is no ratio of anything.
    fn has_no_vote(&self, name: &str) -> bool {
        let is_guard =
            |name: &str| self.policy.metric(name).is_some_and(|metric| metric.kind == MetricKind::CapacityGuard);
        is_guard(name)
            && (!self.foreign.is_empty() || self.metrics.iter().any(|metric| !is_guard(&metric.identifier.name)))
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
        self.metrics.iter().position(exact)
    }

    /// The largest proposal for the raw values.
    fn demand(&self) -> Option<i32> {
        let voting = self.metrics.iter().filter(|metric| !self.has_no_vote(&metric.identifier.name));
        voting.filter_map(|metric| self.proposal(metric)).max()
    }

    fn proposal(&self, metric: &Metric<'_>) -> Option<i32> {
        let target = metric.target.value;
        if metric.kind == Kind::Pods {
            let entry = self.line.values.pods.iter().flatten().find(|entry| {
                entry.metric == metric.identifier.name
                    && parsed(&entry.selector).is_ok_and(|selector| selector == metric.selector)
            })?;
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
        let name = &metric.identifier.name;
        match &metric.kind {
            Kind::External => {
                let same = |entry: &&External| {
                    entry.metric == *name && parsed(&entry.selector).is_ok_and(|selector| selector == metric.selector)
                };
                let entry = external.iter().flatten().find(same).filter(|entry| !entry.values.is_empty())?;
                Some(sum(&entry.values.iter().map(Amount::raw).collect::<Vec<_>>()))
            }
            Kind::Object { kind, name: object_name } => {
                let same = |entry: &&Object| {
                    entry.metric == *name && entry.described.kind == *kind && entry.described.name == *object_name
                };
                object.iter().flatten().find(same).map(|entry: &Object| entry.value.raw())
            }
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
        if !self.foreign.is_empty() {
            parts.push(format!("{} not served by us: it escapes the cap", self.foreign.join(", ")));
        }
        let min = self.line.hpa.spec.min_replicas.unwrap_or(1);
        if min > self.guard.cap() {
            parts.push(format!("minReplicas {min} is above the cap: the HPA enforces it all the same"));
        }
        parts.join("; ")
    }
}

fn parsed(selector: &str) -> anyhow::Result<Selector> {
    Ok(selector.parse::<Selector>()?.normalized())
}

fn sum(parts: &[Milli]) -> Milli {
    Milli(parts.iter().fold(0_i64, |sum, part| sum.saturating_add(part.0)))
}

/// The metrics of an HPA that are clamped, and the names of the others.
fn metrics(hpa: &HorizontalPodAutoscaler) -> anyhow::Result<(Vec<Metric<'_>>, Vec<String>)> {
    let mut metrics = Vec::new();
    let mut foreign = Vec::new();
    for spec in &hpa.spec.metrics {
        let of = if let (Some(external), "External") = (&spec.external, spec.kind.as_str()) {
            Some((Kind::External, &external.metric, &external.target))
        } else if let (Some(pods), "Pods") = (&spec.pods, spec.kind.as_str()) {
            Some((Kind::Pods, &pods.metric, &pods.target))
        } else if let (Some(object), "Object") = (&spec.object, spec.kind.as_str()) {
            let described = &object.described_object;
            let kind = Kind::Object { kind: described.kind.clone(), name: described.name.clone() };
            Some((kind, &object.metric, &object.target))
        } else {
            None
        };
        match of {
            Some((kind, identifier, target)) => metrics.push(metric(kind, identifier, target)?),
            None => foreign.push(format!("{} metric", spec.kind)),
        }
    }
    if hpa.spec.metrics.is_empty() {
        foreign.push("the default Resource metric (cpu at 80 %)".to_owned());
    }
    Ok((metrics, foreign))
}

fn metric<'a>(kind: Kind, identifier: &'a MetricIdentifier, target: &MetricTarget) -> anyhow::Result<Metric<'a>> {
    let name = &identifier.name;
    let selector = identifier.selector.as_ref().map_or_else(|| Ok(Selector::default()), Selector::try_from);
    let selector = selector.with_context(|| format!("the selector of metric {name}"))?.normalized();
    let target = Target::of(target)
        .with_context(|| format!("metric {name} needs a target of type AverageValue or Value above 0"))?;
    anyhow::ensure!(
        kind != Kind::Pods || target.kind == TargetKind::AverageValue,
        "metric {name} of type Pods needs a target of type AverageValue"
    );
    Ok(Metric { kind, identifier, selector, target })
}

#[cfg(test)]
mod tests;
