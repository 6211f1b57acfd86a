//! Placed pods, found by the selectors that look for them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::{BuildHasher, RandomState},
    iter,
    sync::{Arc, OnceLock},
};

use super::{
    Seat, Spread, Subject, Term, Terms, added_keys, is_added,
    residents::{Kin, Residents},
};
use crate::{
    capacity::Ledger,
    cluster::View,
    object::{Labels, Shared, Text},
    selector::Selector,
};

/// Rows by the names of their nodes.
pub(in crate::capacity) type Rows<'v> = HashMap<&'v str, usize>;

/// The placed pods of a ledger, with the rows of their nodes.
#[derive(Debug)]
pub(in crate::capacity) struct Index<'v> {
    ledger: Arc<Ledger>,
    rows: Arc<Rows<'v>>,
    repelling: OnceLock<Vec<Repelling>>,
    /// Pods by namespace and label; made when a selector first asks.
    postings: OnceLock<Postings>,
}

/// A term of placed pods.
#[derive(Debug)]
struct Repelling {
    term: Term,
    rows: BTreeSet<usize>,
    /// One of the pods, for the message.
    example: String,
}

#[derive(Debug, Default)]
struct Postings {
    groups: Vec<Group>,
    namespaces: BTreeMap<Text, Vec<u32>>,
    /// By the hash of namespace, label and value; what shares a hash is told apart when it is matched.
    labels: HashMap<u64, Vec<u32>>,
    hasher: RandomState,
}

/// Pods of equal namespace and labels.
#[derive(Debug)]
struct Group {
    namespace: Text,
    labels: Shared<Labels>,
    rows: Vec<(usize, Kin)>,
}

// === impl Index ===

impl<'v> Index<'v> {
    /// The placed pods of a ledger on the nodes that have rows.
    pub(in crate::capacity) fn new(ledger: Arc<Ledger>, rows: Arc<Rows<'v>>) -> Self {
        Self { ledger, rows, repelling: OnceLock::new(), postings: OnceLock::new() }
    }

    fn residents(&self) -> &Residents {
        self.ledger.residents()
    }

    /// Terms of placed pods that cannot be understood, so that whom they repel is not known.
    pub(in crate::capacity) fn unreadable(&self) -> Option<&str> {
        self.residents().unreadable.values().next().map(String::as_str)
    }

    /// Whether any placed pod repels others.
    pub(in crate::capacity) fn repels(&self) -> bool {
        !self.residents().repelling.is_empty()
    }

    /// Whether a pod on a node without a row may repel pods like the seat.
    pub(in crate::capacity) fn repels_unseen(&self, seat: &Seat, view: &View) -> bool {
        let is_unseen = |node: &Text| !self.rows.contains_key(node.as_str());
        let unseen = self.residents().repelling.values().filter(|holders| holders.pods.values().any(is_unseen));
        let mut terms = unseen.map(|holders| &holders.term);
        terms.any(|term| term.includes(&seat.namespace, view) && may_select(term, seat))
    }

    /// The namespace of a seat, if a placed pod repels pods like it in namespaces that it selects by label.
    pub(in crate::capacity) fn by_namespace_label<'s>(&self, seat: &'s Seat) -> Option<&'s str> {
        let mut terms = self.residents().repelling.values().map(|it| &it.term);
        terms.any(|term| term.selects_namespaces() && may_select(term, seat)).then_some(seat.namespace.as_str())
    }

    /// Namespaces of placed pods.
    pub(in crate::capacity) fn namespaces(&self) -> impl Iterator<Item = &str> {
        self.postings().namespaces.keys().map(Text::as_str)
    }

    /// The anti-affinity terms of placed pods that select a pod, with the rows of those that carry them.
    pub(super) fn repelling(
        &self,
        subject: Subject<'_>,
        view: &View,
    ) -> impl Iterator<Item = (&Term, &BTreeSet<usize>, &str)> {
        let all = self.repelling.get_or_init(|| {
            let resolved = self.residents().repelling.values().map(|holders| Repelling {
                term: holders.term.clone(),
                rows: holders.pods.values().filter_map(|node| self.rows.get(node.as_str()).copied()).collect(),
                example: holders.pods.keys().next().map(ToString::to_string).unwrap_or_default(),
            });
            resolved.filter(|repelling| !repelling.rows.is_empty()).collect()
        });
        let selecting = all.iter().filter(move |repelling| repelling.term.selects(subject, view));
        selecting.map(|repelling| (&repelling.term, &repelling.rows, repelling.example.as_str()))
    }

    /// Rows of the pods that a spread constraint counts; terminating pods are not.
    pub(super) fn counted<'s>(&'s self, spread: &'s Spread, namespace: &'s str) -> impl Iterator<Item = usize> + 's {
        let selector = spread.selector.as_ref().filter(|selector| !selector.is_empty());
        let groups = selector.into_iter().flat_map(move |selector| self.selected(selector, namespace));
        groups.flat_map(|group| group.each(|kin| kin.staying))
    }

    /// Rows of the pods that all terms select.
    pub(super) fn selected_by_all<'s>(&'s self, terms: &'s [Term], view: &'s View) -> impl Iterator<Item = usize> + 's {
        let first = terms.first().into_iter().flat_map(move |term| self.selected_by(term, view));
        let rest = terms.get(1..).unwrap_or_default();
        let all = first.filter(move |group| rest.iter().all(|term| term.selects(group.subject(), view)));
        all.flat_map(Group::all)
    }

    /// Rows of the pods that a term selects.
    pub(super) fn rows_of<'s>(&'s self, term: &'s Term, view: &'s View) -> impl Iterator<Item = usize> + 's {
        self.selected_by(term, view).flat_map(Group::all)
    }

    /// The values that pods with these labels have for labels that controllers add, where any term asks for them.
    pub(super) fn completions(&self, subject: Subject<'_>, terms: &Terms, view: &View) -> Completions {
        let mut keys: BTreeSet<String> = terms.added_keys().into_iter().map(str::to_owned).collect();
        let repelling = self.residents().repelling.values().map(|holders| &holders.term);
        for term in repelling.filter(|term| term.includes(subject.namespace, view)) {
            let Some(selector) = &term.selector else { continue };
            // What the known labels decide already needs no guess.
            let open = selector.requirements().iter().all(|it| is_added(&it.key) || it.matches(subject.labels));
            keys.extend(open.then(|| added_keys(selector).map(str::to_owned)).into_iter().flatten());
        }
        let mut values = BTreeSet::new();
        if !keys.is_empty() {
            let own = Selector::of_labels(subject.labels);
            for group in self.selected(&own, subject.namespace) {
                let labels = group.labels.iter().filter(|(key, _)| keys.contains(key.as_str()));
                values.insert(labels.map(|(key, value)| (key.clone(), value.clone())).collect::<Labels>());
            }
        }
        Completions { keys, values }
    }

    fn selected_by<'s>(&'s self, term: &'s Term, view: &'s View) -> impl Iterator<Item = &'s Group> + 's {
        let namespaces = self.postings().namespaces.keys().filter(move |namespace| term.includes(namespace, view));
        let selector = term.selector.as_ref();
        let groups = move |namespace: &'s Text| {
            selector.into_iter().flat_map(move |selector| self.selected(selector, namespace))
        };
        namespaces.flat_map(groups)
    }

    fn selected<'s>(&'s self, selector: &'s Selector, namespace: &'s str) -> impl Iterator<Item = &'s Group> + 's {
        let postings = self.postings();
        let known = match selector.required_label() {
            Some((key, value)) => postings.labels.get(&postings.hasher.hash_one((namespace, key, value))),
            None => postings.namespaces.get(namespace),
        };
        let groups = known.into_iter().flatten().filter_map(|index| postings.groups.get(*index as usize));
        groups.filter(move |group| *group.namespace == *namespace && selector.matches(&group.labels))
    }

    fn postings(&self) -> &Postings {
        self.postings.get_or_init(|| {
            let mut postings = Postings::default();
            for ((namespace, labels), nodes) in &self.residents().kin {
                let rows = nodes.iter().filter_map(|(node, kin)| Some((*self.rows.get(node.as_str())?, kin)));
                let (namespace, labels, rows) = (namespace.clone(), labels.clone(), rows.collect::<Vec<_>>());
                if !rows.is_empty() {
                    postings.add(Group { namespace, labels, rows });
                }
            }
            postings
        })
    }
}

/// Whether a term selects pods like the seat, whatever labels controllers add to them.
pub(in crate::capacity) fn may_select(term: &Term, seat: &Seat) -> bool {
    let selector = term.selector.as_ref();
    let mut requirements = selector.into_iter().flat_map(Selector::requirements);
    selector.is_some() && requirements.all(|it| is_added(&it.key) || it.matches(&seat.labels))
}

// === impl Postings ===

impl Postings {
    fn add(&mut self, group: Group) {
        let Ok(index) = u32::try_from(self.groups.len()) else { return };
        for (key, value) in group.labels.iter() {
            let hash = self.hasher.hash_one((&*group.namespace, key.as_str(), value.as_str()));
            self.labels.entry(hash).or_default().push(index);
        }
        self.namespaces.entry(group.namespace.clone()).or_default().push(index);
        self.groups.push(group);
    }
}

// === impl Group ===

impl Group {
    fn subject(&self) -> Subject<'_> {
        Subject { namespace: &self.namespace, labels: &self.labels }
    }

    /// The row of each pod.
    fn all(&self) -> impl Iterator<Item = usize> {
        self.each(|kin| kin.staying.saturating_add(kin.terminating))
    }

    fn each(&self, count: impl Fn(&Kin) -> u32) -> impl Iterator<Item = usize> {
        self.rows.iter().flat_map(move |(row, kin)| iter::repeat_n(*row, count(kin) as usize))
    }
}

/// Labels that controllers add to pods of a template: which are asked for, and what they are on pods that exist.
#[derive(Debug)]
pub(super) struct Completions {
    pub(super) keys: BTreeSet<String>,
    pub(super) values: BTreeSet<Labels>,
}
