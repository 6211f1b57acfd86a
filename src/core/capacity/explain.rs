//! From free rows to an answer: how many, on which nodes, and what would have to change for one more.

use std::collections::BTreeMap;

use super::{
    Answer, Fits, Inventory, LimitingFactor, NodeGroupReport, Reason, Template,
    between::State,
    filters::Verdict,
    inventory::{Demand, fitting},
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
struct Site<'a> {
    row: usize,
    fits: u32,
    stop: Stop<'a>,
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
    let sites: Vec<_> = inventory.rows().map(|row| visit(inventory, template, &demand, &states, row)).collect();
    let room = sites.iter().map(|site| site.fits).fold(0, u32::saturating_add);
    let together = Together::of(&states, &sites, room).limited(template);
    let lo = together.lo;
    let is_bounded = !template.delegates && !template.claims.is_partial();
    let judge = Judge::new(inventory, &demand);
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
    fn of(states: &[State], sites: &[Site<'_>], room: u32) -> Self {
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

fn visit<'a>(
    inventory: &Inventory<'_>,
    template: &Template,
    demand: &'a Demand,
    states: &[State],
    row: usize,
) -> Site<'a> {
    match demand.judged.verdicts.get(row) {
        Some(Verdict::Open) => {}
        Some(verdict) => return Site { row, fits: 0, stop: Stop::Filtered(verdict) },
        None => return Site { row, fits: 0, stop: Stop::Missing },
    }
    if inventory.ports(row, template) == 0 {
        return Site { row, fits: 0, stop: Stop::Ports };
    }
    let volumes = inventory.volumes(row, template);
    if volumes == 0 {
        return Site { row, fits: 0, stop: Stop::Volumes };
    }
    // A replica that may turn out to be any of several is only promised where all of them may be.
    let closed = states.iter().find(|state| !state.may_take(row));
    if let Some(state) = closed {
        return Site { row, fits: 0, stop: Stop::Between(state.closing(row)) };
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
    Site { row, fits, stop }
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

    fn free_gpus(&self, sites: &[Site<'_>]) -> i64 {
        let open = sites.iter().filter(|site| !matches!(site.stop, Stop::Filtered(_) | Stop::Between(_)));
        open.map(|site| self.inventory.gpus_in(site.row, |column| self.counts(column))).fold(0, i64::saturating_add)
    }

    /// The one factor. Nodes that would take a replica if they were empty and that are open decide, those that come
    /// closest first; if there is none, what closes the nodes that would have room.
    fn limiting_factor(&self, sites: &[Site<'_>]) -> LimitingFactor {
        let open = |site: &&Site<'_>| !matches!(site.stop, Stop::Filtered(_) | Stop::Between(_));
        let capable = |site: &&Site<'_>| fitting(self.inventory.shape().capacity(site.row), self.demand) > 0;
        let able: Vec<_> = sites.iter().filter(open).filter(capable).collect();
        if !able.is_empty() {
            return self.shortage(&able);
        }
        let closed = || sites.iter().filter(|site| !open(site));
        let room = |site: &&Site<'_>| fitting(self.inventory.row(site.row), self.demand) > 0;
        self.most_frequent(closed().filter(room))
            .or_else(|| self.most_frequent(closed().filter(capable)))
            .unwrap_or_else(|| self.shortage(&sites.iter().filter(open).collect::<Vec<_>>()))
    }

    /// What is short on open nodes. A node that has the GPUs and lacks something else is closer than one without GPUs.
    fn shortage(&self, open: &[&Site<'_>]) -> LimitingFactor {
        let is_gpu = |site: &&&Site<'_>| self.factor(&site.stop) == LimitingFactor::Gpu;
        let closer = self.most_frequent(open.iter().filter(|site| !is_gpu(site)).copied());
        let nothing = if self.asks_for_gpus() { LimitingFactor::Gpu } else { LimitingFactor::PodCount };
        match closer {
            Some(factor) => factor,
            None if self.is_fragmented(open) => LimitingFactor::Fragmentation,
            None => nothing,
        }
    }

    /// Whether what is left of each requested kind of GPU would be enough for one more, if it were on one node.
    fn is_fragmented(&self, open: &[&Site<'_>]) -> bool {
        let left = |column: usize, amount: i64| {
            let on = |site: &&Site<'_>| {
                let free = self.inventory.row(site.row).get(column).copied().unwrap_or(0);
                free.saturating_sub(amount.saturating_mul(i64::from(site.fits)))
            };
            open.iter().map(on).fold(0, i64::saturating_add)
        };
        let mut gpus = self.demand.requests.iter().filter(|(column, _)| self.is_gpu(*column)).peekable();
        gpus.peek().is_some() && gpus.all(|(column, amount)| left(*column, *amount) >= *amount)
    }

    /// The factor that stops most of the nodes; on a tie the one that is declared first.
    fn most_frequent<'s>(&self, sites: impl Iterator<Item = &'s Site<'s>>) -> Option<LimitingFactor> {
        let mut stops: Vec<(Stop<'s>, usize)> = Vec::new();
        for site in sites {
            match stops.iter_mut().find(|(stop, _)| *stop == site.stop) {
                Some((_, count)) => *count += 1,
                None => stops.push((site.stop, 1)),
            }
        }
        let mut counts: BTreeMap<LimitingFactor, usize> = BTreeMap::new();
        for (stop, count) in stops {
            *counts.entry(self.factor(&stop)).or_default() += count;
        }
        counts.into_iter().rev().max_by_key(|(_, count)| *count).map(|(factor, _)| factor)
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

    fn groups(&self, sites: &[Site<'_>]) -> Vec<NodeGroupReport> {
        // Few: one per taint and per set of short resources.
        let mut groups: Vec<(Stop<'_>, NodeGroupReport)> = Vec::new();
        for site in sites {
            let known = groups.iter().position(|(stop, _)| *stop == site.stop).unwrap_or_else(|| {
                groups.push((site.stop, self.group(&site.stop)));
                groups.len() - 1
            });
            let group = &mut groups[known].1;
            group.nodes += 1;
            group.fits = group.fits.saturating_add(site.fits);
            if group.names.len() < SAMPLE {
                group.names.extend(self.inventory.node_name(site.row).map(str::to_owned));
            }
        }
        let mut groups: Vec<_> = groups.into_iter().map(|(_, group)| group).collect();
        groups.sort_by(|a, b| (b.fits, b.nodes).cmp(&(a.fits, a.nodes)).then_with(|| a.reason.cmp(&b.reason)));
        groups
    }

    fn group(&self, stop: &Stop<'_>) -> NodeGroupReport {
        NodeGroupReport {
            limiting_factor: self.factor(stop),
            reason: self.describe(stop),
            ..NodeGroupReport::default()
        }
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
