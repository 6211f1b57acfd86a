//! Servers that behave badly, one way each.

use std::{future::Future, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::sleep,
};

/// Servers that live as long as this does.
#[derive(Default)]
pub(super) struct Upstreams {
    tasks: JoinSet<()>,
}

impl Upstreams {
    /// Serves each connection, after its first request's head, with `behave`.
    pub(super) async fn serve<F, Fut>(&mut self, behave: F) -> SocketAddr
    where
        F: Fn(TcpStream) -> Fut + Send + Sync + Clone + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        self.tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let behave = behave.clone();
                connections.spawn(async move {
                    if head(&mut stream).await {
                        behave(stream).await;
                    }
                });
            }
        });
        address
    }

    /// Answers each connection with these bytes and ends it.
    pub(super) async fn bytes(&mut self, bytes: Vec<u8>) -> SocketAddr {
        self.serve(move |mut stream| {
            let bytes = bytes.clone();
            async move {
                let _sent = stream.write_all(&bytes).await;
                let _ended = stream.shutdown().await;
                // Wait for the other side to close, so that no reset overtakes the answer.
                let _rest = stream.read(&mut [0; 1]).await;
            }
        })
        .await
    }

    /// Answers 200 with this body.
    pub(super) async fn body(&mut self, body: impl Into<Vec<u8>>) -> SocketAddr {
        self.bytes(answer("200 OK", "", body.into())).await
    }
}

/// Says nothing for an hour.
pub(super) async fn mute(stream: TcpStream) {
    let _held = stream;
    sleep(Duration::from_secs(3600)).await;
}

/// Reads a request up to the empty line; false if there is none.
async fn head(stream: &mut TcpStream) -> bool {
    let mut seen = Vec::new();
    while !seen.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        let mut byte = [0; 1024];
        match stream.read(&mut byte).await {
            Ok(0) | Err(_) => return false,
            Ok(read) => seen.extend_from_slice(&byte[..read]),
        }
    }
    true
}

pub(super) fn answer(status: &str, headers: &str, body: Vec<u8>) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
    [head.into_bytes(), body].concat()
}

/// Sends `start`, then `again` for ever, with a pause in between.
pub(super) async fn forever(mut stream: TcpStream, start: &[u8], again: &[u8], pause: Duration) {
    if stream.write_all(start).await.is_err() {
        return;
    }
    while stream.write_all(again).await.is_ok() {
        if !pause.is_zero() {
            sleep(pause).await;
        }
    }
}

/// A gzip body that becomes about `bytes` newlines: one literal, then "258 bytes from one back" over and over, in
/// deflate's fixed code (RFC 1951 section 3.2.6).
pub(super) fn bomb(bytes: usize) -> Vec<u8> {
    const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let mut bits = vec![true, true, false];
    let mut code = |value: u16, length: u32| bits.extend((0..length).rev().map(|bit| (value >> bit) & 1 == 1));
    code(0b0011_0000 + u16::from(b'\n'), 8);
    for _ in 0..bytes / 258 {
        code(0b1100_0101, 8);
        code(0, 5);
    }
    code(0, 7);
    let packed = bits.chunks(8).map(|bits| bits.iter().rev().fold(0, |byte, bit| (byte << 1) | u8::from(*bit)));
    let packed: Vec<u8> = packed.collect();
    [HEAD.to_vec(), packed].concat()
}
