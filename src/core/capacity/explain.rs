//! From free rows to an answer: how many, on which nodes, and what would have to change for one more.

use std::collections::BTreeMap;

use super::{
    Answer, Fits, Inventory, LimitingFactor, NodeGroupReport, Reason, Template,
    between::State,
    filters::Verdict,
    inventory::{Demand, fitting},
    memo::Fitting,
    requests::PODS,
};

/// Nodes of a group that are named.
const SAMPLE: usize = 5;

/// What stops the next replica on one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop<'a> {
    Filtered(&'a Verdict),
    Reserved,
    /// A pod has a port of the node that each replica needs.
    Ports,
    /// A volume cannot be attached there, or not at all by one more pod.
    Volumes,
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
struct Site {
    row: usize,
    fits: u32,
    /// Which of the classes it is in.
    class: usize,
    columns: Columns,
}

/// Nodes that treat the template alike: few, one per taint and per set of short resources.
struct Class<'a> {
    stop: Stop<'a>,
    factor: LimitingFactor,
    nodes: u32,
    fits: u32,
    /// Of the nodes, those that have room for one by their columns.
    room: usize,
    /// Those that would have room if they were empty.
    able: usize,
    /// The first few.
    sample: Vec<usize>,
}

/// All nodes.
struct Sites<'a> {
    sites: Vec<Site>,
    classes: Vec<Class<'a>>,
}

/// What the columns of a node alone say.
#[derive(Clone, Copy)]
struct Columns {
    /// Whether there is room for one.
    room: bool,
    /// Whether there would be if the node were empty.
    able: bool,
}

/// The answer to a template that is not modelled.
pub(super) fn refuse(unmodelled: Vec<Reason>) -> Answer {
    let limiting_factor = unmodelled.first().map_or(LimitingFactor::Unmodelled, |reason| reason.factor);
    Answer { fits: Fits::unknown(), limiting_factor, unmodelled, ..Answer::default() }
}

/// The answer to a template that is modelled.
pub(super) fn answer(inventory: &Inventory<'_>, template: &Template) -> Answer {
    let demand = inventory.shape().demand(template);
    let states = inventory.states(template).unwrap_or_default();
    let judge = Judge::new(inventory, &demand);
    let sites = sites(&judge, template, &states);
    let room = sites.classes.iter().map(|class| class.fits).fold(0, u32::saturating_add);
    let together = Together::of(&states, &sites.sites, room).limited(template);
    let lo = together.lo;
    let is_bounded = !template.delegates && !template.claims.is_partial();
    let free_gpus = judge.free_gpus(&sites);
    let request = judge.requested_gpus();
    let stranded_gpus = if request == 0 { 0 } else { free_gpus - request.saturating_mul(i64::from(lo)) };
    Answer {
        fits: Fits::between(lo, is_bounded.then(|| most(inventory, template, &demand, together.hi))),
        limiting_factor: together.factor.unwrap_or_else(|| judge.limiting_factor(&sites)),
        groups: judge.groups(&sites),
        free_gpus,
        stranded_gpus: stranded_gpus.max(0),
        constraint: together.words,
        quota: None,
        unmodelled: Vec::new(),
    }
}

/// What constraints between pods leave of the room of the single nodes.
struct Together {
    lo: u32,
    hi: u32,
    /// The kind of constraint, where it allows less than there is room for.
    factor: Option<LimitingFactor>,
    /// The same in words.
    words: Option<String>,
}

impl Together {
    fn of(states: &[State], sites: &[Site], room: u32) -> Self {
        let rooms = || sites.iter().filter(|site| site.fits > 0).map(|site| (site.row, site.fits));
        let ranges: Vec<_> = states.iter().map(|state| state.range(rooms())).collect();
        let count = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        let lo = ranges.iter().map(|range| count(range.lo)).min().unwrap_or(room);
        let hi = ranges.iter().map(|range| count(range.hi)).max().unwrap_or(room);
        let least = states.iter().zip(&ranges).min_by_key(|(_, range)| range.lo).filter(|_| lo < room);
        let factor = least.map(|(state, range)| state.limiting(rooms(), *range));
        let words = least.map(|(state, _)| state.describe(rooms()));
        Self { lo, hi, factor, words }
    }
}

impl Together {
    /// The same under what one more pod alone can use.
    fn limited(self, template: &Template) -> Self {
        let hi = self.hi.min(template.claims.most());
        match template.claims.limit() {
            Some((limit, words)) if self.lo > limit => {
                Self { lo: limit, hi, factor: Some(LimitingFactor::Volume), words: Some(words) }
            }
            _ => Self { hi, ..self },
        }
    }
}

/// The most that the scheduler could bind: with all lower priorities evicted, and on nodes that are not ready but
/// do not repel.
fn most(inventory: &Inventory<'_>, template: &Template, demand: &Demand, lo: u32) -> u32 {
    let evicted = template.preempts.then(|| inventory.after_preemption(template)).flatten();
    let unready = demand.judged.verdicts.contains(&Verdict::NotReady);
    if evicted.is_none() && !unready {
        return lo;
    }
    let usable = |row: &usize| matches!(demand.judged.verdicts.get(*row), Some(Verdict::Open | Verdict::NotReady));
    let count = |row: usize| match &evicted {
        Some(evicted) => evicted.count_at_most(row, template, demand),
        None => inventory.count(row, template, demand),
    };
    let most = if evicted.is_some() { inventory.volumes_at_most(template) } else { template.claims.most() };
    inventory.rows().filter(usable).map(count).fold(0, u32::saturating_add).min(most).max(lo)
}

/// All nodes; where columns alone decide and nothing was placed, as they were tallied.
fn sites<'a>(judge: &Judge<'a, '_>, template: &Template, states: &[State]) -> Sites<'a> {
    let (inventory, demand) = (judge.inventory, judge.demand);
    let plain = states.is_empty() && template.ports.is_empty() && template.claims.is_empty();
    let tally = if plain && !inventory.has_nominated() { inventory.tally(demand) } else { None };
    let verdicts = &demand.judged.verdicts;
    let mut sites = Sites { sites: Vec::with_capacity(verdicts.len()), classes: Vec::new() };
    for (row, verdict) in verdicts.iter().enumerate() {
        let tallied = tally.as_ref().and_then(|tally| tally.rows.get(row)).filter(|_| !inventory.is_touched(row));
        let (fits, stop, columns) = if let Some(Fitting { count, short, able }) = tallied.copied() {
            let columns = Columns { room: count > 0, able };
            match verdict {
                Verdict::Open => (count.into(), Stop::Short(short.into()), columns),
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
fn visit<'a>(
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
    } else if fitting(free, demand) > fits {
        Stop::Reserved
    } else {
        Stop::Short(short(free, demand, fits))
    };
    (fits, stop)
}

fn short(free: &[i64], demand: &Demand, fits: u32) -> u64 {
    let lacks = |(column, amount): &(usize, i64)| {
        let left = free.get(*column).copied().unwrap_or(0) - amount.saturating_mul(i64::from(fits));
        left < *amount
    };
    let short = demand.requests.iter().enumerate().filter(|(_, request)| lacks(request));
    short.fold(0, |bits, (index, _)| bits | bit(index))
}

fn bit(index: usize) -> u64 {
    1 << index.min(63)
}

// === impl Sites ===

impl<'a> Sites<'a> {
    fn add(&mut self, judge: &Judge<'a, '_>, row: usize, fits: u32, stop: Stop<'a>, columns: Columns) {
        // Neighbours are often alike.
        let last = self.sites.last().map(|site| site.class);
        let known = last.filter(|class| self.classes.get(*class).is_some_and(|class| class.stop == stop));
        let known = known.or_else(|| self.classes.iter().position(|class| class.stop == stop));
        let index = known.unwrap_or(self.classes.len());
        if known.is_none() {
            let factor = judge.factor(&stop);
            self.classes.push(Class { stop, factor, nodes: 0, fits: 0, room: 0, able: 0, sample: Vec::new() });
        }
        if let Some(class) = self.classes.get_mut(index) {
            class.add(row, fits, columns);
        }
        self.sites.push(Site { row, fits, class: index, columns });
    }

    /// Nodes that are not closed by a filter or by other pods.
    fn open(&self) -> impl Iterator<Item = &Site> {
        self.sites.iter().filter(|site| self.classes.get(site.class).is_some_and(Class::is_open))
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

    fn is_open(&self) -> bool {
        !matches!(self.stop, Stop::Filtered(_) | Stop::Between(_))
    }
}

/// The factor that stops most of the nodes that are counted; on a tie the one that is declared first.
fn most_frequent<'c, 'a: 'c>(
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

/// What the explanation needs to know of the nodes.
struct Judge<'a, 'v> {
    inventory: &'a Inventory<'v>,
    demand: &'a Demand,
    /// Requests of the demand that are GPUs.
    gpu_bits: u64,
}

impl<'a, 'v> Judge<'a, 'v> {
    fn new(inventory: &'a Inventory<'v>, demand: &'a Demand) -> Self {
        let gpus = demand.requests.iter().enumerate();
        let gpus = gpus.filter(|(_, (column, _))| inventory.shape().gpus.contains(column));
        let gpu_bits = gpus.fold(0, |bits, (index, _)| bits | bit(index));
        Self { inventory, demand, gpu_bits }
    }

    fn is_gpu(&self, column: usize) -> bool {
        self.inventory.shape().gpus.contains(&column)
    }

    fn requested_gpus(&self) -> i64 {
        let gpus = self.demand.requests.iter().filter(|(column, _)| self.is_gpu(*column));
        gpus.map(|(_, amount)| *amount).fold(0, i64::saturating_add)
    }

    fn asks_for_gpus(&self) -> bool {
        let policy = self.inventory.shape().policy;
        self.requested_gpus() > 0 || self.demand.missing.iter().any(|name| policy.is_gpu(name))
    }

    /// Whether GPUs of that column count for the template: those it requests, or all if it requests none.
    fn counts(&self, column: usize) -> bool {
        self.requested_gpus() == 0 || self.demand.requests.iter().any(|(requested, _)| *requested == column)
    }

    fn free_gpus(&self, sites: &Sites<'_>) -> i64 {
        let counted: Vec<_> =
            self.inventory.shape().gpus.iter().copied().filter(|column| self.counts(*column)).collect();
        let on = |site: &Site| {
            let free = self.inventory.row(site.row);
            counted.iter().filter_map(|column| free.get(*column)).fold(0_i64, |sum, free| sum.saturating_add(*free))
        };
        sites.open().map(on).fold(0, i64::saturating_add)
    }

    /// The one factor. Nodes that would take a replica if they were empty and that are open decide, those that come
    /// closest first; if there is none, what closes the nodes that would have room.
    fn limiting_factor(&self, sites: &Sites<'_>) -> LimitingFactor {
        let able = |class: &Class<'_>| class.able;
        if sites.classes.iter().any(|class| class.is_open() && class.able > 0) {
            return self.shortage(sites, able, |site| site.columns.able);
        }
        let closed = |count: fn(&Class<'_>) -> usize| {
            most_frequent(sites.classes.iter().filter(|class| !class.is_open()), count)
        };
        closed(|class| class.room)
            .or_else(|| closed(|class| class.able))
            .unwrap_or_else(|| self.shortage(sites, |class| class.nodes as usize, |_| true))
    }

    /// What is short on open nodes of which each class counts some. A node that has the GPUs and lacks something else is
    /// closer than one without GPUs.
    fn shortage(
        &self,
        sites: &Sites<'_>,
        count: impl Fn(&Class<'_>) -> usize,
        counts: impl Fn(&Site) -> bool,
    ) -> LimitingFactor {
        let other = sites.classes.iter().filter(|class| class.is_open() && class.factor != LimitingFactor::Gpu);
        let nothing = if self.asks_for_gpus() { LimitingFactor::Gpu } else { LimitingFactor::PodCount };
        match most_frequent(other, count) {
            Some(factor) => factor,
            None if self.is_fragmented(|| sites.open().filter(|site| counts(site))) => LimitingFactor::Fragmentation,
            None => nothing,
        }
    }

    /// Whether what is left of each requested kind of GPU would be enough for one more, if it were on one node.
    fn is_fragmented<'s, I: Iterator<Item = &'s Site>>(&self, open: impl Fn() -> I) -> bool {
        let left = |column: usize, amount: i64| {
            let on = |site: &Site| {
                let free = self.inventory.row(site.row).get(column).copied().unwrap_or(0);
                free.saturating_sub(amount.saturating_mul(i64::from(site.fits)))
            };
            open().map(on).fold(0, i64::saturating_add)
        };
        let mut gpus = self.demand.requests.iter().filter(|(column, _)| self.is_gpu(*column)).peekable();
        gpus.peek().is_some() && gpus.all(|(column, amount)| left(*column, *amount) >= *amount)
    }

    fn factor(&self, stop: &Stop<'_>) -> LimitingFactor {
        match stop {
            Stop::Filtered(Verdict::Unselected) => LimitingFactor::Affinity,
            Stop::Reserved => LimitingFactor::Priority,
            Stop::Filtered(Verdict::Elsewhere(_)) | Stop::Volumes => LimitingFactor::Volume,
            Stop::Filtered(_) => LimitingFactor::Taint,
            Stop::Ports => LimitingFactor::HostPort,
            Stop::Between(factor) => *factor,
            Stop::Short(bits) if bits & self.gpu_bits != 0 => LimitingFactor::Gpu,
            Stop::Short(bits) => {
                let factors = self.short_names(*bits).map(|name| self.resource_factor(name));
                factors.min().unwrap_or(LimitingFactor::PodCount)
            }
            Stop::Missing => {
                let factors = self.demand.missing.iter().map(|name| self.resource_factor(name));
                factors.min().unwrap_or(LimitingFactor::OtherResource)
            }
        }
    }

    fn resource_factor(&self, name: &str) -> LimitingFactor {
        match name {
            PODS => LimitingFactor::PodCount,
            "cpu" => LimitingFactor::Cpu,
            "memory" => LimitingFactor::Memory,
            _ if self.inventory.shape().policy.is_gpu(name) => LimitingFactor::Gpu,
            _ => LimitingFactor::OtherResource,
        }
    }

    fn short_names(&self, bits: u64) -> impl Iterator<Item = &str> {
        let short = self.demand.requests.iter().enumerate().filter(move |(index, _)| bits & bit(*index) != 0);
        short.filter_map(|(_, (column, _))| self.inventory.shape().columns.get(*column).copied())
    }

    fn groups(&self, sites: &Sites<'_>) -> Vec<NodeGroupReport> {
        let name = |row: &usize| self.inventory.node_name(*row).map(str::to_owned);
        let group = |class: &Class<'_>| NodeGroupReport {
            nodes: class.nodes,
            fits: class.fits,
            names: class.sample.iter().filter_map(name).collect(),
            limiting_factor: class.factor,
            reason: self.describe(&class.stop),
        };
        let mut groups: Vec<_> = sites.classes.iter().map(group).collect();
        groups.sort_by(|a, b| (b.fits, b.nodes).cmp(&(a.fits, a.nodes)).then_with(|| a.reason.cmp(&b.reason)));
        groups
    }

    fn describe(&self, stop: &Stop<'_>) -> String {
        match stop {
            Stop::Filtered(Verdict::Open) => String::new(),
            Stop::Filtered(Verdict::Cordoned) => "cordoned".to_owned(),
            Stop::Filtered(Verdict::Tainted(taint)) => format!("taint {taint} is not tolerated"),
            Stop::Filtered(Verdict::Unselected) => "node selector or required node affinity does not match".to_owned(),
            Stop::Filtered(Verdict::NotReady) => "not ready, so not promised".to_owned(),
            Stop::Filtered(Verdict::Elsewhere(why)) => why.clone(),
            Stop::Volumes => "no further volume can be attached or used there".to_owned(),
            Stop::Ports => "a host port that each replica needs is taken".to_owned(),
            Stop::Between(LimitingFactor::TopologySpread) => "a topology spread constraint excludes it".to_owned(),
            Stop::Between(_) => "required pod affinity or anti-affinity excludes it".to_owned(),
            Stop::Reserved => "room is kept for nominated pods of at least this priority".to_owned(),
            Stop::Short(bits) => {
                let names: Vec<_> = self.short_names(*bits).collect();
                format!("not enough {} for one more", names.join(", "))
            }
            Stop::Missing => format!("no node offers {}", self.demand.missing.join(", ")),
        }
    }
}
