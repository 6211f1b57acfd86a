//! The HPA around its metrics: scale, bounds, behaviour, conditions, and what the controller remembers.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{NOW, ago};
use crate::rng::Rng;

/// The scale of the target.
#[derive(Debug)]
pub(super) struct Scale {
    pub(super) spec: i64,
    pub(super) status: i64,
    selector: &'static str,
}

impl Scale {
    pub(super) fn json(&self) -> Value {
        json!({"specReplicas": self.spec, "statusReplicas": self.status, "selector": self.selector})
    }
}

pub(super) fn now(rng: &mut Rng) -> Timestamp {
    let nanos = if rng.percent(80) { 0 } else { rng.pick(&[500_000_000, 123_456_789, 1]) };
    Timestamp::new(NOW, nanos).unwrap_or_default()
}

pub(super) fn scale(rng: &mut Rng) -> Scale {
    let spec = match rng.range(0, 99) {
        0..=4 => 0,
        5..=69 => rng.range(1, 12),
        70..=96 => rng.range(1, 120),
        97 => i64::from(i32::MAX) - rng.range(0, 2),
        98 => rng.range(1 << 29, 1 << 31) - 1,
        _ => -rng.range(1, 3),
    };
    let status = match rng.range(0, 9) {
        0 => 0,
        1 | 2 => (spec + rng.range(-3, 5)).clamp(0, i64::from(i32::MAX)),
        _ => spec,
    };
    let selector = match rng.range(0, 99) {
        0 => "",
        1 => "app=x=y",
        2 => " ",
        3 => "app in (",
        4 => "none=here",
        5..=9 => "app in (x, y)",
        10..=12 => "app!=y,tier",
        13 => "!tier",
        _ => "app=x",
    };
    Scale { spec, status, selector }
}

pub(super) fn hpa(rng: &mut Rng, scale: &Scale, metrics: Option<Vec<Value>>) -> Value {
    let mut spec = Map::new();
    let version = if rng.percent(1) { "a/b/c" } else { rng.pick(&["apps/v1", "v1", ""]) };
    spec.insert("scaleTargetRef".into(), json!({"apiVersion": version, "kind": "Deployment", "name": "d"}));
    let (min, max) = bounds(rng, scale.spec);
    if let Some(min) = min {
        spec.insert("minReplicas".into(), json!(min));
    }
    spec.insert("maxReplicas".into(), json!(max));
    if let Some(metrics) = metrics {
        spec.insert("metrics".into(), json!(metrics));
    }
    if let Some(behavior) = behavior(rng) {
        spec.insert("behavior".into(), behavior);
    }
    let mut hpa = json!({"metadata": {"name": "h", "namespace": "ml"}, "spec": spec});
    if rng.percent(60) {
        hpa["status"] = status(rng, scale.spec);
    }
    hpa
}

fn bounds(rng: &mut Rng, spec: i64) -> (Option<i64>, i64) {
    let most = i64::from(i32::MAX);
    let max = match rng.range(0, 19) {
        0 => spec - rng.range(1, 5),
        1 => spec,
        2 => most,
        3 => 2 * spec,
        _ => spec + rng.range(0, 60),
    };
    let min = match rng.range(0, 19) {
        0 => Some(spec + rng.range(1, 4)),
        1 => Some(spec),
        2 => Some(0),
        3..=9 => None,
        _ => Some(rng.range(1, spec.clamp(1, most))),
    };
    (min.map(|min| min.clamp(0, most)), max.clamp(0, most))
}

fn status(rng: &mut Rng, spec: i64) -> Value {
    let condition = |kind: &str, status: &str, reason: &str| json!({"type": kind, "status": status, "reason": reason, "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let mut conditions = Vec::new();
    if rng.percent(60) {
        conditions.push(condition("AbleToScale", rng.pick(&["True", "False"]), "ReadyForNewScale"));
    }
    if rng.percent(20) {
        conditions.push(condition("ScaledToZero", rng.pick(&["True", "False"]), "ScaledToZero"));
    }
    if rng.percent(50) {
        conditions.push(condition("ScalingActive", rng.pick(&["True", "False"]), "ValidMetricFound"));
    }
    if rng.percent(50) {
        conditions.push(condition("ScalingLimited", rng.pick(&["True", "False"]), "TooManyReplicas"));
    }
    if rng.percent(5) {
        conditions.push(condition("Odd", "Unknown", "Kept"));
    }
    json!({"currentReplicas": spec, "desiredReplicas": spec.max(0), "conditions": conditions})
}

fn behavior(rng: &mut Rng) -> Option<Value> {
    if rng.percent(40) {
        return None;
    }
    let mut behavior = Map::new();
    for side in ["scaleUp", "scaleDown"] {
        match rng.range(0, 9) {
            0..=2 => {}
            3 => {
                behavior.insert(side.into(), Value::Null);
            }
            _ => {
                behavior.insert(side.into(), rules(rng));
            }
        }
    }
    Some(Value::Object(behavior))
}

fn rules(rng: &mut Rng) -> Value {
    let mut rules = Map::new();
    if rng.percent(50) {
        rules.insert("stabilizationWindowSeconds".into(), json!(rng.pick(&[0, 15, 30, 60, 300, 600, 3600])));
    }
    if rng.percent(50) {
        rules.insert("selectPolicy".into(), json!(rng.pick(&["Max", "Min", "Disabled", "Min"])));
    }
    if rng.percent(40) {
        let tolerance = rng.pick(&["0", "0.05", "50m", "0.3", "1", "0.123", "100u", "2", "0.2"]);
        rules.insert("tolerance".into(), json!(tolerance));
    }
    if rng.percent(65) {
        let policies: Vec<_> = (0..rng.range(0, 3)).map(|_| policy(rng)).collect();
        rules.insert("policies".into(), json!(policies));
    }
    Value::Object(rules)
}

fn policy(rng: &mut Rng) -> Value {
    let kind = rng.pick(&["Pods", "Percent", "Pods", "Percent", "Pods", "Percent", "Odd"]);
    let value = match rng.range(0, 19) {
        0 => i64::from(i32::MAX),
        1 => 0,
        2..=9 => rng.pick(&[10, 50, 100, 200, 900, 33]),
        _ => rng.range(1, 20),
    };
    json!({"type": kind, "value": value, "periodSeconds": rng.pick(&[15, 30, 60, 120, 1800])})
}

pub(super) fn state(rng: &mut Rng, now: Timestamp) -> Value {
    let recommendations: Vec<_> =
        (0..rng.range(0, 6)).map(|_| json!({"replicas": rng.range(0, 30), "time": ago(now, age(rng))})).collect();
    let mut events = || -> Vec<Value> { (0..rng.range(0, 4)).map(|_| event(rng, now)).collect() };
    json!({"recommendations": recommendations, "scaleUpEvents": events(), "scaleDownEvents": events()})
}

fn event(rng: &mut Rng, now: Timestamp) -> Value {
    let change = if rng.percent(2) { i64::from(i32::MAX) } else { rng.range(0, 12) };
    json!({"replicaChange": change, "time": ago(now, age(rng)), "outdated": rng.percent(25)})
}

/// An age in seconds that often is exactly a window or a period, or a second off.
fn age(rng: &mut Rng) -> i64 {
    let edge = rng.pick(&[0, 15, 30, 60, 120, 300, 600, 1800, 3600]);
    if rng.percent(60) { (edge + rng.range(-1, 1)).max(0) } else { rng.range(0, 700) }
}
