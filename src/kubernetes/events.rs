//! Kubernetes Events: what happened to a workload, where people look (`kubectl describe`).
//!
//! Publishing never delays anything: the queue is bounded, a full one drops, a failure is logged. One Event per
//! object and reason in five minutes, whatever its text.

use std::{collections::HashMap, time::Duration};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{self, EventType, Recorder, Reporter},
};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::request::{self, Failure};

/// Name under which Events are reported.
const CONTROLLER: &str = "plimsoll.dev/plimsoll";
/// Events that wait: one per workload of a large cluster at the moment at which all of them change.
const QUEUE: usize = 1024;
/// Least time between two Events of one reason on one object.
const INTERVAL: Duration = Duration::from_secs(300);
/// Most objects and reasons that are remembered.
const MAX_REMEMBERED: usize = 10_000;
/// How long the API server may take for one.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest note that `events.k8s.io/v1` accepts, in bytes.
const MAX_NOTE: usize = 1024;

/// The object that an Event is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Regarding {
    /// Group and version, e.g. `autoscaling/v2`.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Uid, so that the Event is shown with this object and no later one of its name.
    pub uid: String,
}

/// Something that people should see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// On what.
    pub regarding: Regarding,
    /// Whether somebody should act.
    pub warning: bool,
    /// Why, in one word: `CapacityClamped`.
    pub reason: &'static str,
    /// What was done, in one word: `Clamp`.
    pub action: &'static str,
    /// The sentence, with its numbers.
    pub note: String,
}

/// The end to which Events are given.
#[derive(Clone, Debug)]
pub struct Publisher {
    queue: mpsc::Sender<Event>,
}

/// The end that sends them to the API server.
#[derive(Debug)]
pub struct Sender {
    queue: mpsc::Receiver<Event>,
    limiter: Limiter,
}

/// Remembers when what was last said.
#[derive(Debug, Default)]
struct Limiter {
    said: HashMap<(Regarding, &'static str), Instant>,
}

/// A queue of Events: give to the one, run the other.
#[must_use]
pub fn queue() -> (Publisher, Sender) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    (Publisher { queue: sender }, Sender { queue: receiver, limiter: Limiter::default() })
}

// === impl Publisher ===

impl Publisher {
    /// Publishes an Event some time soon, or never: it does not wait.
    pub fn publish(&self, event: Event) {
        if let Err(error) = self.queue.try_send(event) {
            debug!(%error, "an Event is dropped");
        }
    }
}

// === impl Sender ===

impl Sender {
    /// Sends Events until shutdown; `instance` names this replica.
    pub async fn run(mut self, client: Client, instance: Option<String>, shutdown: CancellationToken) {
        let recorder = Recorder::new(client, Reporter { controller: CONTROLLER.to_owned(), instance });
        loop {
            // Both arms are cancel safe.
            let event = tokio::select! {
                () = shutdown.cancelled() => return,
                event = self.queue.recv() => event,
            };
            let Some(event) = event else { return };
            if self.limiter.permits(&event, Instant::now()) {
                send(&recorder, event).await;
            }
        }
    }
}

async fn send(recorder: &Recorder, event: Event) {
    let (reason, object) = (event.reason, event.regarding.clone());
    let (event, regarding) = wire(event);
    let failure = match tokio::time::timeout(PATIENCE, recorder.publish(&event, &regarding)).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => request::failure(error),
        Err(_) => Failure::Silent(PATIENCE),
    };
    warn!(reason, namespace = object.namespace, name = object.name, %failure, "cannot publish an Event");
}

fn wire(event: Event) -> (events::Event, ObjectReference) {
    let Event { regarding, warning, reason, action, note } = event;
    let type_ = if warning { EventType::Warning } else { EventType::Normal };
    let note = Some(cut(note, MAX_NOTE));
    let published =
        events::Event { type_, reason: reason.to_owned(), note, action: action.to_owned(), secondary: None };
    let Regarding { api_version, kind, namespace, name, uid } = regarding;
    let some = |text: String| (!text.is_empty()).then_some(text);
    let reference = ObjectReference {
        api_version: some(api_version),
        kind: some(kind),
        namespace: some(namespace),
        name: some(name),
        uid: some(uid),
        ..ObjectReference::default()
    };
    (published, reference)
}

fn cut(mut text: String, max: usize) -> String {
    if text.len() > max {
        let end = (0..=max - '…'.len_utf8()).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

// === impl Limiter ===

impl Limiter {
    fn permits(&mut self, event: &Event, now: Instant) -> bool {
        let key = (event.regarding.clone(), event.reason);
        if self.said.get(&key).is_some_and(|at| now.duration_since(*at) < INTERVAL) {
            return false;
        }
        if self.said.len() >= MAX_REMEMBERED {
            self.said.retain(|_, at| now.duration_since(*at) < INTERVAL);
        }
        // Still full: ten thousand Events in five minutes help nobody.
        if self.said.len() >= MAX_REMEMBERED {
            return false;
        }
        self.said.insert(key, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, reason: &'static str) -> Event {
        let regarding = Regarding { namespace: "ml".to_owned(), name: name.to_owned(), ..Regarding::default() };
        Event { regarding, warning: true, reason, action: "Clamp", note: String::new() }
    }

    #[test]
    fn the_same_reason_on_the_same_object_is_said_once_in_five_minutes() {
        let (mut limiter, now) = (Limiter::default(), Instant::now());
        assert!(limiter.permits(&event("a", "CapacityClamped"), now));
        assert!(!limiter.permits(&event("a", "CapacityClamped"), now + Duration::from_secs(299)));
        assert!(limiter.permits(&event("b", "CapacityClamped"), now));
        assert!(limiter.permits(&event("a", "SignalUnknown"), now));
        assert!(limiter.permits(&event("a", "CapacityClamped"), now + INTERVAL));
    }

    #[test]
    fn memory_is_bounded_and_old_entries_make_room() {
        let (mut limiter, now) = (Limiter::default(), Instant::now());
        for index in 0..MAX_REMEMBERED {
            assert!(limiter.permits(&event(&index.to_string(), "X"), now));
        }
        assert!(!limiter.permits(&event("one more", "X"), now));
        assert!(limiter.permits(&event("one more", "X"), now + INTERVAL));
        assert_eq!(limiter.said.len(), 1);
    }

    #[test]
    fn a_full_queue_drops_instead_of_waiting() {
        let (publisher, sender) = queue();
        for _ in 0..QUEUE + 10 {
            publisher.publish(event("a", "X"));
        }
        assert_eq!(sender.queue.len(), QUEUE);
    }

    #[test]
    fn a_long_note_is_cut_at_a_character() {
        let note = cut("ä".repeat(1000), MAX_NOTE);
        assert!(note.len() <= MAX_NOTE && note.ends_with("ä…"), "{}", note.len());
        assert_eq!(cut("short".to_owned(), MAX_NOTE), "short");
    }
}
