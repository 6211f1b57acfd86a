//! From the file to checked values: everything that takes more than one key to judge.

use std::{collections::BTreeSet, time::Duration};

use jiff::SignedDuration;
use plimsoll_core::{
    policy::{Headroom, MetricKind, Mode, Policy, ServedMetric, Surplus},
    signal,
    suggest::nearest,
};
use serde_saphyr::{Location, Spanned};

use super::{
    Configuration, Error,
    duration::GoDuration,
    file,
    promql::Query,
    sources::{Limits, PrometheusQuery, PrometheusServer, SourceSettings},
};

/// Shortest time between two of the same thing: faster would load the cluster and tell nothing.
const MIN_INTERVAL: Duration = Duration::from_millis(100);
/// Longest time between two evaluations: liveness takes a loop that is silent for a minute for dead.
const MAX_TICK: Duration = Duration::from_secs(30);
/// Most bytes of one body that may be allowed.
const MAX_BODY: usize = 64 * 1024 * 1024;
/// Signals of pods that profiles measure.
const POD_SIGNALS: [&str; 3] = [signal::QUEUE_LENGTH, signal::GPU_UTILIZATION, signal::KV_CACHE_USAGE];
/// Signals of whole workloads that profiles measure: quantiles, which no query per pod can give.
const WORKLOAD_SIGNALS: [&str; 1] = [signal::LATENCY_P99];

type Checked<T> = Result<T, (Location, String)>;

/// Checks a file.
pub(super) fn check(name: &str, file: file::File, digest: String) -> Result<Configuration, Error> {
    configuration(file, digest).map_err(|(location, message)| Error::at(name, location, message))
}

fn configuration(file: file::File, digest: String) -> Checked<Configuration> {
    expect_text("apiVersion", &file.api_version, super::API_VERSION)?;
    expect_text("kind", &file.kind, super::KIND)?;
    at_least(file.tick.referenced, "tick", file.tick.value, MIN_INTERVAL)?;
    at_most(file.tick.referenced, "tick", file.tick.value, MAX_TICK)?;
    let prometheus = file.prometheus.into_iter().map(server).collect::<Checked<Vec<_>>>()?;
    let sources =
        SourceSettings { scrape: scrape(file.scrape)?, dcgm: file.dcgm.value, pods: file.pods.value, prometheus };
    check_dcgm(file.dcgm.referenced, &sources)?;
    check_pods(file.pods.referenced, &sources)?;
    unique_servers(file.tick.referenced, &sources)?;
    let policy = policy(file.policy, &sources)?;
    let keda = file.keda.map(|keda| super::keda::check(keda.referenced, keda.value)).transpose()?;
    Ok(Configuration { tick: file.tick.value.0, policy, sources, keda, digest })
}

fn expect_text(key: &str, found: &Spanned<String>, expected: &str) -> Checked<()> {
    if found.value == expected {
        return Ok(());
    }
    let what = if found.value.is_empty() { "is missing".to_owned() } else { format!("is {:?}", found.value) };
    Err((found.referenced, format!("{key} {what}, expected {expected:?}")))
}

fn at_least(location: Location, key: &str, found: GoDuration, least: Duration) -> Checked<()> {
    if found.0 >= least {
        return Ok(());
    }
    Err((location, format!("{key} is {found}, expected at least {}", GoDuration(least))))
}

fn at_most(location: Location, key: &str, found: GoDuration, most: Duration) -> Checked<()> {
    if found.0 <= most {
        return Ok(());
    }
    Err((location, format!("{key} is {found}, expected at most {}", GoDuration(most))))
}

fn within(location: Location, key: &str, found: usize, most: usize) -> Checked<()> {
    if (1..=most).contains(&found) {
        return Ok(());
    }
    Err((location, format!("{key} is {found}, expected 1 to {most}")))
}

// === sources ===

fn scrape(scrape: Spanned<super::sources::Scrape>) -> Checked<super::sources::Scrape> {
    let (at, scrape) = (scrape.referenced, scrape.value);
    at_least(at, "scrape.interval", scrape.interval, MIN_INTERVAL)?;
    at_least(at, "scrape.timeout", scrape.timeout, Duration::from_millis(10))?;
    within(at, "scrape.concurrency", scrape.concurrency, 1024)?;
    let Limits { body_bytes, samples, labels, label_bytes, targets } = scrape.limits;
    within(at, "scrape.limits.bodyBytes", body_bytes, MAX_BODY)?;
    within(at, "scrape.limits.samples", samples, 1_000_000)?;
    within(at, "scrape.limits.labels", labels, 1024)?;
    within(at, "scrape.limits.labelBytes", label_bytes, 64 * 1024)?;
    within(at, "scrape.limits.targets", targets, 100_000)?;
    Ok(scrape)
}

fn check_dcgm(at: Location, sources: &SourceSettings) -> Checked<()> {
    if sources.dcgm.port == Some(0) {
        return Err((at, "dcgm.port is 0, expected 1 to 65535".to_owned()));
    }
    if sources.dcgm.discover && sources.dcgm.selectors.is_empty() {
        return Err((at, "dcgm.selectors is empty: name a selector, or set dcgm.discover to false".to_owned()));
    }
    Ok(())
}

fn check_pods(at: Location, sources: &SourceSettings) -> Checked<()> {
    let mut seen = BTreeSet::new();
    for workload in &sources.pods.workloads {
        let title = format!("pods.workloads: {}/{}", workload.namespace, workload.name);
        if workload.namespace.is_empty() || workload.name.is_empty() {
            return Err((at, "pods.workloads: namespace and name must not be empty".to_owned()));
        }
        if workload.scrape && workload.port.unwrap_or(0) == 0 {
            return Err((at, format!("{title} needs a port from 1 to 65535, or scrape: false")));
        }
        if !seen.insert((&workload.namespace, &workload.name, &workload.kind)) {
            return Err((at, format!("{title} is given twice")));
        }
    }
    Ok(())
}

fn unique_servers(at: Location, sources: &SourceSettings) -> Checked<()> {
    let mut seen = BTreeSet::new();
    match sources.prometheus.iter().find(|server| !seen.insert(&server.name)) {
        Some(twice) => Err((at, format!("prometheus: the name {:?} is given twice", twice.name))),
        None => Ok(()),
    }
}

fn server(server: Spanned<file::Server>) -> Checked<PrometheusServer> {
    let (at, server) = (server.referenced, server.value);
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if server.name.is_empty() || server.name.len() > 63 || !server.name.chars().all(legal) {
        return Err((at, format!("{:?} is no name: letters, digits, - _ . and at most 63 of them", server.name)));
    }
    if server.url.url().query().is_some() {
        return Err((at, format!("url {} must not carry a query", server.url)));
    }
    at_least(at, "interval", server.interval, MIN_INTERVAL)?;
    at_least(at, "timeout", server.timeout, Duration::from_millis(10))?;
    within(at, "maxSeries", server.max_series, 100_000)?;
    Ok(PrometheusServer {
        name: server.name,
        url: server.url,
        interval: server.interval.0,
        timeout: server.timeout.0,
        bearer_token_file: server.bearer_token_file,
        ca_file: server.ca_file,
        allow_partial: server.allow_partial,
        max_series: server.max_series,
        body_bytes: Limits::default().body_bytes,
        queries: queries(server.queries)?,
    })
}

fn queries(queries: Vec<Spanned<file::Query>>) -> Checked<Vec<PrometheusQuery>> {
    let mut seen = BTreeSet::new();
    let mut checked = Vec::new();
    for query in queries {
        let (at, query) = (query.referenced, query.value);
        if !is_signal_name(&query.signal) {
            return Err((at, format!("signal {:?} is no name: letters and digits, a letter first", query.signal)));
        }
        if WORKLOAD_SIGNALS.contains(&query.signal.as_str()) {
            return Err((
                at,
                format!("signal {:?} is of a whole workload, a query gives values of pods", query.signal),
            ));
        }
        if !seen.insert(query.signal.clone()) {
            return Err((at, format!("signal {:?} has two queries on one server", query.signal)));
        }
        let file::Labels { pod, namespace } = query.labels;
        checked.push(PrometheusQuery {
            signal: query.signal,
            query: Query::new(&query.text, &namespace, &pod).map_err(|error| (at, error.to_string()))?,
            pod_label: pod,
            namespace_label: namespace,
        });
    }
    Ok(checked)
}

fn is_signal_name(text: &str) -> bool {
    text.len() <= 63
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

// === policy ===

fn policy(policy: Spanned<file::Policy>, sources: &SourceSettings) -> Checked<Policy> {
    let (at, file) = (policy.referenced, policy.value);
    let default = Policy::default();
    let duration = |key: &str, found: Option<GoDuration>, default: SignedDuration| match found {
        Some(found) => at_least(at, key, found, Duration::from_millis(1)).map(|()| signed(found.0)),
        None => Ok(default),
    };
    let live_default = default.live_bound.max(signed(longest_interval(sources).saturating_mul(2)));
    let policy = Policy {
        mode: file.mode.map_or(default.mode, Into::into),
        surplus: file.surplus.map_or(default.surplus, Into::into),
        // No grace at all is a choice that people may make.
        shed_grace: file.shed_grace.map_or(default.shed_grace, |found| signed(found.0)),
        plugin_grace: file.plugin_grace.map_or(default.plugin_grace, |found| signed(found.0)),
        headroom: file.headroom.map_or(default.headroom, Into::into),
        provision_timeout: duration("policy.provisionTimeout", file.provision_timeout, default.provision_timeout)?,
        provision_pause: duration("policy.provisionPause", file.provision_pause, default.provision_pause)?,
        unlimited_nodes: file.unlimited_nodes.unwrap_or(default.unlimited_nodes),
        tolerance: file.tolerance.map_or(default.tolerance, super::value::Ratio::get),
        sync_period: duration("policy.syncPeriod", file.sync_period, default.sync_period)?,
        downscale_stabilization: file
            .downscale_stabilization
            .map_or(default.downscale_stabilization, |found| signed(found.0)),
        live_bound: duration("policy.liveBound", file.live_bound, live_default)?,
        last_known_good_bound: duration(
            "policy.lastKnownGoodBound",
            file.last_known_good_bound,
            default.last_known_good_bound,
        )?,
        capacity_bound: duration("policy.capacityBound", file.capacity_bound, default.capacity_bound)?,
        min_coverage: file.min_coverage.map_or(default.min_coverage, super::value::Ratio::get),
        max_sharers: file.max_sharers.map_or(default.max_sharers, |most| Some(most.get())),
        gpu_resources: file.gpu_resources.unwrap_or_else(|| default.gpu_resources.clone()),
        metrics: file.metrics.map_or_else(|| Ok(default.metrics.clone()), |list| metrics(at, list, sources))?,
    };
    check_policy(at, &policy)?;
    Ok(policy)
}

fn check_policy(at: Location, policy: &Policy) -> Checked<()> {
    if policy.last_known_good_bound < policy.live_bound {
        let bounds = format!(
            "{} is shorter than liveBound {}",
            unsigned(policy.last_known_good_bound),
            unsigned(policy.live_bound)
        );
        return Err((at, format!("policy.lastKnownGoodBound {bounds}")));
    }
    let patterns = &policy.gpu_resources;
    match patterns
        .iter()
        .find(|pattern| pattern.trim_end_matches('*').is_empty() || pattern.trim_end_matches('*').contains('*'))
    {
        Some(odd) => Err((at, format!("policy.gpuResources: {odd:?} is no resource name with at most a * at its end"))),
        None if patterns.is_empty() => Err((at, "policy.gpuResources is empty".to_owned())),
        None => Ok(()),
    }
}

fn metrics(at: Location, list: Vec<Spanned<file::Metric>>, sources: &SourceSettings) -> Checked<Vec<ServedMetric>> {
    let mut served = BTreeSet::new();
    let mut metrics = Vec::new();
    for metric in list {
        let (place, metric) = (metric.referenced, metric.value);
        if !is_metric_name(&metric.name) {
            return Err((place, format!("metric name {:?} is not usable in an HPA's URL", metric.name)));
        }
        if !served.insert(metric.name.clone()) {
            return Err((place, format!("metric {:?} is given twice", metric.name)));
        }
        metrics.push(ServedMetric { kind: metric_kind(place, &metric, sources)?, name: metric.name });
    }
    if metrics.is_empty() {
        return Err((at, "policy.metrics is empty: nothing would be served".to_owned()));
    }
    Ok(metrics)
}

fn metric_kind(at: Location, metric: &file::Metric, sources: &SourceSettings) -> Checked<MetricKind> {
    let queries = sources.prometheus.iter().flat_map(|server| &server.queries).map(|query| query.signal.as_str());
    match (metric.kind, &metric.signal) {
        (file::MetricKind::PerPod, signal) => {
            let known = POD_SIGNALS.into_iter().chain(queries).collect();
            Ok(MetricKind::PerPod { signal: known_signal(at, &metric.name, signal.as_deref(), &known)? })
        }
        (file::MetricKind::PerWorkload, signal) => {
            let known = WORKLOAD_SIGNALS.into_iter().collect();
            Ok(MetricKind::PerWorkload { signal: known_signal(at, &metric.name, signal.as_deref(), &known)? })
        }
        (file::MetricKind::CapacityGuard, None) => Ok(MetricKind::CapacityGuard),
        (file::MetricKind::DesiredReplicas, None) => Ok(MetricKind::DesiredReplicas),
        (file::MetricKind::CapacityGuard | file::MetricKind::DesiredReplicas, Some(_)) => {
            Err((at, format!("metric {:?}: this kind has no signal", metric.name)))
        }
    }
}

fn known_signal(at: Location, metric: &str, signal: Option<&str>, known: &BTreeSet<&str>) -> Checked<String> {
    let Some(signal) = signal else { return Err((at, format!("metric {metric:?}: key \"signal\" is missing"))) };
    if known.contains(signal) {
        return Ok(signal.to_owned());
    }
    let near = nearest(signal, known.iter().copied());
    let hint = near.map_or_else(String::new, |near| format!(", did you mean {near:?}?"));
    Err((at, format!("metric {metric:?}: no source measures the signal {signal:?} so{hint}")))
}

/// A metric's name is one segment of a URL.
fn is_metric_name(text: &str) -> bool {
    (1..=253).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

fn longest_interval(sources: &SourceSettings) -> Duration {
    let servers = sources.prometheus.iter().map(|server| server.interval);
    servers.fold(sources.scrape.interval.0, Duration::max)
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

fn unsigned(duration: SignedDuration) -> GoDuration {
    GoDuration(duration.unsigned_abs())
}

impl From<file::Mode> for Mode {
    fn from(mode: file::Mode) -> Self {
        match mode {
            file::Mode::Enforce => Self::Enforce,
            file::Mode::Observe => Self::Observe,
            file::Mode::Off => Self::Off,
        }
    }
}

impl From<file::Headroom> for Headroom {
    fn from(headroom: file::Headroom) -> Self {
        match headroom {
            file::Headroom::Word(file::HeadroomWord::Auto) => Self::Auto,
            file::Headroom::Word(file::HeadroomWord::None) => Self::None,
            file::Headroom::AtMost(most) => Self::AtMost(most),
        }
    }
}

impl From<file::Surplus> for Surplus {
    fn from(surplus: file::Surplus) -> Self {
        match surplus {
            file::Surplus::ShedAfterGrace => Self::ShedAfterGrace,
            file::Surplus::Hold => Self::Hold,
            file::Surplus::ShedNow => Self::ShedNow,
        }
    }
}
