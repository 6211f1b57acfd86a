//! All nodes in the eyes of a template: what fits on each, and what stops the next replica there.

use std::collections::BTreeMap;

use super::judge::Judge;
use crate::capacity::{
    Inventory, LimitingFactor, Template,
    between::State,
    filters::Verdict,
    inventory::{Demand, fitting, short},
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
///
/// There is one for every node and template, so it is small.
#[derive(Clone, Copy)]
pub(super) struct Site {
    row: u32,
    fits: u32,
    /// Which of the classes it is in.
    class: u16,
    columns: Columns,
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
    pub(super) rows: Vec<Site>,
    pub(super) classes: Vec<Class<'a>>,
    /// Whether more than the filter closes nodes.
    pub(super) narrowed: bool,
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
    let mut sites =
        Sites { rows: Vec::with_capacity(verdicts.len()), classes: Vec::new(), narrowed: !states.is_empty() };
    for (row, verdict) in verdicts.iter().enumerate() {
        let tallied = tally.as_ref().and_then(|tally| tally.rows.get(row)).filter(|_| !inventory.is_touched(row));
        let (fits, stop, columns) = if let Some(tallied) = tallied {
            let columns = Columns { room: tallied.count > 0, able: tallied.able() };
            match verdict {
                Verdict::Open => (tallied.count.into(), Stop::Short(tallied.short()), columns),
                verdict => (0, Stop::Filtered(verdict), columns),
            }
        } else {
            let (free, empty) = (inventory.row(row), inventory.shape().capacity(row));
            let columns = Columns { room: fitting(free, demand) > 0, able: fitting(empty, demand) > 0 };
            let (fits, stop) = match verdict {
                Verdict::Open => visit(inventory, template, demand, states, row),
                verdict => (0, Stop::Filtered(verdict)),
            };
            (fits, stop, columns)
        };
        sites.add(judge, row, fits, stop, columns);
    }
    sites
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
    fn add(&mut self, judge: &Judge<'a, '_>, row: usize, fits: u32, stop: Stop<'a>, columns: Columns) {
        // Neighbours are often alike.
        let last = self.rows.last().map(|site| usize::from(site.class));
        let known = last.filter(|class| self.classes.get(*class).is_some_and(|class| class.takes(&stop, columns)));
        let known = known.or_else(|| self.classes.iter().position(|class| class.takes(&stop, columns)));
        let index = known.unwrap_or(self.classes.len());
        if known.is_none() {
            let factor = judge.factor(&stop);
            self.classes.push(Class { stop, factor, nodes: 0, fits: 0, room: 0, able: 0, sample: Vec::new() });
        }
        if let Some(class) = self.classes.get_mut(index) {
            class.add(row, fits, columns);
        }
        let (row, class) = (u32::try_from(row).unwrap_or(u32::MAX), u16::try_from(index).unwrap_or(u16::MAX));
        self.rows.push(Site { row, fits, class, columns });
    }

    /// The class that a row is in: sites are in the order of the rows.
    pub(super) fn class_of(&self, row: usize) -> Option<usize> {
        self.rows.get(row).map(|site| site.class.into())
    }

    /// Whether neither a filter nor other pods close a row.
    pub(super) fn is_open(&self, row: usize) -> bool {
        self.class_of(row).and_then(|class| self.classes.get(class)).is_some_and(Class::is_open)
    }

    /// Nodes that are not closed by a filter or by other pods.
    pub(super) fn open(&self) -> impl Iterator<Item = &Site> {
        self.rows.iter().filter(|site| self.classes.get(usize::from(site.class)).is_some_and(Class::is_open))
    }
}

// === impl Site ===

impl Site {
    pub(super) fn row(&self) -> usize {
        self.row as usize
    }

    pub(super) fn fits(&self) -> u32 {
        self.fits
    }

    /// Whether the node would have room for one if it were empty.
    pub(super) fn able(&self) -> bool {
        self.columns.able
    }
}

// === impl Class ===

impl Class<'_> {
    fn add(&mut self, row: usize, fits: u32, columns: Columns) {
        self.nodes += 1;
        self.fits = self.fits.saturating_add(fits);
        self.room += usize::from(columns.room);
        self.able += usize::from(columns.able);
        if self.sample.len() < SAMPLE {
            self.sample.push(row);
        }
    }

    fn takes(&self, stop: &Stop<'_>, columns: Columns) -> bool {
        self.stop == *stop && (!matches!(stop, Stop::Short(_)) || columns.able == (self.able > 0))
    }

    /// Whether its nodes lack something even when they are empty.
    pub(super) fn is_too_small(&self) -> bool {
        self.able == 0 && matches!(self.stop, Stop::Short(_))
    }

    pub(super) fn is_open(&self) -> bool {
        !matches!(self.stop, Stop::Filtered(_) | Stop::Between(_))
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
