//! What is kept between inventories against what is made anew: every answer is the same after any history.

use std::sync::Arc;

use proptest::{collection::vec, prelude::*};
use serde_json::json;

use super::*;
use crate::{
    capacity::Ledger,
    cluster::{Change, Delta, DeviceChange},
    object::device::{ResourceClaim, ResourceSlice},
};

fn nodes() -> impl Strategy<Value = Node> {
    (0_u8..4, 0_u32..6, any::<bool>(), 0_u8..3, any::<bool>()).prop_map(|(name, gpus, cordoned, taint, ready)| {
        let mut node = mk_node(&format!("n{name}"), gpus);
        node.spec.unschedulable = cordoned;
        node.metadata.labels.insert("zone".to_owned(), format!("z{}", name % 2));
        if taint == 0 {
            node.spec.taints = from(json!([{"key": "k", "value": "v", "effect": "NoSchedule"}]));
        }
        if !ready {
            node.status.conditions.clear();
        }
        if gpus == 0 {
            // What is asked for then comes from devices.
            node.status.allocatable.remove("nvidia.com/gpu");
        }
        if gpus == 5 {
            node.status.allocatable.insert("example.com/other".to_owned(), "3".parse().unwrap());
        }
        node
    })
}

fn pods() -> impl Strategy<Value = Pod> {
    (0_u8..8, 0_u8..4, 0_u32..3, 0_u8..7, -1_i32..2).prop_map(|(name, node, gpus, kind, priority)| {
        let mut pod = mk_pod(&format!("p{name}"), &format!("n{node}"), gpus);
        pod.spec.priority = Some(priority);
        match kind {
            0 => pod.status.phase = "Succeeded".into(),
            1 => pod.metadata.deletion_timestamp = Some(jiff::Timestamp::UNIX_EPOCH.into()),
            2 => {
                pod.status.nominated_node_name = pod.node_name.clone();
                pod.node_name = "".into();
            }
            3 => pod.spec.containers[0].ports = from(json!([{"hostPort": 80, "containerPort": 80}])),
            4 => {
                let term = json!({"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "llm"}}});
                let terms = json!({"requiredDuringSchedulingIgnoredDuringExecution": [term]});
                pod.spec.affinity = from(json!({"podAntiAffinity": terms}));
            }
            5 => pod.spec.resource_claims = vec![json!({"name": "c", "resourceClaimName": "c"})],
            _ => {}
        }
        pod
    })
}

/// A claim that holds devices of a node, for some pods.
fn claims() -> impl Strategy<Value = ResourceClaim> {
    let device = (0_u8..4, 0_u8..4)
        .prop_map(|(node, device)| json!({"driver": "d", "pool": format!("n{node}"), "device": format!("d{device}")}));
    (0_u8..4, vec(device, 0..3), vec(0_u8..8, 0..2)).prop_map(|(name, devices, pods)| {
        let users: Vec<_> = pods.iter().map(|pod| json!({"resource": "pods", "name": format!("p{pod}")})).collect();
        let status = json!({"allocation": {"devices": {"results": devices}}, "reservedFor": users});
        from(json!({"metadata": {"name": format!("c{name}"), "namespace": "ml"}, "status": status}))
    })
}

/// The devices of a node, every second of them a better one.
fn slices() -> impl Strategy<Value = ResourceSlice> {
    (0_u8..4, 0_u8..5).prop_map(|(node, count)| {
        let node = format!("n{node}");
        let device = |index| json!({"name": format!("d{index}"), "attributes": {"good": {"bool": index % 2 == 0}}});
        let devices: Vec<_> = (0..count).map(device).collect();
        let pool = json!({"name": node, "generation": 1, "resourceSliceCount": 1});
        let spec = json!({"driver": "d", "nodeName": node, "pool": pool, "devices": devices});
        from(json!({"metadata": {"name": node}, "spec": spec}))
    })
}

/// A class for all devices, and templates of claims: for one of them, and for a good one besides.
fn with_devices() -> View {
    let mut view = View::default();
    for kind in ["ResourceSlice", "ResourceClaim", "ResourceClaimTemplate"] {
        view.devices.know(kind);
    }
    let spec = json!({"extendedResourceName": "nvidia.com/gpu"});
    let class = from(json!({"metadata": {"name": "gpu"}, "spec": spec}));
    view.apply(Change::Device(DeviceChange::Class(Delta::Applied(class))));
    let any = json!({"name": "any", "exactly": {"deviceClassName": "gpu"}});
    let good = json!([{"cel": {"expression": "device.attributes['d'].good"}}]);
    let good = json!({"name": "good", "exactly": {"deviceClassName": "gpu", "selectors": good}});
    for (name, requests) in [("one", json!([any])), ("two", json!([any, good]))] {
        let spec = json!({"spec": {"devices": {"requests": requests}}});
        let template = from(json!({"metadata": {"name": name, "namespace": "ml"}, "spec": spec}));
        view.apply(Change::Device(DeviceChange::ClaimTemplate(Delta::Applied(template))));
    }
    view
}

fn changes() -> impl Strategy<Value = Change> {
    let device = |change| Change::Device(change);
    prop_oneof![
        3 => claims().prop_map(move |claim| device(DeviceChange::Claim(Delta::Applied(claim)))),
        1 => claims().prop_map(move |claim| device(DeviceChange::Claim(Delta::Deleted(claim.metadata.key())))),
        1 => vec(claims(), 0..4).prop_map(move |claims| device(DeviceChange::Claim(Delta::Replaced(claims)))),
        2 => slices().prop_map(move |slice| device(DeviceChange::Slice(Delta::Applied(slice)))),
        6 => pods().prop_map(|pod| Change::Pod(Delta::Applied(pod))),
        2 => pods().prop_map(|pod| Change::Pod(Delta::Deleted(pod.metadata.key()))),
        1 => vec(pods(), 0..6).prop_map(|pods| Change::Pod(Delta::Replaced(pods))),
        4 => nodes().prop_map(|node| Change::Node(Delta::Applied(node))),
        1 => nodes().prop_map(|node| Change::Node(Delta::Deleted(node.metadata.name))),
        1 => vec(nodes(), 0..4).prop_map(|nodes| Change::Node(Delta::Replaced(nodes))),
    ]
}

fn templates(view: &View) -> Vec<Template> {
    let spread = json!([{
        "topologyKey": "zone", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "llm"}},
    }]);
    let specs = [
        mk_template(0, json!({"priority": -1})),
        mk_template(1, json!({})),
        mk_template(2, json!({"priority": 1, "tolerations": [{"operator": "Exists"}]})),
        mk_template(1, json!({"nodeSelector": {"zone": "z1"}})),
        mk_template(1, json!({"topologySpreadConstraints": spread})),
        mk_template(1, json!({"hostNetwork": true})),
        mk_template(0, json!({"resourceClaims": [{"name": "c", "resourceClaimTemplateName": "one"}]})),
        mk_template(0, json!({"resourceClaims": [{"name": "c", "resourceClaimTemplateName": "two"}]})),
        mk_template(0, json!({"resourceClaims": [{"name": "c", "resourceClaimTemplateName": "two"}], "priority": 1})),
        mk_template(1, json!({"resourceClaims": [{"name": "c", "resourceClaimTemplateName": "one"}]})),
    ];
    specs.iter().map(|template| Template::of(template, "ml", view)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn answers_from_what_was_kept_are_those_that_are_made_anew(
        history in vec((changes(), any::<bool>(), 0_usize..10), 1..25),
    ) {
        let (mut view, mut ledger) = (with_devices(), Arc::new(Ledger::default()));
        let policy = Policy::default();
        for (change, asks, which) in history {
            Arc::make_mut(&mut ledger).note(&view, &change);
            view.apply(change);
            if !asks {
                continue;
            }
            let (mut kept, mut new) = (Inventory::with(&view, &policy, Arc::clone(&ledger)), Inventory::of(&view, &policy));
            let templates = templates(&view);
            let before: Vec<_> = templates.iter().map(|template| kept.fits(template)).collect();
            for (template, before) in templates.iter().zip(&before) {
                prop_assert_eq!(before, &new.fits(template));
            }
            let placed = kept.place(&templates[which]);
            prop_assert_eq!(placed, new.place(&templates[which]));
            for template in &templates {
                prop_assert_eq!(kept.fits(template), new.fits(template));
            }
            // Once anything was placed, nodes are visited one by one.
            if let Some(row) = placed {
                kept.release(row, &templates[which]);
                for (template, before) in templates.iter().zip(&before) {
                    prop_assert_eq!(&kept.fits(template), before);
                }
            }
        }
    }
}
