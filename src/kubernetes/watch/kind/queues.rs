//! Kueue's kinds; a cluster may not have them, and its releases serve one version or both.

use plimsoll_core::{
    cluster::{Change, Delta, QueueChange},
    object::{
        ObjectKey, ObjectMeta,
        kueue::{ClusterQueue, Cohort, LocalQueue, ResourceFlavor},
    },
};

use super::storage::{Object, kind};
use crate::kubernetes::health::Feed;

const NEW: &str = "/apis/kueue.x-k8s.io/v1beta2";
const OLD: &str = "/apis/kueue.x-k8s.io/v1beta1";

kind!(
    LocalQueue,
    ObjectKey,
    LocalQueues,
    NEW,
    |delta| Change::Queue(QueueChange::Local(delta)),
    const OLDER: Option<&'static str> = Some(OLD);
);
kind!(
    ClusterQueue,
    String,
    ClusterQueues,
    NEW,
    |delta| Change::Queue(QueueChange::Cluster(delta)),
    const OLDER: Option<&'static str> = Some(OLD);
);
kind!(
    ResourceFlavor,
    String,
    ResourceFlavors,
    NEW,
    |delta| Change::Queue(QueueChange::Flavor(delta)),
    const OLDER: Option<&'static str> = Some(OLD);
);
kind!(
    Cohort,
    String,
    Cohorts,
    NEW,
    |delta| Change::Queue(QueueChange::Cohort(delta)),
    const OLDER: Option<&'static str> = Some(OLD);
);

#[cfg(test)]
mod tests {
    use super::{
        super::{Kind, Stored},
        *,
    };

    #[test]
    fn the_version_that_is_not_served_is_followed_by_the_other() {
        let mut kind = Stored::<LocalQueue>::default();
        let paths = ["v1beta2", "v1beta1", "v1beta2"].map(|version| {
            let path = kind.path();
            assert_eq!(path, format!("/apis/kueue.x-k8s.io/{version}/localqueues"));
            kind.absent();
            path
        });
        assert_ne!(paths[0], paths[1]);
    }
}
