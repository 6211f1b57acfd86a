//! `plimsoll serve`: flags as operators of aggregated API servers know them.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context as _;
use plimsoll_core::object::ObjectKey;

use crate::{api::args, config, scaler, serve, status, telemetry};

/// Arguments of `plimsoll serve`.
#[derive(Debug, clap::Args)]
// clap names a group after its type, and the flattened ones below are called `Args` too.
#[group(id = "serve")]
pub struct Args {
    /// Configuration file (YAML). A change of it is in force within seconds; a bad one is refused with its line.
    #[arg(long, env = "PLIMSOLL_CONFIG")]
    config: Option<PathBuf>,
    /// Only read the configuration, say whether it is good, and end.
    #[arg(long, requires = "config")]
    check: bool,
    /// Kubeconfig for watching the cluster. Without it: the Pod's ServiceAccount, or the default kubeconfig.
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    /// How long requests are still answered after a stop signal, in seconds: endpoints take a moment to be withdrawn.
    #[arg(long, default_value_t = 10, value_name = "SECONDS")]
    shutdown_delay_duration: u64,
    /// What is logged, e.g. `info` or `plimsoll::source=debug,info`.
    #[arg(long, env = "RUST_LOG")]
    log_level: Option<String>,
    /// How log lines are written.
    #[arg(long, value_enum, default_value_t)]
    log_format: telemetry::Format,
    #[command(flatten)]
    serving: args::SecureServingArgs,
    #[command(flatten)]
    authentication: args::AuthenticationArgs,
    #[command(flatten)]
    authorization: args::AuthorizationArgs,
    #[command(flatten)]
    scaler: scaler::Args,
    /// The Service by which kube-apiserver reaches this process: an APIService that names another one is somebody else's.
    #[arg(long, value_name = "NAMESPACE/NAME", default_value = "plimsoll-system/plimsoll", value_parser = key)]
    service: ObjectKey,
    /// ConfigMap in which Cluster Autoscaler reports its status; the Role that reads it must name the same.
    #[arg(long, value_name = "NAMESPACE/NAME", default_value = "kube-system/cluster-autoscaler-status", value_parser = key)]
    autoscaler_status: ObjectKey,
    /// How often that ConfigMap and Karpenter's objects are read, 1s to 1m: Cluster Autoscaler writes about every 10s.
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = interval)]
    autoscaler_interval: Duration,
    #[command(flatten)]
    status: status::Args,
}

/// Runs the adapter.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    telemetry::init(args.log_level.as_deref(), args.log_format)?;
    if let (true, Some(path)) = (args.check, &args.config) {
        config::load(path)?;
        println!("{}: ok", path.display());
        return Ok(ExitCode::SUCCESS);
    }
    let options = serve::Options {
        config: args.config,
        kubeconfig: args.kubeconfig,
        serving: args.serving,
        authentication: args.authentication,
        authorization: args.authorization,
        scaler: args.scaler,
        service: args.service,
        autoscaler_status: args.autoscaler_status,
        autoscaler_interval: args.autoscaler_interval,
        status: args.status,
        shutdown_delay: Duration::from_secs(args.shutdown_delay_duration),
    };
    // One TLS provider for servers and clients alike; it is set once, before the first of them.
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("another TLS provider is in use already"))?;
    let runtime = tokio::runtime::Runtime::new().context("starting the runtime")?;
    runtime.block_on(serve::run(options))?;
    Ok(ExitCode::SUCCESS)
}

fn key(text: &str) -> Result<ObjectKey, String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok(ObjectKey::new(namespace, name))
        }
        _ => Err("is not NAMESPACE/NAME".to_owned()),
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = config::duration::parse(text).map_err(|error| error.to_string())?;
    let allowed = Duration::from_secs(1)..=Duration::from_secs(60);
    if allowed.contains(&interval) { Ok(interval) } else { Err("is not from 1s to 1m".to_owned()) }
}
