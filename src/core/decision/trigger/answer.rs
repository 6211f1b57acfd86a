//! Answering KEDA from a snapshot and the newest watched scale.

use std::sync::Arc;

use jiff::Timestamp;

use super::{State, scaled::key};
use crate::{
    answer::{Reason, Refusal},
    decision::{Binding, BindingKey, Live, Snapshot, answering::Situation, answering::one_workload},
    object::{ObjectKey, WorkloadKey},
    policy::Mode,
    quantity::Milli,
    trigger::Trigger,
};

/// Whether there is a reason to have replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TriggerActivity {
    /// There is one, and if there are no replicas, one fits.
    pub active: bool,
    /// There are no replicas.
    pub at_zero: bool,
}

/// The value of a trigger of a ScaledObject or ScaledJob.
pub fn answer_trigger(
    snapshot: &Snapshot,
    live: impl Fn(&WorkloadKey) -> Option<Live>,
    object: &ObjectKey,
    trigger: &Arc<Trigger>,
    now: Timestamp,
) -> Result<Milli, Refusal> {
    let key = key(object, trigger);
    let bindings = known(snapshot, &key, object)?;
    let situation = Situation::new(snapshot, bindings, &live, now);
    let answer = situation.and_then(|situation| situation.whole(&trigger.metric_name));
    answer.map(|answer| answer.value).or_else(|refusal| {
        let keeps = snapshot.triggers.get(&key).is_some_and(|state| state.keeps);
        let held = keeps.then(|| Situation::held(snapshot, bindings, &live, now)).flatten();
        held.ok_or(refusal)
    })
}

/// Whether a trigger is active.
pub fn trigger_activity(
    snapshot: &Snapshot,
    live: impl Fn(&WorkloadKey) -> Option<Live>,
    object: &ObjectKey,
    trigger: &Arc<Trigger>,
    now: Timestamp,
) -> Result<TriggerActivity, Refusal> {
    let key = key(object, trigger);
    let bindings = known(snapshot, &key, object)?;
    let (Some(binding), Some(state)) = (bindings.first(), snapshot.triggers.get(&key)) else {
        return Err(unknown(object));
    };
    let behind = now.duration_since(snapshot.at);
    if behind > snapshot.policy.last_known_good_bound {
        let message =
            format!("the activity of {object} is unknown: the last evaluation was {} s ago", behind.as_secs());
        return Err(Refusal { reason: Reason::Stale, message });
    }
    let live = live(&binding.workload);
    let at_zero = live.as_ref().is_some_and(|live| live.current == 0 && live.matching == 0);
    let active = if at_zero {
        above(state)? && has_room(snapshot, binding, state)
    } else {
        let stays = state.keeps && live.is_some_and(|live| live.current > 0);
        state.is_warming(now) || above(state).or_else(|refusal| if stays { Ok(true) } else { Err(refusal) })?
    };
    Ok(TriggerActivity { active, at_zero })
}

fn above(state: &State) -> Result<bool, Refusal> {
    match (&state.activity, state.is_above()) {
        (_, Some(above)) => Ok(above),
        (Err(refusal), None) => Err(refusal.clone()),
        (Ok(_), None) => Ok(false),
    }
}

/// A first replica that cannot be placed is not asked for: KEDA sets it whatever value it is served.
fn has_room(snapshot: &Snapshot, binding: &Binding, state: &State) -> bool {
    let enforces = state.clamp && binding.rules.mode == Mode::Enforce;
    !enforces || snapshot.decisions.get(&binding.hpa).is_none_or(|decision| decision.grant > 0)
}

fn known<'s>(snapshot: &'s Snapshot, key: &BindingKey, object: &ObjectKey) -> Result<&'s [Binding], Refusal> {
    one_workload(snapshot, key)?.ok_or_else(|| unknown(object))
}

/// Metadata that were just changed arrive here before their object does.
fn unknown(object: &ObjectKey) -> Refusal {
    let message = format!(
        "no ScaledObject or ScaledJob {object} with a trigger of exactly this metadata has been evaluated yet: it is so \
         within seconds after a change; if it stays, grant list and watch on scaledobjects and scaledjobs in keda.sh"
    );
    Refusal { reason: Reason::NotReady, message }
}
