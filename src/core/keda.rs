//! What is wrong, or will surprise, in KEDA's objects as far as our triggers go. The decision puts it into Events, the
//! offline lint prints it; neither knows more than the other.

use serde::Serialize;

use crate::{
    object::keda::{ScaleTrigger, ScaledJob, ScaledObject},
    trigger::{Signal, Trigger},
};

/// Seconds that a served value may be old before the cap in it says nothing: the life of a promise.
const MAX_CACHED: i32 = 30;
/// Replicas above which a step of one lies within the HPA's default tolerance of 10 %.
const TOLERATED: i32 = 10;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// The trigger does not work.
    Error,
    /// It works, but not as one would think.
    Warning,
}

/// Something that is wrong or will surprise.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Where: a path in the object, e.g. `spec.triggers[0].metadata.threshold`.
    pub path: String,
    /// What, and what would be right.
    pub message: String,
}

/// What both kinds of objects have.
struct Common<'a> {
    triggers: &'a [ScaleTrigger],
    /// Whether triggers of any kind may bring the count to nothing.
    from_zero: bool,
    formula: &'a str,
    findings: Vec<Finding>,
}

/// Everything about the triggers of ours in a ScaledObject; nothing if it has none.
#[must_use]
pub fn findings_of_object(object: &ScaledObject) -> Vec<Finding> {
    let spec = &object.spec;
    let formula = spec.advanced.scaling_modifiers.formula.as_str();
    let mut common =
        Common { triggers: &spec.triggers, from_zero: object.min_idle() == 0, formula, findings: Vec::new() };
    let ours = common.check_triggers();
    if ours.is_empty() {
        return common.findings;
    }
    if object.min_idle().max(spec.min_replica_count.unwrap_or(0)) > object.max() {
        common.error("spec.maxReplicaCount", "is below the minimum");
    }
    common.check_company(&ours);
    for (index, trigger) in &ours {
        common.check_zero(*index, trigger);
    }
    if spec.polling_interval.unwrap_or(30) > MAX_CACHED {
        for index in 0..spec.triggers.len() {
            let cached =
                spec.triggers.get(index).is_some_and(|trigger| trigger.use_cached_metrics && trigger.is_ours());
            if cached {
                let path = format!("spec.triggers[{index}].useCachedMetrics");
                let message = format!(
                    "the HPA would see values, and the cap in them, up to pollingInterval old: at most {MAX_CACHED} s"
                );
                common.warn(&path, message);
            }
        }
    }
    check_tolerance(object, &ours, &mut common);
    common.sorted()
}

/// The same for a ScaledJob.
#[must_use]
pub fn findings_of_job(job: &ScaledJob) -> Vec<Finding> {
    let mut common = Common { triggers: &job.spec.triggers, from_zero: true, formula: "", findings: Vec::new() };
    let ours = common.check_triggers();
    for (index, trigger) in &ours {
        if job.spec.triggers.get(*index).is_some_and(|trigger| trigger.kind == "external-push") {
            let path = format!("spec.triggers[{index}].type");
            common.warn(&path, "KEDA does not take pushes for ScaledJobs: use external");
        }
        common.check_zero(*index, trigger);
        if !matches!(trigger.signal, Signal::QueueLength { .. } | Signal::Capacity) {
            let path = format!("spec.triggers[{index}].metadata.signal");
            common.error(&path, "a ScaledJob makes Jobs for what waits: use queueLength");
        }
    }
    common.sorted()
}

/// A step of one replica is within the tolerance of an HPA above ten replicas, so that it is never taken.
fn check_tolerance(object: &ScaledObject, ours: &[(usize, Trigger)], common: &mut Common<'_>) {
    let behavior = object.spec.advanced.horizontal_pod_autoscaler_config.behavior.as_ref();
    let up = behavior.and_then(|behavior| behavior.scale_up.as_ref()).and_then(|rules| rules.tolerance);
    let down = behavior.and_then(|behavior| behavior.scale_down.as_ref()).and_then(|rules| rules.tolerance);
    let counted = ours.iter().any(|(_, trigger)| trigger.counts_replicas());
    if counted && object.max() > TOLERATED && (up.is_none() || down.is_none()) {
        let message = "a replica-valued signal above 10 replicas: steps of one are within the HPA's tolerance of 10 % and \
                       are not taken; set tolerance: \"0\" in scaleUp and scaleDown";
        common.warn("spec.advanced.horizontalPodAutoscalerConfig.behavior", message);
    }
}

// === impl Common ===

impl Common<'_> {
    /// The triggers of ours that are well-formed, with their places.
    fn check_triggers(&mut self) -> Vec<(usize, Trigger)> {
        let mut ours = Vec::new();
        for (index, trigger) in self.triggers.iter().enumerate().filter(|(_, trigger)| trigger.is_ours()) {
            match Trigger::parse(&trigger.metadata) {
                Ok(parsed) => {
                    self.check_metric_type(index, &trigger.metric_type, &parsed);
                    ours.push((index, parsed));
                }
                Err(problems) => {
                    for problem in problems {
                        let path = format!("spec.triggers[{index}].metadata.{}", problem.key);
                        self.error(&path, problem.message);
                    }
                }
            }
        }
        ours
    }

    fn check_metric_type(&mut self, index: usize, metric_type: &str, trigger: &Trigger) {
        let path = format!("spec.triggers[{index}].metricType");
        match metric_type {
            "" | "AverageValue" => {}
            "Value" if !trigger.counts_replicas() => {}
            "Value" => self.error(
                &path,
                "the signal is a replica count, which a Value target multiplies by the ready replicas: use AverageValue",
            ),
            _ => self.error(&path, "KEDA takes AverageValue or Value for external triggers"),
        }
    }

    /// What other triggers do to the cap.
    fn check_company(&mut self, ours: &[(usize, Trigger)]) {
        let has_capacity = ours.iter().any(|(_, trigger)| trigger.signal == Signal::Capacity);
        if !self.formula.is_empty() {
            if !has_capacity {
                let message = "a formula replaces the targets that values are capped for: add a trigger with signal \
                               capacity, and take the min() with it";
                self.warn("spec.advanced.scalingModifiers.formula", message);
            }
            return;
        }
        if ours.iter().all(|(_, trigger)| trigger.signal == Signal::Capacity) {
            let message = "room says nothing of demand, so nothing would ever become active: use it in a formula, or add \
                           a trigger that measures demand";
            self.error("spec.triggers", message);
        }
        for (index, trigger) in self.triggers.iter().enumerate().filter(|(_, trigger)| !trigger.is_ours()) {
            let message = format!(
                "{} escapes the cap, because an HPA takes its largest proposal: use a formula with min() and signal capacity",
                trigger.kind.chars().take(64).collect::<String>()
            );
            self.warn(&format!("spec.triggers[{index}]"), message);
        }
        for (index, _) in ours.iter().filter(|(_, trigger)| !trigger.clamp) {
            self.warn(&format!("spec.triggers[{index}].metadata.capacity"), "escapes the cap, as it says");
        }
    }

    /// At no replicas no pod can be asked.
    fn check_zero(&mut self, index: usize, trigger: &Trigger) {
        if self.from_zero && trigger.query.is_none() && trigger.signal != Signal::Capacity {
            let message = "at 0 replicas no pod can be asked for its demand, so nothing would ever become active again: \
                           give serverAddress and query, or a minimum of 1";
            self.warn(&format!("spec.triggers[{index}].metadata"), message);
        }
    }

    fn error(&mut self, path: &str, message: impl Into<String>) {
        self.push(Severity::Error, path, message.into());
    }

    fn warn(&mut self, path: &str, message: impl Into<String>) {
        self.push(Severity::Warning, path, message.into());
    }

    fn push(&mut self, severity: Severity, path: &str, message: String) {
        self.findings.push(Finding { severity, path: path.to_owned(), message });
    }

    fn sorted(mut self) -> Vec<Finding> {
        self.findings.sort();
        self.findings
    }
}

#[cfg(test)]
mod tests;
