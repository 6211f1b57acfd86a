//! What device plugins make of GPUs.

use serde_json::json;

use super::*;
use crate::capacity::{Class, Fits, LimitingFactor, Sharing};

const SHARED: &str = "nvidia.com/gpu.shared";

fn offering(mut node: Node, resource: &str, capacity: u32, allocatable: u32) -> Node {
    node.status.capacity.insert(resource.to_owned(), capacity.to_string().parse().unwrap());
    node.status.allocatable.insert(resource.to_owned(), allocatable.to_string().parse().unwrap());
    node
}

fn labelled(mut node: Node, labels: &[(&str, &str)]) -> Node {
    node.metadata.labels = std::mem::take(&mut node.metadata.labels).with(labels.iter().copied());
    node
}

/// A node whose GPUs are offered four times each.
fn sharing(name: &str, gpus: u32, strategy: &str) -> Node {
    let labels = [("nvidia.com/gpu.replicas", "4"), ("nvidia.com/gpu.sharing-strategy", strategy)];
    labelled(mk_node(name, 4 * gpus), &labels)
}

#[test]
fn devices_that_are_not_healthy_are_no_room_and_are_told() {
    let node = offering(mk_node("a", 8), "nvidia.com/gpu", 8, 5);
    let full = answer(&mk_view([node.clone()], [mk_pod("p", "a", 3)]), &mk_template(1, json!({})));
    assert_eq!((full.fits, full.unhealthy_gpus), (Fits::exact(2), 3));
    assert!(full.groups[0].reason.ends_with("(3 GPUs there are not allocatable)"), "{full:#?}");
    assert!(full.remarks().any(|remark| remark.starts_with("3 GPUs are there")));
    // More are in use than are healthy: that is no room, and not less than none.
    let over = answer(&mk_view([node, mk_node("b", 1)], [mk_pod("p", "a", 7)]), &mk_template(1, json!({})));
    assert_eq!((over.fits, over.free_gpus, over.limiting_factor), (Fits::exact(1), 1, LimitingFactor::Gpu));
    let other = answer(&mk_view([offering(mk_node("a", 8), SHARED, 8, 0)], []), &mk_template(1, json!({})));
    assert_eq!(other.unhealthy_gpus, 0, "of another resource");
}

#[test]
fn slots_are_counted_as_the_scheduler_does_and_devices_are_told_beside_them() {
    let view = mk_view([sharing("a", 2, "time-slicing"), sharing("b", 1, "time-slicing")], [mk_pod("p", "a", 3)]);
    let found = answer(&view, &mk_template(1, json!({})));
    assert_eq!(found.fits, Fits::exact(9));
    assert_eq!(found.sharing, Some(Sharing { free_slots: 9, free_devices: 2, devices: 3, sharers: 4 }));
    assert!(found.cautions.is_empty());
    let renamed = labelled(offering(mk_node("a", 0), SHARED, 6, 6), &[("nvidia.com/gpu.replicas", "3")]);
    let mut template = mk_template(0, json!({}));
    template.spec.containers[0].resources.limits = [(SHARED.to_owned(), "1".parse().unwrap())].into();
    let found = answer(&mk_view([renamed], []), &template);
    assert_eq!(found.sharing, Some(Sharing { free_slots: 6, free_devices: 2, devices: 2, sharers: 3 }));
}

#[test]
fn policy_may_limit_the_sharers_of_a_device() {
    let view = mk_view([sharing("a", 2, "time-slicing"), mk_node("b", 1)], [mk_pod("p", "a", 3)]);
    let policy = Policy { max_sharers: Some(2), ..Policy::default() };
    let template = Template::of(&mk_template(1, json!({})), "ml", &view);
    let found = Inventory::of(&view, &policy).fits(&template);
    // The scheduler would bind more, so this is a lower bound.
    assert_eq!((found.fits.class, found.fits.lo), (Class::Interval, 2));
    assert_eq!(found.sharing, Some(Sharing { free_slots: 1, free_devices: 0, devices: 2, sharers: 2 }));
    let full = mk_view([sharing("a", 2, "time-slicing")], [mk_pod("p", "a", 7)]);
    assert_eq!(Inventory::of(&full, &policy).fits(&template).fits.lo, 0);
    let wide = Policy { max_sharers: Some(9), ..Policy::default() };
    assert_eq!(Inventory::of(&view, &wide).fits(&template).fits, Fits::exact(6));
}

#[test]
fn several_slots_for_one_container_are_a_caution_and_with_mps_no_room() {
    let sliced = answer(&mk_view([sharing("a", 2, "time-slicing")], []), &mk_template(2, json!({})));
    assert_eq!((sliced.fits, sliced.cautions.len()), (Fits::exact(4), 1));
    assert!(sliced.cautions[0].message.contains("failRequestsGreaterThanOne"));
    let mps = answer(&mk_view([sharing("a", 2, "mps"), mk_node("b", 2)], []), &mk_template(2, json!({})));
    assert_eq!(mps.fits, Fits::between(1, Some(5)));
    assert!(mps.groups.iter().any(|group| group.reason.contains("shared by MPS")), "{mps:#?}");
    let one = answer(&mk_view([sharing("a", 2, "mps")], []), &mk_template(1, json!({})));
    assert_eq!(one.fits, Fits::exact(8));
}

#[test]
fn a_node_that_is_partitioned_anew_promises_none_of_its_gpus() {
    let node = |state: &str| labelled(mk_node("a", 8), &[("nvidia.com/mig.config.state", state)]);
    let fits = |state: &str, gpus| answer(&mk_view([node(state)], []), &mk_template(gpus, json!({})));
    assert_eq!(fits("success", 1).fits, Fits::exact(8));
    for state in ["pending", "rebooting", "failed"] {
        let found = fits(state, 1);
        assert_eq!((found.fits, found.limiting_factor), (Fits::between(0, Some(8)), LimitingFactor::Gpu));
        assert!(found.groups[0].reason.contains(&format!("nvidia.com/mig.config.state is {state}")), "{found:#?}");
        assert_eq!(fits(state, 0).fits, Fits::exact(64), "pods without GPUs do not mind");
    }
}

#[test]
fn which_resources_are_gpus_is_configuration() {
    let node = |name: &str, resource: &str| offering(mk_node(name, 0), resource, 8, 6);
    let view = mk_view([node("a", "amd.com/gpu"), node("b", "acme.example/npu")], []);
    let mut template = mk_template(0, json!({}));
    template.spec.containers[0].resources.limits = [("acme.example/npu".to_owned(), "4".parse().unwrap())].into();
    let template = Template::of(&template, "ml", &view);
    let policy = Policy { gpu_resources: vec!["acme.example/*".to_owned()], ..Policy::default() };
    let inventory = Inventory::of(&view, &policy);
    let found = inventory.fits(&template);
    assert_eq!((found.fits, found.free_gpus, found.stranded_gpus), (Fits::exact(1), 6, 2));
    assert_eq!((found.limiting_factor, found.unhealthy_gpus, inventory.total_free_gpus()), (LimitingFactor::Gpu, 2, 6));
    let found = Inventory::of(&view, &Policy::default()).fits(&template);
    assert_eq!(
        (found.free_gpus, found.limiting_factor),
        (6, LimitingFactor::OtherResource),
        "of AMD's, which are some"
    );
}
