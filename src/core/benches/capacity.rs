//! Capacity of a large cluster: 5,000 nodes, 150,000 pods, 500 templates.
//!
//! `cargo bench -p plimsoll-core --bench capacity` prints what an event costs (percentiles over many, since the worst
//! of them is what people wait for), and what answering all templates costs anew and after one event; then the same
//! where every one of the pods has a claim for devices (200,000 devices, 150,000 claims).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods, missing_docs, reason = "a bench")]

#[path = "shared/fleet.rs"]
mod fleet;

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime};
use jiff::Timestamp;
use plimsoll_core::{
    capacity::{Inventory, Ledger, Limited, Model, Search, Step, Template},
    cluster::{Census, Change, Delta, DeviceChange, View, is_own},
    decision::{Known, Live, decide_with, scaled},
    object::{Node, Pod, WorkloadKey, device::ResourceClaim},
    policy::Policy,
    signal::Signals,
};

use fleet::{CLAIMED, LARGE, fleet_of};

const EVENTS: usize = 20_000;

/// A view with its ledger, as the adapter keeps them.
struct Kept {
    view: View,
    ledger: Arc<Ledger>,
    policy: Policy,
    templates: Vec<Template>,
    /// Pods that come and go.
    moving: Vec<Pod>,
    /// Their claims, if they have any.
    claims: Vec<ResourceClaim>,
}

// === impl Kept ===

impl Kept {
    fn new(view: View) -> Self {
        let ledger = Arc::new(Ledger::of(&view));
        let template = |(key, it): (&WorkloadKey, &plimsoll_core::object::ScaleTarget)| {
            Template::of(it.template.as_ref().unwrap(), &key.namespace, &view)
        };
        let templates = view.workloads.iter().map(template).collect();
        let moving: Vec<Pod> = view.pods.values().step_by(37).cloned().collect();
        let claim = |pod: &Pod| view.devices.claims.as_ref()?.get(&pod.metadata.key()).cloned();
        let claims = moving.iter().filter_map(claim).collect();
        Self { ledger, templates, moving, claims, policy: Policy::default(), view }
    }

    fn apply(&mut self, change: Change) {
        Arc::make_mut(&mut self.ledger).note(&self.view, &change);
        self.view.apply(change);
    }

    /// The nth event of a sequence that repeats: a pod goes, a pod comes, a node is cordoned and uncordoned; claims of
    /// pods go and come as often as pods.
    fn event(&mut self, n: usize) -> Change {
        let pod = &self.moving[n / 2 % self.moving.len()];
        if !self.claims.is_empty() && n % 4 > 1 {
            let claim = &self.claims[n / 2 % self.claims.len()];
            let delta = match n % 2 {
                0 => Delta::Deleted(claim.metadata.key()),
                _ => Delta::Applied(claim.clone()),
            };
            return Change::Device(DeviceChange::Claim(delta));
        }
        if n.is_multiple_of(10) {
            let mut node: Node = self.view.nodes[&*pod.node_name].clone();
            node.spec.unschedulable = !node.spec.unschedulable;
            return Change::Node(Delta::Applied(node));
        }
        if n.is_multiple_of(2) {
            Change::Pod(Delta::Deleted(pod.metadata.key()))
        } else {
            Change::Pod(Delta::Applied(pod.clone()))
        }
    }

    /// Answers all templates.
    fn answers(&self) -> u64 {
        let inventory = Inventory::with(&self.view, &self.policy, Arc::clone(&self.ledger));
        self.templates.iter().map(|template| u64::from(inventory.fits(template).fits.lo)).sum()
    }
}

/// Percentiles of what single events cost.
fn events(kept: &mut Kept, group: &str) {
    let mut costs: Vec<Duration> = (0..EVENTS)
        .map(|n| {
            let change = kept.event(n);
            let began = Instant::now();
            kept.apply(change);
            began.elapsed()
        })
        .collect();
    costs.sort_unstable();
    let at = |share: usize| costs[(costs.len() - 1) * share / 1000];
    println!("{group}/event  p50 {:?}, p99 {:?}, p99.9 {:?}, of {EVENTS}", at(500), at(990), at(999));
}

/// What each step of the search for a change costs that makes room for a workload.
fn lifting(kept: &mut Kept, group: &str, workload: &WorkloadKey) {
    let target = kept.view.workloads[workload].clone();
    let template = target.template.as_ref().unwrap();
    let limited = Limited { namespace: &workload.namespace, template, group: None, started: &[], pending: 0 };
    let own = |pod: &Pod| is_own(workload, &target.selector, target.group.is_some(), pod);
    let mut model = Model { view: &mut kept.view, ledger: &mut kept.ledger, policy: &kept.policy };
    let began = Instant::now();
    let mut search = Search::begin(&mut model, limited, &own);
    let start = began.elapsed();
    let mut steps = Vec::new();
    loop {
        let began = Instant::now();
        let step = search.step(&mut model, limited, &own);
        steps.push(began.elapsed());
        if step != Step::Further {
            let longest = steps.iter().max();
            println!("{group}/lift   begin {start:?}, {} steps, longest {longest:?}: {step:?}", steps.len());
            return;
        }
    }
}

/// What answering all templates costs.
fn answers(group: &mut BenchmarkGroup<'_, WallTime>, kept: &mut Kept) {
    group.bench_function("rebuild/ledger and all answers", |bencher| {
        bencher.iter(|| {
            kept.ledger = Arc::new(Ledger::of(&kept.view));
            black_box(kept.answers())
        });
    });
    let mut n = 0;
    group.bench_function("event/all answers", |bencher| {
        bencher.iter(|| {
            let change = kept.event(n);
            n += 1;
            kept.apply(change);
            black_box(kept.answers())
        });
    });
}

/// What whole decisions cost.
fn decisions(group: &mut BenchmarkGroup<'_, WallTime>, kept: &mut Kept, signals: &Signals, now: Timestamp) {
    let mut n = 0;
    let workloads = scaled(&kept.view, &kept.policy);
    group.bench_function("census", |bencher| bencher.iter(|| Census::of(&kept.view, &workloads).workloads().count()));
    let census = Census::of(&kept.view, &workloads);
    group.bench_function("live", |bencher| bencher.iter(|| Live::all(&census).count()));
    drop(census);
    let mut previous = None;
    group.bench_function("event/decide", |bencher| {
        bencher.iter(|| {
            let change = kept.event(n);
            n += 1;
            kept.apply(change);
            let ledger = Arc::clone(&kept.ledger);
            let census = Census::of(&kept.view, &scaled(&kept.view, &kept.policy));
            let lives = Live::all(&census).collect();
            let known = Known { ledger, census: &census, lives: &lives };
            let snapshot = decide_with(&kept.view, known, signals, &kept.policy, previous.as_ref(), now);
            previous = Some(snapshot);
        });
    });
}

fn benches(criterion: &mut Criterion) {
    let now: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
    for (name, size) in [("large", LARGE), ("devices", CLAIMED)] {
        let (view, signals) = fleet_of(now, size);
        let mut kept = Kept::new(view);
        kept.answers();
        events(&mut kept, name);
        lifting(&mut kept, name, &fleet::key("llm-020"));
        let mut group = criterion.benchmark_group(name);
        group.sample_size(10);
        answers(&mut group, &mut kept);
        decisions(&mut group, &mut kept, &signals, now);
    }
}

criterion_group!(capacity, benches);
criterion_main!(capacity);
