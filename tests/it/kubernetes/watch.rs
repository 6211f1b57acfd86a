//! What the view and the health say when the API server behaves, and when it does not.

use plimsoll::kubernetes::Feed;
use plimsoll_core::{
    cluster::{Change, Delta},
    object::{ObjectKey, WorkloadKey},
};
use serde_json::{Value, json};

use super::{
    api::{Api, HPAS, NODES, PODS, failure},
    harness::{Harness, node, pod},
};

const CLAIMS: &str = "/api/v1/persistentvolumeclaims";
const STATUS: &str = "/api/v1/namespaces/kube-system/configmaps/cluster-autoscaler-status";
const SCALE: &str = "/apis/leaderworkerset.x-k8s.io/v1/namespaces/ml/leaderworkersets/big/scale";

fn hpa(name: &str, api_version: &str, kind: &str, target: &str) -> Value {
    let target = json!({"apiVersion": api_version, "kind": kind, "name": target});
    json!({"metadata": {"namespace": "ml", "name": name}, "spec": {"scaleTargetRef": target, "maxReplicas": 9}})
}

fn deployment(name: &str, replicas: i32) -> Value {
    json!({
        "metadata": {"namespace": "ml", "name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": {}},
        "status": {"replicas": replicas}
    })
}

fn names(namespace: &str, name: &str) -> Value {
    json!({"metadata": {"namespace": namespace, "name": name}})
}

#[tokio::test]
async fn every_kind_reaches_the_view() {
    let api = Api::start().await;
    api.list(NODES, [node("n1", "8"), node("n2", "8"), node("n3", "8")]);
    api.list(PODS, [pod("a", "n1")]);
    api.list(HPAS, [hpa("llm", "apps/v1", "Deployment", "llm")]);
    api.list("/apis/apps/v1/deployments", [deployment("llm", 5)]);
    api.list("/apis/apps/v1/statefulsets", [deployment("db", 1)]);
    api.list("/apis/apps/v1/replicasets", [deployment("bare", 2)]);
    api.list("/api/v1/namespaces", [json!({"metadata": {"name": "ml", "labels": {"team": "x"}}})]);
    api.list("/api/v1/resourcequotas", [names("ml", "gpus")]);
    api.list("/api/v1/limitranges", [names("ml", "defaults")]);
    api.list("/apis/node.k8s.io/v1/runtimeclasses", [json!({"metadata": {"name": "kata"}})]);
    let class = json!({"metadata": {"name": "high"}, "value": 1000, "globalDefault": true});
    api.list("/apis/scheduling.k8s.io/v1/priorityclasses", [class]);
    api.list(CLAIMS, [names("ml", "models")]);
    api.list("/apis/storage.k8s.io/v1/storageclasses", [json!({"metadata": {"name": "fast"}})]);
    api.object(STATUS, json!({
        "metadata": {
            "namespace": "kube-system", "name": "cluster-autoscaler-status",
            "annotations": {"cluster-autoscaler.kubernetes.io/last-updated": "2026-11-21 03:04:05.123456789 +0000 UTC"},
        },
        "data": {"status": "autoscalerStatus: Running\nnodeGroups:\n- name: gpu\n  health:\n    cloudProviderTarget: 3\n    maxSize: 8\n"},
    }));
    let mut harness = Harness::start(api).await;
    harness.until_ready().await;
    let stored = |harness: &Harness| harness.view.storage.claims.is_some() && harness.view.storage.classes.is_some();
    harness.until("storage", stored).await;

    let view = &harness.view;
    assert_eq!((view.nodes.len(), view.pods.len(), view.hpas.len()), (3, 1, 1));
    let kinds: Vec<_> = view.workloads.keys().map(|key| (key.kind.as_str(), key.name.as_str())).collect();
    assert_eq!(kinds, [("Deployment", "llm"), ("ReplicaSet", "bare"), ("StatefulSet", "db")]);
    assert_eq!(view.resource_quotas.keys().collect::<Vec<_>>(), [&ObjectKey::new("ml", "gpus")]);
    assert_eq!(view.limit_ranges.keys().collect::<Vec<_>>(), [&ObjectKey::new("ml", "defaults")]);
    assert_eq!(view.namespaces["ml"].labels.get("team"), Some("x"));
    assert!(view.runtime_classes.contains_key("kata"));
    assert_eq!(view.priority_classes[""], 1000);
    let autoscaler = view.node_autoscaler.as_ref().unwrap();
    assert_eq!(autoscaler.evidence, "ConfigMap kube-system/cluster-autoscaler-status");
    assert_eq!((autoscaler.groups[0].further(), autoscaler.updated.unwrap().as_second()), (Some(5), 1_795_230_245));
    let storage = &view.storage;
    assert_eq!(storage.claims.as_ref().map(std::collections::BTreeMap::len), Some(1));
    assert!(storage.classes.as_ref().is_some_and(|classes| classes.contains_key("fast")));
    assert!(harness.health.capacity_heard_at().is_some());
    assert_eq!(harness.api.requests("&limit=2&continue=2").len(), 1, "one second page: of the nodes");
    let running = "fieldSelector=status.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed";
    assert!(!harness.api.requests(running).is_empty());
    harness.stop().await;
}

#[tokio::test]
async fn events_change_the_view_one_by_one() {
    let api = Api::start().await;
    api.list(PODS, [pod("a", "n1")]);
    let mut harness = Harness::start(api).await;
    harness.until_ready().await;
    harness.until("a watch", |harness| harness.api.watching(PODS) > 0).await;
    harness.api.event(PODS, "ADDED", pod("b", ""));
    harness.api.event(PODS, "BOOKMARK", json!({"metadata": {}}));
    harness.api.event(PODS, "DELETED", pod("a", "n1"));
    harness.until("b only", |harness| harness.pod_names() == ["b"]).await;
    harness.stop().await;
}

#[tokio::test]
async fn after_410_the_new_list_replaces_the_old_one_in_one_step() {
    let api = Api::start().await;
    api.list(PODS, [pod("a", "n1"), pod("b", "n1"), pod("c", "n1")]);
    let mut harness = Harness::start(api).await;
    harness.until_ready().await;
    harness.until("a watch", |harness| harness.api.watching(PODS) > 0).await;
    harness.api.list(PODS, [pod("b", "n1"), pod("c", "n1"), pod("d", "n1")]);
    harness.api.event(PODS, "ERROR", failure(410));
    harness.until("the new list", |harness| harness.pod_names() == ["b", "c", "d"]).await;

    let pods = harness.seen.iter().filter_map(|change| match change {
        Change::Pod(Delta::Replaced(list)) => Some(list.len()),
        Change::Pod(_) => Some(0),
        _ => None,
    });
    assert_eq!(pods.collect::<Vec<_>>(), [3, 3], "two complete lists and nothing between them");
    assert_eq!(harness.health.snapshot()[&Feed::Pods].lists, 2);
    harness.stop().await;
}

#[tokio::test]
async fn a_silent_watch_is_noticed_and_a_quiet_one_is_heard_of() {
    let api = Api::start().await;
    api.silence(PODS, true);
    let mut harness = Harness::start(api).await;
    harness.until_ready().await;
    let before = harness.health.snapshot()[&Feed::Nodes].last_heard;
    let error = |harness: &Harness| harness.health.snapshot()[&Feed::Pods].last_error.clone();
    harness.until("silence", |harness| error(harness).is_some()).await;
    assert!(error(&harness).unwrap().contains("said nothing for 1.3 s"));
    harness.until("quiet, but alive", |harness| harness.health.snapshot()[&Feed::Nodes].last_heard > before).await;
    assert_eq!(harness.health.snapshot()[&Feed::Nodes].lists, 1, "a quiet watch goes on where it was");

    harness.api.silence(PODS, false);
    harness.until("a watch", |harness| harness.api.watching(PODS) > 0 && error(harness).is_none()).await;
    assert_eq!(harness.health.snapshot()[&Feed::Pods].lists, 1);
    harness.stop().await;
}

#[tokio::test]
async fn one_bad_object_does_not_end_a_watch() {
    let api = Api::start().await;
    let bad = json!({"metadata": {"namespace": "ml", "name": "bad"}, "spec": {"nodeName": ["n1"]}});
    api.list(PODS, [pod("a", "n1"), bad.clone()]);
    let mut harness = Harness::start(api).await;
    harness.until_ready().await;
    assert_eq!(harness.pod_names(), ["a"]);
    assert_eq!(harness.health.capacity_problems(), ["pod ml/bad cannot be read, so what it uses is unknown"]);

    harness.until("a watch", |harness| harness.api.watching(PODS) > 0).await;
    harness.api.event(PODS, "MODIFIED", bad);
    harness.api.event(PODS, "ADDED", pod("b", "n1"));
    harness.until("b", |harness| harness.pod_names() == ["a", "b"]).await;
    harness.api.event(PODS, "MODIFIED", pod("bad", "n1"));
    harness.until("the good one", |harness| harness.pod_names() == ["a", "b", "bad"]).await;
    harness.until("no problem", |harness| harness.health.capacity_problems().is_empty()).await;
    assert_eq!(harness.health.snapshot()[&Feed::Pods].lists, 1, "no relist for a bad object");
    harness.stop().await;
}

#[tokio::test]
async fn a_forbidden_list_is_tried_again_until_it_is_permitted() {
    let api = Api::start().await;
    api.refuse(NODES, 403);
    let mut harness = Harness::start(api).await;
    harness.until("two attempts", |harness| harness.api.requests(NODES).len() >= 2).await;
    harness.until("the other feeds", |harness| harness.health.missing().len() == 1).await;
    let (feed, why) = harness.health.missing().remove(0);
    assert!(feed == Feed::Nodes && why.unwrap().contains("403"));
    assert_eq!(harness.health.capacity_heard_at(), None);
    harness.api.refuse(NODES, 200);
    harness.until_ready().await;
    harness.stop().await;
}

#[tokio::test]
async fn claims_that_may_not_be_read_any_more_are_not_known() {
    let api = Api::start().await;
    api.list(CLAIMS, [names("ml", "models")]);
    let mut harness = Harness::start(api).await;
    harness.until("the claim", |harness| harness.view.storage.claims.is_some()).await;
    harness.until("a watch", |harness| harness.api.watching(CLAIMS) > 0).await;
    harness.api.refuse(CLAIMS, 403);
    harness.api.event(CLAIMS, "ERROR", failure(403));
    harness.until("a doubt", |harness| harness.view.unreadable("persistentvolumeclaims", "ml").is_some()).await;
    harness.until_ready().await;
    harness.stop().await;
}

#[tokio::test]
async fn a_watch_goes_on_where_it_was_when_the_server_is_well_again() {
    let mut harness = Harness::start(Api::start().await).await;
    harness.until_ready().await;
    harness.api.refuse(PODS, 503);
    let error = |harness: &Harness| harness.health.snapshot()[&Feed::Pods].last_error.clone();
    harness.until("an error", |harness| error(harness).is_some_and(|error| error.contains("503"))).await;
    assert!(harness.health.ready(), "readiness does not follow the API server");
    harness.api.refuse(PODS, 200);
    harness.until("a watch", |harness| error(harness).is_none() && harness.api.watching(PODS) > 0).await;
    harness.api.event(PODS, "ADDED", pod("a", ""));
    harness.until("a", |harness| harness.pod_names() == ["a"]).await;
    assert_eq!(harness.health.snapshot()[&Feed::Pods].lists, 1);
    harness.stop().await;
}

fn big() -> WorkloadKey {
    WorkloadKey {
        namespace: "ml".to_owned(),
        group: "leaderworkerset.x-k8s.io".to_owned(),
        kind: "LeaderWorkerSet".to_owned(),
        name: "big".to_owned(),
    }
}

/// A cluster that serves LeaderWorkerSets, one of which an HPA names.
async fn api_with_groups() -> Api {
    let api = Api::start().await;
    api.list(HPAS, [hpa("big", "leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet", "big")]);
    let resources = json!([{"name": "leaderworkersets", "kind": "LeaderWorkerSet"},
        {"name": "leaderworkersets/scale", "kind": "Scale"}]);
    api.object("/apis/leaderworkerset.x-k8s.io/v1", json!({"resources": resources}));
    api
}

#[tokio::test]
async fn a_leader_worker_set_is_read_with_its_templates() {
    let api = api_with_groups().await;
    let set = |size| {
        json!({
            "metadata": {"namespace": "ml", "name": "big"},
            "spec": {"replicas": 2, "leaderWorkerTemplate": {"size": size, "workerTemplate": {"spec": {}}}},
            "status": {"replicas": 1, "hpaPodSelector": "leaderworkerset.sigs.k8s.io/worker-index=0"},
        })
    };
    let path = SCALE.trim_end_matches("/scale");
    api.object(path, set(4));
    let mut harness = Harness::start(api).await;
    let workers = |harness: &Harness| {
        harness.view.workloads.get(&big()).and_then(|target| target.group.as_ref()).map(|group| group.workers)
    };
    harness.until("the group", |harness| workers(harness) == Some(3)).await;
    let target = &harness.view.workloads[&big()];
    assert_eq!((target.spec_replicas, target.status_replicas, target.template.is_some()), (2, 1, true));
    harness.api.object(path, set(8));
    harness.until("a larger group", |harness| workers(harness) == Some(7)).await;
    harness.api.remove(path);
    harness.until("gone", |harness| harness.view.workloads.is_empty()).await;
    harness.stop().await;
}

#[tokio::test]
async fn another_kind_is_polled_through_its_scale() {
    let api = api_with_groups().await;
    let scale = |replicas| json!({"spec": {"replicas": replicas}, "status": {"replicas": 2, "selector": "app=big"}});
    api.object(SCALE, scale(2));
    api.refuse(SCALE.trim_end_matches("/scale"), 403);
    let mut harness = Harness::start(api).await;
    let key = big();
    let replicas = |harness: &Harness| {
        harness.view.workloads.get(&key).map(|target| (target.spec_replicas, target.status_replicas))
    };
    harness.until("the scale", |harness| replicas(harness) == Some((2, 2))).await;
    assert!(harness.view.workloads[&key].template.is_none());
    harness.api.object(SCALE, scale(3));
    harness.until("the new scale", |harness| replicas(harness) == Some((3, 2))).await;
    harness.api.remove(SCALE);
    harness.until("gone", |harness| replicas(harness).is_none()).await;
    assert_eq!(
        harness.api.requests("GET /apis/leaderworkerset.x-k8s.io/v1").iter().filter(|r| r.ends_with("v1")).count(),
        1
    );
    harness.stop().await;
}

#[tokio::test]
async fn karpenter_is_detected_by_its_node_pools_and_forgotten_without_them() {
    const POOLS: &str = "/apis/karpenter.sh/v1/nodepools";
    const EVENTS: &str = "/api/v1/namespaces/default/events";
    let api = Api::start().await;
    api.object("/apis/karpenter.sh", json!({"preferredVersion": {"groupVersion": "karpenter.sh/v1"}}));
    api.refuse(STATUS, 403);
    let mut harness = Harness::start(api).await;
    harness.until_ready().await;
    assert_eq!(harness.view.node_autoscaler, None, "a CRD without a pool adds no nodes");
    harness.api.list(POOLS, [json!({"metadata": {"name": "gpu"}})]);
    let found = Some("NodePools of karpenter.sh/v1");
    harness.until("a pool", |harness| harness.view.node_autoscaler.as_ref().map(|it| &*it.evidence) == found).await;
    let claim = json!({"kind": "NodeClaim", "name": "gpu-1a2b3"});
    harness.api.list(
        EVENTS,
        [json!({
            "metadata": {"namespace": "default", "name": "e"}, "involvedObject": claim, "message": "no p5.48xlarge",
            "reason": "InsufficientCapacityError", "lastTimestamp": "2100-01-01T00:00:00Z",
        })],
    );
    let refusal = |harness: &Harness| harness.view.node_autoscaler.as_ref()?.groups.first()?.refusal.clone();
    harness.until("no machine to be had", |harness| refusal(harness).is_some()).await;
    let asked = harness.api.requests(&format!("GET {EVENTS}"));
    assert!(asked[0].contains("reason%3DInsufficientCapacityError%2CinvolvedObject.kind%3DNodeClaim"), "{asked:?}");
    let buffer = json!({"metadata": {"namespace": "ml", "name": "spare"}, "status": {"replicas": 2}});
    harness.api.list("/apis/autoscaling.x-k8s.io/v1alpha1/capacitybuffers", [buffer]);
    let kept = |harness: &Harness| harness.view.node_autoscaler.as_ref().map_or(0, |it| it.buffers.len());
    harness.until("a buffer of the older version", |harness| kept(harness) == 1).await;
    harness.api.refuse(EVENTS, 403);
    harness.until("no word of stock", |harness| refusal(harness).is_none()).await;
    harness.api.list(POOLS, []);
    harness.until("no pool", |harness| harness.view.node_autoscaler.is_none()).await;
    harness.stop().await;
}

#[tokio::test]
async fn what_is_booked_is_known_where_the_kind_is_served() {
    const REQUESTS: &str = "/apis/autoscaling.x-k8s.io/v1/provisioningrequests";
    let api = Api::start().await;
    api.refuse(REQUESTS, 404);
    let template = json!({"metadata": {"namespace": "ml", "name": "trainer"}, "template": {"spec": {"priority": 7}}});
    api.list("/api/v1/podtemplates", [template]);
    let mut harness = Harness::start(api).await;
    harness.until_ready().await;
    let templates = |harness: &Harness| harness.view.bookings.templates.len();
    harness.until("the template", |harness| templates(harness) == 1).await;
    let stored = harness.view.bookings.templates.values().next().unwrap();
    assert_eq!(stored.template.spec.priority, Some(7));
    assert!(harness.view.bookings.requests.is_empty());
    let set = json!({"podTemplateRef": {"name": "trainer"}, "count": 2});
    let spec = json!({"podSets": [set], "provisioningClassName": "check-capacity.autoscaling.x-k8s.io"});
    let status = json!({"conditions": [{"type": "Provisioned", "status": "True"}]});
    let request = json!({"metadata": {"namespace": "ml", "name": "job"}, "spec": spec, "status": status});
    harness.api.list(REQUESTS, [request]);
    harness.api.refuse(REQUESTS, 200);
    let is_booked = |harness: &Harness| {
        let mut requests = harness.view.bookings.requests.values();
        requests.any(plimsoll_core::object::autoscaling::ProvisioningRequest::is_booked)
    };
    harness.until("the request", is_booked).await;
    harness.stop().await;
}
