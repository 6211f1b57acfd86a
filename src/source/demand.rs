//! Asks the queries of KEDA's triggers: demand of workloads that may have no pod to tell of it.
//!
//! A trigger names a server by its address, and only servers that the administrator has configured are asked, with the
//! administrator's credentials and bounds; the query is bound to the namespace of the trigger's object. What nobody has
//! replicas for is asked twice a second, everything else at the server's own interval.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{StreamExt, future, stream};
use plimsoll_core::{signal::DemandKey, trigger};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    Results, SourceEvent, SourceName,
    prometheus::{PrometheusError, ask::Asker},
};
use crate::{
    clock,
    config::{promql::Query, sources::PrometheusServer, value::HttpUrl},
};

/// Time from one question to the next where there are no replicas.
const URGENT: Duration = Duration::from_millis(500);
/// Time from one word to the next about a server that is not configured.
const UNKNOWN: Duration = Duration::from_secs(15);
/// Queries that a server is asked at a time.
const AT_A_TIME: usize = 8;
/// Most queries of all triggers; further ones are not asked.
const MAX_QUERIES: usize = 1_000;

/// The queries, and whether somebody waits for the answer with no replica running.
pub type Demands = BTreeMap<DemandKey, bool>;

/// Asks until `shutdown`, or until nobody asks or takes results any more. Each server has its own rounds, so that one
/// that hangs delays nobody else's answers.
pub async fn run(
    servers: Vec<PrometheusServer>,
    demands: watch::Receiver<Arc<Demands>>,
    results: Results,
    shutdown: CancellationToken,
) -> Result<(), PrometheusError> {
    let known: Arc<[String]> = servers.iter().map(|server| address(server.url.url().as_str())).collect();
    let rounds = |asker: Option<Asker>| Rounds {
        address: asker.as_ref().map(|asker| address(asker.settings().url.url().as_str())),
        asker,
        known: Arc::clone(&known),
        results: results.clone(),
        due: BTreeMap::new(),
    };
    let mut all = vec![rounds(None)];
    for settings in servers {
        let name = settings.name.clone();
        let asker = Asker::new(settings).map_err(|reason| PrometheusError::Client { server: name, reason })?;
        all.push(rounds(Some(asker)));
    }
    let all = all.into_iter().map(|rounds| rounds.run(demands.clone()));
    shutdown.run_until_cancelled(future::join_all(all)).await;
    shutdown.cancelled().await;
    Ok(())
}

/// The queries of one server, or of addresses that are none.
struct Rounds {
    address: Option<String>,
    asker: Option<Asker>,
    /// Addresses of all servers.
    known: Arc<[String]>,
    results: Results,
    /// When each query is due.
    due: BTreeMap<DemandKey, Instant>,
}

/// The name of a query's source.
fn source((namespace, query): &DemandKey) -> SourceName {
    let name = format!("demand/{namespace}/{}/{}", query.server, query.text);
    SourceName::from(name.chars().take(300).collect::<String>())
}

/// How addresses are compared.
fn address(text: &str) -> String {
    text.trim_end_matches('/').to_ascii_lowercase()
}

impl Rounds {
    async fn run(mut self, mut demands: watch::Receiver<Arc<Demands>>) {
        loop {
            let newest = Arc::clone(&demands.borrow_and_update());
            self.turn(&newest).await;
            let pause = self.pause();
            // Cancel safe: neither a change nor a time is lost.
            tokio::select! {
                changed = demands.changed() => if changed.is_err() {
                    return;
                },
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Whether the query is for this server.
    fn is_ours(&self, key: &DemandKey) -> bool {
        let asked = HttpUrl::new(&key.1.server).ok().map(|url| address(url.url().as_str()));
        let asked = asked.filter(|asked| self.known.contains(asked));
        asked == self.address
    }

    /// Asks what is due.
    async fn turn(&mut self, demands: &Demands) {
        let now = Instant::now();
        self.due.retain(|key, _| demands.contains_key(key));
        let mut due = Vec::new();
        for (key, urgent) in demands.iter().take(MAX_QUERIES) {
            if !self.is_ours(key) {
                continue;
            }
            let interval = match &self.asker {
                Some(asker) if !urgent => asker.settings().interval,
                Some(_) => URGENT,
                None => UNKNOWN,
            };
            let at = self.due.entry(key.clone()).or_insert(now);
            // What has become urgent is not waited for.
            *at = (*at).min(now + interval);
            if *at <= now {
                *at = now + interval;
                due.push(key.clone());
            }
        }
        let (results, asker) = (&self.results, self.asker.as_ref());
        stream::iter(due)
            .for_each_concurrent(AT_A_TIME, |key| async move {
                let event = answer(&key, asker).await;
                // Whoever takes results ends with the process.
                drop(results.tell(event).await);
            })
            .await;
    }

    /// Until the next query is due.
    fn pause(&self) -> Duration {
        let now = Instant::now();
        let next = self.due.values().map(|at| at.saturating_duration_since(now)).min();
        next.unwrap_or(Duration::from_secs(5)).max(Duration::from_millis(10))
    }
}

async fn answer(key: &DemandKey, asker: Option<&Asker>) -> SourceEvent {
    let (namespace, query) = key;
    let result = match asker {
        Some(asker) => ask(asker, namespace, query).await,
        None => Err(format!(
            "serverAddress {} is none of the servers of the configuration: its administrator adds it under prometheus[]",
            query.server
        )),
    };
    let (source, key, at) = (source(key), key.clone(), clock::now());
    SourceEvent::Demanded { source, key, result, at }
}

async fn ask(asker: &Asker, namespace: &str, query: &trigger::Query) -> Result<f64, String> {
    let query = Query::new(&query.text, "namespace", "pod").map_err(|error| error.to_string())?;
    let token = asker.token().await?;
    asker.total(&query, namespace, token.as_deref()).await.map_err(|failure| failure.to_string())
}
