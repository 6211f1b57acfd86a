//! KEDA's load on the external scaler: 5,000 push triggers on one connection, two streams each, and 5,000 calls of
//! GetMetrics a second beside them, over TLS, at fixed times whatever the replies do.
//!
//! Goal: p99 of at most 1 ms on two cores. Answers come from a decided snapshot of 5,000 ScaledObjects. Client and
//! server are one process, so that the resident memory is that of both; what the streams add is told apart.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "a benchmark")]

#[path = "shared/arrivals.rs"]
mod arrivals;
#[path = "../src/core/benches/shared/fleet.rs"]
mod fleet;

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use plimsoll::{
    scaler::{
        self, Activity, Clients, Metrics, State, Triggers,
        proto::{GetMetricsRequest, ScaledObjectRef, external_scaler_client::ExternalScalerClient},
    },
    server::{self, Port, Tls, certificate::Files},
};
use plimsoll_core::{
    answer::Refusal,
    decision::{self, Live, Snapshot},
    object::{ObjectKey, WorkloadKey, keda::ScaledObject},
    policy::Policy,
    quantity::Milli,
    trigger::Trigger,
};
use serde_json::json;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

const OBJECTS: usize = 5_000;
const RATE: u32 = 5_000;
const SECONDS: u32 = 5;

/// Answers as the service does.
struct Decided {
    snapshot: Snapshot,
    live: BTreeMap<WorkloadKey, Live>,
    now: Timestamp,
    changes: watch::Sender<u64>,
}

fn metadata() -> [(String, String); 3] {
    [("scalerAddress", "plimsoll-scaler:9443"), ("signal", "queueLength"), ("threshold", "10")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
}

fn name(index: usize) -> String {
    format!("object-{index:04}")
}

impl Decided {
    fn new() -> Self {
        let now: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        let (mut view, signals) = fleet::fleet(now);
        for index in 0..OBJECTS {
            let metadata: BTreeMap<_, _> = metadata().into();
            let object: ScaledObject = serde_json::from_value(json!({
                "metadata": {"name": name(index), "namespace": "ml"},
                "spec": {
                    "scaleTargetRef": {"name": format!("llm-{:03}", index % 200)}, "minReplicaCount": 1,
                    "triggers": [{"type": "external-push", "metadata": metadata}],
                },
            }))
            .unwrap();
            view.scaled_objects.insert(object.metadata.key(), object);
        }
        let snapshot = decision::decide(&view, &signals, &Policy::default(), None, now);
        let live = view.workloads.keys().map(|key| (key.clone(), Live::of(&view, key).unwrap())).collect();
        Self { snapshot, live, now, changes: watch::channel(0).0 }
    }
}

impl Triggers for Decided {
    fn value(&self, object: &ObjectKey, trigger: &Arc<Trigger>) -> Result<Milli, Refusal> {
        let live = |workload: &WorkloadKey| self.live.get(workload).cloned();
        decision::answer_trigger(&self.snapshot, live, object, trigger, self.now)
    }

    fn activity(&self, object: &ObjectKey, trigger: &Arc<Trigger>) -> Result<Activity, Refusal> {
        let live = |workload: &WorkloadKey| self.live.get(workload).cloned();
        let found = decision::trigger_activity(&self.snapshot, live, object, trigger, self.now)?;
        Ok(Activity { active: found.active, at_zero: found.at_zero })
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

fn reference(index: usize) -> ScaledObjectRef {
    ScaledObjectRef { name: name(index), namespace: "ml".to_owned(), scaler_metadata: metadata().into() }
}

/// Resident memory of this process, in MiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
}

async fn connect(tasks: &mut JoinSet<()>) -> ExternalScalerClient<Channel> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let files = tempfile::TempDir::new().unwrap();
    let (certificate, key) = (files.path().join("tls.crt"), files.path().join("tls.key"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let tls = Tls::from_files(Files { certificate, key }, server::Metrics::default()).await.unwrap();
    let (router, _health) = scaler::router(State {
        triggers: Arc::new(Decided::new()),
        clients: Arc::new(Clients::anybody()),
        metrics: Metrics::default(),
        deadline: scaler::DEADLINE,
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let limits = scaler::limits(scaler::CONNECTION_AGE);
    let port = Port { tls: Some(Arc::new(tls)), limits, ..Port::default() };
    tasks.spawn(server::serve(listener, port, router, std::future::pending()));
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(made.cert.pem())).domain_name("localhost");
    let endpoint = Endpoint::from_shared(format!("https://{address}")).unwrap().tls_config(tls).unwrap();
    ExternalScalerClient::new(endpoint.connect().await.unwrap())
}

async fn load() {
    let mut tasks = JoinSet::new();
    let client = connect(&mut tasks).await;
    let before = resident();
    let mut streams = Vec::new();
    for index in 0..OBJECTS {
        let mut client = client.clone();
        let mut pushes = client.stream_is_active(reference(index)).await.unwrap().into_inner();
        assert!(pushes.message().await.unwrap().unwrap().result);
        let mut specs = client.stream_metric_spec(reference(index)).await.unwrap().into_inner();
        assert!(specs.message().await.unwrap().is_some());
        streams.push((pushes, specs));
    }
    let with_streams = resident();
    let mut replies = JoinSet::new();
    let mut arrivals = arrivals::arrivals(RATE, SECONDS);
    let mut index = 0;
    while let Some(due) = arrivals.recv().await {
        index += 1;
        let mut client = client.clone();
        replies.spawn(async move {
            let question = GetMetricsRequest {
                scaled_object_ref: Some(reference(index % OBJECTS)),
                metric_name: "plimsoll-queue-length".to_owned(),
            };
            let values = client.get_metrics(question).await.unwrap().into_inner().metric_values;
            assert_eq!(values.len(), 1);
            due.elapsed()
        });
    }
    let mut latencies = replies.join_all().await;
    latencies.sort_unstable();
    let at = |permille: usize| latencies[(latencies.len() - 1) * permille / 1_000];
    println!(
        "{} streams on one connection, GetMetrics {RATE}/s for {SECONDS} s: p50 {:?}, p99 {:?}, p99.9 {:?}, max {:?} (goal: p99 <= 1 ms)",
        streams.len() * 2,
        at(500),
        at(990),
        at(999),
        at(1_000),
    );
    println!(
        "resident, server and client together: {before} MiB, {with_streams} MiB with the streams, {} MiB after",
        resident()
    );
}

fn main() {
    // `cargo test --benches` and `--list` must not take seconds.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    // The second provider of a process is an error, and there is no first.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(load());
}
