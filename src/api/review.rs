//! Questions to kube-apiserver, remembered: token reviews and access reviews.
//!
//! One question in flight per key, however many requests wait for it. A review outlives the request that began it:
//! where kube-apiserver needs longer than a request may last, the next request finds the answer. Errors are not
//! remembered.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use moka::{Expiry, future::Cache};
use tokio::{sync::Semaphore, time::Instant};
use tokio_util::task::TaskTracker;

use super::{failure::Failure, metrics::Metrics};

/// Answers remembered; as many as Kubernetes keeps (`webhook.go` uses an LRU of 8,192).
const CAPACITY: u64 = 8_192;
/// Reviews in flight at once; kube-apiserver's own queue for us is not longer.
const IN_FLIGHT: usize = 64;

/// Requests that may wait for a review at once: an invented token per request must not fill the memory.
const WAITING: usize = 4_096;

/// Digest of a question.
pub(crate) type Key = [u8; 32];

/// Answers of one kind. Clones share them.
#[derive(Clone)]
pub(crate) struct Reviews<V: Clone + Send + Sync + 'static> {
    kind: &'static str,
    entries: Cache<Key, Arc<Entry<V>>>,
    timeout: Duration,
    life: Arc<dyn Fn(&V) -> Duration + Send + Sync>,
    slots: Arc<Semaphore>,
    tasks: TaskTracker,
    metrics: Metrics,
}

struct Entry<V> {
    value: V,
    life: Duration,
    at: Instant,
    refreshing: AtomicBool,
}

/// Why there is no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Not within the timeout.
    #[error("no answer in time")]
    Timeout,
    /// An error came back, or none at all.
    #[error("{0}")]
    Failed(String),
}

// === impl Error ===

impl Error {
    /// 503 with a cause. What kube-apiserver said goes to the log, not to the client.
    pub(crate) fn failure(&self, what: &str) -> Failure {
        tracing::warn!(error = %self, "{what}");
        match self {
            Self::Timeout => Failure::unavailable("ReviewTimeout", format!("{what}: no answer in time")),
            Self::Failed(_) => Failure::unavailable("ReviewFailed", format!("{what}: the review failed")),
        }
    }
}

impl From<kube::Error> for Error {
    fn from(error: kube::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

// === impl Reviews ===

impl<V: Clone + Send + Sync + 'static> Reviews<V> {
    pub(crate) fn new(
        kind: &'static str,
        timeout: Duration,
        life: impl Fn(&V) -> Duration + Send + Sync + 'static,
        metrics: Metrics,
    ) -> Self {
        let entries = Cache::builder().max_capacity(CAPACITY).expire_after(ByEntry).build();
        let slots = Arc::new(Semaphore::new(IN_FLIGHT));
        Self { kind, entries, timeout, life: Arc::new(life), slots, tasks: TaskTracker::new(), metrics }
    }

    /// The remembered answer, or the one that `ask` brings.
    pub(crate) async fn get<F, R>(&self, key: Key, ask: F) -> Result<V, Error>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Future<Output = Result<V, Error>> + Send + 'static,
    {
        if let Some(entry) = self.entries.get(&key).await {
            self.metrics.review(self.kind, "remembered");
            if entry.is_ageing() && !entry.refreshing.swap(true, Ordering::AcqRel) {
                self.refresh(key, Arc::clone(&entry), ask());
            }
            return Ok(entry.value.clone());
        }
        if self.tasks.len() >= WAITING {
            self.metrics.review(self.kind, "shed");
            return Err(Error::Failed("too many requests wait for reviews".to_owned()));
        }
        let this = self.clone();
        let answer = self.tasks.spawn(async move {
            let entry = this.entries.try_get_with(key, this.ask(ask())).await;
            entry.map(|entry| entry.value.clone()).map_err(|error| (*error).clone())
        });
        answer.await.unwrap_or_else(|error| Err(Error::Failed(error.to_string())))
    }

    fn refresh(&self, key: Key, old: Arc<Entry<V>>, ask: impl Future<Output = Result<V, Error>> + Send + 'static) {
        let this = self.clone();
        self.tasks.spawn(async move {
            match this.ask(ask).await {
                Ok(entry) => this.entries.insert(key, entry).await,
                // The old answer lives to its end; the next question tries again.
                Err(_) => old.refreshing.store(false, Ordering::Release),
            }
        });
    }

    async fn ask(&self, ask: impl Future<Output = Result<V, Error>>) -> Result<Arc<Entry<V>>, Error> {
        let bounded = async {
            let _slot = self.slots.acquire().await.map_err(|error| Error::Failed(error.to_string()))?;
            ask.await
        };
        let result = tokio::time::timeout(self.timeout, bounded).await.unwrap_or(Err(Error::Timeout));
        self.metrics.review(
            self.kind,
            match &result {
                Ok(_) => "asked",
                Err(Error::Timeout) => "timeout",
                Err(Error::Failed(_)) => "failed",
            },
        );
        let value = result?;
        let life = (self.life)(&value);
        Ok(Arc::new(Entry { value, life, at: Instant::now(), refreshing: AtomicBool::new(false) }))
    }
}

impl<V: Clone + Send + Sync + 'static> fmt::Debug for Reviews<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reviews").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl<V> Entry<V> {
    /// Whether the last quarter of its life has begun: time to ask again before somebody has to wait.
    fn is_ageing(&self) -> bool {
        self.at.elapsed() >= self.life * 3 / 4
    }
}

/// Each entry lives as long as its kind of answer does.
struct ByEntry;

impl<V> Expiry<Key, Arc<Entry<V>>> for ByEntry {
    fn expire_after_create(&self, _: &Key, entry: &Arc<Entry<V>>, _: std::time::Instant) -> Option<Duration> {
        Some(entry.life)
    }

    fn expire_after_update(
        &self,
        _: &Key,
        entry: &Arc<Entry<V>>,
        _: std::time::Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(entry.life)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use tokio::sync::oneshot;

    use super::*;

    const KEY: Key = [7; 32];

    fn reviews() -> Reviews<usize> {
        Reviews::new("subject", Duration::from_secs(2), |_| Duration::from_secs(60), Metrics::default())
    }

    /// Asks, and answers with the number of questions so far.
    async fn get(reviews: &Reviews<usize>, asked: &Arc<AtomicUsize>) -> usize {
        let asked = Arc::clone(asked);
        reviews.get(KEY, move || async move { Ok(asked.fetch_add(1, Ordering::AcqRel) + 1) }).await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn an_ageing_answer_is_given_at_once_and_asked_for_again_behind_it() {
        let (reviews, asked) = (reviews(), Arc::default());
        assert_eq!(get(&reviews, &asked).await, 1);
        tokio::time::advance(Duration::from_secs(44)).await;
        assert_eq!(get(&reviews, &asked).await, 1);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(get(&reviews, &asked).await, 1, "the old answer, without waiting");
        while asked.load(Ordering::Acquire) < 2 {
            tokio::task::yield_now().await;
        }
        tokio::task::yield_now().await;
        assert_eq!(get(&reviews, &asked).await, 2);
        assert_eq!(asked.load(Ordering::Acquire), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refresh_that_fails_keeps_the_old_answer_and_is_tried_again() {
        let (reviews, asked) = (reviews(), Arc::default());
        assert_eq!(get(&reviews, &asked).await, 1);
        tokio::time::advance(Duration::from_secs(50)).await;
        let failed = reviews.get(KEY, || async { Err(Error::Failed("down".to_owned())) }).await;
        assert_eq!(failed.unwrap(), 1);
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        assert_eq!(get(&reviews, &asked).await, 1);
        while asked.load(Ordering::Acquire) < 2 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_review_outlives_the_request_that_began_it() {
        let (reviews, (answer, answered)) = (reviews(), oneshot::channel());
        let ask = move || async move { answered.await.map_err(|_| Error::Timeout) };
        let given_up = tokio::time::timeout(Duration::from_secs(1), reviews.get(KEY, ask)).await;
        assert!(given_up.is_err());
        answer.send(42).unwrap();
        let never = || async { Err(Error::Failed("asked again".to_owned())) };
        assert_eq!(reviews.get(KEY, never).await.unwrap(), 42);
    }

    #[tokio::test(start_paused = true)]
    async fn errors_and_timeouts_are_not_remembered() {
        let reviews = reviews();
        let hung = reviews.get(KEY, std::future::pending).await;
        assert!(matches!(hung, Err(Error::Timeout)));
        let failed = reviews.get(KEY, || async { Err(Error::Failed("down".to_owned())) }).await;
        assert!(matches!(failed, Err(Error::Failed(_))));
        assert_eq!(get(&reviews, &Arc::default()).await, 1);
    }
}
