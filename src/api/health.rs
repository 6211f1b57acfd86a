//! `/livez`, `/readyz`, `/healthz`: named checks, in the text form of Kubernetes
//! (`k8s.io/apiserver` v0.36.3 `pkg/server/healthz/healthz.go`), but with the reason of a failure.
//!
//! What is checked is the caller's: liveness must never look at anything outside of the process, readiness never at
//! a source of metrics.

use std::{
    fmt::{self, Write},
    sync::Arc,
};

use http::StatusCode;

use super::{
    failure::Failure,
    reply::{self, Reply},
    route::{Health as Route, HealthKind},
};

/// A named check. Its error is shown to whoever may reach the port: a sentence of ours, nothing quoted.
#[derive(Clone)]
pub struct Check {
    name: String,
    probe: Arc<dyn Fn() -> Result<(), String> + Send + Sync>,
}

/// The checks of a process.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// `/livez` and `/healthz`: a failure means that only a restart helps.
    pub live: Vec<Check>,
    /// `/readyz`, beside the live ones: a failure means that requests should go elsewhere.
    pub ready: Vec<Check>,
}

// === impl Check ===

impl Check {
    /// A check by its name.
    pub fn new(name: impl Into<String>, probe: impl Fn() -> Result<(), String> + Send + Sync + 'static) -> Self {
        Self { name: name.into(), probe: Arc::new(probe) }
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check").field("name", &self.name).finish_non_exhaustive()
    }
}

// === impl Health ===

impl Health {
    /// Whether requests should come here.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.live.iter().chain(&self.ready).all(|check| (check.probe)().is_ok())
    }

    pub(crate) fn reply(&self, route: &Route, verbose: bool) -> Result<Reply, Failure> {
        let ready: &[Check] = match route.kind {
            HealthKind::Ready => &self.ready,
            HealthKind::Live | HealthKind::Healthz => &[],
        };
        let ping = Check::new("ping", || Ok(()));
        let all = std::iter::once(&ping).chain(&self.live).chain(ready);
        let wanted: Vec<_> = all.filter(|check| route.check.as_ref().is_none_or(|name| *name == check.name)).collect();
        if wanted.is_empty() {
            return Err(Failure::path_not_found());
        }
        Ok(render(route.kind, &wanted, verbose))
    }
}

fn render(kind: HealthKind, checks: &[&Check], verbose: bool) -> Reply {
    let mut text = String::new();
    let mut failed = false;
    for check in checks {
        // Writing to a string cannot fail.
        let _ = match (check.probe)() {
            Ok(()) => writeln!(text, "[+]{} ok", check.name),
            Err(reason) => {
                failed = true;
                writeln!(text, "[-]{} failed: {reason}", check.name)
            }
        };
    }
    let (verdict, status) =
        if failed { ("failed", StatusCode::SERVICE_UNAVAILABLE) } else { ("passed", StatusCode::OK) };
    if failed || verbose {
        let _ = writeln!(text, "{} check {verdict}", kind.as_str());
    } else {
        "ok".clone_into(&mut text);
    }
    let mut reply = reply::text("text/plain; charset=utf-8", text);
    *reply.status_mut() = status;
    reply
}
