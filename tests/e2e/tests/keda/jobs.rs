//! A ScaledJob: as many Jobs as somebody waits for, and no more than fit.

use std::time::Duration;

use anyhow::{Context, Result};
use plimsoll_e2e::{
    World,
    keda::{self, trigger},
    suite::{Cluster, Report},
    trajectory::Count,
    wait,
    workload::{Inference, WORKLOAD},
    world::SOON,
};
use serde_json::json;

use crate::{gateway, of_gateway, tail};

const NAME: &str = "keda-job";

/// So many Jobs, and each of their pods runs.
async fn stays(world: &World<'_>, jobs: usize) -> Result<()> {
    let what = format!("{jobs} Jobs that run and none that waits");
    let runs = |pods: Count| pods.running == jobs && pods.pending == 0;
    world.wait_pods(&what, runs).await.with_context(tail)?;
    wait::stays(&what, Duration::from_secs(8), || {
        let pods = world.trajectory.pods();
        if runs(pods) { Ok(()) } else { Err(pods) }
    })
    .await
    .with_context(tail)
}

pub(crate) async fn a_scaled_job_makes_no_job_that_finds_no_gpu(cluster: &Cluster, report: &Report) -> Result<()> {
    let world = World::create(&cluster.plane, NAME).await?;
    world.add_node(4).await?;
    gateway()?.set(NAME, 0);
    let template = Inference::new(NAME, 0).placed("restartPolicy", json!("Never")).template();
    let mut items = keda::credentials(&cluster.plane, NAME)?;
    items.push(json!({
        "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledJob",
        "metadata": {"name": WORKLOAD, "namespace": NAME},
        "spec": {
            "jobTargetRef": {"parallelism": 1, "completions": 1, "backoffLimit": 0, "template": template},
            "pollingInterval": 1, "maxReplicaCount": 50,
            "triggers": [trigger("external", cluster.adapter.scaler_port, &of_gateway(NAME)?)],
        },
    }));
    keda::apply(&cluster.plane, "keda-job", items).await?;
    let began = world.trajectory.mark();
    gateway()?.set(NAME, 100);
    stays(&world, 4).await.context("ten Jobs are asked for, and four fit")?;
    world.add_node(2).await?;
    stays(&world, 6).await.context("two more fit")?;
    report.line(format!(
        "10 Jobs asked for: 4 on 4 GPUs, 6 on 6; without a place at any time: {}",
        world.trajectory.most_unplaced(began)
    ));
    gateway()?.set(NAME, 0);
    let limit = format!("--timeout={}s", SOON.as_secs());
    cluster.plane.kubectl(&["delete", "scaledjob", WORKLOAD, "-n", NAME, &limit]).await?;
    world.remove().await
}
