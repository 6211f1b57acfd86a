//! Kueue: quota of queues, where it can be counted.

use serde_json::{Value, json};

use super::*;
use crate::{
    capacity::{Class, Fits, LimitingFactor},
    cluster::{Change, Delta, Namespace, QueueChange},
};

const GPU: &str = "nvidia.com/gpu";

/// A queue of one flavor: nominal quota and what is reserved of GPUs, and further fields of its specification.
fn cluster_queue(name: &str, (nominal, reserved): (u32, u32), more: &Value) -> Change {
    let amount = |gpus: u32| -> Value {
        json!([
            {"name": "cpu", "nominalQuota": "1000", "total": "0"}, {"name": "memory", "nominalQuota": "1Ti", "total": "0"},
            {"name": GPU, "nominalQuota": gpus.to_string(), "total": gpus.to_string()},
        ])
    };
    let mut queue = json!({
        "metadata": {"name": name},
        "spec": {
            "namespaceSelector": {},
            "resourceGroups": [{
                "coveredResources": ["cpu", "memory", GPU], "flavors": [{"name": "h100", "resources": amount(nominal)}],
            }],
        },
        "status": {
            "conditions": [{"type": "Active", "status": "True"}],
            "flavorsReservation": [{"name": "h100", "resources": amount(reserved)}],
        },
    });
    for (key, value) in more.as_object().unwrap() {
        queue["spec"][key] = value.clone();
    }
    Change::Queue(QueueChange::Cluster(Delta::Applied(from(queue))))
}

fn flavor(spec: &Value) -> Change {
    Change::Queue(QueueChange::Flavor(Delta::Applied(from(json!({"metadata": {"name": "h100"}, "spec": spec})))))
}

fn cohorts(cohorts: &Value) -> Change {
    Change::Queue(QueueChange::Cohort(Delta::Replaced(from(cohorts.clone()))))
}

/// 16 GPUs on two nodes of unlike pools, and a queue in the namespace.
fn queued(changes: impl IntoIterator<Item = Change>) -> View {
    let mut nodes = [mk_node("a", 8), mk_node("b", 8)];
    nodes[0].metadata.labels.insert("pool".to_owned(), "h100".to_owned());
    let mut view = mk_view(nodes, []);
    view.namespaces.insert("ml".to_owned(), Namespace::default());
    let local = json!({"metadata": {"name": "team", "namespace": "ml"}, "spec": {"clusterQueue": "all"}});
    view.apply(Change::Queue(QueueChange::Local(Delta::Applied(from(local)))));
    view.apply(flavor(&json!({})));
    for change in changes {
        view.apply(change);
    }
    view
}

fn template(parent: &str) -> PodTemplate {
    let mut template = mk_template(1, json!({}));
    template.metadata.labels.insert("kueue.x-k8s.io/queue-name".to_owned(), "team".to_owned());
    template.metadata.annotations.insert("kueue.x-k8s.io/pod-suspending-parent".to_owned(), parent.to_owned());
    template
}

/// What fits, and how many may be admitted.
fn room(view: &View) -> (Fits, Option<u32>) {
    let answer = answer(view, &template("deployment"));
    (answer.fits, answer.quota.map(|room| room.pods))
}

#[track_caller]
fn expect_unknown(view: &View, why: &str) {
    let answer = answer(view, &template("deployment"));
    assert_eq!((answer.fits.class, answer.limiting_factor), (Class::Unknown, LimitingFactor::Quota));
    assert!(answer.unmodelled.iter().any(|reason| reason.message.contains(why)), "{:?}", answer.unmodelled);
}

#[test]
fn a_queue_lets_as_many_through_as_its_quota_has_left() {
    let view = queued([cluster_queue("all", (10, 6), &json!({}))]);
    let found = answer(&view, &template("deployment"));
    assert_eq!((found.fits, found.further(0), found.further(2)), (Fits::exact(16), 4, 6));
    let room = found.quota.unwrap();
    assert!(room.reason.starts_with("Kueue's ClusterQueue all: nvidia.com/gpu of flavor h100 6 of 10"), "{room:?}");
}

#[test]
fn admitted_pods_go_to_the_nodes_of_their_flavor() {
    let mut view = queued([cluster_queue("all", (100, 0), &json!({}))]);
    view.apply(flavor(&json!({"nodeLabels": {"pool": "h100"}})));
    assert_eq!(room(&view), (Fits::exact(8), Some(100)));
    view.apply(flavor(&json!({"nodeTaints": [{"key": "gpu", "effect": "NoSchedule"}]})));
    expect_unknown(&view, "a taint that is not tolerated");
    let tolerated = json!({
        "nodeTaints": [{"key": "gpu", "effect": "NoSchedule"}], "tolerations": [{"key": "gpu", "operator": "Exists"}],
    });
    view.apply(flavor(&tolerated));
    assert_eq!(room(&view).0, Fits::exact(16));
}

#[test]
fn pods_that_were_let_through_count_before_the_status_of_their_queue_says_so() {
    let mut view = queued([cluster_queue("all", (10, 0), &json!({}))]);
    for (name, gated) in [("p", false), ("q", false), ("r", true)] {
        let mut pod = mk_pod(name, if gated { "" } else { "a" }, 2);
        pod.metadata.labels.insert("kueue.x-k8s.io/queue-name".to_owned(), "team".to_owned());
        if gated {
            pod.spec.scheduling_gates.push(from(json!({"name": "kueue.x-k8s.io/admission"})));
        }
        view.pods.insert(pod.metadata.key(), pod);
    }
    assert_eq!(room(&view).1, Some(6));
}

#[test]
fn queues_of_a_cohort_share_what_they_do_not_use() {
    let cohort = |limit: Option<&str>| {
        let mut queue = json!({"cohortName": "org"});
        let quota = json!({"name": GPU, "nominalQuota": "4", "borrowingLimit": limit});
        let others = ["cpu", "memory"].map(|name| json!({"name": name, "nominalQuota": "1Ti"}));
        let resources: Vec<_> = others.into_iter().chain([quota]).collect();
        queue["resourceGroups"] = json!([{
            "coveredResources": ["cpu", "memory", GPU], "flavors": [{"name": "h100", "resources": resources}],
        }]);
        queue
    };
    let other = json!({"cohort": "org"});
    let both = |limit, used| {
        let queues = [cluster_queue("all", (0, used), &cohort(limit)), cluster_queue("other", (10, 3), &other)];
        queued(queues.into_iter().chain([cohorts(&json!([]))]))
    };
    assert_eq!(room(&both(None, 2)).1, Some(9), "14 of both, of which 5 are used");
    assert_eq!(room(&both(Some("1"), 2)).1, Some(3), "4 of its own and one that is borrowed");
    assert_eq!(room(&both(Some("1"), 5)).1, Some(0));
    let mut lending = both(None, 2);
    let keeps = json!({"cohort": "org", "resourceGroups": [{"coveredResources": [GPU], "flavors": [
        {"name": "h100", "resources": [{"name": GPU, "nominalQuota": "10", "lendingLimit": "4"}]}]}]});
    lending.apply(cluster_queue("other", (10, 3), &keeps));
    assert_eq!(room(&lending).1, Some(6), "of the other's 10 it lends 4, and uses the rest first");
    lending.apply(cluster_queue("other", (10, 9), &keeps));
    assert_eq!(room(&lending).1, Some(3));
}

#[test]
fn what_is_more_involved_is_not_known_and_says_why() {
    expect_unknown(&queued([]), "ClusterQueue \"all\" is not known");
    let with = |more: Value| queued([cluster_queue("all", (10, 0), &more)]);
    expect_unknown(&with(json!({"stopPolicy": "Hold"})), "it is stopped");
    expect_unknown(&with(json!({"namespaceSelector": null})), "does not serve the namespace");
    expect_unknown(&with(json!({"admissionChecks": ["prov"]})), "admission checks");
    expect_unknown(&with(json!({"cohort": "org"})), "Cohorts are not known");
    expect_unknown(
        &with(json!({"resourceGroups": [{"coveredResources": [GPU], "flavors": [{}, {}]}]})),
        "several flavors",
    );
    let only_gpus = json!([{"coveredResources": [GPU], "flavors": [{"name": "h100"}]}]);
    expect_unknown(&with(json!({"resourceGroups": only_gpus})), "no quota of cpu");
    let mut nested = with(json!({"cohort": "org"}));
    nested.apply(cohorts(&json!([{"metadata": {"name": "org"}, "spec": {"parent": "root"}}])));
    expect_unknown(&nested, "a parent or quota of its own");
    let together = answer(&with(json!({})), &template("statefulset"));
    assert!(together.unmodelled[0].message.contains("admitted together"), "{:?}", together.unmodelled);
    let mut hidden = with(json!({}));
    let doubts = [(String::new(), "403".to_owned())].into();
    hidden.apply(Change::Unreadable { resource: "clusterqueues".to_owned(), doubts });
    expect_unknown(&hidden, "clusterqueues are not all known");
}
