//! Connections that misbehave, and the end of the server.

use std::time::Duration;

use http::StatusCode;
use plimsoll::server::Limits;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    kube_apiserver::Mood,
    world::{METRIC, Setup, World},
};

/// Long enough for an honest handshake on a loaded machine.
const HANDSHAKE: Duration = Duration::from_secs(2);

#[tokio::test]
async fn a_silent_peer_is_cut_off_and_holds_nobody_up() {
    let limits = Limits { handshake: HANDSHAKE, ..Limits::default() };
    let world = World::with(Setup { limits, ..Setup::default() }).await;
    let mut silent = TcpStream::connect(world.address).await.unwrap();
    assert_eq!(world.caller(None).get("/livez").await.status, StatusCode::OK);
    let mut byte = [0];
    assert_eq!(silent.read(&mut byte).await.unwrap_or(0), 0, "the silent peer is disconnected");
}

#[tokio::test]
async fn a_peer_that_does_not_speak_tls_ends_alone() {
    let world = World::start().await;
    let mut plain = TcpStream::connect(world.address).await.unwrap();
    plain.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut rest = Vec::new();
    // An alert or a reset, but no answer.
    let _ = plain.read_to_end(&mut rest).await;
    assert!(!rest.starts_with(b"HTTP"));
    assert_eq!(world.caller(None).get("/livez").await.status, StatusCode::OK);
}

#[tokio::test]
async fn more_connections_than_allowed_wait_for_a_free_slot() {
    let limits = Limits { connections: 1, handshake: HANDSHAKE, ..Limits::default() };
    let world = World::with(Setup { limits, published: false, ..Setup::default() }).await;
    let silent = TcpStream::connect(world.address).await.unwrap();
    assert_eq!(world.caller(None).get("/livez").await.status, StatusCode::OK);
    drop(silent);
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_the_next_request_opens_another() {
    let limits = Limits { idle: Duration::from_secs(1), ..Limits::default() };
    let world = World::with(Setup { limits, ..Setup::default() }).await;
    let caller = world.caller(None);
    assert_eq!(caller.get("/livez").await.status, StatusCode::OK);
    let master = [("x-remote-user", "a"), ("x-remote-group", "system:masters")];
    loop {
        let text = world.proxy().ask("/metrics", &master).await.text();
        if text.contains("plimsoll_api_server_connections 1") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(caller.get("/livez").await.status, StatusCode::OK);
}

/// A server that is told to end while a request waits for its review.
async fn ending_with_a_request_in_flight(limits: Limits) -> (World, impl Future<Output = Option<StatusCode>>) {
    let mut world = World::with(Setup { limits, ..Setup::default() }).await;
    world.kube.set_mood(Mood::Hangs);
    let caller = world.proxy();
    let mut asked = Box::pin(async move { caller.try_ask(METRIC, &[("x-remote-user", "hpa")]).await });
    while world.kube.accesses().is_empty() {
        tokio::select! {
            _ = &mut asked => panic!("answered although the review hangs"),
            () = tokio::task::yield_now() => {}
        }
    }
    world.stop();
    let address = world.address;
    let refused = async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = &mut asked => panic!("answered although the review hangs"),
        () = refused => {}
    }
    (world, asked)
}

#[tokio::test]
async fn a_drain_refuses_new_connections_and_answers_what_is_in_flight() {
    let limits = Limits { drain: Duration::from_secs(60), ..Limits::default() };
    let (mut world, asked) = ending_with_a_request_in_flight(limits).await;
    world.kube.set_mood(Mood::Works);
    assert_eq!(asked.await, Some(StatusCode::OK));
    world.server.join_next().await.unwrap().unwrap();
}

#[tokio::test]
async fn a_drain_ends_although_a_request_does_not() {
    let limits = Limits { drain: Duration::from_millis(100), ..Limits::default() };
    let (mut world, asked) = ending_with_a_request_in_flight(limits).await;
    let (ended, answer) = tokio::join!(world.server.join_next(), asked);
    ended.unwrap().unwrap();
    assert_eq!(answer, None);
}
