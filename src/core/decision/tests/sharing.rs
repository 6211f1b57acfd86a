//! Two workloads and the last GPUs.

use super::scene::{Scene, average, deployment, external_of, key};
use crate::{capacity::LimitingFactor, object::WorkloadKey};

fn two(first: (i32, i64), second: (i32, i64)) -> Scene {
    let metric = |name: &str| [external_of("inference_queue_length", name, &average("10"))];
    let scene = Scene::new().node("a", 8).workload("one", first.0, 1).workload("two", second.0, 1);
    let scene = scene.hpa("one", 50, &metric("one")).hpa("two", 50, &metric("two"));
    let fill = |scene: Scene, name: &'static str, (count, queue): (i32, i64)| {
        (0..usize::try_from(count).unwrap()).fold(scene, |scene, index| scene.running(name, index, "a", Some(queue)))
    };
    let scene = fill(scene, "one", first);
    fill(scene, "two", second)
}

fn grants(scene: &Scene) -> (i32, i32) {
    let snapshot = scene.decide();
    (snapshot.decisions[&key("one")].grant, snapshot.decisions[&key("two")].grant)
}

#[test]
fn two_workloads_never_get_the_same_free_gpu() {
    assert_eq!(grants(&two((3, 50), (3, 50))), (4, 4));
    assert_eq!(grants(&two((1, 90), (5, 90))), (3, 5), "what runs stays, the rest goes to who has least");
    assert_eq!(grants(&two((1, 90), (1, 20))), (6, 2), "who wants less leaves the rest");
}

#[test]
fn pods_that_wait_take_their_places_first() {
    let mut scene = two((3, 50), (3, 50));
    scene.view.workloads.get_mut(&deployment("two")).unwrap().spec_replicas = 5;
    let scene = scene.unschedulable("two", 3, 1).unschedulable("two", 4, 1);
    assert_eq!(grants(&scene), (3, 5));
}

#[test]
fn a_promise_outlasts_the_tick_that_made_it() {
    let first = two((1, 0), (5, 90)).decide();
    assert_eq!(first.decisions[&key("two")].grant, 7);
    let contested = two((1, 90), (5, 90)).later(5);
    let second = contested.after(Some(&first));
    assert_eq!((second.decisions[&key("one")].grant, second.decisions[&key("two")].grant), (1, 7), "promised before");
    let forgotten = contested.later(60).after(Some(&first));
    let grants = (forgotten.decisions[&key("one")].grant, forgotten.decisions[&key("two")].grant);
    assert_eq!(grants, (3, 5), "then it is divided afresh");
}

#[test]
fn floors_come_before_the_rest_by_priority() {
    let floor = |mut scene: Scene, name: &str, min: i32, priority: i32| {
        scene.view.hpas.get_mut(&key(name)).unwrap().spec.min_replicas = Some(min);
        let workload: WorkloadKey = deployment(name);
        let template = scene.view.workloads.get_mut(&workload).unwrap().template.as_mut().unwrap();
        template.spec.priority = Some(priority);
        scene
    };
    let scene = floor(floor(two((1, 90), (1, 90)), "one", 6, 0), "two", 5, 10);
    assert_eq!(grants(&scene), (3, 5));
    let note = &scene.decide().decisions[&key("one")].notes;
    assert!(note.is_empty(), "alone it would fit: {note:?}");
}

/// Workloads: GPUs of a replica, queue of each pod, and on which nodes they run.
fn fleet(nodes: &[(&str, u32)], workloads: &[(&'static str, u32, i64, &[&str])]) -> Scene {
    let scene = nodes.iter().fold(Scene::new(), |scene, (name, gpus)| scene.node(name, *gpus));
    workloads.iter().fold(scene, |scene, (name, gpus, queue, on)| {
        let scene = scene.workload(name, i32::try_from(on.len()).unwrap(), *gpus);
        let scene = scene.hpa(name, 50, &[external_of("inference_queue_length", name, &average("10"))]);
        on.iter().enumerate().fold(scene, |scene, (index, node)| scene.running(name, index, node, Some(*queue)))
    })
}

fn granted(scene: &Scene, names: &[&str]) -> Vec<i32> {
    let snapshot = scene.decide();
    names.iter().map(|name| snapshot.decisions[&key(name)].grant).collect()
}

#[test]
fn large_replicas_are_promised_first_and_small_ones_what_cannot_break_their_nodes() {
    let nodes = [("a", 8), ("b", 8)];
    let names = ["large", "small"];
    let scene = fleet(&nodes, &[("large", 4, 90, &["a"]), ("small", 1, 40, &["b"])]);
    assert_eq!(granted(&scene, &names), [3, 1], "a small one on node a would leave one large one without a place");
    let small = &scene.decide().decisions[&key("small")];
    assert_eq!(small.limiting_factor, LimitingFactor::Contention);
    let next = small.steps.iter().find(|step| step.name == "next");
    assert_eq!(next.and_then(|step| step.value), Some(3), "{:?}", small.steps);
    let bound = fleet(&nodes, &[("large", 4, 90, &["a", "a", "b"]), ("small", 1, 40, &["b"])]);
    assert_eq!(granted(&bound, &names), [3, 4], "what the large ones left is known now");
}

#[test]
fn nothing_is_held_back_where_all_ask_for_the_same_or_do_not_meet() {
    let alike = fleet(&[("a", 8), ("b", 8)], &[("one", 2, 90, &["a"]), ("two", 2, 90, &["b"])]);
    assert_eq!(granted(&alike, &["one", "two"]), [4, 4]);
    let mut apart = fleet(&[("a", 8), ("b", 8)], &[("large", 4, 90, &["a"]), ("small", 1, 40, &["b"])]);
    for (name, node) in [("large", "a"), ("small", "b")] {
        let template = apart.view.workloads.get_mut(&deployment(name)).unwrap().template.as_mut().unwrap();
        template.spec.node_selector.insert("kubernetes.io/hostname".to_owned(), node.to_owned());
    }
    assert_eq!(granted(&apart, &["large", "small"]), [2, 4]);
}

#[test]
fn what_obeys_no_grant_is_counted_on_for_as_much_as_it_can_reach() {
    let scene = fleet(&[("a", 8), ("b", 8)], &[("large", 4, 90, &["a"]), ("small", 1, 40, &["b"])]);
    let observed = scene.annotated("small", "plimsoll.dev/mode", "Observe");
    assert_eq!(granted(&observed, &["large", "small"]), [2, 4], "one of them may come to node a");
}

#[test]
fn a_grant_that_its_hpa_does_not_act_on_keeps_nothing_from_others() {
    let nodes = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
    let all: Vec<_> = nodes.into_iter().chain(["free", "s"]).map(|name| (name, 8)).collect();
    let workloads = |large: &'static [&'static str]| [("large", 8, 90, large), ("small", 1, 80, &["s"][..])];
    let tolerated = fleet(&all, &workloads(&["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]));
    assert_eq!(granted(&tolerated, &["large", "small"]), [10, 8], "11 of 10 are within the tolerance");
    let acted_on = fleet(&all, &workloads(&["0", "1", "2", "3", "4", "5", "6", "7", "8"]));
    assert_eq!(granted(&acted_on, &["large", "small"]), [11, 1], "11 of 9 are not");
    let mut disabled = acted_on;
    let rules = serde_json::json!({ "scaleUp": { "selectPolicy": "Disabled" } });
    disabled.view.hpas.get_mut(&key("large")).unwrap().spec.behavior = serde_json::from_value(rules).unwrap();
    assert_eq!(granted(&disabled, &["small"]), [8], "nor is what a policy forbids");
}

#[test]
fn pods_that_the_scheduler_has_said_no_to_keep_nothing_from_others() {
    let mut scene = fleet(&[("a", 8), ("b", 8)], &[("small", 1, 40, &["b"])]).workload("large", 4, 4);
    let template = scene.view.workloads.get_mut(&deployment("large")).unwrap().template.as_mut().unwrap();
    let spread = serde_json::json!({ "requiredDuringSchedulingIgnoredDuringExecution": [
        { "topologyKey": "kubernetes.io/hostname", "labelSelector": { "matchLabels": { "app": "large" } } },
    ] });
    template.spec.affinity = serde_json::from_value(serde_json::json!({ "podAntiAffinity": spread })).unwrap();
    let scene = scene.hpa("large", 50, &[external_of("inference_queue_length", "large", &average("10"))]);
    let scene = scene.running("large", 0, "a", Some(90)).running("large", 1, "b", Some(90));
    let refused = scene.unschedulable("large", 7, 5).unschedulable("large", 8, 5);
    assert_eq!(granted(&refused, &["large", "small"]), [2, 4]);
}
