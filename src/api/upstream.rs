//! KEDA's metrics server behind ours: what KEDA's HPAs ask is passed on, and its answer is passed back as it is.
//!
//! ```text
//!  request with scaledobject.keda.sh/name ─ authorised as ours ─> the same question, written anew ─> KEDA
//!  reply  <── status, media type and bytes as they came ─────────────────────────────────────────────┘
//! ```
//!
//! KEDA's metrics server delegates authentication and authorisation as any aggregated API server does
//! (`cmd/adapter/main.go` v2.21.0), so we ask with an identity of our own, for what kube-apiserver has just allowed the
//! sender. Whatever it does, an exchange is bounded in time, in size and in number, and never returns to us twice.

mod chain;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use http::{HeaderMap, HeaderName, header};
use plimsoll_core::{coexistence::SCALED_OBJECT_LABEL, selector::Selector};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};
use tokio::{sync::Semaphore, time::Instant};

use super::{failure::Failure, reply::Reply, route::ExternalRoute};
use chain::{Chain, Material, Trouble};

/// Questions at a time: 5 workers of an HPA controller in each of several kube-controller-managers, many times over.
const IN_FLIGHT: usize = 256;
/// Says that a request has come through us already.
const MARK: HeaderName = HeaderName::from_static("plimsoll-passed-on");
/// What of the question's head matters to the answer.
const ASKED_WITH: [HeaderName; 2] = [header::ACCEPT, header::ACCEPT_ENCODING];
/// From memory to the longest timeout.
const BUCKETS: [f64; 9] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];

/// Where KEDA's metrics server is, and how it knows us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `https://host:port`.
    pub url: String,
    /// PEM bundle that its certificate is verified with.
    pub ca_file: PathBuf,
    /// Who we are to it.
    pub identity: Identity,
    /// Time in which an exchange must end.
    pub timeout: Duration,
}

/// How we say who we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// A token of a ServiceAccount, in a file.
    Token(PathBuf),
    /// A client certificate of an authority that it trusts, in PEM files.
    Certificate {
        /// Chain, leaf first.
        certificate: PathBuf,
        /// Private key.
        key: PathBuf,
    },
}

/// Where KEDA is asked, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// Where its metrics server is.
    pub url: String,
    /// Why it cannot be asked; none while it can be.
    pub problem: Option<String>,
}

/// KEDA's metrics server, or that there is none.
#[derive(Debug)]
pub struct Upstream {
    link: ArcSwap<Link>,
    /// What was wrong with the files when they were last looked at.
    said: ArcSwap<String>,
    /// Whether KEDA's metrics server could not be asked the last time that it was to be.
    down: AtomicBool,
    turns: Semaphore,
    outcomes: Family<Label, Counter>,
    durations: Histogram,
}

/// What is known of the server.
#[derive(Debug)]
enum Link {
    /// None is configured.
    None,
    /// It is configured, but cannot be asked.
    Broken {
        /// Where it is.
        url: String,
        /// Why not.
        reason: String,
    },
    /// It can be asked.
    Ready(Box<Chain>),
}

/// A request that is KEDA's to answer.
#[derive(Debug)]
pub(crate) struct Question {
    route: ExternalRoute,
    selector: String,
    headers: HeaderMap,
    /// For people: which metric of which ScaledObject.
    what: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Label {
    outcome: &'static str,
}

// === impl Question ===

impl Question {
    /// The question that KEDA is asked in place of this request; none if it is not about a ScaledObject.
    ///
    /// It is written anew from what was parsed and authorised, so that nothing else can be meant by it.
    pub(crate) fn of(route: &ExternalRoute, selector: &Selector, headers: &HeaderMap) -> Result<Option<Self>, Failure> {
        let about = selector.requirements().iter().find(|requirement| requirement.key == SCALED_OBJECT_LABEL);
        let Some(about) = about else { return Ok(None) };
        let ExternalRoute { namespace, metric } = route;
        let name = about.values.iter().next().map_or("", |name| name.as_str());
        let what = format!("{metric} of ScaledObject {namespace}/{name}");
        if headers.contains_key(&MARK) {
            let message = format!(
                "{what}: the request has been passed on once already: keda.url leads back here, it must be that of KEDA's \
                 metrics server itself"
            );
            return Err(Failure::unavailable("Loop", message));
        }
        let kept = ASKED_WITH.iter().flat_map(|name| headers.get_all(name).iter().map(move |value| (name, value)));
        let headers = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
        Ok(Some(Self { route: route.clone(), selector: selector.to_string(), headers, what }))
    }
}

// === impl Upstream ===

impl Default for Upstream {
    fn default() -> Self {
        Self {
            link: ArcSwap::from_pointee(Link::None),
            said: ArcSwap::default(),
            down: AtomicBool::new(false),
            turns: Semaphore::new(IN_FLIGHT),
            outcomes: Family::default(),
            durations: Histogram::new(BUCKETS),
        }
    }
}

impl Upstream {
    /// One whose counters a registry knows.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let upstream = Self::default();
        let help = "Requests of KEDA's HPAs that were to be passed on to KEDA, by how that ended";
        registry.register("keda_requests", help, upstream.outcomes.clone());
        let help = "From such a request to KEDA's answer";
        registry.register("keda_request_duration_seconds", help, upstream.durations.clone());
        upstream
    }

    /// Where KEDA is asked; none where it is not.
    #[must_use]
    pub fn way(&self) -> Option<Way> {
        match &**self.link.load() {
            Link::None => None,
            Link::Broken { url, reason } => Some(Way { url: url.clone(), problem: Some(reason.clone()) }),
            Link::Ready(chain) => Some(Way { url: chain.settings.url.clone(), problem: None }),
        }
    }

    /// Takes settings and what the files that they name hold now. While files cannot be used, the last good ones are.
    pub async fn renew(&self, settings: Option<&Settings>) {
        let Some(settings) = settings else {
            if !matches!(**self.link.load(), Link::None) {
                tracing::info!("requests of KEDA's HPAs are not passed on any more");
                self.link.store(Arc::new(Link::None));
            }
            return;
        };
        let material = match Material::read(settings).await {
            Ok(material) => material,
            Err(reason) => return self.trouble(settings, reason),
        };
        if self.link.load().is_of(settings, &material) {
            self.said.store(Arc::default());
            return;
        }
        match Chain::new(settings, &material) {
            Ok(chain) => {
                self.said.store(Arc::default());
                tracing::info!(url = settings.url, "requests of KEDA's HPAs are passed on to KEDA's metrics server");
                self.link.store(Arc::new(Link::Ready(Box::new(chain))));
            }
            Err(reason) => self.trouble(settings, reason),
        }
    }

    /// Says what is wrong, once.
    fn trouble(&self, settings: &Settings, reason: String) {
        let news = **self.said.load() != reason;
        self.said.store(Arc::new(reason.clone()));
        // During a rotation files may not fit each other for a moment.
        if matches!(&**self.link.load(), Link::Ready(chain) if chain.settings == *settings) {
            if news {
                tracing::warn!(%reason, "new files for KEDA's metrics server cannot be used, the last good ones are");
            }
            return;
        }
        if news {
            tracing::error!(%reason, url = settings.url, "KEDA's metrics server cannot be asked");
        }
        self.link.store(Arc::new(Link::Broken { url: settings.url.clone(), reason }));
    }

    /// KEDA's answer, or why there is none.
    pub(crate) async fn ask(&self, question: Question) -> Result<Reply, Failure> {
        let began = Instant::now();
        let (outcome, result) = match self.exchange(&question).await {
            Ok(reply) => {
                if self.down.swap(false, Ordering::Relaxed) {
                    tracing::info!("KEDA's metrics server answers again");
                }
                (if reply.status().is_success() { "answered" } else { "refused" }, Ok(reply))
            }
            Err(Trouble { outcome, cause, message }) => {
                // A source of KEDA that is slow says nothing of the server.
                if outcome != "slow" && !self.down.swap(true, Ordering::Relaxed) {
                    tracing::warn!(outcome, %message, "KEDA's HPAs are not answered");
                }
                let message = format!("{} is KEDA's to tell, but {message}", question.what);
                (outcome, Err(Failure::unavailable(cause, message)))
            }
        };
        self.outcomes.get_or_create(&Label { outcome }).inc();
        self.durations.observe(began.elapsed().as_secs_f64());
        result
    }

    async fn exchange(&self, question: &Question) -> Result<Reply, Trouble> {
        let link = self.link.load_full();
        let chain = match &*link {
            Link::Ready(chain) => chain,
            Link::None => return Err(Trouble::unconfigured()),
            Link::Broken { reason, .. } => {
                let message = format!("Plimsoll cannot ask it: {reason}");
                return Err(Trouble { outcome: "broken", cause: "KedaNotConfigured", message });
            }
        };
        // Who cannot be served in time is told so at once: a queue would only add to the delay of all.
        let Ok(_turn) = self.turns.try_acquire() else {
            let message = format!("{IN_FLIGHT} requests are with its metrics server already: it is too slow");
            return Err(Trouble { outcome: "crowded", cause: "KedaSlow", message });
        };
        let timeout = chain.settings.timeout;
        tokio::time::timeout(timeout, chain.ask(question)).await.unwrap_or_else(|_| {
            let message = format!(
                "its metrics server at {} did not answer within {} ms",
                chain.settings.url,
                timeout.as_millis()
            );
            Err(Trouble { outcome: "slow", cause: "KedaSlow", message })
        })
    }
}

// === impl Link ===

impl Link {
    /// Whether nothing would change.
    fn is_of(&self, settings: &Settings, material: &Material) -> bool {
        matches!(self, Self::Ready(chain) if chain.settings == *settings && chain.digest == material.digest)
    }
}
