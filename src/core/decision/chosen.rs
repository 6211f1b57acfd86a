//! What people chose by annotation, and where: HPA, namespace, then configuration.

use serde::Serialize;

use crate::{
    cluster::View,
    object::HorizontalPodAutoscaler,
    policy::{HOLD_ANNOTATION, MODE_ANNOTATION, Mode, Policy, SHED_ANNOTATION, Surplus},
};

/// A choice and who made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Chosen<T> {
    /// The choice.
    pub value: T,
    /// Where it was made.
    pub by: String,
}

impl Chosen<Mode> {
    /// The mode of an HPA: its annotation, then that of the namespace, then configuration.
    ///
    /// Where a node autoscaler is at work, configuration alone means `Observe`: without Pending pods it would never
    /// act, and this version does not allow Pending pods on purpose.
    pub(super) fn mode(hpa: &HorizontalPodAutoscaler, view: &View, policy: &Policy) -> Self {
        if let Some(chosen) = Self::annotated(hpa, view) {
            return chosen;
        }
        match yields(hpa, view, policy) {
            Some(by) => Self { value: Mode::Observe, by },
            None => Self { value: policy.mode, by: "configuration".to_owned() },
        }
    }

    fn annotated(hpa: &HorizontalPodAutoscaler, view: &View) -> Option<Self> {
        let namespace = &hpa.metadata.namespace;
        let of_namespace = view.namespaces.get(namespace).and_then(|space| space.annotations.get(MODE_ANNOTATION));
        let annotations = [
            (hpa.metadata.annotations.get(MODE_ANNOTATION), format!("annotation of the HPA {}", hpa.metadata.key())),
            (of_namespace, format!("annotation of the namespace {namespace}")),
        ];
        annotations.into_iter().find_map(|(annotation, by)| {
            let value = annotation.and_then(|text| parse_mode(text))?;
            Some(Self { value, by })
        })
    }
}

impl Chosen<Surplus> {
    /// What happens to a surplus of an HPA's workload.
    pub(super) fn surplus(hpa: &HorizontalPodAutoscaler, policy: &Policy) -> Self {
        let annotation = |name: &str| hpa.metadata.annotations.get(name).map(String::as_str);
        let by = format!("annotation of the HPA {}", hpa.metadata.key());
        if annotation(HOLD_ANNOTATION).is_some_and(|value| value.eq_ignore_ascii_case("always")) {
            return Self { value: Surplus::Hold, by };
        }
        if annotation(SHED_ANNOTATION).is_some_and(|value| value.eq_ignore_ascii_case("now")) {
            return Self { value: Surplus::ShedNow, by };
        }
        Self { value: policy.surplus, by: "configuration".to_owned() }
    }
}

/// Why the configured `Enforce` does not hold for an HPA, if a node autoscaler is the reason.
pub(super) fn yields(hpa: &HorizontalPodAutoscaler, view: &View, policy: &Policy) -> Option<String> {
    let evidence = view.node_autoscaler.as_ref().filter(|_| policy.mode == Mode::Enforce)?;
    let by = format!("a node autoscaler is at work ({evidence}); annotate {MODE_ANNOTATION}=Enforce to override");
    Chosen::annotated(hpa, view).is_none().then_some(by)
}

/// The annotation of an HPA or its namespace that names no mode, if there is one.
pub(super) fn unknown_mode<'a>(hpa: &'a HorizontalPodAutoscaler, view: &'a View) -> Option<&'a str> {
    let of_namespace = view.namespaces.get(&hpa.metadata.namespace).map(|space| &space.annotations);
    [Some(&hpa.metadata.annotations), of_namespace]
        .into_iter()
        .flatten()
        .filter_map(|annotations| annotations.get(MODE_ANNOTATION))
        .find(|text| parse_mode(text).is_none())
        .map(String::as_str)
}

fn parse_mode(text: &str) -> Option<Mode> {
    [("Enforce", Mode::Enforce), ("Observe", Mode::Observe), ("Off", Mode::Off)]
        .into_iter()
        .find(|(name, _)| text.trim().eq_ignore_ascii_case(name))
        .map(|(_, mode)| mode)
}
