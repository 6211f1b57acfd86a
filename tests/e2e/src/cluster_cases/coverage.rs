//! What cases have, for counting what was covered.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Case, OTHER, devices};

impl Case {
    /// The constraints that the case has, for counting what was covered.
    #[must_use]
    pub fn features(&self) -> BTreeMap<&'static str, bool> {
        let spec = &self.template["spec"];
        let some = |pointer: &str| {
            spec.pointer(pointer).is_some_and(|value| match value {
                Value::Array(items) => !items.is_empty(),
                Value::Object(map) => !map.is_empty(),
                other => !other.is_null(),
            })
        };
        let of_pods = |pointer: &str| self.pods.iter().any(|pod| pod.pointer(pointer).is_some());
        let of_nodes = |pointer: &str| self.nodes.iter().any(|node| node.pointer(pointer).is_some());
        let of_guards = |kind: &str| self.guards.iter().any(|guard| guard["kind"] == kind);
        let text = spec.to_string();
        let required = "requiredDuringSchedulingIgnoredDuringExecution";
        let of_devices = devices::features(&self.devices, &self.claims, spec);
        let mut features = BTreeMap::from([
            ("taints", of_nodes("/spec/taints")),
            ("several taints", of_nodes("/spec/taints/1")),
            ("nodes that are not ready", self.nodes.iter().any(is_unready)),
            ("unhealthy GPUs", self.nodes.iter().any(is_unhealthy)),
            ("cordon", of_nodes("/spec/unschedulable")),
            ("tolerations", some("/tolerations")),
            ("node affinity", some(&format!("/affinity/nodeAffinity/{required}"))),
            ("node selector", spec["nodeSelector"].as_object().is_some_and(|all| all.len() > 1)),
            ("node fields", some(&format!("/affinity/nodeAffinity/{required}/nodeSelectorTerms/0/matchFields"))),
            ("spread", some("/topologySpreadConstraints")),
            ("several spread constraints", some("/topologySpreadConstraints/1")),
            ("spread over more keys", some("/topologySpreadConstraints/2")),
            ("label keys", ["matchLabelKeys", "mismatchLabelKeys"].iter().any(|name| text.contains(name))),
            ("minDomains", text.contains("minDomains")),
            ("nodeTaintsPolicy", text.contains("nodeTaintsPolicy")),
            ("nodeAffinityPolicy", text.contains("nodeAffinityPolicy")),
            ("namespaces of terms", text.contains("namespaceSelector") || text.contains("namespaces")),
            ("several terms of pod affinity", some(&format!("/affinity/podAffinity/{required}/1"))),
            ("pod affinity", some(&format!("/affinity/podAffinity/{required}"))),
            ("pod anti-affinity", some(&format!("/affinity/podAntiAffinity/{required}"))),
            ("anti-affinity of others", of_pods("/spec/affinity/podAntiAffinity")),
            ("host ports", some("/containers/0/ports")),
            ("host ports of others", self.pods.iter().any(|pod| pod.to_string().contains("hostPort"))),
            ("the node's network", some("/hostNetwork")),
            ("several containers", some("/containers/1")),
            ("no GPUs", !spec["containers"].to_string().contains("nvidia.com/")),
            ("resources that no node offers", text.contains("plimsoll.test/nowhere")),
            ("features of kubelets", some("/containers/0/restartPolicyRules")),
            ("init containers", some("/initContainers")),
            ("sidecars", spec["initContainers"].to_string().contains("Always")),
            ("pod-level resources", some("/resources")),
            ("terminating pods", of_pods("/metadata/finalizers")),
            (
                "finished pods",
                self.pods.iter().any(|pod| pod["status"]["phase"].is_string() && pod["status"]["phase"] != "Running"),
            ),
            ("nominated pods", of_pods("/status/nominatedNodeName")),
            ("pods that wait", self.pods.iter().any(|pod| pod["spec"]["nodeName"].is_null())),
            ("priority of others", of_pods("/spec/priorityClassName")),
            ("sidecars of others", of_pods("/spec/initContainers")),
            ("overhead of others", of_pods("/spec/runtimeClassName")),
            ("resized pods", of_pods("/status/containerStatuses")),
            ("pods of other namespaces", self.pods.iter().any(|pod| pod["metadata"]["namespace"] == OTHER)),
            ("parts of GPUs", some("/containers/0/resources/limits/nvidia.com~1mig-1g.10gb")),
            ("local storage", some("/containers/0/resources/requests/ephemeral-storage")),
            ("huge pages", some("/containers/0/resources/requests/hugepages-2Mi")),
            ("priority", some("/priorityClassName")),
            ("runtime class", some("/runtimeClassName")),
            ("volumes", some("/volumes")),
            ("volumes that nodes attach few of", self.volumes.iter().any(|it| it["kind"] == "CSINode")),
            ("volumes that wait for pods", self.has_waiting_volumes()),
            ("volumes of each replica", text.contains("\"ephemeral\"")),
            ("claims of a StatefulSet", !self.claims_of_each.is_empty()),
            ("claims of earlier replicas", self.volumes.iter().any(is_of_earlier)),
            ("claims that their first pod binds", text.contains("-shared-")),
            ("volumes that are made in some places", self.volumes.iter().any(|it| it["allowedTopologies"].is_array())),
            ("volumes that wait for claims", self.volumes.iter().any(is_waiting)),
            ("volumes of each other pod", self.pods.iter().any(|pod| pod.to_string().contains("\"ephemeral\""))),
            ("limit range of claims", self.guards.iter().any(|it| it.to_string().contains("PersistentVolumeClaim"))),
            ("quota", of_guards("ResourceQuota")),
            ("scopes of quotas", self.guards.iter().any(is_scoped)),
            ("limit range", of_guards("LimitRange")),
            ("deadline", some("/activeDeadlineSeconds")),
        ]);
        features.extend(of_devices);
        features
    }
}

fn is_unready(node: &Value) -> bool {
    node["status"]["conditions"][0]["status"] != "True"
}

fn is_unhealthy(node: &Value) -> bool {
    let of = |list: &str| &node["status"][list]["nvidia.com/gpu"];
    of("capacity") != of("allocatable")
}

fn is_of_earlier(object: &Value) -> bool {
    object["kind"] == "PersistentVolumeClaim"
        && object["metadata"]["name"].as_str().is_some_and(|name| name.starts_with("data-"))
}

/// Of no claim yet.
pub(super) fn is_waiting(object: &Value) -> bool {
    object["kind"] == "PersistentVolume" && object["spec"]["claimRef"].is_null()
}

fn is_scoped(guard: &Value) -> bool {
    guard.pointer("/spec/scopes").or_else(|| guard.pointer("/spec/scopeSelector")).is_some()
}
