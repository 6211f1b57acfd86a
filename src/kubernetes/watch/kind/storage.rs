//! The kinds of storage, of which the view keeps little.

use std::marker::PhantomData;

use plimsoll_core::{
    cluster::{Change, Delta, StorageChange},
    object::{
        CsiDriver, CsiNode, Labels, ObjectKey, ObjectMeta, PersistentVolume, PersistentVolumeClaim, StorageClass,
        VolumeAttachment,
    },
};
use serde::de::DeserializeOwned;

use super::{super::frame::Undecodable, Kind};
use crate::kubernetes::health::Feed;

/// A kind of storage.
pub(in crate::kubernetes::watch) struct Stored<T> {
    /// Whether the older version is asked for.
    older: bool,
    of: PhantomData<fn() -> T>,
}

/// What differs between the kinds.
pub(in crate::kubernetes::watch) trait Object: DeserializeOwned + Send + 'static {
    type Key: Send;
    const FEED: Feed;
    /// Path of the group and version.
    const GROUP: &'static str;
    /// The same of an older version, where a server may have only that.
    const OLDER: Option<&'static str> = None;
    /// Annotations that decide anything.
    const ANNOTATIONS: &'static [&'static str] = &[];
    const KEEPS_LABELS: bool = false;

    fn key(namespace: String, name: String) -> Self::Key;
    fn metadata(&mut self) -> &mut ObjectMeta;
    fn change(delta: Delta<Self, Self::Key>) -> Change;
}

const CORE: &str = "/api/v1";
const STORAGE: &str = "/apis/storage.k8s.io/v1";

// === impl Stored ===

impl<T> Default for Stored<T> {
    fn default() -> Self {
        Self { older: false, of: PhantomData }
    }
}

impl<T: Object> Kind for Stored<T> {
    type Object = T;
    type Item = T;
    type Key = T::Key;

    fn feed(&self) -> Feed {
        T::FEED
    }

    fn path(&self) -> String {
        let older = T::OLDER.filter(|_| self.older);
        format!("{}/{}", older.unwrap_or(T::GROUP), T::FEED.name())
    }

    fn knows(&self, version: &str) -> bool {
        version == T::GROUP || T::OLDER == Some(version)
    }

    fn absent(&mut self) {
        self.older = !self.older;
    }

    fn key(&self, namespace: String, name: String) -> T::Key {
        T::key(namespace, name)
    }

    fn read(&mut self, mut object: T) -> Result<Option<T>, Undecodable> {
        let metadata = object.metadata();
        metadata.annotations.retain(|key, _| T::ANNOTATIONS.contains(&key.as_str()));
        metadata.owner_references.clear();
        if !T::KEEPS_LABELS {
            metadata.labels = Labels::default();
        }
        Ok(Some(object))
    }

    fn change(&mut self, delta: Delta<T, T::Key>) -> Change {
        T::change(delta)
    }
}

// === kinds ===

/// A kind: its key, its feed, the path of its group and version, and what it changes.
macro_rules! kind {
    (@key ObjectKey, $namespace:ident, $name:ident) => { ObjectKey::new($namespace, $name) };
    (@key String, $namespace:ident, $name:ident) => {{
        drop($namespace);
        $name
    }};
    ($object:ty, $key:ident, $feed:ident, $group:expr, $change:expr $(, $item:item)*) => {
        impl Object for $object {
            type Key = $key;
            const FEED: Feed = Feed::$feed;
            const GROUP: &'static str = $group;
            $($item)*

            fn key(namespace: String, name: String) -> $key {
                kind!(@key $key, namespace, name)
            }

            fn metadata(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }

            fn change(delta: Delta<Self, $key>) -> Change {
                $change(delta)
            }
        }
    };
}
pub(super) use kind;

kind!(
    PersistentVolumeClaim,
    ObjectKey,
    PersistentVolumeClaims,
    CORE,
    |delta| Change::Storage(StorageChange::Claim(delta)),
    const ANNOTATIONS: &'static [&'static str] = &Self::ANNOTATIONS;
);
// Labels of volumes name zones, and claims may select by them.
kind!(
    PersistentVolume,
    String,
    PersistentVolumes,
    CORE,
    |delta| Change::Storage(StorageChange::Volume(delta)),
    const ANNOTATIONS: &'static [&'static str] = &Self::ANNOTATIONS;,
    const KEEPS_LABELS: bool = true;
);
kind!(
    StorageClass,
    String,
    StorageClasses,
    STORAGE,
    |delta| Change::Storage(StorageChange::Class(delta)),
    const ANNOTATIONS: &'static [&'static str] = &Self::ANNOTATIONS;
);
kind!(CsiNode, String, CsiNodes, STORAGE, |delta| Change::Storage(StorageChange::Node(delta)));
kind!(CsiDriver, String, CsiDrivers, STORAGE, |delta| Change::Storage(StorageChange::Driver(delta)));
kind!(VolumeAttachment, String, VolumeAttachments, STORAGE, |delta| Change::Storage(StorageChange::Attachment(delta)));

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_a_claim_only_what_decides_is_kept() {
        let mut kind = Stored::<PersistentVolumeClaim>::default();
        assert_eq!(kind.path(), "/api/v1/persistentvolumeclaims");
        let annotations = json!({"pv.kubernetes.io/bind-completed": "yes", "note": "long"});
        let metadata = json!({"namespace": "ml", "name": "m", "labels": {"a": "b"}, "annotations": annotations});
        let object = json!({"metadata": metadata, "spec": {"volumeName": "pv", "accessModes": ["ReadWriteMany"]}});
        let claim = kind.read(serde_json::from_value(object).unwrap()).unwrap().unwrap();
        assert!(claim.is_bound() && claim.metadata.labels.is_empty());
        assert_eq!(claim.metadata.annotations.len(), 1);
    }

    #[test]
    fn the_zone_of_a_volume_is_kept() {
        let mut kind = Stored::<PersistentVolume>::default();
        let metadata = json!({"name": "pv", "labels": {"topology.kubernetes.io/zone": "a"}});
        let volume = kind.read(serde_json::from_value(json!({"metadata": metadata})).unwrap()).unwrap().unwrap();
        assert_eq!(volume.metadata.labels.len(), 1);
        assert_eq!(Stored::<CsiNode>::default().path(), "/apis/storage.k8s.io/v1/csinodes");
    }
}
