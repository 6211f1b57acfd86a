//! The explanation that travels with a value: `metricLabels` of the external metrics API, seen with `kubectl get --raw`.
//!
//! Every value is a valid label value, so that whatever reads these lists as label sets can.

use super::served::Whole;
use crate::{
    clamp::{Clamped, Guard},
    decision::{Binding, Decision},
    object::meta::StringMap,
    policy::Mode,
    signal::Quality,
};

/// Labels of a value that was clamped, or would have been.
pub(super) fn of(
    binding: &Binding,
    decision: Option<&Decision>,
    raw: Whole,
    clamped: Clamped,
    guard: &Guard,
    mode: Mode,
) -> StringMap {
    let mut labels = StringMap::new();
    let mut set = |name: &str, value: String| labels.insert(name.to_owned(), value);
    set("raw", raw.value.quantity().to_string());
    set("quality", quality(raw.quality).to_owned());
    set("mode", mode_name(mode).to_owned());
    set("cap", guard.cap().to_string());
    set("grant", guard.grant.to_string());
    set("reason", clamped.effect.as_str().to_owned());
    if let Some(target) = binding.target {
        set("target", target.value.quantity().to_string());
    }
    if let Some(decision) = decision {
        set("limitingFactor", name_of(&decision.limiting_factor));
    }
    if mode == Mode::Observe {
        set("wouldServe", clamped.value.quantity().to_string());
    }
    labels
}

/// Labels of a capacity metric that does not vote.
pub(super) fn no_vote(nodes: u32) -> StringMap {
    [("raw", nodes.to_string()), ("reason", "noVote".to_owned()), ("quality", "live".to_owned())]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
}

fn quality(quality: Quality) -> &'static str {
    match quality {
        Quality::Live => "live",
        Quality::LastKnownGood => "lastKnownGood",
        Quality::Hold => "hold",
        Quality::Unknown => "unknown",
    }
}

const fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Enforce => "Enforce",
        Mode::Observe => "Observe",
        Mode::Off => "Off",
    }
}

/// The name under which a unit variant is written.
fn name_of(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        _ => "unknown".to_owned(),
    }
}
