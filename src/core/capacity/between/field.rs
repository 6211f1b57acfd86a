//! How many replicas the nodes take together under the constraints between pods.
//!
//! | constraints that replicas change | answer |
//! |---|---|
//! | none | the sum over the nodes that are open |
//! | anti-affinity over one key | one per domain that is open |
//! | one spread constraint | `K = sum over d of max(0, min(c_d, L + maxSkew - m_d))` with `L = min over d of (m_d + c_d)`, or 0 below `minDomains`; `m` matching pods, `c` room of a domain |
//! | affinity to themselves, no replica yet | least and most over the domains that the first may open |
//! | several | all orders of choices, up to a budget; then the replicas that every order reached |

use std::collections::BTreeMap;

use super::{
    State,
    search::{self, Cell},
    state::{Exclusion, SpreadState},
};
use crate::capacity::LimitingFactor;

/// Room of one node, by row; rows without room are left out.
pub(in crate::capacity) type Room = (usize, u32);

/// Least and most replicas; no most where it is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::capacity) struct Range {
    pub(in crate::capacity) lo: u64,
    pub(in crate::capacity) hi: u64,
}

/// A constraint that replicas change as they are placed.
#[derive(Clone, Debug)]
pub(super) enum Dynamic {
    /// Spread: matching pods, and what they are measured from.
    Spread { max_skew: i64, few: bool, matching: Vec<Option<i64>> },
    /// At most one replica in a domain.
    Alone,
    /// All replicas where the first is.
    Together,
}

impl State {
    /// How many replicas fit into that room, whatever the order.
    pub(in crate::capacity) fn range(&self, room: impl Iterator<Item = Room>) -> Range {
        let mut dynamic = Vec::new();
        let mut domain_of: Vec<&super::state::Domains> = Vec::new();
        for spread in self.spread.iter().filter(|spread| spread.own) {
            let (max_skew, few, matching) = (spread.max_skew, spread.few, spread.matching.clone());
            dynamic.push(Dynamic::Spread { max_skew, few, matching });
            domain_of.push(&spread.domains);
        }
        for exclusion in self.exclusions.values().filter(|exclusion| exclusion.own) {
            dynamic.push(Dynamic::Alone);
            domain_of.push(&exclusion.domains);
        }
        for attraction in self.attractions.iter().filter(|_| self.is_first()) {
            dynamic.push(Dynamic::Together);
            domain_of.push(&attraction.domains);
        }
        let cells = room
            .filter(|(row, _)| self.may_take(*row))
            .map(|(row, room)| Cell { room, domains: domain_of.iter().map(|domains| domains.domain(row)).collect() });
        range(&dynamic, cells.collect())
    }

    /// Whether a node may ever take a replica: what replicas change is not looked at.
    pub(in crate::capacity) fn may_take(&self, row: usize) -> bool {
        let spread = self.spread.iter().all(|spread| {
            let matching = spread.matching_at(row);
            matching.is_some_and(|matching| spread.own || matching - spread.least() <= spread.max_skew)
        });
        spread && self.is_open(row) && self.is_attracted(row)
    }
}

impl State {
    /// Which kind of constraint keeps the range from being larger.
    pub(in crate::capacity) fn limiting(&self, room: impl Iterator<Item = Room>, range: Range) -> LimitingFactor {
        let without = Self { spread: Vec::new(), ..self.clone() };
        if without.range(room).lo > range.lo { LimitingFactor::TopologySpread } else { LimitingFactor::Affinity }
    }

    /// Which kind of constraint closes a node.
    pub(in crate::capacity) fn closing(&self, row: usize) -> LimitingFactor {
        if self.is_open(row) && self.is_attracted(row) {
            LimitingFactor::TopologySpread
        } else {
            LimitingFactor::Affinity
        }
    }

    /// What limits, in words.
    pub(in crate::capacity) fn describe(&self, room: impl Iterator<Item = Room>) -> String {
        let room: Vec<_> = room.collect();
        let spread = self.spread.iter().map(|spread| spread.describe(&room));
        let apart = self.exclusions.iter().filter(|(_, it)| it.own || it.closed.contains(&true));
        let apart = apart.map(|(key, exclusion)| exclusion.describe(key));
        let together =
            self.attractions.iter().map(|it| format!("pod affinity keeps replicas together within one {}", it.key));
        spread.chain(apart).chain(together).collect::<Vec<_>>().join("; ")
    }
}

impl SpreadState {
    /// The domain that holds the others back is the one that can come up least.
    fn describe(&self, room: &[Room]) -> String {
        let room_of = |domain: usize| -> i64 {
            let rows = room.iter().filter(|(row, _)| self.domains.domain(*row) == Some(domain));
            rows.map(|(_, room)| i64::from(*room)).fold(0, i64::saturating_add)
        };
        let domains = self.matching.iter().enumerate().filter_map(|(domain, matching)| Some((domain, (*matching)?)));
        let last = domains.min_by_key(|(domain, matching)| matching.saturating_add(room_of(*domain)));
        let Some((domain, matching)) = last else { return format!("no node has a label {}", self.key) };
        let name = self.domains.names.get(domain).map_or("", String::as_str);
        let (key, skew, room) = (&self.key, self.max_skew, room_of(domain));
        if self.few {
            return format!("topology spread over {key} (maxSkew {skew}): fewer domains than minDomains");
        }
        format!(
            "topology spread over {key} (maxSkew {skew}): {name} has {matching} matching pods and room for {room} more"
        )
    }
}

impl Exclusion {
    fn describe(&self, key: &str) -> String {
        let closed = self.closed.iter().filter(|closed| **closed).count();
        let of = self.example.as_ref().map_or(String::new(), |pod| format!(", among others by pod {pod}"));
        let own = if self.own { ", one replica in each" } else { "" };
        format!("pod anti-affinity over {key}: {closed} of {} domains are closed{of}{own}", self.closed.len())
    }
}

fn range(dynamic: &[Dynamic], mut cells: Vec<Cell>) -> Range {
    let (dynamic, kept) = without_trivial(dynamic, &mut cells);
    let dynamic: Vec<_> = dynamic.into_iter().cloned().collect();
    for cell in &mut cells {
        cell.domains = kept.iter().map(|at| cell.domains.get(*at).copied().flatten()).collect();
    }
    match dynamic.as_slice() {
        [] => exactly(total(&cells)),
        [one] => alone(one, &cells, 0),
        several => {
            let most = several.iter().enumerate().map(|(at, one)| alone(one, &cells, at).hi).min().unwrap_or(0);
            search::range(several, &cells, most)
        }
    }
}

/// At most one replica in a domain is no constraint between nodes where each node is a domain of its own.
fn without_trivial<'d>(dynamic: &'d [Dynamic], cells: &mut [Cell]) -> (Vec<&'d Dynamic>, Vec<usize>) {
    let mut kept = Vec::new();
    let mut rest = Vec::new();
    for (at, one) in dynamic.iter().enumerate() {
        if matches!(one, Dynamic::Alone) && is_own_of_each(cells, at) {
            for cell in cells.iter_mut().filter(|cell| cell.domain(at).is_some()) {
                cell.room = cell.room.min(1);
            }
        } else {
            kept.push(at);
            rest.push(one);
        }
    }
    (rest, kept)
}

fn is_own_of_each(cells: &[Cell], at: usize) -> bool {
    let mut seen = std::collections::HashSet::new();
    cells.iter().filter_map(|cell| cell.domain(at)).all(|domain| seen.insert(domain))
}

/// The closed form of one constraint; beside others it is an upper bound.
fn alone(one: &Dynamic, cells: &[Cell], at: usize) -> Range {
    let rooms = rooms(cells, at);
    match one {
        Dynamic::Spread { max_skew, few, matching } => exactly(spread(*max_skew, *few, matching, &rooms)),
        Dynamic::Alone => {
            let keyed = rooms.iter().filter(|(domain, _)| domain.is_some());
            let free = rooms.get(&None).copied().unwrap_or(0);
            exactly(u64::try_from(keyed.count()).unwrap_or(u64::MAX).saturating_add(free))
        }
        Dynamic::Together => {
            let keyed = || rooms.iter().filter(|(domain, _)| domain.is_some()).map(|(_, room)| *room);
            Range { lo: keyed().min().unwrap_or(0), hi: keyed().max().unwrap_or(0) }
        }
    }
}

fn spread(max_skew: i64, few: bool, matching: &[Option<i64>], rooms: &BTreeMap<Option<usize>, u64>) -> u64 {
    let room = |domain: usize| i64::try_from(rooms.get(&Some(domain)).copied().unwrap_or(0)).unwrap_or(i64::MAX);
    let taking = || matching.iter().enumerate().filter_map(|(domain, matching)| Some((domain, (*matching)?)));
    let least = taking().map(|(domain, matching)| matching.saturating_add(room(domain))).min().unwrap_or(0);
    let least = if few { 0 } else { least };
    let takes = |(domain, matching): (usize, i64)| room(domain).min(least + max_skew - matching).max(0);
    taking().map(takes).map(i64::unsigned_abs).fold(0, u64::saturating_add)
}

/// Room by domain; that of nodes without the label under none.
fn rooms(cells: &[Cell], at: usize) -> BTreeMap<Option<usize>, u64> {
    let mut rooms: BTreeMap<_, u64> = BTreeMap::new();
    for cell in cells.iter().filter(|cell| cell.room > 0) {
        let room = rooms.entry(cell.domain(at)).or_default();
        *room = room.saturating_add(cell.room.into());
    }
    rooms
}

fn total(cells: &[Cell]) -> u64 {
    cells.iter().map(|cell| u64::from(cell.room)).fold(0, u64::saturating_add)
}

fn exactly(count: u64) -> Range {
    Range { lo: count, hi: count }
}
