//! What the status API tells, read off the newest snapshot.

use std::{fmt, sync::Arc};

use plimsoll_core::{decision::Decision, object::ObjectKey, signal::Sample};
use prometheus_client::{encoding::text, registry::Registry};
use serde_json::{Value, json};

use super::{coexistence, shared::Shared};
use crate::{
    api::Upstream,
    kubernetes::WatchHealth,
    status::{Filter, Reports},
};

/// The status API's view of the process.
#[derive(Debug)]
pub(super) struct Status {
    /// The newest of everything.
    pub(super) shared: Arc<Shared>,
    /// Health of the watches.
    pub(super) watches: Arc<WatchHealth>,
    /// KEDA's metrics server.
    pub(super) keda: Arc<Upstream>,
    /// Our own metrics.
    pub(super) registry: Arc<Registry>,
}

// === impl Status ===

impl Status {
    fn decisions_of(&self, filter: &Filter, show: impl Fn(&Decision) -> Value) -> Value {
        let snapshot = self.shared.snapshot();
        let decisions = snapshot.iter().flat_map(|snapshot| snapshot.decisions.values());
        decisions.filter(|decision| filter.admits(&decision.hpa.namespace)).map(show).collect()
    }
}

impl Reports for Status {
    fn workloads(&self, filter: &Filter) -> Value {
        self.decisions_of(filter, |decision| {
            json!({
                "workload": decision.workload, "hpa": decision.hpa, "mode": decision.mode,
                "current": decision.current, "bound": decision.bound, "pending": decision.pending,
                "ready": decision.ready, "demand": decision.demand, "ceiling": decision.ceiling,
                "grant": decision.grant, "limitingFactor": decision.limiting_factor,
            })
        })
    }

    fn decisions(&self, filter: &Filter) -> Value {
        self.decisions_of(filter, |decision| {
            json!({
                "hpa": decision.hpa, "workload": decision.workload, "mode": decision.mode, "demand": decision.demand,
                "cap": decision.cap, "stance": decision.stance, "limitingFactor": decision.limiting_factor,
                "change": decision.change, "notes": decision.notes, "digest": decision.digest,
            })
        })
    }

    fn decision(&self, namespace: &str, name: &str) -> Option<Value> {
        let snapshot = self.shared.snapshot()?;
        let hpa = snapshot.decisions.get(&ObjectKey::new(namespace, name));
        let by_workload = || {
            let of = |decision: &&Decision| decision.workload.namespace == namespace && decision.workload.name == name;
            snapshot.decisions.values().find(of)
        };
        let decision = hpa.or_else(by_workload)?;
        let mut told = serde_json::to_value(decision).ok()?;
        told["lift"] = json!(self.shared.lifts().get(&decision.workload));
        told["nodesArriving"] = json!(snapshot.arrivals.arriving(&snapshot.policy));
        Some(told)
    }

    fn capacity(&self) -> Value {
        let snapshot = self.shared.snapshot();
        let Some(snapshot) = snapshot else { return json!({ "evaluated": false, "watches": self.watches.snapshot() }) };
        let lifts = self.shared.lifts();
        let workloads: Value = snapshot
            .decisions
            .values()
            .map(|decision| {
                json!({
                    "workload": decision.workload, "bound": decision.bound, "fits": decision.fits,
                    "ceiling": decision.ceiling, "limitingFactor": decision.limiting_factor, "change": decision.change,
                    "lift": lifts.get(&decision.workload),
                })
            })
            .collect();
        json!({
            "evaluated": true, "at": snapshot.at, "heardAt": snapshot.capacity_heard_at,
            "freeGpus": snapshot.free_gpus, "nodesArriving": snapshot.arrivals.arriving(&snapshot.policy),
            "booked": snapshot.booked, "reservations": reservations(&snapshot.reservations),
            "workloads": workloads, "watches": self.watches.snapshot(),
        })
    }

    fn signals(&self, filter: &Filter) -> Value {
        let signals = self.shared.signals();
        let show =
            |sample: &Sample| json!({ "value": sample.value.quantity(), "at": sample.at, "quality": sample.quality });
        let mut rows = Vec::new();
        for (signal, pods) in &signals.pods {
            for (pod, sample) in pods.iter().filter(|(pod, _)| filter.admits(&pod.namespace)) {
                rows.push(json!({ "signal": signal, "pod": pod, "sample": show(sample) }));
            }
        }
        for (signal, workloads) in &signals.workloads {
            for (workload, sample) in workloads.iter().filter(|(workload, _)| filter.admits(&workload.namespace)) {
                let quantile = signals.quantiles.get(signal).and_then(|workloads| workloads.get(workload));
                rows.push(
                    json!({ "signal": signal, "workload": workload, "sample": show(sample), "quantile": quantile }),
                );
            }
        }
        rows.into()
    }

    fn sources(&self, filter: &Filter) -> Value {
        let signals = self.shared.signals();
        let asked = signals.sources.iter().filter(|(name, _)| is_asked_for(name, filter));
        asked.map(|(name, health)| json!({ "source": name, "health": health })).collect()
    }

    fn coexistence(&self) -> Value {
        let snapshot = self.shared.snapshot();
        coexistence::report(snapshot.as_deref().and_then(|snapshot| snapshot.external_api.as_ref()), &self.keda)
    }

    fn health(&self) -> Result<(), String> {
        super::health::alive(&self.shared)
    }

    fn metrics(&self) -> Result<String, fmt::Error> {
        let mut out = String::new();
        text::encode(&mut out, &self.registry)?;
        Ok(out)
    }
}

/// Whether a source is of a namespace that is asked for. One that is a URL is of none, so it only shows unfiltered.
fn is_asked_for(source: &str, filter: &Filter) -> bool {
    let mut parts = source.split('/');
    let namespace = match parts.next() {
        Some("pod" | "exporter") => parts.next(),
        Some("prometheus") => parts.nth(2),
        _ => None,
    };
    namespace.map_or(filter.namespace.is_none(), |namespace| filter.admits(namespace))
}

fn reservations<K: fmt::Display, V: serde::Serialize>(reservations: &std::collections::BTreeMap<K, V>) -> Value {
    reservations.iter().map(|(workload, held)| json!({ "workload": workload.to_string(), "held": held })).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use plimsoll_core::{
        cluster::View,
        decision,
        histogram::{Flag, Quantile},
        object::WorkloadKey,
        policy::Policy,
        quantity::Milli,
        signal::{LATENCY_P99, Quality, Signals},
    };

    use super::*;

    #[test]
    fn a_quantile_is_shown_with_what_must_be_known_about_it() {
        let (at, key) =
            (jiff::Timestamp::UNIX_EPOCH, WorkloadKey { name: "chat".to_owned(), ..WorkloadKey::default() });
        let sample = Sample { value: Milli(10_000), at, quality: Quality::Live };
        let quantile = Quantile { value: 10.0, observations: 20.0, flags: [Flag::Saturated, Flag::Thin].into() };
        let signals = Signals {
            workloads: BTreeMap::from([(LATENCY_P99.to_owned(), [(key.clone(), sample)].into())]),
            quantiles: BTreeMap::from([(LATENCY_P99.to_owned(), [(key, quantile)].into())]),
            ..Signals::default()
        };
        let shared = Arc::new(Shared::default());
        let snapshot = decision::decide(&View::default(), &signals, &Policy::default(), None, at);
        shared.set_snapshot(Arc::new(snapshot), signals);
        let status = Status { shared, watches: Arc::default(), keda: Arc::default(), registry: Arc::default() };
        let rows = status.signals(&Filter::default());
        assert_eq!(rows[0]["quantile"], json!({ "value": 10.0, "observations": 20.0, "flags": ["saturated", "thin"] }));
    }

    #[test]
    fn sources_are_shown_to_whoever_asks_for_their_namespace() {
        let sources = [
            "exporter/gpu/dcgm-ml",
            "pod/ml/chat-0",
            "pod/mla/chat-0",
            "prometheus/ml/queueLength/other",
            "prometheus/main/ml/ml",
            "url/http://box:9400/ml/metrics",
        ];
        let of = |namespace: Option<&str>| {
            let filter = Filter { namespace: namespace.map(str::to_owned) };
            sources.into_iter().filter(|source| is_asked_for(source, &filter)).collect::<Vec<_>>()
        };
        assert_eq!(of(Some("ml")), ["pod/ml/chat-0", "prometheus/main/ml/ml"]);
        assert_eq!(of(None), sources);
    }
}
