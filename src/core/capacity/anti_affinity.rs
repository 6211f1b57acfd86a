//! Required anti-affinity of pods that are already placed: it repels newcomers that it selects.
//!
//! `pkg/scheduler/framework/plugins/interpodaffinity` v1.36.3. Only whether a term selects a template is answered
//! here; in which domains it then repels is not modelled.

use std::collections::{BTreeMap, BTreeSet};

use super::{LimitingFactor, Reason, Template};
use crate::{
    cluster::{Namespace, View},
    object::{
        Pod,
        meta::StringMap,
        pod::{PodAffinityTerm, PodSpec},
    },
    selector::{Requirement, Selector},
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

/// The distinct terms of all placed pods: replicas of one workload share theirs.
#[derive(Clone, Debug, Default)]
pub(super) struct AntiAffinity<'v> {
    terms: BTreeMap<String, Term<'v>>,
}

#[derive(Clone, Debug)]
struct Term<'v> {
    /// Pods selected; none when the selector is not valid, which is taken to select everything.
    pods: Option<Selector>,
    namespaces: BTreeSet<&'v str>,
    /// Whether namespaces are selected by label, too, and how; as above, none selects everything.
    by_label: bool,
    namespace_selector: Option<Selector>,
    topology_key: &'v str,
    /// One of the pods that carry the term, for the message.
    holder: String,
}

// === impl AntiAffinity ===

impl<'v> AntiAffinity<'v> {
    /// Takes note of the terms of a placed pod.
    pub(super) fn add(&mut self, pod: &'v Pod) {
        for term in required(&pod.spec) {
            // A term without a selector selects nothing.
            let Some(selector) = &term.label_selector else { continue };
            let key = format!("{:?} {term:?}", own_namespace(term, pod));
            self.terms.entry(key).or_insert_with(|| Term {
                pods: Selector::try_from(selector).ok(),
                namespaces: namespaces(term, pod),
                by_label: term.namespace_selector.is_some(),
                namespace_selector: term.namespace_selector.as_ref().and_then(|it| Selector::try_from(it).ok()),
                topology_key: &term.topology_key,
                holder: pod.metadata.key().to_string(),
            });
        }
    }

    /// The term that repels pods of the template, if there is one.
    pub(super) fn repelling(&self, template: &Template, view: &View) -> Option<Reason> {
        let term = self.terms.values().find(|term| term.selects(template, view))?;
        let message = format!(
            "required pod anti-affinity of pod {} over {:?} selects these pods",
            term.holder, term.topology_key
        );
        Some(Reason::new("podAntiAffinityOfOthers", message, LimitingFactor::Affinity))
    }
}

impl Term<'_> {
    fn selects(&self, template: &Template, view: &View) -> bool {
        self.pods.as_ref().is_none_or(|pods| pods.requirements().iter().all(|it| may_hold(it, template)))
            && (self.namespaces.contains(template.namespace.as_str()) || self.selects_namespace(template, view))
    }

    fn selects_namespace(&self, template: &Template, view: &View) -> bool {
        let Some(selector) = &self.namespace_selector else { return self.by_label };
        // A namespace whose labels are not known may match.
        let namespace = view.namespaces.get(&template.namespace);
        namespace.is_none_or(|namespace| selector.matches(&labels_of(&template.namespace, namespace)))
    }
}

/// Whether pods of the template may satisfy a requirement, by what is known of their labels.
fn may_hold(requirement: &Requirement, template: &Template) -> bool {
    let key = requirement.key.as_str();
    let may_be_added = !template.exists && (ADDED_LABELS.contains(&key) || key.starts_with(ADDED_PREFIX));
    may_be_added || requirement.matches(&template.labels)
}

/// The API server puts the name of each namespace among its labels.
fn labels_of(name: &str, namespace: &Namespace) -> StringMap {
    let mut labels = namespace.labels.clone();
    labels.entry("kubernetes.io/metadata.name".to_owned()).or_insert_with(|| name.to_owned());
    labels
}

fn required(spec: &PodSpec) -> &[PodAffinityTerm] {
    let terms = spec.affinity.as_ref().and_then(|affinity| affinity.pod_anti_affinity.as_ref());
    terms.map_or(&[], |terms| &terms.required_during_scheduling_ignored_during_execution)
}

fn own_namespace<'v>(term: &PodAffinityTerm, pod: &'v Pod) -> Option<&'v str> {
    let own = term.namespaces.is_empty() && term.namespace_selector.is_none();
    own.then_some(pod.metadata.namespace.as_str())
}

fn namespaces<'v>(term: &'v PodAffinityTerm, pod: &'v Pod) -> BTreeSet<&'v str> {
    term.namespaces.iter().map(String::as_str).chain(own_namespace(term, pod)).collect()
}
