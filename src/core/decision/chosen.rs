//! What people chose by annotation, and where: HPA, namespace, then configuration.

use serde::Serialize;

use crate::{
    cluster::View,
    object::HorizontalPodAutoscaler,
    policy::{HEADROOM_ANNOTATION, HOLD_ANNOTATION, Headroom, MODE_ANNOTATION, Mode, Policy, SHED_ANNOTATION, Surplus},
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
    pub(super) fn mode(hpa: &HorizontalPodAutoscaler, view: &View, policy: &Policy) -> Self {
        let configured = || Self { value: policy.mode, by: "configuration".to_owned() };
        Self::annotated(hpa, view).unwrap_or_else(configured)
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

impl Chosen<Headroom> {
    /// How many replicas of an HPA's workload may wait for nodes that do not exist yet.
    pub(super) fn headroom(hpa: &HorizontalPodAutoscaler, view: &View, policy: &Policy) -> Self {
        let namespace = &hpa.metadata.namespace;
        let of_namespace = view.namespaces.get(namespace).map(|space| &space.annotations);
        let own = format!("annotation of the HPA {}", hpa.metadata.key());
        let annotations = [
            (Some(&hpa.metadata.annotations), own),
            (of_namespace, format!("annotation of the namespace {namespace}")),
        ];
        let chosen = annotations.into_iter().find_map(|(annotations, by)| {
            let value = parse_headroom(annotations?.get(HEADROOM_ANNOTATION)?)?;
            Some(Self { value, by })
        });
        chosen.unwrap_or_else(|| Self { value: policy.headroom, by: "configuration".to_owned() })
    }
}

/// The annotation of an HPA or its namespace that names no headroom, if there is one.
pub(super) fn unknown_headroom<'a>(hpa: &'a HorizontalPodAutoscaler, view: &'a View) -> Option<&'a str> {
    let of_namespace = view.namespaces.get(&hpa.metadata.namespace).map(|space| &space.annotations);
    let annotations = [Some(&hpa.metadata.annotations), of_namespace].into_iter().flatten();
    let mut texts = annotations.filter_map(|annotations| annotations.get(HEADROOM_ANNOTATION));
    texts.find(|text| parse_headroom(text).is_none()).map(String::as_str)
}

fn parse_headroom(text: &str) -> Option<Headroom> {
    match text.trim() {
        text if text.eq_ignore_ascii_case("auto") => Some(Headroom::Auto),
        text if text.eq_ignore_ascii_case("none") => Some(Headroom::None),
        text => text.parse().ok().map(Headroom::AtMost),
    }
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
