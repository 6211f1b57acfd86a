//! What node autoscalers write, and what is made of it.

mod labels;
mod likes;
mod registration;

use serde_json::json;

use super::{NodeAutoscaler, NodeGroup, Outlook, Refusal, RefusalKind, karpenter, status};
use crate::{
    capacity::{Fits, Inventory, Replica, Template},
    cluster::View,
    object::{Node, PodTemplate},
    policy::Policy,
};

fn from<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// What may wait for the node that may be added, or why nothing may.
fn headroom(view: &View, template: &PodTemplate) -> Result<Fits, String> {
    let outlook = Outlook::of(view, &Policy::default(), jiff::Timestamp::UNIX_EPOCH);
    let template = Template::of(template, "ml", view);
    match outlook.doubt(&Replica::single(template.clone()), view) {
        Some(doubt) => Err(doubt.reason),
        None => Ok(Inventory::of(&outlook.further, &Policy::default()).fits(&template).fits),
    }
}

#[test]
fn the_status_says_of_each_group_what_it_may_add_and_why_not() {
    let group = |name: &str, target: u32, ready: u32, scale_up: serde_json::Value| {
        json!({
            "name": name,
            "health": {
                "status": "Healthy", "nodeCounts": {"registered": {"total": ready, "ready": ready}},
                "cloudProviderTarget": target, "minSize": 0, "maxSize": 10,
            },
            "scaleUp": scale_up,
        })
    };
    let backoff = |code: &str| json!({"status": "Backoff", "backoffInfo": {"errorCode": code, "errorMessage": "no"}});
    let status: status::Status = from(json!({"autoscalerStatus": "Running", "nodeGroups": [
        group("open", 3, 2, json!({"status": "NoActivity"})),
        group("full", 10, 10, json!({"status": "NoActivity"})),
        group("quota", 3, 3, backoff("QUOTA_EXCEEDED")),
        group("stock", 3, 3, backoff("OUT_OF_RESOURCES")),
        group("other", 3, 3, json!({"status": "Backoff", "backoffInfo": null})),
    ]}));
    let groups = status.groups();
    let kinds: Vec<_> = groups.iter().map(|it| (it.name.as_str(), it.refusal.as_ref().map(|it| it.kind))).collect();
    assert_eq!(
        kinds,
        [
            ("full", Some(RefusalKind::Limit)),
            ("open", None),
            ("other", Some(RefusalKind::Backoff)),
            ("quota", Some(RefusalKind::Quota)),
            ("stock", Some(RefusalKind::StockOut)),
        ]
    );
    assert_eq!((groups[1].further(), groups[1].arriving), (Some(7), 1));
}

#[test]
fn the_text_of_older_versions_reads_the_same() {
    let text = "Cluster-autoscaler status at 2023-01-01 00:00:00 +0000 UTC:\nCluster-wide:\n  Health: Healthy (ready=3 \
        unready=0 notStarted=0 longNotStarted=0 registered=3 longUnregistered=0)\n\nNodeGroups:\n  Name:        gpu\n  \
        Health:      Healthy (ready=2 unready=0 (resourceUnready=0) notStarted=0 longNotStarted=0 registered=2 \
        longUnregistered=0 cloudProviderTarget=3 (minSize=1, maxSize=8))\n  ScaleUp:     Backoff (ready=2 \
        cloudProviderTarget=3)\n";
    let groups = status::of_text(text);
    assert_eq!(groups.len(), 1);
    assert_eq!((groups[0].max, groups[0].target, groups[0].arriving), (Some(8), 3, 1));
    assert_eq!(groups[0].refusal.as_ref().unwrap().kind, RefusalKind::Backoff);
}

#[test]
fn the_time_of_the_status_is_read_in_any_zone() {
    let second = |text: &str| status::updated(text).map(jiff::Timestamp::as_second);
    assert_eq!(second("1970-01-01 00:01:00.5 +0000 UTC"), Some(60));
    assert_eq!(second("1970-01-01 02:01:00 +0200 CEST m=+12.3"), Some(60));
    assert_eq!(second("1969-12-31 19:01:00 -0500 EST"), Some(60));
    let absurd = "1970-01-01 00:00:00 +99153722867280912930 UTC";
    for text in ["", "now", "1970-01-01 25:00:00 +0000 UTC", "1970-01-01 00:00:00 é", absurd] {
        assert_eq!(second(text), None, "{text}");
    }
}

#[test]
fn pools_have_what_their_limits_leave_and_claims_that_are_not_nodes_yet_are_arriving() {
    let pool = json!({
        "metadata": {"name": "gpu"}, "spec": {"limits": {"nvidia.com/gpu": "16", "nodes": "3"}},
        "status": {"resources": {"nvidia.com/gpu": "4", "nodes": "1"}, "conditions": [{"type": "Ready", "status": "True"}]},
    });
    let claim = |conditions: serde_json::Value| {
        from(json!({"metadata": {"labels": {"karpenter.sh/nodepool": "gpu"}}, "status": {"conditions": conditions}}))
    };
    let ready = claim(json!([{"type": "Initialized", "status": "True"}]));
    let launched = claim(json!([{"type": "Launched", "status": "True"}, {"type": "Initialized", "status": "Unknown"}]));
    let group = &karpenter::groups(vec![from(pool.clone())], &[ready, launched])[0];
    assert_eq!((group.target, group.arriving, group.further()), (2, 1, Some(1)));
    assert_eq!((group.left["nvidia.com/gpu"].units(), &group.refusal), (12, &None));
    let short =
        claim(json!([{"type": "Launched", "status": "False", "reason": "InsufficientCapacity", "message": "no p5"}]));
    let group = &karpenter::groups(vec![from(pool.clone())], &[short])[0];
    assert_eq!((group.arriving, group.refusal.as_ref().unwrap().kind), (0, RefusalKind::StockOut));
    let mut reached = pool;
    reached["status"]["resources"]["nvidia.com/gpu"] = json!("16");
    let refusal = karpenter::groups(vec![from(reached)], &[])[0].refusal.clone().unwrap();
    assert_eq!(
        (refusal.kind, refusal.message.as_str()),
        (RefusalKind::Limit, "its limit of nvidia.com/gpu 16 is reached")
    );
}

#[test]
fn a_pool_whose_claims_could_not_be_launched_lately_is_out_of_stock() {
    let event = |claim: &str, reason: &str, at: &str| -> karpenter::Event {
        from(json!({
            "involvedObject": {"kind": "NodeClaim", "name": claim}, "reason": reason, "lastTimestamp": at,
            "message": "NodeClaim gpu-big-x2x4z event: no p5.48xlarge in zone a", "eventTime": null,
        }))
    };
    let refused = |events: &[karpenter::Event], now: &str| {
        let named = |name: &str| NodeGroup { name: name.to_owned(), ..NodeGroup::default() };
        let mut groups = [named("gpu"), named("gpu-big")];
        karpenter::refuse(&mut groups, events, now.parse().unwrap());
        groups.map(|group| group.refusal.map(|refusal| refusal.kind))
    };
    let failed = event("gpu-big-x2x4z", "InsufficientCapacityError", "2026-01-01T00:00:00Z");
    let stock_out = [None, Some(RefusalKind::StockOut)];
    assert_eq!(refused(std::slice::from_ref(&failed), "2026-01-01T00:04:59Z"), stock_out);
    assert_eq!(refused(&[failed], "2026-01-01T00:05:00Z"), [None, None]);
    let other = event("gpu-big-x2x4z", "Launched", "2026-01-01T00:00:00Z");
    assert_eq!(refused(&[other], "2026-01-01T00:00:01Z"), [None, None]);
}

fn gpu_node(name: &str, labels: &serde_json::Value) -> Node {
    let offered = json!({"cpu": "64", "pods": "110", "nvidia.com/gpu": "4"});
    from(json!({
        "metadata": {"name": name, "labels": labels},
        "status": {"allocatable": offered, "capacity": offered, "conditions": [{"type": "Ready", "status": "True"}]},
    }))
}

#[test]
fn nodes_are_of_the_group_that_their_provider_labels_or_their_names_say() {
    let has = |group: &str, name: &str, label: &str, value: &str| {
        NodeGroup { name: group.to_owned(), ..NodeGroup::default() }.has(&gpu_node(name, &json!({label: value})))
    };
    assert!(has("eks-gpu-1a2b", "ip-10", "eks.amazonaws.com/nodegroup", "gpu"));
    assert!(has("gpu", "x", "karpenter.sh/nodepool", "gpu"));
    assert!(has("https://x/instanceGroups/gke-c-gpu-1f2e-grp", "gke-c-gpu-1f2e-abcd", "a", "b"));
    assert!(!has("eks-gpus-1a2b", "ip-10", "eks.amazonaws.com/nodegroup", "gpu"));
    assert!(!has("gke-c-gpu-1f2e-grp", "gke-c-gpu-1f2f-abcd", "a", "b"));
}

fn view(groups: Vec<NodeGroup>) -> View {
    let mut view = View::default();
    let node = gpu_node("gpu-1", &json!({"karpenter.sh/nodepool": "gpu", "kubernetes.io/hostname": "gpu-1"}));
    view.nodes.insert("gpu-1".to_owned(), node);
    let daemon = json!({
        "metadata": {"name": "exporter", "namespace": "kube-system", "ownerReferences": [{"kind": "DaemonSet", "name": "e", "controller": true}]},
        "spec": {"nodeName": "gpu-1"}, "status": {"phase": "Running"},
    });
    let busy = json!({"metadata": {"name": "busy", "namespace": "ml"}, "spec": {"nodeName": "gpu-1"}});
    for pod in [daemon, busy] {
        let pod: crate::object::Pod = from(pod);
        view.pods.insert(pod.metadata.key(), pod);
    }
    view.node_autoscaler = Some(NodeAutoscaler { evidence: "x".to_owned(), groups, ..NodeAutoscaler::default() });
    view
}

fn group(name: &str) -> NodeGroup {
    NodeGroup { name: name.to_owned(), max: Some(4), target: 2, arriving: 1, ..NodeGroup::default() }
}

#[test]
fn the_outlook_has_copies_of_a_node_with_its_daemon_pods_alone() {
    let outlook = Outlook::of(&view(vec![group("gpu")]), &Policy::default(), jiff::Timestamp::UNIX_EPOCH);
    assert_eq!((outlook.arriving.nodes.len(), outlook.further.nodes.len(), outlook.unknown), (1, 2, false));
    assert_eq!((outlook.arriving.pods.len(), outlook.further.pods.len()), (1, 2));
    assert_eq!(outlook.reason, None);
}

#[test]
fn a_node_that_came_after_the_status_was_written_is_not_expected_again() {
    let outlook = |arriving: u32, ready_at: &str| {
        let mut view = view(vec![NodeGroup { arriving, ..group("gpu") }]);
        view.node_autoscaler.as_mut().unwrap().updated = Some("2026-01-01T00:00:10.5Z".parse().unwrap());
        let node = view.nodes.get_mut("gpu-1").unwrap();
        node.status.conditions[0].last_transition_time = Some(ready_at.parse().unwrap());
        let outlook = Outlook::of(&view, &Policy::default(), "2026-01-01T00:00:20Z".parse().unwrap());
        (outlook.arriving.nodes.len(), outlook.further.nodes.len())
    };
    assert_eq!(outlook(1, "2026-01-01T00:00:09Z"), (1, 2));
    assert_eq!(outlook(1, "2026-01-01T00:00:10Z"), (0, 2));
    assert_eq!(outlook(0, "2026-01-01T00:00:15Z"), (0, 1));
}

#[test]
fn limits_by_resource_and_the_setting_for_none_bound_what_may_be_added() {
    let mut limited = group("gpu");
    limited.max = None;
    limited.left.insert("nvidia.com/gpu".to_owned(), "11".parse().unwrap());
    let count =
        |group| Outlook::of(&view(vec![group]), &Policy::default(), jiff::Timestamp::UNIX_EPOCH).further.nodes.len();
    assert_eq!(count(limited.clone()), 2);
    limited.left.clear();
    assert_eq!(count(limited), 10);
}

#[test]
fn a_group_that_refuses_or_that_is_not_heard_of_adds_nothing_and_says_why() {
    let mut refusing = group("gpu");
    refusing.arriving = 0;
    refusing.refusal = Some(Refusal::by_code("QUOTA_EXCEEDED", "no more"));
    let outlook = Outlook::of(&view(vec![refusing]), &Policy::default(), jiff::Timestamp::UNIX_EPOCH);
    assert!(outlook.is_empty());
    assert_eq!(outlook.reason.unwrap(), "node group gpu: QUOTA_EXCEEDED: no more");
    let mut stale = view(vec![group("gpu")]);
    stale.node_autoscaler.as_mut().unwrap().updated = Some(jiff::Timestamp::UNIX_EPOCH);
    let at = |second| jiff::Timestamp::from_second(second).unwrap();
    assert!(!Outlook::of(&stale, &Policy::default(), at(180)).is_empty());
    let outlook = Outlook::of(&stale, &Policy::default(), at(181));
    assert!(outlook.is_empty() && outlook.reason.unwrap().contains("181 s"));
}

#[test]
fn a_group_without_any_node_may_be_found_out_about() {
    let outlook = Outlook::of(&view(vec![group("other")]), &Policy::default(), jiff::Timestamp::UNIX_EPOCH);
    assert!(outlook.unknown && outlook.further.nodes.is_empty() && outlook.reason.is_none());
}
