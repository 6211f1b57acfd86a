//! Replicas that are groups of pods: what is promised survives any order of placing, and nothing that could be placed
//! is denied.

use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};

use super::*;
use crate::{
    capacity::{Class, Fits, Placer, Replica},
    cluster::Started,
    object::{Group, ObjectKey, ResourceQuota, ScaleTarget},
};

/// (CPU, GPUs) of a node that is free, or of a pod.
type Amount = (i64, i64);

fn node(index: usize, (cpu, gpus): Amount) -> Node {
    from(json!({
        "metadata": {"name": format!("n{index}")},
        "status": {
            "allocatable": {"cpu": cpu, "pods": 6, "nvidia.com/gpu": gpus},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }))
}

fn cluster(nodes: &[Amount]) -> View {
    mk_view(nodes.iter().enumerate().map(|(index, offer)| node(index, *offer)), [])
}

fn pod_template((cpu, gpus): Amount, more: Value) -> PodTemplate {
    let mut spec = json!({"containers": [{"resources": {"requests": {"cpu": cpu, "nvidia.com/gpu": gpus}}}]});
    if let (Value::Object(spec), Value::Object(more)) = (&mut spec, more) {
        spec.extend(more);
    }
    from(json!({"spec": spec}))
}

fn target(leader: Amount, worker: Amount, workers: u32) -> ScaleTarget {
    let group = Group { workers, worker_template: pod_template(worker, json!({})), exclusive: None };
    ScaleTarget {
        template: Some(pod_template(leader, json!({}))),
        group: Some(Box::new(group)),
        ..ScaleTarget::default()
    }
}

fn replica(view: &View, target: &ScaleTarget, started: Vec<Started>) -> Replica {
    Replica::of(target.template.as_ref().unwrap(), target.group.as_deref(), "ml", view, started)
}

fn fits(view: &View, target: &ScaleTarget, started: Vec<Started>) -> Answer {
    let replica = replica(view, target, started);
    Inventory::of(view, &Policy::default()).fits_replica(&replica)
}

/// Nodes with what pods leave of them, and the number of pods.
type Room = Vec<(i64, i64, i64)>;

fn room(nodes: &[Amount]) -> Room {
    nodes.iter().map(|(cpu, gpus)| (*cpu, *gpus, 6)).collect()
}

fn open(room: &Room, (cpu, gpus): Amount) -> Vec<usize> {
    (0..room.len()).filter(|node| room[*node].0 >= cpu && room[*node].1 >= gpus && room[*node].2 >= 1).collect()
}

/// Places pods in the order given, each on a node that is drawn; whether all found one.
fn all_placed(nodes: &[Amount], pods: &[Amount], draws: &[prop::sample::Index]) -> bool {
    let mut room = room(nodes);
    pods.iter().enumerate().all(|(index, pod)| {
        let open = open(&room, *pod);
        if open.is_empty() {
            return false;
        }
        let node = *draws[index % draws.len()].get(&open);
        room[node] = (room[node].0 - pod.0, room[node].1 - pod.1, room[node].2 - 1);
        true
    })
}

/// The pods of some replicas, in an order that is drawn.
fn pods(leader: Amount, worker: Amount, workers: u32, replicas: u32, draws: &[prop::sample::Index]) -> Vec<Amount> {
    let mut all = vec![leader; replicas as usize];
    all.extend(vec![worker; (replicas * workers) as usize]);
    let mut order: Vec<_> = all.iter().copied().enumerate().collect();
    order.sort_by_key(|(index, _)| draws[index % draws.len()].index(1 << 20));
    order.into_iter().map(|(_, pod)| pod).collect()
}

fn amount() -> impl Strategy<Value = Amount> {
    (1_i64..7, 0_i64..4)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_order_the_scheduler_takes_what_is_promised_is_placed_whole(
        nodes in vec((0_i64..16, 0_i64..9), 1..6),
        leader in amount(),
        worker in amount(),
        workers in 0_u32..5,
        orders in vec(vec(any::<prop::sample::Index>(), 7..40), 1..6),
    ) {
        let answer = fits(&cluster(&nodes), &target(leader, worker, workers), Vec::new());
        for draws in &orders {
            let promised = pods(leader, worker, workers, answer.fits.lo, draws);
            prop_assert!(all_placed(&nodes, &promised, draws), "{} promised", answer.fits.lo);
            let beyond = pods(leader, worker, workers, answer.fits.hi.unwrap() + 1, draws);
            prop_assert!(!all_placed(&nodes, &beyond, draws), "more than {:?} placed", answer.fits.hi);
        }
    }

    #[test]
    fn alike_leaders_and_workers_are_counted_exactly(
        nodes in vec((0_i64..16, 0_i64..9), 1..6), pod in amount(), workers in 0_u32..5,
    ) {
        let view = cluster(&nodes);
        let pods = Inventory::of(&view, &Policy::default()).fits(&Template::of(&pod_template(pod, json!({})), "ml", &view));
        let groups = fits(&view, &target(pod, pod, workers), Vec::new());
        prop_assert_eq!(groups.fits, Fits::exact(pods.fits.lo / (workers + 1)));
    }

    #[test]
    fn a_replica_that_does_not_fit_whole_takes_nothing(
        nodes in vec((0_i64..16, 0_i64..9), 1..6), leader in amount(), worker in amount(), workers in 0_u32..5,
    ) {
        let (view, policy) = (cluster(&nodes), Policy::default());
        let target = target(leader, worker, workers);
        let replica = replica(&view, &target, Vec::new());
        let single = Template::of(&pod_template((1, 0), json!({})), "ml", &view);
        let mut placer = Placer::new(Inventory::of(&view, &policy));
        let mut whole = 0;
        while placer.place_replica(&replica, 0) {
            whole += 1;
        }
        let taken: Vec<_> = (0..whole).flat_map(|_| std::iter::once(leader).chain(vec![worker; workers as usize])).collect();
        let mut again = Placer::new(Inventory::of(&view, &policy));
        for _ in 0..whole {
            prop_assert!(again.place_replica(&replica, 0));
        }
        prop_assert_eq!(placer.fits(&single).fits, again.fits(&single).fits, "{:?}", taken);
        prop_assert!(whole >= fits(&view, &target, Vec::new()).fits.lo);
    }
}

#[test]
fn one_large_node_of_two_that_a_leader_may_take_is_not_promised_to_workers() {
    // The leader fits anywhere; on the only node with GPUs it leaves too few CPUs for the worker.
    let answer = fits(&cluster(&[(8, 1), (8, 0)]), &target((2, 0), (8, 1), 1), Vec::new());
    assert_eq!(answer.fits, Fits { class: Class::Interval, lo: 0, hi: Some(1) });
    let answer = fits(&cluster(&[(10, 1), (8, 0)]), &target((2, 0), (8, 1), 1), Vec::new());
    assert_eq!(answer.fits, Fits::exact(1));
}

#[test]
fn groups_that_have_been_started_are_completed_first() {
    let view = cluster(&[(64, 3)]);
    let target = target((1, 1), (1, 1), 3);
    assert_eq!(fits(&view, &target, Vec::new()).fits, Fits::exact(0));
    let lacks = |workers| Started { leaders: 0, workers, unmade: 0 };
    assert_eq!(fits(&view, &target, vec![lacks(3)]).fits, Fits::exact(1));
    assert_eq!(fits(&view, &target, vec![lacks(2), lacks(1)]).fits, Fits::exact(2));
    // Which of the two is given up is not settled, so that one is promised only if either may be completed.
    assert_eq!(fits(&cluster(&[(64, 1)]), &target, vec![lacks(2), lacks(1)]).fits, Fits::between(0, Some(1)));
}

#[test]
fn quotas_let_whole_groups_through() {
    let mut view = cluster(&[(6, 8), (6, 8), (6, 8)]);
    let quota: ResourceQuota = from(json!({
        "metadata": {"name": "team", "namespace": "ml"},
        "spec": {"hard": {"requests.nvidia.com/gpu": "11"}},
        "status": {"hard": {"requests.nvidia.com/gpu": "11"}, "used": {"requests.nvidia.com/gpu": "2"}},
    }));
    view.resource_quotas.insert(ObjectKey::new("ml", "team"), quota);
    let target = target((1, 1), (1, 1), 3);
    assert_eq!(fits(&view, &target, Vec::new()).quota.unwrap().pods, 2);
    let unmade = Started { leaders: 0, workers: 2, unmade: 2 };
    assert_eq!(fits(&view, &target, vec![unmade]).quota.unwrap().pods, 1);
}

#[test]
fn what_is_not_modelled_of_groups_is_unknown_with_a_reason() {
    let view = cluster(&[(16, 8), (16, 8)]);
    let codes = |target: &ScaleTarget| {
        let answer = fits(&view, target, Vec::new());
        assert_eq!(answer.fits, Fits::unknown());
        answer.unmodelled.iter().map(|reason| reason.code).collect::<Vec<_>>()
    };
    let mut exclusive = target((1, 1), (1, 1), 1);
    exclusive.group.as_mut().unwrap().exclusive = Some("leaderworkerset.sigs.k8s.io/exclusive-topology");
    assert_eq!(codes(&exclusive), ["exclusiveTopology"]);
    assert_eq!(codes(&target((1, 1), (1, 1), 5000)), ["groupSize"]);
    let spread = json!({"topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {}},
    ]});
    let mut spreading = target((1, 1), (2, 1), 1);
    spreading.template = Some(pod_template((1, 1), spread));
    assert_eq!(codes(&spreading), ["groupPlacement"]);
    let mut held = target((1, 1), (1, 1), 1);
    held.group.as_mut().unwrap().worker_template = pod_template((1, 1), json!({"schedulerName": "volcano"}));
    assert_eq!(codes(&held), ["schedulerName"]);
}
