//! A Prometheus that is an axum router, and the ways in which it lies.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use plimsoll::{
    config::{self, sources::PrometheusServer},
    source::{
        Results, SourceEvent,
        prometheus::{self, Needs},
    },
};
use plimsoll_core::{object::ObjectKey, trigger::Profile};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::{provider, reason, until};

/// What the fake was asked: form fields, and the Authorization header.
type Asked = (BTreeMap<String, String>, Option<String>);
type Answers = Arc<dyn Fn(&str) -> (StatusCode, String) + Send + Sync>;

/// A Prometheus that answers by a function of the query.
struct Fake {
    url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    _server: JoinSet<()>,
}

impl Fake {
    async fn start(answers: impl Fn(&str) -> (StatusCode, String) + Send + Sync + 'static) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let state: (Answers, _) = (Arc::new(answers), asked.clone());
        let router = Router::new().route("/prom/api/v1/query", post(query)).with_state(state);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/prom/", listener.local_addr().unwrap());
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, asked, _server: server }
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

async fn query(
    State((answers, asked)): State<(Answers, Arc<Mutex<Vec<Asked>>>)>,
    headers: HeaderMap,
    body: String,
) -> (StatusCode, String) {
    let form = reqwest::Url::parse(&format!("http://x/?{body}")).unwrap();
    let fields: BTreeMap<String, String> = form.query_pairs().into_owned().collect();
    let token = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
    let answer = answers(&fields["query"]);
    asked.lock().unwrap().push((fields, token));
    answer
}

fn vector(series: &str) -> String {
    format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{series}]}}}}"#)
}

fn series(pod: &str, value: &str) -> String {
    format!(r#"{{"metric":{{"__name__":"x","namespace":"a","pod":"{pod}"}},"value":[1700000000,"{value}"]}}"#)
}

/// Values 7 from a plain selector, sampled at 1699999990.
fn good(query: &str) -> (StatusCode, String) {
    let value = if query.contains("timestamp(") { "1699999990" } else { "7" };
    (StatusCode::OK, vector(&series("p", value)))
}

fn server(name: &str, url: &str, query: &str, token: Option<&Path>) -> PrometheusServer {
    let token = token.map_or_else(String::new, |path| format!("  bearerTokenFile: {}\n", path.display()));
    let text = format!(
        "apiVersion: plimsoll.dev/v1alpha1\nkind: Configuration\nprometheus:\n- name: {name}\n  url: {url}\n  interval: 100ms\n  timeout: 1s\n{token}  maxSeries: 3\n  queries:\n  - signal: queueLength\n    query: {query}\n"
    );
    config::parse(&text, "test").unwrap().sources.prometheus.remove(0)
}

fn needs(namespaces: &[&str]) -> Arc<Needs> {
    let namespaces: BTreeSet<_> = namespaces.iter().map(|name| (*name).to_owned()).collect();
    let signals = BTreeMap::from([("queueLength".to_owned(), namespaces)]);
    Arc::new(Needs { signals, ..Needs::default() })
}

struct Running {
    needs: watch::Sender<Arc<Needs>>,
    results: mpsc::Receiver<SourceEvent>,
    shutdown: CancellationToken,
    task: JoinSet<Result<(), prometheus::PrometheusError>>,
}

fn start(servers: Vec<PrometheusServer>, namespaces: &[&str]) -> Running {
    let (sender, results) = mpsc::channel(16);
    start_with(servers, namespaces, Results::new(sender), results)
}

fn start_with(
    servers: Vec<PrometheusServer>,
    namespaces: &[&str],
    told: Results,
    results: mpsc::Receiver<SourceEvent>,
) -> Running {
    provider();
    let (needs, list) = watch::channel(needs(namespaces));
    let shutdown = CancellationToken::new();
    let mut task = JoinSet::new();
    task.spawn(prometheus::run(servers, list, told, shutdown.clone()));
    Running { needs, results, shutdown, task }
}

impl Running {
    async fn stop(mut self) -> mpsc::Receiver<SourceEvent> {
        self.shutdown.cancel();
        self.task.join_next().await.unwrap().unwrap().unwrap();
        self.results
    }
}

fn values(event: &SourceEvent) -> Vec<(ObjectKey, f64, i64)> {
    let SourceEvent::Queried { signal, values, .. } = event else { panic!("{event:?}") };
    assert_eq!(signal, "queueLength");
    values.iter().map(|(pod, value, at)| (pod.clone(), *value, at.as_second())).collect()
}

#[tokio::test]
async fn values_of_pods_come_with_the_times_of_their_samples() {
    let fake = Fake::start(good).await;
    let mut running = start(vec![server("main", &fake.url, "x", None)], &["a"]);
    let source = "prometheus/main/queueLength/a";
    let told = until(&mut running.results, |told| told.get(source).is_some_and(|events| events.len() == 3)).await;
    for event in &told[source] {
        assert_eq!(values(event), [(ObjectKey::new("a", "p"), 7.0, 1_699_999_990)]);
    }
    for (fields, _) in fake.asked() {
        assert!(fields["query"].contains(r#"x{namespace="a"}"#), "{fields:?}");
        assert_eq!(fields["timeout"], "1s");
    }
    running.stop().await;
}

#[tokio::test]
async fn a_server_is_asked_the_query_of_the_profile_that_a_trigger_names() {
    let fake = Fake::start(good).await;
    let mut running = start(vec![server("main", &fake.url, "x", None)], &[]);
    let namespaces = BTreeSet::from(["a".to_owned()]);
    let written = fake.url.trim_end_matches('/').to_ascii_uppercase().replace("HTTP", "http");
    let ask = |url: &str| ((url.to_owned(), Profile::Tgi), namespaces.clone());
    let profiles = [ask(&written), ask("http://elsewhere:9090")].into();
    running.needs.send_replace(Arc::new(Needs { profiles, ..Needs::default() }));
    let source = "prometheus/main/tgi/queueLength/a";
    let told = until(&mut running.results, |told| told.contains_key(source)).await;
    assert_eq!(values(&told[source][0]), [(ObjectKey::new("a", "p"), 7.0, 1_699_999_990)]);
    assert_eq!(told.len(), 1, "nobody needs the administrator's query, and nobody else is asked");
    let asked = &fake.asked()[0].0["query"];
    assert_eq!(asked, "sum by (pod) (tgi_queue_size{namespace=\"a\"})");
    running.stop().await;
}

#[tokio::test]
async fn a_server_that_lies_or_fails_does_so_alone_and_the_reason_is_told() {
    let ok = |body: String| move |_: &str| (StatusCode::OK, body.clone());
    let foreign = series("p", "1").replace(r#""namespace":"a""#, r#""namespace":"b""#);
    let label = series(&"x".repeat(1 << 20), "1");
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let fakes = [
        ("error", Fake::start(|_| (StatusCode::UNPROCESSABLE_ENTITY, String::new())).await, "HTTP 422"),
        ("broken", Fake::start(|_| (StatusCode::INTERNAL_SERVER_ERROR, String::new())).await, "HTTP 500"),
        ("html", Fake::start(ok("<html>".to_owned())).await, "the answer is not JSON (line 1, column 1)"),
        ("empty", Fake::start(ok(vector(""))).await, "the answer is empty: no series for namespace \"a\""),
        (
            "many",
            Fake::start(ok(vector(&vec![series("p", "1"); 4].join(",")))).await,
            "the answer has more than 3 series",
        ),
        ("foreign", Fake::start(ok(vector(&foreign))).await, "the answer holds series of another namespace"),
        ("podless", Fake::start(ok(vector(&series("", "1")))).await, "no series of the answer has the label \"pod\""),
        ("label", Fake::start(ok(vector(&label))).await, "a series has a label longer than 2048 bytes"),
        ("huge", Fake::start(ok(" ".repeat(9 << 20))).await, "body larger than 8 MiB"),
        (
            "partial",
            Fake::start(ok(vector(&series("p", "1")).replacen('{', r#"{"warnings":["half of it"],"#, 1))).await,
            "the answer is partial or carries warnings",
        ),
    ];
    let good = Fake::start(good).await;
    let mut servers = vec![server("good", &good.url, "x", None)];
    servers.extend(fakes.iter().map(|(name, fake, _)| server(name, &fake.url, "x", None)));
    servers.push(server("refused", &format!("http://{closed}"), "x", None));
    servers.push(server("conflict", &good.url, "'x{namespace=\"b\"}'", None));
    let count = servers.len();
    let mut running = start(servers, &["a"]);
    let good = "prometheus/good/queueLength/a";
    let told = until(&mut running.results, |told| {
        told.len() == count && told.get(good).is_some_and(|events| events.len() > 5)
    });
    let told = told.await;
    let mut expected: Vec<_> = fakes.iter().map(|(name, _, expected)| (*name, *expected)).collect();
    expected.push(("refused", "connection refused"));
    expected.push(("conflict", "query has the matcher namespace=\"b\", which excludes the namespace \"a\""));
    for (name, expected) in expected {
        for event in &told[&format!("prometheus/{name}/queueLength/a")] {
            assert!(reason(event).starts_with(expected), "{name}: {}", reason(event));
        }
    }
    assert!(told[good].iter().all(|event| values(event).len() == 1), "{:?}", told[good]);
    running.stop().await;
}

#[tokio::test]
async fn namespaces_that_come_are_asked_and_those_that_go_are_told() {
    let fake = Fake::start(|_| (StatusCode::OK, vector(&series("p", "1").replace(r#""namespace":"a","#, "")))).await;
    let mut running = start(vec![server("main", &fake.url, "sum by (pod) (x)", None)], &["a"]);
    until(&mut running.results, |told| told.contains_key("prometheus/main/queueLength/a")).await;
    running.needs.send_replace(needs(&["b"]));
    let told = until(&mut running.results, |told| told.contains_key("prometheus/main/queueLength/b")).await;
    assert!(matches!(told["prometheus/main/queueLength/a"].last(), Some(SourceEvent::Gone { .. })));
    assert_eq!(values(&told["prometheus/main/queueLength/b"][0])[0].0, ObjectKey::new("b", "p"));
    running.stop().await;
}

#[tokio::test]
async fn a_token_is_read_anew_and_shown_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "first-geheim\n").unwrap();
    let fake = Fake::start(|_| (StatusCode::UNAUTHORIZED, "geheim".to_owned())).await;
    let mut running = start(vec![server("main", &fake.url, "x", Some(&path))], &["a"]);
    let told = until(&mut running.results, |told| told.len() == 1).await;
    let told = reason(&told["prometheus/main/queueLength/a"][0]).to_owned();
    assert_eq!(told, "HTTP 401, the target wants other credentials");
    std::fs::write(&path, "second-geheim").unwrap();
    let second = |asked: &Asked| asked.1.as_deref() == Some("Bearer second-geheim");
    while !fake.asked().iter().any(second) {
        until(&mut running.results, |told| !told.is_empty()).await;
    }
    assert_eq!(fake.asked()[0].1.as_deref(), Some("Bearer first-geheim"));
    std::fs::write(&path, "").unwrap();
    let broken = until(&mut running.results, |told| {
        told.values().flatten().any(|event| reason(event).ends_with("holds no token"))
    });
    let broken = broken.await;
    assert!(!format!("{broken:?}").contains("geheim"));
    running.stop().await;
}

#[tokio::test]
async fn a_server_that_comes_back_is_asked_everything_again() {
    let down = Arc::new(Mutex::new(true));
    let state = down.clone();
    let podded = series("p", "1").replace(r#""namespace":"a","#, "");
    let answers = move |_: &str| {
        if *state.lock().unwrap() {
            (StatusCode::SERVICE_UNAVAILABLE, String::new())
        } else {
            (StatusCode::OK, vector(&podded))
        }
    };
    let fake = Fake::start(answers).await;
    let names: Vec<String> = (0..12).map(|index| format!("ns-{index}")).collect();
    let namespaces: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut running = start(vec![server("main", &fake.url, "sum by (pod) (x)", None)], &namespaces);
    let told = until(&mut running.results, |told| told.len() == 12).await;
    assert!(told.values().flatten().all(|event| reason(event) == "HTTP 503"), "{told:?}");
    assert!(fake.asked().len() < 12 + 4, "a silent server is not asked everything: {}", fake.asked().len());
    *down.lock().unwrap() = false;
    let queried = |events: &Vec<SourceEvent>| events.iter().any(|event| matches!(event, SourceEvent::Queried { .. }));
    until(&mut running.results, |told| told.values().filter(|events| queried(events)).count() == 12).await;
    running.stop().await;
}

#[tokio::test]
async fn servers_and_queries_that_a_new_configuration_lacks_are_told() {
    let fake = Fake::start(good).await;
    let (sender, results) = mpsc::channel(16);
    let told = Results::new(sender);
    let servers = ["kept", "other", "query"].map(|name| server(name, &fake.url, "x", None));
    let mut first = start_with(servers.to_vec(), &["a"], told.clone(), results);
    until(&mut first.results, |told| told.len() == 3).await;
    let results = first.stop().await;
    let [kept, _, mut query] = servers;
    query.queries[0].signal = "gpuUtilization".to_owned();
    let mut second = start_with(vec![kept, query], &["a"], told, results);
    let gone = |event: &SourceEvent| matches!(event, SourceEvent::Gone { .. });
    let told = until(&mut second.results, |told| {
        told.values().flatten().filter(|event| gone(event)).count() == 2 && told.values().flatten().count() > 10
    });
    let told = told.await;
    let gone: Vec<_> =
        told.values().flatten().filter(|event| gone(event)).map(|event| event.source().as_ref()).collect();
    assert_eq!(gone, ["prometheus/other/queueLength/a", "prometheus/query/queueLength/a"]);
    second.stop().await;
}
