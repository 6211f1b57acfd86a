//! What KEDA's HPAs ask is passed on to KEDA's metrics server: here a server on loopback that answers as it is told.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    extract::{Request, State as Extract},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, Method, StatusCode, header};
use plimsoll::{
    api::{
        self, Guard, Health, Metrics, State, Upstream,
        upstream::{Identity, Settings},
    },
    server::{self, Limits, Port, Tls, certificate::Files},
};
use prometheus_client::registry::Registry;
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinSet};

use super::{
    answers::Fixed,
    certificates::{Authority, Pair},
    client::{Reply, ask},
    world::{World, install_provider},
};

const OF_KEDA: &str = "/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/s0-cron-queue\
                       ?labelSelector=scaledobject.keda.sh%2Fname%3Dchat";
/// An answer in a form that nothing here could make or read.
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
const BYTES: &[u8] = b"k8s\0\x0a\x1f\xff\xfe";

/// What the server answers.
#[derive(Clone)]
enum Says {
    This(StatusCode, &'static str, Vec<u8>),
    Nothing,
}

/// What it was asked.
struct Asked {
    uri: String,
    headers: HeaderMap,
}

#[derive(Clone)]
struct Server {
    says: Arc<Mutex<Says>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

/// KEDA's metrics server, and us in front of it.
struct Beside {
    server: Server,
    settings: Settings,
    keda: Arc<Upstream>,
    registry: Arc<Registry>,
    router: Router,
    files: TempDir,
    tls: Arc<Tls>,
    authority: Authority,
    _tasks: JoinSet<()>,
}

async fn answer(Extract(server): Extract<Server>, request: Request) -> Response {
    let asked = Asked { uri: request.uri().to_string(), headers: request.headers().clone() };
    server.asked.lock().unwrap().push(asked);
    let says = server.says.lock().unwrap().clone();
    match says {
        Says::This(status, media_type, body) => {
            let headers = [(header::CONTENT_TYPE, media_type), (header::RETRY_AFTER, "60")];
            (status, headers, body).into_response()
        }
        Says::Nothing => std::future::pending().await,
    }
}

fn write(files: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = files.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

impl Beside {
    async fn start() -> Self {
        install_provider();
        let (authority, files, mut tasks) = (Authority::new("keda"), TempDir::new().unwrap(), JoinSet::new());
        let Pair { chain, key } = authority.server();
        let certificate = Files { certificate: write(&files, "tls.crt", &chain), key: write(&files, "tls.key", &key) };
        let tls = Arc::new(Tls::from_files(certificate, server::Metrics::default()).await.unwrap());
        let server = Server {
            says: Arc::new(Mutex::new(Says::This(StatusCode::OK, PROTOBUF, BYTES.to_vec()))),
            asked: Arc::default(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}/", listener.local_addr().unwrap());
        let port = Port { tls: Some(Arc::clone(&tls)), limits: Limits::default(), metrics: server::Metrics::default() };
        let app = Router::new().fallback(answer).with_state(server.clone());
        tasks.spawn(server::serve(listener, port, app, std::future::pending()));
        let settings = Settings {
            url,
            ca_file: write(&files, "ca.crt", &authority.pem),
            identity: Identity::Token(write(&files, "token", "first\n")),
            timeout: Duration::from_secs(30),
        };
        let mut registry = Registry::with_prefix("plimsoll");
        let metrics = Metrics::register(&mut registry);
        let keda = Arc::new(Upstream::register(&mut registry));
        let registry = Arc::new(registry);
        let router = api::router(State {
            answers: Arc::new(Fixed),
            guard: Guard::Open,
            health: Health::default(),
            metrics,
            registry: Arc::clone(&registry),
            keda: Arc::clone(&keda),
            deadline: api::DEADLINE,
        });
        let this = Self { server, settings, keda, registry, router, files, tls, authority, _tasks: tasks };
        this.keda.renew(Some(&this.settings)).await;
        this
    }

    fn says(&self, says: Says) {
        *self.server.says.lock().unwrap() = says;
    }

    fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.server.asked.lock().unwrap())
    }

    async fn get(&self) -> Reply {
        ask(&self.router, Method::GET, OF_KEDA, &[("accept", "application/vnd.kubernetes.protobuf, */*")]).await
    }

    /// The outcomes that were counted.
    fn outcomes(&self) -> Vec<String> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        let lines = text.lines().filter_map(|line| line.strip_prefix("plimsoll_keda_requests_total"));
        let mut lines: Vec<_> = lines.map(str::to_owned).collect();
        lines.sort();
        lines
    }
}

#[tokio::test]
async fn kedas_answer_comes_back_byte_by_byte_in_the_form_that_was_negotiated() {
    let beside = Beside::start().await;
    let reply = beside.get().await;
    assert_eq!((reply.status, reply.content_type(), &*reply.body), (StatusCode::OK, PROTOBUF, BYTES));
    let asked = beside.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(
        asked[0].uri,
        "/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/s0-cron-queue\
         ?labelSelector=scaledobject.keda.sh%2Fname%3Dchat"
    );
    let header = |name: &str| asked[0].headers[name].to_str().unwrap();
    assert_eq!(header("accept"), "application/vnd.kubernetes.protobuf, */*");
    assert_eq!(header("authorization"), "Bearer first");
    assert_eq!(beside.outcomes(), ["{outcome=\"answered\"} 1"]);
}

#[tokio::test]
async fn requests_without_the_label_are_answered_here() {
    let beside = Beside::start().await;
    for query in ["", "?labelSelector=app%3Dscaledobject.keda.sh"] {
        let path = format!("/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/queue{query}");
        let reply = ask(&beside.router, Method::GET, &path, &[]).await;
        assert_eq!((reply.status, reply.json()["items"][0]["value"].as_str()), (StatusCode::OK, Some("12k")));
    }
    assert!(beside.asked().is_empty());
}

#[tokio::test]
async fn what_the_sender_says_of_itself_is_not_passed_on() {
    let beside = Beside::start().await;
    let headers = [("authorization", "Bearer stolen"), ("x-remote-user", "admin"), ("cookie", "a=b")];
    let reply = ask(&beside.router, Method::GET, OF_KEDA, &headers).await;
    assert_eq!(reply.status, StatusCode::OK);
    let asked = beside.asked();
    assert_eq!(asked[0].headers["authorization"], "Bearer first");
    assert!(!asked[0].headers.contains_key("x-remote-user") && !asked[0].headers.contains_key("cookie"));
}

#[tokio::test]
async fn an_error_of_keda_passes_as_it_is_but_for_the_wish_to_be_asked_later() {
    let beside = Beside::start().await;
    let status = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"no such","reason":"NotFound","code":404}"#;
    beside.says(Says::This(StatusCode::NOT_FOUND, "application/json", status.into()));
    let reply = beside.get().await;
    assert_eq!((reply.status, reply.text().as_str()), (StatusCode::NOT_FOUND, status));
    assert!(!reply.headers.contains_key(header::RETRY_AFTER));
    assert_eq!(beside.outcomes(), ["{outcome=\"refused\"} 1"]);
}

#[tokio::test]
async fn what_keda_has_against_our_identity_is_said_with_a_cure() {
    let beside = Beside::start().await;
    for (status, cure) in [(StatusCode::FORBIDDEN, "grant list"), (StatusCode::UNAUTHORIZED, "bearerTokenFile")] {
        beside.says(Says::This(status, "application/json", br#"{"message": "User x cannot"}"#.to_vec()));
        let reply = beside.get().await;
        assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
        let message = reply.message();
        assert!(message.starts_with("s0-cron-queue of ScaledObject shop/chat is KEDA's to tell, but"), "{message}");
        assert!(message.contains("User x cannot") && message.contains(cure), "{message}");
        assert_eq!(reply.json()["details"]["causes"][0]["reason"], "KedaDenied");
    }
}

#[tokio::test]
async fn neither_silence_nor_a_flood_nor_a_redirect_gets_through() {
    let mut beside = Beside::start().await;
    beside.says(Says::This(StatusCode::OK, "application/json", vec![b' '; 2 * 1024 * 1024]));
    assert!(beside.get().await.message().contains("more than 1048576 bytes"));
    beside.says(Says::This(StatusCode::FOUND, "text/html", Vec::new()));
    assert!(beside.get().await.message().contains("answers 302"));
    beside.settings.timeout = Duration::from_millis(100);
    beside.keda.renew(Some(&beside.settings)).await;
    beside.says(Says::Nothing);
    let reply = beside.get().await;
    assert!(reply.message().contains("did not answer within 100 ms"), "{}", reply.message());
    assert_eq!(beside.outcomes(), ["{outcome=\"slow\"} 1", "{outcome=\"unusable\"} 2"]);
}

#[tokio::test]
async fn no_more_requests_wait_for_keda_than_can_be_held() {
    let beside = Beside::start().await;
    beside.says(Says::Nothing);
    let mut waiting = JoinSet::new();
    for _ in 0..256 {
        let router = beside.router.clone();
        waiting.spawn(async move { ask(&router, Method::GET, OF_KEDA, &[]).await.status });
    }
    while beside.server.asked.lock().unwrap().len() < 256 {
        tokio::task::yield_now().await;
    }
    let reply = beside.get().await;
    assert!(reply.message().contains("256 requests are with its metrics server"), "{}", reply.message());
}

#[tokio::test]
async fn a_token_and_an_authority_are_renewed_without_a_failed_request() {
    let beside = Beside::start().await;
    write(&beside.files, "token", "second");
    beside.keda.renew(Some(&beside.settings)).await;
    assert_eq!(beside.get().await.status, StatusCode::OK);
    assert_eq!(beside.asked()[0].headers["authorization"], "Bearer second");

    let next = Authority::new("keda of tomorrow");
    write(&beside.files, "ca.crt", &format!("{}{}", beside.authority.pem, next.pem));
    beside.keda.renew(Some(&beside.settings)).await;
    assert_eq!(beside.get().await.status, StatusCode::OK, "the old certificate is trusted during the overlap");
    let Pair { chain, key } = next.server();
    write(&beside.files, "tls.crt", &chain);
    write(&beside.files, "tls.key", &key);
    beside.tls.reload().await;
    write(&beside.files, "ca.crt", &next.pem);
    beside.keda.renew(Some(&beside.settings)).await;
    assert_eq!(beside.get().await.status, StatusCode::OK, "only the new authority is left");
}

#[tokio::test]
async fn files_that_cannot_be_used_leave_the_last_good_ones_in_use() {
    let beside = Beside::start().await;
    for (name, text) in [("ca.crt", "-----BEGIN"), ("token", " \n"), ("ca.crt", "")] {
        write(&beside.files, name, text);
        beside.keda.renew(Some(&beside.settings)).await;
        assert_eq!(beside.get().await.status, StatusCode::OK, "{name}");
        assert_eq!(beside.keda.way().unwrap().problem, None);
    }
}

#[tokio::test]
async fn a_server_of_another_authority_is_not_talked_to() {
    let beside = Beside::start().await;
    let stranger = Authority::new("stranger");
    write(&beside.files, "ca.crt", &stranger.pem);
    beside.keda.renew(Some(&beside.settings)).await;
    let message = beside.get().await.message();
    assert!(message.contains("certificate") && message.contains("keda.caFile"), "{message}");
    assert!(beside.asked().is_empty());
}

#[tokio::test]
async fn without_a_way_to_keda_its_hpas_are_told_what_is_missing() {
    let beside = Beside::start().await;
    beside.keda.renew(None).await;
    let reply = beside.get().await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(reply.message().contains("set keda.url") && reply.message().contains("give the APIService back"));
    let nowhere = Settings { ca_file: "/nowhere/ca.crt".into(), ..beside.settings.clone() };
    beside.keda.renew(Some(&nowhere)).await;
    assert!(beside.get().await.message().contains("cannot read /nowhere/ca.crt"));
    assert!(beside.keda.way().unwrap().problem.unwrap().contains("/nowhere/ca.crt"));
}

#[tokio::test]
async fn a_way_that_leads_back_to_us_ends_after_one_turn() {
    // Another Plimsoll takes the place of KEDA's metrics server; it knows us by a client certificate.
    let world = World::start().await;
    let beside = Beside::start().await;
    let pair = world.clients.client("plimsoll");
    let identity = Identity::Certificate {
        certificate: write(&beside.files, "client.crt", &pair.chain),
        key: write(&beside.files, "client.key", &pair.key),
    };
    let ca_file = write(&beside.files, "servers.crt", &world.servers.pem);
    let url = format!("https://{}", world.address);
    beside.keda.renew(Some(&Settings { url, ca_file, identity, ..beside.settings.clone() })).await;
    let reply = beside.get().await;
    assert_eq!(reply.json()["details"]["causes"][0]["reason"], "Loop", "{}", reply.message());
    assert!(reply.message().contains("keda.url leads back here"), "{}", reply.message());
    let asked: Vec<_> = world.kube.accesses().iter().map(|spec| spec["user"].clone()).collect();
    assert_eq!(asked, ["plimsoll"]);
}
