//! Which of the grants are promised at once, and which wait until others are bound.
//!
//! The division places everything together, as closely as it can; the scheduler places pod by pod, where it likes: a
//! small pod of one workload may take the node that a large one of another was counted on. So of what is granted, only
//! that is promised which fits wherever the pods of others go; the largest first, since nothing that comes after them
//! can be in their way. As soon as they are bound, what they left is known, and the rest is promised.
//!
//! Pods that exist, and replicas that were promised before, are facts: nothing of them is taken back here. A promise reaches
//! as far as the next sync of the HPA; one within its tolerance, which it will not act on, comes last. What obeys no grant
//! (observed, switched off, or asking others, too) is promised nothing: it takes what it can reach.

use std::cmp::Reverse;

use super::Share;
use crate::capacity::{Class, Displacement, Inventory, Replica, Rivals, Template};

/// A workload with replicas that are granted and not bound.
struct Claimant {
    /// Its place among the shares.
    share: usize,
    /// Replicas beyond those that are bound that are granted on nodes which are here, as far as its HPA may go.
    granted: u64,
    /// Of these, how many are promised.
    promised: u64,
    /// Places for its pods, were it alone; for whole replicas where the pods of one differ.
    room: u64,
    /// How many of them one replica takes.
    places: u64,
    /// What pods of nobody, and what is promised to others, take of them, were there no end to it.
    taken: u64,
    /// What one replica of each claimant takes of them.
    each: Vec<u64>,
    /// The most that all others take of it.
    at_stake: u64,
}

/// Takes back what is not promised yet: [`Share::held_back`]. `inventory` is the one before anything was placed, `others`
/// are pods of nobody that are to be placed.
pub(super) fn hold_back(inventory: &Inventory<'_>, shares: &mut [Share<'_, '_>], others: Vec<(Template, u64)>) {
    let claimants = shares.iter().enumerate().filter(|(_, share)| share.claim() > 0).map(|(index, _)| index);
    let claimants: Vec<_> = claimants.collect();
    let is_new = |index: &usize| shares.get(*index).is_some_and(|share| share.claim() > share.fixed());
    if !claimants.iter().any(is_new) {
        return;
    }
    let mut table = Promises::of(inventory, shares, &claimants, others);
    table.raise(
        shares,
        |share| share.applicant.floor.saturating_sub(share.applicant.live.bound),
        |share| (Reverse(share.applicant.priority), Reverse(share.gpus)),
    );
    table.raise(shares, |_| i32::MAX, |share| (share.idles(share.grant), Reverse(share.gpus)));
    for claimant in table.0.iter().filter(|claimant| claimant.promised < claimant.granted) {
        if let Some(share) = shares.get_mut(claimant.share) {
            share.held_back = i32::try_from(share.placed().saturating_sub(claimant.promised)).unwrap_or(0);
        }
    }
}

struct Promises(Vec<Claimant>);

/// Whose some pods are that are to be placed.
enum Owner {
    /// Of a claimant, by its position: so many pods of each of its replicas.
    Claimant(usize, u64),
    /// Of a share, without any promise: pods that exist although nothing was found for them, and what obeys no grant.
    Share(usize),
    Nobody,
}

// === impl Promises ===

impl Promises {
    fn of(
        inventory: &Inventory<'_>,
        shares: &[Share<'_, '_>],
        claimants: &[usize],
        others: Vec<(Template, u64)>,
    ) -> Self {
        let mut owners = Vec::new();
        let mut rivals = Vec::new();
        for (position, share) in claimants.iter().filter_map(|index| shares.get(*index)).enumerate() {
            for (template, pods) in share.parts() {
                owners.push(Owner::Claimant(position, pods));
                rivals.push((template.clone(), pods.saturating_mul(share.claim())));
            }
        }
        for (index, share) in shares.iter().enumerate().filter(|(_, share)| share.surplus() > 0) {
            for (template, pods) in share.parts() {
                owners.push(Owner::Share(index));
                rivals.push((template.clone(), pods.saturating_mul(share.surplus())));
            }
        }
        owners.extend(others.iter().map(|_| Owner::Nobody));
        let rivals = Rivals::of(inventory, rivals.into_iter().chain(others));
        let claimant = |(position, index): (usize, &usize)| {
            let share = shares.get(*index)?;
            let is_rival = |owner: &Owner| match owner {
                Owner::Claimant(it, _) => *it != position,
                Owner::Share(it) => it != index,
                Owner::Nobody => true,
            };
            let is_rival = |rival: usize| owners.get(rival).is_some_and(is_rival);
            let (room, places, parts) = share.room(inventory)?;
            let mut claimant = Claimant {
                share: *index,
                granted: share.claim(),
                promised: share.fixed(),
                room: room.into(),
                places,
                taken: 0,
                each: vec![0; claimants.len()],
                at_stake: 0,
            };
            for template in parts {
                claimant.lose(&inventory.displacement(template, &rivals, is_rival), &owners, &rivals);
            }
            Some(claimant)
        };
        let mut promises = Self(claimants.iter().enumerate().filter_map(claimant).collect());
        let fixed: Vec<_> = promises.0.iter().map(|claimant| claimant.promised).collect();
        for (position, replicas) in fixed.into_iter().enumerate() {
            promises.take(position, replicas);
        }
        promises
    }

    /// Promises everybody as many replicas as are safe, up to a level, in an order.
    fn raise<O: Ord>(
        &mut self,
        shares: &[Share<'_, '_>],
        level: impl Fn(&Share<'_, '_>) -> i32,
        order: impl Fn(&Share<'_, '_>) -> O,
    ) {
        let mut turns: Vec<_> = (0..self.0.len()).collect();
        turns.sort_by_key(|position| self.0.get(*position).and_then(|it| shares.get(it.share)).map(&order));
        for position in turns {
            let Some(claimant) = self.0.get(position) else { continue };
            let level = shares.get(claimant.share).map_or(0, &level);
            let level = u64::try_from(level).unwrap_or(0).min(claimant.granted);
            let further = self.safe(position).min(level.saturating_sub(claimant.promised));
            if let Some(claimant) = self.0.get_mut(position) {
                claimant.promised += further;
            }
            self.take(position, further);
        }
    }

    /// Takes what so many replicas of a claimant may displace from all others.
    fn take(&mut self, position: usize, replicas: u64) {
        for claimant in self.0.iter_mut().filter(|_| replicas > 0) {
            let each = claimant.each.get(position).copied().unwrap_or(0);
            claimant.taken = claimant.taken.saturating_add(each.saturating_mul(replicas));
        }
    }

    /// How many more may be promised to a claimant, so that all that is promised finds its place.
    fn safe(&self, position: usize) -> u64 {
        let Some(own) = self.0.get(position) else { return 0 };
        let others = self.0.iter().filter(|it| it.share != own.share && it.promised > 0);
        let least = others.map(|other| other.tolerated(position)).min().unwrap_or(u64::MAX);
        own.left().min(least)
    }
}

// === impl Claimant ===

impl Claimant {
    /// Takes note of what rivals displace of one of its templates.
    fn lose(&mut self, displaced: &Displacement, owners: &[Owner], rivals: &Rivals) {
        for ((taken, owner), count) in displaced.each.iter().zip(owners).zip(rivals.counts()) {
            match owner {
                Owner::Claimant(other, pods) => {
                    if let Some(each) = self.each.get_mut(*other) {
                        *each = each.saturating_add(taken.saturating_mul(*pods));
                    }
                }
                Owner::Share(_) | Owner::Nobody => {
                    self.taken = self.taken.saturating_add(taken.saturating_mul(count));
                }
            }
        }
        self.at_stake = self.at_stake.saturating_add(displaced.at_stake);
    }

    /// How many more replicas of another claimant do not endanger what is promised to this one.
    fn tolerated(&self, other: usize) -> u64 {
        let each = self.each.get(other).copied().unwrap_or(0);
        if each == 0 || self.beside() >= self.at_stake {
            return u64::MAX;
        }
        self.beside().saturating_sub(self.taken) / each
    }

    /// How many more replicas it finds room for itself, wherever the others go.
    fn left(&self) -> u64 {
        self.beside().saturating_sub(self.taken.min(self.at_stake)) / self.places.max(1)
    }

    /// Places beside those of the replicas that are promised.
    fn beside(&self) -> u64 {
        self.room.saturating_sub(self.promised.saturating_mul(self.places))
    }
}

// === impl Share ===

impl Share<'_, '_> {
    /// Replicas beyond those that are bound that are granted on nodes which are here.
    fn placed(&self) -> u64 {
        let purposeful = self.arriving.saturating_add(self.asking);
        let placed = self.grant.saturating_sub(self.applicant.live.bound).saturating_sub(purposeful);
        if self.alone.fits.class == Class::Unknown { 0 } else { u64::try_from(placed).unwrap_or(0) }
    }

    /// Of these, those that may be promised now: nothing where no grant is obeyed.
    fn claim(&self) -> u64 {
        let level = self.applicant.reach.most.max(self.applicant.floor).max(self.settled());
        let claim = u64::try_from(level.saturating_sub(self.applicant.live.bound)).unwrap_or(0);
        if self.applicant.reach.obeys { claim.min(self.placed()) } else { 0 }
    }

    /// Of these, replicas that exist, are being made, or were promised before.
    fn fixed(&self) -> u64 {
        let fixed = self.settled().saturating_sub(self.applicant.live.bound);
        u64::try_from(fixed).unwrap_or(0).min(self.claim())
    }

    fn settled(&self) -> i32 {
        let reserved = Some(self.reserved()).filter(|reserved| !self.idles(*reserved));
        self.asked().max(reserved.unwrap_or(0))
    }

    /// Whether its HPA takes such a grant for what it has, and so stays where it is.
    fn idles(&self, grant: i32) -> bool {
        grant < self.applicant.want && grant <= self.applicant.reach.idle
    }

    /// Replicas without a promise that may take room: those that exist, and that the scheduler has not said no to; what
    /// obeys no grant goes as far as it can.
    fn surplus(&self) -> u64 {
        let live = &self.applicant.live;
        let level = if self.applicant.reach.obeys { self.asked() } else { self.asked().max(self.applicant.reach.most) };
        let unbound = level.saturating_sub(live.bound).saturating_sub(live.gated).saturating_sub(self.refused);
        let unbound = u64::try_from(unbound).unwrap_or(0).saturating_sub(self.claim());
        if self.alone.fits.class == Class::Unknown { 0 } else { unbound }
    }

    /// The pods of one replica, by template.
    fn parts(&self) -> impl Iterator<Item = (&Template, u64)> {
        self.applicant.replica.iter().flat_map(Replica::parts)
    }

    /// Places for its pods if it were alone, how many a replica takes, and what the pods are that take them.
    fn room(&self, inventory: &Inventory<'_>) -> Option<(u32, u64, Vec<&Template>)> {
        let replica = self.applicant.replica.as_ref()?;
        Some(match inventory.alike(replica) {
            Some((template, 1)) => (self.alone.fits.lo, 1, vec![template]),
            Some((template, pods)) => (inventory.fits(template).fits.lo, pods, vec![template]),
            None => (self.alone.fits.lo, 1, replica.parts().map(|(template, _)| template).collect()),
        })
    }
}
