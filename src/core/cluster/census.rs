//! The pods of several workloads, found in one pass over the pods of a namespace, once somebody asks for any of them.
//!
//! It is made once per evaluation and shared by everything that asks for the pods of workloads.

use std::{
    cell::OnceCell,
    collections::{BTreeMap, HashMap},
};

use super::{Basis, Groups, Learnt, View};
use crate::{
    object::{
        Labels, ObjectKey, Pod, ScaleTarget, WorkloadKey, group,
        owner::{is_numbered, may_own, ordinal},
    },
    selector::Selector,
};

/// The pods of the workloads that were asked for and are known.
#[derive(Debug)]
pub struct Census<'v> {
    view: &'v View,
    spaces: BTreeMap<&'v str, Space<'v>>,
}

/// The workloads of one namespace.
#[derive(Debug, Default)]
struct Space<'v> {
    /// Sorted by key.
    workloads: Vec<(&'v WorkloadKey, &'v ScaleTarget)>,
    index: Index<'v>,
    /// The pods of each workload, once anybody has asked for those of one.
    rows: OnceCell<Vec<Row<'v>>>,
}

#[derive(Debug, Default)]
struct Row<'v> {
    /// In the order of the keys.
    pods: Vec<(&'v ObjectKey, &'v Pod)>,
    /// Where replicas are groups: all pods of them, most of which the selector does not match.
    members: Vec<(&'v ObjectKey, &'v Pod)>,
}

/// Where the workloads are that a pod may be of. Selectors are found by one label that they require, so that a pod is
/// compared with few of them.
#[derive(Debug, Default)]
struct Index<'v> {
    labelled: HashMap<(&'v str, &'v str), Vec<usize>>,
    others: Vec<usize>,
    groups: HashMap<&'v str, usize>,
}

/// Whether a pod is of a workload, as [`Census::own`] has it: by selector and owner, or as a member of its groups.
#[must_use]
pub fn is_own(workload: &WorkloadKey, selector: &Selector, has_groups: bool, pod: &Pod) -> bool {
    let labels = &pod.metadata.labels;
    pod.metadata.namespace == workload.namespace
        && if has_groups {
            labels.get(group::SET_NAME) == Some(workload.name.as_str())
        } else {
            !selector.is_empty() && selector.matches(labels) && may_own(workload, pod)
        }
}

// === impl Census ===

impl<'v> Census<'v> {
    /// Finds the pods of workloads; those that the view does not know are left out.
    pub fn of<'w>(view: &'v View, workloads: impl IntoIterator<Item = &'w WorkloadKey>) -> Self {
        let known = workloads.into_iter().filter_map(|key| view.workloads.get_key_value(key));
        let known: BTreeMap<_, _> = known.collect();
        let mut spaces: BTreeMap<&str, Space<'v>> = BTreeMap::new();
        for (key, target) in known {
            spaces.entry(&key.namespace).or_default().add(key, target);
        }
        Self { view, spaces }
    }

    /// The workloads, with what is known of their scale.
    pub fn workloads(&self) -> impl Iterator<Item = (&'v WorkloadKey, &'v ScaleTarget)> {
        self.spaces.values().flat_map(|space| space.workloads.iter().copied())
    }

    /// The pods that a workload's selector matches: those that the HPA controller counts.
    #[must_use]
    pub fn matching(&self, workload: &WorkloadKey) -> &[(&'v ObjectKey, &'v Pod)] {
        self.row(workload).map_or(&[], |row| &row.pods)
    }

    /// The pods that belong to a workload: by selector and owner, or as members of its groups.
    pub fn own<'c>(&'c self, workload: &'c WorkloadKey) -> impl Iterator<Item = (&'v ObjectKey, &'v Pod)> + 'c {
        let row = self.row(workload);
        let members = row.filter(|_| self.group(workload).is_some()).map(|row| &row.members);
        let own = self.matching(workload).iter().filter(move |(_, pod)| members.is_none() && may_own(workload, pod));
        members.into_iter().flatten().chain(own).copied()
    }

    /// The workload that a pod belongs to.
    #[must_use]
    pub fn owner(&self, pod: &Pod) -> Option<&'v WorkloadKey> {
        let space = self.spaces.get(pod.metadata.namespace.as_str())?;
        let labels = &pod.metadata.labels;
        let selecting = space.selecting(labels).filter(|(_, target)| target.group.is_none());
        let own = selecting.filter(|(workload, _)| may_own(workload, pod));
        own.chain(space.member_of(labels).and_then(|place| space.workloads.get(place)).copied())
            .map(|(workload, _)| workload)
            .max()
    }

    /// What pods of a workload are made from, as its newest pods show; none where its template is not known.
    #[must_use]
    pub fn learnt(&self, workload: &WorkloadKey) -> Option<Learnt<'v>> {
        let (space, place) = self.find(workload)?;
        let (_, target) = space.workloads.get(place)?;
        let (template, group) = (target.template.as_ref()?, target.group.as_deref());
        let basis = (Basis::InForce, &target.revision);
        Some(Learnt::of(template, group, self.newest_pods(workload), basis, &self.view.queues))
    }

    /// The newest pod of a workload, and where replicas are groups, the newest leader and the newest worker.
    #[must_use]
    pub fn newest_pods(&self, workload: &WorkloadKey) -> (Option<&'v Pod>, Option<&'v Pod>) {
        match self.group(workload) {
            Some(_) => (self.newest(workload, group::is_leader), self.newest(workload, |pod| !group::is_leader(pod))),
            None => (self.newest(workload, |_| true), None),
        }
    }

    /// The newest of a workload's own pods of a kind that have not ended; of several the first by name.
    fn newest(&self, workload: &WorkloadKey, is_of_kind: impl Fn(&Pod) -> bool) -> Option<&'v Pod> {
        let row = self.row(workload)?;
        let is_group = self.group(workload).is_some();
        let pods = if is_group { &row.members } else { &row.pods };
        let mut newest: Option<&Pod> = None;
        for (_, pod) in pods {
            let made = pod.metadata.creation_timestamp;
            let is_newer = newest.is_none_or(|newest| made > newest.metadata.creation_timestamp);
            // Whose it is takes longer to say.
            let is_own = || is_group || may_own(workload, pod);
            let is_legible = pod.spec.flaw.is_none();
            if is_newer && is_legible && !pod.is_terminal() && !pod.is_terminating() && is_of_kind(pod) && is_own() {
                newest = Some(pod);
            }
        }
        newest
    }

    /// The groups of pods that replicas of a workload are; none where a replica is one pod.
    #[must_use]
    pub fn groups(&self, workload: &WorkloadKey) -> Option<Groups> {
        let group = self.group(workload)?;
        Some(Groups::of(group, self.row(workload)?.members.iter().map(|(_, pod)| *pod)))
    }

    /// The highest number among the replicas of a workload that are bound, where numbers say which go first.
    #[must_use]
    pub fn last_bound(&self, workload: &WorkloadKey) -> Option<i32> {
        if let Some(groups) = self.groups(workload) {
            return groups.last_whole;
        }
        let bound = || self.own(workload).filter(|(_, pod)| pod.is_bound());
        is_numbered(workload).then(|| bound().filter_map(|(_, pod)| ordinal(workload, pod)).max()).flatten()
    }

    fn group(&self, workload: &WorkloadKey) -> Option<&'v group::Group> {
        let (space, place) = self.find(workload)?;
        space.workloads.get(place)?.1.group.as_deref()
    }

    fn row(&self, workload: &WorkloadKey) -> Option<&Row<'v>> {
        let (space, place) = self.find(workload)?;
        space.rows.get_or_init(|| space.count(self.view)).get(place)
    }

    fn find(&self, workload: &WorkloadKey) -> Option<(&Space<'v>, usize)> {
        let space = self.spaces.get(workload.namespace.as_str())?;
        Some((space, space.workloads.binary_search_by(|(key, _)| (*key).cmp(workload)).ok()?))
    }
}

// === impl Space ===

impl<'v> Space<'v> {
    fn add(&mut self, key: &'v WorkloadKey, target: &'v ScaleTarget) {
        let place = self.workloads.len();
        self.workloads.push((key, target));
        // An empty scale selector means that nothing is known, not that everything matches.
        if !target.selector.is_empty() {
            match target.selector.required_label() {
                Some(label) => self.index.labelled.entry(label).or_default().push(place),
                None => self.index.others.push(place),
            }
        }
        if target.group.is_some() {
            self.index.groups.insert(&key.name, place);
        }
    }

    fn count(&self, view: &'v View) -> Vec<Row<'v>> {
        let mut rows: Vec<_> = self.workloads.iter().map(|_| Row::default()).collect();
        let namespace = self.workloads.first().map_or("", |(key, _)| &key.namespace);
        // Replicas share their labels, so most are matched once; and they mostly follow each other.
        let mut places: Vec<Vec<usize>> = Vec::new();
        let mut matched: HashMap<usize, usize> = HashMap::new();
        let mut last = (usize::MAX, usize::MAX);
        for (key, pod) in view.pods_in(namespace) {
            let labels = &pod.metadata.labels;
            if last.0 != labels.address() {
                let set = *matched.entry(labels.address()).or_insert_with(|| {
                    places.push(self.places(labels).collect());
                    places.len() - 1
                });
                last = (labels.address(), set);
            }
            for row in places.get(last.1).into_iter().flatten() {
                if let Some(row) = rows.get_mut(*row) {
                    row.pods.push((key, pod));
                }
            }
            if let Some(row) = self.member_of(labels).and_then(|place| rows.get_mut(place)) {
                row.members.push((key, pod));
            }
        }
        rows
    }

    /// The workloads whose selector matches.
    fn selecting<'a>(
        &'a self,
        labels: &'a Labels,
    ) -> impl Iterator<Item = (&'v WorkloadKey, &'v ScaleTarget)> + use<'a, 'v> {
        self.places(labels).filter_map(|place| self.workloads.get(place)).copied()
    }

    fn places<'a>(&'a self, labels: &'a Labels) -> impl Iterator<Item = usize> + use<'a, 'v> {
        let indexed =
            labels.iter().filter_map(|(label, value)| self.index.labelled.get(&(label.as_str(), value.as_str())));
        let candidates = indexed.flatten().chain(&self.index.others).copied();
        candidates.filter(|place| self.workloads.get(*place).is_some_and(|(_, target)| target.selector.matches(labels)))
    }

    /// The workload whose groups a pod is a member of.
    fn member_of(&self, labels: &Labels) -> Option<usize> {
        let set = labels.get(group::SET_NAME).filter(|_| !self.index.groups.is_empty())?;
        self.index.groups.get(set).copied()
    }
}
