//! Replicas of several pods: a group that cannot be whole is never begun.

use std::time::Duration;

use anyhow::{Context, Result};
use plimsoll_e2e::{
    World,
    groups::{self, Groups, Operator},
    standin::Load,
    suite::{Cluster, Report},
    wait,
    workload::{Autoscaler, Inference},
    world::SOON,
};
use serde_json::json;

/// Some HPA periods of 2 s, and a read of the set each 3 s.
const PERIODS: Duration = Duration::from_secs(10);
const GPU: &str = "nvidia.com/gpu";

pub(crate) async fn groups_grow_as_wholes(cluster: &Cluster, report: &Report) -> Result<()> {
    // The first nodes take four pods of two GPUs: beside the first group one is left, of which no group is begun.
    grows(cluster, report, "wholes", (2, 2), &[(2, 4), (1, 4)]).await
}

pub(crate) async fn leaders_and_workers_that_differ_grow_as_wholes(cluster: &Cluster, report: &Report) -> Result<()> {
    // Five GPUs a group: three are left on the first nodes.
    grows(cluster, report, "unlike", (1, 2), &[(2, 4), (1, 5)]).await
}

/// Under a load for 20 groups of a leader and two workers, with so many GPUs for each, one group fits on the first nodes
/// and a second one once there are the others.
async fn grows(
    cluster: &Cluster,
    report: &Report,
    name: &str,
    (leader, worker): (u32, u32),
    nodes: &[(u32, u32)],
) -> Result<()> {
    let world = World::create(&cluster.plane, name).await?;
    Operator::define(&cluster.plane).await?;
    let (first, then) = nodes.split_first().context("no nodes")?;
    world.add_nodes(first.0, first.1).await?;
    world.standin.set_load(Load::for_replicas(1));
    let pod = |gpus| Inference::new(name, 1).devices(GPU, gpus);
    let operator = Operator::begin(&cluster.plane, &world, &Groups::new(pod(leader), pod(worker), 3)).await?;
    tokio::select! { // the stand-in only looks and acts, and may be stopped anywhere
        ended = operator.run() => ended.context("the stand-in for the operator")?,
        told = story(cluster, &world, &operator, report, then) => told?,
    }
    world.remove().await
}

async fn story(
    cluster: &Cluster,
    world: &World<'_>,
    operator: &Operator,
    report: &Report,
    more: &[(u32, u32)],
) -> Result<()> {
    rests(world, operator, 1).await.context("the first group")?;
    let growth = json!({"scaleUp": {"policies": [{"type": "Pods", "value": 20, "periodSeconds": 1}]}});
    world.autoscale(&Autoscaler::queue(1, 50).behavior(growth).of(groups::API_VERSION, groups::KIND)).await?;
    world.wait_metrics(SOON).await?;
    let began = world.trajectory.mark();
    world.standin.set_load(Load::for_replicas(20));
    stays(world, operator, 1).await.context("GPUs for a part of a second group are free")?;
    for (count, gpus) in more {
        world.add_nodes(*count, *gpus).await?;
    }
    rests(world, operator, 2).await.context("a second group fits")?;
    stays(world, operator, 2).await.context("no third one fits")?;
    let decision = cluster.adapter.decision(world.namespace()).await?;
    let factor = decision["limitingFactor"].as_str().unwrap_or_default();
    world.ensure(["gpu", "fragmentation"].contains(&factor), &format!("not for GPUs: {decision}")).await?;
    let without_place = world.trajectory.without_place(began);
    world.ensure(without_place.is_empty(), &format!("no place for {without_place:?}")).await?;
    report.line("1 group -> 2 groups of 3 pods, and no pod ever without a place");
    Ok(())
}

/// So many whole groups run.
async fn rests(world: &World<'_>, operator: &Operator, groups: u32) -> Result<()> {
    let pods = 3 * usize::try_from(groups)?;
    let what = format!("{groups} groups");
    let reached = wait::until(&what, SOON, async || {
        let (now, count) = (operator.replicas().await?, world.trajectory.pods());
        Ok(if now == groups && count.ready == pods && count.pending == 0 { Ok(()) } else { Err((now, count)) })
    });
    match reached.await {
        Ok(()) => Ok(()),
        Err(error) => Err(error.context(world.explain().await)),
    }
}

async fn stays(world: &World<'_>, operator: &Operator, groups: u32) -> Result<()> {
    let pods = 3 * usize::try_from(groups)?;
    let stayed = wait::stays("whole groups", PERIODS, || {
        let count = world.trajectory.pods();
        if count.ready == pods && count.pending == 0 { Ok(()) } else { Err(count) }
    });
    if let Err(error) = stayed.await {
        return Err(error.context(world.explain().await));
    }
    let now = operator.replicas().await?;
    world.ensure(now == groups, &format!("{now} groups are asked for")).await
}
