//! What `plimsoll serve` holds of a large cluster: 5,000 nodes with 150,000 pods of 500 workloads.
//!
//! The cluster is made up page by page and served over HTTP on loopback by this process; the adapter is the real
//! binary in a process of its own, so that its memory is its alone. Pods have the size and the parts of real ones
//! (some 8 KB of JSON with managed fields, volumes, environment and status); one workload in ten is a StatefulSet,
//! whose pods have labels of their own. Nothing is scraped.
//!
//! `cargo bench --bench memory` prints the time until the first decision on the whole cluster, and the resident memory
//! then, at its highest until then, and after further evaluations, and again after everything was listed anew. Between
//! them it cordons node after node, and measures how long it takes until a published answer says so.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a benchmark"
)]

mod cluster;
mod server;

use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use cluster::{NODES, PODS, WORKLOADS};
use server::Server;

/// By when a decision must be there.
const PATIENCE: Duration = Duration::from_secs(300);
/// Several evaluations at the tick of 5 s.
const EVALUATIONS: Duration = Duration::from_secs(16);
/// Nodes that are cordoned.
const EVENTS: u32 = 30;
const PAUSE: Duration = Duration::from_millis(700);
const CONFIG: &str = "apiVersion: plimsoll.dev/v1alpha1\nkind: Configuration\n\
                      dcgm: {discover: false}\npods: {annotations: false, portNames: []}\n";

/// The adapter; it ends with this value.
struct Adapter {
    process: Child,
    status: SocketAddr,
}

fn main() {
    // `cargo test --benches` only asks whether it starts.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start();
    println!("{NODES} nodes, {PODS} pods of {WORKLOADS} workloads, {} bytes of JSON a pod", cluster::pod(0).len());
    let began = Instant::now();
    let adapter = Adapter::start(folder.path(), server.address);
    adapter.wait_for_a_decision();
    println!("first decision after          {:>8.1} s", began.elapsed().as_secs_f64());
    let first = adapter.report("after the initial sync");
    adapter.answer_to_events(&server);
    sleep(EVALUATIONS);
    adapter.report("after further evaluations");
    server.expire();
    server.wait_for_a_list(PATIENCE);
    sleep(EVALUATIONS);
    adapter.report("after a complete relist");
    println!(
        "resident memory a pod         {:>8.0} bytes, everything included",
        first * 1024.0 * 1024.0 / f64::from(PODS)
    );
}

// === impl Adapter ===

impl Adapter {
    fn start(folder: &std::path::Path, server: SocketAddr) -> Self {
        let kubeconfig = folder.join("kubeconfig");
        let context = "{name: bench, context: {cluster: bench, user: bench}}";
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: bench\ncontexts: [{context}]\n\
             clusters: [{{name: bench, cluster: {{server: \"http://{server}\"}}}}]\n\
             users: [{{name: bench, user: {{}}}}]\n"
        );
        fs::write(&kubeconfig, text).unwrap();
        let config = folder.join("config.yaml");
        fs::write(&config, CONFIG).unwrap();
        let status = free_address();
        let process = Command::new(env!("CARGO_BIN_EXE_plimsoll"))
            .args(["serve", "--secure-port=0", "--bind-address=127.0.0.1", "--authentication-skip-lookup"])
            .arg(format!("--kubeconfig={}", kubeconfig.display()))
            .arg(format!("--config={}", config.display()))
            .arg(format!("--status-port={}", status.port()))
            .arg("--log-level=warn")
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { process, status }
    }

    fn wait_for_a_decision(&self) {
        let path = format!("/api/v1/decisions/{}/{}", cluster::namespace(0), cluster::workload(0));
        wait("a decision", PATIENCE, || get(self.status, &path).is_some_and(|answer| answer.contains(" 200 ")));
    }

    /// Prints how long it is from an event on the wire to an answer that knows of it.
    fn answer_to_events(&self, server: &Server) {
        let path = format!("/api/v1/decisions/{}/{}", cluster::namespace(0), cluster::workload(0));
        let fits = || {
            let answer = get(self.status, &path)?;
            let (_, body) = answer.split_once("\r\n\r\n")?;
            serde_json::from_str::<serde_json::Value>(body).ok()?["fits"]["lo"].as_u64()
        };
        let mut delays: Vec<_> = (0..EVENTS)
            .map(|event| {
                // Far apart enough that an evaluation on the tick is not taken for the answer.
                sleep(PAUSE);
                let before = fits();
                let began = Instant::now();
                server.cordon(event * 7, true);
                while fits() == before {
                    assert!(began.elapsed() < PATIENCE, "no answer to a cordoned node");
                    sleep(Duration::from_millis(2));
                }
                began.elapsed()
            })
            .collect();
        delays.sort_unstable();
        let at = |share: usize| delays[(delays.len() - 1) * share / 100].as_secs_f64() * 1000.0;
        println!(
            "event to published answer     {:>8.1} ms (median), {:.1} ms (p90), {:.1} ms (longest of {EVENTS})",
            at(50),
            at(90),
            at(100)
        );
    }

    /// Prints the resident memory; returns it in MiB.
    fn report(&self, when: &str) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let [resident, highest] = ["VmRSS:", "VmHWM:"].map(|name| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().trim_end_matches(" kB").trim().parse::<f64>().unwrap() / 1024.0
        });
        println!("{when:<30}{resident:>8.1} MiB resident, {highest:.1} MiB at its highest so far");
        resident
    }
}

impl Drop for Adapter {
    fn drop(&mut self) {
        let _gone_already = self.process.kill();
        let _status = self.process.wait();
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

fn get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

fn wait(what: &str, patience: Duration, mut there: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !there() {
        assert!(Instant::now() < deadline, "waited {patience:?} for {what}");
        sleep(Duration::from_millis(100));
    }
}
