//! Nodes to come: the devices and volumes that they have because their like has them, and those that they cannot have.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    capacity::{Answer, Class, Edit, Fits, Inventory, Template},
    cluster::{Change, Delta, DeviceChange, StorageChange},
    object::PodTemplate,
};

const DRIVER: &str = "gpu.nvidia.com";
const DISKS: &str = "ebs.csi.aws.com";
const ZONE: &str = "topology.kubernetes.io/zone";

/// What is on each machine of the group.
#[derive(Clone, Copy, Debug)]
struct Machine {
    zone: &'static str,
    gpus: usize,
    /// Volumes that its driver attaches; none if it does not limit them.
    disks: Option<u32>,
    /// A DaemonSet's pod there has a volume of its own, and a device of its own.
    daemon: (bool, bool),
}

const PLAIN: Machine = Machine { zone: "a", gpus: 4, disks: Some(3), daemon: (false, false) };

fn applied<T: serde::de::DeserializeOwned, K>(object: Value) -> Delta<T, K> {
    Delta::Applied(from(object))
}

fn claim_of(name: &str, pod: &str, pool: &str, devices: &[String]) -> Change {
    let result = |device: &String| json!({"request": "r", "driver": DRIVER, "pool": pool, "device": device});
    let results: Vec<_> = devices.iter().map(result).collect();
    let nodes = json!({"nodeSelectorTerms": [{"matchFields": [
        {"key": "metadata.name", "operator": "In", "values": [pool]},
    ]}]});
    let users = json!([{"resource": "pods", "name": pod}]);
    let status = json!({"allocation": {"devices": {"results": results}, "nodeSelector": nodes}, "reservedFor": users});
    let claim = json!({"metadata": {"namespace": "ml", "name": name}, "status": status});
    Change::Device(DeviceChange::Claim(applied(claim)))
}

fn slice_of(node: &str, devices: usize, more: &Value) -> Change {
    let device = |index: usize| {
        let uuid = format!("GPU-{node}-{index}");
        json!({"name": format!("gpu-{index}"), "attributes": {"uuid": {"string": uuid}, "type": {"string": "gpu"}}})
    };
    let devices: Vec<_> = (0..devices).map(device).collect();
    let pool = json!({"name": node, "generation": 1, "resourceSliceCount": 1});
    let mut spec = json!({"driver": DRIVER, "nodeName": node, "pool": pool, "devices": devices});
    spec.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
    let name = format!("{node}-{}", spec["pool"]["name"].as_str().unwrap());
    Change::Device(DeviceChange::Slice(applied(json!({"metadata": {"name": name}, "spec": spec}))))
}

/// All that is told of one machine.
fn machine(name: &str, of: Machine) -> Vec<Change> {
    let offered = json!({"cpu": "64", "pods": "110"});
    let node = json!({
        "metadata": {"name": name, "labels": {
            "karpenter.sh/nodepool": "gpu", "kubernetes.io/hostname": name, ZONE: of.zone, "disks/node": name,
        }},
        "status": {"allocatable": offered, "capacity": offered, "conditions": [{"type": "Ready", "status": "True"}]},
    });
    let driver = json!({
        "name": DISKS, "nodeID": name, "topologyKeys": [ZONE, "disks/node"], "allocatable": {"count": of.disks},
    });
    let drivers = json!({"metadata": {"name": name}, "spec": {"drivers": [driver]}});
    let agent = format!("agent-{name}");
    let one_if = |has: bool, one: Value| if has { json!([one]) } else { json!([]) };
    let cache = json!({"name": "cache", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}});
    let volumes = one_if(of.daemon.0, cache);
    let claims = one_if(of.daemon.1, json!({"name": "d", "resourceClaimTemplateName": "one"}));
    let owner = json!([{"kind": "DaemonSet", "name": "agent", "controller": true}]);
    let daemon = json!({
        "metadata": {"name": agent, "namespace": "ml", "ownerReferences": owner},
        "spec": {"nodeName": name, "volumes": volumes, "resourceClaims": claims}, "status": {"phase": "Running"},
    });
    let mut all = vec![
        Change::Node(applied(node)),
        Change::Storage(StorageChange::Node(applied(drivers))),
        slice_of(name, of.gpus, &json!({})),
        Change::Pod(applied(daemon)),
    ];
    if of.daemon.0 {
        let cache = json!({
            "metadata": {"namespace": "ml", "name": format!("{agent}-cache")},
            "spec": {"storageClassName": "fast"}, "status": {"phase": "Pending"},
        });
        all.push(Change::Storage(StorageChange::Claim(applied(cache))));
    }
    if of.daemon.1 {
        all.push(claim_of(&format!("{agent}-d"), &agent, name, &["gpu-0".to_owned()]));
    }
    all
}

/// What the cluster has beside its machines: a class of devices, claims for one and for two of them, a class of disks.
fn surroundings() -> Vec<Change> {
    let by = |expression: &str| json!([{"cel": {"expression": expression}}]);
    let class = json!({"selectors": by("device.driver == 'gpu.nvidia.com'"), "extendedResourceName": "nvidia.com/gpu"});
    let asks = |name: &str, count: u32, selectors: &Value| {
        let request = json!({"deviceClassName": "gpu", "count": count, "selectors": selectors});
        let requests = json!([{"name": "r", "exactly": request}]);
        let template = json!({
            "metadata": {"namespace": "ml", "name": name}, "spec": {"spec": {"devices": {"requests": requests}}},
        });
        Change::Device(DeviceChange::ClaimTemplate(applied(template)))
    };
    let disks =
        json!({"metadata": {"name": "fast"}, "provisioner": DISKS, "volumeBindingMode": "WaitForFirstConsumer"});
    vec![
        Change::Device(DeviceChange::Class(applied(json!({"metadata": {"name": "gpu"}, "spec": class})))),
        Change::Device(DeviceChange::Slice(Delta::Replaced(Vec::new()))),
        Change::Device(DeviceChange::Claim(Delta::Replaced(Vec::new()))),
        asks("one", 1, &json!([])),
        asks("two", 2, &json!([])),
        asks("that", 1, &by("device.attributes['gpu.nvidia.com'].uuid == 'GPU-gpu-1-0'")),
        Change::Storage(StorageChange::Claim(Delta::Replaced(Vec::new()))),
        Change::Storage(StorageChange::Volume(Delta::Replaced(Vec::new()))),
        Change::Storage(StorageChange::Class(applied(disks))),
        Change::Storage(StorageChange::Driver(Delta::Replaced(Vec::new()))),
        Change::Storage(StorageChange::Attachment(Delta::Replaced(Vec::new()))),
    ]
}

/// A group of machines to which one more may be added.
fn group_of(machines: &[(&str, Machine)]) -> View {
    let may_add = NodeGroup { name: "gpu".to_owned(), max: Some(2), target: 1, ..NodeGroup::default() };
    let autoscaler = NodeAutoscaler { groups: vec![may_add], ..NodeAutoscaler::default() };
    let mut view = View { node_autoscaler: Some(autoscaler), ..View::default() };
    let machines = machines.iter().flat_map(|(name, of)| machine(name, *of));
    surroundings().into_iter().chain(machines).for_each(|change| _ = view.apply(change));
    view
}

fn put(view: &mut View, changes: impl IntoIterator<Item = Change>) {
    changes.into_iter().for_each(|change| _ = view.apply(change));
}

fn with(spec: &Value) -> PodTemplate {
    let mut all = json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]});
    all.as_object_mut().unwrap().extend(spec.as_object().cloned().unwrap());
    from(json!({"spec": all}))
}

fn claiming(template: &str) -> PodTemplate {
    with(&json!({"resourceClaims": [{"name": "d", "resourceClaimTemplateName": template}]}))
}

fn mapped(gpus: u32) -> PodTemplate {
    with(&json!({"containers": [{"name": "c", "resources": {"limits": {"nvidia.com/gpu": gpus.to_string()}}}]}))
}

fn mounting(claim: &str) -> PodTemplate {
    with(&json!({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": claim}}]}))
}

fn with_disk() -> PodTemplate {
    let claim = json!({"spec": {
        "accessModes": ["ReadWriteOnce"], "storageClassName": "fast", "resources": {"requests": {"storage": "5Gi"}},
    }});
    with(&json!({"volumes": [{"name": "v", "ephemeral": {"volumeClaimTemplate": claim}}]}))
}

/// A claim `m` that is bound to a volume which only nodes with this label can use.
fn disk(key: &str, value: &str, mode: &str) -> Vec<Change> {
    let claim = json!({
        "metadata": {"name": "m", "namespace": "ml", "annotations": {"pv.kubernetes.io/bind-completed": "yes"}},
        "spec": {"volumeName": "pv", "accessModes": [mode], "storageClassName": "fast"}, "status": {"phase": "Bound"},
    });
    let expression = json!({"key": key, "operator": "In", "values": [value]});
    let volume = json!({
        "metadata": {"name": "pv"}, "status": {"phase": "Bound"},
        "spec": {
            "csi": {"driver": DISKS, "volumeHandle": "h"}, "accessModes": [mode],
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}},
        },
    });
    vec![Change::Storage(StorageChange::Claim(applied(claim))), Change::Storage(StorageChange::Volume(applied(volume)))]
}

#[test]
fn a_node_to_come_has_the_devices_of_its_like_and_all_of_them_are_free() {
    let mut view = group_of(&[("gpu-1", PLAIN)]);
    put(&mut view, [claim_of("held", "holder", "gpu-1", &["gpu-0".to_owned(), "gpu-1".to_owned()])]);
    assert_eq!(headroom(&view, &claiming("one")), Ok(Fits::exact(4)));
    assert_eq!(headroom(&view, &claiming("two")), Ok(Fits::exact(2)));
    assert_eq!(headroom(&view, &mapped(4)), Ok(Fits::exact(1)));
    assert_eq!(headroom(&view, &claiming("that")), Ok(Fits::exact(0)), "that device is on the node that is here");
}

#[test]
fn what_daemons_take_of_a_node_is_taken_of_its_copy() {
    let view = group_of(&[("gpu-1", Machine { daemon: (true, true), ..PLAIN })]);
    assert_eq!(headroom(&view, &claiming("one")), Ok(Fits::exact(3)));
    assert_eq!(headroom(&view, &with_disk()), Ok(Fits::exact(2)));
}

#[test]
fn the_like_is_the_node_that_has_its_devices_already() {
    let bare = Machine { gpus: 0, ..PLAIN };
    let view = group_of(&[("a", bare), ("b", PLAIN), ("c", bare)]);
    assert_eq!(headroom(&view, &claiming("one")), Ok(Fits::exact(4)));
}

#[test]
fn a_node_is_being_brought_until_its_slices_are_published() {
    let bare = Machine { gpus: 0, ..PLAIN };
    let mut view = group_of(&[("a", PLAIN), ("b", bare)]);
    let now: jiff::Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
    let autoscaler = view.node_autoscaler.as_mut().unwrap();
    autoscaler.updated = Some(now - jiff::SignedDuration::from_secs(120));
    autoscaler.groups[0] = NodeGroup { target: 2, arriving: 1, ..autoscaler.groups[0].clone() };
    view.nodes.get_mut("b").unwrap().status.conditions[0].last_transition_time =
        Some(now - jiff::SignedDuration::from_secs(60));
    put(&mut view, [Change::Device(DeviceChange::Slice(Delta::Deleted("b-b".to_owned())))]);
    let arriving = |view: &View| {
        let outlook = Outlook::of(view, &Policy::default(), now);
        (outlook.arriving.nodes.len(), outlook.unregistered)
    };
    assert_eq!(arriving(&view), (1, vec!["b".to_owned()]));
    put(&mut view, [slice_of("b", 4, &json!({}))]);
    assert_eq!(arriving(&view), (0, Vec::new()));
}

#[test]
fn a_node_whose_driver_publishes_its_gpus_does_not_offer_them_besides() {
    let mut view = group_of(&[("gpu-1", PLAIN)]);
    let shape = &mut view.node_autoscaler.as_mut().unwrap().groups[0].shape;
    shape.insert("nvidia.com/gpu".to_owned(), "8".parse().unwrap());
    assert_eq!(headroom(&view, &mapped(1)), Ok(Fits::exact(4)));
}

#[test]
fn pools_that_are_not_whole_are_no_room_and_those_of_several_nodes_do_not_become_more() {
    let incomplete = json!({"pool": {"name": "gpu-1", "generation": 2, "resourceSliceCount": 2}});
    let mut view = group_of(&[("gpu-1", PLAIN)]);
    put(&mut view, [slice_of("gpu-1", 8, &incomplete)]);
    assert_eq!(headroom(&view, &claiming("one")), Ok(Fits::exact(0)));

    let rack =
        |node: &str| slice_of(node, 4, &json!({"pool": {"name": "rack", "generation": 1, "resourceSliceCount": 2}}));
    let mut view = group_of(&[("gpu-1", Machine { gpus: 0, ..PLAIN }), ("gpu-2", Machine { gpus: 0, ..PLAIN })]);
    put(&mut view, [rack("gpu-1")]);
    assert_eq!(headroom(&view, &claiming("one")), Ok(Fits::exact(0)));

    let mut view = group_of(&[("gpu-1", Machine { gpus: 0, ..PLAIN })]);
    put(&mut view, [slice_of("x", 4, &json!({"nodeName": null, "allNodes": true}))]);
    let outlook = Outlook::of(&view, &Policy::default(), jiff::Timestamp::UNIX_EPOCH);
    let slices = outlook.further.devices.slices.as_ref().unwrap();
    assert!(slices.values().all(|slice| slice.spec.devices.is_empty()), "{slices:?}");
    assert_eq!(headroom(&view, &claiming("one")).map(|fits| fits.lo), Ok(0));
}

#[test]
fn what_is_not_known_of_devices_here_is_not_known_of_those_to_come() {
    let mut view = group_of(&[("gpu-1", PLAIN)]);
    view.devices.claims = None;
    assert_eq!(headroom(&view, &claiming("one")).unwrap().class, Class::Unknown);
    let outlook = Outlook::of(&view, &Policy::default(), jiff::Timestamp::UNIX_EPOCH);
    assert_eq!(outlook.further.devices.claims, None);
    let mut partitioned = group_of(&[("gpu-1", PLAIN)]);
    put(&mut partitioned, [slice_of("gpu-1", 4, &json!({"sharedCounters": [{"name": "c"}]}))]);
    assert_eq!(headroom(&partitioned, &claiming("one")).unwrap().class, Class::Unknown);
}

#[test]
fn a_claim_that_replicas_share_keeps_them_where_it_is() {
    let mut view = group_of(&[("gpu-1", PLAIN)]);
    let sharing = with(&json!({"resourceClaims": [{"name": "d", "resourceClaimName": "all"}]}));
    put(&mut view, [claim_of("all", "first", "gpu-1", &["gpu-0".to_owned()])]);
    assert!(headroom(&view, &sharing).unwrap_err().contains("share ResourceClaim ml/all"));
    let unallocated = json!({"metadata": {"namespace": "ml", "name": "all"}});
    put(&mut view, [Change::Device(DeviceChange::Claim(applied(unallocated)))]);
    assert_eq!(headroom(&view, &sharing).unwrap().class, Class::Unknown);
}

#[test]
fn volumes_are_attached_on_a_node_to_come_up_to_the_limit_of_its_like() {
    assert_eq!(headroom(&group_of(&[("gpu-1", PLAIN)]), &with_disk()), Ok(Fits::exact(3)));
    let unlimited = Machine { disks: None, ..PLAIN };
    assert_eq!(headroom(&group_of(&[("gpu-1", unlimited)]), &with_disk()), Ok(Fits::exact(64)));
    let mut silent = group_of(&[("gpu-1", PLAIN), ("other", PLAIN)]);
    put(&mut silent, [Change::Storage(StorageChange::Node(applied(json!({"metadata": {"name": "gpu-1"}}))))]);
    silent.nodes.get_mut("other").unwrap().metadata.labels.insert("karpenter.sh/nodepool", "other");
    assert!(headroom(&silent, &with_disk()).unwrap_err().contains("does not tell how many volumes"));
}

#[test]
fn a_volume_of_a_zone_can_be_used_on_a_node_to_come_where_the_group_is_of_that_zone_alone() {
    let shared = |view: &mut View, zone: &str| put(view, disk(ZONE, zone, "ReadWriteMany"));
    let mut view = group_of(&[("gpu-1", PLAIN), ("gpu-2", PLAIN)]);
    shared(&mut view, "a");
    assert_eq!(headroom(&view, &mounting("m")), Ok(Fits::exact(64)));
    shared(&mut view, "b");
    assert_eq!(headroom(&view, &mounting("m")), Ok(Fits::exact(0)));
    let mut view = group_of(&[("gpu-1", PLAIN), ("gpu-2", Machine { zone: "b", ..PLAIN })]);
    shared(&mut view, "a");
    let doubt = headroom(&view, &mounting("m")).unwrap_err();
    assert_eq!(
        doubt,
        "the next node of group gpu may be like one of which it holds that PersistentVolume pv cannot be used there"
    );
    assert_eq!(headroom(&view, &with_disk()), Ok(Fits::exact(3)));
}

#[test]
fn volumes_are_made_on_a_node_to_come_only_where_their_class_makes_them() {
    let mut view = group_of(&[("gpu-1", PLAIN)]);
    let in_zone = |zone: &str| {
        let terms = json!([{"matchLabelExpressions": [{"key": ZONE, "values": [zone]}]}]);
        let class = json!({
            "metadata": {"name": "fast"}, "provisioner": DISKS, "volumeBindingMode": "WaitForFirstConsumer",
            "allowedTopologies": terms,
        });
        [Change::Storage(StorageChange::Class(applied(class)))]
    };
    put(&mut view, in_zone("a"));
    assert_eq!(headroom(&view, &with_disk()), Ok(Fits::exact(3)));
    put(&mut view, in_zone("b"));
    assert_eq!(headroom(&view, &with_disk()), Ok(Fits::exact(0)));
    let mut view = group_of(&[("gpu-1", PLAIN), ("gpu-2", Machine { zone: "b", ..PLAIN })]);
    put(&mut view, in_zone("b"));
    assert!(headroom(&view, &with_disk()).unwrap_err().contains("StorageClass fast makes no volumes there"));
}

#[test]
fn what_is_on_one_node_or_for_one_pod_is_never_promised_on_a_node_to_come() {
    for key in ["kubernetes.io/hostname", "disks/node"] {
        let mut view = group_of(&[("gpu-1", PLAIN)]);
        put(&mut view, disk(key, "gpu-1", "ReadWriteMany"));
        assert_eq!(headroom(&view, &mounting("m")), Ok(Fits::exact(0)), "{key}");
    }
    let mut view = group_of(&[("gpu-1", PLAIN)]);
    put(&mut view, disk(ZONE, "a", "ReadWriteOncePod"));
    assert!(headroom(&view, &mounting("m")).unwrap_err().contains("ReadWriteOncePod"));
    let unbound = json!({
        "metadata": {"name": "m", "namespace": "ml"}, "status": {"phase": "Pending"},
        "spec": {"accessModes": ["ReadWriteMany"], "storageClassName": "fast"},
    });
    put(&mut view, [Change::Storage(StorageChange::Claim(applied(unbound)))]);
    assert!(headroom(&view, &mounting("m")).unwrap_err().contains("bound where its first pod goes"));
}

fn answer(view: &View, template: &PodTemplate) -> Answer {
    Inventory::of(view, &Policy::default()).fits(&Template::of(template, "ml", view))
}

fn machines() -> impl Strategy<Value = Machine> {
    let disks = prop::option::of(0_u32..5);
    (prop::sample::select(vec!["a", "b"]), 0_usize..5, disks, any::<(bool, bool)>())
        // A daemon that has a device is on a machine that has one.
        .prop_map(|(zone, gpus, disks, (volume, device))| Machine {
            zone,
            gpus,
            disks,
            daemon: (volume, device && gpus > 0),
        })
}

fn templates() -> impl Strategy<Value = PodTemplate> {
    let both = with(&json!({
        "volumes": with_disk().spec.volumes, "resourceClaims": [{"name": "d", "resourceClaimTemplateName": "one"}],
    }));
    let all = vec![claiming("one"), claiming("two"), mapped(1), mapped(3), with_disk(), both, mounting("m")];
    prop::sample::select(all)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_node_that_is_said_to_come_is_the_node_that_comes(
        of in machines(), template in templates(), held in 0_usize..3, zone in prop::sample::select(vec!["a", "b"]),
    ) {
        let mut view = group_of(&[("gpu-1", of)]);
        let held: Vec<_> = (0..of.gpus).rev().take(held).map(|index| format!("gpu-{index}")).collect();
        put(&mut view, [claim_of("held", "holder", "gpu-1", &held)]);
        put(&mut view, disk(ZONE, zone, "ReadWriteMany"));
        let room = headroom(&view, &template);

        let mut come = view.clone();
        put(&mut come, machine("gpu-1-added-1", of));
        let mut edited = view.clone();
        let edit = Edit::AddNodes { count: 1, like: "gpu-1".to_owned() };
        edit.apply(&mut edited, &mut template.clone()).unwrap();
        prop_assert_eq!(answer(&come, &template), answer(&edited, &template));

        come.nodes.get_mut("gpu-1").unwrap().spec.unschedulable = true;
        let new = answer(&come, &template).fits;
        prop_assert_eq!(room.map(|fits| (fits.lo, fits.class)), Ok((new.lo, new.class)));
    }
}
