use std::{net::SocketAddr, sync::Arc, time::Duration};

use plimsoll::{
    config::{self, sources::Scrape},
    source::{Results, SourceEvent, Target, scrape},
};
use plimsoll_core::{object::ObjectKey, profile, profile::Reading, signal::Refused};
use tokio::{
    io::AsyncWriteExt,
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinSet,
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use super::{
    provider, reason, until,
    upstream::{Upstreams, answer, bomb, forever, mute},
};

const GOOD: &str = "# HELP inference_queue_length x\ninference_queue_length{model=\"a\"} 7\n";

fn settings() -> Scrape {
    let text = "apiVersion: plimsoll.dev/v1alpha1\nkind: Configuration\nscrape: {interval: 100ms, limits: {bodyBytes: 2097152}}\n";
    config::parse(text, "test").unwrap().sources.scrape
}

fn target(name: &str, address: SocketAddr) -> Target {
    Target {
        source: name.into(),
        url: format!("http://{address}/metrics").parse().unwrap(),
        subject: profile::Target::Pod(ObjectKey::new("ns", name)),
        ready: true,
    }
}

/// A scraper that runs.
struct Running {
    targets: watch::Sender<Arc<Vec<Target>>>,
    results: mpsc::Receiver<SourceEvent>,
    shutdown: CancellationToken,
    task: JoinSet<Result<(), scrape::ScrapeError>>,
}

fn start(targets: Vec<Target>) -> Running {
    let (sender, results) = mpsc::channel(16);
    start_with(targets, settings(), Results::new(sender), results)
}

fn start_with(targets: Vec<Target>, settings: Scrape, told: Results, results: mpsc::Receiver<SourceEvent>) -> Running {
    provider();
    let (targets, list) = watch::channel(Arc::new(targets));
    let shutdown = CancellationToken::new();
    let mut task = JoinSet::new();
    task.spawn(scrape::run(list, settings, told, shutdown.clone()));
    Running { targets, results, shutdown, task }
}

impl Running {
    async fn stop(mut self) -> mpsc::Receiver<SourceEvent> {
        self.shutdown.cancel();
        self.task.join_next().await.unwrap().unwrap().unwrap();
        self.results
    }
}

/// The one value of a scrape, as its exact text.
fn queue(event: &SourceEvent) -> String {
    let SourceEvent::Scraped { observed, .. } = event else { panic!("{event:?}") };
    match observed.observations[..] {
        [profile::Observation { reading: Reading::Gauge(value), .. }] => value.to_string(),
        ref other => panic!("{other:?}"),
    }
}

/// Every way to fail, with the reason that is told.
async fn hostile(upstreams: &mut Upstreams) -> Vec<(&'static str, SocketAddr, &'static str)> {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let endless = upstreams.serve(move |stream| async move {
        let chunk = format!("2000\r\n{}\r\n", "#\n".repeat(0x1000));
        forever(stream, chunked.as_bytes(), chunk.as_bytes(), Duration::ZERO).await;
    });
    let endless = endless.await;
    let drip = upstreams.serve(move |stream| async move {
        forever(stream, chunked.as_bytes(), b"1\r\n#\r\n", Duration::from_millis(100)).await;
    });
    let drip = drip.await;
    let silent = upstreams.serve(mute).await;
    let endless_head = upstreams.serve(|stream| async move {
        forever(stream, b"HTTP/1.1 200 OK\r\n", &b"X-Y: z\r\n".repeat(100), Duration::ZERO).await;
    });
    let endless_head = endless_head.await;
    let bomb = answer("200 OK", "Content-Encoding: gzip\r\n", bomb(64 << 20));
    let no_gzip = answer("200 OK", "Content-Encoding: gzip\r\n", b"no gzip at all".to_vec());
    let redirect = answer("302 Found", "Location: http://169.254.169.254/\r\n", Vec::new());
    let short = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\ninference_queue_length 7\n".to_vec();
    let label = format!("inference_queue_length{{x=\"{}\"}} 7\n", "x".repeat(1 << 20));
    let many = "inference_queue_length 1\n".repeat(50_001);
    let foreign = "DCGM_FI_DEV_GPU_UTIL{gpu=\"0\",UUID=\"u\",namespace=\"victim\",pod=\"p\"} 100\n";
    vec![
        ("refused", closed, "connection refused"),
        ("silent", silent, "timed out after 2s"),
        ("drip", drip, "timed out after 2s"),
        ("endless", endless, "body larger than 2 MiB"),
        ("endless head", endless_head, "the answer is not valid HTTP"),
        ("bomb", upstreams.bytes(bomb).await, "body larger than 2 MiB"),
        ("no gzip", upstreams.bytes(no_gzip).await, "the body ends early or is not what its encoding says"),
        ("redirect", upstreams.bytes(redirect).await, "HTTP 302, redirects are not followed"),
        ("500", upstreams.bytes(answer("500 No", "", Vec::new())).await, "HTTP 500"),
        ("short", upstreams.bytes(short).await, "the body ends early or is not what its encoding says"),
        ("not HTTP", upstreams.bytes(b"SSH-2.0-OpenSSH_9.9\r\n".to_vec()).await, "the answer is not valid HTTP"),
        ("html", upstreams.body("<html>\n<body>").await, "no line is a sample: the first fault is that line 1 "),
        (
            "label",
            upstreams.body(label).await,
            "no line is a sample: the first fault is that line 1 has a label value longer",
        ),
        ("many", upstreams.body(many).await, "the body has more than 50000 samples"),
        (
            "empty",
            upstreams.body("").await,
            "none of the metrics is of a known profile (vllm, sglang, tgi, tei, triton, generic)",
        ),
        (
            "foreign",
            upstreams.body(foreign).await,
            "none of the metrics is of a known profile (vllm, sglang, tgi, tei, triton, generic)",
        ),
    ]
}

#[tokio::test]
async fn a_hostile_target_fails_alone_and_says_why() {
    let mut upstreams = Upstreams::default();
    let good = upstreams.body(GOOD).await;
    let hostile = hostile(&mut upstreams).await;
    let mut targets: Vec<_> = hostile.iter().map(|(name, address, _)| target(name, *address)).collect();
    targets.push(target("good", good));
    let mut running = start(targets);
    let told = until(&mut running.results, |told| {
        told.len() == hostile.len() + 1 && told.get("good").is_some_and(|events| events.len() > 10)
    });
    let told = told.await;
    for (name, _, expected) in hostile {
        for event in &told[name] {
            assert!(reason(event).starts_with(expected), "{name}: {}", reason(event));
        }
    }
    assert!(told["good"].iter().all(|event| queue(event) == "7"), "{:?}", told["good"]);
    running.stop().await;
}

#[tokio::test]
async fn odd_values_are_refused_one_by_one_and_never_become_numbers() {
    let mut upstreams = Upstreams::default();
    let nan = upstreams.body("inference_queue_length NaN\n").await;
    let twice = "inference_queue_length{a=\"1\"} 3\ninference_queue_length{a=\"1\"} 4\n";
    let twice = upstreams.body(twice).await;
    let mixed = upstreams.body(format!("{GOOD}inference_queue_length{{\n")).await;
    let mut running = start(vec![target("nan", nan), target("twice", twice), target("mixed", mixed)]);
    let told = until(&mut running.results, |told| told.len() == 3).await;
    let observed = |name: &str| match &told[name][0] {
        SourceEvent::Scraped { observed, .. } => observed.clone(),
        other => panic!("{name}: {other:?}"),
    };
    assert!(observed("nan").observations.is_empty());
    assert_eq!(observed("nan").refused.get(&Refused::NotFinite), Some(&1));
    assert_eq!(observed("twice").observations, [], "{:?}", observed("twice"));
    assert_eq!(observed("twice").refused.keys().collect::<Vec<_>>(), [&Refused::Duplicate]);
    assert_eq!((queue(&told["mixed"][0]).as_str(), observed("mixed").report.malformed), ("7", 1));
    running.stop().await;
}

#[tokio::test]
async fn a_large_body_is_read_whole() {
    let mut upstreams = Upstreams::default();
    let large = upstreams.body(format!("{}{GOOD}", "# comment\n".repeat(100_000))).await;
    let mut running = start(vec![target("large", large)]);
    let told = until(&mut running.results, |told| !told.is_empty()).await;
    assert_eq!(queue(&told["large"][0]), "7");
    running.stop().await;
}

#[tokio::test]
async fn targets_come_and_go_and_connections_are_kept() {
    let mut upstreams = Upstreams::default();
    let (connected, mut connections) = mpsc::unbounded_channel();
    let kept = upstreams.serve(move |mut stream| {
        let connected = connected.clone();
        async move {
            connected.send(()).unwrap();
            let answer = answer("200 OK", "", GOOD.into());
            let mut buffer = [0; 4096];
            loop {
                if stream.write_all(&answer).await.is_err() {
                    return;
                }
                match tokio::io::AsyncReadExt::read(&mut stream, &mut buffer).await {
                    Ok(0) | Err(_) => return,
                    Ok(_) => {}
                }
            }
        }
    });
    let kept = kept.await;
    let mut running = start(Vec::new());
    running.targets.send_replace(Arc::new(vec![target("a", kept)]));
    let told = until(&mut running.results, |told| told.get("a").is_some_and(|events| events.len() == 5)).await;
    assert!(told["a"].iter().all(|event| queue(event) == "7"));
    connections.recv().await.unwrap();
    assert!(connections.try_recv().is_err(), "one connection served all five");
    running.targets.send_replace(Arc::new(Vec::new()));
    until(&mut running.results, |told| told.values().flatten().any(|event| matches!(event, SourceEvent::Gone { .. })))
        .await;
    running.stop().await;
}

#[tokio::test]
async fn a_target_that_hangs_does_not_hold_up_its_removal_or_the_end() {
    let mut upstreams = Upstreams::default();
    let silent = upstreams.serve(mute).await;
    let mut running = start(vec![target("a", silent), target("b", silent)]);
    sleep(Duration::from_millis(200)).await;
    running.targets.send_replace(Arc::new(vec![target("a", silent)]));
    let gone = |event: &SourceEvent| matches!(event, SourceEvent::Gone { .. });
    until(&mut running.results, |told| told.get("b").is_some_and(|events| events.iter().any(gone))).await;
    running.stop().await;
}

#[tokio::test]
async fn a_run_tells_what_the_run_before_had_and_it_has_not() {
    let mut upstreams = Upstreams::default();
    let good = upstreams.body(GOOD).await;
    let (sender, results) = mpsc::channel(16);
    let told = Results::new(sender);
    let mut first = start_with(vec![target("a", good), target("b", good)], settings(), told.clone(), results);
    until(&mut first.results, |told| told.len() == 2).await;
    let results = first.stop().await;
    let mut second = start_with(vec![target("a", good)], settings(), told, results);
    let gone = |event: &SourceEvent| matches!(event, SourceEvent::Gone { .. });
    let told = until(&mut second.results, |told| {
        told.get("b").is_some_and(|events| events.iter().any(gone)) && told.contains_key("a")
    });
    assert!(!told.await["a"].iter().any(gone));
    second.stop().await;
}

#[tokio::test]
async fn many_large_bodies_that_stall_make_no_other_large_body_fail() {
    let mut upstreams = Upstreams::default();
    let stalled = upstreams.serve(|mut stream| async move {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n";
        let _sent = stream.write_all(format!("{head}{}", "# comment\n".repeat(60_000)).as_bytes()).await;
        mute(stream).await;
    });
    let stalled = stalled.await;
    let comments = "# comment\n".repeat(60_000);
    let good = upstreams.body(format!("{comments}{GOOD}")).await;
    let dcgm = "DCGM_FI_DEV_GPU_UTIL{gpu=\"0\",UUID=\"u\",namespace=\"ns\",pod=\"p\"} 100\n";
    let dcgm = upstreams.body(format!("{comments}{dcgm}")).await;
    let exporter = profile::Target::Exporter { pod: None, node: None };
    let mut targets: Vec<_> = (0..16).map(|index| target(&format!("stalled-{index}"), stalled)).collect();
    targets.push(target("good", good));
    targets.push(Target { subject: exporter, ..target("exporter", dcgm) });
    let (sender, results) = mpsc::channel(16);
    let mut running = start_with(targets, settings(), Results::new(sender), results);
    let told =
        until(&mut running.results, |told| told.len() == 18 && told.get("good").is_some_and(|events| events.len() > 2));
    let told = told.await;
    for name in ["good", "exporter"] {
        let failed = told[name].iter().find(|event| matches!(event, SourceEvent::Failed { .. }));
        assert_eq!(failed, None, "{name}");
    }
    assert!(told["exporter"].len() > told["good"].len(), "the exporter waited for nobody");
    running.stop().await;
}
