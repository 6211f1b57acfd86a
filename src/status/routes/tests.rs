use axum::body::Body;
use http::Method;
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

use super::*;

struct Fixed;

impl Reports for Fixed {
    fn workloads(&self, filter: &Filter) -> Value {
        json!({"workloads": filter.namespace})
    }
    fn decisions(&self, filter: &Filter) -> Value {
        json!({"decisions": filter.namespace})
    }
    fn decision(&self, namespace: &str, name: &str) -> Option<Value> {
        (name == "chat").then(|| json!({"decision": format!("{namespace}/{name}")}))
    }
    fn capacity(&self) -> Value {
        json!({"capacity": 8})
    }
    fn signals(&self, filter: &Filter) -> Value {
        json!({"signals": filter.namespace})
    }
    fn sources(&self, filter: &Filter) -> Value {
        json!({"sources": filter.namespace})
    }
    fn coexistence(&self) -> Value {
        json!({"coexistence": "standalone"})
    }
    fn health(&self) -> Result<(), String> {
        Err("the watch of pods is silent".to_owned())
    }
    fn metrics(&self) -> Result<String, std::fmt::Error> {
        Ok("# EOF\n".to_owned())
    }
}

async fn send(request: http::request::Builder) -> (StatusCode, String) {
    let response = router(Arc::new(Fixed)).oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(bytes.to_vec()).unwrap())
}

async fn get(path: &str) -> (u16, Value) {
    let (status, body) = send(http::Request::get(path)).await;
    (status.as_u16(), serde_json::from_str(&body).unwrap())
}

#[tokio::test]
async fn the_list_of_endpoints_is_true() {
    let (status, index) = get("/").await;
    assert_eq!(status, 200);
    for endpoint in index["endpoints"].as_array().unwrap() {
        let path = endpoint["path"].as_str().unwrap().replace("{namespace}", "ns").replace("{name}", "chat");
        let (status, _) = send(http::Request::get(&path)).await;
        assert_ne!(status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn lists_can_be_limited_to_a_namespace() {
    for name in ["workloads", "decisions", "signals", "sources"] {
        assert_eq!(get(&format!("/api/v1/{name}")).await, (200, json!({name: null})));
        assert_eq!(get(&format!("/api/v1/{name}?namespace=a")).await, (200, json!({name: "a"})));
        for odd in ["namespace=", "namespaces=a", "namespace=a&namespace=b", &format!("namespace={}", "x".repeat(300))]
        {
            let (status, error) = get(&format!("/api/v1/{name}?{odd}")).await;
            assert_eq!((status, &error["code"]), (400, &json!(400)), "{odd}");
        }
    }
}

#[tokio::test]
async fn one_decision_is_found_by_name_or_is_not_there() {
    assert_eq!(get("/api/v1/decisions/ns/chat").await, (200, json!({"decision": "ns/chat"})));
    let (status, error) = get("/api/v1/decisions/ns/other").await;
    assert_eq!((status, error["error"].as_str().unwrap()), (404, "there is no decision for \"ns/other\""));
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    assert_eq!(get("/healthz").await.1["error"], "the watch of pods is silent");
    assert_eq!(get("/nothing").await.0, 404);
    let (status, _) = send(http::Request::builder().method(Method::POST).uri("/api/v1/workloads")).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    let (status, _) = send(http::Request::get("/").header("content-length", "5")).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(send(http::Request::get("/metrics")).await, (StatusCode::OK, "# EOF\n".to_owned()));
}

#[tokio::test]
async fn a_web_page_cannot_read_it_under_its_own_name() {
    for (host, allowed) in [
        ("localhost:8081", true),
        ("127.0.0.1:8081", true),
        ("[::1]:8081", true),
        ("10.1.2.3", true),
        ("evil.example.com", false),
        ("127.0.0.1.evil.example.com:8081", false),
        ("localhost@evil.example.com", false),
    ] {
        let (status, _) = send(http::Request::get("/").header("host", host)).await;
        assert_eq!(status == StatusCode::OK, allowed, "{host}: {status}");
    }
}
