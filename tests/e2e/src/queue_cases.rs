//! Queues of Kueue and a workload that waits in one of them: random ones by seed.
//!
//! A case keeps to itself: its nodes carry a label that its pods ask for, and its queues, flavors and cohorts are named
//! after it, so that many cases can be admitted side by side.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{rng::Rng, workload::managed};

/// Label of everything that belongs to a case.
pub const CASE: &str = "plimsoll.test/case";
/// Replicas that are asked for in the end: more than the queues of most cases let through.
pub const ASKED: u32 = 11;
/// The name of the Deployment that is asked about.
pub const SUBJECT: &str = "subject";

const GPU: &str = "nvidia.com/gpu";
const TAINT: &str = "dedicated";

/// Queues, what waits in them, and what it runs on.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name, which is that of its namespace.
    pub name: String,
    /// Nodes that kwok plays.
    pub nodes: Vec<Value>,
    /// ResourceFlavors, Cohorts, ClusterQueues and LocalQueues.
    pub queues: Vec<Value>,
    /// Deployments of others, admitted before.
    pub residents: Vec<Value>,
    /// ClusterQueues as they are changed then: stopped, or of less quota.
    pub changed: Vec<Value>,
    /// The Deployment that is asked about, as it is before.
    pub subject: Value,
}

/// What a ClusterQueue is made of.
#[derive(Debug)]
struct Shape<'c> {
    case: &'c str,
    /// Resources of each group, and its flavors.
    groups: Vec<(Vec<&'static str>, Vec<usize>)>,
}

// === impl Case ===

impl Case {
    /// The case of a seed.
    #[must_use]
    pub fn random(seed: u64) -> Self {
        let rng = &mut Rng::new(seed);
        let name = format!("queues-{seed}");
        let shape = Shape::random(rng, &name);
        let mut queues: Vec<_> = (0..2).map(|index| flavor(rng, &name, index)).collect();
        let tree = rng.pick(&["none", "none", "flat", "flat", "flat", "nested", "nested"]);
        let mut cohorts = match tree {
            "none" => Vec::new(),
            "flat" => vec![cohort(&name, "org", None)],
            _ => ["org", "lab"]
                .map(|it| cohort(&name, it, Some("root")))
                .into_iter()
                .chain([cohort(&name, "root", None)])
                .collect(),
        };
        for cohort in &mut cohorts {
            if rng.percent(30) {
                cohort["spec"]["resourceGroups"] = shape.quotas(rng, cohort["spec"]["parentName"].is_string());
            }
        }
        let mates = if tree == "none" { 0 } else { rng.range(1, 2) };
        let homes: &[&str] = if tree == "nested" { &["org", "lab", "root"] } else { &["org"] };
        let mut changed = Vec::new();
        for index in 0..=mates {
            let home = if index == 0 { "org" } else { rng.pick(homes) };
            let queue = shape.queue(rng, index, (tree != "none").then_some(home));
            if rng.percent(15) {
                let mut queue = queue.clone();
                match rng.range(0, 2) {
                    0 => queue["spec"]["stopPolicy"] = json!("Hold"),
                    _ => queue["spec"]["resourceGroups"] = shape.quotas(rng, tree != "none"),
                }
                changed.push(queue);
            }
            queues.push(queue);
            queues.push(local(&name, index));
        }
        // A cohort without quota, parent or anything else need not be an object.
        cohorts.retain(|cohort| cohort["spec"] != json!({}) || rng.percent(50));
        queues.extend(cohorts);
        let residents = (0..rng.range(0, 3)).map(|index| {
            let (queue, replicas) = (rng.range(0, mates), rng.range(1, 3));
            deployment(rng, &name, &format!("resident-{index}"), queue, replicas)
        });
        let residents = residents.collect();
        let replicas = rng.pick(&[0, 0, 1, 2]);
        let mut subject = deployment(rng, &name, SUBJECT, 0, replicas);
        if rng.percent(25) {
            subject["spec"]["template"]["spec"]["nodeSelector"][pool(&name)] = json!(rng.pick(&["p0", "p1"]));
        }
        let nodes = (0..rng.range(1, 3)).map(|index| node(rng, &name, index)).collect();
        Self { name, nodes, queues, residents, changed, subject }
    }

    /// What the case has, for counting what was covered.
    #[must_use]
    pub fn features(&self) -> BTreeMap<&'static str, bool> {
        let of = |kind: &'static str| self.queues.iter().filter(move |it| it["kind"] == kind);
        let quotas = |field: &str| of("ClusterQueue").any(|queue| queue.to_string().contains(field));
        let flavors = |pointer: &str| of("ResourceFlavor").any(|flavor| flavor.pointer(pointer).is_some());
        BTreeMap::from([
            ("cohort", quotas("cohortName")),
            ("cohort in a cohort", of("Cohort").any(|it| it["spec"]["parentName"].is_string())),
            ("cohort with quota", of("Cohort").any(|it| it["spec"]["resourceGroups"].is_array())),
            ("borrowing limit", quotas("borrowingLimit")),
            ("lending limit", quotas("lendingLimit")),
            (
                "flavors to choose from",
                of("ClusterQueue").any(|it| it.pointer("/spec/resourceGroups/0/flavors/1").is_some()),
            ),
            ("groups of resources", of("ClusterQueue").any(|it| it.pointer("/spec/resourceGroups/1").is_some())),
            ("flavor with labels", flavors("/spec/nodeLabels")),
            ("flavor with taints", flavors("/spec/nodeTaints")),
            ("strict order", quotas("StrictFIFO")),
            ("stopped", self.changed.iter().any(|it| it["spec"]["stopPolicy"].is_string())),
            ("quota that changes", self.changed.iter().any(|it| it["spec"]["stopPolicy"].is_null())),
            ("others", !self.residents.is_empty()),
        ])
    }
}

// === impl Shape ===

impl<'c> Shape<'c> {
    fn random(rng: &mut Rng, case: &'c str) -> Self {
        let all = vec!["cpu", "memory", GPU];
        let groups = match rng.range(0, 9) {
            0..=4 => vec![(all, vec![0])],
            5 | 6 => vec![(vec!["cpu", "memory"], vec![0]), (vec![GPU], vec![1])],
            7 => vec![(vec!["cpu", "memory", GPU, "pods"], vec![0])],
            _ => vec![(all, vec![0, 1])],
        };
        Self { case, groups }
    }

    /// Resource groups; limits are for what is in a cohort.
    fn quotas(&self, rng: &mut Rng, limits: bool) -> Value {
        let mut quota = |resource: &str| {
            let nominal = match resource {
                GPU => rng.range(0, 6),
                "pods" => rng.range(1, 8),
                _ => 100,
            };
            let unit = if resource == "memory" { "Gi" } else { "" };
            let mut quota = json!({"name": resource, "nominalQuota": format!("{nominal}{unit}")});
            if limits && resource == GPU {
                if rng.percent(35) {
                    quota["borrowingLimit"] = json!(rng.range(0, 4).to_string());
                }
                if rng.percent(30) {
                    quota["lendingLimit"] = json!(rng.range(0, nominal).to_string());
                }
            }
            quota
        };
        let groups = self.groups.iter().map(|(resources, flavors)| {
            let flavors = flavors.iter().map(|index| {
                let resources: Vec<_> = resources.iter().map(|resource| quota(resource)).collect();
                json!({"name": format!("{}-f{index}", self.case), "resources": resources})
            });
            json!({"coveredResources": resources, "flavors": flavors.collect::<Vec<_>>()})
        });
        groups.collect::<Vec<_>>().into()
    }

    fn queue(&self, rng: &mut Rng, index: i64, cohort: Option<&str>) -> Value {
        let mut spec = json!({
            "namespaceSelector": if rng.percent(90) { json!({}) } else { json!({"matchLabels": {"tier": rng.pick(&["a", "b"])}}) },
            "queueingStrategy": if rng.percent(85) { "BestEffortFIFO" } else { "StrictFIFO" },
            "resourceGroups": self.quotas(rng, cohort.is_some()),
        });
        if let Some(cohort) = cohort {
            spec["cohortName"] = json!(format!("{}-{cohort}", self.case));
        }
        object(self.case, "ClusterQueue", &format!("{}-q{index}", self.case), &spec)
    }
}

fn object(case: &str, kind: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "kueue.x-k8s.io/v1beta2", "kind": kind,
        "metadata": {"name": name, "labels": {CASE: case}}, "spec": spec,
    })
}

fn cohort(case: &str, name: &str, parent: Option<&str>) -> Value {
    let spec = parent.map_or_else(|| json!({}), |parent| json!({"parentName": format!("{case}-{parent}")}));
    object(case, "Cohort", &format!("{case}-{name}"), &spec)
}

fn local(case: &str, index: i64) -> Value {
    let mut local =
        object(case, "LocalQueue", &format!("q{index}"), &json!({"clusterQueue": format!("{case}-q{index}")}));
    local["metadata"]["namespace"] = json!(case);
    local
}

/// A label key by which the nodes of flavors differ.
fn pool(case: &str) -> String {
    format!("pool.plimsoll.test/{case}")
}

fn flavor(rng: &mut Rng, case: &str, index: i64) -> Value {
    let mut spec = json!({});
    if rng.percent(60) {
        spec["nodeLabels"] = json!({pool(case): format!("p{index}")});
    }
    if rng.percent(20) {
        spec["nodeTaints"] = json!([{"key": TAINT, "value": "gpu", "effect": "NoSchedule"}]);
    }
    if rng.percent(20) {
        spec["tolerations"] = json!([{"key": TAINT, "operator": "Exists"}]);
    }
    object(case, "ResourceFlavor", &format!("{case}-f{index}"), &spec)
}

fn node(rng: &mut Rng, case: &str, index: i64) -> Value {
    let (key, value) = managed();
    let offered = json!({"cpu": "64", "memory": "256Gi", "pods": "110", GPU: rng.pick(&["2", "4", "6", "8"])});
    let mut spec = json!({});
    if rng.percent(20) {
        spec["taints"] = json!([{"key": TAINT, "value": "gpu", "effect": "NoSchedule"}]);
    }
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {
            "name": format!("{case}-n{index}"),
            "labels": {key: value, CASE: case, pool(case): rng.pick(&["p0", "p0", "p1"])},
        },
        "spec": spec,
        "status": {"capacity": offered, "allocatable": offered},
    })
}

fn deployment(rng: &mut Rng, case: &str, name: &str, queue: i64, replicas: i64) -> Value {
    let amounts = json!({"cpu": "1", "memory": "1Gi", GPU: rng.pick(&["1", "1", "2"])});
    let mut spec = json!({
        "nodeSelector": {CASE: case}, "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "server", "image": "server", "resources": {"requests": amounts, "limits": amounts}}],
    });
    if rng.percent(30) {
        spec["tolerations"] = json!([{"key": TAINT, "operator": "Exists"}]);
    }
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {
            "name": name, "namespace": case,
            "labels": {CASE: case, "kueue.x-k8s.io/queue-name": format!("q{queue}")},
        },
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name, CASE: case}}, "spec": spec},
        },
    })
}
