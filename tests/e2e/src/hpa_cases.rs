//! Cases for the HPA arithmetic: random ones by seed and a table of named ones, in the input shape of `plimsoll hpa evaluate`.
//!
//! A seed always gives the same case. Times are whole seconds that often meet a window's edge exactly, and values
//! lie around the edges of tolerances, since that is where a port goes wrong. Cases that the API server would refuse
//! are included where the controller still answers; those on which it panics are not.

mod metrics;
mod pods;
mod scaling;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::rng::Rng;

/// A case with a name, and what the real controller answered when it was recorded.
#[derive(Debug, Deserialize)]
pub struct Tabled {
    /// What the case shows.
    pub name: String,
    /// The case.
    #[serde(rename = "in")]
    pub case: Value,
    /// The answer; error texts are replaced by `any`.
    #[serde(rename = "out")]
    pub answer: Value,
}

/// When every random case takes place.
const NOW: i64 = 1_770_000_000;

/// The case of a seed.
#[must_use]
pub fn random(seed: u64) -> Value {
    let mut rng = Rng::new(seed);
    let rng = &mut rng;
    let now = scaling::now(rng);
    let scale = scaling::scale(rng);
    let pods = pods::pods(rng, now);
    let names = pods::names(&pods);
    let (metrics, values) = metrics::metrics(rng, now, &names, &scale);
    let mut case = Map::new();
    case.insert("hpa".into(), scaling::hpa(rng, &scale, metrics));
    if !rng.percent(1) {
        case.insert("scale".into(), scale.json());
    }
    case.insert("pods".into(), Value::Array(pods));
    case.insert("values".into(), values);
    case.insert("now".into(), json!(now.to_string()));
    if !rng.percent(15) {
        case.insert("state".into(), scaling::state(rng, now));
    }
    Value::Object(case)
}

/// The cases of `cases/hpa.jsonl`.
pub fn table() -> Result<Vec<Tabled>, serde_json::Error> {
    include_str!("../cases/hpa.jsonl").lines().map(serde_json::from_str).collect()
}

/// So many seconds before a moment.
fn ago(now: Timestamp, seconds: i64) -> String {
    now.saturating_sub(SignedDuration::from_secs(seconds)).unwrap_or(now).to_string()
}
