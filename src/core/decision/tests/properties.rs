//! What holds for every fleet.

use proptest::prelude::*;

use super::scene::{Scene, average, deployment, external_of, key};
use crate::{
    capacity::{Inventory, Template},
    decision::{Decision, Snapshot},
};

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// Nodes by GPUs; workloads by GPUs of a replica, replicas asked for, of those bound, and queue of each pod.
fn fleets(waiting: std::ops::Range<i32>) -> impl Strategy<Value = Scene> {
    let nodes = prop::collection::vec(0_u32..9, 1..6);
    let workloads = prop::collection::vec((1_u32..5, waiting, 0_usize..3, 0_i64..60, 1_i32..4), 1..5);
    (nodes, workloads).prop_map(|(nodes, workloads)| {
        let scene =
            nodes.iter().enumerate().fold(Scene::new(), |scene, (index, gpus)| scene.node(&format!("n{index}"), *gpus));
        workloads.iter().zip(NAMES).fold(scene, |scene, ((gpus, waiting, bound, queue, min), name)| {
            populated(scene, name, *gpus, *waiting, *bound, *queue, *min)
        })
    })
}

fn populated(scene: Scene, name: &str, gpus: u32, waiting: i32, bound: usize, queue: i64, min: i32) -> Scene {
    let mut scene = scene.workload(name, 0, gpus);
    let template = Template::of(scene.view.workloads[&deployment(name)].template.as_ref().unwrap(), "ml", &scene.view);
    let mut placed = 0;
    for index in 0..bound {
        let view = scene.view.clone();
        let mut inventory = Inventory::of(&view, &scene.policy);
        let Some(row) = inventory.place(&template) else { break };
        let node = inventory.node_name(row).unwrap().to_owned();
        scene = scene.running(name, index, &node, Some(queue));
        placed += 1;
    }
    let current = placed + waiting;
    let target = scene.view.workloads.get_mut(&deployment(name)).unwrap();
    (target.spec_replicas, target.status_replicas) = (current, current);
    let mut scene = scene.hpa(name, 20, &[external_of("inference_queue_length", name, &average("10"))]);
    scene.view.hpas.get_mut(&key(name)).unwrap().spec.min_replicas = Some(min);
    (0..waiting).fold(scene, |scene, index| {
        scene.unschedulable(name, 100 + usize::try_from(index).unwrap(), i64::from(index) * 100)
    })
}

fn gpus_of(scene: &Scene, decision: &Decision) -> i64 {
    let template = scene.view.workloads[&decision.workload].template.as_ref().unwrap();
    Template::of(template, "ml", &scene.view).gpus(|name| name == "nvidia.com/gpu")
}

/// A fleet over some ticks: HPAs go up to what they are promised when they like, the scheduler binds what it likes.
struct Course {
    scene: Scene,
    last: Option<Snapshot>,
    /// Pods that are to be bound: of which workload.
    unbound: Vec<&'static str>,
    made: usize,
}

impl Course {
    fn of(scene: Scene) -> Self {
        Self { scene, last: None, unbound: Vec::new(), made: 1000 }
    }

    fn decide(&mut self) {
        self.scene = self.scene.clone().later(1);
        self.last = Some(self.scene.after(self.last.as_ref()));
    }

    fn sync(&mut self, draws: &mut impl Iterator<Item = usize>) {
        for decision in self.last.iter().flat_map(|last| last.decisions.values()) {
            let target = self.scene.view.workloads.get_mut(&decision.workload).unwrap();
            let more = decision.grant - target.spec_replicas;
            if more > 0 && draws.next().unwrap().is_multiple_of(2) {
                (target.spec_replicas, target.status_replicas) = (decision.grant, decision.grant);
                let name = NAMES.into_iter().find(|name| *name == decision.workload.name).unwrap();
                self.unbound.extend((0..more).map(|_| name));
            }
        }
    }

    fn bind(&mut self, draws: &mut impl Iterator<Item = usize>, most: usize) -> Result<(), TestCaseError> {
        for _ in 0..self.unbound.len().min(most) {
            let name = self.unbound.swap_remove(draws.next().unwrap() % self.unbound.len());
            let template = self.scene.view.workloads[&deployment(name)].template.as_ref().unwrap();
            let gpus = Template::of(template, "ml", &self.scene.view).gpus(|name| name == "nvidia.com/gpu");
            let inventory = Inventory::of(&self.scene.view, &self.scene.policy);
            let free = self.scene.view.nodes.keys().filter(|node| inventory.free_gpus_of(node) >= gpus);
            let open: Vec<_> = free.cloned().collect();
            prop_assert!(!open.is_empty(), "no node takes a pod of {name} with {gpus} GPUs");
            self.made += 1;
            let node = &open[draws.next().unwrap() % open.len()];
            self.scene = self.scene.clone().running(name, self.made, node, Some(60));
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn grants_are_within_ceilings_and_never_below_what_is_bound(scene in fleets(0..5)) {
        for decision in scene.decide().decisions.values() {
            prop_assert!(decision.bound <= decision.grant && decision.grant <= decision.ceiling);
        }
    }

    #[test]
    fn what_is_promised_finds_its_place_wherever_the_scheduler_puts_it(
        scene in fleets(0..1),
        draws in prop::collection::vec(0_usize..99, 99),
    ) {
        let mut draws = draws.into_iter().cycle();
        let mut course = Course::of(scene);
        for _ in 0..4 {
            course.decide();
            course.sync(&mut draws);
            course.bind(&mut draws, 2)?;
        }
        course.bind(&mut draws, usize::MAX)?;
    }

    #[test]
    fn what_is_held_back_is_promised_once_the_others_are_bound(scene in fleets(0..1), draws in prop::collection::vec(0_usize..99, 99)) {
        let (mut draws, mut course) = (draws.into_iter().cycle(), Course::of(scene));
        for _ in 0..30 {
            course.decide();
            course.sync(&mut std::iter::repeat(0));
            course.bind(&mut draws, usize::MAX)?;
        }
        course.decide();
        for decision in course.last.iter().flat_map(|last| last.decisions.values()) {
            let want = decision.demand.map_or(0, |demand| demand.min(decision.max_replicas));
            prop_assert!(decision.grant >= want || decision.fits.lo == 0, "{decision:#?}");
        }
    }

    #[test]
    fn all_grants_together_can_be_placed(scene in fleets(0..5)) {
        let snapshot = scene.decide();
        let mut inventory = Inventory::of(&scene.view, &scene.policy);
        let mut owed: Vec<_> = snapshot.decisions.values().filter_map(|decision| {
            let template = scene.view.workloads[&decision.workload].template.as_ref()?;
            let template = Template::of(template, "ml", &scene.view);
            Some((template.gpus(|name| name == "nvidia.com/gpu"), decision.grant - decision.bound, template))
        }).collect();
        let total: i64 = owed.iter().map(|(gpus, count, _)| gpus * i64::from(*count)).sum();
        prop_assert!(total <= snapshot.free_gpus, "{total} of {} free GPUs promised", snapshot.free_gpus);
        // Largest first packs whatever can be packed on nodes of one resource up to sizes that divide each other.
        owed.sort_by_key(|(gpus, ..)| std::cmp::Reverse(*gpus));
        if owed.iter().all(|(gpus, ..)| [1, 2, 4].contains(gpus)) {
            for (_, count, template) in owed {
                for _ in 0..count {
                    prop_assert!(inventory.place(&template).is_some());
                }
            }
        }
    }

    #[test]
    fn the_same_input_makes_the_same_bytes(scene in fleets(0..5)) {
        let (first, second) = (scene.decide(), scene.clone().decide());
        prop_assert_eq!(serde_json::to_string(&first).unwrap(), serde_json::to_string(&second).unwrap());
        prop_assert!(first.digest.len() == 64 && first.digest == second.digest);
    }

    #[test]
    fn a_node_more_takes_no_gpu_from_the_fleet(scene in fleets(0..5), gpus in 0_u32..9) {
        let promised = |scene: &Scene| -> i64 {
            let sum = |decision: &Decision| gpus_of(scene, decision) * i64::from(decision.grant);
            scene.decide().decisions.values().map(sum).sum()
        };
        let before = promised(&scene);
        let largest = 4;
        prop_assert!(promised(&scene.node("z", gpus)) >= before - largest, "packing may cost at most one replica");
    }

    #[test]
    fn what_was_promised_is_still_granted_at_the_next_tick(scene in fleets(0..5)) {
        // Largest first packs whatever can be packed if the sizes divide each other; other sizes may fragment.
        let sizes = |scene: &Scene| scene.decide().decisions.values().all(|decision| {
            [1, 2, 4].contains(&gpus_of(scene, decision))
        });
        prop_assume!(sizes(&scene));
        let first = scene.decide();
        let second = scene.clone().later(5).after(Some(&first));
        for (key, decision) in &second.decisions {
            let promised = first.reservations.get(&decision.workload).and_then(|held| held.first()).map_or(0, |held| held.replicas);
            prop_assert!(decision.grant >= promised, "{key}: {} of {promised} promised", decision.grant);
        }
    }
}
