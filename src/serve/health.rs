//! Liveness and readiness of the process. Liveness looks at nothing outside; readiness never at a source.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use super::shared::Shared;
use crate::{
    api::{Check, Health},
    clock,
    kubernetes::WatchHealth,
    scaler::HealthReporter,
};

/// An evaluation that has not ended for so long never will: the tick is 30 s at most, a decision takes
/// milliseconds, and half a minute is left for a starved machine.
const STUCK: Duration = Duration::from_secs(60);
/// How often the health service of the external scaler is renewed.
const REPORT: Duration = Duration::from_secs(1);

/// Whether the evaluation loop turns.
pub(super) fn alive(shared: &Shared) -> Result<(), String> {
    let beat = shared.beat.load(Ordering::Relaxed);
    let silent = clock::now().as_second().saturating_sub(beat);
    if beat != 0 && silent > STUCK.as_secs().cast_signed() {
        return Err(format!("the last evaluation ended {silent} s ago"));
    }
    Ok(())
}

/// The checks of the secure port.
pub(super) fn checks(shared: &Arc<Shared>, watches: &Arc<WatchHealth>, shutdown: &CancellationToken) -> Health {
    let (beating, evaluated) = (Arc::clone(shared), Arc::clone(shared));
    let (watches, shutdown) = (Arc::clone(watches), shutdown.clone());
    Health {
        live: vec![Check::new("evaluation", move || alive(&beating))],
        ready: vec![
            Check::new("watches", move || listed(&watches)),
            Check::new("snapshot", move || {
                evaluated.snapshot().map(drop).ok_or_else(|| "the first evaluation has not ended yet".to_owned())
            }),
            Check::new(
                "shutdown",
                move || {
                    if shutdown.is_cancelled() { Err("shutting down".to_owned()) } else { Ok(()) }
                },
            ),
        ],
    }
}

/// Keeps the health service of the external scaler at what the checks say.
pub(super) async fn report(checks: Health, reporter: HealthReporter) {
    let mut tick = tokio::time::interval(REPORT);
    loop {
        tick.tick().await;
        reporter.set_ready(checks.is_ready()).await;
    }
}

fn listed(watches: &WatchHealth) -> Result<(), String> {
    let missing = watches.missing();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = missing.iter().map(|(feed, _)| feed.name()).collect();
    Err(format!("not listed yet: {}", names.join(", ")))
}
