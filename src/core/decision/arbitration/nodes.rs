//! Replicas for nodes that are not there yet.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::{MAX_PLACEMENTS, Share, Table};
use crate::{
    autoscaler::Outlook,
    capacity::{Class, Inventory, Placer},
    policy::Policy,
};

impl Table<'_> {
    /// Grants replicas for nodes that are being brought, then for nodes that may be: one at a time, on rooms of their
    /// own, so that no two workloads count on the same node. Where nobody knows what a node would look like, or whether
    /// it would do, one replica may find out. Before that, replicas take the nodes whose GPUs are about to register: they are granted
    /// when that has happened, and no node is asked for in their place.
    pub(super) fn ask_for_nodes(&mut self, shares: &mut [Share<'_, '_>], outlook: &Outlook, policy: &Policy) {
        let mut registering = Placer::new(Inventory::of(&outlook.registering, policy));
        let mut arriving = Placer::new(Inventory::of(&outlook.arriving, policy));
        let mut further = Placer::new(Inventory::of(&outlook.further, policy));
        let wants = |share: &Share<'_, '_>| {
            share.grant.saturating_add(share.awaited) < share.applicant.want && share.alone.fits.class != Class::Unknown
        };
        let all = shares.iter().enumerate().filter(|(_, share)| wants(share));
        let mut turns: BinaryHeap<_> = all.map(|(index, share)| share.turn(index)).collect();
        while let Some(Reverse((_, _, index))) = turns.pop() {
            let Some(share) = shares.get_mut(index) else { continue };
            let Some(replica) = share.applicant.replica.as_ref() else { continue };
            let (at, exists) = share.next();
            if self.placements >= MAX_PLACEMENTS || !self.scratch.charge_replica(replica, at, exists) {
                continue;
            }
            let purposeful = share.arriving + share.asking;
            let may_wait = purposeful < share.applicant.headroom && !share.is_tied();
            let may_count = may_wait && share.doubt.is_none();
            let finds_out = may_wait && purposeful == 0 && (outlook.unknown || share.doubt.is_some());
            if registering.place_replica(replica, at) {
                share.awaited += 1;
            } else if may_count && arriving.place_replica(replica, at) {
                share.arriving += 1;
                share.grant += 1;
            } else if (may_count && further.place_replica(replica, at)) || finds_out {
                share.asking += 1;
                share.grant += 1;
            } else {
                self.scratch.discharge_replica(replica, at, exists);
                continue;
            }
            self.placements = self.placements.saturating_add(replica.pods());
            if wants(share) {
                turns.push(share.turn(index));
            }
        }
    }
}
