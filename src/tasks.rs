//! Long-running tasks: named, awaited, ended together.
//!
//! A task whose death nobody sees is a bug. When a critical task ends, for whatever reason, the process shuts down
//! and says why; an optional one is only logged. Shutdown cancels one token, waits for the tasks until a deadline,
//! and then aborts them.

use std::{collections::HashMap, future::Future, time::Duration};

use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error, error_span, info, warn};

/// A set of tasks that live and end together.
#[derive(Debug)]
pub struct Tasks {
    set: JoinSet<Result<(), anyhow::Error>>,
    names: HashMap<Id, (&'static str, Weight)>,
    shutdown: CancellationToken,
}

/// What the end of a task means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weight {
    /// The process cannot do without it.
    Critical,
    /// The process goes on without it.
    Optional,
}

/// Why the tasks ended other than by a request to shut down.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A critical task returned although nobody had asked it to.
    #[error("task {name} ended although it should run as long as the process")]
    Ended {
        /// Name of the task.
        name: &'static str,
    },
    /// A critical task failed.
    #[error("task {name} failed")]
    Failed {
        /// Name of the task.
        name: &'static str,
        /// Why.
        #[source]
        source: anyhow::Error,
    },
    /// A critical task panicked.
    #[error("task {name} panicked: {message}")]
    Panicked {
        /// Name of the task.
        name: &'static str,
        /// What it said.
        message: String,
    },
    /// Tasks were still running at the deadline and were aborted.
    #[error("after {deadline:?} these tasks had not ended and were aborted: {names}")]
    Deadline {
        /// How long they were waited for.
        deadline: Duration,
        /// Their names.
        names: String,
    },
}

// === impl Tasks ===

impl Tasks {
    /// No tasks yet; `shutdown` ends them all.
    #[must_use]
    pub fn new(shutdown: CancellationToken) -> Self {
        Self { set: JoinSet::new(), names: HashMap::new(), shutdown }
    }

    /// The token that tasks watch in order to end.
    #[must_use]
    pub fn shutdown(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    /// Starts a task without which the process must not go on.
    pub fn critical<F, E>(&mut self, name: &'static str, task: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<anyhow::Error>,
    {
        self.start(name, Weight::Critical, task);
    }

    /// Starts a task whose end is only logged.
    pub fn optional<F, E>(&mut self, name: &'static str, task: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<anyhow::Error>,
    {
        self.start(name, Weight::Optional, task);
    }

    /// Waits until shutdown is asked for or a critical task ends; then ends all, within the deadline.
    ///
    /// The result is the first reason; a request to shut down that all tasks follow is no error.
    pub async fn run(mut self, deadline: Duration) -> Result<(), Error> {
        let first = self.supervise().await;
        self.shutdown.cancel();
        let drained = self.drain(deadline).await;
        first.and(drained)
    }

    fn start<F, E>(&mut self, name: &'static str, weight: Weight, task: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<anyhow::Error>,
    {
        let task = async move { task.await.map_err(Into::into) }.instrument(error_span!("task", name));
        let handle = self.set.spawn(task);
        self.names.insert(handle.id(), (name, weight));
    }

    async fn supervise(&mut self) -> Result<(), Error> {
        loop {
            // Both arms are cancel safe: a token stays cancelled, and join_next loses no result.
            let joined = tokio::select! {
                () = self.shutdown.cancelled() => return Ok(()),
                joined = self.set.join_next_with_id(), if !self.set.is_empty() => joined,
            };
            let Some(joined) = joined else { continue };
            let (name, weight, result) = self.identify(joined);
            let ended = result.and(Err(Error::Ended { name }));
            match (weight, ended) {
                (_, Ok(())) => {}
                (Weight::Critical, Err(reason)) if !self.shutdown.is_cancelled() => {
                    error!(task = name, reason = %describe(&reason), "a critical task ended, shutting down");
                    return Err(reason);
                }
                (_, Err(reason)) => warn!(task = name, reason = %describe(&reason), "a task ended"),
            }
        }
    }

    async fn drain(&mut self, deadline: Duration) -> Result<(), Error> {
        let end = tokio::time::Instant::now() + deadline;
        while let Ok(Some(joined)) = tokio::time::timeout_at(end, self.set.join_next_with_id()).await {
            let (name, _, result) = self.identify(joined);
            match result {
                Ok(()) => info!(task = name, "ended"),
                Err(reason) => warn!(task = name, reason = %describe(&reason), "ended badly while shutting down"),
            }
        }
        if self.set.is_empty() {
            return Ok(());
        }
        let mut names: Vec<_> = self.names.values().map(|(name, _)| *name).collect();
        names.sort_unstable();
        self.set.shutdown().await;
        Err(Error::Deadline { deadline, names: names.join(", ") })
    }

    fn identify(
        &mut self,
        joined: Result<(Id, Result<(), anyhow::Error>), JoinError>,
    ) -> (&'static str, Weight, Result<(), Error>) {
        let id = joined.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let (name, weight) = self.names.remove(&id).unwrap_or(("unknown", Weight::Critical));
        let result = match joined {
            Ok((_, result)) => result.map_err(|source| Error::Failed { name, source }),
            Err(join) => Err(Error::Panicked { name, message: panic_message(join) }),
        };
        (name, weight, result)
    }
}

/// Ends with the name of the first signal that asks the process to stop: SIGTERM or SIGINT.
pub async fn stop_signal() -> std::io::Result<&'static str> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    // Cancel safe: a signal that arrives at the arm that loses is not needed any more.
    tokio::select! {
        _ = terminate.recv() => Ok("SIGTERM"),
        result = tokio::signal::ctrl_c() => result.map(|()| "SIGINT"),
    }
}

/// The error with its causes on one line.
fn describe(error: &Error) -> String {
    match error {
        Error::Failed { name, source } => format!("task {name} failed: {source:#}"),
        other => other.to_string(),
    }
}

fn panic_message(error: JoinError) -> String {
    if !error.is_panic() {
        return "aborted".to_owned();
    }
    let payload = error.into_panic();
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Duration = Duration::from_secs(5);

    fn tasks() -> Tasks {
        Tasks::new(CancellationToken::new())
    }

    async fn until(token: CancellationToken) -> Result<(), anyhow::Error> {
        token.cancelled().await;
        Ok(())
    }

    #[tokio::test]
    async fn a_request_to_shut_down_ends_all_tasks_well() {
        let mut tasks = tasks();
        tasks.critical("a", until(tasks.shutdown()));
        tasks.optional("b", until(tasks.shutdown()));
        tasks.shutdown().cancel();
        tasks.run(DEADLINE).await.unwrap();
    }

    #[tokio::test]
    async fn a_critical_task_that_fails_ends_the_others_and_is_named() {
        let mut tasks = tasks();
        let shutdown = tasks.shutdown();
        tasks.critical("other", until(tasks.shutdown()));
        tasks.critical("broken", async { Err(anyhow::anyhow!("no more")) });
        let error = tasks.run(DEADLINE).await.unwrap_err();
        assert_eq!(describe(&error), "task broken failed: no more");
        assert!(shutdown.is_cancelled());
    }

    #[tokio::test]
    async fn a_critical_task_that_just_returns_is_an_error() {
        let mut tasks = tasks();
        tasks.critical("short", async { anyhow::Ok(()) });
        assert!(matches!(tasks.run(DEADLINE).await, Err(Error::Ended { name: "short" })));
    }

    #[tokio::test]
    async fn a_panic_is_reported_with_the_name_of_the_task() {
        let mut tasks = tasks();
        tasks.critical("careless", futures::future::lazy(|_| -> anyhow::Result<()> { panic!("oh") }));
        let error = tasks.run(DEADLINE).await.unwrap_err();
        assert_eq!(error.to_string(), "task careless panicked: oh");
    }

    #[tokio::test]
    async fn an_optional_task_may_end() {
        let mut tasks = tasks();
        let (shutdown, (done, ended)) = (tasks.shutdown(), tokio::sync::oneshot::channel::<()>());
        tasks.optional("done", async move {
            drop(done);
            Err(anyhow::anyhow!("nothing to do"))
        });
        tasks.critical("stopper", async move {
            assert!(ended.await.is_err());
            tokio::task::yield_now().await;
            shutdown.cancel();
            anyhow::Ok(())
        });
        tasks.run(DEADLINE).await.unwrap();
    }

    #[tokio::test]
    async fn a_task_that_does_not_end_is_aborted_at_the_deadline() {
        let mut tasks = tasks();
        tasks.critical("stuck", std::future::pending::<Result<(), anyhow::Error>>());
        tasks.shutdown().cancel();
        let error = tasks.run(Duration::ZERO).await.unwrap_err();
        assert_eq!(error.to_string(), "after 0ns these tasks had not ended and were aborted: stuck");
    }
}
