//! What is not sure of nodes that may come although there are nodes like them: where volumes can be used there, and how
//! many of them are attached.

use super::NodeGroup;
use crate::{capacity::Replica, cluster::View, object::Node};

/// Groups that may bring nodes, each with the node that those are like.
#[derive(Clone, Debug, Default)]
pub(super) struct Likes(Vec<(NodeGroup, String)>);

// === impl Likes ===

impl Likes {
    pub(super) fn add(&mut self, group: &NodeGroup, like: &Node) {
        self.0.push((group.clone(), like.metadata.name.clone()));
    }

    /// Why the volumes of a replica are not sure of the nodes that may come.
    pub(super) fn doubt(&self, replica: &Replica, view: &View) -> Option<String> {
        self.0.iter().find_map(|(group, like)| {
            let silent = || {
                let driver = replica.limited_drivers().find(|driver| !names(like, driver, view))?;
                Some(format!("the CSINode of {like} does not tell how many volumes of {driver} it attaches"))
            };
            divided(group, replica, view).or_else(silent)
        })
    }
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
