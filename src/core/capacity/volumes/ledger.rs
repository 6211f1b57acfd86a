//! What the volumes of bound pods use: claims for one pod alone, and the attachments that drivers limit on a node.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::OnceLock,
};

use super::{Claims, Source, resolve::handle_of, source};
use crate::{
    cluster::{Storage, View},
    object::{Node, ObjectKey, Pod},
};

/// Volumes of bound pods.
#[derive(Debug, Default)]
pub(in crate::capacity) struct Ledger<'v> {
    /// Pods that have any, by row.
    pods: BTreeMap<usize, Vec<&'v Pod>>,
    /// Claims that they use, with the highest priority of those that do.
    used: HashMap<(&'v str, &'v str), i32>,
    /// What drivers limit, by row; made when it is first asked for.
    loads: OnceLock<HashMap<usize, BTreeMap<String, Load>>>,
}

/// Volumes of one driver on one node.
#[derive(Debug, Default)]
struct Load {
    limit: i64,
    /// Of pods.
    pods: BTreeSet<String>,
    /// That are attached, pods or not.
    attached: BTreeSet<String>,
}

// === impl Ledger ===

impl<'v> Ledger<'v> {
    /// Takes note of a bound pod.
    pub(in crate::capacity) fn bind(&mut self, pod: &'v Pod, row: usize) {
        let mut any = false;
        for source in source::of(&pod.spec) {
            any = true;
            if let Source::Claim(name) = source {
                let highest = self.used.entry((&pod.metadata.namespace, name)).or_insert(i32::MIN);
                *highest = (*highest).max(pod.spec.priority.unwrap_or(0));
            }
        }
        if any {
            self.pods.entry(row).or_default().push(pod);
        }
    }

    /// The most that could be bound if pods below a priority were evicted.
    pub(in crate::capacity) fn most(&self, claims: &Claims, priority: i32) -> u32 {
        let mut alone = claims.exclusive.iter().filter(|exclusive| exclusive.for_one_pod);
        let kept = alone.any(|exclusive| self.user(&exclusive.claim).is_some_and(|user| user >= priority));
        if kept { 0 } else { claims.most() }
    }

    /// Replicas that the volumes allow on a node beside those that are placed, there and anywhere.
    pub(in crate::capacity) fn room<'s>(
        &self,
        claims: &Claims,
        (row, nodes): (usize, &[&Node]),
        placed: impl Iterator<Item = (usize, &'s Claims)> + Clone,
        view: &View,
    ) -> u32 {
        if claims.is_empty() {
            return u32::MAX;
        }
        let taken = |claim: &ObjectKey| {
            self.user(claim).is_some()
                || placed.clone().any(|(_, other)| other.exclusive.iter().any(|it| it.claim == *claim))
        };
        if claims.exclusive.iter().any(|exclusive| taken(&exclusive.claim)) {
            return 0;
        }
        let here: Vec<_> = placed.filter(|(other, _)| *other == row).map(|(_, claims)| claims).collect();
        let name = nodes.get(row).map_or("", |node| node.metadata.name.as_str());
        let drivers = claims.shared.iter().map(|it| &it.driver).chain(claims.own.keys()).collect::<BTreeSet<_>>();
        let loads = self.loads(nodes, view).get(&row);
        let loads = drivers.into_iter().filter_map(|driver| loads?.get(driver).map(|load| (driver, load)));
        loads.map(|(driver, load)| load.room(driver, claims, &here)).fold(claims.waiting_on(name, &here), u32::min)
    }

    /// The highest priority of the bound pods that use a claim.
    fn user(&self, claim: &ObjectKey) -> Option<i32> {
        self.used.get(&(claim.namespace.as_str(), claim.name.as_str())).copied()
    }

    fn loads(&self, nodes: &[&Node], view: &View) -> &HashMap<usize, BTreeMap<String, Load>> {
        self.loads.get_or_init(|| {
            let storage = &view.storage;
            let mut attached: HashMap<&str, Vec<(String, String)>> = HashMap::new();
            for attachment in storage.attachments.iter().flat_map(BTreeMap::values) {
                let spec = &attachment.spec;
                let volumes = storage.volumes.as_ref();
                let volume = volumes.and_then(|it| it.get(&spec.source.persistent_volume_name));
                if let Some(csi) =
                    volume.and_then(|volume| volume.spec.csi.as_ref()).filter(|_| !spec.attacher.is_empty())
                {
                    let volume = (spec.attacher.clone(), csi.volume_handle.clone());
                    attached.entry(&spec.node_name).or_default().push(volume);
                }
            }
            let mut loads = HashMap::new();
            for (row, node) in nodes.iter().enumerate() {
                let csi = storage.nodes.as_ref().and_then(|it| it.get(&node.metadata.name));
                let limits = csi.into_iter().flat_map(|it| &it.spec.drivers);
                let limits = limits.filter_map(|it| Some((it.name.clone(), i64::from(it.allocatable.count?))));
                let mut known: BTreeMap<_, _> =
                    limits.map(|(driver, limit)| (driver, Load { limit, ..Load::default() })).collect();
                if known.is_empty() {
                    continue;
                }
                for (driver, handle) in self.pods.get(&row).into_iter().flatten().flat_map(|pod| volumes(pod, storage))
                {
                    known.get_mut(&driver).map(|load| load.pods.insert(handle));
                }
                for (driver, handle) in attached.remove(node.metadata.name.as_str()).into_iter().flatten() {
                    known.get_mut(&driver).map(|load| load.attached.insert(handle));
                }
                loads.insert(row, known);
            }
            loads
        })
    }
}

// === impl Load ===

impl Load {
    /// `CSILimits.Filter`, for one replica after the other. A volume that is attached and that no pod of the node has
    /// counts on top of the first replica that has it.
    fn room(&self, driver: &str, claims: &Claims, here: &[&Claims]) -> u32 {
        let shared_of = |claims: &'_ Claims| {
            let shared = claims.shared.iter().filter(|it| it.driver == driver);
            shared.map(|it| it.handle.clone()).collect::<BTreeSet<_>>()
        };
        let count = |handles: &BTreeSet<String>| i64::try_from(handles.len()).unwrap_or(i64::MAX);
        let own_of = |claims: &Claims| i64::from(claims.own.get(driver).copied().unwrap_or(0));
        let mut pods = self.pods.clone();
        pods.extend(here.iter().flat_map(|claims| shared_of(claims)));
        let placed: i64 = here.iter().map(|claims| own_of(claims)).fold(0, i64::saturating_add);
        let (shared, own) = (shared_of(claims), own_of(claims));
        let new = count(&shared.difference(&pods).cloned().collect()) + own;
        let attached = |pods: &BTreeSet<String>| count(&pods.union(&self.attached).cloned().collect()) + placed;
        if new == 0 {
            return u32::MAX;
        }
        if attached(&pods) + new > self.limit {
            return 0;
        }
        pods.extend(shared);
        let left = self.limit - attached(&pods);
        if own == 0 { u32::MAX } else { u32::try_from((left / own).max(1)).unwrap_or(u32::MAX) }
    }
}

// === impl Claims ===

impl Claims {
    /// Replicas for which volumes wait on a node. All of one class may be taken by others who want that class.
    fn waiting_on(&self, node: &str, here: &[&Self]) -> u32 {
        let Some(slots) = &self.slots else { return u32::MAX };
        let taken = here.iter().filter(|it| it.slots.as_ref().is_some_and(|it| it.class == slots.class)).count();
        let free = slots.free.get(node).copied().unwrap_or(0);
        free.saturating_sub(u32::try_from(taken).unwrap_or(u32::MAX))
    }
}

/// Driver and handle of the volumes of a pod that may count.
fn volumes<'a>(pod: &'a Pod, storage: &'a Storage) -> impl Iterator<Item = (String, String)> + 'a {
    source::of(&pod.spec).filter_map(|source| match source {
        Source::Claim(name) => of_claim(&ObjectKey::new(&*pod.metadata.namespace, name), storage),
        Source::Ephemeral { volume, .. } => {
            let name = format!("{}-{volume}", pod.metadata.name);
            of_claim(&ObjectKey::new(&*pod.metadata.namespace, name), storage)
        }
        Source::Migrated { driver, source, .. } => Some((driver.to_owned(), source.to_string())),
        Source::OfEach(_) | Source::Other(_) => None,
    })
}

/// `getCSIDriverInfo`: by the volume that the claim is bound to, else by its class.
fn of_claim(key: &ObjectKey, storage: &Storage) -> Option<(String, String)> {
    let claim = storage.claims.as_ref()?.get(key)?;
    let volume = storage.volumes.as_ref().and_then(|it| it.get(&claim.spec.volume_name));
    let Some(volume) = volume else {
        let class = storage.classes.as_ref()?.get(claim.class())?;
        return Some((class.driver().to_owned(), handle_of(key)));
    };
    let csi = volume.spec.csi.as_ref().map(|csi| (csi.driver.clone(), csi.volume_handle.clone()));
    let migrated = || volume.migrated_to().map(|it| (it.to_owned(), format!("volume {}", volume.metadata.name)));
    csi.or_else(migrated)
}
