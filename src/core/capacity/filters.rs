//! The filters of kube-scheduler that look at a node alone: cordon, taints, node selector, required node affinity, and
//! what the kubelet must be able to do.
//!
//! Rules of v1.36.3: plugins `nodeunschedulable`, `tainttoleration`, `nodeaffinity`, `nodedeclaredfeatures`;
//! `k8s.io/component-helpers/scheduling/corev1/nodeaffinity`, `k8s.io/component-helpers/nodedeclaredfeatures`. Readiness is no scheduler filter: a not-ready node is
//! tainted by the node controller, and as long as its taints do not repel, the scheduler uses it. It must not be
//! promised to anybody, but what it would take cannot be denied either.

use std::sync::Arc;

use serde::Serialize;

use super::{gpus, requests, volumes::Place};

use crate::object::{
    Node, PodSpec,
    meta::StringMap,
    node::Taint,
    pod::{NodeSelectorRequirement, NodeSelectorTerm, Toleration},
};

/// What of a template the node filters read.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Filter {
    tolerations: Vec<Toleration>,
    /// Keys of [`UNHEALTHY`] taints that admission makes the pods tolerate.
    defaulted: Vec<&'static str>,
    node_selector: StringMap,
    affinity: Option<Vec<NodeSelectorTerm>>,
    /// Where its volumes can be used.
    places: Vec<Place>,
    /// What the kubelet must declare.
    features: Vec<&'static str>,
    /// Devices of which a container asks for several.
    pub(super) several: Vec<String>,
    /// Whether it asks for GPUs of NVIDIA's.
    nvidia: bool,
}

/// Whether a node is open to a template.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Verdict {
    /// All filters pass.
    Open,
    /// Cordoned.
    Cordoned,
    /// A taint is not tolerated: `key=value:Effect`.
    Tainted(String),
    /// The node selector or the required node affinity does not match.
    Unselected,
    /// The kubelet does not declare a feature that the pods need.
    Undeclared(&'static str),
    /// A volume cannot be used there: which, in words.
    Elsewhere(String),
    /// Nothing stops the scheduler, but its GPUs are not to be counted on: why, in words.
    Unusable(String),
    /// Not ready, or tainted as such, and yet nothing stops the scheduler.
    NotReady,
    /// Nothing stops the scheduler, but how much is free cannot be known: why, in words.
    Obscured(Arc<str>),
}

impl Verdict {
    /// Whether the scheduler would use the node, be it promised or not.
    pub(super) fn may_bind(&self) -> bool {
        matches!(self, Self::Open | Self::NotReady | Self::Unusable(_) | Self::Obscured(_))
    }
}

const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
const UNHEALTHY: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

// === impl Filter ===

impl Filter {
    /// The filters of a pod specification.
    pub(super) fn of(spec: &PodSpec, places: Vec<Place>) -> Self {
        Self {
            tolerations: spec.tolerations.clone(),
            defaulted: UNHEALTHY.into_iter().filter(|key| is_defaulted(spec, key)).collect(),
            node_selector: spec.node_selector.clone(),
            affinity: spec.required_node_affinity().map(|selector| selector.node_selector_terms.clone()),
            places,
            features: features(spec),
            several: gpus::several(spec),
            nvidia: requests::of_spec(spec).iter().any(|(name, _)| name.starts_with(gpus::NVIDIA)),
        }
    }

    /// Where its volumes, and claims that its pods share, can be used.
    pub(super) fn places(&self) -> &[Place] {
        &self.places
    }

    /// Labels of nodes that it asks for, each with whether it also passes a node that does not have it.
    pub(super) fn labels(&self) -> impl Iterator<Item = (&str, bool)> {
        let terms = self.affinity.iter().flatten().flat_map(|term| &term.match_expressions);
        let passes = |operator: &str| matches!(operator, "NotIn" | "DoesNotExist");
        let asked = terms.map(move |it| (it.key.as_str(), passes(&it.operator)));
        self.node_selector.keys().map(|key| (key.as_str(), false)).chain(asked)
    }

    /// Judges a node.
    pub(super) fn judge(&self, node: &Node) -> Verdict {
        if node.spec.unschedulable && !self.tolerates(&cordon()) {
            return Verdict::Cordoned;
        }
        let repelling = || node.spec.taints.iter().filter(|taint| self.is_repelled_by(taint));
        if let Some(taint) = repelling().find(|taint| !self.tolerates_by_default(taint)) {
            return Verdict::Tainted(print(taint));
        }
        if !self.selects(node) {
            return Verdict::Unselected;
        }
        if let Some(place) = self.places.iter().find(|place| !place.holds(node)) {
            return Verdict::Elsewhere(place.describe());
        }
        let declared = &node.status.declared_features;
        if let Some(missing) = self.features.iter().find(|name| !declared.iter().any(|it| it == *name)) {
            return Verdict::Undeclared(missing);
        }
        if !node.is_ready() || repelling().next().is_some() {
            return Verdict::NotReady;
        }
        gpus::unusable(node, &self.several, self.nvidia).map_or(Verdict::Open, Verdict::Unusable)
    }

    /// Whether the node selector and the required node affinity select a node.
    pub(super) fn selects(&self, node: &Node) -> bool {
        let labels = &node.metadata.labels;
        self.node_selector.iter().all(|(key, value)| labels.get(key) == Some(value.as_str()))
            && self.affinity.as_ref().is_none_or(|terms| terms.iter().any(|term| term_matches(term, node)))
    }

    /// Whether a taint of a node repels, as the pods are after admission.
    pub(super) fn is_repelled(&self, node: &Node) -> bool {
        node.spec.taints.iter().any(|taint| self.is_repelled_by(taint) && !self.tolerates_by_default(taint))
    }

    fn tolerates_by_default(&self, taint: &Taint) -> bool {
        taint.effect == "NoExecute" && self.defaulted.contains(&taint.key.as_str())
    }

    fn is_repelled_by(&self, taint: &Taint) -> bool {
        matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute") && !self.tolerates(taint)
    }

    fn tolerates(&self, taint: &Taint) -> bool {
        self.tolerations.iter().any(|toleration| toleration.tolerates(taint))
    }
}

/// What the kubelet must be able to do for pods of a specification (`InferForScheduling`).
fn features(spec: &PodSpec) -> Vec<&'static str> {
    let mut containers = spec.containers.iter().chain(&spec.init_containers);
    let restarts_all =
        containers.any(|it| it.restart_policy_rules.iter().any(|it| it.action == "RestartAllContainers"));
    let maps_users = spec.host_network && spec.host_users == Some(false);
    let needs =
        [(restarts_all, "RestartAllContainersOnContainerExits"), (maps_users, "UserNamespacesHostNetworkSupport")];
    needs.into_iter().filter(|(needed, _)| *needed).map(|(_, name)| name).collect()
}

/// The taint that a cordon stands for.
fn cordon() -> Taint {
    Taint { key: UNSCHEDULABLE.to_owned(), effect: "NoSchedule".to_owned(), ..Taint::default() }
}

/// Whether any of some taints repels pods of a specification.
pub(super) fn repels(taints: &[Taint], spec: &PodSpec) -> bool {
    let filter = Filter::of(spec, Vec::new());
    taints.iter().any(|taint| filter.is_repelled_by(taint))
}

/// Admission adds a toleration of the taint with `NoExecute` unless the pod has any for it
/// (`plugin/pkg/admission/defaulttolerationseconds`).
fn is_defaulted(spec: &PodSpec, key: &str) -> bool {
    !spec.tolerations.iter().any(|toleration| {
        (toleration.key == key || toleration.key.is_empty())
            && (toleration.effect == "NoExecute" || toleration.effect.is_empty())
    })
}

fn print(taint: &Taint) -> String {
    if taint.value.is_empty() {
        format!("{}:{}", taint.key, taint.effect)
    } else {
        format!("{}={}:{}", taint.key, taint.value, taint.effect)
    }
}

/// A term without requirements, or with one that is not valid, matches nothing.
pub(super) fn term_matches(term: &NodeSelectorTerm, node: &Node) -> bool {
    let some = !(term.match_expressions.is_empty() && term.match_fields.is_empty());
    some && term.match_expressions.iter().all(is_valid_expression)
        && term.match_fields.iter().all(is_valid_field)
        && term
            .match_expressions
            .iter()
            .all(|requirement| holds(requirement, node.metadata.labels.get(&requirement.key)))
        && term.match_fields.iter().all(|requirement| {
            // Fields that a node does not have read as empty.
            let name = if requirement.key == "metadata.name" { node.metadata.name.as_str() } else { "" };
            holds(requirement, Some(name))
        })
}

/// `labels.NewRequirement`: how many values each operator takes.
fn is_valid_expression(requirement: &NodeSelectorRequirement) -> bool {
    let values = &requirement.values;
    match requirement.operator.as_str() {
        "In" | "NotIn" => !values.is_empty(),
        "Exists" | "DoesNotExist" => values.is_empty(),
        "Gt" | "Lt" => values.len() == 1 && values.iter().all(|value| value.parse::<i64>().is_ok()),
        _ => false,
    }
}

/// Fields know `In` and `NotIn` with one value.
fn is_valid_field(requirement: &NodeSelectorRequirement) -> bool {
    requirement.values.len() == 1 && matches!(requirement.operator.as_str(), "In" | "NotIn")
}

fn holds(requirement: &NodeSelectorRequirement, actual: Option<&str>) -> bool {
    let listed = || actual.is_some_and(|actual| requirement.values.iter().any(|value| value == actual));
    let compared = || -> Option<std::cmp::Ordering> {
        let bound = requirement.values.first()?.parse::<i64>().ok()?;
        Some(actual?.parse::<i64>().ok()?.cmp(&bound))
    };
    match requirement.operator.as_str() {
        "In" => listed(),
        "NotIn" => !listed(),
        "Exists" => actual.is_some(),
        "DoesNotExist" => actual.is_none(),
        "Gt" => compared().is_some_and(std::cmp::Ordering::is_gt),
        "Lt" => compared().is_some_and(std::cmp::Ordering::is_lt),
        _ => false,
    }
}
