//! External and Object metrics with an `AverageValue` target: the one kind that can be capped exactly.
//!
//! The controller proposes `status.replicas` while `v / (T n)` is within the tolerance and `ceil(v / T)` otherwise,
//! whatever the state of the pods. So `v <= C T` suffices, except when more than `C` replicas are reported and the
//! value is in the dead zone of the tolerance: then it has to leave the zone downwards.

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
    if lost && average_proposal(guard, target, wanted) >= guard.bound {
        return Clamped {
            effect: Effect::Held,
            ..capped(&guard.holding(), target, wanted.max(full(guard.current, target)))
        };
    }
    if shed.value == raw { shed } else { Clamped { effect: Effect::Shed, ..shed } }
}

fn capped(guard: &Guard, target: Milli, raw: Milli) -> Clamped {
    let value = raw.min(full(guard.cap(), target));
    let effect = |value| if value == raw { Effect::Raw } else { Effect::Capped };
    if guard.reported <= guard.cap() || below_dead_zone(guard, target, value) {
        return Clamped { value, effect: effect(value) };
    }
    if guard.tolerates_surge() || 1.0 - guard.tolerances.down <= EDGE {
        return Clamped { value, effect: Effect::SurgeTolerated };
    }
    let value = leave_dead_zone(guard, target, value);
    Clamped { value, effect: effect(value) }
}

/// The value that proposes exactly that many replicas.
fn full(replicas: i32, target: Milli) -> Milli {
    let value = i128::from(replicas) * i128::from(target.0);
    Milli(i64::try_from(value).unwrap_or(MILLI_MAX)).servable()
}

/// The controller's own expression, a hair stricter: below it, the ratio is outside the tolerance for sure.
fn below_dead_zone(guard: &Guard, target: Milli, value: Milli) -> bool {
    let ratio = value.0 as f64 / (target.0 as f64 * f64::from(guard.reported));
    ratio < lower_edge(guard.tolerances)
}

fn lower_edge(tolerances: Tolerances) -> f64 {
    1.0 - tolerances.down - EDGE
}

fn leave_dead_zone(guard: &Guard, target: Milli, value: Milli) -> Milli {
    let edge = lower_edge(guard.tolerances) * target.0 as f64 * f64::from(guard.reported);
    let mut value = value.min(Milli(milli_above(edge).saturating_add(1)));
    while value.0 > 0 && !below_dead_zone(guard, target, value) {
        value.0 -= 1;
    }
    value
}
