//! A load for twenty replicas in clusters that are narrow in different ways: the workload grows to what its cluster can
//! place and no further, so that the scheduler never once finds no place for a pod.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use plimsoll_e2e::{
    World,
    overload::Overload,
    suite::{Cluster, Report},
    wait,
    workload::{Inference, Machine, WORKLOAD},
    world::Slice,
};
use serde_json::{Value, json};

/// Longer than the HPA looks back before it shrinks (10 s), shorter than the grace for plugins (30 s).
const STABILIZATION: Duration = Duration::from_secs(16);
const ZONE: &str = "topology.kubernetes.io/zone";

pub(crate) async fn free_gpus_in_pieces_are_no_room(cluster: &Cluster, report: &Report) -> Result<()> {
    let world = World::create(&cluster.plane, "pieces").await?;
    for (index, node) in world.add_nodes(3, 8).await?.iter().enumerate() {
        world.occupy(&format!("train-{index}"), node, 5).await?;
    }
    let overload = Overload::begin(cluster, report, world, |it| it.devices("nvidia.com/gpu", 2)).await?;
    overload.fills(3, "fragmentation", "9 GPUs are free on 3 nodes, a replica takes 2").await?;
    overload.world.release("train-0").await?;
    overload.fills(6, "fragmentation", "5 more are free on one of them").await?;
    let lift = overload.lift("add one node like").await?;
    overload.world.add_node(8).await?;
    let gain = lift["gain"].as_i64().context("a gain")?;
    overload.fills(6 + i32::try_from(gain)?, "fragmentation", "the node that was said to lift the limit").await?;
    overload.end().await
}

pub(crate) async fn slices_of_a_gpu_are_counted_by_their_profile(cluster: &Cluster, report: &Report) -> Result<()> {
    let world = World::create(&cluster.plane, "slices").await?;
    let (small, large) = ("nvidia.com/mig-1g.10gb", "nvidia.com/mig-3g.40gb");
    let node = world.add_machine(&Machine::default().offers(small, 4).offers(large, 1)).await?;
    let overload = Overload::begin(cluster, report, world, |it| it.devices(small, 1)).await?;
    overload.fills(4, "gpu", "4 small slices and a large one").await?;
    overload.world.announce(&node, large, 0).await?;
    overload.world.announce(&node, small, 7).await?;
    overload.fills(7, "gpu", "partitioned anew into 7 small ones").await?;
    overload.end().await
}

pub(crate) async fn shares_of_a_gpu_are_room_and_a_plugin_may_restart(
    cluster: &Cluster,
    report: &Report,
) -> Result<()> {
    let world = World::create(&cluster.plane, "shares").await?;
    let shared = "nvidia.com/gpu.shared";
    let machine = Machine::default().offers(shared, 6).label("nvidia.com/gpu.replicas", "3");
    let node = world.add_machine(&machine.label("nvidia.com/gpu.sharing-strategy", "time-slicing")).await?;
    let overload = Overload::begin(cluster, report, world, |it| it.devices(shared, 1)).await?;
    overload.fills(6, "gpu", "2 GPUs of 3 shares each").await?;
    overload.world.announce_healthy(&node, shared, 0).await?;
    overload.stays(6, "the plugin is gone").await?;
    overload.world.announce_healthy(&node, shared, 6).await?;
    overload.stays(6, "the plugin is back").await?;
    overload.nobody_waited("the plugin restarts").await?;
    overload.end().await
}

pub(crate) async fn no_replica_is_taken_back_while_a_plugin_restarts(cluster: &Cluster, report: &Report) -> Result<()> {
    let (name, gpu) = ("restart", "nvidia.com/gpu");
    let world = World::create(&cluster.plane, name).await?;
    let node = world.add_node(4).await?;
    let overload = Overload::begin(cluster, report, world, |it| it).await?;
    // Else a surplus would be held for a grace of its own.
    cluster.plane.kubectl(&["annotate", "hpa", WORKLOAD, "-n", name, "plimsoll.dev/shed=now"]).await?;
    overload.fills(4, "gpu", "4 GPUs").await?;
    let pods =
        cluster.plane.kubectl(&["get", "pods", "-n", name, "-l", &format!("app={WORKLOAD}"), "-o", "name"]).await?;
    let pod = pods.lines().next().and_then(|line| line.strip_prefix("pod/")).context("no pod")?;
    overload.world.announce_healthy(&node, gpu, 0).await?;
    overload.world.release(pod).await?;
    overload.world.wait_pods("its successor to wait for the plugin", |pods| pods.unplaced == 1).await?;
    let decision = cluster.adapter.decision(name).await?;
    let steps = decision["steps"].as_array().context("a decision has steps")?;
    let held = steps.iter().find(|step| step["name"] == "held");
    overload.world.ensure(held.is_some_and(|it| it["value"] == 1), &format!("not held: {decision}")).await?;
    let stayed = wait::stays("4 replicas", STABILIZATION, || match overload.world.trajectory.replicas() {
        4 => Ok(()),
        other => Err(other),
    });
    stayed.await?;
    overload.world.announce_healthy(&node, gpu, 4).await?;
    overload.world.wait_pods("all to run again", |pods| pods.ready == 4 && pods.pending == 0).await?;
    report.line("a pod that ended while the plugin restarted has its successor, and 4 replicas were 4 all the time");
    overload.end().await
}

pub(crate) async fn gpus_that_have_yet_to_register_are_told_and_not_promised(
    cluster: &Cluster,
    report: &Report,
) -> Result<()> {
    let world = World::create(&cluster.plane, "register").await?;
    world.add_node(2).await?;
    let node = world.add_machine(&Machine::default().label("nvidia.com/gpu.count", "3")).await?;
    let overload = Overload::begin(cluster, report, world, |it| it).await?;
    overload.fills(2, "gpu", "2 GPUs, and a node whose 3 are still to register").await?;
    let decision = cluster.adapter.decision("register").await?;
    let steps = decision["steps"].as_array().context("a decision has steps")?;
    let arriving = steps.iter().find(|step| step["name"] == "arriving");
    overload.world.ensure(arriving.is_some_and(|it| it["value"] == 3), &format!("not told: {decision}")).await?;
    overload.world.announce(&node, "nvidia.com/gpu", 3).await?;
    overload.fills(5, "gpu", "they have registered").await?;
    overload.end().await
}

pub(crate) async fn zones_that_must_stay_even_hold_each_other_back(cluster: &Cluster, report: &Report) -> Result<()> {
    let world = World::create(&cluster.plane, "zones").await?;
    world.add_machine(&Machine::gpus(8).label(ZONE, "a")).await?;
    world.add_machine(&Machine::gpus(2).label(ZONE, "b")).await?;
    let even = json!([{
        "topologyKey": ZONE, "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": Inference::selector(),
    }]);
    let overload = Overload::begin(cluster, report, world, |it| it.placed("topologySpreadConstraints", even)).await?;
    overload.fills(5, "topologySpread", "8 GPUs in one zone, 2 in the other").await?;
    overload.world.add_machine(&Machine::gpus(2).label(ZONE, "b")).await?;
    overload.fills(9, "topologySpread", "2 more in the other").await?;
    overload.end().await
}

pub(crate) async fn a_quota_is_room_that_nobody_is_refused(cluster: &Cluster, report: &Report) -> Result<()> {
    let world = World::create(&cluster.plane, "limited").await?;
    world.add_node(8).await?;
    world.limit(&json!({"requests.nvidia.com/gpu": "4", "pods": "100"})).await?;
    let overload = Overload::begin(cluster, report, world, |it| it).await?;
    overload.fills(4, "quota", "8 GPUs, of which the namespace may have 4").await?;
    let lift = overload.lift("allow 1 more of requests.nvidia.com/gpu").await?;
    let hard = &lift["edits"][0]["hard"];
    overload.world.limit(&json!({"requests.nvidia.com/gpu": hard, "pods": "100"})).await?;
    overload.fills(5, "quota", "what was said to lift the limit").await?;
    overload.world.limit(&json!({"requests.nvidia.com/gpu": "6", "pods": "100"})).await?;
    overload.fills(6, "quota", "it may have 6").await?;
    let refused = overload.world.refused_creations().await?;
    overload.world.ensure(refused.is_empty(), &format!("pods were refused: {refused:?}")).await?;
    overload.end().await
}

pub(crate) async fn room_that_is_booked_is_kept_for_its_pods(cluster: &Cluster, report: &Report) -> Result<()> {
    let world = World::create(&cluster.plane, "booked").await?;
    world.add_node(8).await?;
    world.book("trainer", 3).await?;
    let overload = Overload::begin(cluster, report, world, |it| it).await?;
    overload.fills(5, "gpu", "8 GPUs, of which a ProvisioningRequest has booked 3").await?;
    let decision = cluster.adapter.decision(overload.world.namespace()).await?;
    let told = decision["steps"].as_array().into_iter().flatten().any(|step| step["name"] == "booked");
    overload.world.ensure(told, &format!("the booking is not told: {decision}")).await?;
    overload.world.let_booking_expire("trainer").await?;
    overload.fills(8, "gpu", "the booking has expired").await?;
    overload.end().await
}

pub(crate) async fn devices_of_a_driver_are_room_where_nothing_is_allocatable(
    cluster: &Cluster,
    report: &Report,
) -> Result<()> {
    let world = World::create(&cluster.plane, "devices").await?;
    world.add_gpu_class().await?;
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(world.add_machine(&Machine::default()).await?);
    }
    let [whole, sick, half] = nodes.as_slice() else { bail!("three nodes are three") };
    let slice = |node| Slice { node, index: 0, of: 1, gpus: 4, sick: 0 };
    world.publish(slice(whole)).await?;
    world.publish(Slice { sick: 1, ..slice(sick) }).await?;
    world.publish(Slice { of: 2, gpus: 2, ..slice(half) }).await?;
    world.claim_gpu("train").await?;
    let overload = Overload::begin(cluster, report, world, |it| it).await?;
    overload.fills(6, "gpu", "7 GPUs that are well in complete pools, of which a claim has one").await?;
    overload.world.publish(Slice { index: 1, of: 2, gpus: 1, ..slice(half) }).await?;
    overload.fills(9, "gpu", "the pool of the third node is complete: 3 more").await?;
    overload.world.remove_devices().await?;
    overload.end().await
}

pub(crate) async fn replicas_that_keep_apart_have_a_node_each(cluster: &Cluster, report: &Report) -> Result<()> {
    let world = World::create(&cluster.plane, "apart").await?;
    world.add_nodes(3, 8).await?;
    let overload = Overload::begin(cluster, report, world, |it| it.placed("affinity", apart())).await?;
    overload.fills(3, "affinity", "24 GPUs on 3 nodes, a node each").await?;
    overload.world.add_node(1).await?;
    overload.fills(4, "affinity", "a fourth node").await?;
    overload.end().await
}

fn apart() -> Value {
    let term = json!({"topologyKey": "kubernetes.io/hostname", "labelSelector": Inference::selector()});
    json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}})
}
