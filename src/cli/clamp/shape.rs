//! The JSON of `plimsoll clamp`.

use std::collections::BTreeMap;

use plimsoll_core::{
    object::{HorizontalPodAutoscaler, Pod, Scale},
    quantity::{Milli, Quantity},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// One line in.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line {
    pub(super) hpa: HorizontalPodAutoscaler,
    pub(super) scale: Scale,
    #[serde(default)]
    pub(super) pods: Vec<Pod>,
    #[serde(default)]
    pub(super) values: Values,
    pub(super) capacity: Capacity,
    #[serde(default)]
    pub(super) policy: Surplus,
    /// Accepted, so that a line for `plimsoll hpa evaluate` can be reused; the clamp has no memory.
    #[serde(default, rename = "now")]
    _now: Option<Value>,
    #[serde(default, rename = "state")]
    _state: Option<Value>,
}

/// Values of metrics; an entry that is absent means that the fetch failed.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Values {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) external: Option<Vec<External>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pods: Option<Vec<Pods>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) object: Option<Vec<Object>>,
    /// Passed through as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) resource: Option<Value>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct External {
    pub(super) metric: String,
    #[serde(default)]
    pub(super) selector: String,
    pub(super) values: Vec<Amount>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pods {
    pub(super) metric: String,
    #[serde(default)]
    pub(super) selector: String,
    pub(super) values: BTreeMap<String, Amount>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Object {
    pub(super) metric: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) selector: Option<String>,
    #[serde(rename = "object")]
    pub(super) described: ObjectName,
    pub(super) value: Amount,
}

/// A quantity that is printed as it was given unless it was changed.
#[derive(Clone, Debug)]
pub(super) struct Amount {
    value: Milli,
    given: Option<Value>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ObjectName {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) name: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Capacity {
    pub(super) bound: i32,
    pub(super) fits: Fits,
}

#[derive(Debug, Deserialize)]
pub(super) struct Fits {
    pub(super) class: Class,
    #[serde(default)]
    pub(super) lo: Option<i32>,
    /// Read so that the output of `plimsoll capacity` can be passed on; grants rest on `lo` alone.
    #[serde(default, rename = "hi")]
    _hi: Option<i64>,
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
#[serde(deny_unknown_fields)]
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
    /// As an HPA reads it, bounded to what may be handed to one.
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
        let quantity = Quantity::deserialize(&given).map_err(serde::de::Error::custom)?;
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

#[derive(Deserialize)]
#[serde(untagged)]
enum Hold {
    Flag(bool),
    Word(String),
    Absent(()),
}

fn hold<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match Hold::deserialize(deserializer)? {
        Hold::Flag(hold) => Ok(hold),
        Hold::Absent(()) => Ok(yes()),
        Hold::Word(word) if ["always", "hold", "true"].contains(&word.as_str()) => Ok(true),
        Hold::Word(word) if ["never", "shed", "false"].contains(&word.as_str()) => Ok(false),
        Hold::Word(word) => {
            Err(serde::de::Error::custom(format!("policy.hold is true, false, \"always\" or \"never\", not {word:?}")))
        }
    }
}
