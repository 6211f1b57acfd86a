//! Room that a node autoscaler has booked for pods that are still to be made.
//!
//! Cluster Autoscaler keeps such room from its own reckoning only; kube-scheduler gives it to whoever comes first. So what
//! *fits* does not change by a booking, but nobody else is granted it.

use std::collections::BTreeMap;

use crate::{
    cluster::View,
    object::{
        ObjectKey, Pod, PodTemplate,
        autoscaling::{CONSUMES, ProvisioningRequest},
        meta::StringMap,
    },
};

/// Most pods of one request that room is looked for: far more than any machine learning job has.
const MAX_PODS: u32 = 10_000;

/// Pods of one ProvisioningRequest that are still to be made.
#[derive(Clone, Debug)]
pub(crate) struct Booking<'v> {
    pub(crate) request: &'v ObjectKey,
    pub(crate) class: &'v str,
    /// Templates, and how many pods of each.
    pub(crate) pods: Vec<(&'v PodTemplate, u32)>,
    /// Templates that are not known, so that nothing is kept for them.
    pub(crate) unknown: Vec<&'v str>,
}

/// What is booked, in the order of the keys.
pub(crate) fn all(view: &View) -> Vec<Booking<'_>> {
    let booked: Vec<_> = view.bookings.requests.iter().filter(|(_, request)| request.is_booked()).collect();
    if booked.is_empty() {
        return Vec::new();
    }
    let made = consumers(view);
    let bookings = booked.into_iter().map(|(key, request)| {
        let made = made.get(key).copied().unwrap_or(0);
        Booking::of(key, request, made, view)
    });
    bookings.collect()
}

impl<'v> Booking<'v> {
    /// Whether pods of a template consume it.
    pub(crate) fn is_of(&self, namespace: &str, template: &PodTemplate) -> bool {
        let consumed = consumed(&template.metadata.annotations);
        self.request.namespace == namespace && consumed.is_some_and(|request| self.request.name == request)
    }

    /// The pods that are lacking once `made` are there; which sets these are of is not known, so the first ones are.
    fn of(key: &'v ObjectKey, request: &'v ProvisioningRequest, mut made: u32, view: &'v View) -> Self {
        let (mut pods, mut unknown) = (Vec::new(), Vec::new());
        for set in &request.spec.pod_sets {
            let count = u32::try_from(set.count).unwrap_or(0).min(MAX_PODS);
            let left = count.saturating_sub(made);
            made = made.saturating_sub(count);
            let name = set.pod_template_ref.name.as_str();
            match view.bookings.templates.get(&ObjectKey::new(&*key.namespace, name)) {
                Some(stored) if left > 0 => pods.push((&stored.template, left)),
                Some(_) => {}
                None => unknown.push(name),
            }
        }
        Self { request: key, class: &request.spec.provisioning_class_name, pods, unknown }
    }
}

/// Pods that exist, by the request that they consume.
fn consumers(view: &View) -> BTreeMap<ObjectKey, u32> {
    let mut counts = BTreeMap::new();
    let there = |pod: &&Pod| !pod.is_terminal() && !pod.is_terminating();
    for pod in view.pods.values().filter(there) {
        if let Some(request) = consumed(&pod.metadata.annotations) {
            *counts.entry(ObjectKey::new(&*pod.metadata.namespace, request)).or_default() += 1;
        }
    }
    counts
}

/// The name of the request that pods with such annotations consume.
fn consumed(annotations: &StringMap) -> Option<&str> {
    CONSUMES.iter().find_map(|name| annotations.get(*name)).map(String::as_str)
}
