//! The store of what sources have told: bounded, by source, and silent about what is true of the cluster.
//!
//! A source is one scrape target or one query. Its values replace its own earlier ones pod by pod and grow old when
//! it falls silent; nothing is ever replaced by 0. The join with the live pods is in [`Store::signals`].

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::{Refused, SourceHealth, check, window::Window};
use crate::{
    histogram::Histogram,
    object::ObjectKey,
    profile::{Observation, Observed, Reading, Target},
    quantity::Milli,
};

/// Characters of a reason that are kept: a condition of an HPA shows it on one screen.
const REASON_MAX: usize = 500;

/// Bounds of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Sources that are held.
    pub sources: usize,
    /// Values that are held of one source.
    pub values_per_source: usize,
    /// Values that are held of all sources; the buckets of the last minutes are among them.
    pub values: usize,
    /// How far in the future a sample time may lie.
    pub skew: SignedDuration,
    /// Age above which a sample is refused and forgotten: the policy's bound of the last known good value.
    pub age: SignedDuration,
}

/// What all sources have told.
#[derive(Clone, Debug, Default)]
pub struct Store {
    pub(super) bounds: Bounds,
    pub(super) sources: BTreeMap<String, Source>,
    /// Values held of all sources.
    held: usize,
}

/// What one source has told.
#[derive(Clone, Debug, Default)]
pub(super) struct Source {
    pub(super) health: SourceHealth,
    pub(super) claims: Claims,
    /// Signal to pod to value.
    pub(super) gauges: BTreeMap<String, BTreeMap<ObjectKey, Entry>>,
    /// Signal to pod to window.
    pub(super) windows: BTreeMap<String, BTreeMap<ObjectKey, Window>>,
}

/// How far what a source says about pods is believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Claims {
    /// It speaks of the pod that was scraped, or an administrator's query does.
    #[default]
    Known,
    /// An exporter names pods, which must run, on its node if that is known.
    Exporter {
        /// The exporter's own pod.
        pod: Option<ObjectKey>,
        /// The node, where the target says so; else it is that of the exporter's pod.
        node: Option<String>,
    },
}

/// One value of one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) value: Milli,
    pub(super) at: Timestamp,
    /// The uid that the payload names.
    pub(super) uid: Option<String>,
}

/// What decides whether an arriving value is kept.
struct Arrival {
    received: Timestamp,
    bounds: Bounds,
    /// Values that the source may hold.
    room: usize,
}

/// The counts of one recording.
#[derive(Default)]
struct Tally {
    refused: BTreeMap<Refused, u64>,
    approximate: u64,
}

// === impl Bounds ===

impl Default for Bounds {
    /// Room for 20,000 targets, a fourth of them with the 700 numbers of a vLLM pod's latency; the age is the default bound of the last known good value.
    fn default() -> Self {
        Self {
            sources: 20_000,
            values_per_source: 50_000,
            values: 4_000_000,
            skew: SignedDuration::from_secs(10),
            age: SignedDuration::from_secs(120),
        }
    }
}

impl Bounds {
    /// Whether a time lies within that age of now, and not in the future by more than the skew.
    pub(super) fn hold(&self, at: Timestamp, now: Timestamp, age: SignedDuration) -> bool {
        (-self.skew..=age).contains(&now.duration_since(at))
    }
}

// === impl Store ===

impl Store {
    /// An empty store with other bounds than the default ones.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, ..Self::default() }
    }

    /// Sets the age above which a sample is refused and forgotten.
    pub fn set_age(&mut self, age: SignedDuration) {
        self.bounds.age = age;
    }

    /// Records what a scrape has told. `received` is the sample time where the payload has none.
    ///
    /// Returns false if there are more sources than the bound; the source is then not held at all.
    pub fn record(&mut self, source: &str, target: &Target, observed: Observed, received: Timestamp) -> bool {
        self.change(source, received, |entry, arrival| {
            entry.claims = match target {
                Target::Pod(_) => Claims::Known,
                Target::Exporter { pod, node } => Claims::Exporter { pod: pod.clone(), node: node.clone() },
            };
            let mut tally = Tally { refused: observed.refused, approximate: 0 };
            if observed.report.malformed > 0 {
                tally.refused.insert(Refused::Malformed, observed.report.malformed as u64);
            }
            for observation in observed.observations {
                let approximate = observation.approximate;
                let taken = entry.take(observation, arrival);
                tally.approximate += u64::from(approximate && taken.is_ok());
                tally.count(taken);
            }
            entry.succeed(tally, received);
        })
    }

    /// Records one value per pod of a query's answer, each with its own sample time.
    ///
    /// A pod that occurs twice is ambiguous: neither value is believed. Returns false as [`Store::record`] does.
    pub fn record_pod_values(
        &mut self,
        source: &str,
        signal: &str,
        values: Vec<(ObjectKey, f64, Timestamp)>,
        received: Timestamp,
    ) -> bool {
        self.change(source, received, |entry, arrival| {
            let mut pods: BTreeMap<ObjectKey, Vec<(f64, Timestamp)>> = BTreeMap::new();
            for (pod, value, at) in values {
                pods.entry(pod).or_default().push((value, at));
            }
            let mut tally = Tally::default();
            for (pod, values) in pods {
                let taken = match values[..] {
                    [(value, at)] => {
                        arrival.check_time(at).and_then(|()| entry.gauge(signal, pod, value, (at, None), arrival))
                    }
                    _ => Err(Refused::Duplicate),
                };
                tally.count(taken);
            }
            entry.succeed(tally, received);
        })
    }

    /// Notes that a source could not be read. Its values stay and grow old. A long reason is cut: it may quote what
    /// the source said.
    pub fn fail(&mut self, source: &str, reason: impl Into<String>, at: Timestamp) {
        let reason = reason.into().chars().take(REASON_MAX).collect();
        let _held = self.change(source, at, |entry, _| entry.health.error = Some(reason));
    }

    /// Drops a source that no longer exists.
    pub fn forget(&mut self, source: &str) {
        if let Some(source) = self.sources.remove(source) {
            self.held -= source.len();
        }
    }

    /// Number of sources.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sources.len()
    }

    /// Whether there is no source.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// Changes one source within the bounds, forgets what has grown too old in it, and keeps count.
    fn change(&mut self, source: &str, received: Timestamp, change: impl FnOnce(&mut Source, &Arrival)) -> bool {
        if !self.sources.contains_key(source) && self.sources.len() >= self.bounds.sources {
            return false;
        }
        let others = self.held - self.sources.get(source).map_or(0, Source::len);
        let room = self.bounds.values.saturating_sub(others).min(self.bounds.values_per_source);
        let entry = self.sources.entry(source.to_owned()).or_default();
        entry.prune(received, &self.bounds);
        change(entry, &Arrival { received, bounds: self.bounds, room });
        self.held = others + entry.len();
        true
    }
}

// === impl Source ===

impl Source {
    /// Values held: a gauge counts once, a window as [`Window::len`] says.
    fn len(&self) -> usize {
        let gauges: usize = self.gauges.values().map(BTreeMap::len).sum();
        gauges + self.windows.values().flat_map(BTreeMap::values).map(Window::len).sum::<usize>()
    }

    fn take(&mut self, seen: Observation, arrival: &Arrival) -> Result<(), Refused> {
        let at = seen.at.unwrap_or(arrival.received);
        arrival.check_time(at)?;
        match seen.reading {
            Reading::Gauge(value) => self.gauge(&seen.signal, seen.pod, value, (at, seen.uid), arrival),
            Reading::Histogram { quantile, series } => {
                self.histogram(&seen.signal, seen.pod, quantile, series, at, arrival)
            }
        }
    }

    fn gauge(
        &mut self,
        signal: &str,
        pod: ObjectKey,
        value: f64,
        (at, uid): (Timestamp, Option<String>),
        arrival: &Arrival,
    ) -> Result<(), Refused> {
        let value = Milli::from_f64(check(signal, value)?).ok_or(Refused::OutOfRange)?;
        let known = self.gauges.get(signal).is_some_and(|pods| pods.contains_key(&pod));
        if !known && self.len() >= arrival.room {
            return Err(Refused::TooManyValues);
        }
        self.gauges.entry(signal.to_owned()).or_default().insert(pod, Entry { value, at, uid });
        Ok(())
    }

    fn histogram(
        &mut self,
        signal: &str,
        pod: ObjectKey,
        quantile: f64,
        series: BTreeMap<String, Histogram>,
        at: Timestamp,
        arrival: &Arrival,
    ) -> Result<(), Refused> {
        let held = self.windows.get(signal).and_then(|pods| pods.get(&pod));
        let others = self.len() - held.map_or(0, Window::len);
        // What it grows to shows only when it has grown: a scrape adds slots, and series leave with the next one.
        let mut window = held.cloned().unwrap_or_else(|| Window::new(quantile));
        window.record(series, at);
        if others + window.len() > arrival.room {
            return Err(Refused::TooManyValues);
        }
        self.windows.entry(signal.to_owned()).or_default().insert(pod, window);
        Ok(())
    }

    fn succeed(&mut self, tally: Tally, received: Timestamp) {
        self.health = SourceHealth {
            last_success: Some(received),
            error: None,
            refused: tally.refused.into_iter().map(|(reason, count)| (reason.as_str().to_owned(), count)).collect(),
            approximate: tally.approximate,
        };
    }

    /// Forgets what is too old to be served, whoever asks, and what was sampled before a clock went back.
    fn prune(&mut self, now: Timestamp, bounds: &Bounds) {
        for pods in self.gauges.values_mut() {
            pods.retain(|_, entry| bounds.hold(entry.at, now, bounds.age));
        }
        for pods in self.windows.values_mut() {
            pods.retain(|_, window| window.prune(now, bounds));
        }
        self.gauges.retain(|_, pods| !pods.is_empty());
        self.windows.retain(|_, pods| !pods.is_empty());
    }
}

// === impl Arrival ===

impl Arrival {
    fn check_time(&self, at: Timestamp) -> Result<(), Refused> {
        let age = self.received.duration_since(at);
        if age < -self.bounds.skew {
            return Err(Refused::Future);
        }
        if age > self.bounds.age { Err(Refused::TooOld) } else { Ok(()) }
    }
}

// === impl Tally ===

impl Tally {
    fn count(&mut self, taken: Result<(), Refused>) {
        if let Err(refused) = taken {
            *self.refused.entry(refused).or_default() += 1;
        }
    }
}

#[cfg(test)]
impl Store {
    /// The running count of held values.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Whether the running count of held values is their number, within the bounds.
    pub(super) fn held_matches(&self) -> bool {
        self.held == self.sources.values().map(Source::len).sum::<usize>()
            && self.held <= self.bounds.values
            && self.sources.values().all(|source| source.len() <= self.bounds.values_per_source)
    }
}
