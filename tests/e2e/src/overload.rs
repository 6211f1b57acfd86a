//! A load for twenty replicas on one: what a workload then grows to is what its cluster can place.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use crate::{
    World,
    standin::Load,
    suite::{Cluster, Report},
    trajectory::Mark,
    wait,
    workload::{Autoscaler, Inference},
    world::SOON,
};

/// Some HPA periods of 2 s.
const PERIODS: Duration = Duration::from_secs(6);

/// A workload of one replica under the load of twenty.
#[derive(Debug)]
pub struct Overload<'a> {
    /// Where it is.
    pub cluster: &'a Cluster,
    /// Its part of the cluster.
    pub world: World<'a>,
    /// Since when the scheduler knew the first nodes, for it had placed the first replica.
    pub began: Mark,
    /// Where its figures go.
    pub report: &'a Report,
}

// === impl Overload ===

impl<'a> Overload<'a> {
    /// Deploys it, autoscales it, and puts the load on it.
    pub async fn begin(
        cluster: &'a Cluster,
        report: &'a Report,
        world: World<'a>,
        inference: impl FnOnce(Inference) -> Inference,
    ) -> Result<Self> {
        let overload = Self::prepare(cluster, report, world, inference).await?;
        overload.strain(20);
        Ok(overload)
    }

    /// Deploys it and autoscales it.
    pub async fn prepare(
        cluster: &'a Cluster,
        report: &'a Report,
        world: World<'a>,
        inference: impl FnOnce(Inference) -> Inference,
    ) -> Result<Self> {
        world.standin.set_load(Load::for_replicas(1));
        world.deploy(&inference(Inference::new(world.namespace(), 1)), 1).await?;
        // Everything at once, so that what stops it is the room and not a policy.
        let growth = json!({"scaleUp": {"policies": [{"type": "Pods", "value": 20, "periodSeconds": 1}]}});
        world.autoscale(&Autoscaler::queue(1, 50).behavior(growth)).await?;
        world.wait_metrics(SOON).await?;
        let began = world.trajectory.mark();
        Ok(Self { cluster, world, began, report })
    }

    /// Puts the load of so many replicas on it.
    pub fn strain(&self, replicas: u32) {
        self.world.standin.set_load(Load::for_replicas(replicas));
    }

    /// It comes to rest at `replicas` for the reason `factor`, and no pod ever had no place.
    pub async fn fills(&self, replicas: i32, factor: &str, what: &str) -> Result<()> {
        let world = &self.world;
        let began = world.trajectory.mark();
        world.wait_replicas(replicas, SOON).await?;
        let ready = usize::try_from(replicas)?;
        world.wait_pods("every replica to be Ready", |pods| pods.ready == ready && pods.pending == 0).await?;
        self.stays(replicas, what).await?;
        // Pods of others in the cluster unsettle it for moments.
        let expected = format!("{what}: limited by {factor}");
        let told = wait::until(&expected, SOON, async || {
            let decision = self.cluster.adapter.decision(world.namespace()).await?;
            Ok(if decision["limitingFactor"] == factor { Ok(()) } else { Err(decision) })
        });
        if let Err(error) = told.await {
            return Err(error.context(world.explain().await));
        }
        self.report.line(format!("{what}: {}; limited by {factor}", world.trajectory.path(began)));
        self.nobody_waited(what).await
    }

    /// What would lift the limit, by its own trial in the model, once it has been searched for.
    pub async fn lift(&self, change: &str) -> Result<Value> {
        let what = format!("{change:?} to be found to lift the limit");
        let found = wait::until(&what, SOON, async || {
            let lift = self.cluster.adapter.decision(self.world.namespace()).await?["lift"].take();
            let is_it = lift["change"].as_str().is_some_and(|found| found.contains(change));
            Ok(if is_it { Ok(lift) } else { Err(lift) })
        });
        match found.await {
            Ok(lift) => Ok(lift),
            Err(error) => Err(error.context(self.world.explain().await)),
        }
    }

    /// It stays at `replicas` for some periods of the HPA.
    pub async fn stays(&self, replicas: i32, what: &str) -> Result<()> {
        let stayed = wait::stays(what, PERIODS, || match self.world.trajectory.replicas() {
            now if now == replicas => Ok(()),
            other => Err(other),
        });
        match stayed.await {
            Ok(()) => Ok(()),
            Err(error) => Err(error.context(self.world.explain().await)),
        }
    }

    /// No pod ever had no place.
    pub async fn nobody_waited(&self, what: &str) -> Result<()> {
        let without_place = self.world.trajectory.without_place(self.began);
        self.world.ensure(without_place.is_empty(), &format!("{what}: no place for {without_place:?}")).await
    }

    /// Removes it and its part of the cluster.
    pub async fn end(self) -> Result<()> {
        self.world.remove().await
    }
}
