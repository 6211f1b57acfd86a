//! Clusters and pod templates for the scheduler's own verdict: random ones by seed.
//!
//! A case keeps to itself: its nodes carry a label that its template asks for, and every label that constraints
//! between pods read is named after the case, so that many cases can be scheduled side by side.

mod devices;
mod guards;
mod nodes;
mod residents;
mod template;
mod volumes;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::rng::Rng;

/// Label of everything that belongs to a case.
pub const CASE: &str = "plimsoll.test/case";
/// Most replicas that the nodes of a case can take, whatever is random.
pub const MOST: usize = 16;

/// Cases of a hundred that have devices.
const DEVICES: i64 = 35;

/// Where some of the other pods are.
pub const OTHER: &str = "other";
/// PriorityClasses above everybody: name, and whether their pods evict.
pub const PRIORITIES: [(&str, &str); 2] = [("evicting", "PreemptLowerPriority"), ("waiting", "Never")];

/// Names of the [`runtime_classes`].
const RUNTIMES: [&str; 2] = ["heavy", "choosy"];

/// The RuntimeClasses that all cases share: one costs something, the other chooses nodes and passes a taint.
#[must_use]
pub fn runtime_classes() -> Vec<Value> {
    let class = |name: &str| json!({"metadata": {"name": name}, "handler": name});
    let (mut heavy, mut choosy) = (class(RUNTIMES[0]), class(RUNTIMES[1]));
    heavy["overhead"] = json!({"podFixed": {"cpu": "600m", "memory": "300Mi"}});
    choosy["scheduling"] = json!({
        "nodeSelector": {"generation": "90"}, "tolerations": [{"key": nodes::TAINTS[0], "operator": "Exists"}],
    });
    vec![heavy, choosy]
}

/// A cluster, what runs on it, and what is to be placed.
#[derive(Clone, Debug)]
pub struct Case {
    /// The seed.
    pub name: String,
    /// Nodes.
    pub nodes: Vec<Value>,
    /// Where the replicas are: a namespace of their own if something guards it.
    pub namespace: String,
    /// Pods that have a node.
    pub pods: Vec<Value>,
    /// Volumes, their claims, and what nodes attach.
    pub volumes: Vec<Value>,
    /// ResourceSlices, DeviceClasses and ResourceClaimTemplates.
    pub devices: Vec<Value>,
    /// ResourceClaims with their status, made when the pods are there.
    pub claims: Vec<Value>,
    /// LimitRanges and ResourceQuotas, made when the pods are there.
    pub guards: Vec<Value>,
    /// A pod: what each replica is.
    pub template: Value,
}

/// The names that a case has for labels.
#[derive(Debug)]
struct Names {
    case: String,
    namespace: String,
}

// === impl Case ===

impl Case {
    /// The case of a seed.
    #[must_use]
    pub fn random(seed: u64) -> Self {
        let rng = &mut Rng::new(seed);
        let guarded = rng.percent(25);
        let namespace = if guarded { format!("guarded-{seed}") } else { "default".to_owned() };
        let names = Names { case: seed.to_string(), namespace };
        let count = rng.pick(&[1, 2, 3, 4, 4]);
        let mut nodes: Vec<_> = (0..count).map(|index| nodes::node(rng, &names, index)).collect();
        let volumes = if rng.percent(20) { volumes::some(rng, &names, &nodes) } else { volumes::Volumes::default() };
        let residents = rng.range(0, 4);
        let mut pods: Vec<_> = (0..residents).map(|index| residents::pod(rng, &names, index, count)).collect();
        for pod in pods.iter_mut().filter(|pod| pod["metadata"]["namespace"] == *names.namespace) {
            volumes.mount(rng, &mut pod["spec"], 30);
        }
        let mut template = template::pod(rng, &names, count);
        volumes.mount(rng, &mut template["spec"], 80);
        let volumes = volumes.objects;
        let guards = if guarded { guards::some(rng, &names) } else { Vec::new() };
        let devices = if rng.percent(DEVICES) {
            devices::some(rng, &names, &mut nodes, &mut pods, &mut template)
        } else {
            devices::Devices::default()
        };
        let devices::Devices { objects: devices, claims } = devices;
        let (name, namespace) = (names.case, names.namespace);
        Self { name, nodes, namespace, pods, volumes, devices, claims, guards, template }
    }

    /// The case without one of its parts, one after the other: for finding what a difference needs.
    #[must_use]
    pub fn smaller(&self) -> Vec<Self> {
        let mut smaller = Vec::new();
        for index in 0..self.pods.len() {
            let mut case = self.clone();
            let pod = case.pods.remove(index);
            let name = &pod["metadata"]["name"];
            case.claims.retain(|claim| claim["metadata"]["name"] != *name);
            smaller.push(case);
        }
        let used = |name: &Value| self.pods.iter().any(|pod| pod["spec"]["nodeName"] == *name);
        for index in 0..self.nodes.len() {
            if self.nodes.len() > 1 && !used(&self.nodes[index]["metadata"]["name"]) {
                let mut case = self.clone();
                case.nodes.remove(index);
                smaller.push(case);
            }
        }
        for index in 0..self.guards.len() {
            let mut case = self.clone();
            case.guards.remove(index);
            smaller.push(case);
        }
        for index in 0..self.devices.len() {
            // Pods would wait for claims that nobody can make.
            if self.devices[index]["kind"] != "ResourceClaimTemplate" {
                let mut case = self.clone();
                case.devices.remove(index);
                smaller.push(case);
            }
        }
        for index in 0..self.claims.len() {
            let mut case = self.clone();
            let claim = case.claims.remove(index);
            let name = &claim["metadata"]["name"];
            case.pods.retain(|pod| pod["metadata"]["name"] != *name);
            let asked = self.template["spec"]["resourceClaims"].as_array();
            if !asked.is_some_and(|all| all.iter().any(|it| it["resourceClaimName"] == *name)) {
                smaller.push(case);
            }
        }
        smaller.extend(template::parts(&self.template).into_iter().map(|template| Self { template, ..self.clone() }));
        smaller
    }

    /// Whether replicas ask for devices.
    #[must_use]
    pub const fn has_devices(&self) -> bool {
        !self.devices.is_empty()
    }

    /// The constraints that the case has, for counting what was covered.
    #[must_use]
    pub fn features(&self) -> BTreeMap<&'static str, bool> {
        let spec = &self.template["spec"];
        let some = |pointer: &str| {
            spec.pointer(pointer).is_some_and(|value| match value {
                Value::Array(items) => !items.is_empty(),
                Value::Object(map) => !map.is_empty(),
                other => !other.is_null(),
            })
        };
        let of_pods = |pointer: &str| self.pods.iter().any(|pod| pod.pointer(pointer).is_some());
        let of_nodes = |pointer: &str| self.nodes.iter().any(|node| node.pointer(pointer).is_some());
        let of_guards = |kind: &str| self.guards.iter().any(|guard| guard["kind"] == kind);
        let required = "requiredDuringSchedulingIgnoredDuringExecution";
        let of_devices = devices::features(&self.devices, &self.claims, spec);
        let mut features = BTreeMap::from([
            ("taints", of_nodes("/spec/taints")),
            ("cordon", of_nodes("/spec/unschedulable")),
            ("tolerations", some("/tolerations")),
            ("node affinity", some(&format!("/affinity/nodeAffinity/{required}"))),
            ("spread", some("/topologySpreadConstraints")),
            ("several spread constraints", some("/topologySpreadConstraints/1")),
            ("pod affinity", some(&format!("/affinity/podAffinity/{required}"))),
            ("pod anti-affinity", some(&format!("/affinity/podAntiAffinity/{required}"))),
            ("anti-affinity of others", of_pods("/spec/affinity/podAntiAffinity")),
            ("host ports", some("/containers/0/ports")),
            ("init containers", some("/initContainers")),
            ("pod-level resources", some("/resources")),
            ("terminating pods", of_pods("/metadata/finalizers")),
            (
                "finished pods",
                self.pods.iter().any(|pod| pod["status"]["phase"].is_string() && pod["status"]["phase"] != "Running"),
            ),
            ("resized pods", of_pods("/status/containerStatuses")),
            ("pods of other namespaces", self.pods.iter().any(|pod| pod["metadata"]["namespace"] == OTHER)),
            ("parts of GPUs", some("/containers/0/resources/limits/nvidia.com~1mig-1g.10gb")),
            ("local storage", some("/containers/0/resources/requests/ephemeral-storage")),
            ("huge pages", some("/containers/0/resources/requests/hugepages-2Mi")),
            ("priority", some("/priorityClassName")),
            ("runtime class", some("/runtimeClassName")),
            ("volumes", some("/volumes")),
            ("volumes that nodes attach few of", self.volumes.iter().any(|it| it["kind"] == "CSINode")),
            ("quota", of_guards("ResourceQuota")),
            ("limit range", of_guards("LimitRange")),
        ]);
        features.extend(of_devices);
        features
    }
}

impl Names {
    /// A label key that only this case has.
    fn key(&self, name: &str) -> String {
        format!("{name}.plimsoll.test/c{}", self.case)
    }

    fn object(&self, name: &str) -> String {
        format!("c{}-{name}", self.case)
    }

    /// The extended resource that a DeviceClass of this case stands for.
    fn resource(&self) -> String {
        format!("c{}.plimsoll.test/gpu", self.case)
    }

    /// A selector of this case's pods, by application or all of them.
    fn selector(&self, rng: &mut Rng) -> Value {
        match rng.range(0, 9) {
            0 => Value::Null,
            1 => json!({"matchLabels": {CASE: self.case}}),
            2 => json!({"matchExpressions": [
                {"key": self.key("app"), "operator": "In", "values": ["x", "y"]},
                {"key": "tier", "operator": rng.pick(&["Exists", "DoesNotExist"])},
            ]}),
            _ => json!({"matchLabels": {self.key("app"): rng.pick(&["x", "y"])}}),
        }
    }

    fn topology(&self, rng: &mut Rng) -> String {
        self.key(rng.pick(&["host", "zone", "zone"]))
    }

    fn labels(&self, rng: &mut Rng) -> Value {
        let mut labels = json!({CASE: self.case, self.key("app"): rng.pick(&["x", "y"])});
        if rng.percent(30) {
            labels["tier"] = json!("front");
        }
        labels
    }

    fn affinity_term(&self, rng: &mut Rng) -> Value {
        let mut term = json!({"topologyKey": self.topology(rng), "labelSelector": self.selector(rng)});
        match rng.range(0, 9) {
            0 => term["namespaceSelector"] = json!({}),
            1 => term["namespaceSelector"] = json!({"matchLabels": {"kubernetes.io/metadata.name": OTHER}}),
            2 => term["namespaces"] = json!([OTHER]),
            _ => {}
        }
        if rng.percent(15) && term["labelSelector"].is_object() {
            term[rng.pick(&["matchLabelKeys", "mismatchLabelKeys"])] = json!(["tier"]);
        }
        term
    }
}

/// One port of the node.
fn ports(rng: &mut Rng) -> Value {
    let mut port = json!({"containerPort": 80, "hostPort": rng.pick(&[80, 80, 81])});
    if rng.percent(20) {
        port["protocol"] = json!("UDP");
    }
    match rng.range(0, 5) {
        0 => port["hostIP"] = json!("0.0.0.0"),
        1 | 2 => port["hostIP"] = json!(rng.pick(&["10.0.0.1", "10.0.0.2"])),
        _ => {}
    }
    json!([port])
}

/// Required terms; nothing at all without any.
fn required(terms: &[Value]) -> Value {
    if terms.is_empty() { Value::Null } else { json!({"requiredDuringSchedulingIgnoredDuringExecution": terms}) }
}
