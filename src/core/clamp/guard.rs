//! The states that a clamp guards against, and the cap that follows from them.

use crate::hpa::Tolerances;

/// Whether replicas above the grant stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Stance {
    /// They stay: the cap is the larger of grant and current count.
    Hold,
    /// They are let go, as far as no bound pod is lost: the cap is the grant.
    Shed,
}

/// What is known of a workload at the moment of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Guard {
    /// `scale.spec.replicas`.
    pub current: i32,
    /// `scale.status.replicas`.
    pub reported: i32,
    /// Pods that the selector matches and that have not ended, terminating ones included.
    pub matching: i32,
    /// Those of them that are assigned to a node.
    pub assigned: i32,
    /// Pods that the selector matches and that are Running and Ready, terminating ones included.
    pub ready: i32,
    /// Pods assigned to a node, not terminal and not terminating.
    pub bound: i32,
    /// Replicas allotted to the workload.
    pub grant: i32,
    /// Whether replicas above the grant stay.
    pub stance: Stance,
    /// `spec.maxReplicas` of the HPA, which the controller applies after every proposal.
    pub max_replicas: i32,
    /// Whether the HPA has no `behavior`: it then remembers unlimited proposals for minutes.
    pub remembers: bool,
    /// Window in which a shrinking proposal is held back, in seconds.
    pub down_window_seconds: i32,
    /// Tolerances of the HPA.
    pub tolerances: Tolerances,
}

/// Scale-down windows below this many seconds let a short rollout's surge shrink a workload.
const SHORT_WINDOW_SECONDS: i32 = 60;

impl Guard {
    /// The cap: no proposal may be above it.
    ///
    /// An HPA without `behavior` applies the largest *unlimited* proposal of the last minutes later on, so that there
    /// nothing above what one sync may add is ever proposed (`calculateScaleUpLimit`, `horizontal.go` v1.36.3).
    #[must_use]
    pub fn cap(&self) -> i32 {
        self.limited(match self.stance {
            Stance::Hold => self.grant.max(self.current),
            Stance::Shed => self.grant,
        })
    }

    /// The cap while the surplus is held.
    #[must_use]
    pub fn holding_cap(&self) -> i32 {
        self.limited(self.grant.max(self.current))
    }

    /// Whether there is a surplus that is to go.
    #[must_use]
    pub fn sheds(&self) -> bool {
        self.stance == Stance::Shed && self.grant < self.current
    }

    /// The same guard with the surplus held.
    #[must_use]
    pub(super) fn holding(&self) -> Self {
        Self { stance: Stance::Hold, ..*self }
    }

    /// Whether the HPA's own maximum makes every proposal harmless.
    pub(super) fn max_is_within_cap(&self) -> bool {
        !self.sheds() && self.max_replicas <= self.cap()
    }

    /// Whether a shrinking proposal takes effect within seconds.
    pub(super) fn shrinks_at_once(&self) -> bool {
        self.down_window_seconds < SHORT_WINDOW_SECONDS
    }

    /// The largest count of Running and Ready pods that the controller may see.
    pub(super) fn most_ready(&self) -> i32 {
        self.reported.max(self.matching).max(self.ready).max(1)
    }

    /// What one sync may add, where nothing above it may be proposed: an HPA without `behavior` remembers it.
    #[must_use]
    pub fn sync_limit(&self) -> Option<i32> {
        self.remembers.then(|| self.current.saturating_mul(2).max(4))
    }

    fn limited(&self, cap: i32) -> i32 {
        cap.max(0).min(self.sync_limit().unwrap_or(i32::MAX))
    }
}
