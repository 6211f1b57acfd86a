//! Placed pods, found by the selectors that look for them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::OnceLock,
};

use super::{Seat, Spread, Subject, Term, Terms, added_keys, is_added};
use crate::{
    cluster::View,
    object::{Pod, meta::StringMap},
    selector::{Operator, Selector},
};

/// A label of a namespace's pods, with its value.
type Label<'v> = (&'v str, &'v str, &'v str);

/// All pods that have a node.
#[derive(Debug, Default)]
pub(in crate::capacity) struct Index<'v> {
    pods: Vec<Placed<'v>>,
    /// The distinct anti-affinity terms of placed pods: replicas of one workload share theirs.
    repelling: BTreeMap<String, Holders>,
    /// Pods whose own terms cannot be understood.
    unreadable: Vec<String>,
    /// Pods by namespace and label; made when a selector first asks.
    postings: OnceLock<Postings<'v>>,
}

#[derive(Debug)]
struct Placed<'v> {
    pod: &'v Pod,
    row: usize,
}

#[derive(Debug, Default)]
struct Postings<'v> {
    namespaces: BTreeMap<&'v str, Vec<u32>>,
    labels: HashMap<Label<'v>, Vec<u32>>,
}

/// A term and the nodes of the pods that carry it.
#[derive(Debug)]
struct Holders {
    term: Term,
    rows: BTreeSet<usize>,
    /// One of the pods, for the message.
    example: String,
}

// === impl Index ===

impl<'v> Index<'v> {
    /// Takes note of a placed pod.
    pub(in crate::capacity) fn add(&mut self, pod: &'v Pod, row: usize) {
        self.pods.push(Placed { pod, row });
        let affinity = pod.spec.affinity.as_ref().and_then(|affinity| affinity.pod_anti_affinity.as_ref());
        let terms = affinity.map_or(&[][..], |terms| &terms.required_during_scheduling_ignored_during_execution);
        for term in terms {
            let own = (term.namespaces.is_empty() && term.namespace_selector.is_none())
                .then_some(pod.metadata.namespace.as_str());
            let key = format!("{own:?} {term:?} {:?}", merged_values(term, &pod.metadata.labels));
            if let Some(holders) = self.repelling.get_mut(&key) {
                holders.rows.insert(row);
                continue;
            }
            match Term::of(term, &pod.metadata.namespace, &pod.metadata.labels) {
                Ok(term) => {
                    let example = pod.metadata.key().to_string();
                    self.repelling.insert(key, Holders { term, rows: [row].into(), example });
                }
                Err(error) => self.unreadable.push(format!("pod {}: {error}", pod.metadata.key())),
            }
        }
    }

    /// Terms of placed pods that cannot be understood, so that whom they repel is not known.
    pub(in crate::capacity) fn unreadable(&self) -> Option<&str> {
        self.unreadable.first().map(String::as_str)
    }

    /// Whether any placed pod repels others.
    pub(in crate::capacity) fn repels(&self) -> bool {
        !self.repelling.is_empty()
    }

    /// The namespace of a seat, if a placed pod repels pods like it in namespaces that it selects by label.
    pub(in crate::capacity) fn by_namespace_label<'s>(&self, seat: &'s Seat) -> Option<&'s str> {
        let may_select = |term: &Term| {
            let selector = term.selector.as_ref();
            let requirements = selector.into_iter().flat_map(Selector::requirements);
            selector.is_some() && requirements.into_iter().all(|it| is_added(&it.key) || it.matches(&seat.labels))
        };
        let asked = self.repelling.values().any(|it| it.term.selects_namespaces() && may_select(&it.term));
        asked.then_some(seat.namespace.as_str())
    }

    /// Namespaces of placed pods.
    pub(in crate::capacity) fn namespaces(&self) -> impl Iterator<Item = &'v str> {
        self.postings().namespaces.keys().copied()
    }

    /// The anti-affinity terms of placed pods that select a pod, with the rows of those that carry them.
    pub(super) fn repelling(
        &self,
        subject: Subject<'_>,
        view: &View,
    ) -> impl Iterator<Item = (&Term, &BTreeSet<usize>, &str)> {
        let selecting = self.repelling.values().filter(move |holders| holders.term.selects(subject, view));
        selecting.map(|holders| (&holders.term, &holders.rows, holders.example.as_str()))
    }

    /// Rows of the pods that a spread constraint counts; terminating pods are not.
    pub(super) fn counted<'s>(&'s self, spread: &'s Spread, namespace: &'s str) -> impl Iterator<Item = usize> + 's {
        let selector = spread.selector.as_ref().filter(|selector| !selector.is_empty());
        let pods = selector.into_iter().flat_map(move |selector| self.selected(selector, namespace));
        pods.filter(|placed| !placed.pod.is_terminating()).map(|placed| placed.row)
    }

    /// Rows of the pods that all terms select.
    pub(super) fn selected_by_all<'s>(&'s self, terms: &'s [Term], view: &'s View) -> impl Iterator<Item = usize> + 's {
        let first = terms.first().into_iter().flat_map(move |term| self.selected_by(term, view));
        let rest = terms.get(1..).unwrap_or_default();
        let all = first.filter(move |placed| rest.iter().all(|term| term.selects(placed.subject(), view)));
        all.map(|placed| placed.row)
    }

    /// Rows of the pods that a term selects.
    pub(super) fn rows_of<'s>(&'s self, term: &'s Term, view: &'s View) -> impl Iterator<Item = usize> + 's {
        self.selected_by(term, view).map(|placed| placed.row)
    }

    /// The values that pods with these labels have for labels that controllers add, where any term asks for them.
    pub(super) fn completions(&self, subject: Subject<'_>, terms: &Terms, view: &View) -> Completions {
        let mut keys: BTreeSet<String> = terms.added_keys().into_iter().map(str::to_owned).collect();
        for holders in self.repelling.values().filter(|holders| holders.term.includes(subject.namespace, view)) {
            let Some(selector) = &holders.term.selector else { continue };
            // What the known labels decide already needs no guess.
            let open = selector.requirements().iter().all(|it| is_added(&it.key) || it.matches(subject.labels));
            keys.extend(open.then(|| added_keys(selector).map(str::to_owned)).into_iter().flatten());
        }
        let mut values = BTreeSet::new();
        if !keys.is_empty() {
            let own = Selector::of_labels(subject.labels);
            for placed in self.selected(&own, subject.namespace) {
                let labels = placed.pod.metadata.labels.iter().filter(|(key, _)| keys.contains(*key));
                values.insert(labels.map(|(key, value)| (key.clone(), value.clone())).collect::<StringMap>());
            }
        }
        Completions { keys, values }
    }

    fn selected_by<'s>(&'s self, term: &'s Term, view: &'s View) -> impl Iterator<Item = &'s Placed<'v>> + 's {
        let namespaces = self.postings().namespaces.keys().filter(move |namespace| term.includes(namespace, view));
        let selector = term.selector.as_ref();
        let pods = move |namespace: &&'v str| {
            let namespace = *namespace;
            selector.into_iter().flat_map(move |selector| self.selected(selector, namespace))
        };
        namespaces.flat_map(pods)
    }

    fn selected<'s>(&'s self, selector: &'s Selector, namespace: &'s str) -> impl Iterator<Item = &'s Placed<'v>> + 's {
        let postings = self.postings();
        let known = match required_label(selector) {
            Some((key, value)) => postings.labels.get(&(namespace, key, value)),
            None => postings.namespaces.get(namespace),
        };
        let pods = known.into_iter().flatten().filter_map(|index| self.pods.get(*index as usize));
        pods.filter(|placed| selector.matches(&placed.pod.metadata.labels))
    }

    fn postings(&self) -> &Postings<'v> {
        self.postings.get_or_init(|| {
            let mut postings = Postings::default();
            for (index, Placed { pod, .. }) in (0_u32..).zip(&self.pods) {
                let namespace = pod.metadata.namespace.as_str();
                postings.namespaces.entry(namespace).or_default().push(index);
                for (key, value) in pod.metadata.labels.iter() {
                    postings.labels.entry((namespace, key, value)).or_default().push(index);
                }
            }
            postings
        })
    }
}

/// Labels that controllers add to pods of a template: which are asked for, and what they are on pods that exist.
#[derive(Debug)]
pub(super) struct Completions {
    pub(super) keys: BTreeSet<String>,
    pub(super) values: BTreeSet<StringMap>,
}

impl<'v> Placed<'v> {
    fn subject(&self) -> Subject<'v> {
        Subject { namespace: &self.pod.metadata.namespace, labels: &self.pod.metadata.labels }
    }
}

/// What `matchLabelKeys` and its opposite put into the selector of this pod.
fn merged_values<'p>(term: &crate::object::pod::PodAffinityTerm, labels: &'p StringMap) -> Vec<Option<&'p String>> {
    term.match_label_keys.iter().chain(&term.mismatch_label_keys).map(|key| labels.get(key)).collect()
}

/// A label that every matching pod carries, with its value.
fn required_label(selector: &Selector) -> Option<(&str, &str)> {
    selector.requirements().iter().find_map(|requirement| {
        let exact = matches!(requirement.operator, Operator::Equals | Operator::In) && requirement.values.len() == 1;
        let value = requirement.values.first().filter(|_| exact)?;
        Some((requirement.key.as_str(), value.as_str()))
    })
}
