//! `plimsoll capacity` against the real Kueue and kube-scheduler, case by case.
//!
//! Each case is a few queues and what waits in them. The command is asked about a Deployment of one of them, with the
//! queues as the API server shows them, in either of their versions; then more replicas are asked for, and what Kueue
//! lets through and the scheduler binds is counted. Many cases are admitted side by side.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use plimsoll_e2e::{
    ControlPlane,
    queue_cases::{ASKED, Case, SUBJECT},
    suite::{Cluster, Report},
    tools, wait,
    world::ensure_namespace,
};
use serde_json::{Value, json};
use tokio::{process::Command, time::Instant};

use crate::{
    api::{Api, KINDS, KUEUE, VERSIONS},
    tally::Tally,
};

/// Cases of one run.
const CASES: u64 = 24;
/// Cases that are admitted side by side.
const BATCH: u64 = 24;
/// Kueue looks at what it skipped at once, and the scheduler a second after it found no place; nothing in so long means
/// that both are done.
const QUIET: Duration = Duration::from_secs(2);
/// How long a batch may take to come to rest: Kueue looks at one pod of each queue at a time, and writes what it found.
const PATIENCE: Duration = Duration::from_secs(200);

/// Pods of a case's subject.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pods {
    /// Those that Kueue has let through.
    pub(crate) admitted: u32,
    /// Those that have a node.
    pub(crate) bound: u32,
}

/// What the command answered, and what happened.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) answer: Value,
    pub(crate) before: Pods,
    pub(crate) after: Pods,
}

struct Oracle<'a> {
    plane: &'a ControlPlane,
    api: Api,
}

pub(crate) async fn what_is_answered_is_what_kueue_lets_through(cluster: &Cluster, report: &Report) -> Result<()> {
    let number = |name: &str, default| std::env::var(name).map_or(Ok(default), |text| text.parse());
    let (first, count) = (number("PLIMSOLL_E2E_SEED", 1)?, number("PLIMSOLL_E2E_QUEUES", CASES)?);
    let oracle = Oracle { plane: &cluster.plane, api: Api::new(cluster.plane.client.clone()) };
    let (mut tally, began) = (Tally::default(), Instant::now());
    for start in (first..first + count).step_by(usize::try_from(BATCH)?) {
        let cases: Vec<_> = (start..(start + BATCH).min(first + count)).map(Case::random).collect();
        for (case, outcome) in cases.iter().zip(oracle.outcomes(&cases, start).await?) {
            tally.add(case, &outcome);
        }
    }
    report.line(format!("{tally} in {:.0?}", began.elapsed()));
    tally.check()
}

// === impl Oracle ===

impl Oracle<'_> {
    /// What becomes of cases, side by side.
    async fn outcomes(&self, cases: &[Case], seed: u64) -> Result<Vec<Outcome>> {
        try_join_all(cases.iter().map(|case| self.make(case))).await?;
        self.settled(cases, false).await?;
        let changed: Vec<_> = cases.iter().flat_map(|case| &case.changed).collect();
        try_join_all(changed.iter().map(|queue| self.api.apply(queue))).await?;
        let before = self.settled(cases, false).await?;
        let mut answers = Vec::new();
        for (case, seed) in cases.iter().zip(seed..) {
            answers.push(self.ask(case, VERSIONS[usize::from(seed % 2 == 0)]).await?);
        }
        try_join_all(cases.iter().map(|case| self.scale(case))).await?;
        let after = self.settled(cases, true).await?;
        let pods = |all: &BTreeMap<String, Pods>, case: &Case| all.get(&case.name).copied().unwrap_or_default();
        let outcome = |(case, answer): (&Case, Value)| {
            let (before, after) = (pods(&before, case), pods(&after, case));
            Outcome { answer, before, after }
        };
        Ok(cases.iter().zip(answers).map(outcome).collect())
    }

    /// Makes everything of a case.
    async fn make(&self, case: &Case) -> Result<()> {
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": case.name, "labels": {"tier": "a"}}});
        self.api.apply(&namespace).await?;
        ensure_namespace(&self.plane.client, &case.name).await?;
        for object in case.nodes.iter().chain(&case.queues) {
            self.api.create(object).await?;
        }
        for deployment in case.residents.iter().chain([&case.subject]) {
            self.api.create(deployment).await?;
        }
        Ok(())
    }

    async fn scale(&self, case: &Case) -> Result<()> {
        self.api.merge(&case.subject, &json!({"spec": {"replicas": ASKED}})).await
    }

    /// Asks the command about a case as the API server shows it.
    async fn ask(&self, case: &Case, version: &str) -> Result<Value> {
        let mut lists = Vec::new();
        for (path, kind) in KINDS {
            lists.push(self.api.list(path, kind, &case.name).await?);
        }
        for (plural, kind) in KUEUE {
            let path = format!("/apis/kueue.x-k8s.io/{version}/{plural}");
            lists.push(self.api.list(&path, kind, &case.name).await?);
        }
        lists.push(
            self.api.get(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": case.name}})).await?,
        );
        let folder = self.plane.path(&case.name);
        std::fs::create_dir_all(&folder)?;
        let (objects, subject) = (folder.join("objects.json"), folder.join("subject.json"));
        std::fs::write(&objects, Value::Array(lists).to_string())?;
        std::fs::write(&subject, self.api.get(&case.subject).await?.to_string())?;
        let mut command = Command::new(tools::plimsoll()?);
        command.args(["capacity", "-o", "json", "-f"]).arg(objects).arg("--for").arg(subject);
        let output = command.output().await?;
        ensure!(output.status.success(), "{}: {}", case.name, String::from_utf8_lossy(&output.stderr));
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// The pods of all subjects, once Kueue and the scheduler have looked at all pods and nothing changes any more.
    async fn settled(&self, cases: &[Case], asked: bool) -> Result<BTreeMap<String, Pods>> {
        let expected: usize = cases.iter().map(|case| replicas(case, asked)).sum();
        let quiet = Mutex::new((BTreeMap::new(), Instant::now()));
        // Of a queue in strict order, only the first is looked at.
        let strict = cases.iter().filter(|case| case.features()["strict order"]);
        let strict: BTreeSet<_> = strict.map(|case| case.name.as_str()).collect();
        let names: Vec<_> = cases.iter().map(|case| case.name.as_str()).collect();
        let settled = wait::until("Kueue and the scheduler to have looked at all pods", PATIENCE, async || {
            let known = self.api.known().await?;
            let pods = self.api.pods(&names).await?;
            let open: Vec<_> = pods.iter().filter(|pod| !is_judged(pod, &known, &strict)).map(name).collect();
            let now: BTreeMap<_, _> = pods.iter().map(|pod| (name(pod), (is_admitted(pod), is_bound(pod)))).collect();
            let mut quiet = quiet.lock().unwrap_or_else(PoisonError::into_inner);
            if now != quiet.0 || !open.is_empty() || pods.len() != expected {
                *quiet = (now, Instant::now());
            }
            let found = pods.len();
            Ok(if quiet.1.elapsed() < QUIET { Err((found, expected, open)) } else { Ok(pods) })
        });
        let mut all: BTreeMap<String, Pods> = BTreeMap::new();
        for pod in settled.await?.iter().filter(|pod| pod["metadata"]["labels"]["app"] == SUBJECT) {
            let case = pod["metadata"]["namespace"].as_str().context("pods have a namespace")?;
            let pods = all.entry(case.to_owned()).or_default();
            pods.admitted += u32::from(is_admitted(pod));
            pods.bound += u32::from(is_bound(pod));
        }
        Ok(all)
    }
}

/// How many pods a case has, once all are asked for.
fn replicas(case: &Case, asked: bool) -> usize {
    let of = |deployment: &Value| deployment["spec"]["replicas"].as_u64().unwrap_or_default();
    let subject = if asked { u64::from(ASKED) } else { of(&case.subject) };
    let all = subject + case.residents.iter().map(of).sum::<u64>();
    usize::try_from(all).unwrap_or(usize::MAX)
}

fn name(pod: &Value) -> String {
    let of = |field: &str| pod["metadata"][field].as_str().unwrap_or_default().to_owned();
    format!("{}/{}", of("namespace"), of("name"))
}

fn is_bound(pod: &Value) -> bool {
    pod.pointer("/spec/nodeName").is_some()
}

/// Kueue takes its gate away.
fn is_admitted(pod: &Value) -> bool {
    pod.pointer("/spec/schedulingGates/0").is_none()
}

/// Whether both have had a look: one of them has said that it has no place.
fn is_judged(pod: &Value, known: &BTreeMap<String, bool>, strict: &BTreeSet<&str>) -> bool {
    if !is_admitted(pod) {
        let waits = pod["metadata"]["uid"].as_str().and_then(|uid| known.get(uid));
        let of_strict = pod["metadata"]["namespace"].as_str().is_some_and(|case| strict.contains(case));
        return waits.is_some_and(|waits| *waits || of_strict);
    }
    let conditions = pod["status"]["conditions"].as_array();
    is_bound(pod) || conditions.is_some_and(|all| all.iter().any(|it| it["reason"] == "Unschedulable"))
}
