//! What becomes of a template on its way to the scheduler, as the newest pod that was made from it shows.
//!
//! Webhooks and admission plugins change pods when they are created: sidecars are injected, requests raised, tolerations,
//! node selectors and node affinity added, another scheduler named. What of it counts for placement is taken from the pod.
//! Affinity between pods and spread are not: the API server writes the labels of that very pod into them.

use std::borrow::Cow;

use super::Queues;
use crate::object::{
    Group, Pod, PodSpec, PodTemplate, Revision,
    meta::StringMap,
    pod::{Affinity, Container, NodeAffinity, NodeSelector, NodeSelectorTerm, ResourceList, Resources, Toleration},
};

/// Taints that every pod is made to tolerate for some minutes (`plugin/pkg/admission/defaulttolerationseconds`).
const DEFAULTED: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];
const DEFAULT_SCHEDULER: &str = "default-scheduler";
/// Most terms of node affinity that two make together.
const MAX_TERMS: usize = 1024;

/// What pods of a workload are made from, as they really are.
#[derive(Clone, Debug)]
pub struct Learnt<'t> {
    /// The pod, or the leader of a group.
    pub template: Cow<'t, PodTemplate>,
    /// The rest of a group.
    pub group: Option<Cow<'t, Group>>,
}

/// Whether a template is the one that the workload's pods are made from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// It is: pods that ask for more than it says have been changed, and so will the next ones be.
    InForce,
    /// It may be another one, which has been edited: pods tell of it only if they ask for what it says.
    Proposed,
}

// === impl Learnt ===

impl<'t> Learnt<'t> {
    /// What the newest pod shows of a template; of a group, the newest leader and the newest worker.
    #[must_use]
    pub fn of(
        template: &'t PodTemplate,
        group: Option<&'t Group>,
        (pod, worker): (Option<&Pod>, Option<&Pod>),
        (basis, revision): (Basis, &Revision),
        queues: &Queues,
    ) -> Self {
        let learn = |template, pod| learn(template, pod, (basis, revision), queues);
        let group = group.map(|group| match learn(&group.worker_template, worker) {
            Cow::Borrowed(_) => Cow::Borrowed(group),
            Cow::Owned(worker_template) => Cow::Owned(Group { worker_template, ..group.clone() }),
        });
        Self { template: learn(template, pod), group }
    }
}

/// Of a pod that may have been made from another template, only what restricts: it may have been allowed more.
fn learn<'t>(
    template: &'t PodTemplate,
    pod: Option<&Pod>,
    (basis, revision): (Basis, &Revision),
    queues: &Queues,
) -> Cow<'t, PodTemplate> {
    let unchanged = Cow::Borrowed(template);
    let Some(pod) = pod else { return unchanged };
    let (spec, made) = (&*template.spec, &*pod.spec);
    let pairs = [(&spec.containers, &made.containers), (&spec.init_containers, &made.init_containers)];
    let is_made_from =
        |(wanted, made): &(&Vec<Container>, &Vec<Container>)| wanted.iter().all(|it| named(made, &it.name).is_some());
    let is_same = |(wanted, made): &(&Vec<Container>, &Vec<Container>)| {
        wanted.iter().all(|it| named(made, &it.name).is_some_and(|made| asks_as_stated(it, made)))
    };
    let of_pod = (spec.resources.as_ref(), made.resources.as_ref());
    let is_same_pod = || of_pod.0.is_none_or(|wanted| of_pod.1.is_some_and(|made| has_stated(wanted, made)));
    let is_same = || is_same_pod() && pairs.iter().all(is_same);
    if !pairs.iter().all(is_made_from) || (basis == Basis::Proposed && !is_same()) {
        return unchanged;
    }
    let is_of_it = basis == Basis::InForce && revision.has(pod);
    // Most pods are what their template says: nothing is cloned to find that.
    let containers = unlike(&spec.containers, &made.containers, |stated, made| merged(stated, made));
    let init_containers = unlike(&spec.init_containers, &made.init_containers, |stated, made| merged(stated, made));
    // They stand for those of the containers, which may ask for more by now.
    let resources = if is_of_it || of_pod.0.is_some() { pod_level(of_pod) } else { None };
    let allowed = Some(&made.tolerations).filter(|_| is_of_it);
    let tolerations = allowed.and_then(|made| unlike(&spec.tolerations, made, |_, _| tolerations(spec, pod, queues)));
    let node_selector = unlike(&spec.node_selector, &made.node_selector, |_, _| node_selector(spec, pod, queues));
    let affinity = affinity(spec, made, is_of_it);
    let scheduler_name = scheduler(spec, made);
    let is_unchanged = containers.is_none()
        && init_containers.is_none()
        && resources == spec.resources
        && tolerations.is_none()
        && node_selector.is_none()
        && affinity == spec.affinity
        && *scheduler_name == spec.scheduler_name;
    if is_unchanged {
        return unchanged;
    }
    let learnt = PodSpec {
        containers: containers.unwrap_or_else(|| spec.containers.clone()),
        init_containers: init_containers.unwrap_or_else(|| spec.init_containers.clone()),
        resources,
        tolerations: tolerations.unwrap_or_else(|| spec.tolerations.clone()),
        node_selector: node_selector.unwrap_or_else(|| spec.node_selector.clone()),
        affinity,
        scheduler_name: scheduler_name.to_owned(),
        ..spec.clone()
    };
    Cow::Owned(PodTemplate { metadata: template.metadata.clone(), spec: Box::new(learnt) })
}

/// What is made of both, if that is not what is stated.
fn unlike<T: PartialEq>(stated: &T, made: &T, both: impl FnOnce(&T, &T) -> T) -> Option<T> {
    Some(stated).filter(|stated| *stated != made).map(|stated| both(stated, made)).filter(|both| both != stated)
}

fn named<'c>(containers: &'c [Container], name: &str) -> Option<&'c Container> {
    containers.iter().find(|container| container.name == name)
}

/// Whether what the template states of a container is what the pod has; what it leaves open may be anything.
fn asks_as_stated(wanted: &Container, made: &Container) -> bool {
    has_stated(&wanted.resources, &made.resources)
}

fn has_stated(wanted: &Resources, made: &Resources) -> bool {
    let has = |wanted: &ResourceList, made: &ResourceList| {
        wanted.iter().all(|(name, amount)| made.get(name).is_some_and(|made| made == amount))
    };
    has(&wanted.requests, &made.requests) && has(&wanted.limits, &made.limits)
}

/// Pod-level resources. Their requests have defaults that are made before what a LimitRange gives to containers.
fn pod_level((wanted, made): (Option<&Resources>, Option<&Resources>)) -> Option<Resources> {
    let mut resources = made.or(wanted)?.clone();
    if let Some(wanted) = wanted {
        raise(&mut resources.requests, &wanted.requests);
        raise(&mut resources.limits, &wanted.limits);
    }
    Some(resources)
}

/// The containers of the pod, none of which asks for less, be it of ports, than its template says.
fn merged(wanted: &[Container], made: &[Container]) -> Vec<Container> {
    let merge = |made: &Container| {
        let mut container = made.clone();
        if let Some(wanted) = named(wanted, &made.name) {
            raise(&mut container.resources.requests, &wanted.resources.requests);
            raise(&mut container.resources.limits, &wanted.resources.limits);
            container.restart_policy.clone_from(&wanted.restart_policy);
            let new = wanted.ports.iter().filter(|port| !made.ports.contains(port));
            container.ports.extend(new.cloned());
        }
        container
    };
    made.iter().map(merge).collect()
}

fn raise(amounts: &mut ResourceList, least: &ResourceList) {
    for (name, least) in least {
        let amount = amounts.entry(name.clone()).or_insert(*least);
        *amount = (*amount).max(*least);
    }
}

/// Without what a flavor of Kueue's may have given: another pod may be charged to another one.
fn node_selector(spec: &PodSpec, pod: &Pod, queues: &Queues) -> StringMap {
    let made = pod.spec.node_selector.clone().into_iter();
    let added = made.filter(|(key, _)| !queues.may_have_labelled(pod, key));
    added.chain(spec.node_selector.clone()).collect()
}

fn tolerations(spec: &PodSpec, pod: &Pod, queues: &Queues) -> Vec<Toleration> {
    let is_default = |it: &Toleration| it.effect == "NoExecute" && DEFAULTED.contains(&it.key.as_str());
    let is_given = |it: &Toleration| is_default(it) || queues.may_have_tolerated(pod, it);
    let added = pod.spec.tolerations.iter().filter(|it| !spec.tolerations.contains(it) && !is_given(it));
    spec.tolerations.iter().chain(added).cloned().collect()
}

/// That of the template, with the node affinity of the pod besides.
fn affinity(spec: &PodSpec, made: &PodSpec, is_of_it: bool) -> Option<Affinity> {
    let (stated, given) = (spec.required_node_affinity(), made.required_node_affinity());
    let Some(given) = given.filter(|given| stated != Some(given)) else { return spec.affinity.clone() };
    let both = stated.map_or_else(|| given.clone(), |stated| both(stated, given, is_of_it));
    let mut affinity = spec.affinity.clone().unwrap_or_default();
    affinity.node_affinity = Some(NodeAffinity { required_during_scheduling_ignored_during_execution: Some(both) });
    Some(affinity)
}

/// What matches where both do; of too many terms, the pod's own if it is made from what is stated.
fn both(stated: &NodeSelector, given: &NodeSelector, is_of_it: bool) -> NodeSelector {
    if stated.node_selector_terms.len().saturating_mul(given.node_selector_terms.len()) > MAX_TERMS {
        return if is_of_it { given } else { stated }.clone();
    }
    // An empty term matches nothing, and must not come to match what the other one does.
    let terms = |of: &NodeSelector| {
        let is_empty = |term: &NodeSelectorTerm| term.match_expressions.is_empty() && term.match_fields.is_empty();
        of.node_selector_terms.iter().filter(|term| !is_empty(term)).cloned().collect::<Vec<_>>()
    };
    let given = terms(given);
    let with = |stated: NodeSelectorTerm| {
        given.iter().map(move |given| NodeSelectorTerm {
            match_expressions: [&*stated.match_expressions, &given.match_expressions].concat(),
            match_fields: [&*stated.match_fields, &given.match_fields].concat(),
        })
    };
    NodeSelector { node_selector_terms: terms(stated).into_iter().flat_map(with).collect() }
}

fn scheduler<'s>(spec: &'s PodSpec, made: &'s PodSpec) -> &'s str {
    let is_other = !matches!(made.scheduler_name.as_str(), "" | DEFAULT_SCHEDULER);
    if is_other { &made.scheduler_name } else { &spec.scheduler_name }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn template(containers: &Value) -> PodTemplate {
        serde_json::from_value(json!({"spec": {"containers": containers}})).unwrap()
    }

    fn container(name: &str, cpu: &str) -> Value {
        json!({"name": name, "resources": {"requests": {"cpu": cpu}, "limits": {"nvidia.com/gpu": "1"}}})
    }

    fn pod(spec: &Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap()
    }

    fn learnt<'t>(template: &'t PodTemplate, pod: &Pod, basis: Basis) -> Cow<'t, PodTemplate> {
        Learnt::of(template, None, (Some(pod), None), (basis, &Revision::All), &Queues::default()).template
    }

    #[test]
    fn sidecars_and_what_else_was_added_are_learnt() {
        let template = template(&json!([container("main", "2")]));
        let defaulted = json!({"name": "main", "resources": {
            "requests": {"cpu": "2", "memory": "1Gi", "nvidia.com/gpu": "1"}, "limits": {"nvidia.com/gpu": "1"}}});
        let pod = pod(&json!({
            "containers": [defaulted, {"name": "proxy", "resources": {"requests": {"cpu": "100m"}}}],
            "initContainers": [{"name": "agent", "restartPolicy": "Always"}],
            "nodeSelector": {"pool": "gpu"},
            "tolerations": [
                {"key": "nvidia.com/gpu", "operator": "Exists"},
                {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"},
            ],
            "schedulerName": "default-scheduler", "nodeName": "a",
        }));
        for (basis, tolerations) in [(Basis::InForce, 1), (Basis::Proposed, 0)] {
            let learnt = learnt(&template, &pod, basis);
            let spec = &learnt.spec;
            let names: Vec<_> =
                spec.containers.iter().chain(&spec.init_containers).map(|it| it.name.as_str()).collect();
            assert_eq!(names, ["main", "proxy", "agent"]);
            assert!(spec.containers[0].resources.requests.contains_key("memory"));
            assert_eq!((spec.tolerations.len(), spec.node_selector["pool"].as_str()), (tolerations, "gpu"));
            assert!(spec.scheduler_name.is_empty() && spec.pinned_node.is_empty());
        }
    }

    #[test]
    fn ports_of_the_template_and_of_the_pod_are_both_taken() {
        let with = |ports: &serde_json::Value| json!([{"name": "main", "ports": ports}]);
        let template = template(&with(&json!([{"containerPort": 80, "hostPort": 80}])));
        let pod = pod(&json!({"containers": with(&json!([{"containerPort": 90, "hostPort": 90}]))}));
        for basis in [Basis::InForce, Basis::Proposed] {
            let ports = &learnt(&template, &pod, basis).spec.containers[0].ports.clone();
            let mut ports: Vec<_> = ports.iter().map(|port| port.host_port).collect();
            ports.sort_unstable();
            assert_eq!(ports, [80, 90]);
        }
    }

    #[test]
    fn a_pod_of_another_revision_restricts_the_next_ones_and_allows_them_nothing() {
        let template = template(&json!([container("main", "2")]));
        let pod = |hash: &str| {
            let labels = json!({"controller-revision-hash": hash});
            let spec = json!({
                "containers": [container("main", "3")], "nodeSelector": {"pool": "gpu"},
                "tolerations": [{"key": "gpu", "operator": "Exists"}], "resources": {"requests": {"cpu": "1"}},
            });
            serde_json::from_value(json!({"metadata": {"name": "p", "labels": labels}, "spec": spec})).unwrap()
        };
        let allowed = |hash: &str, revision: &Revision| {
            let pod: Pod = pod(hash);
            let learnt =
                Learnt::of(&template, None, (Some(&pod), None), (Basis::InForce, revision), &Queues::default());
            let spec = &learnt.template.spec;
            assert_eq!(spec.containers[0].resources.requests["cpu"].to_string(), "3");
            assert_eq!(spec.node_selector["pool"], "gpu");
            (spec.tolerations.len(), spec.resources.is_some())
        };
        let second = Revision::Hash("second".to_owned());
        assert_eq!((allowed("first", &Revision::All), allowed("second", &second)), ((1, true), (1, true)));
        assert_eq!((allowed("first", &Revision::None), allowed("first", &second)), ((0, false), (0, false)));
    }

    #[test]
    fn a_pod_that_asks_for_more_was_changed_or_is_of_another_template() {
        let template = template(&json!([container("main", "2")]));
        let more = pod(&json!({"containers": [container("main", "3")]}));
        assert_eq!(learnt(&template, &more, Basis::Proposed).spec, template.spec);
        let learnt_cpu = |cpu| {
            let pod = pod(&json!({"containers": [container("main", cpu)]}));
            learnt(&template, &pod, Basis::InForce).spec.containers[0].resources.requests["cpu"].to_string()
        };
        assert_eq!((learnt_cpu("3").as_str(), learnt_cpu("1").as_str()), ("3", "2"), "never less than is stated");
        let other = pod(&json!({"containers": [container("renamed", "3")]}));
        assert!(matches!(learnt(&template, &other, Basis::InForce), Cow::Borrowed(_)));
    }

    #[test]
    fn what_a_flavor_gave_is_found_anew_for_the_next_pod() {
        let template = template(&json!([container("main", "2")]));
        let given = json!({"key": "gpu", "operator": "Exists"});
        let flavor = json!({"spec": {"nodeLabels": {"pool": "h100"}, "tolerations": [given]}});
        let mut queues = Queues::default();
        queues.flavors.insert("h100".to_owned(), serde_json::from_value(flavor).unwrap());
        let mut pod = pod(&json!({
            "containers": [container("main", "2")], "nodeSelector": {"pool": "h100", "arch": "amd64"},
            "tolerations": [given, {"key": "team", "operator": "Exists"}],
        }));
        let learnt = |pod: &Pod| {
            let learnt =
                Learnt::of(&template, None, (Some(pod), None), (Basis::InForce, &Revision::All), &queues).template;
            (learnt.spec.node_selector.len(), learnt.spec.tolerations.len())
        };
        assert_eq!(learnt(&pod), (2, 2), "it is of no queue");
        pod.metadata.labels.insert("kueue.x-k8s.io/queue-name".to_owned(), "team".to_owned());
        assert_eq!(learnt(&pod), (1, 1));
        pod.spec.scheduling_gates.push(serde_json::from_value(json!({"name": "kueue.x-k8s.io/admission"})).unwrap());
        assert_eq!(learnt(&pod), (2, 2), "it has not been let through");
    }

    #[test]
    fn pod_level_requests_are_those_that_the_pod_was_given() {
        let containers = json!([{"name": "main"}]);
        let mut template = template(&containers);
        template.spec.resources = serde_json::from_value(json!({"limits": {"cpu": "4"}})).unwrap();
        let given = json!([{"name": "main", "resources": {"requests": {"cpu": "100m"}}}]);
        let resources = json!({"limits": {"cpu": "4"}, "requests": {"cpu": "4"}});
        let pod = pod(&json!({"containers": given, "resources": resources}));
        for basis in [Basis::InForce, Basis::Proposed] {
            let resources = learnt(&template, &pod, basis).spec.resources.clone().unwrap();
            assert_eq!(resources.requests["cpu"].to_string(), "4");
        }
        template.spec.resources = serde_json::from_value(json!({"limits": {"cpu": "2"}})).unwrap();
        assert!(matches!(learnt(&template, &pod, Basis::Proposed), Cow::Borrowed(_)));
    }

    #[test]
    fn node_affinity_that_was_added_holds_beside_that_of_the_template() {
        let term = |key: &str| json!({"matchExpressions": [{"key": key, "operator": "Exists"}]});
        let affinity = |terms: &[Value]| json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}});
        let keys = |stated: &[Value], given: &[Value]| {
            let mut template = template(&json!([container("main", "2")]));
            template.spec.affinity = (!stated.is_empty()).then(|| serde_json::from_value(affinity(stated)).unwrap());
            let pod = pod(&json!({"containers": [container("main", "2")], "affinity": affinity(given)}));
            let learnt = learnt(&template, &pod, Basis::InForce);
            let keys = |term: &NodeSelectorTerm| term.match_expressions.iter().map(|it| it.key.clone()).collect();
            learnt.spec.required_node_affinity().unwrap().node_selector_terms.iter().map(keys).collect::<Vec<Vec<_>>>()
        };
        assert_eq!(keys(&[], &[term("spot")]), [["spot"]]);
        assert_eq!(keys(&[term("a")], &[term("a")]), [["a"]]);
        assert_eq!(keys(&[term("a"), term("b")], &[term("spot")]), [["a", "spot"], ["b", "spot"]]);
        assert_eq!(keys(&[json!({})], &[term("spot")]), Vec::<Vec<String>>::new(), "an empty term matches nothing");
    }

    #[test]
    fn another_scheduler_that_a_webhook_names_is_known() {
        let template = template(&json!([container("main", "2")]));
        let pod = pod(&json!({"containers": [container("main", "2")], "schedulerName": "volcano"}));
        assert_eq!(learnt(&template, &pod, Basis::InForce).spec.scheduler_name, "volcano");
    }
}
