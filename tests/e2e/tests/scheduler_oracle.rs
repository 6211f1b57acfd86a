//! `plimsoll capacity` against the real kube-scheduler, case by case.
//!
//! Each case is a small cluster on the API server. The command is asked first; then more replicas are created than can
//! ever fit, and what the scheduler binds is counted. Many cases are scheduled side by side ([`cluster_cases`] keeps
//! them apart). An exact answer must be equal, an interval must contain, and no answer may promise more.
//!
//! Needs `PLIMSOLL_BIN` and `PLIMSOLL_E2E_TOOLS`, which `make e2e` sets; without them the test fails.
//! `PLIMSOLL_E2E_CLUSTERS` sets the number of cases and `PLIMSOLL_E2E_SEED` the first seed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::{collections::BTreeMap, env, fs, path::PathBuf, process::Command, time::Duration};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use http::Request;
use kube::Client;
use plimsoll_e2e::{
    ControlPlane,
    cluster_cases::{CASE, Case, MOST},
    plane::{Components, Settings},
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

/// Cases of one run.
const CASES: u64 = 500;
/// Cases that are scheduled side by side.
const BATCH: u64 = 25;
/// Requests under way at once.
const CONCURRENCY: usize = 16;
/// The scheduler tries a pod again a second after it found no place; nothing in so long means that it is done.
const QUIET: Duration = Duration::from_millis(1500);
/// How long a batch may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// Largest share of answers that may be `unknown`, in percent.
const MOST_UNKNOWN: usize = 5;
/// A constraint that fewer than so many of a hundred cases have is not tested.
const LEAST_COVERED: usize = 3;
/// Tries at making a difference small.
const SHRINKS: usize = 60;

const PODS: &str = "/api/v1/namespaces/default/pods";
const NODES: &str = "/api/v1/nodes";

/// What the command answered, and what happened.
#[derive(Clone, Debug)]
struct Outcome {
    class: String,
    lo: u64,
    hi: Option<u64>,
    bound: u64,
}

struct Oracle {
    plane: ControlPlane,
    plimsoll: PathBuf,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_real_scheduler_binds_what_was_answered_and_never_less_than_was_promised() {
    let number = |name: &str, default| env::var(name).map_or(default, |text| text.parse().unwrap());
    let (first, count) = (number("PLIMSOLL_E2E_SEED", 1), number("PLIMSOLL_E2E_CLUSTERS", CASES));
    let oracle = Oracle::start().await;
    let mut tally = Tally::default();
    let started = Instant::now();
    for start in (first..first + count).step_by(usize::try_from(BATCH).unwrap()) {
        let cases: Vec<_> = (start..(start + BATCH).min(first + count)).map(Case::random).collect();
        for (case, outcome) in cases.iter().zip(oracle.outcomes(&cases).await) {
            let Some(outcome) = outcome else {
                tally.refused += 1;
                continue;
            };
            if outcome.is_wrong() {
                oracle.report(case).await;
            }
            tally.add(case, &outcome);
        }
    }
    tally.print(started.elapsed());
    tally.check(usize::try_from(count).unwrap());
}

impl Oracle {
    async fn start() -> Self {
        let plimsoll = env::var_os("PLIMSOLL_BIN").expect("PLIMSOLL_BIN is not set: run `make e2e`").into();
        let settings = Settings { components: Components::Scheduling, ..Settings::default() };
        Self { plane: ControlPlane::start(&settings).await.unwrap(), plimsoll }
    }

    /// What becomes of cases, side by side; none for a case that the API server refuses.
    async fn outcomes(&self, cases: &[Case]) -> Vec<Option<Outcome>> {
        let answers: Vec<_> = stream::iter(cases).map(|case| self.answer(case)).buffered(4).collect().await;
        let replicas =
            cases.iter().zip(&answers).filter(|(_, answer)| answer.is_some()).flat_map(|(case, _)| replicas(case));
        self.create_all(PODS, replicas.collect()).await;
        let bound = self.settled().await;
        self.clean(cases).await;
        let outcome = |(case, answer): (&Case, Option<Value>)| {
            let fits = answer?["fits"].take();
            Some(Outcome {
                class: fits["class"].as_str().unwrap().to_owned(),
                lo: fits["lo"].as_u64().unwrap(),
                hi: fits["hi"].as_u64(),
                bound: bound.get(&case.name).copied().unwrap_or(0),
            })
        };
        cases.iter().zip(answers).map(outcome).collect()
    }

    /// Creates the cluster of a case and asks the command about it as the API server shows it.
    async fn answer(&self, case: &Case) -> Option<Value> {
        self.create_all(NODES, case.nodes.clone()).await;
        for pod in &case.pods {
            self.create(PODS, pod).await?;
            if pod.pointer("/metadata/finalizers").is_some() {
                let path = format!("{PODS}/{}", pod["metadata"]["name"].as_str().unwrap());
                self.send(Request::delete(path), None).await.unwrap();
            }
        }
        // Refused as the replicas would be.
        self.create(&format!("{PODS}?dryRun=All"), &case.template).await?;
        let label = format!("labelSelector={CASE}%3D{}", case.name);
        let mut items = self.items(&format!("{NODES}?{label}"), "Node").await;
        items.extend(self.items(&format!("{PODS}?{label}"), "Pod").await);
        items.push(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}}));
        Some(ask(&self.plimsoll, &json!({"apiVersion": "v1", "kind": "List", "items": items}), &case.template))
    }

    /// Bound replicas by case, once the scheduler has looked at all of them and binds no more.
    async fn settled(&self) -> BTreeMap<String, u64> {
        let (started, mut before, mut since) = (Instant::now(), None, Instant::now());
        loop {
            let pods = self.items(&format!("{PODS}?labelSelector=replica"), "Pod").await;
            let waits = |pod: &Value| pod.pointer("/spec/nodeName").is_none();
            let judged = |pod: &Value| {
                let conditions = pod["status"]["conditions"].as_array();
                conditions.is_some_and(|all| all.iter().any(|it| it["reason"] == "Unschedulable"))
            };
            let all_judged = pods.iter().all(|pod| !waits(pod) || judged(pod));
            let mut bound = BTreeMap::new();
            for pod in pods.iter().filter(|pod| !waits(pod)) {
                *bound.entry(pod["metadata"]["labels"][CASE].as_str().unwrap().to_owned()).or_insert(0) += 1;
            }
            if before.as_ref() != Some(&bound) || !all_judged {
                (before, since) = (Some(bound), Instant::now());
            } else if since.elapsed() >= QUIET {
                return bound;
            }
            assert!(started.elapsed() < PATIENCE, "the scheduler has not looked at all pods after {PATIENCE:?}");
            sleep(Duration::from_millis(250)).await;
        }
    }

    async fn clean(&self, cases: &[Case]) {
        let held = cases.iter().flat_map(|case| &case.pods).filter(|pod| pod.pointer("/metadata/finalizers").is_some());
        for pod in held {
            let path = format!("{PODS}/{}", pod["metadata"]["name"].as_str().unwrap());
            let request = Request::patch(path).header("Content-Type", "application/merge-patch+json");
            let release = json!({"metadata": {"finalizers": null}});
            // A case that was refused may not have it.
            let _ = self.send(request, Some(&release)).await;
        }
        for path in [&format!("{PODS}?gracePeriodSeconds=0"), NODES] {
            self.send(Request::delete(path), None).await.unwrap();
        }
        let started = Instant::now();
        while !self.items(PODS, "Pod").await.is_empty() {
            assert!(started.elapsed() < PATIENCE, "pods do not go away");
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn create_all(&self, path: &str, objects: Vec<Value>) {
        let creations = stream::iter(objects).map(async |object| self.create(path, &object).await.ok_or(()));
        creations.buffer_unordered(CONCURRENCY).try_collect::<Vec<_>>().await.expect("objects are accepted");
    }

    /// None if the API server refuses the object as invalid.
    async fn create(&self, path: &str, object: &Value) -> Option<()> {
        match self.send(Request::post(path).header("Content-Type", "application/json"), Some(object)).await {
            Ok(_) => Some(()),
            Err(kube::Error::Api(status)) if status.code == 422 => None,
            Err(error) => panic!("{path}: {error}\n{object}"),
        }
    }

    async fn items(&self, path: &str, kind: &str) -> Vec<Value> {
        let mut list = self.send(Request::get(path), None).await.unwrap();
        let items: Vec<Value> = serde_json::from_value(list["items"].take()).unwrap();
        let named = items.into_iter().map(|mut item| {
            item["kind"] = json!(kind);
            item["apiVersion"] = json!("v1");
            item
        });
        named.collect()
    }

    async fn send(&self, request: http::request::Builder, body: Option<&Value>) -> Result<Value, kube::Error> {
        let client: &Client = &self.plane.client;
        let body = body.map(|body| serde_json::to_vec(body).unwrap()).unwrap_or_default();
        client.request(request.body(body).unwrap()).await
    }

    /// Takes away what the difference does not need, keeps what is left as files, and fails.
    async fn report(&self, case: &Case) -> ! {
        let mut case = case.clone();
        let mut tries = 0;
        'again: while tries < SHRINKS {
            for smaller in case.smaller() {
                tries += 1;
                let outcome = self.outcomes(std::slice::from_ref(&smaller)).await.remove(0);
                if outcome.is_some_and(|outcome| outcome.is_wrong()) {
                    case = smaller;
                    continue 'again;
                }
            }
            break;
        }
        let outcome = self.outcomes(std::slice::from_ref(&case)).await.remove(0);
        let folder = env::temp_dir().join(format!("plimsoll-case-{}", case.name));
        fs::create_dir_all(&folder).unwrap();
        let kinds = case.nodes.iter().chain(&case.pods).cloned().collect::<Vec<_>>();
        let list = json!({"apiVersion": "v1", "kind": "List", "items": kinds});
        let (objects, template) = (folder.join("objects.json"), folder.join("template.json"));
        fs::write(&objects, serde_json::to_vec_pretty(&list).unwrap()).unwrap();
        fs::write(&template, serde_json::to_vec_pretty(&case.template).unwrap()).unwrap();
        panic!(
            "seed {}: {outcome:?}\nplimsoll capacity -f {} --for {}",
            case.name,
            objects.display(),
            template.display()
        );
    }
}

impl Outcome {
    fn is_wrong(&self) -> bool {
        match self.class.as_str() {
            "exact" => self.bound != self.lo,
            "interval" => self.bound < self.lo || self.hi.is_some_and(|hi| self.bound > hi),
            _ => self.lo != 0,
        }
    }
}

/// More replicas than fit.
fn replicas(case: &Case) -> Vec<Value> {
    let replica = |index: usize| {
        let mut pod = case.template.clone();
        pod["metadata"]["name"] = json!(format!("{}-{index}", pod["metadata"]["name"].as_str().unwrap()));
        pod["metadata"]["labels"]["replica"] = json!("");
        pod
    };
    (0..MOST + 2).map(replica).collect()
}

fn ask(plimsoll: &PathBuf, objects: &Value, template: &Value) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let (list, pod) = (folder.path().join("objects"), folder.path().join("pod"));
    fs::write(&list, objects.to_string()).unwrap();
    // As the replicas will be, whose label the namespace's other pods do not have.
    let mut template = template.clone();
    template["metadata"]["labels"]["replica"] = json!("");
    fs::write(&pod, template.to_string()).unwrap();
    let mut command = Command::new(plimsoll);
    let output = command.args(["capacity", "-o", "json", "-f"]).arg(list).arg("--for").arg(pod).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What a run has seen.
#[derive(Debug, Default)]
struct Tally {
    classes: BTreeMap<String, usize>,
    features: BTreeMap<&'static str, usize>,
    bound: u64,
    refused: usize,
}

impl Tally {
    fn add(&mut self, case: &Case, outcome: &Outcome) {
        *self.classes.entry(outcome.class.clone()).or_default() += 1;
        self.bound += outcome.bound;
        for (feature, has) in case.features() {
            *self.features.entry(feature).or_default() += usize::from(has);
        }
    }

    fn print(&self, took: Duration) {
        let Self { classes, features, bound, refused } = self;
        println!("{classes:?}, {bound} replicas bound, {refused} cases refused by the API server, in {took:.0?}");
        println!("covered: {features:?}");
    }

    fn check(&self, count: usize) {
        let answered: usize = self.classes.values().sum();
        let unknown = self.classes.get("unknown").copied().unwrap_or(0);
        assert!(answered * 10 >= count * 8, "the API server refused too many cases: {}", self.refused);
        assert!(unknown * 100 <= answered * MOST_UNKNOWN, "{unknown} of {answered} answers are unknown");
        for (feature, cases) in &self.features {
            assert!(cases * 100 >= answered * LEAST_COVERED, "{feature:?}: only {cases} of {answered} cases");
        }
    }
}
