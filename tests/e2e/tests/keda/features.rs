//! What triggers and KEDA can do beyond one number for one HPA: types of targets, profiles, models that load, fallback,
//! formula and cache.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use plimsoll_e2e::{
    World,
    keda::{ScaledObject, trigger},
    prometheus::Prometheus,
    scaler::Scaler,
    standin::{Dialect, Load},
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
async fn stops_at_eight(cluster: &Cluster, world: &World<'_>, report: &Report) -> Result<()> {
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
    ScaledObject::remove(&cluster.plane, world.namespace()).await
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
    stops_at_eight(cluster, &world, report).await?;
    world.remove().await
}

pub(crate) async fn values_that_keda_keeps_stop_at_the_room_too(cluster: &Cluster, report: &Report) -> Result<()> {
    let metadata = json!({"signal": "queueLength", "threshold": "10"});
    let mut cached = trigger("external", cluster.adapter.scaler_port, &metadata);
    cached["useCachedMetrics"] = json!(true);
    let world = five_of_eight(cluster, "keda-cached", metadata, &json!({"triggers": [cached]})).await?;
    stops_at_eight(cluster, &world, report).await?;
    world.remove().await
}

pub(crate) async fn a_target_of_type_value_stops_at_the_room_too(cluster: &Cluster, report: &Report) -> Result<()> {
    // The ratio of what waits in all to 50 is what an HPA multiplies the ready replicas by.
    let metadata = json!({"signal": "queueLength", "threshold": "50"});
    let mut of_value = trigger("external", cluster.adapter.scaler_port, &metadata);
    of_value["metricType"] = json!("Value");
    let world = five_of_eight(cluster, "keda-value", metadata, &json!({"triggers": [of_value]})).await?;
    stops_at_eight(cluster, &world, report).await?;
    world.remove().await
}

pub(crate) async fn a_replica_that_loads_its_model_is_not_put_to_sleep(
    cluster: &Cluster,
    report: &Report,
) -> Result<()> {
    let (plane, name) = (&cluster.plane, "keda-loading");
    let world = World::create(plane, name).await?;
    world.add_node(2).await?;
    world.deploy(&Inference::new(name, 0).ready_after("20s"), 0).await?;
    let object = ScaledObject { kind: "external-push", min: 0, polling: 1, cooldown: 2, metadata: of_gateway(name)? };
    object.apply(plane, cluster.adapter.scaler_port, name).await?;
    ScaledObject::wait_ready(plane, name).await.with_context(tail)?;
    gateway()?.set(name, 5);
    world.wait_replicas(1, SOON).await.with_context(tail)?;
    let woken = world.trajectory.mark();
    // Who waited has given up: nothing but the model that loads is a reason any more, for many polls and cooldowns.
    gateway()?.set(name, 0);
    world.wait_pods("the model to be loaded", |pods| pods.ready == 1).await.with_context(tail)?;
    let (took, fewest) = (world.trajectory.since(woken), world.trajectory.fewest_replicas(woken));
    ensure!(fewest == 1, "it was put to sleep while it loaded: {}", world.trajectory.path(woken));
    world.wait_replicas(0, SOON).await.with_context(tail)?;
    report.line(format!(
        "kept for the {:.0} s that it loaded, then {}",
        took.as_secs_f64(),
        world.trajectory.path(woken)
    ));
    ScaledObject::remove(plane, name).await?;
    world.remove().await
}

pub(crate) async fn a_profile_has_prometheus_asked_for_what_its_servers_call_a_queue(
    cluster: &Cluster,
    report: &Report,
) -> Result<()> {
    let (plane, name) = (&cluster.plane, "keda-profile");
    let prometheus = Prometheus::start(plane).await?;
    let scaler = Scaler::start(plane, "scaler-profile", &prometheus.url).await?;
    let world = World::create(plane, name).await?;
    let scenario = async {
        world.add_node(8).await?;
        world.standin.set_load(Load::for_replicas(5));
        world.deploy(&Inference::new(name, 5).dialect(Dialect::Vllm).not_scraped_directly(), 5).await?;
        // Neither a query nor a threshold: both are the profile's.
        let metadata = json!({"signal": "queueLength", "profile": "vllm", "serverAddress": prometheus.url});
        let object = ScaledObject { kind: "external", min: 1, polling: 1, cooldown: 30, metadata };
        object.apply(plane, scaler.port, name).await?;
        wait_served(plane, name).await.with_context(tail)
    };
    tokio::select! { // either side may be dropped: one is a loop, the other ends the scenario
        result = prometheus.follow(&world) => result?,
        result = scenario => result?,
    }
    tokio::select! {
        result = prometheus.follow(&world) => result,
        result = stops_at_eight(cluster, &world, report) => result,
    }?;
    world.remove().await
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
