//! What is known of devices and of claims for them.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use super::{Delta, Effect, View, apply};
use crate::{
    device::Selection,
    object::{
        ObjectKey,
        device::{DeviceClass, ResourceClaim, ResourceClaimTemplate, ResourceSlice},
    },
};

/// Objects of dynamic resource allocation. Of each kind, none means that it was never listed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Devices {
    /// ResourceSlices by name.
    pub slices: Option<BTreeMap<String, ResourceSlice>>,
    /// ResourceClaims.
    pub claims: Option<BTreeMap<ObjectKey, ResourceClaim>>,
    /// ResourceClaimTemplates.
    pub templates: Option<BTreeMap<ObjectKey, ResourceClaimTemplate>>,
    selection: Memo,
}

/// A change of devices.
#[derive(Clone, Debug)]
pub enum DeviceChange {
    /// DeviceClasses.
    Class(Delta<DeviceClass, String>),
    /// ResourceSlices.
    Slice(Delta<ResourceSlice, String>),
    /// ResourceClaims.
    Claim(Delta<ResourceClaim, ObjectKey>),
    /// ResourceClaimTemplates.
    ClaimTemplate(Delta<ResourceClaimTemplate, ObjectKey>),
}

/// What follows from the objects and is costly to find: it says nothing that they do not say.
#[derive(Clone, Debug, Default)]
struct Memo(OnceLock<Arc<Selection>>);

impl PartialEq for Memo {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

// === impl Devices ===

impl Devices {
    /// Makes of a room whose slices and claims are all there are one of which as much is known as of the cluster.
    pub(crate) fn furnish(&mut self, like: &Self) {
        if like.slices.is_some() {
            self.slices.get_or_insert_default();
        }
        if like.claims.is_some() {
            self.claims.get_or_insert_default();
        }
        self.templates.clone_from(&like.templates);
        self.selection = Memo::default();
    }

    /// A list of that kind was read, be it that there is none of it.
    pub fn know(&mut self, kind: &str) {
        match kind {
            "ResourceSlice" => _ = self.slices.get_or_insert_default(),
            "ResourceClaim" => _ = self.claims.get_or_insert_default(),
            "ResourceClaimTemplate" => _ = self.templates.get_or_insert_default(),
            _ => {}
        }
    }
}

// === impl View ===

impl View {
    /// Which devices answer which request, once ResourceSlices are known.
    #[must_use]
    pub fn devices(&self) -> Option<&Arc<Selection>> {
        let slices = self.devices.slices.as_ref()?;
        let templates = self.devices.templates.iter().flat_map(BTreeMap::values);
        let find = || Arc::new(Selection::of(&self.device_classes, slices, templates));
        Some(self.devices.selection.0.get_or_init(find))
    }

    /// The DeviceClass that stands for an extended resource: of several the newest, then the first by name
    /// (`k8s.io/dynamic-resource-allocation` v0.36.3 `deviceclass/extendedresourcecache`).
    #[must_use]
    pub fn class_of_resource(&self, resource: &str) -> Option<&DeviceClass> {
        if let Some(class) = resource.strip_prefix("deviceclass.resource.kubernetes.io/") {
            return self.device_classes.get(class);
        }
        let stands = |class: &&DeviceClass| class.spec.extended_resource_name.as_deref() == Some(resource);
        // Of equals the last is taken, so names go backwards.
        self.device_classes.values().rev().filter(stands).max_by_key(|class| class.metadata.creation_timestamp)
    }

    pub(super) fn apply_device(&mut self, change: DeviceChange) -> Effect {
        let effect = match change {
            DeviceChange::Class(delta) => {
                apply::apply(&mut self.device_classes, delta, |it| it.metadata.name.clone(), apply::compare)
            }
            DeviceChange::Slice(delta) => put(&mut self.devices.slices, delta, |it| it.metadata.name.clone()),
            DeviceChange::Claim(delta) => return put(&mut self.devices.claims, delta, |it| it.metadata.key()),
            DeviceChange::ClaimTemplate(delta) => put(&mut self.devices.templates, delta, |it| it.metadata.key()),
        };
        if effect != Effect::Same {
            self.devices.selection = Memo::default();
        }
        effect
    }
}

/// The first object or list of a kind makes it known.
fn put<K: Ord, T: PartialEq>(map: &mut Option<BTreeMap<K, T>>, delta: Delta<T, K>, key: fn(&T) -> K) -> Effect {
    let unknown = map.is_none();
    let effect = apply::apply(map.get_or_insert_default(), delta, key, apply::compare);
    if unknown { Effect::Matters } else { effect }
}
