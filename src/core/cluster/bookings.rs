//! What node autoscalers are asked to have room for.

use std::collections::BTreeMap;

use super::{
    Delta, Effect,
    apply::{apply, compare},
};
use crate::object::{
    ObjectKey,
    autoscaling::{ProvisioningRequest, StoredTemplate},
};

/// Requests, and what their pods are made from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bookings {
    /// ProvisioningRequests.
    pub requests: BTreeMap<ObjectKey, ProvisioningRequest>,
    /// PodTemplates.
    pub templates: BTreeMap<ObjectKey, StoredTemplate>,
}

/// A change of them.
#[derive(Clone, Debug)]
pub enum BookingChange {
    /// ProvisioningRequests.
    Request(Delta<ProvisioningRequest, ObjectKey>),
    /// PodTemplates.
    Template(Delta<StoredTemplate, ObjectKey>),
}

impl Bookings {
    /// Puts a change into it.
    pub fn apply(&mut self, change: BookingChange) -> Effect {
        match change {
            BookingChange::Request(delta) => apply(&mut self.requests, delta, |it| it.metadata.key(), compare),
            BookingChange::Template(delta) => apply(&mut self.templates, delta, |it| it.metadata.key(), compare),
        }
    }
}
