//! `plimsoll serve` as the cluster sees it: installed by `deploy/`, with its ServiceAccount's rights and no others.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{authentication::v1::TokenRequest, core::v1::ServiceAccount};
use kube::{Api, Client, api::PostParams};
use serde_json::{Value, json};

use crate::{
    ControlPlane,
    kubeconfig::{self, Identity},
    manifests::{self, API_SERVICES, NAME, NAMESPACE, Scope},
    pki::Pair,
    ports,
    process::{Ending, Process},
    tools, wait,
    workload::WORKLOAD,
};

/// From the start of the process until kube-apiserver believes that the APIs are there.
const START: Duration = Duration::from_secs(90);

/// What a scenario may choose about the adapter.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The base URL of a Prometheus that is asked for the generic metrics; absent: pods are scraped directly.
    pub prometheus: Option<String>,
    /// The base URL of a Prometheus that triggers of KEDA may name; present: the external scaler listens.
    pub keda: Option<String>,
}

/// A running adapter.
#[derive(Debug)]
pub struct Adapter {
    process: Process,
    /// Where it serves the metrics APIs.
    pub port: u16,
    /// Where its status API answers.
    pub status_port: u16,
    /// Where its external scaler listens, if it does.
    pub scaler_port: u16,
    authority: String,
}

impl Adapter {
    /// Installs `deploy/`, starts the binary and waits until all APIServices are Available.
    pub async fn start(plane: &ControlPlane, settings: &Settings) -> Result<Self> {
        let [port, status_port, scaler_port] = ports::free()?;
        let serving = serving_certificate(plane)?;
        plane.pki.write_pair("plimsoll", &serving)?;
        manifests::apply(plane, Scope::Installation, port, &serving).await?;
        service_account_kubeconfig(plane, NAMESPACE, NAME).await?;
        let config = plane.path("plimsoll.yaml");
        std::fs::write(&config, serde_json::to_string_pretty(&self::config(settings))?)
            .context("writing the adapter's configuration")?;

        let mut arguments = arguments(plane, [port, status_port], &config);
        if settings.keda.is_some() {
            arguments.extend(scaler_arguments(plane, (Ipv4Addr::LOCALHOST, scaler_port).into()));
        }
        let process = Process::spawn("plimsoll", &tools::plimsoll()?, &arguments, &plane.logs(), Ending::Term)?;
        let mut adapter =
            Self { process, port, status_port, scaler_port, authority: plane.pki.cluster.certificate().to_owned() };
        adapter.wait_ready().await?;
        // Only now: kube-apiserver would log that the APIs are not there, and its log is asserted on.
        manifests::apply(plane, Scope::Everything, port, &serving).await?;
        adapter.wait_available(plane).await?;
        Ok(adapter)
    }

    async fn wait_ready(&mut self) -> Result<()> {
        let (client, url) = (self.client(None)?, self.url("/readyz"));
        let ready = wait::until("the adapter's /readyz", START, async || {
            let answer = client.get(&url).send().await?;
            let status = answer.status();
            let text = answer.text().await?;
            Ok(if status.is_success() { Ok(()) } else { Err((status, text)) })
        });
        let result = tokio::select! { // either arm may be dropped: both only look
            result = ready => result,
            error = self.process.ended() => return Err(error),
        };
        result.with_context(|| self.process.tail(30))
    }

    async fn wait_available(&self, plane: &ControlPlane) -> Result<()> {
        for name in API_SERVICES {
            wait::until(&format!("APIService {name} to be Available"), START, async || {
                let condition = available(&plane.client, name).await?;
                Ok(if condition["status"] == "True" { Ok(()) } else { Err(condition) })
            })
            .await
            .with_context(|| self.process.tail(30))?;
        }
        Ok(())
    }

    /// The last lines of its log.
    #[must_use]
    pub fn tail(&self, lines: usize) -> String {
        self.process.tail(lines)
    }

    /// Its whole log.
    pub fn log(&self) -> Result<String> {
        self.process.log()
    }

    /// Asks it to end by TERM, as Kubernetes does, and fails unless it ends well.
    pub fn terminate(mut self) -> Result<()> {
        let status = self.process.stop()?;
        ensure!(status.success(), "the adapter ended with {status} after TERM:\n{}", self.process.tail(20));
        Ok(())
    }

    /// The URL of a path of the metrics APIs, past the aggregator.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.port)
    }

    /// What it last decided for the workload of a scenario, by its status API.
    pub async fn decision(&self, namespace: &str) -> Result<Value> {
        let url = format!("http://127.0.0.1:{}/api/v1/decisions/{namespace}/{WORKLOAD}", self.status_port);
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?;
        let answer = client.get(&url).send().await?.error_for_status()?;
        Ok(answer.json().await?)
    }

    /// A client that talks to it directly, perhaps with a certificate; it verifies the server as the aggregator does.
    pub fn client(&self, certificate: Option<&Pair>) -> Result<reqwest::Client> {
        let authority = reqwest::Certificate::from_pem(self.authority.as_bytes())?;
        let mut builder =
            reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).tls_certs_only([authority]);
        if let Some(pair) = certificate {
            let pem = format!("{}{}", pair.certificate, pair.key);
            builder = builder.identity(reqwest::Identity::from_pem(pem.as_bytes())?);
        }
        Ok(builder.build()?)
    }
}

/// How an instance is started that has the shipped ServiceAccount's rights, and serves at these ports.
pub(crate) fn arguments(plane: &ControlPlane, [port, status_port]: [u16; 2], config: &Path) -> Vec<String> {
    let kubeconfig = plane.path(&format!("{NAMESPACE}-{NAME}.kubeconfig"));
    vec![
        "serve".to_owned(),
        format!("--secure-port={port}"),
        "--bind-address=127.0.0.1".into(),
        file("tls-cert-file", &plane.pki.file("plimsoll.crt")),
        file("tls-private-key-file", &plane.pki.file("plimsoll.key")),
        file("kubeconfig", &kubeconfig),
        file("authentication-kubeconfig", &kubeconfig),
        file("authorization-kubeconfig", &kubeconfig),
        file("config", config),
        format!("--status-port={status_port}"),
        "--log-format=json".into(),
        "--autoscaler-interval=2s".into(),
        // No endpoints have to leave a Service here.
        "--shutdown-delay-duration=0".into(),
    ]
}

/// What makes its external scaler listen.
pub(crate) fn scaler_arguments(plane: &ControlPlane, at: SocketAddr) -> [String; 3] {
    [
        format!("--scaler-port={}", at.port()),
        format!("--scaler-bind-address={}", at.ip()),
        file("scaler-client-ca-file", &plane.pki.file("ca.crt")),
    ]
}

fn file(flag: &str, path: &Path) -> String {
    format!("--{flag}={}", path.display())
}

/// The `Available` condition of an APIService.
pub async fn available(client: &Client, name: &str) -> Result<Value> {
    let path = format!("/apis/apiregistration.k8s.io/v1/apiservices/{name}");
    let service: Value = client.request(http::Request::get(path).body(Vec::new())?).await?;
    let conditions = service["status"]["conditions"].as_array().cloned().unwrap_or_default();
    Ok(conditions.into_iter().find(|condition| condition["type"] == "Available").unwrap_or(Value::Null))
}

/// The certificate that a cluster would mount: the Service's name, and loopback for tests past the aggregator.
fn serving_certificate(plane: &ControlPlane) -> Result<Pair> {
    let service = format!("{NAME}.{NAMESPACE}.svc");
    let names = [service.as_str(), &format!("{service}.cluster.local"), "localhost", "127.0.0.1"];
    plane.pki.cluster.server(&service, &names)
}

/// A kubeconfig with a token of the ServiceAccount, got as a kubelet gets it for a pod.
pub async fn service_account_kubeconfig(plane: &ControlPlane, namespace: &str, name: &str) -> Result<PathBuf> {
    let accounts: Api<ServiceAccount> = Api::namespaced(plane.client.clone(), namespace);
    let request: TokenRequest = serde_json::from_value(json!({"spec": {"audiences": [], "expirationSeconds": 7200}}))?;
    let answer = accounts.create_token_request(name, &PostParams::default(), &request).await;
    let answer = answer.with_context(|| format!("a token of ServiceAccount {namespace}/{name}"))?;
    let token = answer.status.and_then(|status| status.token).context("the answer has no token")?;
    let file = plane.path(&format!("{namespace}-{name}.token"));
    std::fs::write(&file, token)?;
    let kubeconfig = plane.path(&format!("{namespace}-{name}.kubeconfig"));
    kubeconfig::write(&kubeconfig, &plane.server, &plane.pki.file("ca.crt"), &Identity::TokenFile(file))?;
    Ok(kubeconfig)
}

/// All time constants compressed as the cluster's are; everything else as shipped.
pub(crate) fn config(settings: &Settings) -> Value {
    let mut config = json!({
        "apiVersion": "plimsoll.dev/v1alpha1", "kind": "Configuration",
        "tick": "1s",
        "policy": {
            "shedGrace": "5s", "provisionTimeout": "30s", "syncPeriod": "2s", "downscaleStabilization": "10s", "lastKnownGoodBound": "15s",
        },
        // Pods are on loopback here, which nobody's are in earnest.
        "scrape": {"interval": "1s", "allowLoopback": true},
    });
    if let Some(url) = &settings.keda {
        config["prometheus"] = json!([{"name": "gateway", "url": url, "interval": "1s", "queries": []}]);
    }
    if let Some(url) = &settings.prometheus {
        config["dcgm"] = json!({"discover": false});
        config["pods"] = json!({"annotations": false, "portNames": []});
        config["prometheus"] = json!([{
            "name": "e2e", "url": url, "interval": "1s",
            "queries": [
                {"signal": "queueLength", "query": "inference_queue_length"},
                {"signal": "gpuUtilization", "query": "DCGM_FI_DEV_GPU_UTIL"},
            ],
        }]);
    }
    config
}
