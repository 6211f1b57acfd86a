//! Streams: what is pushed, how they end, and that they leave nothing behind.

use std::time::Duration;

use futures::{StreamExt, stream};
use plimsoll::{scaler, server::Limits};

use super::world::{World, question, reference};

/// Streams on one connection: twice as many as 5,000 push triggers need on a server with hyper's own limit of 200.
const MANY: usize = 10_000;
/// Calls of a test at a time.
const AT_A_TIME: usize = 100;

#[tokio::test]
async fn an_edge_is_pushed_and_the_specs_come_first() {
    let world = World::start().await;
    let mut keda = world.keda().await;
    world.stage.set("chat", 0, false, true);
    let mut pushes = keda.stream_is_active(reference("chat")).await.unwrap().into_inner();
    let mut specs = keda.stream_metric_spec(reference("chat")).await.unwrap().into_inner();
    assert_eq!(specs.message().await.unwrap().unwrap().metric_specs.len(), 1);
    world.stage.set("chat", 5_000, true, true);
    assert!(pushes.message().await.unwrap().unwrap().result);
}

#[tokio::test]
async fn a_drain_ends_streams_well_and_lets_calls_finish() {
    let mut world = World::start().await;
    let mut keda = world.keda().await;
    world.stage.set("chat", 0, false, true);
    let mut pushes = keda.stream_is_active(reference("chat")).await.unwrap().into_inner();
    let mut specs = keda.stream_metric_spec(reference("chat")).await.unwrap().into_inner();
    assert!(specs.message().await.unwrap().is_some());
    let asked = keda.get_metrics(question("chat")).await;
    world.stop();
    // None without an error is the end with status OK.
    assert!(pushes.message().await.unwrap().is_none());
    assert!(specs.message().await.unwrap().is_none());
    assert!(asked.is_ok());
    while world.server.join_next().await.is_some() {}
    assert_eq!(world.metrics.streams(), 0);
}

#[tokio::test]
async fn a_connection_of_age_ends_its_streams_well() {
    let limits = Limits { age: Some(Duration::from_millis(100)), ..scaler::limits(scaler::CONNECTION_AGE) };
    let world = World::with(limits, Duration::from_secs(30)).await;
    world.stage.set("chat", 0, false, true);
    let mut keda = world.keda().await;
    let mut pushes = keda.stream_is_active(reference("chat")).await.unwrap().into_inner();
    assert!(pushes.message().await.unwrap().is_none());
    // The client connects again by itself.
    keda.get_metrics(question("chat")).await.unwrap();
}

#[tokio::test]
async fn an_open_stream_keeps_its_connection_however_long_nothing_is_said() {
    let limits = Limits { idle: Duration::from_millis(20), ..scaler::limits(scaler::CONNECTION_AGE) };
    let world = World::with(limits, Duration::from_secs(30)).await;
    world.stage.set("chat", 0, false, true);
    let mut keda = world.keda().await;
    let mut pushes = keda.stream_is_active(reference("chat")).await.unwrap().into_inner();
    assert!(tokio::time::timeout(Duration::from_millis(200), pushes.message()).await.is_err());
    world.stage.set("chat", 1_000, true, true);
    assert!(pushes.message().await.unwrap().unwrap().result);
}

#[tokio::test]
async fn ten_thousand_streams_on_one_connection_leave_room_for_calls_and_leave_nothing_behind() {
    let world = World::start().await;
    world.stage.set("chat", 0, false, true);
    let mut keda = world.keda().await;
    let two = |_| {
        let (mut pushes, mut specs) = (keda.clone(), keda.clone());
        async move {
            let pushes = pushes.stream_is_active(reference("chat")).await.unwrap();
            (pushes, specs.stream_metric_spec(reference("chat")).await.unwrap())
        }
    };
    let open: Vec<_> = stream::iter(0..MANY / 2).map(two).buffer_unordered(AT_A_TIME).collect().await;
    world.until_streams(i64::try_from(MANY).unwrap()).await;
    keda.get_metrics(question("chat")).await.unwrap();
    drop(open);
    world.until_streams(0).await;
    keda.get_metrics(question("chat")).await.unwrap();
}

#[tokio::test]
async fn ten_thousand_openings_and_closings_leak_no_stream_and_no_task() {
    let world = World::start().await;
    world.stage.set("chat", 1_000, true, false);
    let mut keda = world.keda().await;
    keda.get_metrics(question("chat")).await.unwrap();
    let before = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let once = |_| {
        let mut keda = keda.clone();
        async move {
            let mut pushes = keda.stream_is_active(reference("chat")).await.unwrap().into_inner();
            assert!(pushes.message().await.unwrap().unwrap().result);
        }
    };
    stream::iter(0..MANY).for_each_concurrent(AT_A_TIME, once).await;
    world.until_streams(0).await;
    while tokio::runtime::Handle::current().metrics().num_alive_tasks() > before {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
