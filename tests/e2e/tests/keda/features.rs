//! What KEDA does with our numbers beside handing them to an HPA: fallback, formula and cache.

use std::time::Duration;

use anyhow::{Context, Result};
use plimsoll_e2e::{
    World,
    keda::{ScaledObject, trigger},
    scaler::Scaler,
    standin::Load,
    suite::{Cluster, Report},
    wait,
    workload::{Inference, WORKLOAD},
    world::SOON,
};
use serde_json::{Value, json};

use crate::{gateway, gone::wait_served, of_gateway, tail};

/// A workload of 5 replicas on 8 GPUs whose ScaledObject has these fields too.
async fn five_of_eight<'a>(cluster: &'a Cluster, name: &str, metadata: Value, more: &Value) -> Result<World<'a>> {
    let world = World::create(&cluster.plane, name).await?;
    world.add_node(8).await?;
    world.standin.set_load(Load::for_replicas(5));
    world.deploy(&Inference::new(name, 5), 5).await?;
    let object = ScaledObject { kind: "external", min: 1, polling: 1, cooldown: 30, metadata };
    object.apply_with(&cluster.plane, cluster.adapter.scaler_port, name, more).await?;
    wait_served(&cluster.plane, name).await.with_context(tail)?;
    Ok(world)
}

/// With more demand than room, it ends at the room and stays there.
async fn stops_at_eight(cluster: &Cluster, world: World<'_>, report: &Report) -> Result<()> {
    let began = world.trajectory.mark();
    world.standin.set_load(Load::for_replicas(15));
    world.wait_replicas(8, SOON).await.with_context(tail)?;
    world.wait_pods("8 Ready pods", |pods| pods.ready == 8 && pods.pending == 0).await?;
    let stayed = wait::stays("8 replicas and nothing Pending", Duration::from_secs(8), || {
        let (replicas, pods) = (world.trajectory.replicas(), world.trajectory.pods());
        if replicas == 8 && pods.pending == 0 { Ok(()) } else { Err((replicas, pods)) }
    });
    stayed.await.with_context(tail)?;
    report.line(world.trajectory.path(began));
    ScaledObject::remove(&cluster.plane, world.namespace()).await?;
    world.remove().await
}

/// Waits until KEDA says so of its fallback; it does at the poll after.
async fn wait_fallback(cluster: &Cluster, name: &str, status: &str) -> Result<()> {
    let path = "jsonpath={.status.conditions[?(@.type==\"Fallback\")].status}";
    wait::until(&format!("the condition Fallback to be {status}"), SOON, async || {
        let state = cluster.plane.kubectl(&["get", "scaledobject", WORKLOAD, "-n", name, "-o", path]).await?;
        Ok(if state == status { Ok(()) } else { Err(state) })
    })
    .await
    .with_context(tail)
}

pub(crate) async fn kedas_fallback_takes_over_when_the_source_is_down_and_gives_back(
    cluster: &Cluster,
    report: &Report,
) -> Result<()> {
    let name = "keda-fallback";
    let metadata = json!({"signal": "queueLength", "threshold": "10", "onMissing": "error"});
    let fallback = json!({"fallback": {"failureThreshold": 2, "replicas": 7}});
    let world = five_of_eight(cluster, name, metadata, &fallback).await?;
    let began = world.trajectory.mark();
    world.standin.kill();
    world.wait_replicas(7, SOON).await.with_context(tail)?;
    wait_fallback(cluster, name, "True").await?;
    world.standin.revive();
    world.wait_replicas(5, SOON).await.with_context(tail)?;
    wait_fallback(cluster, name, "False").await?;
    report.line(world.trajectory.path(began));
    ScaledObject::remove(&cluster.plane, name).await?;
    world.remove().await
}

pub(crate) async fn a_formula_of_kedas_caps_demand_by_our_capacity(cluster: &Cluster, report: &Report) -> Result<()> {
    let port = cluster.adapter.scaler_port;
    let named = |name: &str, metadata: Value| {
        let mut trigger = trigger("external", port, &metadata);
        trigger["name"] = json!(name);
        trigger
    };
    // The cap is the formula's alone here.
    let demand = json!({"signal": "queueLength", "threshold": "10", "capacity": "off"});
    let more = json!({
        "advanced": {"scalingModifiers": {"formula": "min(waiting / 10, room)", "target": "1"}},
        "triggers": [named("waiting", demand.clone()), named("room", json!({"signal": "capacity"}))],
    });
    let world = five_of_eight(cluster, "keda-formula", demand, &more).await?;
    stops_at_eight(cluster, world, report).await
}

pub(crate) async fn values_that_keda_keeps_stop_at_the_room_too(cluster: &Cluster, report: &Report) -> Result<()> {
    let metadata = json!({"signal": "queueLength", "threshold": "10"});
    let mut cached = trigger("external", cluster.adapter.scaler_port, &metadata);
    cached["useCachedMetrics"] = json!(true);
    let world = five_of_eight(cluster, "keda-cached", metadata, &json!({"triggers": [cached]})).await?;
    stops_at_eight(cluster, world, report).await
}

pub(crate) async fn a_fallback_without_threshold_fires_even_while_the_scaler_is_gone(
    cluster: &Cluster,
    report: &Report,
) -> Result<()> {
    let (plane, name) = (&cluster.plane, "keda-gone-fallback");
    let mut scaler = Scaler::start(plane, "scaler-fallback", &gateway()?.url).await?;
    let world = World::create(plane, name).await?;
    world.add_node(8).await?;
    gateway()?.set(name, 50);
    world.deploy(&Inference::new(name, 5), 5).await?;
    // Push triggers have the streamed specs, which KEDA keeps.
    let object = ScaledObject { kind: "external-push", min: 1, polling: 1, cooldown: 30, metadata: of_gateway(name)? };
    let fallback = json!({"fallback": {"failureThreshold": 0, "replicas": 7}});
    object.apply_with(plane, scaler.port, name, &fallback).await?;
    wait_served(plane, name).await.with_context(tail)?;
    let began = world.trajectory.mark();
    scaler.kill();
    world.wait_replicas(7, SOON).await.with_context(tail)?;
    scaler.resume(plane).await?;
    world.wait_replicas(5, SOON).await.with_context(tail)?;
    report.line(world.trajectory.path(began));
    ScaledObject::remove(plane, name).await?;
    world.remove().await
}
