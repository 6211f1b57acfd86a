//! A small Kubernetes API server: lists in pages, watches, refusals, silence. What a test does not set up is empty.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::State,
    http::{Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::mpsc,
    task::JoinSet,
    time::{Instant, timeout_at},
};

pub(super) const NODES: &str = "/api/v1/nodes";
pub(super) const PODS: &str = "/api/v1/pods";
pub(super) const HPAS: &str = "/apis/autoscaling/v2/horizontalpodautoscalers";

/// The server; it ends with this value.
pub(super) struct Api {
    shared: Arc<Mutex<Shared>>,
    pub(super) url: String,
    _server: JoinSet<()>,
}

#[derive(Default)]
struct Shared {
    version: u64,
    lists: BTreeMap<String, Vec<Value>>,
    objects: BTreeMap<String, Value>,
    refusals: BTreeMap<String, u16>,
    silent: BTreeSet<String>,
    watches: BTreeMap<String, Vec<mpsc::UnboundedSender<Bytes>>>,
    requests: Vec<String>,
    posted: Vec<Value>,
}

type Handle = Arc<Mutex<Shared>>;

impl Api {
    pub(super) async fn start() -> Self {
        let shared = Handle::default();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().fallback(answer).with_state(shared.clone());
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { shared, url, _server: server }
    }

    /// What a list holds from now on; watches are not told.
    pub(super) fn list(&self, path: &str, items: impl IntoIterator<Item = Value>) {
        let mut shared = self.shared.lock().unwrap();
        shared.version += 1;
        shared.lists.insert(path.to_owned(), items.into_iter().collect());
    }

    /// A single object.
    pub(super) fn object(&self, path: &str, object: Value) {
        self.shared.lock().unwrap().objects.insert(path.to_owned(), object);
    }

    /// Takes a single object away.
    pub(super) fn remove(&self, path: &str) {
        self.shared.lock().unwrap().objects.remove(path);
    }

    /// Answers with a code; 200 answers again as usual.
    pub(super) fn refuse(&self, path: &str, code: u16) {
        self.shared.lock().unwrap().refusals.insert(path.to_owned(), code);
        self.shared.lock().unwrap().refusals.retain(|_, code| *code != 200);
    }

    /// Opens watches but says nothing on them any more, and never ends them.
    pub(super) fn silence(&self, path: &str, silent: bool) {
        let mut shared = self.shared.lock().unwrap();
        if silent {
            shared.silent.insert(path.to_owned())
        } else {
            shared.silent.remove(path)
        };
    }

    /// Sends an event to the open watches of a path; tells how many there were.
    pub(super) fn event(&self, path: &str, kind: &str, mut object: Value) -> usize {
        let mut shared = self.shared.lock().unwrap();
        shared.version += 1;
        if kind != "ERROR" {
            object["metadata"]["resourceVersion"] = json!(shared.version.to_string());
        }
        let line = Bytes::from(format!("{}\n", json!({"type": kind, "object": object})));
        let watches = shared.watches.entry(path.to_owned()).or_default();
        watches.retain(|watch| watch.send(line.clone()).is_ok());
        watches.len()
    }

    /// How many watches of a path are open.
    pub(super) fn watching(&self, path: &str) -> usize {
        let mut shared = self.shared.lock().unwrap();
        let watches = shared.watches.entry(path.to_owned()).or_default();
        watches.retain(|watch| !watch.is_closed());
        watches.len()
    }

    /// Requests whose text contains this.
    pub(super) fn requests(&self, part: &str) -> Vec<String> {
        self.shared.lock().unwrap().requests.iter().filter(|request| request.contains(part)).cloned().collect()
    }

    /// Bodies that were posted.
    pub(super) fn posted(&self) -> Vec<Value> {
        self.shared.lock().unwrap().posted.clone()
    }
}

async fn answer(State(shared): State<Handle>, method: Method, uri: Uri, body: Bytes) -> Response {
    let path = uri.path().to_owned();
    shared.lock().unwrap().requests.push(format!("{method} {uri}"));
    if let Some(code) = shared.lock().unwrap().refusals.get(&path) {
        return status(*code);
    }
    if method == Method::POST {
        let object: Value = serde_json::from_slice(&body).unwrap();
        shared.lock().unwrap().posted.push(object.clone());
        return (StatusCode::CREATED, Json(object)).into_response();
    }
    let query: BTreeMap<_, _> =
        uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('=')).collect();
    if query.contains_key("watch") {
        return watch(&shared, path, query["timeoutSeconds"].parse().unwrap());
    }
    let shared = shared.lock().unwrap();
    match (shared.objects.get(&path), shared.lists.get(&path)) {
        (Some(object), _) => Json(object).into_response(),
        (None, Some(items)) => page(items, shared.version, &query),
        (None, None) if query.contains_key("limit") => page(&[], shared.version, &query),
        (None, None) => status(404),
    }
}

fn page(items: &[Value], version: u64, query: &BTreeMap<&str, &str>) -> Response {
    let limit: usize = query["limit"].parse().unwrap();
    let start: usize = query.get("continue").map_or(0, |token| token.parse().unwrap());
    let end = items.len().min(start + limit);
    let next = if end < items.len() { end.to_string() } else { String::new() };
    let metadata = json!({"resourceVersion": (version + 1).to_string(), "continue": next});
    Json(json!({"kind": "List", "metadata": metadata, "items": items[start..end]})).into_response()
}

fn watch(shared: &Handle, path: String, seconds: u64) -> Response {
    let mut shared = shared.lock().unwrap();
    if shared.silent.contains(&path) {
        return Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>()).into_response();
    }
    let (sender, receiver) = mpsc::unbounded_channel();
    shared.watches.entry(path).or_default().push(sender);
    let end = Instant::now() + Duration::from_secs(seconds);
    let lines = stream::unfold(receiver, move |mut receiver| async move {
        let line = timeout_at(end, receiver.recv()).await.ok()??;
        Some((line, receiver))
    });
    Body::from_stream(lines.map(Ok::<_, std::io::Error>)).into_response()
}

/// A `metav1.Status`.
pub(super) fn failure(code: u16) -> Value {
    json!({"kind": "Status", "status": "Failure", "code": code, "reason": "Because", "message": format!("code {code}")})
}

fn status(code: u16) -> Response {
    (StatusCode::from_u16(code).unwrap(), Json(failure(code))).into_response()
}
