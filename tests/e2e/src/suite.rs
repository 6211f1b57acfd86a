//! Runs the scenarios of one test binary on one control plane and says how each ended.
//!
//! Not libtest: the control plane must be owned by somebody who ends it after the last scenario, the figures must
//! be seen without a flag, and a failure must bring the components' logs with it.

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Error, Result, anyhow};
use futures::future::BoxFuture;
use tokio::{sync::Semaphore, task::JoinSet, time::Instant};

use crate::{Adapter, ControlPlane, prometheus::Prometheus};

/// What the scenarios of one binary share.
#[derive(Debug)]
pub struct Cluster {
    /// The adapter under test; dropped before the control plane.
    pub adapter: Adapter,
    /// Between the pods and the adapter, where a scenario has one.
    pub prometheus: Option<Prometheus>,
    /// The control plane.
    pub plane: ControlPlane,
}

/// Prints a scenario's figures under its name.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    name: &'static str,
}

/// A scenario: a sentence and what to do.
pub struct Scenario {
    /// A sentence in snake case.
    pub name: &'static str,
    /// Whether it changes something that all scenarios would see, so that it runs when the others are done.
    pub alone: bool,
    /// The scenario.
    pub run: fn(Arc<Cluster>, Report) -> BoxFuture<'static, Result<()>>,
}

impl std::fmt::Debug for Scenario {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name)
    }
}

/// `scenario!(function)`: its name is the function's. `scenario!(alone: function)` runs when the others are done.
#[macro_export]
macro_rules! scenario {
    (alone: $($path:ident)::+) => {
        $crate::suite::Scenario { alone: true, ..$crate::scenario!($($path)::+) }
    };
    ($($path:ident)::+) => {
        $crate::suite::Scenario {
            name: stringify!($($path)::+),
            alone: false,
            run: |cluster, report| Box::pin(async move { $($path)::+(&cluster, &report).await }),
        }
    };
}

/// So many scenarios run side by side; on two cores more only makes each slower.
const PARALLEL: usize = 3;
/// No scenario is meant to take longer: a hang must end with its logs printed.
const LIMIT: Duration = Duration::from_secs(300);

impl Report {
    /// Prints a figure.
    pub fn line(&self, text: impl std::fmt::Display) {
        println!("        {}: {text}", self.name);
    }
}

/// Starts a cluster by `prepare`, runs the chosen scenarios on it and ends everything.
///
/// Arguments that are not flags choose the scenarios whose names contain one of them; `--list` only names them.
pub fn main(scenarios: Vec<Scenario>, prepare: impl AsyncFnOnce() -> Result<Cluster>) -> ExitCode {
    let Some(chosen) = choose(scenarios) else { return ExitCode::SUCCESS };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&error.into()),
    };
    runtime.block_on(async {
        let began = Instant::now();
        let cluster = match prepare().await {
            Ok(cluster) => Arc::new(cluster),
            Err(error) => return complain(&error),
        };
        println!("control plane and adapter ready after {:.1} s", began.elapsed().as_secs_f64());
        let total = chosen.len();
        let (alone, together): (Vec<_>, Vec<_>) = chosen.into_iter().partition(|scenario| scenario.alone);
        let mut failed = run(together, PARALLEL, &cluster).await;
        failed += run(alone, 1, &cluster).await;
        if failed > 0 {
            cluster.print_logs();
        }
        if let Some(Err(error)) = Arc::into_inner(cluster).map(|cluster| cluster.adapter.terminate()) {
            println!("FAILED  the adapter ends when it is asked to\n{error:?}");
            failed += 1;
        }
        println!(
            "\n{:.0} s in all\n{} passed, {failed} failed",
            began.elapsed().as_secs_f64(),
            total.saturating_sub(failed)
        );
        if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    })
}

/// None if nothing is to be run.
fn choose(scenarios: Vec<Scenario>) -> Option<Vec<Scenario>> {
    let (flags, names): (Vec<String>, Vec<String>) = std::env::args().skip(1).partition(|word| word.starts_with('-'));
    if flags.iter().any(|flag| flag == "--list") {
        for scenario in &scenarios {
            println!("{}: test", scenario.name);
        }
        return None;
    }
    let wanted = |scenario: &Scenario| names.is_empty() || names.iter().any(|name| scenario.name.contains(name));
    let chosen: Vec<Scenario> = scenarios.into_iter().filter(wanted).collect();
    if chosen.is_empty() {
        println!("no scenario is called so");
        return None;
    }
    Some(chosen)
}

fn complain(error: &Error) -> ExitCode {
    println!("FAILED to start: {error:?}");
    ExitCode::FAILURE
}

/// Runs so many at a time; returns how many failed.
async fn run(scenarios: Vec<Scenario>, parallel: usize, cluster: &Arc<Cluster>) -> usize {
    let turns = Arc::new(Semaphore::new(parallel));
    let mut running = JoinSet::new();
    for scenario in scenarios {
        let (turns, cluster) = (turns.clone(), cluster.clone());
        running.spawn(async move {
            let turn = turns.acquire().await;
            let began = Instant::now();
            let report = Report { name: scenario.name };
            // In a task of its own, a panic becomes an error of this scenario alone.
            let mut task = JoinSet::new();
            task.spawn((scenario.run)(cluster, report));
            let result = match tokio::time::timeout(LIMIT, task.join_next()).await {
                Err(_) => Err(anyhow!("not done after {LIMIT:?}")),
                Ok(None) => Err(anyhow!("the scenario did not run")),
                Ok(Some(Err(panic))) => Err(panic.into()),
                Ok(Some(Ok(result))) => result,
            };
            drop(turn);
            say(scenario.name, began.elapsed(), &result);
            result.is_err()
        });
    }
    running.join_all().await.into_iter().filter(|failed| *failed).count()
}

fn say(name: &str, took: Duration, result: &Result<()>) {
    let took = took.as_secs_f64();
    match result {
        Ok(()) => println!("ok      {name} ({took:.1} s)"),
        Err(error) => println!("FAILED  {name} ({took:.1} s)\n{error:?}"),
    }
}

impl Cluster {
    /// The ends of the logs in which the reason of a failure is found.
    fn print_logs(&self) {
        println!("\n--- plimsoll\n{}", self.adapter.tail(60));
        for (component, lines) in [("kube-controller-manager", 40), ("kube-apiserver", 40)] {
            let log = self.plane.log(component).unwrap_or_else(|error| format!("{error:#}"));
            let all: Vec<&str> = log.lines().collect();
            println!("\n--- {component}\n{}", all[all.len().saturating_sub(lines)..].join("\n"));
        }
    }
}
