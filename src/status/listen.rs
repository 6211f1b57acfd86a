//! Where the status API listens, and its connections: few, short-lived, bounded.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// Connections at a time: people and a scraper, not a fleet.
const CONNECTIONS: usize = 64;
/// Time in which a request's head must arrive, and after which an idle connection is closed.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// Longest head of a request.
const HEAD_BYTES: usize = 16 * 1024;
/// Time for requests in flight to end at shutdown.
const DRAIN: Duration = Duration::from_secs(5);

/// Where the status API listens.
#[derive(Clone, Debug, clap::Args)]
#[group(id = "status")]
#[command(next_help_heading = "Status API")]
pub struct Args {
    /// Port of the status API (JSON, /metrics); 0 takes a free one.
    #[arg(long, value_name = "PORT", default_value_t = 8081, env = "PLIMSOLL_STATUS_PORT")]
    pub status_port: u16,
    /// Address that the status API listens on.
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST), env = "PLIMSOLL_STATUS_BIND_ADDRESS")]
    pub status_bind_address: IpAddr,
    /// Let the status API listen on an address that others can reach. It shows all tenants' data to whoever connects.
    #[arg(long)]
    pub status_allow_remote: bool,
}

/// Why the status API cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Everybody could read it.
    #[error(
        "the status API would listen on {0}, where others can read all tenants' data without a login; leave --status-bind-address on loopback, or add --status-allow-remote if the network keeps others out"
    )]
    Remote(IpAddr),
    /// The address is taken or not ours.
    #[error("the status API cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
}

// === impl Args ===

impl Args {
    /// The address, if it may be listened on.
    pub fn address(&self) -> Result<SocketAddr, ListenError> {
        let address = self.status_bind_address;
        if !address.to_canonical().is_loopback() && !self.status_allow_remote {
            return Err(ListenError::Remote(address));
        }
        Ok(SocketAddr::new(address, self.status_port))
    }

    /// Binds the address.
    pub async fn bind(&self) -> Result<TcpListener, ListenError> {
        let address = self.address()?;
        TcpListener::bind(address).await.map_err(|source| ListenError::Bind { address, source })
    }
}

/// Serves until `shutdown`, then lets requests in flight end.
pub async fn serve(listener: TcpListener, router: Router, shutdown: CancellationToken) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        // Cancel-safe: a permit, an accepted connection or a finished task is taken whole or not at all.
        tokio::select! {
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next() => {}
            (permit, accepted) = async { (room.clone().acquire_owned().await, listener.accept().await) } => match accepted {
                Ok((stream, _)) => {
                    let connection = connection(stream, router.clone());
                    let watched = graceful.watch(connection);
                    connections.spawn(async move {
                        let _permit = permit;
                        // A client that breaks off is its own affair.
                        let _ended = watched.await;
                    });
                }
                // Out of file descriptors or the like: the next accept would fail at once, too.
                Err(_) => sleep(Duration::from_millis(100)).await,
            },
        }
    }
    let _drained = timeout(DRAIN, graceful.shutdown()).await;
}

fn connection(stream: TcpStream, router: Router) -> http1::Connection<TokioIo<TcpStream>, TowerToHyperService<Router>> {
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(address: &str, status_allow_remote: bool) -> Args {
        Args { status_port: 0, status_bind_address: address.parse().unwrap(), status_allow_remote }
    }

    #[test]
    fn only_loopback_is_listened_on_unless_that_is_lifted() {
        for address in ["0.0.0.0", "10.0.0.1", "::", "::ffff:10.0.0.1"] {
            let error = args(address, false).address().unwrap_err().to_string();
            assert!(error.contains("--status-allow-remote"), "{error}");
            assert!(args(address, true).address().is_ok());
        }
        for address in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert!(args(address, false).address().is_ok(), "{address}");
        }
    }
}
