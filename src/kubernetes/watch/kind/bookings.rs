//! What node autoscalers are asked to have room for; a cluster may not have the kind.

use plimsoll_core::{
    cluster::{BookingChange, Change, Delta},
    object::{
        ObjectKey, ObjectMeta,
        autoscaling::{ProvisioningRequest, StoredTemplate},
    },
};

use super::storage::{Object, kind};
use crate::kubernetes::health::Feed;

kind!(ProvisioningRequest, ObjectKey, ProvisioningRequests, "/apis/autoscaling.x-k8s.io/v1", |delta| {
    Change::Booking(BookingChange::Request(delta))
});
kind!(StoredTemplate, ObjectKey, PodTemplates, "/api/v1", |delta| Change::Booking(BookingChange::Template(delta)));
