//! What is free: one row per node, one column per resource, and the arithmetic on them.
//!
//! Rows follow the names of the nodes. Column 0 counts pods. What never changes while replicas are placed is shared
//! between clones, so a scratch copy for arbitration costs one copy of a flat vector.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Answer, Ledger, LimitingFactor, Reason, Template,
    between::{self, Seat, State},
    devices::{Levy, Searched, Wants},
    explain,
    filters::Verdict,
    memo::{Judged, Sight, Tally},
    ports::{self, HostPort},
    quota::{QuotaRoom, Quotas},
    volumes::Claims,
};
use crate::{
    cluster::View,
    object::{Labels, Pod},
    policy::Policy,
};

mod devices;
mod obscured;
mod shape;

use shape::{Around, Nominated, Shape, row_of};

/// Free resources of all nodes.
#[derive(Clone, Debug)]
pub struct Inventory<'v> {
    shape: Arc<Shape<'v>>,
    /// Row-major, `shape.columns.len()` to a row. Below 0 only what is owed for devices that other sets have too.
    free: Vec<i64>,
    /// Rows that are not as they were.
    touched: BTreeSet<usize>,
    /// Replicas that were placed, with their rows.
    seated: Vec<Seated>,
    /// How many of them repel others.
    repellent: usize,
    /// What those of them want that take devices, by row.
    takers: BTreeMap<usize, Vec<Arc<Wants>>>,
    quotas: Quotas,
}

/// A replica that was placed.
#[derive(Clone, Debug)]
struct Seated {
    seat: Arc<Seat>,
    ports: Arc<[HostPort]>,
    claims: Arc<Claims>,
    wants: Arc<Wants>,
    row: usize,
}

/// A template resolved against the columns of an inventory.
#[derive(Debug)]
pub(super) struct Demand {
    /// Column and amount; amounts are above 0.
    pub(super) requests: Vec<(usize, i64)>,
    /// Requested resources that no node offers.
    pub(super) missing: Vec<String>,
    /// What a replica takes besides.
    levies: Vec<Levy>,
    /// Columns and amounts of devices that are selected by what had to be searched for: they do not decide.
    pub(super) selected: Vec<(usize, i64)>,
    /// How many find their devices on each row, where that had to be searched for.
    pub(super) searched: Option<Arc<Searched>>,
    /// Whether the scheduler, or the search, gives up on the pods on account of a node that is open to them.
    pub(super) gives_up: bool,
    pub(super) judged: Arc<Judged>,
}

// === impl Seated ===

impl Seated {
    fn repels(&self) -> bool {
        !self.seat.terms.anti_affinity.is_empty()
    }
}

// === impl Demand ===

impl Demand {
    /// What a replica takes of a column.
    pub(super) fn amount(&self, column: usize) -> i64 {
        let amounts = self.requests.iter().filter(|(wanted, _)| *wanted == column);
        amounts.map(|(_, amount)| *amount).fold(0, i64::saturating_add)
    }
}

// === impl Inventory ===

impl<'v> Inventory<'v> {
    /// The free resources in a view: node allocatable minus what all assigned pods take that are not terminal.
    ///
    /// Terminating pods hold what they have until they are gone (`NodeInfo` of the scheduler).
    #[must_use]
    pub fn of(view: &'v View, policy: &'v Policy) -> Self {
        Self::with(view, policy, Arc::new(Ledger::of(view)))
    }

    /// The same where the ledger of the view has been kept.
    #[must_use]
    pub fn with(view: &'v View, policy: &'v Policy, ledger: Arc<Ledger>) -> Self {
        let mut shape = Shape::of(view, policy, ledger);
        let free = shape.free();
        let free = shape.hand_out(free);
        shape.hold();
        let Shape { nodes, columns, allocatable, ledger, .. } = &shape;
        shape.turn = ledger.see(Sight { nodes, columns, allocatable, free: &free });
        Self {
            shape: Arc::new(shape),
            free,
            touched: BTreeSet::new(),
            seated: Vec::new(),
            repellent: 0,
            takers: BTreeMap::new(),
            quotas: Quotas::of(view),
        }
    }

    /// How many further replicas of the template could be placed now, and what stops the next one.
    ///
    /// The workload's own pending pods are not subtracted: they are the first to take what fits.
    #[must_use]
    pub fn fits(&self, template: &Template) -> Answer {
        let unmodelled = self.unmodelled(template);
        let answer = if unmodelled.is_empty() { explain::answer(self, template) } else { explain::refuse(unmodelled) };
        Answer { quota: self.quota(template), ..answer }
    }

    /// Everything that decides about the template and is not modelled: of itself, and of pods that are placed.
    #[must_use]
    pub fn unmodelled(&self, template: &Template) -> Vec<Reason> {
        let mut reasons = template.unmodelled.clone();
        let add = |code, message: String| Reason::new(code, message, LimitingFactor::Affinity);
        reasons.extend(self.shape.index.unreadable().map(|message| add("podAntiAffinityOfOthers", message.to_owned())));
        reasons.extend(self.unknown_namespace(template).map(|message| add("namespaces", message)));
        reasons.extend(self.entangled(template).map(|message| add("nominatedPods", message)));
        reasons.extend(self.hidden(template).map(|message| add("nodes", message)));
        reasons.extend(self.flawed(template));
        if reasons.is_empty() && self.states(template).is_none() {
            let message = "terms of pod placement ask for labels that controllers add, and those are not known";
            reasons.push(add("podLabels", message.to_owned()));
        }
        reasons
    }

    /// A namespace that is selected by labels which are not known.
    fn unknown_namespace(&self, template: &Template) -> Option<String> {
        let known = |namespace: &str| self.shape.view.namespaces.contains_key(namespace);
        let asked = |namespace: &&str| !known(namespace);
        let seat = &template.seat;
        let namespace = self.shape.index.by_namespace_label(seat).filter(|it| asked(it)).or_else(|| {
            let terms = || seat.terms.affinity.iter().chain(&seat.terms.anti_affinity);
            let by_label = terms().any(between::Term::selects_namespaces);
            by_label.then(|| self.shape.index.namespaces().find(asked)).flatten()
        })?;
        Some(format!(
            "a namespaceSelector of pod placement asks for labels of namespace {namespace:?}, and they are not known"
        ))
    }

    /// A nominated pod that constraints between pods are about: where it will be is not settled.
    fn entangled(&self, template: &Template) -> Option<String> {
        let view = self.shape.view;
        let seat = &template.seat;
        let concerned = |pod: &&Nominated<'_>| {
            let repels = || pod.seat.terms.anti_affinity.iter().any(|term| term.selects(seat.subject(), view));
            pod.goes_before(template)
                && (repels()
                    || seat.terms.concern(pod.seat.subject(), &seat.namespace, view)
                    || ports::conflict(&template.ports, &pod.ports)
                    || template.claims.contend(pod.namespace, pod.spec)
                    || self.shape.is_unsettled_by(pod, template))
        };
        let pod = self.shape.nominated.iter().find(concerned)?;
        Some(format!(
            "a pod in {:?} that is nominated to a node repels these pods, is counted with them, or uses what they need",
            pod.namespace
        ))
    }

    /// A node that cannot be read while what is there decides about others: it may be a domain, and its pods may be
    /// counted or repel.
    fn hidden(&self, template: &Template) -> Option<String> {
        let view = self.shape.view;
        let why = view.unreadable("nodes", "")?;
        let is_concerned = !template.seat.terms.is_empty() || self.shape.index.repels_unseen(&template.seat, view);
        is_concerned.then(|| format!("constraints between pods, and nodes are not all known: {why}"))
    }

    /// What the constraints between pods say of the nodes, for each set of labels that replicas may have; empty where
    /// there are none. None if the labels cannot be known.
    pub(super) fn states(&self, template: &Template) -> Option<Vec<State>> {
        let shape = &*self.shape;
        if template.seat.terms.is_empty() && !self.has_terms() {
            return Some(Vec::new());
        }
        let around = Around { shape, judged: shape.judge(template) };
        let terms =
            |labels: &Labels| between::Terms::of(&template.placement, &template.namespace, labels).unwrap_or_default();
        let seats = between::seats(&template.seat, template.exists, terms, &shape.index, shape.view)?;
        let state = |seat: Seat| {
            let mut state = State::of(seat, &shape.index, &around);
            for seated in &self.seated {
                state.note(&seated.seat, seated.row, &around);
            }
            state
        };
        Some(seats.into_iter().map(state).filter(|state| !state.is_free()).collect())
    }

    /// Takes note in a state of a replica that was placed.
    pub(super) fn note(&self, state: &mut State, template: &Template, placed: &Template, row: usize) {
        let shape = &*self.shape;
        state.note(&placed.seat, row, &Around { shape, judged: shape.judge(template) });
    }

    /// How many further pods of the template may be created, besides those that exist; none where nothing limits them.
    #[must_use]
    pub fn quota(&self, template: &Template) -> Option<QuotaRoom> {
        match &template.creation {
            Ok(charge) => self.quotas.room(charge),
            Err(reason) => Some(QuotaRoom { pods: 0, reason: reason.message.clone() }),
        }
    }

    pub(super) fn quotas(&self) -> &Quotas {
        &self.quotas
    }

    /// Charges quotas with one more pod of the template.
    pub fn charge(&mut self, template: &Template) {
        if let Ok(charge) = &template.creation {
            self.quotas.take(charge);
        }
    }

    /// Takes back what [`Inventory::charge`] charged.
    pub fn discharge(&mut self, template: &Template) {
        if let Ok(charge) = &template.creation {
            self.quotas.release(charge);
        }
    }

    /// Places one replica and takes its resources: on the node that keeps the fewest free GPUs, then on the one that
    /// fits the fewest replicas, then by name. Returns the row of the node; none if it fits nowhere or if the template
    /// is not modelled.
    pub fn place(&mut self, template: &Template) -> Option<usize> {
        if !self.unmodelled(template).is_empty() {
            return None;
        }
        let demand = self.shape.demand(template);
        let states = self.states(template)?;
        let fitting = demand.judged.open.iter().filter_map(|&row| {
            let count = self.count(row, template, &demand);
            let admitted = || states.iter().all(|state| state.admits(row));
            (count > 0 && admitted()).then(|| (self.free_gpus(row, &demand), count, row))
        });
        let (_, _, row) = fitting.min()?;
        self.take(row, template, &demand);
        Some(row)
    }

    /// Gives back what [`Inventory::place`] took of that row.
    pub fn release(&mut self, row: usize, template: &Template) {
        let is_it = |seated: &Seated| {
            seated.row == row
                && seated.seat == template.seat
                && seated.claims == template.claims
                && seated.wants == template.wants
        };
        if let Some(index) = self.seated.iter().rposition(is_it) {
            self.repellent -= usize::from(self.seated.remove(index).repels());
        }
        if let Some(takers) = self.takers.get_mut(&row)
            && let Some(index) = takers.iter().rposition(|wants| *wants == template.wants)
        {
            takers.remove(index);
        }
        let demand = self.shape.demand(template);
        self.touched.insert(row);
        let levied = demand.levies.iter().filter_map(|levy| self.shape.devices.levied(row, levy));
        let taken: Vec<_> = demand.requests.iter().copied().chain(levied).collect();
        for (column, amount) in taken {
            if let Some(free) = self.cell(row, column).and_then(|cell| self.free.get_mut(cell)) {
                *free = free.saturating_add(amount);
            }
        }
    }

    /// Free GPUs of every kind on a node, by its name.
    #[must_use]
    pub fn free_gpus_of(&self, node: &str) -> i64 {
        self.row_named(node).map_or(0, |row| self.gpus_in(row, |column| self.shape.gpus.contains(&column)))
    }

    /// Whether a node would take a replica if nothing ran on it and it were neither cordoned nor unready.
    #[must_use]
    pub fn would_take(&self, node: &str, template: &Template) -> bool {
        let demand = self.shape.demand(template);
        let capable = |row: usize| {
            let kind = demand.judged.verdicts.get(row).is_some_and(|it| it.may_bind() || *it == Verdict::Cordoned);
            kind && fitting(self.shape.capacity(row), &demand) > 0
        };
        self.row_named(node).is_some_and(capable)
    }

    pub(super) fn row_named(&self, name: &str) -> Option<usize> {
        self.shape.rows.get(name).copied()
    }

    /// Name of the node of a row.
    #[must_use]
    pub fn node_name(&self, row: usize) -> Option<&'v str> {
        self.shape.nodes.get(row).map(|node| node.metadata.name.as_str())
    }

    /// Free GPUs of every kind on nodes that are ready and not cordoned.
    #[must_use]
    pub fn total_free_gpus(&self) -> i64 {
        let usable =
            |row: &usize| self.shape.nodes.get(*row).is_some_and(|node| node.is_ready() && !node.spec.unschedulable);
        let usable = |row: &usize| usable(row) && !self.shape.obscured.hides(*row);
        let is_gpu = |column: usize| self.shape.gpus.contains(&column);
        self.rows().filter(usable).map(|row| self.gpus_in(row, is_gpu)).fold(0, i64::saturating_add)
    }

    /// Pods without a node that have not ended.
    pub fn waiting(&self) -> impl Iterator<Item = &'v Pod> {
        self.shape.ledger.waiting(self.shape.view)
    }

    pub(super) fn shape(&self) -> &Shape<'v> {
        &self.shape
    }

    /// Whether any placed pod or replica repels others.
    pub(super) fn has_terms(&self) -> bool {
        self.shape.index.repels() || self.repellent > 0
    }

    /// What fits on each row by its columns, as far as it is kept.
    pub(super) fn tally(&self, demand: &Demand) -> Option<Arc<Tally>> {
        let kept = demand.missing.is_empty().then(|| self.shape.ledger.memo().tally(self.shape.turn, &demand.requests));
        kept.flatten()
    }

    /// Whether replicas were placed on a row or taken from it, so that no tally tells of it.
    pub(super) fn is_touched(&self, row: usize) -> bool {
        self.touched.contains(&row)
    }

    /// Whether anything was placed or taken away.
    pub(super) fn has_placed(&self) -> bool {
        !self.touched.is_empty()
    }

    /// Whether pods are nominated to nodes, so that what fits depends on more than the free rows.
    pub(super) fn has_nominated(&self) -> bool {
        !self.shape.nominated.is_empty()
    }

    pub(super) fn rows(&self) -> std::ops::Range<usize> {
        0..self.shape.nodes.len()
    }

    pub(super) fn row(&self, row: usize) -> &[i64] {
        row_of(&self.free, row, self.shape.columns.len())
    }

    /// Replicas that fit on a node that is open, beside the nominated pods that go first.
    pub(super) fn count(&self, row: usize, template: &Template, demand: &Demand) -> u32 {
        let count = fitting(&self.free_for(row, template), demand);
        let beside = self.ports(row, template).min(self.volumes(row, template));
        count.min(beside).min(self.devices(row, template, demand))
    }

    /// A row as the template finds it: after the nominated pods that go first.
    pub(super) fn free_for(&self, row: usize, template: &Template) -> Cow<'_, [i64]> {
        if self.shape.nominated.is_empty() {
            Cow::Borrowed(self.row(row))
        } else {
            Cow::Owned(self.beside_nominated(row, template))
        }
    }

    /// The most replicas that could fit on a node if others' ports and volumes were evicted from it.
    pub(super) fn count_at_most(&self, row: usize, template: &Template, demand: &Demand) -> u32 {
        let alone = if template.ports.is_empty() { u32::MAX } else { 1 };
        fitting(self.row(row), demand).min(alone)
    }

    /// The most replicas that volumes would allow if others were evicted.
    pub(super) fn volumes_at_most(&self, template: &Template) -> u32 {
        self.shape.volumes.most(&template.claims, template.priority.unwrap_or(i32::MAX))
    }

    /// Replicas that volumes allow on a node.
    pub(super) fn volumes(&self, row: usize, template: &Template) -> u32 {
        let placed = self.seated.iter().map(|seated| (seated.row, &*seated.claims));
        self.shape.volumes.room(&template.claims, (row, &self.shape.nodes), placed, self.shape.view)
    }

    /// Replicas that the ports of a node allow.
    pub(super) fn ports(&self, row: usize, template: &Template) -> u32 {
        if template.ports.is_empty() {
            return u32::MAX;
        }
        let bound = self.shape.ports.get(&row).is_some_and(|taken| ports::conflict(&template.ports, taken));
        let mut seated = self.seated.iter().filter(|seated| seated.row == row);
        u32::from(!bound && !seated.any(|seated| ports::conflict(&template.ports, &seated.ports)))
    }

    /// A row after the pods that are nominated to it and have at least the template's priority. The template's own
    /// pods are no rivals: their places are among those that are counted.
    pub(super) fn beside_nominated(&self, row: usize, template: &Template) -> Vec<i64> {
        let mut free = self.row(row).to_vec();
        let first = |pod: &&Nominated<'_>| pod.row == row && pod.goes_before(template);
        for (column, amount) in self.shape.nominated.iter().filter(first).flat_map(|pod| &pod.requests) {
            if let Some(free) = free.get_mut(*column) {
                *free = free.saturating_sub(*amount).max(0);
            }
        }
        free
    }

    /// Whether pods of the template could evict any that are bound.
    pub(super) fn may_evict(&self, template: &Template) -> bool {
        template.preempts && self.shape.ledger.has_below(template.priority.unwrap_or(i32::MAX))
    }

    /// The inventory as it would be if every bound pod of a lower priority were evicted, if there is any.
    pub(super) fn after_preemption(&self, template: &Template) -> Option<Self> {
        let priority = template.priority.unwrap_or(i32::MAX);
        self.shape.ledger.has_below(priority).then(|| {
            let mut evicted = self.clone();
            evicted.touched.extend(self.rows());
            for row in self.rows() {
                for (column, amount) in self.shape.held(row, ..priority) {
                    if let Some(free) = self.cell(row, column).and_then(|cell| evicted.free.get_mut(cell)) {
                        *free = free.saturating_add(amount);
                    }
                }
            }
            for (row, column) in self.shape.held_below(priority) {
                if let Some(free) = self.cell(row, column).and_then(|cell| evicted.free.get_mut(cell)) {
                    *free = free.saturating_add(1);
                }
            }
            evicted
        })
    }

    pub(super) fn gpus_in(&self, row: usize, wanted: impl Fn(usize) -> bool) -> i64 {
        let free = self.row(row);
        let gpus = self.shape.all_gpus().filter(|column| wanted(*column));
        gpus.filter_map(|column| free.get(column)).fold(0, |sum, free| sum.saturating_add((*free).max(0)))
    }

    pub(super) fn free_gpus(&self, row: usize, demand: &Demand) -> i64 {
        self.gpus_in(row, |column| demand.requests.iter().any(|(requested, _)| *requested == column))
    }

    pub(super) fn take(&mut self, row: usize, template: &Template, demand: &Demand) {
        let (seat, ports) = (Arc::clone(&template.seat), Arc::clone(&template.ports));
        let (claims, wants) = (Arc::clone(&template.claims), Arc::clone(&template.wants));
        if !wants.is_empty() {
            self.takers.entry(row).or_default().push(Arc::clone(&wants));
        }
        let seated = Seated { seat, ports, claims, wants, row };
        self.repellent += usize::from(seated.repels());
        self.seated.push(seated);
        self.touched.insert(row);
        for (column, amount) in &demand.requests {
            if let Some(free) = self.cell(row, *column).and_then(|cell| self.free.get_mut(cell)) {
                *free = free.saturating_sub(*amount).max(0);
            }
        }
        for levy in &demand.levies {
            let levied = self.shape.devices.levied(row, levy);
            let owed = levied.and_then(|(column, amount)| Some((self.cell(row, column)?, amount)));
            if let Some((cell, amount)) = owed
                && let Some(free) = self.free.get_mut(cell)
            {
                *free = free.saturating_sub(amount);
            }
        }
    }

    fn cell(&self, row: usize, column: usize) -> Option<usize> {
        let width = self.shape.columns.len();
        (column < width).then(|| row.saturating_mul(width).saturating_add(column))
    }
}

/// Replicas that fit into a row: `min over r of floor(free / request)`.
pub(super) fn fitting(free: &[i64], demand: &Demand) -> u32 {
    if demand.missing.is_empty() { fitting_in(free, &demand.requests) } else { 0 }
}

/// The same for requests that are all offered, by column.
pub(super) fn fitting_in(free: &[i64], requests: &[(usize, i64)]) -> u32 {
    let counts = requests.iter().map(|(column, amount)| free.get(*column).map_or(0, |free| free / amount));
    counts.min().map_or(0, |count| u32::try_from(count.max(0)).unwrap_or(u32::MAX))
}

/// Which requests are short once that many replicas are placed: bit n for the nth, the last bit for all beyond.
pub(super) fn short(free: &[i64], requests: &[(usize, i64)], count: u32) -> u64 {
    let lacks = |(column, amount): &(usize, i64)| {
        let left = free.get(*column).copied().unwrap_or(0) - amount.saturating_mul(i64::from(count));
        left < *amount
    };
    let short = requests.iter().enumerate().filter(|(_, request)| lacks(request));
    short.fold(0, |bits, (index, _)| bits | bit(index))
}

pub(super) fn bit(index: usize) -> u64 {
    1 << index.min(63)
}
