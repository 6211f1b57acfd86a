//! Which HPAs concern us: those with a metric that is served. All others are somebody else's business: nothing of
//! their workloads is measured, counted or decided.

use std::collections::BTreeSet;

use super::{
    binding::{Asked, AskedKind},
    trigger,
};
use crate::{
    cluster::View,
    object::{HorizontalPodAutoscaler, WorkloadKey},
    policy::{Policy, ServedMetric},
};

/// The metrics of an HPA that are served: of a served name, and of a type that can be served.
pub fn served_metrics<'a>(
    hpa: &'a HorizontalPodAutoscaler,
    policy: &'a Policy,
) -> impl Iterator<Item = &'a ServedMetric> {
    let asked = hpa.spec.metrics.iter().filter_map(|spec| Asked::of(hpa, spec));
    asked.filter_map(|asked| served(&asked, policy))
}

/// The workloads of all HPAs with a metric that is served, and of all objects of KEDA with a trigger of ours.
#[must_use]
pub fn scaled(view: &View, policy: &Policy) -> BTreeSet<WorkloadKey> {
    let ours = view.hpas.values().filter(|hpa| refers_to_ours(hpa, policy));
    ours.map(HorizontalPodAutoscaler::workload).chain(trigger::workloads(view)).collect()
}

/// Whether an HPA has a metric that is served.
pub(super) fn refers_to_ours(hpa: &HorizontalPodAutoscaler, policy: &Policy) -> bool {
    served_metrics(hpa, policy).next().is_some()
}

/// What is served for what is asked, if anything.
pub(super) fn served<'p>(asked: &Asked<'_>, policy: &'p Policy) -> Option<&'p ServedMetric> {
    policy.metric(&asked.metric.name).filter(|_| asked.kind != AskedKind::Foreign)
}
