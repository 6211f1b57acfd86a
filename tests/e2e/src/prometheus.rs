//! A real Prometheus that scrapes a world's pods, told its targets by file as a service discovery would.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::{
    ControlPlane, World, ports,
    process::{Ending, Process},
    standin::{Role, Target},
    tools, wait,
};

/// A running Prometheus.
#[derive(Debug)]
pub struct Prometheus {
    process: Process,
    /// Its base URL.
    pub url: String,
    targets: PathBuf,
}

impl Prometheus {
    /// Starts it and waits until it answers queries; it has no targets yet.
    pub async fn start(plane: &ControlPlane) -> Result<Self> {
        let [port] = ports::free()?;
        let (config, targets) = (plane.path("prometheus.yaml"), plane.path("prometheus-targets.json"));
        std::fs::write(&targets, "[]")?;
        std::fs::write(&config, serde_json::to_string_pretty(&configuration(&targets))?)?;
        let arguments = vec![
            format!("--config.file={}", config.display()),
            format!("--web.listen-address=127.0.0.1:{port}"),
            format!("--storage.tsdb.path={}", plane.path("prometheus-data").display()),
            "--log.level=warn".into(),
        ];
        let binary = tools::prometheus("prometheus")?;
        let process = Process::spawn("prometheus", &binary, &arguments, &plane.logs(), Ending::Kill)?;
        let prometheus = Self { process, url: format!("http://127.0.0.1:{port}"), targets };
        prometheus.wait_ready().await.with_context(|| prometheus.process.tail(20))?;
        Ok(prometheus)
    }

    async fn wait_ready(&self) -> Result<()> {
        let client = reqwest::Client::builder().no_proxy().build()?;
        wait::until("Prometheus to be ready", Duration::from_secs(60), async || {
            let status = client.get(format!("{}/-/ready", self.url)).send().await?.status();
            Ok(if status.is_success() { Ok(()) } else { Err(status) })
        })
        .await
    }

    /// Tells it the pods of `world` whenever they change; runs until it is dropped.
    pub async fn follow(&self, world: &World<'_>) -> Result<()> {
        let mut told = Vec::new();
        loop {
            let targets = world.standin.targets();
            if targets != told {
                // Prometheus reads the file when it is renamed into place, never half of it.
                let staging = self.targets.with_extension("staging");
                std::fs::write(&staging, serde_json::to_vec(&groups(&targets))?)?;
                std::fs::rename(&staging, &self.targets)?;
                told = targets;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

fn configuration(targets: &std::path::Path) -> Value {
    json!({
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "scrape_configs": [{
            "job_name": "pods",
            // An exporter's own pod and namespace labels are kept, as its ServiceMonitor sets it.
            "honor_labels": true,
            "file_sd_configs": [{"files": [targets], "refresh_interval": "1s"}],
        }],
    })
}

/// Inference pods are labelled by their target; an exporter's page names the pods that hold its GPUs.
fn groups(targets: &[Target]) -> Vec<Value> {
    let group = |target: &Target| {
        let labels: BTreeMap<&str, &str> = match &target.role {
            Role::Inference(_) => [("namespace", target.namespace.as_str()), ("pod", target.pod.as_str())].into(),
            Role::Exporter { node } => [("node", node.as_str())].into(),
        };
        json!({"targets": [target.address.to_string()], "labels": labels})
    };
    targets.iter().map(group).collect()
}
