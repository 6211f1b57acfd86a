//! A kube-apiserver that knows reviews and one ConfigMap.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Query, State},
    routing::{get, post},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch, task::JoinSet};

/// How reviews are answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mood {
    /// By the rules below.
    #[default]
    Works,
    /// 500.
    Fails,
    /// Not before the mood changes.
    Hangs,
}

/// The fake; clones share it.
#[derive(Clone)]
pub(crate) struct KubeApiserver(Arc<Inner>);

struct Inner {
    mood: watch::Sender<Mood>,
    accesses: Mutex<Vec<Value>>,
    tokens: Mutex<Vec<String>>,
    map: watch::Sender<Map>,
}

/// The ConfigMap, with a version that counts its changes.
#[derive(Clone, Default)]
struct Map {
    version: u64,
    data: Option<BTreeMap<String, String>>,
}

impl KubeApiserver {
    /// Starts one on loopback and gives a client for it.
    pub(crate) async fn start(data: Option<BTreeMap<String, String>>, tasks: &mut JoinSet<()>) -> (Self, kube::Client) {
        let (map, _) = watch::channel(Map { version: 1, data });
        let this = Self(Arc::new(Inner {
            mood: watch::channel(Mood::Works).0,
            accesses: Mutex::default(),
            tokens: Mutex::default(),
            map,
        }));
        let app = Router::new()
            .route("/apis/authorization.k8s.io/v1/subjectaccessreviews", post(access))
            .route("/apis/authentication.k8s.io/v1/tokenreviews", post(token))
            .route("/api/v1/namespaces/kube-system/configmaps", get(maps))
            .with_state(this.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tasks.spawn(async move { axum::serve(listener, app).await.unwrap() });
        let client = kube::Client::try_from(kube::Config::new(url.parse().unwrap())).unwrap();
        (this, client)
    }

    pub(crate) fn set_mood(&self, mood: Mood) {
        self.0.mood.send_replace(mood);
    }

    /// Replaces the data of the ConfigMap.
    pub(crate) fn publish(&self, data: BTreeMap<String, String>) {
        self.0.map.send_modify(|map| *map = Map { version: map.version + 1, data: Some(data) });
    }

    /// The specs of all access reviews so far.
    pub(crate) fn accesses(&self) -> Vec<Value> {
        self.0.accesses.lock().unwrap().clone()
    }

    /// All tokens that were reviewed so far.
    pub(crate) fn tokens(&self) -> Vec<String> {
        self.0.tokens.lock().unwrap().clone()
    }

    async fn mood(&self) -> Result<(), http::StatusCode> {
        let mut mood = self.0.mood.subscribe();
        let awake = mood.wait_for(|mood| *mood != Mood::Hangs).await.unwrap();
        if *awake == Mood::Fails { Err(http::StatusCode::INTERNAL_SERVER_ERROR) } else { Ok(()) }
    }
}

/// Denies whoever is called `mallory`.
async fn access(State(this): State<KubeApiserver>, body: Bytes) -> Result<Json<Value>, http::StatusCode> {
    let mut review: Value = serde_json::from_slice(&body).unwrap();
    this.0.accesses.lock().unwrap().push(review["spec"].clone());
    this.mood().await?;
    let denied = review["spec"]["user"] == "mallory";
    review["status"] = json!({ "allowed": !denied, "reason": if denied { "no role says so" } else { "" } });
    Ok(Json(review))
}

/// Knows the token `good`.
async fn token(State(this): State<KubeApiserver>, body: Bytes) -> Result<Json<Value>, http::StatusCode> {
    let mut review: Value = serde_json::from_slice(&body).unwrap();
    let token = review["spec"]["token"].as_str().unwrap().to_owned();
    this.0.tokens.lock().unwrap().push(token.clone());
    this.mood().await?;
    let user = json!({
        "username": "system:serviceaccount:kube-system:horizontal-pod-autoscaler",
        "uid": "u-1",
        "groups": ["system:serviceaccounts", "system:authenticated"],
        "extra": { "authentication.kubernetes.io/pod-name": ["controller"] },
    });
    review["status"] = if token == "good" { json!({ "authenticated": true, "user": user }) } else { json!({}) };
    Ok(Json(review))
}

fn object(map: &Map) -> Option<Value> {
    let metadata = json!({
        "name": "extension-apiserver-authentication",
        "namespace": "kube-system",
        "resourceVersion": map.version.to_string(),
    });
    map.data.as_ref().map(|data| json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data }))
}

/// Lists, or watches from the version that is asked for.
async fn maps(State(this): State<KubeApiserver>, Query(query): Query<BTreeMap<String, String>>) -> Body {
    assert_eq!(query["fieldSelector"], "metadata.name=extension-apiserver-authentication");
    let mut changes = this.0.map.subscribe();
    let now = changes.borrow().clone();
    if !query.contains_key("watch") {
        let metadata = json!({ "resourceVersion": now.version.to_string() });
        let items: Vec<_> = object(&now).into_iter().collect();
        let list = json!({ "apiVersion": "v1", "kind": "ConfigMapList", "metadata": metadata, "items": items });
        return Body::from(list.to_string());
    }
    if query["resourceVersion"] == now.version.to_string() {
        changes.mark_unchanged();
    } else {
        changes.mark_changed();
    }
    let events = futures::stream::unfold(changes, |mut changes| async {
        changes.changed().await.ok()?;
        let map = changes.borrow_and_update().clone();
        let event = json!({ "type": "MODIFIED", "object": object(&map) });
        Some((Ok::<_, std::convert::Infallible>(format!("{event}\n")), changes))
    });
    Body::from_stream(events)
}
