//! The client of the Kubernetes API: where it comes from, what it calls itself, and how long it waits.

use std::{env, path::Path, path::PathBuf, time::Duration};

use http::{HeaderValue, header::USER_AGENT};
use kube::{
    Client, Config,
    client::ClientBuilder,
    config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError},
};
use tower::{BoxError, util::MapFutureLayer};

/// How long a connection to the API server may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long any call waits for the head of its answer. A watch has its head at once; a page of 500 pods takes an API
/// server under load some seconds.
const HEAD_TIMEOUT: Duration = Duration::from_secs(20);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The named kubeconfig cannot be used.
    #[error("cannot use kubeconfig {path}: check that the file exists, is readable and names a current context")]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<KubeconfigError>,
    },
    /// The process runs in a pod, but its service account cannot be used.
    #[error("running in a pod, but its service account cannot be used: is automountServiceAccountToken off?")]
    InCluster(#[source] InClusterError),
    /// There is neither a flag, nor a pod's environment, nor a default kubeconfig.
    #[error("no cluster found: give --kubeconfig, set KUBECONFIG, or run in a pod")]
    NoCluster(#[source] Box<KubeconfigError>),
    /// The configuration is there but makes no client.
    #[error("cannot make a client for the Kubernetes API at {url}: check certificates and credentials there")]
    Build {
        /// Address of the API server.
        url: String,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
}

/// A client from the given kubeconfig, else from the pod that the process runs in, else from the default kubeconfig.
///
/// It opens no connection, never retries by itself (each caller has its own backoff), and each of its calls fails
/// when the head of the answer does not come in time; bodies are the caller's to bound.
pub async fn client(kubeconfig: Option<&Path>) -> Result<Client, Error> {
    let mut config = config(kubeconfig).await?;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.default_retry = false;
    config.headers.push((USER_AGENT, HeaderValue::from_static(concat!("plimsoll/", env!("CARGO_PKG_VERSION")))));
    let url = config.cluster_url.to_string();
    let builder = ClientBuilder::try_from(config).map_err(|source| Error::Build { url, source: Box::new(source) })?;
    Ok(builder.with_layer(&MapFutureLayer::new(head_in_time)).build())
}

async fn config(kubeconfig: Option<&Path>) -> Result<Config, Error> {
    let options = KubeConfigOptions::default();
    if let Some(path) = kubeconfig {
        let fail = |source| Error::Kubeconfig { path: path.to_owned(), source: Box::new(source) };
        let kubeconfig = Kubeconfig::read_from(path).map_err(fail)?;
        return Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(fail);
    }
    if env::var_os("KUBERNETES_SERVICE_HOST").is_some() {
        return Config::incluster().map_err(Error::InCluster);
    }
    Config::from_kubeconfig(&options).await.map_err(|source| Error::NoCluster(Box::new(source)))
}

async fn head_in_time<T>(call: impl Future<Output = Result<T, BoxError>>) -> Result<T, BoxError> {
    match tokio::time::timeout(HEAD_TIMEOUT, call).await {
        Ok(result) => result,
        Err(_) => Err(format!("the API server did not answer within {} s", HEAD_TIMEOUT.as_secs()).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_missing_kubeconfig_is_named() {
        let error = client(Some(Path::new("/nowhere/kubeconfig"))).await.err().unwrap().to_string();
        assert!(error.contains("/nowhere/kubeconfig") && error.contains("exists"), "{error}");
    }

    #[tokio::test]
    async fn a_kubeconfig_makes_a_client_without_a_connection() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = r#"{"apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "k", "cluster": {"server": "http://127.0.0.1:1"}}],
            "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
            "users": [{"name": "u", "user": {}}]}"#;
        std::fs::write(file.path(), text).unwrap();
        assert_eq!(client(Some(file.path())).await.unwrap().default_namespace(), "default");
    }
}
