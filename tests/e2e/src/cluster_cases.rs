//! Clusters and pod templates for the scheduler's own verdict: random ones by seed.
//!
//! A case keeps to itself: its nodes carry a label that its template asks for, and every label that constraints
//! between pods read is named after the case, so that many cases can be scheduled side by side.

mod coverage;
mod devices;
mod guards;
mod nodes;
mod replicas;
mod residents;
mod shrink;
mod template;
mod volumes;

use serde_json::{Value, json};

use crate::rng::Rng;

pub use volumes::{DRIVER as STORAGE_DRIVER, TOPOLOGY};

/// Label of everything that belongs to a case.
pub const CASE: &str = "plimsoll.test/case";

/// Cases of a hundred that have devices; with volumes that wait for a pod fewer, so that these decide.
const DEVICES: i64 = 35;
const DEVICES_BESIDE: i64 = 10;
/// Cases of a hundred that have volumes.
const VOLUMES: i64 = 32;

/// Where some of the other pods are.
pub const OTHER: &str = "other";
/// PriorityClasses: name, value, and whether their pods evict. Pods of none have 0.
pub const PRIORITIES: [(&str, i32, &str); 3] =
    [("evicting", 1000, "PreemptLowerPriority"), ("waiting", 1000, "Never"), ("humble", -10, "PreemptLowerPriority")];

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
    /// Volumes, their claims and classes, and what nodes attach.
    pub volumes: Vec<Value>,
    /// Claims that a StatefulSet makes for each replica (`volumeClaimTemplates`).
    pub claims_of_each: Vec<Value>,
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
        let has_volumes = rng.percent(VOLUMES);
        let volumes = if has_volumes { volumes::some(rng, &names, &nodes) } else { volumes::Volumes::default() };
        let residents = rng.range(0, 4);
        let mut pods: Vec<_> = (0..residents).map(|index| residents::pod(rng, &names, index, count)).collect();
        for pod in pods.iter_mut().filter(|pod| pod["metadata"]["namespace"] == *names.namespace) {
            volumes.lend(rng, pod);
        }
        let mut template = template::pod(rng, &names, count);
        if volumes.wait() && rng.percent(75) {
            template::simplify(rng, &mut template["spec"]);
        }
        volumes.mount(rng, &mut template);
        let devices = if volumes.wait() { DEVICES_BESIDE } else { DEVICES };
        let volumes::Volumes { objects: volumes, each: claims_of_each, .. } = volumes;
        let guards = if guarded { guards::some(rng, &names) } else { Vec::new() };
        let devices = if rng.percent(devices) {
            devices::some(rng, &names, &mut nodes, &mut pods, &mut template)
        } else {
            devices::Devices::default()
        };
        let devices::Devices { objects: devices, claims } = devices;
        let (name, namespace) = (names.case, names.namespace);
        Self { name, nodes, namespace, pods, volumes, claims_of_each, devices, claims, guards, template }
    }

    /// Whether replicas have volumes that wait for a pod.
    #[must_use]
    pub fn has_waiting_volumes(&self) -> bool {
        let mut volumes = self.template["spec"]["volumes"].as_array().into_iter().flatten();
        !self.claims_of_each.is_empty() || volumes.any(volumes::waits)
    }

    /// Whether replicas ask for devices.
    #[must_use]
    pub const fn has_devices(&self) -> bool {
        !self.devices.is_empty()
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
        match rng.range(0, 11) {
            0 => Value::Null,
            1 => json!({"matchLabels": {CASE: self.case}}),
            // Everybody of the namespace: those of other cases are in no domain of this one.
            3 => json!({}),
            4 => json!({"matchExpressions": [
                {"key": self.key("app"), "operator": "NotIn", "values": [rng.pick(&["x", "z"])]},
                {"key": CASE, "operator": "In", "values": [self.case]},
            ]}),
            2 => json!({"matchExpressions": [
                {"key": self.key("app"), "operator": "In", "values": ["x", "y"]},
                {"key": "tier", "operator": rng.pick(&["Exists", "DoesNotExist"])},
            ]}),
            _ => json!({"matchLabels": {self.key("app"): rng.pick(&["x", "y"])}}),
        }
    }

    fn topology(&self, rng: &mut Rng) -> String {
        self.key(rng.pick(&["host", "zone", "zone", "rack"]))
    }

    /// A label key that a selector does not read: with one that it reads it would be refused.
    fn label_key(&self, rng: &mut Rng, selector: &Value) -> Option<String> {
        let keys = [self.key("app"), "tier".to_owned(), CASE.to_owned()];
        let text = selector.to_string();
        let unread: Vec<_> = keys.iter().filter(|key| !text.contains(&format!("{key:?}"))).collect();
        (selector.is_object() && !unread.is_empty()).then(|| rng.pick(&unread).clone())
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
        if rng.percent(8) && term["labelSelector"] != json!({}) {
            // One domain of all nodes.
            term["topologyKey"] = json!(CASE);
        }
        match rng.range(0, 9) {
            0 => term["namespaceSelector"] = json!({}),
            1 => term["namespaceSelector"] = json!({"matchLabels": {"kubernetes.io/metadata.name": OTHER}}),
            2 => term["namespaces"] = json!([OTHER]),
            3 => {
                term["namespaces"] = json!([OTHER]);
                let name = json!({"kubernetes.io/metadata.name": self.namespace});
                term["namespaceSelector"] = json!({"matchLabels": name});
            }
            _ => {}
        }
        if rng.percent(20)
            && let Some(key) = self.label_key(rng, &term["labelSelector"])
        {
            term[rng.pick(&["matchLabelKeys", "mismatchLabelKeys"])] = json!([key]);
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
