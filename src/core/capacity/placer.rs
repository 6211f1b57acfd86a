//! Placing many replicas of few shapes: the same choice of node as [`Inventory::place`], found without a scan.
//!
//! Replicas of one shape (same requests, same filters) see the same candidates. They are kept sorted by what decides
//! between them, and after each placement only the row that changed is sorted anew, in every shape.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use super::{
    Answer, Inventory, Replica, Template,
    between::{Seat, State},
    inventory::{Demand, fitting},
    ports::HostPort,
    volumes::Claims,
};

/// What identifies a shape: filters and requests, and who the pods are and what they hold where that matters.
type Key = (Arc<str>, Vec<(String, i64)>, Option<Who>);
type Who = (Arc<Seat>, bool, Arc<[HostPort]>, Arc<Claims>);

/// An inventory that replicas are placed into.
#[derive(Debug)]
pub struct Placer<'v> {
    inventory: Inventory<'v>,
    known: HashMap<Key, usize>,
    shapes: Vec<Shape>,
    /// Answers since the last placement, by shape, priority and whether it preempts.
    answers: HashMap<(usize, Option<i32>, bool), Answer>,
}

#[derive(Debug)]
struct Shape {
    demand: Demand,
    template: Template,
    /// Constraints between pods; empty where there are none.
    states: Vec<State>,
    /// Which rows pass its filters.
    open: Vec<bool>,
    /// Rank of each row that takes a replica: free GPUs, then how many fit.
    ranks: Vec<Option<(i64, u32)>>,
    /// The same, sorted.
    candidates: BTreeSet<(i64, u32, usize)>,
}

// === impl Placer ===

impl<'v> Placer<'v> {
    /// A scratch copy of an inventory.
    #[must_use]
    pub fn new(inventory: Inventory<'v>) -> Self {
        Self { inventory, known: HashMap::new(), shapes: Vec::new(), answers: HashMap::new() }
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
        for shape in &mut self.shapes {
            shape.rank(&self.inventory, row);
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
        let shape = self.shapes.get(index)?;
        let admitted = |row: usize| {
            shape.states.iter().all(|state| state.admits(row))
                && self.inventory.ports(row, template) > 0
                && self.inventory.volumes(row, template) > 0
        };
        let (_, _, row) = shape.candidates.iter().copied().find(|(_, _, row)| admitted(*row))?;
        self.inventory.take(row, template, &shape.demand);
        for shape in &mut self.shapes {
            shape.rank(&self.inventory, row);
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
        let key = (Arc::clone(&template.filter_key), template.requests.clone(), who);
        if let Some(index) = self.known.get(&key) {
            return *index;
        }
        let rows = self.inventory.rows();
        let demand = self.inventory.shape().demand(template);
        let mut open = vec![false; rows.len()];
        for row in &demand.judged.open {
            if let Some(open) = open.get_mut(*row) {
                *open = true;
            }
        }
        let states = self.inventory.states(template).unwrap_or_default();
        let (template, ranks) = (template.clone(), vec![None; rows.len()]);
        let mut shape = Shape { demand, template, states, open, ranks, candidates: BTreeSet::new() };
        for row in rows {
            shape.rank(&self.inventory, row);
        }
        self.shapes.push(shape);
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

    fn rank(&mut self, inventory: &Inventory<'_>, row: usize) {
        let count = if self.open.get(row) == Some(&true) { fitting(inventory.row(row), &self.demand) } else { 0 };
        let rank = (count > 0).then(|| (inventory.free_gpus(row, &self.demand), count));
        let Some(known) = self.ranks.get_mut(row) else { return };
        if *known == rank {
            return;
        }
        if let Some((gpus, count)) = std::mem::replace(known, rank) {
            self.candidates.remove(&(gpus, count, row));
        }
        if let Some((gpus, count)) = rank {
            self.candidates.insert((gpus, count, row));
        }
    }
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
