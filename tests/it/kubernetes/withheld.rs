//! Kinds that the cluster does not have, does not let be read, or fills with objects that do not decode.

use plimsoll::kubernetes::Feed;
use plimsoll_core::object::ObjectKey;
use serde_json::{Value, json};

use super::{
    api::{Api, NODES},
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
