//! `apiregistration.k8s.io/v1` APIService: which Service answers for a group and version.

use serde::{Deserialize, Serialize};

use super::meta::{Condition, ObjectMeta, null_as_default, null_items_as_default};

/// An APIService.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct ApiService {
    /// Metadata.
    #[serde(deserialize_with = "null_as_default")]
    pub metadata: ObjectMeta,
    /// Specification.
    #[serde(deserialize_with = "null_as_default")]
    pub spec: ApiServiceSpec,
    /// Status.
    #[serde(deserialize_with = "null_as_default")]
    pub status: ApiServiceStatus,
}

/// The read part of `APIServiceSpec`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct ApiServiceSpec {
    /// The Service; absent means kube-apiserver itself.
    pub service: Option<ServiceReference>,
}

/// The read part of `ServiceReference`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct ServiceReference {
    /// Namespace.
    #[serde(deserialize_with = "null_as_default")]
    pub namespace: String,
    /// Name.
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
}

/// The read part of `APIServiceStatus`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct ApiServiceStatus {
    /// Conditions, of which `Available` is the only one.
    #[serde(deserialize_with = "null_items_as_default")]
    pub conditions: Vec<Condition>,
}
