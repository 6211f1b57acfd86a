//! How one HPA computes: its bounds, tolerances, windows and policies, defaults applied.

use crate::{
    clamp::{Guard, Stance},
    hpa::{Tolerances, tolerance},
    object::{
        HorizontalPodAutoscaler, WorkloadKey,
        hpa::{ScalingPolicy, ScalingRules},
    },
    policy::{Mode, Policy},
};

use super::Live;

/// What the clamp has to know of an HPA.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// What it scales.
    pub workload: WorkloadKey,
    /// What is done for it.
    pub mode: Mode,
    /// `spec.minReplicas`, 1 where absent.
    pub min_replicas: i32,
    /// `spec.maxReplicas`.
    pub max_replicas: i32,
    /// Whether it has no `behavior` and so remembers unlimited proposals.
    pub remembers: bool,
    /// Window in which shrinking is held back, in seconds.
    pub down_window_seconds: i32,
    /// Tolerances.
    pub tolerances: Tolerances,
    /// Whether it also has metrics that somebody else serves.
    pub bypassed: bool,
    up: UpPolicies,
}

/// What may be added in one sync.
#[derive(Clone, Debug, PartialEq)]
enum UpPolicies {
    /// No `behavior`: `max(2s, 4)`.
    Builtin,
    /// Growth is switched off.
    Disabled,
    /// The largest (or smallest) of these.
    Policies { policies: Vec<ScalingPolicy>, smallest: bool },
}

// === impl Rules ===

impl Rules {
    /// The rules of an HPA, defaults of the API and of the cluster applied.
    #[must_use]
    pub fn of(hpa: &HorizontalPodAutoscaler, mode: Mode, policy: &Policy) -> Self {
        let behavior = hpa.spec.behavior.as_ref();
        let up = behavior.and_then(|behavior| behavior.scale_up.as_ref());
        let down = behavior.and_then(|behavior| behavior.scale_down.as_ref());
        let window = down.and_then(|rules| rules.stabilization_window_seconds);
        let cluster_window = i32::try_from(policy.downscale_stabilization.as_secs()).unwrap_or(i32::MAX);
        Self {
            workload: hpa.workload(),
            mode,
            min_replicas: hpa.spec.min_replicas.unwrap_or(1),
            max_replicas: hpa.spec.max_replicas,
            remembers: behavior.is_none(),
            down_window_seconds: window.unwrap_or(cluster_window),
            tolerances: tolerance::tolerances_of(hpa, policy.tolerance),
            bypassed: false,
            up: if behavior.is_none() { UpPolicies::Builtin } else { UpPolicies::of(up) },
        }
    }

    /// The same rules where nothing is clamped.
    #[must_use]
    pub(super) fn serving_raw(&self) -> Self {
        Self { mode: self.mode.max(Mode::Observe), ..self.clone() }
    }

    /// The states that a request has to be guarded against.
    #[must_use]
    pub fn guard(&self, live: &Live, grant: i32, stance: Stance) -> Guard {
        Guard {
            current: live.current,
            reported: live.reported,
            matching: live.matching,
            assigned: live.assigned,
            ready: live.ready,
            bound: live.bound,
            grant: grant.max(live.bound),
            stance,
            max_replicas: self.max_replicas,
            remembers: self.remembers,
            down_window_seconds: self.down_window_seconds,
            tolerances: self.tolerances,
        }
    }

    /// The most replicas that are as good as the current count to it, since their ratio is within the tolerance.
    #[must_use]
    pub(super) fn idle(&self, current: i32) -> i32 {
        let most = f64::from(current) * (1.0 + self.tolerances.up);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "it saturates, and is no larger than what it is compared with"
        )]
        let most = most.floor() as i32;
        most.max(current)
    }

    /// The most replicas that the next sync may ask for, from that many.
    #[must_use]
    pub fn next_sync(&self, current: i32) -> i32 {
        match &self.up {
            UpPolicies::Builtin => current.saturating_mul(2).max(4),
            UpPolicies::Disabled => current,
            UpPolicies::Policies { policies, smallest } => {
                let limits = policies.iter().map(|policy| raised(current, policy));
                if *smallest { limits.min() } else { limits.max() }.unwrap_or(i32::MAX)
            }
        }
    }
}

impl UpPolicies {
    fn of(rules: Option<&ScalingRules>) -> Self {
        let select = rules.and_then(|rules| rules.select_policy.as_deref());
        if select == Some("Disabled") {
            return Self::Disabled;
        }
        let policies = rules.and_then(|rules| rules.policies.clone()).filter(|policies| !policies.is_empty());
        Self::Policies { policies: policies.unwrap_or_else(default_policies), smallest: select == Some("Min") }
    }
}

/// `defaultHPAScaleUpRules` (`pkg/apis/autoscaling/v2/defaults.go` v1.36.3): 4 pods or 100 % in 15 s.
fn default_policies() -> Vec<ScalingPolicy> {
    [("Pods", 4), ("Percent", 100)]
        .map(|(kind, value)| ScalingPolicy { kind: kind.to_owned(), value, period_seconds: 15 })
        .to_vec()
}

fn raised(current: i32, policy: &ScalingPolicy) -> i32 {
    let added = if policy.kind == "Percent" {
        (i64::from(current) * i64::from(policy.value)).unsigned_abs().div_ceil(100)
    } else {
        u64::from(policy.value.unsigned_abs())
    };
    current.saturating_add(i32::try_from(added).unwrap_or(i32::MAX))
}
