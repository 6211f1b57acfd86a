//! Pods that will be placed nobody knows where, and what they can take away from the room for a template.
//!
//! Which nodes the scheduler takes for them is its own affair (it scores, and draws lots), so no one placement is
//! assumed: what may be promised is what is left wherever they go. On a node with `free` of a resource, rivals that ask
//! for `r` each leave `floor((free - sum r) / request) >= floor(free / request) - sum of ceil(r / request)`; and nothing
//! is lost by a resource of which every node keeps enough for all rivals together.

use std::{collections::HashMap, sync::Arc};

use fixedbitset::FixedBitSet;

use super::{
    Inventory, Template,
    between::Seat,
    devices::Wants,
    filters::Verdict,
    inventory::{Demand, fitting},
    ports::{self, HostPort},
    volumes::Claims,
};

/// What tells pods that wait apart: filters, requests, looks and terms, devices, ports, volumes.
pub(super) type Kind = (Arc<str>, Vec<(String, i64)>, Arc<Seat>, Arc<Wants>, Arc<[HostPort]>, Arc<Claims>);

/// Pods that are to be placed, by kind.
#[derive(Debug, Default)]
pub struct Rivals(Vec<Rival>);

#[derive(Debug)]
struct Rival {
    template: Template,
    demand: Demand,
    /// Rows that take one of them.
    rows: FixedBitSet,
    /// How many the nodes hold at most.
    count: u64,
}

/// What each rival can take away from the room for a template.
#[derive(Clone, Debug, Default)]
pub struct Displacement {
    /// Replicas that one pod displaces at most, by rival. All of them are in doubt where it is `u64::MAX`.
    pub each: Vec<u64>,
    /// The most that all rivals displace together.
    pub at_stake: u64,
}

/// The room for a template.
struct Room {
    /// Rows that take replicas, and how many.
    rows: Vec<(usize, u32)>,
    set: FixedBitSet,
    /// By request, the least that any of these rows keeps beside its replicas.
    spare: Vec<i64>,
}

/// What tells the pods of a template from others.
pub(super) fn kind(template: &Template) -> Kind {
    let (key, requests) = (Arc::clone(&template.filter_key), template.requests.clone());
    let (seat, wants) = (Arc::clone(&template.seat), Arc::clone(&template.wants));
    (key, requests, seat, wants, Arc::clone(&template.ports), Arc::clone(&template.claims))
}

// === impl Rivals ===

impl Rivals {
    /// Pods of these templates, that many of each.
    pub fn of(inventory: &Inventory<'_>, templates: impl IntoIterator<Item = (Template, u64)>) -> Self {
        let rival = |(template, count): (Template, u64)| {
            let demand = inventory.shape().demand(&template);
            let mut rows = FixedBitSet::with_capacity(inventory.rows().len());
            let mut held = 0_u64;
            // Nobody knows what it would evict.
            let evicts = inventory.may_evict(&template);
            for row in inventory.rows().filter(|row| demand.judged.verdicts.get(*row).is_some_and(Verdict::may_bind)) {
                let fits = fitting(inventory.row(row), &demand).min(inventory.ports(row, &template));
                let fits = if evicts { u32::MAX } else { fits };
                held = held.saturating_add(fits.into());
                rows.set(row, fits > 0);
            }
            Rival { template, demand, rows, count: count.min(held) }
        };
        Self(templates.into_iter().map(rival).collect())
    }

    /// Templates that are told apart, with all pods of each.
    #[must_use]
    pub fn gathered(templates: impl IntoIterator<Item = (Template, u64)>) -> Vec<(Template, u64)> {
        let mut counts: HashMap<Kind, (Template, u64)> = HashMap::new();
        for (template, count) in templates {
            let gathered = &mut counts.entry(kind(&template)).or_insert((template, 0)).1;
            *gathered = gathered.saturating_add(count);
        }
        counts.into_values().collect()
    }

    /// How many of each there are.
    pub fn counts(&self) -> impl Iterator<Item = u64> {
        self.0.iter().map(|rival| rival.count)
    }
}

// === impl Displacement ===

impl Displacement {
    /// The most replicas that so many of each rival displace.
    #[must_use]
    pub fn loss(&self, counts: impl IntoIterator<Item = u64>) -> u64 {
        let losses = self.each.iter().zip(counts).map(|(each, count)| each.saturating_mul(count));
        losses.fold(0, u64::saturating_add).min(self.at_stake)
    }
}

// === impl Room ===

impl Room {
    fn of(inventory: &Inventory<'_>, template: &Template, demand: &Demand) -> Self {
        let mut set = FixedBitSet::with_capacity(inventory.rows().len());
        let mut spare = vec![i64::MAX; demand.requests.len()];
        let mut rows = Vec::new();
        for &row in &demand.judged.open {
            let count = inventory.count(row, template, demand);
            if count > 0 {
                set.insert(row);
                rows.push((row, count));
                let free = inventory.free_for(row, template);
                for (spare, request) in spare.iter_mut().zip(&demand.requests) {
                    *spare = left(&free, *request, count).min(*spare);
                }
            }
        }
        Self { rows, set, spare }
    }
}

/// What a row keeps of a resource beside so many replicas.
fn left(free: &[i64], (column, amount): (usize, i64), count: u32) -> i64 {
    free.get(column).map_or(0, |free| free.saturating_sub(amount.saturating_mul(count.into())))
}

// === impl Inventory ===

impl Inventory<'_> {
    /// What rivals can take away from the room for a template, if there are as many of them as it was said, and those
    /// that `is_rival` does not name by their position are none.
    #[must_use]
    pub fn displacement(&self, template: &Template, rivals: &Rivals, is_rival: impl Fn(usize) -> bool) -> Displacement {
        let demand = self.shape().demand(template);
        let room = Room::of(self, template, &demand);
        let meets = |(index, rival): (usize, &Rival)| is_rival(index) && !rival.rows.is_disjoint(&room.set);
        let met: Vec<_> = rivals.0.iter().enumerate().filter(|it| meets(*it)).map(|(_, rival)| rival).collect();
        let wanted = |column: usize| {
            let amounts = met.iter().map(|rival| rival.demand.amount(column).saturating_mul(number(rival.count)));
            amounts.fold(0, i64::saturating_add)
        };
        let requests = demand.requests.iter().zip(&room.spare).map(|(request, spare)| (*request, *spare));
        let scarce = requests.map(|(request, spare)| (request, wanted(request.0), spare));
        let scarce: Vec<_> = scarce.filter(|(_, wanted, spare)| wanted > spare).collect();
        let each = |it: (usize, &Rival)| {
            if is_rival(it.0) && self.is_entangled(template, &it.1.template, meets(it)) {
                return u64::MAX;
            }
            let takes = |((column, amount), ..): &((usize, i64), i64, i64)| {
                it.1.demand.amount(*column).unsigned_abs().div_ceil(amount.unsigned_abs().max(1))
            };
            let most = if meets(it) { scarce.iter().map(takes).max().unwrap_or(0) } else { 0 };
            // One replica less in one domain may mean one less in each.
            if most > 0 && !template.seat.terms.is_empty() { u64::MAX } else { most }
        };
        let each: Vec<_> = rivals.0.iter().enumerate().map(each).collect();
        if each.contains(&u64::MAX) {
            return Displacement { each, at_stake: u64::MAX };
        }
        let is_short = |row: usize, count: u32| {
            let free = self.free_for(row, template);
            scarce.iter().any(|(request, wanted, _)| *wanted > left(&free, *request, count))
        };
        let comes = |row: usize| met.iter().any(|rival| rival.rows.contains(row));
        let at_stake = room.rows.iter().filter(|(row, count)| is_short(*row, *count) && comes(*row));
        let at_stake = at_stake.map(|(_, count)| u64::from(*count)).fold(0, u64::saturating_add);
        Displacement { each, at_stake }
    }

    /// Whether it matters beyond resources to which node pods of another template go; `meets` says whether they may come to
    /// nodes that are counted.
    fn is_entangled(&self, template: &Template, other: &Template, meets: bool) -> bool {
        let view = self.shape().view;
        let repels = || other.seat.terms.anti_affinity.iter().any(|term| term.selects(template.seat.subject(), view));
        repels()
            || template.seat.terms.concern(other.seat.subject(), &template.namespace, view)
            || (meets && ports::conflict(&template.ports, &other.ports))
            || template.claims.contend(&other.namespace, &other.placement)
            || self.contend_for_devices(template, other)
    }
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
