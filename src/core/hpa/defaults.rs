//! What the API server fills in before a controller sees an HPA (`pkg/apis/autoscaling/v2/defaults.go`, v1.36.3).

use crate::object::{
    HorizontalPodAutoscaler,
    hpa::{Behavior, MetricSpec, MetricTarget, ResourceMetric, ScalingPolicy, ScalingRules},
};

/// Utilisation that an HPA without metrics aims at (`DefaultCPUUtilization`).
const CPU_PERCENT: i32 = 80;

/// The HPA with defaults applied: one replica at least, CPU at 80 %, and both sides of a behaviour.
///
/// The window of shrinking is left open, since it is a flag of the controller.
#[must_use]
pub fn with_defaults(hpa: &HorizontalPodAutoscaler) -> HorizontalPodAutoscaler {
    let mut hpa = hpa.clone();
    hpa.spec.min_replicas.get_or_insert(1);
    if hpa.spec.metrics.is_empty() {
        hpa.spec.metrics.push(cpu_utilization());
    }
    hpa.spec.behavior = hpa.spec.behavior.map(|behavior| Behavior {
        scale_up: Some(filled(behavior.scale_up, up())),
        scale_down: Some(filled(behavior.scale_down, down())),
    });
    hpa
}

fn cpu_utilization() -> MetricSpec {
    let target =
        MetricTarget { kind: "Utilization".into(), average_utilization: Some(CPU_PERCENT), ..MetricTarget::default() };
    MetricSpec {
        kind: "Resource".into(),
        resource: Some(ResourceMetric { name: "cpu".into(), target }),
        ..MetricSpec::default()
    }
}

fn up() -> ScalingRules {
    ScalingRules {
        stabilization_window_seconds: Some(0),
        select_policy: Some("Max".into()),
        policies: Some(vec![policy("Pods", 4), policy("Percent", 100)]),
        tolerance: None,
    }
}

fn down() -> ScalingRules {
    ScalingRules {
        stabilization_window_seconds: None,
        select_policy: Some("Max".into()),
        policies: Some(vec![policy("Percent", 100)]),
        tolerance: None,
    }
}

fn policy(kind: &str, value: i32) -> ScalingPolicy {
    ScalingPolicy { kind: kind.into(), value, period_seconds: 15 }
}

/// The given rules, field by field, over the defaults. An empty list of policies is a given one.
fn filled(given: Option<ScalingRules>, default: ScalingRules) -> ScalingRules {
    let given = given.unwrap_or_default();
    ScalingRules {
        stabilization_window_seconds: given.stabilization_window_seconds.or(default.stabilization_window_seconds),
        select_policy: given.select_policy.or(default.select_policy),
        policies: given.policies.or(default.policies),
        tolerance: given.tolerance.or(default.tolerance),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defaulted(spec: &str) -> HorizontalPodAutoscaler {
        with_defaults(&serde_json::from_str(&format!(r#"{{"spec":{spec}}}"#)).unwrap())
    }

    #[test]
    fn an_hpa_without_metrics_aims_at_80_percent_cpu() {
        let hpa = defaulted(r#"{"maxReplicas":5}"#);
        let resource = hpa.spec.metrics[0].resource.as_ref().unwrap();
        assert_eq!((&*resource.name, resource.target.average_utilization), ("cpu", Some(80)));
        assert_eq!(hpa.spec.min_replicas, Some(1));
        assert!(hpa.spec.behavior.is_none());
    }

    #[test]
    fn a_behaviour_with_one_side_gets_the_other() {
        let behavior = defaulted(r#"{"behavior":{"scaleUp":{"selectPolicy":"Min"}}}"#).spec.behavior.unwrap();
        let (up, down) = (behavior.scale_up.unwrap(), behavior.scale_down.unwrap());
        assert_eq!(up.select_policy.as_deref(), Some("Min"));
        assert_eq!(up.policies.unwrap().len(), 2);
        assert_eq!((down.stabilization_window_seconds, down.policies.unwrap().len()), (None, 1));
    }

    #[test]
    fn a_list_of_no_policies_is_kept() {
        let behavior = defaulted(r#"{"behavior":{"scaleUp":{"policies":[]}}}"#).spec.behavior.unwrap();
        assert_eq!(behavior.scale_up.unwrap().policies.unwrap().len(), 0);
    }
}
