//! Settings of the sources, checked: where measurements come from, how often, and how much of them is read.
//!
//! Sections that need no second look are read from the file as they stand here.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    duration::GoDuration,
    promql::Query,
    value::{HttpPath, HttpUrl, LabelSelectorText, Scheme},
};

/// Where measurements come from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SourceSettings {
    /// How targets are scraped.
    pub scrape: Scrape,
    /// Where DCGM exporters are.
    pub dcgm: Dcgm,
    /// How the metrics ports of workloads' pods are found.
    pub pods: Pods,
    /// Prometheus servers.
    pub prometheus: Vec<PrometheusServer>,
}

/// `scrape`: how targets are scraped.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Scrape {
    /// Time from one scrape of a target to its next.
    pub interval: GoDuration,
    /// Time in which a scrape must end, connection and body included.
    pub timeout: GoDuration,
    /// Longest pause of a target that fails again and again; never shorter than the interval.
    pub max_pause: GoDuration,
    /// Most scrapes at a time.
    pub concurrency: usize,
    /// Whether pods in 127.0.0.0/8 and `::1` are scraped; for tests.
    pub allow_loopback: bool,
    /// Authorities that `https` targets are verified with; without it no `https` target is trusted.
    pub ca_file: Option<PathBuf>,
    /// What is read at most.
    pub limits: Limits,
}

/// `scrape.limits`: what is read at most of one target, and how many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Limits {
    /// Bytes of a body, decompressed.
    pub body_bytes: usize,
    /// Samples of a body.
    pub samples: usize,
    /// Labels of a sample.
    pub labels: usize,
    /// Bytes of a label's value.
    pub label_bytes: usize,
    /// Targets in all.
    pub targets: usize,
}

/// Where exporters are installed by NVIDIA's operator, by the exporter's own chart, and by hand.
const ADMINISTRATORS: [&str; 6] =
    ["gpu-operator", "nvidia-gpu-operator", "dcgm-exporter", "nvidia-dcgm", "monitoring", "kube-system"];

/// `dcgm`: where DCGM exporters are.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Dcgm {
    /// Whether exporters are looked for among the pods.
    pub discover: bool,
    /// Pods that one of these selects are exporters.
    pub selectors: Vec<LabelSelectorText>,
    /// Namespaces whose exporters are believed; `*` means all. An exporter speaks of the pods of others, so where
    /// tenants may label their own pods, it must not be one of theirs.
    pub namespaces: Vec<String>,
    /// Port; without it the port named `portName` is taken, then 9400.
    pub port: Option<u16>,
    /// Name of the container port.
    pub port_name: String,
    /// Path.
    pub path: HttpPath,
    /// Scheme.
    pub scheme: Scheme,
    /// Exporters that are no pods.
    pub urls: Vec<HttpUrl>,
}

/// `pods`: how the metrics ports of workloads' pods are found.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Pods {
    /// Whether the annotations `prometheus.io/scrape`, `port`, `path` and `scheme` are followed.
    pub annotations: bool,
    /// Names of container ports that serve metrics, first match wins.
    pub port_names: Vec<String>,
    /// Workloads for which it is written here; wins over annotations and ports.
    pub workloads: Vec<WorkloadScrape>,
}

/// An item of `pods.workloads`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct WorkloadScrape {
    /// Namespace of the workload.
    pub namespace: String,
    /// Name of the workload.
    pub name: String,
    /// Kind of the workload; absent means any.
    #[serde(default)]
    pub kind: Option<String>,
    /// `false`: the pods are not scraped.
    #[serde(default = "WorkloadScrape::scraped")]
    pub scrape: bool,
    /// Port.
    #[serde(default)]
    pub port: Option<u16>,
    /// Path.
    #[serde(default)]
    pub path: HttpPath,
    /// Scheme.
    #[serde(default)]
    pub scheme: Scheme,
}

/// One Prometheus server (or what speaks its HTTP API).
#[derive(Clone, Debug, PartialEq)]
pub struct PrometheusServer {
    /// Name, unique.
    pub name: String,
    /// Base URL; `/api/v1/query` is appended.
    pub url: HttpUrl,
    /// Time from one round of queries to the next.
    pub interval: Duration,
    /// Time in which a query must end.
    pub timeout: Duration,
    /// File that holds the bearer token; read anew for each round, so that it may rotate.
    pub bearer_token_file: Option<PathBuf>,
    /// Authorities that the server is verified with; without it the system's.
    pub ca_file: Option<PathBuf>,
    /// Whether answers that carry warnings or are partial are used.
    pub allow_partial: bool,
    /// Most series of one answer.
    pub max_series: usize,
    /// Most bytes of one answer, decompressed.
    pub body_bytes: usize,
    /// The queries.
    pub queries: Vec<PrometheusQuery>,
}

/// An administrator's query for a signal.
#[derive(Clone, Debug, PartialEq)]
pub struct PrometheusQuery {
    /// The signal that its values are.
    pub signal: String,
    /// The query.
    pub query: Query,
    /// Label of the answer that names the pod.
    pub pod_label: String,
    /// Label of the series that names the namespace.
    pub namespace_label: String,
}

// === impl Dcgm ===

impl Dcgm {
    /// Whether an exporter in that namespace is believed.
    #[must_use]
    pub fn trusts(&self, namespace: &str) -> bool {
        self.namespaces.iter().any(|trusted| trusted == "*" || trusted == namespace)
    }
}

// === defaults ===

impl Default for Scrape {
    fn default() -> Self {
        Self {
            interval: GoDuration::from_secs(5),
            timeout: GoDuration::from_secs(2),
            max_pause: GoDuration::from_secs(30),
            concurrency: 64,
            allow_loopback: false,
            ca_file: None,
            limits: Limits::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { body_bytes: 8 * 1024 * 1024, samples: 50_000, labels: 64, label_bytes: 2048, targets: 5_000 }
    }
}

impl Default for Dcgm {
    fn default() -> Self {
        // The labels of the exporter's own chart, and of the GPU operator.
        let selectors = ["app.kubernetes.io/name=dcgm-exporter", "app=nvidia-dcgm-exporter"];
        Self {
            discover: true,
            selectors: selectors.iter().filter_map(|text| LabelSelectorText::new(text).ok()).collect(),
            namespaces: ADMINISTRATORS.map(str::to_owned).to_vec(),
            port: None,
            port_name: "metrics".to_owned(),
            path: HttpPath::default(),
            scheme: Scheme::default(),
            urls: Vec::new(),
        }
    }
}

impl Default for Pods {
    fn default() -> Self {
        Self { annotations: true, port_names: vec!["metrics".to_owned()], workloads: Vec::new() }
    }
}

impl WorkloadScrape {
    const fn scraped() -> bool {
        true
    }
}
