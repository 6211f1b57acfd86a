//! Scrapes targets at their interval, each for itself: what one does, the others do not feel.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use futures::future::OptionFuture;
use plimsoll_core::profile::{self, Profile};
use tokio::{
    sync::watch,
    task::{self, AbortHandle, JoinError, JoinSet},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    Results, SourceEvent, SourceName, Target,
    fetch::{Fetcher, Trust},
    read::Reader,
    schedule::Schedule,
};
use crate::{clock, config::sources::Scrape};

/// What is asked for: the text format, as Prometheus itself asks for it.
const ACCEPT: &str = "text/plain;version=0.0.4;q=1,*/*;q=0.1";

/// Why scraping cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum ScrapeError {
    /// No HTTP client.
    #[error("scraping cannot begin: {0}")]
    Client(String),
    /// The built-in profiles are broken.
    #[error("scraping cannot begin: a built-in profile is broken")]
    Profiles(#[from] plimsoll_core::profile::ProfileError),
}

/// Scrapes until `shutdown`, or until nobody gives targets or takes results any more.
///
/// Settings are fixed for one run: a new configuration is a new run, which tells what of the one before is gone. A receiver that is slow slows scraping down.
pub async fn run(
    mut targets: watch::Receiver<Arc<Vec<Target>>>,
    settings: Scrape,
    results: Results,
    shutdown: CancellationToken,
) -> Result<(), ScrapeError> {
    let mut scraper = Scraper::new(&settings)?;
    targets.mark_changed();
    loop {
        let due: OptionFuture<_> = scraper.next_start().map(sleep_until).into();
        // Every arm is cancel-safe: waiting for a change, a finished task or a time loses nothing.
        let events = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            changed = targets.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
                let list = targets.borrow_and_update().clone();
                scraper.replace(&list, &results)
            }
            Some(joined) = scraper.running.join_next_with_id() => scraper.finish(joined).into_iter().collect(),
            Some(()) = due => {
                scraper.start_due();
                Vec::new()
            }
        };
        for event in events {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                told = results.tell(event) => if told.is_err() {
                    return Ok(());
                },
            }
        }
    }
}

/// The targets, and the scrapes that run.
struct Scraper {
    fetcher: Fetcher,
    /// The same for exporters: no workload's pod can crowd them out.
    exporters: Fetcher,
    reader: Reader,
    concurrency: usize,
    schedule: Schedule,
    running: JoinSet<SourceEvent>,
    tasks: HashMap<task::Id, SourceName>,
    handles: HashMap<SourceName, AbortHandle>,
}

// === impl Scraper ===

impl Scraper {
    fn new(settings: &Scrape) -> Result<Self, ScrapeError> {
        let trust = settings.ca_file.as_deref().map_or(Trust::Nobody, Trust::File);
        let fetcher =
            Fetcher::new(trust, settings.timeout.0, settings.limits.body_bytes).map_err(ScrapeError::Client)?;
        Ok(Self {
            exporters: fetcher.apart(),
            fetcher,
            reader: Reader::new(Profile::builtin()?, settings.limits),
            concurrency: settings.concurrency,
            schedule: Schedule::new(settings.interval.0, settings.max_pause.0),
            running: JoinSet::new(),
            tasks: HashMap::new(),
            handles: HashMap::new(),
        })
    }

    /// When the next scrape begins; none while as many run as may.
    fn next_start(&self) -> Option<Instant> {
        self.schedule.next_due().filter(|_| self.running.len() < self.concurrency)
    }

    fn replace(&mut self, targets: &[Target], results: &Results) -> Vec<SourceEvent> {
        let replaced = self.schedule.replace(targets, Instant::now());
        for source in replaced.gone.iter().chain(&replaced.moved) {
            if let Some(handle) = self.handles.remove(source) {
                handle.abort();
                self.tasks.remove(&handle.id());
            }
        }
        let kept: BTreeSet<_> = targets.iter().map(|target| &target.source).collect();
        let mut gone = results.stale(|source| !kept.contains(source));
        gone.extend(replaced.gone);
        gone.into_iter().map(|source| SourceEvent::Gone { source }).collect()
    }

    fn start_due(&mut self) {
        let now = Instant::now();
        while self.running.len() < self.concurrency {
            let Some(target) = self.schedule.take_due(now) else { return };
            let source = target.source.clone();
            let fetcher = match target.subject {
                profile::Target::Pod(_) => &self.fetcher,
                profile::Target::Exporter { .. } => &self.exporters,
            };
            let handle = self.running.spawn(scrape(fetcher.clone(), self.reader.clone(), target));
            self.tasks.insert(handle.id(), source.clone());
            self.handles.insert(source, handle);
        }
    }

    /// Takes the end of a task; none if its target has gone or moved meanwhile.
    fn finish(&mut self, joined: Result<(task::Id, SourceEvent), JoinError>) -> Option<SourceEvent> {
        let id = joined.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let source = self.tasks.remove(&id)?;
        self.handles.remove(&source);
        let event =
            joined.map_or_else(|_| failed(source.clone(), "the scrape broke: a fault of ours"), |(_, event)| event);
        self.schedule.finished(&source, matches!(event, SourceEvent::Scraped { .. }), Instant::now());
        Some(event)
    }
}

async fn scrape(fetcher: Fetcher, reader: Reader, target: Target) -> SourceEvent {
    let Target { source, url, subject, .. } = target;
    let request = fetcher.client().get(url).header(http::header::ACCEPT, ACCEPT);
    let body = match fetcher.fetch(request).await {
        Ok(body) => body,
        Err(reason) => return failed(source, reason),
    };
    let at = clock::now();
    match reader.read(body, subject.clone()).await {
        Ok(observed) => SourceEvent::Scraped { source, subject, observed, at },
        Err(reason) => failed(source, reason),
    }
}

fn failed(source: SourceName, reason: impl Into<String>) -> SourceEvent {
    SourceEvent::Failed { source, reason: reason.into(), at: clock::now() }
}
