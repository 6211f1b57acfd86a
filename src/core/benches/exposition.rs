//! Our exposition parser against `prometheus-parse`, on a scrape shaped as DCGM exporter 4.8 writes it for 1,000 GPUs;
//! then the whole way of a scrape: parsed, normalised by the profile, reduced to one value per pod.

#![allow(clippy::expect_used, missing_docs, reason = "a bench")]

use std::{fmt::Write as _, hint::black_box, io};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use plimsoll_core::{
    exposition::{self, Limits},
    profile::{Profile, Target},
};

const GPUS: usize = 1_000;

/// The series of `etc/default-counters.csv` that an exporter with the default configuration writes, with a value.
const METRICS: [(&str, &str, &str); 18] = [
    ("DCGM_FI_DEV_SM_CLOCK", "gauge", "1410"),
    ("DCGM_FI_DEV_MEM_CLOCK", "gauge", "1593"),
    ("DCGM_FI_DEV_MEMORY_TEMP", "gauge", "55"),
    ("DCGM_FI_DEV_GPU_TEMP", "gauge", "61"),
    ("DCGM_FI_DEV_POWER_USAGE", "gauge", "318.412000"),
    ("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "counter", "1290387465123"),
    ("DCGM_FI_DEV_PCIE_REPLAY_COUNTER", "counter", "0"),
    ("DCGM_FI_DEV_GPU_UTIL", "gauge", "87"),
    ("DCGM_FI_DEV_MEM_COPY_UTIL", "gauge", "43"),
    ("DCGM_FI_DEV_ENC_UTIL", "gauge", "0"),
    ("DCGM_FI_DEV_DEC_UTIL", "gauge", "0"),
    ("DCGM_FI_DEV_XID_ERRORS", "gauge", "0"),
    ("DCGM_FI_DEV_FB_FREE", "gauge", "4021"),
    ("DCGM_FI_DEV_FB_USED", "gauge", "76535"),
    ("DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL", "counter", "0"),
    ("DCGM_FI_PROF_GR_ENGINE_ACTIVE", "gauge", "0.871943"),
    ("DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", "gauge", "0.312057"),
    ("DCGM_FI_PROF_DRAM_ACTIVE", "gauge", "0.498112"),
];

fn scrape() -> String {
    let mut body = String::new();
    for (name, kind, value) in METRICS {
        writeln!(body, "# HELP {name} Help text of the metric (in %).\n# TYPE {name} {kind}").expect("a string grows");
        for gpu in 0..GPUS {
            writeln!(
                body,
                "{name}{{gpu=\"{}\",UUID=\"GPU-{gpu:08x}-5c1d-9a0b-31d2-2f1f8c9b7a6e\",pci_bus_id=\"00000000:{:02X}:00.0\",\
                 device=\"nvidia{}\",modelName=\"NVIDIA H100 80GB HBM3\",hostname=\"gpu-node-{}\",\
                 DCGM_FI_DRIVER_VERSION=\"550.90.07\",container=\"vllm\",namespace=\"inference\",\
                 pod=\"llama-70b-7d9c5b6f4d-{gpu:05}\"}} {value}",
                gpu % 8,
                gpu % 256,
                gpu % 8,
                gpu / 8,
            )
            .expect("a string grows");
        }
    }
    body
}

fn parsers(c: &mut Criterion) {
    let body = scrape();
    let mut group = c.benchmark_group("exposition");
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("plimsoll", |b| {
        b.iter(|| {
            let mut sum = 0.0;
            let report = exposition::read(black_box(body.as_bytes()), &Limits::default(), |sample| sum += sample.value);
            assert_eq!(report.expect("a good body").samples, METRICS.len() * GPUS);
            sum
        });
    });
    group.bench_function("plimsoll, with the dcgm profile", |b| {
        let profiles = Profile::builtin().expect("built in");
        let target = Target::Exporter { pod: None, node: None };
        let profile = Profile::detect(&profiles, body.as_bytes(), &target).expect("detected");
        b.iter(|| {
            let seen = profile.observe(black_box(body.as_bytes()), &target, &Limits::default()).expect("a good body");
            assert_eq!(seen.observations.len(), GPUS);
            seen
        });
    });
    group.sample_size(10);
    group.bench_function("prometheus-parse", |b| {
        b.iter(|| {
            let lines = black_box(&body).lines().map(|line| Ok::<_, io::Error>(line.to_owned()));
            let scrape = prometheus_parse::Scrape::parse(lines).expect("a good body");
            assert_eq!(scrape.samples.len(), METRICS.len() * GPUS);
            scrape
                .samples
                .iter()
                .map(|sample| match sample.value {
                    prometheus_parse::Value::Counter(value) | prometheus_parse::Value::Gauge(value) => value,
                    _ => 0.0,
                })
                .sum::<f64>()
        });
    });
    group.finish();
}

criterion_group!(benches, parsers);
criterion_main!(benches);
