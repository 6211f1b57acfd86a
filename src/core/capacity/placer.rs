//! Placing many replicas of few shapes: the same choice of node as [`Inventory::place`], found without a scan.
//!
//! Replicas of one shape (same requests, same filters) see the same candidates. What decides between them is one number
//! a node, so that a choice is one pass over flat memory; a shape looks anew only at rows that changed since its last.

use std::{collections::HashMap, sync::Arc};

use super::{
    Answer, Inventory, Replica, Template,
    between::{Seat, State},
    devices::Wants,
    filters::Verdict,
    inventory::{Demand, fitting},
    ports::HostPort,
    volumes::Claims,
};
use crate::object::Pod;

/// What identifies a shape: filters and requests, and who the pods are and what they hold where that matters.
type Key = (Arc<str>, Vec<(String, i64)>, Arc<Wants>, Option<Who>);
type Who = (Arc<Seat>, bool, Arc<[HostPort]>, Arc<Claims>);

/// An inventory that replicas are placed into.
#[derive(Debug)]
pub struct Placer<'v> {
    inventory: Inventory<'v>,
    known: HashMap<Key, usize>,
    shapes: Vec<Shape>,
    /// Rows that changed, in the order in which they did.
    changed: Vec<usize>,
    /// Answers since the last placement, by shape, priority and whether it preempts.
    answers: HashMap<(usize, Option<i32>, bool), Answer>,
}

#[derive(Debug)]
struct Shape {
    demand: Demand,
    template: Template,
    /// Constraints between pods; empty where there are none.
    states: Vec<State>,
    /// By row, what decides; the lowest is taken. Empty until a replica is to be placed.
    ranks: Vec<Rank>,
    /// How much of what changed they know.
    seen: usize,
}

/// Free GPUs, then how many replicas fit; [`TAKES_NONE`] where none does. On a tie the first row is taken.
type Rank = u64;

const TAKES_NONE: Rank = Rank::MAX;
/// Bits for the number of replicas.
const COUNT: u32 = 32;

// === impl Placer ===

impl<'v> Placer<'v> {
    /// A scratch copy of an inventory.
    #[must_use]
    pub fn new(inventory: Inventory<'v>) -> Self {
        Self { inventory, known: HashMap::new(), shapes: Vec::new(), changed: Vec::new(), answers: HashMap::new() }
    }

    /// How many further replicas fit after what was placed.
    pub fn fits(&mut self, template: &Template) -> Answer {
        if self.inventory.has_nominated() || !self.is_modelled(template) {
            return self.inventory.fits(template);
        }
        let key = (self.shape(template), template.priority, template.preempts);
        self.answers.entry(key).or_insert_with(|| self.inventory.fits(template)).clone()
    }

    /// Charges quotas with one more pod of the template, unless they let none through.
    pub fn charge(&mut self, template: &Template) -> bool {
        let charged = self.inventory.quota(template).is_none_or(|room| room.pods > 0);
        if charged {
            self.answers.clear();
            self.inventory.charge(template);
        }
        charged
    }

    /// Takes back what [`Placer::charge`] charged.
    pub fn discharge(&mut self, template: &Template) {
        self.answers.clear();
        self.inventory.discharge(template);
    }

    /// How many further replicas fit after what was placed.
    pub fn fits_replica(&mut self, replica: &Replica) -> Answer {
        if replica.is_group() { self.inventory.fits_replica(replica) } else { self.fits(&replica.template) }
    }

    /// The same, but room that waiting pods of others may take is not promised.
    #[must_use]
    pub fn fits_replica_beside(&self, replica: &Replica, is_other: impl Fn(&Pod) -> bool) -> Answer {
        self.inventory.fits_replica_beside(replica, is_other)
    }

    /// Charges quotas with what is still to be created of a replica, unless they do not let all of it through.
    ///
    /// `index` counts the replicas from the first that is not bound; `exists` says whether its pod has been created.
    pub fn charge_replica(&mut self, replica: &Replica, index: usize, exists: bool) -> bool {
        let mut charged = Vec::new();
        for template in unmade(replica, index, exists) {
            if !self.charge(template) {
                for template in charged {
                    self.discharge(template);
                }
                return false;
            }
            charged.push(template);
        }
        true
    }

    /// Takes back what [`Placer::charge_replica`] charged.
    pub fn discharge_replica(&mut self, replica: &Replica, index: usize, exists: bool) {
        for template in unmade(replica, index, exists) {
            self.discharge(template);
        }
    }

    /// Places all pods that a replica lacks, or none of them.
    pub fn place_replica(&mut self, replica: &Replica, index: usize) -> bool {
        let Some(workers) = &replica.workers else { return self.place(&replica.template).is_some() };
        let lacks = replica.lacks(index);
        let mut placed = Vec::new();
        for (template, count) in [(&replica.template, lacks.leaders), (&workers.template, lacks.workers)] {
            for _ in 0..count {
                let Some(row) = self.place(template) else {
                    for (row, template) in placed.into_iter().rev() {
                        self.release(row, template);
                    }
                    return false;
                };
                placed.push((row, template));
            }
        }
        true
    }

    /// Gives back what [`Placer::place`] took.
    fn release(&mut self, row: usize, template: &Template) {
        self.answers.clear();
        self.inventory.release(row, template);
        self.changed.push(row);
        for shape in &mut self.shapes {
            if !shape.states.is_empty() {
                shape.states = self.inventory.states(&shape.template).unwrap_or_default();
            }
        }
    }

    /// Whether everything that decides about the template is modelled.
    #[must_use]
    pub fn is_modelled(&self, template: &Template) -> bool {
        self.inventory.unmodelled(template).is_empty()
    }

    /// Places one replica where [`Inventory::place`] would, as far as what is modelled decides.
    pub fn place(&mut self, template: &Template) -> Option<usize> {
        self.answers.clear();
        if self.inventory.has_nominated() {
            return self.inventory.place(template);
        }
        let index = self.shape(template);
        let shape = self.shapes.get_mut(index)?;
        shape.look(&self.inventory, &self.changed);
        let admitted = |row: usize| {
            shape.states.iter().all(|state| state.admits(row))
                && self.inventory.ports(row, template) > 0
                && self.inventory.volumes(row, template) > 0
                && self.inventory.devices(row, template, &shape.demand) > 0
        };
        let row = lowest(&shape.ranks, admitted)?;
        self.inventory.take(row, template, &shape.demand);
        self.changed.push(row);
        for shape in &mut self.shapes {
            shape.note(&self.inventory, template, row);
        }
        Some(row)
    }

    fn shape(&mut self, template: &Template) -> usize {
        // Whoever other pods may repel or count is told apart from its likes.
        let holds = !template.ports.is_empty() || !template.claims.is_empty();
        let matters = self.inventory.has_terms() || !template.seat.terms.is_empty() || holds;
        let (ports, claims) = (Arc::clone(&template.ports), Arc::clone(&template.claims));
        let who = matters.then(|| (Arc::clone(&template.seat), template.exists, ports, claims));
        let key = (Arc::clone(&template.filter_key), template.requests.clone(), Arc::clone(&template.wants), who);
        if let Some(index) = self.known.get(&key) {
            return *index;
        }
        let demand = self.inventory.shape().demand(template);
        let states = self.inventory.states(template).unwrap_or_default();
        self.shapes.push(Shape { demand, template: template.clone(), states, ranks: Vec::new(), seen: 0 });
        self.known.insert(key, self.shapes.len() - 1);
        self.shapes.len() - 1
    }
}

/// The pods of a replica that are still to be created.
fn unmade(replica: &Replica, index: usize, exists: bool) -> impl Iterator<Item = &Template> {
    let (leaders, workers) = match &replica.workers {
        Some(workers) => {
            let lacks = replica.lacks(index);
            let leaders = u32::from(lacks.leaders > 0 && !exists);
            (leaders, Some((&workers.template, lacks.unmade)))
        }
        None => (u32::from(!exists), None),
    };
    let leaders = (0..leaders).map(|_| &replica.template);
    leaders.chain(workers.into_iter().flat_map(|(template, count)| (0..count).map(move |_| template)))
}

// === impl Shape ===

impl Shape {
    /// Takes note of a replica that was placed. Terms of it may be the first that repel this shape.
    fn note(&mut self, inventory: &Inventory<'_>, placed: &Template, row: usize) {
        if self.states.is_empty() && !placed.seat.terms.anti_affinity.is_empty() {
            self.states = inventory.states(&self.template).unwrap_or_default();
            return;
        }
        for state in &mut self.states {
            inventory.note(state, &self.template, placed, row);
        }
    }

    /// Brings the ranks up to date.
    fn look(&mut self, inventory: &Inventory<'_>, changed: &[usize]) {
        if self.ranks.is_empty() {
            self.ranks = vec![TAKES_NONE; inventory.rows().len()];
            let tally = inventory.tally(&self.demand);
            for row in self.demand.judged.open.iter().copied() {
                let tallied = tally.as_ref().and_then(|tally| tally.rows.get(row));
                let count = tallied.filter(|_| !inventory.is_touched(row)).map(|it| it.count.into());
                let count = count.unwrap_or_else(|| fitting(inventory.row(row), &self.demand));
                if let Some(rank) = self.ranks.get_mut(row) {
                    *rank = rank_of(inventory, &self.demand, row, count);
                }
            }
        } else {
            for row in changed.iter().skip(self.seen) {
                let open = self.demand.judged.verdicts.get(*row) == Some(&Verdict::Open);
                if let Some(rank) = self.ranks.get_mut(*row).filter(|_| open) {
                    *rank = rank_of(inventory, &self.demand, *row, fitting(inventory.row(*row), &self.demand));
                }
            }
        }
        self.seen = changed.len();
    }
}

fn rank_of(inventory: &Inventory<'_>, demand: &Demand, row: usize, count: u32) -> Rank {
    if count == 0 {
        return TAKES_NONE;
    }
    // A node has some GPUs, not thousands of millions.
    let gpus = u32::try_from(inventory.free_gpus(row, demand)).unwrap_or(u32::MAX - 1);
    Rank::from(gpus) << COUNT | Rank::from(count)
}

/// The row of the lowest rank that is admitted.
fn lowest(ranks: &[Rank], admitted: impl Fn(usize) -> bool) -> Option<usize> {
    let mut best = (TAKES_NONE, None);
    for (row, rank) in ranks.iter().enumerate() {
        if *rank < best.0 && admitted(row) {
            best = (*rank, Some(row));
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{cluster::View, object::PodTemplate, policy::Policy};

    fn view(nodes: &[(u32, u32)]) -> View {
        let mut view = View::default();
        for (index, (gpus, cpu)) in nodes.iter().enumerate() {
            let node = serde_json::json!({
                "metadata": { "name": format!("n{index}") },
                "status": {
                    "allocatable": { "cpu": cpu.to_string(), "pods": "9", "nvidia.com/gpu": gpus.to_string() },
                    "conditions": [{ "type": "Ready", "status": "True" }],
                },
            });
            view.nodes.insert(format!("n{index}"), serde_json::from_value(node).unwrap());
        }
        view
    }

    fn template(gpus: u32, cpu: u32, view: &View) -> Template {
        let requests = serde_json::json!({ "cpu": cpu.to_string(), "nvidia.com/gpu": gpus.to_string() });
        let container = serde_json::json!({ "name": "c", "resources": { "requests": requests } });
        let template = serde_json::json!({ "spec": { "containers": [container] } });
        let template: PodTemplate = serde_json::from_value(template).unwrap();
        Template::of(&template, "ml", view)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_choice_is_the_one_that_a_scan_makes(
            nodes in prop::collection::vec((0_u32..9, 1_u32..20), 1..6),
            replicas in prop::collection::vec((0_u32..5, 1_u32..5), 1..40),
        ) {
            let view = view(&nodes);
            let policy = Policy::default();
            let mut scan = Inventory::of(&view, &policy);
            let mut placer = Placer::new(scan.clone());
            for (gpus, cpu) in replicas {
                let template = template(gpus, cpu, &view);
                prop_assert_eq!(placer.place(&template), scan.place(&template));
            }
        }
    }
}
