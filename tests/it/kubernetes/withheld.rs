//! Kinds that the cluster does not have, does not let be read, or fills with objects that do not decode.

use plimsoll::kubernetes::Feed;
use plimsoll_core::object::ObjectKey;
use serde_json::{Value, json};

use super::{
    api::{Api, NODES, PODS},
    harness::{Harness, pod},
};

const QUOTAS: &str = "/api/v1/resourcequotas";
const CLASSES: &str = "/apis/resource.k8s.io/v1/deviceclasses";

fn quota(namespace: &str, hard: &Value) -> Value {
    json!({"metadata": {"namespace": namespace, "name": "gpus"}, "spec": {"hard": {"pods": hard}}})
}

fn doubt<'h>(harness: &'h Harness, namespace: &str) -> Option<&'h str> {
    harness.view.unreadable("resourcequotas", namespace)
}

fn has_quota(harness: &Harness, namespace: &str) -> bool {
    harness.view.resource_quotas.contains_key(&ObjectKey::new(namespace, "gpus"))
}

#[tokio::test]
async fn what_may_not_be_read_at_the_start_is_in_doubt_and_holds_nothing_up() {
    let api = Api::start().await;
    api.list(QUOTAS, [quota("ml", &json!("9"))]);
    api.list("/api/v1/pods", [pod("a", "n1")]);
    api.refuse(QUOTAS, 403);
    let mut harness = Harness::start(api).await;
    harness.until_ready().await;
    assert!(doubt(&harness, "ml").unwrap().contains("403"));
    assert_eq!(harness.pod_names(), ["a"]);
    assert!(harness.health.snapshot()[&Feed::ResourceQuotas].withheld);
    harness.api.refuse(QUOTAS, 200);
    harness.until("the quota", |harness| doubt(harness, "ml").is_none() && has_quota(harness, "ml")).await;
    assert!(!harness.health.snapshot()[&Feed::ResourceQuotas].withheld);
    harness.stop().await;
}

#[tokio::test]
async fn what_may_not_be_read_any_more_is_in_doubt_until_it_may_again() {
    let api = Api::start().await;
    api.list(QUOTAS, [quota("ml", &json!("9"))]);
    let mut harness = Harness::start(api).await;
    harness.until_ready().await;
    assert_eq!(doubt(&harness, "ml"), None);
    harness.api.refuse(QUOTAS, 403);
    harness.until("a doubt", |harness| doubt(harness, "ml").is_some()).await;
    assert!(harness.health.ready() && has_quota(&harness, "ml"));
    harness.api.refuse(QUOTAS, 200);
    harness.until("no doubt", |harness| doubt(harness, "ml").is_none()).await;
    assert_eq!(harness.health.snapshot()[&Feed::ResourceQuotas].lists, 1, "the watch goes on where it was");
    harness.stop().await;
}

#[tokio::test]
async fn a_kind_that_the_cluster_does_not_have_is_empty_until_it_appears() {
    let api = Api::start().await;
    api.list(CLASSES, [json!({"metadata": {"name": "gpu"}, "spec": {"extendedResourceName": "nvidia.com/gpu"}})]);
    api.refuse(CLASSES, 404);
    let mut harness = Harness::start(api).await;
    harness.until_ready().await;
    assert_eq!(harness.view.unreadable("deviceclasses", ""), None);
    assert!(harness.view.device_classes.is_empty());
    harness.api.refuse(CLASSES, 200);
    harness.until("the class", |harness| harness.view.class_of_resource("nvidia.com/gpu").is_some()).await;
    harness.api.refuse(CLASSES, 404);
    harness.until("no class", |harness| harness.view.device_classes.is_empty()).await;
    assert_eq!(harness.view.unreadable("deviceclasses", ""), None);
    harness.api.refuse(CLASSES, 403);
    harness.until("a doubt", |harness| harness.view.unreadable("deviceclasses", "").is_some()).await;
    harness.stop().await;
}

#[tokio::test]
async fn an_object_that_does_not_decode_puts_its_namespace_in_doubt_until_it_does() {
    let api = Api::start().await;
    api.list(QUOTAS, [quota("ml", &json!("many")), quota("web", &json!("9"))]);
    let mut harness = Harness::start(api).await;
    harness.until_ready().await;
    assert!(doubt(&harness, "ml").unwrap().starts_with("ml/gpus cannot be read"));
    assert!(doubt(&harness, "web").is_none() && has_quota(&harness, "web"));
    harness.until("a watch", |harness| harness.api.watching(QUOTAS) > 0).await;
    harness.api.event(QUOTAS, "MODIFIED", quota("ml", &json!("9")));
    harness.until("the good one", |harness| doubt(harness, "ml").is_none() && has_quota(harness, "ml")).await;
    harness.api.event(QUOTAS, "MODIFIED", quota("web", &json!("many")));
    harness.until("the bad one", |harness| doubt(harness, "web").is_some()).await;
    harness.api.event(QUOTAS, "DELETED", quota("web", &json!("many")));
    harness.until("none", |harness| doubt(harness, "web").is_none()).await;
    harness.stop().await;
}

#[tokio::test]
async fn a_node_that_does_not_decode_is_known_to_be_there() {
    let api = Api::start().await;
    let node = |gpus: Value| json!({"metadata": {"name": "n1"}, "status": {"allocatable": {"nvidia.com/gpu": gpus}}});
    api.list(NODES, [node(json!("many"))]);
    let mut harness = Harness::start(api).await;
    harness.until_ready().await;
    assert!(harness.view.unreadable("nodes", "").unwrap().starts_with("n1 cannot be read"));
    assert!(harness.health.capacity_problems().is_empty());
    harness.until("a watch", |harness| harness.api.watching(NODES) > 0).await;
    harness.api.event(NODES, "MODIFIED", node(json!("8")));
    harness.until("it", |harness| harness.view.unreadable.is_empty() && harness.view.nodes.contains_key("n1")).await;
    harness.stop().await;
}

/// Group, versions that are served, and the resource.
fn serve(api: &Api, group: &str, versions: &[&str], resource: &str) {
    let named = versions.iter().map(|version| json!({"groupVersion": format!("{group}/{version}")}));
    api.object(&format!("/apis/{group}"), json!({"versions": named.collect::<Vec<_>>()}));
    for version in versions {
        api.object(&format!("/apis/{group}/{version}"), json!({"resources": [{"name": resource}]}));
    }
}

#[tokio::test]
async fn a_kind_that_is_served_in_unknown_versions_only_is_in_doubt() {
    let api = Api::start().await;
    let kinds = [
        ("resource.k8s.io", &["v1"][..], "deviceclasses"),
        ("kueue.x-k8s.io", &["v1beta1", "v1beta2"], "localqueues"),
        ("autoscaling.x-k8s.io", &["v1"], "provisioningrequests"),
    ];
    for (group, known, resource) in kinds {
        for version in known {
            api.refuse(&format!("/apis/{group}/{version}/{resource}"), 404);
        }
        serve(&api, group, &["v9"], resource);
    }
    let mut harness = Harness::start(api).await;
    harness.until_ready().await;
    for (group, known, resource) in kinds {
        harness.until("a doubt", |harness| harness.view.unreadable(resource, "").is_some()).await;
        let why = harness.view.unreadable(resource, "").unwrap();
        assert!(why.contains(&format!("{resource} in {group}/v9")), "{why}");
        let version = known.last().unwrap();
        harness.api.refuse(&format!("/apis/{group}/{version}/{resource}"), 200);
        harness.until("no doubt", |harness| harness.view.unreadable(resource, "").is_none()).await;
    }
    harness.stop().await;
}

#[tokio::test]
async fn an_older_version_that_is_known_is_read_though_there_is_a_newer_one_that_is_not() {
    const OLD: &str = "/apis/kueue.x-k8s.io/v1beta1/localqueues";
    let api = Api::start().await;
    api.refuse("/apis/kueue.x-k8s.io/v1beta2/localqueues", 404);
    serve(&api, "kueue.x-k8s.io", &["v9", "v1beta1"], "localqueues");
    api.list(OLD, [json!({"metadata": {"namespace": "ml", "name": "gpus"}})]);
    let mut harness = Harness::start(api).await;
    harness.until("it", |harness| !harness.view.queues.local.is_empty()).await;
    assert_eq!(harness.view.unreadable("localqueues", ""), None);
    harness.stop().await;
}

#[tokio::test]
async fn of_a_pod_that_does_not_decode_what_does_is_kept() {
    let api = Api::start().await;
    let mut odd = pod("odd", "n1");
    odd["spec"]["containers"] = json!([{"resources": {"requests": {"cpu": "much"}}}]);
    let mut negative = pod("negative", "n1");
    negative["spec"]["containers"] = json!([{"resources": {"requests": {"cpu": "-1"}}}]);
    api.list(PODS, [pod("a", "n1"), odd.clone(), negative]);
    let mut harness = Harness::start(api).await;
    harness.until_ready().await;
    let flawed = |harness: &Harness| -> Vec<_> {
        let pods = harness.view.pods.values().filter(|pod| pod.spec.flaw.is_some() && pod.node_name == "n1");
        pods.map(|pod| pod.metadata.name.to_string()).collect()
    };
    assert_eq!((harness.pod_names().len(), flawed(&harness)), (3, vec!["negative".to_owned(), "odd".to_owned()]));
    assert!(harness.health.capacity_problems().is_empty());
    assert!(harness.health.snapshot()[&Feed::Pods].partial.contains("ml/odd"));
    harness.until("a watch", |harness| harness.api.watching(PODS) > 0).await;
    let mut other = odd.clone();
    other["metadata"]["name"] = json!("other");
    harness.api.event(PODS, "ADDED", other);
    harness.until("the other", |harness| flawed(harness).len() == 3).await;
    odd["status"]["phase"] = json!("Succeeded");
    harness.api.event(PODS, "MODIFIED", odd);
    harness.until("it has ended", |harness| harness.pod_names() == ["a", "negative", "other"]).await;
    assert!(harness.health.capacity_problems().is_empty());
    harness.api.event(PODS, "MODIFIED", pod("other", "n1"));
    harness.until("it is well", |harness| flawed(harness) == ["negative"]).await;
    harness.stop().await;
}

#[tokio::test]
async fn what_node_pools_say_is_in_doubt_where_they_cannot_be_read() {
    const GROUP: &str = "karpenter.sh";
    const POOLS: &str = "/apis/karpenter.sh/v1/nodepools";
    let api = Api::start().await;
    let pool = |nodes: Value| json!({"metadata": {"name": "gpu"}, "spec": {"limits": {"nodes": nodes}}});
    serve(&api, GROUP, &["v1"], "nodepools");
    api.list(POOLS, [pool(json!("4"))]);
    api.refuse(POOLS, 403);
    let mut harness = Harness::start(api).await;
    harness.until_ready().await;
    let problem = |harness: &Harness, part: &str| {
        let found = harness.view.node_autoscaler.as_ref();
        found.and_then(|found| found.problem.as_ref()).is_some_and(|problem| problem.contains(part))
    };
    harness.until("no right", |harness| problem(harness, "may not be read")).await;
    harness.api.refuse(POOLS, 200);
    let known = |harness: &Harness| {
        harness.view.node_autoscaler.as_ref().is_some_and(|it| it.problem.is_none() && it.groups.len() == 1)
    };
    harness.until("the pool", known).await;
    harness.api.list(POOLS, [pool(json!("4")), pool(json!("many"))]);
    harness.until("a bad pool", |harness| problem(harness, "\"gpu\" cannot be read")).await;
    harness.api.list(POOLS, []);
    serve(&harness.api, GROUP, &["v9"], "nodepools");
    harness.until("another version", |harness| problem(harness, "karpenter.sh/v9")).await;
    assert!(harness.health.ready());
    harness.stop().await;
}
