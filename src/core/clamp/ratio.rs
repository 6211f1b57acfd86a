//! External and Object metrics with a `Value` target: a ratio that the controller multiplies by *its* count of Ready
//! pods.
//!
//! Within the tolerance it proposes the current count; that, and only that, is free of races. Above, a value is safe
//! only if its proposal is at most the cap for every count of Ready pods that the controller may see, terminating
//! ones included. So what cannot grow safely is held by serving exactly the target.

use super::{Clamped, EDGE, Effect, Guard, LARGEST_PROPOSAL, milli_above};
use crate::{
    hpa::proposal,
    quantity::{MILLI_MAX, Milli},
};

/// What the controller would propose for that sum.
#[must_use]
pub fn ratio_proposal(guard: &Guard, target: Milli, value: Milli) -> i32 {
    let ready = usize::try_from(guard.ready).unwrap_or(0);
    proposal::external_value(value, target, guard.current, ready, guard.tolerances)
}

/// Clamps the sum of a metric with that target.
///
/// `carried`: while a surplus is shed, a metric of the `AverageValue` kind proposes the cap, so that this one may vote
/// lower.
#[must_use]
pub fn ratio(guard: &Guard, target: Milli, raw: Milli, carried: bool) -> Clamped {
    let raw = raw.servable();
    if guard.sheds() {
        return shed(guard, target, raw, carried);
    }
    let cap = guard.cap();
    let ready = guard.most_ready();
    let bounded = raw.0 as f64 / target.0 as f64 * f64::from(ready) < LARGEST_PROPOSAL;
    if harmless(guard, target, raw, cap, ready) || (bounded && guard.max_is_within_cap()) {
        return Clamped { value: raw, effect: Effect::Raw };
    }
    let value = largest_within(target, cap, ready);
    if guard.current > 0 && ratio_proposal(guard, target, value) <= guard.current {
        return Clamped { value: target, effect: Effect::Held };
    }
    Clamped { value, effect: Effect::Capped }
}

fn shed(guard: &Guard, target: Milli, raw: Milli, carried: bool) -> Clamped {
    let edge = below_tolerance(guard, target);
    // What runs now is cut to the cap; what may become Ready meanwhile must not grow beyond the current count.
    let limits = [(guard.cap(), guard.assigned.max(guard.ready).max(1)), (guard.holding_cap(), guard.most_ready())];
    if raw <= edge && limits.iter().all(|(cap, ready)| proposes_at_most(raw, target, *cap, *ready)) {
        return Clamped { value: raw, effect: Effect::Raw };
    }
    let value =
        limits.iter().fold(raw.min(edge), |value, (cap, ready)| value.min(largest_within(target, *cap, *ready)));
    let kept = ratio_proposal(guard, target, value);
    if value.0 < 0 || guard.cap() == 0 || (kept < guard.bound && !carried) || kept > guard.cap() {
        return Clamped { value: target, effect: Effect::Held };
    }
    Clamped { value, effect: Effect::Shed }
}

/// The largest value whose ratio is below the tolerance for sure; negative if there is none.
fn below_tolerance(guard: &Guard, target: Milli) -> Milli {
    let edge = 1.0 - guard.tolerances.down - EDGE;
    let mut value = Milli(milli_above(edge * target.0 as f64));
    while value.0 >= 0 && value.0 as f64 / target.0 as f64 >= edge {
        value.0 -= 1;
    }
    value
}

/// Whether no state that the guard stands for makes more than the cap of the value.
fn harmless(guard: &Guard, target: Milli, value: Milli, cap: i32, ready: i32) -> bool {
    let ratio = value.0 as f64 / target.0 as f64;
    let surely_within =
        1.0 - guard.tolerances.down + EDGE <= ratio && ratio <= 1.0 + guard.tolerances.up - EDGE && guard.current > 0;
    surely_within || proposes_at_most(value, target, cap, ready)
}

/// The controller's expression for the most Ready pods; it falls with their number.
fn proposes_at_most(value: Milli, target: Milli, cap: i32, ready: i32) -> bool {
    let ratio = value.0 as f64 / target.0 as f64;
    (ratio * f64::from(ready)).ceil() <= f64::from(cap)
}

/// The largest value that proposes at most the cap for that many Ready pods, rounding included.
fn largest_within(target: Milli, cap: i32, ready: i32) -> Milli {
    let exact = i128::from(target.0) * i128::from(cap) / i128::from(ready.max(1));
    let mut value = Milli(i64::try_from(exact).unwrap_or(MILLI_MAX)).servable();
    while value.0 > 0 && !proposes_at_most(value, target, cap, ready) {
        value.0 -= 1;
    }
    value
}
