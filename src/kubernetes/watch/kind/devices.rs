//! The kinds of dynamic resource allocation; a cluster may not have them.

use plimsoll_core::{
    cluster::{Change, Delta, DeviceChange},
    object::{
        ObjectKey, ObjectMeta,
        device::{DeviceClass, ResourceClaim, ResourceClaimTemplate, ResourceSlice},
    },
};

use super::storage::{Object, kind};
use crate::kubernetes::health::Feed;

const RESOURCE: &str = "/apis/resource.k8s.io/v1";

kind!(DeviceClass, String, DeviceClasses, RESOURCE, |delta| Change::Device(DeviceChange::Class(delta)));
kind!(ResourceSlice, String, ResourceSlices, RESOURCE, |delta| Change::Device(DeviceChange::Slice(delta)));
kind!(ResourceClaim, ObjectKey, ResourceClaims, RESOURCE, |delta| Change::Device(DeviceChange::Claim(delta)));
kind!(ResourceClaimTemplate, ObjectKey, ResourceClaimTemplates, RESOURCE, |delta| {
    Change::Device(DeviceChange::ClaimTemplate(delta))
});
