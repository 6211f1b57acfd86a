//! The join of what sources have told with the pods that live: only this makes signals of it.

use std::collections::{BTreeMap, btree_map};

use jiff::Timestamp;

use super::{
    Bounds, Quality, Refused, Sample, Signals, Store, check,
    store::{Claims, Source},
    window::{self, Window},
};
use crate::{
    cluster::{Census, View},
    histogram::Quantile,
    object::{ObjectKey, Pod, Uid, WorkloadKey},
    policy::Policy,
    quantity::Milli,
};

/// Signal to pod to window: the newest of each.
type Windows<'s> = BTreeMap<&'s str, BTreeMap<&'s ObjectKey, &'s Window>>;

impl Store {
    /// The signals at one moment: values of live pods with the quality that their age leaves them, and quantiles of
    /// the workloads of the census. What is older than the bound of the last known good value is absent.
    #[must_use]
    pub fn signals(&self, view: &View, census: &Census<'_>, policy: &Policy, now: Timestamp) -> Signals {
        let moment = Moment { bounds: &self.bounds, view, census, policy, now };
        let mut signals = Signals::default();
        let mut windows = Windows::new();
        for (name, source) in &self.sources {
            let mut health = source.health.clone();
            for refused in moment.gauges(source, &mut signals) {
                *health.refused.entry(refused.as_str().to_owned()).or_default() += 1;
            }
            moment.windows(source, &mut windows);
            signals.sources.insert(name.clone(), health);
        }
        for (signal, pods) in windows {
            moment.quantiles(signal, &pods, &mut signals);
        }
        signals
    }
}

/// What decides which of the stored values are signals.
struct Moment<'a, 'v> {
    bounds: &'a Bounds,
    view: &'a View,
    census: &'a Census<'v>,
    policy: &'a Policy,
    now: Timestamp,
}

impl Moment<'_, '_> {
    /// Adds the gauges of a source; returns why claims were not believed.
    fn gauges(&self, source: &Source, signals: &mut Signals) -> Vec<Refused> {
        let mut refusals = Vec::new();
        for (signal, pods) in &source.gauges {
            for (pod, entry) in pods {
                let Some(quality) = self.quality(entry.at) else { continue };
                match self.admit(&source.claims, pod, entry.uid.as_deref(), entry.at) {
                    Ok(()) => {
                        let sample = Sample { value: entry.value, at: entry.at, quality };
                        keep_newest(signals.pods.entry(signal.clone()).or_default().entry(pod.clone()), sample);
                    }
                    Err(refused) => refusals.push(refused),
                }
            }
        }
        refusals
    }

    /// Adds the windows of a source.
    fn windows<'s>(&self, source: &'s Source, windows: &mut Windows<'s>) {
        for (signal, pods) in &source.windows {
            for (pod, window) in pods {
                let Some(last) = window.last.filter(|last| self.quality(*last).is_some()) else { continue };
                if self.admit(&source.claims, pod, None, last).is_ok() {
                    let held = windows.entry(signal).or_default().entry(pod).or_insert(window);
                    if held.last < window.last {
                        *held = window;
                    }
                }
            }
        }
    }

    /// Adds the quantile of every workload that has one.
    fn quantiles(&self, signal: &str, pods: &BTreeMap<&ObjectKey, &Window>, signals: &mut Signals) {
        for (workload, _) in self.census.workloads() {
            let windows: Vec<_> = self.census.own(workload).filter_map(|(pod, _)| pods.get(pod).copied()).collect();
            if let Some((sample, quantile)) = self.quantile(signal, &windows) {
                let key = || (signal.to_owned(), workload.clone());
                insert(&mut signals.workloads, key(), sample);
                insert(&mut signals.quantiles, key(), quantile);
            }
        }
    }

    /// The quantile over the live windows, or over the last known good ones where none is live.
    fn quantile(&self, signal: &str, windows: &[&Window]) -> Option<(Sample, Quantile)> {
        let aged = windows.iter().filter_map(|window| Some((self.quality(window.last?)?, *window)));
        let best = aged.clone().map(|(quality, _)| quality).min()?;
        let windows: Vec<_> = aged.filter(|(quality, _)| *quality == best).map(|(_, window)| window).collect();
        let at = windows.iter().filter_map(|window| window.last).min()?;
        let quantile = window::quantile(&windows, self.now)?;
        let value = Milli::from_f64(check(signal, quantile.value).ok()?)?;
        Some((Sample { value, at, quality: best }, quantile))
    }

    /// The quality that its age leaves a sample; none if it is too old, or from before a clock went back.
    fn quality(&self, at: Timestamp) -> Option<Quality> {
        let young = |age| self.bounds.hold(at, self.now, age);
        if young(self.policy.live_bound) {
            Some(Quality::Live)
        } else {
            young(self.policy.last_known_good_bound).then_some(Quality::LastKnownGood)
        }
    }

    /// Whether a source's word about a pod is believed.
    fn admit(&self, claims: &Claims, pod: &ObjectKey, uid: Option<&str>, at: Timestamp) -> Result<(), Refused> {
        let pod = self.view.pods.get(pod).filter(|pod| !pod.is_terminal()).ok_or(Refused::NotRunning)?;
        // A StatefulSet's pod comes back under its name: what its predecessor said is not about it.
        let before = pod.metadata.creation_timestamp.is_some_and(|created| at < Timestamp::from(created));
        if before || uid.is_some_and(|uid| Uid::from(uid) != pod.metadata.uid) {
            return Err(Refused::OtherPod);
        }
        match claims {
            Claims::Known => Ok(()),
            Claims::Exporter { pod: exporter, node } => {
                let own_node = || self.view.pods.get(exporter.as_ref()?).map(|exporter| &*exporter.node_name);
                admit_claim(pod, node.as_deref().or_else(own_node))
            }
        }
    }
}

/// Whether an exporter of that node may speak of a pod: labels outlive pods, and a node knows no other node's GPUs.
fn admit_claim(pod: &Pod, node: Option<&str>) -> Result<(), Refused> {
    if pod.status.phase != "Running" {
        return Err(Refused::NotRunning);
    }
    if node.is_some_and(|node| node != pod.node_name) { Err(Refused::OtherNode) } else { Ok(()) }
}

/// Several sources may speak of one pod: the newest word counts, the first source on a tie.
fn keep_newest(entry: btree_map::Entry<'_, ObjectKey, Sample>, sample: Sample) {
    let held = entry.or_insert(sample);
    if held.at < sample.at {
        *held = sample;
    }
}

fn insert<T>(
    map: &mut BTreeMap<String, BTreeMap<WorkloadKey, T>>,
    (signal, workload): (String, WorkloadKey),
    value: T,
) {
    map.entry(signal).or_default().insert(workload, value);
}
