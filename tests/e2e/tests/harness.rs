//! The ground that the scenarios stand on, proved without the adapter: pods on simulated nodes run, have addresses
//! of their own and answer there, load is divided among the Ready ones, and `deploy/` is accepted strictly.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use anyhow::Result;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt, api::ListParams};
use plimsoll_e2e::{
    ControlPlane, World,
    manifests::{self, Scope},
    plane::Settings,
    standin::Load,
    workload::Inference,
};

async fn page(pod: &Pod, port: u16) -> Result<String> {
    let address = pod.status.as_ref().and_then(|status| status.pod_ip.clone()).expect("a running pod has an address");
    let client = reqwest::Client::builder().no_proxy().build()?;
    Ok(client.get(format!("http://{address}:{port}/metrics")).send().await?.error_for_status()?.text().await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_on_simulated_nodes_answer_at_their_own_addresses() -> Result<()> {
    let plane = ControlPlane::start(&Settings::default()).await?;
    let world = World::create(&plane, "ground").await?;
    let node = world.add_node(4).await?;
    world.deploy(&Inference::new("ground", 6).ready_after("500ms"), 4).await?;
    assert_eq!(world.trajectory.pods().pending, 2, "four GPUs hold four of six pods");

    world.standin.set_load(Load::for_replicas(6));
    let pods: Api<Pod> = Api::namespaced(plane.client.clone(), "ground");
    let mut addresses = std::collections::BTreeSet::new();
    for pod in
        pods.list(&ListParams::default()).await?.iter().filter(|pod| pod.spec.as_ref().unwrap().node_name.is_some())
    {
        plimsoll_e2e::wait::until("a quarter of the load to arrive", plimsoll_e2e::world::SOON, async || {
            let page = page(pod, 8000).await?;
            Ok(if page.contains("inference_queue_length{model=\"demo\"} 14.875\n") { Ok(()) } else { Err(page) })
        })
        .await?;
        addresses.insert(pod.status.as_ref().unwrap().pod_ip.clone());
    }
    assert_eq!(addresses.len(), 4, "each pod has an address of its own: {addresses:?}");

    let exporters: Api<Pod> = Api::namespaced(plane.client.clone(), "gpu-operator");
    let exporter = &exporters.list(&ListParams::default()).await?.items[0];
    assert!(exporter.name_any().ends_with(&node));
    world.wait_pods("the exporter's address", |pods| pods.ready == 4).await?;
    let gpus = page(exporter, 9400).await?;
    assert_eq!(gpus.matches("DCGM_FI_DEV_GPU_UTIL{").count(), 4, "{gpus}");
    assert_eq!(gpus.matches("} 100\n").count(), 4, "420 per cent over four GPUs saturates each: {gpus}");
    let (pods, exporters) = world.standin.scrapes();
    assert!(pods >= 4 && exporters == 1, "{pods} {exporters}");

    world.standin.kill();
    plimsoll_e2e::wait::until("the ports to close", plimsoll_e2e::world::SOON, async || {
        Ok(if page(exporter, 9400).await.is_err() { Ok(()) } else { Err("still answering") })
    })
    .await?;

    world.kill_node(&node).await?;
    world.wait_node(&node, "Unknown").await?;
    assert!(world.trajectory.lost(world.trajectory.start()).is_empty());

    let serving = plane.pki.cluster.server("plimsoll.plimsoll-system.svc", &["localhost"])?;
    manifests::apply(&plane, Scope::Installation, 9, &serving).await?;
    manifests::apply(&plane, Scope::Everything, 9, &serving).await?;
    let services = plane.kubectl(&["get", "apiservice", "-o", "name"]).await?;
    assert_eq!(services.matches(".metrics.k8s.io").count(), 3, "{services}");
    world.remove().await
}
