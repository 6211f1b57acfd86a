//! Kueue: quota of queues, where it can be counted.

use serde_json::{Value, json};

use super::{lifting::lift, *};
use crate::{
    capacity::{Class, Edit, Fits, LimitingFactor},
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

/// A queue that has quota of GPUs only beyond what it lends.
fn member(name: &str, cohort: &str, quota: &Value, used: u32) -> Change {
    let mut gpus = json!({"name": GPU, "nominalQuota": "0"});
    for (key, value) in quota.as_object().unwrap() {
        gpus[key] = value.clone();
    }
    let others = ["cpu", "memory"].map(|name| json!({"name": name, "nominalQuota": "1Ti"}));
    let resources: Vec<_> = others.into_iter().chain([gpus]).collect();
    let groups = json!([{
        "coveredResources": ["cpu", "memory", GPU], "flavors": [{"name": "h100", "resources": resources}],
    }]);
    cluster_queue(name, (0, used), &json!({"cohortName": cohort, "resourceGroups": groups}))
}

fn cohort(name: &str, parent: &str, quota: &Value) -> Value {
    let groups = if quota.is_null() {
        json!([])
    } else {
        json!([{"coveredResources": [GPU], "flavors": [{"name": "h100", "resources": [quota]}]}])
    };
    json!({"metadata": {"name": name}, "spec": {"parentName": parent, "resourceGroups": groups}})
}

#[test]
fn what_a_queue_keeps_to_itself_is_its_own() {
    let view = |used, others| {
        let own = member("all", "org", &json!({"nominalQuota": "6", "lendingLimit": "2"}), used);
        let other = member("other", "org", &json!({"nominalQuota": "3"}), others);
        queued([own, other, cohorts(&json!([]))])
    };
    assert_eq!(room(&view(0, 0)).1, Some(9), "4 that it keeps, and 5 of both");
    assert_eq!(room(&view(3, 5)).1, Some(1), "what it keeps is used first, and all that is lent is used");
    assert_eq!(room(&view(7, 2)).1, Some(0));
    let mut apart = view(0, 0);
    apart.apply(member("other", "org", &json!({"nominalQuota": "3", "lendingLimit": "3"}), 0));
    apart.apply(member("third", "org", &json!({"nominalQuota": "1", "lendingLimit": "0"}), 0));
    assert_eq!(room(&apart).1, Some(9), "what others may have of it does not limit this queue");
    let found = answer(&view(0, 0), &template("deployment")).quota.unwrap();
    assert!(found.reason.contains("cohort org, as far as ClusterQueue all may use it"), "{found:?}");
}

#[test]
fn cohorts_within_cohorts_lend_what_they_do_not_keep_and_borrow_as_far_as_they_may() {
    let view = |limits: &Value| {
        let mut quota = json!({"name": GPU, "nominalQuota": "2"});
        for (key, value) in limits.as_object().unwrap() {
            quota[key] = value.clone();
        }
        let own = member("all", "org", &json!({"nominalQuota": "1"}), 0);
        let near = member("near", "org", &json!({"nominalQuota": "3"}), 4);
        let far = member("far", "lab", &json!({"nominalQuota": "5"}), 1);
        let objects = json!([cohort("org", "root", &quota), cohort("lab", "root", &json!(null))]);
        queued([own, near, far, cohorts(&objects)])
    };
    assert_eq!(room(&view(&json!({}))).1, Some(6), "of 11 in all, 5 are used");
    assert_eq!(room(&view(&json!({"borrowingLimit": "1"}))).1, Some(3), "6 of org and one of the others, 4 are used");
    assert_eq!(
        room(&view(&json!({"lendingLimit": "0"}))).1,
        Some(6),
        "it keeps 6, of which 4 are used, and the 4 of lab"
    );
    let mut circle = view(&json!({}));
    circle.apply(cohorts(&json!([cohort("org", "lab", &json!(null)), cohort("lab", "org", &json!(null))])));
    expect_unknown(&circle, "go in a circle");
}

#[test]
fn a_queue_that_is_stopped_lends_and_holds_on() {
    let view = |used| {
        let Change::Queue(QueueChange::Cluster(Delta::Applied(mut stopped))) =
            member("other", "org", &json!({"nominalQuota": "4"}), used)
        else {
            panic!("a queue")
        };
        stopped.spec.stop_policy = Some("Hold".to_owned());
        stopped.status.conditions[0].status = "False".into();
        let own = member("all", "org", &json!({"nominalQuota": "2"}), 0);
        queued([own, Change::Queue(QueueChange::Cluster(Delta::Applied(stopped))), cohorts(&json!([]))])
    };
    assert_eq!(room(&view(0)).1, Some(6));
    assert_eq!(room(&view(5)).1, Some(1));
}

#[test]
fn a_strict_order_in_the_cohort_may_keep_what_is_left() {
    let mut view = queued([member("all", "org", &json!({"nominalQuota": "2"}), 0), cohorts(&json!([]))]);
    let mut strict = json!({"cohort": "org", "queueingStrategy": "StrictFIFO"});
    view.apply(cluster_queue("other", (4, 4), &strict));
    assert_eq!(room(&view).1, Some(2));
    let Change::Queue(QueueChange::Cluster(Delta::Applied(mut waiting))) = cluster_queue("other", (4, 4), &strict)
    else {
        panic!("a queue")
    };
    waiting.status.pending_workloads = 1;
    view.apply(Change::Queue(QueueChange::Cluster(Delta::Applied(waiting))));
    expect_unknown(&view, "ClusterQueue other admits in strict order");
    strict["cohort"] = json!("elsewhere");
    view.apply(cluster_queue("other", (4, 4), &strict));
    assert_eq!(room(&view).1, Some(2));
}

#[test]
fn of_several_flavors_the_one_that_would_do_is_the_one() {
    let two = |h100: &str, a100: &str| {
        let quota = |gpus: &str| {
            json!([
                {"name": "cpu", "nominalQuota": "100"}, {"name": "memory", "nominalQuota": "1Ti"},
                {"name": GPU, "nominalQuota": gpus},
            ])
        };
        json!({"resourceGroups": [{"coveredResources": ["cpu", "memory", GPU], "flavors": [
            {"name": "h100", "resources": quota(h100)}, {"name": "a100", "resources": quota(a100)}]}]})
    };
    let a100 = json!({"metadata": {"name": "a100"}, "spec": {"nodeLabels": {"pool": "a100"}}});
    let mut view = queued([
        cluster_queue("all", (0, 0), &two("3", "5")),
        flavor(&json!({"nodeLabels": {"pool": "h100"}})),
        Change::Queue(QueueChange::Flavor(Delta::Applied(from(a100)))),
    ]);
    expect_unknown(&view, "several flavors to choose from");
    let choosy = |pool: &str| {
        let mut template = template("deployment");
        template.spec.node_selector.insert("pool".to_owned(), pool.to_owned());
        template
    };
    let found = |view: &View, pool| answer(view, &choosy(pool)).quota.map(|room| room.pods);
    assert_eq!((found(&view, "h100"), found(&view, "a100")), (Some(3), Some(5)));
    assert_eq!(answer(&view, &choosy("other")).fits.class, Class::Unknown);
    let mut through = mk_pod("p", "a", 1);
    through.metadata.labels.insert("kueue.x-k8s.io/queue-name".to_owned(), "team".to_owned());
    view.pods.insert(through.metadata.key(), through);
    let lag = "which flavor it was given is not seen yet";
    assert_eq!((found(&view, "h100"), found(&view, "a100")), (Some(2), Some(4)), "{lag}");
}

#[test]
fn what_is_more_involved_is_not_known_and_says_why() {
    expect_unknown(&queued([]), "ClusterQueue \"all\" is not known");
    let with = |more: Value| queued([cluster_queue("all", (10, 0), &more)]);
    expect_unknown(&with(json!({"stopPolicy": "Hold"})), "it is stopped");
    expect_unknown(&with(json!({"namespaceSelector": null})), "does not serve the namespace");
    expect_unknown(&with(json!({"admissionChecks": ["prov"]})), "admission checks");
    expect_unknown(&with(json!({"cohort": "org"})), "Cohorts are not known");
    let only_gpus = json!([{"coveredResources": [GPU], "flavors": [{"name": "h100"}]}]);
    expect_unknown(&with(json!({"resourceGroups": only_gpus})), "no quota of cpu");
    let together = answer(&with(json!({})), &template("statefulset"));
    assert!(together.unmodelled[0].message.contains("admitted together"), "{:?}", together.unmodelled);
    let mut hidden = with(json!({}));
    let doubts = [(String::new(), "403".to_owned())].into();
    hidden.apply(Change::Unreadable { resource: "clusterqueues".to_owned(), doubts });
    expect_unknown(&hidden, "clusterqueues are not all known");
}

#[test]
fn the_quota_of_the_queue_is_raised_by_what_one_replica_lacks() {
    let lift = |mut view: View| lift(&mut view, &template("deployment"));
    let alone = lift(queued([cluster_queue("all", (6, 6), &json!({}))])).unwrap();
    assert_eq!(alone.change, "allow 1 more of nvidia.com/gpu in flavor h100 of ClusterQueue all, 7 in all");
    let (queue, flavor, resource) = ("all".to_owned(), "h100".to_owned(), GPU.to_owned());
    let nominal = "7".parse().unwrap();
    assert_eq!((alone.gain, alone.edits), (1, vec![Edit::QueueQuota { queue, flavor, resource, nominal }]));
    // The other has borrowed two that its cohort has to have back first.
    let shared = json!({"cohortName": "org"});
    let borrowed =
        [cluster_queue("all", (4, 4), &shared), cluster_queue("other", (4, 6), &shared), cohorts(&json!([]))];
    assert_eq!(
        lift(queued(borrowed)).map(|lift| (lift.change, lift.gain)),
        Some(("allow 3 more of nvidia.com/gpu in flavor h100 of ClusterQueue all, 7 in all".to_owned(), 1,))
    );
}

#[test]
fn a_queue_that_cannot_be_changed_says_why() {
    let view = queued([cluster_queue("all", (6, 6), &json!({}))]);
    let say = |queue: &str, resource: &str, nominal: &str| {
        let [queue, flavor, resource] = [queue, "h100", resource].map(str::to_owned);
        let edit = Edit::QueueQuota { queue, flavor, resource, nominal: nominal.parse().unwrap() };
        edit.changes(&view).unwrap_err().to_string()
    };
    assert_eq!(say("none", GPU, "1"), "there is no ClusterQueue \"none\"");
    assert!(say("all", "pods", "1").contains("no quota of pods of flavor h100; it has cpu of flavor h100, memory of"));
    assert!(say("all", GPU, "-1").contains("below zero"));
}
