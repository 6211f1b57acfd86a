//! `plimsoll capacity` against the real kube-scheduler, case by case.
//!
//! Each case is a small cluster on the API server. The command is asked first; then more replicas are created than can
//! ever fit, and what the scheduler binds is counted. Many cases are scheduled side by side ([`cluster_cases`] keeps
//! them apart). An exact answer must be equal, an interval must contain, and no answer may promise more.
//!
//! Needs `PLIMSOLL_BIN` and `PLIMSOLL_E2E_TOOLS`, which `make e2e` sets; without them the test fails.
//! `PLIMSOLL_E2E_CLUSTERS` sets the number of cases and `PLIMSOLL_E2E_SEED` the first seed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod api;
mod tally;

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::PathBuf,
    process::Command,
    time::Duration,
};

use futures::{StreamExt as _, stream};
use plimsoll_e2e::cluster_cases::{CASE, Case, OTHER, PRIORITIES, runtime_classes};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use api::{
    Api, CLAIMS, DEVICES, NAMESPACES, NODES, PODS, PRIORITY_CLASSES, RUNTIME_CLASSES, STORAGE, all_in, all_of, path,
    version_of,
};
use tally::Tally;

/// Cases of one run; about one in ten is no valid object and does not count.
const CASES: u64 = 560;
/// Cases that are scheduled side by side.
const BATCH: u64 = 50;
/// The scheduler tries a pod again a second after it found no place; nothing in so long means that it is done.
const QUIET: Duration = Duration::from_millis(1500);
/// Within so long the scheduler has heard of an object.
const HEARSAY: Duration = Duration::from_millis(300);
/// How long a batch may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// What the scheduler says of a pod that has no node. A selector that cannot be evaluated is an error.
const GIVEN_UP: [&str; 3] = ["Unschedulable", "SchedulerError", "SchedulingGated"];
/// Replicas of each case: more than its GPUs are for.
const REPLICAS: u64 = 18;
/// Tries at making a difference small.
const SHRINKS: usize = 60;

/// What the command answered, and what happened.
#[derive(Clone, Debug)]
struct Outcome {
    class: String,
    lo: u64,
    hi: u64,
    bound: u64,
    /// Why the class is `unknown`.
    unmodelled: Vec<String>,
}

/// What the command is asked, and what it says.
struct Asked {
    objects: Value,
    template: Value,
    answer: Value,
}

struct Oracle {
    api: Api,
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
            let Some((outcome, asked)) = outcome else {
                tally.refuse();
                continue;
            };
            if outcome.is_wrong() {
                println!("{outcome:?}; looking for what it needs\n{}", asked.keep(case));
                oracle.report(case).await;
            }
            tally.add(case, &outcome);
        }
    }
    tally.print(started.elapsed());
    tally.check(usize::try_from(count).unwrap());
}

// === impl Oracle ===

impl Oracle {
    async fn start() -> Self {
        let plimsoll = env::var_os("PLIMSOLL_BIN").expect("PLIMSOLL_BIN is not set: run `make e2e`").into();
        let api = Api::start().await;
        api.create(NAMESPACES, &json!({"metadata": {"name": OTHER}})).await.unwrap();
        for (name, value, policy) in PRIORITIES {
            let class = json!({"metadata": {"name": name}, "value": value, "preemptionPolicy": policy});
            api.create(PRIORITY_CLASSES, &class).await.unwrap();
        }
        api.create_all(RUNTIME_CLASSES, runtime_classes()).await;
        Self { api, plimsoll }
    }

    /// What becomes of cases, side by side, and what was asked; none for a case that the API server refuses.
    async fn outcomes(&self, cases: &[Case]) -> Vec<Option<(Outcome, Asked)>> {
        let asked: Vec<_> = stream::iter(cases).map(|case| self.ask(case)).buffered(4).collect().await;
        // The scheduler hears of claims and of pods on different ways.
        sleep(HEARSAY).await;
        let accepted = cases.iter().zip(&asked).filter(|(_, asked)| asked.is_some()).map(|(case, _)| case);
        self.api.create_pods(accepted.flat_map(replicas).collect()).await;
        let bound = self.settled().await;
        self.clean(cases).await;
        let outcome = |(case, asked): (&Case, Option<Asked>)| {
            let asked = asked?;
            let fits = &asked.answer["fits"];
            // What is not or may not be created cannot be bound.
            let creatable = asked.answer["quota"]["pods"].as_u64().unwrap_or(u64::MAX).min(REPLICAS);
            let least = |number: u64| creatable.min(number);
            let outcome = Outcome {
                class: fits["class"].as_str().unwrap().to_owned(),
                lo: least(fits["lo"].as_u64().unwrap()),
                hi: least(fits["hi"].as_u64().unwrap_or(u64::MAX)),
                bound: bound.get(&case.name).copied().unwrap_or(0),
                unmodelled: codes(&asked.answer["unmodelled"]),
            };
            Some((outcome, asked))
        };
        cases.iter().zip(asked).map(outcome).collect()
    }

    /// Creates the cluster of a case and asks the command about it as the API server shows it.
    async fn ask(&self, case: &Case) -> Option<Asked> {
        self.api.create_all(NODES, case.nodes.clone()).await;
        if !case.guards.is_empty() {
            self.api.create_once(NAMESPACES, &json!({"metadata": {"name": case.namespace}})).await;
        }
        for object in case.volumes.iter().chain(&case.devices) {
            self.api.create(&all_of(object), object).await?;
        }
        for pod in &case.pods {
            self.api.create(&all_of(pod), pod).await?;
            if pod["status"].is_object() {
                self.api.merge(&format!("{}/status", path(pod)), &json!({"status": pod["status"]})).await;
            }
            if pod.pointer("/metadata/finalizers").is_some() {
                self.api.delete(&path(pod)).await;
            }
        }
        for claim in &case.claims {
            self.claim(claim).await?;
        }
        for guard in &case.guards {
            self.api.create(&all_of(guard), guard).await?;
        }
        self.counted(case).await;
        // Refused as the replicas would be.
        self.api.create(&format!("{}?dryRun=All", all_of(&case.template)), &case.template).await?;
        let objects = json!({"apiVersion": "v1", "kind": "List", "items": self.observed(case).await});
        // As the replicas will be, whose label the namespace's other pods do not have.
        let mut template = case.template.clone();
        template["metadata"]["labels"]["replica"] = json!("");
        let answer = answer(&self.plimsoll, &objects, &template);
        Some(Asked { objects, template, answer })
    }

    /// Creates a claim that has been allocated; a reservation names the pod that exists.
    async fn claim(&self, claim: &Value) -> Option<()> {
        self.api.create(&all_of(claim), claim).await?;
        let mut status = claim["status"].clone();
        if let Some(consumer) = status.pointer_mut("/reservedFor/0") {
            let namespace = claim["metadata"]["namespace"].as_str().unwrap();
            let pod = format!("{}/{}", all_in(namespace, "pods"), consumer["name"].as_str().unwrap());
            consumer["uid"] = self.api.get(&pod).await["metadata"]["uid"].clone();
        }
        self.api.merge(&format!("{}/status", path(claim)), &json!({"status": status})).await;
        Some(())
    }

    /// Waits until the quotas of a case have been counted: until then they refuse everything.
    async fn counted(&self, case: &Case) {
        let started = Instant::now();
        for quota in case.guards.iter().filter(|guard| guard["kind"] == "ResourceQuota") {
            while self.api.get(&path(quota)).await["status"]["used"].is_null() {
                assert!(started.elapsed() < PATIENCE, "a quota is not counted: {quota}");
                sleep(Duration::from_millis(50)).await;
            }
        }
    }

    /// The objects that decide about a case.
    async fn observed(&self, case: &Case) -> Vec<Value> {
        let label = format!("labelSelector={CASE}%3D{}", case.name);
        let spaces = format!("/api/v1/namespaces/{}", case.namespace);
        let mut items = self.api.items(&format!("{NODES}?{label}"), "v1", "Node").await;
        items.extend(self.api.items(&format!("{PODS}?{label}"), "v1", "Pod").await);
        items.extend(self.api.items(PRIORITY_CLASSES, "scheduling.k8s.io/v1", "PriorityClass").await);
        items.extend(self.api.items(RUNTIME_CLASSES, "node.k8s.io/v1", "RuntimeClass").await);
        for namespace in [&case.namespace, OTHER] {
            items.push(self.api.get(&format!("{NAMESPACES}/{namespace}")).await);
        }
        for (path, kind) in STORAGE.into_iter().chain(DEVICES) {
            // A list of its own says that there are no others.
            let of_case = self.api.items(&format!("{path}?{label}"), version_of(path), kind).await;
            items.push(json!({"apiVersion": version_of(path), "kind": format!("{kind}List"), "items": of_case}));
        }
        for (plural, kind) in [("limitranges", "LimitRange"), ("resourcequotas", "ResourceQuota")] {
            items.extend(self.api.items(&format!("{spaces}/{plural}"), "v1", kind).await);
        }
        items
    }

    /// Bound replicas by case, once the scheduler has looked at all of them and binds no more.
    async fn settled(&self) -> BTreeMap<String, u64> {
        let (started, mut before, mut since) = (Instant::now(), None, Instant::now());
        loop {
            let pods = self.api.items(&format!("{PODS}?labelSelector=replica"), "v1", "Pod").await;
            let waits = |pod: &Value| pod.pointer("/spec/nodeName").is_none();
            let judged = |pod: &Value| {
                let conditions = pod["status"]["conditions"].as_array();
                let given_up = |it: &Value| GIVEN_UP.iter().any(|reason| it["reason"] == *reason);
                conditions.is_some_and(|all| all.iter().any(given_up))
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
            sleep(Duration::from_millis(400)).await;
        }
    }

    async fn clean(&self, cases: &[Case]) {
        let held = cases.iter().flat_map(|case| &case.pods).filter(|pod| pod.pointer("/metadata/finalizers").is_some());
        for pod in held {
            self.api.merge(&path(pod), &json!({"metadata": {"finalizers": null}})).await;
        }
        let namespaces: BTreeSet<_> = cases.iter().map(|case| case.namespace.as_str()).chain([OTHER]).collect();
        for namespace in namespaces {
            self.api.delete(&format!("{}?gracePeriodSeconds=0", all_in(namespace, "pods"))).await;
            self.api.delete(&format!("/apis/resource.k8s.io/v1/namespaces/{namespace}/resourceclaims")).await;
        }
        let others = |case: &Case| [&case.guards, &case.volumes, &case.devices].map(Clone::clone).concat();
        for object in &cases.iter().flat_map(others).collect::<Vec<_>>() {
            self.api.delete_if_there(&path(object)).await;
        }
        self.api.delete(NODES).await;
        let started = Instant::now();
        for (path, kind) in [(PODS, "Pod"), (CLAIMS, "ResourceClaim")] {
            loop {
                let left = self.api.items(path, version_of(path), kind).await;
                if left.is_empty() {
                    break;
                }
                assert!(started.elapsed() < PATIENCE, "{path} do not go away");
                // A claim may be made for a pod that its controller has not yet heard is gone, and nothing collects it.
                for claim in left.iter().filter(|_| kind == "ResourceClaim") {
                    self.api.delete_if_there(&self::path(claim)).await;
                }
                sleep(Duration::from_millis(50)).await;
            }
        }
    }

    /// Takes away what the difference does not need, keeps what is left as files, and fails.
    async fn report(&self, case: &Case) -> ! {
        let mut case = case.clone();
        let mut tries = 0;
        'again: while tries < SHRINKS {
            for smaller in case.smaller() {
                tries += 1;
                let outcome = self.outcomes(std::slice::from_ref(&smaller)).await.remove(0);
                if outcome.is_some_and(|(outcome, _)| outcome.is_wrong()) {
                    case = smaller;
                    continue 'again;
                }
            }
            break;
        }
        let (outcome, asked) = self.outcomes(std::slice::from_ref(&case)).await.remove(0).expect("it was accepted");
        panic!("seed {}: {outcome:?}\n{}", case.name, asked.keep(&case));
    }
}

// === impl Asked ===

impl Asked {
    /// Keeps it as files; returns the command that asks the same.
    fn keep(&self, case: &Case) -> String {
        let folder = env::temp_dir().join(format!("plimsoll-case-{}", case.name));
        fs::create_dir_all(&folder).unwrap();
        let (objects, template) = (folder.join("objects.json"), folder.join("template.json"));
        fs::write(&objects, serde_json::to_vec_pretty(&self.objects).unwrap()).unwrap();
        fs::write(&template, serde_json::to_vec_pretty(&self.template).unwrap()).unwrap();
        format!("plimsoll capacity -f {} --for {}", objects.display(), template.display())
    }
}

// === impl Outcome ===

impl Outcome {
    fn is_wrong(&self) -> bool {
        match self.class.as_str() {
            "exact" => self.bound != self.lo,
            "interval" => self.bound < self.lo || self.bound > self.hi,
            _ => self.lo != 0,
        }
    }
}

/// The codes of reasons.
fn codes(reasons: &Value) -> Vec<String> {
    let reasons = reasons.as_array().into_iter().flatten();
    reasons.filter_map(|reason| reason["code"].as_str().map(str::to_owned)).collect()
}

/// More replicas than fit, but for those that ask for little.
fn replicas(case: &Case) -> Vec<Value> {
    let replica = |index: u64| {
        let mut pod = case.template.clone();
        pod["metadata"]["name"] = json!(format!("{}-{index}", pod["metadata"]["name"].as_str().unwrap()));
        pod["metadata"]["labels"]["replica"] = json!("");
        pod
    };
    (0..REPLICAS).map(replica).collect()
}

fn answer(plimsoll: &PathBuf, objects: &Value, template: &Value) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let (list, pod) = (folder.path().join("objects"), folder.path().join("pod"));
    fs::write(&list, objects.to_string()).unwrap();
    fs::write(&pod, template.to_string()).unwrap();
    let mut command = Command::new(plimsoll);
    let output = command.args(["capacity", "-o", "json", "-f"]).arg(list).arg("--for").arg(pod).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}
