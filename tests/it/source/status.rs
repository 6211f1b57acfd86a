//! The status API on a socket.

use std::time::Duration;

use axum::{Router, routing::get};
use plimsoll::status;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn a_request_in_flight_ends_and_then_the_server_does() {
    let (entered, mut inside) = tokio::sync::mpsc::channel::<()>(1);
    let router = Router::new().route(
        "/slow",
        get(move || {
            let entered = entered.clone();
            async move {
                entered.send(()).await.unwrap();
                tokio::time::sleep(Duration::from_millis(300)).await;
                "done"
            }
        }),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let mut server = JoinSet::new();
    server.spawn(status::serve(listener, router, shutdown.clone()));
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    inside.recv().await.unwrap();
    shutdown.cancel();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("done"), "{answer}");
    server.join_next().await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}
