//! What nodes that do not exist yet cannot be counted on for, whatever they are like.
//!
//! A claim that pods share, or that one pod alone may use, is one for the nodes that are here and for those to come: so
//! it cannot be promised on both, and where it is used first decides about all others. Constraints between pods look
//! beyond a node, too: only of its own name it is known that no pod is in the domain of a new one.

use std::collections::HashSet;

use super::{
    Replica, Template,
    between::{Term, Terms, may_select},
    volumes::Place,
};
use crate::{
    cluster::View,
    object::{Node, node::HOSTNAME},
};

/// Terms by which pods that are here keep others away from more than their own nodes.
#[derive(Clone, Debug, Default)]
pub struct Repellers(Vec<Term>);

// === impl Repellers ===

impl Repellers {
    /// Those of all placed pods.
    #[must_use]
    pub fn of(view: &View) -> Self {
        let repels = |spec: &crate::object::PodSpec| {
            spec.affinity.as_ref().is_some_and(|affinity| affinity.pod_anti_affinity.is_some())
        };
        let placed = view.pods.values().filter(|pod| !pod.node_name.is_empty() && !pod.is_terminal());
        let mut seen = HashSet::new();
        let distinct = placed.filter(|pod| repels(&pod.spec)).filter(|pod| {
            let looks = (pod.spec.address(), pod.metadata.labels.address(), pod.metadata.namespace.clone());
            seen.insert(looks)
        });
        let terms = distinct.filter_map(|pod| Terms::of(&pod.spec, &pod.metadata.namespace, &pod.metadata.labels).ok());
        let beyond = terms.flat_map(|terms| terms.anti_affinity).filter(|term| term.key != HOSTNAME);
        Self(beyond.collect::<HashSet<_>>().into_iter().collect())
    }

    /// Whether any of them may repel pods of a replica.
    #[must_use]
    pub fn repel(&self, replica: &Replica, view: &View) -> bool {
        let repels = |term: &Term, template: &Template| {
            term.includes(&template.namespace, view) && may_select(term, &template.seat)
        };
        replica.templates().any(|template| self.0.iter().any(|term| repels(term, template)))
    }
}

// === impl Replica ===

impl Replica {
    /// What of it holds its pods to nodes that are here; none where any node may be as good.
    #[must_use]
    pub fn tie(&self) -> Option<String> {
        self.templates().find_map(Template::tie)
    }

    /// Why it is not known whether its pods may go to a node that is new, where that hangs on pods on other nodes.
    #[must_use]
    pub fn looks_beyond(&self) -> Option<&'static str> {
        self.templates().any(Template::looks_beyond).then_some(BEYOND)
    }

    /// Whether its volumes can be used on some nodes only.
    #[must_use]
    pub fn has_places(&self) -> bool {
        self.templates().any(|template| !template.filter.places().is_empty())
    }

    /// A volume of it that only some of the nodes can use, in words.
    #[must_use]
    pub fn divides(&self, nodes: &[&Node]) -> Option<String> {
        let divides = |place: &&Place| {
            let mut held = nodes.iter().map(|node| place.holds(node));
            let first = held.next();
            first.is_some_and(|first| held.any(|holds| holds != first))
        };
        self.templates().flat_map(|template| template.filter.places()).find(divides).map(Place::describe)
    }

    /// CSI drivers whose limits on a node decide how many of its pods fit there.
    pub fn limited_drivers(&self) -> impl Iterator<Item = &str> {
        self.templates().flat_map(|template| template.claims.drivers())
    }

    /// Labels of nodes that it asks for, each with whether a node that does not have it passes, too.
    pub fn node_labels(&self) -> impl Iterator<Item = (&str, bool)> {
        self.templates().flat_map(|template| template.filter.labels())
    }
}

// === impl Template ===

impl Template {
    fn tie(&self) -> Option<String> {
        let shared = self.wants.shared.first();
        let shared = shared.map(|(claim, _)| format!("all replicas share ResourceClaim {claim}, which is allocated"));
        let nowhere = || self.filter.places().iter().find(|place| matches!(place, Place::Nowhere { .. }));
        shared.or_else(|| self.claims.tie()).or_else(|| nowhere().map(Place::describe))
    }

    /// Whether where its pods may go depends on pods on other nodes.
    fn looks_beyond(&self) -> bool {
        let Terms { spread, affinity, anti_affinity } = &self.seat.terms;
        !spread.is_empty() || !affinity.is_empty() || anti_affinity.iter().any(|term| term.key != HOSTNAME)
    }
}

const BEYOND: &str = "constraints between pods look beyond a node, and count pods that are here";
