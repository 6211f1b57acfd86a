//! Two workloads and the last GPUs.

use super::scene::{Scene, average, deployment, external_of, key};
use crate::object::WorkloadKey;

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

#[test]
fn large_replicas_are_not_broken_by_small_ones() {
    let metric = |name: &str| [external_of("inference_queue_length", name, &average("10"))];
    let scene = Scene::new().node("a", 8).node("b", 8).workload("large", 1, 4).workload("small", 1, 1);
    let scene = scene.hpa("large", 50, &metric("large")).hpa("small", 50, &metric("small"));
    let scene = scene.running("large", 0, "a", Some(90)).running("small", 0, "b", Some(40));
    let snapshot = scene.decide();
    assert_eq!((snapshot.decisions[&key("large")].grant, snapshot.decisions[&key("small")].grant), (3, 4));
}
