//! One scenario's part of the cluster: a namespace, nodes that only its pods go to, a workload, and its load.
//!
//! Several worlds share one control plane without meeting: pods select their world's nodes by label.

use std::{
    sync::atomic::{AtomicU8, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{
    apps::v1::Deployment,
    autoscaling::v2::{HorizontalPodAutoscaler, HorizontalPodAutoscalerCondition},
    core::v1::{Event, Namespace, Node, Pod, ResourceQuota, ServiceAccount},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    ControlPlane, Trajectory,
    standin::{StandIn, WORLD},
    trajectory::Count,
    wait,
    workload::{self, Autoscaler, Inference, Machine, WORKLOAD},
};

mod devices;

pub use devices::Slice;

/// Where every world's DCGM exporters are, as NVIDIA's operator installs them.
const EXPORTERS: &str = "gpu-operator";
/// A step of the cluster on a loaded machine: making a pod Ready, noticing a node.
pub const SOON: Duration = Duration::from_secs(60);

/// A scenario's part of the cluster.
#[derive(Debug)]
pub struct World<'a> {
    pub(crate) plane: &'a ControlPlane,
    name: String,
    /// Answers at the pods' addresses; the load is set here.
    pub standin: StandIn,
    /// Everything that has happened.
    pub trajectory: Trajectory,
}

/// Nodes of all worlds have addresses of one block.
static NODES: AtomicU8 = AtomicU8::new(1);

impl<'a> World<'a> {
    /// Makes the namespace `name` and waits until pods can be created in it.
    pub async fn create(plane: &'a ControlPlane, name: &str) -> Result<Self> {
        ensure_namespace(&plane.client, EXPORTERS).await?;
        ensure_namespace(&plane.client, name).await?;
        Ok(Self {
            plane,
            name: name.to_owned(),
            standin: StandIn::start(plane.client.clone(), name),
            trajectory: Trajectory::record(&plane.client, name),
        })
    }

    /// Its namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.name
    }

    fn client(&self) -> Client {
        self.plane.client.clone()
    }

    fn hpas(&self) -> Api<HorizontalPodAutoscaler> {
        Api::namespaced(self.client(), &self.name)
    }

    /// Adds a node with GPUs and its DCGM exporter; returns its name once it is Ready.
    pub async fn add_node(&self, gpus: u32) -> Result<String> {
        self.add_machine(&Machine::gpus(gpus)).await
    }

    /// Adds a node, with a DCGM exporter if it offers whole GPUs, and with a slice if a driver publishes them; returns
    /// its name once it is Ready.
    pub async fn add_machine(&self, machine: &Machine) -> Result<String> {
        let index = NODES.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{index}", self.name);
        let node = machine.node(&name, &self.name, self.plane.addresses.node(index))?;
        create(&Api::all(self.client()), &node).await?;
        self.wait_node(&name, "True").await?;
        if machine.whole_gpus() > 0 {
            let exporters = Api::namespaced(self.client(), EXPORTERS);
            create(&exporters, &workload::exporter(&name, &self.name, machine.whole_gpus())?).await?;
        }
        if machine.published_gpus() > 0 {
            self.publish(Slice { node: &name, index: 0, of: 1, gpus: machine.published_gpus(), sick: 0 }).await?;
        }
        Ok(name)
    }

    /// Lets somebody else's pod hold GPUs of a node.
    pub async fn occupy(&self, pod: &str, node: &str, gpus: u32) -> Result<()> {
        create::<Pod>(&Api::namespaced(self.client(), &self.name), &workload::squatter(pod, node, gpus)?).await
    }

    /// Ends a pod of [`Self::occupy`].
    pub async fn release(&self, pod: &str) -> Result<()> {
        let pods: Api<Pod> = Api::namespaced(self.client(), &self.name);
        pods.delete(pod, &DeleteParams::default().grace_period(0)).await?;
        Ok(())
    }

    /// Sets the namespace's ResourceQuota, and waits until it is in force.
    pub async fn limit(&self, hard: &Value) -> Result<()> {
        let quotas: Api<ResourceQuota> = Api::namespaced(self.client(), &self.name);
        let quota =
            json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "limit"}, "spec": {"hard": hard}});
        quotas.patch("limit", &PatchParams::apply("e2e"), &Patch::Apply(&quota)).await?;
        wait::until("the ResourceQuota to be in force", SOON, async || {
            let status = quotas.get("limit").await?.status.unwrap_or_default();
            let in_force = serde_json::to_value(&status.hard)?;
            Ok(if in_force == *hard && status.used.is_some() { Ok(()) } else { Err(in_force) })
        })
        .await
    }

    /// What controllers were refused when they made pods.
    pub async fn refused_creations(&self) -> Result<Vec<String>> {
        let events: Api<Event> = Api::namespaced(self.client(), &self.name);
        let refused = events.list(&ListParams::default().fields("reason=FailedCreate")).await?;
        Ok(refused.into_iter().filter_map(|event| event.message).collect())
    }

    /// Announces another number of devices on a node, as a device plugin does through the kubelet.
    pub async fn announce(&self, node: &str, resource: &str, count: u32) -> Result<()> {
        let amounts = json!({resource: count.to_string()});
        self.set_status(node, &json!({"capacity": amounts, "allocatable": amounts})).await
    }

    /// Announces how many of a node's devices are healthy: none while the plugin restarts.
    pub async fn announce_healthy(&self, node: &str, resource: &str, count: u32) -> Result<()> {
        self.set_status(node, &json!({"allocatable": {resource: count.to_string()}})).await
    }

    async fn set_status(&self, node: &str, status: &Value) -> Result<()> {
        let nodes: Api<Node> = Api::all(self.client());
        let patch = json!({"status": status});
        nodes.patch_status(node, &PatchParams::default(), &Patch::Merge(&patch)).await?;
        Ok(())
    }

    /// Adds several.
    pub async fn add_nodes(&self, count: u32, gpus: u32) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for _ in 0..count {
            names.push(self.add_node(gpus).await?);
        }
        Ok(names)
    }

    /// The names of its nodes.
    pub async fn nodes(&self) -> Result<Vec<String>> {
        let selector = ListParams::default().labels(&format!("{WORLD}={}", self.name));
        let nodes: Api<Node> = Api::all(self.client());
        Ok(nodes.list(&selector).await?.iter().map(ResourceExt::name_any).collect())
    }

    /// Waits until the node's Ready condition is `status`.
    pub async fn wait_node(&self, name: &str, status: &str) -> Result<()> {
        let nodes: Api<Node> = Api::all(self.client());
        wait::until(&format!("node {name} to be Ready={status}"), SOON, async || {
            let node = nodes.get(name).await?;
            let conditions = node.status.and_then(|status| status.conditions).unwrap_or_default();
            let ready = conditions.into_iter().find(|condition| condition.type_ == "Ready");
            let seen = ready.map_or_else(|| "absent".to_owned(), |ready| ready.status);
            Ok(if seen == status { Ok(()) } else { Err(seen) })
        })
        .await
    }

    /// Marks a node as unschedulable.
    pub async fn cordon(&self, node: &str) -> Result<()> {
        merge::<Node>(&Api::all(self.client()), node, &json!({"spec": {"unschedulable": true}})).await
    }

    /// Its kubelet stops: nobody renews the lease, and kube-controller-manager finds it NotReady in the end.
    pub async fn kill_node(&self, node: &str) -> Result<()> {
        let (key, _) = workload::managed();
        merge::<Node>(&Api::all(self.client()), node, &json!({"metadata": {"labels": {key: null}}})).await
    }

    /// Creates the Deployment and waits until `ready` of its pods are Ready and share the load.
    pub async fn deploy(&self, inference: &Inference, ready: usize) -> Result<()> {
        create::<Deployment>(&Api::namespaced(self.client(), &self.name), &inference.deployment()?).await?;
        self.wait_pods(&format!("{ready} Ready pods"), |pods| pods.ready == ready).await?;
        self.wait_settled(ready).await
    }

    /// Waits until `replicas` replicas share the whole load.
    pub async fn wait_settled(&self, replicas: usize) -> Result<()> {
        wait::until(&format!("{}: {replicas} replicas to share the load", self.name), SOON, async || {
            let settled = self.standin.settled();
            Ok(if settled == Some(replicas) { Ok(()) } else { Err(settled) })
        })
        .await
    }

    /// Waits until the pods are as `holds` wants them.
    pub async fn wait_pods(&self, what: &str, holds: impl Fn(Count) -> bool) -> Result<()> {
        wait::until(what, SOON, async || {
            let pods = self.trajectory.pods();
            Ok(if holds(pods) { Ok(()) } else { Err(pods) })
        })
        .await
    }

    /// Waits until `spec.replicas` is `replicas`.
    pub async fn wait_replicas(&self, replicas: i32, within: Duration) -> Result<()> {
        let what = format!("{}: {replicas} replicas", self.name);
        let reached = wait::until(&what, within, async || {
            let now = self.trajectory.replicas();
            Ok(if now == replicas { Ok(()) } else { Err(now) })
        });
        match reached.await {
            Ok(()) => Ok(()),
            Err(error) => Err(error.context(self.explain().await)),
        }
    }

    /// Creates the HPA.
    pub async fn autoscale(&self, autoscaler: &Autoscaler) -> Result<()> {
        create(&self.hpas(), &autoscaler.hpa()?).await
    }

    /// Sets the annotation `plimsoll.dev/mode` of the HPA.
    pub async fn set_mode(&self, mode: &str) -> Result<()> {
        let patch = json!({"metadata": {"annotations": {"plimsoll.dev/mode": mode}}});
        merge(&self.hpas(), WORKLOAD, &patch).await
    }

    /// The HPA as it is now.
    pub async fn hpa(&self) -> Result<HorizontalPodAutoscaler> {
        self.hpas().get(WORKLOAD).await.context("reading the HPA")
    }

    /// One of the HPA's conditions.
    pub async fn condition(&self, kind: &str) -> Result<Option<HorizontalPodAutoscalerCondition>> {
        let conditions = self.hpa().await?.status.and_then(|status| status.conditions).unwrap_or_default();
        Ok(conditions.into_iter().find(|condition| condition.type_ == kind))
    }

    /// Waits until the HPA has read all of its metrics at least once.
    pub async fn wait_metrics(&self, within: Duration) -> Result<()> {
        wait::until(&format!("{}: the HPA to read its metrics", self.name), within, async || {
            let condition = self.condition("ScalingActive").await?;
            let valid =
                condition.as_ref().is_some_and(|condition| condition.reason.as_deref() == Some("ValidMetricFound"));
            Ok(if valid { Ok(()) } else { Err(condition) })
        })
        .await
    }

    /// An External metric of this namespace, as soon as it is served without an error.
    pub async fn external(&self, metric: &str) -> Result<Value> {
        self.served(&format!("/apis/external.metrics.k8s.io/v1beta1/namespaces/{}/{metric}", self.name)).await
    }

    /// A metric of each of the workload's pods.
    pub async fn of_pods(&self, metric: &str) -> Result<Value> {
        let pods = format!("/apis/custom.metrics.k8s.io/v1beta2/namespaces/{}/pods/*/{metric}", self.name);
        self.served(&format!("{pods}?labelSelector=app%3D{WORKLOAD}")).await
    }

    async fn served(&self, path: &str) -> Result<Value> {
        wait::until(&format!("{path} to be served"), SOON, async || {
            let request = http::Request::get(path).body(Vec::new())?;
            let list: Value = self.plane.client.request(request).await?;
            Ok::<Result<Value, ()>, _>(Ok(list))
        })
        .await
    }

    /// What a person would look at: pods, path and the HPA's conditions.
    pub async fn explain(&self) -> String {
        let hpa = match self.hpa().await {
            Ok(hpa) => serde_json::to_string_pretty(&hpa.status).unwrap_or_default(),
            Err(error) => format!("{error:#}"),
        };
        format!(
            "world {}: load {:?}, pods {:?}, scrapes {:?}, replicas {}, HPA status {hpa}",
            self.name,
            self.standin.load(),
            self.trajectory.pods(),
            self.standin.scrapes(),
            self.trajectory.path(self.trajectory.start()),
        )
    }

    /// Removes the namespace's contents and the nodes, so that a later world has the machine to itself.
    pub async fn remove(self) -> Result<()> {
        let nodes: Api<Node> = Api::all(self.client());
        let pods: Api<Pod> = Api::namespaced(self.client(), EXPORTERS);
        let selector = ListParams::default().labels(&format!("{WORLD}={}", self.name));
        let namespaces: Api<Namespace> = Api::all(self.client());
        namespaces.delete(&self.name, &DeleteParams::default()).await?;
        self.wait_pods("all pods to be gone", |pods| pods == Count::default()).await?;
        pods.delete_collection(&DeleteParams::default().grace_period(0), &selector).await?;
        nodes.delete_collection(&DeleteParams::default(), &selector).await?;
        Ok(())
    }
}

/// Makes a namespace unless it is there, and waits for its `default` ServiceAccount, which pods need.
pub async fn ensure_namespace(client: &Client, name: &str) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": name}}))?;
    match namespaces.create(&PostParams::default(), &namespace).await {
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        result => drop(result.with_context(|| format!("creating the namespace {name}"))?),
    }
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), name);
    wait::until(&format!("the ServiceAccount {name}/default"), SOON, async || {
        Ok(accounts.get_opt("default").await?.map(drop).ok_or("absent"))
    })
    .await
}

async fn create<K>(api: &Api<K>, object: &K) -> Result<()>
where
    K: Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + std::fmt::Debug,
{
    let created = api.create(&PostParams::default(), object).await;
    created.with_context(|| format!("creating {} {:?}", K::kind(&()), object.meta().name))?;
    Ok(())
}

async fn merge<K>(api: &Api<K>, name: &str, patch: &Value) -> Result<()>
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + std::fmt::Debug,
{
    let patched = api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
    patched.with_context(|| format!("changing {} {name}", K::kind(&())))?;
    Ok(())
}

impl World<'_> {
    /// Fails with `what` unless `holds`, and says what the world looks like.
    pub async fn ensure(&self, holds: bool, what: &str) -> Result<()> {
        if !holds {
            ensure!(holds, "{what}\n{}", self.explain().await);
        }
        Ok(())
    }
}
