//! LeaderWorkerSets without their operator: the definition of the kind, and a stand-in that makes of each set the pods
//! that the operator's StatefulSets would (sigs.k8s.io/lws v0.7.0, `pkg/controllers`): for each replica a leader and, as
//! soon as that exists, its workers, with the operator's names and labels; the highest numbers go first.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Result;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    ControlPlane, World,
    workload::{Inference, WORKLOAD},
};

/// Group and version of the kind.
pub const API_VERSION: &str = "leaderworkerset.x-k8s.io/v1";
/// The kind.
pub const KIND: &str = "LeaderWorkerSet";
const NAME: &str = "leaderworkerset.sigs.k8s.io/name";
const GROUP_INDEX: &str = "leaderworkerset.sigs.k8s.io/group-index";
/// Label that tells the pods of a group apart; the leader is 0.
pub const WORKER_INDEX: &str = "leaderworkerset.sigs.k8s.io/worker-index";
/// Between two looks.
const LOOK: Duration = Duration::from_millis(200);

/// A set named [`WORKLOAD`].
#[derive(Clone, Debug)]
pub struct Groups {
    leader: Inference,
    worker: Inference,
    size: u32,
}

/// The stand-in for the operator, for one world.
#[derive(Debug)]
pub struct Operator {
    sets: Api<DynamicObject>,
    pods: Api<Pod>,
}

// === impl Groups ===

impl Groups {
    /// Groups of `size` pods.
    #[must_use]
    pub const fn new(leader: Inference, worker: Inference, size: u32) -> Self {
        Self { leader, worker, size }
    }

    fn object(&self) -> Value {
        let mut worker = self.worker.template();
        // Requests go to the leader, which is asked for measurements, too.
        worker["metadata"]["annotations"] = json!({});
        json!({
            "apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": WORKLOAD},
            "spec": {"replicas": 1, "leaderWorkerTemplate": {
                "size": self.size, "leaderTemplate": self.leader.template(), "workerTemplate": worker,
            }},
        })
    }
}

// === impl Operator ===

impl Operator {
    /// Defines the kind where it is not yet.
    pub async fn define(plane: &ControlPlane) -> Result<()> {
        let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
        let scale = json!({
            "specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.hpaPodSelector",
        });
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {
                "name": "leaderworkersets.leaderworkerset.x-k8s.io",
                // The API server wants it for groups of the project; the real one carries it, too.
                "annotations": {"api-approved.kubernetes.io": "https://github.com/kubernetes-sigs/lws"},
            },
            "spec": {
                "group": "leaderworkerset.x-k8s.io", "scope": "Namespaced",
                "names": {
                    "kind": KIND, "listKind": "LeaderWorkerSetList", "plural": "leaderworkersets",
                    "singular": "leaderworkerset", "shortNames": ["lws"],
                },
                "versions": [{
                    "name": "v1", "served": true, "storage": true, "schema": schema,
                    "subresources": {"status": {}, "scale": scale},
                }],
            },
        });
        let file = plane.path("leaderworkersets.json");
        std::fs::write(&file, definition.to_string())?;
        let file = file.to_string_lossy().into_owned();
        plane.kubectl(&["apply", "--server-side", "-f", &file]).await?;
        plane.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "-f", &file]).await?;
        Ok(())
    }

    /// Makes a set of one replica.
    pub async fn begin(plane: &ControlPlane, world: &World<'_>, groups: &Groups) -> Result<Self> {
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("leaderworkerset.x-k8s.io", "v1", KIND));
        let sets = Api::namespaced_with(plane.client.clone(), world.namespace(), &kind);
        let set: DynamicObject = serde_json::from_value(groups.object())?;
        sets.create(&PostParams::default(), &set).await?;
        Ok(Self { sets, pods: Api::namespaced(plane.client.clone(), world.namespace()) })
    }

    /// `spec.replicas`.
    pub async fn replicas(&self) -> Result<u32> {
        Ok(count(&self.sets.get(WORKLOAD).await?.data["spec"]["replicas"]))
    }

    /// Makes and ends pods; never ends by itself.
    pub async fn run(&self) -> Result<()> {
        loop {
            self.reconcile().await?;
            sleep(LOOK).await;
        }
    }

    async fn reconcile(&self) -> Result<()> {
        let set = self.sets.get(WORKLOAD).await?;
        let spec = &set.data["spec"];
        let (replicas, template) = (count(&spec["replicas"]), &spec["leaderWorkerTemplate"]);
        let pods = self.pods.list(&ListParams::default().labels(&format!("{NAME}={WORKLOAD}"))).await?;
        let pods: BTreeMap<_, _> = pods.into_iter().map(|pod| (pod.name_any(), pod)).collect();
        for (name, pod) in &pods {
            let group = pod.labels().get(GROUP_INDEX).and_then(|index| index.parse::<u32>().ok());
            if group.is_none_or(|group| group >= replicas) && pod.metadata.deletion_timestamp.is_none() {
                self.pods.delete(name, &DeleteParams::default()).await?;
            }
        }
        for group in 0..replicas {
            let leader = name(group, 0);
            if !pods.contains_key(&leader) {
                self.create(&template["leaderTemplate"], group, 0).await?;
                continue;
            }
            for worker in 1..count(&template["size"]) {
                if !pods.contains_key(&name(group, worker)) {
                    self.create(&template["workerTemplate"], group, worker).await?;
                }
            }
        }
        let leaders = pods.values().filter(|pod| pod.labels().get(WORKER_INDEX).is_some_and(|index| index == "0"));
        let status = json!({"status": {
            "replicas": leaders.count(), "hpaPodSelector": format!("{NAME}={WORKLOAD},{WORKER_INDEX}=0"),
        }});
        self.sets.patch_status(WORKLOAD, &PatchParams::default(), &Patch::Merge(&status)).await?;
        Ok(())
    }

    async fn create(&self, template: &Value, group: u32, worker: u32) -> Result<()> {
        let mut pod = template.clone();
        pod["metadata"]["name"] = json!(name(group, worker));
        for (label, value) in [(NAME, WORKLOAD), (GROUP_INDEX, &group.to_string()), (WORKER_INDEX, &worker.to_string())]
        {
            pod["metadata"]["labels"][label] = json!(value);
        }
        match self.pods.create(&PostParams::default(), &serde_json::from_value(pod)?).await {
            // The last look was a moment ago.
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            created => drop(created?),
        }
        Ok(())
    }
}

fn name(group: u32, worker: u32) -> String {
    if worker == 0 { format!("{WORKLOAD}-{group}") } else { format!("{WORKLOAD}-{group}-{worker}") }
}

fn count(value: &Value) -> u32 {
    value.as_u64().and_then(|count| u32::try_from(count).ok()).unwrap_or(1)
}
