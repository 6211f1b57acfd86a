//! All nodes in the eyes of a template: what fits on each, and what stops the next replica there.

use std::{collections::BTreeMap, sync::Arc};

use super::judge::Judge;
use crate::capacity::{
    Inventory, LimitingFactor, Template,
    between::State,
    filters::Verdict,
    inventory::{Demand, fitting, short},
    memo::{Fitting, Tally},
};

/// Nodes of a class that are named.
const SAMPLE: usize = 5;

/// What stops the next replica on one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop<'a> {
    Filtered(&'a Verdict),
    Reserved,
    /// A pod has a port of the node that each replica needs.
    Ports,
    /// A volume cannot be attached there, or not at all by one more pod.
    Volumes,
    /// The devices that are left do not meet what a replica asks for.
    Devices,
    /// Terms of affinity or of anti-affinity, or topology spread.
    Between(LimitingFactor),
    /// Requests that are short once everything that fits is placed: bit n for the nth of the demand, the last bit for
    /// all that are beyond.
    Short(u64),
    /// Resources that no node offers.
    Missing,
}

/// One node in the eyes of a template.
#[derive(Clone, Copy)]
pub(super) struct Site<'a> {
    row: usize,
    fits: u32,
    stop: Stop<'a>,
    pub(super) columns: Columns,
}

/// Nodes that treat the template alike: few, one per taint and per set of short resources. Nodes that are too small are told
/// apart from those that are full.
pub(super) struct Class<'a> {
    pub(super) stop: Stop<'a>,
    pub(super) factor: LimitingFactor,
    pub(super) nodes: u32,
    pub(super) fits: u32,
    /// Of the nodes, those that have room for one by their columns.
    pub(super) room: usize,
    /// Those that would have room if they were empty.
    pub(super) able: usize,
    /// The first few.
    pub(super) sample: Vec<usize>,
}

/// All nodes.
pub(super) struct Sites<'a> {
    rows: Rows<'a>,
    pub(super) classes: Vec<Class<'a>>,
    /// Whether more than the filter closes nodes.
    pub(super) narrowed: bool,
}

/// Nodes in the order of the inventory.
enum Rows<'a> {
    /// Columns alone decide, and nothing was placed: each is what it was tallied as.
    Tallied(&'a [Verdict], Arc<Tally>),
    Visited(Vec<Site<'a>>),
}

/// Open nodes of one kind, as far as they have been counted.
#[derive(Clone, Copy, Default)]
struct Sum {
    nodes: u32,
    fits: u32,
    room: usize,
    /// The first few.
    sample: [usize; SAMPLE],
}

/// What the columns of a node alone say.
#[derive(Clone, Copy)]
pub(super) struct Columns {
    /// Whether there is room for one.
    pub(super) room: bool,
    /// Whether there would be if the node were empty.
    pub(super) able: bool,
}

/// All nodes; where columns alone decide and nothing was placed, as they were tallied.
pub(super) fn sites<'a>(judge: &Judge<'a, '_>, template: &Template, states: &[State]) -> Sites<'a> {
    let (inventory, demand) = (judge.inventory, judge.demand);
    let plain = states.is_empty() && template.ports.is_empty() && template.claims.is_empty();
    let plain = plain && demand.searched.is_none() && !demand.gives_up && template.wants.shared.is_empty();
    let tally = if plain && !inventory.has_nominated() { inventory.tally(demand) } else { None };
    let verdicts = &demand.judged.verdicts;
    let whole = !inventory.has_placed() && demand.requests.len() <= Fitting::KIND_BITS;
    if let Some(tally) = tally.as_ref().filter(|_| whole) {
        return Sites::tallied(judge, Arc::clone(tally));
    }
    let visit = |(row, verdict)| match tally.as_ref().and_then(|tally| tally.rows.get(row)) {
        Some(tallied) if !inventory.is_touched(row) => Site::tallied(row, verdict, *tallied),
        _ => {
            let (free, empty) = (inventory.row(row), inventory.shape().capacity(row));
            let columns = Columns { room: fitting(free, demand) > 0, able: fitting(empty, demand) > 0 };
            let (fits, stop) = match verdict {
                Verdict::Open => visit(inventory, template, demand, states, row),
                verdict => (0, Stop::Filtered(verdict)),
            };
            Site { row, fits, stop, columns }
        }
    };
    Sites::visited(judge, verdicts.iter().enumerate().map(visit).collect(), !states.is_empty())
}

/// How many replicas fit on an open node, and what stops the next.
pub(super) fn visit<'a>(
    inventory: &Inventory<'_>,
    template: &Template,
    demand: &'a Demand,
    states: &[State],
    row: usize,
) -> (u32, Stop<'a>) {
    if inventory.ports(row, template) == 0 {
        return (0, Stop::Ports);
    }
    let volumes = inventory.volumes(row, template);
    if volumes == 0 {
        return (0, Stop::Volumes);
    }
    // A replica that may turn out to be any of several is only promised where all of them may be.
    let closed = states.iter().find(|state| !state.may_take(row));
    if let Some(state) = closed {
        return (0, Stop::Between(state.closing(row)));
    }
    let fits = inventory.count(row, template, demand);
    let free = inventory.row(row);
    let stop = if !template.ports.is_empty() && fits > 0 && fitting(free, demand) > fits {
        Stop::Ports
    } else if fits == volumes && fitting(free, demand) > fits {
        Stop::Volumes
    } else if !demand.missing.is_empty() {
        Stop::Missing
    } else if fits == inventory.devices(row, template, demand) && fitting(free, demand) > fits {
        Stop::Devices
    } else if fitting(free, demand) > fits {
        Stop::Reserved
    } else {
        Stop::Short(short(free, &demand.requests, fits))
    };
    (fits, stop)
}

// === impl Sites ===

impl<'a> Sites<'a> {
    fn visited(judge: &Judge<'a, '_>, rows: Vec<Site<'a>>, narrowed: bool) -> Self {
        let mut classes = Vec::new();
        let mut last = 0;
        for site in &rows {
            last = class_of(judge, &mut classes, site, last);
            classes.get_mut(last).into_iter().for_each(|class| class.add(site));
        }
        Self { rows: Rows::Visited(rows), classes, narrowed }
    }

    /// This is done for every template whenever anything has changed, so it does no more than it must: open nodes are
    /// summed up by their kind, and closed ones have been sorted by what closes them.
    fn tallied(judge: &Judge<'a, '_>, tally: Arc<Tally>) -> Self {
        let judged = &*judge.demand.judged;
        let mut sums = [Sum::default(); Fitting::KINDS];
        for &row in &judged.open {
            let Some(tallied) = tally.rows.get(row) else { continue };
            if let Some(sum) = sums.get_mut(tallied.kind()) {
                sum.add(row, *tallied);
            }
        }
        let open = sums.iter().filter_map(|sum| {
            let tallied = tally.rows.get(*sum.sample.first().filter(|_| sum.nodes > 0)?)?;
            let stop = Stop::Short(tallied.short());
            let able = if tallied.able() { sum.nodes as usize } else { 0 };
            let sample = sum.sample.iter().copied().take(sum.nodes as usize).collect();
            let Sum { nodes, fits, room, .. } = *sum;
            Some(Class { stop, factor: judge.factor(&stop), nodes, fits, room, able, sample })
        });
        let closed = judged.closed().iter().map(|(verdict, rows)| {
            let stop = Stop::Filtered(verdict);
            let count =
                |has: fn(&Fitting) -> bool| rows.iter().filter(|row| tally.rows.get(**row).is_some_and(has)).count();
            Class {
                stop,
                factor: judge.factor(&stop),
                nodes: u32::try_from(rows.len()).unwrap_or(u32::MAX),
                fits: 0,
                room: count(|tallied| tallied.count > 0),
                able: count(|tallied| tallied.able()),
                sample: rows.iter().copied().take(SAMPLE).collect(),
            }
        });
        let classes = open.chain(closed).collect();
        Self { rows: Rows::Tallied(&judged.verdicts, tally), classes, narrowed: false }
    }

    fn get(&self, row: usize) -> Option<Site<'a>> {
        match &self.rows {
            Rows::Visited(sites) => sites.get(row).copied(),
            Rows::Tallied(verdicts, tally) => Some(Site::tallied(row, verdicts.get(row)?, *tally.rows.get(row)?)),
        }
    }

    /// All, in the order of the rows.
    pub(super) fn iter(&self) -> impl Iterator<Item = Site<'a>> {
        (0..).map_while(|row| self.get(row))
    }

    /// The class that a row is in.
    pub(super) fn class_of(&self, row: usize) -> Option<usize> {
        let site = self.get(row)?;
        self.classes.iter().position(|class| class.takes(&site))
    }

    /// Whether neither a filter nor other pods close a row.
    pub(super) fn is_open(&self, row: usize) -> bool {
        self.get(row).is_some_and(|site| site.stop.is_open())
    }

    /// Nodes that are not closed by a filter or by other pods.
    pub(super) fn open(&self) -> impl Iterator<Item = Site<'a>> {
        self.iter().filter(|site| site.stop.is_open())
    }
}

/// The class that a node is in, made if it is the first of it; neighbours are often alike.
fn class_of<'a>(judge: &Judge<'a, '_>, classes: &mut Vec<Class<'a>>, site: &Site<'a>, last: usize) -> usize {
    let known = Some(last).filter(|last| classes.get(*last).is_some_and(|class| class.takes(site)));
    known.or_else(|| classes.iter().position(|class| class.takes(site))).unwrap_or_else(|| {
        let factor = judge.factor(&site.stop);
        classes.push(Class { stop: site.stop, factor, nodes: 0, fits: 0, room: 0, able: 0, sample: Vec::new() });
        classes.len() - 1
    })
}

// === impl Sum ===

impl Sum {
    fn add(&mut self, row: usize, tallied: Fitting) {
        if let Some(place) = self.sample.get_mut(self.nodes as usize) {
            *place = row;
        }
        self.nodes += 1;
        self.fits = self.fits.saturating_add(tallied.count.into());
        self.room += usize::from(tallied.count > 0);
    }
}

// === impl Site ===

impl<'a> Site<'a> {
    fn tallied(row: usize, verdict: &'a Verdict, tallied: Fitting) -> Self {
        let columns = Columns { room: tallied.count > 0, able: tallied.able() };
        let (fits, stop) = match verdict {
            Verdict::Open => (tallied.count.into(), Stop::Short(tallied.short())),
            verdict => (0, Stop::Filtered(verdict)),
        };
        Self { row, fits, stop, columns }
    }

    pub(super) fn row(&self) -> usize {
        self.row
    }

    pub(super) fn fits(&self) -> u32 {
        self.fits
    }
}

// === impl Stop ===

impl Stop<'_> {
    fn is_open(&self) -> bool {
        !matches!(self, Self::Filtered(_) | Self::Between(_))
    }
}

// === impl Class ===

impl Class<'_> {
    fn add(&mut self, site: &Site<'_>) {
        self.nodes += 1;
        self.fits = self.fits.saturating_add(site.fits);
        self.room += usize::from(site.columns.room);
        self.able += usize::from(site.columns.able);
        if self.sample.len() < SAMPLE {
            self.sample.push(site.row);
        }
    }

    fn takes(&self, site: &Site<'_>) -> bool {
        self.stop == site.stop && (!matches!(site.stop, Stop::Short(_)) || site.columns.able == (self.able > 0))
    }

    /// Whether its nodes lack something even when they are empty.
    pub(super) fn is_too_small(&self) -> bool {
        self.able == 0 && matches!(self.stop, Stop::Short(_))
    }

    pub(super) fn is_open(&self) -> bool {
        self.stop.is_open()
    }
}

/// The factor that stops most of the nodes that are counted; on a tie the one that is declared first.
pub(super) fn most_frequent<'c, 'a: 'c>(
    classes: impl Iterator<Item = &'c Class<'a>>,
    count: impl Fn(&Class<'_>) -> usize,
) -> Option<LimitingFactor> {
    let mut counts: BTreeMap<LimitingFactor, usize> = BTreeMap::new();
    for class in classes {
        let some = count(class);
        if some > 0 {
            *counts.entry(class.factor).or_default() += some;
        }
    }
    counts.into_iter().rev().max_by_key(|(_, count)| *count).map(|(factor, _)| factor)
}
