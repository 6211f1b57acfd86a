//! The contract as KEDA's own generated client sees it.

use anyhow::{Context, Result, ensure};
use plimsoll_e2e::{
    World,
    conformance::{self, CALLS, Line},
    keda::ScaledObject,
    standin::Load,
    suite::{Cluster, Report},
    wait,
    workload::Inference,
    world::SOON,
};
use serde_json::{Value, json};

use crate::{gateway, of_gateway, tail};

const NAME: &str = "conformance";

async fn asked(cluster: &Cluster, metadata: &Value, repeat: u32) -> Result<Vec<Line>> {
    conformance::calls(&cluster.plane, cluster.adapter.scaler_port, NAME, metadata, repeat).await
}

/// The answers of five calls that all went well.
fn answers(lines: &[Line]) -> Result<Vec<&Value>> {
    lines
        .iter()
        .map(|line| Some(&line.answer).filter(|_| line.code == "OK").with_context(|| format!("{line:?}")))
        .collect()
}

/// KEDA's object is known here a moment after it was applied.
async fn wait_answered(cluster: &Cluster, metadata: &Value) -> Result<Vec<Line>> {
    wait::until("all five calls to be answered", SOON, async || {
        let lines = asked(cluster, metadata, 1).await?;
        Ok(if answers(&lines).is_ok() { Ok(lines) } else { Err(lines) })
    })
    .await
    .with_context(tail)
}

pub(crate) async fn the_five_calls_answer_the_client_that_keda_generated(
    cluster: &Cluster,
    report: &Report,
) -> Result<()> {
    let world = World::create(&cluster.plane, NAME).await?;
    world.add_node(8).await?;
    world.standin.set_load(Load::for_replicas(5));
    world.deploy(&Inference::new(NAME, 5), 5).await?;
    let queue = json!({"signal": "queueLength", "threshold": "10"});
    let object = ScaledObject { kind: "external", min: 1, polling: 2, cooldown: 30, metadata: queue.clone() };
    object.apply(&cluster.plane, cluster.adapter.scaler_port, NAME).await?;
    ScaledObject::wait_ready(&cluster.plane, NAME).await.with_context(tail)?;

    let lines = wait_answered(cluster, &queue).await?;
    let all = answers(&lines)?;
    let name = "plimsoll-queue-length";
    let specs = json!([{"metricName": name, "targetSize": 10, "targetSizeFloat": 10}]);
    ensure!(*all[0] == specs, "GetMetricSpec: {}", all[0]);
    let [value] = all[1].as_array().map(Vec::as_slice).unwrap_or_default() else {
        anyhow::bail!("GetMetrics: {}", all[1]);
    };
    ensure!(value["metricName"] == name, "GetMetrics: {value}");
    let (whole, exact) = (value["metricValue"].as_f64(), value["metricValueFloat"].as_f64());
    // Just under five times ten: see the load.
    ensure!(whole == Some(49.0) && exact.is_some_and(|exact| (exact - 49.5).abs() < 0.1), "GetMetrics: {value}");
    ensure!(*all[2] == true, "IsActive: {}", all[2]);
    ensure!(*all[3] == true, "StreamIsActive: {}", all[3]);
    ensure!(*all[4] == specs, "StreamMetricSpec: {}", all[4]);

    let lines = asked(cluster, &json!({"signal": "queueLength", "treshold": "10"}), 1).await?;
    for (line, call) in lines.iter().zip(CALLS) {
        let told = line.message.contains("did you mean \"threshold\"?");
        ensure!(line.code == "InvalidArgument" && told, "{call} with a mistake: {line:?}");
    }

    let lines = asked(cluster, &queue, 500).await?;
    answers(&lines)?;
    let slowest: Vec<_> = lines.iter().map(|line| format!("{} {:.1} ms", line.call, line.slowest_ms)).collect();
    report.line(format!("slowest of 500 each: {}", slowest.join(", ")));

    // What only the cluster knows: all eight GPUs are this workload's to have.
    let capacity = json!({"signal": "capacity"});
    let object = ScaledObject { metadata: capacity.clone(), ..object };
    object.apply(&cluster.plane, cluster.adapter.scaler_port, NAME).await?;
    let lines = wait_answered(cluster, &capacity).await?;
    let value = &answers(&lines)?[1][0];
    ensure!(value["metricValue"] == 8 && value["metricValueFloat"] == 8.0, "capacity: {value}");
    world.wait_replicas(8, SOON).await.with_context(tail)?;
    ScaledObject::remove(&cluster.plane, NAME).await?;
    world.remove().await
}

/// A name of which nothing exists.
const NOBODY: &str = "nobody";
/// Of the triggers at the bounds.
const BOUNDS: &str = "conformance-bounds";
/// Longest single argument of a program is 128 KiB; three such are more than a message may have.
const LONG: usize = 120 * 1024;

fn codes(lines: &[Line]) -> Vec<&str> {
    lines.iter().map(|line| line.code.as_str()).collect()
}

pub(crate) async fn what_cannot_be_answered_is_said_in_time_and_in_kedas_own_terms(
    cluster: &Cluster,
    report: &Report,
) -> Result<()> {
    let (plane, port) = (&cluster.plane, cluster.adapter.scaler_port);
    let half = json!({"signal": "queueLength", "threshold": "0.5"});
    let lines = conformance::calls_about(plane, port, (NOBODY, NOBODY), &half).await?;
    ensure!(codes(&lines) == ["OK", "Unavailable", "Unavailable", "OK", "OK"], "of nobody: {lines:?}");
    let name = "plimsoll-queue-length";
    let specs = json!([{"metricName": name, "targetSize": 1, "targetSizeFloat": 0.5}]);
    ensure!(lines[0].answer == specs && lines[4].answer == specs, "half a request: {lines:?}");
    ensure!(lines[3].answer.is_null(), "it was pushed for nobody: {lines:?}");
    ensure!(lines[1].message.contains("no ScaledObject or ScaledJob nobody/nobody"), "{}", lines[1].message);
    let slowest = lines.iter().map(|line| line.slowest_ms).fold(0.0, f64::max);
    ensure!(slowest < 1_000.0, "{lines:?}");
    report.line(format!("of an object that is not there: Unavailable after {slowest:.0} ms at most"));

    let (long, query) = ("x".repeat(LONG), json!({"signal": "queueLength", "query": "x".repeat(LONG)}));
    let lines = conformance::calls_about(plane, port, (&long, &long), &query).await?;
    ensure!(codes(&lines) == ["OutOfRange"; 5], "a message of 360 KiB: {:?}", codes(&lines));
    let lines = conformance::calls_about(plane, port, (NOBODY, NOBODY), &query).await?;
    let told = lines.iter().all(|line| line.message.contains("query: longer than 4096 bytes"));
    ensure!(codes(&lines) == ["InvalidArgument"; 5] && told, "a key of 120 KiB: {lines:?}");
    let many: Value =
        (0..100).map(|index| (format!("key-{index}"), json!("x"))).collect::<serde_json::Map<_, _>>().into();
    let lines = conformance::calls_about(plane, port, (NOBODY, NOBODY), &many).await?;
    ensure!(codes(&lines) == ["InvalidArgument"; 5] && lines[0].message.contains("100 keys"), "100 keys: {lines:?}");
    Ok(())
}

pub(crate) async fn a_trigger_is_active_above_its_activation_value_and_not_at_it(
    cluster: &Cluster,
    report: &Report,
) -> Result<()> {
    let (plane, port) = (&cluster.plane, cluster.adapter.scaler_port);
    let world = World::create(plane, BOUNDS).await?;
    world.add_node(8).await?;
    gateway()?.set(BOUNDS, 5);
    world.deploy(&Inference::new(BOUNDS, 0), 0).await?;
    let mut metadata = of_gateway(BOUNDS)?;
    metadata["threshold"] = json!("2.5");
    metadata["activationThreshold"] = json!("5");
    let object = ScaledObject { kind: "external", min: 0, polling: 60, cooldown: 60, metadata: metadata.clone() };
    object.apply(plane, port, BOUNDS).await?;
    let lines = conformance::calls(plane, port, BOUNDS, &metadata, 1).await?;
    ensure!(lines.iter().all(|line| line.code == "OK"), "the first answers: {lines:?}");
    let first = lines.iter().map(|line| line.slowest_ms).fold(0.0, f64::max);
    report.line(format!("the first answers about a new object: after {first:.0} ms at most"));
    for (waiting, active) in [(5, false), (6, true), (5, false)] {
        gateway()?.set(BOUNDS, waiting);
        let lines = wait::until("the value that was set", SOON, async || {
            let lines = conformance::calls(plane, port, BOUNDS, &metadata, 1).await?;
            let value = &lines[1].answer[0]["metricValue"];
            Ok(if *value == waiting { Ok(lines) } else { Err(lines) })
        })
        .await
        .with_context(tail)?;
        let all = answers(&lines)?;
        let spec = &all[0][0];
        ensure!(spec["targetSize"] == 2 && spec["targetSizeFloat"] == 2.5, "{spec}");
        ensure!(all[1].as_array().is_some_and(|values| values.len() == 1), "not one value: {}", all[1]);
        ensure!(*all[2] == active, "{waiting} waiting, active above 5: {}", all[2]);
        ensure!(*all[3] == if active { json!(true) } else { Value::Null }, "{waiting} waiting, pushed: {}", all[3]);
    }
    ScaledObject::remove(plane, BOUNDS).await?;
    world.remove().await
}
