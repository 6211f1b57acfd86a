//! The real Kueue beside the control plane, installed as it ships: it makes its own certificates and puts them into the
//! webhooks and conversions that kube-apiserver asks.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use http::Request;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{
    ControlPlane, ports,
    process::{Ending, Process},
    tools, wait,
    world::{SOON, ensure_namespace},
};

/// Kueue's own namespace.
const NAMESPACE: &str = "kueue-system";
/// Prefix of the names of what is not a kind, as in Kueue's own overlay.
const PREFIX: &str = "kueue-";
/// Its kinds that are served in two versions by conversion.
const CONVERTED: &str = "(localqueues|clusterqueues|cohorts|workloads|multikueueclusters).kueue.x-k8s.io";
/// From the start of the process until its webhooks answer: it makes certificates first.
const START: Duration = Duration::from_secs(90);

/// A running Kueue.
#[derive(Debug)]
pub struct Kueue {
    process: Process,
}

impl Kueue {
    /// Installs its kinds and webhooks, starts it for Deployments, and waits until it admits pods. From then on no pod is
    /// made without it.
    pub async fn start(plane: &ControlPlane) -> Result<Self> {
        let [webhooks, health] = ports::free()?;
        ensure_namespace(&plane.client, NAMESPACE).await?;
        let overlay = write_overlay(plane, webhooks).await?;
        let overlay = overlay.to_str().context("the temporary folder is not UTF-8")?;
        plane.kubectl(&["apply", "--server-side", "-k", overlay]).await.context("installing Kueue")?;
        for kind in ["mutating", "validating"] {
            direct(plane, kind, webhooks).await?;
        }
        let certificates = plane.path("kueue/certificates");
        std::fs::create_dir_all(&certificates)?;
        let file = plane.path("kueue/configuration.json");
        std::fs::write(&file, configuration(&certificates, webhooks, health).to_string())?;
        let command = [
            format!("KUBECONFIG={}", plane.admin_kubeconfig().display()),
            tools::kueue("kueue")?.display().to_string(),
            format!("--config={}", file.display()),
            "--zap-log-level=2".to_owned(),
        ];
        let process = Process::spawn("kueue", "/usr/bin/env".as_ref(), &command, &plane.logs(), Ending::Kill)?;
        let mut kueue = Self { process };
        let ready = async {
            mount(plane, &certificates).await?;
            wait_ready(health).await
        };
        let result = tokio::select! { // either arm may be dropped: both only look
            result = ready => result,
            error = kueue.process.ended() => Err(error),
        };
        result.with_context(|| kueue.tail())?;
        Ok(kueue)
    }

    /// The end of its log.
    #[must_use]
    pub fn tail(&self) -> String {
        self.process.tail(40)
    }
}

fn configuration(certificates: &std::path::Path, webhooks: u16, health: u16) -> Value {
    json!({
        "apiVersion": "config.kueue.x-k8s.io/v1beta2", "kind": "Configuration",
        "namespace": NAMESPACE,
        "health": {"healthProbeBindAddress": format!("127.0.0.1:{health}")},
        "metrics": {"bindAddress": "0"},
        "webhook": {"host": "127.0.0.1", "port": webhooks, "certDir": certificates},
        "leaderElection": {"leaderElect": false},
        "controller": {"groupKindConcurrency": {"Pod": 5, "Workload.kueue.x-k8s.io": 5}},
        // The defaults of 20 and 30 would pace the pods of many queues at once.
        "clientConnection": {"qps": 500, "burst": 1000},
        "integrations": {"frameworks": ["pod", "deployment"]},
        // A server for people who wait, at a port and in a folder that cannot be chosen.
        "featureGates": {"VisibilityOnDemand": false},
    })
}

/// What Kueue's own overlay is made of, on loopback. Its webhooks are reached through a Service that leads there.
async fn write_overlay(plane: &ControlPlane, port: u16) -> Result<PathBuf> {
    let root = plane.path("kueue");
    std::fs::create_dir_all(&root)?;
    let copied = Command::new("cp").arg("-R").arg(tools::kueue("components")?).arg(&root).status().await?;
    ensure!(copied.success(), "copying Kueue's components to {} failed", root.display());
    let service = json!([
        {"op": "replace", "path": "/spec", "value": {"type": "ExternalName", "externalName": "localhost"}},
    ]);
    let conversion =
        json!([{"op": "add", "path": "/spec/conversion/webhook/clientConfig/service/port", "value": port}]);
    let kustomization = json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
        "namespace": NAMESPACE, "namePrefix": PREFIX,
        "resources": ["../components/crd", "../components/webhook", "../components/internalcert"],
        "patches": [
            {"target": {"kind": "Service"}, "patch": service.to_string()},
            {"target": {"kind": "CustomResourceDefinition", "name": CONVERTED}, "patch": conversion.to_string()},
        ],
    });
    let overlay = root.join("loopback");
    std::fs::create_dir_all(&overlay)?;
    std::fs::write(overlay.join("kustomization.yaml"), kustomization.to_string())?;
    Ok(overlay)
}

/// Leads all webhooks of a configuration to a port.
async fn direct(plane: &ControlPlane, kind: &str, port: u16) -> Result<()> {
    let path = format!(
        "/apis/admissionregistration.k8s.io/v1/{kind}webhookconfigurations/{PREFIX}{kind}-webhook-configuration"
    );
    let mut configuration: Value = plane.client.request(Request::get(&path).body(Vec::new())?).await?;
    for webhook in configuration["webhooks"].as_array_mut().into_iter().flatten() {
        webhook["clientConfig"]["service"]["port"] = json!(port);
    }
    let request = Request::put(&path).header("Content-Type", "application/json");
    plane.client.request::<Value>(request.body(serde_json::to_vec(&configuration)?)?).await?;
    Ok(())
}

/// Puts the Secret that Kueue fills where it reads it, as a kubelet does. The certificate comes last: it is waited for.
async fn mount(plane: &ControlPlane, folder: &std::path::Path) -> Result<()> {
    let secrets: Api<Secret> = Api::namespaced(plane.client.clone(), NAMESPACE);
    let data: BTreeMap<_, _> = wait::until("Kueue to have made its certificates", START, async || {
        let data = secrets.get(&format!("{PREFIX}webhook-server-cert")).await?.data.unwrap_or_default();
        Ok(if data.contains_key("tls.crt") { Ok(data) } else { Err(data.into_keys().collect::<Vec<_>>()) })
    })
    .await?;
    for name in ["ca.crt", "tls.key", "tls.crt"] {
        let text = data.get(name).with_context(|| format!("Kueue's Secret has no {name}"))?;
        std::fs::write(folder.join(name), &text.0)?;
    }
    Ok(())
}

async fn wait_ready(health: u16) -> Result<()> {
    let client = reqwest::Client::builder().no_proxy().timeout(SOON).build()?;
    let url = format!("http://127.0.0.1:{health}/readyz");
    wait::until("Kueue's /readyz", START, async || {
        let status = client.get(&url).send().await?.status();
        Ok(if status.is_success() { Ok(()) } else { Err(status) })
    })
    .await
}
