//! One evaluation of 200 workloads on 1,200 nodes, and one request answered from its snapshot.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a bench")]

#[path = "shared/fleet.rs"]
mod fleet;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use jiff::Timestamp;
use plimsoll_core::{
    cluster::{Census, View},
    decision::{Live, answer_external, decide, scaled},
    object::WorkloadKey,
    policy::Policy,
    profile::{Observation, Observed, Reading, Target},
    selector::Selector,
    signal::{QUEUE_LENGTH, Store},
};

use fleet::{fleet, key};

/// What a scrape of every pod has told.
fn store(view: &View, now: Timestamp) -> Store {
    let mut store = Store::default();
    for pod in view.pods.keys() {
        let reading = Reading::Gauge(30.0);
        let (signal, at) = (QUEUE_LENGTH.to_owned(), Some(now));
        let observation = Observation { signal, pod: pod.clone(), uid: None, reading, at, approximate: false };
        let observed = Observed { observations: vec![observation], ..Observed::default() };
        assert!(store.record(&format!("pod/{pod}"), &Target::Pod(pod.clone()), observed, now));
    }
    store
}

fn benches(criterion: &mut Criterion) {
    let now: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
    let (view, signals) = fleet(now);
    let policy = Policy::default();
    criterion.bench_function("decide/200 workloads on 1,200 nodes", |bencher| {
        bencher.iter(|| decide(black_box(&view), &signals, &policy, None, now));
    });
    let store = store(&view, now);
    criterion.bench_function("census, signals, own pods, live/200 workloads with 8,000 pods", |bencher| {
        bencher.iter(|| {
            let workloads = scaled(black_box(&view), &policy);
            let census = Census::of(&view, &workloads);
            let signals = store.signals(&view, &census, &policy, now);
            let own: usize = census.workloads().map(|(workload, _)| census.own(workload).count()).sum();
            (signals, own, Live::all(&census).collect::<Vec<_>>())
        });
    });
    let snapshot = decide(&view, &signals, &policy, None, now);
    let live = Live::of(&view, &key("llm-007")).unwrap();
    let selector: Selector = "workload=llm-007".parse().unwrap();
    criterion.bench_function("answer/one External request", |bencher| {
        bencher.iter(|| {
            let live = |_: &WorkloadKey| Some(live.clone());
            answer_external(black_box(&snapshot), live, "ml", "dcgm_gpu_utilization", &selector, now)
        });
    });
}

criterion_group!(decision, benches);
criterion_main!(decision);
