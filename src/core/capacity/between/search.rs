//! Several constraints at once: which of the nodes that pass is taken decides how many fit in the end.
//!
//! All orders of choices are followed, one replica a level. Nodes that cannot be told apart are one, so levels stay
//! narrow. The first level at which a state takes no further replica is the least; the last level is the most. When
//! the budget is spent, every order has reached the level before, so that many may be promised.

use std::collections::{BTreeMap, HashSet};

use super::field::{Dynamic, Range};

/// Most states that are looked at.
const BUDGET: usize = 4_000;

/// A node that takes replicas.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Cell {
    pub(super) room: u32,
    /// Its domain under each constraint; none where it has no such label.
    pub(super) domains: Vec<Option<usize>>,
}

/// Nodes that cannot be told apart, and how many there are.
type Cells = BTreeMap<Kind, u32>;

/// What tells nodes apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Kind {
    room: u32,
    places: Vec<Place>,
}

/// Where a node is under one constraint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Place {
    /// It has no such label.
    None,
    /// In a domain with others.
    Shared(usize),
    /// A domain of its own, with that many matching pods.
    Own(i64),
}

/// What replicas have made of the nodes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Stage {
    cells: Vec<(Kind, u32)>,
    /// Matching pods of the domains that several nodes share, by constraint.
    shared: Vec<Vec<i64>>,
    /// Least of the domains that take nothing any more, by constraint.
    floor: Vec<i64>,
}

struct Search<'d> {
    dynamic: &'d [Dynamic],
}

pub(super) fn range(dynamic: &[Dynamic], cells: &[Cell], most: u64) -> Range {
    let search = Search { dynamic };
    let mut level: HashSet<Stage> = [search.first(cells)].into();
    let (mut placed, mut lo, mut seen) = (0_u64, None, 1_usize);
    loop {
        let mut next = HashSet::new();
        for stage in &level {
            let after = search.after(stage);
            if after.is_empty() && lo.is_none() {
                lo = Some(placed);
            }
            seen = seen.saturating_add(after.len());
            next.extend(after);
            if seen > BUDGET {
                return Range { lo: lo.unwrap_or(placed), hi: most };
            }
        }
        if next.is_empty() {
            return Range { lo: lo.unwrap_or(placed), hi: placed };
        }
        placed += 1;
        level = next;
    }
}

impl Search<'_> {
    fn first(&self, cells: &[Cell]) -> Stage {
        let own: Vec<_> = (0..self.dynamic.len()).map(|at| self.is_own_of_each(cells, at)).collect();
        let place = |at: usize, domain: Option<usize>| match (domain, self.dynamic.get(at)) {
            (None, _) | (_, None) => Place::None,
            (Some(domain), Some(one)) if own.get(at) == Some(&true) => Place::Own(matching(one, domain)),
            (Some(domain), _) => Place::Shared(domain),
        };
        let mut kinds = Cells::new();
        for cell in cells.iter().filter(|cell| cell.room > 0) {
            let places = cell.domains.iter().enumerate().map(|(at, domain)| place(at, *domain)).collect();
            *kinds.entry(Kind { room: cell.room, places }).or_default() += 1;
        }
        let shared = self.dynamic.iter().zip(&own).map(|(one, own)| shared(one, cells, *own));
        let floor = (0..).zip(self.dynamic).zip(&own).map(|((at, one), own)| floor(one, cells, at, *own));
        Stage { shared: shared.collect(), floor: floor.collect(), cells: kinds.into_iter().collect() }
    }

    fn is_own_of_each(&self, cells: &[Cell], at: usize) -> bool {
        let mut seen = HashSet::new();
        let mut domains = cells.iter().filter(|cell| cell.room > 0).filter_map(|cell| cell.domain(at));
        !matches!(self.dynamic.get(at), Some(Dynamic::Together)) && domains.all(|domain| seen.insert(domain))
    }

    /// The stages that one more replica may lead to.
    fn after(&self, stage: &Stage) -> Vec<Stage> {
        let least: Vec<_> = (0..self.dynamic.len()).map(|at| self.least(stage, at)).collect();
        let open = stage.cells.iter().filter(|(kind, _)| self.admits(stage, kind, &least));
        open.map(|(kind, _)| stage.placed(kind)).collect()
    }

    fn least(&self, stage: &Stage, at: usize) -> i64 {
        match self.dynamic.get(at) {
            Some(Dynamic::Spread { few: false, .. }) => {}
            _ => return 0,
        }
        let own = stage.cells.iter().filter_map(|(kind, _)| match kind.places.get(at) {
            Some(Place::Own(matching)) => Some(*matching),
            _ => None,
        });
        let shared = stage.shared.get(at).into_iter().flatten().copied();
        own.chain(shared).chain(stage.floor.get(at).copied()).min().unwrap_or(0)
    }

    fn admits(&self, stage: &Stage, kind: &Kind, least: &[i64]) -> bool {
        kind.places.iter().enumerate().all(|(at, place)| {
            let shared = |domain: usize| stage.shared.get(at).and_then(|counts| counts.get(domain)).copied();
            let matching = match place {
                Place::None => {
                    return !matches!(self.dynamic.get(at), Some(Dynamic::Together | Dynamic::Spread { .. }));
                }
                Place::Own(matching) => *matching,
                Place::Shared(domain) => shared(*domain).unwrap_or(0),
            };
            match self.dynamic.get(at) {
                Some(Dynamic::Spread { max_skew, .. }) => {
                    matching + 1 - least.get(at).copied().unwrap_or(0) <= *max_skew
                }
                Some(Dynamic::Alone) => matching == 0,
                // Where any has been placed, the next goes there too.
                Some(Dynamic::Together) => {
                    matching > 0 || stage.shared.get(at).is_none_or(|counts| counts.iter().all(|it| *it == 0))
                }
                None => true,
            }
        })
    }
}

impl Stage {
    /// The stage after one more replica on a node of that kind.
    fn placed(&self, kind: &Kind) -> Self {
        let mut cells: Cells = self.cells.iter().cloned().collect();
        if let Some(count) = cells.get_mut(kind) {
            *count -= 1;
            if *count == 0 {
                cells.remove(kind);
            }
        }
        let mut next = Self { cells: Vec::new(), shared: self.shared.clone(), floor: self.floor.clone() };
        let mut after = kind.clone();
        after.room -= 1;
        for (at, place) in after.places.iter_mut().enumerate() {
            match place {
                Place::None => {}
                Place::Own(matching) => *matching += 1,
                Place::Shared(domain) => {
                    if let Some(count) = next.shared.get_mut(at).and_then(|counts| counts.get_mut(*domain)) {
                        *count += 1;
                    }
                }
            }
        }
        if after.room > 0 {
            *cells.entry(after).or_default() += 1;
        } else {
            for (place, floor) in after.places.iter().zip(&mut next.floor) {
                if let Place::Own(matching) = place {
                    *floor = (*floor).min(*matching);
                }
            }
        }
        next.cells = cells.into_iter().collect();
        next
    }
}

impl Cell {
    pub(super) fn domain(&self, at: usize) -> Option<usize> {
        self.domains.get(at).copied().flatten()
    }
}

fn matching(one: &Dynamic, domain: usize) -> i64 {
    match one {
        Dynamic::Spread { matching, .. } => matching.get(domain).copied().flatten().unwrap_or(0),
        Dynamic::Alone | Dynamic::Together => 0,
    }
}

/// Counts of the domains that several nodes share. A domain that takes no part counts as too many to be the least.
fn shared(one: &Dynamic, cells: &[Cell], own: bool) -> Vec<i64> {
    match one {
        _ if own => Vec::new(),
        Dynamic::Spread { matching, .. } => matching.iter().map(|it| it.unwrap_or(i64::MAX / 2)).collect(),
        Dynamic::Alone | Dynamic::Together => {
            let domains = cells.iter().flat_map(|cell| cell.domains.iter().flatten());
            vec![0; domains.max().map_or(0, |most| most + 1)]
        }
    }
}

/// The least among domains that no node with room stands for.
fn floor(one: &Dynamic, cells: &[Cell], at: usize, own: bool) -> i64 {
    let Dynamic::Spread { matching, .. } = one else { return i64::MAX };
    if !own {
        return i64::MAX;
    }
    let standing: HashSet<_> = cells.iter().filter(|cell| cell.room > 0).filter_map(|cell| cell.domain(at)).collect();
    let rest = matching.iter().enumerate().filter(|(domain, _)| !standing.contains(domain));
    rest.filter_map(|(_, matching)| *matching).min().unwrap_or(i64::MAX)
}
