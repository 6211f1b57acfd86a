//! Asks Prometheus servers the administrator's queries, and those of the profiles that triggers of KEDA name, one
//! namespace at a time.
//!
//! ```text
//!  needs (query -> namespaces) ──> round: queries x namespaces, 4 at a time ──> Queried | Failed | Gone
//!                                     │ the server does not answer
//!                                     └──> open: the rest is not asked; one query every 5 s until it answers again
//! ```
//!
//! No request of an HPA waits for this. Tokens are read anew for each round and shown nowhere.

mod answer;
pub(super) mod ask;
mod profiles;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, stream};
use plimsoll_core::trigger::Profile;
use tokio::{
    sync::watch,
    task::{JoinError, JoinSet},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use self::ask::{Asker, Failure};
pub use self::profiles::refused;
use super::{Results, SourceEvent, SourceName, address, results::Closed};
use crate::{clock, config::sources::PrometheusServer};

/// Queries that one server is asked at a time.
const AT_A_TIME: usize = 4;
/// Questions in a row without an answer in time, or with a fault of the server, after which it counts as silent: one
/// question that is too much for it must not take the others along.
const STRUGGLES: u32 = 4;
/// Longest pause between two attempts at a server that does not answer.
const RETRY: Duration = Duration::from_secs(5);

/// Which namespaces need what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Namespaces by signal, for the administrator's queries: those with an HPA or a trigger that uses it.
    pub signals: BTreeMap<String, BTreeSet<String>>,
    /// Namespaces by the address of a server and a profile whose own query it is to be asked.
    pub profiles: BTreeMap<(String, Profile), BTreeSet<String>>,
}

/// Why asking cannot begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum PrometheusError {
    /// The query of a built-in profile is none: a fault of ours.
    #[error("the built-in profiles cannot be asked: {0}")]
    Profiles(String),
    /// There is no client for a server.
    #[error("Prometheus {server:?} cannot be asked: {reason}")]
    Client {
        /// Name of the server.
        server: String,
        /// Why.
        reason: String,
    },
    /// A task has broken: a fault of ours.
    #[error("a task that asks a Prometheus server has broken")]
    Broken(#[from] JoinError),
}

/// Asks all servers until `shutdown`, or until nobody has needs or takes results any more.
///
/// Settings are fixed for one run: a new configuration is a new run, which tells what of the one before is gone.
pub async fn run(
    servers: Vec<PrometheusServer>,
    needs: watch::Receiver<Arc<Needs>>,
    results: Results,
    shutdown: CancellationToken,
) -> Result<(), PrometheusError> {
    let prefixes: Vec<_> = servers.iter().map(|server| prefix(&server.name)).collect();
    for source in results.stale(|source| !prefixes.iter().any(|prefix| source.starts_with(prefix))) {
        if !matches!(shutdown.run_until_cancelled(results.tell(SourceEvent::Gone { source })).await, Some(Ok(()))) {
            return Ok(());
        }
    }
    let mut tasks = JoinSet::new();
    let built_in = profiles::queries().map_err(PrometheusError::Profiles)?;
    for mut settings in servers {
        let name = settings.name.clone();
        let profiles = settings.queries.len();
        settings.queries.extend(built_in.iter().map(|(_, query)| query.clone()));
        let asker = Asker::new(settings).map_err(|reason| PrometheusError::Client { server: name, reason })?;
        let server = Server {
            asker: Arc::new(asker),
            profiles: (profiles..).zip(&built_in).map(|(index, (profile, _))| (*profile, index)).collect(),
            results: results.clone(),
            asked: BTreeMap::new(),
            silent: None,
            probes: 0,
        };
        let (needs, shutdown) = (needs.clone(), shutdown.clone());
        tasks.spawn(async move { shutdown.run_until_cancelled(server.serve(needs)).await });
    }
    // With no server there is nothing to do, but a critical task that ends would end the process.
    if tasks.is_empty() {
        shutdown.cancelled().await;
    }
    while let Some(ended) = tasks.join_next().await {
        ended?;
    }
    Ok(())
}

/// One question: a query of the server, for a namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Question {
    // Namespace first: a query that is too much for the server then never comes often in a row.
    namespace: String,
    /// Index of the query in the settings.
    query: usize,
}

/// One server.
struct Server {
    asker: Arc<Asker>,
    /// Indices of the profiles' queries, which are behind the administrator's.
    profiles: BTreeMap<Profile, usize>,
    results: Results,
    /// What was asked in the last round, with the names of the sources.
    asked: BTreeMap<Question, SourceName>,
    /// Why the server did not answer the last time.
    silent: Option<String>,
    /// Single questions asked of a silent server, so that each has its turn.
    probes: usize,
}

/// How the names of a server's sources begin.
fn prefix(server: &str) -> String {
    format!("prometheus/{server}/")
}

async fn answer(
    asker: Arc<Asker>,
    token: Arc<Option<String>>,
    (question, source): (Question, SourceName),
) -> (Question, SourceName, Result<Vec<ask::Value>, Failure>) {
    let answer = asker.ask(question.query, &question.namespace, token.as_deref()).await;
    (question, source, answer)
}

// === impl Server ===

impl Server {
    /// Rounds at the interval, and at once when another question arises.
    async fn serve(mut self, mut needs: watch::Receiver<Arc<Needs>>) {
        let mut due = Instant::now();
        loop {
            let questions = self.questions(&needs.borrow_and_update().clone());
            if questions != self.asked || due <= Instant::now() {
                let started = Instant::now();
                if self.turn(questions).await.is_err() {
                    return;
                }
                due = started + self.pause();
            }
            // Cancel-safe: neither a change nor a time is lost.
            tokio::select! {
                changed = needs.changed() => if changed.is_err() {
                    return;
                },
                () = sleep_until(due) => {}
            }
        }
    }

    fn pause(&self) -> Duration {
        let interval = self.asker.settings().interval;
        if self.silent.is_some() { interval.min(RETRY) } else { interval }
    }

    fn questions(&self, needs: &Needs) -> BTreeMap<Question, SourceName> {
        let settings = self.asker.settings();
        let (prefix, own) = (prefix(&settings.name), settings.queries.len() - self.profiles.len());
        let mut questions = BTreeMap::new();
        let mut put = |query: usize, namespace: &String, source: String| {
            questions.insert(Question { query, namespace: namespace.clone() }, SourceName::from(source));
        };
        for (index, query) in settings.queries.iter().take(own).enumerate() {
            for namespace in needs.signals.get(&query.signal).into_iter().flatten() {
                put(index, namespace, format!("{prefix}{}/{namespace}", query.signal));
            }
        }
        for (profile, namespaces) in needs.of(&address::of(settings)) {
            let Some(index) = self.profiles.get(&profile) else { continue };
            for namespace in namespaces {
                put(*index, namespace, format!("{prefix}{}", profiles::source(profile, namespace)));
            }
        }
        questions
    }

    /// Tells what is no longer asked, then asks; a server that was silent is first asked one question.
    async fn turn(&mut self, questions: BTreeMap<Question, SourceName>) -> Result<(), Closed> {
        let prefix = prefix(&self.asker.settings().name);
        let kept: BTreeSet<_> = questions.values().collect();
        for source in self.results.stale(|source| source.starts_with(&prefix) && !kept.contains(source)) {
            self.results.tell(SourceEvent::Gone { source }).await?;
        }
        self.asked.clone_from(&questions);
        let mut questions: Vec<_> = questions.into_iter().collect();
        let token = match self.asker.token().await {
            Ok(token) => Arc::new(token),
            Err(reason) => return self.tell_all(questions, &reason).await,
        };
        if self.silent.is_some() && !questions.is_empty() {
            self.probes = self.probes.wrapping_add(1);
            let probe = questions.swap_remove(self.probes % questions.len());
            self.round(vec![probe], &token, 1).await?;
            if let Some(reason) = self.silent.clone() {
                return self.tell_all(questions, &reason).await;
            }
        }
        self.round(questions, &token, STRUGGLES).await
    }

    /// Asks several questions at a time; once the server does not answer, the rest is not asked.
    async fn round(
        &mut self,
        questions: Vec<(Question, SourceName)>,
        token: &Arc<Option<String>>,
        patience: u32,
    ) -> Result<(), Closed> {
        let mut rest: BTreeMap<_, _> = questions.iter().cloned().collect();
        let mut answers = stream::iter(questions).map(|asked| answer(self.asker.clone(), token.clone(), asked));
        let mut answers = answers.by_ref().buffer_unordered(AT_A_TIME);
        let (mut silent, mut struggled) = (None, 0);
        while let Some((question, source, answer)) = answers.next().await {
            match &answer {
                Err(Failure::Unreachable(reason)) => silent = Some(reason.clone()),
                Err(Failure::Struggling(reason)) => {
                    struggled += 1;
                    silent = (struggled >= patience).then(|| reason.clone());
                }
                Ok(_) | Err(Failure::Answer(_) | Failure::Query(_)) => struggled = 0,
            }
            rest.remove(&question);
            self.results.tell(self.event(&question, source, answer)).await?;
            if silent.is_some() {
                break;
            }
        }
        drop(answers);
        self.silent = silent;
        match self.silent.clone() {
            Some(reason) => self.tell_all(rest.into_iter().collect(), &reason).await,
            None => Ok(()),
        }
    }

    fn event(&self, question: &Question, source: SourceName, answer: Result<Vec<ask::Value>, Failure>) -> SourceEvent {
        let at = clock::now();
        match answer {
            Ok(values) => {
                let signal = self.asker.settings().queries.get(question.query).map(|query| query.signal.clone());
                SourceEvent::Queried { source, signal: signal.unwrap_or_default(), values, at }
            }
            Err(failure) => SourceEvent::Failed { source, reason: failure.to_string(), at },
        }
    }

    async fn tell_all(&self, questions: Vec<(Question, SourceName)>, reason: &str) -> Result<(), Closed> {
        for (_, source) in questions {
            self.results.tell(SourceEvent::Failed { source, reason: reason.to_owned(), at: clock::now() }).await?;
        }
        Ok(())
    }
}
