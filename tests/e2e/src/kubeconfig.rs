//! Kubeconfig files, and clients made from them as any tool would.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};

/// Who a kubeconfig speaks as.
#[derive(Clone, Debug)]
pub enum Identity {
    /// `<folder>/<name>.crt` and `.key`.
    Certificate {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// A file that holds a bearer token.
    TokenFile(PathBuf),
}

/// Writes a kubeconfig (JSON is YAML) for `server`, trusting `authority`.
pub fn write(path: &Path, server: &str, authority: &Path, identity: &Identity) -> Result<()> {
    let user: Value = match identity {
        Identity::Certificate { certificate, key } => {
            json!({"client-certificate": certificate, "client-key": key})
        }
        Identity::TokenFile(file) => json!({"tokenFile": file}),
    };
    let document = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "e2e",
        "clusters": [{"name": "e2e", "cluster": {"server": server, "certificate-authority": authority}}],
        "users": [{"name": "e2e", "user": user}],
        "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": "e2e"}}],
    });
    let text = serde_json::to_string_pretty(&document)?;
    std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

/// A client that speaks as the kubeconfig says.
pub async fn client(path: &Path) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(path).with_context(|| format!("reading {}", path.display()))?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}
