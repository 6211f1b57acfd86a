//! The replicas of a case: pods, and the claims that a StatefulSet would make for them.

use serde_json::{Value, json};

use super::{CASE, Case};

impl Case {
    /// What the pods are of: the template as a pod, or a StatefulSet where each has claims.
    #[must_use]
    pub fn workload(&self) -> Value {
        let mut template = self.template.clone();
        template["metadata"]["labels"]["replica"] = json!("");
        if self.claims_of_each.is_empty() {
            return template;
        }
        json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet",
            "metadata": {"name": template["metadata"]["name"], "namespace": self.namespace},
            "spec": {
                "selector": {"matchLabels": {CASE: self.name, "replica": ""}},
                "template": {"metadata": {"labels": template["metadata"]["labels"]}, "spec": template["spec"]},
                "volumeClaimTemplates": self.claims_of_each,
            },
        })
    }

    /// One of the replicas.
    #[must_use]
    pub fn replica(&self, ordinal: u64) -> Value {
        let mut pod = self.template.clone();
        pod["metadata"]["name"] = json!(self.name_of(ordinal));
        pod["metadata"]["labels"]["replica"] = json!("");
        let claims = self.claims_of_each.iter().map(|claim| {
            let name = self.claim_of(claim, ordinal);
            json!({"name": claim["metadata"]["name"], "persistentVolumeClaim": {"claimName": name}})
        });
        let volumes: Vec<_> = pod["spec"]["volumes"].as_array().into_iter().flatten().cloned().chain(claims).collect();
        pod["spec"]["volumes"] = json!(volumes);
        pod
    }

    /// The claims of one of the replicas; some may be there already.
    pub fn claims_of(&self, ordinal: u64) -> impl Iterator<Item = Value> {
        self.claims_of_each.iter().map(move |template| {
            let mut claim = template.clone();
            claim["apiVersion"] = json!("v1");
            claim["kind"] = json!("PersistentVolumeClaim");
            claim["metadata"]["name"] = json!(self.claim_of(template, ordinal));
            claim["metadata"]["namespace"] = json!(self.namespace);
            claim
        })
    }

    fn name_of(&self, ordinal: u64) -> String {
        format!("{}-{ordinal}", self.template["metadata"]["name"].as_str().unwrap_or_default())
    }

    fn claim_of(&self, template: &Value, ordinal: u64) -> String {
        format!("{}-{}", template["metadata"]["name"].as_str().unwrap_or_default(), self.name_of(ordinal))
    }
}
