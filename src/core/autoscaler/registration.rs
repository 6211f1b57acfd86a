//! Nodes that are here before their GPUs are: drivers and device plugins come up minutes after the kubelet.
//!
//! Such a node says by its labels that it has GPUs, and offers none. It is not a node without GPUs, and not room either:
//! what it will offer is told by the labels, or by a node of the same kind.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::{
    cluster::View,
    object::{Node, pod::ResourceList},
    policy::Policy,
    quantity::Quantity,
};

/// Labels by which providers tell the GPUs of a machine from the beginning: the count, and who made them.
const PROVIDERS: [(&str, &str); 2] = [
    ("karpenter.k8s.aws/instance-gpu-count", "karpenter.k8s.aws/instance-gpu-manufacturer"),
    ("cloud.google.com/gke-accelerator-count", "cloud.google.com/gke-accelerator"),
];
/// Labels that nodes of one kind have in common, beside that of their GPUs.
const KIND: &str = "node.kubernetes.io/instance-type";
/// A state of which the outcome is not known: other resources than whole GPUs may come.
const MIG_CONFIG: &str = "nvidia.com/mig.config";

/// Which nodes have GPUs that have not registered, and what they will offer; nothing where that is not known.
#[derive(Clone, Debug, Default)]
pub(super) struct Registration<'v> {
    pub(super) nodes: BTreeMap<&'v str, ResourceList>,
}

/// Nodes whose GPUs a driver publishes in slices, in place of what the node offers.
struct Published<'v>(Vec<&'v Node>);

/// Names of labels that are about GPUs of one resource (GPU feature discovery, `docs/gpu-feature-discovery`).
struct Signs<'a> {
    resource: &'a str,
    present: String,
    count: String,
    product: String,
    replicas: String,
}

// === impl Registration ===

impl<'v> Registration<'v> {
    pub(super) fn of(view: &'v View, policy: &Policy, now: Timestamp) -> Self {
        let exact = policy.gpu_resources.iter().filter(|name| !name.ends_with('*'));
        let signs: Vec<_> = exact.map(|name| Signs::of(name)).collect();
        // Devices of drivers for dynamic allocation are never among a node's resources.
        let slices = view.devices.slices.iter().flat_map(BTreeMap::values);
        let driven: BTreeSet<_> = slices.map(|slice| slice.spec.node_name.as_str()).collect();
        let waits = |node: &&Node| {
            !driven.contains(node.metadata.name.as_str())
                && node.ready_since().is_none_or(|since| now.duration_since(since) < policy.provision_timeout)
                && gpus(node, policy).next().is_none()
        };
        let published = Published::of(view, policy);
        let awaited = view.nodes.values().filter(waits).filter_map(|node| {
            if published.are_expected_on(node, view) {
                return Some((node.metadata.name.as_str(), ResourceList::new()));
            }
            let sign = signs.iter().find(|sign| sign.is_on(node));
            let provider = PROVIDERS.iter().find_map(|labels| provided(node, *labels, policy));
            let told = match (sign, provider) {
                (Some(sign), provider) => sign.told(node).or(provider).unwrap_or_default(),
                (None, provider) => provider?,
            };
            let told = if node.metadata.labels.contains_key(MIG_CONFIG) { ResourceList::new() } else { told };
            let told = if told.is_empty() { like(node, sign, view, policy) } else { told };
            Some((node.metadata.name.as_str(), told))
        });
        Self { nodes: awaited.collect() }
    }

    pub(super) fn has(&self, node: &Node) -> bool {
        self.nodes.contains_key(node.metadata.name.as_str())
    }
}

// === impl Published ===

impl<'v> Published<'v> {
    fn of(view: &'v View, policy: &Policy) -> Self {
        let Some(selection) = view.devices() else { return Self(Vec::new()) };
        let is_gpu = |class: &str| {
            let stands_for = view.device_classes.get(class).and_then(|it| it.spec.extended_resource_name.as_deref());
            policy.is_gpu(class) || stands_for.is_some_and(|resource| policy.is_gpu(resource))
        };
        let has = |node: &&Node| {
            let on_node = selection.on(&node.metadata.name);
            let counts = on_node.into_iter().flat_map(|it| selection.sets.iter().zip(&it.counts));
            counts.into_iter().any(|(set, count)| *count > 0 && is_gpu(&set.class))
        };
        Self(view.nodes.values().filter(has).filter(|node| gpus(node, policy).next().is_none()).collect())
    }

    /// Whether a node is of the kind, or of the group, of one of them.
    fn are_expected_on(&self, node: &Node, view: &View) -> bool {
        let kind = node.metadata.labels.get(KIND);
        let groups = || view.node_autoscaler.iter().flat_map(|autoscaler| &autoscaler.groups);
        let alike = |known: &Node| {
            (kind.is_some() && known.metadata.labels.get(KIND) == kind)
                || groups().any(|group| group.has(node) && group.has(known))
        };
        self.0.iter().any(|known| alike(known))
    }
}

/// The GPUs that a node offers, or that its kubelet knows of.
fn gpus<'a>(node: &'a Node, policy: &'a Policy) -> impl Iterator<Item = (&'a String, &'a Quantity)> {
    let both = node.status.allocatable.iter().chain(node.status.capacity.iter());
    both.filter(|(name, amount)| **amount > Quantity::ZERO && policy.is_gpu(name))
}

fn provided(node: &Node, (count, maker): (&str, &str), policy: &Policy) -> Option<ResourceList> {
    let labels = &node.metadata.labels;
    let maker = labels.get(maker)?;
    // `nvidia`, or a model such as `nvidia-l4`.
    let maker = maker.split('-').next().unwrap_or(maker).to_ascii_lowercase();
    let count = labels.get(count).and_then(|count| count.parse::<i64>().ok());
    let is_of = |name: &&String| !name.ends_with('*') && name.starts_with(&format!("{maker}.com/"));
    let resource = policy.gpu_resources.iter().find(is_of)?;
    Some(count.filter(|count| *count > 0).map(|count| amount(resource, count)).into_iter().flatten().collect())
}

fn amount(resource: &str, count: i64) -> ResourceList {
    [(resource.to_owned(), Quantity::from_units(count))].into()
}

/// What the first node of the same kind offers that offers any.
fn like(node: &Node, sign: Option<&Signs<'_>>, view: &View, policy: &Policy) -> ResourceList {
    let keys = [sign.map(|sign| sign.product.as_str()), Some(KIND)];
    let alike = |key: &str, other: &Node| {
        node.metadata.labels.get(key).is_some_and(|value| other.metadata.labels.get(key) == Some(value))
    };
    let offers =
        |other: &Node| -> ResourceList { gpus(other, policy).map(|(name, amount)| (name.clone(), *amount)).collect() };
    let found = keys.into_iter().flatten().find_map(|key| {
        let mut others = view.nodes.values().filter(|other| alike(key, other)).map(offers);
        others.find(|offers| !offers.is_empty())
    });
    found.unwrap_or_default()
}

// === impl Signs ===

impl<'a> Signs<'a> {
    fn of(resource: &'a str) -> Self {
        let label = |name: &str| format!("{resource}.{name}");
        Self {
            resource,
            present: label("present"),
            count: label("count"),
            product: label("product"),
            replicas: label("replicas"),
        }
    }

    fn is_on(&self, node: &Node) -> bool {
        let labels = &node.metadata.labels;
        let count = labels.get(&self.count);
        let present = labels.get(&self.present).is_some_and(|present| present == "true");
        count != Some("0") && (present || count.is_some() || labels.contains_key(&self.product))
    }

    /// What the labels say that the plugin will offer.
    fn told(&self, node: &Node) -> Option<ResourceList> {
        let number = |key: &String| node.metadata.labels.get(key).and_then(|text| text.parse::<i64>().ok());
        let count = number(&self.count).filter(|count| *count > 0)?;
        let replicas = number(&self.replicas).unwrap_or(1).max(1);
        Some(amount(self.resource, count.saturating_mul(replicas)))
    }
}
