//! One request of an HPA: through the router alone, and over TLS under an open load.
//!
//! The load report sends 2,000 requests a second for three seconds at fixed times, whatever the replies do, and
//! measures each from the time at which it was due. Goal: p99 below 1 ms on two cores.
//!
//! Answers come from a decided snapshot of 200 workloads and their live scales, as in the service. Authentication and
//! authorisation are left out: the front proxy keeps its connection, and verdicts are remembered.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "a benchmark")]

#[path = "shared/arrivals.rs"]
mod arrivals;
#[path = "../src/core/benches/shared/fleet.rs"]
mod fleet;

use std::{collections::BTreeMap, hint::black_box, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use criterion::{Criterion, criterion_group, criterion_main};
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use jiff::Timestamp;
use plimsoll::{
    api::{self, Guard, Health, Metrics, State},
    server::{self, Port, Tls},
};
use plimsoll_core::{
    answer::{Answers, CustomRequest, ExternalValue, ObjectValue, Refusal},
    decision::{self, Live, Snapshot},
    object::WorkloadKey,
    policy::Policy,
    selector::Selector,
};
use prometheus_client::registry::Registry;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{net::TcpListener, task::JoinSet};
use tower::ServiceExt;

const PATH: &str =
    "/apis/external.metrics.k8s.io/v1beta1/namespaces/ml/dcgm_gpu_utilization?labelSelector=workload%3Dllm-007";
const RATE: u32 = 2_000;
const SECONDS: u32 = 3;

/// Answers as the service does: from a decided snapshot of the fleet and the live scales of its workloads.
struct Decided {
    snapshot: Snapshot,
    live: BTreeMap<WorkloadKey, Live>,
    now: Timestamp,
}

impl Decided {
    fn new() -> Self {
        let now: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        let (view, signals) = fleet::fleet(now);
        let snapshot = decision::decide(&view, &signals, &Policy::default(), None, now);
        let live = view.workloads.keys().map(|key| (key.clone(), Live::of(&view, key).unwrap())).collect();
        Self { snapshot, live, now }
    }
}

impl Answers for Decided {
    fn external(&self, namespace: &str, metric: &str, selector: &Selector) -> Result<Vec<ExternalValue>, Refusal> {
        let live = |workload: &WorkloadKey| self.live.get(workload).cloned();
        decision::answer_external(&self.snapshot, live, namespace, metric, selector, self.now)
    }

    fn custom(&self, request: &CustomRequest) -> Result<Vec<ObjectValue>, Refusal> {
        let live = |workload: &WorkloadKey| self.live.get(workload).cloned();
        decision::answer_custom(&self.snapshot, live, request, self.now)
    }

    fn external_metrics(&self) -> Vec<String> {
        decision::external_metrics(&self.snapshot.policy)
    }

    fn custom_metrics(&self) -> Vec<String> {
        decision::custom_metrics(&self.snapshot.policy)
    }
}

fn router() -> Router {
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    api::router(State {
        answers: Arc::new(Decided::new()),
        guard: Guard::Open,
        health: Health::default(),
        metrics,
        registry: Arc::new(registry),
        keda: Arc::default(),
        deadline: api::DEADLINE,
    })
}

fn through_the_router(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let router = router();
    criterion.bench_function("external metric through the router", |bencher| {
        bencher.iter(|| {
            runtime.block_on(async {
                let request = Request::get(PATH).header("accept", "application/vnd.kubernetes.protobuf, */*");
                let reply = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
                black_box(reply.into_body().collect().await.unwrap().to_bytes())
            })
        });
    });
}

fn over_tls(_: &mut Criterion) {
    // `--test` and `--list` must not take seconds.
    if std::env::args().any(|argument| matches!(argument.as_str(), "--test" | "--list")) {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut latencies = runtime.block_on(load());
    latencies.sort_unstable();
    let at = |permille: usize| latencies[(latencies.len() - 1) * permille / 1_000];
    println!(
        "over TLS, {RATE}/s for {SECONDS} s: {} replies, p50 {:?}, p99 {:?}, p99.9 {:?}, max {:?} (goal: p99 < 1 ms)",
        latencies.len(),
        at(500),
        at(990),
        at(999),
        at(1_000),
    );
}

async fn load() -> Vec<Duration> {
    let tls = Tls::self_signed(&["localhost".to_owned()], server::Metrics::default()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    let port = Port { tls: Some(Arc::new(tls)), ..Port::default() };
    tasks.spawn(server::serve(listener, port, router(), std::future::pending()));

    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client()));
    let stream = connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tasks.spawn(async move { drop(connection.await) });

    let mut replies = JoinSet::new();
    let mut arrivals = arrivals::arrivals(RATE, SECONDS);
    while let Some(due) = arrivals.recv().await {
        let mut sender = sender.clone();
        replies.spawn(async move {
            let request = Request::get(format!("https://localhost{PATH}")).body(Empty::<bytes::Bytes>::new()).unwrap();
            sender.ready().await.unwrap();
            let reply = sender.send_request(request).await.unwrap();
            assert_eq!(reply.status(), 200);
            reply.into_body().collect().await.unwrap();
            due.elapsed()
        });
    }
    replies.join_all().await
}

/// Trusts anything: the certificate was made a moment ago.
fn client() -> ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anything(provider)))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

#[derive(Debug)]
struct Anything(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

criterion_group!(benches, through_the_router, over_tls);
criterion_main!(benches);
