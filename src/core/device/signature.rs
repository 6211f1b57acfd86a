//! What a request asks of single devices.

use crate::object::{
    device::{DeviceSelector, ExactDeviceRequest},
    pod::Toleration,
};

/// What a request asks of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signature {
    /// The DeviceClass.
    pub class: String,
    /// Expressions of the request itself; none where one is of a kind that is not known.
    pub selectors: Vec<Option<String>>,
    /// Taints that do not matter.
    pub tolerations: Vec<Toleration>,
}

// === impl Signature ===

impl Signature {
    /// Any device of a class.
    #[must_use]
    pub fn of_class(class: &str) -> Self {
        Self { class: class.to_owned(), ..Self::default() }
    }

    /// What a request asks of each of its devices.
    #[must_use]
    pub fn of(request: &ExactDeviceRequest) -> Self {
        let mut tolerations = request.tolerations.clone();
        tolerations.sort_unstable();
        tolerations.dedup();
        Self {
            class: request.device_class_name.clone(),
            selectors: request.selectors.iter().map(text).collect(),
            tolerations,
        }
    }

    /// The same, whatever taints there are.
    pub(crate) fn tolerant(&self) -> Self {
        let any = Toleration { operator: "Exists".to_owned(), ..Toleration::default() };
        Self { tolerations: vec![any], ..self.clone() }
    }

    pub(super) fn describe(&self) -> String {
        match self.selectors.first() {
            None => format!("devices of class {}", self.class),
            Some(_) => format!("selected devices of class {}", self.class),
        }
    }
}

pub(super) fn text(selector: &DeviceSelector) -> Option<String> {
    selector.cel.as_ref().map(|cel| cel.expression.clone())
}
