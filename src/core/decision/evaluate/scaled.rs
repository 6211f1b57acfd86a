//! KEDA's objects among the HPAs: the same case, measured by triggers.

use std::collections::BTreeSet;

use super::{Case, Measurement, measure::Surroundings, measure::record};
use crate::{
    clamp::Stance,
    decision::{
        BindingKey, Chosen, Note, Rules,
        binding::scale_permission,
        trigger::{Scaled, State, Trials, proposal},
    },
    object::hpa::MetricSpec,
    policy::{Headroom, Mode, Surplus},
    trigger::{self, Signal},
};

/// What triggers add to a case.
#[derive(Default)]
pub(super) struct ByTriggers {
    /// Replicas that room is wanted for without any demand of ours, since somebody else's formula has it.
    pub(super) reach: Option<i32>,
    /// Priority in the division, where a trigger gives one.
    pub(super) priority: Option<i32>,
    /// What is known of each trigger beside its value.
    pub(super) states: Vec<(BindingKey, State)>,
    /// Triggers whose values are served raw.
    pub(super) raw: BTreeSet<BindingKey>,
}

impl Surroundings<'_, '_> {
    pub(super) fn scaled<'a>(&self, scaled: &'a Scaled) -> Case<'a> {
        let (hpa, workload) = (&scaled.hpa, scaled.workload.clone());
        let target = self.view.workloads.get(&workload);
        let mode = Chosen::<Mode>::mode(hpa, self.view, self.policy);
        let mut rules = Rules::of(hpa, mode.value, self.policy);
        rules.workload = workload.clone();
        rules.bypassed = scaled.bypassed;
        let live = self.live(&workload);
        let measured = self.measured(&workload, &live);
        let guard = rules.guard(&live, live.bound, Stance::Hold);
        let trials = Trials { measured: &measured, guard: &guard, keeps: scaled.keeps };
        let mut by_triggers = ByTriggers::default();
        let mut measurements = Vec::new();
        for ours in &scaled.triggers {
            let trial = trials.of(ours);
            let count = proposal(&guard, ours, &trial.raw, live.reported);
            let (name, value) = (&ours.trigger.metric_name, Some(ours.target));
            let spec = MetricSpec { kind: "External".to_owned(), ..MetricSpec::default() };
            let record = record(&spec, name, value, &trial.raw, trial.imputed, count);
            by_triggers.note(ours.key.clone(), trial.state, &ours.trigger, &rules, live.current);
            measurements.push(Measurement { record, served: Some((ours.key.clone(), value, trial.raw)) });
        }
        let active = by_triggers.is_active(self.now);
        // While it is not known whether anything is active, what is there stays.
        if active == Some(false) || (active.is_none() && live.current == 0) {
            rules.min_replicas = scaled.idle;
        }
        Case {
            hpa,
            key: &scaled.key,
            notes: notes(scaled, target.is_some()),
            mode,
            surplus: Chosen::<Surplus>::surplus(hpa, self.policy),
            headroom: headroom(scaled).unwrap_or_else(|| Chosen::<Headroom>::headroom(hpa, self.view, self.policy)),
            rules,
            live,
            measured: measurements,
            workload,
            by_triggers,
        }
    }
}

/// What the triggers say of replicas that may wait for nodes; the largest, since they are about the same pods.
fn headroom(scaled: &Scaled) -> Option<Chosen<Headroom>> {
    let value = match scaled.triggers.iter().filter_map(|ours| ours.trigger.headroom).max()? {
        trigger::Headroom::Replicas(0) => Headroom::None,
        trigger::Headroom::Replicas(most) => Headroom::AtMost(most),
        trigger::Headroom::Autoscaler => Headroom::Auto,
    };
    Some(Chosen { value, by: "metadata of the trigger".to_owned() })
}

fn notes(scaled: &Scaled, known: bool) -> Vec<Note> {
    let mut notes = scaled.notes.clone();
    if !known {
        let cure = scale_permission(&scaled.workload);
        let message =
            format!("the scale of {} is not known, so nothing is served: if it exists, {cure}", scaled.workload);
        notes.push(Note::new("TargetUnknown", message));
    }
    notes
}

impl ByTriggers {
    fn note(&mut self, key: BindingKey, state: State, trigger: &crate::trigger::Trigger, rules: &Rules, current: i32) {
        if trigger.signal == Signal::Capacity {
            self.reach = Some(rules.next_sync(current));
        }
        self.priority = self.priority.max(trigger.priority);
        if !trigger.clamp {
            self.raw.insert(key.clone());
        }
        self.states.push((key, state));
    }

    /// Whether any trigger is active; none while none is and not all are known.
    fn is_active(&self, now: jiff::Timestamp) -> Option<bool> {
        if self.states.iter().any(|(_, state)| state.is_active(now)) {
            return Some(true);
        }
        self.states.iter().all(|(_, state)| state.is_above().is_some()).then_some(false)
    }
}
