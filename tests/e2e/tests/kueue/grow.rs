//! A load for twenty replicas, and a queue: under the real HPA the workload grows to what its queue has quota for, so that
//! Kueue never once has to let a pod wait.

use anyhow::Result;
use k8s_openapi::api::core::v1::Event;
use kube::{Api as Typed, api::ListParams};
use plimsoll_e2e::{
    World,
    overload::Overload,
    suite::{Cluster, Report},
};
use serde_json::{Value, json};

use crate::api::Api;

const NAME: &str = "queued";
const GPU: &str = "nvidia.com/gpu";

pub(crate) async fn a_workload_grows_to_the_quota_of_its_queue_and_no_pod_waits_for_it(
    cluster: &Cluster,
    report: &Report,
) -> Result<()> {
    let world = World::create(&cluster.plane, NAME).await?;
    world.add_node(8).await?;
    let api = Api::new(cluster.plane.client.clone());
    let kueue = |kind: &str, name: &str, spec: &Value| json!({"apiVersion": "kueue.x-k8s.io/v1beta2", "kind": kind, "metadata": {"name": name}, "spec": spec});
    api.apply(&kueue("ResourceFlavor", NAME, &json!({}))).await?;
    let own = |quota: &Value| kueue("ClusterQueue", NAME, &queue(quota));
    api.apply(&own(&json!({"nominalQuota": "4"}))).await?;
    let mut local = kueue("LocalQueue", "team", &json!({"clusterQueue": NAME}));
    local["metadata"]["namespace"] = json!(NAME);
    api.apply(&local).await?;
    let overload = Overload::begin(cluster, report, world, |it| it.queued("team")).await?;
    overload.fills(4, "quota", "8 GPUs, of which its queue has 4").await?;
    let lift = overload.lift("1 more of nvidia.com/gpu in flavor").await?;
    api.apply(&own(&json!({"nominalQuota": lift["edits"][0]["nominal"]}))).await?;
    overload.fills(5, "quota", "its queue has 5, which was said to lift the limit").await?;
    let other = |quota: &Value| kueue("ClusterQueue", "other", &queue(quota));
    api.apply(&other(&json!({"nominalQuota": "5", "lendingLimit": "1"}))).await?;
    overload.fills(6, "quota", "another queue of the cohort lends it one").await?;
    api.apply(&other(&json!({"nominalQuota": "5"}))).await?;
    overload.fills(8, "gpu", "the other queue lends it all of its 5").await?;
    let events: Typed<Event> = Typed::namespaced(cluster.plane.client.clone(), NAME);
    let waited = events.list(&ListParams::default().fields("reason=Pending")).await?;
    let waited: Vec<_> = waited.into_iter().filter_map(|event| event.message).collect();
    overload.world.ensure(waited.is_empty(), &format!("pods waited for quota: {waited:?}")).await?;
    overload.end().await
}

fn queue(quota: &Value) -> Value {
    let mut gpus = json!({"name": GPU});
    for (key, value) in quota.as_object().into_iter().flatten() {
        gpus[key] = value.clone();
    }
    let resources = json!([{"name": "cpu", "nominalQuota": "1000"}, {"name": "memory", "nominalQuota": "10Ti"}, gpus]);
    json!({
        "cohortName": "both", "namespaceSelector": {},
        "resourceGroups": [
            {"coveredResources": ["cpu", "memory", GPU], "flavors": [{"name": NAME, "resources": resources}]},
        ],
    })
}
