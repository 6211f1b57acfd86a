//! Nodes of which it cannot be known what is free: a pod that is there, or that may come, asks for what cannot be read,
//! or the node offers more than any machine has.
//!
//! The scheduler may use such a node all the same, so it counts towards what could be bound at most, and never towards
//! what is promised.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use super::Inventory;
use crate::{
    capacity::{LimitingFactor, Reason, Template, between::Seat, filters::Filter, ledger::Ledger, memo::Judged},
    cluster::View,
    object::{Node, ObjectKey, Pod},
};

/// Most pods that are named; if there are more, nodes are told apart by what is wrong only.
const MAX_NAMED: usize = 20;

/// Nodes of which it is not known what is free.
#[derive(Debug, Default)]
pub(super) struct Obscured {
    /// Why nothing is known of them, by row.
    rows: BTreeMap<usize, Arc<str>>,
    /// Why what they offer of a resource is not believed, by its name and by row.
    offers: BTreeMap<String, BTreeMap<usize, Arc<str>>>,
    /// Pods that wait for a node: whom they repel, and whom they are counted with.
    waiting: Vec<Seat>,
    /// Namespaces of bound pods whose volumes may not be known.
    namespaces: BTreeSet<String>,
    /// What templates see, by their filters and by the resources of which they ask for some that are not believed.
    judged: Mutex<HashMap<Eyes, Arc<Judged>>>,
}

/// What tells templates apart here.
type Eyes = (Arc<str>, Vec<String>);

// === impl Obscured ===

impl Obscured {
    /// `offers` are rows with the name and the amount of a resource of which no machine has so much.
    pub(super) fn of<'n>(
        nodes: &[&'n Node],
        offers: impl Iterator<Item = (usize, &'n str, i64)>,
        ledger: &Ledger,
        view: &View,
    ) -> Self {
        let mut obscured = Self::default();
        for (row, name, amount) in offers {
            let why = format!("it offers {amount} of {name}, which no machine has").into();
            obscured.offers.entry(name.to_owned()).or_default().insert(row, why);
        }
        let flawed = ledger.flawed(view);
        if flawed.len() > 0 {
            let rows: HashMap<_, _> = nodes.iter().zip(0..).map(|(node, row)| (&*node.metadata.name, row)).collect();
            let few = flawed.len() <= MAX_NAMED;
            let mut seen = HashSet::new();
            for (key, pod) in flawed.filter_map(|(key, pod)| Some((key, pod?))) {
                let why = describe(key, pod, few);
                for node in [&pod.node_name, &pod.status.nominated_node_name] {
                    rows.get(node.as_str()).into_iter().for_each(|row| obscured.hide(*row, &why));
                }
                if !pod.node_name.is_empty() {
                    obscured.namespaces.insert(key.namespace.to_string());
                } else if !pod.is_terminating() && seen.insert((pod.spec.address(), pod.metadata.labels.address())) {
                    obscured.expect(pod, &why, nodes);
                    obscured.waiting.push(Template::of_pod(pod, view).seat.as_ref().clone());
                }
            }
        }
        obscured
    }

    /// A pod that may come to any node that nothing keeps it from.
    fn expect(&mut self, pod: &Pod, why: &Arc<str>, nodes: &[&Node]) {
        let filter = Filter::of(&pod.spec, Vec::new());
        let tolerates = pod.spec.flaw.as_ref().is_some_and(|flaw| flaw.tolerations);
        for (row, node) in nodes.iter().enumerate() {
            if tolerates || filter.judge(node).may_bind() {
                self.hide(row, why);
            }
        }
    }

    fn hide(&mut self, row: usize, why: &Arc<str>) {
        self.rows.entry(row).or_insert_with(|| Arc::clone(why));
    }

    pub(super) fn hides(&self, row: usize) -> bool {
        self.rows.contains_key(&row)
    }

    /// What a template sees of the nodes if these are not counted on.
    pub(super) fn over(&self, judged: Arc<Judged>, template: &Template) -> Arc<Judged> {
        let asks = |name: &String| template.requests.iter().any(|(wanted, _)| wanted == name);
        let offers: Vec<_> = self.offers.iter().filter(|(name, _)| asks(name)).collect();
        if self.rows.is_empty() && offers.is_empty() {
            return judged;
        }
        let eyes = (Arc::clone(&template.filter_key), offers.iter().map(|(name, _)| (*name).clone()).collect());
        let mut known = self.judged.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || {
            let mut judged = Judged::clone(&judged);
            for (row, why) in self.rows.iter().chain(offers.iter().flat_map(|(_, rows)| *rows)) {
                judged.obscure(*row, why);
            }
            Arc::new(judged)
        };
        Arc::clone(known.entry(eyes).or_insert_with(make))
    }
}

fn describe(key: &ObjectKey, pod: &Pod, is_named: bool) -> Arc<str> {
    let who = if is_named { format!("pod {key}") } else { format!("pods in {:?}", key.namespace.as_str()) };
    let what =
        if pod.node_name.is_empty() { "may come here, and what it asks for" } else { "is here, and what it takes" };
    let flaw = pod.spec.flaw.as_ref().map_or("", |flaw| &flaw.why);
    format!("{who} {what} cannot be read: {flaw}").into()
}

// === impl Inventory ===

impl Inventory<'_> {
    /// What a pod that cannot be read as a whole decides elsewhere than on its node.
    pub(super) fn flawed(&self, template: &Template) -> Option<Reason> {
        let Obscured { waiting, namespaces, .. } = &self.shape.obscured;
        if template.claims.are_exclusive() && namespaces.contains(&template.namespace) {
            let message = "a pod of the namespace cannot be read, and may use the volume that one pod alone may use";
            return Some(Reason::new("volumes", message.to_owned(), LimitingFactor::Volume));
        }
        let first = waiting.first()?;
        if !template.claims.is_empty() {
            let message = format!("a pod in {:?} waits, cannot be read, and may take their volumes", first.namespace);
            return Some(Reason::new("volumes", message, LimitingFactor::Volume));
        }
        if self.shape.may_lose_devices(template) {
            let message = format!("a pod in {:?} waits, cannot be read, and may take their devices", first.namespace);
            return Some(Reason::new("resourceClaims", message, LimitingFactor::OtherResource));
        }
        let (view, seat) = (self.shape.view, &template.seat);
        let concerns = |other: &&Seat| {
            other.terms.anti_affinity.iter().any(|term| term.selects(seat.subject(), view))
                || seat.terms.concern(other.subject(), &seat.namespace, view)
        };
        let other = waiting.iter().find(concerns)?;
        let message = format!(
            "a pod in {:?} that waits for a node and cannot be read repels these pods, or is counted with them",
            other.namespace
        );
        Some(Reason::new("waitingPods", message, LimitingFactor::Affinity))
    }
}
