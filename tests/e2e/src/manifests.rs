//! Applies `deploy/` to the real API server, strictly, by the overlay that ships with it.
//!
//! The overlay `own-ca` puts the certificate authority into the APIServices. On top of it this run's overlay only
//! says where the adapter is, since it does not run in a pod here: an ExternalName Service that leads to loopback,
//! and no replicas of the Deployment. Rights, APIServices and everything else are applied as shipped.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{ControlPlane, pki::Pair, tools};

/// The shipped namespace, and the shipped name of Service, ServiceAccount and Deployment.
pub const NAMESPACE: &str = "plimsoll-system";
/// See [`NAMESPACE`].
pub const NAME: &str = "plimsoll";
/// The APIServices.
pub const API_SERVICES: [&str; 3] =
    ["v1beta1.external.metrics.k8s.io", "v1beta1.custom.metrics.k8s.io", "v1beta2.custom.metrics.k8s.io"];

/// How much of the manifests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All but the APIServices: what the adapter needs to start.
    Installation,
    /// Everything: from here on kube-apiserver asks the adapter.
    Everything,
}

/// Applies so much of it, with APIServices that lead to `port` and trust this cluster's authority.
pub async fn apply(plane: &ControlPlane, scope: Scope, port: u16, serving: &Pair) -> Result<()> {
    let folder = write_overlay(plane, scope, port, serving).await?;
    let folder = folder.to_str().context("the temporary folder is not UTF-8")?;
    plane
        .kubectl(&["apply", "--server-side", "--validate=strict", "-k", folder])
        .await
        .context("applying deploy/ strictly")?;
    Ok(())
}

async fn write_overlay(plane: &ControlPlane, scope: Scope, port: u16, serving: &Pair) -> Result<PathBuf> {
    let root = plane.path("deploy");
    if root.exists() {
        std::fs::remove_dir_all(&root)?;
    }
    let copied = Command::new("cp").arg("-R").arg(tools::deploy()?).arg(&root).status().await?;
    ensure!(copied.success(), "copying deploy/ to {} failed", root.display());
    let certificates = root.join("overlays/own-ca");
    for (name, text) in [
        ("ca.crt", plane.pki.cluster.certificate()),
        ("tls.crt", serving.certificate.as_str()),
        ("tls.key", serving.key.as_str()),
    ] {
        write(&certificates.join(name), text)?;
    }
    let overlay = root.join("overlays/loopback");
    std::fs::create_dir_all(&overlay)?;
    write(&overlay.join("kustomization.yaml"), &serde_json::to_string_pretty(&kustomization(scope, port))?)?;
    Ok(overlay)
}

fn kustomization(scope: Scope, port: u16) -> Value {
    let service = json!([
        {"op": "replace", "path": "/spec", "value": {"type": "ExternalName", "externalName": "localhost"}},
    ]);
    let api_service = match scope {
        Scope::Installation => {
            json!({"$patch": "delete", "apiVersion": "v1", "kind": "APIService", "metadata": {"name": "any"}})
        }
        Scope::Everything => json!([{"op": "replace", "path": "/spec/service/port", "value": port}]),
    };
    let deployment = json!([{"op": "replace", "path": "/spec/replicas", "value": 0}]);
    let patch = |kind: &str, patch: &Value| json!({"target": {"kind": kind}, "patch": patch.to_string()});
    json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": ["../own-ca"],
        "patches": [
            patch("Service", &service), patch("APIService", &api_service), patch("Deployment", &deployment),
        ],
    })
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}
