//! One evaluation of one HPA from beginning to end (`reconcileAutoscaler`), for the controller's default feature gates.

use jiff::Timestamp;
use serde::Serialize;

use super::{
    GoDuration, State, Values, condition,
    metric::{self, Context},
    pods,
    rate::{self, Bounds},
    stabilization::{self, Windows},
    tolerances_of, with_defaults,
};
use crate::{
    object::{
        HorizontalPodAutoscaler, Pod, Scale,
        hpa::{Behavior, HpaCondition, ScalingRules},
    },
    selector::Selector,
};

/// Namespace of an HPA that names none.
const DEFAULT_NAMESPACE: &str = "default";

/// The flags of kube-controller-manager that change what an HPA does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ControllerConfig {
    /// `--horizontal-pod-autoscaler-sync-period`: time between two evaluations of an HPA.
    pub sync_period: GoDuration,
    /// `--horizontal-pod-autoscaler-downscale-stabilization`.
    pub downscale_stabilization: GoDuration,
    /// `--horizontal-pod-autoscaler-cpu-initialization-period`.
    pub cpu_initialization_period: GoDuration,
    /// `--horizontal-pod-autoscaler-initial-readiness-delay`.
    pub initial_readiness_delay: GoDuration,
    /// `--horizontal-pod-autoscaler-tolerance`.
    pub tolerance: f64,
}

/// What an evaluation looks at.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// The HPA; defaults are applied to it.
    pub hpa: &'a HorizontalPodAutoscaler,
    /// The scale of its target; none when it cannot be read.
    pub scale: Option<&'a Scale>,
    /// Pods of the namespace; they are selected here.
    pub pods: &'a [Pod],
    /// The values of its metrics.
    pub values: &'a Values,
    /// What the controller remembers.
    pub state: &'a State,
}

/// What an evaluation leaves behind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// `status.desiredReplicas` afterwards. After a failure it is what it was before.
    pub desired_replicas: i32,
    /// Why the evaluation failed, or which metrics did although others sufficed.
    pub error: Option<String>,
    /// What each metric proposed, in the HPA's order; empty when metrics were not asked.
    pub proposals: Vec<Proposal>,
    /// `status.conditions` afterwards.
    pub conditions: Vec<HpaCondition>,
    /// What the controller remembers afterwards.
    pub state: State,
    /// The count that the scale target was set to, if it was.
    #[serde(skip)]
    pub rescaled_to: Option<i32>,
}

/// What one metric proposed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Proposal {
    /// `Object`, `Pods`, `Resource`, `ContainerResource`, `External`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Name of the metric, or of the resource.
    pub metric: String,
    /// Replicas.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Why there is no proposal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Evaluates an HPA once at `now`, assuming that a rescale succeeds.
///
/// Never fails as a function: what the controller would report as an error is part of the outcome.
#[must_use]
pub fn evaluate(situation: &Situation<'_>, config: &ControllerConfig, now: Timestamp) -> Outcome {
    let hpa = with_defaults(situation.hpa);
    let mut run = Run {
        outcome: Outcome {
            desired_replicas: hpa.status.desired_replicas,
            conditions: hpa.status.conditions.clone(),
            state: situation.state.clone(),
            ..Outcome::default()
        },
        bounds: Bounds { min: hpa.spec.min_replicas.unwrap_or(1), max: hpa.spec.max_replicas },
        config,
        now,
    };
    match target_scale(&hpa, situation.scale) {
        Ok(scale) => run.reconcile(&hpa, scale, situation),
        Err(error) => {
            run.condition("AbleToScale", false, "FailedGetScale");
            run.outcome.error = Some(error);
        }
    }
    run.outcome
}

fn target_scale<'a>(hpa: &HorizontalPodAutoscaler, scale: Option<&'a Scale>) -> Result<&'a Scale, String> {
    let version = &hpa.spec.scale_target_ref.api_version;
    if version.matches('/').count() > 1 {
        return Err(format!("scaleTargetRef.apiVersion {version:?} is not a group and a version"));
    }
    scale.ok_or_else(|| "the scale of the target could not be read".to_owned())
}

/// An evaluation under way.
struct Run<'a> {
    outcome: Outcome,
    bounds: Bounds,
    config: &'a ControllerConfig,
    now: Timestamp,
}

/// What the metrics together say.
struct Verdict {
    /// The largest valid proposal; none when the evaluation ends here.
    replicas: Option<i32>,
    /// Which metrics failed.
    error: Option<String>,
}

impl Run<'_> {
    fn condition(&mut self, kind: &str, status: bool, reason: &str) {
        condition::set(&mut self.outcome.conditions, kind, status, reason);
    }

    fn reconcile(&mut self, hpa: &HorizontalPodAutoscaler, scale: &Scale, situation: &Situation<'_>) {
        self.condition("AbleToScale", true, "SucceededGetScale");
        let current = scale.spec_replicas;
        self.outcome.state.seed(current, self.now);
        let behavior = hpa.spec.behavior.as_ref();
        if current == 0 {
            self.condition("ScalingActive", false, "ScalingDisabled");
            condition::remove(&mut self.outcome.conditions, "ScaledToZero");
            self.outcome.desired_replicas = 0;
        } else if current > self.bounds.max {
            self.rescale(behavior, current, self.bounds.max);
        } else if current < self.bounds.min {
            self.rescale(behavior, current, self.bounds.min);
        } else {
            self.by_metrics(hpa, scale, situation);
        }
    }

    fn by_metrics(&mut self, hpa: &HorizontalPodAutoscaler, scale: &Scale, situation: &Situation<'_>) {
        let verdict = self.ask_metrics(hpa, scale, situation);
        self.outcome.error = verdict.error;
        let Some(proposed) = verdict.replicas else { return };
        let (current, proposed) = (scale.spec_replicas, proposed.max(0));
        let desired = match &hpa.spec.behavior {
            None => self.without_behavior(current, proposed),
            Some(behavior) => self.with_behavior(behavior, current, proposed),
        };
        if desired == current {
            self.outcome.desired_replicas = current;
        } else {
            self.rescale(hpa.spec.behavior.as_ref(), current, desired);
        }
    }

    /// `computeReplicasForMetrics`.
    fn ask_metrics(&mut self, hpa: &HorizontalPodAutoscaler, scale: &Scale, situation: &Situation<'_>) -> Verdict {
        let selector = match scale_selector(&scale.selector) {
            Ok(selector) => selector,
            Err(error) => {
                self.condition("ScalingActive", false, "InvalidSelector");
                return Verdict { replicas: None, error: Some(error) };
            }
        };
        let namespace = namespace_of(hpa);
        let pods = pods::list(situation.pods, namespace, &selector);
        let context = Context {
            namespace,
            pods: &pods,
            values: situation.values,
            spec_replicas: scale.spec_replicas,
            status_replicas: scale.status_replicas,
            tolerances: tolerances_of(hpa, self.config.tolerance),
            config: self.config,
            now: self.now,
        };
        self.combine(hpa, &context)
    }

    /// The largest proposal, unless all metrics failed or one failed while the others would shrink.
    fn combine(&mut self, hpa: &HorizontalPodAutoscaler, context: &Context<'_>) -> Verdict {
        let mut replicas = 0;
        let mut failed = Vec::new();
        for spec in &hpa.spec.metrics {
            let result = metric::propose(context, spec);
            self.outcome.proposals.push(Proposal {
                kind: spec.kind.clone(),
                metric: metric::name(spec).to_owned(),
                replicas: result.as_ref().ok().copied(),
                error: result.as_ref().err().map(ToString::to_string),
            });
            match result {
                // A proposal of 0 gives way to whatever comes next, even to less.
                Ok(proposed) if replicas == 0 || proposed > replicas => replicas = proposed,
                Ok(_) => {}
                Err(failure) => failed.push((spec, failure)),
            }
        }
        let error = failed.first().map(|(_, first)| {
            format!("{} of {} metrics failed, the first one because: {first}", failed.len(), hpa.spec.metrics.len())
        });
        let invalid = failed.len() == hpa.spec.metrics.len() || replicas < context.spec_replicas;
        match failed.first() {
            Some((spec, _)) if invalid => {
                self.condition("ScalingActive", false, metric::failure_reason(spec));
                Verdict { replicas: None, error }
            }
            _ => {
                self.condition("ScalingActive", true, "ValidMetricFound");
                Verdict { replicas: Some(replicas), error }
            }
        }
    }

    /// `normalizeDesiredReplicas`.
    fn without_behavior(&mut self, current: i32, proposed: i32) -> i32 {
        let window = self.config.downscale_stabilization;
        let stabilized = stabilization::highest(&mut self.outcome.state.recommendations, proposed, window, self.now);
        let reason = if stabilized == proposed { "ReadyForNewScale" } else { "ScaleDownStabilized" };
        self.condition("AbleToScale", true, reason);
        let limited = rate::by_fixed_limit(current, stabilized, self.bounds);
        self.condition("ScalingLimited", limited.replicas != stabilized, limited.reason);
        limited.replicas
    }

    /// `normalizeDesiredReplicasWithBehaviors`.
    fn with_behavior(&mut self, behavior: &Behavior, current: i32, proposed: i32) -> i32 {
        let (up, down) = sides(behavior);
        let flag = self.config.downscale_stabilization.nanos / 1_000_000_000;
        let windows = Windows {
            up: up.stabilization_window_seconds.unwrap_or(0),
            down: down.stabilization_window_seconds.unwrap_or_else(|| i32::try_from(flag).unwrap_or(i32::MIN)),
        };
        let recommendations = &mut self.outcome.state.recommendations;
        let stabilized = stabilization::within_windows(recommendations, proposed, current, windows, self.now);
        let reason = if stabilized == proposed {
            "ReadyForNewScale"
        } else if proposed >= current {
            "ScaleUpStabilized"
        } else {
            "ScaleDownStabilized"
        };
        self.condition("AbleToScale", true, reason);
        let limited = rate::by_policies(current, stabilized, self.bounds, (&up, &down), &self.outcome.state, self.now);
        self.condition("ScalingLimited", limited.replicas != stabilized, limited.reason);
        limited.replicas
    }

    /// Sets the scale, which always succeeds here, and remembers the change where a behaviour needs it.
    fn rescale(&mut self, behavior: Option<&Behavior>, current: i32, desired: i32) {
        self.condition("AbleToScale", true, "SucceededRescale");
        condition::remove(&mut self.outcome.conditions, "ScaledToZero");
        self.outcome.desired_replicas = desired;
        self.outcome.rescaled_to = Some(desired);
        let Some(behavior) = behavior else { return };
        let (up, down) = sides(behavior);
        let state = &mut self.outcome.state;
        if desired > current {
            rate::store_event(&mut state.scale_up_events, &up, desired.wrapping_sub(current), self.now);
        } else {
            rate::store_event(&mut state.scale_down_events, &down, current.wrapping_sub(desired), self.now);
        }
    }
}

/// Both sides of a behaviour; defaults have filled them.
fn sides(behavior: &Behavior) -> (ScalingRules, ScalingRules) {
    (behavior.scale_up.clone().unwrap_or_default(), behavior.scale_down.clone().unwrap_or_default())
}

/// The namespace of an HPA: `default` for one that names none.
#[must_use]
pub fn namespace_of(hpa: &HorizontalPodAutoscaler) -> &str {
    if hpa.metadata.namespace.is_empty() { DEFAULT_NAMESPACE } else { &hpa.metadata.namespace }
}

/// `validateAndParseSelector`, but for the question whether another HPA selects the same pods.
fn scale_selector(text: &str) -> Result<Selector, String> {
    if text.is_empty() {
        return Err("the scale of the target has no selector".to_owned());
    }
    text.parse().map_err(|error| format!("the selector of the target's scale cannot be read: {error}"))
}

// === impl ControllerConfig ===

impl Default for ControllerConfig {
    fn default() -> Self {
        Self {
            sync_period: GoDuration::from_secs(15),
            downscale_stabilization: GoDuration::from_secs(300),
            cpu_initialization_period: GoDuration::from_secs(300),
            initial_readiness_delay: GoDuration::from_secs(30),
            tolerance: 0.1,
        }
    }
}

#[cfg(test)]
mod tests;
