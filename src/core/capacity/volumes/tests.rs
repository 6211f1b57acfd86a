//! Situations with volumes, and the answer that each must get.

mod oracle;

use serde_json::{Value, json};

use crate::{
    capacity::{
        Answer, Class, Fits, Inventory, LimitingFactor, Placer, Template,
        tests::{answer, from, mk_node, mk_pod, mk_template, mk_view},
    },
    cluster::{Delta, StorageChange, View},
    object::{Node, Pod, PodTemplate, claim::ClaimOwner},
    policy::Policy,
};

/// Two nodes in zone `a`, one in zone `b`, with four GPUs each, and every kind of storage listed.
fn mk_cluster(pods: impl IntoIterator<Item = Pod>) -> View {
    let nodes = [("n1", "a"), ("n2", "a"), ("n3", "b")].map(|(name, zone)| mk_zoned(name, zone));
    let mut view = mk_view(nodes, pods);
    mk_storage(&mut view, &json!({}));
    view
}

fn mk_zoned(name: &str, zone: &str) -> Node {
    let mut node = mk_node(name, 4);
    node.metadata.labels.insert("topology.kubernetes.io/zone".to_owned(), zone.to_owned());
    node
}

/// Lists every kind of storage, with the objects that are given.
pub(super) fn mk_storage(view: &mut View, objects: &Value) {
    fn list<T: serde::de::DeserializeOwned, K>(objects: &Value, kind: &str) -> Delta<T, K> {
        Delta::Replaced(from(objects.get(kind).cloned().unwrap_or(json!([]))))
    }
    for change in [
        StorageChange::Claim(list(objects, "claims")),
        StorageChange::Volume(list(objects, "volumes")),
        StorageChange::Class(list(objects, "classes")),
        StorageChange::Node(list(objects, "nodes")),
        StorageChange::Driver(list(objects, "drivers")),
        StorageChange::Attachment(list(objects, "attachments")),
    ] {
        view.storage.apply(change);
    }
}

fn mk_claim(name: &str, volume: &str, mode: &str) -> Value {
    let bound = json!({"pv.kubernetes.io/bind-completed": "yes"});
    json!({
        "metadata": {"name": name, "namespace": "ml", "annotations": if volume.is_empty() { Value::Null } else { bound }},
        "spec": {"volumeName": volume, "accessModes": [mode], "storageClassName": "fast"},
        "status": {"phase": if volume.is_empty() { "Pending" } else { "Bound" }},
    })
}

fn mk_volume(name: &str, key: &str, values: &[&str]) -> Value {
    let expression = json!({"key": key, "operator": "In", "values": values});
    json!({
        "metadata": {"name": name},
        "spec": {
            "storageClassName": "fast", "accessModes": ["ReadWriteOnce", "ReadWriteMany"],
            "capacity": {"storage": "10Gi"}, "csi": {"driver": "ebs.csi.aws.com", "volumeHandle": format!("h-{name}")},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}},
        },
        "status": {"phase": "Bound"},
    })
}

fn in_zone(name: &str, zone: &str) -> Value {
    mk_volume(name, "topology.kubernetes.io/zone", &[zone])
}

fn mk_class(provisioner: &str, mode: &str, zones: &[&str]) -> Value {
    let expression = json!({"key": "topology.kubernetes.io/zone", "values": zones});
    let terms = if zones.is_empty() { json!([]) } else { json!([{"matchLabelExpressions": [expression]}]) };
    json!({
        "metadata": {"name": "fast"}, "provisioner": provisioner, "volumeBindingMode": mode, "allowedTopologies": terms,
    })
}

fn mk_limits(limit: u32) -> Value {
    let node = |name: &str| {
        let driver = json!({"name": "ebs.csi.aws.com", "allocatable": {"count": limit}});
        json!({"metadata": {"name": name}, "spec": {"drivers": [driver]}})
    };
    json!([node("n1"), node("n2"), node("n3")])
}

fn with_claim(name: &str) -> PodTemplate {
    mk_template(1, json!({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": name}}]}))
}

fn with_ephemeral(class: Option<&str>) -> PodTemplate {
    let claim = json!({"spec": {
        "accessModes": ["ReadWriteOnce"], "storageClassName": class, "resources": {"requests": {"storage": "5Gi"}},
    }});
    mk_template(1, json!({"volumes": [{"name": "v", "ephemeral": {"volumeClaimTemplate": claim}}]}))
}

/// The template of a StatefulSet `db` with one claim for each replica.
fn with_claim_of_each() -> PodTemplate {
    let mut template = mk_template(1, json!({}));
    let claim =
        json!([{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "fast"}}]);
    template.claim(&ClaimOwner::StatefulSet("db".to_owned()), &from::<Vec<_>>(claim));
    template
}

#[track_caller]
fn assert_unknown(answer: &Answer, message: &str) {
    assert_eq!(answer.fits, Fits::unknown());
    let messages: Vec<_> = answer.unmodelled.iter().map(|reason| reason.message.as_str()).collect();
    assert!(messages.len() == 1 && messages.iter().all(|it| it.contains(message)), "{messages:?}");
}

#[test]
fn a_bound_claim_keeps_replicas_where_its_volume_can_be_used() {
    let mut view = mk_cluster([]);
    mk_storage(&mut view, &json!({"claims": [mk_claim("m", "pv", "ReadWriteMany")], "volumes": [in_zone("pv", "a")]}));
    let answer = answer(&view, &with_claim("m"));
    assert_eq!(answer.fits, Fits::exact(8));
    let shut = answer.groups.iter().find(|group| group.fits == 0).unwrap();
    assert_eq!((shut.limiting_factor, shut.nodes), (LimitingFactor::Volume, 1));
    assert_eq!(shut.reason, "PersistentVolume pv cannot be used there");
}

#[test]
fn a_volume_without_a_place_is_no_constraint() {
    let mut view = mk_cluster([]);
    let volume = json!({"metadata": {"name": "pv"}, "spec": {"nfs": {"server": "s"}}});
    mk_storage(&mut view, &json!({"claims": [mk_claim("m", "pv", "ReadWriteMany")], "volumes": [volume]}));
    assert_eq!(answer(&view, &with_claim("m")).fits, Fits::exact(12));
}

#[test]
fn zone_labels_of_a_volume_bind_nodes_that_say_where_they_are() {
    let mut view = mk_cluster([]);
    view.nodes.insert("n4".to_owned(), mk_node("n4", 4));
    let label = json!({"failure-domain.beta.kubernetes.io/zone": "b__c"});
    let volume = json!({"metadata": {"name": "pv", "labels": label}, "spec": {"nfs": {"server": "s"}}});
    mk_storage(&mut view, &json!({"claims": [mk_claim("m", "pv", "ReadWriteMany")], "volumes": [volume]}));
    assert_eq!(answer(&view, &with_claim("m")).fits, Fits::exact(8));
}

#[test]
fn a_claim_that_keeps_its_pods_waiting_is_unknown_and_says_why() {
    let mut view = mk_cluster([]);
    assert_unknown(&answer(&view, &with_claim("m")), "ml/m is not there");
    mk_storage(&mut view, &json!({"claims": [mk_claim("m", "pv", "ReadWriteMany")]}));
    assert_unknown(&answer(&view, &with_claim("m")), "a volume that is not there");
    let mut lost = mk_claim("m", "pv", "ReadWriteMany");
    lost["status"]["phase"] = json!("Lost");
    mk_storage(&mut view, &json!({"claims": [lost], "volumes": [in_zone("pv", "a")]}));
    assert_unknown(&answer(&view, &with_claim("m")), "lost or being deleted");
    let classes = |mode: &str| json!([mk_class("ebs.csi.aws.com", mode, &[])]);
    let pending = mk_claim("m", "", "ReadWriteMany");
    mk_storage(&mut view, &json!({"claims": [pending], "classes": classes("Immediate")}));
    assert_unknown(&answer(&view, &with_claim("m")), "is not bound yet");
    mk_storage(&mut view, &json!({"claims": [pending]}));
    assert_unknown(&answer(&view, &with_claim("m")), "has no class that is known");
    let mut selected = pending.clone();
    selected["metadata"]["annotations"] = json!({"volume.kubernetes.io/selected-node": "n1"});
    mk_storage(&mut view, &json!({"claims": [selected], "classes": classes("WaitForFirstConsumer")}));
    assert_unknown(&answer(&view, &with_claim("m")), "being provisioned for node \"n1\"");
}

#[test]
fn kinds_that_were_never_listed_are_unknown() {
    let mut view = mk_cluster([]);
    let objects = json!({
        "claims": [mk_claim("m", "pv", "ReadWriteMany")], "volumes": [in_zone("pv", "a")], "nodes": mk_limits(4),
    });
    mk_storage(&mut view, &objects);
    assert_eq!(answer(&view, &with_claim("m")).fits, Fits::exact(8));
    let without = |edit: fn(&mut View)| {
        let mut view = view.clone();
        edit(&mut view);
        answer(&view, &with_claim("m"))
    };
    assert_unknown(&without(|view| view.storage.claims = None), "PersistentVolumeClaims");
    assert_unknown(&without(|view| view.storage.volumes = None), "PersistentVolumes");
    assert_unknown(&without(|view| view.storage.nodes = None), "CSINodes");
    assert_unknown(&without(|view| view.storage.attachments = None), "VolumeAttachments");
    assert_eq!(without(|view| view.storage.drivers = None).fits, Fits::exact(8));
    let withheld = |kind: &str| {
        let mut view = view.clone();
        view.unreadable.insert(kind.to_owned(), [(String::new(), "403".to_owned())].into());
        answer(&view, &with_claim("m"))
    };
    assert_unknown(
        &withheld("persistentvolumes"),
        "PersistentVolumes decide where volumes can be used, and they are not all known: 403",
    );
    assert_eq!(withheld("csidrivers").fits, Fits::exact(8));
}

#[test]
fn read_write_once_is_no_rule_of_the_scheduler_and_read_write_once_pod_is_one_pod() {
    let mut view = mk_cluster([]);
    let claim = |mode| json!({"claims": [mk_claim("m", "pv", mode)], "volumes": [in_zone("pv", "a")]});
    mk_storage(&mut view, &claim("ReadWriteOnce"));
    assert_eq!(answer(&view, &with_claim("m")).fits, Fits::exact(8));
    mk_storage(&mut view, &claim("ReadWriteOncePod"));
    let one = answer(&view, &with_claim("m"));
    assert_eq!((one.fits, one.limiting_factor), (Fits::exact(1), LimitingFactor::Volume));
    assert_eq!(one.constraint.unwrap(), "PersistentVolumeClaim ml/m is ReadWriteOncePod: one pod may use it");
}

#[test]
fn a_claim_for_one_pod_that_a_pod_has_is_out_of_reach_unless_that_pod_is_evicted() {
    let mut user = mk_pod("user", "n3", 1);
    user.spec.volumes = with_claim("m").spec.volumes;
    let mut view = mk_cluster([user.clone()]);
    let objects = json!({"claims": [mk_claim("m", "pv", "ReadWriteOncePod")], "volumes": [in_zone("pv", "a")]});
    mk_storage(&mut view, &objects);
    let taken = answer(&view, &with_claim("m"));
    assert_eq!((taken.fits, taken.limiting_factor), (Fits::exact(0), LimitingFactor::Volume));
    let mut urgent = with_claim("m");
    urgent.spec.priority = Some(10);
    assert_eq!(answer(&view, &urgent).fits, Fits::between(0, Some(1)));
    user.spec.priority = Some(10);
    view.pods.insert(user.metadata.key(), user);
    assert_eq!(answer(&view, &urgent).fits, Fits::exact(0));
}

#[test]
fn two_workloads_are_not_granted_the_same_claim_for_one_pod() {
    let mut view = mk_cluster([]);
    let objects = json!({"claims": [mk_claim("m", "pv", "ReadWriteOncePod")], "volumes": [in_zone("pv", "a")]});
    mk_storage(&mut view, &objects);
    let policy = Policy::default();
    let mut inventory = Inventory::of(&view, &policy);
    let mut other = with_claim("m");
    other.metadata.labels.insert("app".to_owned(), "other".to_owned());
    let (one, other) = (Template::of(&with_claim("m"), "ml", &view), Template::of(&other, "ml", &view));
    let mut placer = Placer::new(inventory.clone());
    assert!(placer.place(&one).is_some() && placer.place(&other).is_none() && placer.place(&one).is_none());
    let row = inventory.place(&one).unwrap();
    assert_eq!((inventory.place(&other), inventory.fits(&other).fits), (None, Fits::exact(0)));
    inventory.release(row, &one);
    assert!(inventory.place(&other).is_some());
}

#[test]
fn a_claim_that_its_first_pod_binds_promises_that_one() {
    let mut view = mk_cluster([]);
    let class = mk_class("ebs.csi.aws.com", "WaitForFirstConsumer", &["b"]);
    mk_storage(&mut view, &json!({"claims": [mk_claim("m", "", "ReadWriteMany")], "classes": [class]}));
    let answer = answer(&view, &with_claim("m"));
    assert_eq!(answer.fits, Fits::between(1, Some(4)));
    assert!(answer.constraint.unwrap().contains("bound where its first pod goes"));
}

#[test]
fn new_claims_are_made_where_their_class_makes_volumes() {
    let mut view = mk_cluster([]);
    let class = |mode, zones: &[&str]| json!({"classes": [mk_class("ebs.csi.aws.com", mode, zones)]});
    mk_storage(&mut view, &class("WaitForFirstConsumer", &["b"]));
    for template in [with_ephemeral(Some("fast")), with_claim_of_each()] {
        let answer = answer(&view, &template);
        assert_eq!(answer.fits, Fits::exact(4));
        assert!(answer.groups.iter().any(|group| group.reason == "StorageClass fast makes no volumes there"));
    }
    mk_storage(&mut view, &class("WaitForFirstConsumer", &[]));
    assert_eq!(answer(&view, &with_ephemeral(Some("fast"))).fits, Fits::exact(12));
    mk_storage(&mut view, &class("Immediate", &[]));
    assert_unknown(&answer(&view, &with_ephemeral(Some("fast"))), "before the scheduler does");
    mk_storage(&mut view, &json!({}));
    assert_unknown(&answer(&view, &with_ephemeral(Some("fast"))), "StorageClass \"fast\" is not there");
}

#[test]
fn a_claim_without_a_class_gets_the_newest_default_one() {
    let mut view = mk_cluster([]);
    assert_unknown(&answer(&view, &with_ephemeral(None)), "no StorageClass is the default one");
    let class = |name: &str, mode: &str, made: &str| {
        let annotations = json!({"storageclass.kubernetes.io/is-default-class": "true"});
        json!({
            "metadata": {"name": name, "annotations": annotations, "creationTimestamp": made},
            "provisioner": "x", "volumeBindingMode": mode,
        })
    };
    let old = class("a", "Immediate", "2026-01-01T00:00:00Z");
    let new = class("b", "WaitForFirstConsumer", "2026-02-01T00:00:00Z");
    mk_storage(&mut view, &json!({"classes": [old, new]}));
    assert_eq!(answer(&view, &with_ephemeral(None)).fits, Fits::exact(12));
}

#[test]
fn a_driver_that_tracks_its_space_is_unknown() {
    let mut view = mk_cluster([]);
    let driver = json!({"metadata": {"name": "topolvm.io"}, "spec": {"storageCapacity": true}});
    let class = mk_class("topolvm.io", "WaitForFirstConsumer", &[]);
    mk_storage(&mut view, &json!({"classes": [class], "drivers": [driver]}));
    assert_unknown(&answer(&view, &with_ephemeral(Some("fast"))), "only where there is space");
    view.storage.drivers = None;
    assert_unknown(&answer(&view, &with_ephemeral(Some("fast"))), "CSIDrivers");
}

#[test]
fn volumes_of_a_node_that_wait_are_used_up_one_by_one() {
    let mut view = mk_cluster([]);
    let local = |name: &str, node: &str, size: &str| {
        let mut volume = mk_volume(name, "kubernetes.io/hostname", &[node]);
        volume["status"]["phase"] = json!("Available");
        volume["spec"]["capacity"]["storage"] = json!(size);
        volume
    };
    let class = mk_class("kubernetes.io/no-provisioner", "WaitForFirstConsumer", &[]);
    let volumes =
        [local("a", "n1", "10Gi"), local("b", "n1", "10Gi"), local("c", "n3", "5Gi"), local("d", "n3", "1Gi")];
    mk_storage(&mut view, &json!({"classes": [class.clone()], "volumes": volumes}));
    let template = with_ephemeral(Some("fast"));
    assert_eq!(answer(&view, &template).fits, Fits::exact(3));
    let policy = Policy::default();
    let template = Template::of(&template, "ml", &view);
    let mut placer = Placer::new(Inventory::of(&view, &policy));
    let mut rows: Vec<_> = std::iter::from_fn(|| placer.place(&template)).collect();
    rows.sort_unstable();
    assert_eq!(rows, [0, 0, 2]);
    let some = mk_class("ebs.csi.aws.com", "WaitForFirstConsumer", &["b"]);
    mk_storage(&mut view, &json!({"classes": [some], "volumes": volumes}));
    assert_unknown(&answer(&view, &with_ephemeral(Some("fast"))), "others wait for claims");
    mk_storage(&mut view, &json!({"classes": [class]}));
    let none = answer(&view, &with_ephemeral(Some("fast")));
    assert_eq!((none.fits, none.limiting_factor), (Fits::exact(0), LimitingFactor::Volume));
}

#[test]
fn a_driver_attaches_so_many_volumes_to_a_node() {
    let mut user = mk_pod("user", "n1", 0);
    user.spec.volumes = with_claim("other").spec.volumes;
    let mut view = mk_cluster([user]);
    let class = mk_class("ebs.csi.aws.com", "WaitForFirstConsumer", &[]);
    let attachment = |pv: &str, node: &str| {
        let source = json!({"persistentVolumeName": pv});
        json!({"metadata": {"name": pv}, "spec": {"attacher": "ebs.csi.aws.com", "nodeName": node, "source": source}})
    };
    let mut objects = json!({
        "claims": [mk_claim("other", "pv", "ReadWriteOnce")], "volumes": [in_zone("pv", "a"), in_zone("old", "a")],
        "classes": [class], "nodes": mk_limits(3), "attachments": [attachment("pv", "n1")],
    });
    mk_storage(&mut view, &objects);
    assert_eq!(answer(&view, &with_ephemeral(Some("fast"))).fits, Fits::exact(2 + 3 + 3));
    objects["attachments"] = json!([attachment("pv", "n1"), attachment("old", "n2")]);
    mk_storage(&mut view, &objects);
    let limited = answer(&view, &with_ephemeral(Some("fast")));
    assert_eq!((limited.fits, limited.limiting_factor), (Fits::exact(2 + 2 + 3), LimitingFactor::Volume));
    let policy = Policy::default();
    let template = Template::of(&with_ephemeral(Some("fast")), "ml", &view);
    let mut inventory = Inventory::of(&view, &policy);
    for left in (0..7).rev() {
        inventory.place(&template).unwrap();
        assert_eq!(inventory.fits(&template).fits, Fits::exact(left));
    }
}

#[test]
fn a_claim_that_may_get_a_volume_of_another_driver_counts_as_one_of_both() {
    let mut view = mk_cluster([]);
    let local = |name: &str, csi: Value| {
        let mut volume = mk_volume(name, "kubernetes.io/hostname", &["n1"]);
        volume["status"]["phase"] = json!("Available");
        volume["spec"]["csi"] = csi;
        volume
    };
    let ebs = json!({"driver": "ebs.csi.aws.com", "volumeHandle": "h"});
    let fits = |view: &mut View, provisioner: &str, csi: &Value, nodes: &Value| {
        let volumes = ["a", "b", "c"].map(|name| local(name, csi.clone()));
        let class = mk_class(provisioner, "WaitForFirstConsumer", &[]);
        mk_storage(view, &json!({"classes": [class], "volumes": volumes, "nodes": nodes}));
        answer(view, &with_ephemeral(Some("fast"))).fits
    };
    let (nobody, made) = ("kubernetes.io/no-provisioner", "ebs.csi.aws.com");
    assert_eq!(fits(&mut view, nobody, &Value::Null, &mk_limits(1)), Fits::exact(3));
    assert_eq!(fits(&mut view, nobody, &ebs, &json!([])), Fits::exact(3));
    assert_eq!(fits(&mut view, nobody, &ebs, &mk_limits(1)), Fits::between(1, None));
    assert_eq!(fits(&mut view, made, &ebs, &mk_limits(1)), Fits::exact(3));
    assert_eq!(fits(&mut view, made, &Value::Null, &mk_limits(1)), Fits::between(3, None));
    assert_eq!(fits(&mut view, made, &Value::Null, &json!([])), Fits::exact(12));
}

#[test]
fn new_claims_that_a_limit_range_refuses_are_unknown_and_those_that_are_there_stay() {
    let mut view = mk_cluster([]);
    mk_storage(
        &mut view,
        &json!({
            "claims": [mk_claim("m", "pv", "ReadWriteMany")], "volumes": [in_zone("pv", "a")],
            "classes": [mk_class("ebs.csi.aws.com", "WaitForFirstConsumer", &[])],
        }),
    );
    let mut limit = |item: Value| {
        let range = json!({"metadata": {"name": "r", "namespace": "ml"}, "spec": {"limits": [item]}});
        let range: crate::object::admission::LimitRange = from(range);
        view.limit_ranges.insert(range.metadata.key(), range);
        (answer(&view, &with_ephemeral(Some("fast"))), answer(&view, &with_claim("m")).fits)
    };
    let of_claims = |bound: &str, size: &str| json!({"type": "PersistentVolumeClaim", bound: {"storage": size}});
    for refusing in [of_claims("min", "6Gi"), of_claims("max", "4Gi")] {
        let (new, there) = limit(refusing);
        assert_unknown(&new, "LimitRange \"r\" refuses new claims");
        assert_eq!(there, Fits::exact(8));
    }
    assert_eq!(limit(of_claims("min", "5Gi")).0.fits, Fits::exact(12));
    assert_eq!(limit(of_claims("max", "5Gi")).0.fits, Fits::exact(12));
}

#[test]
fn a_volume_that_replicas_share_is_attached_once_to_a_node() {
    let mut view = mk_cluster([]);
    let objects = json!({
        "claims": [mk_claim("m", "pv", "ReadWriteMany")], "volumes": [in_zone("pv", "a")], "nodes": mk_limits(1),
    });
    mk_storage(&mut view, &objects);
    assert_eq!(answer(&view, &with_claim("m")).fits, Fits::exact(8));
}

#[test]
fn claims_that_earlier_replicas_left_promise_the_nodes_that_suit_all() {
    let mut view = mk_cluster([]);
    let class = mk_class("ebs.csi.aws.com", "WaitForFirstConsumer", &[]);
    let left = |volumes: &[Value]| {
        let claims = [mk_claim("data-db-0", "pv", "ReadWriteOnce"), mk_claim("data-db-1", "other", "ReadWriteOnce")];
        let claims = claims.iter().take(volumes.len()).cloned().chain([mk_claim("data-db-x", "no", "ReadWriteOnce")]);
        json!({"claims": claims.collect::<Vec<_>>(), "volumes": volumes, "classes": [class]})
    };
    mk_storage(&mut view, &left(&[in_zone("pv", "a")]));
    assert_eq!(answer(&view, &with_claim_of_each()).fits, Fits::between(8, None));
    mk_storage(&mut view, &left(&[in_zone("pv", "a"), in_zone("other", "b")]));
    assert_eq!(answer(&view, &with_claim_of_each()).fits, Fits::between(0, None));
    mk_storage(&mut view, &left(&[in_zone("pv", "a")]));
    let mut spread = with_claim_of_each();
    spread.spec.topology_spread_constraints = from(json!([{"topologyKey": "z", "maxSkew": 1}]));
    assert_unknown(&answer(&view, &spread), "decide together");
    let mut pod = mk_pod("db-0", "n1", 1);
    pod.spec.volumes = with_claim("data-db-0").spec.volumes;
    view.pods.insert(pod.metadata.key(), pod);
    assert_eq!(answer(&view, &with_claim_of_each()).fits, Fits::exact(11));
}

#[test]
fn a_claim_of_an_earlier_replica_that_is_not_settled_is_unknown() {
    let mut view = mk_cluster([]);
    let class = mk_class("ebs.csi.aws.com", "WaitForFirstConsumer", &[]);
    let mut claim = mk_claim("data-db-0", "pv", "ReadWriteOnce");
    claim["status"]["phase"] = json!("Lost");
    mk_storage(&mut view, &json!({"claims": [claim], "volumes": [in_zone("pv", "a")], "classes": [class]}));
    assert_unknown(&answer(&view, &with_claim_of_each()), "ml/data-db-0 is lost");
}

#[test]
fn a_waiting_pod_that_may_take_the_same_attachments_leaves_nothing_to_promise() {
    let class = mk_class("ebs.csi.aws.com", "WaitForFirstConsumer", &[]);
    let mut waiting = mk_pod("waiting", "", 0);
    waiting.spec.volumes = with_ephemeral(Some("fast")).spec.volumes;
    let mut view = mk_cluster([waiting]);
    let beside = |view: &View| {
        let policy = Policy::default();
        let inventory = Inventory::of(view, &policy);
        inventory.fits_beside(&Template::of(&with_ephemeral(Some("fast")), "ml", view), |_| true).fits
    };
    mk_storage(&mut view, &json!({"classes": [class.clone()]}));
    assert_eq!(beside(&view), Fits::exact(12));
    mk_storage(&mut view, &json!({"classes": [class], "nodes": mk_limits(3)}));
    assert_eq!(beside(&view), Fits::between(0, Some(9)));
}

#[test]
fn sources_that_only_mount_are_no_constraint_and_disks_by_name_are_unknown() {
    let view = mk_cluster([]);
    let with = |source: Value| answer(&view, &mk_template(1, json!({"volumes": [source]})));
    assert_eq!(with(json!({"name": "v", "csi": {"driver": "secrets-store.csi.k8s.io"}})).fits.class, Class::Exact);
    assert_unknown(&with(json!({"name": "v", "gcePersistentDisk": {"pdName": "d"}})), "gcePersistentDisk");
    assert_unknown(&with(json!({"name": "v", "rbd": {"image": "i"}})), "rbd");
}
