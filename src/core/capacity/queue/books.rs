//! What ClusterQueues and the cohorts above them leave: a tree, in which each lends what it does not keep.
//!
//! Rules of `pkg/cache/scheduler/resource_node.go` of Kueue v0.15.0, for one resource of one flavor:
//!
//! ```text
//!  root        quota: its own and what its children lend; used: what its children use beyond what they keep
//!   ├─ org       the same; kept: quota - lendingLimit
//!   │   └─ queue   quota: nominalQuota; used: what its workloads have reserved
//! ```
//!
//! What is left for a queue is the least of what the nodes on its way up leave that have a limit: the root, and each with
//! a borrowingLimit: `quota + borrowingLimit - used`, and what the nodes below it have kept and do not use. A queue that is
//! stopped goes on to lend and to hold what it has.

use std::collections::{BTreeMap, BTreeSet};

use super::{entry, needs};
use crate::{
    cluster::View,
    object::{
        ObjectKey,
        kueue::{self, ClusterQueue, FlavorQuota, QUEUE_NAME},
    },
    quantity::Quantity,
};

/// Cohorts within cohorts deeper than this are taken for a circle.
const MAX_DEPTH: usize = 16;

/// A ClusterQueue or a cohort.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Member<'v> {
    Queue(&'v str),
    Cohort(&'v str),
}

/// What a member has of one resource of one flavor.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    quota: Quantity,
    used: Quantity,
    /// The part of the quota that it does not lend.
    kept: Quantity,
    borrowing: Option<Quantity>,
}

type Shares<'v> = BTreeMap<Member<'v>, BTreeMap<String, Share>>;

/// What queues and cohorts have, and what is used of it: key, resource, used, hard.
pub(in crate::capacity) fn books(view: &View) -> Vec<(ObjectKey, String, Quantity, Quantity)> {
    if view.queues.cluster.is_empty() {
        return Vec::new();
    }
    let (shares, keeping) = (shares(view), keeping(view));
    let mut books = Vec::new();
    for queue in view.queues.cluster.values() {
        let Some(way) = way(&queue.spec.cohort_name, view) else { continue };
        for (flavor, quota) in queue.quotas() {
            let entry = entry(flavor, &quota.name);
            let mut kept = Quantity::ZERO;
            for (height, member) in members(queue, &way).enumerate() {
                let Some(share) = shares.get(&member).and_then(|shares| shares.get(&entry)) else { continue };
                let limit = if height == way.len() { Some(Quantity::ZERO) } else { share.borrowing };
                if let Some(limit) = limit {
                    let key = key(member, queue, &keeping);
                    books.push((key, entry.clone(), share.used, share.quota + limit + kept));
                }
                kept += (share.kept - share.used).max(Quantity::ZERO);
            }
        }
    }
    books
}

/// Where a pod of a queue is charged with an entry: first where the queue is limited, then what others see. Where members of
/// a cohort keep something, each queue sees another rest of it, and all of these are charged, so that no two workloads are
/// promised the same.
pub(super) fn charged(queue: &ClusterQueue, entry: &str, view: &View) -> (Vec<ObjectKey>, Vec<ObjectKey>) {
    let Some(way) = way(&queue.spec.cohort_name, view) else { return Default::default() };
    let keeping = if way.is_empty() { BTreeSet::new() } else { keeping(view) };
    let own = members(queue, &way).map(|member| key(member, queue, &keeping)).collect();
    let split = way.iter().copied().filter(|cohort| keeping.contains(cohort));
    let others = split.flat_map(|cohort| {
        let mates = mates(cohort, view).filter(|mate| mate.metadata.name != queue.metadata.name);
        let limited = mates.filter(|mate| has(mate, entry));
        limited.map(|mate| key(Member::Cohort(cohort), mate, &keeping)).collect::<Vec<_>>()
    });
    (own, others.collect())
}

/// The cohorts above, nearest first; none where they go in a circle.
pub(super) fn way<'v>(cohort: &'v str, view: &'v View) -> Option<Vec<&'v str>> {
    let (mut way, mut next) = (Vec::new(), cohort);
    while !next.is_empty() {
        if way.len() >= MAX_DEPTH {
            return None;
        }
        way.push(next);
        let cohort = view.queues.cohorts.as_ref().and_then(|cohorts| cohorts.get(next));
        next = cohort.map_or("", |cohort| cohort.spec.parent_name.as_str());
    }
    Some(way)
}

/// The queues of a cohort and of those within it.
pub(super) fn mates<'v>(cohort: &'v str, view: &'v View) -> impl Iterator<Item = &'v ClusterQueue> {
    let is_within =
        move |queue: &&ClusterQueue| way(&queue.spec.cohort_name, view).is_some_and(|way| way.contains(&cohort));
    view.queues.cluster.values().filter(is_within)
}

fn members<'v>(queue: &'v ClusterQueue, way: &[&'v str]) -> impl Iterator<Item = Member<'v>> {
    let cohorts = way.iter().map(|cohort| Member::Cohort(cohort));
    [Member::Queue(queue.metadata.name.as_str())].into_iter().chain(cohorts)
}

fn key(member: Member<'_>, queue: &ClusterQueue, keeping: &BTreeSet<&str>) -> ObjectKey {
    let name = match member {
        Member::Queue(name) => format!("ClusterQueue {name}"),
        Member::Cohort(name) if keeping.contains(name) => {
            format!("cohort {name}, as far as ClusterQueue {} may use it", queue.metadata.name)
        }
        Member::Cohort(name) => format!("cohort {name}"),
    };
    ObjectKey::new("", name)
}

/// Whether a queue has quota under an entry.
pub(super) fn has(queue: &ClusterQueue, wanted: &str) -> bool {
    queue.quotas().any(|(flavor, quota)| entry(flavor, &quota.name) == wanted)
}

/// The cohorts below which something is kept, so that not all of their queues see the same rest.
fn keeping(view: &View) -> BTreeSet<&str> {
    let keeps = |(_, quota): (&str, &FlavorQuota)| quota.lending_limit.is_some();
    let queues = view.queues.cluster.values().filter(|queue| queue.quotas().any(keeps));
    let of_queues = queues.filter_map(|queue| way(&queue.spec.cohort_name, view));
    let cohorts = view.queues.cohorts.iter().flatten().filter(|(_, cohort)| cohort.quotas().any(keeps));
    let of_cohorts = cohorts.filter_map(|(_, cohort)| way(&cohort.spec.parent_name, view));
    of_queues.chain(of_cohorts).flatten().collect()
}

fn shares(view: &View) -> Shares<'_> {
    let mut shares = Shares::new();
    let mut cohorts: BTreeSet<&str> = view.queues.cohorts.iter().flatten().map(|(name, _)| name.as_str()).collect();
    for queue in view.queues.cluster.values() {
        let Some(way) = way(&queue.spec.cohort_name, view) else { continue };
        let through = through(queue, view);
        for (flavor, quota) in queue.quotas() {
            let entry = entry(flavor, &quota.name);
            let used = used(queue, flavor, &quota.name, &through);
            let mut share = Share { used, ..Share::default() };
            share.add(quota);
            share.lend(&mut shares, way.first().copied(), &entry);
            shares.entry(Member::Queue(&queue.metadata.name)).or_default().insert(entry, share);
        }
        cohorts.extend(way);
    }
    let mut deepest_first: Vec<_> = cohorts.into_iter().filter_map(|name| Some((name, way(name, view)?))).collect();
    deepest_first.sort_by_key(|(_, way)| std::cmp::Reverse(way.len()));
    for (name, way) in deepest_first {
        let mut own = shares.remove(&Member::Cohort(name)).unwrap_or_default();
        let object = view.queues.cohorts.as_ref().and_then(|cohorts| cohorts.get(name));
        for (flavor, quota) in object.iter().flat_map(|cohort| cohort.quotas()) {
            own.entry(entry(flavor, &quota.name)).or_default().add(quota);
        }
        for (entry, share) in &own {
            share.lend(&mut shares, way.get(1).copied(), entry);
        }
        shares.insert(Member::Cohort(name), own);
    }
    shares
}

/// What a queue uses of a resource of a flavor: what its status says, and what pods that have been let through add up to
/// beyond it, since it may lag behind them. Of several flavors, each may be the one that these were given.
fn used(queue: &ClusterQueue, flavor: &str, resource: &str, through: &BTreeMap<&str, Quantity>) -> Quantity {
    let flavors = queue.status.flavors_reservation.iter().map(|usage| usage.name.as_str());
    let reserved: Quantity =
        flavors.map(|flavor| queue.reserved(flavor, resource)).fold(Quantity::ZERO, |sum, it| sum + it);
    let through = through.get(resource).copied().unwrap_or_default();
    queue.reserved(flavor, resource) + (through - reserved).max(Quantity::ZERO)
}

/// What the pods of a queue that have been let through add up to, by resource.
fn through<'v>(queue: &ClusterQueue, view: &'v View) -> BTreeMap<&'v str, Quantity> {
    let mut sums = BTreeMap::new();
    let local = view.queues.local.iter().filter(|(_, local)| local.spec.cluster_queue == queue.metadata.name);
    for (key, _) in local {
        let pods = view.pods_in(&key.namespace).map(|(_, pod)| pod);
        let through = pods.filter(|pod| {
            let is_of_queue = pod.metadata.labels.get(QUEUE_NAME).is_some_and(|name| *name == *key.name);
            is_of_queue && !pod.is_terminal() && !kueue::waits(&pod.spec)
        });
        for (resource, amount) in through.flat_map(|pod| needs(&pod.spec, queue)) {
            *sums.entry(resource).or_default() += amount;
        }
    }
    sums
}

// === impl Share ===

impl Share {
    /// Takes a quota of its own in.
    fn add(&mut self, quota: &FlavorQuota) {
        self.quota += quota.nominal_quota;
        self.borrowing = quota.borrowing_limit;
        self.kept = quota.lending_limit.map_or(Quantity::ZERO, |lent| (self.quota - lent).max(Quantity::ZERO));
    }

    /// Gives the cohort above what is lent, and what is used of it.
    fn lend<'v>(&self, shares: &mut Shares<'v>, cohort: Option<&'v str>, entry: &str) {
        let Some(cohort) = cohort else { return };
        let above = shares.entry(Member::Cohort(cohort)).or_default().entry(entry.to_owned()).or_default();
        above.quota += self.quota - self.kept;
        above.used += (self.used - self.kept).max(Quantity::ZERO);
    }
}
