//! When each feed of the cluster view was last heard of, whether it has listed once, and what is wrong with it.
//!
//! Written by the feeds; read by readiness, by the status API, and by the evaluation, which lets nothing grow on a
//! capacity that is stale or known to be incomplete. It must never decide anything itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use serde::Serialize;

/// Most names of undecodable objects that are kept for a feed; beyond it only the fact counts.
const MAX_NAMES: usize = 100;

/// A source of changes of the cluster view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Feed {
    /// Nodes.
    Nodes,
    /// Pods that have not ended.
    Pods,
    /// HorizontalPodAutoscalers.
    HorizontalPodAutoscalers,
    /// Deployments.
    Deployments,
    /// StatefulSets.
    StatefulSets,
    /// ReplicaSets that no other workload controls.
    ReplicaSets,
    /// Namespaces.
    Namespaces,
    /// ResourceQuotas.
    ResourceQuotas,
    /// LimitRanges.
    LimitRanges,
    /// RuntimeClasses.
    RuntimeClasses,
    /// PriorityClasses.
    PriorityClasses,
    /// DeviceClasses; a cluster may not have the kind.
    DeviceClasses,
    /// ResourceSlices; not required, since a cluster may not have the kind, and without it devices are unknown.
    ResourceSlices,
    /// ResourceClaims; not required either.
    ResourceClaims,
    /// ResourceClaimTemplates; not required either.
    ResourceClaimTemplates,
    /// KEDA's ScaledObjects; not required, since a cluster may not have the kind.
    ScaledObjects,
    /// KEDA's ScaledJobs; not required either.
    ScaledJobs,
    /// Kueue's LocalQueues; not required, since a cluster may not have the kind.
    LocalQueues,
    /// Kueue's ClusterQueues; not required either.
    ClusterQueues,
    /// Kueue's ResourceFlavors; not required either.
    ResourceFlavors,
    /// Kueue's Cohorts; not required either.
    Cohorts,
    /// PersistentVolumeClaims; without them and the further kinds of storage, only templates with claims are unknown.
    PersistentVolumeClaims,
    /// PersistentVolumes.
    PersistentVolumes,
    /// StorageClasses.
    StorageClasses,
    /// CSINodes.
    CsiNodes,
    /// CSIDrivers.
    CsiDrivers,
    /// VolumeAttachments.
    VolumeAttachments,
    /// ProvisioningRequests; not required, since a cluster may not have the kind.
    ProvisioningRequests,
    /// PodTemplates, which they refer to; not required either.
    PodTemplates,
    /// Whether there is a node autoscaler.
    NodeAutoscaler,
    /// Who answers External metrics; not required.
    ApiService,
    /// Scale targets of any other kind, polled.
    Scales,
}

/// Health of one feed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FeedHealth {
    /// Whether a complete list has been delivered once.
    pub synced: bool,
    /// Whether the API server has said, since the last list, that it does not have the kind or does not let it be read,
    /// so that the view goes on without it.
    pub withheld: bool,
    /// When the API server last said anything on it; silence of a quiet watch ends with each re-established watch.
    pub last_heard: Option<Timestamp>,
    /// Why the last attempt failed; none while it works.
    pub last_error: Option<String>,
    /// Complete lists so far.
    pub lists: u64,
    /// Objects that do not decode, and so are missing in the view.
    pub undecodable: BTreeSet<String>,
    /// Objects that decode only in part: what depends on the rest of them is not known.
    pub partial: BTreeSet<String>,
}

/// How much of an object can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Legible {
    /// All of it, or it is gone.
    Whole,
    /// Some of it.
    InPart,
    /// Nothing that is of use.
    NotAtAll,
}

/// Health of all feeds, shared.
#[derive(Debug, Default)]
pub struct WatchHealth {
    feeds: Mutex<BTreeMap<Feed, FeedHealth>>,
}

// === impl Feed ===

impl Feed {
    /// The feeds without which the view is not complete, so that the process is not ready. Of some of them it is
    /// enough to know that they are withheld.
    pub const REQUIRED: [Self; 13] = [
        Self::Nodes,
        Self::Pods,
        Self::HorizontalPodAutoscalers,
        Self::Deployments,
        Self::StatefulSets,
        Self::ReplicaSets,
        Self::Namespaces,
        Self::ResourceQuotas,
        Self::LimitRanges,
        Self::RuntimeClasses,
        Self::PriorityClasses,
        Self::DeviceClasses,
        Self::NodeAutoscaler,
    ];

    /// Whether a cluster may be without the kind, so that 404 says that there are no objects.
    #[must_use]
    pub fn may_be_absent(self) -> bool {
        matches!(
            self,
            Self::DeviceClasses
                | Self::ResourceSlices
                | Self::ResourceClaims
                | Self::ResourceClaimTemplates
                | Self::ScaledObjects
                | Self::ScaledJobs
                | Self::ProvisioningRequests
                | Self::LocalQueues
                | Self::ClusterQueues
                | Self::ResourceFlavors
                | Self::Cohorts
        )
    }

    /// Whether the view is told of objects of it that do not decode: of nodes, too, since what is on one decides about
    /// others.
    pub(super) fn may_be_in_doubt(self) -> bool {
        self == Self::Nodes || self.may_be_withheld()
    }

    /// Whether only some templates depend on it: where it cannot be read, the templates that need it are unknown,
    /// and everything else goes on.
    #[must_use]
    pub fn may_be_withheld(self) -> bool {
        matches!(
            self,
            Self::ResourceQuotas
                | Self::LimitRanges
                | Self::RuntimeClasses
                | Self::PriorityClasses
                | Self::DeviceClasses
                | Self::ResourceSlices
                | Self::ResourceClaims
                | Self::ResourceClaimTemplates
                | Self::LocalQueues
                | Self::ClusterQueues
                | Self::ResourceFlavors
                | Self::Cohorts
                | Self::PersistentVolumeClaims
                | Self::PersistentVolumes
                | Self::StorageClasses
                | Self::CsiNodes
                | Self::CsiDrivers
                | Self::VolumeAttachments
                | Self::ProvisioningRequests
                | Self::PodTemplates
        )
    }

    /// The name in logs, metrics and health checks.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Nodes => "nodes",
            Self::Pods => "pods",
            Self::HorizontalPodAutoscalers => "horizontalpodautoscalers",
            Self::Deployments => "deployments",
            Self::StatefulSets => "statefulsets",
            Self::ReplicaSets => "replicasets",
            Self::Namespaces => "namespaces",
            Self::ResourceQuotas => "resourcequotas",
            Self::LimitRanges => "limitranges",
            Self::RuntimeClasses => "runtimeclasses",
            Self::PriorityClasses => "priorityclasses",
            Self::DeviceClasses => "deviceclasses",
            Self::ResourceSlices => "resourceslices",
            Self::ResourceClaims => "resourceclaims",
            Self::ResourceClaimTemplates => "resourceclaimtemplates",
            Self::ScaledObjects => "scaledobjects",
            Self::ScaledJobs => "scaledjobs",
            Self::LocalQueues => "localqueues",
            Self::ClusterQueues => "clusterqueues",
            Self::ResourceFlavors => "resourceflavors",
            Self::Cohorts => "cohorts",
            Self::PersistentVolumeClaims => "persistentvolumeclaims",
            Self::PersistentVolumes => "persistentvolumes",
            Self::StorageClasses => "storageclasses",
            Self::CsiNodes => "csinodes",
            Self::CsiDrivers => "csidrivers",
            Self::VolumeAttachments => "volumeattachments",
            Self::ProvisioningRequests => "provisioningrequests",
            Self::PodTemplates => "podtemplates",
            Self::NodeAutoscaler => "nodeautoscaler",
            Self::ApiService => "apiservice",
            Self::Scales => "scales",
        }
    }
}

// === impl WatchHealth ===

impl WatchHealth {
    /// Whether every required feed has delivered a complete list once, or is withheld and may be. It never becomes false again: a source that
    /// is lost later makes data stale, it does not make the process unready.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.missing().is_empty()
    }

    /// The required feeds that have neither delivered a complete list yet nor are withheld, and why.
    #[must_use]
    pub fn missing(&self) -> Vec<(Feed, Option<String>)> {
        let feeds = self.lock();
        let unsynced = |feed: &Feed| feeds.get(feed).is_none_or(|health| !health.synced && !health.withheld);
        let why = |feed: Feed| feeds.get(&feed).and_then(|health| health.last_error.clone());
        Feed::REQUIRED.into_iter().filter(unsynced).map(|feed| (feed, why(feed))).collect()
    }

    /// When the feed of nodes or pods that was heard of longest ago was last heard of; none before both have listed.
    #[must_use]
    pub fn capacity_heard_at(&self) -> Option<Timestamp> {
        let feeds = self.lock();
        let heard = |feed| feeds.get(&feed).filter(|health| health.synced)?.last_heard;
        Some(heard(Feed::Nodes)?.min(heard(Feed::Pods)?))
    }

    /// Why capacity cannot be known although it is fresh: pods that hide what they use.
    ///
    /// A node that does not decode offers nothing, and the view is told that it is there.
    #[must_use]
    pub fn capacity_problems(&self) -> Vec<String> {
        let feeds = self.lock();
        let names = feeds.get(&Feed::Pods).map(|health| health.undecodable.iter());
        names
            .into_iter()
            .flatten()
            .map(|name| format!("pod {name} cannot be read, so what it uses is unknown"))
            .collect()
    }

    /// All feeds, for the status API.
    #[must_use]
    pub fn snapshot(&self) -> BTreeMap<Feed, FeedHealth> {
        self.lock().clone()
    }

    /// The API server said something.
    pub(crate) fn heard(&self, feed: Feed, now: Timestamp) {
        self.update(feed, |health| {
            health.last_heard = Some(now);
            health.last_error = None;
        });
    }

    /// An attempt failed.
    pub(crate) fn failed(&self, feed: Feed, error: String) {
        self.update(feed, |health| health.last_error = Some(error));
    }

    /// The cluster does not have the kind, or does not let it be read.
    pub(crate) fn withheld(&self, feed: Feed) {
        self.update(feed, |health| health.withheld = true);
    }

    /// A complete list was delivered, in which these objects did not decode.
    pub(crate) fn listed(&self, feed: Feed, undecodable: impl IntoIterator<Item = String>) {
        self.update(feed, |health| {
            health.synced = true;
            health.withheld = false;
            health.lists += 1;
            health.undecodable = undecodable.into_iter().take(MAX_NAMES).collect();
            health.partial.clear();
        });
    }

    /// An object decoded, did not decode, or is gone.
    pub(crate) fn decoded(&self, feed: Feed, name: &str, legible: Legible) {
        self.update(feed, |health| {
            for (names, here) in [(&mut health.undecodable, Legible::NotAtAll), (&mut health.partial, Legible::InPart)]
            {
                if legible != here {
                    names.remove(name);
                } else if names.len() < MAX_NAMES {
                    names.insert(name.to_owned());
                }
            }
        });
    }

    fn update(&self, feed: Feed, change: impl FnOnce(&mut FeedHealth)) {
        change(self.lock().entry(feed).or_default());
    }

    /// A poisoned lock still holds whole values: each update is one assignment after the other, none can be torn.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Feed, FeedHealth>> {
        self.feeds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn it_is_ready_when_every_required_feed_has_listed_once_and_stays_so() {
        let health = WatchHealth::default();
        for feed in Feed::REQUIRED {
            assert!(!health.ready(), "{feed:?}");
            health.listed(feed, []);
        }
        assert!(health.ready());
        health.failed(Feed::Pods, "gone".to_owned());
        assert!(health.ready());
    }

    #[test]
    fn a_feed_that_has_not_listed_says_why() {
        let health = WatchHealth::default();
        health.failed(Feed::Nodes, "403".to_owned());
        assert_eq!(health.missing()[0], (Feed::Nodes, Some("403".to_owned())));
    }

    #[test]
    fn it_is_ready_without_what_is_withheld() {
        let health = WatchHealth::default();
        for feed in Feed::REQUIRED {
            if feed.may_be_withheld() { health.withheld(feed) } else { health.listed(feed, []) }
        }
        assert!(health.ready());
        assert!(!Feed::Nodes.may_be_withheld() && !Feed::Pods.may_be_withheld());
    }

    #[test]
    fn capacity_is_as_old_as_the_older_of_nodes_and_pods() {
        let health = WatchHealth::default();
        health.heard(Feed::Nodes, at(10));
        health.listed(Feed::Nodes, []);
        assert_eq!(health.capacity_heard_at(), None);
        health.heard(Feed::Pods, at(7));
        assert_eq!(health.capacity_heard_at(), None);
        health.listed(Feed::Pods, []);
        assert_eq!(health.capacity_heard_at(), Some(at(7)));
    }

    #[test]
    fn a_pod_that_does_not_decode_is_a_problem_until_enough_of_it_does() {
        let health = WatchHealth::default();
        health.decoded(Feed::Pods, "ml/a", Legible::NotAtAll);
        health.decoded(Feed::Nodes, "n1", Legible::NotAtAll);
        assert_eq!(health.capacity_problems(), ["pod ml/a cannot be read, so what it uses is unknown"]);
        for (legible, partial) in [(Legible::InPart, 1), (Legible::Whole, 0)] {
            health.decoded(Feed::Pods, "ml/a", legible);
            assert_eq!(health.capacity_problems(), Vec::<String>::new());
            assert_eq!(health.snapshot()[&Feed::Pods].partial.len(), partial);
        }
    }
}
