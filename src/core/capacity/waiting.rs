//! Pods of others that wait for a node: within moments the scheduler may bind them where replicas were counted.
//!
//! Which nodes it takes for them is its own affair (it scores, and draws lots), so no one placement is assumed: what
//! may be promised is what is left wherever they go. Whatever of them is not modelled can only keep them away.

use std::{collections::HashMap, sync::Arc};

use super::{
    Answer, Class, Fits, Inventory, Template,
    between::Seat,
    devices::Wants,
    filters::Verdict,
    inventory::{Demand, fitting},
    ports::{self, HostPort},
    volumes::Claims,
};
use crate::object::Pod;

/// What tells waiting pods apart: filters, requests, looks and terms, devices, ports, volumes.
type Kind = (Arc<str>, Vec<(String, i64)>, Arc<Seat>, Arc<Wants>, Arc<[HostPort]>, Arc<Claims>);

/// Waiting pods with equal filters and requests.
struct Rivals {
    demand: Demand,
    /// How many of them the nodes hold at most.
    count: u64,
}

impl Inventory<'_> {
    /// As [`Inventory::fits`], but room that waiting pods of others may take is not promised.
    ///
    /// Those that room is kept for are not among them, nor are those that the scheduler has found no room for and that
    /// have none as things are: it tries again when things change.
    #[must_use]
    pub fn fits_beside(&self, template: &Template, is_other: impl Fn(&Pod) -> bool) -> Answer {
        let mut answer = self.fits(template);
        if answer.fits.class == Class::Unknown {
            return answer;
        }
        let mut rooms = HashMap::new();
        let waiting = self.waiting().filter(|pod| may_be_bound(pod) && is_other(pod));
        let waiting = waiting.filter(|pod| !self.is_kept_for(pod, template));
        let waiting = waiting.filter(|pod| !is_refused(pod) || self.has_room(pod, &mut rooms));
        let waiting: Vec<_> = waiting.collect();
        let lo = u64::from(answer.fits.lo).saturating_sub(self.loss(template, &waiting));
        answer.fits = Fits::between(u32::try_from(lo).unwrap_or(answer.fits.lo), answer.fits.hi);
        answer
    }

    /// Whether the room that a pod is nominated to is kept from the template already.
    fn is_kept_for(&self, pod: &Pod, template: &Template) -> bool {
        let priority = pod.spec.priority.unwrap_or(0);
        self.row_named(&pod.status.nominated_node_name).is_some() && template.priority.is_none_or(|it| priority >= it)
    }

    /// Whether the scheduler would place a pod now; `known` is what has been found of pods like it.
    fn has_room(&self, pod: &Pod, known: &mut HashMap<Kind, bool>) -> bool {
        let template = Template::of_pod(pod, self.shape().view);
        let (key, requests) = (Arc::clone(&template.filter_key), template.requests.clone());
        let (seat, wants) = (Arc::clone(&template.seat), Arc::clone(&template.wants));
        let (ports, claims) = (Arc::clone(&template.ports), Arc::clone(&template.claims));
        *known.entry((key, requests, seat, wants, ports, claims)).or_insert_with(|| {
            let demand = self.shape().demand(&template);
            let has_columns = |row: &usize| fitting(self.row(*row), &demand) > 0;
            demand.judged.open.iter().any(has_columns) && self.fits(&template).fits.lo > 0
        })
    }

    /// The most replicas that the waiting pods can displace.
    fn loss(&self, template: &Template, waiting: &[&Pod]) -> u64 {
        if waiting.iter().any(|pod| self.is_entangled(template, pod)) {
            return u64::MAX;
        }
        let rivals = self.rivals(waiting);
        let demand = self.shape().demand(template);
        let mut largest = vec![0; rivals.len()];
        let mut at_stake = 0_u64;
        for &row in &demand.judged.open {
            let losses = self.losses(row, template, &demand, &rivals);
            if losses.iter().any(|loss| *loss > 0) {
                at_stake = at_stake.saturating_add(self.count(row, template, &demand).into());
            }
            for (largest, loss) in largest.iter_mut().zip(losses) {
                *largest = loss.max(*largest);
            }
        }
        // One replica less in one domain may mean one less in each.
        if largest.iter().any(|loss| *loss > 0) && !template.seat.terms.is_empty() {
            return u64::MAX;
        }
        let each = rivals.iter().zip(largest).map(|(rivals, loss): (_, u64)| rivals.count.saturating_mul(loss));
        each.fold(0, u64::saturating_add).min(at_stake)
    }

    /// Whether it matters beyond resources to which node a waiting pod goes.
    fn is_entangled(&self, template: &Template, pod: &Pod) -> bool {
        let view = self.shape().view;
        let other = Template::of_pod(pod, view);
        let repels = || other.seat.terms.anti_affinity.iter().any(|term| term.selects(template.seat.subject(), view));
        repels()
            || template.seat.terms.concern(other.seat.subject(), &template.namespace, view)
            || ports::conflict(&template.ports, &other.ports)
            || template.claims.contend(&pod.metadata.namespace, &pod.spec)
            || self.contend_for_devices(template, &other)
    }

    fn rivals(&self, waiting: &[&Pod]) -> Vec<Rivals> {
        let mut counts: HashMap<_, (Template, u64)> = HashMap::new();
        for pod in waiting {
            let template = Template::of_pod(pod, self.shape().view);
            let key = (template.filter_key.clone(), template.requests.clone(), template.wants.clone());
            counts.entry(key).or_insert((template, 0)).1 += 1;
        }
        let rivals = counts.into_values().map(|(template, count)| {
            let demand = self.shape().demand(&template);
            let held =
                self.rows().filter(|row| admits(&demand, *row)).map(|row| fitting(self.row(row), &demand).into());
            Rivals { count: count.min(held.fold(0, u64::saturating_add)), demand }
        });
        rivals.filter(|rivals| rivals.count > 0).collect()
    }

    /// The most replicas that one of each rivals can displace on a node, so that no sum of them is too small: what
    /// they take of a resource does not count if all of them together leave enough, and else it is rounded up.
    fn losses(&self, row: usize, template: &Template, demand: &Demand, rivals: &[Rivals]) -> Vec<u64> {
        let free = self.beside_nominated(row, template);
        let fits = i64::from(fitting(&free, demand));
        let comes = |rivals: &&Rivals| admits(&rivals.demand, row) && fitting(self.row(row), &rivals.demand) > 0;
        let takes = |rivals: &Rivals, column: usize| {
            let requests = rivals.demand.requests.iter();
            requests.filter(|(wanted, _)| *wanted == column).map(|(_, amount)| *amount).fold(0, i64::saturating_add)
        };
        let is_scarce = |column: usize, amount: i64| {
            let all = rivals
                .iter()
                .filter(comes)
                .map(|rivals| takes(rivals, column).saturating_mul(i64::try_from(rivals.count).unwrap_or(i64::MAX)));
            let free = free.get(column).copied().unwrap_or(0);
            all.fold(0, i64::saturating_add) > free.saturating_sub(amount.saturating_mul(fits))
        };
        let scarce: Vec<_> = demand.requests.iter().filter(|(column, amount)| is_scarce(*column, *amount)).collect();
        let loss = |rivals: &Rivals| {
            let each = scarce
                .iter()
                .map(|(column, amount)| takes(rivals, *column).unsigned_abs().div_ceil(amount.unsigned_abs()));
            if fits > 0 && comes(&rivals) { each.max().unwrap_or(0) } else { 0 }
        };
        rivals.iter().map(loss).collect()
    }
}

/// Whether the scheduler may bind the pod as things are.
fn may_be_bound(pod: &Pod) -> bool {
    let spec = &pod.spec;
    let waits = pod.node_name.is_empty() && spec.scheduling_gates.is_empty();
    let is_ours = matches!(spec.scheduler_name.as_str(), "" | "default-scheduler");
    waits && is_ours && !pod.is_terminal() && !pod.is_terminating()
}

/// Whether the scheduler has found no room for the pod.
fn is_refused(pod: &Pod) -> bool {
    pod.condition("PodScheduled").is_some_and(|it| it.status == "False" && it.reason == "Unschedulable")
}

fn admits(demand: &Demand, row: usize) -> bool {
    demand.judged.verdicts.get(row).is_some_and(Verdict::may_bind)
}
