//! One watched kind: list, then watch, for ever.

use std::time::Duration;

use kube::{
    api::{ListParams, WatchParams},
    core::Request,
};
use plimsoll_core::cluster::{Change, Delta, Doubts};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{debug, info, warn};

use super::{
    Backoff, Context, Error, Quiet,
    doubt::Doubt,
    frame::{Identity, Line, Lines, MAX_PAGE, Page, Undecodable},
    kind::{Kind, Salvage},
    versions,
};
use crate::{
    clock,
    kubernetes::{
        health::Legible,
        request::{self, Failure},
    },
};

/// Events that were missed, or the word that the version is too old, come at once on a new watch. One that is quiet for
/// so long is up to date; one that ends sooner without a word did not work.
const SETTLE: Duration = Duration::from_secs(1);
/// How long a watch may take to open. Its head comes at once, or after 3 s where the server's cache is behind; a
/// connection that died in the pool says nothing at all, and must not cost much of the 10 s to recover.
const OPEN: Duration = Duration::from_secs(8);

/// The state of one feed.
struct State<K> {
    context: Context,
    kind: K,
    /// Where a watch goes on; none when a list is due.
    version: Option<String>,
    /// What the view must not rely on.
    doubt: Doubt,
    backoff: Backoff,
    quiet: Quiet,
}

/// What the view keeps of an object.
enum Read<T> {
    /// All that it reads, or nothing where it keeps none of it.
    Whole(Option<T>),
    /// Some of it.
    Part(Identity, T),
    /// Nothing, although it should.
    Nothing(Undecodable),
}

/// Why a step ended before its time.
enum Stop {
    /// Wait, then try again.
    Failed(Failure),
    /// Nobody reads the changes.
    Closed(Error),
}

/// Feeds one kind into the view until nobody reads the changes any more.
pub(super) async fn run<K: Kind>(context: Context, kind: K) -> Result<(), Error> {
    let (backoff, quiet) = (Backoff::default(), Quiet::default());
    let mut state = State { context, kind, version: None, doubt: Doubt::default(), backoff, quiet };
    loop {
        let step = match state.version.clone() {
            None => state.list().await,
            Some(version) => state.watch(&version).await,
        };
        match step {
            Ok(()) => {}
            Err(Stop::Closed(error)) => return Err(error),
            Err(Stop::Failed(failure)) => {
                let failure = state.explained(failure).await;
                if let Err(Stop::Closed(error)) = state.withhold(&failure).await {
                    return Err(error);
                }
                state.wait(&failure).await;
            }
        }
    }
}

// === impl State ===

impl<K: Kind> State<K> {
    /// Lists all objects and hands them over as one change.
    async fn list(&mut self) -> Result<(), Stop> {
        let (mut items, mut partial, mut undecodable, mut next) = (Vec::new(), Vec::new(), Vec::new(), None);
        loop {
            let page = self.page(next).await?;
            self.heard();
            for object in page.items {
                match self.read(object) {
                    Read::Whole(item) => items.extend(item),
                    Read::Part(identity, item) => {
                        partial.push(identity);
                        items.push(item);
                    }
                    Read::Nothing(bad) => undecodable.push(bad),
                }
            }
            next = page.next;
            if next.is_none() {
                self.version = Some(page.version);
                break;
            }
        }
        self.doubt.list(&undecodable);
        self.put(Delta::Replaced(items)).await?;
        let feed = self.kind.feed();
        self.context.health.listed(feed, undecodable.iter().map(|bad| bad.identity.path()));
        for identity in &partial {
            self.context.health.decoded(feed, &identity.path(), Legible::InPart);
        }
        Ok(())
    }

    async fn page(&self, next: Option<String>) -> Result<Page<K::Object>, Failure> {
        let params = ListParams {
            limit: Some(self.context.settings.page_size),
            field_selector: self.kind.fields().map(str::to_owned),
            continue_token: next,
            ..ListParams::default()
        };
        let request =
            Request::new(self.kind.path()).list(&params).map_err(|error| Failure::Request(error.to_string()))?;
        let body = request::fetch(&self.context.client, request, MAX_PAGE, self.context.settings.call_timeout).await?;
        let page = Page::parse(&body)?;
        if page.version.is_empty() {
            return Err(Failure::Unreadable("the list has no resourceVersion".to_owned()));
        }
        Ok(page)
    }

    /// Watches until the server ends it, as it was asked to, or something is wrong.
    async fn watch(&mut self, version: &str) -> Result<(), Stop> {
        let begin = Instant::now();
        let patience = self.context.settings.watch_timeout + self.context.settings.watch_grace;
        let mut lines = self.open(version).await?;
        let settled = Instant::now() + SETTLE.min(self.context.settings.watch_timeout / 2);
        // Cancel safe: a line that is not complete stays in the buffer.
        let mut line = match timeout_at(settled, lines.next()).await {
            Ok(Ok(None)) => return Err(Failure::Unreachable("the watch was closed at once".to_owned()).into()),
            Ok(line) => line?,
            Err(_) => {
                self.heard();
                self.permitted().await?;
                next(&mut lines, begin, patience).await?
            }
        };
        while let Some(event) = line {
            self.take(&event).await?;
            self.heard();
            self.backoff.reset();
            if Instant::now() >= settled {
                self.permitted().await?;
            }
            line = next(&mut lines, begin, patience).await?;
        }
        self.heard();
        self.backoff.reset();
        self.permitted().await
    }

    async fn open(&self, version: &str) -> Result<Lines, Failure> {
        let settings = &self.context.settings;
        let seconds = u32::try_from(settings.watch_timeout.as_secs()).unwrap_or(u32::MAX).clamp(1, 290);
        let params = WatchParams {
            timeout: Some(seconds),
            field_selector: self.kind.fields().map(str::to_owned),
            bookmarks: true,
            ..WatchParams::default()
        };
        let request = Request::new(self.kind.path())
            .watch(&params, version)
            .map_err(|error| Failure::Request(error.to_string()))?;
        let response = request::open(&self.context.client, request, OPEN.min(settings.call_timeout)).await?;
        Ok(Lines::new(response.into_body()))
    }

    /// Puts one event into the view. The version moves on only after the change was handed over.
    async fn take(&mut self, line: &[u8]) -> Result<(), Stop> {
        let identity = match Line::<K::Object>::parse(line) {
            Ok(Line::Applied(identity, object)) => {
                self.applied(&identity, object).await?;
                identity
            }
            Ok(Line::Deleted(identity)) => {
                self.context.health.decoded(self.kind.feed(), &identity.path(), Legible::Whole);
                self.doubt.note(&identity, None);
                self.delete(&identity).await?;
                identity
            }
            Ok(Line::Bookmark(identity)) => identity,
            Ok(Line::Error(failure)) => return Err(failure.into()),
            Err(failure) => {
                self.version = None;
                return Err(failure.into());
            }
        };
        if !identity.resource_version.is_empty() {
            self.version = Some(identity.resource_version);
        }
        Ok(())
    }

    async fn applied(&mut self, identity: &Identity, object: Result<K::Object, Undecodable>) -> Result<(), Stop> {
        let (item, legible) = match self.read(object) {
            Read::Whole(item) => (item, Legible::Whole),
            Read::Part(_, item) => (Some(item), Legible::InPart),
            Read::Nothing(bad) => {
                self.doubt.note(identity, Some(&bad));
                (None, Legible::NotAtAll)
            }
        };
        self.context.health.decoded(self.kind.feed(), &identity.path(), legible);
        if legible != Legible::NotAtAll {
            self.doubt.note(identity, None);
        }
        match item {
            Some(item) => self.put(Delta::Applied(item)).await,
            None => self.delete(identity).await,
        }
    }

    /// What the view keeps of an object, as far as it can be read.
    fn read(&mut self, object: Result<K::Object, Undecodable>) -> Read<K::Item> {
        let bad = match object.and_then(|object| self.kind.read(object)) {
            Ok(item) => return Read::Whole(item),
            Err(bad) => bad,
        };
        let (feed, name, reason) = (self.kind.feed().name(), bad.identity.path(), &bad.reason);
        match self.kind.salvage(&bad) {
            Salvage::Ended => Read::Whole(None),
            Salvage::Part(item) => {
                warn!(feed, name, reason, "an object cannot be read as a whole");
                Read::Part(bad.identity, item)
            }
            Salvage::Nothing => {
                warn!(feed, name, reason, "an object cannot be read and is left out");
                Read::Nothing(Undecodable { object: Box::default(), ..bad })
            }
        }
    }

    /// The view goes on without a kind that the cluster does not have: there are no objects. One that is there but cannot
    /// be read is in doubt, where others do not depend on it.
    async fn withhold(&mut self, failure: &Failure) -> Result<(), Stop> {
        let feed = self.kind.feed();
        if failure.is(404) && feed.may_be_absent() {
            self.version = None;
            self.kind.absent();
            self.doubt.list(&[]);
            self.put(Delta::Replaced(Vec::new())).await?;
            self.context.health.withheld(feed);
        } else if feed.may_be_withheld() && is_denial(failure) {
            self.doubt.deny(failure);
            let doubts = self.doubt.before();
            self.tell(doubts).await?;
            self.context.health.withheld(feed);
        }
        Ok(())
    }

    /// A kind that is not where it was looked for may be served in versions of which nothing is known here: then it is
    /// there, and cannot be read.
    async fn explained(&self, failure: Failure) -> Failure {
        if !failure.is(404) || !self.kind.feed().may_be_absent() {
            return failure;
        }
        match versions::unknown(&self.context, &self.kind.path(), |path| self.kind.knows(path)).await {
            Ok(None) => failure,
            Ok(Some(version)) => Failure::Unreadable(versions::describe(self.kind.feed().name(), &version)),
            Err(other) => other,
        }
    }

    /// A watch works, so nothing is hidden.
    async fn permitted(&mut self) -> Result<(), Stop> {
        self.doubt.permit();
        let doubts = self.doubt.after();
        self.tell(doubts).await
    }

    async fn delete(&mut self, identity: &Identity) -> Result<(), Stop> {
        let key = self.kind.key(identity.namespace.clone(), identity.name.clone());
        self.put(Delta::Deleted(key)).await
    }

    /// Hands a change over between the doubts that come with it and those that it ends: at no moment does the view rely
    /// on what is not known.
    async fn put(&mut self, delta: Delta<K::Item, K::Key>) -> Result<(), Stop> {
        let before = self.doubt.before();
        self.tell(before).await?;
        let change = self.kind.change(delta);
        self.context.send(change).await.map_err(Stop::Closed)?;
        let after = self.doubt.after();
        self.tell(after).await
    }

    async fn tell(&mut self, doubts: Option<Doubts>) -> Result<(), Stop> {
        let feed = self.kind.feed();
        let Some(doubts) = doubts.filter(|_| feed.may_be_in_doubt()) else { return Ok(()) };
        let change = Change::Unreadable { resource: feed.name().to_owned(), doubts };
        self.context.send(change).await.map_err(Stop::Closed)
    }

    fn heard(&mut self) {
        self.context.health.heard(self.kind.feed(), clock::now());
        if self.quiet.recovered() {
            info!(feed = self.kind.feed().name(), "heard of again");
        }
    }

    async fn wait(&mut self, failure: &Failure) {
        // 410: the version is too old. 504: it may be too new, after etcd was restored from a backup.
        if failure.is(410) || failure.is(504) {
            self.version = None;
        }
        let feed = self.kind.feed();
        let wait = self.backoff.next(failure);
        self.context.health.failed(feed, failure.to_string());
        if failure.is(404) && feed.may_be_absent() {
            debug!(feed = feed.name(), "the cluster does not have the kind");
        } else if failure.is(410) {
            info!(feed = feed.name(), "the version has expired, listing again");
        } else if self.quiet.speak(failure) {
            warn!(feed = feed.name(), %failure, retry_in = ?wait, "watching failed");
        }
        sleep(wait).await;
    }
}

/// Whether a failure says that the kind cannot be read, rather than that the server is not well.
fn is_denial(failure: &Failure) -> bool {
    failure.is(403) || failure.is(404) || matches!(failure, Failure::Unreadable(_))
}

/// The next line of a watch, which was opened at `begin` and is dead if it lives longer than `patience`.
async fn next(lines: &mut Lines, begin: Instant, patience: Duration) -> Result<Option<Vec<u8>>, Failure> {
    timeout_at(begin + patience, lines.next()).await.map_err(|_| Failure::Silent(patience))?
}

// === impl Stop ===

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}
