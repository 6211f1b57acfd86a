//! What the scaler counts. Label values are closed sets; nothing of a peer becomes a label.

use std::sync::Arc;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::{Code, Status};

/// A kind of call, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Call {
    /// Name of the call.
    rpc: &'static str,
    /// Name of the status code.
    code: &'static str,
}

/// Counters of the scaler. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    calls: Family<Call, Counter>,
    streams: Gauge,
}

/// A stream that is open.
pub(super) struct Open {
    streams: Gauge,
    _room: OwnedSemaphorePermit,
}

// === impl Metrics ===

impl Metrics {
    /// Makes the counters known to a registry.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register("scaler_calls", "Calls of KEDA, by how they ended or began", metrics.calls.clone());
        registry.register("scaler_streams", "Open streams to KEDA", metrics.streams.clone());
        metrics
    }

    /// Streams that are open.
    #[must_use]
    pub fn streams(&self) -> i64 {
        self.streams.get()
    }

    pub(super) fn call(&self, path: &str, code: Code) {
        let rpc = match path.strip_prefix("/externalscaler.ExternalScaler/") {
            Some("IsActive") => "IsActive",
            Some("StreamIsActive") => "StreamIsActive",
            Some("GetMetricSpec") => "GetMetricSpec",
            Some("GetMetrics") => "GetMetrics",
            Some("StreamMetricSpec") => "StreamMetricSpec",
            _ => "other",
        };
        let code = match code {
            Code::Ok => "OK",
            Code::InvalidArgument => "INVALID_ARGUMENT",
            Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Code::NotFound => "NOT_FOUND",
            Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Code::FailedPrecondition => "FAILED_PRECONDITION",
            Code::Unimplemented => "UNIMPLEMENTED",
            Code::Unavailable => "UNAVAILABLE",
            Code::Unauthenticated => "UNAUTHENTICATED",
            _ => "other",
        };
        self.calls.get_or_create(&Call { rpc, code }).inc();
    }

    /// Counts a stream until it is dropped; an error if there are too many.
    pub(super) fn open(&self, room: &Arc<Semaphore>) -> Result<Open, Status> {
        let room = Arc::clone(room).try_acquire_owned();
        let room = room.map_err(|_| Status::resource_exhausted("too many streams are open on this replica"))?;
        self.streams.inc();
        Ok(Open { streams: self.streams.clone(), _room: room })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.streams.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_beyond_the_bound_is_refused_until_another_ends() {
        let (metrics, room) = (Metrics::default(), Arc::new(Semaphore::new(1)));
        let open = metrics.open(&room).ok();
        assert_eq!((open.is_some(), metrics.streams()), (true, 1));
        let refused = metrics.open(&room).err().map(|status| status.code());
        assert_eq!(refused, Some(Code::ResourceExhausted));
        drop(open);
        assert_eq!(metrics.streams(), 0);
        assert!(metrics.open(&room).is_ok());
    }
}
