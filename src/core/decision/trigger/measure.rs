//! Measuring the triggers of one object.

use jiff::{SignedDuration, Timestamp};

use super::{State, scaled::Ours};
use crate::{
    answer::{Reason, Refusal},
    clamp::{Guard, average_proposal, ratio_proposal},
    decision::{Raw, TargetKind, demand, demand::Measured},
    quantity::Milli,
    signal::{GPU_UTILIZATION, LATENCY_P99, QUEUE_LENGTH, Quality, Sample},
    trigger::{Aggregation, Combine, Composite, ONE_REPLICA, OnMissing, Part, Query, Signal, Trigger},
};

/// A trigger, measured.
pub(in super::super) struct Trial {
    /// The raw value.
    pub(in super::super) raw: Raw,
    /// Ready pods whose sample was assumed.
    pub(in super::super) imputed: u32,
    /// What is known of it beside its value.
    pub(in super::super) state: State,
}

/// A value of the whole workload.
#[derive(Clone, Copy)]
struct Whole {
    value: Milli,
    at: Timestamp,
    quality: Quality,
}

/// A measurement and how many samples in it were assumed.
struct Summed {
    raw: Raw,
    imputed: u32,
}

/// One object's triggers and what they are measured in.
pub(in super::super) struct Trials<'a, 'v> {
    pub(in super::super) measured: &'a Measured<'a, 'v>,
    pub(in super::super) guard: &'a Guard,
    /// See [`Scaled::keeps`](super::Scaled).
    pub(in super::super) keeps: bool,
}

impl Trials<'_, '_> {
    /// Measures one trigger.
    pub(in super::super) fn of(&self, ours: &Ours) -> Trial {
        let trigger = &*ours.trigger;
        let Summed { raw, imputed } = self.raw(trigger);
        let raw = self.missing(trigger, raw);
        let state = State {
            activity: self.activity(trigger, &raw),
            above: (trigger.signal != Signal::Capacity).then_some(trigger.activation),
            warming_until: self.warming_until(trigger),
            clamp: trigger.clamp,
            keeps: self.keeps && trigger.on_missing == OnMissing::Hold,
        };
        Trial { raw, imputed, state }
    }

    /// Whether there is nobody to ask.
    fn is_empty(&self) -> bool {
        self.measured.live.current == 0 && self.measured.live.matching == 0
    }

    fn raw(&self, trigger: &Trigger) -> Summed {
        let plain = |raw| Summed { raw, imputed: 0 };
        match &trigger.signal {
            Signal::Capacity => {
                let max = self.guard.max_replicas.max(0);
                plain(whole(replicas(max), self.measured.now, Quality::Live))
            }
            Signal::QueueLength { aggregation, .. } => self.queue(trigger, *aggregation),
            Signal::GpuUtilization { .. } | Signal::Latency { .. } if self.is_empty() => plain(self.wanted(trigger)),
            Signal::GpuUtilization { aggregation, .. } => self.pods(trigger, GPU_UTILIZATION, *aggregation),
            Signal::Latency { threshold } => plain(match self.latency(trigger) {
                Ok(known) => {
                    let count = ratio_proposal(self.guard, *threshold, known.value);
                    whole(replicas(count), known.at, known.quality)
                }
                Err(refusal) => Raw::Refused(refusal),
            }),
            Signal::Composite(parts) => plain(self.composite(trigger, parts)),
        }
    }

    /// What waits: as the query says, else as the pods say.
    fn queue(&self, trigger: &Trigger, aggregation: Aggregation) -> Summed {
        match &trigger.query {
            Some(query) => Summed { raw: self.asked(trigger, query), imputed: 0 },
            None if self.is_empty() => Summed { raw: Raw::Refused(nobody(trigger)), imputed: 0 },
            None => self.pods(trigger, QUEUE_LENGTH, aggregation),
        }
    }

    /// The answer to a trigger's own query.
    fn asked(&self, trigger: &Trigger, query: &Query) -> Raw {
        let key = (self.measured.workload.namespace.clone(), query.clone());
        match self.measured.signals.demands.get(&key) {
            Some(Ok(Sample { value, at, quality: quality @ (Quality::Live | Quality::LastKnownGood) })) => {
                whole(value.servable(), *at, *quality)
            }
            Some(Err(reason)) => {
                let message = format!("{} is unknown (SourceDown): its query fails: {reason}", trigger.metric_name);
                Raw::Refused(Refusal { reason: Reason::SourceDown, message })
            }
            Some(Ok(sample)) => {
                let age = self.measured.now.duration_since(sample.at).as_secs();
                let message =
                    format!("{} is unknown (Stale): its query was last answered {age} s ago", trigger.metric_name);
                Raw::Refused(Refusal { reason: Reason::Stale, message })
            }
            None => {
                let message =
                    format!("{} is unknown (NotReady): its query has not been asked yet", trigger.metric_name);
                Raw::Refused(Refusal { reason: Reason::NotReady, message })
            }
        }
    }

    /// Without pods only the query can tell of demand: one replica's worth, if there is any.
    fn wanted(&self, trigger: &Trigger) -> Raw {
        let Some(query) = &trigger.query else { return Raw::Refused(nobody(trigger)) };
        match self.asked(trigger, query) {
            Raw::Whole { value, at, quality } if value > trigger.activation => whole(trigger.target(), at, quality),
            Raw::Whole { at, quality, .. } => whole(Milli(0), at, quality),
            other => other,
        }
    }

    /// A signal of the pods: sums count those without a sample as the mean, the rest belongs to each replica.
    fn pods(&self, trigger: &Trigger, signal: &str, aggregation: Aggregation) -> Summed {
        let sum = self.measured.sum(&trigger.metric_name, signal);
        let imputed = sum.imputed;
        if matches!(aggregation, Aggregation::Sum | Aggregation::Average) || matches!(sum.raw, Raw::Refused(_)) {
            return Summed { raw: sum.raw, imputed };
        }
        let raw = match self.measured.each(&trigger.metric_name, signal) {
            Raw::Pods { samples, quality } => {
                let values: Vec<_> = samples.values().map(|sample| sample.value).collect();
                let at = demand::oldest(&samples).unwrap_or(self.measured.now);
                Raw::Each { value: aggregated(values, aggregation).servable(), at, quality }
            }
            other => other,
        };
        Summed { raw, imputed }
    }

    fn latency(&self, trigger: &Trigger) -> Result<Whole, Refusal> {
        let sample = self.measured.whole(&trigger.metric_name, LATENCY_P99)?;
        Ok(Whole { value: sample.value.servable(), at: sample.at, quality: sample.quality })
    }

    /// What each part proposes by the HPA's own rule, taken together. As in an HPA, a part that is not known keeps the
    /// others from shrinking the workload; without any known part there is no value.
    fn composite(&self, trigger: &Trigger, parts: &Composite) -> Raw {
        let pods = !self.is_empty();
        let sum = |signal| match self.pods(trigger, signal, Aggregation::Sum).raw {
            Raw::Whole { value, at, quality } => Ok(Whole { value, at, quality }),
            Raw::Refused(refusal) => Err(refusal),
            _ => Err(nobody(trigger)),
        };
        let queue = || match self.queue(trigger, Aggregation::Sum).raw {
            Raw::Whole { value, at, quality } => Ok(Whole { value, at, quality }),
            Raw::Refused(refusal) => Err(refusal),
            _ => Err(nobody(trigger)),
        };
        let average = |part: Part, known: Whole| average_proposal(self.guard, part.threshold, known.value);
        let ratio = |part: Part, known: Whole| ratio_proposal(self.guard, part.threshold, known.value);
        let mut proposals = Vec::new();
        if let Some(part) = parts.queue {
            proposals.push((part, queue().map(|known| (average(part, known), known))));
        } else if !pods {
            return self.wanted(trigger);
        }
        if let Some(part) = parts.gpu.filter(|_| pods) {
            proposals.push((part, sum(GPU_UTILIZATION).map(|known| (average(part, known), known))));
        }
        if let Some(part) = parts.latency.filter(|_| pods) {
            proposals.push((part, self.latency(trigger).map(|known| (ratio(part, known), known))));
        }
        together(proposals, parts.combine, self.measured.live.current)
    }

    /// What stands in for a value that is not known, or not any more.
    fn missing(&self, trigger: &Trigger, raw: Raw) -> Raw {
        let old = match &raw {
            Raw::Whole { at, quality: Quality::LastKnownGood, .. }
            | Raw::Each { at, quality: Quality::LastKnownGood, .. } => Some(*at),
            _ => None,
        };
        let age = old.map(|at| self.measured.now.duration_since(at));
        let bound = if trigger.on_missing == OnMissing::Hold { trigger.stale_after } else { SignedDuration::ZERO };
        let raw = match age.filter(|age| *age > bound) {
            Some(age) => {
                let message =
                    format!("{} is unknown (Stale): the newest value is {} s old", trigger.metric_name, age.as_secs());
                Raw::Refused(Refusal { reason: Reason::Stale, message })
            }
            None => raw,
        };
        match raw {
            Raw::Refused(_) if trigger.on_missing == OnMissing::Zero => {
                whole(Milli(0), self.measured.now, Quality::Live)
            }
            raw => raw,
        }
    }

    /// What is compared with the activation value: the value as people think of it, not as the HPA divides it.
    fn activity(&self, trigger: &Trigger, raw: &Raw) -> Result<Milli, Refusal> {
        match (raw, &trigger.signal) {
            (Raw::Refused(refusal), _) => Err(refusal.clone()),
            (Raw::Whole { .. }, Signal::Latency { .. }) if !self.is_empty() => {
                self.latency(trigger).map(|known| known.value)
            }
            (Raw::Whole { value, .. }, Signal::GpuUtilization { .. }) if !self.is_empty() => {
                Ok(Milli(value.0 / i64::from(self.measured.live.ready.max(1))))
            }
            // One replica's worth stands for demand above the activation value, and 0 for none.
            (Raw::Whole { value, .. }, signal) if self.is_empty() && !signal.counts_waiting() => {
                Ok(if value.0 > 0 { Milli(trigger.activation.0.saturating_add(1)) } else { Milli(0) })
            }
            (Raw::Whole { value, .. } | Raw::Each { value, .. }, _) => Ok(*value),
            (Raw::Pods { .. } | Raw::NoVote { .. } | Raw::Replicas { .. }, _) => Ok(Milli(0)),
        }
    }

    /// Until when a replica that loads its model keeps the trigger active.
    fn warming_until(&self, trigger: &Trigger) -> Option<Timestamp> {
        let warmup = trigger.warmup.filter(|_| trigger.signal != Signal::Capacity)?;
        let own = self.measured.pods().iter().map(|(_, pod)| *pod);
        let loading = own.filter(|pod| !pod.is_terminal() && !pod.is_terminating() && !pod.is_ready());
        loading.filter_map(|pod| Timestamp::from(pod.metadata.creation_timestamp?).checked_add(warmup).ok()).max()
    }
}

fn whole(value: Milli, at: Timestamp, quality: Quality) -> Raw {
    Raw::Whole { value, at, quality }
}

/// So many replicas as a value with a target of one.
fn replicas(count: i32) -> Milli {
    Milli(i64::from(count) * ONE_REPLICA.0)
}

fn nobody(trigger: &Trigger) -> Refusal {
    let message = format!(
        "{} is unknown (NoData): there is no replica that could be asked; give the trigger serverAddress and query, or \
         its object a minimum of 1",
        trigger.metric_name
    );
    Refusal { reason: Reason::NoData, message }
}

/// The values of several replicas as one; the caller has some.
fn aggregated(mut values: Vec<Milli>, aggregation: Aggregation) -> Milli {
    values.sort_unstable();
    let last = values.len().saturating_sub(1);
    let index = match aggregation {
        Aggregation::Min => 0,
        Aggregation::P95 => (values.len() * 95).div_ceil(100).saturating_sub(1),
        Aggregation::Max | Aggregation::Sum | Aggregation::Average => last,
    };
    values.get(index).copied().unwrap_or_default()
}

/// A part of a composite signal and what it proposes, or why it does not.
type Proposed = (Part, Result<(i32, Whole), Refusal>);

/// The proposals of the parts in one replica count.
fn together(proposals: Vec<Proposed>, combine: Combine, current: i32) -> Raw {
    let mut known = Vec::new();
    let mut refusal = None;
    for (part, proposal) in proposals {
        match proposal {
            Ok((count, whole)) => known.push((part, count, whole)),
            Err(refused) => refusal = refusal.or(Some(refused)),
        }
    }
    let at = known.iter().map(|(_, _, whole)| whole.at).min();
    let quality = known.iter().map(|(_, _, whole)| whole.quality).max();
    let (Some(at), Some(quality)) = (at, quality) else {
        let message = "the trigger has no part".to_owned();
        return Raw::Refused(refusal.unwrap_or(Refusal { reason: Reason::BadRequest, message }));
    };
    let count = match combine {
        Combine::Max => known.iter().map(|(_, count, _)| *count).max().unwrap_or(0),
        Combine::Weighted => weighted(&known),
    };
    let count = if refusal.is_some() { count.max(current) } else { count };
    whole(replicas(count), at, quality)
}

/// The weighted mean, rounded up.
fn weighted(known: &[(Part, i32, Whole)]) -> i32 {
    let weights: i128 = known.iter().map(|(part, ..)| i128::from(part.weight.0)).sum();
    let total: i128 = known.iter().map(|(part, count, _)| i128::from(part.weight.0) * i128::from(*count)).sum();
    let mean = (total + weights - 1).checked_div(weights).unwrap_or(0);
    i32::try_from(mean).unwrap_or(i32::MAX)
}

/// What the HPA proposes for a trigger's raw value.
pub(in super::super) fn proposal(guard: &Guard, ours: &Ours, raw: &Raw, reported: i32) -> Option<i32> {
    if ours.trigger.signal == Signal::Capacity {
        return None;
    }
    let value = match raw {
        Raw::Whole { value, .. } => *value,
        Raw::Each { value, .. } => demand::times(*value, reported),
        Raw::Pods { .. } | Raw::NoVote { .. } | Raw::Replicas { .. } | Raw::Refused(_) => return None,
    };
    Some(match ours.target.kind {
        TargetKind::AverageValue => average_proposal(guard, ours.target.value, value),
        TargetKind::Value => ratio_proposal(guard, ours.target.value, value),
    })
}
