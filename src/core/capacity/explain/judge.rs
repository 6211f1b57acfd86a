//! What limits, in one word and in words for people.

use std::sync::{Arc, PoisonError};

use super::sites::{Class, Site, Sites, Stop, most_frequent};
use crate::capacity::{
    Inventory, LimitingFactor, NodeGroupReport, Sharing,
    filters::Verdict,
    inventory::{Demand, bit},
    requests::PODS,
};

/// What the explanation needs to know of the nodes.
pub(super) struct Judge<'a, 'v> {
    pub(super) inventory: &'a Inventory<'v>,
    pub(super) demand: &'a Demand,
    /// Requests of the demand that are GPUs.
    gpu_bits: u64,
}

impl<'a, 'v> Judge<'a, 'v> {
    pub(super) fn new(inventory: &'a Inventory<'v>, demand: &'a Demand) -> Self {
        let gpus = demand.requests.iter().enumerate();
        let gpus = gpus.filter(|(_, (column, _))| inventory.shape().is_gpu(*column));
        let gpu_bits = gpus.fold(0, |bits, (index, _)| bits | bit(index));
        Self { inventory, demand, gpu_bits }
    }

    fn is_gpu(&self, column: usize) -> bool {
        self.inventory.shape().is_gpu(column)
    }

    /// Requests of GPUs, by column.
    fn gpus(&self) -> impl Iterator<Item = &(usize, i64)> {
        self.demand.requests.iter().chain(&self.demand.selected).filter(|(column, _)| self.is_gpu(*column))
    }

    pub(super) fn requested_gpus(&self) -> i64 {
        self.gpus().map(|(_, amount)| *amount).fold(0, i64::saturating_add)
    }

    fn asks_for_gpus(&self) -> bool {
        let policy = self.inventory.shape().policy;
        self.requested_gpus() > 0 || self.demand.missing.iter().any(|name| policy.is_gpu(name))
    }

    /// Whether GPUs of that column count for the template: those it requests, or all if it requests none.
    fn counts(&self, column: usize) -> bool {
        match self.requested_gpus() {
            0 => self.inventory.shape().gpus.contains(&column),
            _ => self.gpus().any(|(requested, _)| *requested == column),
        }
    }

    pub(super) fn free_gpus(&self, sites: &Sites<'_>) -> i64 {
        let counted: Vec<_> = self.inventory.shape().all_gpus().filter(|column| self.counts(*column)).collect();
        let on = |row: usize| self.inventory.gpus_in(row, |column| counted.contains(&column));
        let sum = |rows: &mut dyn Iterator<Item = usize>| rows.map(on).fold(0, i64::saturating_add);
        if sites.narrowed || self.inventory.has_placed() {
            return sum(&mut sites.open().map(|site| site.row()));
        }
        // What the filter leaves open is open, and most templates share theirs.
        let judged = &self.demand.judged;
        let known = self.inventory.shape().open_gpus.lock();
        let mut known = known.unwrap_or_else(PoisonError::into_inner);
        let place = known.entry((Arc::as_ptr(judged).addr(), counted.clone()));
        place.or_insert_with(|| (Arc::clone(judged), sum(&mut judged.open.iter().copied()))).1
    }

    /// Rows that the template may use, with GPUs of the requested kinds which are there and not allocatable.
    pub(super) fn unhealthy(&self, sites: &Sites<'_>) -> impl Iterator<Item = (usize, i64)> {
        let unhealthy = self.inventory.shape().plugins.unhealthy(|column| self.demand.amount(column) > 0);
        unhealthy.filter(|(row, _)| sites.is_open(*row))
    }

    /// What is shared of the requested GPUs.
    pub(super) fn sharing(&self, sites: &Sites<'_>) -> Option<Sharing> {
        let free = |row, column| self.inventory.row(row).get(column).copied().unwrap_or(0);
        self.inventory.shape().plugins.sharing(|column| self.demand.amount(column) > 0, |row| sites.is_open(row), free)
    }

    /// The one factor. Nodes that would take a replica if they were empty and that are open decide, those that come
    /// closest first; if there is none, what closes the nodes that would have room.
    pub(super) fn limiting_factor(&self, sites: &Sites<'_>) -> LimitingFactor {
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
        counts: impl Fn(&Site<'_>) -> bool,
    ) -> LimitingFactor {
        let other = sites.classes.iter().filter(|class| class.is_open() && class.factor != LimitingFactor::Gpu);
        let nothing = if self.asks_for_gpus() { LimitingFactor::Gpu } else { LimitingFactor::PodCount };
        match most_frequent(other, count) {
            Some(factor) => factor,
            None if self.is_fragmented(|| sites.open().filter(&counts)) => LimitingFactor::Fragmentation,
            None => nothing,
        }
    }

    /// Whether what is left of each requested kind of GPU would be enough for one more, if it were on one node.
    fn is_fragmented<'s, I: Iterator<Item = Site<'s>>>(&self, open: impl Fn() -> I) -> bool {
        let left = |column: usize, amount: i64| {
            let on = |site: Site<'_>| {
                let free = self.inventory.row(site.row()).get(column).copied().unwrap_or(0);
                free.saturating_sub(amount.saturating_mul(i64::from(site.fits())))
            };
            open().map(on).fold(0, i64::saturating_add)
        };
        let mut gpus = self.gpus().peekable();
        gpus.peek().is_some() && gpus.all(|(column, amount)| left(*column, *amount) >= *amount)
    }

    pub(super) fn factor(&self, stop: &Stop<'_>) -> LimitingFactor {
        match stop {
            Stop::Filtered(Verdict::Unselected | Verdict::Undeclared(_)) => LimitingFactor::Affinity,
            Stop::Reserved => LimitingFactor::Priority,
            Stop::Filtered(Verdict::Elsewhere(_)) | Stop::Volumes => LimitingFactor::Volume,
            Stop::Filtered(Verdict::Unusable(_)) => LimitingFactor::Gpu,
            Stop::Filtered(Verdict::Obscured(_)) => LimitingFactor::Unmodelled,
            Stop::Filtered(_) => LimitingFactor::Taint,
            Stop::Ports => LimitingFactor::HostPort,
            Stop::Devices if self.demand.selected.iter().any(|(column, _)| self.is_gpu(*column)) => LimitingFactor::Gpu,
            Stop::Devices => LimitingFactor::OtherResource,
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

    pub(super) fn groups(&self, sites: &Sites<'_>) -> Vec<NodeGroupReport> {
        let name = |row: &usize| self.inventory.node_name(*row).map(str::to_owned);
        let mut unhealthy = vec![0_i64; sites.classes.len()];
        for (row, count) in self.unhealthy(sites) {
            if let Some(sum) = sites.class_of(row).and_then(|class| unhealthy.get_mut(class)) {
                *sum = sum.saturating_add(count);
            }
        }
        let group = |(class, unhealthy): (&Class<'_>, i64)| NodeGroupReport {
            nodes: class.nodes,
            fits: class.fits,
            names: class.sample.iter().filter_map(name).collect(),
            limiting_factor: class.factor,
            reason: match unhealthy {
                0 => self.describe(class),
                some => format!("{} ({some} GPUs there are not allocatable)", self.describe(class)),
            },
        };
        let mut groups: Vec<_> = sites.classes.iter().zip(unhealthy).map(group).collect();
        groups.sort_by(|a, b| (b.fits, b.nodes).cmp(&(a.fits, a.nodes)).then_with(|| a.reason.cmp(&b.reason)));
        groups
    }

    fn describe(&self, class: &Class<'_>) -> String {
        match &class.stop {
            Stop::Filtered(Verdict::Open) => String::new(),
            Stop::Filtered(Verdict::Cordoned) => "cordoned".to_owned(),
            Stop::Filtered(Verdict::Tainted(taint)) => format!("taint {taint} is not tolerated"),
            Stop::Filtered(Verdict::Unselected) => "node selector or required node affinity does not match".to_owned(),
            Stop::Filtered(Verdict::Undeclared(name)) => format!("its kubelet does not declare {name}"),
            Stop::Filtered(Verdict::NotReady) => "not ready, so not promised".to_owned(),
            Stop::Filtered(Verdict::Elsewhere(why) | Verdict::Unusable(why)) => why.clone(),
            Stop::Filtered(Verdict::Obscured(why)) => why.to_string(),
            Stop::Volumes => "no further volume can be attached or used there".to_owned(),
            Stop::Devices if self.demand.gives_up => {
                "devices cannot be searched for on some node that is open to it, or the scheduler gives up there"
                    .to_owned()
            }
            Stop::Devices => "the devices that are left do not meet the claims of one more".to_owned(),
            Stop::Ports => "a host port that each replica needs is taken".to_owned(),
            Stop::Between(LimitingFactor::TopologySpread) => "a topology spread constraint excludes it".to_owned(),
            Stop::Between(_) => "required pod affinity or anti-affinity excludes it".to_owned(),
            Stop::Reserved => "room is kept for nominated pods of at least this priority".to_owned(),
            Stop::Short(bits) => {
                let names = self.short_names(*bits).collect::<Vec<_>>().join(", ");
                let when = if class.is_too_small() { "one even when empty" } else { "one more" };
                format!("not enough {names} for {when}")
            }
            Stop::Missing => format!("no node offers {}", self.demand.missing.join(", ")),
        }
    }
}
