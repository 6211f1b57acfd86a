//! From signals to raw values: what a workload's pods report, summed as an HPA expects it.
//!
//! An HPA divides External values by the replicas, so they are sums over the workload's pods. A Ready pod without a
//! sample counts as the mean of the others, so that a missing scrape neither lowers nor raises the proposal; with too
//! few samples there is no value at all. Unknown is an error, never 0.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, btree_map::Range},
    iter::Peekable,
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};

use super::{
    Live, Raw,
    live::standing,
    sources::{Sources, public_name},
};
use crate::{
    answer::{Reason, Refusal},
    clamp::Standing,
    cluster::Census,
    object::{ObjectKey, Pod, Text, WorkloadKey, owner::may_own},
    policy::Policy,
    quantity::{MILLI_MAX, Milli},
    signal::{GPU_UTILIZATION, Quality, Sample, Signals},
};

/// Failing sources that a message names.
const NAMED_SOURCES: usize = 2;

/// How long after it has become Ready a pod may be without a sample of a DCGM exporter: that collects every 30 s
/// (`DCGM_EXPORTER_INTERVAL`, default of dcgm-exporter), and is scraped some time after.
const FIRST_GPU_SAMPLE: SignedDuration = SignedDuration::from_secs(45);

/// A workload and what is measured of it.
pub(super) struct Measured<'a, 'v> {
    pub(super) workload: &'a WorkloadKey,
    pub(super) census: &'a Census<'v>,
    pub(super) sources: &'a Sources<'a, 'v>,
    pub(super) live: &'a Live,
    pub(super) signals: &'a Signals,
    pub(super) policy: &'a Policy,
    pub(super) now: Timestamp,
}

/// A sum over the pods.
pub(super) struct Sum {
    pub(super) raw: Raw,
    /// Ready pods whose sample was assumed.
    pub(super) imputed: u32,
}

/// The samples of the pods that count.
struct Known<'a> {
    samples: Vec<(&'a Text, Sample)>,
    /// Ready pods that have been so for long enough to have been measured, or have been.
    expected: usize,
    /// Ready pods with a sample.
    ready: usize,
    /// Ready pods without one.
    missing: usize,
    /// Ready pods with a live sample.
    live: usize,
}

/// A map in which keys are looked up in their order: the next one is mostly near.
struct Walk<'m, V> {
    map: &'m BTreeMap<ObjectKey, V>,
    next: Peekable<Range<'m, ObjectKey, V>>,
}

/// Steps that are cheaper than looking a key up.
const STEPS: usize = 4;

impl<'m, V> Walk<'m, V> {
    fn new(map: &'m BTreeMap<ObjectKey, V>) -> Self {
        Self { map, next: map.range(..).peekable() }
    }

    /// The value of a key that is not before those that were asked for.
    fn find(&mut self, key: &ObjectKey) -> Option<&'m V> {
        for _ in 0..STEPS {
            let (next, value) = self.next.peek()?;
            match (*next).cmp(key) {
                Ordering::Less => _ = self.next.next(),
                Ordering::Equal => return Some(*value),
                Ordering::Greater => return None,
            }
        }
        self.next = self.map.range(key..).peekable();
        self.next.peek().filter(|(next, _)| *next == key).map(|(_, value)| *value)
    }
}

impl<'v> Measured<'_, 'v> {
    /// The pods that the workload's selector matches.
    pub(super) fn pods(&self) -> &[(&'v ObjectKey, &'v Pod)] {
        self.census.matching(self.workload)
    }

    /// The sum of a signal over the workload's own pods.
    pub(super) fn sum(&self, metric: &str, signal: &str) -> Sum {
        let known = self.known(signal, |pod| may_own(self.workload, pod));
        if !known.suffices(self.policy.min_coverage) {
            return Sum { raw: Raw::Refused(self.refuse(metric, signal, &known)), imputed: 0 };
        }
        let total: i128 = known.samples.iter().map(|(_, sample)| i128::from(sample.value.0)).sum();
        let missing = known.missing;
        let count = i128::try_from(known.samples.len()).unwrap_or(i128::MAX);
        let assumed = (total * i128::try_from(missing).unwrap_or(0) + count - 1).checked_div(count).unwrap_or(0);
        let value = Milli(i64::try_from(total + assumed).unwrap_or(MILLI_MAX)).servable();
        let raw = Raw::Whole { value, at: known.oldest().unwrap_or(self.now), quality: known.quality(self.policy) };
        Sum { raw, imputed: u32::try_from(missing).unwrap_or(u32::MAX) }
    }

    /// The samples of a signal by pod, for a controller that asks by selector; pods without data are left out.
    pub(super) fn each(&self, metric: &str, signal: &str) -> Raw {
        let known = self.known(signal, |_| true);
        if known.samples.is_empty() {
            return Raw::Refused(self.refuse(metric, signal, &known));
        }
        let quality = known.quality(self.policy);
        let samples = known.samples.into_iter().map(|(name, sample)| (name.clone(), sample)).collect();
        Raw::Pods { samples: Arc::new(samples), quality }
    }

    /// The sample of a signal that belongs to the whole workload.
    pub(super) fn whole(&self, metric: &str, signal: &str) -> Result<Sample, Refusal> {
        let sample = self.signals.workloads.get(signal).and_then(|workloads| workloads.get(self.workload));
        match sample.filter(|sample| usable(sample)) {
            Some(sample) => Ok(*sample),
            None => Err(self.refusal(metric, signal, sample.map(|sample| sample.at), "there is no usable sample")),
        }
    }

    /// The samples of a signal, if any pod of the namespace has one.
    fn samples(&self, signal: &str) -> Option<&BTreeMap<ObjectKey, Sample>> {
        let samples = self.signals.pods.get(signal)?;
        let mut here = samples.range(ObjectKey::new(&*self.workload.namespace, "")..);
        here.next().filter(|(key, _)| key.namespace == self.workload.namespace).map(|_| &**samples)
    }

    fn known(&self, signal: &str, counts: impl Fn(&Pod) -> bool) -> Known<'_> {
        let mut known = Known { samples: Vec::new(), expected: 0, ready: 0, missing: 0, live: 0 };
        let Some(samples) = self.samples(signal) else {
            known.expected = usize::try_from(self.live.ready).unwrap_or(0);
            return known;
        };
        let mut samples = Walk::new(samples);
        for (key, pod) in self.pods().iter().filter(|(_, pod)| counts(pod)) {
            if standing(pod) != Standing::Counted || pod.is_terminal() {
                continue;
            }
            let ready = pod.is_ready();
            let sample = samples.find(key).filter(|sample| usable(sample));
            if let Some(sample) = sample {
                known.samples.push((&key.name, *sample));
                known.ready += usize::from(ready);
                known.live += usize::from(ready && sample.quality == Quality::Live);
            }
            known.missing += usize::from(ready && sample.is_none());
            known.expected += usize::from(ready && (sample.is_some() || !self.is_fresh(signal, pod)));
        }
        known
    }

    /// Whether a pod became Ready so recently that no source need have measured it yet. Growth would otherwise look
    /// like an outage: an exporter reports a new pod with its next collection only.
    fn is_fresh(&self, signal: &str, pod: &Pod) -> bool {
        let since = pod.condition("Ready").and_then(|ready| ready.last_transition_time);
        let live = self.policy.live_bound;
        let first = if signal == GPU_UTILIZATION { live.max(FIRST_GPU_SAMPLE) } else { live };
        since.is_some_and(|since| self.now.duration_since(since.into()) <= first)
    }

    fn refuse(&self, metric: &str, signal: &str, known: &Known<'_>) -> Refusal {
        let stale = self.samples(signal).and_then(|samples| {
            self.pods().iter().filter_map(|(key, _)| samples.get(*key)).map(|sample| sample.at).max()
        });
        let needed = self.policy.min_coverage * 100.0;
        let what = if self.live.ready == 0 {
            "no pod is Ready".to_owned()
        } else {
            format!("{} of {} ready pods have a sample ({needed:.0} % are needed)", known.ready, known.expected)
        };
        self.refusal(metric, signal, stale, &what)
    }

    fn age(&self, newest: Option<Timestamp>, answered: Option<Timestamp>) -> String {
        let seconds = |at| self.now.duration_since(at).as_secs();
        match (newest, answered) {
            (Some(at), _) => format!("the newest sample is {} s old", seconds(at)),
            (None, Some(at)) => format!("there is no usable sample, its sources last answered {} s ago", seconds(at)),
            (None, None) => "no sample was ever received".to_owned(),
        }
    }

    /// Names metric, sources, age and cure: this text is what `kubectl describe hpa` shows.
    fn refusal(&self, metric: &str, signal: &str, newest: Option<Timestamp>, what: &str) -> Refusal {
        let concerned = self.sources.concerned(self.workload, signal);
        let failing: Vec<_> = concerned
            .iter()
            .filter_map(|(name, health)| Some(format!("{} fails: {}", public_name(name), health.error.as_ref()?)))
            .collect();
        let reason = match (failing.is_empty(), newest) {
            (false, _) => Reason::SourceDown,
            (true, Some(_)) => Reason::Stale,
            (true, None) => Reason::NoData,
        };
        // Samples that have grown too old are forgotten; that their source once answered is not.
        let answered = concerned.iter().filter_map(|(_, health)| health.last_success).max();
        let age = self.age(newest, answered);
        let sources = match failing.len() {
            0 => "no source reports a failure; check that the pods' metrics endpoints expose it".to_owned(),
            more if more > NAMED_SOURCES => {
                format!("{}; and {} further sources", failing[..NAMED_SOURCES].join("; "), more - NAMED_SOURCES)
            }
            _ => failing.join("; "),
        };
        let message =
            format!("{metric} of {} is unknown ({}): {what}; {age}; {sources}", self.workload, reason.as_str());
        Refusal { reason, message }
    }
}

fn usable(sample: &Sample) -> bool {
    match sample.quality {
        Quality::Live | Quality::LastKnownGood => true,
        Quality::Hold | Quality::Unknown => false,
    }
}

impl Known<'_> {
    fn suffices(&self, min_coverage: f64) -> bool {
        !self.samples.is_empty() && self.ready as f64 >= self.expected as f64 * min_coverage
    }

    /// Live as long as the live samples alone would suffice: one pod that is late does not stop a fleet.
    fn quality(&self, policy: &Policy) -> Quality {
        let any_live = self.samples.iter().any(|(_, sample)| sample.quality == Quality::Live);
        let enough = self.live as f64 >= self.expected as f64 * policy.min_coverage;
        if any_live && enough { Quality::Live } else { Quality::LastKnownGood }
    }

    fn oldest(&self) -> Option<Timestamp> {
        self.samples.iter().map(|(_, sample)| sample.at).min()
    }
}

/// Sample time of the oldest of some samples.
pub(super) fn oldest(samples: &BTreeMap<Text, Sample>) -> Option<Timestamp> {
    samples.values().map(|sample| sample.at).min()
}

/// A value that belongs to each replica, for an HPA that divides by their number.
pub(super) fn times(value: Milli, replicas: i32) -> Milli {
    Milli(value.0.saturating_mul(i64::from(replicas.max(0)))).servable()
}
