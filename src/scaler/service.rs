//! The five calls.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures::{Stream, StreamExt, stream};
use plimsoll_core::answer::{Reason, Refusal};
use tokio::{sync::Semaphore, time::Instant};
use tonic::{Request, Response, Status};

use super::{
    Metrics, Triggers,
    proto::{
        GetMetricSpecResponse, GetMetricsRequest, GetMetricsResponse, IsActiveResponse, ScaledObjectRef,
        external_scaler_server::ExternalScaler,
    },
    push::Push,
    wire::{self, Asked},
};
use crate::server::Closing;

/// The server of the calls.
pub(super) struct Scaler<T> {
    pub(super) triggers: Arc<T>,
    pub(super) metrics: Metrics,
    /// How long a question about an object that is not known yet waits for it.
    pub(super) patience: Duration,
    /// Room for streams.
    pub(super) streams: Arc<Semaphore>,
}

type Messages<M> = Pin<Box<dyn Stream<Item = Result<M, Status>> + Send>>;

#[tonic::async_trait]
impl<T: Triggers> ExternalScaler for Scaler<T> {
    async fn is_active(&self, request: Request<ScaledObjectRef>) -> Result<Response<IsActiveResponse>, Status> {
        let asked = Asked::of(request.into_inner())?;
        let activity = self.known(|| self.triggers.activity(&asked.object, &asked.trigger)).await;
        let activity = activity.map_err(|refusal| wire::refused(&refusal))?;
        Ok(Response::new(IsActiveResponse { result: activity.active }))
    }

    type StreamIsActiveStream = Messages<IsActiveResponse>;

    async fn stream_is_active(
        &self,
        request: Request<ScaledObjectRef>,
    ) -> Result<Response<Self::StreamIsActiveStream>, Status> {
        let closing = closing(&request);
        let asked = Asked::of(request.into_inner())?;
        let open = self.metrics.open(&self.streams)?;
        let push = Push::new(Arc::clone(&self.triggers), asked, closing);
        // The guard lives as long as the stream.
        let pushes = stream::unfold((push, open), |(mut push, open)| async move {
            push.next().await.then(|| (Ok(IsActiveResponse { result: true }), (push, open)))
        });
        Ok(Response::new(pushes.boxed()))
    }

    async fn get_metric_spec(
        &self,
        request: Request<ScaledObjectRef>,
    ) -> Result<Response<GetMetricSpecResponse>, Status> {
        let asked = Asked::of(request.into_inner())?;
        Ok(Response::new(wire::spec(&asked.trigger)))
    }

    async fn get_metrics(&self, request: Request<GetMetricsRequest>) -> Result<Response<GetMetricsResponse>, Status> {
        let GetMetricsRequest { scaled_object_ref, metric_name } = request.into_inner();
        let asked = Asked::of(scaled_object_ref.unwrap_or_default())?;
        let value = self.known(|| self.triggers.value(&asked.object, &asked.trigger)).await;
        let value = value.map_err(|refusal| wire::refused(&refusal))?;
        Ok(Response::new(wire::value(metric_name, value)))
    }

    type StreamMetricSpecStream = Messages<GetMetricSpecResponse>;

    /// The metadata of a stream never change, so its first message is its last; KEDA asks anew for other metadata.
    async fn stream_metric_spec(
        &self,
        request: Request<ScaledObjectRef>,
    ) -> Result<Response<Self::StreamMetricSpecStream>, Status> {
        let closing = closing(&request);
        let asked = Asked::of(request.into_inner())?;
        let open = self.metrics.open(&self.streams)?;
        let first = stream::iter([Ok(wire::spec(&asked.trigger))]);
        let rest = stream::once(async move {
            closing.begun().await;
            drop(open);
        });
        Ok(Response::new(first.chain(rest.filter_map(|()| async { None })).boxed()))
    }
}

impl<T: Triggers> Scaler<T> {
    /// An answer; about an object that is not known it waits a moment, since KEDA asks as soon as the object exists,
    /// and gives up what it knows of the scaler when it is answered with an error.
    async fn known<V>(&self, ask: impl Fn() -> Result<V, Refusal>) -> Result<V, Refusal> {
        let mut changes = self.triggers.changes();
        let end = Instant::now() + self.patience;
        loop {
            changes.mark_unchanged();
            let answer = ask();
            let unknown = matches!(&answer, Err(Refusal { reason: Reason::NotReady | Reason::NotFound, .. }));
            // Cancel safe: nothing is taken out of the channel.
            if !unknown || !matches!(tokio::time::timeout_at(end, changes.changed()).await, Ok(Ok(()))) {
                return answer;
            }
        }
    }
}

/// The end of the connection; one of its own for a request that came over none.
fn closing<M>(request: &Request<M>) -> Closing {
    request.extensions().get::<Closing>().cloned().unwrap_or_default()
}
