//! What claims hold, kept claim by claim: an event costs what its claim changes, not what is there.
//!
//! ```text
//!  claims ──> holders of each device ──┐
//!  pods, claims ──> unseen pods        ├─> Taken: what is taken of each set on each node, kept while devices stay
//!  Selection: which devices, where ────┘
//! ```

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use super::super::quota;
use crate::{
    cluster::{Delta, View},
    device::{Selection, bits, key},
    object::{ObjectKey, Pod, Text, device::ResourceClaim},
};

/// What claims hold.
#[derive(Debug, Default)]
pub(in super::super) struct Allocated {
    /// By device, how many claims have it.
    holders: HashMap<Box<str>, u32>,
    /// By pod, how many claims are reserved for it.
    users: HashMap<ObjectKey, u32>,
    /// Bound pods by node that may hold devices although no claim is known to be reserved for them.
    unseen: HashMap<Text, BTreeSet<ObjectKey>>,
    counted: Mutex<Option<(Arc<Selection>, Arc<Taken>)>>,
}

/// What is taken of the devices that are told apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Taken {
    /// By device.
    devices: Vec<bool>,
    /// By node, as many as there are sets.
    counts: Vec<u32>,
    sets: usize,
}

// === impl Allocated ===

impl Allocated {
    /// Of all claims, before any pod has entered.
    pub(in super::super) fn of<'c>(claims: impl Iterator<Item = (&'c ObjectKey, &'c ResourceClaim)>) -> Self {
        let mut allocated = Self::default();
        for (key, claim) in claims {
            allocated.hold(claim);
            for pod in users(key, claim) {
                *allocated.users.entry(pod).or_default() += 1;
            }
        }
        allocated
    }

    /// The same claims, before any pod has entered.
    pub(in super::super) fn without_pods(&mut self) -> Self {
        let counted = self.counted.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        Self {
            holders: std::mem::take(&mut self.holders),
            users: std::mem::take(&mut self.users),
            unseen: HashMap::new(),
            counted: Mutex::new(counted),
        }
    }

    /// Takes note of a change that is about to be put into the view.
    pub(in super::super) fn note(&mut self, view: &View, delta: &Delta<ResourceClaim, ObjectKey>) {
        let known = |key: &ObjectKey| view.devices.claims.as_ref().and_then(|claims| claims.get(key));
        match delta {
            Delta::Applied(claim) => {
                let key = claim.metadata.key();
                let old = known(&key);
                if old.is_some_and(|old| old.status == claim.status) {
                    return;
                }
                self.enter(view, &key, claim);
                if let Some(old) = old {
                    self.leave(view, &key, old);
                }
            }
            Delta::Deleted(key) => {
                if let Some(old) = known(key) {
                    self.leave(view, key, old);
                }
            }
            Delta::Replaced(claims) => {
                let claims: BTreeMap<_, _> = claims.iter().map(|claim| (claim.metadata.key(), claim)).collect();
                *self = Self::of(claims.iter().map(|(key, claim)| (key, *claim)));
                for (key, pod) in view.pods.iter().filter(|(_, pod)| !pod.is_terminal() && !pod.node_name.is_empty()) {
                    self.bind(key, pod);
                }
            }
        }
    }

    /// A pod is on a node.
    pub(in super::super) fn bind(&mut self, key: &ObjectKey, pod: &Pod) {
        if may_hold(pod) && !self.users.contains_key(key) {
            self.unseen.entry(pod.node_name.clone()).or_default().insert(key.clone());
        }
    }

    /// A pod is no longer on its node.
    pub(in super::super) fn unbind(&mut self, key: &ObjectKey, pod: &Pod) {
        if let Some(pods) = self.unseen.get_mut(&pod.node_name) {
            pods.remove(key);
            if pods.is_empty() {
                self.unseen.remove(&pod.node_name);
            }
        }
    }

    /// Pods of a node that may hold devices although no claim is known to be reserved for them.
    pub(in super::super) fn unseen<'a>(&'a self, node: &str, view: &'a View) -> impl Iterator<Item = &'a Pod> {
        self.unseen.get(node).into_iter().flatten().filter_map(|key| view.pods.get(key))
    }

    /// What is taken of the devices of a selection.
    pub(super) fn taken(&self, selection: &Arc<Selection>) -> Arc<Taken> {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, taken)) = &*counted
            && Arc::ptr_eq(known, selection)
        {
            return Arc::clone(taken);
        }
        let mut taken = Taken::none_of(selection);
        for device in self.holders.keys().filter_map(|key| selection.device_index(key)) {
            taken.mark(selection, device, true);
        }
        let taken = Arc::new(taken);
        *counted = Some((Arc::clone(selection), Arc::clone(&taken)));
        taken
    }

    fn enter(&mut self, view: &View, key: &ObjectKey, claim: &ResourceClaim) {
        self.hold(claim);
        for user in users(key, claim) {
            if let Some(pod) = view.pods.get(&user) {
                self.unbind(&user, pod);
            }
            *self.users.entry(user).or_default() += 1;
        }
    }

    fn leave(&mut self, view: &View, key: &ObjectKey, claim: &ResourceClaim) {
        for device in devices(claim) {
            if decrement(&mut self.holders, &device) {
                self.mark(&device, false);
            }
        }
        for user in users(key, claim) {
            let pod = view.pods.get(&user).filter(|pod| !pod.is_terminal() && !pod.node_name.is_empty());
            if decrement(&mut self.users, &user)
                && let Some(pod) = pod
            {
                self.bind(&user, pod);
            }
        }
    }

    fn hold(&mut self, claim: &ResourceClaim) {
        for device in devices(claim) {
            if !self.holders.contains_key(&device) {
                self.mark(&device, true);
            }
            *self.holders.entry(device).or_default() += 1;
        }
    }

    fn mark(&mut self, device: &str, taken: bool) {
        if let Some((selection, counted)) = self.counted.get_mut().unwrap_or_else(PoisonError::into_inner)
            && let Some(device) = selection.device_index(device)
        {
            Arc::make_mut(counted).mark(selection, device, taken);
        }
    }
}

/// What was counted of one is not known of another.
impl Clone for Allocated {
    fn clone(&self) -> Self {
        Self {
            holders: self.holders.clone(),
            users: self.users.clone(),
            unseen: self.unseen.clone(),
            counted: Mutex::default(),
        }
    }
}

/// What was counted follows from the rest.
impl PartialEq for Allocated {
    fn eq(&self, other: &Self) -> bool {
        self.holders == other.holders && self.users == other.users && self.unseen == other.unseen
    }
}

// === impl Taken ===

impl Taken {
    pub(super) fn none_of(selection: &Selection) -> Self {
        let sets = selection.sets.len();
        Self { devices: vec![false; selection.device_count()], counts: vec![0; selection.node_count() * sets], sets }
    }

    /// How many devices of each set are taken on a node.
    pub(super) fn of_node(&self, node: usize) -> &[u32] {
        self.counts.get(node * self.sets..(node + 1) * self.sets).unwrap_or_default()
    }

    pub(super) fn is_taken(&self, device: usize) -> bool {
        self.devices.get(device) == Some(&true)
    }

    fn mark(&mut self, selection: &Selection, device: usize, taken: bool) {
        let Some((node, sets)) = selection.place_of(device) else { return };
        if let Some(mark) = self.devices.get_mut(device) {
            *mark = taken;
        }
        for set in bits(sets) {
            if let Some(count) = self.counts.get_mut(node * self.sets + set) {
                *count = if taken { *count + 1 } else { count.saturating_sub(1) };
            }
        }
    }
}

/// Counts one less; whether none is left.
fn decrement<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, u32>, key: &K) -> bool {
    let Some(count) = counts.get_mut(key) else { return false };
    *count -= 1;
    let none = *count == 0;
    if none {
        counts.remove(key);
    }
    none
}

/// The devices that a claim keeps from others, by their keys.
fn devices(claim: &ResourceClaim) -> impl Iterator<Item = Box<str>> {
    let results = claim.status.allocation.iter().flat_map(|it| &it.devices.results);
    results.filter(|device| !device.admin_access).map(key)
}

/// Pods that a claim is reserved for.
pub(super) fn users(key: &ObjectKey, claim: &ResourceClaim) -> impl Iterator<Item = ObjectKey> {
    let pods = claim.status.reserved_for.iter().filter(|consumer| consumer.resource == "pods");
    pods.map(|pod| ObjectKey::new(key.namespace.clone(), &*pod.name))
}

/// Whether a pod may hold devices: it has claims, or asks for resources that a class may stand for.
fn may_hold(pod: &Pod) -> bool {
    let containers = || pod.spec.containers.iter().chain(&pod.spec.init_containers);
    let mut names = containers().flat_map(|it| it.resources.requests.keys().chain(it.resources.limits.keys()));
    !pod.spec.resource_claims.is_empty() || names.any(|name| quota::is_extended(name))
}
