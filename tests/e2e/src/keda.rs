//! The real KEDA beside the adapter: its operator, and its metrics server as owner of the external metrics API.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::{
    ControlPlane,
    adapter::available,
    manifests::{NAME, NAMESPACE},
    ports,
    process::{Ending, Process},
    tools, wait,
    workload::WORKLOAD,
    world::{SOON, ensure_namespace},
};

/// KEDA's own namespace.
const KEDA: &str = "keda";
/// The APIService that both could serve.
const EXTERNAL: &str = "v1beta1.external.metrics.k8s.io";

/// A running KEDA.
#[derive(Debug)]
pub struct Keda {
    operator: Option<Process>,
    metrics_server: Option<Process>,
    /// Where the metrics server listens.
    pub port: u16,
    /// How the operator is started, for a restart.
    command: Vec<String>,
    /// How the metrics server is.
    serving: Vec<String>,
}

impl Keda {
    /// Installs KEDA's kinds; the adapter watches them from then on.
    pub async fn install(plane: &ControlPlane) -> Result<()> {
        let crds = tools::keda("crds")?;
        let crds = crds.to_str().context("the folder of the CRDs is not UTF-8")?;
        plane.kubectl(&["apply", "--server-side", "-f", crds]).await.context("installing KEDA's kinds")?;
        for kind in ["scaledobjects", "scaledjobs", "triggerauthentications"] {
            wait::until(&format!("{kind} to be served"), SOON, async || {
                Ok(plane.kubectl(&["get", kind, "-A"]).await.map(drop).map_err(|error| error.to_string()))
            })
            .await?;
        }
        ensure_namespace(&plane.client, KEDA).await
    }

    /// Starts operator and metrics server, and hands the external metrics API over to KEDA.
    pub async fn start(plane: &ControlPlane) -> Result<Self> {
        let keda = Self::launch(plane)?;
        let patch = json!({"spec": {"service": {"port": keda.port}}}).to_string();
        plane.kubectl(&["patch", "apiservice", EXTERNAL, "--type=merge", "-p", &patch]).await?;
        wait::until("KEDA to serve the external metrics API", Duration::from_secs(30), async || {
            let condition = available(&plane.client, EXTERNAL).await?;
            Ok(if condition["status"] == "True" { Ok(()) } else { Err(condition) })
        })
        .await
        .with_context(|| keda.tail())?;
        Ok(keda)
    }

    /// Starts operator and metrics server; kube-apiserver asks whom it asked before.
    pub fn launch(plane: &ControlPlane) -> Result<Self> {
        let [grpc, metrics, health, secure, plain] = ports::free()?;
        // One certificate for both sides of KEDA's own connection; the metrics server also presents it to the aggregator.
        let service = format!("{NAME}.{NAMESPACE}.svc");
        let folder = plane.path("keda");
        std::fs::create_dir_all(&folder)?;
        let pair = plane.pki.cluster.both(&service, &["localhost", "127.0.0.1", &service])?;
        for (name, text) in [
            ("ca.crt", plane.pki.cluster.certificate()),
            ("tls.crt", pair.certificate.as_str()),
            ("tls.key", pair.key.as_str()),
        ] {
            std::fs::write(folder.join(name), text)?;
        }
        let kubeconfig = plane.admin_kubeconfig();
        let (kubeconfig, certificates) = (kubeconfig.display(), folder.display());
        let command = vec![
            format!("KUBECONFIG={kubeconfig}"),
            format!("POD_NAMESPACE={KEDA}"),
            format!("KEDA_CLUSTER_OBJECT_NAMESPACE={KEDA}"),
            "WATCH_NAMESPACE=".to_owned(),
            tools::keda("operator")?.display().to_string(),
            "--enable-cert-rotation=false".to_owned(),
            format!("--cert-dir={certificates}"),
            "--enable-webhook-patching=false".to_owned(),
            "--enable-apiservice-patching=false".to_owned(),
            format!("--metrics-service-bind-address=127.0.0.1:{grpc}"),
            format!("--metrics-bind-address=127.0.0.1:{metrics}"),
            format!("--health-probe-bind-address=127.0.0.1:{health}"),
        ];
        let operator = Process::spawn("keda-operator", "/usr/bin/env".as_ref(), &command, &plane.logs(), Ending::Term)?;
        let serving = vec![
            format!("KUBECONFIG={kubeconfig}"),
            format!("POD_NAMESPACE={KEDA}"),
            "WATCH_NAMESPACE=".to_owned(),
            tools::keda("adapter")?.display().to_string(),
            format!("--metrics-service-address=127.0.0.1:{grpc}"),
            format!("--cert-dir={certificates}"),
            format!("--secure-port={secure}"),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--port={plain}"),
            format!("--client-ca-file={}", plane.pki.file("ca.crt").display()),
            format!("--tls-cert-file={certificates}/tls.crt"),
            format!("--tls-private-key-file={certificates}/tls.key"),
            format!("--authentication-kubeconfig={kubeconfig}"),
            format!("--authorization-kubeconfig={kubeconfig}"),
            format!("--lister-kubeconfig={kubeconfig}"),
        ];
        let mut keda = Self { operator: Some(operator), metrics_server: None, port: secure, command, serving };
        keda.start_metrics_server(plane)?;
        Ok(keda)
    }

    /// Ends the operator.
    pub fn stop(&mut self) {
        drop(self.operator.take());
    }

    /// Starts the operator again as it was.
    pub fn resume(&mut self, plane: &ControlPlane) -> Result<()> {
        self.stop();
        let operator =
            Process::spawn("keda-operator", "/usr/bin/env".as_ref(), &self.command, &plane.logs(), Ending::Term)?;
        self.operator = Some(operator);
        Ok(())
    }

    /// Starts the metrics server, unless it runs.
    pub fn start_metrics_server(&mut self, plane: &ControlPlane) -> Result<()> {
        if self.metrics_server.is_none() {
            let env = "/usr/bin/env".as_ref();
            let server = Process::spawn("keda-metrics-server", env, &self.serving, &plane.logs(), Ending::Kill)?;
            self.metrics_server = Some(server);
        }
        Ok(())
    }

    /// Ends the metrics server.
    pub fn stop_metrics_server(&mut self) {
        drop(self.metrics_server.take());
    }

    /// The ends of the logs.
    #[must_use]
    pub fn tail(&self) -> String {
        let processes = [&self.operator, &self.metrics_server].into_iter().flatten();
        processes.map(|process| process.tail(20)).collect::<Vec<_>>().join("\n")
    }
}

/// What a ScaledObject says beside its target.
#[derive(Clone, Debug)]
pub struct ScaledObject {
    /// `external` or `external-push`.
    pub kind: &'static str,
    /// Fewest replicas.
    pub min: i32,
    /// Seconds between KEDA's polls.
    pub polling: u32,
    /// Seconds without demand before the last replica goes.
    pub cooldown: u32,
    /// Metadata of the trigger, beside the address.
    pub metadata: Value,
}

impl ScaledObject {
    /// Applies it to a namespace's workload, with what KEDA needs to be let in.
    pub async fn apply(&self, plane: &ControlPlane, scaler_port: u16, namespace: &str) -> Result<()> {
        self.apply_with(plane, scaler_port, namespace, &json!({})).await
    }

    /// Applies it with further fields of its `spec`; a list of triggers replaces the one of ours.
    pub async fn apply_with(
        &self,
        plane: &ControlPlane,
        scaler_port: u16,
        namespace: &str,
        more: &Value,
    ) -> Result<()> {
        let mut items = credentials(plane, namespace)?;
        let rules = json!({"stabilizationWindowSeconds": 0, "tolerance": "0"});
        let mut spec = json!({
            "scaleTargetRef": {"name": WORKLOAD},
            "pollingInterval": self.polling, "cooldownPeriod": self.cooldown,
            "minReplicaCount": self.min, "maxReplicaCount": 50,
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": {"scaleUp": rules, "scaleDown": rules}}},
            "triggers": [trigger(self.kind, scaler_port, &self.metadata)],
        });
        for (field, value) in more.as_object().into_iter().flatten() {
            match (spec.get_mut(field).and_then(Value::as_object_mut), value.as_object()) {
                (Some(own), Some(further)) => own.extend(further.clone()),
                _ => spec[field] = value.clone(),
            }
        }
        items.push(json!({
            "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject",
            "metadata": {"name": WORKLOAD, "namespace": namespace},
            "spec": spec,
        }));
        apply(plane, &format!("{namespace}-scaledobject"), items).await
    }

    /// Waits until KEDA has made an HPA of it.
    pub async fn wait_ready(plane: &ControlPlane, namespace: &str) -> Result<()> {
        wait::until("KEDA to know the ScaledObject", SOON, async || {
            let path = ["get", "scaledobject", WORKLOAD, "-n", namespace, "-o", "jsonpath={.status.conditions}"];
            let text = plane.kubectl(&path).await?;
            Ok(if text.contains("ScaledObjectReady") { Ok(()) } else { Err(text) })
        })
        .await
    }

    /// Removes it, while KEDA still runs: it holds a finalizer.
    pub async fn remove(plane: &ControlPlane, namespace: &str) -> Result<()> {
        let limit = format!("--timeout={}s", SOON.as_secs());
        plane.kubectl(&["delete", "scaledobject", WORKLOAD, "-n", namespace, &limit]).await?;
        Ok(())
    }
}

/// A trigger that our scaler answers, at this port unless the metadata have an address.
#[must_use]
pub fn trigger(kind: &str, scaler_port: u16, metadata: &Value) -> Value {
    let mut metadata = metadata.clone();
    if metadata["scalerAddress"].is_null() {
        metadata["scalerAddress"] = json!(format!("127.0.0.1:{scaler_port}"));
    }
    json!({"type": kind, "metadata": metadata, "authenticationRef": {"name": "plimsoll"}})
}

/// What KEDA shows our scaler in a namespace: the TriggerAuthentication `plimsoll` and its Secret.
pub fn credentials(plane: &ControlPlane, namespace: &str) -> Result<Vec<Value>> {
    let client = plane.pki.cluster.client("keda-operator", None)?;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "plimsoll-mtls", "namespace": namespace},
        "stringData": {"ca": plane.pki.cluster.certificate(), "crt": client.certificate, "key": client.key},
    });
    let parameter = |name: &str, key: &str| json!({"parameter": name, "name": "plimsoll-mtls", "key": key});
    let authentication = json!({
        "apiVersion": "keda.sh/v1alpha1", "kind": "TriggerAuthentication",
        "metadata": {"name": "plimsoll", "namespace": namespace},
        "spec": {"secretTargetRef": [
            parameter("caCert", "ca"), parameter("tlsClientCert", "crt"), parameter("tlsClientKey", "key"),
        ]},
    });
    Ok(vec![secret, authentication])
}

/// Applies objects by way of a file of that name.
pub async fn apply(plane: &ControlPlane, name: &str, items: Vec<Value>) -> Result<()> {
    let file = plane.path(&format!("{name}.json"));
    std::fs::write(&file, json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string())?;
    let file = file.to_str().context("the temporary folder is not UTF-8")?;
    plane.kubectl(&["apply", "--server-side", "-f", file]).await.with_context(|| format!("applying {name}"))?;
    Ok(())
}
