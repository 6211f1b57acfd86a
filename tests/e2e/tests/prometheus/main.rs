//! The textbook scenario with a real Prometheus between the pods and the adapter, which scrapes nothing itself.

use std::process::ExitCode;

use anyhow::{Context, Result};
use plimsoll_e2e::{
    Adapter, ControlPlane, World, adapter,
    plane::Settings,
    prometheus::Prometheus,
    scenario,
    suite::{self, Cluster, Report},
    workload::Inference,
};

// The same scenario as with direct scraping, word for word.
#[path = "../scenarios/textbook.rs"]
#[expect(dead_code, reason = "the other scenarios of this file run with direct scraping only")]
mod textbook;

async fn two_metrics_scale_up_and_down_with_load_by_prometheus(cluster: &Cluster, report: &Report) -> Result<()> {
    let prometheus = cluster.prometheus.as_ref().context("this binary starts a Prometheus")?;
    let world = World::create(&cluster.plane, "prometheus").await?;
    let inference = Inference::new("prometheus", 2).not_scraped_directly();
    tokio::select! { // either side may be dropped: one is a loop, the other ends the scenario
        result = prometheus.follow(&world) => result?,
        result = textbook::up_and_down(&world, &inference, report) => result?,
    }
    world.remove().await
}

fn main() -> ExitCode {
    suite::main(vec![scenario!(two_metrics_scale_up_and_down_with_load_by_prometheus)], async || {
        let plane = ControlPlane::start(&Settings::default()).await?;
        let prometheus = Prometheus::start(&plane).await?;
        let settings = adapter::Settings { prometheus: Some(prometheus.url.clone()), keda: None };
        let adapter = Adapter::start(&plane, &settings).await?;
        Ok(Cluster { adapter, prometheus: Some(prometheus), plane })
    })
}
