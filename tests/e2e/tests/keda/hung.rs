//! Sources that take connections and never answer: a Prometheus, and the pods themselves.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use anyhow::{Context, Result, ensure};
use plimsoll_e2e::{
    World,
    conformance::{self, Line},
    keda::ScaledObject,
    scaler::Scaler,
    standin::Load,
    suite::{Cluster, Report},
    wait,
    workload::Inference,
    world::SOON,
};
use serde_json::json;
use tokio::{net::TcpListener, task::JoinSet};

use crate::{gone::wait_served, tail};

const NAME: &str = "keda-hung";
/// Of the same scaler, with nothing that hangs.
const BESIDE: &str = "keda-hung-beside";
/// The bound of every call, in milliseconds.
const BOUND: f64 = 1_000.0;

/// Takes every connection, keeps it open and says nothing.
struct Hung {
    url: String,
    taken: Arc<AtomicUsize>,
    _server: JoinSet<()>,
}

impl Hung {
    async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let taken = Arc::new(AtomicUsize::new(0));
        let (mut server, count) = (JoinSet::new(), Arc::clone(&taken));
        server.spawn(async move {
            let mut kept = Vec::new();
            while let Ok((connection, _)) = listener.accept().await {
                kept.push(connection);
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Ok(Self { url, taken, _server: server })
    }
}

fn slowest(lines: &[Line]) -> Result<String> {
    for line in lines {
        ensure!(line.slowest_ms < BOUND && line.code != "DeadlineExceeded", "a call hung: {line:?}");
    }
    let all: Vec<_> =
        lines.iter().map(|line| format!("{} {} {:.1} ms", line.call, line.code, line.slowest_ms)).collect();
    Ok(all.join(", "))
}

pub(crate) async fn a_source_that_never_answers_makes_no_call_slow(cluster: &Cluster, report: &Report) -> Result<()> {
    let plane = &cluster.plane;
    let hung = Hung::start().await?;
    let scaler = Scaler::start(plane, "scaler-hung", &hung.url).await?;
    let (world, beside) = (World::create(plane, NAME).await?, World::create(plane, BESIDE).await?);
    let of_pods = json!({"signal": "queueLength", "threshold": "10"});
    let of_hung = json!({"signal": "queueLength", "threshold": "10", "serverAddress": hung.url, "query": "sum(queue)"});
    for (world, kind, min, metadata) in
        [(&world, "external-push", 0, of_hung.clone()), (&beside, "external", 1, of_pods.clone())]
    {
        world.add_node(8).await?;
        world.standin.set_load(Load::for_replicas(3));
        world.deploy(&Inference::new(world.namespace(), 3), 3).await?;
        let object = ScaledObject { kind, min, polling: 1, cooldown: 2, metadata };
        object.apply(plane, scaler.port, world.namespace()).await?;
    }
    wait::until("the source to hang", SOON, async || {
        let taken = hung.taken.load(Ordering::Relaxed);
        Ok(if taken > 0 { Ok(()) } else { Err(taken) })
    })
    .await
    .with_context(tail)?;
    let began = [world.trajectory.mark(), beside.trajectory.mark()];

    let lines = conformance::calls(plane, scaler.port, NAME, &of_hung, 20).await?;
    report.line(format!("of the source that hangs, the slowest of 20: {}", slowest(&lines)?));
    // An error can make KEDA 2.21 put to sleep what may sleep, so what is there is answered with.
    ensure!(lines.iter().all(|line| line.code == "OK"), "{lines:?}");
    ensure!(lines[1].answer[0]["metricValue"] == 30 && lines[2].answer == true, "not what holds 3: {lines:?}");
    let said = wait::until("an Event that says so", SOON, async || {
        let path =
            ["get", "events", "-n", NAME, "--field-selector=reason=SignalUnknown,involvedObject.kind=ScaledObject"];
        let said = plane.kubectl(&[&path[..], &["-o", "jsonpath={.items[*].message}"]].concat()).await?;
        Ok(if said.contains("its query fails: timed out") { Ok(said) } else { Err(said) })
    });
    report.line(said.await?);
    let mut of_hung = of_hung;
    of_hung["onMissing"] = json!("error");
    let object = ScaledObject { kind: "external-push", min: 1, polling: 1, cooldown: 2, metadata: of_hung.clone() };
    object.apply(plane, scaler.port, NAME).await?;
    let lines = wait::until("the error that was asked for", SOON, async || {
        let lines = conformance::calls(plane, scaler.port, NAME, &of_hung, 20).await?;
        Ok(if lines[1].message.contains("its query fails: timed out") { Ok(lines) } else { Err(lines) })
    })
    .await
    .with_context(tail)?;
    let codes: Vec<_> = lines.iter().map(|line| line.code.as_str()).collect();
    ensure!(codes == ["OK", "Unavailable", "Unavailable", "OK", "OK"], "{lines:?}");
    slowest(&lines)?;

    wait_served(plane, BESIDE).await.with_context(tail)?;
    let lines = conformance::calls(plane, scaler.port, BESIDE, &of_pods, 20).await?;
    report.line(format!("of the pods meanwhile: {}", slowest(&lines)?));
    ensure!(lines.iter().all(|line| line.code == "OK"), "the pods are not asked any more: {lines:?}");
    for (world, began) in [world, beside].into_iter().zip(began) {
        let path = world.trajectory.path(began);
        ensure!(path == "3", "the replicas of {} moved: {path}", world.namespace());
        ScaledObject::remove(plane, world.namespace()).await?;
        world.remove().await?;
    }
    Ok(())
}

/// Of pods that hang.
const PODS: &str = "keda-hung-pods";

pub(crate) async fn pods_that_never_answer_make_no_call_slow_and_move_nothing(
    cluster: &Cluster,
    report: &Report,
) -> Result<()> {
    let (plane, port) = (&cluster.plane, cluster.adapter.scaler_port);
    let world = World::create(plane, PODS).await?;
    world.add_node(8).await?;
    world.standin.set_load(Load::for_replicas(3));
    world.deploy(&Inference::new(PODS, 3), 3).await?;
    let metadata = json!({"signal": "queueLength", "threshold": "10"});
    let object = ScaledObject { kind: "external", min: 1, polling: 1, cooldown: 2, metadata: metadata.clone() };
    object.apply(plane, port, PODS).await?;
    wait_served(plane, PODS).await.with_context(tail)?;
    let began = world.trajectory.mark();
    world.standin.hang(true);
    world.standin.set_load(Load::for_replicas(15));

    // First the last good value stands in, then nothing does.
    let lines = conformance::calls(plane, port, PODS, &metadata, 5).await?;
    report.line(format!("of pods that have just begun to hang: {}", slowest(&lines)?));
    ensure!(lines.iter().all(|line| line.code == "OK"), "{lines:?}");
    let lines = wait::until("the last good value to be too old", SOON, async || {
        let lines = conformance::calls(plane, port, PODS, &metadata, 5).await?;
        let refused = lines[1..=2].iter().all(|line| line.code == "Unavailable" && line.message.contains("timed out"));
        Ok(if refused || slowest(&lines).is_err() { Ok(lines) } else { Err(lines) })
    })
    .await
    .with_context(tail)?;
    slowest(&lines)?;
    let lines = conformance::calls(plane, port, PODS, &metadata, 20).await?;
    report.line(format!("of pods that hang, the slowest of 20: {}", slowest(&lines)?));
    ensure!(lines[1].code == "Unavailable" && lines[1].message.contains("timed out"), "{lines:?}");
    let path = world.trajectory.path(began);
    ensure!(path == "3", "the replicas moved: {path}");

    world.standin.hang(false);
    world.wait_replicas(8, SOON).await.with_context(tail)?;
    report.line(format!("{}, once they answered again", world.trajectory.path(began)));
    ScaledObject::remove(plane, PODS).await?;
    world.remove().await
}
