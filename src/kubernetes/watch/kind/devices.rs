//! The kinds of dynamic resource allocation; a cluster may not have them.

use plimsoll_core::{
    cluster::{Change, Delta, DeviceChange},
    object::{
        ObjectKey, ObjectMeta,
        device::{DeviceClass, ResourceClaim, ResourceClaimTemplate, ResourceSlice},
    },
};

use super::storage::Object;
use crate::kubernetes::health::Feed;

const RESOURCE: &str = "/apis/resource.k8s.io/v1";

impl Object for DeviceClass {
    type Key = String;
    const FEED: Feed = Feed::DeviceClasses;
    const GROUP: &'static str = RESOURCE;

    fn key(_: String, name: String) -> String {
        name
    }

    fn metadata(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }

    fn change(delta: Delta<Self, String>) -> Change {
        Change::Device(DeviceChange::Class(delta))
    }
}

impl Object for ResourceSlice {
    type Key = String;
    const FEED: Feed = Feed::ResourceSlices;
    const GROUP: &'static str = RESOURCE;

    fn key(_: String, name: String) -> String {
        name
    }

    fn metadata(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }

    fn change(delta: Delta<Self, String>) -> Change {
        Change::Device(DeviceChange::Slice(delta))
    }
}

impl Object for ResourceClaim {
    type Key = ObjectKey;
    const FEED: Feed = Feed::ResourceClaims;
    const GROUP: &'static str = RESOURCE;

    fn key(namespace: String, name: String) -> ObjectKey {
        ObjectKey::new(namespace, name)
    }

    fn metadata(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }

    fn change(delta: Delta<Self, ObjectKey>) -> Change {
        Change::Device(DeviceChange::Claim(delta))
    }
}

impl Object for ResourceClaimTemplate {
    type Key = ObjectKey;
    const FEED: Feed = Feed::ResourceClaimTemplates;
    const GROUP: &'static str = RESOURCE;

    fn key(namespace: String, name: String) -> ObjectKey {
        ObjectKey::new(namespace, name)
    }

    fn metadata(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }

    fn change(delta: Delta<Self, ObjectKey>) -> Change {
        Change::Device(DeviceChange::ClaimTemplate(delta))
    }
}
