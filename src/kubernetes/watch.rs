//! The watches that fill the cluster view: one task a kind, each with its own backoff.
//!
//! ```text
//!  list (pages) ──> Replaced, once, complete ──> watch ──> Applied / Deleted, one by one
//!      ^                                           │ 410 Gone, unreadable event
//!      └───────────────────────────────────────────┘ every other end: watch again from the last version
//! ```
//!
//! A watch is asked to end after [`Settings::watch_timeout`] and is given up a short grace later, so a connection
//! that died silently is noticed within the sum of both, and a quiet one is heard of at least that often.

mod backoff;
mod doubt;
mod feed;
mod frame;
mod kind;
pub(super) mod versions;

use std::{sync::Arc, time::Duration};

use kube::Client;
use plimsoll_core::{
    cluster::Change,
    object::{
        CsiDriver, CsiNode, ObjectKey, PersistentVolume, PersistentVolumeClaim, StorageClass, VolumeAttachment,
        autoscaling::{ProvisioningRequest, StoredTemplate},
        device::{DeviceClass, ResourceClaim, ResourceClaimTemplate, ResourceSlice},
        kueue::{ClusterQueue, Cohort, LocalQueue, ResourceFlavor},
    },
};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;

pub(crate) use backoff::{Backoff, Quiet};
use kind::Kind;

use super::{
    api_service, autoscaler,
    health::{Feed, WatchHealth},
    scale,
};

/// How the cluster is watched.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long the server is asked to keep one watch open; at least a second.
    pub watch_timeout: Duration,
    /// How much longer a watch may stay open before it counts as dead.
    pub watch_grace: Duration,
    /// How long one page of a list, or one other call, may take.
    pub call_timeout: Duration,
    /// Objects in a page of a list.
    pub page_size: u32,
    /// How often scale subresources are polled of kinds that are not watched.
    pub scale_interval: Duration,
    /// How often it is asked whether there is a node autoscaler.
    pub autoscaler_interval: Duration,
    /// Whether KEDA's objects are watched; a cluster may not have them.
    pub keda: bool,
    /// ConfigMap in which Cluster Autoscaler reports its status.
    pub autoscaler_status: ObjectKey,
    /// The Service by which kube-apiserver reaches us.
    pub service: ObjectKey,
    /// How often it is asked who answers External metrics.
    pub api_service_interval: Duration,
}

/// Why the watches ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Whoever reads the changes is gone.
    #[error("nobody reads the changes of the cluster any more")]
    Closed,
    /// A watch panicked.
    #[error("a watch of the cluster panicked")]
    Panicked(#[source] tokio::task::JoinError),
}

/// What every feed of the cluster view needs.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) settings: Settings,
    pub(crate) changes: mpsc::Sender<Change>,
    pub(crate) health: Arc<WatchHealth>,
}

// === impl Settings ===

impl Default for Settings {
    fn default() -> Self {
        Self {
            // A dead connection is noticed after 30 s, which leaves time to connect again before the 35 s are over.
            watch_timeout: Duration::from_secs(25),
            watch_grace: Duration::from_secs(5),
            call_timeout: Duration::from_secs(30),
            page_size: 500,
            scale_interval: Duration::from_secs(3),
            autoscaler_interval: Duration::from_secs(15),
            keda: false,
            autoscaler_status: ObjectKey::new("kube-system", "cluster-autoscaler-status"),
            service: ObjectKey::new("plimsoll-system", "plimsoll"),
            api_service_interval: Duration::from_secs(10),
        }
    }
}

/// Runs all feeds of the cluster view until shutdown; changes go to `changes`, health to `health`.
///
/// Trouble with the API server never ends it: every feed retries for ever and says so in `health`.
pub async fn run(
    client: Client,
    settings: Settings,
    changes: mpsc::Sender<Change>,
    health: Arc<WatchHealth>,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let context = Context { client, settings, changes, health };
    let mut feeds = start(&context);
    // Both arms are cancel safe; dropping the set at the end aborts what still runs.
    tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        Some(ended) = feeds.join_next() => ended.unwrap_or_else(|error| Err(Error::Panicked(error))),
    }
}

fn start(context: &Context) -> JoinSet<Result<(), Error>> {
    let mut feeds = JoinSet::new();
    let (targets, polled) = scale::targets();
    watch(&mut feeds, context, kind::Nodes::default());
    watch(&mut feeds, context, kind::Pods::default());
    watch(&mut feeds, context, kind::Hpas { targets });
    watch(&mut feeds, context, kind::Apps { feed: Feed::Deployments, kind: "Deployment" });
    watch(&mut feeds, context, kind::Apps { feed: Feed::StatefulSets, kind: "StatefulSet" });
    watch(&mut feeds, context, kind::Apps { feed: Feed::ReplicaSets, kind: "ReplicaSet" });
    watch(&mut feeds, context, kind::Namespaces);
    watch(&mut feeds, context, kind::ResourceQuotas);
    watch(&mut feeds, context, kind::LimitRanges);
    watch(&mut feeds, context, kind::RuntimeClasses);
    watch(&mut feeds, context, kind::PriorityClasses);
    watch(&mut feeds, context, kind::Stored::<DeviceClass>::default());
    watch(&mut feeds, context, kind::Stored::<ResourceSlice>::default());
    watch(&mut feeds, context, kind::Stored::<ResourceClaim>::default());
    watch(&mut feeds, context, kind::Stored::<ResourceClaimTemplate>::default());
    watch(&mut feeds, context, kind::Stored::<LocalQueue>::default());
    watch(&mut feeds, context, kind::Stored::<ClusterQueue>::default());
    watch(&mut feeds, context, kind::Stored::<ResourceFlavor>::default());
    watch(&mut feeds, context, kind::Stored::<Cohort>::default());
    if context.settings.keda {
        watch(&mut feeds, context, kind::ScaledObjects);
        watch(&mut feeds, context, kind::ScaledJobs);
    }
    watch(&mut feeds, context, kind::Stored::<PersistentVolumeClaim>::default());
    watch(&mut feeds, context, kind::Stored::<PersistentVolume>::default());
    watch(&mut feeds, context, kind::Stored::<StorageClass>::default());
    watch(&mut feeds, context, kind::Stored::<CsiNode>::default());
    watch(&mut feeds, context, kind::Stored::<CsiDriver>::default());
    watch(&mut feeds, context, kind::Stored::<VolumeAttachment>::default());
    watch(&mut feeds, context, kind::Stored::<ProvisioningRequest>::default());
    watch(&mut feeds, context, kind::Stored::<StoredTemplate>::default());
    feeds.spawn(autoscaler::run(context.clone()));
    feeds.spawn(api_service::run(context.clone()));
    feeds.spawn(scale::run(context.clone(), polled));
    feeds
}

fn watch<K: Kind>(feeds: &mut JoinSet<Result<(), Error>>, context: &Context, kind: K) {
    feeds.spawn(feed::run(context.clone(), kind));
}

// === impl Context ===

impl Context {
    /// Hands a change over; waits while the reader is behind.
    pub(crate) async fn send(&self, change: Change) -> Result<(), Error> {
        self.changes.send(change).await.map_err(|_| Error::Closed)
    }
}
