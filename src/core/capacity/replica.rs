//! Replicas of several pods: a leader and its workers, which are worth something only together.
//!
//! ```text
//!  ScaleTarget ──> Replica (leader, workers, groups that have been started) ──> Inventory::fits_replica ──> Answer
//!                                   leader and workers alike: pods that fit / size
//!                                   else: the largest n whose pods fit, whatever order the scheduler takes
//! ```
//!
//! The scheduler places pod by pod and knows of no group, so what may be promised must survive any order. Where
//! leaders and workers differ, each leader may land where it spoils room for workers, and the other way round: the
//! room of the ones is only counted after the worst that the others can do. With `n` leaders and `m` workers to place,
//! let `W` be the workers that fit now and `D(n)` the most places that `n` leaders can take from them. If a
//! worker found no node, all nodes together would hold at least `W - D(n)` workers; so with `W - D(n) >= m` every
//! worker finds one, and leaders likewise.

use super::{
    Answer, Class, Fits, Inventory, LimitingFactor, Reason, Template, explain,
    filters::Verdict,
    inventory::{Demand, fitting},
    ports, queue,
    quota::{QuotaRoom, Shortage},
};
use crate::{
    cluster::{Started, View},
    object::{Group, Pod, PodTemplate},
};

/// Most pods of a replica: each is placed by itself, and the largest models take some dozens of nodes.
const MAX_PODS: u32 = 1024;
/// Most pods of another shape that are looked at on one node; a node accepts 110 pods by default.
const MAX_ON_NODE: u32 = 256;

/// Parts that a lost place is counted in, so that a share of one can be told.
const UNIT: u64 = 1 << 20;

/// One replica as placement sees it.
#[derive(Clone, Debug)]
pub struct Replica {
    /// Its pod, or its leader.
    pub(super) template: Template,
    pub(super) workers: Option<Workers>,
    /// Groups that exist and are not whole; those that lack most first. They are completed before others are made.
    started: Vec<Started>,
}

/// The pods of a replica besides its leader.
#[derive(Clone, Debug)]
pub(super) struct Workers {
    pub(super) template: Template,
    pub(super) count: u32,
    /// Whether they ask for what the leader asks for, on the same nodes.
    alike: bool,
}

/// Losses of room for one shape, by pods of another.
enum Losses {
    /// What each further pod costs at most, in parts of [`UNIT`], the dearest first.
    Sorted(Vec<u64>),
    /// What every pod costs at most, on whatever is left of a node.
    Each(u64),
}

// === impl Replica ===

impl Replica {
    /// A replica of one pod.
    #[must_use]
    pub const fn single(template: Template) -> Self {
        Self { template, workers: None, started: Vec::new() }
    }

    /// A replica of a pod template, or of a group that it leads; `started` are the groups that are not whole.
    #[must_use]
    pub fn of(
        template: &PodTemplate,
        group: Option<&Group>,
        namespace: &str,
        view: &View,
        started: Vec<Started>,
    ) -> Self {
        let mut template = Template::of(template, namespace, view);
        let Some(group) = group else { return Self::single(template) };
        let mut refuse = |code, message| template.unmodelled.push(Reason::new(code, message, LimitingFactor::Affinity));
        if let Some(annotation) = group.exclusive {
            let message = format!("annotation {annotation} keeps each group in a topology domain of its own");
            refuse("exclusiveTopology", message);
        }
        if group.workers >= MAX_PODS {
            refuse("groupSize", format!("a replica of {} pods is larger than {MAX_PODS}", group.workers));
        }
        let workers = Template::of(&group.worker_template, namespace, view);
        let alike = is_alike(&template, &workers);
        let workers = Workers { template: workers, count: group.workers, alike };
        Self { template, workers: Some(workers), started }
    }

    /// GPUs that one replica asks for, of all kinds and pods together.
    #[must_use]
    pub fn gpus(&self, is_gpu: impl Fn(&str) -> bool) -> i64 {
        let leader = self.template.gpus(&is_gpu);
        let workers = self.workers.as_ref().map_or(0, |it| it.template.gpus(&is_gpu).saturating_mul(it.count.into()));
        leader.saturating_add(workers)
    }

    /// What one replica asks for, all its pods together: resource and amount, a resource may come twice.
    pub fn requests(&self) -> impl Iterator<Item = (&str, i64)> {
        let workers = self.workers.iter().flat_map(|workers| {
            workers.template.requests().map(|(name, amount)| (name, amount.saturating_mul(workers.count.into())))
        });
        self.template.requests().chain(workers)
    }

    /// The templates of its pods: one, or those of leader and workers.
    pub(super) fn templates(&self) -> impl Iterator<Item = &Template> {
        self.parts().map(|(template, _)| template)
    }

    /// The pods of one replica: each template of them, and how many it is that of.
    pub fn parts(&self) -> impl Iterator<Item = (&Template, u64)> {
        let workers = self.workers.iter().map(|workers| (&workers.template, u64::from(workers.count)));
        std::iter::once((&self.template, 1)).chain(workers)
    }

    /// Pods that it is.
    #[must_use]
    pub fn pods(&self) -> u32 {
        self.workers.as_ref().map_or(1, |workers| workers.count.saturating_add(1))
    }

    /// Whether it is a group of pods.
    #[must_use]
    pub const fn is_group(&self) -> bool {
        self.workers.is_some()
    }

    /// What the replica of an index lacks: first the groups that have been started, then whole ones.
    pub(super) fn lacks(&self, index: usize) -> Started {
        let workers = self.workers.as_ref().map_or(0, |workers| workers.count);
        let whole = Started { leaders: 1, workers, unmade: workers };
        self.started.get(index).copied().unwrap_or(whole)
    }

    /// Pods that `count` further replicas lack, if those that have been started are completed in the order that takes
    /// most (or least): which of them are given up when there are fewer replicas is not settled.
    fn lack(&self, count: u32, most: bool, of: impl Fn(&Started) -> u32) -> u64 {
        let mut lacks: Vec<_> = self.started.iter().map(|started| u64::from(of(started))).collect();
        lacks.sort_unstable_by(|a, b| if most { b.cmp(a) } else { a.cmp(b) });
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let new = u64::try_from(count.saturating_sub(lacks.len())).unwrap_or(u64::MAX);
        let each = u64::from(of(&self.lacks(usize::MAX)));
        let started = lacks.into_iter().take(count).fold(0, u64::saturating_add);
        started.saturating_add(new.saturating_mul(each))
    }

    /// The largest count, of at most `pods` replicas beyond those that have been started, for which something holds
    /// that holds for fewer, too.
    fn largest(&self, pods: u32, holds: impl Fn(u32) -> bool) -> u32 {
        let started = u32::try_from(self.started.len()).unwrap_or(u32::MAX);
        let (mut low, mut high) = (0, pods.saturating_add(started));
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if holds(middle) { low = middle } else { high = middle - 1 }
        }
        low
    }
}

/// Whether pods of both templates are the same to placement, but for constraints between pods.
fn is_alike(leader: &Template, worker: &Template) -> bool {
    leader.requests == worker.requests
        && leader.filter_key == worker.filter_key
        && leader.ports == worker.ports
        && leader.claims == worker.claims
        && leader.wants == worker.wants
        && (leader.priority, leader.preempts) == (worker.priority, worker.preempts)
        && leader.unmodelled.iter().filter(|reason| reason.code != "exclusiveTopology").eq(&worker.unmodelled)
}

// === impl Template ===

impl Template {
    /// Why its pods cannot be counted beside pods of another shape in one group.
    fn refuse_unlike(&self) -> Option<Reason> {
        let (code, subject, factor) = if !self.seat.terms.is_empty() {
            ("groupPlacement", "constraints between pods are about them", LimitingFactor::Affinity)
        } else if !self.claims.is_empty() {
            ("groupVolumes", "their volumes are counted", LimitingFactor::Volume)
        } else if self.wants.search.is_some() || !self.wants.shared.is_empty() {
            ("groupDevices", "their devices are searched for one by one", LimitingFactor::OtherResource)
        } else {
            return None;
        };
        Some(Reason::new(code, format!("leaders and workers differ, and {subject}"), factor))
    }
}

// === impl Inventory ===

impl Inventory<'_> {
    /// How many further replicas could be placed now; those that have been started are among them.
    #[must_use]
    pub fn fits_replica(&self, replica: &Replica) -> Answer {
        match &replica.workers {
            None => self.fits(&replica.template),
            Some(workers) => self.group(replica, workers, |template| self.fits(template)),
        }
    }

    /// The same, but room that waiting pods of others may take is not promised.
    #[must_use]
    pub fn fits_replica_beside(&self, replica: &Replica, is_other: impl Fn(&Pod) -> bool) -> Answer {
        match &replica.workers {
            None => self.fits_beside(&replica.template, is_other),
            Some(workers) => self.group(replica, workers, |template| self.fits_beside(template, &is_other)),
        }
    }

    /// The pods of one replica where placement cannot tell them apart: their template, and how many they are.
    #[must_use]
    pub fn alike<'r>(&self, replica: &'r Replica) -> Option<(&'r Template, u64)> {
        let template = &replica.template;
        let Some(workers) = &replica.workers else { return Some((template, 1)) };
        let is_alike = workers.alike && self.is_seated_alike(template, &workers.template);
        is_alike.then(|| (template, replica.pods().into()))
    }

    /// `pods`: how many pods of a template fit.
    fn group(&self, replica: &Replica, workers: &Workers, pods: impl Fn(&Template) -> Answer) -> Answer {
        let is_alike = self.alike(replica).is_some();
        let mut leader = pods(&replica.template);
        let mut worker = if is_alike { leader.clone() } else { pods(&workers.template) };
        worker.cautions.extend(leader.cautions.iter().filter(|_| !is_alike).cloned());
        let mut unmodelled = std::mem::take(&mut leader.unmodelled);
        unmodelled.extend(worker.unmodelled.iter().cloned());
        if !is_alike {
            unmodelled.extend(replica.templates().find_map(Template::refuse_unlike));
            if self.contend_for_devices(&replica.template, &workers.template) {
                let message = "leaders and workers differ, and ask for some of the same devices in different ways";
                unmodelled.push(Reason::new("groupDevices", message.to_owned(), LimitingFactor::OtherResource));
            }
        }
        if !unmodelled.is_empty() {
            unmodelled.sort();
            unmodelled.dedup();
            return Answer { quota: self.quota_of(replica, 0), ..explain::refuse(unmodelled) };
        }
        let (fits, factor) = if is_alike {
            (alike(replica, &worker), worker.limiting_factor)
        } else {
            self.unlike(replica, workers, &leader, &worker)
        };
        let policy = self.shape().policy;
        let used = replica.gpus(|name| policy.is_gpu(name)).saturating_mul(fits.lo.into());
        let stranded = if used > 0 || worker.stranded_gpus > 0 { (worker.free_gpus - used).max(0) } else { 0 };
        Answer {
            fits,
            limiting_factor: factor,
            stranded_gpus: stranded,
            quota: self.quota_of(replica, fits.lo),
            ..worker
        }
    }

    /// Whether constraints between pods cannot tell leaders from workers.
    fn is_seated_alike(&self, leader: &Template, worker: &Template) -> bool {
        let is_free = |template| self.states(template).is_some_and(|states| states.is_empty());
        leader.seat == worker.seat || (is_free(leader) && is_free(worker))
    }

    /// Leaders and workers that differ, without constraints between pods.
    fn unlike(&self, replica: &Replica, workers: &Workers, leader: &Answer, worker: &Answer) -> (Fits, LimitingFactor) {
        let need =
            |count, most| (replica.lack(count, most, |it| it.leaders), replica.lack(count, most, |it| it.workers));
        let to_leaders = self.losses_by(&replica.template, leader, &workers.template);
        let to_workers = self.losses_by(&workers.template, worker, &replica.template);
        let leaders_fit = |(leaders, workers)| {
            leaders == 0 || u64::from(leader.fits.lo).saturating_sub(to_leaders.sum(workers)) >= leaders
        };
        let workers_fit = |(leaders, workers)| {
            workers == 0 || u64::from(worker.fits.lo).saturating_sub(to_workers.sum(leaders)) >= workers
        };
        let lo = replica.largest(leader.fits.lo, |count| {
            let need = need(count, true);
            leaders_fit(need) && workers_fit(need)
        });
        let hi = leader.fits.hi.zip(worker.fits.hi).map(|(most_leaders, most_workers)| {
            replica.largest(most_leaders, |count| {
                let (leaders, workers) = need(count, false);
                leaders <= u64::from(most_leaders) && workers <= u64::from(most_workers)
            })
        });
        let next = need(lo.saturating_add(1), true);
        let factor = if workers_fit(next) { leader.limiting_factor } else { worker.limiting_factor };
        (Fits::between(lo, hi.map(|hi| hi.max(lo))), factor)
    }

    /// What pods of another shape can take away from the room for a template.
    fn losses_by(&self, victim: &Template, room: &Answer, other: &Template) -> Losses {
        let (demand, others) = (self.shape().demand(victim), self.shape().demand(other));
        let shut = ports::conflict(&victim.ports, &other.ports);
        // What others may take first leaves rows of which only the sum is known.
        if room.fits.lo < self.fits(victim).fits.lo {
            return Losses::Each(loss_anywhere(&demand, &others));
        }
        let mut losses = Vec::new();
        let common = |row: &&usize| others.judged.verdicts.get(**row) == Some(&Verdict::Open);
        for &row in demand.judged.open.iter().filter(common) {
            let mut free = self.beside_nominated(row, victim);
            let room = self.count(row, victim, &demand);
            let most = self.count(row, other, &others);
            let (mut left, mut jumps) = (room, Vec::new());
            for count in 1..=most {
                if left == 0 {
                    break;
                }
                take(&mut free, &others);
                let after = if shut || count > MAX_ON_NODE { 0 } else { fitting(&free, &demand).min(left) };
                jumps.extend((after < left).then(|| (u64::from(count), u64::from(room - after))));
                left = after;
            }
            losses.extend(slopes(&jumps));
        }
        losses.sort_unstable_by(|a, b| b.cmp(a));
        Losses::Sorted(losses)
    }

    /// How many further replicas quotas let be created, as far as `most` and one beyond; none where nothing limits.
    /// Workers that are still to be made for groups that exist come first.
    pub(super) fn quota_of(&self, replica: &Replica, most: u32) -> Option<QuotaRoom> {
        let Some(workers) = &replica.workers else { return self.quota(&replica.template) };
        let mut scratch = self.clone();
        let mut create = |template: &Template| match scratch.quota(template) {
            Some(room) if room.pods == 0 => Err(room.reason),
            room => {
                scratch.charge(template);
                Ok(room.map(|room| room.reason))
            }
        };
        let mut reason = None;
        let unmade = replica.started.iter().map(|started| started.unmade).fold(0, u32::saturating_add);
        for _ in 0..unmade {
            match create(&workers.template) {
                Ok(found) => reason = found.or(reason),
                Err(reason) => return Some(QuotaRoom { pods: 0, reason }),
            }
        }
        for replicas in 0..=most {
            let pods = std::iter::once(&replica.template);
            for template in pods.chain((0..workers.count).map(|_| &workers.template)) {
                match create(template) {
                    Ok(found) => reason = found.or(reason),
                    Err(reason) => return Some(QuotaRoom { pods: replicas, reason }),
                }
            }
            reason.as_ref()?;
        }
        reason.map(|reason| QuotaRoom { pods: most.saturating_add(1), reason })
    }

    /// What quotas lack for that many further replicas to be created; none where admission refuses them for another
    /// reason.
    pub(super) fn quota_shortage(&self, replica: &Replica, count: u32) -> Option<Vec<Shortage>> {
        let leader = (replica.template.creation.as_ref().ok()?, count);
        let workers = replica.workers.as_ref().map(|workers| {
            let unmade = replica.started.iter().map(|started| started.unmade).fold(0, u32::saturating_add);
            let pods = workers.count.saturating_mul(count).saturating_add(unmade);
            Some((workers.template.creation.as_ref().ok()?, pods))
        });
        let workers = match workers {
            Some(None) => return None,
            Some(workers) => workers,
            None => None,
        };
        let queue = leader.0.queue();
        let shortages = self.quotas().shortage(std::iter::once(leader).chain(workers));
        Some(queue::raised(shortages, queue, self.shape().view))
    }
}

/// Leaders and workers that placement cannot tell apart: whatever order, that many pods are that many whole groups.
fn alike(replica: &Replica, pods: &Answer) -> Fits {
    if pods.fits.class == Class::Unknown {
        return Fits::unknown();
    }
    let within =
        |room: u32, most| replica.largest(room, |count| replica.lack(count, most, Started::pods) <= u64::from(room));
    let lo = within(pods.fits.lo, true);
    Fits::between(lo, pods.fits.hi.map(|hi| within(hi, false).max(lo)))
}

/// What each of several pods on one node costs at most, if that many of them cost so many places: the slopes of the
/// smallest concave function that is nowhere below, so that they can be added up over nodes in falling order.
fn slopes(jumps: &[(u64, u64)]) -> Vec<u64> {
    let (mut slopes, mut from) = (Vec::new(), (0, 0));
    let slope = |from: (u64, u64), to: (u64, u64)| ((to.1 - from.1) * UNIT).div_ceil(to.0 - from.0);
    while let Some(to) = jumps.iter().copied().filter(|to| to.0 > from.0).max_by_key(|to| (slope(from, *to), to.0)) {
        slopes.extend((from.0..to.0).map(|_| slope(from, to)));
        from = to;
    }
    slopes
}

/// The most that one pod can take away from the room for another shape, on any node and whatever else is there.
fn loss_anywhere(demand: &Demand, other: &Demand) -> u64 {
    let takes = |column: usize| {
        let requests = other.requests.iter().filter(|(wanted, _)| *wanted == column);
        requests.map(|(_, amount)| amount.unsigned_abs()).fold(0, u64::saturating_add)
    };
    let losses = demand.requests.iter().map(|(column, amount)| takes(*column).div_ceil(amount.unsigned_abs().max(1)));
    losses.max().unwrap_or(0)
}

fn take(free: &mut [i64], demand: &Demand) {
    for (column, amount) in &demand.requests {
        if let Some(free) = free.get_mut(*column) {
            *free = free.saturating_sub(*amount).max(0);
        }
    }
}

// === impl Losses ===

impl Losses {
    /// What that many pods take away at most.
    fn sum(&self, pods: u64) -> u64 {
        match self {
            Self::Sorted(losses) => {
                let count = usize::try_from(pods).unwrap_or(usize::MAX);
                losses.iter().take(count).fold(0, |sum: u64, loss| sum.saturating_add(*loss)) / UNIT
            }
            Self::Each(loss) => loss.saturating_mul(pods),
        }
    }
}
