//! The text that an inference server or a DCGM exporter answers with.

use std::fmt::{Error, Write};

use super::{
    Dialect,
    fleet::{Gpu, Share},
    histogram::Durations,
};

pub(super) fn inference(share: &Share, dialect: Dialect) -> Result<String, Error> {
    let mut page = String::new();
    match dialect {
        Dialect::Generic => {
            gauge(&mut page, "inference_queue_length", "Requests that wait.", "model=\"demo\"", share.queue)?;
            histogram(&mut page, "inference_request_duration_seconds", "model=\"demo\"", &share.durations)?;
        }
        Dialect::Vllm => {
            let labels = "engine=\"0\",model_name=\"demo/llm\"";
            gauge(&mut page, "vllm:num_requests_waiting", "Requests that wait.", labels, share.queue)?;
            gauge(&mut page, "vllm:num_requests_running", "Requests that run.", labels, share.queue.min(8.0))?;
            gauge(&mut page, "vllm:kv_cache_usage_perc", "1 is full.", labels, (share.queue / 40.0).min(1.0))?;
            histogram(&mut page, "vllm:e2e_request_latency_seconds", labels, &share.durations)?;
        }
    }
    Ok(page)
}

fn gauge(page: &mut String, name: &str, help: &str, labels: &str, value: f64) -> Result<(), Error> {
    writeln!(page, "# HELP {name} {help}\n# TYPE {name} gauge\n{name}{{{labels}}} {value}")
}

fn histogram(page: &mut String, name: &str, labels: &str, durations: &Durations) -> Result<(), Error> {
    writeln!(page, "# HELP {name} Seconds from request to answer.\n# TYPE {name} histogram")?;
    for (bound, count) in durations.cumulative() {
        writeln!(page, "{name}_bucket{{{labels},le=\"{bound}\"}} {count}")?;
    }
    let (sum, count) = (durations.sum(), durations.count());
    writeln!(page, "{name}_sum{{{labels}}} {sum}\n{name}_count{{{labels}}} {count}")
}

/// Name, help and value of a field.
type Field = (&'static str, &'static str, fn(&Gpu) -> u64);

/// The default counters of dcgm-exporter 4 that matter here, with its label set in its order.
pub(super) fn exporter(node: &str, gpus: &[Gpu]) -> Result<String, Error> {
    let mut page = String::new();
    let fields: [Field; 3] = [
        ("DCGM_FI_DEV_GPU_UTIL", "GPU utilization (in %).", |gpu| u64::from(gpu.utilisation)),
        (
            "DCGM_FI_DEV_FB_USED",
            "Framebuffer memory used (in MiB).",
            |gpu| if gpu.holder.is_some() { 61_440 } else { 0 },
        ),
        ("DCGM_FI_DEV_POWER_USAGE", "Power draw (in W).", |gpu| 60 + 3 * u64::from(gpu.utilisation)),
    ];
    for (name, help, value) in fields {
        writeln!(page, "# HELP {name} {help}\n# TYPE {name} gauge")?;
        for (index, gpu) in gpus.iter().enumerate() {
            writeln!(page, "{name}{{{}}} {}", labels(node, index, gpu), value(gpu))?;
        }
    }
    Ok(page)
}

fn labels(node: &str, index: usize, gpu: &Gpu) -> String {
    let base = format!(
        "gpu=\"{index}\",UUID=\"GPU-{node}-{index}\",pci_bus_id=\"00000000:{bus:02X}:00.0\",device=\"nvidia{index}\",\
         modelName=\"NVIDIA H100 80GB HBM3\",Hostname=\"{node}\"",
        bus = index + 1,
    );
    match &gpu.holder {
        Some((namespace, pod)) => format!("{base},container=\"server\",namespace=\"{namespace}\",pod=\"{pod}\""),
        None => base,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_gpu_carries_no_pod_labels() {
        let gpus = [
            Gpu { utilisation: 85, holder: Some(("ns".into(), "pod-a".into())) },
            Gpu { utilisation: 0, holder: None },
        ];
        let page = exporter("node-1", &gpus).unwrap();
        let util: Vec<&str> = page.lines().filter(|line| line.starts_with("DCGM_FI_DEV_GPU_UTIL{")).collect();
        assert!(util[0].contains("namespace=\"ns\",pod=\"pod-a\"") && util[0].ends_with("} 85"), "{}", util[0]);
        assert!(!util[1].contains("pod=") && util[1].ends_with("} 0"), "{}", util[1]);
    }

    #[test]
    fn an_inference_page_has_the_queue_and_the_histogram() {
        let mut durations = Durations::default();
        durations.add(41.9, 0.3);
        let page = inference(&Share { queue: 18.75, durations }, Dialect::Generic).unwrap();
        assert!(page.contains("inference_queue_length{model=\"demo\"} 18.75\n"), "{page}");
        assert!(page.contains("inference_request_duration_seconds_count{model=\"demo\"} 41\n"), "{page}");
    }
}
