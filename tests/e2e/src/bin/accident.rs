//! `make demo`: the GPU accident on the real control plane, first with the plain HPA, then with Plimsoll.
//!
//! Everything is real but the machines: etcd, kube-apiserver, kube-controller-manager with its HPA, kube-scheduler and
//! the adapter run here; kwok plays the kubelets, and a server on loopback the inference pods and DCGM exporters.
//! On a terminal the table is redrawn in place, elsewhere each second is a line.

use std::{
    io::{IsTerminal, Write},
    process::ExitCode,
    time::Duration,
};

use anyhow::Result;
use plimsoll_e2e::{
    Adapter, ControlPlane, World, adapter,
    plane::Settings,
    standin::Load,
    trajectory::Mark,
    wait,
    workload::{Autoscaler, Inference},
    world::SOON,
};
use tokio::time::Instant;

/// GPUs of the cluster, replicas at rest, replicas that the load asks for.
const GPUS: u32 = 8;
const REST: u32 = 5;
const DEMAND: u32 = 15;
/// Each run is watched for so long after the load came: several HPA periods of 2 s.
const WATCHED: Duration = Duration::from_secs(24);
/// One row a second.
const EVERY: Duration = Duration::from_secs(1);

const HEADER: &str = "    time   load for   desired   running   pending   GPUs busy          queue per pod";

/// One second of a run.
#[derive(Clone, Copy, Debug)]
struct Row {
    at: Duration,
    desired: i32,
    running: usize,
    pending: usize,
    queue: f64,
    loaded: bool,
}

/// What a run comes to.
#[derive(Clone, Debug)]
struct Outcome {
    name: &'static str,
    most: i32,
    path: String,
    pending: usize,
    pending_seconds: usize,
    lost: usize,
}

fn main() -> ExitCode {
    let result = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(anyhow::Error::from);
    // Ctrl-C drops the demo, and with it every process that it has started.
    let result = result.and_then(|runtime| {
        runtime.block_on(async {
            tokio::select! { // the demo may be dropped anywhere: its processes end with it
                result = demo() => result,
                _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
            }
        })
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:?}");
            ExitCode::FAILURE
        }
    }
}

async fn demo() -> Result<()> {
    println!("Starting etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kwok and plimsoll ...");
    let began = Instant::now();
    let plane = ControlPlane::start(&Settings::default()).await?;
    let adapter = Adapter::start(&plane, &adapter::Settings::default()).await?;
    println!("... ready after {:.0} s.\n", began.elapsed().as_secs_f64());
    println!(
        "One node with {GPUS} GPUs, an inference Deployment of {REST} replicas, one GPU each. Its HPA: 10 waiting"
    );
    println!("requests and 80 % GPU utilisation per replica, 1..50 replicas. Now load for {DEMAND} replicas arrives.");

    let plain = run(&plane, "plain", "Observe", "The plain HPA (mode Observe: values are served as they are)").await?;
    let clamped = run(&plane, "plimsoll", "Enforce", "The same HPA with Plimsoll (mode Enforce)").await?;
    summary(&[plain, clamped]);
    adapter.terminate()
}

async fn run(plane: &ControlPlane, name: &'static str, mode: &'static str, title: &str) -> Result<Outcome> {
    let world = World::create(plane, name).await?;
    world.add_node(GPUS).await?;
    world.standin.set_load(Load::for_replicas(REST));
    world.deploy(&Inference::new(name, REST), REST as usize).await?;
    world.autoscale(&Autoscaler::queue_and_utilisation(1, 50).mode(mode)).await?;
    world.wait_metrics(SOON).await?;
    wait::until("the HPA to be at rest", SOON, async || {
        let served = world.external("dcgm_gpu_utilization").await?;
        Ok(if served["items"][0]["value"] == "350" { Ok(()) } else { Err(served) })
    })
    .await?;

    println!("\n{title}\n\n{HEADER}");
    let (began, outcome) = watch(&world).await?;
    let most = world.trajectory.most_replicas(began);
    let outcome =
        Outcome { name, most, path: world.trajectory.path(began), lost: world.trajectory.lost(began).len(), ..outcome };
    world.remove().await?;
    Ok(outcome)
}

/// Two seconds at rest, then the load.
async fn watch(world: &World<'_>) -> Result<(Mark, Outcome)> {
    let mut screen = Screen::new();
    let began = world.trajectory.mark();
    let mut ticks = tokio::time::interval(EVERY);
    let mut outcome = Outcome { name: "", most: 0, path: String::new(), pending: 0, pending_seconds: 0, lost: 0 };
    let arrival = Duration::from_secs(2);
    loop {
        ticks.tick().await;
        let at = world.trajectory.since(began);
        let loaded = at >= arrival;
        if loaded && world.standin.load() != Load::for_replicas(DEMAND) {
            world.standin.set_load(Load::for_replicas(DEMAND));
        }
        let pods = world.trajectory.pods();
        let row = Row {
            at,
            desired: world.trajectory.replicas(),
            running: pods.running,
            pending: pods.pending,
            queue: world.standin.queue_per_pod(),
            loaded,
        };
        screen.show(&row)?;
        outcome.pending = pods.pending;
        outcome.pending_seconds += pods.pending;
        if at >= arrival + WATCHED {
            return Ok((began, outcome));
        }
    }
}

/// Keeps the last rows on a terminal and redraws the newest one while nothing but time changes.
struct Screen {
    terminal: bool,
    last: Option<Row>,
}

impl Screen {
    fn new() -> Self {
        Self { terminal: std::io::stdout().is_terminal(), last: None }
    }

    fn show(&mut self, row: &Row) -> Result<()> {
        let mut out = std::io::stdout().lock();
        let same = self.last.is_some_and(|last| last.same_state(row));
        // A state that lasts is one line whose time runs; a new state is a new line.
        if self.terminal && same {
            write!(out, "\x1b[1A\x1b[2K")?;
        }
        if self.terminal || !same || row.at.as_secs().is_multiple_of(6) {
            writeln!(out, "{}", row.text(self.terminal))?;
        }
        out.flush()?;
        self.last = Some(*row);
        Ok(())
    }
}

impl Row {
    fn same_state(&self, other: &Self) -> bool {
        let state =
            |row: &Self| (row.desired, row.running, row.pending, row.loaded, (row.queue * 10.0).round().to_bits());
        state(self) == state(other)
    }

    fn text(&self, colours: bool) -> String {
        let load = if self.loaded { DEMAND } else { REST };
        let busy = self.running.min(GPUS as usize);
        let bar: String = (0..GPUS as usize).map(|gpu| if gpu < busy { '#' } else { '.' }).collect();
        let pending = format!("{:>7}", self.pending);
        let pending = if colours && self.pending > 0 { format!("\x1b[1;31m{pending}\x1b[0m") } else { pending };
        format!(
            "{:>6.1} s   {load:>8}   {:>7}   {:>7}   {pending}   {bar} {busy}/{GPUS}   {:>13.1}",
            self.at.as_secs_f64(),
            self.desired,
            self.running,
            self.queue,
        )
    }
}

fn summary(outcomes: &[Outcome]) {
    println!(
        "\n{:<10} {:>13} {:>14} {:>21} {:>18}   path",
        "run", "most desired", "pending at end", "pending pod-seconds", "running pods lost"
    );
    for run in outcomes {
        println!(
            "{:<10} {:>13} {:>14} {:>21} {:>18}   {}",
            run.name, run.most, run.pending, run.pending_seconds, run.lost, run.path
        );
    }
    println!(
        "\nEight GPUs serve eight replicas either way. The plain HPA leaves the rest Pending for as long as the load"
    );
    println!("lasts, and would do so for ever; with Plimsoll nothing that cannot run is ever asked for.");
}
