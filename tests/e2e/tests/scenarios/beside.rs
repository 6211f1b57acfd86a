//! Workloads of unlike shapes that grow on the same nodes at the same time: the scheduler is free to put small replicas
//! on nodes that large ones were counted on, so neither may be promised what the other could take.

use anyhow::{Context, Result};
use plimsoll_e2e::{
    World,
    overload::Overload,
    standin::WORLD,
    suite::{Cluster, Report},
    wait,
    world::SOON,
};
use serde_json::json;

const GPU: &str = "nvidia.com/gpu";
const NODES: u32 = 4;

pub(crate) async fn small_replicas_never_take_the_nodes_that_large_ones_were_promised(
    cluster: &Cluster,
    report: &Report,
) -> Result<()> {
    let (large, small) = (World::create(&cluster.plane, "large").await?, World::create(&cluster.plane, "small").await?);
    let nodes = json!({WORLD: large.namespace()});
    large.add_nodes(NODES, 8).await?;
    let small = Overload::prepare(cluster, report, small, |it| it.placed("nodeSelector", nodes)).await?;
    let large = Overload::prepare(cluster, report, large, |it| it.devices(GPU, 8)).await?;
    large.strain(10);
    wait::until("the large ones to be promised", SOON, async || {
        let granted = cluster.adapter.decision(large.world.namespace()).await?["grant"].take();
        Ok(if granted.as_i64().is_some_and(|granted| granted > 1) { Ok(()) } else { Err(granted) })
    })
    .await?;
    small.strain(40);
    let taken = || (large.world.trajectory.replicas(), small.world.trajectory.replicas());
    let full = wait::until("all GPUs to be used", SOON, async || {
        let taken = taken();
        Ok(if 8 * taken.0 + taken.1 == 8 * i32::try_from(NODES)? { Ok(()) } else { Err(taken) })
    });
    if let Err(error) = full.await {
        return Err(error.context(format!("{}\n{}", large.world.explain().await, small.world.explain().await)));
    }
    for overload in [&large, &small] {
        let replicas = usize::try_from(overload.world.trajectory.replicas()).context("replicas")?;
        overload.world.wait_pods("all to be Ready", |pods| pods.ready == replicas && pods.pending == 0).await?;
        overload.nobody_waited("beside the other").await?;
    }
    let (of_large, of_small) = taken();
    large.world.ensure(of_large > 1 && of_small > 1, "only one of them has grown").await?;
    report.line(format!(
        "{NODES} nodes of 8 GPUs: {of_large} replicas of 8 GPUs, {of_small} of one, none without a place"
    ));
    small.end().await?;
    large.end().await
}
