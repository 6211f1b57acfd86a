//! Object metadata, and the keys by which objects are found.

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

use super::{labels::Labels, text::Text};

/// Annotations, and other texts by name.
pub type StringMap = BTreeMap<String, String>;

/// The read part of `metav1.ObjectMeta`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectMeta {
    /// Name, unique within namespace and kind.
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    /// Namespace; empty for cluster-scoped objects.
    #[serde(deserialize_with = "null_as_default")]
    pub namespace: String,
    /// Unique over time.
    #[serde(deserialize_with = "null_as_default")]
    pub uid: String,
    /// Labels.
    pub labels: Labels,
    /// Annotations.
    #[serde(deserialize_with = "null_values_as_default")]
    pub annotations: StringMap,
    /// Owners, of which at most one is the controller.
    #[serde(deserialize_with = "null_items_as_default")]
    pub owner_references: Vec<OwnerReference>,
    /// When the object was made.
    pub creation_timestamp: Option<Timestamp>,
    /// Set while the object is terminating.
    pub deletion_timestamp: Option<Timestamp>,
    /// Number of the specification that this is.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_zero")]
    pub generation: i64,
}

/// The read part of `metav1.OwnerReference`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OwnerReference {
    /// Group and version of the owner.
    #[serde(deserialize_with = "null_as_default")]
    pub api_version: String,
    /// Kind of the owner.
    #[serde(deserialize_with = "null_as_default")]
    pub kind: String,
    /// Name of the owner.
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    /// Uid of the owner.
    #[serde(deserialize_with = "null_as_default")]
    pub uid: String,
    /// Whether this owner is the managing controller.
    pub controller: Option<bool>,
}

/// The read part of `metav1.Condition`, and of its like in other groups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Condition {
    /// Type, e.g. `Ready`.
    #[serde(rename = "type", deserialize_with = "null_as_default")]
    pub kind: String,
    /// `True`, `False`, `Unknown`.
    #[serde(deserialize_with = "null_as_default")]
    pub status: String,
    /// For machines.
    #[serde(deserialize_with = "null_as_default")]
    pub reason: String,
    /// For people.
    #[serde(deserialize_with = "null_as_default")]
    pub message: String,
}

/// Namespace and name of an object of a known kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
pub struct ObjectKey {
    /// Namespace.
    pub namespace: Text,
    /// Name.
    pub name: Text,
}

/// Identity of a workload: a scale target.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
pub struct WorkloadKey {
    /// Namespace.
    pub namespace: String,
    /// API group, `apps` for a Deployment; empty for the core group.
    pub group: String,
    /// Kind, e.g. `Deployment`.
    pub kind: String,
    /// Name.
    pub name: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
const fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// Reads `null` as the default, as Go does: its clients print empty maps and slices so.
pub(crate) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// The same for a list and for each of its items.
pub(crate) fn null_items_as_default<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(nullable_items(deserializer)?.unwrap_or_default())
}

/// The same for the items of a list that may be absent.
pub(crate) fn nullable_items<'de, D, T>(deserializer: D) -> Result<Option<Vec<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    let items = Option::<Vec<OrDefault<T>>>::deserialize(deserializer)?;
    Ok(items.map(|items| items.into_iter().map(|OrDefault(item)| item).collect()))
}

/// The same for a map and for each of its values.
pub(crate) fn null_values_as_default<'de, D, T>(deserializer: D) -> Result<BTreeMap<String, T>, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    let values = Option::<BTreeMap<String, OrDefault<T>>>::deserialize(deserializer)?.unwrap_or_default();
    Ok(values.into_iter().map(|(key, OrDefault(value))| (key, value)).collect())
}

/// An item or value that may be `null`.
#[derive(Deserialize)]
#[serde(bound = "T: Default + Deserialize<'de>")]
struct OrDefault<T>(#[serde(deserialize_with = "null_as_default")] T);

// === impl Condition ===

impl Condition {
    /// Whether it is of that type and has that status.
    #[must_use]
    pub fn says(&self, kind: &str, status: &str) -> bool {
        self.kind == kind && self.status == status
    }
}

// === impl ObjectKey ===

impl ObjectKey {
    /// A key from its parts.
    pub fn new(namespace: impl Into<Text>, name: impl Into<Text>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

// === impl ObjectMeta ===

impl ObjectMeta {
    /// The key of the object.
    #[must_use]
    pub fn key(&self) -> ObjectKey {
        ObjectKey::new(&*self.namespace, &*self.name)
    }

    /// The owner that manages the object, if any.
    #[must_use]
    pub fn controller(&self) -> Option<&OwnerReference> {
        self.owner_references.iter().find(|owner| owner.controller == Some(true))
    }
}

// === impl WorkloadKey ===

impl fmt::Display for WorkloadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.namespace, self.kind.to_ascii_lowercase(), self.name)
    }
}
