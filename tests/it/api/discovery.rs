//! Discovery in its three forms, and OpenAPI.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{
    client::{ask, get},
    routes::router,
};

/// What kube-apiserver sends (kube-aggregator v0.36.3 `handler_discovery.go`).
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
                          application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";

#[tokio::test]
async fn groups_list_the_preferred_version_first() {
    let expected = json!({
        "kind": "APIGroupList",
        "apiVersion": "v1",
        "groups": [
            {
                "name": "custom.metrics.k8s.io",
                "versions": [
                    { "groupVersion": "custom.metrics.k8s.io/v1beta2", "version": "v1beta2" },
                    { "groupVersion": "custom.metrics.k8s.io/v1beta1", "version": "v1beta1" },
                ],
                "preferredVersion": { "groupVersion": "custom.metrics.k8s.io/v1beta2", "version": "v1beta2" },
            },
            {
                "name": "external.metrics.k8s.io",
                "versions": [{ "groupVersion": "external.metrics.k8s.io/v1beta1", "version": "v1beta1" }],
                "preferredVersion": { "groupVersion": "external.metrics.k8s.io/v1beta1", "version": "v1beta1" },
            },
        ],
    });
    let reply = get(&router(), "/apis").await;
    assert_eq!((reply.content_type(), reply.json()), ("application/json", expected.clone()));
    let one = get(&router(), "/apis/external.metrics.k8s.io").await.json();
    assert_eq!(one["kind"], "APIGroup");
    assert_eq!(one["versions"], expected["groups"][1]["versions"]);
}

#[tokio::test]
async fn resources_have_the_shape_that_clients_of_metrics_apis_know() {
    let custom = get(&router(), "/apis/custom.metrics.k8s.io/v1beta2").await.json();
    assert_eq!(custom["groupVersion"], "custom.metrics.k8s.io/v1beta2");
    let resource = |name: &str, namespaced: bool, kind: &str| json!({ "name": name, "singularName": "", "namespaced": namespaced, "kind": kind, "verbs": ["get"] });
    let expected = json!([
        resource("namespaces/quota_left", false, "MetricValueList"),
        resource("pods/gpu_utilization", true, "MetricValueList"),
        resource("pods/inference_queue_length", true, "MetricValueList"),
    ]);
    assert_eq!(custom["resources"], expected);
    let external = get(&router(), "/apis/external.metrics.k8s.io/v1beta1").await.json();
    assert_eq!(external["resources"][0], resource("inference_queue_length", true, "ExternalMetricValueList"));
}

#[tokio::test]
async fn aggregated_discovery_is_typed_to_the_letter_and_tagged() {
    let router = router();
    let reply = ask(&router, Method::GET, "/apis", &[("accept", AGGREGATED)]).await;
    assert_eq!(reply.content_type(), "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
    let body = reply.json();
    assert_eq!(body["apiVersion"], "apidiscovery.k8s.io/v2");
    let pods = &body["items"][0]["versions"][0]["resources"][1];
    let child = |name: &str| {
        json!({
            "subresource": name,
            "responseKind": { "group": "", "version": "", "kind": "MetricValueList" },
            "verbs": ["get"],
        })
    };
    let expected = json!({
        "resource": "pods",
        "responseKind": { "group": "", "version": "", "kind": "" },
        "scope": "Namespaced",
        "singularResource": "",
        "verbs": [],
        "subresources": [child("gpu_utilization"), child("inference_queue_length")],
    });
    assert_eq!(pods, &expected);

    let tag = reply.headers["etag"].to_str().unwrap();
    let again = ask(&router, Method::GET, "/apis", &[("accept", AGGREGATED), ("if-none-match", tag)]).await;
    assert_eq!((again.status, again.body.len()), (StatusCode::NOT_MODIFIED, 0));
    let classic = ask(&router, Method::GET, "/apis", &[("if-none-match", tag)]).await;
    assert_eq!(classic.status, StatusCode::OK);
}

#[tokio::test]
async fn the_beta_of_aggregated_discovery_is_served_to_those_who_know_no_other() {
    let beta = "application/json;v=v2beta1;g=apidiscovery.k8s.io;as=APIGroupDiscoveryList,application/json;q=0.5";
    let reply = ask(&router(), Method::GET, "/apis", &[("accept", beta)]).await;
    assert_eq!(reply.json()["apiVersion"], "apidiscovery.k8s.io/v2beta1");
}

/// Every `$ref` in a document points at something.
fn check_references(document: &Value, at: &Value) {
    match at {
        Value::Object(map) => {
            if let Some(reference) = map.get("$ref").and_then(Value::as_str) {
                let pointer = reference.strip_prefix('#').unwrap();
                assert!(document.pointer(pointer).is_some(), "{reference}");
            }
            map.values().for_each(|value| check_references(document, value));
        }
        Value::Array(list) => list.iter().for_each(|value| check_references(document, value)),
        _ => {}
    }
}

#[tokio::test]
async fn openapi_v3_names_a_document_for_each_version_with_the_tag_that_it_answers_with() {
    let router = router();
    let root = get(&router, "/openapi/v3").await.json();
    let paths = root["paths"].as_object().unwrap();
    assert_eq!(paths.len(), 3);
    for (name, entry) in paths {
        let url = entry["serverRelativeURL"].as_str().unwrap();
        let document = get(&router, url).await;
        let tag = document.headers["etag"].to_str().unwrap().trim_matches('"');
        assert_eq!(url, format!("/openapi/v3/{name}?hash={tag}"));
        let json = document.json();
        assert_eq!(json["openapi"], "3.0.0");
        check_references(&json, &json);
        assert!(json["paths"].as_object().unwrap().keys().all(|path| path.starts_with(&format!("/{name}/"))));
    }
}

#[tokio::test]
async fn openapi_v2_covers_every_version_with_unique_operations() {
    let reply = ask(&router(), Method::GET, "/openapi/v2", &[("accept", "application/json")]).await;
    let json = reply.json();
    check_references(&json, &json);
    let paths = json["paths"].as_object().unwrap();
    let mut ids: Vec<_> = paths.values().map(|path| path["get"]["operationId"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 7);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 7);
    let protobuf = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
    let refused = ask(&router(), Method::GET, "/openapi/v2", &[("accept", protobuf)]).await;
    assert_eq!(refused.status, StatusCode::NOT_ACCEPTABLE);
}

#[tokio::test]
async fn version_is_that_of_the_binary() {
    let version = get(&router(), "/version").await.json();
    assert_eq!(version["gitVersion"], concat!("v", env!("CARGO_PKG_VERSION")));
}
