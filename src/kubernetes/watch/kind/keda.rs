//! KEDA's kinds. A cluster may not have them; an object that changes only its status is the same to the view.

use plimsoll_core::{
    cluster::{Change, Delta},
    object::{
        ObjectKey,
        keda::{GROUP, ScaledJob, ScaledObject},
    },
};

use super::{super::frame::Undecodable, Kind, trim};
use crate::kubernetes::health::Feed;

/// ScaledObjects.
pub(in crate::kubernetes::watch) struct ScaledObjects;
/// ScaledJobs.
pub(in crate::kubernetes::watch) struct ScaledJobs;

impl Kind for ScaledObjects {
    type Object = ScaledObject;
    type Item = ScaledObject;
    type Key = ObjectKey;

    fn feed(&self) -> Feed {
        Feed::ScaledObjects
    }

    fn path(&self) -> String {
        format!("/apis/{GROUP}/v1alpha1/scaledobjects")
    }

    fn key(&self, namespace: String, name: String) -> ObjectKey {
        ObjectKey::new(namespace, name)
    }

    fn read(&mut self, mut object: ScaledObject) -> Result<Option<ScaledObject>, Undecodable> {
        trim(&mut object.metadata.annotations);
        Ok(Some(object))
    }

    fn change(&mut self, delta: Delta<ScaledObject, ObjectKey>) -> Change {
        Change::ScaledObject(delta)
    }
}

impl Kind for ScaledJobs {
    type Object = ScaledJob;
    type Item = ScaledJob;
    type Key = ObjectKey;

    fn feed(&self) -> Feed {
        Feed::ScaledJobs
    }

    fn path(&self) -> String {
        format!("/apis/{GROUP}/v1alpha1/scaledjobs")
    }

    fn key(&self, namespace: String, name: String) -> ObjectKey {
        ObjectKey::new(namespace, name)
    }

    fn read(&mut self, mut job: ScaledJob) -> Result<Option<ScaledJob>, Undecodable> {
        trim(&mut job.metadata.annotations);
        Ok(Some(job))
    }

    fn change(&mut self, delta: Delta<ScaledJob, ObjectKey>) -> Change {
        Change::ScaledJob(delta)
    }
}
