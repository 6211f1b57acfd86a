//! Where devices are in the rows of an inventory.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use super::{
    super::{Ledger, requests},
    Searched, Taken, Wants,
    allocated::users,
    countable,
    wants::Search,
};
use crate::{
    cluster::View,
    device::{
        self, Selection, Signature,
        request::{Amount, MAX_OF_CLAIM, Request},
    },
    object::{Node, ObjectKey, Pod},
    policy::Policy,
};

/// The columns of devices, and what they hold.
#[derive(Debug, Default)]
pub(in super::super) struct Layout<'v> {
    selection: Option<&'v Arc<Selection>>,
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
    /// What it takes of sets that are not among the requests, for people: they do not decide.
    pub(in super::super) selected: Vec<(usize, i64)>,
}

// === impl Levy ===

impl Levy {
    pub(in super::super) fn is_of(&self, column: usize) -> bool {
        self.column == column
    }
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

    /// Puts into rows how many devices there are, all of them or those that are not taken.
    pub(in super::super) fn fill(&self, nodes: &[&Node], width: usize, taken: Option<&Taken>, cells: &mut [i64]) {
        let Some(selection) = self.selection else { return };
        for (row, node) in nodes.iter().enumerate() {
            let there = selection.on(&node.metadata.name).map_or(&[][..], |node| node.counts.as_slice());
            let index = selection.node_index(&node.metadata.name);
            let gone = taken.zip(index).map_or(&[][..], |(taken, index)| taken.of_node(index));
            let count = |set: usize| {
                let of = |counts: &[u32]| i64::from(counts.get(set).copied().unwrap_or(0));
                of(there) - of(gone)
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

    /// What is taken of the devices.
    pub(in super::super) fn taken(&self, ledger: &Ledger) -> Option<Arc<Taken>> {
        Some(ledger.allocated().taken(self.selection?))
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

    /// Rows and columns of the devices that claims hold for pods; `row` says where a pod is, if it counts.
    pub(in super::super) fn held(&self, view: &View, row: impl Fn(&ObjectKey) -> Option<usize>) -> Vec<(usize, usize)> {
        let Some(selection) = self.selection else { return Vec::new() };
        let mut held = Vec::new();
        let mut seen = HashSet::new();
        for (key, claim) in view.devices.claims.iter().flatten() {
            let Some(row) = users(key, claim).find_map(|pod| row(&pod)) else { continue };
            let results = claim.status.allocation.iter().flat_map(|it| &it.devices.results);
            let devices = results.filter(|device| !device.admin_access);
            for device in devices.filter_map(|device| selection.device_index(&device::key(device))) {
                if let Some((_, sets)) = selection.place_of(device).filter(|_| seen.insert(device)) {
                    held.extend(device::bits(sets).map(|set| (row, self.first + set)));
                }
            }
        }
        held
    }

    /// What a replica wants, in columns.
    pub(in super::super) fn share(
        &self,
        wants: &Wants,
        requests: &[(usize, i64)],
        (column_of, view): (&HashMap<&str, usize>, &View),
    ) -> Share {
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
        if let Some(search) = &wants.search {
            self.share_search(search, selection, column_of, &mut share);
        }
        let related = |set: usize| selection.sets.get(set).map_or(&[][..], |set| set.overlaps.as_slice());
        for (set, amount) in &sets {
            share.requests.push((self.first + set, *amount));
            self.levy(*set, related(*set).iter(), (*amount, None), &mut share.levies);
        }
        for name in &wants.resources {
            let set = set_of(name, view, selection).ok().flatten();
            let column = column_of.get(name.as_str()).copied();
            let amount = requests.iter().find(|(requested, _)| Some(*requested) == column).map(|(_, amount)| *amount);
            if let (Some(set), Some(column), Some(amount)) = (set, column, amount) {
                let all = related(set).iter().chain(std::iter::once(&set));
                self.levy(set, all, (amount, Some(column)), &mut share.levies);
            }
        }
        share
    }

    /// What has to be searched for takes at most all that its requests may be met by.
    fn share_search(
        &self,
        search: &Search,
        selection: &Selection,
        column_of: &HashMap<&str, usize>,
        share: &mut Share,
    ) {
        let find = |signature: &Signature| selection.find(signature).ok().flatten();
        let mut take = |set: usize, count: usize, via: Option<usize>| {
            let amount = i64::try_from(count).unwrap_or(i64::MAX);
            let overlaps = selection.sets.get(set).map_or(&[][..], |set| set.overlaps.as_slice());
            let all: Vec<_> = overlaps.iter().copied().chain(std::iter::once(set)).collect();
            self.levy(set, all.iter(), (amount, via), &mut share.levies);
        };
        let requests = || search.claims.iter().flat_map(|claim| &claim.requests);
        for choice in requests().flat_map(|request| &request.choices) {
            let count = match choice.amount {
                Amount::Exactly(count) => count,
                Amount::All(_) => MAX_OF_CLAIM,
            };
            if let Some(set) = find(&choice.devices) {
                take(set, count, None);
            }
        }
        for extended in &search.extended {
            let via = column_of.get(extended.resource.as_str()).copied().filter(|_| !extended.implicit);
            let count = usize::try_from(extended.count).unwrap_or(usize::MAX);
            if let Some(set) = find(&extended.devices) {
                take(set, count, via);
            }
        }
        let plain = requests().filter_map(Request::exactly);
        for (set, count) in plain.filter_map(|(devices, count)| Some((find(devices)?, count))) {
            let column = self.first + set;
            let meets = |other: &(usize, i64)| other.0 != column && selection.meet(other.0 - self.first, set);
            if !share.selected.iter().any(meets) {
                share.selected.push((column, i64::try_from(count).unwrap_or(i64::MAX)));
            }
        }
    }

    /// How many replicas find their devices on each row.
    pub(in super::super) fn search(
        &self,
        search: &Search,
        nodes: &[&Node],
        column_of: &HashMap<&str, usize>,
        (ledger, unsure): (&Ledger, &BTreeSet<usize>),
    ) -> Searched {
        let (Some(selection), Some(taken)) = (self.selection, self.taken(ledger)) else { return Searched::default() };
        let delegated = |row: usize, resource: &str| {
            column_of.get(resource).is_some_and(|column| self.delegated.contains(&(row, *column)))
        };
        Searched::of(search, nodes, (selection, &taken), |row, it| delegated(row, &it.resource), unsure)
    }

    /// Whether the scheduler would fail to bind such pods to a row, [`Wants::beside_claims`].
    pub(in super::super) fn is_unbindable(&self, row: usize, wants: &Wants, column_of: &HashMap<&str, usize>) -> bool {
        let from_devices =
            |name: &String| column_of.get(name.as_str()).is_some_and(|column| self.delegated.contains(&(row, *column)));
        !wants.beside_claims.is_empty() && !wants.beside_claims.iter().any(from_devices)
    }

    /// Whether pods of these wants take devices on a row.
    pub(in super::super) fn takes(&self, row: usize, wants: &Wants) -> bool {
        let from_devices = || self.mapped.iter().any(|(column, _)| self.delegated.contains(&(row, *column)));
        !wants.devices.is_empty() || wants.search.is_some() || (!wants.resources.is_empty() && from_devices())
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
