//! When every source of a workload is gone, its replicas stay as they are and the HPA says why.

use std::time::Duration;

use anyhow::Result;
use plimsoll_e2e::{
    World,
    standin::Load,
    suite::{Cluster, Report},
    wait,
    workload::{Autoscaler, Inference},
    world::SOON,
};

/// The bound of the last known good value is 15 s here; afterwards a value is unknown, which is an error.
const UNKNOWN: Duration = Duration::from_secs(60);

pub(crate) async fn killed_sources_move_nothing_and_are_named(cluster: &Cluster, report: &Report) -> Result<()> {
    let world = World::create(&cluster.plane, "silent").await?;
    world.add_node(8).await?;
    world.standin.set_load(Load::for_replicas(4));
    world.deploy(&Inference::new("silent", 4), 4).await?;
    world.autoscale(&Autoscaler::queue_and_utilisation(1, 50)).await?;
    world.wait_metrics(SOON).await?;
    world.wait_replicas(4, SOON).await?;

    let killed = world.trajectory.mark();
    world.standin.kill();
    let message = wait::until("the HPA to give up its metrics with our reason", UNKNOWN, async || {
        let condition = world.condition("ScalingActive").await?;
        let message = condition.as_ref().and_then(|condition| condition.message.clone()).unwrap_or_default();
        let inactive = condition.as_ref().is_some_and(|condition| condition.status == "False");
        // A person can act on it: which metric of which workload, and what its sources say.
        let ours = message.contains("silent/deployment/llm is unknown") && message.contains("connection refused");
        Ok(if inactive && ours { Ok(message) } else { Err(condition) })
    })
    .await?;
    report.line(format!("after {:.1} s: {message}", world.trajectory.since(killed).as_secs_f64()));
    // Three HPA periods more, in which a wrong 0 would scale to 1.
    wait::stays("4 replicas without any source", Duration::from_secs(6), || match world.trajectory.replicas() {
        4 => Ok(()),
        other => Err(other),
    })
    .await?;
    let (fewest, most) = (world.trajectory.fewest_replicas(killed), world.trajectory.most_replicas(killed));
    world.ensure((fewest, most) == (4, 4), &format!("replicas moved: {fewest}..{most}")).await?;

    let revived = world.trajectory.mark();
    world.standin.set_load(Load::for_replicas(6));
    world.standin.revive();
    world.wait_replicas(6, SOON).await?;
    report.line(format!("revived: {}", world.trajectory.path(revived)));
    world.remove().await
}
