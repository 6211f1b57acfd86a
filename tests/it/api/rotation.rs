//! Certificates and authorities that change while connections are open.

use std::{sync::Arc, sync::Mutex};

use http::StatusCode;
use rustls::{
    ClientConfig, RootCertStore, SignatureScheme,
    client::ResolvesClientCert,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
    sign::CertifiedKey,
};
use tokio::net::TcpStream;

use super::{
    certificates::Authority,
    world::{METRIC, World, data},
};

const HPA: (&str, &str) = ("x-remote-user", "hpa");

#[tokio::test]
async fn a_removed_authority_is_refused_on_a_connection_that_is_open() {
    let world = World::start().await;
    let proxy = world.proxy();
    assert_eq!(proxy.ask(METRIC, &[HPA]).await.status, StatusCode::OK);

    let next = Authority::new("proxies of tomorrow");
    world.kube.publish(data(&world.clients.pem, &format!("{}{}", world.proxies.pem, next.pem)));
    let new_proxy = world.caller(Some(&next.client("front-proxy-client")));
    while new_proxy.ask(METRIC, &[HPA]).await.status != StatusCode::OK {
        tokio::task::yield_now().await;
    }
    assert_eq!(proxy.ask(METRIC, &[HPA]).await.status, StatusCode::OK, "both hold during the overlap");

    world.kube.publish(data(&world.clients.pem, &next.pem));
    while proxy.ask(METRIC, &[HPA]).await.status != StatusCode::UNAUTHORIZED {
        tokio::task::yield_now().await;
    }
    assert_eq!(new_proxy.ask(METRIC, &[HPA]).await.status, StatusCode::OK);

    // All of that happened on one connection per client.
    let master = [HPA, ("x-remote-group", "system:masters")];
    let text = new_proxy.ask("/metrics", &master).await.text();
    let handshakes = text.lines().find(|line| line.starts_with("plimsoll_api_server_handshakes_total")).unwrap();
    assert!(handshakes.ends_with("{outcome=\"ok\"} 3"), "{handshakes}");
}

#[tokio::test]
async fn an_unreadable_bundle_changes_nothing() {
    let world = World::start().await;
    let proxy = world.proxy();
    let mut broken = data(&world.clients.pem, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    // The other half of the change is seen, so that the test knows when it was read.
    let clients = Authority::new("clients of tomorrow");
    broken.insert("client-ca-file".to_owned(), clients.pem.clone());
    world.kube.publish(broken);
    let client = world.caller(Some(&clients.client("alice")));
    while client.get(METRIC).await.status != StatusCode::OK {
        tokio::task::yield_now().await;
    }
    assert_eq!(proxy.ask(METRIC, &[HPA]).await.status, StatusCode::OK);
    assert_eq!(proxy.get("/readyz").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_new_serving_certificate_is_presented_and_a_bad_one_is_not() {
    let world = World::start().await;
    let old = world.caller(None);
    assert_eq!(old.get("/livez").await.status, StatusCode::OK);
    let first = presented(&world).await.0;

    world.write_serving(&world.servers.server());
    world.tls.reload().await;
    let second = presented(&world).await.0;
    assert_ne!(first, second);
    assert_eq!(old.get("/livez").await.status, StatusCode::OK, "the open connection lives on");

    std::fs::write(world.files.path().join("tls.crt"), "nonsense").unwrap();
    world.tls.reload().await;
    assert_eq!(presented(&world).await.0, second);
    let master = [HPA, ("x-remote-group", "system:masters")];
    let text = world.proxy().ask("/metrics", &master).await.text();
    for line in [
        "plimsoll_api_server_certificate_reloads_total{outcome=\"ok\"} 1",
        "plimsoll_api_server_certificate_reloads_total{outcome=\"failed\"} 1",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

#[tokio::test]
async fn the_handshake_names_the_authorities_of_clients_and_of_proxies() {
    let world = World::start().await;
    let (_, hints) = presented(&world).await;
    let named = |name: &str| hints.iter().any(|hint| hint.windows(name.len()).any(|window| window == name.as_bytes()));
    assert!(named("clients") && named("proxies"), "{hints:?}");
    assert_eq!(hints.len(), 2);
}

/// The leaf that the server presents, and the authorities that it asks for.
async fn presented(world: &World) -> (Vec<u8>, Vec<Vec<u8>>) {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(world.servers.pem.as_bytes()).unwrap()).unwrap();
    let hints = Arc::new(Hints::default());
    let resolver = Arc::clone(&hints) as Arc<dyn ResolvesClientCert>;
    let config = ClientConfig::builder().with_root_certificates(roots).with_client_cert_resolver(resolver);
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = TcpStream::connect(world.address).await.unwrap();
    let stream = connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap();
    let leaf = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
    let hints = hints.0.lock().unwrap().clone();
    (leaf, hints)
}

/// Presents nothing and remembers what was asked for.
#[derive(Debug, Default)]
struct Hints(Mutex<Vec<Vec<u8>>>);

impl ResolvesClientCert for Hints {
    fn resolve(&self, hints: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        *self.0.lock().unwrap() = hints.iter().map(|hint| hint.to_vec()).collect();
        None
    }

    fn has_certs(&self) -> bool {
        true
    }
}
