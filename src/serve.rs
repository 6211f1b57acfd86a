//! The wiring of the long-running process: which parts there are, what flows between them, in which order they end.
//!
//! ```text
//!  watches ──> changes ──┐                       ┌──> targets, needs ──> feeds (scrapes, queries)
//!  feeds ──> results ────┼──> evaluation ────────┼──> Shared ──> metrics APIs (TLS), status API
//!  file ──> configuration┘                       └──> Events
//! ```
//!
//! Shutdown: a signal, readiness false while requests are still answered, then every task is told to end and awaited.

mod announce;
mod coexistence;
mod evaluation;
mod feeds;
mod gauges;
mod health;
mod lifting;
mod needs;
mod reports;
mod shared;
mod told;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use kube::Client;
use plimsoll_core::object::ObjectKey;
use prometheus_client::registry::Registry;
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
};
use tokio_util::sync::CancellationToken;

use crate::{
    api::{self, Upstream, args},
    config::{self, Configuration},
    kubernetes::{self, WatchHealth, events},
    scaler, server, source, status,
    tasks::{Tasks, stop_signal},
};

use evaluation::{Evaluation, Inputs, Outputs};
use shared::Shared;

/// Changes that wait for the evaluation: two pages of a list from each of a dozen watches.
const CHANGES: usize = 12_000;
/// Results of sources that wait: a scrape round of a large fleet.
const RESULTS: usize = 4_096;
/// How often the configuration file is looked at.
const CONFIG_EVERY: Duration = Duration::from_secs(5);
/// How long tasks may take to end: the drain of the servers is 5 s.
const DRAIN: Duration = Duration::from_secs(10);

/// What the process is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The configuration file; none means the defaults.
    pub config: Option<PathBuf>,
    /// Kubeconfig for the watches; none means in-cluster or the default one.
    pub kubeconfig: Option<PathBuf>,
    /// Where the metrics APIs listen.
    pub serving: args::SecureServingArgs,
    /// Who may ask.
    pub authentication: args::AuthenticationArgs,
    /// What they may do.
    pub authorization: args::AuthorizationArgs,
    /// Where KEDA's external scaler listens.
    pub scaler: scaler::Args,
    /// The Service by which kube-apiserver reaches us.
    pub service: ObjectKey,
    /// ConfigMap in which Cluster Autoscaler reports its status.
    pub autoscaler_status: ObjectKey,
    /// How often a node autoscaler is looked at.
    pub autoscaler_interval: Duration,
    /// Where the status API listens.
    pub status: status::Args,
    /// How long requests are still answered after readiness went false.
    pub shutdown_delay: Duration,
}

/// Everything that is shared between the parts.
struct Parts {
    client: Client,
    shared: Arc<Shared>,
    watches: Arc<WatchHealth>,
    keda: Arc<Upstream>,
    configuration: watch::Receiver<Arc<Configuration>>,
    /// Cancelled first: readiness goes false.
    draining: CancellationToken,
}

/// Runs the adapter until a signal or until a critical part ends.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let configuration = load(options.config.as_ref())?;
    let client = kubernetes::client(options.kubeconfig.as_deref()).await?;
    let (newest, configuration) = watch::channel(Arc::new(configuration));
    let mut registry = Registry::with_prefix("plimsoll");
    let parts = Parts {
        client,
        shared: Arc::default(),
        watches: Arc::default(),
        keda: Arc::new(Upstream::register(&mut registry)),
        configuration,
        draining: CancellationToken::new(),
    };
    let mut tasks = Tasks::new(CancellationToken::new());
    evaluation(&mut tasks, &parts, &options, &mut registry);
    external_scaler(&mut tasks, &parts, &options, &mut registry).await?;
    servers(&mut tasks, &parts, &options, registry).await?;
    if let Some(path) = options.config.clone() {
        tasks.critical("configuration", reload(path, newest, tasks.shutdown()));
    } else {
        tasks.critical("configuration", hold(newest, tasks.shutdown()));
    }
    tasks.critical("signals", drain_on_signal(parts.draining, options.shutdown_delay, tasks.shutdown()));
    Ok(tasks.run(DRAIN).await?)
}

fn load(path: Option<&PathBuf>) -> anyhow::Result<Configuration> {
    path.map_or_else(|| Ok(Configuration::default()), |path| Ok(config::load(path)?))
}

/// The watches, the sources and the loop between them.
fn evaluation(tasks: &mut Tasks, parts: &Parts, options: &Options, registry: &mut Registry) {
    let shutdown = tasks.shutdown();
    let (noticed, changes) = mpsc::channel(CHANGES);
    let (told, sources) = mpsc::channel(RESULTS);
    let (targets, scraped) = watch::channel(Arc::default());
    let (needs, queried) = watch::channel(Arc::default());
    let (demands, demanded) = watch::channel(Arc::default());
    let (publisher, sender) = events::queue();
    let inputs =
        Inputs { changes, sources, configuration: parts.configuration.clone(), health: Arc::clone(&parts.watches) };
    let gauges = gauges::Gauges::register(registry);
    let coexistence = coexistence::Teller::register(registry);
    let shared = Arc::clone(&parts.shared);
    let outputs = Outputs { shared, targets, needs, demands, events: publisher, gauges, coexistence };
    tasks.critical("evaluation", Evaluation::new(inputs, outputs).run(shutdown.clone()));

    let keda = options.scaler.address().is_some();
    let settings = kubernetes::watch::Settings {
        keda,
        service: options.service.clone(),
        autoscaler_status: options.autoscaler_status.clone(),
        autoscaler_interval: options.autoscaler_interval,
        ..kubernetes::watch::Settings::default()
    };
    let watches = Arc::clone(&parts.watches);
    let watch = kubernetes::watch::run(parts.client.clone(), settings, noticed, watches, shutdown.clone());
    tasks.critical("watches", watch);

    let results = || source::Results::new(told.clone());
    let feeds = feeds::Feeds {
        targets: scraped,
        needs: queried,
        demands: demanded,
        scraped: results(),
        queried: results(),
        demanded: results(),
    };
    tasks.critical("sources", feeds::run(feeds, parts.configuration.clone(), shutdown.clone()));

    let client = parts.client.clone();
    let instance = std::env::var("HOSTNAME").ok();
    tasks.optional("events", async move {
        sender.run(client, instance, shutdown).await;
        anyhow::Ok(())
    });
}

/// The metrics APIs and the status API.
async fn servers(tasks: &mut Tasks, parts: &Parts, options: &Options, mut registry: Registry) -> anyhow::Result<()> {
    let shutdown = tasks.shutdown();
    let serving = server::Metrics::default();
    serving.register(&mut registry, "secure_port");
    let metrics = api::Metrics::register(&mut registry);
    let tls = Arc::new(options.serving.tls(&[], serving.clone()).await?);
    let guard = guard(tasks, parts, options, &metrics, &tls).await?;
    let registry = Arc::new(registry);

    let address = options.serving.address();
    let listener =
        TcpListener::bind(address).await.with_context(|| format!("listening on {address} (--secure-port)"))?;
    tracing::info!(address = %listener.local_addr()?, "serving the metrics APIs");
    let state = api::State {
        answers: Arc::clone(&parts.shared),
        guard,
        health: health::checks(&parts.shared, &parts.watches, &parts.draining),
        metrics,
        registry: Arc::clone(&registry),
        keda: Arc::clone(&parts.keda),
        deadline: api::DEADLINE,
    };
    let way = coexistence::follow(Arc::clone(&parts.keda), parts.configuration.clone());
    tasks.critical("the way to KEDA", until(shutdown.clone(), way));
    let port = server::Port { tls: Some(Arc::clone(&tls)), metrics: serving, ..server::Port::default() };
    let stop = shutdown.clone().cancelled_owned();
    tasks.critical("metrics APIs", ended(server::serve(listener, port, api::router(state), stop)));
    tasks.critical("certificates", until(shutdown.clone(), async move { tls.watch_files().await }));

    let listener = options.status.bind().await?;
    tracing::info!(address = %listener.local_addr()?, "serving the status API");
    let (shared, watches) = (Arc::clone(&parts.shared), Arc::clone(&parts.watches));
    let status = reports::Status { shared, watches, keda: Arc::clone(&parts.keda), registry };
    tasks.critical("status API", ended(status::serve(listener, status::router(Arc::new(status)), shutdown)));
    Ok(())
}

/// KEDA's external scaler, where a port is given for it.
async fn external_scaler(
    tasks: &mut Tasks,
    parts: &Parts,
    options: &Options,
    registry: &mut Registry,
) -> anyhow::Result<()> {
    let Some(address) = options.scaler.address() else { return Ok(()) };
    let (clients, shutdown) = (Arc::new(options.scaler.clients()?), tasks.shutdown());
    let serving = server::Metrics::default();
    serving.register(registry, "scaler_port");
    let tls = Arc::new(scaler_tls(options, serving.clone()).await?);
    let state = scaler::State {
        triggers: Arc::clone(&parts.shared),
        clients: Arc::clone(&clients),
        metrics: scaler::Metrics::register(registry),
        deadline: scaler::DEADLINE,
    };
    let (router, health) = scaler::router(state);
    let listener =
        TcpListener::bind(address).await.with_context(|| format!("listening on {address} (--scaler-port)"))?;
    tracing::info!(address = %listener.local_addr()?, "serving KEDA's external scaler");
    let limits = scaler::limits(options.scaler.age());
    let port = server::Port { tls: Some(Arc::clone(&tls)), limits, metrics: serving };
    let stop = shutdown.clone().cancelled_owned();
    tasks.critical("external scaler", ended(server::serve(listener, port, router, stop)));
    let followed = Arc::clone(&tls);
    let authorities = async move { clients.follow(&followed).await };
    tasks.critical("authorities of KEDA", until(shutdown.clone(), authorities));
    tasks.critical(
        "certificates of the external scaler",
        until(shutdown.clone(), async move { tls.watch_files().await }),
    );
    let checks = health::checks(&parts.shared, &parts.watches, &parts.draining);
    tasks.critical("health of the external scaler", until(shutdown, health::report(checks, health)));
    Ok(())
}

/// A certificate of its own, else that of the metrics APIs.
async fn scaler_tls(options: &Options, metrics: server::Metrics) -> anyhow::Result<server::Tls> {
    let args = &options.scaler;
    let own = args.scaler_tls_cert_file.clone().zip(args.scaler_tls_private_key_file.clone());
    Ok(match own {
        Some((certificate, key)) => {
            server::Tls::from_files(server::certificate::Files { certificate, key }, metrics).await?
        }
        None => options.serving.tls(&[], metrics).await?,
    })
}

async fn guard(
    tasks: &mut Tasks,
    parts: &Parts,
    options: &Options,
    metrics: &api::Metrics,
    tls: &Arc<server::Tls>,
) -> anyhow::Result<api::Guard> {
    let trust = Arc::new(api::authentication::Store::new(Some(Arc::clone(tls))));
    let kubeconfig = options.authentication.authentication_kubeconfig.as_deref();
    let reviews = client(kubeconfig, parts).await.context("--authentication-kubeconfig")?;
    let lookup = options.authentication.lookup(reviews.clone());
    tasks.critical("trust", until(tasks.shutdown(), api::authentication::watch(lookup, Arc::clone(&trust))));
    let authenticator = options.authentication.authenticator(trust, reviews, metrics);
    let kubeconfig = options.authorization.authorization_kubeconfig.as_deref();
    let reviews = client(kubeconfig, parts).await.context("--authorization-kubeconfig")?;
    let authorizer = options.authorization.authorizer(reviews, metrics);
    Ok(api::Guard::Delegated(Box::new(api::Delegated { authenticator, authorizer })))
}

/// A client of its own where a flag names a kubeconfig, else that of the process.
async fn client(kubeconfig: Option<&Path>, parts: &Parts) -> anyhow::Result<Client> {
    match kubeconfig {
        Some(path) => Ok(kubernetes::client(Some(path)).await?),
        None => Ok(parts.client.clone()),
    }
}

/// Follows the configuration file; a bad one leaves the last good one in force.
async fn reload(
    path: PathBuf,
    newest: watch::Sender<Arc<Configuration>>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let mut watcher = config::watch(&path, CONFIG_EVERY, &newest.borrow().clone());
    while let Some(change) = shutdown.run_until_cancelled(watcher.next()).await {
        match change {
            Ok(configuration) => {
                tracing::info!(digest = configuration.digest, "the configuration has changed");
                newest.send_replace(Arc::new(configuration));
            }
            Err(error) => tracing::error!(%error, "the new configuration is refused, the last good one stays in force"),
        }
    }
    Ok(())
}

/// Keeps the channel of a configuration that never changes open.
async fn hold(newest: watch::Sender<Arc<Configuration>>, shutdown: CancellationToken) -> anyhow::Result<()> {
    shutdown.cancelled().await;
    drop(newest);
    Ok(())
}

async fn drain_on_signal(
    draining: CancellationToken,
    delay: Duration,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let Some(signal) = shutdown.run_until_cancelled(stop_signal()).await else { return Ok(()) };
    tracing::info!(signal = signal?, ?delay, "not ready any more, shutting down after the delay");
    draining.cancel();
    // Endpoints take a moment to leave the Service; a second signal cuts the wait short.
    let patience = tokio::time::timeout(delay, stop_signal());
    let _second_signal = shutdown.run_until_cancelled(patience).await;
    shutdown.cancel();
    Ok(())
}

/// Runs what never ends by itself until shutdown.
async fn until(shutdown: CancellationToken, task: impl Future<Output = ()>) -> anyhow::Result<()> {
    shutdown.run_until_cancelled(task).await;
    Ok(())
}

async fn ended(task: impl Future<Output = ()>) -> anyhow::Result<()> {
    task.await;
    Ok(())
}
