//! KEDA's own generated Go client against an external scaler: what each of the five calls answered, and how fast.

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;
use tokio::process::Command;

use crate::{ControlPlane, tools, workload::WORKLOAD};

/// The five, in the order of their lines.
pub const CALLS: [&str; 5] = ["GetMetricSpec", "GetMetrics", "IsActive", "StreamIsActive", "StreamMetricSpec"];

/// What one call answered.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Line {
    /// Its name.
    pub call: String,
    /// The answer; null if it failed or, of a stream, if it was silent.
    #[serde(default)]
    pub answer: Value,
    /// gRPC's name of how it ended.
    pub code: String,
    /// What was said of a failure.
    #[serde(default)]
    pub message: String,
    /// The longest of all repetitions, in milliseconds; of a stream, until it was open.
    pub slowest_ms: f64,
}

/// Makes every call `repeat` times as KEDA's operator, about the ScaledObject of a scenario.
pub async fn calls(
    plane: &ControlPlane,
    scaler_port: u16,
    namespace: &str,
    metadata: &Value,
    repeat: u32,
) -> Result<Vec<Line>> {
    let name = format!("conformance-{namespace}");
    plane.pki.write_pair(&name, &plane.pki.cluster.client("keda-operator", None)?)?;
    let output = Command::new(tools::keda("conformance")?)
        .arg(format!("--address=127.0.0.1:{scaler_port}"))
        .arg("--ca")
        .arg(plane.pki.file("ca.crt"))
        .arg("--certificate")
        .arg(plane.pki.file(&format!("{name}.crt")))
        .arg("--key")
        .arg(plane.pki.file(&format!("{name}.key")))
        .args(["--namespace", namespace, "--name", WORKLOAD, "--metadata", &metadata.to_string()])
        .arg(format!("--repeat={repeat}"))
        .kill_on_drop(true)
        .output()
        .await
        .context("running KEDA's client")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "KEDA's client ended with {}: {said}", output.status);
    let text = String::from_utf8(output.stdout)?;
    let lines = text.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned()));
    let lines: Vec<Line> = lines.collect::<Result<_>>()?;
    let names: Vec<_> = lines.iter().map(|line| line.call.as_str()).collect();
    ensure!(names == CALLS, "KEDA's client told of {names:?}");
    Ok(lines)
}
