//! Volumes: which nodes their place allows, and how many replicas they allow on a node or at all.
//!
//! ```text
//!  PodSpec ──> Source (what a volume is) ──> Needs ─┬─> Place   (a filter of nodes: PV affinity, zones, topologies)
//!  View: claims, volumes, classes, nodes, drivers ──┘   Claims  (what is used up) ─> Ledger (what is used) ─> room(row)
//! ```
//!
//! Rules of `pkg/scheduler/framework/plugins/{volumebinding,volumezone,volumerestrictions,nodevolumelimits}` v1.36.3.
//! `ReadWriteOnce` is no rule of the scheduler. A claim that is missing, lost, or not bound yet although it need not
//! wait for a pod keeps every pod waiting, for how long nobody knows: such a template is not modelled.

mod fresh;
mod ledger;
mod place;
mod resolve;
mod source;

use std::collections::{BTreeMap, BTreeSet};

pub(super) use ledger::Ledger;
pub(super) use place::Place;
pub(super) use resolve::Needs;
use source::Source;

use crate::object::{ObjectKey, PodSpec};

/// What the replicas of a template use up besides the place of their volumes.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Claims {
    /// Claims that at most one more pod can use now.
    exclusive: Vec<Exclusive>,
    /// Volumes that all replicas share, of drivers that limit how many a node attaches.
    shared: BTreeSet<Attached>,
    /// Volumes of its own that each replica has, by driver, where the driver limits them.
    own: BTreeMap<String, u32>,
    /// Volumes that exist and that new claims are bound to.
    slots: Option<Slots>,
    /// Whether some replicas may go where others may not, or count less, so that only nodes are counted which all may
    /// use, and what counts most.
    partial: bool,
}

/// A claim that at most one more pod can use now.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Exclusive {
    claim: ObjectKey,
    /// `ReadWriteOncePod`. Else it is bound where its first pod goes, and what that leaves to others is not known.
    for_one_pod: bool,
}

/// A volume that counts against the limit of its driver on a node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Attached {
    driver: String,
    /// What tells it from others of the driver.
    handle: String,
}

/// Volumes that wait for claims of a class, each on one node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Slots {
    class: String,
    /// By node; a node that is not here has none.
    free: BTreeMap<String, u32>,
}

/// Whether a pod has volumes that decide about placement.
pub(super) fn has_any(spec: &PodSpec) -> bool {
    source::of(spec).next().is_some()
}

// === impl Claims ===

impl Claims {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The most replicas that all nodes together may be promised, and why.
    pub(super) fn limit(&self) -> Option<(u32, String)> {
        let exclusive = self.exclusive.iter().min_by_key(|exclusive| !exclusive.for_one_pod)?;
        let claim = &exclusive.claim;
        let why = if exclusive.for_one_pod {
            format!("PersistentVolumeClaim {claim} is ReadWriteOncePod: one pod may use it")
        } else {
            format!("PersistentVolumeClaim {claim} is bound where its first pod goes: only that one can be promised")
        };
        Some((1, why))
    }

    /// What of it holds pods to nodes that are here: claims that all of them share before it is settled who may, and
    /// volumes that wait where they are.
    pub(super) fn tie(&self) -> Option<String> {
        let waiting = self
            .slots
            .as_ref()
            .map(|slots| format!("StorageClass {} has only volumes that wait on nodes which are here", slots.class));
        self.limit().map(|(_, why)| why).or(waiting)
    }

    /// Drivers whose limits on a node decide.
    pub(super) fn drivers(&self) -> impl Iterator<Item = &str> {
        self.shared.iter().map(|it| it.driver.as_str()).chain(self.own.keys().map(String::as_str))
    }

    /// Whether only what holds for all replicas is counted, so that more may be bound.
    pub(super) fn is_partial(&self) -> bool {
        self.partial
    }

    /// The most replicas that all nodes together could ever take.
    pub(super) fn most(&self) -> u32 {
        if self.exclusive.iter().any(|exclusive| exclusive.for_one_pod) { 1 } else { u32::MAX }
    }

    /// Whether there is one that one pod alone may use.
    pub(super) fn are_exclusive(&self) -> bool {
        !self.exclusive.is_empty()
    }

    /// Whether another pod may use up what these replicas need, wherever it goes.
    pub(super) fn contend(&self, namespace: &str, spec: &PodSpec) -> bool {
        let counted = !self.shared.is_empty() || !self.own.is_empty() || self.slots.is_some();
        source::of(spec).any(|source| match source {
            Source::Claim(name) => {
                let same = |it: &Exclusive| it.claim.namespace == namespace && it.claim.name == name;
                counted || self.exclusive.iter().any(same)
            }
            Source::OfEach(_) | Source::Ephemeral { .. } | Source::Migrated { .. } => counted,
            Source::Other(_) => false,
        })
    }
}

#[cfg(test)]
mod tests;
