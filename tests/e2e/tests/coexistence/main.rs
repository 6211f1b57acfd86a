//! Plimsoll in front of the real KEDA 2.21: one APIService, ours, for both; and workloads that change sides.

mod backlog;
mod front;
mod migrate;

use std::{
    process::ExitCode,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use backlog::Backlog;
use front::{
    a_trigger_of_kedas_own_and_an_hpa_of_ours_share_one_api, a_way_to_keda_that_leads_back_to_us_is_found_out,
    an_api_that_is_taken_away_is_told_and_not_fought_for, the_shipped_components_are_accepted,
    while_kedas_metrics_server_is_away_its_hpas_hold_and_ours_go_on,
};
use migrate::an_hpa_that_changes_sides_and_comes_back_keeps_its_replicas;
use plimsoll_e2e::{
    Adapter, ControlPlane, adapter,
    keda::Keda,
    manifests::{NAME, NAMESPACE},
    plane::Settings,
    suite,
    suite::Cluster,
    tools, wait,
};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// What the scenarios share beside the cluster; ended with the process.
static SHARED: OnceCell<(Mutex<Keda>, Backlog)> = OnceCell::const_new();

fn backlog() -> Result<&'static Backlog> {
    SHARED.get().map(|(_, backlog)| backlog).context("the backlog has been started")
}

/// Where KEDA's metrics server is.
fn address(keda: &Keda) -> String {
    format!("https://127.0.0.1:{}", keda.port)
}

/// KEDA, to be ended and started.
fn keda() -> Result<MutexGuard<'static, Keda>> {
    let (keda, _) = SHARED.get().context("KEDA has been started")?;
    Ok(keda.lock().unwrap_or_else(PoisonError::into_inner))
}

/// The ends of KEDA's logs.
fn tail() -> String {
    keda().map(|keda| keda.tail()).unwrap_or_default()
}

/// A page of the adapter's status port.
async fn status(adapter: &Adapter, path: &str) -> Result<String> {
    let url = format!("http://127.0.0.1:{}{path}", adapter.status_port);
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?;
    Ok(client.get(&url).send().await?.error_for_status()?.text().await?)
}

/// Waits until the adapter says that it shares the cluster so.
async fn wait_coexistence(adapter: &Adapter, wanted: &str) -> Result<Value> {
    wait::until(&format!("{wanted} to be noticed"), Duration::from_secs(60), async || {
        let report: Value = serde_json::from_str(&status(adapter, "/api/v1/coexistence").await?)?;
        let good = report["coexistence"] == wanted && report["keda"]["problem"].is_null();
        Ok(if good { Ok(report) } else { Err(report) })
    })
    .await
}

/// Gives the adapter the rights that it needs in front of KEDA, as shipped.
async fn permit(plane: &ControlPlane) -> Result<()> {
    let rights = tools::deploy()?.join("components/in-front-of-keda/rbac.yaml");
    let rights = rights.to_str().context("the folder is not UTF-8")?;
    plane.kubectl(&["apply", "--server-side", "--validate=strict", "-f", rights]).await?;
    Ok(())
}

/// Puts the way to KEDA into the configuration of the running adapter, and waits until it is taken.
async fn pass_on(plane: &ControlPlane, adapter: &Adapter, url: &str) -> Result<()> {
    let token = json!({"bearerTokenFile": plane.path("plimsoll-system-plimsoll.token")});
    pass_on_as(plane, adapter, url, token).await
}

/// The same with a client certificate for the ServiceAccount's name.
async fn pass_on_by_certificate(plane: &ControlPlane, adapter: &Adapter, url: &str) -> Result<()> {
    let name = format!("system:serviceaccount:{NAMESPACE}:{NAME}");
    plane.pki.write_pair("in-front-of-keda", &plane.pki.cluster.client(&name, None)?)?;
    let (certificate, key) = (plane.pki.file("in-front-of-keda.crt"), plane.pki.file("in-front-of-keda.key"));
    let identity = json!({"clientCertificateFile": certificate, "clientKeyFile": key});
    pass_on_as(plane, adapter, url, identity).await
}

/// How often the adapter has taken a way to KEDA.
fn taken(adapter: &Adapter) -> Result<usize> {
    let log = adapter.log()?;
    Ok(log.lines().filter(|line| line.contains("are passed on to KEDA's metrics server")).count())
}

async fn pass_on_as(plane: &ControlPlane, adapter: &Adapter, url: &str, identity: Value) -> Result<()> {
    let before = taken(adapter)?;
    let file = plane.path("plimsoll.yaml");
    let mut config: Value = serde_json::from_str(&std::fs::read_to_string(&file)?)?;
    config["keda"] = json!({
        "url": url, "caFile": plane.pki.file("ca.crt"),
    });
    if let (Some(keda), Value::Object(identity)) = (config["keda"].as_object_mut(), identity) {
        keda.extend(identity);
    }
    std::fs::write(&file, config.to_string()).context("writing the adapter's configuration")?;
    wait::until(&format!("{url} to be the way to KEDA"), Duration::from_secs(60), async || {
        let report: Value = serde_json::from_str(&status(adapter, "/api/v1/coexistence").await?)?;
        let shown = report["keda"]["url"].as_str().is_some_and(|shown| shown.trim_end_matches('/') == url);
        Ok(if shown && taken(adapter)? > before { Ok(()) } else { Err(report) })
    })
    .await
}

fn main() -> ExitCode {
    let scenarios = vec![
        plimsoll_e2e::scenario!(a_trigger_of_kedas_own_and_an_hpa_of_ours_share_one_api),
        plimsoll_e2e::scenario!(an_hpa_that_changes_sides_and_comes_back_keeps_its_replicas),
        plimsoll_e2e::scenario!(alone: the_shipped_components_are_accepted),
        plimsoll_e2e::scenario!(alone: while_kedas_metrics_server_is_away_its_hpas_hold_and_ours_go_on),
        plimsoll_e2e::scenario!(alone: a_way_to_keda_that_leads_back_to_us_is_found_out),
        plimsoll_e2e::scenario!(alone: an_api_that_is_taken_away_is_told_and_not_fought_for),
    ];
    suite::main(scenarios, async || {
        let plane = ControlPlane::start(&Settings::default()).await?;
        let backlog = Backlog::start().await?;
        Keda::install(&plane).await?;
        let settings = adapter::Settings { keda: Some(backlog.url.clone()), ..adapter::Settings::default() };
        let adapter = Adapter::start(&plane, &settings).await?;
        let keda = Keda::launch(&plane)?;
        wait_coexistence(&adapter, "standalone").await?;
        permit(&plane).await?;
        pass_on(&plane, &adapter, &address(&keda)).await?;
        wait_coexistence(&adapter, "inFrontOfKeda").await?;
        SHARED.set((Mutex::new(keda), backlog)).map_err(|_| anyhow::anyhow!("KEDA was started twice"))?;
        Ok(Cluster { adapter, prometheus: None, plane })
    })
}
