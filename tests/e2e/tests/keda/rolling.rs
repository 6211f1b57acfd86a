//! Two replicas behind a headless Service are restarted one after the other.

use std::{net::Ipv4Addr, time::Duration};

use anyhow::{Context, Result, ensure};
use plimsoll_e2e::{
    World,
    keda::ScaledObject,
    manifests::{NAME, NAMESPACE},
    ports,
    process::Ending,
    scaler::Scaler,
    suite::{Cluster, Report},
    wait,
    workload::Inference,
    world::SOON,
};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::{gateway, names::Names, of_gateway, tail};

/// KEDA opens a stream anew 2 s after it ended well.
const BACK: Duration = Duration::from_secs(3);
/// How long a new replica is there before a rollout ends the next, as with `minReadySeconds: 5`: a connection of KEDA's
/// backs off for a second or two from a replica that was gone.
const READY: Duration = Duration::from_secs(5);
/// Activity and specs of each trigger.
const STREAMS: u32 = 6;
static ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2)];

/// Waits until all streams are open, in all; returns how many at each, and how long it took.
async fn wait_streams(scalers: &[&Scaler], within: Duration) -> Result<(Vec<u32>, f64)> {
    let began = Instant::now();
    let open = wait::until("all streams to be open", within, async || {
        let mut open = Vec::new();
        for scaler in scalers {
            open.push(scaler.streams().await?);
        }
        Ok(if open.iter().sum::<u32>() == STREAMS { Ok(open) } else { Err(open) })
    });
    let open = open.await.with_context(tail)?;
    Ok((open, began.elapsed().as_secs_f64()))
}

pub(crate) async fn a_rolling_restart_gives_every_stream_back_and_moves_nothing(
    cluster: &Cluster,
    report: &Report,
) -> Result<()> {
    let plane = &cluster.plane;
    let names = Names::start(&ADDRESSES).await?;
    let [port] = ports::free()?;
    let mut scalers = Vec::new();
    for (index, address) in ADDRESSES.iter().enumerate() {
        let at = (*address, port).into();
        scalers.push(Scaler::start_at(plane, &format!("scaler-{index}"), &gateway()?.url, at, Ending::Term).await?);
    }
    let address = format!("dns://127.0.0.1:{}/{NAME}.{NAMESPACE}.svc:{port}", names.port);
    let mut worlds = Vec::new();
    for (name, replicas) in [("rolling-awake", 2), ("rolling-asleep", 0), ("rolling-third", 0)] {
        let world = World::create(plane, name).await?;
        world.add_node(4).await?;
        gateway()?.set(name, 10 * replicas);
        world.deploy(&Inference::new(name, replicas), usize::try_from(replicas)?).await?;
        let mut metadata = of_gateway(name)?;
        metadata["scalerAddress"] = json!(address);
        let object = ScaledObject { kind: "external-push", min: 0, polling: 2, cooldown: 2, metadata };
        object.apply(plane, port, name).await?;
        worlds.push(world);
    }
    let [first, second] = scalers.as_mut_slice() else { anyhow::bail!("there are two") };
    let (open, _) = wait_streams(&[first, second], SOON).await?;
    let marks: Vec<_> = worlds.iter().map(|world| world.trajectory.mark()).collect();

    let ended = first.end();
    let (_, once) = wait_streams(&[second], BACK).await.context("when the first ended")?;
    ended.await?;
    first.resume(plane).await?;
    sleep(READY).await;
    let ended = second.end();
    let (_, twice) = wait_streams(&[first], BACK).await.context("when the second ended")?;
    ended.await?;
    second.resume(plane).await?;
    report.line(format!("{open:?} streams: all back after {once:.1} s, and after {twice:.1} s"));

    gateway()?.set("rolling-asleep", 15);
    for ((world, mark), path) in worlds.iter().zip(marks).zip([vec![2], vec![0, 1, 2], vec![0]]) {
        if let Some(last) = path.last() {
            world.wait_replicas(*last, SOON).await.with_context(tail)?;
        }
        let mut steps: Vec<_> = world.trajectory.steps(mark).iter().map(|step| step.replicas).collect();
        // KEDA's own step from none to one may be missed by a watch that sees only the newest.
        if steps == [0, 2] {
            steps = vec![0, 1, 2];
        }
        ensure!(steps == path, "{}: {}", world.namespace(), world.trajectory.path(mark));
    }
    for world in worlds {
        ScaledObject::remove(plane, world.namespace()).await?;
        world.remove().await?;
    }
    Ok(())
}
