//! Queries of triggers against a server that is slow for one of them.

use std::{collections::BTreeMap, future::pending, sync::Arc};

use axum::{Router, routing::post};
use plimsoll::{
    config,
    source::{
        Results, SourceEvent,
        demand::{self, Demands},
    },
};
use plimsoll_core::trigger::Query;
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::{provider, until};

/// Answers 7 to every query but those for `slow`, which it never answers.
async fn answer(body: String) -> String {
    if body.contains("slow") {
        pending::<()>().await;
    }
    r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1700000000,"7"]}]}}"#
        .to_owned()
}

#[tokio::test]
async fn a_query_that_hangs_delays_no_other() {
    provider();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let mut tasks = JoinSet::new();
    let router = Router::new().route("/api/v1/query", post(answer));
    tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
    let text = format!(
        "apiVersion: plimsoll.dev/v1alpha1\nkind: Configuration\nprometheus:\n\
         - {{name: main, url: '{url}', interval: 5s, timeout: 5s, queries: []}}\n"
    );
    let servers = config::parse(&text, "test").unwrap().sources.prometheus;
    let query = |text: &str| ("ml".to_owned(), Query { server: url.clone(), text: text.to_owned() });
    let demands: Demands = BTreeMap::from([(query("sum(slow)"), true), (query("sum(quick)"), true)]);
    let (_demands, receiver) = watch::channel(Arc::new(demands));
    let (sender, mut results) = mpsc::channel(16);
    let shutdown = CancellationToken::new();
    let (run, stop) = (demand::run(servers, receiver, Results::new(sender), shutdown.clone()), shutdown.clone());
    tasks.spawn(async move { run.await.unwrap() });
    let told = until(&mut results, |told| told.values().any(|events| events.len() == 4)).await;
    stop.cancel();
    let value = |event: &SourceEvent| match event {
        SourceEvent::Demanded { result, .. } => result.clone(),
        other => panic!("{other:?}"),
    };
    let values: Vec<_> = told.values().flatten().map(value).collect();
    assert_eq!(values, vec![Ok(7.0); 4], "four answers before the slow query gives up");
}
