//! The bounds of a port, each with the attack or the accident that it ends.

use std::time::Duration;

/// Bounds of one port in number and time.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once; more wait in the kernel's queue. Ten kube-apiservers with 100 connections each, twice.
    pub connections: usize,
    /// A TLS handshake: a silent peer costs one task for this long, and never the accept loop.
    pub handshake: Duration,
    /// An HTTP/1 request head, from the moment that one may begin: slowloris, and the idle time of HTTP/1.
    pub header: Duration,
    /// Time without a request after which a connection is closed. Above the HPA period (15 s) and kube-apiserver's
    /// own reuse of connections, so that it is never felt.
    pub idle: Duration,
    /// Time after which a connection is closed in good order, so that clients find other replicas; none for never.
    pub age: Option<Duration>,
    /// After shutdown, for requests in flight.
    pub drain: Duration,
    /// HTTP/2 requests in flight on one connection: kube-apiserver multiplexes all HPAs on one.
    pub streams: u32,
    /// HTTP/2 ping: a peer that vanished is noticed within this and [`Limits::ping_timeout`].
    pub ping: Duration,
    /// How long a ping may stay unanswered.
    pub ping_timeout: Duration,
    /// Resets by the peer that may wait to be handled, before GOAWAY (CVE-2023-44487).
    pub pending_resets: usize,
    /// Resets caused by the peer's errors, before GOAWAY (CVE-2025-8671).
    pub error_resets: usize,
    /// Request head in bytes.
    pub head: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 2_000,
            handshake: Duration::from_secs(5),
            header: Duration::from_secs(10),
            idle: Duration::from_secs(90),
            age: None,
            drain: Duration::from_secs(5),
            streams: 250,
            ping: Duration::from_secs(30),
            ping_timeout: Duration::from_secs(10),
            pending_resets: 20,
            error_resets: 100,
            head: 64 * 1024,
        }
    }
}
