//! From free rows to an answer: how many, on which nodes, and what would have to change for one more.

use super::{
    Answer, Fits, Inventory, LimitingFactor, Reason, Template, between::State, filters::Verdict, inventory::Demand,
};
use judge::Judge;
use sites::{Sites, sites};

mod judge;
mod sites;

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
    let together = Together::of(&states, &sites, room).limited(template);
    let is_led_astray = || {
        let astray = |row: usize| {
            let verdict = demand.judged.verdicts.get(row);
            verdict.is_some_and(|it| *it != Verdict::Open && it.may_bind())
                && inventory.count(row, template, &demand) > 0
        };
        states.iter().any(State::depends_on_order) && inventory.rows().any(astray)
    };
    let lo = if together.lo > 1 && is_led_astray() { 1 } else { together.lo };
    let plugins = &inventory.shape().plugins;
    let is_bounded = !template.delegates
        && !template.claims.is_partial()
        && !plugins.withholds(&demand)
        && inventory.shape().view.unreadable("nodes", "").is_none()
        && is_searched_out(inventory, template, &demand);
    let free_gpus = judge.free_gpus(&sites);
    let request = judge.requested_gpus();
    let stranded_gpus = if request == 0 { 0 } else { free_gpus - request.saturating_mul(i64::from(lo)) };
    Answer {
        fits: Fits::between(lo, is_bounded.then(|| most(inventory, template, &demand, together.hi))),
        limiting_factor: together.factor.unwrap_or_else(|| judge.limiting_factor(&sites)),
        groups: judge.groups(&sites),
        free_gpus,
        stranded_gpus: stranded_gpus.max(0),
        unhealthy_gpus: judge.unhealthy(&sites).map(|(_, count)| count).fold(0, i64::saturating_add),
        sharing: judge.sharing(&sites),
        cautions: plugins.caution(&demand, &inventory.shape().columns, &template.filter.several).into_iter().collect(),
        constraint: together.words,
        quota: None,
        unmodelled: Vec::new(),
    }
}

/// Whether the search for devices says how many find theirs at most: it does not know what eviction would free.
fn is_searched_out(inventory: &Inventory<'_>, template: &Template, demand: &Demand) -> bool {
    !demand.gives_up && (demand.searched.is_none() || !inventory.may_evict(template))
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
    fn of(states: &[State], sites: &Sites<'_>, room: u32) -> Self {
        let rooms = || sites.iter().filter(|site| site.fits() > 0).map(|site| (site.row(), site.fits()));
        let ranges: Vec<_> = states.iter().map(|state| state.range(rooms())).collect();
        let count = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        let lo = ranges.iter().map(|range| count(range.lo)).min().unwrap_or(room);
        let hi = ranges.iter().map(|range| count(range.hi)).max().unwrap_or(room);
        let least = states.iter().zip(&ranges).min_by_key(|(_, range)| range.lo).filter(|_| lo < room);
        let factor = least.map(|(state, range)| state.limiting(rooms(), *range));
        let words = least.map(|(state, _)| state.describe(rooms()));
        Self { lo, hi, factor, words }
    }

    /// The same under what one more pod alone can use.
    fn limited(self, template: &Template) -> Self {
        let hi = self.hi.min(template.claims.most());
        let of_volume = template.claims.limit().map(|(limit, words)| (limit, LimitingFactor::Volume, words));
        let of_devices = template.wants.shared.iter().map(|(claim, limit)| {
            (
                *limit,
                LimitingFactor::OtherResource,
                format!("ResourceClaim {claim} is reserved for so many pods at most"),
            )
        });
        let hi = hi.min(of_devices.clone().map(|(limit, ..)| limit).min().unwrap_or(u32::MAX));
        match of_devices.chain(of_volume).min_by_key(|(limit, ..)| *limit) {
            Some((limit, factor, words)) if self.lo > limit => {
                Self { lo: limit, hi, factor: Some(factor), words: Some(words) }
            }
            _ => Self { hi, ..self },
        }
    }
}

/// The most that the scheduler could bind: with all lower priorities evicted, and on nodes that are not ready but
/// do not repel.
fn most(inventory: &Inventory<'_>, template: &Template, demand: &Demand, lo: u32) -> u32 {
    let evicted = template.preempts.then(|| inventory.after_preemption(template)).flatten();
    let unready = demand.judged.verdicts.iter().any(|verdict| *verdict != Verdict::Open && verdict.may_bind());
    if evicted.is_none() && !unready {
        return lo;
    }
    let usable = |row: &usize| demand.judged.verdicts.get(*row).is_some_and(Verdict::may_bind);
    let count = |row: usize| match &evicted {
        Some(evicted) => evicted.count_at_most(row, template, demand),
        None => inventory.count(row, template, demand),
    };
    let most = if evicted.is_some() { inventory.volumes_at_most(template) } else { template.claims.most() };
    inventory.rows().filter(usable).map(count).fold(0, u32::saturating_add).min(most).max(lo)
}
