//! One listener per pod address: opened when the pod has its address, closed when it is gone.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::{
    net::TcpListener,
    sync::{oneshot, watch},
    task::JoinSet,
};

use super::{Shared, Target, lock};

/// An address that another pod has just given up may still be closing.
const RETRY: Duration = Duration::from_millis(100);

/// Opens and closes listeners so that they equal the targets, until the world is dropped.
pub(super) async fn keep_listening(
    shared: Arc<Shared>,
    mut pods: watch::Receiver<()>,
    mut alive: watch::Receiver<bool>,
) {
    let mut open: BTreeMap<Target, oneshot::Sender<()>> = BTreeMap::new();
    let mut servers = JoinSet::new();
    loop {
        let wanted = if *alive.borrow_and_update() { lock(&shared.fleet).targets() } else { Vec::new() };
        open.retain(|target, _| wanted.contains(target));
        let mut refused = false;
        for target in wanted {
            if open.contains_key(&target) {
                continue;
            }
            let Ok(listener) = TcpListener::bind(target.address).await else {
                refused = true;
                continue;
            };
            let (stop, stopped) = oneshot::channel();
            servers.spawn(serve(listener, target.clone(), shared.clone(), stopped));
            open.insert(target, stop);
        }
        while servers.try_join_next().is_some() {}
        // Both ends of both channels belong to the same `StandIn`: an error means that it is being dropped.
        tokio::select! { // every arm may be dropped: a change is kept by its channel until it is seen
            changed = pods.changed() => if changed.is_err() { return },
            changed = alive.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(RETRY), if refused => {}
        }
    }
}

/// Serves until `stopped` resolves, which it also does when its sender is dropped; kept connections are closed.
async fn serve(listener: TcpListener, target: Target, shared: Arc<Shared>, stopped: oneshot::Receiver<()>) {
    let app = Router::new().route("/metrics", get(metrics)).with_state((shared, Arc::new(target)));
    let server = axum::serve(listener, app).with_graceful_shutdown(async { drop(stopped.await) });
    // It ends only by being stopped.
    let _ = server.await;
}

async fn metrics(State((shared, target)): State<(Arc<Shared>, Arc<Target>)>) -> Response {
    // The sender is in what is shared, so that it cannot be gone.
    drop(shared.silent.subscribe().wait_for(|silent| !silent).await);
    match shared.page(&target) {
        Ok(page) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
