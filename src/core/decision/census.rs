//! The pods of every workload, in one pass over all pods.

use std::collections::{BTreeMap, HashMap};

use crate::{
    cluster::View,
    object::{ObjectKey, Pod, ScaleTarget, WorkloadKey},
    selector::{Operator, Selector},
};

/// The pods of the workloads that were asked for, each list in the order of the keys.
#[derive(Debug, Default)]
pub(super) struct Census<'v> {
    pods: BTreeMap<&'v WorkloadKey, Vec<(&'v ObjectKey, &'v Pod)>>,
}

/// Selectors of a namespace by one label that they require, so that a pod is compared with few of them.
type Index<'v> = HashMap<(&'v str, &'v str, &'v str), Vec<Candidate<'v>>>;
type Candidate<'v> = (&'v WorkloadKey, &'v Selector);

impl<'v> Census<'v> {
    /// Finds the pods of workloads.
    pub(super) fn of(view: &'v View, workloads: impl Iterator<Item = (&'v WorkloadKey, &'v ScaleTarget)>) -> Self {
        let mut index = Index::new();
        let mut unindexed: HashMap<&str, Vec<Candidate<'v>>> = HashMap::new();
        let mut census = Self::default();
        for (key, target) in workloads.filter(|(_, target)| !target.selector.is_empty()) {
            census.pods.insert(key, Vec::new());
            match required_label(&target.selector) {
                Some((label, value)) => index.entry((&key.namespace, label, value)).or_default(),
                None => unindexed.entry(&key.namespace).or_default(),
            }
            .push((key, &target.selector));
        }
        for (key, pod) in &view.pods {
            let labels = pod.metadata.labels.iter();
            let indexed = labels.filter_map(|(label, value)| index.get(&(&*key.namespace, &**label, &**value)));
            let candidates = indexed.chain(unindexed.get(&*key.namespace)).flatten();
            for (workload, _) in candidates.filter(|(_, selector)| selector.matches(&pod.metadata.labels)) {
                if let Some(pods) = census.pods.get_mut(workload) {
                    pods.push((key, pod));
                }
            }
        }
        census
    }

    /// The pods of one workload.
    pub(super) fn pods(&self, workload: &WorkloadKey) -> &[(&'v ObjectKey, &'v Pod)] {
        self.pods.get(workload).map_or(&[], Vec::as_slice)
    }

    /// The workload of each pod without a node.
    pub(super) fn unassigned(&self) -> HashMap<&'v ObjectKey, &'v WorkloadKey> {
        let all =
            self.pods.iter().flat_map(|(workload, pods)| pods.iter().map(move |(key, pod)| (*key, *pod, *workload)));
        all.filter(|(_, pod, _)| pod.spec.node_name.is_empty()).map(|(key, _, workload)| (key, workload)).collect()
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
