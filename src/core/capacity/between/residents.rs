//! Placed pods, kept by what others' terms see of them: namespace, labels, node.

use std::collections::{BTreeMap, HashMap};

use super::Term;
use crate::object::{Labels, ObjectKey, Pod, Shared, Text, pod::PodAffinityTerm};

/// Namespace and labels.
type Looks = (Text, Shared<Labels>);

/// All pods that have a node.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::capacity) struct Residents {
    /// Where pods of equal namespace and labels are: replicas of one workload mostly share theirs.
    pub(super) kin: HashMap<Looks, Shared<Places>>,
    /// The distinct anti-affinity terms of placed pods.
    pub(super) repelling: BTreeMap<String, Holders>,
    /// Pods whose own terms cannot be understood, with the reason.
    pub(super) unreadable: BTreeMap<ObjectKey, String>,
}

/// Pods of one kind by node, sorted: mostly one node, or some hundreds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::capacity) struct Places(Vec<(Text, Kin)>);

/// Pods of one kind on one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::capacity) struct Kin {
    pub(super) staying: u32,
    pub(super) terminating: u32,
}

/// A term, and the nodes of the pods that carry it.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::capacity) struct Holders {
    pub(super) term: Term,
    pub(super) pods: BTreeMap<ObjectKey, Text>,
}

// === impl Residents ===

impl Residents {
    /// Takes note of a placed pod.
    pub(in crate::capacity) fn add(&mut self, key: &ObjectKey, pod: &Pod) {
        let nodes = self.kin.entry((pod.metadata.namespace.clone(), pod.metadata.labels.clone())).or_default();
        nodes.count(pod, |count| count.saturating_add(1));
        for term in terms(pod) {
            let known = self.repelling.entry(identity(term, pod));
            let holders = match known {
                std::collections::btree_map::Entry::Occupied(holders) => holders.into_mut(),
                std::collections::btree_map::Entry::Vacant(place) => {
                    match Term::of(term, &pod.metadata.namespace, &pod.metadata.labels) {
                        Ok(term) => place.insert(Holders { term, pods: BTreeMap::new() }),
                        Err(error) => {
                            self.unreadable.insert(key.clone(), format!("pod {key}: {error}"));
                            continue;
                        }
                    }
                }
            };
            holders.pods.insert(key.clone(), pod.node_name.clone());
        }
    }

    /// Forgets what [`Self::add`] noted of the same pod.
    pub(in crate::capacity) fn remove(&mut self, key: &ObjectKey, pod: &Pod) {
        let kin = (pod.metadata.namespace.clone(), pod.metadata.labels.clone());
        if let Some(nodes) = self.kin.get_mut(&kin) {
            nodes.count(pod, |count| count.saturating_sub(1));
            if nodes.0.is_empty() {
                self.kin.remove(&kin);
            }
        }
        self.unreadable.remove(key);
        for term in terms(pod) {
            let identity = identity(term, pod);
            if let Some(holders) = self.repelling.get_mut(&identity) {
                holders.pods.remove(key);
                if holders.pods.is_empty() {
                    self.repelling.remove(&identity);
                }
            }
        }
    }
}

// === impl Places ===

impl Places {
    /// Each node with the pods on it.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Text, Kin)> {
        self.0.iter().map(|(node, kin)| (node, *kin))
    }

    /// Changes how many pods like this one are on its node.
    fn count(&mut self, pod: &Pod, change: impl FnOnce(u32) -> u32) {
        let place = self.0.binary_search_by(|(node, _)| node.cmp(&pod.node_name));
        let known = place.ok().and_then(|place| self.0.get(place));
        let mut kin = known.map(|(_, kin)| *kin).unwrap_or_default();
        let count = kin.of(pod);
        *count = change(*count);
        match place {
            Ok(place) if kin == Kin::default() => drop(self.0.remove(place)),
            Ok(place) => self.0.get_mut(place).into_iter().for_each(|(_, known)| *known = kin),
            Err(_) if kin == Kin::default() => {}
            Err(place) => {
                // Most have one node for ever: spare room would cost more than growing now and then.
                self.0.reserve_exact(1 + self.0.len() / 8);
                self.0.insert(place, (pod.node_name.clone(), kin));
            }
        }
    }
}

// === impl Kin ===

impl Kin {
    fn of(&mut self, pod: &Pod) -> &mut u32 {
        if pod.is_terminating() { &mut self.terminating } else { &mut self.staying }
    }
}

fn terms(pod: &Pod) -> &[PodAffinityTerm] {
    let affinity = pod.spec.affinity.as_ref().and_then(|affinity| affinity.pod_anti_affinity.as_ref());
    affinity.map_or(&[][..], |terms| &terms.required_during_scheduling_ignored_during_execution)
}

/// Equal for terms that mean the same, whichever pod carries them.
fn identity(term: &PodAffinityTerm, pod: &Pod) -> String {
    let own = term.namespaces.is_empty() && term.namespace_selector.is_none();
    let own = own.then_some(&*pod.metadata.namespace);
    // What `matchLabelKeys` and its opposite put into the selector of this pod.
    let keys = term.match_label_keys.iter().chain(&term.mismatch_label_keys);
    let merged: Vec<_> = keys.map(|key| pod.metadata.labels.get(key)).collect();
    format!("{own:?} {term:?} {merged:?}")
}
