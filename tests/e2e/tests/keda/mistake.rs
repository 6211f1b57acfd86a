//! A trigger with a mistake: KEDA says only that it fails, so the object is told what is wrong.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Event;
use kube::{Api, api::ListParams};
use plimsoll_e2e::{
    World,
    keda::ScaledObject,
    suite::{Cluster, Report},
    wait,
    workload::Inference,
    world::SOON,
};
use serde_json::json;

const NAME: &str = "keda-mistake";

pub(crate) async fn a_mistake_in_the_metadata_is_an_event_on_the_scaled_object(
    cluster: &Cluster,
    report: &Report,
) -> Result<()> {
    let world = World::create(&cluster.plane, NAME).await?;
    world.add_node(2).await?;
    world.deploy(&Inference::new(NAME, 1), 1).await?;
    let metadata = json!({"signal": "queueLength", "treshold": "10"});
    let object = ScaledObject { kind: "external", min: 1, polling: 1, cooldown: 5, metadata };
    object.apply(&cluster.plane, cluster.adapter.scaler_port, NAME).await?;
    let events: Api<Event> = Api::namespaced(cluster.plane.client.clone(), NAME);
    let message = wait::until("an Event on the ScaledObject", SOON, async || {
        let all = events.list(&ListParams::default().fields("involvedObject.kind=ScaledObject")).await?.items;
        let ours = all.iter().find(|event| event.reason.as_deref() == Some("InvalidTrigger"));
        Ok(match ours.and_then(|event| event.message.clone()) {
            Some(message) => Ok(message),
            None => Err(all.into_iter().filter_map(|event| event.reason).collect::<Vec<_>>()),
        })
    })
    .await?;
    ensure!(message.contains("treshold") && message.contains("did you mean \"threshold\"?"), "{message}");
    ensure!(world.trajectory.replicas() == 1, "replicas moved: {}", world.trajectory.replicas());
    report.line(message.lines().next().context("a message")?);
    ScaledObject::remove(&cluster.plane, NAME).await?;
    world.remove().await
}
