//! What admission reads when a pod is created.

use plimsoll_core::{
    cluster::{Change, Delta},
    object::{LimitRange, ObjectKey, ResourceQuota, RuntimeClass},
};

use super::{Kind, Undecodable, trim};
use crate::kubernetes::health::Feed;

/// ResourceQuotas.
pub(in crate::kubernetes::watch) struct ResourceQuotas;
/// LimitRanges.
pub(in crate::kubernetes::watch) struct LimitRanges;
/// RuntimeClasses.
pub(in crate::kubernetes::watch) struct RuntimeClasses;

impl Kind for ResourceQuotas {
    type Object = ResourceQuota;
    type Item = ResourceQuota;
    type Key = ObjectKey;

    fn feed(&self) -> Feed {
        Feed::ResourceQuotas
    }

    fn path(&self) -> String {
        "/api/v1/resourcequotas".to_owned()
    }

    fn key(&self, namespace: String, name: String) -> ObjectKey {
        ObjectKey::new(namespace, name)
    }

    fn read(&mut self, mut quota: ResourceQuota) -> Result<Option<ResourceQuota>, Undecodable> {
        trim(&mut quota.metadata.annotations);
        Ok(Some(quota))
    }

    fn change(&mut self, delta: Delta<ResourceQuota, ObjectKey>) -> Change {
        Change::ResourceQuota(delta)
    }
}

impl Kind for LimitRanges {
    type Object = LimitRange;
    type Item = LimitRange;
    type Key = ObjectKey;

    fn feed(&self) -> Feed {
        Feed::LimitRanges
    }

    fn path(&self) -> String {
        "/api/v1/limitranges".to_owned()
    }

    fn key(&self, namespace: String, name: String) -> ObjectKey {
        ObjectKey::new(namespace, name)
    }

    fn read(&mut self, mut range: LimitRange) -> Result<Option<LimitRange>, Undecodable> {
        trim(&mut range.metadata.annotations);
        Ok(Some(range))
    }

    fn change(&mut self, delta: Delta<LimitRange, ObjectKey>) -> Change {
        Change::LimitRange(delta)
    }
}

impl Kind for RuntimeClasses {
    type Object = RuntimeClass;
    type Item = RuntimeClass;
    type Key = String;

    fn feed(&self) -> Feed {
        Feed::RuntimeClasses
    }

    fn path(&self) -> String {
        "/apis/node.k8s.io/v1/runtimeclasses".to_owned()
    }

    fn key(&self, _: String, name: String) -> String {
        name
    }

    fn read(&mut self, mut class: RuntimeClass) -> Result<Option<RuntimeClass>, Undecodable> {
        trim(&mut class.metadata.annotations);
        Ok(Some(class))
    }

    fn change(&mut self, delta: Delta<RuntimeClass, String>) -> Change {
        Change::RuntimeClass(delta)
    }
}
