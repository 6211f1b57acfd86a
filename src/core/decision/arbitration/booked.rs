//! Room that is kept for pods which a node autoscaler has booked it for, so that no workload is promised it.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use super::{Applicant, MAX_PLACEMENTS, Table};
use crate::{
    autoscaler::bookings::{self, Booking},
    capacity::{Inventory, Replica, Template},
    cluster::View,
    object::{ObjectKey, Pod, PodTemplate, WorkloadKey},
    policy::Policy,
};

/// What is kept for one ProvisioningRequest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Booked {
    /// The request.
    pub request: ObjectKey,
    /// Its class.
    pub class: String,
    /// Pods that are still to be made and that room is kept for.
    pub pods: u32,
    /// Those that have no room as things are.
    pub without_room: u32,
    /// PodTemplates that are not known, so that nothing is kept for their pods.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
}

/// What is booked for pods that a workload's own template does not make, and how many of its replicas fit beside the room
/// that is kept for them; none where nothing is booked. Room that waiting pods of others may take is not counted.
#[must_use]
pub fn beside_booked(
    view: &View,
    policy: &Policy,
    (namespace, template): (&str, &PodTemplate),
    replica: &Replica,
    is_other: impl Fn(&Pod) -> bool,
) -> Option<(Vec<Booked>, u32)> {
    let mut bookings = bookings::all(view);
    bookings.retain(|booking| !booking.is_of(namespace, template));
    if bookings.is_empty() {
        return None;
    }
    let mut table = Table::new(Inventory::of(view, policy));
    let booked = bookings.iter().map(|booking| table.keep(booking, view)).collect();
    Some((booked, table.scratch.fits_replica_beside(replica, is_other).fits.lo))
}

/// Keeps room for everything that is booked; what a workload's own pods are to consume is left to it.
pub(super) fn keep(table: &mut Table<'_>, view: &View, applicants: &BTreeMap<&WorkloadKey, Applicant>) -> Vec<Booked> {
    let bookings = bookings::all(view).into_iter();
    let others = bookings.filter(|booking| !applicants.keys().any(|workload| consumes(workload, booking, view)));
    others.map(|booking| table.keep(&booking, view)).collect()
}

fn consumes(workload: &WorkloadKey, booking: &Booking<'_>, view: &View) -> bool {
    let template = view.workloads.get(workload).and_then(|target| target.template.as_ref());
    template.is_some_and(|template| booking.is_of(&workload.namespace, template))
}

impl Table<'_> {
    fn keep(&mut self, booking: &Booking<'_>, view: &View) -> Booked {
        let (mut pods, mut wanted) = (0, 0_u32);
        for (template, count) in &booking.pods {
            let template = Template::of(template, &booking.request.namespace, view);
            wanted = wanted.saturating_add(*count);
            let before = pods;
            for _ in 0..*count {
                if self.placements >= MAX_PLACEMENTS || self.scratch.place(&template).is_none() {
                    break;
                }
                self.placements += 1;
                pods += 1;
            }
            self.others.push((template, u64::from(pods - before)));
        }
        Booked {
            request: booking.request.clone(),
            class: booking.class.to_owned(),
            pods,
            without_room: wanted - pods,
            unknown: booking.unknown.iter().map(|&name| name.to_owned()).collect(),
        }
    }
}

impl fmt::Display for Booked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { request, class, pods, unknown, .. } = self;
        let pods = if *pods == 1 { "1 pod".to_owned() } else { format!("{pods} pods") };
        write!(f, "room for {pods} is booked by ProvisioningRequest {request} ({class})")?;
        match unknown.as_slice() {
            [] => Ok(()),
            names => write!(f, "; its PodTemplates {} are not known, so nothing is kept for them", names.join(", ")),
        }
    }
}
