//! Kueue: pods that wait at a scheduling gate until their queue has quota for them.
//!
//! Kueue's webhooks mark the pod templates of the workloads that it admits. Of a Deployment it admits pod by pod: each is
//! charged to one flavor of each resource of the ClusterQueue behind its LocalQueue, and is then made to select the nodes of
//! that flavor. What is left is the matter of [`mod@books`]. What is more involved (several flavors that would do, groups of
//! pods, further checks) is not known.
//!
//! In the books of quotas a ClusterQueue is an entry without a namespace, and so is a cohort.

mod books;
mod raised;

use std::collections::BTreeMap;

pub(super) use books::books;
pub(super) use raised::raised;

use super::{LimitingFactor, Reason, filters, requests};
use crate::{
    cluster::View,
    object::{
        ObjectKey, ObjectMeta, PodSpec,
        kueue::{self, ClusterQueue, PARENT, POD_GROUP, QUEUE_NAME, ResourceFlavor, ResourceGroup},
    },
    quantity::Quantity,
    selector::Selector,
};

/// The kind of workload whose pods are admitted one by one.
const ONE_BY_ONE: &str = "deployment";
/// The feeds without which quota is not known.
const KINDS: [&str; 4] = ["localqueues", "clusterqueues", "resourceflavors", "cohorts"];
const OF_FLAVOR: &str = " of flavor ";
/// The strategy by which nobody passes the first.
const STRICT: &str = "StrictFIFO";

/// What a pod is charged with, by entry and resource.
#[derive(Debug, Default)]
pub(super) struct Amounts {
    /// The ClusterQueue.
    pub(super) queue: String,
    /// Where it limits how many may be let through.
    pub(super) own: Vec<(ObjectKey, String, Quantity)>,
    /// Where it takes what others are limited by.
    pub(super) others: Vec<(ObjectKey, String, Quantity)>,
}

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
    let amounts = charges(spec, queue, view).map_err(unknown)?;
    let spec = on_flavors(spec, queue, view).map_err(unknown)?;
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
    let selector = queue.spec.namespace_selector.as_ref().and_then(|selector| Selector::try_from(selector).ok());
    let labels = view.namespaces.get(namespace).map(|namespace| namespace.labels.clone()).unwrap_or_default();
    if !selector.is_some_and(|selector| selector.matches(&labels)) {
        return Err(format!("ClusterQueue {name} does not serve the namespace"));
    }
    Ok(queue)
}

fn group<'q>(queue: &'q ClusterQueue, resource: &str) -> Option<&'q ResourceGroup> {
    queue.spec.resource_groups.iter().find(|group| group.covered_resources.iter().any(|covered| covered == resource))
}

/// What pods ask for in the eyes of Kueue, which knows of `pods` only where a queue limits them.
fn needs<'s>(spec: &'s PodSpec, queue: &ClusterQueue) -> Vec<(&'s str, Quantity)> {
    let requests = requests::exact(spec).into_iter().filter(|(_, amount)| *amount > Quantity::ZERO);
    let pods = group(queue, requests::PODS).map(|_| (requests::PODS, Quantity::from_units(1)));
    requests.chain(pods).collect()
}

/// The flavor of each resource that pods ask for.
fn flavors<'v>(
    spec: &PodSpec,
    queue: &'v ClusterQueue,
    view: &'v View,
) -> Result<BTreeMap<String, &'v ResourceFlavor>, String> {
    let mut flavors = BTreeMap::new();
    for (resource, _) in needs(spec, queue) {
        let name = &queue.metadata.name;
        let group = group(queue, resource).ok_or_else(|| format!("ClusterQueue {name} has no quota of {resource}"))?;
        flavors.insert(resource.to_owned(), flavor(spec, name, group, view)?);
    }
    Ok(flavors)
}

/// The flavor of a group of resources: the only one, or the only one that would do (`checkFlavorForPodSets` of
/// `pkg/scheduler/flavorassigner/flavorassigner.go`).
fn flavor<'v>(
    spec: &PodSpec,
    queue: &str,
    group: &'v ResourceGroup,
    view: &'v View,
) -> Result<&'v ResourceFlavor, String> {
    let find =
        |name: &str| view.queues.flavors.get(name).ok_or_else(|| format!("ResourceFlavor {name:?} is not known"));
    let all: Vec<_> = group.flavors.iter().map(|flavor| find(&flavor.name)).collect::<Result<_, _>>()?;
    if let [only] = all.as_slice() {
        return Ok(only);
    }
    if spec.required_node_affinity().is_some() {
        return Err(format!("which flavor of ClusterQueue {queue} node affinity leaves is not modelled"));
    }
    let by_label = |key: &str| all.iter().any(|flavor| flavor.spec.node_labels.contains_key(key));
    let would_do = |flavor: &&&ResourceFlavor| {
        let labels = &flavor.spec.node_labels;
        let mut selected = spec.node_selector.iter().filter(|(key, _)| by_label(key));
        selected.all(|(key, value)| labels.get(key) == Some(value)) && !repels(spec, flavor)
    };
    match all.iter().filter(would_do).collect::<Vec<_>>().as_slice() {
        [only] => Ok(only),
        [] => Err(format!("none of the flavors of ClusterQueue {queue} has the nodes that the pods select")),
        _ => Err(format!("ClusterQueue {queue} has several flavors to choose from, which is not modelled")),
    }
}

/// Whether the nodes of a flavor repel pods that have been given its tolerations.
fn repels(spec: &PodSpec, flavor: &ResourceFlavor) -> bool {
    let mut tolerant = spec.clone();
    tolerant.tolerations.extend(flavor.spec.tolerations.iter().cloned());
    filters::repels(&flavor.spec.node_taints, &tolerant)
}

/// The specification with what the flavors of its resources add.
fn on_flavors(spec: &PodSpec, queue: &ClusterQueue, view: &View) -> Result<PodSpec, String> {
    let mut admitted = spec.clone();
    for flavor in flavors(spec, queue, view)?.values() {
        put_on(&mut admitted, spec, flavor)?;
    }
    Ok(admitted)
}

fn put_on(admitted: &mut PodSpec, spec: &PodSpec, flavor: &ResourceFlavor) -> Result<(), String> {
    let (name, of) = (&flavor.metadata.name, &flavor.spec);
    if !of.topology_name.is_empty() {
        return Err(format!("ResourceFlavor {name} places by topology, which is not modelled"));
    }
    if repels(spec, flavor) {
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

/// Why it cannot be said what the cohorts above a queue leave, if it cannot.
fn shared(queue: &ClusterQueue, view: &View) -> Result<(), String> {
    let cohort = &queue.spec.cohort_name;
    if !cohort.is_empty() && view.queues.cohorts.is_none() {
        return Err("Cohorts are not known".to_owned());
    }
    let way = books::way(cohort, view)
        .ok_or_else(|| format!("the cohorts above {cohort} go in a circle, or higher than is followed"))?;
    let root = way.last().copied();
    let mates = root.into_iter().flat_map(|root| books::mates(root, view));
    for mate in mates.chain([queue]) {
        let name = &mate.metadata.name;
        // What the first of a strict order waits for is kept for it (`quotaResourcesToReserve` of
        // `pkg/scheduler/scheduler.go`).
        if mate.spec.queueing_strategy == STRICT && mate.status.pending_workloads > 0 {
            return Err(format!("ClusterQueue {name} admits in strict order, and others may be first"));
        }
    }
    Ok(())
}

/// What a pod is charged with: its queue, and the cohorts above.
fn charges(spec: &PodSpec, queue: &ClusterQueue, view: &View) -> Result<Amounts, String> {
    shared(queue, view)?;
    let flavors = flavors(spec, queue, view)?;
    let mut amounts = Amounts { queue: queue.metadata.name.clone(), ..Amounts::default() };
    for (resource, amount) in needs(spec, queue) {
        let Some(flavor) = flavors.get(resource) else { continue };
        let entry = entry(&flavor.metadata.name, resource);
        if !books::has(queue, &entry) {
            return Err(format!("ClusterQueue {} has no quota of {entry}", queue.metadata.name));
        }
        let (own, others) = books::charged(queue, &entry, view);
        let amount = |key| (key, entry.clone(), amount);
        amounts.own.extend(own.into_iter().map(amount));
        amounts.others.extend(others.into_iter().map(amount));
    }
    Ok(amounts)
}

fn entry(flavor: &str, resource: &str) -> String {
    format!("{resource}{OF_FLAVOR}{flavor}")
}

/// Resource and flavor of an entry; none of what is no entry of a queue.
fn parts(entry: &str) -> Option<(&str, &str)> {
    entry.rsplit_once(OF_FLAVOR)
}
