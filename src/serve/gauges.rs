//! What `/metrics` shows of decisions: bounded families, renewed with each evaluation.

use std::sync::atomic::AtomicI64;

use plimsoll_core::decision::{Decision, Snapshot};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// Most HPAs that get series of their own: seven families of 500 stay below 5,000 series.
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

type PerHpa = Family<Hpa, Gauge<i64, AtomicI64>>;

/// The families.
#[derive(Clone, Debug, Default)]
pub(super) struct Gauges {
    current: PerHpa,
    bound: PerHpa,
    ceiling: PerHpa,
    demand: PerHpa,
    grant: PerHpa,
    cap: PerHpa,
    limit: Family<Limit, Gauge<i64, AtomicI64>>,
    free_gpus: Gauge<i64, AtomicI64>,
    sources_up: Gauge<i64, AtomicI64>,
    sources_down: Gauge<i64, AtomicI64>,
    evaluations: Counter,
}

// === impl Gauges ===

impl Gauges {
    /// Registers the families.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let gauges = Self::default();
        let per_hpa = [
            ("hpa_current_replicas", "scale.spec.replicas of the workload", &gauges.current),
            ("hpa_bound_replicas", "Pods assigned to a node, neither ended nor terminating", &gauges.bound),
            ("hpa_ceiling_replicas", "Bound plus what still fits", &gauges.ceiling),
            ("hpa_demand_replicas", "Replicas that the signals ask for, before any limit", &gauges.demand),
            ("hpa_granted_replicas", "Replicas allotted after arbitration", &gauges.grant),
            ("hpa_cap_replicas", "No served value proposes more than this", &gauges.cap),
        ];
        for (name, help, family) in per_hpa {
            registry.register(name, help, family.clone());
        }
        registry.register("hpa_limiting_factor", "1 for the constraint that binds", gauges.limit.clone());
        registry.register("free_gpus", "GPUs free on nodes that are ready and not cordoned", gauges.free_gpus.clone());
        registry.register("sources_up", "Sources whose last attempt succeeded", gauges.sources_up.clone());
        registry.register("sources_down", "Sources whose last attempt failed", gauges.sources_down.clone());
        registry.register("evaluations", "Evaluations made", gauges.evaluations.clone());
        gauges
    }

    /// Shows a snapshot; what is not in it any more disappears.
    pub(super) fn update(&self, snapshot: &Snapshot) {
        for family in [&self.current, &self.bound, &self.ceiling, &self.demand, &self.grant, &self.cap] {
            family.clear();
        }
        self.limit.clear();
        for decision in snapshot.decisions.values().take(MAX_HPAS) {
            self.show(decision);
        }
        self.free_gpus.set(snapshot.free_gpus);
        let down = snapshot.sources.values().filter(|source| source.error.is_some()).count();
        self.sources_down.set(i64::try_from(down).unwrap_or(i64::MAX));
        self.sources_up.set(i64::try_from(snapshot.sources.len() - down).unwrap_or(i64::MAX));
        self.evaluations.inc();
    }

    fn show(&self, decision: &Decision) {
        let hpa = Hpa { namespace: decision.hpa.namespace.clone(), hpa: decision.hpa.name.clone() };
        self.current.get_or_create(&hpa).set(decision.current.into());
        self.bound.get_or_create(&hpa).set(decision.bound.into());
        self.ceiling.get_or_create(&hpa).set(decision.ceiling.into());
        self.grant.get_or_create(&hpa).set(decision.grant.into());
        self.cap.get_or_create(&hpa).set(decision.cap.into());
        if let Some(demand) = decision.demand {
            self.demand.get_or_create(&hpa).set(demand.into());
        }
        let factor = serde_json::to_value(decision.limiting_factor).unwrap_or_default();
        let factor = factor.as_str().unwrap_or("unknown").to_owned();
        self.limit.get_or_create(&Limit { namespace: hpa.namespace, hpa: hpa.hpa, factor }).set(1);
    }
}
