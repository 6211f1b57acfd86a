//! The pods of several workloads, in one pass over the pods of their namespaces.
//!
//! It is made once per evaluation and shared by everything that asks for the pods of workloads.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Basis, Groups, Learnt, View};
use crate::{
    object::{
        ObjectKey, Pod, ScaleTarget, WorkloadKey, group,
        owner::{may_own, ordinal},
    },
    selector::{Operator, Selector},
};

/// The pods of the workloads that were asked for and are known.
#[derive(Debug, Default)]
pub struct Census<'v> {
    rows: BTreeMap<&'v WorkloadKey, Row<'v>>,
}

#[derive(Debug)]
struct Row<'v> {
    target: &'v ScaleTarget,
    /// In the order of the keys.
    pods: Vec<(&'v ObjectKey, &'v Pod)>,
    /// Where replicas are groups: all pods of them, most of which the selector does not match.
    members: Vec<(&'v ObjectKey, &'v Pod)>,
}

/// Whether a pod is of a workload, as [`Census::own`] has it: by selector and owner, or as a member of its groups.
#[must_use]
pub fn is_own(workload: &WorkloadKey, target: &ScaleTarget, pod: &Pod) -> bool {
    let labels = &pod.metadata.labels;
    pod.metadata.namespace == workload.namespace
        && match target.group {
            Some(_) => labels.get(group::SET_NAME) == Some(&workload.name),
            None => !target.selector.is_empty() && target.selector.matches(labels) && may_own(workload, pod),
        }
}

/// Selectors of a namespace by one label that they require, so that a pod is compared with few of them.
type Index<'v> = HashMap<(&'v str, &'v str, &'v str), Vec<Candidate<'v>>>;
type Candidate<'v> = (&'v WorkloadKey, &'v Selector);

impl<'v> Census<'v> {
    /// Finds the pods of workloads; those that the view does not know are left out.
    pub fn of<'w>(view: &'v View, workloads: impl IntoIterator<Item = &'w WorkloadKey>) -> Self {
        let known = workloads.into_iter().filter_map(|key| view.workloads.get_key_value(key));
        let rows: BTreeMap<_, _> =
            known.map(|(key, target)| (key, Row { target, pods: Vec::new(), members: Vec::new() })).collect();
        let mut index = Index::new();
        let mut unindexed: HashMap<&str, Vec<Candidate<'v>>> = HashMap::new();
        let mut namespaces = BTreeSet::new();
        // An empty scale selector means that nothing is known, not that everything matches.
        for (key, row) in rows.iter().filter(|(_, row)| !row.target.selector.is_empty()) {
            namespaces.insert(&*key.namespace);
            match required_label(&row.target.selector) {
                Some((label, value)) => index.entry((&key.namespace, label, value)).or_default(),
                None => unindexed.entry(&key.namespace).or_default(),
            }
            .push((key, &row.target.selector));
        }
        let groups = rows.iter().filter(|(_, row)| row.target.group.is_some());
        let groups: HashMap<_, _> = groups.map(|(key, _)| ((&*key.namespace, &*key.name), *key)).collect();
        namespaces.extend(groups.keys().map(|(namespace, _)| *namespace));
        let mut rows: Vec<_> = rows.into_iter().collect();
        let keys: Vec<_> = rows.iter().map(|(key, _)| *key).collect();
        let row_of = |workload: &WorkloadKey| keys.binary_search_by(|key| (*key).cmp(workload)).ok();
        let mut matching: HashMap<_, Vec<usize>> = HashMap::new();
        for namespace in namespaces {
            // Replicas share their labels, so most are matched once.
            matching.clear();
            for (key, pod) in view.pods_in(namespace) {
                let labels = &pod.metadata.labels;
                let workloads = matching.entry(labels.address()).or_insert_with(|| {
                    let indexed =
                        labels.iter().filter_map(|(label, value)| index.get(&(namespace, &**label, &**value)));
                    let candidates = indexed.chain(unindexed.get(namespace)).flatten();
                    let selecting = candidates.filter(|(_, selector)| selector.matches(labels));
                    selecting.filter_map(|(workload, _)| row_of(workload)).collect()
                });
                for row in workloads {
                    if let Some((_, row)) = rows.get_mut(*row) {
                        row.pods.push((key, pod));
                    }
                }
                let set = labels.get(group::SET_NAME).filter(|_| !groups.is_empty());
                let set = set.and_then(|set| groups.get(&(namespace, set))).and_then(|workload| row_of(workload));
                if let Some((_, row)) = set.and_then(|row| rows.get_mut(row)) {
                    row.members.push((key, pod));
                }
            }
        }
        Self { rows: rows.into_iter().collect() }
    }

    /// The workloads, with what is known of their scale.
    pub fn workloads(&self) -> impl Iterator<Item = (&'v WorkloadKey, &'v ScaleTarget)> {
        self.rows.iter().map(|(key, row)| (*key, row.target))
    }

    /// The pods that a workload's selector matches: those that the HPA controller counts.
    #[must_use]
    pub fn matching(&self, workload: &WorkloadKey) -> &[(&'v ObjectKey, &'v Pod)] {
        self.rows.get(workload).map_or(&[], |row| &row.pods)
    }

    /// The pods that belong to a workload: by selector and owner, or as members of its groups.
    pub fn own<'c>(&'c self, workload: &'c WorkloadKey) -> impl Iterator<Item = (&'v ObjectKey, &'v Pod)> + 'c {
        let row = self.rows.get(workload);
        let members = row.filter(|row| row.target.group.is_some()).map(|row| &row.members);
        let own = self.matching(workload).iter().filter(move |(_, pod)| members.is_none() && may_own(workload, pod));
        members.into_iter().flatten().chain(own).copied()
    }

    /// What pods of a workload are made from, as its newest pods show; none where its template is not known.
    #[must_use]
    pub fn learnt(&self, workload: &WorkloadKey) -> Option<Learnt<'v>> {
        let target = self.rows.get(workload)?.target;
        let (leader, worker) = match target.group {
            Some(_) => (self.newest(workload, group::is_leader), self.newest(workload, |pod| !group::is_leader(pod))),
            None => (self.newest(workload, |_| true), None),
        };
        let template = target.template.as_ref()?;
        Some(Learnt::of(template, target.group.as_deref(), (leader, worker), Basis::InForce))
    }

    /// The newest of a workload's own pods of a kind that have not ended; of several the first by name.
    fn newest(&self, workload: &WorkloadKey, is_of_kind: impl Fn(&Pod) -> bool) -> Option<&'v Pod> {
        let row = self.rows.get(workload)?;
        let pods = if row.target.group.is_some() { &row.members } else { &row.pods };
        let is_own = |pod: &Pod| row.target.group.is_some() || may_own(workload, pod);
        let mut newest: Option<&Pod> = None;
        for (_, pod) in pods {
            let made = pod.metadata.creation_timestamp;
            let is_newer = newest.is_none_or(|newest| made > newest.metadata.creation_timestamp);
            // Whose it is takes longer to say.
            if is_newer && !pod.is_terminal() && !pod.is_terminating() && is_of_kind(pod) && is_own(pod) {
                newest = Some(pod);
            }
        }
        newest
    }

    /// The groups of pods that replicas of a workload are; none where a replica is one pod.
    #[must_use]
    pub fn groups(&self, workload: &WorkloadKey) -> Option<Groups> {
        let row = self.rows.get(workload)?;
        let group = row.target.group.as_ref()?;
        Some(Groups::of(group, row.members.iter().map(|(_, pod)| *pod)))
    }

    /// The highest number among the replicas of a workload that are bound, where numbers say which go first.
    #[must_use]
    pub fn last_bound(&self, workload: &WorkloadKey) -> Option<i32> {
        if let Some(groups) = self.groups(workload) {
            return groups.last_whole;
        }
        let bound = self.own(workload).filter(|(_, pod)| pod.is_bound());
        bound.filter_map(|(_, pod)| ordinal(workload, pod)).max()
    }

    /// The workload that each pod without a node belongs to.
    #[must_use]
    pub fn unassigned(&self) -> HashMap<&'v ObjectKey, &'v WorkloadKey> {
        let all = self.rows.keys().flat_map(|workload| self.own(workload).map(move |(key, pod)| (key, pod, *workload)));
        all.filter(|(_, pod, _)| pod.node_name.is_empty()).map(|(key, _, workload)| (key, workload)).collect()
    }
}

/// A label that every matching pod carries, with its value.
fn required_label(selector: &Selector) -> Option<(&str, &str)> {
    selector.requirements().iter().find_map(|requirement| {
        let exact = matches!(requirement.operator, Operator::Equals | Operator::In) && requirement.values.len() == 1;
        let value = requirement.values.first().filter(|_| exact)?;
        Some((requirement.key.as_str(), value.as_str()))
    })
}
