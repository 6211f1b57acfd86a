//! Notices that the file has changed: by its content, since a mounted ConfigMap changes by a swapped link.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::{Configuration, Error, digest};

/// Watches one file.
#[derive(Debug)]
pub struct Watcher {
    path: PathBuf,
    seen: Seen,
    ticks: Interval,
}

/// What was last found, so that each change is told once.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Content(String),
    Unreadable(String),
}

/// Watches a file that has been loaded as `current`, by looking at it once every `every`.
#[must_use]
pub fn watch(path: &Path, every: Duration, current: &Configuration) -> Watcher {
    let mut ticks = interval_at(Instant::now() + every, every.max(Duration::from_millis(10)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    Watcher { path: path.to_owned(), seen: Seen::Content(current.digest.clone()), ticks }
}

// === impl Watcher ===

impl Watcher {
    /// Waits for the next change: a new good configuration, or why the new one is refused.
    ///
    /// A refused one leaves the caller with its last good one. Cancel-safe: nothing is lost between calls.
    pub async fn next(&mut self) -> Result<Configuration, Error> {
        loop {
            self.ticks.tick().await;
            if let Some(change) = self.look() {
                return change;
            }
        }
    }

    /// Looks once; none if nothing has changed. Reads at most a mebibyte from a local disk, so it does not await.
    fn look(&mut self) -> Option<Result<Configuration, Error>> {
        let text = super::read(&self.path);
        let found = match &text {
            Ok(text) => Seen::Content(digest(text.as_bytes())),
            Err(error) => Seen::Unreadable(error.to_string()),
        };
        if found == self.seen {
            return None;
        }
        self.seen = found;
        Some(text.and_then(|text| super::parse(&text, &self.path.display().to_string())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "apiVersion: plimsoll.dev/v1alpha1\nkind: Configuration\n";

    fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.yaml");
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[tokio::test(start_paused = true)]
    async fn a_changed_file_is_told_once_and_a_bad_one_with_its_reason() {
        let (_folder, path) = written(GOOD);
        let mut watcher = watch(&path, Duration::from_secs(5), &super::super::load(&path).unwrap());
        assert!(watcher.look().is_none(), "unchanged");

        std::fs::write(&path, format!("{GOOD}tick: 1s\n")).unwrap();
        assert_eq!(watcher.next().await.unwrap().tick, Duration::from_secs(1));

        std::fs::write(&path, format!("{GOOD}tik: 1s\n")).unwrap();
        let error = watcher.next().await.unwrap_err().to_string();
        assert!(error.ends_with(r#"config.yaml:3:1: unknown key "tik", did you mean "tick"?"#), "{error}");
        assert!(watcher.look().is_none(), "told once");

        std::fs::remove_file(&path).unwrap();
        assert!(watcher.next().await.unwrap_err().to_string().contains("cannot be read"));
        assert!(watcher.look().is_none(), "told once");

        std::fs::write(&path, GOOD).unwrap();
        assert_eq!(watcher.next().await.unwrap().tick, Duration::from_secs(5));
    }
}
