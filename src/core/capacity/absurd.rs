//! Amounts below zero, which an API server never lets pass (`pkg/apis/core/validation/validation.go`, Kubernetes
//! v1.36.3), and amounts that no machine has, which it does: nothing may be promised where one is found.

use crate::{
    object::{
        Node, PodSpec,
        pod::{Container, ResourceList, Resources},
    },
    quantity::Quantity,
};

/// Most GPUs of a node that are believed: sixteen of them, each in 65,536 slots.
const MAX_GPUS: i64 = 1 << 20;
/// Most milli-CPU or units of anything else that are believed: 8 PiB of memory. The scheduler adds up amounts in
/// `int64`, where a few that are much larger wrap around.
const MAX_UNITS: i64 = 1 << 53;

/// The first negative amount that a pod asks for, as a path in its specification.
#[must_use]
pub fn negative_request(spec: &PodSpec) -> Option<String> {
    let of_container = |list: &str, containers: &[Container]| {
        let negative = |(index, it): (usize, &Container)| Some((index, of_resources(&it.resources)?));
        containers.iter().enumerate().find_map(negative).map(|(index, path)| format!("{list}[{index}].{path}"))
    };
    of_container("containers", &spec.containers)
        .or_else(|| of_container("initContainers", &spec.init_containers))
        .or_else(|| spec.resources.as_ref().and_then(of_resources))
        .or_else(|| of_list("overhead", &spec.overhead))
}

/// The first negative amount that a node offers, as a path in the object.
#[must_use]
pub fn negative_allocatable(node: &Node) -> Option<String> {
    of_list("status.allocatable", &node.status.allocatable)
}

/// Whether no machine has so much of a resource, in milli-CPU or units.
pub(super) const fn is_unbelievable(amount: i64, is_gpu: bool) -> bool {
    amount > MAX_UNITS || (is_gpu && amount > MAX_GPUS)
}

fn of_resources(resources: &Resources) -> Option<String> {
    of_list("resources.requests", &resources.requests).or_else(|| of_list("resources.limits", &resources.limits))
}

fn of_list(path: &str, amounts: &ResourceList) -> Option<String> {
    let negative = amounts.iter().find(|(_, amount)| **amount < Quantity::ZERO);
    negative.map(|(name, amount)| format!("{path}[{name}] is {amount}, below zero"))
}
