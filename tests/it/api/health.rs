//! Health endpoints.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use http::StatusCode;
use plimsoll::api::{self, Check, Guard, Health, Metrics, State};
use prometheus_client::registry::Registry;

use super::{answers::Fixed, client::get};

fn router(ready: Arc<AtomicBool>) -> axum::Router {
    let mut registry = Registry::with_prefix("plimsoll");
    let metrics = Metrics::register(&mut registry);
    let listed = move || if ready.load(Ordering::Relaxed) { Ok(()) } else { Err("pods are not listed yet".to_owned()) };
    let health = Health { live: vec![Check::new("tasks", || Ok(()))], ready: vec![Check::new("watches", listed)] };
    api::router(State {
        answers: Arc::new(Fixed),
        guard: Guard::Open,
        health,
        metrics,
        registry: Arc::new(registry),
        keda: Arc::default(),
        deadline: api::DEADLINE,
    })
}

#[tokio::test]
async fn readiness_follows_its_checks_and_says_which_one_fails_and_why() {
    let ready = Arc::new(AtomicBool::new(false));
    let router = router(Arc::clone(&ready));
    let reply = get(&router, "/readyz").await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    let expected = "[+]ping ok\n[+]tasks ok\n[-]watches failed: pods are not listed yet\nreadyz check failed\n";
    assert_eq!(reply.text(), expected);
    ready.store(true, Ordering::Relaxed);
    assert_eq!(get(&router, "/readyz").await.text(), "ok");
    let verbose = get(&router, "/readyz?verbose").await.text();
    assert_eq!(verbose, "[+]ping ok\n[+]tasks ok\n[+]watches ok\nreadyz check passed\n");
}

#[tokio::test]
async fn liveness_does_not_look_at_readiness() {
    let router = router(Arc::new(AtomicBool::new(false)));
    for path in ["/livez", "/healthz", "/livez/tasks", "/readyz/ping"] {
        let reply = get(&router, path).await;
        assert_eq!((reply.status, reply.text().as_str()), (StatusCode::OK, "ok"), "{path}");
    }
    assert_eq!(get(&router, "/readyz/watches").await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(get(&router, "/livez/watches").await.status, StatusCode::NOT_FOUND);
}
