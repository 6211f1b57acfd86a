//! The few fields of Kubernetes objects that decide anything here, decoded straight from JSON.
//!
//! Field names and meanings are those of Kubernetes v1.36; everything that is not read is skipped while decoding,
//! so an object costs a fraction of its generic form. The same types serve the watches, the offline commands and
//! the tests. Nothing in here computes.

pub mod admission;
pub mod api_service;
pub mod autoscaling;
pub mod claim;
pub mod device;
pub mod group;
pub mod hpa;
pub mod interner;
pub mod keda;
pub mod kueue;
pub mod labels;
pub mod meta;
pub mod moment;
pub mod node;
pub mod owner;
pub mod pod;
pub mod scale;
pub mod shared;
pub mod storage;
pub mod text;
pub mod uid;
pub mod volume;

pub use admission::{LimitRange, ResourceQuota, RuntimeClass};
pub use api_service::ApiService;
pub use claim::{ClaimTemplate, PersistentVolumeClaim};
pub use group::{Group, LeaderWorkerSet};
pub use hpa::HorizontalPodAutoscaler;
pub use interner::Interner;
pub use labels::Labels;
pub use meta::{ObjectKey, ObjectMeta, WorkloadKey};
pub use moment::Moment;
pub use node::Node;
pub use pod::{Pod, PodMeta, PodSpec, PodTemplate};
pub use scale::{Revision, Rollout, Scale, ScaleTarget};
pub use shared::Shared;
pub use storage::{CsiDriver, CsiNode, StorageClass, VolumeAttachment};
pub use text::Text;
pub use uid::Uid;
pub use volume::PersistentVolume;

#[cfg(test)]
mod tests;
