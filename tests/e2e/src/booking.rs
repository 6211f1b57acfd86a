//! ProvisioningRequests without an autoscaler: the kind, and the status that Cluster Autoscaler would give them.

use anyhow::Result;
use serde_json::{Value, json};

use crate::{ControlPlane, World, standin::WORLD};

const VERSION: &str = "autoscaling.x-k8s.io/v1";

impl ControlPlane {
    /// Makes kube-apiserver serve ProvisioningRequests; what is in them is not checked.
    pub async fn serve_provisioning_requests(&self) -> Result<()> {
        let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
        let version = json!({"name": "v1", "served": true, "storage": true, "schema": schema});
        let name = "provisioningrequests.autoscaling.x-k8s.io";
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": name},
            "spec": {
                "group": "autoscaling.x-k8s.io", "scope": "Namespaced", "versions": [version],
                "names": {
                    "kind": "ProvisioningRequest", "listKind": "ProvisioningRequestList",
                    "plural": "provisioningrequests", "singular": "provisioningrequest",
                },
            },
        });
        self.apply("provisioning-requests.json", &definition).await?;
        self.kubectl(&["wait", "--for=condition=Established", &format!("crd/{name}"), "--timeout=30s"]).await?;
        Ok(())
    }

    pub(crate) async fn apply(&self, file: &str, object: &Value) -> Result<()> {
        let path = self.path(file);
        std::fs::write(&path, object.to_string())?;
        self.kubectl(&["apply", "--server-side", "-f", &path.display().to_string()]).await?;
        Ok(())
    }
}

impl World<'_> {
    /// Room for so many pods of one GPU that has been found and booked.
    pub async fn book(&self, name: &str, pods: u32) -> Result<()> {
        let limits = json!({"limits": {"nvidia.com/gpu": "1"}, "requests": {"nvidia.com/gpu": "1"}});
        let container = json!({"name": "trainer", "image": "none", "resources": limits});
        let template = json!({
            "apiVersion": "v1", "kind": "PodTemplate",
            "metadata": {"name": name, "namespace": self.namespace()},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"nodeSelector": {WORLD: self.namespace()}, "containers": [container]},
            },
        });
        self.plane.apply(&format!("{name}-template.json"), &template).await?;
        self.request(name, pods, &[("Provisioned", "True")]).await
    }

    /// The time of a booking is over.
    pub async fn let_booking_expire(&self, name: &str) -> Result<()> {
        self.request(name, 3, &[("Provisioned", "True"), ("BookingExpired", "True")]).await
    }

    async fn request(&self, name: &str, pods: u32, conditions: &[(&str, &str)]) -> Result<()> {
        let conditions: Vec<_> =
            conditions.iter().map(|(kind, status)| json!({"type": kind, "status": status})).collect();
        let sets = json!([{"podTemplateRef": {"name": name}, "count": pods}]);
        let request = json!({
            "apiVersion": VERSION, "kind": "ProvisioningRequest",
            "metadata": {"name": name, "namespace": self.namespace()},
            "spec": {"podSets": sets, "provisioningClassName": "check-capacity.autoscaling.x-k8s.io"},
            "status": {"conditions": conditions},
        });
        self.plane.apply(&format!("{name}-request.json"), &request).await
    }
}
