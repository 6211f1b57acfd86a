//! When which target is asked: at its interval, spread over it, and less often while it fails. Pure.
//!
//! Time comes in as an argument. A target keeps its phase: the next time is a whole number of intervals after the
//! last one that was due, so that a slow scrape shifts nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use tokio::time::Instant;

use super::{SourceName, Target};

/// When which target is asked.
#[derive(Debug)]
pub(super) struct Schedule {
    interval: Duration,
    max_pause: Duration,
    entries: BTreeMap<SourceName, Entry>,
    due: BTreeSet<(Instant, SourceName)>,
}

/// One target.
#[derive(Debug)]
struct Entry {
    target: Target,
    /// When it is due, or was when its running scrape began.
    at: Instant,
    running: bool,
    /// Failures since the last success.
    failures: u32,
}

/// What a new list of targets takes away.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Replaced {
    /// Targets that are gone.
    pub(super) gone: Vec<SourceName>,
    /// Targets that are still there but lead elsewhere: a scrape of the old one must not count.
    pub(super) moved: Vec<SourceName>,
}

// === impl Schedule ===

impl Schedule {
    /// An empty schedule.
    pub(super) fn new(interval: Duration, max_pause: Duration) -> Self {
        let max_pause = max_pause.max(interval);
        Self { interval, max_pause, entries: BTreeMap::new(), due: BTreeSet::new() }
    }

    /// Takes a new list of targets. What stays keeps its place; what becomes ready is due at once.
    pub(super) fn replace(&mut self, targets: &[Target], now: Instant) -> Replaced {
        let kept: BTreeSet<_> = targets.iter().map(|target| target.source.clone()).collect();
        let gone: Vec<_> = self.entries.keys().filter(|source| !kept.contains(*source)).cloned().collect();
        for source in &gone {
            self.remove(source);
        }
        let moved = targets.iter().filter(|target| self.put(target, now)).map(|target| target.source.clone()).collect();
        Replaced { gone, moved }
    }

    fn remove(&mut self, source: &SourceName) {
        if let Some(entry) = self.entries.remove(source) {
            self.due.remove(&(entry.at, source.clone()));
        }
    }

    /// Puts a target in; true if it was there and leads elsewhere now.
    fn put(&mut self, target: &Target, now: Instant) -> bool {
        let source = &target.source;
        let moved = match self.entries.get_mut(source) {
            Some(entry) if entry.target.url == target.url && entry.target.subject == target.subject => {
                let woken = target.ready && !entry.target.ready;
                entry.target.ready = target.ready;
                if woken {
                    entry.failures = 0;
                }
                if woken && !entry.running {
                    self.due.remove(&(entry.at, source.clone()));
                    entry.at = entry.at.min(now);
                    self.due.insert((entry.at, source.clone()));
                }
                return false;
            }
            Some(_) => true,
            None => false,
        };
        self.remove(source);
        let at = now + phase(source, self.interval);
        self.entries.insert(source.clone(), Entry { target: target.clone(), at, running: false, failures: 0 });
        self.due.insert((at, source.clone()));
        moved
    }

    /// When the next target is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes a target that is due; it is running until [`Schedule::finished`].
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Target> {
        if self.next_due()? > now {
            return None;
        }
        let (_, source) = self.due.pop_first()?;
        let entry = self.entries.get_mut(&source)?;
        entry.running = true;
        Some(entry.target.clone())
    }

    /// Notes how the scrape of a target ended.
    pub(super) fn finished(&mut self, source: &SourceName, succeeded: bool, now: Instant) {
        let (interval, max_pause) = (self.interval, self.max_pause);
        let Some(entry) = self.entries.get_mut(source).filter(|entry| entry.running) else { return };
        entry.running = false;
        entry.failures = if succeeded { 0 } else { entry.failures.saturating_add(1) };
        let factor = 1_u32 << entry.failures.saturating_sub(1).min(16);
        let pause = interval.saturating_mul(factor).min(max_pause);
        entry.at = next(entry.at, pause, interval, now);
        self.due.insert((entry.at, source.clone()));
    }
}

/// The first time in `at + pause, at + pause + interval, …` that is not past.
fn next(at: Instant, pause: Duration, interval: Duration, now: Instant) -> Instant {
    let planned = at + pause;
    let late = now.saturating_duration_since(planned);
    if late.is_zero() {
        return planned;
    }
    let missed = late.as_nanos().div_ceil(interval.as_nanos().max(1));
    planned + interval.saturating_mul(u32::try_from(missed).unwrap_or(u32::MAX))
}

/// A delay below the interval that depends on the name alone: targets spread out, and restarts do not move them.
fn phase(source: &SourceName, interval: Duration) -> Duration {
    let mut hasher = DefaultHasher::new();
    source.hash(&mut hasher);
    let share = (hasher.finish() >> 32) as u32;
    Duration::from_nanos(u64::try_from((interval.as_nanos() * u128::from(share)) >> 32).unwrap_or(0))
}

#[cfg(test)]
mod tests;
