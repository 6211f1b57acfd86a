//! The accident: load for 15 replicas on 8 GPUs. A plain HPA leaves 7 pods Pending for ever; with the clamp none is.

use std::time::Duration;

use anyhow::{Context, Result};
use plimsoll_e2e::{
    World,
    standin::Load,
    suite::{Cluster, Report},
    wait,
    workload::{Autoscaler, Inference},
    world::SOON,
};

/// Some HPA periods of 2 s: long enough for a wrong value to be acted on several times.
const PERIODS: Duration = Duration::from_secs(10);

async fn five_replicas_on_eight_gpus<'a>(cluster: &'a Cluster, name: &str, mode: &'static str) -> Result<World<'a>> {
    let world = World::create(&cluster.plane, name).await?;
    world.add_node(8).await?;
    world.standin.set_load(Load::for_replicas(5));
    world.deploy(&Inference::new(name, 5), 5).await?;
    world.autoscale(&Autoscaler::queue_and_utilisation(1, 50).mode(mode)).await?;
    world.wait_metrics(SOON).await?;
    Ok(world)
}

pub(crate) async fn observed_it_happens_and_enforced_it_is_healed(cluster: &Cluster, report: &Report) -> Result<()> {
    let world = five_replicas_on_eight_gpus(cluster, "observed", "Observe").await?;
    let observed = world.trajectory.mark();
    world.standin.set_load(Load::for_replicas(15));
    world.wait_replicas(15, SOON).await?;
    world.wait_pods("8 running and 7 Pending", |pods| pods.ready == 8 && pods.pending == 7).await?;
    report.line(format!("Observe: {}; {:?}", world.trajectory.path(observed), world.trajectory.pods()));
    stays(&world, "15 replicas of which 7 are Pending", |world| {
        world.trajectory.replicas() == 15 && world.trajectory.pods().pending == 7
    })
    .await?;

    let enforced = world.trajectory.mark();
    world.set_mode("Enforce").await?;
    world.wait_replicas(8, SOON).await?;
    world.wait_pods("nothing Pending", |pods| pods.ready == 8 && pods.pending == 0).await?;
    report.line(format!("Enforce: {}; {:?}", world.trajectory.path(enforced), world.trajectory.pods()));
    stays(&world, "8 replicas", |world| world.trajectory.replicas() == 8).await?;
    nothing_lost(&world, "by shedding the surplus").await?;
    world.remove().await
}

pub(crate) async fn enforced_from_the_start_it_never_happens(cluster: &Cluster, report: &Report) -> Result<()> {
    let world = five_replicas_on_eight_gpus(cluster, "enforced", "Enforce").await?;
    let began = world.trajectory.mark();
    world.standin.set_load(Load::for_replicas(15));
    world.wait_replicas(8, SOON).await?;
    world.wait_pods("8 Ready pods", |pods| pods.ready == 8 && pods.pending == 0).await?;
    stays(&world, "8 replicas and nothing Pending", |world| {
        world.trajectory.replicas() == 8 && world.trajectory.pods().pending == 0
    })
    .await?;
    let (most, unplaced) = (world.trajectory.most_replicas(began), world.trajectory.most_pending(began));
    let path = world.trajectory.path(began);
    report.line(format!("8 GPUs: {path}; never above {most}, never more than {unplaced} without a node"));
    world.ensure(most == 8, &format!("at some instant it wanted {most} on 8 GPUs")).await?;
    // Between its creation and its binding a pod has no node: the three new ones at most.
    world.ensure(unplaced <= 3, &format!("{unplaced} pods waited for a node at once")).await?;

    let second = a_node_more(&world, report).await?;
    nodes_fail(&world, &second, report).await?;
    world.remove().await
}

async fn a_node_more(world: &World<'_>, report: &Report) -> Result<String> {
    let node = world.add_node(8).await?;
    let added = world.trajectory.mark();
    world.wait_replicas(15, SOON).await?;
    world.wait_pods("15 Ready pods", |pods| pods.ready == 15).await?;
    report.line(format!("8 GPUs more: {} after the node was Ready", world.trajectory.path(added)));
    // One more at the most: a sum of samples may count some load twice while it moves to new pods.
    world.ensure(world.trajectory.most_replicas(added) <= 16, "it grew past the load").await?;
    Ok(node)
}

/// One node is cordoned, the other dies: no pod is evicted by us, and nothing grows although the queue does.
async fn nodes_fail(world: &World<'_>, second: &str, report: &Report) -> Result<()> {
    let failing = world.trajectory.mark();
    world.cordon(second).await?;
    world.standin.set_load(Load::for_replicas(30));
    stays(world, "15 replicas beside a cordoned node", |world| world.trajectory.replicas() == 15).await?;
    let dying = world.nodes().await?.into_iter().find(|node| node != second).context("there are two nodes")?;
    world.kill_node(&dying).await?;
    world.wait_node(&dying, "Unknown").await?;
    stays(world, "at most 15 replicas with a dead node", |world| world.trajectory.replicas() <= 15).await?;
    nothing_lost(world, "after a cordon and a death").await?;
    report.line(format!(
        "{second} cordoned, {dying} dead, load for 30: {}; {:?}",
        world.trajectory.path(failing),
        world.trajectory.pods()
    ));
    Ok(())
}

async fn stays(world: &World<'_>, what: &str, holds: impl Fn(&World<'_>) -> bool) -> Result<()> {
    let stayed = wait::stays(what, PERIODS, || {
        if holds(world) { Ok(()) } else { Err((world.trajectory.replicas(), world.trajectory.pods())) }
    });
    match stayed.await {
        Ok(()) => Ok(()),
        Err(error) => Err(error.context(world.explain().await)),
    }
}

async fn nothing_lost(world: &World<'_>, how: &str) -> Result<()> {
    let lost = world.trajectory.lost(world.trajectory.start());
    world.ensure(lost.is_empty(), &format!("running pods were lost {how}: {lost:?}")).await
}
