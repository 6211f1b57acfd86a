//! One question to a Prometheus server, and how it can go wrong.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use plimsoll_core::object::ObjectKey;
use reqwest::Url;
use tokio::io::AsyncReadExt;

use super::{
    super::fetch::{Exchange, Fetcher, Trust},
    answer::{self, Vector},
};
use crate::config::{
    duration::GoDuration,
    promql::{Query, QueryError},
    sources::{PrometheusQuery, PrometheusServer},
};

/// Longest token.
const MAX_TOKEN: u64 = 64 * 1024;

/// A pod's value and its sample time.
pub(super) type Value = (ObjectKey, f64, Timestamp);

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::source) enum Failure {
    /// There is no connection, so other questions need not be asked.
    #[error("{0}")]
    Unreachable(String),
    /// No answer in time, or a fault of the server: this question may be too much, or the server may be.
    #[error("{0}")]
    Struggling(String),
    /// This question has no usable answer.
    #[error("{0}")]
    Answer(String),
    /// The query cannot be asked for this namespace.
    #[error(transparent)]
    Query(#[from] QueryError),
}

/// Asks one server.
pub(in crate::source) struct Asker {
    settings: PrometheusServer,
    fetcher: Fetcher,
    url: Url,
}

// === impl Asker ===

impl Asker {
    pub(in crate::source) fn new(settings: PrometheusServer) -> Result<Self, String> {
        let base = settings.url.url();
        let trust = match (&settings.ca_file, base.scheme()) {
            (Some(file), _) => Trust::File(file),
            (None, "https") => Trust::System,
            (None, _) => Trust::Nobody,
        };
        let fetcher = Fetcher::new(trust, settings.timeout, settings.body_bytes)?;
        let mut url = base.clone();
        url.set_path(&format!("{}/api/v1/query", base.path().trim_end_matches('/')));
        Ok(Self { settings, fetcher, url })
    }

    pub(in crate::source) const fn settings(&self) -> &PrometheusServer {
        &self.settings
    }

    /// The bearer token, if one is configured.
    pub(in crate::source) async fn token(&self) -> Result<Option<String>, String> {
        let Some(path) = &self.settings.bearer_token_file else { return Ok(None) };
        let unreadable = |error: std::io::Error| format!("bearerTokenFile {} cannot be read: {error}", path.display());
        let mut token = String::new();
        let file = tokio::fs::File::open(path).await.map_err(unreadable)?;
        file.take(MAX_TOKEN).read_to_string(&mut token).await.map_err(unreadable)?;
        let token = token.trim();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!("bearerTokenFile {} holds no token", path.display()));
        }
        Ok(Some(token.to_owned()))
    }

    /// Asks one query for one namespace.
    pub(super) async fn ask(&self, query: usize, namespace: &str, token: Option<&str>) -> Result<Vec<Value>, Failure> {
        let Some(query) = self.settings.queries.get(query) else { return Ok(Vec::new()) };
        let bound = query.query.for_namespace(namespace)?;
        let values = self.instant(&bound.query, token).await?;
        let times = match &bound.timestamps {
            Some(text) => Some(self.instant(text, token).await?),
            None => None,
        };
        values_of_pods(query, namespace, &values, times.as_ref()).map_err(Failure::Answer)
    }

    /// Asks for the one value of a query for one namespace.
    pub(in crate::source) async fn total(
        &self,
        query: &Query,
        namespace: &str,
        token: Option<&str>,
    ) -> Result<f64, Failure> {
        let values = self.instant(&query.for_namespace(namespace)?.query, token).await?;
        match values.series.as_slice() {
            [one] => Ok(one.value),
            [] => Err(Failure::Answer("the answer is empty: no series matches".to_owned())),
            all => Err(Failure::Answer(format!("the answer has {} series, expected one: use sum()", all.len()))),
        }
    }

    async fn instant(&self, query: &str, token: Option<&str>) -> Result<Vector, Failure> {
        let mut form = self.url.clone();
        let timeout = GoDuration(self.settings.timeout.max(Duration::from_millis(1))).to_string();
        form.query_pairs_mut().append_pair("query", query).append_pair("timeout", &timeout);
        let request = self
            .fetcher
            .client()
            .post(self.url.clone())
            .header(http::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form.query().unwrap_or_default().to_owned());
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let body = match self.fetcher.exchange(request).await {
            Exchange::Answered(body) => body,
            Exchange::Status(status, reason) if status.is_server_error() => return Err(Failure::Struggling(reason)),
            Exchange::Slow(reason) => return Err(Failure::Struggling(reason)),
            Exchange::Unreachable(reason) => return Err(Failure::Unreachable(reason)),
            Exchange::Status(_, reason) | Exchange::Unusable(reason) => return Err(Failure::Answer(reason)),
        };
        let limits = answer::Limits { series: self.settings.max_series, allow_partial: self.settings.allow_partial };
        answer::decode(&body.bytes, limits).map_err(Failure::Answer)
    }
}

/// Joins values with pods, and with the samples' own times where those were asked for.
fn values_of_pods(
    query: &PrometheusQuery,
    namespace: &str,
    values: &Vector,
    times: Option<&Vector>,
) -> Result<Vec<Value>, String> {
    if values.series.is_empty() {
        return Err(format!("the answer is empty: no series for namespace {namespace:?}"));
    }
    let times = times.map(|times| times_of_pods(times, &query.pod_label)).filter(|times| !times.is_empty());
    let mut found = Vec::new();
    for series in &values.series {
        if series.labels.get(&query.namespace_label).is_some_and(|label| label != namespace) {
            return Err("the answer holds series of another namespace".to_owned());
        }
        let Some(pod) = series.labels.get(&query.pod_label).filter(|pod| !pod.is_empty()) else { continue };
        let at = match &times {
            // The series behind the value do not carry the pod's label: the time of evaluation is all there is.
            None => Some(series.at),
            // A pod that is in one answer but not in the other has just begun or ended: it is not used.
            Some(times) => times.get(pod.as_str()).copied().and_then(answer::seconds),
        };
        if let Some(at) = at {
            found.push((ObjectKey::new(namespace, pod), series.value, at));
        }
    }
    if found.is_empty() {
        return Err(format!("no series of the answer has the label {:?} of a pod", query.pod_label));
    }
    Ok(found)
}

/// The oldest sample time of each pod.
fn times_of_pods<'a>(times: &'a Vector, pod_label: &str) -> BTreeMap<&'a str, f64> {
    let pods = times.series.iter().filter_map(|series| Some((series.labels.get(pod_label)?.as_str(), series.value)));
    pods.collect()
}
