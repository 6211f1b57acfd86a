//! Karpenter's NodePools and NodeClaims (`karpenter.sh/v1`).

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::{NodeGroup, Refusal, RefusalKind};
use crate::{
    object::{
        meta::{Condition, ObjectMeta, null_as_default, null_items_as_default},
        pod::ResourceList,
    },
    quantity::Quantity,
};

/// Reason of the event with which it says that a machine cannot be had; the claim is deleted in the same moment
/// (`pkg/controllers/nodeclaim/lifecycle/launch.go`).
pub const STOCK_OUT: &str = "InsufficientCapacityError";
/// How long that counts: it has no back-off of its own, so this is that with which Cluster Autoscaler begins.
const PAUSE: SignedDuration = SignedDuration::from_secs(300);
/// Label of a claim that names its pool.
const POOL: &str = "karpenter.sh/nodepool";

/// The read part of a NodePool.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct NodePool {
    #[serde(deserialize_with = "null_as_default")]
    metadata: ObjectMeta,
    #[serde(deserialize_with = "null_as_default")]
    spec: NodePoolSpec,
    #[serde(deserialize_with = "null_as_default")]
    status: NodePoolStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct NodePoolSpec {
    #[serde(deserialize_with = "null_as_default")]
    limits: ResourceList,
    /// A static pool has a fixed number of nodes.
    replicas: Option<i64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct NodePoolStatus {
    #[serde(deserialize_with = "null_as_default")]
    resources: ResourceList,
    #[serde(deserialize_with = "null_items_as_default")]
    conditions: Vec<Condition>,
}

/// The read part of a NodeClaim.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct NodeClaim {
    #[serde(deserialize_with = "null_as_default")]
    metadata: ObjectMeta,
    #[serde(deserialize_with = "null_as_default")]
    status: NodeClaimStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct NodeClaimStatus {
    #[serde(deserialize_with = "null_items_as_default")]
    conditions: Vec<Condition>,
    /// Known as soon as the machine is chosen.
    #[serde(deserialize_with = "null_as_default")]
    allocatable: ResourceList,
}

/// The read part of a `v1.Event`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Event {
    #[serde(deserialize_with = "null_as_default")]
    involved_object: Involved,
    #[serde(deserialize_with = "null_as_default")]
    reason: String,
    #[serde(deserialize_with = "null_as_default")]
    message: String,
    last_timestamp: Option<Timestamp>,
    #[serde(rename = "eventTime")]
    moment: Option<Timestamp>,
}

/// The read part of `v1.ObjectReference`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Involved {
    #[serde(deserialize_with = "null_as_default")]
    kind: String,
    #[serde(deserialize_with = "null_as_default")]
    name: String,
}

/// Lets the groups refuse for which a machine could not be had lately.
pub fn refuse(groups: &mut [NodeGroup], events: &[Event], now: Timestamp) {
    for group in groups.iter_mut().filter(|group| group.refusal.is_none()) {
        let of = |event: &&Event| event.pool() == Some(group.name.as_str());
        let newest = events.iter().filter(of).filter_map(|event| Some((event.at()?, event))).max_by_key(|(at, _)| *at);
        let Some((_, event)) = newest.filter(|(at, _)| now.duration_since(*at) < PAUSE) else { continue };
        group.refusal = Some(Refusal::by_code(STOCK_OUT, &event.message));
    }
}

/// The groups that pools make, by name; `claims` are nodes that exist or are being brought.
#[must_use]
pub fn groups(pools: Vec<NodePool>, claims: &[NodeClaim]) -> Vec<NodeGroup> {
    let mut groups: Vec<_> = pools.into_iter().map(|pool| pool.node_group(claims)).collect();
    groups.sort_by(|a, b| a.name.cmp(&b.name));
    groups
}

impl Event {
    /// The pool of a claim that could not be launched: claims are named after it, with a random ending.
    fn pool(&self) -> Option<&str> {
        let is_it = self.reason == STOCK_OUT && self.involved_object.kind == "NodeClaim";
        self.involved_object.name.rsplit_once('-').filter(|_| is_it).map(|(pool, _)| pool)
    }

    fn at(&self) -> Option<Timestamp> {
        self.last_timestamp.or(self.moment)
    }
}

impl NodePool {
    fn node_group(self, claims: &[NodeClaim]) -> NodeGroup {
        let own = || claims.iter().filter(|claim| claim.metadata.labels.get(POOL) == Some(&*self.metadata.name));
        let count = |some: &dyn Fn(&&NodeClaim) -> bool| u32::try_from(own().filter(some).count()).unwrap_or(u32::MAX);
        let (limits, used) = (&self.spec.limits, &self.status.resources);
        let left =
            |(name, limit): (&String, &Quantity)| (name.clone(), *limit - used.get(name).copied().unwrap_or_default());
        let target = count(&|claim| claim.metadata.deletion_timestamp.is_none());
        let max = limits.get("nodes").map(|nodes| u32::try_from(nodes.units()).unwrap_or(0));
        let shapes = own().map(|claim| (&claim.status.allocatable, &claim.metadata.name));
        let shape = shapes.max_by_key(|(offers, name)| (offers.len(), std::cmp::Reverse(*name)));
        NodeGroup {
            max,
            shape: shape.map(|(offers, _)| offers.clone()).unwrap_or_default(),
            target,
            arriving: count(&|claim| claim.is_arriving()),
            left: limits.iter().filter(|(name, _)| *name != "nodes").map(left).collect(),
            refusal: self.refusal(own()),
            name: self.metadata.name,
        }
    }

    fn refusal<'c>(&self, mut claims: impl Iterator<Item = &'c NodeClaim>) -> Option<Refusal> {
        let exhausted =
            |(name, limit): &(&String, &Quantity)| self.status.resources.get(*name).is_some_and(|used| used >= *limit);
        if self.spec.replicas.is_some() {
            let message = "it is static: it has the nodes that its spec.replicas says".to_owned();
            return Some(Refusal { kind: RefusalKind::Unavailable, message });
        }
        if let Some((name, limit)) = self.spec.limits.iter().find(exhausted) {
            return Some(Refusal {
                kind: RefusalKind::Limit,
                message: format!("its limit of {name} {limit} is reached"),
            });
        }
        if let Some(condition) = self.status.conditions.iter().find(|it| it.says("Ready", "False")) {
            let message = format!("it is not ready: {}", condition.message);
            return Some(Refusal { kind: RefusalKind::Unavailable, message });
        }
        let failed = claims.find_map(|claim| claim.status.conditions.iter().find(|it| it.says("Launched", "False")));
        failed.map(|condition| Refusal::by_code(&condition.reason, &condition.message))
    }
}

impl NodeClaim {
    /// Whether it is being brought: not initialized, and not failed.
    fn is_arriving(&self) -> bool {
        let has = |kind: &str, status: &str| self.status.conditions.iter().any(|it| it.says(kind, status));
        self.metadata.deletion_timestamp.is_none() && !has("Initialized", "True") && !has("Launched", "False")
    }
}
