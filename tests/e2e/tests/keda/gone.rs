//! The scaler or KEDA itself is gone for many polls: nothing moves, and nothing has to be mended afterwards.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use plimsoll_e2e::{
    ControlPlane, World,
    keda::ScaledObject,
    scaler::Scaler,
    standin::Load,
    suite::{Cluster, Report},
    trajectory::Mark,
    wait,
    workload::Inference,
    world::SOON,
};
use serde_json::json;

use crate::{gateway, keda, of_gateway, tail};

/// So many polls, and so many cooldowns.
const GONE: Duration = Duration::from_secs(20);
const POLLING: u32 = 1;
const COOLDOWN: u32 = 2;

/// Three workloads: one that asks its own pods, and two that ask the gateway, awake and asleep.
struct Three<'a> {
    busy: World<'a>,
    awake: World<'a>,
    asleep: World<'a>,
}

impl<'a> Three<'a> {
    /// 5 replicas by what their pods report, 2 by the gateway, and none.
    async fn start(plane: &'a ControlPlane, port: u16, names: [&str; 3]) -> Result<Self> {
        let [busy, awake, asleep] = names;
        let three = Self {
            busy: World::create(plane, busy).await?,
            awake: World::create(plane, awake).await?,
            asleep: World::create(plane, asleep).await?,
        };
        three.busy.standin.set_load(Load::for_replicas(5));
        gateway()?.set(awake, 15);
        for (world, replicas) in three.all().into_iter().zip([5, 2, 0]) {
            world.add_node(8).await?;
            let name = world.namespace();
            world.deploy(&Inference::new(name, replicas), usize::try_from(replicas)?).await?;
            let own = json!({"signal": "queueLength", "threshold": "10"});
            let (kind, min, metadata) =
                if name == busy { ("external", 1, own) } else { ("external-push", 0, of_gateway(name)?) };
            let object = ScaledObject { kind, min, polling: POLLING, cooldown: COOLDOWN, metadata };
            object.apply(plane, port, name).await?;
        }
        for name in names {
            ScaledObject::wait_ready(plane, name).await.with_context(tail)?;
        }
        for world in [&three.busy, &three.awake] {
            wait_served(plane, world.namespace()).await.with_context(tail)?;
        }
        three.stays([5, 2, 0], Duration::from_secs(5)).await.context("before anything was gone")?;
        Ok(three)
    }

    fn all(&self) -> [&World<'a>; 3] {
        [&self.busy, &self.awake, &self.asleep]
    }

    fn marks(&self) -> [Mark; 3] {
        self.all().map(|world| world.trajectory.mark())
    }

    async fn stays(&self, wanted: [i32; 3], period: Duration) -> Result<()> {
        wait::stays(&format!("{wanted:?} replicas"), period, || {
            let now = self.all().map(|world| world.trajectory.replicas());
            if now == wanted { Ok(()) } else { Err(now) }
        })
        .await
        .with_context(tail)
    }

    /// More is asked of the busy one than its node has room for, and somebody waits for the one that is asleep.
    fn ask_for_more(&self) -> Result<()> {
        self.busy.standin.set_load(Load::for_replicas(15));
        gateway()?.set(self.asleep.namespace(), 15);
        Ok(())
    }

    /// What was asked for comes, and nothing else did on the way.
    async fn follow(&self, since: [Mark; 3], report: &Report) -> Result<()> {
        self.busy.wait_replicas(8, SOON).await.with_context(tail)?;
        self.asleep.wait_replicas(2, SOON).await.with_context(tail)?;
        self.stays([8, 2, 2], Duration::from_secs(5)).await?;
        let mut paths = Vec::new();
        for ((world, mark), (fewest, most)) in self.all().into_iter().zip(since).zip([(5, 8), (2, 2), (0, 2)]) {
            let trajectory = &world.trajectory;
            let path = trajectory.path(mark);
            let within = trajectory.fewest_replicas(mark) == fewest && trajectory.most_replicas(mark) == most;
            ensure!(within, "{} moved wrongly: {path}", world.namespace());
            paths.push(path);
        }
        report.line(format!("gone for {GONE:?}: {}", paths.join("; ")));
        Ok(())
    }

    async fn remove(self, plane: &ControlPlane) -> Result<()> {
        gateway()?.set(self.awake.namespace(), 0);
        self.awake.wait_replicas(0, SOON).await.with_context(tail)?;
        for world in [self.busy, self.awake, self.asleep] {
            ScaledObject::remove(plane, world.namespace()).await?;
            world.remove().await?;
        }
        Ok(())
    }
}

/// Waits until KEDA's HPA has read its metric.
pub(crate) async fn wait_served(plane: &ControlPlane, namespace: &str) -> Result<()> {
    wait::until("KEDA's HPA to read its metric", SOON, async || {
        let path = ["get", "hpa", "keda-hpa-llm", "-n", namespace, "-o", "jsonpath={.status.conditions}"];
        let text = plane.kubectl(&path).await?;
        Ok(if text.contains("ValidMetricFound") { Ok(()) } else { Err(text) })
    })
    .await
}

pub(crate) async fn a_scaler_that_is_gone_for_many_polls_moves_nothing(
    cluster: &Cluster,
    report: &Report,
) -> Result<()> {
    let plane = &cluster.plane;
    let mut scaler = Scaler::start(plane, "scaler-killed", &gateway()?.url).await?;
    let three = Three::start(plane, scaler.port, ["killed-busy", "killed-awake", "killed-asleep"]).await?;
    let marks = three.marks();
    scaler.kill();
    three.ask_for_more()?;
    three.stays([5, 2, 0], GONE).await.context("while the scaler was gone")?;
    scaler.resume(plane).await?;
    three.follow(marks, report).await.with_context(|| scaler.tail())?;
    three.remove(plane).await
}

pub(crate) async fn a_restart_of_kedas_operator_moves_nothing(cluster: &Cluster, report: &Report) -> Result<()> {
    let plane = &cluster.plane;
    let names = ["restart-busy", "restart-awake", "restart-asleep"];
    let three = Three::start(plane, cluster.adapter.scaler_port, names).await?;
    let marks = three.marks();
    keda()?.stop();
    three.ask_for_more()?;
    three.stays([5, 2, 0], GONE).await.context("while KEDA was gone")?;
    keda()?.resume(plane)?;
    three.follow(marks, report).await?;
    three.remove(plane).await
}

pub(crate) async fn a_restart_of_kedas_metrics_server_moves_nothing_wrongly(
    cluster: &Cluster,
    report: &Report,
) -> Result<()> {
    let plane = &cluster.plane;
    let names = ["unserved-busy", "unserved-awake", "unserved-asleep"];
    let three = Three::start(plane, cluster.adapter.scaler_port, names).await?;
    let marks = three.marks();
    keda()?.stop_metrics_server();
    three.ask_for_more()?;
    // From none to one is the operator's own step, which no HPA has a part in.
    three.asleep.wait_replicas(1, SOON).await.with_context(tail)?;
    three.stays([5, 2, 1], GONE).await.context("while KEDA's metrics server was gone")?;
    keda()?.start_metrics_server(plane)?;
    three.follow(marks, report).await?;
    three.remove(plane).await
}
