//! Kueue: pods that wait at a scheduling gate until their queue has quota for them.
//!
//! Kueue's webhooks mark the pod templates of the workloads that it admits. Of a Deployment it admits pod by pod: each is
//! charged to one flavor of each resource of the ClusterQueue behind its LocalQueue, and is then made to select the nodes of
//! that flavor. What is left is `available` of Kueue (`pkg/cache/scheduler/resource_node.go`): for a queue without a cohort,
//! its nominal quota; in a cohort, what all of its queues together do not use, as far as the queue may borrow. What is
//! more involved (several flavors to choose from, cohorts in cohorts, groups of pods, further checks) is not known.
//!
//! In the books of quotas a ClusterQueue is an entry without a namespace, and so is a cohort.

use std::collections::BTreeMap;

use super::{LimitingFactor, Reason, filters, requests};
use crate::{
    cluster::View,
    object::{
        ObjectKey, ObjectMeta, PodSpec,
        kueue::{self, ClusterQueue, FlavorQuota, PARENT, POD_GROUP, QUEUE_NAME, ResourceFlavor},
    },
    quantity::Quantity,
    selector::Selector,
};

/// The kind of workload whose pods are admitted one by one.
const ONE_BY_ONE: &str = "deployment";
/// The feeds without which quota is not known.
const KINDS: [&str; 4] = ["localqueues", "clusterqueues", "resourceflavors", "cohorts"];
const STRICT: &str = "StrictFIFO";

/// What a pod is charged with, by entry and resource.
pub(super) type Amounts = Vec<(ObjectKey, String, Quantity)>;

/// Puts what becomes of a pod once it is admitted into its specification. Returns what it is charged with; nothing for a
/// pod of no queue.
pub(super) fn admit(
    spec: &PodSpec,
    metadata: &ObjectMeta,
    namespace: &str,
    view: &View,
) -> Result<Option<(PodSpec, Amounts)>, Reason> {
    let queue = metadata.labels.get(QUEUE_NAME);
    let parent = metadata.annotations.get(PARENT).map(String::as_str);
    let Some(name) = queue.or(parent.map(|_| "")) else { return Ok(None) };
    let unknown = |why: String| {
        let message = format!("pods wait until Kueue admits them to queue {name:?}: {why}");
        Reason::new("kueue", message, LimitingFactor::Quota)
    };
    if parent.is_some_and(|parent| parent != ONE_BY_ONE) || metadata.labels.contains_key(POD_GROUP) {
        return Err(unknown("they are admitted together, which is not modelled".to_owned()));
    }
    if !spec.resource_claims.is_empty() {
        return Err(unknown("claims for devices are charged by mappings that cannot be read".to_owned()));
    }
    let queue = cluster_queue(name, namespace, view).map_err(unknown)?;
    let spec = on_flavors(spec, queue, view).map_err(unknown)?;
    let amounts = charges(&spec, queue, view).map_err(unknown)?;
    Ok(Some((spec, amounts)))
}

/// The ClusterQueue behind a LocalQueue, if it admits pods of the namespace.
fn cluster_queue<'v>(name: &str, namespace: &str, view: &'v View) -> Result<&'v ClusterQueue, String> {
    for kind in KINDS {
        if let Some(why) = view.unreadable(kind, namespace) {
            return Err(format!("{kind} are not all known: {why}"));
        }
    }
    let queues = &view.queues;
    let local = queues.local.get(&ObjectKey::new(namespace, name));
    let local = local.ok_or("there is no such LocalQueue, so its quota is not known")?;
    let queue = queues.cluster.get(&local.spec.cluster_queue);
    let queue = queue.ok_or_else(|| format!("ClusterQueue {:?} is not known", local.spec.cluster_queue))?;
    let name = &queue.metadata.name;
    if [&local.spec.stop_policy, &queue.spec.stop_policy].into_iter().any(|policy| kueue::is_stopped(policy.as_ref())) {
        return Err("it is stopped".to_owned());
    }
    if queue.is_active() != Some(true) {
        return Err(format!("ClusterQueue {name} is not active"));
    }
    if !queue.spec.admission_checks.is_empty() || queue.spec.admission_checks_strategy.is_some() {
        return Err(format!("ClusterQueue {name} has admission checks, which are not modelled"));
    }
    if queue.spec.queueing_strategy == STRICT && queue.status.pending_workloads > 0 {
        return Err(format!("ClusterQueue {name} admits in strict order, and others may be first"));
    }
    let selector = queue.spec.namespace_selector.as_ref().and_then(|selector| Selector::try_from(selector).ok());
    let labels = view.namespaces.get(namespace).map(|namespace| namespace.labels.clone()).unwrap_or_default();
    if !selector.is_some_and(|selector| selector.matches(&labels)) {
        return Err(format!("ClusterQueue {name} does not serve the namespace"));
    }
    Ok(queue)
}

/// The flavor of each resource that the queue has quota of, where there is no choice.
fn flavors(queue: &ClusterQueue) -> Result<BTreeMap<&str, &str>, String> {
    let mut flavors = BTreeMap::new();
    for group in &queue.spec.resource_groups {
        let [flavor] = group.flavors.as_slice() else {
            let name = &queue.metadata.name;
            return Err(format!("ClusterQueue {name} has several flavors to choose from, which is not modelled"));
        };
        flavors.extend(group.covered_resources.iter().map(|resource| (resource.as_str(), flavor.name.as_str())));
    }
    Ok(flavors)
}

/// What pods ask for in the eyes of Kueue, which knows of `pods` only where a queue limits them.
fn needs<'s>(spec: &'s PodSpec, flavors: &BTreeMap<&str, &str>) -> Vec<(&'s str, Quantity)> {
    let requests = requests::exact(spec).into_iter().filter(|(_, amount)| *amount > Quantity::ZERO);
    let pods = flavors.contains_key(requests::PODS).then_some((requests::PODS, Quantity::from_units(1)));
    requests.chain(pods).collect()
}

/// The specification with what the flavors of its resources add.
fn on_flavors(spec: &PodSpec, queue: &ClusterQueue, view: &View) -> Result<PodSpec, String> {
    let flavors = flavors(queue)?;
    let mut admitted = spec.clone();
    for (resource, _) in needs(spec, &flavors) {
        let Some(name) = flavors.get(resource) else {
            return Err(format!("ClusterQueue {} has no quota of {resource}", queue.metadata.name));
        };
        let flavor = view.queues.flavors.get(*name).ok_or_else(|| format!("ResourceFlavor {name:?} is not known"))?;
        put_on(&mut admitted, spec, flavor)?;
    }
    Ok(admitted)
}

fn put_on(admitted: &mut PodSpec, spec: &PodSpec, flavor: &ResourceFlavor) -> Result<(), String> {
    let (name, of) = (&flavor.metadata.name, &flavor.spec);
    if !of.topology_name.is_empty() {
        return Err(format!("ResourceFlavor {name} places by topology, which is not modelled"));
    }
    let mut tolerant = spec.clone();
    tolerant.tolerations.extend(of.tolerations.iter().cloned());
    if filters::repels(&of.node_taints, &tolerant) {
        return Err(format!("ResourceFlavor {name} has a taint that is not tolerated"));
    }
    for (key, value) in &of.node_labels {
        let known = admitted.node_selector.entry(key.clone()).or_insert_with(|| value.clone());
        if known != value {
            return Err(format!("ResourceFlavor {name} has other nodes than the pods select ({key})"));
        }
    }
    let new = of.tolerations.iter().filter(|it| !admitted.tolerations.contains(it));
    admitted.tolerations.extend(new.cloned().collect::<Vec<_>>());
    Ok(())
}

/// What a pod is charged with: its queue, and the cohort of that.
fn charges(spec: &PodSpec, queue: &ClusterQueue, view: &View) -> Result<Amounts, String> {
    let flavors = flavors(queue)?;
    let cohort = &queue.spec.cohort_name;
    if !cohort.is_empty() {
        let cohorts = view.queues.cohorts.as_ref().ok_or("Cohorts are not known")?;
        if cohorts.get(cohort).is_some_and(|it| it.spec != kueue::CohortSpec::default()) {
            return Err(format!("Cohort {cohort} has a parent or quota of its own, which is not modelled"));
        }
        // Which flavor their pods are charged to is not known before their status says so.
        let mates = view.queues.cluster.values().filter(|mate| mate.spec.cohort_name == *cohort);
        for mate in mates.filter(|mate| mate.is_active() == Some(true)) {
            self::flavors(mate)?;
        }
        if queue.quotas().any(|(_, quota)| quota.lending_limit.is_some()) {
            return Err(format!("ClusterQueue {} keeps a part to itself, which is not modelled", queue.metadata.name));
        }
    }
    let mut amounts = Amounts::new();
    for (resource, amount) in needs(spec, &flavors) {
        let Some(flavor) = flavors.get(resource) else { continue };
        let entry = entry(flavor, resource);
        if !cohort.is_empty() {
            amounts.push((cohort_key(cohort), entry.clone(), amount));
        }
        amounts.push((queue_key(&queue.metadata.name), entry, amount));
    }
    Ok(amounts)
}

/// What queues and cohorts have, and what is used of it: key, resource, used, hard.
pub(super) fn books(view: &View) -> Vec<(ObjectKey, String, Quantity, Quantity)> {
    let mut books = Vec::new();
    let mut cohorts: BTreeMap<(&str, String), (Quantity, Quantity)> = BTreeMap::new();
    // What is not active neither admits nor lends.
    for queue in view.queues.cluster.values().filter(|queue| queue.is_active() == Some(true)) {
        let cohort = queue.spec.cohort_name.as_str();
        let seen = seen(queue, view);
        for (flavor, quota) in queue.quotas() {
            let entry = entry(flavor, &quota.name);
            let used = queue.reserved(flavor, &quota.name);
            let used = used.max(seen.get(&entry).copied().unwrap_or_default());
            if let Some(hard) = limit(quota, cohort) {
                books.push((queue_key(&queue.metadata.name), entry.clone(), used, hard));
            }
            if !cohort.is_empty() {
                // A queue keeps what it does not lend to itself, and uses that first.
                let kept = quota.lending_limit.map_or(Quantity::ZERO, |lent| quota.nominal_quota - lent);
                let kept = kept.max(Quantity::ZERO);
                let (sum, hard) = cohorts.entry((cohort, entry)).or_default();
                *sum += (used - kept).max(Quantity::ZERO);
                *hard += quota.nominal_quota - kept;
            }
        }
    }
    books.extend(cohorts.into_iter().map(|((cohort, entry), (used, hard))| (cohort_key(cohort), entry, used, hard)));
    books
}

/// What pods that have been let through add up to: the status of their queue may lag behind them.
fn seen(queue: &ClusterQueue, view: &View) -> BTreeMap<String, Quantity> {
    let mut sums = BTreeMap::new();
    let Ok(flavors) = flavors(queue) else { return sums };
    let local = view.queues.local.iter().filter(|(_, local)| local.spec.cluster_queue == queue.metadata.name);
    for (key, _) in local {
        let pods = view.pods_in(&key.namespace).map(|(_, pod)| pod);
        let through = pods.filter(|pod| {
            let is_of_queue = pod.metadata.labels.get(QUEUE_NAME).is_some_and(|name| *name == *key.name);
            is_of_queue && !pod.is_terminal() && !kueue::waits(&pod.spec)
        });
        for (resource, amount) in through.flat_map(|pod| needs(&pod.spec, &flavors)) {
            if let Some(flavor) = flavors.get(resource) {
                *sums.entry(entry(flavor, resource)).or_default() += amount;
            }
        }
    }
    sums
}

/// The most that a queue may use by itself; none where only its cohort limits it.
fn limit(quota: &FlavorQuota, cohort: &str) -> Option<Quantity> {
    if cohort.is_empty() {
        return Some(quota.nominal_quota);
    }
    Some(quota.nominal_quota + quota.borrowing_limit?)
}

fn entry(flavor: &str, resource: &str) -> String {
    format!("{resource} of flavor {flavor}")
}

fn queue_key(name: &str) -> ObjectKey {
    ObjectKey::new("", format!("ClusterQueue {name}"))
}

fn cohort_key(name: &str) -> ObjectKey {
    ObjectKey::new("", format!("cohort {name}"))
}
