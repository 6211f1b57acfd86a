//! What nodes that do not exist yet cannot be counted on for, whatever they are like.
//!
//! A claim that pods share, or that one pod alone may use, is one for the nodes that are here and for those to come: so
//! it cannot be promised on both, and where it is used first decides about all others.

use super::{Replica, Template, volumes::Place};
use crate::object::Node;

// === impl Replica ===

impl Replica {
    /// What of it holds its pods to nodes that are here; none where any node may be as good.
    #[must_use]
    pub fn tie(&self) -> Option<String> {
        self.templates().find_map(Template::tie)
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
}

// === impl Template ===

impl Template {
    fn tie(&self) -> Option<String> {
        let shared = self.wants.shared.first();
        let shared = shared.map(|(claim, _)| format!("all replicas share ResourceClaim {claim}, which is allocated"));
        let nowhere = || self.filter.places().iter().find(|place| matches!(place, Place::Nowhere { .. }));
        shared.or_else(|| self.claims.tie()).or_else(|| nowhere().map(Place::describe))
    }
}
