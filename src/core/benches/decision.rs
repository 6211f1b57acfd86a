//! One evaluation of 200 workloads on 1,200 nodes, and one request answered from its snapshot.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a bench")]

#[path = "shared/fleet.rs"]
mod fleet;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use jiff::Timestamp;
use plimsoll_core::{
    decision::{Live, answer_external, decide},
    object::WorkloadKey,
    policy::Policy,
    selector::Selector,
};

use fleet::{fleet, key};

fn benches(criterion: &mut Criterion) {
    let now: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
    let (view, signals) = fleet(now);
    let policy = Policy::default();
    criterion.bench_function("decide/200 workloads on 1,200 nodes", |bencher| {
        bencher.iter(|| decide(black_box(&view), &signals, &policy, None, now));
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
