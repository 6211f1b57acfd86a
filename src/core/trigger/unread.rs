//! Keys that nobody has read: what is said of them depends on whose they are.

use super::{Signal, reader::Reader};
use crate::suggest::nearest;

/// Keys that KEDA reads beside `metadata`, not in it.
const BESIDE: [&str; 5] = ["metricType", "name", "useCachedMetrics", "authenticationRef", "type"];
/// Keys of KEDA's TriggerAuthentication.
const SECRETS: [&str; 3] = ["caCert", "tlsClientCert", "tlsClientKey"];
/// Keys of KEDA's Prometheus trigger that are not honoured, each with the reason.
const FOREIGN: [(&str, &str); 5] = [
    ("namespace", "the query is always bound to the namespace of the object: remove it"),
    ("customHeaders", "headers are the administrator's, as are the credentials of the server: remove it"),
    ("queryParameters", "parameters are the administrator's: remove it"),
    ("authModes", "credentials are the administrator's: remove it"),
    ("timeout", "the time of a query is the administrator's (prometheus[].timeout): remove it"),
];
/// Keys of ours.
const OURS: [&str; 28] = [
    "signal",
    "profile",
    "threshold",
    "targetValue",
    "targetSize",
    "activationThreshold",
    "serverAddress",
    "query",
    "aggregation",
    "quantile",
    "window",
    "queueThreshold",
    "gpuThreshold",
    "latencyThreshold",
    "queueWeight",
    "gpuWeight",
    "latencyWeight",
    "combine",
    "capacity",
    "headroom",
    "priority",
    "onMissing",
    "ignoreNullValues",
    "staleAfter",
    "warmup",
    "metricName",
    "scalerAddress",
    "enableTLS",
];

/// What is said of keys that mean nothing here.
pub(super) fn unread(reader: &mut Reader<'_>, signal: Option<&Signal>) {
    for key in reader.unread() {
        if let Some(base) = key.strip_suffix("FromEnv").filter(|base| !base.is_empty()) {
            let message = format!("the environment of containers is not read: write the value as {base:?}");
            reader.problem(key, message);
        } else if BESIDE.contains(&key) {
            reader.problem(key, "belongs beside metadata, not into it");
        } else if SECRETS.contains(&key) {
            reader.problem(key, "is read by KEDA from a TriggerAuthentication only: use authenticationRef");
        } else if let Some((_, reason)) = FOREIGN.iter().find(|(name, _)| *name == key) {
            reader.problem(key, *reason);
        } else if OURS.contains(&key) {
            // Without a signal nobody can say which keys belong to it.
            if let Some(signal) = signal {
                reader.problem(key, format!("does not apply to signal {}: remove it", signal.name()));
            }
        } else {
            let shown: String = key.chars().take(80).collect();
            let hint = nearest(key, OURS).map_or_else(
                || format!("unknown key (known are {})", OURS.join(", ")),
                |near| format!("unknown key, did you mean {near:?}?"),
            );
            reader.problem(&shown, hint);
        }
    }
}
