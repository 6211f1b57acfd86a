//! The port, who may ask, and a stage that answers.

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use plimsoll::{
    scaler::{
        self, Activity, Clients, HealthReporter, Metrics, State, Triggers,
        proto::{GetMetricsRequest, ScaledObjectRef, external_scaler_client::ExternalScalerClient},
    },
    server::{self, Limits, Port, Tls, certificate::Files},
};
use plimsoll_core::{
    answer::{Reason, Refusal},
    object::ObjectKey,
    quantity::Milli,
    trigger::Trigger,
};
use prometheus_client::registry::Registry;
use tempfile::TempDir;
use tokio::{
    net::TcpListener,
    sync::{oneshot, watch},
    task::JoinSet,
};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::api::{
    certificates::{Authority, Pair},
    world::install_provider,
};

pub(crate) type Client = ExternalScalerClient<Channel>;

/// What is known of each object, by name.
pub(crate) struct Stage {
    known: Mutex<HashMap<String, (Milli, Activity)>>,
    changes: watch::Sender<u64>,
}

impl Stage {
    fn new() -> Self {
        Self { known: Mutex::default(), changes: watch::channel(0).0 }
    }

    pub(crate) fn set(&self, name: &str, value: i64, active: bool, at_zero: bool) {
        self.known.lock().unwrap().insert(name.to_owned(), (Milli(value), Activity { active, at_zero }));
        self.changes.send_modify(|count| *count += 1);
    }

    fn get(&self, object: &ObjectKey) -> Result<(Milli, Activity), Refusal> {
        let message = format!("nothing is known of {object}");
        self.known.lock().unwrap().get(&*object.name).copied().ok_or(Refusal { reason: Reason::NotReady, message })
    }
}

impl Triggers for Stage {
    fn value(&self, object: &ObjectKey, _: &Arc<Trigger>) -> Result<Milli, Refusal> {
        Ok(self.get(object)?.0)
    }

    fn activity(&self, object: &ObjectKey, _: &Arc<Trigger>) -> Result<Activity, Refusal> {
        Ok(self.get(object)?.1)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

/// What is running.
pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) stage: Arc<Stage>,
    /// Signs clients.
    pub(crate) clients: Authority,
    /// Signs the server.
    pub(crate) servers: Authority,
    pub(crate) tls: Arc<Tls>,
    pub(crate) admitted: Arc<Clients>,
    pub(crate) metrics: Metrics,
    pub(crate) health: HealthReporter,
    files: TempDir,
    shutdown: Option<oneshot::Sender<()>>,
    pub(crate) server: JoinSet<()>,
}

impl World {
    pub(crate) async fn start() -> Self {
        // A loaded machine must not turn a slow answer into another answer.
        Self::with(scaler::limits(scaler::CONNECTION_AGE), Duration::from_secs(30)).await
    }

    pub(crate) async fn with(limits: Limits, deadline: Duration) -> Self {
        install_provider();
        let [clients, servers] = ["clients", "servers"].map(Authority::new);
        let files = TempDir::new().unwrap();
        std::fs::write(files.path().join("ca.crt"), &clients.pem).unwrap();
        write(&files, &servers.server());
        let paths = Files { certificate: files.path().join("tls.crt"), key: files.path().join("tls.key") };
        let tls = Arc::new(Tls::from_files(paths, server::Metrics::default()).await.unwrap());
        let admitted = Arc::new(Clients::of_file(files.path().join("ca.crt")));
        admitted.reload(&files.path().join("ca.crt"), &tls).await.unwrap();

        let metrics = Metrics::register(&mut Registry::default());
        let stage = Arc::new(Stage::new());
        let answering =
            State { triggers: Arc::clone(&stage), clients: Arc::clone(&admitted), metrics: metrics.clone(), deadline };
        let (router, health) = scaler::router(answering);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (shutdown, stop) = oneshot::channel::<()>();
        let port = Port { tls: Some(Arc::clone(&tls)), limits, ..Port::default() };
        let mut server = JoinSet::new();
        server.spawn(server::serve(listener, port, router, async { drop(stop.await) }));
        Self {
            address,
            stage,
            clients,
            servers,
            tls,
            admitted,
            metrics,
            health,
            files,
            shutdown: Some(shutdown),
            server,
        }
    }

    pub(crate) fn stop(&mut self) {
        drop(self.shutdown.take());
    }

    /// KEDA.
    pub(crate) async fn keda(&self) -> Client {
        self.client(Some(&self.clients.client("keda-operator"))).await
    }

    pub(crate) async fn client(&self, pair: Option<&Pair>) -> Client {
        ExternalScalerClient::new(self.channel(pair).await)
    }

    pub(crate) async fn channel(&self, pair: Option<&Pair>) -> Channel {
        let mut tls =
            ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&self.servers.pem)).domain_name("localhost");
        if let Some(pair) = pair {
            tls = tls.identity(Identity::from_pem(&pair.chain, &pair.key));
        }
        let endpoint = Endpoint::from_shared(format!("https://{}", self.address)).unwrap();
        endpoint.tls_config(tls).unwrap().connect().await.unwrap()
    }

    pub(crate) fn write_serving(&self, pair: &Pair) {
        write(&self.files, pair);
    }

    pub(crate) fn write_authorities(&self, pem: &str) -> PathBuf {
        let path = self.files.path().join("ca.crt");
        std::fs::write(&path, pem).unwrap();
        path
    }

    /// Waits until so many streams are open.
    pub(crate) async fn until_streams(&self, count: i64) {
        while self.metrics.streams() != count {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

fn write(files: &TempDir, pair: &Pair) {
    std::fs::write(files.path().join("tls.crt"), &pair.chain).unwrap();
    std::fs::write(files.path().join("tls.key"), &pair.key).unwrap();
}

/// A trigger of an object, as KEDA names it.
pub(crate) fn reference(name: &str) -> ScaledObjectRef {
    let metadata = [("scalerAddress", "plimsoll-scaler:9443"), ("signal", "queueLength"), ("threshold", "10")];
    ScaledObjectRef {
        name: name.to_owned(),
        namespace: "ml".to_owned(),
        scaler_metadata: metadata.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
    }
}

/// A question for the value of that trigger.
pub(crate) fn question(name: &str) -> GetMetricsRequest {
    let metric_name = "plimsoll-queue-length".to_owned();
    GetMetricsRequest { scaled_object_ref: Some(reference(name)), metric_name }
}
