//! `plimsoll migrate` on a cluster: the same replicas on either side.

use std::{
    io::Write,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use plimsoll_e2e::{
    World,
    keda::{self, ScaledObject},
    standin::Load,
    suite::{Cluster, Report},
    tools, wait,
    workload::{Autoscaler, Inference, WORKLOAD},
    world::SOON,
};
use serde_json::Value;

use crate::tail;

/// What `plimsoll migrate` makes of a manifest.
fn migrated(manifest: &str, arguments: &[&str]) -> Result<(String, String)> {
    let mut command = Command::new(tools::plimsoll()?);
    command.args(["migrate", "-f", "-"]).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    child.stdin.take().context("the child has a standard input")?.write_all(manifest.as_bytes())?;
    let output = child.wait_with_output()?;
    let (out, said) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
    ensure!(output.status.success(), "plimsoll migrate ended with {}: {said}", output.status);
    Ok((out, said))
}

/// The replicas stay so.
async fn stays(world: &World<'_>, replicas: i32) -> Result<()> {
    wait::stays(&format!("{replicas} replicas"), Duration::from_secs(8), || {
        let now = world.trajectory.replicas();
        if now == replicas { Ok(()) } else { Err(now) }
    })
    .await
    .with_context(tail)
}

pub(crate) async fn an_hpa_that_changes_sides_and_comes_back_keeps_its_replicas(
    cluster: &Cluster,
    report: &Report,
) -> Result<()> {
    let (plane, name) = (&cluster.plane, "migrated");
    let world = World::create(plane, name).await?;
    world.add_node(8).await?;
    world.standin.set_load(Load::for_replicas(5));
    world.deploy(&Inference::new(name, 5), 5).await?;
    world.autoscale(&Autoscaler::queue_and_utilisation(1, 50).with_nodes_available()).await?;
    world.wait_metrics(SOON).await?;
    let began = world.trajectory.mark();

    let apply = async |file: &str, manifest: &str| {
        let path = plane.path(file);
        std::fs::write(&path, manifest)?;
        let path = path.to_str().context("the temporary folder is not UTF-8")?;
        plane.kubectl(&["apply", "--server-side", "--validate=strict", "-f", path]).await
    };
    keda::apply(plane, "migrated-credentials", keda::credentials(plane, name)?).await?;
    let hpa = plane.kubectl(&["get", "hpa", WORKLOAD, "-n", name, "-o", "yaml"]).await?;
    let address = format!("127.0.0.1:{}", cluster.adapter.scaler_port);
    let flags = ["--scaler-address", &address, "--authentication", "TriggerAuthentication/plimsoll"];
    let (object, said) = migrated(&hpa, &flags)?;
    report.line(said.lines().next().unwrap_or("nothing to warn of"));
    apply("migrated-scaledobject.yaml", &object).await?;
    wait::until("KEDA to take over the HPA", SOON, async || {
        let hpa: Value = serde_json::to_value(world.hpa().await?)?;
        let owner = &hpa["metadata"]["ownerReferences"][0]["kind"];
        let metric = &hpa["spec"]["metrics"][0]["external"]["metric"]["name"];
        let taken = owner == "ScaledObject" && metric == "s0-inference-queue-length";
        Ok(if taken { Ok(()) } else { Err((owner.clone(), metric.clone())) })
    })
    .await
    .with_context(tail)?;
    world.wait_metrics(SOON).await.with_context(tail)?;
    stays(&world, 5).await?;
    world.standin.set_load(Load::for_replicas(15));
    world.wait_replicas(8, SOON).await.with_context(tail)?;
    world.wait_pods("8 Ready pods", |pods| pods.ready == 8 && pods.pending == 0).await?;

    let object = plane.kubectl(&["get", "scaledobject", WORKLOAD, "-n", name, "-o", "yaml"]).await?;
    let (hpa, _) = migrated(&object, &["--to", "hpa"])?;
    ScaledObject::remove(plane, name).await?;
    plane.kubectl(&["wait", "--for=delete", "hpa/llm", "-n", name, "--timeout=60s"]).await?;
    apply("migrated-hpa.yaml", &hpa).await?;
    world.wait_metrics(SOON).await?;
    stays(&world, 8).await?;
    world.standin.set_load(Load::for_replicas(3));
    world.wait_replicas(3, SOON).await?;
    report.line(format!("HPA, ScaledObject, HPA: {}", world.trajectory.path(began)));
    world.remove().await
}
