//! Routes, fields and errors of the metrics APIs, on the router alone.

use std::sync::Arc;

use http::{Method, StatusCode};
use plimsoll::api::{self, Guard, Health, Metrics, State};
use plimsoll_core::answer::Reason;
use prometheus_client::registry::Registry;
use serde_json::json;

use super::{
    answers::{Fixed, REASONS},
    client::{ask, get},
};

const EXTERNAL: &str = "/apis/external.metrics.k8s.io/v1beta1";
const V1BETA1: &str = "/apis/custom.metrics.k8s.io/v1beta1";
const V1BETA2: &str = "/apis/custom.metrics.k8s.io/v1beta2";

pub(crate) fn router() -> axum::Router {
    let mut registry = Registry::with_prefix("plimsoll");
    let metrics = Metrics::register(&mut registry);
    api::router(State {
        answers: Arc::new(Fixed),
        guard: Guard::Open,
        health: Health::default(),
        metrics,
        registry: Arc::new(registry),
        keda: Arc::default(),
        deadline: api::DEADLINE,
    })
}

#[tokio::test]
async fn an_external_metric_has_every_field_of_v1beta1() {
    let path = format!("{EXTERNAL}/namespaces/shop/queue?labelSelector=b%21%3D1%2Ca+in+%28x%2Cy%29");
    let reply = get(&router(), &path).await;
    assert_eq!((reply.status, reply.content_type()), (StatusCode::OK, "application/json"));
    let expected = json!({
        "kind": "ExternalMetricValueList",
        "apiVersion": "external.metrics.k8s.io/v1beta1",
        "metadata": {},
        "items": [{
            "metricName": "queue",
            "metricLabels": { "metric": "queue", "namespace": "shop", "selector": "a in (x,y),b!=1" },
            "timestamp": "2026-11-20T10:00:00Z",
            "value": "12k",
        }],
    });
    assert_eq!(reply.json(), expected);
}

#[tokio::test]
async fn pods_in_v1beta2_are_listed_with_the_metric_as_an_object() {
    for star in ["*", "%2A", "%2a"] {
        let path =
            format!("{V1BETA2}/namespaces/shop/pods/{star}/queue?labelSelector=app%3Dllm&metricLabelSelector=m%3D1");
        let reply = get(&router(), &path).await;
        let item = |name: &str| {
            json!({
                "describedObject": { "kind": "Pod", "namespace": "shop", "name": name, "apiVersion": "v1" },
                "metric": {
                    "name": "queue",
                    "selector": { "matchExpressions": [{ "key": "m", "operator": "In", "values": ["1"] }] },
                },
                "timestamp": "2026-11-20T10:00:00Z",
                "value": "500m",
            })
        };
        let expected = json!({
            "kind": "MetricValueList",
            "apiVersion": "custom.metrics.k8s.io/v1beta2",
            "metadata": {},
            "items": [item("a"), item("b")],
        });
        assert_eq!(reply.json(), expected);
    }
}

#[tokio::test]
async fn an_object_in_v1beta1_is_a_list_of_exactly_one_with_a_null_selector() {
    let path = format!("{V1BETA1}/namespaces/shop/ingresses.networking.k8s.io/main/rate");
    let expected = json!({
        "kind": "MetricValueList",
        "apiVersion": "custom.metrics.k8s.io/v1beta1",
        "metadata": {},
        "items": [{
            "describedObject": {
                "kind": "Ingress", "namespace": "shop", "name": "main", "apiVersion": "networking.k8s.io/v1",
            },
            "metricName": "rate",
            "timestamp": "2026-11-20T10:00:00Z",
            "value": "500m",
            "selector": null,
        }],
    });
    assert_eq!(get(&router(), &path).await.json(), expected);
}

#[tokio::test]
async fn namespaces_and_cluster_scoped_objects_are_described_without_a_namespace() {
    for (path, kind, name) in [
        (format!("{V1BETA2}/namespaces/shop/metrics/quota_left"), "Namespace", "shop"),
        (format!("{V1BETA2}/nodes/gpu-1/free"), "Node", "gpu-1"),
    ] {
        let reply = get(&router(), &path).await;
        let object = &reply.json()["items"][0]["describedObject"];
        assert_eq!(object, &json!({ "kind": kind, "name": name, "apiVersion": "v1" }), "{path}");
    }
    let all = get(&router(), &format!("{V1BETA1}/nodes/*/free")).await;
    assert_eq!(all.json()["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn nothing_found_is_a_404_and_never_an_empty_list() {
    for (path, message) in [
        (
            format!("{EXTERNAL}/namespaces/shop/nothing"),
            "the server could not find the metric nothing for namespace shop",
        ),
        (
            format!("{V1BETA2}/namespaces/shop/pods/*/queue?labelSelector=app%3Dnone"),
            "the server could not find the metric queue for pods that match app=none",
        ),
        (
            format!("{V1BETA1}/namespaces/shop/pods/p/nothing"),
            "the server could not find the metric nothing for pods p",
        ),
    ] {
        let reply = get(&router(), &path).await;
        assert_eq!((reply.status, reply.message().as_str()), (StatusCode::NOT_FOUND, message), "{path}");
        assert_eq!(reply.json()["reason"], "NotFound");
    }
}

#[tokio::test]
async fn two_values_for_one_object_are_an_error_and_not_a_list_of_two() {
    let reply = get(&router(), &format!("{V1BETA2}/namespaces/shop/pods/p/twins")).await;
    assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn every_refusal_carries_its_machine_readable_reason_and_its_message() {
    for reason in REASONS {
        let expected = match reason {
            Reason::NotFound => StatusCode::NOT_FOUND,
            Reason::BadRequest => StatusCode::BAD_REQUEST,
            Reason::Ambiguous => StatusCode::CONFLICT,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        let reply = get(&router(), &format!("{EXTERNAL}/namespaces/shop/{}", reason.as_str())).await;
        let status = reply.json();
        assert_eq!(reply.status, expected);
        assert_eq!(status["message"], format!("because of {}", reason.as_str()));
        assert_eq!(status["details"]["causes"][0]["reason"], reason.as_str());
        assert_eq!(status["details"]["group"], "external.metrics.k8s.io");
    }
}

#[tokio::test]
async fn what_an_hpa_accepts_is_answered_in_json_and_what_excludes_it_is_refused() {
    let path = format!("{EXTERNAL}/namespaces/shop/queue");
    for accept in ["application/vnd.kubernetes.protobuf, */*", "application/*", "application/json;q=0.9", "*/*"] {
        let reply = ask(&router(), Method::GET, &path, &[("accept", accept)]).await;
        assert_eq!((reply.status, reply.content_type()), (StatusCode::OK, "application/json"), "{accept}");
    }
    for accept in
        ["application/vnd.kubernetes.protobuf", "text/html", "application/json;q=0", "application/json;as=Table"]
    {
        let reply = ask(&router(), Method::GET, &path, &[("accept", accept)]).await;
        assert_eq!(reply.status, StatusCode::NOT_ACCEPTABLE, "{accept}");
    }
}

#[tokio::test]
async fn other_methods_and_watches_are_not_allowed() {
    let path = format!("{EXTERNAL}/namespaces/shop/queue");
    for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS] {
        let reply = ask(&router(), method.clone(), &path, &[]).await;
        assert_eq!(reply.status, StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert_eq!(reply.headers["allow"], "GET");
    }
    assert_eq!(get(&router(), &format!("{path}?watch=true")).await.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(get(&router(), &format!("{path}?watch=0")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_request_that_says_nonsense_is_a_400_that_says_what() {
    let path = format!("{EXTERNAL}/namespaces/shop/queue");
    for (query, part) in [
        ("labelSelector=a%20b", "labelSelector: selector"),
        ("metricLabelSelector=%3D", "metricLabelSelector: selector"),
        ("labelSelector=a&labelSelector=b", "more than once"),
        ("fieldSelector=metadata.name%3Dx", "fieldSelector"),
        (&format!("labelSelector={}", "a".repeat(9_000)), "at most 8192"),
    ] {
        let reply = get(&router(), &format!("{path}?{query}")).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{query}");
        assert!(reply.message().contains(part), "{}", reply.message());
    }
    let named = get(&router(), &format!("{V1BETA2}/namespaces/shop/pods/p/queue?labelSelector=a")).await;
    assert_eq!(named.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn unknown_paths_are_a_404_status() {
    for path in [
        "/",
        "/api",
        "/api/v1/pods",
        "/apis/apps",
        "/apis/external.metrics.k8s.io/v1",
        "/apis/external.metrics.k8s.io/v1beta1/queue",
        "/apis/external.metrics.k8s.io/v1beta1/namespaces/shop",
        "/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/a/b",
        "/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/status",
        "/apis/external.metrics.k8s.io/v1beta1/namespaces//queue",
        "/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/..",
        "/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/a%2Fb",
        "/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/a%00",
        "/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/a%zz",
        "/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/pods",
        "/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/status/x/y",
        "/apis/custom.metrics.k8s.io/v1beta2/watch/x/y",
        "/apis/custom.metrics.k8s.io/v1beta2/proxy/x/y",
        "/apis/custom.metrics.k8s.io/v1beta2/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q",
        "/openapi/v3/apis/apps/v1",
        "/livez/nobody",
    ] {
        let reply = get(&router(), path).await;
        assert_eq!((reply.status, &reply.json()["reason"]), (StatusCode::NOT_FOUND, &json!("NotFound")), "{path}");
    }
}

#[tokio::test]
async fn requests_are_counted_by_closed_labels() {
    let router = router();
    get(&router, &format!("{EXTERNAL}/namespaces/tenant-name/queue")).await;
    get(&router, "/nowhere").await;
    let text = get(&router, "/metrics").await.text();
    assert!(text.contains("plimsoll_api_requests_total{api=\"external\",code=\"200\"} 1"), "{text}");
    assert!(text.contains("plimsoll_api_requests_total{api=\"none\",code=\"404\"} 1"), "{text}");
    assert!(!text.contains("tenant-name"), "{text}");
}
