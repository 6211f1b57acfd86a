//! Pods of others that wait for a node: within moments the scheduler may bind them where replicas were counted.
//!
//! Whatever of them is not modelled can only keep them away.

use std::collections::HashMap;

use super::{
    Answer, Class, Fits, Inventory, Template,
    inventory::fitting,
    rivals::{Kind, Rivals, kind},
};
use crate::object::Pod;

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
        let waiting = waiting.map(|pod| (pod, Template::of_pod(pod, self.shape().view)));
        let waiting = waiting.filter(|(pod, it)| !is_refused(pod) || self.has_room(it, &mut rooms));
        let rivals = Rivals::of(self, Rivals::gathered(waiting.map(|(_, template)| (template, 1))));
        let loss = self.displacement(template, &rivals, |_| true).loss(rivals.counts());
        let lo = u64::from(answer.fits.lo).saturating_sub(loss);
        answer.fits = Fits::between(u32::try_from(lo).unwrap_or(answer.fits.lo), answer.fits.hi);
        answer
    }

    /// Whether the room that a pod is nominated to is kept from the template already.
    fn is_kept_for(&self, pod: &Pod, template: &Template) -> bool {
        let priority = pod.spec.priority.unwrap_or(0);
        self.row_named(&pod.status.nominated_node_name).is_some() && template.priority.is_none_or(|it| priority >= it)
    }

    /// Whether the scheduler would place a pod of the template now; `known` is what has been found of pods like it.
    fn has_room(&self, template: &Template, known: &mut HashMap<Kind, bool>) -> bool {
        *known.entry(kind(template)).or_insert_with(|| {
            let demand = self.shape().demand(template);
            let has_columns = |row: &usize| fitting(self.row(*row), &demand) > 0;
            demand.judged.open.iter().any(has_columns) && self.fits(template).fits.lo > 0
        })
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
