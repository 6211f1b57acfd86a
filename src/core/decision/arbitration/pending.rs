//! Pods that wait for a node: whoever they are of, the scheduler comes to them before anything that is only promised.

use std::{cmp::Reverse, collections::HashMap};

use super::{Share, Table};
use crate::{
    capacity::{Class, Template},
    cluster::{Census, View},
    object::{Pod, group::group_index},
};

/// Pods that wait for a node and may get one, in the scheduler's order.
pub(super) fn queue<'v>(waiting: impl Iterator<Item = &'v Pod>) -> Vec<&'v Pod> {
    let mut pods: Vec<_> =
        waiting.filter(|pod| !pod.is_terminating() && pod.spec.scheduling_gates.is_empty()).collect();
    pods.sort_by_key(|pod| (Reverse(pod.spec.priority.unwrap_or(0)), pod.metadata.creation_timestamp));
    pods
}

impl Table<'_> {
    /// Places the pods that wait for a node as the scheduler would: by priority, then by age.
    pub(super) fn seat_pending(
        &mut self,
        view: &View,
        waiting: Vec<&Pod>,
        census: &Census<'_>,
        shares: &mut [Share<'_, '_>],
    ) {
        let mut full: HashMap<_, Option<Template>> = HashMap::new();
        let mut whole = HashMap::new();
        for pod in waiting {
            let template = (&pod.metadata.namespace, pod.metadata.controller().map(|owner| &owner.uid));
            let is_untried = pod.unschedulable_since().is_none();
            let workload = census.owner(pod);
            let index = workload.and_then(|key| shares.binary_search_by(|share| share.key.cmp(key)).ok());
            let share = index.and_then(|index| shares.get_mut(index));
            let share = share.filter(|share| share.alone.fits.class != Class::Unknown);
            if let Some(like) = full.get(&template).filter(|_| template.1.is_some()) {
                match share {
                    Some(share) => share.refused += i32::from(!is_untried),
                    None => self.others.extend(like.clone().filter(|_| is_untried).map(|like| (like, 1))),
                }
                continue;
            }
            let seated = if let Some(share) = share {
                let given = match share.group(pod) {
                    None => self.give(share),
                    // The first pod of a group stands for all. The scheduler knows of no group: where one cannot be
                    // whole, its pods take room all the same.
                    Some(group) => {
                        let given = *whole.entry((index, group)).or_insert_with(|| self.give(share));
                        given || self.seat(pod, view).0
                    }
                };
                share.refused += i32::from(!given && !is_untried);
                (given, None)
            } else {
                let (seated, like) = self.seat(pod, view);
                (seated, Some(like))
            };
            if let (false, like) = seated {
                full.insert(template, like);
            }
        }
    }

    /// Places a pod of nobody; returns whether it could, and its template. What is not modelled may be bound all the
    /// same, unless the scheduler has said no.
    fn seat(&mut self, pod: &Pod, view: &View) -> (bool, Template) {
        let template = Template::of_pod(pod, view);
        let is_untried = pod.unschedulable_since().is_none();
        let may_be_bound = self.scratch.is_modelled(&template) || is_untried;
        let seated = may_be_bound && self.scratch.place(&template).is_some();
        if seated || is_untried {
            self.others.push((template.clone(), 1));
        }
        (seated, template)
    }
}

// === impl Share ===

impl Share<'_, '_> {
    /// The group that a pod of the workload is of, where replicas are groups.
    fn group<'p>(&self, pod: &'p Pod) -> Option<&'p str> {
        self.applicant.replica.as_ref().filter(|replica| replica.is_group())?;
        group_index(pod)
    }
}
