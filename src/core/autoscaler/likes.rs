//! What is not sure of nodes that may come although there are nodes like them: labels on which those do not agree, where
//! volumes can be used there, and how many of them are attached.

use std::collections::BTreeSet;

use super::NodeGroup;
use crate::{
    capacity::{Repellers, Replica},
    cluster::View,
    object::{Node, Text, node::HOSTNAME},
};

/// Groups that may bring nodes.
#[derive(Clone, Debug, Default)]
pub(super) struct Likes {
    groups: Vec<Like>,
    repellers: Repellers,
}

/// A group, and what its next nodes are like.
#[derive(Clone, Debug)]
struct Like {
    group: NodeGroup,
    /// The node that they are like.
    node: String,
    /// Labels that are not known of them.
    unknown: BTreeSet<Text>,
}

// === impl Likes ===

impl Likes {
    pub(super) fn add(&mut self, group: &NodeGroup, like: &Node, unknown: BTreeSet<Text>) {
        self.groups.push(Like { group: group.clone(), node: like.metadata.name.clone(), unknown });
    }

    /// Takes note of the pods that are here, once it is known which groups may bring nodes.
    pub(super) fn look(&mut self, view: &View) {
        if !self.groups.is_empty() {
            self.repellers = Repellers::of(view);
        }
    }

    /// Why a replica cannot count on the nodes that may come, for its volumes.
    pub(super) fn tie(&self, replica: &Replica, view: &View) -> Option<String> {
        self.groups.iter().find_map(|Like { group, node, .. }| {
            let silent = || {
                let driver = replica.limited_drivers().find(|driver| !names(node, driver, view))?;
                Some(format!("the CSINode of {node} does not tell how many volumes of {driver} it attaches"))
            };
            divided(group, replica, view).or_else(silent)
        })
    }

    /// Why it is not known whether a replica may go to the nodes that may come.
    pub(super) fn doubt(&self, replica: &Replica, view: &View) -> Option<String> {
        if self.repellers.repel(replica, view) {
            return Some("a pod that is here repels these pods from more than its own node".to_owned());
        }
        self.unlabelled(replica)
    }

    /// A label that the replica asks for and that is not known of the next nodes: of those of any group, if a node
    /// without it would do, too, and else of those of all groups.
    fn unlabelled(&self, replica: &Replica) -> Option<String> {
        let describe = |like: &Like, key: &str| {
            format!(
                "nodes of group {} do not agree on label {key}, so that of the next one is not known",
                like.group.name
            )
        };
        let asked = |like: &Like, also_without: bool| {
            let mut asked = replica.node_labels().filter(|(_, passes)| *passes || !also_without);
            asked.find(|(key, _)| like.unknown.contains(*key)).map(|(key, _)| describe(like, key))
        };
        let any = self.groups.iter().find_map(|like| asked(like, true));
        any.or_else(|| {
            let all: Option<Vec<_>> = self.groups.iter().map(|like| asked(like, false)).collect();
            all?.into_iter().next()
        })
    }
}

/// Keys of labels that are not the same on all nodes of a group. Each has its own name in some, and so will the next.
pub(super) fn differing(group: &NodeGroup, view: &View) -> BTreeSet<Text> {
    let mut nodes = view.nodes.values().filter(|node| group.has(node));
    let Some(first) = nodes.next() else { return BTreeSet::new() };
    let mut unknown = BTreeSet::new();
    let mut agreed: Vec<_> = first.metadata.labels.iter().map(|(key, value)| (key, shared(first, value))).collect();
    agreed.sort_unstable_by_key(|(key, _)| *key);
    for node in nodes {
        let labels = &node.metadata.labels;
        agreed.retain(|(key, value)| {
            let holds = labels.get(key).is_some_and(|found| shared(node, found) == *value);
            if !holds {
                unknown.insert((*key).clone());
            }
            holds
        });
        if labels.len() > agreed.len() {
            let strange = labels.iter().filter(|(key, _)| agreed.binary_search_by_key(key, |(it, _)| *it).is_err());
            unknown.extend(strange.map(|(key, _)| key.clone()));
        }
    }
    unknown
}

/// The value of a label, unless it is the name of the node.
fn shared<'v>(node: &Node, value: &'v str) -> Option<&'v str> {
    let is_name = value == node.metadata.name || node.metadata.labels.get(HOSTNAME) == Some(value);
    (!is_name).then_some(value)
}

/// Of a group with nodes of several zones nobody knows which the next one will be in.
fn divided(group: &NodeGroup, replica: &Replica, view: &View) -> Option<String> {
    if !replica.has_places() {
        return None;
    }
    let nodes: Vec<_> = view.nodes.values().filter(|node| group.has(node)).collect();
    let why = replica.divides(&nodes)?;
    Some(format!("the next node of group {} may be like one of which it holds that {why}", group.name))
}

/// Whether a node's CSINode has the driver.
fn names(node: &str, driver: &str, view: &View) -> bool {
    let drivers = view.storage.nodes.as_ref().and_then(|nodes| nodes.get(node));
    drivers.is_some_and(|drivers| drivers.spec.drivers.iter().any(|known| known.name == driver))
}
