//! A stand-in for Cluster Autoscaler: it adds nodes to one group while pods wait, and says what it does where the real
//! one does, in the ConfigMap `kube-system/cluster-autoscaler-status` (the YAML of its 1.30 and newer).

use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{ControlPlane, World, workload::Machine};

/// The label by which a node says to which group it belongs.
const GROUP: &str = "cluster-autoscaler.kubernetes.io/nodegroup";
const NAME: &str = "cluster-autoscaler-status";
/// Between two looks; the real one takes 10 s.
const SCAN: Duration = Duration::from_millis(500);
/// It speaks this often even if there is nothing new.
const SPEAK: Duration = Duration::from_secs(5);
/// How long the provider needs for a machine.
const PROVISION: Duration = Duration::from_secs(3);

/// The stand-in.
#[derive(Debug)]
pub struct NodeAutoscaler<'a> {
    maps: Api<ConfigMap>,
    world: &'a World<'a>,
    machine: Machine,
    /// Most nodes of the group.
    max: usize,
    /// Machines that the provider has.
    stock: usize,
    /// Whether it goes on expecting a machine that the provider does not have, instead of saying so.
    hopes: bool,
}

// === impl NodeAutoscaler ===

impl<'a> NodeAutoscaler<'a> {
    /// One group, named like the world, of at most `max` such machines, of which the provider has `stock`. It begins
    /// with one node.
    pub async fn begin(
        plane: &ControlPlane,
        world: &'a World<'a>,
        machine: Machine,
        max: usize,
        stock: usize,
    ) -> Result<Self> {
        let maps = Api::namespaced(plane.client.clone(), "kube-system");
        let machine = machine.label(GROUP, world.namespace());
        let autoscaler = Self { maps, world, machine, max, stock, hopes: false };
        world.add_machine(&autoscaler.machine).await?;
        autoscaler.say(1, 1, None).await?;
        Ok(autoscaler)
    }

    /// The same, but it never hears that a machine will not come.
    #[must_use]
    pub fn hoping(mut self) -> Self {
        self.hopes = true;
        self
    }

    /// Adds nodes while pods wait for one; never ends by itself.
    pub async fn run(&self) -> Result<()> {
        let (mut ready, mut failed, mut hoped) = (1, false, 0);
        let mut said = Instant::now();
        loop {
            sleep(SCAN).await;
            let waiting = self.world.trajectory.pods().unplaced > 0;
            if waiting && ready < self.max && ready < self.stock {
                self.say(ready + 1, ready, None).await?;
                sleep(PROVISION).await;
                self.world.add_machine(&self.machine).await?;
                ready += 1;
            } else if waiting && ready < self.max && self.hopes {
                hoped = 1;
            } else if waiting && ready < self.max && !failed {
                // Asked for a machine that the provider does not have: the group is in back-off from now on.
                failed = true;
            } else if said.elapsed() < SPEAK {
                continue;
            }
            self.say(ready + hoped, ready, failed.then_some("OUT_OF_RESOURCES")).await?;
            said = Instant::now();
        }
    }

    /// Takes what it said away.
    pub async fn end(self) -> Result<()> {
        self.maps.delete(NAME, &DeleteParams::default()).await?;
        Ok(())
    }

    #[expect(clippy::disallowed_methods, reason = "the time at which this process speaks")]
    async fn say(&self, target: usize, ready: usize, refusal: Option<&str>) -> Result<()> {
        let status = self.status(target, ready, refusal);
        let updated = jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M:%S.%f %z UTC").to_string();
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": NAME, "annotations": {"cluster-autoscaler.kubernetes.io/last-updated": updated}},
            "data": {"status": serde_saphyr::to_string(&status)?},
        });
        self.maps.patch(NAME, &PatchParams::apply("cluster-autoscaler"), &Patch::Apply(&map)).await?;
        Ok(())
    }

    fn status(&self, target: usize, ready: usize, refusal: Option<&str>) -> Value {
        let counts = json!({"registered": {"total": ready, "ready": ready, "notStarted": 0}});
        let backoff = refusal.map(|code| json!({"errorCode": code, "errorMessage": "the zone has no such machine"}));
        let scale_up = match (&backoff, target > ready) {
            (Some(backoff), _) => json!({"status": "Backoff", "backoffInfo": backoff}),
            (None, true) => json!({"status": "InProgress"}),
            (None, false) => json!({"status": "NoActivity"}),
        };
        json!({
            "autoscalerStatus": "Running",
            "clusterWide": {"health": {"status": "Healthy", "nodeCounts": counts}, "scaleUp": scale_up},
            "nodeGroups": [{
                "name": self.world.namespace(),
                "health": {
                    "status": "Healthy", "nodeCounts": counts,
                    "cloudProviderTarget": target, "minSize": 1, "maxSize": self.max,
                },
                "scaleUp": scale_up,
            }],
        })
    }
}
