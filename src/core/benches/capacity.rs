//! Capacity of a large cluster: 5,000 nodes, 150,000 pods, 500 templates.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a bench")]

#[path = "shared/fleet.rs"]
mod fleet;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use jiff::Timestamp;
use plimsoll_core::{
    capacity::{Inventory, Placer, Template},
    cluster::Census,
    decision::{Live, decide, scaled},
    policy::Policy,
};

use fleet::{LARGE, fleet_of};

fn benches(criterion: &mut Criterion) {
    let now: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
    let (view, signals) = fleet_of(now, LARGE);
    let policy = Policy::default();
    let mut criterion = criterion.benchmark_group("large");
    criterion.sample_size(10);
    criterion.bench_function("rebuild", |bencher| bencher.iter(|| Inventory::of(black_box(&view), &policy)));
    let inventory = Inventory::of(&view, &policy);
    let templates: Vec<_> = view
        .workloads
        .iter()
        .map(|(key, it)| Template::of(it.template.as_ref().unwrap(), &key.namespace, &view))
        .collect();
    criterion.bench_function("templates", |bencher| {
        bencher.iter(|| {
            view.workloads
                .iter()
                .map(|(key, it)| Template::of(it.template.as_ref().unwrap(), &key.namespace, &view))
                .count()
        })
    });
    criterion.bench_function("fits of all", |bencher| {
        bencher.iter(|| templates.iter().map(|template| inventory.fits(template).fits.lo).fold(0, u32::wrapping_add))
    });
    criterion.bench_function("placer fits of all", |bencher| {
        bencher.iter(|| {
            let mut placer = Placer::new(inventory.clone());
            templates.iter().map(|template| placer.fits(template).fits.lo).fold(0, u32::wrapping_add)
        })
    });
    criterion.bench_function("census", |bencher| {
        bencher.iter(|| Census::of(&view, &scaled(&view, &policy)).workloads().count())
    });
    let workloads = scaled(&view, &policy);
    let census = Census::of(&view, &workloads);
    criterion.bench_function("live", |bencher| bencher.iter(|| Live::all(&census).count()));
    criterion
        .bench_function("decide", |bencher| bencher.iter(|| decide(black_box(&view), &signals, &policy, None, now)));
}

criterion_group!(capacity, benches);
criterion_main!(capacity);
