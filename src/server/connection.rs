//! One connection from its first byte to its last: handshake, requests, idle time, drain.

use std::{
    collections::hash_map::RandomState,
    convert::Infallible,
    hash::{BuildHasher, Hasher},
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use http::{Request, Response};
use hyper::{
    body::{Frame, Incoming, SizeHint},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::Instant,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceExt};

use super::{Closing, Limits, Metrics, Peer, Port, Tls};

/// Serves one accepted socket to its end. Errors of a peer end its connection and nothing else.
pub(super) async fn serve<S>(
    stream: TcpStream,
    address: SocketAddr,
    port: Port,
    service: S,
    draining: CancellationToken,
) where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
{
    let _open = Open::new(&port.metrics);
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%address, %error, "cannot set TCP_NODELAY");
    }
    let limits = port.limits;
    let Some(tls) = port.tls else {
        let peer = Peer::new(address, Vec::new());
        return http(stream, builder(&limits).http1_only(), peer, service, limits, draining).await;
    };
    let Some(stream) = handshake(stream, address, &tls, &limits, &port.metrics, &draining).await else { return };
    let session = stream.get_ref().1;
    // ALPN decides: sniffing the first bytes would wait without a limit.
    let builder = match session.alpn_protocol() {
        Some(b"h2") => builder(&limits).http2_only(),
        _ => builder(&limits).http1_only(),
    };
    let certificates = session.peer_certificates().unwrap_or_default();
    let certificates = certificates.iter().map(|certificate| certificate.clone().into_owned()).collect();
    http(stream, builder, Peer::new(address, certificates), service, limits, draining).await;
}

async fn handshake(
    stream: TcpStream,
    address: SocketAddr,
    tls: &Tls,
    limits: &Limits,
    metrics: &Metrics,
    draining: &CancellationToken,
) -> Option<TlsStream<TcpStream>> {
    let accept = TlsAcceptor::from(tls.config()).accept(stream);
    // Cancel safety: on drain the half-done handshake is dropped together with its socket.
    let result = tokio::select! {
        result = tokio::time::timeout(limits.handshake, accept) => result,
        () = draining.cancelled() => return None,
    };
    match result {
        Ok(Ok(stream)) => {
            metrics.handshake("ok");
            return Some(stream);
        }
        Ok(Err(error)) => {
            metrics.handshake("failed");
            tracing::debug!(%address, %error, "TLS handshake failed");
        }
        Err(_) => metrics.handshake("timeout"),
    }
    None
}

fn builder(limits: &Limits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    let head = usize::try_from(limits.head).unwrap_or(usize::MAX);
    // Without a timer hyper's limits are silently off.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.header).max_buf_size(head);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(limits.head)
        .max_pending_accept_reset_streams(limits.pending_resets)
        .max_local_error_reset_streams(limits.error_resets)
        .keep_alive_interval(limits.ping)
        .keep_alive_timeout(limits.ping_timeout);
    builder
}

async fn http<I, S>(
    stream: I,
    builder: Builder<TokioExecutor>,
    peer: Peer,
    service: S,
    limits: Limits,
    draining: CancellationToken,
) where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
{
    let address = peer.address;
    let activity = Arc::new(Activity::new());
    let closing = Closing::default();
    let service = with_peer(service, peer, closing.clone(), Arc::clone(&activity));
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    // Cancel safety: the connection is polled by reference and goes on after a graceful shutdown was asked for.
    let result = tokio::select! {
        result = connection.as_mut() => Some(result),
        () = draining.cancelled() => None,
        () = activity.idle(limits.idle) => None,
        () = outlived(limits.age) => None,
    };
    let result = if let Some(result) = result {
        result
    } else {
        connection.as_mut().graceful_shutdown();
        closing.begin();
        tokio::time::timeout(limits.drain, connection).await.unwrap_or(Ok(()))
    };
    if let Err(error) = result {
        tracing::debug!(%address, %error, "connection ended");
    }
}

/// The service as hyper calls it: each request carries the peer and whether the connection is about to
/// close, and counts as activity until it is answered.
fn with_peer<S>(
    service: S,
    peer: Peer,
    closing: Closing,
    activity: Arc<Activity>,
) -> impl hyper::service::Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send>
where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
{
    service_fn(move |mut request: Request<Incoming>| {
        let in_flight = InFlight::new(&activity);
        request.extensions_mut().insert(peer.clone());
        request.extensions_mut().insert(closing.clone());
        let answer = service.clone().oneshot(request);
        async move { answer.await.map(|response| response.map(|body| Body::new(Held { body, _in_flight: in_flight }))) }
    })
}

/// Resolves when a connection has lived for its time; a tenth of it is left to chance, so that the connections that
/// were opened together do not end together.
async fn outlived(age: Option<Duration>) {
    let Some(age) = age else { return std::future::pending().await };
    let random = f64::from(u32::try_from(RandomState::new().build_hasher().finish() >> 32).unwrap_or(0));
    tokio::time::sleep(age.mul_f64(0.9 + 0.1 * random / f64::from(u32::MAX))).await;
}

/// A body that counts as activity until it has ended: a stream that is open is a request in flight.
struct Held {
    body: Body,
    _in_flight: InFlight,
}

impl hyper::body::Body for Held {
    type Data = axum::body::Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Counts a connection while it is open.
struct Open(Metrics);

impl Open {
    fn new(metrics: &Metrics) -> Self {
        metrics.connections.inc();
        Self(metrics.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.dec();
    }
}

/// Whether a connection is in use.
struct Activity {
    in_flight: AtomicUsize,
    last: Mutex<Instant>,
}

/// A request in flight.
struct InFlight(Arc<Activity>);

impl Activity {
    fn new() -> Self {
        Self { in_flight: AtomicUsize::new(0), last: Mutex::new(Instant::now()) }
    }

    /// Resolves when no request was in flight for `limit`.
    async fn idle(&self, limit: Duration) {
        loop {
            let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
            let busy = self.in_flight.load(Ordering::Acquire) > 0;
            if !busy && last.elapsed() >= limit {
                return;
            }
            let wake = if busy { Instant::now() + limit } else { last + limit };
            tokio::time::sleep_until(wake).await;
        }
    }
}

impl InFlight {
    fn new(activity: &Arc<Activity>) -> Self {
        activity.in_flight.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(activity))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        *self.0.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn connections_that_began_together_do_not_end_together() {
        let mut ages = Vec::new();
        for _ in 0..20 {
            let began = Instant::now();
            outlived(Some(Duration::from_secs(900))).await;
            ages.push(began.elapsed());
        }
        assert!(ages.iter().all(|age| (810..=901).contains(&age.as_secs())), "{ages:?}");
        ages.dedup();
        assert!(ages.len() > 1, "{ages:?}");
    }
}
