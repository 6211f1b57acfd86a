//! The watches at work against the small API server, and the view that they fill.

use std::{sync::Arc, time::Duration};

use plimsoll::kubernetes::{
    WatchHealth,
    watch::{Error, Settings, run},
};
use plimsoll_core::cluster::{Change, View};
use serde_json::{Value, json};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::api::Api;

/// Nothing in these tests takes longer, backoff included.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) struct Harness {
    pub(super) api: Api,
    pub(super) health: Arc<WatchHealth>,
    pub(super) view: View,
    /// Changes in the order in which they came.
    pub(super) seen: Vec<Change>,
    changes: mpsc::Receiver<Change>,
    shutdown: CancellationToken,
    tasks: JoinSet<Result<(), Error>>,
}

impl Harness {
    /// Starts to watch an API server.
    pub(super) async fn start(api: Api) -> Self {
        let (sender, changes) = mpsc::channel(16);
        let (health, shutdown) = (Arc::<WatchHealth>::default(), CancellationToken::new());
        let mut tasks = JoinSet::new();
        tasks.spawn(run(client(&api).await, settings(), sender, health.clone(), shutdown.clone()));
        Self { api, health, view: View::default(), seen: Vec::new(), changes, shutdown, tasks }
    }

    /// Applies changes until something is true.
    pub(super) async fn until(&mut self, what: &str, mut fulfilled: impl FnMut(&Self) -> bool) {
        let wait = async {
            while !fulfilled(self) {
                // Not every condition comes with a change, so look again soon.
                if let Ok(change) = tokio::time::timeout(Duration::from_millis(10), self.changes.recv()).await {
                    let change = change.expect("the watches go on");
                    self.seen.push(change.clone());
                    self.view.apply(change);
                }
            }
        };
        let result = tokio::time::timeout(PATIENCE, wait).await;
        assert!(result.is_ok(), "not in time: {what}; health: {:#?}", self.health.snapshot());
    }

    pub(super) async fn until_ready(&mut self) {
        self.until("ready", |harness| harness.health.ready()).await;
        self.until("all changes read", |harness| harness.changes.is_empty()).await;
    }

    /// Ends the watches.
    pub(super) async fn stop(mut self) {
        self.shutdown.cancel();
        self.tasks.join_next().await.unwrap().unwrap().unwrap();
    }

    pub(super) fn pod_names(&self) -> Vec<&str> {
        self.view.pods.keys().map(|key| key.name.as_str()).collect()
    }
}

pub(super) fn settings() -> Settings {
    Settings {
        watch_timeout: Duration::from_secs(1),
        watch_grace: Duration::from_millis(300),
        page_size: 2,
        scale_interval: Duration::from_millis(100),
        autoscaler_interval: Duration::from_millis(100),
        api_service_interval: Duration::from_millis(100),
        ..Settings::default()
    }
}

/// A client by way of a kubeconfig, as the process makes it.
pub(super) async fn client(api: &Api) -> kube::Client {
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "k", "cluster": {"server": api.url}}],
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "users": [{"name": "u", "user": {}}]
    });
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), kubeconfig.to_string()).unwrap();
    plimsoll::kubernetes::client(Some(file.path())).await.unwrap()
}

pub(super) fn node(name: &str, gpus: &str) -> Value {
    json!({"metadata": {"name": name}, "status": {"allocatable": {"nvidia.com/gpu": gpus}}})
}

pub(super) fn pod(name: &str, node: &str) -> Value {
    json!({"metadata": {"namespace": "ml", "name": name}, "spec": {"nodeName": node}})
}
