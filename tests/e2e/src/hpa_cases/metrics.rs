//! Metrics of all five types with their targets, and the values that were fetched for them.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{ago, scaling::Scale};
use crate::rng::Rng;

/// What a metric selector is in the HPA, and its canonical form; none where it is not valid.
const SELECTORS: [(&str, Option<&str>); 8] = [
    ("null", Some("")),
    ("{}", Some("")),
    (r#"{"matchLabels":{"b":"2","a":"1"}}"#, Some("a=1,b=2")),
    (r#"{"matchExpressions":[{"key":"z","operator":"In","values":["y","x"]}]}"#, Some("z in (x,y)")),
    (r#"{"matchLabels":{"q":"v"},"matchExpressions":[{"key":"k","operator":"DoesNotExist"}]}"#, Some("!k,q=v")),
    (r#"{"matchExpressions":[{"key":"z","operator":"Like","values":["y"]}]}"#, None),
    (r#"{"matchExpressions":[{"key":"z","operator":"In","values":[]}]}"#, None),
    (r#"{"matchLabels":{"a":"not a value"}}"#, None),
];

/// Values that overflow an `i64` of thousandths, each in another way, and other rare spellings.
const ABSURD: [&str; 9] =
    ["9300000000000000", "9300T", "1e20", "9223372036854775807", "8E", "-3", "1.5Gi", "-0.5Ki", "123456789.123456789k"];

/// Values and metrics of one case.
struct Build<'a> {
    now: Timestamp,
    pods: &'a [String],
    scale: &'a Scale,
    external: Vec<Value>,
    custom: Vec<Value>,
    object: Vec<Value>,
}

/// The HPA's metrics, absent in some cases, and everything that was fetched.
pub(super) fn metrics(rng: &mut Rng, now: Timestamp, pods: &[String], scale: &Scale) -> (Option<Vec<Value>>, Value) {
    let mut build = Build { now, pods, scale, external: vec![], custom: vec![], object: vec![] };
    let count = rng.pick(&[1, 1, 1, 1, 2, 2, 3, 4, 0]);
    let metrics: Vec<_> = (0..count).map(|index| build.metric(rng, index)).collect();
    let metrics = if metrics.is_empty() && rng.percent(50) { None } else { Some(metrics) };
    let resource = if rng.percent(94) { build.usage(rng) } else { vec![] };
    let values =
        json!({"external": build.external, "pods": build.custom, "object": build.object, "resource": resource});
    (metrics, values)
}

impl Build<'_> {
    fn metric(&mut self, rng: &mut Rng, index: i64) -> Value {
        match rng.range(0, 9) {
            0..=2 => self.external(rng, index),
            3 | 4 => self.pods(rng, index),
            5 | 6 => self.object(rng, index),
            7 | 8 => json!({"type": "Resource", "resource": {
                "name": resource(rng), "target": resource_target(rng)}}),
            _ => json!({"type": "ContainerResource", "containerResource": {
                "name": resource(rng), "container": rng.pick(&["c", "c", "sidecar", "init", "none"]),
                "target": resource_target(rng)}}),
        }
    }

    fn external(&mut self, rng: &mut Rng, index: i64) -> Value {
        let (name, selector) = (format!("e{index}"), selector(rng));
        let (target, milli, average) = value_target(rng);
        if rng.percent(92) {
            let aim = if average { milli.saturating_mul(self.scale.status.max(1)) } else { milli };
            let mut values = vec![amount(rng, aim)];
            while rng.percent(25) {
                values.push(amount(rng, aim / 2));
            }
            if rng.percent(3) {
                values.clear();
            }
            self.external.push(json!({"metric": name, "selector": selector.1.unwrap_or(""), "values": values}));
        }
        json!({"type": "External", "external": {"metric": identifier(&name, selector.0), "target": target}})
    }

    fn object(&mut self, rng: &mut Rng, index: i64) -> Value {
        let (name, selector) = (format!("o{index}"), selector(rng));
        let (target, milli, average) = value_target(rng);
        let kind = rng.pick(&["Service", "Service", "Namespace"]);
        let object = if kind == "Namespace" { "ml" } else { "svc" };
        if rng.percent(92) {
            let aim = if average { milli.saturating_mul(self.scale.status.max(1)) } else { milli };
            let value = amount(rng, aim);
            self.object.push(json!({"metric": name, "object": {"kind": kind, "name": object}, "value": value}));
        }
        let described = json!({"apiVersion": "v1", "kind": kind, "name": object});
        json!({"type": "Object", "object": {
            "describedObject": described, "metric": identifier(&name, selector.0), "target": target}})
    }

    fn pods(&mut self, rng: &mut Rng, index: i64) -> Value {
        let (name, selector) = (format!("p{index}"), selector(rng));
        let milli = target_milli(rng);
        if rng.percent(92) {
            let values = self.pod_values(rng, milli);
            self.custom.push(json!({"metric": name, "selector": selector.1.unwrap_or(""), "values": values}));
        }
        let target = json!({"type": "AverageValue", "averageValue": quantity(milli)});
        json!({"type": "Pods", "pods": {"metric": identifier(&name, selector.0), "target": target}})
    }

    fn pod_values(&self, rng: &mut Rng, milli: i64) -> Map<String, Value> {
        let gaps = rng.pick(&[0, 0, 10, 40]);
        // One level for all pods or one for each: the mean must meet the tolerance's edge sometimes.
        let level = rng.percent(50).then(|| amount(rng, milli));
        let mut values = Map::new();
        for pod in self.pods {
            if !rng.percent(gaps) {
                values.insert(pod.clone(), level.clone().unwrap_or_else(|| amount(rng, milli)));
            }
        }
        if rng.percent(4) {
            values.insert("stranger".into(), amount(rng, milli));
        }
        values
    }

    fn usage(&self, rng: &mut Rng) -> Vec<Value> {
        let gaps = rng.pick(&[0, 0, 10, 40]);
        let level = rng.range(1, 250);
        let mut usage = Vec::new();
        for pod in self.pods {
            if !rng.percent(gaps) {
                usage.push(self.pod_usage(rng, pod, level));
            }
        }
        if rng.percent(4) {
            usage.push(self.pod_usage(rng, "stranger", level));
        }
        usage
    }

    fn pod_usage(&self, rng: &mut Rng, pod: &str, level: i64) -> Value {
        let mut containers = Map::new();
        for name in ["c", "sidecar"] {
            if name == "c" || rng.percent(30) {
                let mut container = Map::new();
                if !rng.percent(3) {
                    let spread = rng.range(80, 120);
                    container.insert("cpu".into(), json!(format!("{}m", level * spread / 12)));
                }
                if !rng.percent(3) {
                    container.insert("memory".into(), json!(format!("{}Ki", level * rng.range(5000, 9000))));
                }
                containers.insert(name.into(), Value::Object(container));
            }
        }
        let window = rng.pick(&["30s", "1m0s", "15s", "0s", "20.5s"]);
        json!({"pod": pod, "timestamp": ago(self.now, rng.range(0, 60)), "window": window, "containers": containers})
    }
}

/// A value around an aim: at an edge of the tolerance, off by a milli, anywhere, or absurd.
fn amount(rng: &mut Rng, aim: i64) -> Value {
    let milli = match rng.range(0, 99) {
        0 => return json!(rng.pick(&ABSURD)),
        1 => i64::MAX,
        2 | 3 => 0,
        4..=44 => {
            let percent = rng.pick(&[90, 110, 100, 95, 105, 70, 130, 80, 120]);
            (aim / 100).saturating_mul(percent).saturating_add(aim % 100 * percent / 100 + rng.range(-1, 1))
        }
        45 => -rng.range(0, 2000),
        _ => aim.saturating_mul(rng.range(0, 400)) / 100,
    };
    json!(quantity(milli))
}

fn resource(rng: &mut Rng) -> &'static str {
    rng.pick(&["cpu", "cpu", "cpu", "memory", "memory", "example.com/gpu"])
}

fn resource_target(rng: &mut Rng) -> Value {
    match rng.range(0, 19) {
        0 => json!({"type": "Utilization"}),
        1..=5 => json!({"type": "AverageValue", "averageValue": rng.pick(&["100m", "1", "512Mi", "700m"])}),
        6 => json!({"type": "Utilization", "averageUtilization": 80, "averageValue": "250m"}),
        _ => json!({"type": "Utilization", "averageUtilization": rng.pick(&[80, 50, 100, 120, 200, 1, 65])}),
    }
}

/// A target of an External or Object metric, its thousandths, and whether it is per pod.
fn value_target(rng: &mut Rng) -> (Value, i64, bool) {
    let milli = target_milli(rng);
    let text = quantity(milli);
    match rng.range(0, 19) {
        0 => (json!({"type": "Value"}), milli, false),
        1 => (json!({"type": "Value", "averageValue": text}), milli, true),
        2 => (json!({"type": "AverageValue", "value": text}), milli, false),
        3..=10 => (json!({"type": "Value", "value": text}), milli, false),
        _ => (json!({"type": "AverageValue", "averageValue": text}), milli, true),
    }
}

fn target_milli(rng: &mut Rng) -> i64 {
    match rng.range(0, 29) {
        0 => 1,
        1 => 0,
        2 => 1_000_000_000_000,
        3..=9 => rng.range(1, 5000),
        _ => rng.pick(&[1000, 10_000, 80_000, 500, 300, 7000]),
    }
}

fn selector(rng: &mut Rng) -> (&'static str, Option<&'static str>) {
    if rng.percent(70) { SELECTORS[0] } else { rng.pick(&SELECTORS) }
}

fn identifier(name: &str, selector: &str) -> Value {
    let selector: Value = serde_json::from_str(selector).unwrap_or_default();
    if selector.is_null() { json!({"name": name}) } else { json!({"name": name, "selector": selector}) }
}

fn quantity(milli: i64) -> String {
    if milli % 1000 == 0 { (milli / 1000).to_string() } else { format!("{milli}m") }
}
