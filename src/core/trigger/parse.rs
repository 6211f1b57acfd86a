//! From metadata to a trigger.

use jiff::SignedDuration;

use super::{
    Aggregation, Combine, Composite, Headroom, OnMissing, Part, Problem, Profile, Query, Signal, Trigger,
    reader::Reader, unread::unread,
};
use crate::{object::meta::StringMap, quantity::Milli};

/// Keys that KEDA itself reads.
const KEDAS: [&str; 3] = ["scalerAddress", "enableTLS", "unsafeSsl"];
/// Waiting requests per replica that a profile stands for: the number of the common walk-throughs.
const PROFILE_QUEUE: Milli = Milli(10_000);
/// Utilisation per replica that a profile stands for, in thousandths of a percent.
const PROFILE_GPU: Milli = Milli(70_000);
/// How long a replica may load a model before its trigger stops holding it up.
pub(super) const WARMUP: SignedDuration = SignedDuration::from_mins(15);
/// How long the last good value stands in.
pub(super) const STALE_AFTER: SignedDuration = SignedDuration::from_secs(120);
/// Longest metric name: KEDA puts `s<index>-` before it, and names of metrics travel in paths and labels.
const MAX_NAME: usize = 50;

pub(super) fn parse(metadata: &StringMap) -> Result<Trigger, Vec<Problem>> {
    let mut reader = Reader::new(metadata)?;
    for key in KEDAS {
        reader.text(key);
    }
    let profile = profile(&mut reader);
    let signal = signal(&mut reader, profile);
    let (on_missing, stale_after) = missing(&mut reader);
    let activation = reader.number("activationThreshold").unwrap_or(Milli(0));
    let warmup = warmup(&mut reader);
    let (query, server) = query(&mut reader, profile, signal.as_ref());
    let clamp = clamp(&mut reader, signal.as_ref());
    let headroom = headroom(&mut reader);
    let priority = reader.text("priority").and_then(|text| {
        let number = reader.whole("priority", text, i64::from(i32::MIN), 1_000_000_000)?;
        i32::try_from(number).ok()
    });
    let name = metric_name(&mut reader);
    unread(&mut reader, signal.as_ref());
    match signal {
        Some(signal) if !reader.has_problems() => Ok(Trigger {
            metric_name: name.unwrap_or_else(|| signal.metric_name().to_owned()),
            signal,
            profile,
            activation,
            on_missing,
            stale_after,
            warmup,
            clamp,
            headroom,
            priority,
            query,
            server,
        }),
        _ => Err(reader.problems()),
    }
}

fn profile(reader: &mut Reader<'_>) -> Option<Profile> {
    reader.choice("profile", &Profile::ALL.map(|profile| (profile.name(), profile)))
}

/// What kind of signal is meant.
#[derive(Clone, Copy)]
enum Kind {
    Gpu,
    Queue,
    Latency,
    Composite,
    Capacity,
}

fn signal(reader: &mut Reader<'_>, profile: Option<Profile>) -> Option<Signal> {
    let kinds = [
        ("gpuUtilization", Kind::Gpu),
        ("queueLength", Kind::Queue),
        ("latency", Kind::Latency),
        ("composite", Kind::Composite),
        ("capacity", Kind::Capacity),
    ];
    if reader.text("signal").is_none() {
        let names = kinds.map(|(name, _)| name).join(", ");
        reader.problem("signal", format!("is missing: one of {names}"));
        return None;
    }
    match reader.choice("signal", &kinds)? {
        Kind::Gpu => {
            let threshold = threshold(reader, profile.map(|_| PROFILE_GPU));
            let aggregation = aggregation(reader, Aggregation::Average);
            Some(Signal::GpuUtilization { threshold: threshold?, aggregation })
        }
        Kind::Queue => {
            let threshold = threshold(reader, profile.map(|_| PROFILE_QUEUE));
            let aggregation = aggregation(reader, Aggregation::Sum);
            Some(Signal::QueueLength { threshold: threshold?, aggregation })
        }
        Kind::Latency => latency(reader),
        Kind::Composite => composite(reader, profile).map(Signal::Composite),
        Kind::Capacity => Some(Signal::Capacity),
    }
}

const THRESHOLD: [&str; 3] = ["threshold", "targetValue", "targetSize"];

fn threshold(reader: &mut Reader<'_>, default: Option<Milli>) -> Option<Milli> {
    match (reader.one_of(&THRESHOLD), default) {
        (Some((key, text)), _) => reader.positive_of(key, text),
        (None, Some(default)) => Some(default),
        (None, None) => {
            reader.problem("threshold", "is missing: the target per replica, e.g. \"10\"");
            None
        }
    }
}

fn aggregation(reader: &mut Reader<'_>, default: Aggregation) -> Aggregation {
    let choices = [
        ("sum", Aggregation::Sum),
        ("avg", Aggregation::Average),
        ("max", Aggregation::Max),
        ("min", Aggregation::Min),
        ("p95", Aggregation::P95),
    ];
    reader.choice("aggregation", &choices).unwrap_or(default)
}

fn latency(reader: &mut Reader<'_>) -> Option<Signal> {
    if let Some(text) = reader.text("quantile").filter(|text| text.parse() != Ok(0.99)) {
        let text: String = text.chars().take(20).collect();
        reader.problem("quantile", format!("{text:?} is not measured: 0.99 is"));
    }
    if let Some(text) = reader.text("window").filter(|text| !matches!(*text, "60s" | "1m" | "1m0s")) {
        let text: String = text.chars().take(20).collect();
        reader.problem("window", format!("{text:?} is not measured: the last 60s are"));
    }
    let Some((key, text)) = reader.one_of(&THRESHOLD) else {
        reader.problem("threshold", "is missing: the objective in seconds, e.g. \"0.5\" or \"500ms\"");
        return None;
    };
    Some(Signal::Latency { threshold: seconds(reader, key, text)? })
}

/// A duration in thousandths of a second: a number of seconds or a Go duration.
fn seconds(reader: &mut Reader<'_>, key: &'static str, text: &str) -> Option<Milli> {
    if text.ends_with(|c: char| c.is_ascii_digit() || c == '.') {
        return reader.positive_of(key, text);
    }
    let milli = reader.duration_of(key, text, "1ms", "24h")?.as_millis();
    i64::try_from(milli).ok().map(Milli)
}

fn composite(reader: &mut Reader<'_>, profile: Option<Profile>) -> Option<Composite> {
    let queue = reader.positive("queueThreshold");
    let gpu = reader.positive("gpuThreshold");
    let latency = reader.text("latencyThreshold").and_then(|text| seconds(reader, "latencyThreshold", text));
    let combine = reader.choice("combine", &[("max", Combine::Max), ("weighted", Combine::Weighted)]);
    let combine = combine.unwrap_or_default();
    let none = queue.is_none() && gpu.is_none() && latency.is_none();
    let (queue, gpu) = if none && profile.is_some() { (Some(PROFILE_QUEUE), Some(PROFILE_GPU)) } else { (queue, gpu) };
    if none && profile.is_none() && !reader.has_problems() {
        let message = "is missing: give queueThreshold, gpuThreshold or latencyThreshold, or a profile";
        reader.problem("queueThreshold", message);
    }
    let mut part = |key: &'static str, threshold: Option<Milli>| {
        let weight = (combine == Combine::Weighted).then(|| reader.positive(key)).flatten();
        if weight.is_some() && threshold.is_none() {
            reader.problem(key, "weighs a part that has no threshold");
        }
        threshold.map(|threshold| Part { threshold, weight: weight.unwrap_or(Milli(1000)) })
    };
    let parts = [("queueWeight", queue), ("gpuWeight", gpu), ("latencyWeight", latency)];
    let [queue, gpu, latency] = parts.map(|(key, threshold)| part(key, threshold));
    let composite = Composite { queue, gpu, latency, combine };
    (composite.queue.is_some() || composite.gpu.is_some() || composite.latency.is_some()).then_some(composite)
}

fn missing(reader: &mut Reader<'_>) -> (OnMissing, SignedDuration) {
    let choices = [("hold", OnMissing::Hold), ("error", OnMissing::Error), ("zero", OnMissing::Zero)];
    let chosen = reader.choice("onMissing", &choices);
    let alias = reader.choice("ignoreNullValues", &[("true", OnMissing::Zero), ("false", OnMissing::Error)]);
    if chosen.is_some() && alias.is_some() {
        reader.problem("ignoreNullValues", "means the same as onMissing: give one of them");
    }
    let stale_after = reader.duration("staleAfter", "1s", "1h");
    (chosen.or(alias).unwrap_or_default(), stale_after.unwrap_or(STALE_AFTER))
}

fn warmup(reader: &mut Reader<'_>) -> Option<SignedDuration> {
    match reader.text("warmup") {
        None | Some("auto") => Some(WARMUP),
        Some("off") => None,
        Some(text) => reader.duration_of("warmup", text, "1s", "6h"),
    }
}

/// The trigger's own query, or the server that is asked its profile's.
fn query(
    reader: &mut Reader<'_>,
    profile: Option<Profile>,
    signal: Option<&Signal>,
) -> (Option<Query>, Option<String>) {
    match (reader.text("serverAddress"), reader.text("query")) {
        (Some(server), Some(text)) => (Some(Query { server: server.to_owned(), text: text.to_owned() }), None),
        (Some(server), None) if has_query(reader, profile, signal) => (None, Some(server.to_owned())),
        (Some(_) | None, None) => (None, None),
        (None, Some(_)) => {
            reader.problem("serverAddress", "is missing: the Prometheus server of the query");
            (None, None)
        }
    }
}

/// Whether a profile stands in for the query; says what is missing if not.
fn has_query(reader: &mut Reader<'_>, profile: Option<Profile>, signal: Option<&Signal>) -> bool {
    let message = match profile {
        Some(_) if signal.is_none_or(Signal::counts_waiting) => return true,
        Some(profile) => format!("is missing: the one of profile {} is for what waits only", profile.name()),
        None => "is missing: give it, or a profile, whose own query serverAddress is then asked".to_owned(),
    };
    reader.problem("query", message);
    false
}

fn clamp(reader: &mut Reader<'_>, signal: Option<&Signal>) -> bool {
    let clamp = reader.choice("capacity", &[("clamp", true), ("off", false)]);
    if signal == Some(&Signal::Capacity) && clamp == Some(false) {
        reader.problem("capacity", "does not apply to signal capacity, which is nothing else: remove it");
    }
    clamp.unwrap_or(true)
}

fn headroom(reader: &mut Reader<'_>) -> Option<Headroom> {
    match reader.text("headroom")? {
        "autoscaler" | "auto" => Some(Headroom::Autoscaler),
        text => {
            let number = reader.whole("headroom", text, 0, 10_000)?;
            u32::try_from(number).ok().map(Headroom::Replicas)
        }
    }
}

fn metric_name(reader: &mut Reader<'_>) -> Option<String> {
    let name = reader.text("metricName")?;
    let good =
        name.len() <= MAX_NAME && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !good {
        reader.problem("metricName", format!("must be 1 to {MAX_NAME} of a-z, 0-9 and -"));
    }
    Some(name.to_owned())
}
