//! `plimsoll capacity` against the real kube-scheduler, case by case.
//!
//! Each case is a small cluster on the API server. The command is asked first; then more replicas are created than can
//! ever fit, and what the scheduler binds is counted. Many cases are scheduled side by side ([`cluster_cases`] keeps
//! them apart). An exact answer must be equal, an interval must contain, and no answer may promise more.
//!
//! Needs `PLIMSOLL_BIN` and `PLIMSOLL_E2E_TOOLS`, which `make e2e` sets; without them the test fails.
//! `PLIMSOLL_E2E_CLUSTERS` sets the number of cases and `PLIMSOLL_E2E_SEED` the first seed; `PLIMSOLL_E2E_WITH` leaves out
//! the cases that do not have what it names, as a run prints it under `covered`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod api;
mod settled;
mod storage;
mod tally;

use std::{collections::BTreeSet, env, fs, path::PathBuf, process::Command, time::Duration};

use futures::{StreamExt as _, stream};
use plimsoll_e2e::cluster_cases::{CASE, Case, OTHER, PRIORITIES, runtime_classes};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use api::{
    Api, CLAIMS, CLAIMS_TO_STORAGE, DEVICES, NAMESPACES, NODES, PODS, PRIORITY_CLASSES, RUNTIME_CLASSES, STORAGE,
    VOLUMES, all_in, all_of, path, version_of,
};
use settled::Settled;
use tally::Tally;

/// Cases of one run; about one in ten is no valid object and does not count.
const CASES: u64 = 560;
/// Cases that are scheduled side by side.
const BATCH: usize = 50;
/// Within so long the scheduler and controllers have heard of an object.
const HEARSAY: Duration = Duration::from_millis(300);
/// How long controllers may take to complete what a case has, and to take it away.
const PATIENCE: Duration = Duration::from_secs(120);
/// Replicas of each case: more than fit, but for those that ask for little.
const REPLICAS: u64 = 18;
/// What is made of a case while it is scheduled, by path and kind.
const MADE: [(&str, &str); 4] = [
    (PODS, "Pod"),
    (CLAIMS, "ResourceClaim"),
    (CLAIMS_TO_STORAGE, "PersistentVolumeClaim"),
    (VOLUMES, "PersistentVolume"),
];
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
    workload: Value,
    answer: Value,
}

/// What becomes of a case.
enum Fate {
    /// The API server refuses an object of it.
    Refused,
    /// The scheduler has said nothing of these pods.
    Ignored(BTreeSet<String>),
    Judged(Outcome, Asked),
}

struct Oracle {
    api: Api,
    plimsoll: PathBuf,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_real_scheduler_binds_what_was_answered_and_never_less_than_was_promised() {
    let number = |name: &str, default| env::var(name).map_or(default, |text| text.parse().unwrap());
    let (first, count) = (number("PLIMSOLL_E2E_SEED", 1), number("PLIMSOLL_E2E_CLUSTERS", CASES));
    let wanted = env::var("PLIMSOLL_E2E_WITH").ok();
    let is_wanted = |case: &Case| wanted.as_deref().is_none_or(|name| case.features()[name]);
    let count = usize::try_from(count).unwrap();
    let mut all = (first..).map(Case::random).filter(is_wanted).take(count);
    let oracle = Oracle::start().await;
    let mut tally = Tally::default();
    let started = Instant::now();
    loop {
        let cases: Vec<_> = all.by_ref().take(BATCH).collect();
        if cases.is_empty() {
            break;
        }
        for (case, fate) in cases.iter().zip(oracle.fates(&cases).await) {
            let (outcome, asked) = match fate {
                Fate::Judged(outcome, asked) => (outcome, asked),
                Fate::Refused => {
                    tally.refuse();
                    continue;
                }
                Fate::Ignored(pods) => {
                    println!("seed {}: the scheduler has not looked at {pods:?}; once more", case.name);
                    tally.retry();
                    oracle.again(case).await
                }
            };
            if outcome.is_wrong() {
                println!("{outcome:?}; looking for what it needs\n{}", asked.keep(case));
                oracle.report(case).await;
            }
            tally.add(case, &outcome);
        }
    }
    tally.print(started.elapsed());
    if wanted.is_none() {
        tally.check(count);
    }
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

    /// What becomes of cases, side by side.
    async fn fates(&self, cases: &[Case]) -> Vec<Fate> {
        let asked: Vec<_> = stream::iter(cases).map(|case| self.ask(case)).buffered(4).collect().await;
        let accepted = || cases.iter().zip(&asked).filter(|(_, asked)| asked.is_some()).map(|(case, _)| case);
        let replicas = || accepted().flat_map(|case| (0..REPLICAS).map(move |ordinal| (case, ordinal)));
        self.api.create_each(replicas().flat_map(|(case, ordinal)| case.claims_of(ordinal)).collect()).await;
        // The scheduler hears of claims and of pods on different ways.
        sleep(HEARSAY).await;
        self.api.create_each(replicas().map(|(case, ordinal)| case.replica(ordinal)).collect()).await;
        let promised = cases.iter().zip(&asked).filter_map(|(case, asked)| Some((case, asked.as_ref()?)));
        let promised = promised.map(|(case, asked)| (case.name.clone(), asked.promise().lo)).collect();
        let mut settled = Settled::wait(&self.api, &promised).await;
        self.clean(cases).await;
        let mut fate = |case: &Case, asked: Option<Asked>| {
            let Some(asked) = asked else { return Fate::Refused };
            let bound = settled.bound.get(&case.name).copied().unwrap_or(0);
            let outcome = Outcome { bound, ..asked.promise() };
            match settled.ignored.remove(&case.name) {
                // More than there should be is wrong already.
                Some(pods) if outcome.bound <= outcome.hi => Fate::Ignored(pods),
                _ => Fate::Judged(outcome, asked),
            }
        };
        cases.iter().zip(asked).map(|(case, asked)| fate(case, asked)).collect()
    }

    /// What becomes of a case that was judged or ignored before, by itself.
    async fn again(&self, case: &Case) -> (Outcome, Asked) {
        match self.fates(std::slice::from_ref(case)).await.remove(0) {
            Fate::Judged(outcome, asked) => (outcome, asked),
            Fate::Ignored(pods) => panic!("seed {}: the scheduler does not look at {pods:?}", case.name),
            Fate::Refused => panic!("seed {}: it was accepted", case.name),
        }
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
        self.completed(case).await;
        for guard in &case.guards {
            self.api.create(&all_of(guard), guard).await?;
        }
        self.counted(case).await;
        // Refused as the replicas would be.
        self.api.create(&format!("{}?dryRun=All", all_of(&case.template)), &case.replica(0)).await?;
        let objects = json!({"apiVersion": "v1", "kind": "List", "items": self.observed(case).await});
        let workload = case.workload();
        let answer = answer(&self.plimsoll, &objects, &workload);
        Some(Asked { objects, workload, answer })
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

    /// Waits until controllers have bound and made the claims of a case.
    async fn completed(&self, case: &Case) {
        let label = format!("labelSelector={CASE}%3D{}", case.name);
        let started = Instant::now();
        while !case.volumes.is_empty() && !storage::is_ready(&self.api, case, &label).await {
            assert!(started.elapsed() < PATIENCE, "seed {}: volumes or claims are not looked at", case.name);
            sleep(Duration::from_millis(50)).await;
        }
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

    async fn clean(&self, cases: &[Case]) {
        let held = cases.iter().flat_map(|case| &case.pods).filter(|pod| pod.pointer("/metadata/finalizers").is_some());
        for pod in held {
            self.api.merge(&path(pod), &json!({"metadata": {"finalizers": null}})).await;
        }
        let namespaces: BTreeSet<_> = cases.iter().map(|case| case.namespace.as_str()).chain([OTHER]).collect();
        let all = |namespace| {
            let claims = format!("/apis/resource.k8s.io/v1/namespaces/{namespace}/resourceclaims");
            let pods = format!("{}?gracePeriodSeconds=0", all_in(namespace, "pods"));
            [pods, claims, all_in(namespace, "persistentvolumeclaims")]
        };
        self.api.delete_each(namespaces.into_iter().flat_map(all)).await;
        let others = |case: &Case| [&case.guards, &case.volumes, &case.devices].map(Clone::clone).concat();
        self.api.delete_each(cases.iter().flat_map(others).map(|object| path(&object))).await;
        self.api.delete(VOLUMES).await;
        self.api.delete(NODES).await;
        self.gone().await;
    }

    /// Waits until what controllers and the scheduler make and keep is gone, and takes away what comes late: a claim may
    /// be made for a pod that its controller has not yet heard is gone, and nothing collects it.
    async fn gone(&self) {
        let (started, mut since) = (Instant::now(), Instant::now());
        while since.elapsed() < HEARSAY {
            assert!(started.elapsed() < PATIENCE, "pods, claims and volumes do not go away");
            for (path, kind) in MADE {
                let left = self.api.items(path, version_of(path), kind).await;
                if !left.is_empty() {
                    since = Instant::now();
                }
                for object in left.iter().filter(|_| kind != "Pod") {
                    self.api.delete_if_there(&self::path(object)).await;
                }
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Takes away what the difference does not need, keeps what is left as files, and fails.
    async fn report(&self, case: &Case) -> ! {
        let mut case = case.clone();
        let mut tries = 0;
        'again: while tries < SHRINKS {
            for smaller in case.smaller() {
                tries += 1;
                let fate = self.fates(std::slice::from_ref(&smaller)).await.remove(0);
                if matches!(fate, Fate::Judged(outcome, _) if outcome.is_wrong()) {
                    case = smaller;
                    continue 'again;
                }
            }
            break;
        }
        let (outcome, asked) = self.again(&case).await;
        panic!("seed {}: {outcome:?}\n{}", case.name, asked.keep(&case));
    }
}

// === impl Asked ===

impl Asked {
    /// What is promised of the replicas; none of them is bound yet.
    fn promise(&self) -> Outcome {
        let fits = &self.answer["fits"];
        // What is not or may not be created cannot be bound.
        let creatable = self.answer["quota"]["pods"].as_u64().unwrap_or(u64::MAX).min(REPLICAS);
        let least = |number: u64| creatable.min(number);
        Outcome {
            class: fits["class"].as_str().unwrap().to_owned(),
            lo: least(fits["lo"].as_u64().unwrap()),
            hi: least(fits["hi"].as_u64().unwrap_or(u64::MAX)),
            bound: 0,
            unmodelled: codes(&self.answer["unmodelled"]),
        }
    }

    /// Keeps it as files; returns the command that asks the same.
    fn keep(&self, case: &Case) -> String {
        let folder = env::temp_dir().join(format!("plimsoll-case-{}", case.name));
        fs::create_dir_all(&folder).unwrap();
        let (objects, workload) = (folder.join("objects.json"), folder.join("workload.json"));
        fs::write(&objects, serde_json::to_vec_pretty(&self.objects).unwrap()).unwrap();
        fs::write(&workload, serde_json::to_vec_pretty(&self.workload).unwrap()).unwrap();
        format!("plimsoll capacity -f {} --for {}", objects.display(), workload.display())
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

fn answer(plimsoll: &PathBuf, objects: &Value, workload: &Value) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let (list, of) = (folder.path().join("objects"), folder.path().join("workload"));
    fs::write(&list, objects.to_string()).unwrap();
    fs::write(&of, workload.to_string()).unwrap();
    let mut command = Command::new(plimsoll);
    let output = command.args(["capacity", "-o", "json", "-f"]).arg(list).arg("--for").arg(of).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}
