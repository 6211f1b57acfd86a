//! Which of the grants are promised at once, and which wait until others are bound.
//!
//! The division places everything together, as closely as it can; the scheduler places pod by pod, where it likes: a
//! small pod of one workload may take the node that a large one of another was counted on. So of what is granted, only
//! that is promised which fits wherever the pods of others go; the largest first, since nothing that comes after them
//! can be in their way. As soon as they are bound, what they left is known, and the rest is promised.
//!
//! Pods that exist, and replicas that were promised before, are facts: nothing of them is taken back here.

use std::cmp::Reverse;

use super::Share;
use crate::capacity::{Class, Displacement, Inventory, Replica, Rivals, Template};

/// A workload with replicas that are granted and not bound.
struct Claimant {
    /// Its place among the shares.
    share: usize,
    /// Replicas beyond those that are bound that are granted on nodes which are here.
    granted: u64,
    /// Of these, how many are promised.
    promised: u64,
    /// Places for its pods, were it alone; for whole replicas where the pods of one differ.
    room: u64,
    /// How many of them one replica takes.
    places: u64,
    /// What pods of nobody take of them.
    lost: u64,
    /// What one replica of each claimant takes of them.
    each: Vec<u64>,
    /// The most that all others take of it.
    at_stake: u64,
}

/// Takes back what is not promised yet: [`Share::held_back`]. `inventory` is the one before anything was placed, `others`
/// are pods of nobody that are to be placed.
pub(super) fn hold_back(inventory: &Inventory<'_>, shares: &mut [Share<'_, '_>], others: Vec<(Template, u64)>) {
    let claimants = shares.iter().enumerate().filter(|(_, share)| share.placed() > 0).map(|(index, _)| index);
    let claimants: Vec<_> = claimants.collect();
    let is_new = |index: &usize| shares.get(*index).is_some_and(|share| share.placed() > share.fixed());
    if !claimants.iter().any(is_new) {
        return;
    }
    let mut table = Promises::of(inventory, shares, &claimants, others);
    table.raise(
        shares,
        |share| share.applicant.floor.saturating_sub(share.applicant.live.bound),
        |share| (Reverse(share.applicant.priority), Reverse(share.gpus)),
    );
    table.raise(shares, |_| i32::MAX, |share| (Reverse(0), Reverse(share.gpus)));
    for claimant in table.0 {
        if let Some(share) = shares.get_mut(claimant.share) {
            share.held_back = i32::try_from(claimant.granted.saturating_sub(claimant.promised)).unwrap_or(0);
        }
    }
}

struct Promises(Vec<Claimant>);

/// Whose some pods are that are to be placed.
enum Owner {
    /// Of a claimant, by its position: so many pods of each of its replicas.
    Claimant(usize, u64),
    /// Pods of a share that exist although nothing was found for them; they may be tried first all the same.
    Surplus(usize),
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
                rivals.push((template.clone(), pods.saturating_mul(share.placed())));
            }
        }
        for (index, share) in shares.iter().enumerate().filter(|(_, share)| share.surplus() > 0) {
            for (template, pods) in share.parts() {
                owners.push(Owner::Surplus(index));
                rivals.push((template.clone(), pods.saturating_mul(share.surplus())));
            }
        }
        owners.extend(others.iter().map(|_| Owner::Nobody));
        let rivals = Rivals::of(inventory, rivals.into_iter().chain(others));
        let claimant = |(position, index): (usize, &usize)| {
            let share = shares.get(*index)?;
            let is_rival = |owner: &Owner| match owner {
                Owner::Claimant(it, _) => *it != position,
                Owner::Surplus(it) => it != index,
                Owner::Nobody => true,
            };
            let is_rival = |rival: usize| owners.get(rival).is_some_and(is_rival);
            let (room, places, parts) = share.room(inventory)?;
            let mut claimant = Claimant {
                share: *index,
                granted: share.placed(),
                promised: share.fixed(),
                room: room.into(),
                places,
                lost: 0,
                each: vec![0; claimants.len()],
                at_stake: 0,
            };
            for template in parts {
                claimant.lose(&inventory.displacement(template, &rivals, is_rival), &owners, &rivals);
            }
            Some(claimant)
        };
        Self(claimants.iter().enumerate().filter_map(claimant).collect())
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
        }
    }

    /// How many more may be promised to a claimant, so that all that is promised finds its place.
    fn safe(&self, position: usize) -> u64 {
        let Some(own) = self.0.get(position) else { return 0 };
        let others = self.0.iter().filter(|it| it.share != own.share && it.promised > 0);
        let least = others.map(|other| self.tolerated(other, position)).min().unwrap_or(u64::MAX);
        self.left(own).min(least)
    }

    /// How many more replicas of another claimant do not endanger what is promised to this one.
    fn tolerated(&self, claimant: &Claimant, other: usize) -> u64 {
        let each = claimant.each.get(other).copied().unwrap_or(0);
        if each == 0 || claimant.beside() >= claimant.at_stake {
            return u64::MAX;
        }
        claimant.beside().saturating_sub(self.taken(claimant)) / each
    }

    /// How many more replicas the claimant itself finds room for, wherever the others go.
    fn left(&self, claimant: &Claimant) -> u64 {
        let lost = self.taken(claimant).min(claimant.at_stake);
        claimant.beside().saturating_sub(lost) / claimant.places.max(1)
    }

    /// What all that is promised to others takes of the room for a claimant, were there no end to it.
    fn taken(&self, claimant: &Claimant) -> u64 {
        let taken = self.0.iter().zip(&claimant.each).map(|(other, each)| other.promised.saturating_mul(*each));
        taken.fold(claimant.lost, u64::saturating_add)
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
                Owner::Surplus(_) | Owner::Nobody => {
                    self.lost = self.lost.saturating_add(taken.saturating_mul(count));
                }
            }
        }
        self.at_stake = self.at_stake.saturating_add(displaced.at_stake);
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

    /// Of these, replicas that exist, are being made, or were promised before.
    fn fixed(&self) -> u64 {
        let fixed = self.asked().max(self.reserved()).saturating_sub(self.applicant.live.bound);
        u64::try_from(fixed).unwrap_or(0).min(self.placed())
    }

    /// Replicas that exist, that nothing holds back from being bound, and that no node was found for.
    fn surplus(&self) -> u64 {
        let live = &self.applicant.live;
        let unbound = self.asked().saturating_sub(live.bound).saturating_sub(live.gated);
        let unbound = u64::try_from(unbound).unwrap_or(0).saturating_sub(self.placed());
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
            None => (self.alone.fits.lo, 1, self.parts().map(|(template, _)| template).collect()),
        })
    }
}
