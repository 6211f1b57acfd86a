//! Objects to manifests as people write them: without the defaults that the types carry, and without a status.

use std::io::Write;

use plimsoll_core::object::{HorizontalPodAutoscaler, ObjectMeta, hpa::Behavior, keda::ScaledObject};
use serde_json::{Map, Value, json};

/// Most paths that are collected.
const MAX_PATHS: usize = 1000;

/// The manifest of a ScaledObject.
pub(super) fn scaled_object(object: &ScaledObject) -> anyhow::Result<Value> {
    let config = &object.spec.advanced.horizontal_pod_autoscaler_config;
    let mut spec = plain(serde_json::to_value(&object.spec)?);
    if let Some(behavior) = written(config.behavior.as_ref())? {
        let advanced = entry(&mut spec, "advanced");
        set(entry(advanced, "horizontalPodAutoscalerConfig"), "behavior", behavior);
    }
    Ok(manifest("keda.sh/v1alpha1", "ScaledObject", &object.metadata, &spec))
}

/// The manifest of an HPA.
pub(super) fn hpa(hpa: &HorizontalPodAutoscaler) -> anyhow::Result<Value> {
    let mut spec = plain(serde_json::to_value(&hpa.spec)?);
    if let Some(behavior) = written(hpa.spec.behavior.as_ref())? {
        set(&mut spec, "behavior", behavior);
    }
    Ok(manifest("autoscaling/v2", "HorizontalPodAutoscaler", &hpa.metadata, &spec))
}

/// Several objects as YAML documents.
pub(super) fn yaml(objects: &[Value], out: &mut impl Write) -> anyhow::Result<()> {
    for (index, object) in objects.iter().enumerate() {
        let separator = if index == 0 { "" } else { "---\n" };
        write!(out, "{separator}{}", serde_saphyr::to_string(object)?)?;
    }
    Ok(())
}

/// One object as it is, several as a List.
pub(super) fn json(mut objects: Vec<Value>, out: &mut impl Write) -> anyhow::Result<()> {
    let whole = if objects.len() == 1 { objects.pop() } else { None };
    let whole = whole.unwrap_or_else(|| json!({"apiVersion": "v1", "kind": "List", "items": objects}));
    Ok(writeln!(out, "{}", serde_json::to_string_pretty(&whole)?)?)
}

/// Paths below `spec` of what `raw` says and `read` does not know.
pub(super) fn unread(raw: &Value, read: &Value) -> Vec<String> {
    let mut paths = Vec::new();
    compare("spec", raw, read, &mut paths);
    paths
}

fn compare(path: &str, raw: &Value, read: &Value, paths: &mut Vec<String>) {
    if paths.len() >= MAX_PATHS {
        return;
    }
    match (raw, read) {
        (Value::Object(raw), Value::Object(read)) => {
            for (key, value) in raw.iter().filter(|(_, value)| !is_nothing(value)) {
                let path = format!("{path}.{}", key.chars().take(128).collect::<String>());
                match read.get(key) {
                    Some(known) => compare(&path, value, known, paths),
                    None => paths.push(path),
                }
            }
        }
        (Value::Array(raw), Value::Array(read)) => {
            for (index, (raw, read)) in raw.iter().zip(read).enumerate() {
                compare(&format!("{path}[{index}]"), raw, read, paths);
            }
        }
        _ => {}
    }
}

fn manifest(api_version: &str, kind: &str, metadata: &ObjectMeta, spec: &Value) -> Value {
    let mut written = json!({"name": metadata.name, "namespace": metadata.namespace});
    // Values of labels and annotations may be empty.
    for (key, map) in [("labels", json!(metadata.labels)), ("annotations", json!(metadata.annotations))] {
        set(&mut written, key, map);
    }
    if let Value::Object(fields) = &mut written {
        fields.retain(|_, value| !is_nothing(value));
    }
    json!({"apiVersion": api_version, "kind": kind, "metadata": written, "spec": spec})
}

/// A behavior without rules is one all the same: it means the defaults, no behavior means to remember.
fn written(behavior: Option<&Behavior>) -> anyhow::Result<Option<Value>> {
    Ok(behavior.map(serde_json::to_value).transpose()?.map(plain))
}

/// Without what says nothing.
fn plain(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let plain = fields.into_iter().map(|(key, value)| (key, plain(value)));
            Value::Object(plain.filter(|(_, value)| !is_nothing(value)).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(plain).collect()),
        other => other,
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    }
}

/// The object under a key, made if it is not there.
fn entry<'v>(value: &'v mut Value, key: &str) -> &'v mut Value {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    &mut value[key]
}

fn set(value: &mut Value, key: &str, to: Value) {
    *entry(value, key) = to;
}
