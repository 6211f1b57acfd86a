//! Claim templates of a StatefulSet: each of its pods gets a volume per template that the pod template does not show.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    meta::{ObjectMeta, null_as_default},
    pod::PodTemplate,
};

/// The read part of an item of `spec.volumeClaimTemplates`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct ClaimTemplate {
    /// Metadata, of which the name becomes that of the volume.
    #[serde(deserialize_with = "null_as_default")]
    pub metadata: ObjectMeta,
}

impl PodTemplate {
    /// Adds the volumes of claim templates, each in the place of one that has its name already (`updateStorage` in
    /// `pkg/controller/statefulset/stateful_set_utils.go`, v1.36.3).
    pub fn claim(&mut self, templates: &[ClaimTemplate]) {
        for template in templates {
            let name = json!(template.metadata.name);
            let claim = json!({ "claimName": name });
            self.spec.volumes.retain(|volume| volume.get("name") != Some(&name));
            let volume = [("name".to_owned(), name), ("persistentVolumeClaim".to_owned(), claim)];
            self.spec.volumes.push(BTreeMap::from(volume));
        }
    }
}
