//! When `true` is pushed: KEDA reads and writes objects for each one, so it is told what is new, and again only while
//! it has not acted.
//!
//! - once on opening, if there is a reason to have replicas;
//! - on each edge from no reason to one;
//! - again and again, ever more slowly, while there are no replicas: a push about an object that KEDA has not
//!   reconciled yet is lost (`pkg/scaling/scale_handler.go` v2.21.0).

use std::{future::pending, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{Activity, Triggers, wire::Asked};
use crate::server::Closing;

/// First pause before a push is repeated.
const REPEAT: Duration = Duration::from_secs(2);
/// Longest pause: KEDA's own polling interval.
const MAX_REPEAT: Duration = Duration::from_secs(30);

/// The pushes of one stream.
pub(super) struct Push<T> {
    triggers: Arc<T>,
    asked: Asked,
    closing: Closing,
    changes: watch::Receiver<u64>,
    /// Whether there was a reason the last time that it was known.
    active: bool,
    /// When to push again, and the pause before that.
    again: Option<(Instant, Duration)>,
}

impl<T: Triggers> Push<T> {
    pub(super) fn new(triggers: Arc<T>, asked: Asked, closing: Closing) -> Self {
        let mut changes = triggers.changes();
        changes.mark_changed();
        Self { triggers, asked, closing, changes, active: false, again: None }
    }

    /// Resolves with true when a push is due, with false at the end of the stream.
    pub(super) async fn next(&mut self) -> bool {
        loop {
            let again = async {
                match self.again {
                    Some((at, _)) => sleep_until(at).await,
                    None => pending().await,
                }
            };
            // Cancel safe: a change that loses is still there the next time. What closes is looked at first, since
            // changes may come without end.
            tokio::select! {
                biased;
                () = self.closing.begun() => return false,
                changed = self.changes.changed() => if changed.is_err() {
                    return false;
                },
                () = again => {}
            }
            if self.due() {
                return true;
            }
        }
    }

    /// Looks at the activity; whether to push now. What is not known is no edge.
    fn due(&mut self) -> bool {
        let Ok(Activity { active, at_zero }) = self.triggers.activity(&self.asked.object, &self.asked.trigger) else {
            return false;
        };
        let edge = active && !self.active;
        self.active = active;
        if !(active && at_zero) {
            self.again = None;
            return edge;
        }
        let now = Instant::now();
        match self.again {
            Some((at, _)) if !edge && at > now => false,
            Some((_, pause)) if !edge => {
                let pause = pause.saturating_mul(2).min(MAX_REPEAT);
                self.again = Some((now + pause, pause));
                true
            }
            _ => {
                self.again = Some((now + REPEAT, REPEAT));
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use plimsoll_core::{
        answer::{Reason, Refusal},
        object::ObjectKey,
        quantity::Milli,
        trigger::Trigger,
    };
    use tokio::time::timeout;

    use super::*;

    /// What is known; none for nothing.
    struct Stage {
        known: Mutex<Option<Activity>>,
        changes: watch::Sender<u64>,
    }

    impl Triggers for Stage {
        fn value(&self, _: &ObjectKey, _: &Arc<Trigger>) -> Result<Milli, Refusal> {
            Ok(Milli(0))
        }

        fn activity(&self, _: &ObjectKey, _: &Arc<Trigger>) -> Result<Activity, Refusal> {
            let unknown = Refusal { reason: Reason::NoData, message: String::new() };
            self.known.lock().unwrap().ok_or(unknown)
        }

        fn changes(&self) -> watch::Receiver<u64> {
            self.changes.subscribe()
        }
    }

    impl Stage {
        fn set(&self, active: bool, at_zero: bool) {
            *self.known.lock().unwrap() = Some(Activity { active, at_zero });
            self.changes.send_modify(|count| *count += 1);
        }
    }

    fn stream() -> (Arc<Stage>, Push<Stage>) {
        let stage = Arc::new(Stage { known: Mutex::new(None), changes: watch::channel(0).0 });
        let metadata = [("signal", "queueLength"), ("threshold", "1")];
        let metadata = metadata.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let trigger = Arc::new(Trigger::parse(&metadata).unwrap());
        let asked = Asked { object: ObjectKey::new("ml", "chat"), trigger };
        (Arc::clone(&stage), Push::new(stage, asked, Closing::default()))
    }

    /// Pushes within a time, paused.
    async fn pushes(push: &mut Push<Stage>, seconds: u64) -> u32 {
        let end = Instant::now() + Duration::from_secs(seconds);
        let mut count = 0;
        while let Ok(true) = tokio::time::timeout_at(end, push.next()).await {
            count += 1;
        }
        count
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_pushed_while_nothing_is_known_or_active() {
        let (stage, mut push) = stream();
        assert_eq!(pushes(&mut push, 100).await, 0);
        stage.set(false, true);
        assert_eq!(pushes(&mut push, 100).await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_edge_is_pushed_once_where_there_are_replicas() {
        let (stage, mut push) = stream();
        stage.set(true, false);
        assert_eq!(pushes(&mut push, 100).await, 1);
        stage.set(true, false);
        assert_eq!(pushes(&mut push, 100).await, 0, "the same again is no edge");
        stage.set(false, false);
        assert_eq!(pushes(&mut push, 1).await, 0);
        stage.set(true, false);
        assert_eq!(pushes(&mut push, 100).await, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_push_is_repeated_ever_more_slowly_until_there_are_replicas() {
        let (stage, mut push) = stream();
        stage.set(true, true);
        // At 0, 2, 6, 14, 30, 60, 90 s.
        assert_eq!(pushes(&mut push, 100).await, 7);
        stage.set(true, false);
        assert_eq!(pushes(&mut push, 100).await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn changes_without_end_do_not_bring_a_repetition_forward() {
        let (stage, mut push) = stream();
        stage.set(true, true);
        assert!(push.next().await);
        for _ in 0..50 {
            stage.set(true, true);
            assert!(timeout(Duration::from_millis(10), push.next()).await.is_err());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_known_is_no_edge() {
        let (stage, mut push) = stream();
        stage.set(true, false);
        assert_eq!(pushes(&mut push, 1).await, 1);
        *stage.known.lock().unwrap() = None;
        stage.changes.send_modify(|count| *count += 1);
        assert_eq!(pushes(&mut push, 1).await, 0);
        stage.set(true, false);
        assert_eq!(pushes(&mut push, 1).await, 0);
    }
}
