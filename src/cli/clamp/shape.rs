//! The JSON of `plimsoll clamp`.

use std::collections::BTreeMap;

use plimsoll_core::{
    object::{HorizontalPodAutoscaler, Pod, Scale},
    quantity::{Milli, Quantity},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::{Map, Value};

/// One line in. Keys that are not named here are left alone, so that a line for `plimsoll hpa evaluate` can be reused
/// and a caller may carry its own.
#[derive(Debug, Deserialize)]
pub(super) struct Line {
    pub(super) hpa: HorizontalPodAutoscaler,
    pub(super) scale: Scale,
    #[serde(default, deserialize_with = "null_as_default")]
    pub(super) pods: Vec<Pod>,
    #[serde(default, deserialize_with = "null_as_default")]
    pub(super) values: Values,
    pub(super) capacity: Capacity,
    #[serde(default, deserialize_with = "null_as_default")]
    pub(super) policy: Surplus,
}

/// Values of metrics; an entry that is absent means that the fetch failed.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Values {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) external: Option<Vec<External>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pods: Option<Vec<Pods>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) object: Option<Vec<Object>>,
    /// Resource values and whatever else there is: passed through as it is, as in every entry.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct External {
    pub(super) metric: String,
    #[serde(default, deserialize_with = "null_as_default")]
    pub(super) selector: String,
    #[serde(default, deserialize_with = "null_as_default")]
    pub(super) values: Vec<Amount>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Pods {
    pub(super) metric: String,
    #[serde(default, deserialize_with = "null_as_default")]
    pub(super) selector: String,
    #[serde(default, deserialize_with = "null_as_default")]
    pub(super) values: BTreeMap<String, Amount>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Object {
    pub(super) metric: String,
    #[serde(rename = "object")]
    pub(super) described: ObjectName,
    pub(super) value: Amount,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// A quantity that is printed as it was given unless it was changed.
#[derive(Clone, Debug)]
pub(super) struct Amount {
    value: Milli,
    given: Option<Value>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(super) struct ObjectName {
    pub(super) kind: String,
    pub(super) name: String,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// Counts of replicas; grants rest on `lo` alone, so the rest of what `plimsoll capacity` says is left alone.
#[derive(Debug, Deserialize)]
pub(super) struct Capacity {
    pub(super) bound: i64,
    pub(super) fits: Fits,
}

#[derive(Debug, Deserialize)]
pub(super) struct Fits {
    pub(super) class: Class,
    #[serde(default)]
    pub(super) lo: Option<i64>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Class {
    Exact,
    Interval,
    Unknown,
}

/// What happens to replicas above the grant.
#[derive(Debug, Deserialize)]
pub(super) struct Surplus {
    #[serde(default = "yes", deserialize_with = "hold")]
    pub(super) hold: bool,
}

/// One line out.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    pub(super) values: Values,
    pub(super) cap: i32,
    pub(super) clamped: bool,
    pub(super) reason: String,
}

// === impl Values ===

impl Values {
    /// Whether any value is served otherwise than it was given.
    pub(super) fn is_changed(&self) -> bool {
        let external = self.external.iter().flatten().flat_map(|entry| &entry.values);
        let pods = self.pods.iter().flatten().flat_map(|entry| entry.values.values());
        let object = self.object.iter().flatten().map(|entry| &entry.value);
        external.chain(pods).chain(object).any(|amount| amount.given.is_none())
    }
}

// === impl Amount ===

impl Amount {
    /// As it was measured.
    pub(super) fn measured(&self) -> Milli {
        self.value
    }

    /// The same, bounded to what may be handed to an HPA.
    pub(super) fn raw(&self) -> Milli {
        self.value.servable()
    }

    /// Serves that value.
    pub(super) fn serve(&mut self, value: Milli) {
        if self.value != value {
            *self = Self { value, given: None };
        }
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let given = Value::deserialize(deserializer)?;
        let quantity = match &given {
            Value::Null => Err(D::Error::custom("a value is a Kubernetes quantity, not null")),
            given => Quantity::deserialize(given).map_err(D::Error::custom),
        }?;
        Ok(Self { value: quantity.milli(), given: Some(given) })
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.given {
            Some(given) => given.serialize(serializer),
            None => self.value.quantity().serialize(serializer),
        }
    }
}

impl Default for Surplus {
    fn default() -> Self {
        Self { hold: yes() }
    }
}

const fn yes() -> bool {
    true
}

fn hold<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(yes()),
        Value::Bool(hold) => Ok(hold),
        Value::String(word) if ["always", "hold", "true"].contains(&word.as_str()) => Ok(true),
        Value::String(word) if ["never", "shed", "false"].contains(&word.as_str()) => Ok(false),
        other => Err(D::Error::custom(format!("hold must be true, false, \"always\" or \"never\", not {other}"))),
    }
}

/// Clients written in Go print what is empty as `null`.
fn null_as_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
