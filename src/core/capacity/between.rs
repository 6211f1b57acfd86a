//! Constraints between pods: topology spread, required pod affinity and anti-affinity.
//!
//! ```text
//!  Template ──> Terms (what it demands of other pods) ──┐
//!  Residents ──> Index (who matches, where) ────────────┼─> State (per domain: matches, blocks) ──> Field ──> lo, hi
//!  seats (replicas placed on a scratch copy) ───────────┘        admits(row), note(seat, row)
//! ```
//!
//! Rules of `pkg/scheduler/framework/plugins/{podtopologyspread,interpodaffinity}` v1.36.3. Which node the scheduler
//! takes among those that pass is its own affair (it scores and draws lots), so what may be promised is the least that
//! any order of choices reaches.

mod field;
mod index;
mod residents;
mod search;
mod state;

use std::collections::BTreeSet;

pub(super) use index::{Index, Rows, may_select};
pub(super) use residents::Residents;
pub(super) use state::{Domains, Seat, State, Surroundings, seats};

use crate::{
    cluster::View,
    object::{
        Labels, PodSpec,
        pod::{PodAffinityTerm, TopologySpreadConstraint},
    },
    selector::{LabelSelector, LabelSelectorRequirement, Selector},
};

/// Labels that controllers give to the pods of a template: those of ReplicaSets, DaemonSets and StatefulSets
/// (`pkg/apis/apps`), Jobs (`pkg/apis/batch`), Argo Rollouts and LeaderWorkerSets.
const ADDED_LABELS: [&str; 11] = [
    "pod-template-hash",
    "controller-revision-hash",
    "pod-template-generation",
    "apps.kubernetes.io/pod-index",
    "statefulset.kubernetes.io/pod-name",
    "batch.kubernetes.io/job-name",
    "batch.kubernetes.io/controller-uid",
    "batch.kubernetes.io/job-completion-index",
    "job-name",
    "controller-uid",
    "rollouts-pod-template-hash",
];
/// The same, of which only the start is fixed.
const ADDED_PREFIX: &str = "leaderworkerset.sigs.k8s.io/";

/// What a pod demands of other pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Terms {
    pub(super) spread: Vec<Spread>,
    pub(super) affinity: Vec<Term>,
    pub(super) anti_affinity: Vec<Term>,
}

/// A `DoNotSchedule` topology spread constraint.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Spread {
    pub(super) key: String,
    pub(super) max_skew: i64,
    pub(super) min_domains: usize,
    /// None matches nothing.
    pub(super) selector: Option<Selector>,
    /// Whether nodes that the template's own node affinity excludes are no domains.
    pub(super) honors_affinity: bool,
    /// Whether nodes whose taints repel the template are no domains.
    pub(super) honors_taints: bool,
}

/// A required (anti-)affinity term.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Term {
    pub(super) key: String,
    /// None matches nothing.
    selector: Option<Selector>,
    namespaces: BTreeSet<String>,
    /// Further namespaces by label; none selects no further ones.
    namespace_selector: Option<Selector>,
}

/// A pod as others' terms see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'a> {
    pub(super) namespace: &'a str,
    pub(super) labels: &'a Labels,
}

// === impl Terms ===

impl Terms {
    /// The terms of a pod; the error names the field that cannot be understood.
    ///
    /// For a template the keys of `matchLabelKeys` are merged into the selectors as the API server does when the pod is
    /// created (`pkg/registry/core/pod/strategy.go`); in an existing pod they are merged already.
    pub(super) fn of(spec: &PodSpec, namespace: &str, labels: &Labels) -> Result<Self, String> {
        let binding = spec.topology_spread_constraints.iter().filter(|it| it.when_unsatisfiable != "ScheduleAnyway");
        let affinity = spec.affinity.as_ref();
        let of = |terms: Option<&crate::object::pod::PodAffinity>, path: &str| {
            let terms = terms.map_or(&[][..], |terms| &terms.required_during_scheduling_ignored_during_execution);
            let parsed = terms.iter().map(|term| Term::of(term, namespace, labels));
            parsed.collect::<Result<Vec<_>, _>>().map_err(|error| format!("affinity.{path}: {error}"))
        };
        Ok(Self {
            spread: binding.map(|it| Spread::of(it, labels)).collect::<Result<_, _>>()?,
            affinity: of(affinity.and_then(|it| it.pod_affinity.as_ref()), "podAffinity")?,
            anti_affinity: of(affinity.and_then(|it| it.pod_anti_affinity.as_ref()), "podAntiAffinity")?,
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.spread.is_empty() && self.affinity.is_empty() && self.anti_affinity.is_empty()
    }

    /// Whether a pod is selected by any of them.
    pub(super) fn concern(&self, subject: Subject<'_>, own_namespace: &str, view: &View) -> bool {
        let terms = self.affinity.iter().chain(&self.anti_affinity);
        self.spread.iter().any(|it| it.counts(subject, own_namespace))
            || terms.into_iter().any(|it| it.selects(subject, view))
    }

    /// Keys of labels that controllers add and that the selectors ask for.
    fn added_keys(&self) -> BTreeSet<&str> {
        let selectors = self.spread.iter().map(|it| &it.selector);
        let terms = self.affinity.iter().chain(&self.anti_affinity).map(|it| &it.selector);
        selectors.chain(terms).flatten().flat_map(added_keys).collect()
    }
}

/// Keys of a selector that controllers add to the labels of a template.
fn added_keys(selector: &Selector) -> impl Iterator<Item = &str> {
    selector.requirements().iter().map(|it| it.key.as_str()).filter(|key| is_added(key))
}

fn is_added(key: &str) -> bool {
    ADDED_LABELS.contains(&key) || key.starts_with(ADDED_PREFIX)
}

// === impl Spread ===

impl Spread {
    fn of(constraint: &TopologySpreadConstraint, labels: &Labels) -> Result<Self, String> {
        let keys = constraint.match_label_keys.iter().map(|key| (key.as_str(), "In"));
        let selector = merged(constraint.label_selector.as_ref(), keys, labels);
        if constraint.max_skew < 1 {
            return Err(format!("topologySpreadConstraints: maxSkew {} is below 1", constraint.max_skew));
        }
        Ok(Self {
            key: constraint.topology_key.clone(),
            max_skew: i64::from(constraint.max_skew),
            min_domains: usize::try_from(constraint.min_domains.unwrap_or(1)).unwrap_or(1),
            selector: selector.map_err(|error| format!("topologySpreadConstraints: {error}"))?,
            honors_affinity: constraint.node_affinity_policy.as_deref() != Some("Ignore"),
            honors_taints: constraint.node_taints_policy.as_deref() == Some("Honor"),
        })
    }

    /// Whether a placed pod is counted. A selector that selects everything counts nothing (`countPodsMatchSelector`).
    pub(super) fn counts(&self, subject: Subject<'_>, own_namespace: &str) -> bool {
        subject.namespace == own_namespace
            && self.selector.as_ref().is_some_and(|it| !it.is_empty() && it.matches(subject.labels))
    }
}

// === impl Term ===

impl Term {
    fn of(term: &PodAffinityTerm, namespace: &str, labels: &Labels) -> Result<Self, String> {
        let keys = term.match_label_keys.iter().map(|key| (key.as_str(), "In"));
        let keys = keys.chain(term.mismatch_label_keys.iter().map(|key| (key.as_str(), "NotIn")));
        let own = term.namespaces.is_empty() && term.namespace_selector.is_none();
        let namespaces = term.namespaces.iter().map(String::as_str).chain(own.then_some(namespace));
        let by_label = term.namespace_selector.as_ref().map(Selector::try_from).transpose();
        Ok(Self {
            key: term.topology_key.clone(),
            selector: merged(term.label_selector.as_ref(), keys, labels)?,
            namespaces: namespaces.map(str::to_owned).collect(),
            namespace_selector: by_label.map_err(|error| error.to_string())?,
        })
    }

    /// Whether it selects a pod.
    pub(super) fn selects(&self, subject: Subject<'_>, view: &View) -> bool {
        self.selector.as_ref().is_some_and(|it| it.matches(subject.labels)) && self.includes(subject.namespace, view)
    }

    /// Whether it selects namespaces by what their labels are.
    pub(super) fn selects_namespaces(&self) -> bool {
        self.namespace_selector.as_ref().is_some_and(|it| !it.is_empty())
    }

    /// Whether it looks into a namespace.
    pub(super) fn includes(&self, namespace: &str, view: &View) -> bool {
        self.namespaces.contains(namespace)
            || self
                .namespace_selector
                .as_ref()
                .is_some_and(|it| it.is_empty() || it.matches(&labels_of(namespace, view)))
    }
}

/// The labels of a namespace. The API server puts its name among them.
fn labels_of(name: &str, view: &View) -> Labels {
    const NAME: &str = "kubernetes.io/metadata.name";
    let mut labels = view.namespaces.get(name).map(|known| known.labels.clone()).unwrap_or_default();
    if !labels.contains_key(NAME) {
        labels.insert(NAME, name);
    }
    labels
}

/// A selector with the values that the pod has for some keys.
fn merged<'a>(
    selector: Option<&LabelSelector>,
    keys: impl Iterator<Item = (&'a str, &'a str)>,
    labels: &Labels,
) -> Result<Option<Selector>, String> {
    let Some(selector) = selector else { return Ok(None) };
    let mut selector = selector.clone();
    for (key, operator) in keys {
        if let Some(value) = labels.get(key) {
            selector.match_expressions.push(LabelSelectorRequirement {
                key: key.to_owned(),
                operator: operator.to_owned(),
                values: vec![value.to_owned()],
            });
        }
    }
    Selector::try_from(&selector).map(Some).map_err(|error| error.to_string())
}
