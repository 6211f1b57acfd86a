//! What is known of storage: claims, volumes, how they come to be, and what nodes attach.

use std::collections::BTreeMap;

use super::{Delta, Effect};
use crate::object::{
    CsiDriver, CsiNode, ObjectKey, PersistentVolume, PersistentVolumeClaim, StorageClass, VolumeAttachment,
};

/// Objects of storage. Of kinds whose absence says something, none means that they were never listed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Storage {
    /// PersistentVolumeClaims.
    pub claims: Option<BTreeMap<ObjectKey, PersistentVolumeClaim>>,
    /// PersistentVolumes by name.
    pub volumes: Option<BTreeMap<String, PersistentVolume>>,
    /// StorageClasses by name.
    pub classes: Option<BTreeMap<String, StorageClass>>,
    /// CSINodes by the name of the node.
    pub nodes: Option<BTreeMap<String, CsiNode>>,
    /// CSIDrivers by name.
    pub drivers: Option<BTreeMap<String, CsiDriver>>,
    /// VolumeAttachments by name.
    pub attachments: Option<BTreeMap<String, VolumeAttachment>>,
}

/// A kind of [`Storage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageKind {
    /// PersistentVolumeClaims.
    Claim,
    /// PersistentVolumes.
    Volume,
    /// StorageClasses.
    Class,
    /// CSINodes.
    Node,
    /// CSIDrivers.
    Driver,
    /// VolumeAttachments.
    Attachment,
}

/// A change of storage.
#[derive(Clone, Debug)]
pub enum StorageChange {
    /// PersistentVolumeClaims.
    Claim(Delta<PersistentVolumeClaim, ObjectKey>),
    /// PersistentVolumes.
    Volume(Delta<PersistentVolume, String>),
    /// StorageClasses.
    Class(Delta<StorageClass, String>),
    /// CSINodes.
    Node(Delta<CsiNode, String>),
    /// CSIDrivers.
    Driver(Delta<CsiDriver, String>),
    /// VolumeAttachments.
    Attachment(Delta<VolumeAttachment, String>),
}

// === impl Storage ===

impl Storage {
    /// Puts a change into it.
    pub fn apply(&mut self, change: StorageChange) -> Effect {
        match change {
            StorageChange::Claim(delta) => apply(&mut self.claims, delta, |it| it.metadata.key()),
            StorageChange::Volume(delta) => apply(&mut self.volumes, delta, |it| it.metadata.name.clone()),
            StorageChange::Class(delta) => apply(&mut self.classes, delta, |it| it.metadata.name.clone()),
            StorageChange::Node(delta) => apply(&mut self.nodes, delta, |it| it.metadata.name.clone()),
            StorageChange::Driver(delta) => apply(&mut self.drivers, delta, |it| it.metadata.name.clone()),
            StorageChange::Attachment(delta) => apply(&mut self.attachments, delta, |it| it.metadata.name.clone()),
        }
    }

    /// Makes of a room with nodes and claims of its own one of which as much is known as of the cluster; `shared` says
    /// whether its pods use claims of the cluster, too.
    pub(crate) fn furnish(&mut self, like: &Self, shared: bool) {
        self.classes.clone_from(&like.classes);
        if shared {
            self.volumes.clone_from(&like.volumes);
            let claims = like.claims.iter().flatten().map(|(key, claim)| (key.clone(), claim.clone()));
            self.claims.get_or_insert_default().extend(claims);
        }
    }

    /// A kind was listed, be it that there is none of it.
    pub fn know(&mut self, kind: StorageKind) {
        match kind {
            StorageKind::Claim => _ = self.claims.get_or_insert_default(),
            StorageKind::Volume => _ = self.volumes.get_or_insert_default(),
            StorageKind::Class => _ = self.classes.get_or_insert_default(),
            StorageKind::Node => _ = self.nodes.get_or_insert_default(),
            StorageKind::Driver => _ = self.drivers.get_or_insert_default(),
            StorageKind::Attachment => _ = self.attachments.get_or_insert_default(),
        }
    }
}

/// The first object or list of a kind makes it known.
fn apply<K: Ord, T: PartialEq>(map: &mut Option<BTreeMap<K, T>>, delta: Delta<T, K>, key: fn(&T) -> K) -> Effect {
    let unknown = map.is_none();
    let changed = match delta {
        Delta::Deleted(key) => map.as_mut().is_some_and(|map| map.remove(&key).is_some()),
        Delta::Applied(object) => {
            let (map, key) = (map.get_or_insert_default(), key(&object));
            let same = map.get(&key) == Some(&object);
            map.insert(key, object);
            !same
        }
        Delta::Replaced(list) => {
            let new = list.into_iter().map(|object| (key(&object), object)).collect();
            unknown | (map.replace(new) != *map)
        }
    };
    Effect::changed(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(name: &str, provisioner: &str) -> StorageClass {
        let mut class = StorageClass { provisioner: provisioner.to_owned(), ..StorageClass::default() };
        class.metadata.name = name.to_owned();
        class
    }

    #[test]
    fn an_empty_list_is_known_and_what_was_never_listed_is_not() {
        let mut storage = Storage::default();
        assert_eq!(storage.apply(StorageChange::Class(Delta::Deleted("a".to_owned()))), Effect::Same);
        assert_eq!(storage.classes, None);
        assert_eq!(storage.apply(StorageChange::Class(Delta::Replaced(Vec::new()))), Effect::Matters);
        assert_eq!(storage.classes, Some(BTreeMap::new()));
        assert_eq!(storage.apply(StorageChange::Class(Delta::Replaced(Vec::new()))), Effect::Same);
    }

    #[test]
    fn only_what_differs_matters() {
        let mut storage = Storage::default();
        let applied = |provisioner| StorageChange::Class(Delta::Applied(class("a", provisioner)));
        assert_eq!(storage.apply(applied("x")), Effect::Matters);
        assert_eq!(storage.apply(applied("x")), Effect::Same);
        assert_eq!(storage.apply(applied("y")), Effect::Matters);
        assert_eq!(storage.apply(StorageChange::Class(Delta::Replaced(vec![class("a", "y")]))), Effect::Same);
        assert_eq!(storage.apply(StorageChange::Class(Delta::Deleted("a".to_owned()))), Effect::Matters);
    }
}
