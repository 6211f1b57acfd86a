//! What pods request, for utilisation targets (`calculateRequests`).
//!
//! Requests that are absent default to limits first, as the API server does on admission, for containers and for
//! the pod as a whole. A container that the HPA names wins over pod-level resources.

use std::collections::BTreeMap;

use super::metric::Failure;
use crate::object::{
    Pod,
    pod::{Container, ResourceList},
};

/// Requests by pod name, in thousandths.
pub(super) type Requests<'a> = BTreeMap<&'a str, i64>;

/// The requests of all pods, or why one of them has none.
pub(super) fn of_pods<'a>(pods: &[&'a Pod], container: &str, resource: &str) -> Result<Requests<'a>, Failure> {
    let request = |pod: &&'a Pod| Ok((&*pod.metadata.name, of_pod(pod, container, resource)?));
    pods.iter().map(request).collect()
}

fn of_pod(pod: &Pod, container: &str, resource: &str) -> Result<i64, Failure> {
    if container.is_empty() && has_pod_level(pod) {
        return pod_level(pod, resource).ok_or_else(|| Failure::no_request(resource, "", pod));
    }
    of_containers(pod, container, resource)
}

fn of_containers(pod: &Pod, container: &str, resource: &str) -> Result<i64, Failure> {
    let sidecars = pod.spec.init_containers.iter().filter(|container| is_sidecar(container));
    let mut sum = 0_i64;
    for each in pod.spec.containers.iter().chain(sidecars) {
        if container.is_empty() || container == each.name {
            let request = request(each, resource).ok_or_else(|| Failure::no_request(resource, &each.name, pod))?;
            sum = sum.wrapping_add(request);
        }
        if container == each.name {
            return Ok(sum);
        }
    }
    if container.is_empty() { Ok(sum) } else { Err(Failure::no_container(container, pod)) }
}

/// Whether pod-level requests are in force. They also are when only limits are given: requests default to those.
fn has_pod_level(pod: &Pod) -> bool {
    let Some(resources) = &pod.spec.resources else { return false };
    let supported = |list: &ResourceList| list.keys().any(|name| is_pod_level(name));
    let by_containers = || ["cpu", "memory"].iter().any(|name| of_all_containers(pod, name).is_some());
    supported(&resources.requests) || supported(&resources.limits) || (!resources.limits.is_empty() && by_containers())
}

fn is_pod_level(resource: &str) -> bool {
    matches!(resource, "cpu" | "memory") || resource.starts_with("hugepages-")
}

/// The pod-level request: given, else the sum over containers, else the pod-level limit; overhead on top.
fn pod_level(pod: &Pod, resource: &str) -> Option<i64> {
    let given = pod.spec.resources.as_ref().filter(|_| is_pod_level(resource)).map(|resources| {
        let find = |list: &ResourceList| list.get(resource).map(|quantity| quantity.milli().0);
        (find(&resources.requests), find(&resources.limits))
    });
    let (request, limit) = given.unwrap_or_default();
    let own = request.or_else(|| of_all_containers(pod, resource)).or(limit);
    let overhead = pod.spec.overhead.get(resource).map(|quantity| quantity.milli().0);
    match (own, overhead) {
        (Some(own), Some(overhead)) => Some(own.saturating_add(overhead)),
        (own, overhead) => own.or(overhead),
    }
}

/// What the containers need together: the larger of the running sum and the peak while starting.
fn of_all_containers(pod: &Pod, resource: &str) -> Option<i64> {
    let sum = |a: Option<i64>, b: Option<i64>| match (a, b) {
        (Some(a), Some(b)) => Some(a.saturating_add(b)),
        (a, b) => a.or(b),
    };
    let mut running = pod.spec.containers.iter().map(|container| request(container, resource)).fold(None, sum);
    let (mut sidecars, mut peak) = (None, None);
    for container in &pod.spec.init_containers {
        let own = request(container, resource);
        if is_sidecar(container) {
            running = sum(running, own);
            sidecars = sum(sidecars, own);
            peak = peak.max(sidecars);
        } else {
            peak = peak.max(sum(own, sidecars));
        }
    }
    running.max(peak)
}

fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

fn request(container: &Container, resource: &str) -> Option<i64> {
    let resources = &container.resources;
    resources.requests.get(resource).or_else(|| resources.limits.get(resource)).map(|quantity| quantity.milli().0)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn request_of(spec: &Value, container: &str) -> Option<i64> {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "a"}, "spec": spec})).unwrap();
        of_pods(&[&pod], container, "cpu").ok().map(|requests| requests["a"])
    }

    #[test]
    fn containers_and_sidecars_add_up_and_init_containers_do_not() {
        let spec = json!({
            "containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}],
            "initContainers": [
                {"name": "i", "resources": {"requests": {"cpu": "8"}}},
                {"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "500m"}}}]});
        assert_eq!(request_of(&spec, ""), Some(1500));
        assert_eq!(request_of(&spec, "s"), Some(500));
        assert_eq!(request_of(&spec, "i"), None);
    }

    #[test]
    fn a_container_without_a_request_makes_the_pods_unknown() {
        let spec = json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}, {"name": "d"}]});
        assert_eq!(request_of(&spec, ""), None);
        assert_eq!(request_of(&spec, "c"), Some(1000));
    }

    #[test]
    fn an_absent_request_defaults_to_the_limit() {
        assert_eq!(
            request_of(&json!({"containers": [{"name": "c", "resources": {"limits": {"cpu": "2"}}}]}), ""),
            Some(2000)
        );
    }

    #[test]
    fn pod_level_requests_win_over_containers_but_not_over_a_named_one() {
        let spec = json!({
            "resources": {"requests": {"cpu": "4"}}, "overhead": {"cpu": "100m"},
            "containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]});
        assert_eq!(request_of(&spec, ""), Some(4100));
        assert_eq!(request_of(&spec, "c"), Some(1000));
    }

    #[test]
    fn pod_level_limits_stand_in_only_where_no_container_requests() {
        let limits = json!({"limits": {"cpu": "4"}});
        assert_eq!(request_of(&json!({"resources": limits, "containers": [{"name": "c"}]}), ""), Some(4000));
        let container = json!({"name": "c", "resources": {"requests": {"cpu": "1"}}});
        assert_eq!(request_of(&json!({"resources": limits, "containers": [container]}), ""), Some(1000));
    }

    #[test]
    fn pod_level_memory_alone_takes_cpu_from_containers_and_their_start() {
        let spec = json!({
            "resources": {"requests": {"memory": "4Gi"}},
            "containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}],
            "initContainers": [{"name": "i", "resources": {"requests": {"cpu": "3"}}}]});
        assert_eq!(request_of(&spec, ""), Some(3000));
    }
}
