//! Keeps the sources running on the newest configuration: a change of it ends one run and begins the next.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    config::{Configuration, SourceSettings},
    source::{self, Results, Target, prometheus::Needs},
};

/// What the sources are fed with, and where their results go.
#[derive(Clone, Debug)]
pub(super) struct Feeds {
    /// What is scraped.
    pub(super) targets: watch::Receiver<Arc<Vec<Target>>>,
    /// What Prometheus is asked for.
    pub(super) needs: watch::Receiver<Arc<Needs>>,
    /// What the queries of triggers ask.
    pub(super) demands: watch::Receiver<Arc<source::demand::Demands>>,
    /// Where their answers go.
    pub(super) demanded: Results,
    /// Where the results of scrapes go.
    pub(super) scraped: Results,
    /// Where the answers of Prometheus go.
    pub(super) queried: Results,
}

/// Runs the sources until shutdown.
pub(super) async fn run(
    feeds: Feeds,
    mut configuration: watch::Receiver<Arc<Configuration>>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let mut begun = false;
    while !shutdown.is_cancelled() {
        let settings = configuration.borrow_and_update().sources.clone();
        let run = shutdown.child_token();
        let sources = both(feeds.clone(), settings.clone(), run.clone());
        let mut sources = std::pin::pin!(sources);
        let changed = changed(&mut configuration, &settings);
        // Cancel safe: the run is not dropped but told to end, and then awaited; `changed` loses no news.
        let ended = tokio::select! {
            ended = &mut sources => ended,
            () = changed => {
                run.cancel();
                sources.await
            }
        };
        match ended {
            Ok(()) => begun = true,
            // At the start there is nothing to fall back on. Later, values that are known grow old and are refused, and
            // the next configuration is a new chance.
            Err(error) if !begun => return Err(error),
            Err(error) => {
                tracing::error!(error = %format_args!("{error:#}"), "the sources cannot run with the new configuration");
                let _changed = shutdown.run_until_cancelled(configuration.changed()).await;
            }
        }
    }
    Ok(())
}

async fn both(feeds: Feeds, settings: SourceSettings, shutdown: CancellationToken) -> anyhow::Result<()> {
    let scrape = source::scrape::run(feeds.targets, settings.scrape, feeds.scraped, shutdown.clone());
    let demand = source::demand::run(settings.prometheus.clone(), feeds.demands, feeds.demanded, shutdown.clone());
    let prometheus = source::prometheus::run(settings.prometheus, feeds.needs, feeds.queried, shutdown);
    let (scrape, prometheus, demand) = tokio::join!(scrape, prometheus, demand);
    scrape?;
    demand?;
    Ok(prometheus?)
}

/// Ends when the sources' settings differ from the given ones; never if the configuration is final.
async fn changed(configuration: &mut watch::Receiver<Arc<Configuration>>, settings: &SourceSettings) {
    while configuration.changed().await.is_ok() {
        if configuration.borrow_and_update().sources != *settings {
            return;
        }
    }
    std::future::pending::<()>().await;
}
