//! A node autoscaler acts on pods that wait, so some must: as many as it may bring nodes for, and no longer than it can.

use std::time::Duration;

use anyhow::{Context, Result};
use plimsoll_e2e::{
    World,
    node_autoscaler::NodeAutoscaler,
    standin::Load,
    suite::{Cluster, Report},
    trajectory::Count,
    wait,
    workload::{Autoscaler, Inference, Machine},
    world::SOON,
};
use serde_json::json;

/// Nodes come within seconds, and the autoscaler's status is read every 2 s.
const SLOWLY: Duration = Duration::from_secs(90);
const PERIODS: Duration = Duration::from_secs(20);
/// GPUs of a node of the group.
const GPUS: u32 = 4;

pub(crate) async fn pods_wait_for_nodes_on_purpose_and_are_withdrawn_at_a_stock_out(
    cluster: &Cluster,
    report: &Report,
) -> Result<()> {
    let world = World::create(&cluster.plane, "autoscaled").await?;
    // It may have three nodes and gets two.
    let autoscaler = NodeAutoscaler::begin(&cluster.plane, &world, Machine::gpus(GPUS), 3, 2).await?;
    begin(&world, |it| it).await?;
    tokio::select! { // the stand-in only looks and speaks, and may be stopped anywhere
        ended = autoscaler.run() => ended.context("the stand-in for the node autoscaler")?,
        told = story(cluster, &world, report) => told?,
    }
    autoscaler.end().await?;
    world.remove().await
}

pub(crate) async fn a_node_that_never_comes_is_overdue_and_not_waited_for(
    cluster: &Cluster,
    report: &Report,
) -> Result<()> {
    let world = World::create(&cluster.plane, "overdue").await?;
    // It may have two nodes, has one, and goes on expecting the other.
    let autoscaler = NodeAutoscaler::begin(&cluster.plane, &world, Machine::gpus(GPUS), 2, 1).await?.hoping();
    begin(&world, |it| it).await?;
    tokio::select! { // the stand-in only looks and speaks, and may be stopped anywhere
        ended = autoscaler.run() => ended.context("the stand-in for the node autoscaler")?,
        told = overdue(cluster, &world, report) => told?,
    }
    autoscaler.end().await?;
    world.remove().await
}

async fn overdue(cluster: &Cluster, world: &World<'_>, report: &Report) -> Result<()> {
    let began = world.trajectory.mark();
    world.standin.set_load(Load::for_replicas(30));
    wait_pods(world, "pods to wait for the second node", |pods| pods.ready == 4 && pods.unplaced > 0).await?;
    let arriving = wait::until("the node to be expected", SOON, async || {
        let decision = cluster.adapter.decision(world.namespace()).await?;
        let first = decision["nodesArriving"][0].clone();
        Ok(if first["nodes"] == 1 { Ok(first) } else { Err(decision) })
    });
    let arriving = arriving.await?;
    report.line(format!("expected {}, overdue {}", arriving["expected"], arriving["overdue"]));
    world.wait_replicas(4, SLOWLY).await?;
    world.wait_pods("nothing to wait any more", |pods| pods.ready == 4 && pods.pending == 0).await?;
    report.line(format!("withdrawn: {}", world.trajectory.path(began)));
    let stayed = wait::stays("4 replicas", PERIODS, || match world.trajectory.replicas() {
        4 => Ok(()),
        other => Err(other),
    });
    explained(world, stayed.await).await?;
    let decision = cluster.adapter.decision(world.namespace()).await?;
    let change = decision["change"].as_str().unwrap_or_default();
    let said = decision["limitingFactor"] == "nodeAutoscaler" && change.contains("1 of its nodes are overdue");
    world.ensure(said, &format!("it does not say so: {decision}")).await
}

pub(crate) async fn claims_for_devices_are_met_by_the_node_that_comes(
    cluster: &Cluster,
    report: &Report,
) -> Result<()> {
    let world = World::create(&cluster.plane, "claimed").await?;
    world.add_gpu_class().await?;
    world.add_gpu_claims("gpu").await?;
    let machine = Machine::default().published(GPUS);
    let autoscaler = NodeAutoscaler::begin(&cluster.plane, &world, machine, 2, 2).await?;
    begin(&world, |it| it.claiming("gpu")).await?;
    tokio::select! { // the stand-in only looks and speaks, and may be stopped anywhere
        ended = autoscaler.run() => ended.context("the stand-in for the node autoscaler")?,
        told = claimed(&world, report) => told?,
    }
    autoscaler.end().await?;
    world.remove_devices().await?;
    world.remove().await
}

async fn claimed(world: &World<'_>, report: &Report) -> Result<()> {
    let began = world.trajectory.mark();
    world.standin.set_load(Load::for_replicas(30));
    wait_pods(world, "the second node's replicas to be Ready", |pods| pods.ready == 8).await?;
    world.wait_replicas(8, SLOWLY).await?;
    world.wait_pods("nothing to wait any more", |pods| pods.ready == 8 && pods.pending == 0).await?;
    report.line(format!("a node with its slice was brought for claims: {}", world.trajectory.path(began)));
    let stayed = wait::stays("8 replicas", PERIODS, || match world.trajectory.replicas() {
        8 => Ok(()),
        other => Err(other),
    });
    explained(world, stayed.await).await?;
    let most = world.trajectory.most_replicas(began);
    world.ensure(most <= 8, &format!("it wanted {most} on 2 nodes")).await?;
    let waited = world.trajectory.most_unplaced(began);
    world.ensure((1..=4).contains(&waited), &format!("{waited} pods waited for a node of 4 GPUs")).await?;
    let lost = world.trajectory.lost(world.trajectory.start());
    world.ensure(lost.is_empty(), &format!("running pods were lost: {lost:?}")).await
}

/// A workload of one replica, which may grow at once.
async fn begin(world: &World<'_>, of: impl FnOnce(Inference) -> Inference) -> Result<()> {
    world.standin.set_load(Load::for_replicas(1));
    world.deploy(&of(Inference::new(world.namespace(), 1)), 1).await?;
    let growth = json!({"scaleUp": {"policies": [{"type": "Pods", "value": 20, "periodSeconds": 1}]}});
    world.autoscale(&Autoscaler::queue(1, 50).behavior(growth)).await?;
    world.wait_metrics(SOON).await
}

async fn story(cluster: &Cluster, world: &World<'_>, report: &Report) -> Result<()> {
    let began = world.trajectory.mark();
    world.standin.set_load(Load::for_replicas(30));
    wait_pods(world, "the second node's replicas to be Ready", |pods| pods.ready == 8).await?;
    report.line(format!("a node was brought for pods that waited: {}", world.trajectory.path(began)));

    wait_pods(world, "pods to wait for the third node", |pods| pods.ready == 8 && pods.unplaced > 0).await?;
    let refused = world.trajectory.mark();
    world.wait_replicas(8, SLOWLY).await?;
    world.wait_pods("nothing to wait any more", |pods| pods.ready == 8 && pods.pending == 0).await?;
    report.line(format!("out of stock: {}", world.trajectory.path(refused)));
    let stayed = wait::stays("8 replicas", PERIODS, || match world.trajectory.replicas() {
        8 => Ok(()),
        other => Err(other),
    });
    explained(world, stayed.await).await?;

    let decision = cluster.adapter.decision(world.namespace()).await?;
    let change = decision["change"].as_str().unwrap_or_default();
    let said = decision["limitingFactor"] == "nodeAutoscaler" && change.contains("OUT_OF_RESOURCES");
    world.ensure(said, &format!("it does not say so: {decision}")).await?;
    report.line(change);
    // Never more than all the nodes of the group would take, whatever it has said lately.
    let most = world.trajectory.most_replicas(began);
    world.ensure(most <= 3 * i32::try_from(GPUS)?, &format!("it wanted {most} on 3 nodes")).await?;
    world.ensure(world.trajectory.most_unplaced(began) <= 8, "more pods waited than nodes could come for").await?;
    let lost = world.trajectory.lost(world.trajectory.start());
    world.ensure(lost.is_empty(), &format!("running pods were lost: {lost:?}")).await
}

async fn wait_pods(world: &World<'_>, what: &str, holds: impl Fn(Count) -> bool) -> Result<()> {
    let waited = wait::until(what, SLOWLY, async || {
        let pods = world.trajectory.pods();
        Ok(if holds(pods) { Ok(()) } else { Err(pods) })
    });
    explained(world, waited.await).await
}

async fn explained(world: &World<'_>, result: Result<()>) -> Result<()> {
    match result {
        Ok(()) => Ok(()),
        Err(error) => Err(error.context(world.explain().await)),
    }
}
