//! What people hear of decisions: a log line and a Kubernetes Event when something changes, silence when nothing does.

use plimsoll_core::{
    answer::Reason,
    cluster::View,
    decision::{Decision, Snapshot},
    object::{ObjectKey, ObjectMeta},
    policy::Mode,
};

use crate::kubernetes::events::{Event, Publisher, Regarding};

/// Something about one HPA that holds or does not.
struct Finding {
    reason: &'static str,
    warning: bool,
    note: String,
}

/// Announces every finding that did not hold in the previous snapshot.
pub(super) fn changes(previous: Option<&Snapshot>, snapshot: &Snapshot, view: &View, events: &Publisher) {
    for (key, decision) in &snapshot.decisions {
        // Everything in a namespace that is being deleted looks broken for a moment, and no Event can be made there.
        if view.namespaces.get(&*key.namespace).is_some_and(|namespace| namespace.terminating) {
            continue;
        }
        let before = previous.and_then(|previous| previous.decisions.get(key));
        let known: Vec<_> = before.map(findings).unwrap_or_default();
        for finding in findings(decision) {
            if known.iter().all(|known| known.reason != finding.reason) {
                announce(key, finding, view, events);
            }
        }
        log_change(before, decision);
    }
}

fn findings(decision: &Decision) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(demand) = decision.demand.filter(|demand| *demand > decision.grant) {
        let would = if decision.mode.value == Mode::Observe { "would be " } else { "" };
        findings.push(Finding {
            reason: "CapacityClamped",
            warning: false,
            note: format!(
                "demand for {demand} replicas {would}capped at {}: {} bound, {} fit, limited by {}",
                decision.grant,
                decision.bound,
                decision.fits.lo,
                label(decision.limiting_factor)
            ),
        });
    }
    // What has not been asked yet is about to be; whatever comes of that is told.
    let refused =
        decision.demands.iter().filter(|demand| demand.refused.is_some_and(|reason| reason != Reason::NotReady));
    findings.extend(refused.map(|demand| Finding {
        reason: "SignalUnknown",
        warning: true,
        note: format!("{}: {}", demand.metric, demand.reason),
    }));
    let notes = decision.notes.iter();
    findings.extend(notes.map(|note| Finding { reason: note.code, warning: true, note: note.message.clone() }));
    findings
}

fn announce(hpa: &ObjectKey, finding: Finding, view: &View, events: &Publisher) {
    tracing::info!(%hpa, reason = finding.reason, note = %finding.note, "announced");
    events.publish(Event {
        regarding: regarding(hpa, view),
        warning: finding.warning,
        reason: finding.reason,
        action: "Evaluate",
        note: finding.note,
    });
}

/// The object that people wrote: the HPA, or the object of KEDA that it stands for.
fn regarding(hpa: &ObjectKey, view: &View) -> Regarding {
    let of_keda = |kind: &str, metadata: &ObjectMeta| Regarding {
        api_version: "keda.sh/v1alpha1".to_owned(),
        kind: kind.to_owned(),
        namespace: metadata.namespace.clone(),
        name: metadata.name.clone(),
        uid: metadata.uid.clone(),
    };
    let ours = |key: &ObjectKey| key.namespace == hpa.namespace;
    let objects = view.scaled_objects.iter().filter(|(key, _)| ours(key));
    if let Some((_, object)) = objects.into_iter().find(|(_, object)| object.hpa_name() == hpa.name) {
        return of_keda("ScaledObject", &object.metadata);
    }
    let job = hpa.name.strip_prefix("scaledjob/").map(|name| ObjectKey::new(&*hpa.namespace, name));
    if let Some(job) = job.and_then(|key| view.scaled_jobs.get(&key)) {
        return of_keda("ScaledJob", &job.metadata);
    }
    Regarding {
        api_version: "autoscaling/v2".to_owned(),
        kind: "HorizontalPodAutoscaler".to_owned(),
        namespace: hpa.namespace.to_string(),
        name: hpa.name.to_string(),
        uid: view.hpas.get(hpa).map(|hpa| hpa.metadata.uid.clone()).unwrap_or_default(),
    }
}

/// One line per change of what is decided, not of what is measured.
fn log_change(before: Option<&Decision>, now: &Decision) {
    let essence = |decision: &Decision| (decision.mode.value, decision.grant, decision.cap, decision.limiting_factor);
    if before.is_some_and(|before| essence(before) == essence(now)) {
        return;
    }
    tracing::info!(
        hpa = %now.hpa,
        workload = %now.workload,
        mode = ?now.mode.value,
        mode_by = now.mode.by,
        demand = now.demand,
        current = now.current,
        bound = now.bound,
        ceiling = now.ceiling,
        grant = now.grant,
        cap = now.cap,
        limiting_factor = %label(now.limiting_factor),
        digest = now.digest,
        "decision"
    );
}

/// The name of a closed enum's variant as the status API writes it.
fn label(value: impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}
