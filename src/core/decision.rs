//! The decision: how many replicas each workload may have, and what its HPAs are served.
//!
//! ```text
//!  View ──> census (pods of each workload) ──┐
//!  Signals ──> demand (raw values, proposals)┼─> arbitration ──> Decision per HPA ──> Snapshot
//!  previous Snapshot ──> reservations ───────┘                        │
//!                                   request + Live ──> answering ──> clamp ──> value
//! ```
//!
//! [`decide`] is pure: the same view, signals, policy, previous snapshot and time make the same bytes, in any order
//! of input. A snapshot holds grants and raw values; the clamp runs at request time on the newest watched scale
//! ([`Live`]), since the controller that asks has read that one.

mod answering;
mod arbitration;
mod binding;
mod chosen;
mod demand;
mod digest;
mod evaluate;
mod headroom;
mod lapse;
mod live;
mod record;
mod reservation;
mod rules;
mod scaled;
mod sources;
mod trigger;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

pub use answering::{answer_custom, answer_external, custom_metrics, external_metrics};
pub use arbitration::{Booked, beside_booked};
pub(crate) use binding::{Asked, AskedKind};
pub use binding::{Binding, BindingKey, Enforced, Raw, Subject, Target, TargetKind};
pub use chosen::Chosen;
pub use evaluate::{Known, decide, decide_with};
pub use headroom::Attempt;
pub use lapse::{Lapse, Lapses};
pub use live::{Live, Newest};
pub use record::{Decision, Demand, Note, Step};
pub use reservation::Reservation;
pub use rules::Rules;
pub use scaled::{scaled, served_metrics};
pub use trigger::{
    State as TriggerState, TriggerActivity, answer_trigger, demands, profile_queries, trigger_activity, trigger_signals,
};

use crate::{
    autoscaler::Arrivals,
    coexistence::ExternalApi,
    object::{Labels, ObjectKey, Shared, WorkloadKey},
    policy::Policy,
    signal::{Sample, SourceHealth},
};

/// Everything that one evaluation found: what requests are answered from, and what the status API shows.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// When the evaluation was made.
    pub at: Timestamp,
    /// The record of each HPA that refers to a metric of ours and is not switched off, by HPA.
    #[serde(serialize_with = "by_name")]
    pub decisions: BTreeMap<ObjectKey, Decision>,
    /// What is promised and not bound yet, by workload.
    #[serde(serialize_with = "by_name")]
    pub reservations: BTreeMap<WorkloadKey, Vec<Reservation>>,
    /// Attempts to have nodes added, by workload.
    #[serde(serialize_with = "by_name")]
    pub attempts: BTreeMap<WorkloadKey, Attempt>,
    /// Devices that are there and not allocatable.
    pub lapses: Lapses,
    /// How long nodes take to come, and who is expected.
    pub arrivals: Arrivals,
    /// What is kept for pods which a node autoscaler has booked room for.
    pub booked: Vec<Booked>,
    /// GPUs that are free on nodes that are ready and not cordoned.
    pub free_gpus: i64,
    /// Age of the capacity view that the grants rest on; none before the first list.
    pub capacity_heard_at: Option<Timestamp>,
    /// Health of each source.
    pub sources: BTreeMap<String, SourceHealth>,
    /// Who answers External metrics; none before it has been asked.
    pub external_api: Option<ExternalApi>,
    /// Over all records: equal digests mean equal decisions.
    pub digest: String,
    /// Which HPA metrics a request is about.
    #[serde(skip)]
    pub bindings: BTreeMap<BindingKey, Vec<Binding>>,
    /// What is known of each trigger of KEDA's objects beside its value.
    #[serde(skip)]
    pub triggers: BTreeMap<BindingKey, TriggerState>,
    /// By namespace and metric, the HPAs whose cap a raw sample of a pod would go around.
    #[serde(skip)]
    pub enforced: BTreeMap<(String, String), Vec<Enforced>>,
    /// Per signal, the samples of all pods, for requests that no HPA makes.
    #[serde(skip)]
    pub samples: BTreeMap<String, Shared<BTreeMap<ObjectKey, Sample>>>,
    /// Labels of the pods that have samples.
    #[serde(skip)]
    pub labels: Shared<BTreeMap<ObjectKey, Shared<Labels>>>,
    /// The policy of the evaluation.
    #[serde(skip)]
    pub policy: Policy,
}

/// Writes a map under the printed form of its keys, which JSON needs to be texts.
fn by_name<K: std::fmt::Display, V: Serialize, S: serde::Serializer>(
    map: &BTreeMap<K, V>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(map.iter().map(|(key, value)| (key.to_string(), value)))
}

#[cfg(test)]
mod tests;
