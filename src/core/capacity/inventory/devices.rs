//! What replicas that were placed leave of devices, beyond what columns say.

use std::collections::BTreeMap;

use super::{Demand, Inventory, Seated, fitting_in};
use crate::capacity::{Template, devices::Levy};

impl Inventory<'_> {
    /// Replicas that find their devices on a row, beyond what its columns say. Who was promised a place there before, and
    /// wants other devices, must find them even if these are bound first.
    pub(in crate::capacity) fn devices(&self, row: usize, template: &Template, demand: &Demand) -> u32 {
        let wants = &template.wants;
        let shared = wants.shared.iter().map(|(claim, left)| {
            let uses = |seated: &&Seated| seated.wants.shared.iter().any(|(key, _)| key == claim);
            left.saturating_sub(number(self.seated.iter().filter(uses).count()))
        });
        let shared = shared.min().unwrap_or(u32::MAX);
        if wants.is_empty() || demand.gives_up {
            return if demand.gives_up { 0 } else { shared };
        }
        let takers = self.takers.get(&row).map_or(&[][..], Vec::as_slice);
        let others = || takers.iter().filter(|it| *it != wants && self.shape.devices.takes(row, it));
        let Some(searched) = &demand.searched else {
            let beside = if others().next().is_none() {
                u32::MAX
            } else if others().any(|other| other.search.is_some()) {
                0
            } else {
                self.owing(row, demand)
            };
            return beside.min(shared);
        };
        match searched.count(row) {
            u32::MAX => shared,
            _ if others().next().is_some() => 0,
            count => count.saturating_sub(number(takers.iter().filter(|it| *it == wants).count())).min(shared),
        }
    }

    /// Replicas that leave enough of all that their devices may also have been counted in.
    fn owing(&self, row: usize, demand: &Demand) -> u32 {
        let levied = demand.levies.iter().filter_map(|levy| self.shape.devices.levied(row, levy));
        let mut amounts: BTreeMap<usize, i64> = BTreeMap::new();
        for (column, amount) in levied {
            let sum = amounts.entry(column).or_default();
            *sum = sum.saturating_add(amount);
        }
        let owed: Vec<_> = amounts.into_iter().collect();
        if owed.is_empty() { u32::MAX } else { fitting_in(self.row(row), &owed) }
    }

    /// Whether other pods may take devices from a template in a way that columns which both ask for do not show.
    pub(in crate::capacity) fn contend_for_devices(&self, template: &Template, other: &Template) -> bool {
        if template.wants.is_empty() {
            return false;
        }
        let unclear = !other.knows_devices();
        let searched = template.wants.search.is_some() || other.wants.search.is_some();
        if unclear || other.wants.is_empty() || searched {
            return unclear || (searched && !other.wants.is_empty());
        }
        let (one, another) = (self.shape.demand(template), self.shape.demand(other));
        let touches = |one: &Demand, another: &Demand| {
            let asks = |levy: &Levy| another.requests.iter().any(|(column, _)| levy.is_of(*column));
            one.levies.iter().any(asks)
        };
        touches(&one, &another) || touches(&another, &one)
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
