//! The unary calls, and the limits around all of them.

use std::time::Duration;

use plimsoll::scaler;
use tokio::task::JoinSet;
use tonic::{Code, Request};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use super::world::{World, question, reference};

#[tokio::test]
async fn the_spec_is_a_function_of_the_metadata_and_needs_nothing_to_be_known() {
    let world = World::start().await;
    let mut keda = world.keda().await;
    let specs = keda.get_metric_spec(reference("nobody-knows")).await.unwrap().into_inner().metric_specs;
    assert_eq!(specs.len(), 1);
    assert_eq!(specs[0].metric_name, "plimsoll-queue-length");
    assert_eq!((specs[0].target_size, specs[0].target_size_float), (10, 10.0));
}

#[tokio::test]
async fn a_value_is_one_value_under_the_name_that_was_asked_for() {
    let world = World::start().await;
    world.stage.set("chat", 79_500, true, false);
    let mut keda = world.keda().await;
    let values = keda.get_metrics(question("chat")).await.unwrap().into_inner().metric_values;
    assert_eq!(values.len(), 1);
    assert_eq!(values[0].metric_name, "plimsoll-queue-length");
    assert_eq!((values[0].metric_value, values[0].metric_value_float), (79, 79.5));
    assert!(keda.is_active(reference("chat")).await.unwrap().into_inner().result);
}

#[tokio::test]
async fn bad_metadata_are_refused_with_key_and_cure() {
    let world = World::start().await;
    let mut keda = world.keda().await;
    let mut bad = reference("chat");
    bad.scaler_metadata.insert("treshold".to_owned(), "1".to_owned());
    for status in [
        keda.get_metric_spec(bad.clone()).await.unwrap_err(),
        keda.is_active(bad.clone()).await.unwrap_err(),
        keda.stream_is_active(bad.clone()).await.unwrap_err(),
        keda.stream_metric_spec(bad.clone()).await.unwrap_err(),
    ] {
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains("did you mean \"threshold\"?"), "{status:?}");
    }
}

#[tokio::test]
async fn an_object_that_is_about_to_be_known_is_waited_for() {
    let world = World::start().await;
    let mut keda = world.keda().await;
    let mut asked = JoinSet::new();
    asked.spawn(async move { keda.get_metrics(question("new")).await });
    // Whichever comes first, the answer is the same.
    world.stage.set("other", 1_000, false, false);
    world.stage.set("new", 5_000, false, false);
    let value = asked.join_next().await.unwrap().unwrap().unwrap().into_inner().metric_values[0].metric_value;
    assert_eq!(value, 5);
}

#[tokio::test]
async fn what_stays_unknown_is_unavailable_with_the_reason_within_the_deadline() {
    let world = World::with(scaler::limits(scaler::CONNECTION_AGE), Duration::from_millis(200)).await;
    let status = world.keda().await.get_metrics(question("nobody-knows")).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "nothing is known of ml/nobody-knows"));
    assert_eq!(status.metadata().get("plimsoll-reason").unwrap(), "NotReady");
}

#[tokio::test]
async fn a_call_whose_message_never_comes_ends_at_the_deadline() {
    let world = World::with(scaler::limits(scaler::CONNECTION_AGE), Duration::from_millis(100)).await;
    let channel = world.channel(Some(&world.clients.client("keda-operator"))).await;
    let mut raw = tonic::client::Grpc::new(channel);
    raw.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static("/externalscaler.ExternalScaler/GetMetrics");
    let codec =
        tonic_prost::ProstCodec::<scaler::proto::GetMetricsRequest, scaler::proto::GetMetricsResponse>::default();
    let silent = Request::new(futures::stream::pending());
    let status = raw.client_streaming(silent, path, codec).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn a_message_that_is_too_long_is_not_read() {
    let world = World::start().await;
    let mut long = reference("chat");
    long.name = "x".repeat(400_000);
    let status = world.keda().await.get_metric_spec(long).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange);
}

#[tokio::test]
async fn the_health_service_answers_without_a_certificate_and_follows_readiness() {
    let world = World::start().await;
    let mut health = HealthClient::new(world.channel(None).await);
    let service = "externalscaler.ExternalScaler";
    let check = HealthCheckRequest { service: service.to_owned() };
    world.health.set_ready(true).await;
    assert_eq!(health.check(check.clone()).await.unwrap().into_inner().status(), ServingStatus::Serving);
    world.health.set_ready(false).await;
    assert_eq!(health.check(check).await.unwrap().into_inner().status(), ServingStatus::NotServing);
}
