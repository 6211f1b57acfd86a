//! Cases without one of their parts: for finding what a difference needs.

use serde_json::Value;

use super::{Case, coverage::is_waiting};

impl Case {
    /// The case without one of its parts, one after the other: for finding what a difference needs.
    #[must_use]
    pub fn smaller(&self) -> Vec<Self> {
        let mut smaller = Vec::new();
        for index in 0..self.pods.len() {
            let mut case = self.clone();
            let pod = case.pods.remove(index);
            let name = &pod["metadata"]["name"];
            case.claims.retain(|claim| claim["metadata"]["name"] != *name);
            smaller.push(case);
        }
        let used = |name: &Value| self.pods.iter().any(|pod| pod["spec"]["nodeName"] == *name);
        for index in 0..self.nodes.len() {
            if self.nodes.len() > 1 && !used(&self.nodes[index]["metadata"]["name"]) {
                let mut case = self.clone();
                case.nodes.remove(index);
                smaller.push(case);
            }
        }
        for index in 0..self.guards.len() {
            let mut case = self.clone();
            case.guards.remove(index);
            smaller.push(case);
        }
        for index in 0..self.devices.len() {
            // Pods would wait for claims that nobody can make.
            if self.devices[index]["kind"] != "ResourceClaimTemplate" {
                let mut case = self.clone();
                case.devices.remove(index);
                smaller.push(case);
            }
        }
        for index in 0..self.volumes.len() {
            let mut case = self.clone();
            if case.volumes[index]["allowedTopologies"].is_array() {
                case.volumes[index]["allowedTopologies"] = Value::Null;
            } else if is_waiting(&case.volumes[index]) || case.volumes[index]["kind"] == "CSINode" {
                case.volumes.remove(index);
            } else {
                continue;
            }
            smaller.push(case);
        }
        for index in 0..self.claims_of_each.len() {
            let mut case = self.clone();
            case.claims_of_each.remove(index);
            smaller.push(case);
        }
        for index in 0..self.claims.len() {
            let mut case = self.clone();
            let claim = case.claims.remove(index);
            let name = &claim["metadata"]["name"];
            case.pods.retain(|pod| pod["metadata"]["name"] != *name);
            let asked = self.template["spec"]["resourceClaims"].as_array();
            if !asked.is_some_and(|all| all.iter().any(|it| it["resourceClaimName"] == *name)) {
                smaller.push(case);
            }
        }
        smaller.extend(parts(&self.template).into_iter().map(|template| Self { template, ..self.clone() }));
        smaller
    }
}

/// The template without one of its constraints, for each of them.
fn parts(template: &Value) -> Vec<Value> {
    let all = [
        "/spec/initContainers/0",
        "/spec/initContainers/1",
        "/spec/containers/1",
        "/spec/tolerations/0",
        "/spec/tolerations/1",
        "/spec/topologySpreadConstraints/0",
        "/spec/topologySpreadConstraints/1",
        "/spec/topologySpreadConstraints/2",
        "/spec/affinity/nodeAffinity",
        "/spec/affinity/podAffinity/requiredDuringSchedulingIgnoredDuringExecution/1",
        "/spec/affinity/podAffinity",
        "/spec/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution/1",
        "/spec/affinity/podAntiAffinity",
        "/spec/volumes/0",
        "/spec/volumes/1",
        "/spec/volumes/2",
        "/spec/volumes/3",
        "/spec/resourceClaims/0",
        "/spec/resourceClaims/1",
        "/spec/resources",
        "/spec/activeDeadlineSeconds",
        "/spec/hostNetwork",
        "/spec/priorityClassName",
        "/spec/runtimeClassName",
        "/spec/containers/0/ports",
        "/spec/containers/0/resources/requests/ephemeral-storage",
        "/spec/containers/0/resources/requests/cpu",
        "/spec/containers/0/resources/requests/memory",
    ];
    all.into_iter().filter_map(|pointer| without(template, pointer)).collect()
}

fn without(template: &Value, pointer: &str) -> Option<Value> {
    let mut template = template.clone();
    let (parent, last) = pointer.rsplit_once('/')?;
    let removed = match template.pointer_mut(parent)? {
        Value::Object(map) => map.remove(last).is_some_and(|value| !value.is_null()),
        Value::Array(items) => {
            let index = last.parse().ok().filter(|index| *index < items.len())?;
            items.remove(index);
            true
        }
        _ => false,
    };
    removed.then_some(template)
}
