//! Asks the queries of KEDA's triggers: demand of workloads that may have no pod to tell of it.
//!
//! A trigger names a server by its address, and only servers that the administrator has configured are asked, with the
//! administrator's credentials and bounds; the query is bound to the namespace of the trigger's object. What nobody has
//! replicas for is asked twice a second, everything else at the server's own interval.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, future, stream::FuturesUnordered};
use plimsoll_core::{signal::DemandKey, trigger};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    Results, SourceEvent, SourceName, address,
    prometheus::{PrometheusError, ask::Asker},
};
use crate::{
    clock,
    config::{promql::Query, sources::PrometheusServer},
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
    let known: Arc<[String]> = servers.iter().map(address::of).collect();
    let rounds = |asker: Option<&Asker>| Rounds {
        address: asker.map(|asker| address::of(asker.settings())),
        known: Arc::clone(&known),
        results: results.clone(),
        next: BTreeMap::new(),
        asked: BTreeSet::new(),
    };
    let mut all = vec![(rounds(None), None)];
    for settings in servers {
        let name = settings.name.clone();
        let asker = Asker::new(settings).map_err(|reason| PrometheusError::Client { server: name, reason })?;
        all.push((rounds(Some(&asker)), Some(asker)));
    }
    let all = all.into_iter().map(|(rounds, asker)| rounds.run(asker, demands.clone()));
    shutdown.run_until_cancelled(future::join_all(all)).await;
    shutdown.cancelled().await;
    Ok(())
}

/// The queries of one server, or of addresses that are none.
struct Rounds {
    address: Option<String>,
    /// Addresses of all servers.
    known: Arc<[String]>,
    results: Results,
    /// When each query is due.
    next: BTreeMap<DemandKey, Instant>,
    /// The queries that an answer is waited for.
    asked: BTreeSet<DemandKey>,
}

/// The name of a query's source.
fn source((namespace, query): &DemandKey) -> SourceName {
    let name = format!("demand/{namespace}/{}/{}", query.server, query.text);
    SourceName::from(name.chars().take(300).collect::<String>())
}

impl Rounds {
    /// A query that is slow delays no other: what is due is asked while it is waited for.
    async fn run(mut self, asker: Option<Asker>, mut demands: watch::Receiver<Arc<Demands>>) {
        let mut asking = FuturesUnordered::new();
        loop {
            let newest = Arc::clone(&demands.borrow_and_update());
            for key in self.due(&newest, asker.as_ref()) {
                asking.push(tell(key, asker.as_ref(), self.results.clone()));
            }
            let pause = self.pause();
            // Cancel safe: neither a change nor a time nor an answer is lost.
            tokio::select! {
                changed = demands.changed() => if changed.is_err() {
                    return;
                },
                Some(key) = asking.next() => drop(self.asked.remove(&key)),
                () = tokio::time::sleep(pause), if self.asked.len() < AT_A_TIME => {}
            }
        }
    }

    /// Whether the query is for this server.
    fn is_ours(&self, key: &DemandKey) -> bool {
        let asked = address::written(&key.1.server).filter(|asked| self.known.contains(asked));
        asked == self.address
    }

    /// Takes the queries that are due and not being asked, those that have waited longest first, as many as the server
    /// may be asked besides.
    fn due(&mut self, demands: &Demands, asker: Option<&Asker>) -> Vec<DemandKey> {
        let now = Instant::now();
        self.next.retain(|key, _| demands.contains_key(key));
        let mut due = Vec::new();
        for (key, urgent) in demands.iter().take(MAX_QUERIES) {
            if !self.is_ours(key) || self.asked.contains(key) {
                continue;
            }
            let interval = match asker {
                Some(asker) if !urgent => asker.settings().interval,
                Some(_) => URGENT,
                None => UNKNOWN,
            };
            let at = self.next.entry(key.clone()).or_insert(now);
            // What has become urgent is not waited for.
            *at = (*at).min(now + interval);
            if *at <= now {
                due.push((*at, interval, key.clone()));
            }
        }
        due.sort_by_key(|(at, ..)| *at);
        due.truncate(AT_A_TIME.saturating_sub(self.asked.len()));
        for (_, interval, key) in &due {
            self.next.insert(key.clone(), now + *interval);
            self.asked.insert(key.clone());
        }
        due.into_iter().map(|(.., key)| key).collect()
    }

    /// Until the next query is due.
    fn pause(&self) -> Duration {
        let now = Instant::now();
        let waiting = self.next.iter().filter(|(key, _)| !self.asked.contains(*key));
        let next = waiting.map(|(_, at)| at.saturating_duration_since(now)).min();
        next.unwrap_or(Duration::from_secs(5)).max(Duration::from_millis(10))
    }
}

/// Asks one query and tells the outcome.
async fn tell(key: DemandKey, asker: Option<&Asker>, results: Results) -> DemandKey {
    let event = answer(&key, asker).await;
    // Whoever takes results ends with the process.
    drop(results.tell(event).await);
    key
}

async fn answer(key: &DemandKey, asker: Option<&Asker>) -> SourceEvent {
    let (namespace, query) = key;
    let result = match asker {
        Some(asker) => ask(asker, namespace, query).await,
        None => Err(address::unknown(&query.server)),
    };
    let (source, key, at) = (source(key), key.clone(), clock::now());
    SourceEvent::Demanded { source, key, result, at }
}

async fn ask(asker: &Asker, namespace: &str, query: &trigger::Query) -> Result<f64, String> {
    let query = Query::new(&query.text, "namespace", "pod").map_err(|error| error.to_string())?;
    let token = asker.token().await?;
    asker.total(&query, namespace, token.as_deref()).await.map_err(|failure| failure.to_string())
}
