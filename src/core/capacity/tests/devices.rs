//! Devices of claims, and extended resources that devices satisfy.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{super::Class, answer, from, mk_node, mk_template, mk_view};
use crate::{
    capacity::{Fits, Inventory, LimitingFactor, Placer, Template},
    cluster::{Change, Delta, DeviceChange, Doubts, View},
    object::{Node, PodTemplate, ResourceQuota},
    policy::Policy,
};

const DRIVER: &str = "gpu.nvidia.com";

/// A node without GPUs in its allocatable, as the DRA driver leaves it.
fn mk_bare(name: &str) -> Node {
    let mut node = mk_node(name, 0);
    node.status.allocatable.remove("nvidia.com/gpu");
    node
}

fn mk_class(name: &str, expression: &str, resource: Option<&str>) -> Change {
    let selectors = json!([{"cel": {"expression": expression}}]);
    let spec = json!({"selectors": selectors, "extendedResourceName": resource});
    Change::Device(DeviceChange::Class(Delta::Applied(from(json!({"metadata": {"name": name}, "spec": spec})))))
}

fn mk_device(name: &str, kind: &str, more: &Value) -> Value {
    let mut device =
        json!({"name": name, "attributes": {"type": {"string": kind}}, "capacity": {"memory": {"value": "80Gi"}}});
    device.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    device
}

fn gpus(count: usize) -> Vec<Value> {
    (0..count).map(|index| mk_device(&format!("gpu-{index}"), "gpu", &json!({}))).collect()
}

/// The slice of a node; `more` goes over its specification.
fn mk_slice(node: &str, devices: &[Value], more: Value) -> Change {
    let pool = json!({"name": node, "generation": 1, "resourceSliceCount": 1});
    let mut spec = json!({"driver": DRIVER, "nodeName": node, "pool": pool, "devices": devices});
    if let Value::Object(more) = more {
        spec.as_object_mut().unwrap().extend(more);
    }
    Change::Device(DeviceChange::Slice(Delta::Applied(from(
        json!({"metadata": {"name": format!("{node}-1")}, "spec": spec}),
    ))))
}

/// A claim that has been allocated devices of the pool of a node, for a pod of the same name.
fn mk_claim(name: &str, node: &str, devices: &[&str]) -> Change {
    let result = |device: &&str| json!({"request": "r", "driver": DRIVER, "pool": node, "device": device});
    let results: Vec<_> = devices.iter().map(result).collect();
    let status =
        json!({"allocation": {"devices": {"results": results}}, "reservedFor": [{"resource": "pods", "name": name}]});
    let claim = from(json!({"metadata": {"namespace": "ml", "name": name}, "status": status}));
    Change::Device(DeviceChange::Claim(Delta::Applied(claim)))
}

fn mk_claim_template(name: &str, requests: &Value) -> Change {
    let spec = json!({"spec": {"devices": {"requests": requests}}});
    let template = from(json!({"metadata": {"namespace": "ml", "name": name}, "spec": spec}));
    Change::Device(DeviceChange::ClaimTemplate(Delta::Applied(template)))
}

fn request(class: &str, count: u32) -> Value {
    json!({"name": "r", "exactly": {"deviceClassName": class, "allocationMode": "ExactCount", "count": count}})
}

/// A cluster in which every kind is known and the class `gpu` stands for `nvidia.com/gpu`.
fn mk_cluster(nodes: impl IntoIterator<Item = Node>, changes: impl IntoIterator<Item = Change>) -> View {
    let mut view = mk_view(nodes, []);
    for kind in ["ResourceSlice", "ResourceClaim", "ResourceClaimTemplate"] {
        view.devices.know(kind);
    }
    let expression = format!("device.driver == '{DRIVER}' && device.attributes['{DRIVER}'].type == 'gpu'");
    view.apply(mk_class("gpu", &expression, Some("nvidia.com/gpu")));
    for change in changes {
        view.apply(change);
    }
    view
}

/// A template whose pods claim what a ResourceClaimTemplate says.
fn claiming(names: &[&str]) -> PodTemplate {
    let claim = |name: &&str| json!({"name": name, "resourceClaimTemplateName": name});
    let claims: Vec<_> = names.iter().map(claim).collect();
    from(json!({"spec": {"containers": [{"name": "main"}], "resourceClaims": claims}}))
}

fn why(view: &View, template: &PodTemplate) -> String {
    let answer = answer(view, template);
    assert_eq!(answer.fits, Fits::unknown());
    answer.unmodelled.into_iter().map(|reason| reason.message).collect()
}

#[test]
fn a_resource_that_a_class_stands_for_comes_from_devices_where_allocatable_has_none() {
    let view = mk_cluster([mk_bare("a"), mk_node("b", 4)], [mk_slice("a", &gpus(8), json!({}))]);
    let found = answer(&view, &mk_template(2, json!({})));
    assert_eq!(found.fits, Fits::exact(6));
    assert_eq!((found.free_gpus, found.stranded_gpus), (12, 0));
}

#[test]
fn devices_beside_an_allocatable_of_the_same_resource_are_not_asked() {
    let view = mk_cluster([mk_node("a", 1)], [mk_slice("a", &gpus(8), json!({}))]);
    assert_eq!(answer(&view, &mk_template(1, json!({}))).fits, Fits::exact(1));
}

#[test]
fn what_claims_have_been_allocated_is_not_free_and_requests_of_bound_pods_do_not_count_twice() {
    let mut view = mk_cluster(
        [mk_bare("a")],
        [mk_slice("a", &gpus(8), json!({})), mk_claim("p", "a", &["gpu-1", "gpu-4", "gpu-5"])],
    );
    let pod = super::mk_pod("p", "a", 3);
    view.pods.insert(pod.metadata.key(), pod);
    let found = answer(&view, &mk_template(2, json!({})));
    assert_eq!((found.fits, found.free_gpus, found.stranded_gpus), (Fits::exact(2), 5, 1));
    assert_eq!(found.limiting_factor, LimitingFactor::Gpu);
}

#[test]
fn pods_that_are_seen_before_their_claims_hold_what_they_ask_for() {
    let mut view = mk_cluster(
        [mk_bare("a"), mk_bare("b")],
        [
            mk_slice("a", &gpus(8), json!({})),
            mk_slice("b", &gpus(2), json!({})),
            mk_claim_template("c", &json!([request("gpu", 1)])),
        ],
    );
    let pod = super::mk_pod("p", "a", 3);
    view.pods.insert(pod.metadata.key(), pod);
    assert_eq!(answer(&view, &mk_template(1, json!({}))).fits, Fits::exact(7));
    let mut pod = super::mk_pod("q", "a", 0);
    pod.spec.resource_claims = vec![json!({"name": "c", "resourceClaimTemplateName": "c"})];
    view.pods.insert(pod.metadata.key(), pod);
    assert_eq!(answer(&view, &claiming(&["c"])).fits, Fits::exact(2));
    view.apply(mk_claim("q", "a", &["gpu-0"]));
    assert_eq!(answer(&view, &claiming(&["c"])).fits, Fits::exact(6));
}

#[test]
fn a_nominated_pod_unsettles_only_who_may_take_devices_of_its_node() {
    let slices = || ["a", "b"].map(|node| mk_slice(node, &gpus(4), json!({})));
    let told = |node: &str, pool: &str, gpus: u32| {
        let mut other = mk_node("c", 2);
        other.metadata.labels = [("pool", "other"), ("kubernetes.io/hostname", "c")].into();
        let mut view = mk_cluster([mk_bare("a"), mk_bare("b"), other], slices());
        let mut pod = super::mk_pod("p", "", gpus);
        pod.status.nominated_node_name = node.into();
        view.pods.insert(pod.metadata.key(), pod);
        let selector = if pool.is_empty() { json!({}) } else { json!({"nodeSelector": {"pool": pool}}) };
        answer(&view, &mk_template(1, selector)).fits
    };
    assert_eq!(told("a", "", 1), Fits::unknown(), "devices that are not allocated yet");
    assert_eq!(told("a", "", 0), Fits::exact(10), "it asks for none");
    assert_eq!(told("c", "", 1), Fits::exact(9), "there, they are allocatable");
    assert_eq!(told("a", "other", 1), Fits::exact(2), "the template does not go there");
}

#[test]
fn a_nominated_pod_whose_devices_cannot_be_known_may_take_any_of_its_node() {
    let mut view = mk_cluster([mk_bare("a")], [mk_slice("a", &gpus(4), json!({}))]);
    view.apply(mk_class("odd", "device.attributes['x'].frobnicate()", Some("example.com/odd")));
    let limits = json!({"limits": {"example.com/odd": "1"}});
    let mut pod = super::mk_pod("p", "", 0);
    pod.spec.containers = from(json!([{"name": "main", "resources": limits}]));
    view.pods.insert(pod.metadata.key(), pod.clone());
    assert_eq!(answer(&view, &mk_template(1, json!({}))).fits, Fits::exact(4), "it is not nominated");
    pod.status.nominated_node_name = "a".into();
    view.pods.insert(pod.metadata.key(), pod);
    assert_eq!(answer(&view, &mk_template(1, json!({}))).fits, Fits::unknown());
}

#[test]
fn a_nominated_pod_unsettles_who_shares_its_claim() {
    let mut view = mk_cluster([mk_bare("a")], [mk_slice("a", &gpus(4), json!({})), mk_claim("c", "a", &["gpu-0"])]);
    let shared = json!([{"name": "c", "resourceClaimName": "c"}]);
    let template: PodTemplate = from(json!({"spec": {"containers": [{"name": "main"}], "resourceClaims": shared}}));
    let mut pod = super::mk_pod("p", "", 0);
    pod.status.nominated_node_name = "a".into();
    view.pods.insert(pod.metadata.key(), pod.clone());
    assert_ne!(answer(&view, &template).fits, Fits::unknown(), "it has no claim");
    pod.spec.resource_claims = from(shared);
    view.pods.insert(pod.metadata.key(), pod);
    assert_eq!(answer(&view, &template).fits, Fits::unknown());
}

#[test]
fn devices_that_are_only_looked_at_are_free() {
    let result = json!({"driver": DRIVER, "pool": "a", "device": "gpu-0", "adminAccess": true});
    let status = json!({"allocation": {"devices": {"results": [result]}}});
    let claim = from(json!({"metadata": {"namespace": "ml", "name": "monitor"}, "status": status}));
    let claim = Change::Device(DeviceChange::Claim(Delta::Applied(claim)));
    let view = mk_cluster([mk_bare("a")], [mk_slice("a", &gpus(1), json!({})), claim]);
    assert_eq!(answer(&view, &mk_template(1, json!({}))).fits, Fits::exact(1));
}

#[test]
fn constraints_between_pods_hold_where_devices_can_be_counted() {
    let changes = [mk_slice("a", &gpus(8), json!({})), mk_slice("b", &gpus(2), json!({}))];
    let view = mk_cluster([mk_bare("a"), mk_bare("b")], changes);
    let spread = json!([{"topologyKey": "kubernetes.io/hostname", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "llm"}}}]);
    let template = mk_template(1, json!({"topologySpreadConstraints": spread}));
    assert_eq!(answer(&view, &template).fits, Fits::exact(5));
}

#[test]
fn nothing_is_taken_from_a_pool_that_is_incomplete_replaced_or_ambiguous() {
    let pool =
        |generation, count| json!({"pool": {"name": "a", "generation": generation, "resourceSliceCount": count}});
    let fits = |changes: Vec<Change>| answer(&mk_cluster([mk_bare("a")], changes), &mk_template(1, json!({}))).fits;
    assert_eq!(fits(vec![mk_slice("a", &gpus(8), pool(1, 2))]), Fits::exact(0));
    let two = mk_device("gpu-0", "gpu", &json!({}));
    assert_eq!(fits(vec![mk_slice("a", &[two.clone(), two], json!({}))]), Fits::exact(0));
    let mut old = mk_slice("a", &gpus(8), pool(1, 1));
    if let Change::Device(DeviceChange::Slice(Delta::Applied(slice))) = &mut old {
        slice.metadata.name = "old".to_owned();
    }
    assert_eq!(fits(vec![old, mk_slice("a", &gpus(3), pool(2, 1))]), Fits::exact(3));
}

#[test]
fn a_tainted_device_is_for_those_that_tolerate_it() {
    let taint = json!({"taints": [{"key": "sick", "effect": "NoSchedule"}]});
    let devices = [
        mk_device("gpu-0", "gpu", &taint),
        mk_device("gpu-1", "gpu", &json!({"taints": [{"key": "old", "effect": "None"}]})),
    ];
    let mut tolerant = request("gpu", 1);
    tolerant["exactly"]["tolerations"] = json!([{"key": "sick", "operator": "Exists"}]);
    let changes = [
        mk_slice("a", &devices, json!({})),
        mk_claim_template("any", &json!([tolerant])),
        mk_claim_template("whole", &json!([request("gpu", 1)])),
    ];
    let view = mk_cluster([mk_bare("a")], changes);
    assert_eq!(answer(&view, &mk_template(1, json!({}))).fits, Fits::exact(1));
    assert_eq!(answer(&view, &claiming(&["whole"])).fits, Fits::exact(1));
    assert_eq!(answer(&view, &claiming(&["any"])).fits, Fits::exact(2));
}

#[test]
fn claims_are_met_by_what_their_classes_and_requests_select() {
    let mut large = request("gpu", 2);
    large["exactly"]["selectors"] = json!([{"cel": {"expression": format!("device.capacity['{DRIVER}'].memory.compareTo(quantity('60Gi')) >= 0")}}]);
    let small = json!({"capacity": {"memory": {"value": "40Gi"}}});
    let mut devices = gpus(5);
    devices.push(mk_device("small", "gpu", &small));
    devices.push(mk_device("nic", "nic", &json!({})));
    let changes = [
        mk_class("nic", &format!("device.attributes['{DRIVER}'].type == 'nic'"), None),
        mk_slice("a", &devices, json!({})),
        mk_claim_template("large", &json!([large])),
        mk_claim_template("nic", &json!([request("nic", 1)])),
    ];
    let view = mk_cluster([mk_bare("a")], changes);
    assert_eq!(answer(&view, &claiming(&["large"])).fits, Fits::exact(2));
    let found = answer(&view, &claiming(&["large", "nic"]));
    assert_eq!((found.fits, found.limiting_factor), (Fits::exact(1), LimitingFactor::OtherResource));
    assert!(found.groups[0].reason.contains("devices of class nic"), "{}", found.groups[0].reason);
    let named = json!({"containers": [{"resources": {"limits": {"deviceclass.resource.kubernetes.io/nic": "1"}}}]});
    assert_eq!(answer(&view, &mk_template(0, named)).fits, Fits::exact(1));
}

#[test]
fn a_class_whose_resource_another_one_stands_for_may_have_no_name_at_all() {
    let second = mk_class("gpu-b", &format!("device.driver == '{DRIVER}'"), Some("nvidia.com/gpu"));
    let view = mk_cluster([mk_bare("a")], [second, mk_slice("a", &gpus(2), json!({}))]);
    let named = |class: &str| {
        let name = format!("deviceclass.resource.kubernetes.io/{class}");
        mk_template(0, json!({"containers": [{"resources": {"limits": {name: "1"}}}]}))
    };
    assert_eq!(answer(&view, &named("gpu")).fits, Fits::exact(2));
    let reason = why(&view, &named("gpu-b"));
    assert!(reason.ends_with("may mean nothing: DeviceClass gpu has the same extended resource"), "{reason}");
}

#[test]
fn what_one_workload_places_is_gone_for_another_however_it_asks() {
    let changes = [mk_slice("a", &gpus(6), json!({})), mk_claim_template("pair", &json!([request("gpu", 2)]))];
    let view = mk_cluster([mk_bare("a")], changes);
    let policy = Policy::default();
    let by_claim = Template::of(&claiming(&["pair"]), "ml", &view);
    let by_name = Template::of(&mk_template(1, json!({})), "ml", &view);
    let mut placer = Placer::new(Inventory::of(&view, &policy));
    placer.place(&by_claim).unwrap();
    assert_eq!(placer.fits(&by_name).fits, Fits::exact(4));
    placer.place(&by_name).unwrap();
    assert_eq!(placer.fits(&by_claim).fits, Fits::exact(1));
    let mut inventory = Inventory::of(&view, &policy);
    let row = inventory.place(&by_name).unwrap();
    inventory.release(row, &by_name);
    assert_eq!(inventory.fits(&by_claim).fits, Fits::exact(3));
}

#[test]
fn requests_that_select_some_of_the_same_devices_get_them_in_the_order_of_the_scheduler() {
    let any = json!({"name": "any", "exactly": {"deviceClassName": "all", "count": 1}});
    let fits = |nic: &str| {
        let nic = vec![mk_device(nic, "nic", &json!({}))];
        let devices = if nic[0]["name"] == "first" { [nic, gpus(4)].concat() } else { [gpus(4), nic].concat() };
        let changes = [
            mk_class("all", "true", None),
            mk_slice("a", &devices, json!({})),
            mk_claim_template("both", &json!([request("gpu", 1), any])),
        ];
        answer(&mk_cluster([mk_bare("a")], changes), &claiming(&["both"])).fits
    };
    assert_eq!((fits("first"), fits("last")), (Fits::exact(2), Fits::exact(2)));
}

#[test]
fn an_extended_resource_beside_a_claim_is_exact_where_both_come_from_devices() {
    let changes = [
        mk_slice("a", &gpus(5), json!({})),
        mk_slice("b", &gpus(2), json!({})),
        mk_claim_template("one", &json!([request("gpu", 1)])),
    ];
    let mut template = mk_template(1, json!({}));
    template.spec.resource_claims = claiming(&["one"]).spec.resource_claims;
    let view = mk_cluster([mk_bare("a"), mk_bare("b")], changes.clone());
    assert_eq!(answer(&view, &template).fits, Fits::exact(2 + 1));
    // Where the resource is allocatable and the claim alone needs devices, the scheduler finds room and cannot bind.
    let view = mk_cluster([mk_bare("a"), mk_node("b", 4)], changes);
    let fits = answer(&view, &template).fits;
    assert_eq!((fits.class, fits.lo, fits.hi), (Class::Interval, 0, None));
}

#[test]
fn alternatives_all_devices_and_constraints_are_exact() {
    let numa = |index: usize| json!({"attributes": {"numa": {"int": index}, "type": {"string": "gpu"}}});
    let devices: Vec<_> =
        [0, 0, 0, 1, 1].iter().enumerate().map(|(at, it)| mk_device(&format!("g{at}"), "gpu", &numa(*it))).collect();
    let of = |requests: Value, constraints: Value| {
        let spec = json!({"spec": {"devices": {"requests": requests, "constraints": constraints}}});
        let template = from(json!({"metadata": {"namespace": "ml", "name": "c"}, "spec": spec}));
        let template = Change::Device(DeviceChange::ClaimTemplate(Delta::Applied(template)));
        let view = mk_cluster([mk_bare("a")], [mk_slice("a", &devices, json!({})), template]);
        answer(&view, &claiming(&["c"])).fits
    };
    let same = json!([{"matchAttribute": format!("{DRIVER}/numa")}]);
    assert_eq!(of(json!([request("gpu", 2)]), same.clone()), Fits::exact(2));
    assert_eq!(of(json!([request("gpu", 2)]), json!([])), Fits::exact(2));
    assert_eq!(of(json!([request("gpu", 3)]), same), Fits::exact(1));
    let differ = json!([{"distinctAttribute": format!("{DRIVER}/numa"), "requests": ["r", "s"]}]);
    let mut second = request("gpu", 1);
    second["name"] = json!("s");
    assert_eq!(of(json!([request("gpu", 1), second]), differ), Fits::exact(2));
    let all = json!({"name": "r", "exactly": {"deviceClassName": "gpu", "allocationMode": "All"}});
    assert_eq!(of(json!([all]), json!([])), Fits::exact(1));
    let list = json!([{"name": "r", "firstAvailable": [
        {"name": "four", "deviceClassName": "gpu", "count": 4},
        {"name": "one", "deviceClassName": "gpu", "allocationMode": "ExactCount"},
    ]}]);
    assert_eq!(of(list, json!([])), Fits::exact(2));
}

#[test]
fn all_devices_of_nodes_with_an_incomplete_pool_are_not_promised() {
    let all = json!({"name": "r", "exactly": {"deviceClassName": "gpu", "allocationMode": "All"}});
    let half = json!({"pool": {"name": "b", "generation": 1, "resourceSliceCount": 2}});
    let changes =
        [mk_slice("a", &gpus(2), json!({})), mk_slice("b", &gpus(2), half), mk_claim_template("c", &json!([all]))];
    let view = mk_cluster([mk_bare("a"), mk_bare("b")], changes);
    let fits = answer(&view, &claiming(&["c"])).fits;
    assert_eq!((fits.class, fits.lo, fits.hi), (Class::Interval, 0, None));
}

#[test]
fn a_shared_claim_does_not_keep_the_scheduler_from_giving_up_on_other_nodes() {
    let all = json!({"name": "r", "exactly": {"deviceClassName": "gpu", "allocationMode": "All"}});
    let fits = |slices: i64| {
        let of = json!({"pool": {"name": "b", "generation": 1, "resourceSliceCount": slices}});
        let result = json!({"driver": "other", "pool": "a", "device": "x"});
        let field = json!({"key": "metadata.name", "operator": "In", "values": ["a"]});
        let place = json!({"nodeSelectorTerms": [{"matchFields": [field]}]});
        let users = json!([{"resource": "pods", "name": "other"}]);
        let status =
            json!({"allocation": {"devices": {"results": [result]}, "nodeSelector": place}, "reservedFor": users});
        let claim = from(json!({"metadata": {"namespace": "ml", "name": "shared"}, "status": status}));
        let changes = [
            mk_slice("a", &gpus(2), json!({})),
            mk_slice("b", &gpus(2), of),
            mk_claim_template("c", &json!([all])),
            Change::Device(DeviceChange::Claim(Delta::Applied(claim))),
        ];
        let mut template = claiming(&["c"]);
        template.spec.resource_claims.push(json!({"name": "s", "resourceClaimName": "shared"}));
        answer(&mk_cluster([mk_bare("a"), mk_bare("b")], changes), &template).fits
    };
    assert_eq!(fits(1), Fits::exact(1));
    assert_eq!((fits(2).class, fits(2).lo), (Class::Interval, 0));
}

#[test]
fn a_claim_that_pods_share_says_where_they_go_once_it_is_allocated() {
    let mut shared = mk_template(1, json!({"resourceClaims": [{"name": "a", "resourceClaimName": "p"}]}));
    shared.spec.containers[0].resources = from(json!({"requests": {"cpu": "1"}}));
    let claim = |place: Value, users: Value| {
        let result = json!({"driver": DRIVER, "pool": "b", "device": "gpu-0"});
        let status =
            json!({"allocation": {"devices": {"results": [result]}, "nodeSelector": place}, "reservedFor": users});
        let claim = from(json!({"metadata": {"namespace": "ml", "name": "p"}, "status": status}));
        Change::Device(DeviceChange::Claim(Delta::Applied(claim)))
    };
    let on_b = json!({"nodeSelectorTerms": [{"matchFields": [
        {"key": "metadata.name", "operator": "In", "values": ["b"]}]}]});
    let users = || json!([{"resource": "pods", "name": "other"}]);
    let nodes = || [mk_node("a", 1), mk_node("b", 1)];
    let cpus = |node: &Node| u32::try_from(node.status.allocatable["cpu"].units()).unwrap();
    let each = cpus(&nodes()[0]);
    let placed = mk_cluster(nodes(), [claim(on_b, users()), mk_slice("b", &gpus(1), json!({}))]);
    assert_eq!(answer(&placed, &shared).fits, Fits::exact(each));
    let anywhere = mk_cluster(nodes(), [claim(Value::Null, users()), mk_slice("b", &gpus(1), json!({}))]);
    assert_eq!(answer(&anywhere, &shared).fits, Fits::exact(2 * each));
    let unused = mk_cluster(nodes(), [claim(Value::Null, json!([]))]);
    assert!(why(&unused, &shared).contains("anew"));
    let absent = mk_cluster(nodes(), []);
    assert!(why(&absent, &shared).contains("no ResourceClaim"));
    let unallocated = from(json!({"metadata": {"namespace": "ml", "name": "p"}}));
    let unallocated = Change::Device(DeviceChange::Claim(Delta::Applied(unallocated)));
    assert!(why(&mk_cluster(nodes(), [unallocated]), &shared).contains("first pod"));
}

#[test]
fn each_node_judges_a_pool_of_several_by_its_own_slices_first() {
    let pool =
        |generation, count| json!({"pool": {"name": "p", "generation": generation, "resourceSliceCount": count}});
    let fits = |changes: Vec<Change>| {
        answer(&mk_cluster([mk_bare("a"), mk_bare("b")], changes), &mk_template(1, json!({}))).fits
    };
    let other: Vec<_> = (0..2).map(|index| mk_device(&format!("other-{index}"), "gpu", &json!({}))).collect();
    let two = |of_a: Value, of_b: Value| vec![mk_slice("a", &gpus(3), of_a), mk_slice("b", &other, of_b)];
    assert_eq!(fits(two(pool(1, 2), pool(1, 2))), Fits::exact(5));
    assert_eq!(fits(two(pool(1, 3), pool(1, 3))), Fits::exact(0));
    // What its own slice says is enough for a node, be it that another node's says otherwise.
    assert_eq!(fits(two(pool(1, 3), pool(1, 2))), Fits::exact(2));
    assert_eq!(fits(two(pool(1, 1), pool(2, 2))), Fits::exact(3));
    assert_eq!(fits(two(pool(1, 2), pool(2, 1))), Fits::exact(2));
}

#[test]
fn what_is_not_understood_is_unknown_with_a_reason() {
    let devices = |more: &Value| {
        mk_cluster(
            [mk_bare("a")],
            [
                mk_slice("a", &[mk_device("gpu-0", "gpu", more)], json!({})),
                mk_claim_template("c", &json!([request("gpu", 1)])),
            ],
        )
    };
    for (more, word) in [
        (json!({"consumesCounters": [{"counterSet": "s"}]}), "consumesCounters"),
        (json!({"allowMultipleAllocations": true}), "allowMultipleAllocations"),
        (json!({"bindingConditions": ["ready"]}), "bindingConditions"),
        (json!({"somethingNew": {"a": 1}}), "somethingNew"),
        (json!({"attributes": {"type": {"strings": ["gpu"]}}}), "type"),
        (json!({"attributes": {}}), "type"),
    ] {
        let view = devices(&more);
        let why = why(&view, &claiming(&["c"]));
        assert!(why.contains(word), "{why}");
        let open = answer(&view, &mk_template(1, json!({}))).fits;
        assert_eq!((open.class, open.lo, open.hi), (Class::Interval, 0, None));
    }
    for (more, word) in [
        (json!({"nodeName": null, "allNodes": true}), "several nodes"),
        (json!({"nodeName": null, "nodeSelector": {"nodeSelectorTerms": []}}), "several nodes"),
        (json!({"nodeName": null, "perDeviceNodeSelection": true}), "several nodes"),
        (json!({"sharedCounters": [{"name": "s"}]}), "sharedCounters"),
        (json!({"somethingNew": 1}), "somethingNew"),
    ] {
        let claims = mk_claim_template("c", &json!([request("gpu", 1)]));
        let view = mk_cluster([mk_bare("a")], [mk_slice("a", &gpus(1), more), claims]);
        assert!(why(&view, &claiming(&["c"])).contains(word), "{word}");
    }
}

#[test]
fn a_class_of_which_something_is_not_understood_is_unknown_and_what_drivers_read_does_not_matter() {
    let of = |more: Value| {
        let mut spec = json!({"selectors": [{"cel": {"expression": "true"}}]});
        spec.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        let class = from(json!({"metadata": {"name": "new"}, "spec": spec}));
        let class = Change::Device(DeviceChange::Class(Delta::Applied(class)));
        let claims = mk_claim_template("c", &json!([request("new", 1)]));
        mk_cluster([mk_bare("a")], [class, mk_slice("a", &gpus(2), json!({})), claims])
    };
    let config = json!({"config": [{"opaque": {"driver": DRIVER, "parameters": {"a": 1}}}]});
    assert_eq!(answer(&of(config), &claiming(&["c"])).fits, Fits::exact(2));
    assert!(why(&of(json!({"somethingNew": 1})), &claiming(&["c"])).contains("somethingNew of DeviceClass"));
}

#[test]
fn claims_that_are_not_understood_are_unknown_with_a_reason() {
    let exact = |field: &str, value: Value| {
        let mut request = request("gpu", 1);
        request["exactly"][field] = value;
        json!([request])
    };
    for (requests, word) in [
        (exact("allocationMode", json!("Most")), "Most"),
        (exact("adminAccess", json!(true)), "adminAccess"),
        (exact("capacity", json!({"requests": {"memory": "1Gi"}})), "capacity"),
        (exact("deviceClassName", json!("none")), "none"),
        (exact("selectors", json!([{"other": {}}])), "kind"),
        (exact("selectors", json!([{"cel": {"expression": "device.driver.matches('.*')"}}])), "matches"),
        (exact("count", json!(33)), "32"),
        (json!([{"name": "r", "firstAvailable": []}]), "kind"),
        (json!([{"name": "r", "exactly": {"deviceClassName": "gpu"}, "somethingNew": 1}]), "somethingNew"),
    ] {
        let view = mk_cluster([mk_bare("a")], [mk_slice("a", &gpus(40), json!({})), mk_claim_template("c", &requests)]);
        let why = why(&view, &claiming(&["c"]));
        assert!(why.contains(word), "{why}");
    }
    let view = mk_cluster([mk_bare("a")], [mk_slice("a", &gpus(40), json!({}))]);
    assert!(why(&view, &claiming(&["absent"])).contains("absent"));
    assert!(why(&view, &mk_template(33, json!({}))).contains("32"));
    let other = mk_template(0, json!({"resourceClaims": [{"name": "a"}]}));
    assert!(why(&view, &other).contains("not understood"));
}

#[test]
fn quotas_that_claims_are_charged_with_make_the_answer_unknown() {
    let slice = || mk_slice("a", &gpus(8), json!({}));
    let template = || mk_claim_template("c", &json!([request("gpu", 1)]));
    let limited = |resource: &str| {
        let mut view = mk_cluster([mk_bare("a")], [slice(), template()]);
        let quota = json!({"metadata": {"name": "team", "namespace": "ml"}, "spec": {"hard": {resource: "2"}},
            "status": {"hard": {resource: "2"}, "used": {resource: "0"}}});
        let quota: ResourceQuota = from(quota);
        view.resource_quotas.insert(quota.metadata.key(), quota);
        view
    };
    let by_resource = mk_template(1, json!({}));
    for (resource, of_claims, of_resource) in [
        ("count/resourceclaims.resource.k8s.io", None, None),
        ("gpu.deviceclass.resource.k8s.io/devices", None, None),
        ("requests.deviceclass.resource.kubernetes.io/gpu", None, None),
        ("requests.nvidia.com/gpu", None, Some(2)),
        ("persistentvolumeclaims", Some(u32::MAX), Some(u32::MAX)),
    ] {
        let room = |template: &PodTemplate| {
            let answer = answer(&limited(resource), template);
            (answer.fits == Fits::exact(8)).then(|| answer.quota.map_or(u32::MAX, |room| room.pods))
        };
        assert_eq!((room(&claiming(&["c"])), room(&by_resource)), (of_claims, of_resource), "{resource}");
    }
}

#[test]
fn devices_are_not_counted_where_slices_or_claims_are_not_all_known() {
    let template = mk_template(1, json!({}));
    for kind in ["resourceslices", "resourceclaims"] {
        let mut view = mk_cluster(
            [mk_bare("a")],
            [mk_slice("a", &gpus(4), json!({})), mk_claim_template("c", &json!([request("gpu", 1)]))],
        );
        let doubts = Doubts::from([("ml".to_owned(), "403".to_owned())]);
        view.apply(Change::Unreadable { resource: kind.to_owned(), doubts });
        let fits = answer(&view, &template).fits;
        assert_eq!((fits.class, fits.lo, fits.hi), (Class::Interval, 0, None));
        assert!(why(&view, &claiming(&["c"])).contains("403"));
    }
}

/// Whether the allocator of the scheduler finds devices for all requests, one device each, and which.
fn allocate(requests: &[Vec<usize>], free: &mut Vec<usize>, order: &[usize]) -> bool {
    let Some((first, others)) = requests.split_first() else { return true };
    for device in order.iter().filter(|device| first.contains(device)) {
        let Some(at) = free.iter().position(|it| it == device) else { continue };
        free.remove(at);
        if allocate(others, free, order) {
            return true;
        }
        free.push(*device);
    }
    false
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_real_count_of_an_exhaustive_allocator_is_what_is_said(
        kinds in prop::collection::vec(0_u8..4, 0..9),
        requests in prop::collection::vec((0_u8..15, 1_u32..4), 1..3),
        taken in prop::collection::vec(any::<bool>(), 9),
    ) {
        let name = |index: usize| format!("d-{index}");
        let devices: Vec<_> = kinds.iter().enumerate().map(|(index, kind)| mk_device(&name(index), &format!("k{kind}"), &json!({}))).collect();
        // A request selects the kinds whose bit is in its mask.
        let expression = |mask: u8| {
            let kinds: Vec<_> = (0..4).filter(|kind| mask >> kind & 1 == 1).map(|kind| format!("'k{kind}'")).collect();
            format!("device.attributes['{DRIVER}'].type in [{}]", kinds.join(", "))
        };
        let selects = |mask: u8| (0..kinds.len()).filter(|index| mask >> kinds[*index] & 1 == 1).collect::<Vec<_>>();
        let mut changes = vec![mk_class("all", "true", None), mk_slice("a", &devices, json!({}))];
        let asked: Vec<_> = requests.iter().enumerate().map(|(index, (mask, count))| json!({"name": format!("r{index}"), "exactly": {
            "deviceClassName": "all", "count": count, "selectors": [{"cel": {"expression": expression(*mask)}}],
        }})).collect();
        changes.push(mk_claim_template("c", &json!(asked)));
        let gone: Vec<_> = (0..kinds.len()).filter(|index| taken[*index]).map(name).collect();
        let gone: Vec<_> = gone.iter().map(String::as_str).collect();
        changes.push(mk_claim("other", "a", &gone));
        let view = mk_cluster([mk_bare("a")], changes);
        let fits = answer(&view, &claiming(&["c"])).fits;

        let wanted: Vec<_> = requests.iter().flat_map(|(mask, count)| vec![selects(*mask); *count as usize]).collect();
        let mut free: Vec<_> = (0..kinds.len()).filter(|index| !taken[*index]).collect();
        let mut real = 0;
        let order: Vec<_> = (0..9).collect();
        while allocate(&wanted, &mut free, &order) {
            real += 1;
        }
        prop_assert_eq!(fits, Fits::exact(real));
    }

    #[test]
    fn what_two_workloads_are_promised_together_fits_whoever_comes_first(
        kinds in prop::collection::vec(0_u8..4, 0..9),
        asked in prop::collection::vec(prop::collection::vec((1_u8..15, 1_u32..3), 1..3), 2),
        turns in prop::collection::vec(0_usize..2, 12),
        order in prop::collection::vec(any::<prop::sample::Index>(), 12),
    ) {
        let devices: Vec<_> = kinds.iter().enumerate()
            .map(|(index, kind)| mk_device(&format!("d-{index}"), &format!("k{kind}"), &json!({}))).collect();
        let expression = |mask: u8| {
            let kinds: Vec<_> = (0..4).filter(|kind| mask >> kind & 1 == 1).map(|kind| format!("'k{kind}'")).collect();
            format!("device.attributes['{DRIVER}'].type in [{}]", kinds.join(", "))
        };
        let mut changes = vec![mk_class("all", "true", None), mk_slice("a", &devices, json!({}))];
        for (name, requests) in ["x", "y"].iter().zip(&asked) {
            let requests: Vec<_> = requests.iter().enumerate().map(|(index, (mask, count))| json!({"name": format!("r{index}"), "exactly": {
                "deviceClassName": "all", "count": count, "selectors": [{"cel": {"expression": expression(*mask)}}],
            }})).collect();
            changes.push(mk_claim_template(name, &json!(requests)));
        }
        let view = mk_cluster([mk_bare("a")], changes);
        let policy = Policy::default();
        let templates = ["x", "y"].map(|name| Template::of(&claiming(&[name]), "ml", &view));
        let mut placer = Placer::new(Inventory::of(&view, &policy));
        let mut promised: Vec<_> = turns.into_iter().filter(|turn| placer.place(&templates[*turn]).is_some()).collect();

        let selects = |mask: u8| (0..kinds.len()).filter(|index| mask >> kinds[*index] & 1 == 1).collect::<Vec<_>>();
        let wanted: Vec<Vec<_>> = asked.iter()
            .map(|requests| requests.iter().flat_map(|(mask, count)| vec![selects(*mask); *count as usize]).collect())
            .collect();
        let mut free: Vec<_> = (0..kinds.len()).collect();
        let all: Vec<_> = (0..9).collect();
        for pick in order {
            if promised.is_empty() {
                break;
            }
            let next = promised.remove(pick.index(promised.len()));
            prop_assert!(allocate(&wanted[next], &mut free, &all), "{next} was promised a place");
        }
    }
}
