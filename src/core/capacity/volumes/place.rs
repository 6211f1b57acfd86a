//! Where a volume can be used or made, or a claim that pods share: filters of nodes, like a node selector that the pod
//! does not show.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::{
    capacity::filters,
    object::{Node, PersistentVolume, pod::NodeSelectorTerm, storage::TopologySelectorTerm},
};

/// Labels by which old volumes name their zone (plugin `volumezone`), and what nodes call them today.
const ZONES: [(&str, &str); 4] = [
    ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"),
    ("failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region"),
    ("topology.kubernetes.io/zone", "topology.kubernetes.io/zone"),
    ("topology.kubernetes.io/region", "topology.kubernetes.io/region"),
];

/// A condition that a volume, or a claim for devices, puts on nodes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(in crate::capacity) enum Place {
    /// The node affinity of a volume.
    Affinity { volume: String, terms: Vec<NodeSelectorTerm> },
    /// A zone or region label of a volume.
    Zone { volume: String, key: &'static str, today: &'static str, values: BTreeSet<String> },
    /// Where the volumes of a class are made.
    Topologies { class: String, terms: Vec<TopologySelectorTerm> },
    /// Where the devices of a claim that has been allocated can be used.
    Claim { claim: String, terms: Vec<NodeSelectorTerm> },
    /// No volume of the class is there, and none is made.
    Nowhere { class: String },
}

// === impl Place ===

impl Place {
    /// The conditions of a volume that a claim is bound to.
    pub(super) fn of_volume(volume: &PersistentVolume) -> impl Iterator<Item = Self> {
        let name = &volume.metadata.name;
        let required = volume.spec.node_affinity.required.as_ref();
        let affinity =
            required.map(|it| Self::Affinity { volume: name.clone(), terms: it.node_selector_terms.clone() });
        let zones = ZONES.into_iter().filter_map(|(key, today)| {
            let values = volume.metadata.labels.get(key).and_then(zones)?;
            Some(Self::Zone { volume: name.clone(), key, today, values })
        });
        affinity.into_iter().chain(zones)
    }

    /// Where a volume can be used that no claim is bound to yet.
    pub(super) fn of_affinity(volume: &PersistentVolume) -> impl Iterator<Item = Self> {
        Self::of_volume(volume).filter(|place| matches!(place, Self::Affinity { .. }))
    }

    /// Whether it is met by the same nodes, whatever volume it is of.
    pub(super) fn is_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Affinity { terms: one, .. }, Self::Affinity { terms: another, .. }) => one == another,
            (Self::Zone { key: one, values: some, .. }, Self::Zone { key: another, values, .. }) => {
                one == another && some == values
            }
            _ => self == other,
        }
    }

    /// Whether a node meets it.
    pub(in crate::capacity) fn holds(&self, node: &Node) -> bool {
        let labels = &node.metadata.labels;
        match self {
            // The scheduler shows the labels of the node alone, so that no field matches.
            Self::Affinity { terms, .. } => {
                terms.iter().any(|term| term.match_fields.is_empty() && filters::term_matches(term, node))
            }
            Self::Claim { terms, .. } => terms.iter().any(|term| filters::term_matches(term, node)),
            // A node that says nothing of zones is taken to be in all of them.
            Self::Zone { key, today, values, .. } => {
                let silent = !ZONES.into_iter().any(|(key, _)| labels.contains_key(key));
                silent || labels.get(key).or_else(|| labels.get(today)).is_some_and(|value| values.contains(value))
            }
            Self::Topologies { terms, .. } => terms.iter().any(|term| selects(term, node)),
            Self::Nowhere { .. } => false,
        }
    }

    /// Why a node does not meet it.
    pub(in crate::capacity) fn describe(&self) -> String {
        match self {
            Self::Affinity { volume, .. } | Self::Zone { volume, .. } => {
                format!("PersistentVolume {volume} cannot be used there")
            }
            Self::Claim { claim, .. } => format!("the devices of ResourceClaim {claim} cannot be used there"),
            Self::Topologies { class, .. } => format!("StorageClass {class} makes no volumes there"),
            Self::Nowhere { class } => {
                format!("StorageClass {class} makes no volumes, and none that is there fits")
            }
        }
    }
}

fn selects(term: &TopologySelectorTerm, node: &Node) -> bool {
    let requirements = &term.match_label_expressions;
    let holds = |key: &str, values: &[String]| {
        node.metadata.labels.get(key).is_some_and(|label| values.iter().any(|value| value == label))
    };
    !requirements.is_empty() && requirements.iter().all(|it| holds(&it.key, &it.values))
}

/// Zones in a label; a list with an empty item says nothing (`LabelZonesToSet` of `k8s.io/cloud-provider` v0.36.3).
fn zones(value: &str) -> Option<BTreeSet<String>> {
    let zones = value.split("__").map(str::trim);
    zones.map(|zone| (!zone.is_empty()).then(|| zone.to_owned())).collect()
}
