//! The accept loop of every port: TLS, limits, idle time and drain around a tower service.
//!
//! ```text
//!  listener ──accept──> task per connection ──handshake (5 s)──> HTTP/1 or HTTP/2 ──> service
//!     │  2,000 at most          │                                      │ request extension: Peer
//!     └── shutdown: stop accepting, GOAWAY, <= 5 s for what is in flight, then cut off
//! ```
//!
//! The loop only accepts; nothing that a peer does or fails to do can hold it up. Who the peer is, is not decided
//! here: its certificates travel with every request ([`Peer`]) and are judged when it is answered. Knows nothing
//! of the API that is served.

use std::{convert::Infallible, future::Future, io, sync::Arc, time::Duration};

use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::{net::TcpListener, sync::Semaphore, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tower::Service;

pub mod authority;
pub mod certificate;
pub mod closing;
mod connection;
pub mod limits;
pub mod metrics;
pub mod peer;
pub mod tls;

pub use authority::Pool;
pub use closing::Closing;
pub use limits::Limits;
pub use metrics::Metrics;
pub use peer::Peer;
pub use tls::Tls;

/// Pause after `accept` failed: out of file descriptors is the usual cause, and retrying at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// One port: what is needed beside the listener and the service.
#[derive(Clone, Debug, Default)]
pub struct Port {
    /// TLS, or plain HTTP/1 without it.
    pub tls: Option<Arc<Tls>>,
    /// Bounds in number and time.
    pub limits: Limits,
    /// Counters.
    pub metrics: Metrics,
}

/// Serves until `shutdown` resolves, then drains: requests in flight get [`Limits::drain`] to finish.
///
/// A failing `accept` is logged and retried, so the loop ends on `shutdown` only.
pub async fn serve<S>(listener: TcpListener, port: Port, service: S, shutdown: impl Future<Output = ()>)
where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
{
    let slots = Arc::new(Semaphore::new(port.limits.connections));
    let draining = CancellationToken::new();
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        // Cancel safety: `accept` takes the slot before the socket and gives both back when it is dropped;
        // `join_next` loses nothing.
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = accept(&listener, &slots) => match accepted {
                Ok((stream, address, slot)) => {
                    let connection = connection::serve(stream, address, port.clone(), service.clone(), draining.clone());
                    connections.spawn(async move {
                        connection.await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    drop(listener);
    draining.cancel();
    drain(connections, port.limits.drain).await;
}

type Accepted = (tokio::net::TcpStream, std::net::SocketAddr, tokio::sync::OwnedSemaphorePermit);

async fn accept(listener: &TcpListener, slots: &Arc<Semaphore>) -> io::Result<Accepted> {
    let slot = Arc::clone(slots).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, address) = listener.accept().await?;
    Ok((stream, address, slot))
}

async fn drain(mut connections: JoinSet<()>, limit: Duration) {
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(limit, all).await.is_err() {
        tracing::warn!(left = connections.len(), "connections cut off at the end of the drain");
        connections.shutdown().await;
    }
}
