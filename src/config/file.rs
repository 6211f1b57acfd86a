//! The file as it is written: every key, and every default in one place.
//!
//! Values check themselves while they are read ([`super::value`]); what takes two keys to judge is checked
//! afterwards ([`super::check`]). The documented example is `docs/reference/configuration.yaml`.

use std::{num::NonZero, path::PathBuf};

use serde::{Deserialize, Serialize};
use serde_saphyr::{Location, Spanned};

use super::{
    duration::GoDuration,
    sources::{Dcgm, Pods, Scrape, WorkloadScrape},
    value::{HttpPath, HttpUrl, Ratio, Scheme},
};

/// The whole file.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct File {
    pub(super) api_version: Spanned<String>,
    pub(super) kind: Spanned<String>,
    pub(super) tick: Spanned<GoDuration>,
    pub(super) policy: Spanned<Policy>,
    pub(super) scrape: Spanned<Scrape>,
    pub(super) dcgm: Spanned<Dcgm>,
    pub(super) pods: Spanned<Pods>,
    pub(super) prometheus: Vec<Spanned<Server>>,
    pub(super) keda: Option<Spanned<Keda>>,
}

/// `policy`: what is absent is as in [`plimsoll_core::policy::Policy::default`].
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Policy {
    pub(super) mode: Option<Mode>,
    pub(super) surplus: Option<Surplus>,
    pub(super) shed_grace: Option<GoDuration>,
    pub(super) plugin_grace: Option<GoDuration>,
    pub(super) headroom: Option<Headroom>,
    pub(super) provision_timeout: Option<GoDuration>,
    pub(super) provision_pause: Option<GoDuration>,
    pub(super) unlimited_nodes: Option<u32>,
    pub(super) tolerance: Option<Ratio>,
    pub(super) sync_period: Option<GoDuration>,
    pub(super) downscale_stabilization: Option<GoDuration>,
    /// Absent: two of the longest interval, at least the core's default.
    pub(super) live_bound: Option<GoDuration>,
    pub(super) last_known_good_bound: Option<GoDuration>,
    pub(super) capacity_bound: Option<GoDuration>,
    pub(super) min_coverage: Option<Ratio>,
    pub(super) max_sharers: Option<NonZero<u32>>,
    pub(super) gpu_resources: Option<Vec<String>>,
    pub(super) metrics: Option<Vec<Spanned<Metric>>>,
}

/// An item of `policy.metrics`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Metric {
    pub(super) name: String,
    pub(super) kind: MetricKind,
    #[serde(default)]
    pub(super) signal: Option<String>,
}

/// `policy.metrics[].kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum MetricKind {
    PerPod,
    PerWorkload,
    CapacityGuard,
    DesiredReplicas,
}

/// `policy.mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) enum Mode {
    Enforce,
    Observe,
    Off,
}

/// `policy.surplus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Surplus {
    ShedAfterGrace,
    Hold,
    ShedNow,
}

/// `policy.headroom`: a word or a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged, expecting = "auto, none, or a number of replicas")]
pub(super) enum Headroom {
    Word(HeadroomWord),
    AtMost(u32),
}

/// The words for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum HeadroomWord {
    Auto,
    None,
}

/// An item of `prometheus`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Server {
    pub(super) name: String,
    pub(super) url: HttpUrl,
    #[serde(default = "Server::interval")]
    pub(super) interval: GoDuration,
    #[serde(default = "Server::timeout")]
    pub(super) timeout: GoDuration,
    #[serde(default)]
    pub(super) bearer_token_file: Option<PathBuf>,
    #[serde(default)]
    pub(super) ca_file: Option<PathBuf>,
    #[serde(default)]
    pub(super) allow_partial: bool,
    #[serde(default = "Server::max_series")]
    pub(super) max_series: usize,
    pub(super) queries: Vec<Spanned<Query>>,
}

/// An item of `prometheus[].queries`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Query {
    pub(super) signal: String,
    #[serde(rename = "query")]
    pub(super) text: String,
    #[serde(default)]
    pub(super) labels: Labels,
}

/// `prometheus[].queries[].labels`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Labels {
    pub(super) pod: String,
    pub(super) namespace: String,
}

/// `keda`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Keda {
    pub(super) url: HttpUrl,
    pub(super) ca_file: PathBuf,
    #[serde(default)]
    pub(super) bearer_token_file: Option<PathBuf>,
    #[serde(default)]
    pub(super) client_certificate_file: Option<PathBuf>,
    #[serde(default)]
    pub(super) client_key_file: Option<PathBuf>,
    #[serde(default = "Keda::timeout")]
    pub(super) timeout: GoDuration,
}

/// A value that no file gave.
pub(super) const fn unplaced<T>(value: T) -> Spanned<T> {
    Spanned::new(value, Location::UNKNOWN, Location::UNKNOWN)
}

// === defaults ===

impl Default for File {
    fn default() -> Self {
        Self {
            api_version: unplaced(String::new()),
            kind: unplaced(String::new()),
            tick: unplaced(GoDuration::from_secs(5)),
            policy: unplaced(Policy::default()),
            scrape: unplaced(Scrape::default()),
            dcgm: unplaced(Dcgm::default()),
            pods: unplaced(Pods::default()),
            prometheus: Vec::new(),
            keda: None,
        }
    }
}

impl File {
    /// A file in which every key occurs, so that suggestions know them all.
    pub(super) fn sample() -> Self {
        let metric = Metric { name: String::new(), kind: MetricKind::PerPod, signal: None };
        let workload = WorkloadScrape {
            namespace: String::new(),
            name: String::new(),
            kind: None,
            scrape: true,
            port: None,
            path: HttpPath::default(),
            scheme: Scheme::default(),
        };
        Self {
            policy: unplaced(Policy { metrics: Some(vec![unplaced(metric)]), ..Policy::default() }),
            pods: unplaced(Pods { workloads: vec![workload], ..Pods::default() }),
            prometheus: HttpUrl::new("http://localhost").map(Server::sample).map(unplaced).into_iter().collect(),
            keda: HttpUrl::new("https://localhost").map(Keda::sample).map(unplaced).ok(),
            ..Self::default()
        }
    }
}

impl Server {
    fn sample(url: HttpUrl) -> Self {
        let query = Query { signal: String::new(), text: String::new(), labels: Labels::default() };
        Self {
            name: String::new(),
            url,
            interval: Self::interval(),
            timeout: Self::timeout(),
            bearer_token_file: None,
            ca_file: None,
            allow_partial: false,
            max_series: Self::max_series(),
            queries: vec![unplaced(query)],
        }
    }

    const fn interval() -> GoDuration {
        GoDuration::from_secs(15)
    }

    const fn timeout() -> GoDuration {
        GoDuration::from_secs(2)
    }

    const fn max_series() -> usize {
        500
    }
}

impl Keda {
    fn sample(url: HttpUrl) -> Self {
        Self {
            url,
            ca_file: PathBuf::new(),
            bearer_token_file: None,
            client_certificate_file: None,
            client_key_file: None,
            timeout: Self::timeout(),
        }
    }

    /// KEDA gives a source 3 s (`KEDA_HTTP_DEFAULT_TIMEOUT`) and asks it a second time at once if it fails.
    const fn timeout() -> GoDuration {
        GoDuration::from_secs(10)
    }
}

impl Default for Labels {
    fn default() -> Self {
        Self { pod: "pod".to_owned(), namespace: "namespace".to_owned() }
    }
}
