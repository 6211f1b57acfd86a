//! What `/metrics` shows of decisions: bounded families, renewed with each evaluation.

use std::{
    collections::{BTreeMap, HashSet},
    sync::atomic::AtomicI64,
};

use plimsoll_core::decision::{Decision, Snapshot};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use serde::Serialize;

/// Most HPAs that get series of their own: ten families of 500 are 5,000 series.
const MAX_HPAS: usize = 500;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Hpa {
    namespace: String,
    hpa: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Limit {
    namespace: String,
    hpa: String,
    factor: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Sureness {
    namespace: String,
    hpa: String,
    class: String,
}

type PerHpa = Family<Hpa, Gauge<i64, AtomicI64>>;

/// The families.
#[derive(Clone, Debug, Default)]
pub(super) struct Gauges {
    current: PerHpa,
    bound: PerHpa,
    pending: PerHpa,
    fits: PerHpa,
    ceiling: PerHpa,
    demand: PerHpa,
    grant: PerHpa,
    cap: PerHpa,
    limit: Family<Limit, Gauge<i64, AtomicI64>>,
    class: Family<Sureness, Gauge<i64, AtomicI64>>,
    free_gpus: Gauge<i64, AtomicI64>,
    unhealthy_gpus: Gauge<i64, AtomicI64>,
    nodes_arriving: Gauge<i64, AtomicI64>,
    booked_pods: Gauge<i64, AtomicI64>,
    sources_up: Gauge<i64, AtomicI64>,
    sources_down: Gauge<i64, AtomicI64>,
    evaluations: Counter,
    /// What the last update has set.
    shown: Shown,
}

/// Labels in use.
#[derive(Clone, Debug, Default)]
struct Shown {
    hpas: HashSet<Hpa>,
    limits: HashSet<Limit>,
    classes: HashSet<Sureness>,
}

// === impl Gauges ===

impl Gauges {
    /// Registers the families.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let gauges = Self::default();
        let per_hpa = [
            ("hpa_current_replicas", "scale.spec.replicas of the workload", &gauges.current),
            ("hpa_bound_replicas", "Pods assigned to a node, neither ended nor terminating", &gauges.bound),
            ("hpa_pending_replicas", "Pods without a node", &gauges.pending),
            ("hpa_fits_replicas", "Further replicas that could be placed now and may be promised", &gauges.fits),
            ("hpa_ceiling_replicas", "Bound plus what still fits", &gauges.ceiling),
            ("hpa_demand_replicas", "Replicas that the signals ask for, before any limit", &gauges.demand),
            ("hpa_granted_replicas", "Replicas allotted after arbitration", &gauges.grant),
            ("hpa_cap_replicas", "No served value proposes more than this", &gauges.cap),
        ];
        for (name, help, family) in per_hpa {
            registry.register(name, help, family.clone());
        }
        registry.register("hpa_limiting_factor", "1 for the constraint that binds", gauges.limit.clone());
        registry.register("hpa_fits_class", "1 for how far what fits can be trusted", gauges.class.clone());
        registry.register("free_gpus", "GPUs free on nodes that are ready and not cordoned", gauges.free_gpus.clone());
        let unhealthy = "GPUs that are there and not allocatable: unhealthy, or their device plugin restarts";
        registry.register("unhealthy_gpus", unhealthy, gauges.unhealthy_gpus.clone());
        registry.register("nodes_arriving", "Nodes that node autoscalers are bringing", gauges.nodes_arriving.clone());
        let booked = "Pods that a node autoscaler has booked room for and that do not exist yet";
        registry.register("booked_pods", booked, gauges.booked_pods.clone());
        registry.register("sources_up", "Sources whose last attempt succeeded", gauges.sources_up.clone());
        registry.register("sources_down", "Sources whose last attempt failed", gauges.sources_down.clone());
        registry.register("evaluations", "Evaluations made", gauges.evaluations.clone());
        gauges
    }

    /// Shows a snapshot; what is not in it any more disappears, and nothing else is gone even for a moment.
    pub(super) fn update(&mut self, snapshot: &Snapshot) {
        let mut shown = Shown::default();
        for decision in snapshot.decisions.values().take(MAX_HPAS) {
            self.show(decision, &mut shown);
        }
        for gone in self.shown.hpas.difference(&shown.hpas) {
            for family in self.per_hpa() {
                family.remove(gone);
            }
        }
        for gone in self.shown.classes.difference(&shown.classes) {
            self.class.remove(gone);
        }
        for gone in self.shown.limits.difference(&shown.limits) {
            self.limit.remove(gone);
        }
        self.shown = shown;
        self.free_gpus.set(snapshot.free_gpus);
        let unhealthy = snapshot.lapses.devices.values().flat_map(BTreeMap::values);
        self.unhealthy_gpus
            .set(unhealthy.map(|lapse| lapse.capacity.saturating_sub(lapse.allocatable)).fold(0, i64::saturating_add));
        let arriving = snapshot.arrivals.arriving(&snapshot.policy);
        let arriving = arriving.iter().map(|group| group.nodes).sum::<usize>();
        self.nodes_arriving.set(i64::try_from(arriving).unwrap_or(i64::MAX));
        self.booked_pods.set(snapshot.booked.iter().map(|booked| i64::from(booked.pods)).sum());
        let down = snapshot.sources.values().filter(|source| source.error.is_some()).count();
        self.sources_down.set(i64::try_from(down).unwrap_or(i64::MAX));
        self.sources_up.set(i64::try_from(snapshot.sources.len() - down).unwrap_or(i64::MAX));
        self.evaluations.inc();
    }

    const fn per_hpa(&self) -> [&PerHpa; 8] {
        let Self { current, bound, pending, fits, ceiling, demand, grant, cap, .. } = self;
        [current, bound, pending, fits, ceiling, demand, grant, cap]
    }

    fn show(&self, decision: &Decision, shown: &mut Shown) {
        let hpa = Hpa { namespace: decision.hpa.namespace.to_string(), hpa: decision.hpa.name.to_string() };
        self.current.get_or_create(&hpa).set(decision.current.into());
        self.bound.get_or_create(&hpa).set(decision.bound.into());
        self.pending.get_or_create(&hpa).set(decision.pending.into());
        self.fits.get_or_create(&hpa).set(decision.fits.lo.into());
        self.ceiling.get_or_create(&hpa).set(decision.ceiling.into());
        self.grant.get_or_create(&hpa).set(decision.grant.into());
        self.cap.get_or_create(&hpa).set(decision.cap.into());
        match decision.demand {
            Some(demand) => drop(self.demand.get_or_create(&hpa).set(demand.into())),
            None => drop(self.demand.remove(&hpa)),
        }
        let factor = word(decision.limiting_factor);
        let limit = Limit { namespace: hpa.namespace.clone(), hpa: hpa.hpa.clone(), factor };
        self.limit.get_or_create(&limit).set(1);
        let class = word(decision.fits.class);
        let class = Sureness { namespace: hpa.namespace.clone(), hpa: hpa.hpa.clone(), class };
        self.class.get_or_create(&class).set(1);
        shown.classes.insert(class);
        shown.hpas.insert(hpa);
        shown.limits.insert(limit);
    }
}

/// The word that JSON uses.
fn word(value: impl Serialize) -> String {
    let word = serde_json::to_value(value).unwrap_or_default();
    word.as_str().unwrap_or("unknown").to_owned()
}

#[cfg(test)]
mod tests {
    use plimsoll_core::{
        capacity::{Fits, LimitingFactor},
        cluster::View,
        decision,
        object::HorizontalPodAutoscaler,
        policy::Policy,
        signal::Signals,
    };

    use super::*;

    fn snapshot(names: &[&str]) -> Snapshot {
        let mut view = View::default();
        for name in names {
            let hpa: HorizontalPodAutoscaler = serde_json::from_value(serde_json::json!({
                "metadata": {"name": name, "namespace": "ml"},
                "spec": {"maxReplicas": 9, "metrics": [
                    {"type": "External", "external": {"metric": {"name": "inference_queue_length"}}}]},
            }))
            .unwrap();
            view.hpas.insert(hpa.metadata.key(), hpa);
        }
        decision::decide(&view, &Signals::default(), &Policy::default(), None, jiff::Timestamp::UNIX_EPOCH)
    }

    fn series(registry: &Registry) -> Vec<String> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
        text.lines().filter(|line| line.contains("hpa=")).map(str::to_owned).collect()
    }

    #[test]
    fn series_of_an_hpa_stay_the_same_until_it_is_gone() {
        let mut registry = Registry::default();
        let mut gauges = Gauges::register(&mut registry);
        gauges.update(&snapshot(&["chat", "old"]));
        let hpa = |name: &str| Hpa { namespace: "ml".to_owned(), hpa: name.to_owned() };
        let held = gauges.current.get_or_create(&hpa("chat")).clone();
        held.set(7);
        gauges.update(&snapshot(&["chat"]));
        assert_eq!(held.get(), 0, "the series was replaced instead of set");
        let series = series(&registry);
        assert!(series.iter().any(|line| line.contains("chat")) && !series.iter().any(|line| line.contains("old")));
    }

    #[test]
    fn a_demand_that_is_not_known_any_more_and_a_former_limit_disappear() {
        let mut registry = Registry::default();
        let mut gauges = Gauges::register(&mut registry);
        let mut snapshot = snapshot(&["chat"]);
        let decision = snapshot.decisions.values_mut().next().unwrap();
        (decision.demand, decision.limiting_factor) = (Some(3), LimitingFactor::Gpu);
        decision.fits = Fits::exact(2);
        gauges.update(&snapshot);
        let before = series(&registry);
        let decision = snapshot.decisions.values_mut().next().unwrap();
        (decision.demand, decision.limiting_factor) = (None, LimitingFactor::StaleSignal);
        decision.fits = Fits::unknown();
        gauges.update(&snapshot);
        let after = series(&registry);
        assert!(before.iter().any(|line| line.starts_with("hpa_demand_replicas")));
        assert!(!after.iter().any(|line| line.starts_with("hpa_demand_replicas")));
        let classes: Vec<_> = after.iter().filter(|line| line.starts_with("hpa_fits_class")).collect();
        assert!(classes.len() == 1 && classes[0].contains("unknown"), "{classes:?}");
        let limits: Vec<_> = after.iter().filter(|line| line.starts_with("hpa_limiting_factor")).collect();
        assert!(limits.len() == 1 && limits[0].contains("staleSignal"), "{limits:?}");
    }
}
