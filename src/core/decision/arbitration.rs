//! Arbitration: dividing what is free among all workloads that want it.
//!
//! Everything happens on one scratch copy of the free vectors, so that grants can be placed together by construction:
//!
//! ```text
//!  1 pods that wait for a node, of everybody     the scheduler binds those that fit within milliseconds
//!  2 replicas asked for whose pods are not made  they follow within milliseconds
//!  3 reservations                                promised before, perhaps read by an HPA already
//!  4 what a node autoscaler has booked             promised by it, to pods that are still to be made
//!  5 floors (minReplicas), by priority
//!  6 the rest, one replica at a time, to the workload that has got the least beyond its floor
//! ```
//!
//! What is granted so is promised as far as it is safe wherever the scheduler puts the pods of others: `promises`.
//! Running replicas are never taken away.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    sync::Arc,
};

mod booked;
mod nodes;
mod pending;
mod promises;

pub use booked::{Booked, beside_booked};

use super::Live;
use crate::{
    autoscaler::{Doubt, Outlook},
    capacity::{Answer, Class, Inventory, Ledger, LimitingFactor, Placer, Replica, Rivals, Template},
    cluster::{Census, View},
    object::WorkloadKey,
    policy::Policy,
};

/// Most replicas that are placed in one evaluation; what is beyond waits for the next.
const MAX_PLACEMENTS: u32 = 50_000;

/// What one workload brings to the division.
#[derive(Debug)]
pub(super) struct Applicant {
    /// What one replica is; none where its pod template is not known.
    pub(super) replica: Option<Replica>,
    /// Priority of its pods.
    pub(super) priority: i32,
    /// Replicas that it must have.
    pub(super) floor: i32,
    /// Replicas that it wants, bounded by its HPA.
    pub(super) want: i32,
    /// Replicas that are promised.
    pub(super) reserved: i32,
    /// How far its HPAs may go in their next sync.
    pub(super) reach: Reach,
    /// Its scale and pods.
    pub(super) live: Live,
    /// Most replicas that may wait for nodes which do not exist yet.
    pub(super) headroom: i32,
    /// Whether any ever may, be it not now.
    pub(super) asks: bool,
}

/// How far the HPAs of a workload may go in their next sync.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reach {
    /// The most replicas that they may ask for.
    pub(super) most: i32,
    /// The most that are as good as the current count to them: within the tolerance.
    pub(super) idle: i32,
    /// Whether they ask for no more than is granted.
    pub(super) obeys: bool,
}

/// What one workload gets.
#[derive(Clone, Debug)]
pub(super) struct Allotment {
    /// Replicas.
    pub(super) grant: i32,
    /// Of them, those that wait for nodes which are being brought.
    pub(super) arriving: i32,
    /// Of them, those that wait for nodes which are still to be asked for.
    pub(super) asking: i32,
    /// Replicas beyond the grant that will have room once GPUs of nodes which are here have registered.
    pub(super) awaited: i32,
    /// Replicas beyond the grant that are promised once those of others are bound.
    pub(super) held_back: i32,
    /// Why its replicas cannot count on nodes that do not exist yet.
    pub(super) doubt: Option<Doubt>,
    /// What would fit if the workload were alone.
    pub(super) alone: Answer,
    /// What stops the next replica after the division; only determined where the want is not met.
    pub(super) then: LimitingFactor,
}

/// The outcome of the division.
#[derive(Debug)]
pub(super) struct Division<'v> {
    pub(super) allotments: BTreeMap<&'v WorkloadKey, Allotment>,
    pub(super) free_gpus: i64,
    pub(super) booked: Vec<Booked>,
}

/// Divides what is free; `fresh` says whether the view of it is recent enough for anything to grow.
pub(super) fn divide<'v>(
    view: &View,
    ledger: Arc<Ledger>,
    policy: &Policy,
    census: &Census<'_>,
    applicants: &BTreeMap<&'v WorkloadKey, Applicant>,
    outlook: &Outlook,
    fresh: bool,
) -> Division<'v> {
    let inventory = Inventory::with(view, policy, ledger);
    let waiting = pending::queue(inventory.waiting());
    let free_gpus = inventory.total_free_gpus();
    let mut table = Table::new(inventory.clone());
    let share =
        |(key, applicant): (&&'v WorkloadKey, _)| Share::new(key, applicant, table.alone(applicant, fresh), policy);
    let mut shares: Vec<_> = applicants.iter().map(share).collect();
    table.seat_pending(view, waiting, census, &mut shares);
    table.raise_all(&mut shares, Share::asked, |share| Reverse((share.applicant.priority, 0)));
    // What was promised fitted together: the largest first, so that it does again.
    table.raise_all(&mut shares, Share::reserved, |share| Reverse((0, share.gpus)));
    let booked = booked::keep(&mut table, view, applicants);
    table.raise_all(&mut shares, Share::floor, |share| Reverse((share.applicant.priority, share.gpus)));
    table.divide_the_rest(&mut shares);
    if !outlook.is_empty() {
        for share in &mut shares {
            share.doubt = share.applicant.replica.as_ref().and_then(|it| outlook.doubt(it, view));
        }
    }
    if fresh && !outlook.is_empty() {
        table.ask_for_nodes(&mut shares, outlook, policy);
    }
    promises::hold_back(&inventory, &mut shares, Rivals::gathered(std::mem::take(&mut table.others)));
    let autoscaled = view.node_autoscaler.is_some();
    let allotments = shares.into_iter().map(|share| (share.key, table.allot(share, autoscaled))).collect();
    Division { allotments, free_gpus, booked }
}

/// A workload at the table.
struct Share<'v, 'a> {
    key: &'v WorkloadKey,
    applicant: &'a Applicant,
    alone: Answer,
    grant: i32,
    ceiling: i32,
    /// Pods that wait for a node, and have been charged to quotas when they were created.
    created: i32,
    arriving: i32,
    asking: i32,
    awaited: i32,
    /// Replicas that are granted and not promised yet.
    held_back: i32,
    /// Pods of its own that no node was found for, and that the scheduler has said so of.
    refused: i32,
    /// Why its replicas cannot count on nodes that do not exist yet.
    doubt: Option<Doubt>,
    gpus: i64,
}

impl<'v, 'a> Share<'v, 'a> {
    fn new(key: &'v WorkloadKey, applicant: &'a Applicant, alone: Answer, policy: &Policy) -> Self {
        let gpus = applicant.replica.as_ref().map_or(0, |replica| replica.gpus(|name| policy.is_gpu(name)));
        let bound = applicant.live.bound;
        let created = applicant.live.charged();
        let mut alone = alone;
        if i64::from(further(&alone, created)) < i64::from(alone.fits.lo) {
            alone.limiting_factor = LimitingFactor::Quota;
        }
        let ceiling = bound.saturating_add(further(&alone, created));
        Self {
            key,
            applicant,
            alone,
            grant: bound,
            ceiling,
            created,
            arriving: 0,
            asking: 0,
            awaited: 0,
            held_back: 0,
            refused: 0,
            doubt: None,
            gpus: gpus.max(1),
        }
    }

    /// Bound pods and those that the workload's controller makes or has made.
    fn asked(&self) -> i32 {
        self.applicant.live.current
    }

    /// The next replica: its index from the first that is not bound, and whether it has been created.
    fn next(&self) -> (usize, bool) {
        let index = self.grant.saturating_add(self.awaited).saturating_sub(self.applicant.live.bound);
        (usize::try_from(index).unwrap_or(0), index < self.created)
    }

    /// Whether no node that may come would help.
    fn is_tied(&self) -> bool {
        self.doubt.as_ref().is_some_and(|doubt| !doubt.may_try)
    }

    fn reserved(&self) -> i32 {
        self.applicant.reserved
    }

    fn floor(&self) -> i32 {
        self.applicant.floor
    }

    /// GPUs beyond the floor: who has the least of them is next; the largest shape first, so that small pods do not
    /// break whole nodes; then by key.
    fn turn(&self, index: usize) -> Reverse<(i64, Reverse<i64>, usize)> {
        let given = self.grant.saturating_add(self.awaited);
        let beyond = i64::from(given.saturating_sub(self.applicant.floor).max(0));
        Reverse((beyond.saturating_mul(self.gpus), Reverse(self.gpus), index))
    }
}

impl Reach {
    /// That of two HPAs of one workload.
    pub(super) fn and(self, other: Self) -> Self {
        let (most, idle) = (self.most.max(other.most), self.idle.min(other.idle));
        Self { most, idle, obeys: self.obeys && other.obeys }
    }
}

/// Whether more nodes would help.
fn is_shortage(factor: LimitingFactor) -> bool {
    use LimitingFactor as F;
    matches!(factor, F::Gpu | F::Fragmentation | F::Cpu | F::Memory | F::OtherResource | F::PodCount)
}

impl Allotment {
    /// Replicas that are granted although nothing fits them yet.
    pub(super) fn purposeful(&self) -> i32 {
        self.arriving.saturating_add(self.asking)
    }
}

/// What stops the next replica, which is still to be created.
fn stopped(answer: &Answer) -> LimitingFactor {
    let refused = answer.quota.as_ref().is_some_and(|room| room.pods == 0);
    if refused { LimitingFactor::Quota } else { answer.limiting_factor }
}

/// Replicas beyond those that are bound.
pub(super) fn further(alone: &Answer, created: i32) -> i32 {
    i32::try_from(alone.further(u32::try_from(created).unwrap_or(0))).unwrap_or(i32::MAX)
}

struct Table<'v> {
    scratch: Placer<'v>,
    placements: u32,
    /// Pods of nobody that are to be placed, and how many of each.
    others: Vec<(Template, u64)>,
}

impl<'i> Table<'i> {
    fn new(inventory: Inventory<'i>) -> Self {
        Self { scratch: Placer::new(inventory), placements: 0, others: Vec::new() }
    }

    /// What would fit, were the workload alone; asked before anything is placed.
    fn alone(&mut self, applicant: &Applicant, fresh: bool) -> Answer {
        match &applicant.replica {
            Some(replica) if fresh => self.scratch.fits_replica(replica),
            Some(_) => Answer { limiting_factor: LimitingFactor::StaleCapacity, ..Answer::default() },
            None => Answer { limiting_factor: LimitingFactor::Unmodelled, ..Answer::default() },
        }
    }

    /// Gives one replica, if the ceiling allows it and it can be placed.
    fn give(&mut self, share: &mut Share<'_, '_>) -> bool {
        let Some(replica) = share.applicant.replica.as_ref().filter(|_| share.grant < share.ceiling) else {
            return false;
        };
        let (index, exists) = share.next();
        if self.placements >= MAX_PLACEMENTS || !self.scratch.charge_replica(replica, index, exists) {
            return false;
        }
        if !self.scratch.place_replica(replica, index) {
            self.scratch.discharge_replica(replica, index, exists);
            return false;
        }
        self.placements = self.placements.saturating_add(replica.pods());
        share.grant += 1;
        true
    }

    /// Raises every share to its level, in an order.
    fn raise_all<'v, 'a, O: Ord>(
        &mut self,
        shares: &mut [Share<'v, 'a>],
        level: impl Fn(&Share<'v, 'a>) -> i32,
        order: impl Fn(&Share<'v, 'a>) -> O,
    ) {
        let mut ordered: Vec<_> = shares.iter_mut().collect();
        ordered.sort_by_key(|share| order(share));
        for share in ordered {
            while share.grant < level(share) && self.give(share) {}
        }
    }

    fn divide_the_rest(&mut self, shares: &mut [Share<'_, '_>]) {
        let wants = |share: &Share<'_, '_>| share.grant < share.applicant.want.min(share.ceiling);
        let mut turns: BinaryHeap<_> = shares
            .iter()
            .enumerate()
            .filter(|(_, share)| wants(share))
            .map(|(index, share)| share.turn(index))
            .collect();
        while let Some(Reverse((_, _, index))) = turns.pop() {
            let Some(share) = shares.get_mut(index) else { continue };
            if self.give(share) && wants(share) {
                turns.push(share.turn(index));
            }
        }
    }

    fn allot(&mut self, share: Share<'_, '_>, autoscaled: bool) -> Allotment {
        let unmet = share.grant < share.applicant.want;
        let others = share.grant < share.ceiling && share.alone.fits.class != Class::Unknown;
        let then = match &share.applicant.replica {
            Some(replica) if unmet && others => stopped(&self.scratch.fits_replica(replica)),
            _ if unmet => share.alone.limiting_factor,
            _ => LimitingFactor::None,
        };
        let asks = autoscaled && share.applicant.asks && !share.is_tied();
        let then = if asks && is_shortage(then) { LimitingFactor::NodeAutoscaler } else { then };
        let then = if share.held_back > 0 { LimitingFactor::Contention } else { then };
        let Share { arriving, asking, awaited, held_back, doubt, alone, .. } = share;
        Allotment { grant: share.grant - held_back, arriving, asking, awaited, held_back, doubt, alone, then }
    }
}
