//! From a trigger back to metadata: what is not a default is written, and reads back to an equal trigger.

use jiff::SignedDuration;

use super::{
    Aggregation, Combine, Composite, Headroom, OnMissing, Signal, Trigger,
    parse::{STALE_AFTER, WARMUP},
};
use crate::{hpa::GoDuration, object::meta::StringMap, quantity::Milli};

pub(super) fn metadata(trigger: &Trigger) -> StringMap {
    let mut metadata = StringMap::new();
    let mut put = |key: &str, text: String| drop(metadata.insert(key.to_owned(), text));
    put("signal", trigger.signal.name().to_owned());
    signal(&trigger.signal, &mut put);
    if trigger.metric_name != trigger.signal.metric_name() {
        put("metricName", trigger.metric_name.clone());
    }
    if let Some(profile) = trigger.profile {
        put("profile", profile.name().to_owned());
    }
    if trigger.activation.0 > 0 {
        put("activationThreshold", number(trigger.activation));
    }
    match trigger.on_missing {
        OnMissing::Hold => {}
        OnMissing::Error => put("onMissing", "error".to_owned()),
        OnMissing::Zero => put("onMissing", "zero".to_owned()),
    }
    if trigger.stale_after != STALE_AFTER {
        put("staleAfter", duration(trigger.stale_after));
    }
    match trigger.warmup {
        Some(WARMUP) => {}
        Some(other) => put("warmup", duration(other)),
        None => put("warmup", "off".to_owned()),
    }
    if !trigger.clamp {
        put("capacity", "off".to_owned());
    }
    match trigger.headroom {
        None => {}
        Some(Headroom::Replicas(replicas)) => put("headroom", replicas.to_string()),
        Some(Headroom::Autoscaler) => put("headroom", "autoscaler".to_owned()),
    }
    if let Some(priority) = trigger.priority {
        put("priority", priority.to_string());
    }
    if let Some(query) = &trigger.query {
        put("serverAddress", query.server.clone());
        put("query", query.text.clone());
    }
    if let Some(server) = &trigger.server {
        put("serverAddress", server.clone());
    }
    metadata
}

fn signal(signal: &Signal, put: &mut impl FnMut(&str, String)) {
    match signal {
        Signal::GpuUtilization { threshold, aggregation } | Signal::QueueLength { threshold, aggregation } => {
            put("threshold", number(*threshold));
            put("aggregation", name_of_aggregation(*aggregation).to_owned());
        }
        Signal::Latency { threshold } => put("threshold", number(*threshold)),
        Signal::Composite(composite) => parts(composite, put),
        Signal::Capacity => {}
    }
}

fn parts(composite: &Composite, put: &mut impl FnMut(&str, String)) {
    let weighted = composite.combine == Combine::Weighted;
    if weighted {
        put("combine", "weighted".to_owned());
    }
    let parts = [
        ("queueThreshold", "queueWeight", composite.queue),
        ("gpuThreshold", "gpuWeight", composite.gpu),
        ("latencyThreshold", "latencyWeight", composite.latency),
    ];
    for (threshold, weight, part) in parts {
        let Some(part) = part else { continue };
        put(threshold, number(part.threshold));
        if weighted {
            put(weight, number(part.weight));
        }
    }
}

/// A number as people write it.
fn number(value: Milli) -> String {
    let (whole, rest) = (value.0 / 1000, (value.0 % 1000).abs());
    if rest == 0 { whole.to_string() } else { format!("{whole}.{rest:03}").trim_end_matches('0').to_owned() }
}

fn duration(value: SignedDuration) -> String {
    GoDuration { nanos: i64::try_from(value.as_nanos()).unwrap_or(i64::MAX) }.to_string()
}

const fn name_of_aggregation(aggregation: Aggregation) -> &'static str {
    match aggregation {
        Aggregation::Sum => "sum",
        Aggregation::Average => "avg",
        Aggregation::Max => "max",
        Aggregation::Min => "min",
        Aggregation::P95 => "p95",
    }
}
