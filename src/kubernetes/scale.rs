//! Scale targets of kinds that are not watched: their `/scale` subresource is polled, as the HPA controller does.
//!
//! Only what HPAs name is polled, bounded in number and at once; the resource of a kind is found by discovery. The
//! pod template of such a kind is unknown, but for a LeaderWorkerSet, which is read whole where it may be.

mod discovery;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, stream};
use kube::Client;
use plimsoll_core::{
    cluster::{Change, Delta},
    object::{HorizontalPodAutoscaler, LeaderWorkerSet, ObjectKey, ScaleTarget, WorkloadKey, group::is_group_kind},
    selector::Selector,
};
use serde::Deserialize;
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};
use tracing::{info, warn};

use super::{
    health::Feed,
    request::{self, Failure},
    watch::{Context, Error, Quiet},
};
use crate::clock;
use discovery::Discovery;

/// Kinds of the group `apps` that are watched.
const WATCHED: [&str; 3] = ["Deployment", "StatefulSet", "ReplicaSet"];
/// Most targets that are polled: 1,000 every 3 s at 5 ms each keep under two of the calls below busy.
const MAX_TARGETS: usize = 1000;
/// Calls at once.
const CONCURRENCY: usize = 8;
/// Largest scale that is read, in bytes.
const MAX_SCALE: usize = 1024 * 1024;
/// Largest LeaderWorkerSet, in bytes: etcd takes no larger object.
const MAX_SET: usize = 4 * 1024 * 1024;
/// Where LeaderWorkerSets are of the version that is read.
const SETS: &str = "/apis/leaderworkerset.x-k8s.io/v1/";
/// How long a scale that cannot be read stands; then the workload is unknown.
const KEEP: Duration = Duration::from_secs(60);
/// Longest round: with a server that does not answer, each call costs seconds, and what is old must be forgotten.
const ROUND: Duration = Duration::from_secs(20);
/// How long one scale may take: it is one read of one object.
const CALL: Duration = Duration::from_secs(5);

/// Collects what HPAs scale.
#[derive(Debug)]
pub(crate) struct Targets {
    hpas: BTreeMap<ObjectKey, Target>,
    polled: watch::Sender<Arc<BTreeSet<Target>>>,
}

/// The targets to poll, as they change.
pub(crate) type Polled = watch::Receiver<Arc<BTreeSet<Target>>>;

/// A workload and the API version by which an HPA names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Target {
    pub(crate) workload: WorkloadKey,
    pub(crate) version: String,
}

/// The read part of `autoscaling/v1` Scale.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Scale {
    spec: ScaleSpec,
    status: ScaleStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ScaleSpec {
    replicas: i32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ScaleStatus {
    replicas: i32,
    selector: String,
}

/// What was last read of a target, and when.
struct Known {
    scale: ScaleTarget,
    at: Instant,
}

struct Poller {
    context: Context,
    discovery: Discovery,
    known: BTreeMap<WorkloadKey, Known>,
    quiet: BTreeMap<WorkloadKey, Quiet>,
}

/// The two ends of what is polled.
pub(crate) fn targets() -> (Targets, Polled) {
    let (polled, receiver) = watch::channel(Arc::default());
    (Targets { hpas: BTreeMap::new(), polled }, receiver)
}

/// Polls until nobody reads the changes any more.
pub(crate) async fn run(context: Context, mut wanted: Polled) -> Result<(), Error> {
    let interval = context.settings.scale_interval;
    let mut poller =
        Poller { context, discovery: Discovery::default(), known: BTreeMap::new(), quiet: BTreeMap::new() };
    loop {
        let targets = wanted.borrow_and_update().clone();
        // A round that is cut off is followed by another: what is known changes only after it was handed over.
        timeout(ROUND, poller.round(&targets)).await.unwrap_or(Ok(()))?;
        poller.forget_old().await?;
        // Ends early when an HPA names something new; cancel safe, since a change stays marked until it is read.
        if matches!(timeout(interval, wanted.changed()).await, Ok(Err(_))) {
            return Err(Error::Closed);
        }
    }
}

// === impl Targets ===

impl Targets {
    /// Takes note of a change of HPAs.
    pub(crate) fn observe(&mut self, delta: &Delta<HorizontalPodAutoscaler, ObjectKey>) {
        match delta {
            Delta::Applied(hpa) => self.set(hpa),
            Delta::Deleted(key) => drop(self.hpas.remove(key)),
            Delta::Replaced(list) => {
                self.hpas.clear();
                for hpa in list {
                    self.set(hpa);
                }
            }
        }
        let wanted: BTreeSet<_> = self.hpas.values().cloned().collect();
        self.polled.send_if_modified(|current| {
            let modified = **current != wanted;
            if modified {
                *current = Arc::new(wanted);
            }
            modified
        });
    }

    fn set(&mut self, hpa: &HorizontalPodAutoscaler) {
        let workload = hpa.workload();
        let api_version = &hpa.spec.scale_target_ref.api_version;
        let version = api_version.rsplit('/').next().unwrap_or_default().to_owned();
        let watched = workload.group == "apps" && WATCHED.contains(&workload.kind.as_str());
        if watched {
            self.hpas.remove(&hpa.metadata.key());
        } else {
            self.hpas.insert(hpa.metadata.key(), Target { workload, version });
        }
    }
}

// === impl Poller ===

impl Poller {
    async fn round(&mut self, targets: &BTreeSet<Target>) -> Result<(), Error> {
        self.forget_unnamed(targets).await?;
        if targets.len() > MAX_TARGETS {
            warn!(named = targets.len(), polled = MAX_TARGETS, "more scale targets than are polled");
        }
        let mut located = Vec::new();
        for target in targets.iter().take(MAX_TARGETS) {
            match self.discovery.path(&self.context, target).await {
                Ok(path) => located.push((target.workload.clone(), path)),
                Err(failure) => self.failed(&target.workload, &failure).await?,
            }
        }
        let (client, patience) = (self.context.client.clone(), CALL.min(self.context.settings.call_timeout));
        let mut answers = stream::iter(located)
            .map(|(workload, path)| {
                let client = client.clone();
                async move {
                    let target = get(&client, &workload, &path, patience).await;
                    (workload, target)
                }
            })
            .buffer_unordered(CONCURRENCY);
        while let Some((workload, answer)) = answers.next().await {
            match answer {
                Ok(scale) => self.read(workload, scale).await?,
                Err(failure) => self.failed(&workload, &failure).await?,
            }
        }
        self.context.health.listed(Feed::Scales, []);
        Ok(())
    }

    async fn read(&mut self, workload: WorkloadKey, scale: ScaleTarget) -> Result<(), Error> {
        self.context.health.heard(Feed::Scales, clock::now());
        if self.quiet.entry(workload.clone()).or_default().recovered() {
            info!(%workload, "scale can be read again");
        }
        let known = Known { scale: scale.clone(), at: Instant::now() };
        if self.known.get(&workload).is_none_or(|before| before.scale != scale) {
            self.send(&workload, Delta::Applied((workload.clone(), scale))).await?;
        }
        self.known.insert(workload, known);
        Ok(())
    }

    /// A scale that is gone is gone at once; one that cannot be read, after a while.
    async fn failed(&mut self, workload: &WorkloadKey, failure: &Failure) -> Result<(), Error> {
        self.context.health.failed(Feed::Scales, format!("{workload}: {failure}"));
        if self.quiet.entry(workload.clone()).or_default().speak(failure) {
            warn!(%workload, %failure, "cannot read the scale of a target of an HPA");
        }
        if failure.is(404) && self.known.contains_key(workload) { self.forget(workload).await } else { Ok(()) }
    }

    async fn forget_old(&mut self) -> Result<(), Error> {
        let old = self.known.iter().filter(|(_, known)| known.at.elapsed() > KEEP).map(|(key, _)| key.clone());
        for workload in old.collect::<Vec<_>>() {
            self.forget(&workload).await?;
        }
        Ok(())
    }

    async fn forget_unnamed(&mut self, targets: &BTreeSet<Target>) -> Result<(), Error> {
        let named: BTreeSet<_> = targets.iter().map(|target| &target.workload).collect();
        let unnamed: Vec<_> = self.known.keys().filter(|key| !named.contains(key)).cloned().collect();
        self.quiet.retain(|key, _| named.contains(key));
        for workload in unnamed {
            self.forget(&workload).await?;
        }
        Ok(())
    }

    async fn forget(&mut self, workload: &WorkloadKey) -> Result<(), Error> {
        self.send(workload, Delta::Deleted(workload.clone())).await?;
        self.known.remove(workload);
        Ok(())
    }

    async fn send(&self, of: &WorkloadKey, delta: Delta<(WorkloadKey, ScaleTarget), WorkloadKey>) -> Result<(), Error> {
        self.context.send(Change::Workload { group: of.group.clone(), kind: of.kind.clone(), delta }).await
    }
}

/// A scale target by the path of its scale. Whoever may read scales only is served with those, and so is a set that
/// cannot be understood: what its pods are made from is not known then.
async fn get(client: &Client, workload: &WorkloadKey, path: &str, patience: Duration) -> Result<ScaleTarget, Failure> {
    let set = path.strip_suffix("/scale").filter(|path| is_group_kind(workload) && path.starts_with(SETS));
    if let Some(path) = set {
        match request::get::<LeaderWorkerSet>(client, path, MAX_SET, patience).await {
            Err(failure) if failure.is(403) || matches!(failure, Failure::Unreadable(_)) => {}
            set => {
                let target = set?.into_scale_target();
                return target.map_err(|error| Failure::Unreadable(format!("status.hpaPodSelector: {error}")));
            }
        }
    }
    read(&request::get(client, path, MAX_SCALE, patience).await?)
}

fn read(scale: &Scale) -> Result<ScaleTarget, Failure> {
    let selector: Selector =
        scale.status.selector.parse().map_err(|error| Failure::Unreadable(format!("status.selector: {error}")))?;
    Ok(ScaleTarget {
        spec_replicas: scale.spec.replicas,
        status_replicas: scale.status.replicas,
        selector,
        ..ScaleTarget::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hpa(name: &str, api_version: &str, kind: &str) -> HorizontalPodAutoscaler {
        let mut hpa = HorizontalPodAutoscaler::default();
        (hpa.metadata.namespace, hpa.metadata.name) = ("ml".to_owned(), name.to_owned());
        let target = &mut hpa.spec.scale_target_ref;
        (target.api_version, target.kind, target.name) = (api_version.to_owned(), kind.to_owned(), "llm".to_owned());
        hpa
    }

    fn polled(receiver: &Polled) -> Vec<(String, String)> {
        receiver.borrow().iter().map(|target| (target.workload.kind.clone(), target.version.clone())).collect()
    }

    #[test]
    fn only_kinds_that_are_not_watched_are_polled() {
        let (mut targets, receiver) = targets();
        targets.observe(&Delta::Replaced(vec![
            hpa("a", "apps/v1", "Deployment"),
            hpa("b", "leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet"),
            hpa("c", "v1", "ReplicationController"),
        ]));
        let names = [("ReplicationController", "v1"), ("LeaderWorkerSet", "v1")];
        let names: Vec<_> = names.map(|(kind, version)| (kind.to_owned(), version.to_owned())).to_vec();
        assert_eq!(polled(&receiver), names);
        targets.observe(&Delta::Applied(hpa("b", "apps/v1", "StatefulSet")));
        targets.observe(&Delta::Deleted(ObjectKey::new("ml", "c")));
        assert_eq!(polled(&receiver), []);
    }

    #[test]
    fn a_scale_whose_selector_cannot_be_parsed_is_an_error() {
        let scale = |selector: &str| Scale {
            status: ScaleStatus { selector: selector.to_owned(), ..ScaleStatus::default() },
            ..Scale::default()
        };
        assert_eq!(read(&scale("app=llm")).unwrap().selector.to_string(), "app=llm");
        assert!(read(&scale("app in (")).is_err());
    }
}
