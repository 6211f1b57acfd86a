//! What they may do: the attributes, the memory, and the failures of access reviews.

use std::time::Duration;

use futures::future::join_all;
use http::StatusCode;
use plimsoll::api::authorization::Options;
use serde_json::{Value, json};

use super::{
    kube_apiserver::Mood,
    world::{METRIC, Setup, World},
};

const HPA: (&str, &str) = ("x-remote-user", "hpa");

async fn attributes(path: &str) -> Value {
    let world = World::start().await;
    assert_eq!(world.proxy().ask(path, &[HPA]).await.status, StatusCode::OK);
    let mut specs = world.kube.accesses();
    assert_eq!(specs.len(), 1);
    let spec = specs[0].as_object_mut().unwrap();
    spec.remove("resourceAttributes").or_else(|| spec.remove("nonResourceAttributes")).unwrap()
}

#[tokio::test]
async fn an_external_metric_is_a_list_with_its_selector() {
    let path = format!("{METRIC}?labelSelector=a%3D1%2Cb+notin+%28x%2Cy%29%2C%21c%2Cd%3E5");
    let expected = json!({
        "verb": "list", "group": "external.metrics.k8s.io", "version": "v1beta1", "namespace": "shop",
        "resource": "queue",
        "labelSelector": { "requirements": [
            { "key": "a", "operator": "In", "values": ["1"] },
            { "key": "b", "operator": "NotIn", "values": ["x", "y"] },
            { "key": "c", "operator": "DoesNotExist" },
        ] },
    });
    assert_eq!(attributes(&path).await, expected);
}

#[tokio::test]
async fn a_custom_metric_is_a_get_of_a_subresource() {
    let path = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/pods/%2A/queue?labelSelector=app%3Dllm";
    let expected = json!({
        "verb": "get", "group": "custom.metrics.k8s.io", "version": "v1beta2", "namespace": "shop",
        "resource": "pods", "subresource": "queue", "name": "*",
    });
    assert_eq!(attributes(path).await, expected);
}

#[tokio::test]
async fn a_metric_of_a_namespace_is_a_get_of_metrics_in_it() {
    let path = "/apis/custom.metrics.k8s.io/v1beta1/namespaces/shop/metrics/quota_left";
    let expected = json!({
        "verb": "get", "group": "custom.metrics.k8s.io", "version": "v1beta1", "namespace": "shop",
        "resource": "metrics", "name": "quota_left",
    });
    assert_eq!(attributes(path).await, expected);
}

#[tokio::test]
async fn a_metric_of_a_node_has_no_namespace_and_discovery_is_a_path() {
    let path = "/apis/custom.metrics.k8s.io/v1beta1/nodes/gpu-1/free";
    let expected = json!({
        "verb": "get", "group": "custom.metrics.k8s.io", "version": "v1beta1",
        "resource": "nodes", "subresource": "free", "name": "gpu-1",
    });
    assert_eq!(attributes(path).await, expected);
    let path = "/apis/external.metrics.k8s.io/v1beta1";
    assert_eq!(attributes(path).await, json!({ "path": path, "verb": "get" }));
}

#[tokio::test]
async fn forbidden_is_said_in_the_sentence_of_kubernetes() {
    let world = World::start().await;
    let mallory = [("x-remote-user", "mallory")];
    for (path, message) in [
        (
            METRIC,
            "queue.external.metrics.k8s.io is forbidden: User \"mallory\" cannot list resource \"queue\" in API group \
             \"external.metrics.k8s.io\" in the namespace \"shop\": no role says so",
        ),
        (
            "/apis/custom.metrics.k8s.io/v1beta2/nodes/gpu-1/free",
            "nodes.custom.metrics.k8s.io \"gpu-1\" is forbidden: User \"mallory\" cannot get resource \"nodes/free\" in \
             API group \"custom.metrics.k8s.io\" at the cluster scope: no role says so",
        ),
        ("/metrics", "forbidden: User \"mallory\" cannot get path \"/metrics\": no role says so"),
    ] {
        let reply = world.proxy().ask(path, &mallory).await;
        assert_eq!((reply.status, reply.message().as_str()), (StatusCode::FORBIDDEN, message));
        assert_eq!(reply.json()["reason"], "Forbidden");
    }
}

#[tokio::test]
async fn an_hpa_that_asks_again_costs_no_second_review() {
    let world = World::start().await;
    let proxy = world.proxy();
    for _ in 0..5 {
        assert_eq!(proxy.ask(METRIC, &[HPA]).await.status, StatusCode::OK);
        assert_eq!(proxy.ask(METRIC, &[("x-remote-user", "mallory")]).await.status, StatusCode::FORBIDDEN);
    }
    assert_eq!(world.kube.accesses().len(), 2);
}

#[tokio::test]
async fn many_who_ask_the_same_at_once_cost_one_review() {
    let world = World::start().await;
    let proxy = world.proxy();
    let replies = join_all((0..20).map(|_| proxy.ask(METRIC, &[HPA]))).await;
    assert!(replies.iter().all(|reply| reply.status == StatusCode::OK));
    assert_eq!(world.kube.accesses().len(), 1);
}

#[tokio::test]
async fn masters_are_not_asked_about_unless_that_is_turned_off() {
    let master = [HPA, ("x-remote-group", "system:masters")];
    let world = World::start().await;
    assert_eq!(world.proxy().ask("/apis", &master).await.status, StatusCode::OK);
    assert_eq!(world.kube.accesses().len(), 0);

    let options = Options { trust_masters: false, ..Setup::default().options };
    let world = World::with(Setup { options, ..Setup::default() }).await;
    assert_eq!(world.proxy().ask("/apis", &master).await.status, StatusCode::OK);
    assert_eq!(world.kube.accesses().len(), 1);
}

#[tokio::test]
async fn a_review_that_fails_denies_and_is_not_remembered() {
    let world = World::start().await;
    world.kube.set_mood(Mood::Fails);
    let reply = world.proxy().ask(METRIC, &[HPA]).await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(reply.json()["details"]["causes"][0]["reason"], "ReviewFailed");
    world.kube.set_mood(Mood::Works);
    assert_eq!(world.proxy().ask(METRIC, &[HPA]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_review_that_hangs_denies_after_its_timeout() {
    let options = Options { timeout: Duration::from_millis(20), ..Options::default() };
    let world = World::with(Setup { options, ..Setup::default() }).await;
    world.kube.set_mood(Mood::Hangs);
    let reply = world.proxy().ask(METRIC, &[HPA]).await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(reply.json()["details"]["causes"][0]["reason"], "ReviewTimeout");
}

#[tokio::test]
async fn no_request_lasts_longer_than_its_deadline() {
    let setup = Setup { deadline: Duration::from_millis(200), ..Setup::default() };
    let world = World::with(setup).await;
    world.kube.set_mood(Mood::Hangs);
    let reply = world.proxy().ask(METRIC, &[HPA]).await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(reply.json()["details"]["causes"][0]["reason"], "Deadline");
    // What needs no review is answered all the same.
    assert_eq!(world.caller(None).get("/livez").await.status, StatusCode::OK);
    let master = [HPA, ("x-remote-group", "system:masters")];
    assert_eq!(world.proxy().ask(METRIC, &master).await.status, StatusCode::OK);
}

#[tokio::test]
async fn unknown_paths_cost_no_review() {
    let world = World::start().await;
    let proxy = world.proxy();
    for index in 0..10 {
        assert_eq!(proxy.ask(&format!("/nowhere/{index}"), &[HPA]).await.status, StatusCode::NOT_FOUND);
    }
    assert_eq!(world.kube.accesses().len(), 0);
}
