//! What evaluations have found out about all nodes, for the next one: it decides nothing, it only spares work.
//!
//! Verdicts depend on the nodes alone, tallies also on what is free. A new inventory tells which rows have changed since
//! the last; only those are looked at again.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use super::{
    Template,
    filters::{Filter, Verdict},
    inventory::{fitting_in, short},
};
use crate::object::Node;

/// Inventories for which an entry that nobody asks for is kept.
const IDLE: u64 = 3;
/// Most resources of a template that is tallied; templates ask for a handful.
const MAX_REQUESTS: usize = u16::BITS as usize - 1;
/// Beside the bits of the requests: the empty node would take one.
const ABLE: u16 = 1 << MAX_REQUESTS;

/// Verdicts on all nodes.
#[derive(Clone, Debug, Default)]
pub(super) struct Judged {
    filter: Arc<Filter>,
    /// By row.
    pub(super) verdicts: Vec<Verdict>,
    /// Rows that are open.
    pub(super) open: Vec<usize>,
    /// By row, whether the node selector and the required node affinity select the node.
    pub(super) selected: Vec<bool>,
    /// By row, whether a taint repels.
    pub(super) repelled: Vec<bool>,
    /// Rows that are not open, by what closes them, once somebody has asked.
    closed: OnceLock<BTreeMap<Verdict, Vec<usize>>>,
}

/// How many replicas of one request vector fit on each node, whatever its verdict.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// Column and amount.
    requests: Vec<(usize, i64)>,
    /// By row.
    pub(super) rows: Vec<Fitting>,
    /// Whether a number was too large to keep.
    overflows: bool,
}

/// One node in the eyes of a request vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fitting {
    pub(super) count: u16,
    bits: u16,
}

/// The nodes as an inventory sees them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sight<'a> {
    pub(super) nodes: &'a [&'a Node],
    pub(super) columns: &'a [&'a str],
    pub(super) allocatable: &'a [i64],
    pub(super) free: &'a [i64],
}

#[derive(Debug, Default)]
pub(super) struct Memo(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Counts the inventories that were made.
    turn: u64,
    /// The version of the nodes that the last of them saw.
    version: u64,
    names: Vec<String>,
    columns: Vec<String>,
    allocatable: Vec<i64>,
    free: Vec<i64>,
    verdicts: HashMap<Arc<str>, Kept<Judged>>,
    tallies: HashMap<Vec<(usize, i64)>, Kept<Tally>>,
}

#[derive(Debug)]
struct Kept<T> {
    value: Arc<T>,
    /// When it was last asked for.
    turn: u64,
}

// === impl Memo ===

impl Memo {
    /// Brings everything up to date with the nodes; `changed` says whether a node has changed since a version. Returns
    /// the turn, by which the inventory asks.
    pub(super) fn see(&self, sight: Sight<'_>, version: u64, changed: impl Fn(&str, u64) -> bool) -> u64 {
        let mut known = self.lock();
        known.turn += 1;
        let turn = known.turn;
        known.verdicts.retain(|_, kept| kept.turn + IDLE > turn);
        known.tallies.retain(|_, kept| kept.turn + IDLE > turn);
        if known.is_of(sight) {
            known.renew(sight, &changed);
        } else {
            known.verdicts.clear();
            known.tallies.clear();
            known.names = sight.nodes.iter().map(|node| node.metadata.name.clone()).collect();
            known.columns = sight.columns.iter().map(|&name| name.to_owned()).collect();
        }
        known.version = version;
        known.allocatable.clear();
        known.allocatable.extend_from_slice(sight.allocatable);
        known.free.clear();
        known.free.extend_from_slice(sight.free);
        turn
    }

    /// Verdicts for a template on the nodes of an inventory.
    pub(super) fn judged(&self, turn: u64, template: &Template, nodes: &[&Node]) -> Arc<Judged> {
        let mut known = self.lock();
        if known.turn != turn {
            return Arc::new(Judged::of(Arc::clone(&template.filter), nodes));
        }
        let make = || Arc::new(Judged::of(Arc::clone(&template.filter), nodes));
        let kept =
            known.verdicts.entry(Arc::clone(&template.filter_key)).or_insert_with(|| Kept { value: make(), turn });
        kept.turn = turn;
        Arc::clone(&kept.value)
    }

    /// The tally of requests on the nodes of an inventory before anything was placed; none where it is not kept.
    pub(super) fn tally(&self, turn: u64, requests: &[(usize, i64)]) -> Option<Arc<Tally>> {
        let mut known = self.lock();
        if known.turn != turn || requests.len() > MAX_REQUESTS {
            return None;
        }
        if !known.tallies.contains_key(requests) {
            let value = Arc::new(Tally::of(requests, &known.allocatable, &known.free, known.columns.len()));
            known.tallies.insert(requests.to_vec(), Kept { value, turn });
        }
        let kept = known.tallies.get_mut(requests)?;
        kept.turn = turn;
        (!kept.value.overflows).then(|| Arc::clone(&kept.value))
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was found out of one ledger is not known of another.
impl Clone for Memo {
    fn clone(&self) -> Self {
        Self::default()
    }
}

// === impl Known ===

impl Known {
    fn is_of(&self, sight: Sight<'_>) -> bool {
        self.columns.iter().map(String::as_str).eq(sight.columns.iter().copied())
            && self.names.iter().eq(sight.nodes.iter().map(|node| &node.metadata.name))
    }

    fn renew(&mut self, sight: Sight<'_>, changed: &impl Fn(&str, u64) -> bool) {
        let width = sight.columns.len();
        let cells = |row: usize| row * width..(row + 1) * width;
        let differs = |old: &[i64], new: &[i64], row: usize| old.get(cells(row)) != new.get(cells(row));
        for (row, node) in sight.nodes.iter().enumerate() {
            if changed(&node.metadata.name, self.version) {
                for kept in self.verdicts.values_mut() {
                    Arc::make_mut(&mut kept.value).judge(row, node);
                }
            }
            if differs(&self.free, sight.free, row) || differs(&self.allocatable, sight.allocatable, row) {
                let (free, allocatable) = (sight.free.get(cells(row)), sight.allocatable.get(cells(row)));
                for kept in self.tallies.values_mut() {
                    Arc::make_mut(&mut kept.value).count(
                        row,
                        allocatable.unwrap_or_default(),
                        free.unwrap_or_default(),
                    );
                }
            }
        }
    }
}

// === impl Judged ===

impl Judged {
    fn of(filter: Arc<Filter>, nodes: &[&Node]) -> Self {
        let mut judged = Self {
            filter,
            verdicts: vec![Verdict::Unselected; nodes.len()],
            open: Vec::new(),
            selected: vec![false; nodes.len()],
            repelled: vec![false; nodes.len()],
            closed: OnceLock::new(),
        };
        for (row, node) in nodes.iter().enumerate() {
            judged.judge(row, node);
        }
        judged
    }

    /// Rows that are not open, by what closes them.
    pub(super) fn closed(&self) -> &BTreeMap<Verdict, Vec<usize>> {
        self.closed.get_or_init(|| {
            let mut closed: BTreeMap<_, Vec<_>> = BTreeMap::new();
            for (row, verdict) in self.verdicts.iter().enumerate().filter(|(_, verdict)| **verdict != Verdict::Open) {
                match closed.get_mut(verdict) {
                    Some(rows) => rows.push(row),
                    None => _ = closed.insert(verdict.clone(), vec![row]),
                }
            }
            closed
        })
    }

    /// Closes a row that is open, because what is free there cannot be known.
    pub(super) fn obscure(&mut self, row: usize, why: &Arc<str>) {
        if let Ok(place) = self.open.binary_search(&row) {
            self.closed.take();
            self.open.remove(place);
            self.verdicts.get_mut(row).into_iter().for_each(|it| *it = Verdict::Obscured(Arc::clone(why)));
        }
    }

    fn judge(&mut self, row: usize, node: &Node) {
        let verdict = self.filter.judge(node);
        match (self.open.binary_search(&row), verdict == Verdict::Open) {
            (Err(place), true) => self.open.insert(place, row),
            (Ok(place), false) => _ = self.open.remove(place),
            _ => {}
        }
        if self.verdicts.get(row) != Some(&verdict) {
            self.closed.take();
        }
        let new = (verdict, self.filter.selects(node), self.filter.is_repelled(node));
        if let (Some(verdict), Some(selected), Some(repelled)) =
            (self.verdicts.get_mut(row), self.selected.get_mut(row), self.repelled.get_mut(row))
        {
            (*verdict, *selected, *repelled) = new;
        }
    }
}

// === impl Fitting ===

impl Fitting {
    /// Most requests of which [`Fitting::kind`] tells all.
    pub(super) const KIND_BITS: usize = 7;
    /// More than any kind.
    pub(super) const KINDS: usize = 1 << (Self::KIND_BITS + 1);

    /// All that is known beside the count, as a small number.
    pub(super) fn kind(self) -> usize {
        (usize::from(self.able()) << Self::KIND_BITS) | (usize::from(self.bits) % (1 << Self::KIND_BITS))
    }

    /// Bit n: the nth request is short once all that fit are placed.
    pub(super) fn short(self) -> u64 {
        (self.bits & !ABLE).into()
    }

    /// Whether the empty node would take one.
    pub(super) fn able(self) -> bool {
        self.bits & ABLE != 0
    }
}

// === impl Tally ===

impl Tally {
    fn of(requests: &[(usize, i64)], allocatable: &[i64], free: &[i64], width: usize) -> Self {
        let rows = allocatable.len() / width.max(1);
        let mut tally = Self { requests: requests.to_vec(), rows: vec![Fitting::default(); rows], overflows: false };
        let both = allocatable.chunks_exact(width.max(1)).zip(free.chunks_exact(width.max(1)));
        for (row, (allocatable, free)) in both.enumerate() {
            tally.count(row, allocatable, free);
        }
        tally
    }

    fn count(&mut self, row: usize, allocatable: &[i64], free: &[i64]) {
        let count = fitting_in(free, &self.requests);
        let able = count > 0 || fitting_in(allocatable, &self.requests) > 0;
        self.overflows |= count > u32::from(u16::MAX);
        // Templates with more requests than bits are not tallied.
        let short = u16::try_from(short(free, &self.requests, count)).unwrap_or(u16::MAX);
        if let Some(known) = self.rows.get_mut(row) {
            let bits = if able { short | ABLE } else { short & !ABLE };
            *known = Fitting { count: u16::try_from(count).unwrap_or(u16::MAX), bits };
        }
    }
}
