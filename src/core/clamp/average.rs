//! External and Object metrics with an `AverageValue` target: the one kind that can be capped exactly.
//!
//! The controller proposes `status.replicas` while `v / (T n)` is within the tolerance and `ceil(v / T)` otherwise,
//! whatever the state of the pods. So `v <= C T` suffices, except when more than `C` replicas are reported and the
//! value is in the dead zone of the tolerance: then it has to leave the zone downwards. It leaves the zone of
//! the lowest such count: it falls while a rollout ends, and the controller may have seen that before us. That undershoots
//! `C` by less than the tolerance times `n`, which ends nothing before a scale-down window has passed; where the window
//! is so short that it would end running pods, the surge is left alone and said.

use super::{Clamped, EDGE, Effect, Guard, LARGEST_PROPOSAL, milli_above};
use crate::{
    hpa::{Tolerances, proposal},
    quantity::{MILLI_MAX, Milli},
};

/// What the controller would propose for that sum.
#[must_use]
pub fn average_proposal(guard: &Guard, target: Milli, value: Milli) -> i32 {
    proposal::external_average_value(value, target, guard.reported, guard.tolerances)
}

/// Clamps the sum of a metric with that target.
///
/// `carries`: while a surplus is shed, metrics of the other kinds can only vote low; one metric of this kind then
/// proposes the cap itself, so that what is shed is the surplus and no more.
#[must_use]
pub fn average(guard: &Guard, target: Milli, raw: Milli, carries: bool) -> Clamped {
    let raw = raw.servable();
    if guard.max_is_within_cap() && (raw.0 as f64) / (target.0 as f64) < LARGEST_PROPOSAL {
        return Clamped { value: raw, effect: Effect::Raw };
    }
    if !guard.sheds() {
        return capped(guard, target, raw);
    }
    let wanted = if carries { raw.max(full(guard.cap(), target)) } else { raw };
    let shed = capped(guard, target, wanted);
    let lost = average_proposal(guard, target, shed.value) < guard.bound;
    let stuck = shed.effect == Effect::SurgeTolerated;
    if stuck || (lost && average_proposal(guard, target, wanted) >= guard.bound) {
        let held = capped(&guard.holding(), target, wanted.max(full(guard.current, target)));
        let leaks = held.effect == Effect::SurgeTolerated && guard.reported > guard.current;
        return if leaks { held } else { Clamped { effect: Effect::Held, ..held } };
    }
    if shed.value == raw { shed } else { Clamped { effect: Effect::Shed, ..shed } }
}

fn capped(guard: &Guard, target: Milli, raw: Milli) -> Clamped {
    let value = raw.min(full(guard.cap(), target));
    let effect = |value| if value == raw { Effect::Raw } else { Effect::Capped };
    if guard.reported <= guard.cap() || below_dead_zone(guard, target, value) {
        return Clamped { value, effect: effect(value) };
    }
    let low = leave_dead_zone(guard, target, value);
    if 1.0 - guard.tolerances.down <= EDGE || ends_pods(guard, target, value, low) {
        return Clamped { value, effect: Effect::SurgeTolerated };
    }
    Clamped { value: low, effect: effect(low) }
}

/// Whether serving `low` instead of `value` would end pods within seconds that run and are asked for.
fn ends_pods(guard: &Guard, target: Milli, value: Milli, low: Milli) -> bool {
    let asked = |value| average_proposal(&Guard { reported: 0, ..*guard }, target, value);
    guard.shrinks_at_once() && (guard.current <= guard.grant || asked(low) < guard.bound.min(asked(value)))
}

/// The value that proposes exactly that many replicas.
fn full(replicas: i32, target: Milli) -> Milli {
    let value = i128::from(replicas) * i128::from(target.0);
    Milli(i64::try_from(value).unwrap_or(MILLI_MAX)).servable()
}

/// The controller's own expression, a hair stricter: below it, the ratio is outside the tolerance for sure, of every
/// count that must not be kept.
fn below_dead_zone(guard: &Guard, target: Milli, value: Milli) -> bool {
    let ratio = value.0 as f64 / (target.0 as f64 * lowest_above(guard));
    ratio < lower_edge(guard.tolerances)
}

/// The lowest count that must not be kept, of those that the controller may have seen when we have seen `n`.
fn lowest_above(guard: &Guard) -> f64 {
    f64::from(guard.cap().max(guard.current).saturating_add(1).min(guard.reported))
}

fn lower_edge(tolerances: Tolerances) -> f64 {
    1.0 - tolerances.down - EDGE
}

fn leave_dead_zone(guard: &Guard, target: Milli, value: Milli) -> Milli {
    let edge = lower_edge(guard.tolerances) * target.0 as f64 * lowest_above(guard);
    let mut value = value.min(Milli(milli_above(edge).saturating_add(1)));
    while value.0 > 0 && !below_dead_zone(guard, target, value) {
        value.0 -= 1;
    }
    value
}
