//! Room that a node autoscaler has booked for pods which are still to be made.

use serde_json::{Value, json};

use super::{accident::queue, scene::*};
use crate::{
    autoscaler::NodeAutoscaler,
    capacity::LimitingFactor,
    cluster::{BookingChange, Change, Delta},
    decision::{Decision, Snapshot},
};

/// The accident with 8 GPUs of which 5 are in use, and a request for `count` pods of two GPUs.
fn booking(class: &str, count: i32, conditions: &Value) -> Scene {
    let mut scene = textbook(&queue());
    let requests = json!({"limits": {"nvidia.com/gpu": "2"}});
    let template = json!({
        "metadata": {"namespace": "batch", "name": "trainer"},
        "template": {"spec": {"containers": [{"name": "c", "resources": requests}]}},
    });
    let request = json!({
        "metadata": {"namespace": "batch", "name": "job"},
        "spec": {
            "podSets": [{"podTemplateRef": {"name": "trainer"}, "count": count}],
            "provisioningClassName": class,
        },
        "status": {"conditions": conditions},
    });
    let template = BookingChange::Template(Delta::Applied(serde_json::from_value(template).unwrap()));
    let request = BookingChange::Request(Delta::Applied(serde_json::from_value(request).unwrap()));
    for change in [template, request] {
        scene.view.apply(Change::Booking(change));
    }
    scene
}

const CHECK: &str = "check-capacity.autoscaling.x-k8s.io";

fn provisioned() -> Value {
    json!([{"type": "Accepted", "status": "True"}, {"type": "Provisioned", "status": "True"}])
}

fn decision(snapshot: &Snapshot) -> &Decision {
    &snapshot.decisions[&key("llm")]
}

fn grant(scene: &Scene) -> i32 {
    decision(&scene.decide()).grant
}

#[test]
fn a_request_that_cannot_be_read_is_told_since_nothing_can_be_kept_for_it() {
    let mut scene = booking(CHECK, 1, &provisioned());
    let told = |scene: &Scene, name: &str| {
        let snapshot = scene.decide();
        let step = decision(&snapshot).steps.iter().find(|step| step.name == name);
        step.map(|step| (step.value, step.reason.contains("other: unknown field")))
    };
    let booked = told(&scene, "booked");
    assert_eq!((booked, told(&scene, "unreadBookings")), (Some((Some(1), false)), None));
    let doubts = [("batch".to_owned(), "other: unknown field".to_owned())].into();
    scene.view.apply(Change::Unreadable { resource: "provisioningrequests".to_owned(), doubts });
    assert_eq!((told(&scene, "booked"), told(&scene, "unreadBookings")), (booked, Some((None, true))));
}

/// A pod of the request that runs.
fn consumed(mut scene: Scene) -> Scene {
    let limits = json!({"limits": {"nvidia.com/gpu": "2"}});
    let pod: crate::object::Pod = serde_json::from_value(json!({
        "metadata": {
            "namespace": "batch", "name": "job-0",
            "annotations": {"autoscaling.x-k8s.io/consume-provisioning-request": "job", "other": "gone"},
        },
        "spec": {"nodeName": "a", "containers": [{"name": "c", "resources": limits}]},
        "status": {"phase": "Running"},
    }))
    .unwrap();
    assert_eq!(pod.metadata.annotations.len(), 1);
    scene.view.pods.insert(pod.metadata.key(), pod);
    scene
}

#[test]
fn room_that_is_booked_still_fits_and_is_granted_to_nobody_else() {
    let scene = booking(CHECK, 1, &provisioned());
    let snapshot = scene.decide();
    let decided = decision(&snapshot);
    assert_eq!((decided.fits.lo, decided.ceiling, decided.grant), (3, 8, 6));
    assert_eq!(decided.limiting_factor, LimitingFactor::Gpu);
    let step = decided.steps.iter().find(|step| step.name == "booked").unwrap();
    assert_eq!(step.value, Some(1));
    assert_eq!(
        step.reason,
        "room for 1 pod is booked by ProvisioningRequest batch/job (check-capacity.autoscaling.x-k8s.io)"
    );
    // What has no room is not kept room for.
    let more = booking(CHECK, 4, &provisioned()).decide();
    assert_eq!((more.booked[0].pods, more.booked[0].without_room), (1, 3));
}

#[test]
fn only_what_cluster_autoscaler_books_counts_and_only_while_it_does() {
    assert_eq!(grant(&booking(CHECK, 1, &json!([]))), 8);
    let expired = json!([{"type": "Provisioned", "status": "True"}, {"type": "BookingExpired", "status": "True"}]);
    assert_eq!(grant(&booking(CHECK, 1, &expired)), 8);
    assert_eq!(grant(&booking("best-effort-atomic-scale-up.autoscaling.x-k8s.io", 1, &provisioned())), 6);
    assert_eq!(grant(&booking("queued-provisioning.gke.io", 1, &provisioned())), 8);
}

#[test]
fn pods_that_exist_have_taken_what_was_booked_for_them() {
    // One of two GPUs that are left is nobody's: the pod runs on what was booked.
    assert_eq!(grant(&consumed(booking(CHECK, 1, &provisioned()))), 6);
    assert!(consumed(booking(CHECK, 1, &provisioned())).decide().booked[0].pods == 0);
}

#[test]
fn what_a_workload_is_to_consume_itself_is_left_to_it() {
    let mut scene = booking(CHECK, 1, &provisioned());
    let target = scene.view.workloads.get_mut(&deployment("llm")).unwrap();
    let annotations = &mut target.template.as_mut().unwrap().metadata.annotations;
    annotations.insert("autoscaling.x-k8s.io/consume-provisioning-request".to_owned(), "job".to_owned());
    // Of the same name in another namespace: not its own.
    assert_eq!(grant(&scene), 6);
    let request = scene.view.bookings.requests.pop_first().unwrap().1;
    let mut own = request;
    own.metadata.namespace = "ml".to_owned();
    scene.view.bookings.requests.insert(own.metadata.key(), own);
    assert_eq!(grant(&scene), 8);
}

#[test]
fn what_is_booked_for_pods_that_nobody_knows_is_told() {
    let mut scene = booking(CHECK, 1, &provisioned());
    scene.view.bookings.templates.clear();
    let snapshot = scene.decide();
    assert_eq!(decision(&snapshot).grant, 8);
    let step = decision(&snapshot).steps.iter().find(|step| step.name == "booked").unwrap();
    assert!(step.reason.ends_with("its PodTemplates trainer are not known, so nothing is kept for them"), "{step:?}");
}

#[test]
fn a_buffer_for_the_workload_is_told_and_changes_nothing() {
    let buffer = json!({
        "metadata": {"namespace": "ml", "name": "spare"},
        "spec": {"scalableRef": {"apiGroup": "apps", "kind": "Deployment", "name": "llm"}},
        "status": {"replicas": 2, "conditions": [
            {"type": "ReadyForProvisioning", "status": "True"}, {"type": "Provisioning", "status": "True"},
        ]},
    });
    let mut scene = textbook(&queue());
    let buffers = vec![serde_json::from_value(buffer).unwrap()];
    scene.view.node_autoscaler = Some(NodeAutoscaler { buffers, ..NodeAutoscaler::default() });
    let snapshot = scene.decide();
    let step = decision(&snapshot).steps.iter().find(|step| step.name == "buffer").unwrap();
    assert_eq!((step.value, decision(&snapshot).grant), (Some(2), 8));
    assert!(step.reason.starts_with("CapacityBuffer ml/spare"), "{step:?}");
}
