//! Serves the made-up cluster: lists in pages, watches that tell what happens to nodes and that end or expire.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{Query, State},
    http::{Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use futures::stream;
use serde_json::{Value, json};
use tokio::{
    runtime::Runtime,
    sync::broadcast,
    time::{Instant, timeout_at},
};

use super::cluster;

const PODS: &str = "/api/v1/pods";
const NODES: &str = "/api/v1/nodes";

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    _runtime: Runtime,
}

#[derive(Default)]
struct Shared {
    /// The oldest version that can still be watched from, which is also the newest.
    version: AtomicU64,
    /// Complete lists of pods so far.
    lists: AtomicU64,
    /// What watches are told: a line of the nodes' watch, or none that their version is too old.
    told: Told,
}

struct Told(broadcast::Sender<Option<String>>);

impl Default for Told {
    fn default() -> Self {
        Self(broadcast::channel(64).0)
    }
}

impl Server {
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let shared = Arc::new(Shared { version: AtomicU64::new(1), ..Shared::default() });
        let app = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let listener = runtime.block_on(tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address, shared, _runtime: runtime }
    }

    /// Makes every version that was given out too old, so that everything is listed again.
    pub(crate) fn expire(&self) {
        self.shared.version.fetch_add(1, Ordering::SeqCst);
        let _watchers = self.shared.told.0.send(None);
    }

    /// Cordons a node, or takes that back.
    pub(crate) fn cordon(&self, index: u32, cordoned: bool) {
        let mut node: Value = serde_json::from_str(&cluster::object(NODES, index).unwrap()).unwrap();
        node["spec"]["unschedulable"] = cordoned.into();
        node["metadata"]["resourceVersion"] = self.shared.version.load(Ordering::SeqCst).to_string().into();
        let line = json!({"type": "MODIFIED", "object": node});
        self.shared.told.0.send(Some(format!("{line}\n"))).unwrap();
    }

    /// Waits until the pods have been listed once more than the first time.
    pub(crate) fn wait_for_a_list(&self, patience: Duration) {
        super::wait("a relist of the pods", patience, || self.shared.lists.load(Ordering::SeqCst) > 1);
    }
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let version = shared.version.load(Ordering::SeqCst);
    if method != Method::GET {
        return (StatusCode::CREATED, "{}").into_response();
    }
    // Neither Cluster Autoscaler nor any group of custom resources is there.
    if uri.path().contains("/configmaps/") || uri.path().split('/').count() < 4 {
        let status = r#"{"kind":"Status","status":"Failure","reason":"NotFound","message":"not found","code":404}"#;
        return (StatusCode::NOT_FOUND, status).into_response();
    }
    if query.contains_key("watch") {
        return watch(&shared, version, uri.path() == NODES, &query).into_response();
    }
    list(&shared, version, uri.path(), &query).into_response()
}

fn watch(shared: &Shared, version: u64, of_nodes: bool, query: &HashMap<String, String>) -> Body {
    let from: u64 = query.get("resourceVersion").and_then(|text| text.parse().ok()).unwrap_or(0);
    let seconds = query.get("timeoutSeconds").and_then(|text| text.parse().ok()).unwrap_or(30);
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let (told, expired) = (shared.told.0.subscribe(), from < version);
    let lines = stream::unfold(Some((told, expired)), move |state| async move {
        let (mut told, mut expired) = state?;
        while !expired {
            match timeout_at(deadline, told.recv()).await.ok()?.ok()? {
                Some(line) if of_nodes => return Some((Ok::<_, Infallible>(line), Some((told, false)))),
                Some(_) => {}
                None => expired = true,
            }
        }
        let expired =
            r#"{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old"}}"#;
        Some((Ok(format!("{expired}\n")), None))
    });
    Body::from_stream(lines)
}

fn list(shared: &Shared, version: u64, path: &str, query: &HashMap<String, String>) -> String {
    let limit: u32 = query.get("limit").and_then(|text| text.parse().ok()).unwrap_or(500);
    let first: u32 = query.get("continue").and_then(|text| text.parse().ok()).unwrap_or(0);
    let objects: Vec<_> = (first..first + limit).map_while(|index| cluster::object(path, index)).collect();
    let more = cluster::object(path, first + limit).is_some();
    let next = if more { (first + limit).to_string() } else { String::new() };
    if path == PODS && !more {
        shared.lists.fetch_add(1, Ordering::SeqCst);
    }
    let items = objects.join(",");
    format!(r#"{{"metadata":{{"resourceVersion":"{version}","continue":"{next}"}},"items":[{items}]}}"#)
}
