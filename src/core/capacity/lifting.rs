//! The smallest change that lets one more replica be promised, checked by making it in the model.
//!
//! ```text
//!  what quotas lack ──┐  (alone, where room is left)
//!                     ├─ with one of: uncordon a node, move one pod to another node, add a node (or as many as a
//!                     │               replica has pods)
//!                     └─> tried on the model, from the cheapest to the dearest for whoever runs the cluster
//! ```
//!
//! The first that raises what may be promised is the answer; if none does, there is no answer, and no guess either. A pod
//! that is moved must have a place: one that is only taken away would come back and want its own again.

use std::collections::VecDeque;

use serde::Serialize;

use super::{
    Answer, Class, Edit, Inventory, Model, Replica, Template,
    quota::{Limit, Shortage},
};
use crate::{
    cluster::{Started, View},
    object::{Group, ObjectKey, Pod, PodTemplate},
};

mod candidates;

/// A change that was tried and helps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Lift {
    /// In words.
    pub change: String,
    /// All that is to be done.
    pub edits: Vec<Edit>,
    /// How many more replicas may be promised after it.
    pub gain: u32,
}

/// The question: whose replicas.
#[derive(Clone, Copy, Debug)]
pub struct Limited<'a> {
    /// Namespace of the workload.
    pub namespace: &'a str,
    /// Its pod template.
    pub template: &'a PodTemplate,
    /// The rest of a replica that is a group of pods.
    pub group: Option<&'a Group>,
    /// Its groups that are not whole.
    pub started: &'a [Started],
    /// Its replicas that wait for a node.
    pub pending: u32,
}

/// A search under way. One step tries one change, so that whoever searches may do something else in between.
#[derive(Debug)]
pub struct Search {
    tries: VecDeque<Try>,
    quota: Vec<Shortage>,
    /// What may be promised as things are.
    before: u32,
}

/// How far a search is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// There are further changes to try.
    Further,
    /// This one helps.
    Found(Lift),
    /// None that was tried helps.
    Exhausted,
}

#[derive(Debug)]
enum Try {
    /// Beside what is done to quotas.
    Make(Vec<Edit>),
    /// Move a pod to wherever else it fits.
    Move(ObjectKey),
}

/// Searches to the end.
pub fn smallest(mut model: Model<'_>, limited: Limited<'_>, is_own: impl Fn(&Pod) -> bool) -> Option<Lift> {
    let mut search = Search::begin(&mut model, limited, &is_own);
    loop {
        match search.step(&mut model, limited, &is_own) {
            Step::Further => {}
            Step::Found(lift) => return Some(lift),
            Step::Exhausted => return None,
        }
    }
}

// === impl Search ===

impl Search {
    /// Looks at what limits, and collects what to try.
    pub fn begin(model: &mut Model<'_>, limited: Limited<'_>, is_own: &dyn Fn(&Pod) -> bool) -> Self {
        let begun = model.tried(&[], |view, inventory| {
            let replica = limited.replica(view);
            let (answer, before) = limited.answer(view, inventory, is_own);
            let nothing = Self { tries: VecDeque::new(), quota: Vec::new(), before };
            if answer.fits.class == Class::Unknown {
                return nothing;
            }
            let Some(quota) = shortage(&answer, &replica, inventory, limited.pending) else { return nothing };
            let tries = if answer.fits.lo > before {
                vec![Try::Make(Vec::new())]
            } else {
                candidates::all(view, inventory, &replica, is_own)
            };
            Self { tries: tries.into(), quota, before }
        });
        begun.unwrap_or(Self { tries: VecDeque::new(), quota: Vec::new(), before: 0 })
    }

    /// Tries the next change.
    pub fn step(&mut self, model: &mut Model<'_>, limited: Limited<'_>, is_own: &dyn Fn(&Pod) -> bool) -> Step {
        let edits = match self.tries.pop_front() {
            None => return Step::Exhausted,
            Some(Try::Make(edits)) => Some(edits),
            Some(Try::Move(pod)) => elsewhere(model, &pod).map(|edit| vec![edit]),
        };
        let found = edits.and_then(|edits| self.tried(edits, model, limited, is_own));
        match found {
            Some(lift) => Step::Found(lift),
            None if self.tries.is_empty() => Step::Exhausted,
            None => Step::Further,
        }
    }

    fn tried(
        &self,
        room: Vec<Edit>,
        model: &mut Model<'_>,
        limited: Limited<'_>,
        is_own: &dyn Fn(&Pod) -> bool,
    ) -> Option<Lift> {
        let words = self.quota.iter().map(Shortage::to_string).chain(room.iter().map(Edit::to_string));
        let change = words.collect::<Vec<_>>().join(", and ");
        let edits: Vec<_> = self.quota.iter().map(Shortage::edit).chain(room).collect();
        let after = model.tried(&edits, |view, inventory| limited.answer(view, inventory, is_own).1);
        let gain = after.ok()?.saturating_sub(self.before);
        (gain > 0).then_some(Lift { change, edits, gain })
    }
}

/// What quotas lack for one more replica, where they are among what limits; none where they limit in a way that raising
/// them does not change.
fn shortage(answer: &Answer, replica: &Replica, inventory: &Inventory<'_>, pending: u32) -> Option<Vec<Shortage>> {
    let Some(room) = answer.quota.as_ref().filter(|room| pending.saturating_add(room.pods) <= answer.fits.lo) else {
        return Some(Vec::new());
    };
    let short = inventory.quota_shortage(replica, room.pods.saturating_add(1))?;
    (!short.is_empty()).then_some(short)
}

/// The move of a pod to another node that takes it.
fn elsewhere(model: &mut Model<'_>, key: &ObjectKey) -> Option<Edit> {
    let pod = model.view.pods.get(key)?;
    let away = [Edit::DeletePod { pod: key.clone() }, Edit::Cordon { node: pod.node_name.to_string() }];
    let pod = pod.clone();
    let to = model.tried(&away, |view, inventory| {
        let mut scratch = inventory.clone();
        let row = scratch.place(&Template::of_pod(&pod, view))?;
        inventory.node_name(row).map(str::to_owned)
    });
    let to = to.ok().flatten().filter(|to| **to != *pod.node_name)?;
    Some(Edit::MovePod { pod: key.clone(), to })
}

// === impl Limited ===

impl Limited<'_> {
    fn replica(&self, view: &View) -> Replica {
        Replica::of(self.template, self.group, self.namespace, view, self.started.to_vec())
    }

    /// What fits now, and what may be promised of it.
    fn answer(&self, view: &View, inventory: &Inventory<'_>, is_own: &dyn Fn(&Pod) -> bool) -> (Answer, u32) {
        let answer = inventory.fits_replica_beside(&self.replica(view), |pod| !is_own(pod));
        let further = answer.further(self.pending);
        (answer, further)
    }
}

// === impl Shortage ===

impl Shortage {
    fn edit(&self) -> Edit {
        let (resource, amount) = (self.resource.clone(), self.hard + self.short);
        match &self.by {
            Limit::Quota(quota) => Edit::Quota { quota: quota.clone(), resource, hard: amount },
            Limit::Flavor { queue, flavor } => {
                Edit::QueueQuota { queue: queue.clone(), flavor: flavor.clone(), resource, nominal: amount }
            }
        }
    }
}

impl std::fmt::Display for Shortage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { by, resource, short, hard } = self;
        write!(f, "allow {short} more of {resource} in ")?;
        match by {
            Limit::Quota(quota) => write!(f, "ResourceQuota {quota}")?,
            Limit::Flavor { queue, flavor } => write!(f, "flavor {flavor} of ClusterQueue {queue}")?,
        }
        write!(f, ", {} in all", *hard + *short)
    }
}
