//! A gateway with queues, seen through the HTTP API of Prometheus: what a query asks for is the queue of a model.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Result;
use axum::{Json, Router, extract::State, routing::post};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet};

type Queues = Arc<Mutex<BTreeMap<String, Queue>>>;

/// What waits for a model, and how often somebody has asked.
#[derive(Clone, Copy, Debug, Default)]
struct Queue {
    waiting: u32,
    asked: u32,
}

/// A gateway.
pub(crate) struct Gateway {
    /// Its base URL.
    pub(crate) url: String,
    queues: Queues,
    _server: JoinSet<()>,
}

impl Gateway {
    /// Starts it with empty queues.
    pub(crate) async fn start() -> Result<Self> {
        let queues = Queues::default();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let router = Router::new().route("/api/v1/query", post(answer)).with_state(Arc::clone(&queues));
        let mut server = JoinSet::new();
        server.spawn(async move { drop(axum::serve(listener, router).await) });
        Ok(Self { url, queues, _server: server })
    }

    /// So many requests wait for a model.
    pub(crate) fn set(&self, model: &str, waiting: u32) {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        queues.entry(model.to_owned()).or_default().waiting = waiting;
    }

    /// How often the queue of a model was asked for since it was first set.
    pub(crate) fn asked(&self, model: &str) -> u32 {
        let queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        queues.get(model).map_or(0, |queue| queue.asked)
    }
}

async fn answer(State(queues): State<Queues>, form: String) -> Json<Value> {
    let form = reqwest::Url::parse(&format!("http://form/?{form}"));
    let query =
        form.ok().and_then(|url| url.query_pairs().find(|(key, _)| key == "query").map(|(_, text)| text.to_string()));
    let query = query.unwrap_or_default();
    let mut queues = queues.lock().unwrap_or_else(PoisonError::into_inner);
    let queue = queues.iter_mut().find(|(model, _)| query.contains(&format!("\"{model}\"")));
    let waiting = queue.map_or(0, |(_, queue)| {
        queue.asked += 1;
        queue.waiting
    });
    drop(queues);
    #[expect(clippy::disallowed_methods, reason = "a server of Prometheus says when it evaluates")]
    let now = jiff::Timestamp::now().as_second();
    let result = json!([{"metric": {}, "value": [now, waiting.to_string()]}]);
    Json(json!({"status": "success", "data": {"resultType": "vector", "result": result}}))
}
