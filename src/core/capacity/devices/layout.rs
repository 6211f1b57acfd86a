//! Where devices are in the rows of an inventory.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::{super::requests, Wants, countable};
use crate::{
    cluster::View,
    device::{Selection, Signature},
    object::{Node, ObjectKey, Pod},
    policy::Policy,
};

/// The columns of devices, and what they hold.
#[derive(Debug, Default)]
pub(in super::super) struct Layout<'v> {
    selection: Option<&'v Selection>,
    /// Column of the first set; the others follow.
    first: usize,
    /// Column and set of each extended resource that devices may satisfy; no set if no device does.
    mapped: Vec<(usize, Option<usize>)>,
    /// Rows and columns of extended resources that come from devices there.
    delegated: HashSet<(usize, usize)>,
    /// Columns of sets of GPUs.
    pub(in super::super) gpus: Vec<usize>,
}

/// What a replica takes besides its requests: from what its devices may also have been counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Levy {
    column: usize,
    amount: i64,
    /// The extended resource that the devices stand for: then only where it comes from devices.
    via: Option<usize>,
}

/// Devices of a replica, in the columns of an inventory.
#[derive(Debug, Default)]
pub(in super::super) struct Share {
    pub(in super::super) requests: Vec<(usize, i64)>,
    pub(in super::super) levies: Vec<Levy>,
    pub(in super::super) missing: Vec<String>,
    /// Whether requests select some of the same devices, so that there may be room for more than is counted.
    pub(in super::super) overlaps: bool,
}

// === impl Layout ===

impl<'v> Layout<'v> {
    /// Extended resources that devices may satisfy and whose devices can be counted.
    pub(in super::super) fn resources(view: &'v View) -> BTreeSet<&'v str> {
        let Ok(selection) = countable(view) else { return BTreeSet::new() };
        let names = view.device_classes.values().filter_map(|class| class.spec.extended_resource_name.as_deref());
        names.filter(|name| set_of(name, view, selection).is_ok()).collect()
    }

    /// Names of the sets, in the order of their columns.
    pub(in super::super) fn names(view: &'v View) -> impl Iterator<Item = &'v str> {
        countable(view).into_iter().flat_map(|selection| selection.sets.iter().map(|set| set.name.as_str()))
    }

    /// `columns` end with those of the sets.
    pub(in super::super) fn of(view: &'v View, policy: &Policy, nodes: &[&Node], columns: &[&str]) -> Self {
        let Ok(selection) = countable(view) else { return Self::default() };
        let Some(first) = columns.len().checked_sub(selection.sets.len()) else { return Self::default() };
        let resources = Self::resources(view);
        let mapped = (0..first).zip(columns).filter(|(_, name)| resources.contains(*name));
        let mapped: Vec<_> =
            mapped.map(|(column, name)| (column, set_of(name, view, selection).ok().flatten())).collect();
        let offers = |row: usize, column: usize| {
            let (node, name) = (nodes.get(row)?, columns.get(column)?);
            node.status.allocatable.get(*name).map(|amount| requests::scale(name, *amount)).filter(|amount| *amount > 0)
        };
        let cells = (0..nodes.len()).flat_map(|row| mapped.iter().map(move |(column, _)| (row, *column)));
        let delegated = cells.filter(|(row, column)| offers(*row, *column).is_none()).collect();
        let is_gpu = |class: &str| {
            let resource =
                view.device_classes.get(class).and_then(|class| class.spec.extended_resource_name.as_deref());
            policy.is_gpu(class) || resource.is_some_and(|name| policy.is_gpu(name))
        };
        let gpus =
            (first..).zip(&selection.sets).filter(|(_, set)| is_gpu(&set.class)).map(|(column, _)| column).collect();
        Self { selection: Some(selection), first, mapped, delegated, gpus }
    }

    /// Puts into rows how many devices there are, all of them or those that are free.
    pub(in super::super) fn fill(&self, nodes: &[&Node], width: usize, taken: &Taken, cells: &mut [i64]) {
        let Some(selection) = self.selection else { return };
        for (row, node) in nodes.iter().enumerate() {
            let count = |set: usize| {
                let there = selection.sets.get(set).and_then(|set| set.nodes.get(&node.metadata.name)).copied();
                let taken = taken.counts.get(&(set, node.metadata.name.clone())).copied();
                i64::from(there.unwrap_or(0)) - i64::from(taken.unwrap_or(0))
            };
            let mut put = |column: usize, amount: i64| {
                if let Some(cell) = cells.get_mut(row.saturating_mul(width).saturating_add(column)) {
                    *cell = amount;
                }
            };
            for set in 0..selection.sets.len() {
                put(self.first + set, count(set));
            }
            for (column, set) in &self.mapped {
                if self.delegated.contains(&(row, *column)) {
                    put(*column, set.map_or(0, count));
                }
            }
        }
    }

    /// Whether there are devices at all.
    pub(in super::super) fn is_empty(&self) -> bool {
        self.selection.is_none_or(|selection| selection.sets.is_empty())
    }

    /// What a pod may hold of a row although no claim is known to be reserved for it: what it asks for as an extended
    /// resource, of all that its devices may have been counted in; everything, if it has claims of its own.
    pub(in super::super) fn unseen(
        &self,
        row: usize,
        pod: &Pod,
        column_of: &HashMap<&str, usize>,
    ) -> Vec<(usize, i64)> {
        let sets = self.selection.map_or(0, |selection| selection.sets.len());
        let delegated = self.mapped.iter().map(|(column, _)| *column);
        let delegated: Vec<_> = delegated.filter(|column| self.delegated.contains(&(row, *column))).collect();
        let all = || (self.first..self.first + sets).chain(delegated.iter().copied());
        if !pod.spec.resource_claims.is_empty() {
            return all().map(|column| (column, i64::MAX)).collect();
        }
        if delegated.is_empty() {
            return Vec::new();
        }
        let requests = requests::of_assigned(pod);
        let asked = requests.iter().filter(|(name, _)| column_of.get(name).is_some_and(|it| delegated.contains(it)));
        let amount = asked.fold(0_i64, |sum, (_, amount)| sum.saturating_add(*amount));
        if amount == 0 { Vec::new() } else { all().map(|column| (column, amount)).collect() }
    }

    /// Columns of the sets that a device of a claim is in.
    pub(in super::super) fn columns(&self, sets: &[usize]) -> impl Iterator<Item = usize> {
        sets.iter().map(|set| self.first + set)
    }

    /// What a replica wants, in columns.
    pub(in super::super) fn share(&self, wants: &Wants, requests: &[(usize, i64)], view: &View) -> Share {
        let mut share = Share::default();
        let Some(selection) = self.selection else {
            share.missing.extend(wants.devices.iter().map(|(signature, _)| signature.class.clone()));
            return share;
        };
        let mut sets: BTreeMap<usize, i64> = BTreeMap::new();
        for (signature, count) in &wants.devices {
            match selection.find(signature) {
                Ok(Some(set)) => *sets.entry(set).or_default() += count,
                Ok(None) | Err(_) => share.missing.push(format!("devices of class {}", signature.class)),
            }
        }
        let related = |set: usize| selection.sets.get(set).map_or(&[][..], |set| set.overlaps.as_slice());
        for (set, amount) in &sets {
            let rivals = related(*set).iter().filter_map(|other| sets.get(other));
            let rivals = rivals.fold(0_i64, |sum, amount| sum.saturating_add(*amount));
            share.overlaps |= rivals > 0;
            share.requests.push((self.first + set, amount.saturating_add(rivals)));
            let others = related(*set).iter().filter(|other| !sets.contains_key(other));
            self.levy(*set, others, (*amount, None), &mut share.levies);
        }
        for name in &wants.resources {
            let set = set_of(name, view, selection).ok().flatten();
            let column =
                self.mapped.iter().find(|(_, mapped)| set.is_some() && *mapped == set).map(|(column, _)| *column);
            let amount = requests.iter().find(|(requested, _)| Some(*requested) == column).map(|(_, amount)| *amount);
            if let (Some(set), Some(column), Some(amount)) = (set, column, amount) {
                let all = related(set).iter().chain(std::iter::once(&set));
                self.levy(set, all, (amount, Some(column)), &mut share.levies);
            }
        }
        share
    }

    /// Charges sets, and the extended resources whose devices are in one of them or in `set` itself.
    fn levy<'s>(
        &self,
        set: usize,
        others: impl Iterator<Item = &'s usize>,
        (amount, via): (i64, Option<usize>),
        levies: &mut Vec<Levy>,
    ) {
        let mut add = |column: usize| levies.push(Levy { column, amount, via });
        let mut touched = self.selection.and_then(|selection| selection.sets.get(set)).map(|set| set.overlaps.clone());
        touched.get_or_insert_default().push(set);
        for (column, mapped) in &self.mapped {
            if Some(*column) != via && mapped.is_some_and(|set| touched.iter().flatten().any(|it| *it == set)) {
                add(*column);
            }
        }
        others.for_each(|other| add(self.first + other));
    }

    /// What a levy takes on a row.
    pub(in super::super) fn levied(&self, row: usize, levy: &Levy) -> Option<(usize, i64)> {
        let from_devices = |column: usize| column >= self.first || self.delegated.contains(&(row, column));
        (from_devices(levy.column) && levy.via.is_none_or(from_devices)).then_some((levy.column, levy.amount))
    }

    /// Whether any node satisfies the resource with devices.
    pub(in super::super) fn delegates(&self) -> bool {
        !self.delegated.is_empty()
    }
}

fn set_of(resource: &str, view: &View, selection: &Selection) -> Result<Option<usize>, String> {
    let class = view.class_of_resource(resource).ok_or("no class stands for it")?;
    selection.find(&Signature::of_class(&class.metadata.name))
}

/// Devices that have been allocated.
#[derive(Debug, Default)]
pub(in super::super) struct Taken {
    /// By set and node.
    counts: HashMap<(usize, String), u32>,
    /// Users of each device that some pod holds: which pod, and the sets that it is in.
    pub(in super::super) held: Vec<(ObjectKey, Vec<usize>)>,
    /// Pods that some claim is reserved for.
    users: HashSet<ObjectKey>,
}

impl Taken {
    pub(in super::super) fn of(view: &View) -> Self {
        let mut taken = Self::default();
        let Ok(selection) = countable(view) else { return taken };
        let mut seen = HashSet::new();
        for (key, claim) in view.devices.claims.iter().flatten() {
            let pods = || claim.status.reserved_for.iter().filter(|consumer| consumer.resource == "pods");
            let users = || pods().map(|pod| ObjectKey::new(key.namespace.clone(), &*pod.name));
            taken.users.extend(users());
            let allocated = claim.status.allocation.iter().flat_map(|it| &it.devices.results);
            for device in allocated.filter(|device| !device.admin_access) {
                let Some((node, sets)) = selection.device(device) else { continue };
                if !seen.insert((&device.driver, &device.pool, &device.device)) {
                    continue;
                }
                for set in sets {
                    *taken.counts.entry((*set, node.to_owned())).or_default() += 1;
                }
                taken.held.extend(users().map(|pod| (pod, sets.to_vec())));
            }
        }
        taken
    }

    /// Whether any claim is known to be reserved for the pod.
    pub(in super::super) fn knows(&self, pod: &ObjectKey) -> bool {
        self.users.contains(pod)
    }
}
