//! Sources against servers on loopback that fail in every way: the failing one alone suffers, and says why.

mod demand;
mod prometheus;
mod scrape;
mod status;
mod upstream;

use std::{collections::BTreeMap, sync::Once};

use plimsoll::source::SourceEvent;
use tokio::sync::mpsc;

/// Installs the TLS provider, as `main` does.
fn provider() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| drop(rustls::crypto::aws_lc_rs::default_provider().install_default()));
}

/// Waits until `enough` holds of what each source has told so far, and returns that.
async fn until(
    results: &mut mpsc::Receiver<SourceEvent>,
    enough: impl Fn(&BTreeMap<String, Vec<SourceEvent>>) -> bool,
) -> BTreeMap<String, Vec<SourceEvent>> {
    let mut told: BTreeMap<String, Vec<SourceEvent>> = BTreeMap::new();
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(120);
    while !enough(&told) {
        let event = tokio::time::timeout_at(deadline, results.recv()).await;
        let event =
            event.unwrap_or_else(|_| panic!("not enough was told: {:?}", last(&told))).expect("the source runs");
        told.entry(event.source().to_string()).or_default().push(event);
    }
    told
}

/// The last event of each source.
fn last(told: &BTreeMap<String, Vec<SourceEvent>>) -> Vec<&SourceEvent> {
    told.values().filter_map(|events| events.last()).collect()
}

fn reason(event: &SourceEvent) -> &str {
    match event {
        SourceEvent::Failed { reason, .. } => reason,
        other => panic!("{other:?}"),
    }
}
