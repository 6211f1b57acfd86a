//! What Prometheus servers are needed for: signals of namespaces with an HPA that refers to a metric made of them, and
//! the queries of the profiles of KEDA's triggers.

use plimsoll_core::{
    cluster::View,
    decision,
    policy::{MetricKind, Policy},
};

use crate::source::prometheus::Needs;

/// The needs of all HPAs, and of all triggers of KEDA's objects.
pub(super) fn of(view: &View, policy: &Policy) -> Needs {
    let mut signals = decision::trigger_signals(view);
    for hpa in view.hpas.values() {
        for metric in decision::served_metrics(hpa, policy) {
            if let MetricKind::PerPod { signal } | MetricKind::PerWorkload { signal } = &metric.kind {
                signals.entry(signal.clone()).or_default().insert(hpa.metadata.namespace.clone());
            }
        }
    }
    Needs { signals, profiles: decision::profile_queries(view) }
}

#[cfg(test)]
mod tests {
    use plimsoll_core::{object::HorizontalPodAutoscaler, signal};

    use super::*;

    #[test]
    fn a_namespace_needs_the_signals_of_its_own_hpas_only() {
        let hpa: HorizontalPodAutoscaler = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "chat", "namespace": "inference"},
            "spec": {"metrics": [
                {"type": "Pods", "pods": {"metric": {"name": "inference_queue_length"}}},
                {"type": "External", "external": {"metric": {"name": "gpu_nodes_available"}}},
                {"type": "Resource", "resource": {"name": "cpu"}},
            ]},
        }))
        .unwrap();
        let mut view = View::default();
        view.hpas.insert(hpa.metadata.key(), hpa);
        let needs = of(&view, &Policy::default());
        assert_eq!((needs.signals.len(), needs.profiles.len()), (1, 0));
        assert!(needs.signals[signal::QUEUE_LENGTH].contains("inference"));
    }
}
