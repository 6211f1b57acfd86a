//! What a template's terms, and the terms of others about it, say of each node: kept as replicas are placed.

use std::{collections::BTreeMap, sync::Arc};

use super::{Index, Spread, Subject, Terms};
use crate::{cluster::View, object::Labels};

/// Most sets of labels that controllers may have added which are told apart.
const MAX_COMPLETIONS: usize = 4;
/// A value that no label has: pods of a revision that does not exist yet.
const FRESH: &str = "\u{0}";

/// The domain that each node is in under one label key.
#[derive(Debug, Default)]
pub(in crate::capacity) struct Domains {
    /// By row; none where the node has no such label.
    pub(super) of: Vec<Option<usize>>,
    /// Values of the label by domain.
    pub(super) names: Vec<String>,
}

/// A replica that is placed on a scratch copy, or one that asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(in crate::capacity) struct Seat {
    pub(in crate::capacity) namespace: String,
    pub(in crate::capacity) labels: Labels,
    pub(in crate::capacity) terms: Terms,
}

/// What is known of the nodes.
pub(in crate::capacity) trait Surroundings {
    fn view(&self) -> &View;
    /// Domains under a label key.
    fn domains(&self, key: &str) -> Arc<Domains>;
    /// Whether the template's node selector and affinity select the node.
    fn is_selected(&self, row: usize) -> bool;
    /// Whether a taint of the node repels the template.
    fn is_repelled(&self, row: usize) -> bool;
}

/// One spread constraint.
#[derive(Clone, Debug)]
pub(super) struct SpreadState {
    pub(super) domains: Arc<Domains>,
    pub(super) key: String,
    pub(super) max_skew: i64,
    /// Whether there are fewer domains than `minDomains`, so that the least counts as 0.
    pub(super) few: bool,
    /// Whether a replica counts itself.
    pub(super) own: bool,
    /// Rows whose pods count.
    counts: Arc<Vec<bool>>,
    /// Matching pods; none for a domain that does not take part.
    pub(super) matching: Vec<Option<i64>>,
    /// The least of them, as the skew is measured from.
    least: i64,
}

/// Domains that are closed by anti-affinity, the template's own or that of placed pods.
#[derive(Clone, Debug)]
pub(super) struct Exclusion {
    pub(super) domains: Arc<Domains>,
    pub(super) closed: Vec<bool>,
    /// Whether a replica closes its own domain to the next.
    pub(super) own: bool,
    /// A pod that closes one.
    pub(super) example: Option<String>,
}

/// One affinity term.
#[derive(Clone, Debug)]
pub(super) struct Attraction {
    pub(super) domains: Arc<Domains>,
    pub(super) key: String,
    pub(super) matching: Vec<i64>,
}

/// All of it for one template.
#[derive(Clone, Debug)]
pub(in crate::capacity) struct State {
    pub(super) seat: Seat,
    pub(super) spread: Vec<SpreadState>,
    pub(super) exclusions: BTreeMap<String, Exclusion>,
    pub(super) attractions: Vec<Attraction>,
    /// Whether any placed pod satisfies the affinity, so that the first of a series is none.
    pub(super) attracted: bool,
    /// Whether a replica satisfies its own affinity.
    pub(super) own_attraction: bool,
}

/// The seats that a template's replicas may turn out to be, as controllers add labels to them.
pub(in crate::capacity) fn seats(
    seat: &Seat,
    exists: bool,
    terms: impl Fn(&Labels) -> Terms,
    index: &Index<'_>,
    view: &View,
) -> Option<Vec<Seat>> {
    if exists {
        return Some(vec![seat.clone()]);
    }
    let subject = Subject { namespace: &seat.namespace, labels: &seat.labels };
    let mut asking = seat.terms.clone();
    let fresh = |keys: &mut dyn Iterator<Item = &String>| -> Labels {
        let added = keys.filter(|key| !seat.labels.contains_key(key)).map(|key| (key, FRESH));
        seat.labels.clone().with(added)
    };
    // With every added label set, the terms show which of them they ask for.
    let all: Vec<_> = super::ADDED_LABELS.map(str::to_owned).to_vec();
    asking.spread.extend(terms(&fresh(&mut all.iter())).spread);
    let merged = terms(&fresh(&mut all.iter()));
    asking.affinity.extend(merged.affinity);
    asking.anti_affinity.extend(merged.anti_affinity);
    let completions = index.completions(subject, &asking, view);
    if completions.keys.iter().all(|key| seat.labels.contains_key(key)) {
        return Some(vec![seat.clone()]);
    }
    if completions.values.len() > MAX_COMPLETIONS {
        return None;
    }
    let known = completions
        .values
        .iter()
        .map(|values| seat.labels.clone().with(values.iter().map(|(key, value)| (key.clone(), value.clone()))));
    let all = known.chain([fresh(&mut completions.keys.iter())]);
    Some(all.map(|labels: Labels| Seat { terms: terms(&labels), labels, ..seat.clone() }).collect())
}

// === impl State ===

impl State {
    /// The state that the placed pods make.
    pub(in crate::capacity) fn of(seat: Seat, index: &Index<'_>, around: &impl Surroundings) -> Self {
        let view = around.view();
        let mut state = Self {
            spread: seat.terms.spread.iter().map(|spread| spread_state(&seat, spread, index, around)).collect(),
            exclusions: BTreeMap::new(),
            attractions: attractions(&seat, around),
            attracted: false,
            own_attraction: !seat.terms.affinity.is_empty()
                && seat.terms.affinity.iter().all(|term| term.selects(seat.subject(), view)),
            seat,
        };
        state.exclude(index, around);
        let rows: Vec<_> = index.selected_by_all(&state.seat.terms.affinity, view).collect();
        for row in rows {
            state.attract(row);
        }
        state
    }

    /// Takes note of a replica, of this template or of another, that is placed.
    pub(in crate::capacity) fn note(&mut self, seat: &Seat, row: usize, around: &impl Surroundings) {
        let (view, subject) = (around.view(), seat.subject());
        let own = self.seat.terms.spread.iter().zip(&mut self.spread);
        for (_, state) in own.filter(|(spread, _)| spread.counts(subject, &self.seat.namespace)) {
            state.count(row);
            state.settle();
        }
        let selecting = self.seat.terms.anti_affinity.iter().filter(|term| term.selects(subject, view));
        let repelling = seat.terms.anti_affinity.iter().filter(|term| term.selects(self.seat.subject(), view));
        for key in selecting.chain(repelling).map(|term| term.key.clone()).collect::<Vec<_>>() {
            self.exclusion(&key, around).close(row, None);
        }
        let affinity = &self.seat.terms.affinity;
        if !affinity.is_empty() && affinity.iter().all(|term| term.selects(subject, view)) {
            self.attract(row);
        }
    }

    /// Whether the scheduler's filters pass a node as things are.
    pub(in crate::capacity) fn admits(&self, row: usize) -> bool {
        self.is_open(row) && self.is_attracted(row) && self.spread.iter().all(|spread| spread.admits(row))
    }

    /// Whether nothing here can ever exclude a node.
    pub(in crate::capacity) fn is_free(&self) -> bool {
        self.spread.is_empty() && self.exclusions.is_empty() && self.attractions.is_empty()
    }

    pub(super) fn is_open(&self, row: usize) -> bool {
        self.exclusions.values().all(|exclusion| !exclusion.is_closed(row))
    }

    /// All labels must be there; then either matching pods are in all domains, or this is the first of a series.
    pub(super) fn is_attracted(&self, row: usize) -> bool {
        let keyed = self.attractions.iter().all(|it| it.domains.domain(row).is_some());
        keyed && (self.attractions.iter().all(|it| it.is_matched(row)) || self.is_first())
    }

    /// Whether the next replica would be the first of a series that attracts itself.
    pub(super) fn is_first(&self) -> bool {
        !self.attractions.is_empty() && !self.attracted && self.own_attraction
    }

    /// Whether the first replicas decide about more than their own domains: then one on a node that is not counted on
    /// may leave less room than is counted elsewhere.
    pub(in crate::capacity) fn depends_on_order(&self) -> bool {
        let own = self.exclusions.values().filter(|exclusion| exclusion.own).count();
        self.is_first() || self.spread.len() + own > 1
    }

    fn exclude(&mut self, index: &Index<'_>, around: &impl Surroundings) {
        let view = around.view();
        for term in self.seat.terms.anti_affinity.clone() {
            let own = term.selects(self.seat.subject(), view);
            let exclusion = self.exclusion(&term.key, around);
            exclusion.own |= own;
            index.rows_of(&term, view).for_each(|row| exclusion.close(row, None));
        }
        let seat = self.seat.clone();
        for (term, rows, example) in index.repelling(seat.subject(), view) {
            let exclusion = self.exclusion(&term.key, around);
            for row in rows {
                exclusion.close(*row, Some(example));
            }
        }
    }

    fn exclusion(&mut self, key: &str, around: &impl Surroundings) -> &mut Exclusion {
        self.exclusions.entry(key.to_owned()).or_insert_with(|| {
            let domains = around.domains(key);
            Exclusion { closed: vec![false; domains.names.len()], domains, own: false, example: None }
        })
    }

    fn attract(&mut self, row: usize) {
        for attraction in &mut self.attractions {
            if let Some(matching) = attraction.domains.domain(row).and_then(|it| attraction.matching.get_mut(it)) {
                *matching += 1;
                self.attracted = true;
            }
        }
    }
}

fn spread_state(seat: &Seat, spread: &Spread, index: &Index<'_>, around: &impl Surroundings) -> SpreadState {
    let domains = around.domains(&spread.key);
    let all: Vec<_> = seat.terms.spread.iter().map(|other| around.domains(&other.key)).collect();
    let counts = |row: usize| {
        all.iter().all(|domains| domains.domain(row).is_some())
            && (!spread.honors_affinity || around.is_selected(row))
            && (!spread.honors_taints || !around.is_repelled(row))
    };
    let counts: Vec<_> = (0..domains.of.len()).map(counts).collect();
    let mut matching = vec![None; domains.names.len()];
    for domain in domains.of.iter().zip(&counts).filter(|(_, counts)| **counts).filter_map(|(domain, _)| *domain) {
        if let Some(matching) = matching.get_mut(domain) {
            *matching = Some(0);
        }
    }
    let mut state = SpreadState {
        key: spread.key.clone(),
        max_skew: spread.max_skew,
        few: matching.iter().flatten().count() < spread.min_domains,
        own: spread.counts(seat.subject(), &seat.namespace),
        counts: Arc::new(counts),
        domains,
        matching,
        least: 0,
    };
    index.counted(spread, &seat.namespace).for_each(|row| state.count(row));
    state.settle();
    state
}

fn attractions(seat: &Seat, around: &impl Surroundings) -> Vec<Attraction> {
    let attraction = |key: &String| {
        let domains = around.domains(key);
        Attraction { matching: vec![0; domains.names.len()], domains, key: key.clone() }
    };
    seat.terms.affinity.iter().map(|term| attraction(&term.key)).collect()
}

// === impl Seat ===

impl Seat {
    pub(in crate::capacity) fn subject(&self) -> Subject<'_> {
        Subject { namespace: &self.namespace, labels: &self.labels }
    }
}

// === impl Domains ===

impl Domains {
    /// Numbers the values that nodes have.
    pub(in crate::capacity) fn of<'a>(values: impl Iterator<Item = Option<&'a str>>) -> Self {
        let mut domains = Self::default();
        let mut known: BTreeMap<&str, usize> = BTreeMap::new();
        for value in values {
            let domain = value.map(|value| {
                *known.entry(value).or_insert_with(|| {
                    domains.names.push(value.to_owned());
                    domains.names.len() - 1
                })
            });
            domains.of.push(domain);
        }
        domains
    }

    pub(super) fn domain(&self, row: usize) -> Option<usize> {
        self.of.get(row).copied().flatten()
    }
}

// === impl SpreadState ===

impl SpreadState {
    pub(super) const fn least(&self) -> i64 {
        self.least
    }

    fn settle(&mut self) {
        self.least = if self.few { 0 } else { self.matching.iter().flatten().copied().min().unwrap_or(0) };
    }

    pub(super) fn matching_at(&self, row: usize) -> Option<i64> {
        Some(self.domains.domain(row).and_then(|it| self.matching.get(it).copied())?.unwrap_or(0))
    }

    fn admits(&self, row: usize) -> bool {
        let matching = self.matching_at(row);
        matching.is_some_and(|matching| matching + i64::from(self.own) - self.least() <= self.max_skew)
    }

    fn count(&mut self, row: usize) {
        let counts = self.counts.get(row) == Some(&true);
        let domain = self.domains.domain(row).filter(|_| counts);
        if let Some(matching) = domain.and_then(|it| self.matching.get_mut(it)) {
            *matching = matching.map(|matching| matching + 1);
        }
    }
}

// === impl Exclusion ===

impl Exclusion {
    pub(super) fn is_closed(&self, row: usize) -> bool {
        self.domains.domain(row).is_some_and(|domain| self.closed.get(domain) == Some(&true))
    }

    fn close(&mut self, row: usize, example: Option<&str>) {
        if let Some(closed) = self.domains.domain(row).and_then(|domain| self.closed.get_mut(domain)) {
            *closed = true;
            self.example = self.example.take().or_else(|| example.map(str::to_owned));
        }
    }
}

// === impl Attraction ===

impl Attraction {
    fn is_matched(&self, row: usize) -> bool {
        let matching = self.domains.domain(row).and_then(|domain| self.matching.get(domain));
        matching.is_some_and(|matching| *matching > 0)
    }
}
