//! The request vector of a pod, to the letter of kube-scheduler.
//!
//! `k8s.io/component-helpers` v0.36.3 `resource/helpers.go` (`PodRequests`) after the defaults of
//! `pkg/apis/core/v1/defaults.go` (`SetDefaults_Pod`): sums are exact, and only the sum of a whole pod is rounded, up,
//! to milli-CPU or to whole units, as `framework.Resource` does.

use crate::{
    object::pod::{Container, ContainerStatus, Pod, PodSpec, PodStatus, ResourceList, Resources},
    quantity::Quantity,
};

/// Name of the resource that counts pods.
pub(super) const PODS: &str = "pods";

/// Exact amounts by resource name. Pods name few resources, so a list beats a map.
#[derive(Debug, Default)]
struct Amounts<'a>(Vec<(&'a str, Quantity)>);

/// What the pod asks for when it is created: each resource that the scheduler checks, in milli-CPU or whole units.
pub(super) fn of_spec(spec: &PodSpec) -> Vec<(&str, i64)> {
    scaled(&pod_requests(spec, None))
}

/// What an assigned pod takes: as [`of_spec`], but never less than what the kubelet has granted or put into effect.
pub(super) fn of_assigned(pod: &Pod) -> Vec<(&str, i64)> {
    scaled(&pod_requests(&pod.spec, Some(&pod.status)))
}

/// As [`of_spec`], exact and with every resource name.
pub(super) fn exact(spec: &PodSpec) -> Vec<(&str, Quantity)> {
    pod_requests(spec, None).0
}

/// As [`of_assigned`], exact and with every resource name.
pub(super) fn held(pod: &Pod) -> Vec<(&str, Quantity)> {
    pod_requests(&pod.spec, Some(&pod.status)).0
}

/// The limits of a pod (`PodLimits`), exact and with every resource name.
pub(super) fn limits(spec: &PodSpec) -> Vec<(&str, Quantity)> {
    let mut total = combined(spec, |sum, container, _| sum.add(container.resources.limits.iter().map(borrowed)));
    let pod_level = spec.resources.iter().flat_map(|resources| &resources.limits).map(borrowed);
    for (name, amount) in pod_level.filter(|(name, _)| is_pod_level(name)) {
        total.set(name, amount);
    }
    // Overhead is added only to what is limited.
    for (name, amount) in spec.overhead.iter().map(borrowed) {
        if !total.get(name).is_zero() {
            total.add([(name, amount)]);
        }
    }
    total.0
}

/// Whether a resource may be given for a pod as a whole.
fn is_pod_level(name: &str) -> bool {
    matches!(name, "cpu" | "memory") || name.starts_with("hugepages-")
}

/// The amount in the unit in which the scheduler compares: milli for CPU, whole units for everything else.
pub(super) fn scale(resource: &str, amount: Quantity) -> i64 {
    let scaled = if resource == "cpu" { amount.milli().0 } else { amount.units() };
    scaled.max(0)
}

/// Whether `NodeResourcesFit` looks at the resource (`framework.Resource.Add`, `util.IsScalarResourceName`).
pub(super) fn is_checked(resource: &str) -> bool {
    matches!(resource, "cpu" | "memory" | "ephemeral-storage")
        || resource.starts_with("hugepages-")
        || resource.starts_with("attachable-volumes-")
        || (resource.contains('/') && (!resource.starts_with("requests.") || resource.contains("kubernetes.io/")))
}

fn scaled<'a>(amounts: &Amounts<'a>) -> Vec<(&'a str, i64)> {
    let some = amounts.0.iter().filter(|(name, amount)| *amount > Quantity::ZERO && is_checked(name));
    some.map(|(name, amount)| (*name, scale(name, *amount))).collect()
}

fn pod_requests<'a>(spec: &'a PodSpec, status: Option<&'a PodStatus>) -> Amounts<'a> {
    let mut total = of_containers(spec, status);
    let pod_level = spec.resources.as_ref().map(|resources| pod_level_requests(resources, &total));
    if let (Some(resources), Some(requests)) = (&spec.resources, pod_level) {
        let granted = status.and_then(|status| status.granted.resources.as_ref().map(|actuated| (status, actuated)));
        let effective = granted.map(|(status, actuated)| {
            effective(&resources.requests, &actuated.requests, &status.granted.allocated_resources, status)
        });
        for (name, amount) in requests.0 {
            let amount = effective.as_ref().map_or(amount, |effective| effective.get(name));
            total.set(name, amount);
        }
    }
    total.add(spec.overhead.iter().map(borrowed));
    total
}

/// The pod-level requests that a specification gets before admission looks at it (`SetDefaults_Pod`), by name; nothing
/// where it has no pod-level limits.
pub(super) fn pod_level_defaults(spec: &PodSpec) -> ResourceList {
    let Some(resources) = &spec.resources else { return ResourceList::new() };
    let requests = pod_level_requests(resources, &of_containers(spec, None));
    let missing = requests.0.into_iter().filter(|(name, _)| !resources.requests.contains_key(*name));
    missing.map(|(name, amount)| (name.to_owned(), amount)).collect()
}

/// Pod-level requests after their defaults (`defaultPodRequests`): with any pod-level limit, what containers request
/// together; and a pod-level limit is the request of what none of them requests.
fn pod_level_requests<'a>(resources: &'a Resources, containers: &Amounts<'a>) -> Amounts<'a> {
    let mut requests = Amounts::default();
    for (name, amount) in resources.requests.iter().map(borrowed).filter(|(name, _)| is_pod_level(name)) {
        requests.set(name, amount);
    }
    let limits = resources.limits.iter().map(borrowed).filter(|(name, _)| is_pod_level(name));
    let by_containers = containers.0.iter().copied().filter(|(name, _)| matches!(*name, "cpu" | "memory"));
    let by_containers = by_containers.filter(|_| !resources.limits.is_empty());
    for (name, amount) in by_containers.chain(limits) {
        if !requests.has(name) {
            requests.set(name, amount);
        }
    }
    requests
}

fn of_containers<'a>(spec: &'a PodSpec, status: Option<&'a PodStatus>) -> Amounts<'a> {
    combined(spec, |sum, container, place| {
        let statuses = status.and_then(|status| {
            let statuses = match place {
                Place::Main => &status.granted.container_statuses,
                Place::Sidecar => &status.granted.init_container_statuses,
                Place::Init => return None,
            };
            Some((status, statuses.as_slice()))
        });
        add_container(sum, container, statuses);
    })
}

/// Where in a pod a container is.
#[derive(Clone, Copy, Debug)]
enum Place {
    Main,
    Sidecar,
    Init,
}

/// `AggregateContainerRequests` and `AggregateContainerLimits`: the larger of what runs together and what any init
/// container needs beside the sidecars that were started before it.
fn combined<'a>(spec: &'a PodSpec, add: impl Fn(&mut Amounts<'a>, &'a Container, Place)) -> Amounts<'a> {
    let mut running = Amounts::default();
    for container in &spec.containers {
        add(&mut running, container, Place::Main);
    }
    let mut sidecars = Amounts::default();
    let mut starting = Amounts::default();
    for container in &spec.init_containers {
        let is_sidecar = container.restart_policy.as_deref() == Some("Always");
        let mut amounts = Amounts::default();
        add(&mut amounts, container, if is_sidecar { Place::Sidecar } else { Place::Init });
        if is_sidecar {
            running.add(amounts.0.iter().copied());
            sidecars.add(amounts.0);
            starting.max(sidecars.0.iter().copied());
        } else {
            let mut beside = amounts;
            beside.add(sidecars.0.iter().copied());
            starting.max(beside.0);
        }
    }
    running.max(starting.0);
    running
}

/// Adds the requests of a container, absent ones defaulted to limits, raised to what a resize has granted.
fn add_container<'a>(
    sum: &mut Amounts<'a>,
    container: &'a Container,
    statuses: Option<(&'a PodStatus, &'a [ContainerStatus])>,
) {
    let Resources { requests, limits, .. } = &container.resources;
    if let Some((pod, statuses)) = statuses
        && let Some(status) = statuses.iter().find(|status| status.name == container.name)
        && let Some(actuated) = &status.resources
    {
        sum.add(effective(requests, &actuated.requests, &status.allocated_resources, pod).0);
    } else {
        sum.add(requests.iter().map(borrowed));
        sum.add(limits.iter().map(borrowed).filter(|(name, _)| !requests.contains_key(*name)));
    }
}

/// `determineEffectiveRequests`: a resize that the node has declared infeasible does not count as wanted.
fn effective<'a>(
    wanted: &'a ResourceList,
    actuated: &'a ResourceList,
    allocated: &'a ResourceList,
    pod: &PodStatus,
) -> Amounts<'a> {
    let infeasible = pod.conditions.iter().find(|condition| condition.kind == "PodResizePending");
    let mut result = Amounts::default();
    if infeasible.is_none_or(|condition| condition.reason != "Infeasible") {
        result.max(wanted.iter().map(borrowed));
    }
    result.max(actuated.iter().map(borrowed));
    result.max(allocated.iter().map(borrowed));
    result
}

fn borrowed<'a>((name, amount): (&'a String, &Quantity)) -> (&'a str, Quantity) {
    (name, *amount)
}

// === impl Amounts ===

impl<'a> Amounts<'a> {
    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| *known == name)
    }

    fn get(&self, name: &str) -> Quantity {
        self.0.iter().find(|(known, _)| *known == name).map_or(Quantity::default(), |(_, amount)| *amount)
    }

    fn entry(&mut self, name: &'a str) -> &mut Quantity {
        let index = self.0.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
            self.0.push((name, Quantity::default()));
            self.0.len() - 1
        });
        &mut self.0[index].1
    }

    fn set(&mut self, name: &'a str, amount: Quantity) {
        *self.entry(name) = amount;
    }

    fn add(&mut self, amounts: impl IntoIterator<Item = (&'a str, Quantity)>) {
        for (name, amount) in amounts {
            *self.entry(name) += amount;
        }
    }

    fn max(&mut self, amounts: impl IntoIterator<Item = (&'a str, Quantity)>) {
        for (name, amount) in amounts {
            let largest = self.entry(name);
            *largest = amount.max(*largest);
        }
    }
}
