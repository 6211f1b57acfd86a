//! The whole server on loopback: TLS, certificate authorities, and a kube-apiserver beside it.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use http::StatusCode;
use plimsoll::{
    api::{
        self, Authenticator, Authorizer, Delegated, Guard, Health, Metrics, State,
        authentication::{self, Lookup, Store},
        authorization::Options,
    },
    server::{self, Limits, Port, Tls, certificate::Files},
};
use prometheus_client::registry::Registry;
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::oneshot, task::JoinSet};

use super::{
    answers::Fixed,
    certificates::{Authority, Pair},
    client::Reply,
    kube_apiserver::KubeApiserver,
};

/// An External metric that everybody here asks for.
pub(crate) const METRIC: &str = "/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/queue";

/// What is running.
pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) kube: KubeApiserver,
    /// Signs clients.
    pub(crate) clients: Authority,
    /// Signs the front proxy.
    pub(crate) proxies: Authority,
    /// Signs the server.
    pub(crate) servers: Authority,
    pub(crate) tls: Arc<Tls>,
    pub(crate) files: TempDir,
    shutdown: Option<oneshot::Sender<()>>,
    pub(crate) server: JoinSet<()>,
    _tasks: JoinSet<()>,
}

/// What differs between tests.
pub(crate) struct Setup {
    pub(crate) limits: Limits,
    pub(crate) deadline: Duration,
    pub(crate) options: Options,
    /// Whether the ConfigMap exists.
    pub(crate) published: bool,
}

impl Default for Setup {
    fn default() -> Self {
        // A loaded machine must not turn a slow answer into another answer.
        let options = Options { timeout: Duration::from_secs(30), ..Options::default() };
        Self { limits: Limits::default(), deadline: Duration::from_secs(30), options, published: true }
    }
}

/// The data of the ConfigMap, as kubeadm's kube-apiserver writes it.
pub(crate) fn data(clients: &str, proxies: &str) -> BTreeMap<String, String> {
    let pairs = [
        ("client-ca-file", clients),
        ("requestheader-client-ca-file", proxies),
        ("requestheader-allowed-names", r#"["front-proxy-client"]"#),
        ("requestheader-username-headers", r#"["X-Remote-User"]"#),
        ("requestheader-group-headers", r#"["X-Remote-Group"]"#),
        ("requestheader-extra-headers-prefix", r#"["X-Remote-Extra-"]"#),
    ];
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

pub(crate) fn install_provider() {
    // The second test of the process finds it installed.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::with(Setup::default()).await
    }

    pub(crate) async fn with(setup: Setup) -> Self {
        install_provider();
        let [clients, proxies, servers] = ["clients", "proxies", "servers"].map(Authority::new);
        let mut tasks = JoinSet::new();
        let published = setup.published.then(|| data(&clients.pem, &proxies.pem));
        let (kube, client) = KubeApiserver::start(published, &mut tasks).await;

        let files = TempDir::new().unwrap();
        write_pair(&files, &servers.server());
        let mut registry = Registry::with_prefix("plimsoll");
        let port_metrics = server::Metrics::default();
        port_metrics.register(&mut registry, "api_server");
        let metrics = Metrics::register(&mut registry);
        let tls = Arc::new(Tls::from_files(serving_files(&files), port_metrics.clone()).await.unwrap());
        let store = Arc::new(Store::new(Some(Arc::clone(&tls))));
        tasks.spawn(authentication::watch(Lookup::in_cluster(client.clone()), Arc::clone(&store)));
        let router = api::router(State {
            answers: Arc::new(Fixed),
            guard: Guard::Delegated(Box::new(Delegated {
                authenticator: Authenticator::new(store, Some(client.clone()), Duration::from_secs(10), &metrics),
                authorizer: Authorizer::new(client, setup.options, &metrics),
            })),
            health: Health::default(),
            metrics,
            registry: Arc::new(registry),
            keda: Arc::default(),
            deadline: setup.deadline,
        });

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (shutdown, stop) = oneshot::channel::<()>();
        let port = Port { tls: Some(Arc::clone(&tls)), limits: setup.limits, metrics: port_metrics };
        let mut server = JoinSet::new();
        server.spawn(server::serve(listener, port, router, async { drop(stop.await) }));
        let world = Self {
            address,
            kube,
            clients,
            proxies,
            servers,
            tls,
            files,
            server,
            shutdown: Some(shutdown),
            _tasks: tasks,
        };
        if setup.published {
            world.until(|reply| reply.status == 200, "/readyz").await;
        }
        world
    }

    /// Asks without identity until the reply is as wanted.
    pub(crate) async fn until(&self, wanted: impl Fn(&Reply) -> bool, path: &str) -> Reply {
        let caller = self.caller(None);
        loop {
            let reply = caller.get(path).await;
            if wanted(&reply) {
                return reply;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) fn stop(&mut self) {
        drop(self.shutdown.take());
    }

    /// A client that presents `pair`.
    pub(crate) fn caller(&self, pair: Option<&Pair>) -> Caller {
        let root = reqwest::Certificate::from_pem(self.servers.pem.as_bytes()).unwrap();
        let mut client = reqwest::Client::builder().tls_certs_only([root]).no_proxy();
        if let Some(pair) = pair {
            let pem = format!("{}{}", pair.key, pair.chain);
            client = client.identity(reqwest::Identity::from_pem(pem.as_bytes()).unwrap());
        }
        Caller { base: format!("https://{}", self.address), client: client.build().unwrap() }
    }

    /// kube-apiserver's front proxy.
    pub(crate) fn proxy(&self) -> Caller {
        self.caller(Some(&self.proxies.client("front-proxy-client")))
    }

    /// Replaces the serving certificate on disk.
    pub(crate) fn write_serving(&self, pair: &Pair) {
        write_pair(&self.files, pair);
    }
}

fn serving_files(files: &TempDir) -> Files {
    Files { certificate: files.path().join("tls.crt"), key: files.path().join("tls.key") }
}

fn write_pair(files: &TempDir, pair: &Pair) {
    let paths = serving_files(files);
    std::fs::write(paths.certificate, &pair.chain).unwrap();
    std::fs::write(paths.key, &pair.key).unwrap();
}

/// A client of the server; it keeps its connection.
#[derive(Clone)]
pub(crate) struct Caller {
    base: String,
    client: reqwest::Client,
}

impl Caller {
    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.ask(path, &[]).await
    }

    /// The status of the reply, or none if the connection broke.
    pub(crate) async fn try_ask(&self, path: &str, headers: &[(&str, &str)]) -> Option<StatusCode> {
        self.request(path, headers).send().await.ok().map(|response| response.status())
    }

    fn request(&self, path: &str, headers: &[(&str, &str)]) -> reqwest::RequestBuilder {
        let request = self.client.get(format!("{}{path}", self.base));
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))
    }

    pub(crate) async fn ask(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        let response = self.request(path, headers).send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        Reply::checked(status, headers, response.bytes().await.unwrap().to_vec())
    }
}
