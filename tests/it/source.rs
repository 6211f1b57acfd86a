//! Sources against servers on loopback that fail in every way: the failing one alone suffers, and says why.

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
    while !enough(&told) {
        let event = tokio::time::timeout(std::time::Duration::from_secs(60), results.recv()).await;
        let event = event.unwrap_or_else(|_| panic!("nothing more after {told:#?}")).expect("the source runs");
        told.entry(event.source().to_string()).or_default().push(event);
    }
    told
}

fn reason(event: &SourceEvent) -> &str {
    match event {
        SourceEvent::Failed { reason, .. } => reason,
        other => panic!("{other:?}"),
    }
}
