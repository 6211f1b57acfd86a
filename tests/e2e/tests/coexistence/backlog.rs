//! Something that a trigger of KEDA's own can ask: a number behind a URL.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use anyhow::Result;
use axum::{Json, Router, extract::State, routing::get};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet};

/// A backlog.
pub(crate) struct Backlog {
    /// Its base URL; the number is at `/waiting`.
    pub(crate) url: String,
    waiting: Arc<AtomicU32>,
    _server: JoinSet<()>,
}

impl Backlog {
    /// Starts it with nothing waiting.
    pub(crate) async fn start() -> Result<Self> {
        let waiting = Arc::<AtomicU32>::default();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let router = Router::new().route("/waiting", get(answer)).with_state(Arc::clone(&waiting));
        let mut server = JoinSet::new();
        server.spawn(async move { drop(axum::serve(listener, router).await) });
        Ok(Self { url, waiting, _server: server })
    }

    /// So much waits.
    pub(crate) fn set(&self, waiting: u32) {
        self.waiting.store(waiting, Ordering::Relaxed);
    }
}

async fn answer(State(waiting): State<Arc<AtomicU32>>) -> Json<Value> {
    Json(json!({"waiting": waiting.load(Ordering::Relaxed)}))
}
