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

use crate::tail;

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
