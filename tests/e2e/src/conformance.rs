//! KEDA's own generated Go client against an external scaler: what each of the five calls answered, and how fast.

use std::{collections::BTreeMap, path::Path, process::Stdio};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;
use tokio::process::{Child, Command};

use crate::{ControlPlane, pki::Pair, tools, workload::WORKLOAD};

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
    let shown = plane.path(&format!("conformance-{namespace}.pem"));
    show(&shown, &plane.pki.cluster.client("keda-operator", None)?)?;
    calls_as(plane, &shown, scaler_port, namespace, metadata, repeat).await
}

/// The same with the certificate and key of a file.
pub async fn calls_as(
    plane: &ControlPlane,
    shown: &Path,
    scaler_port: u16,
    namespace: &str,
    metadata: &Value,
    repeat: u32,
) -> Result<Vec<Line>> {
    run(client(plane, shown, scaler_port, (namespace, WORKLOAD), metadata)?, repeat).await
}

/// Makes every call once as KEDA's operator, about an object of that namespace and name, whether there is one or not.
pub async fn calls_about(
    plane: &ControlPlane,
    scaler_port: u16,
    object: (&str, &str),
    metadata: &Value,
) -> Result<Vec<Line>> {
    let shown = plane.path("conformance-about.pem");
    show(&shown, &plane.pki.cluster.client("keda-operator", None)?)?;
    run(client(plane, &shown, scaler_port, object, metadata)?, 1).await
}

async fn run(mut command: Command, repeat: u32) -> Result<Vec<Line>> {
    let output = command.arg(format!("--repeat={repeat}")).output().await.context("running KEDA's client")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "KEDA's client ended with {}: {said}", output.status);
    let text = String::from_utf8(output.stdout)?;
    let lines = text.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned()));
    let lines: Vec<Line> = lines.collect::<Result<_>>()?;
    let names: Vec<_> = lines.iter().map(|line| line.call.as_str()).collect();
    ensure!(names == CALLS, "KEDA's client told of {names:?}");
    Ok(lines)
}

/// Puts a certificate and its key into one file, as a whole: connections that are made from now on show it.
pub fn show(file: &Path, pair: &Pair) -> Result<()> {
    let next = file.with_extension("next");
    std::fs::write(&next, format!("{}{}", pair.certificate, pair.key))?;
    std::fs::rename(next, file).with_context(|| format!("writing {}", file.display()))
}

fn client(
    plane: &ControlPlane,
    shown: &Path,
    scaler_port: u16,
    (namespace, name): (&str, &str),
    metadata: &Value,
) -> Result<Command> {
    let mut command = Command::new(tools::keda("conformance")?);
    command
        .arg(format!("--address=127.0.0.1:{scaler_port}"))
        .arg("--ca")
        .arg(plane.pki.file("ca.crt"))
        .arg("--certificate")
        .arg(shown)
        .arg("--key")
        .arg(shown)
        .args(["--namespace", namespace, "--name", name, "--metadata", &metadata.to_string()])
        .kill_on_drop(true);
    Ok(command)
}

/// KEDA's client calling without a pause, over one connection and over a new one for each call.
#[derive(Debug)]
pub struct Load(Child);

/// What came of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tally {
    /// All calls.
    pub calls: u32,
    /// Those over a connection of their own.
    pub fresh: u32,
    /// The first failures.
    pub failures: Vec<String>,
    /// Calls by the common name in the server's certificate.
    pub servers: BTreeMap<String, u32>,
    /// How streams ended that were open meanwhile, by call.
    pub streams: BTreeMap<String, String>,
    /// The longest call, connecting included, in milliseconds.
    pub slowest_ms: f64,
}

impl Load {
    /// Begins, with the certificate and key of a file.
    pub fn start(
        plane: &ControlPlane,
        shown: &Path,
        scaler_port: u16,
        namespace: &str,
        metadata: &Value,
    ) -> Result<Self> {
        let mut command = client(plane, shown, scaler_port, (namespace, WORKLOAD), metadata)?;
        let child = command.arg("--load").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        Ok(Self(child.context("running KEDA's client")?))
    }

    /// Ends it.
    pub async fn stop(mut self) -> Result<Tally> {
        drop(self.0.stdin.take());
        let output = self.0.wait_with_output().await?;
        serde_json::from_slice(&output.stdout).context("what KEDA's client said of its load")
    }
}
