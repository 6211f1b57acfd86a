//! Nodes that may come, as a view of their own: what would fit on them is asked of the same model.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
};

use jiff::Timestamp;

use super::{
    Arrivals, NodeAutoscaler, NodeGroup,
    likes::{Likes, differing},
    registration::Registration,
};
use crate::{
    capacity::{Edit, Replica},
    cluster::{Change, Delta, View},
    object::{Labels, Node, Pod, Text, pod::ResourceList},
    policy::Policy,
};

/// Most nodes of one group that are looked at.
const MAX_NODES: u32 = 50;
/// Age at which the status of Cluster Autoscaler, written about every 10 s, means that it does not work (its FAQ).
const STALE: jiff::SignedDuration = jiff::SignedDuration::from_secs(180);

/// What the node autoscaler may do.
#[derive(Clone, Debug, Default)]
pub struct Outlook {
    /// Nodes that are being brought, empty but for DaemonSets' pods.
    pub arriving: View,
    /// Nodes that may be added beyond them.
    pub further: View,
    /// Nodes that are here, as they will be once their GPUs have registered. Those of a group that is bringing nodes are
    /// among `arriving`.
    pub registering: View,
    /// Names of all nodes whose GPUs have not registered, be it known or not how many there are.
    pub unregistered: Vec<String>,
    /// Whether a group may add nodes that nobody knows the shape of.
    pub unknown: bool,
    /// Why no node may be added, where none may.
    pub reason: Option<String>,
    /// What has been learnt of how long nodes take, and who is expected.
    pub arrivals: Arrivals,
    /// What those that may come are like.
    likes: Likes,
}

/// What drivers have published of nodes.
struct Equipment<'v> {
    view: &'v View,
    /// Devices of each node alone.
    devices: HashMap<&'v str, usize>,
}

// === impl Equipment ===

impl<'v> Equipment<'v> {
    fn of(view: &'v View) -> Self {
        let mut devices: HashMap<_, usize> = HashMap::new();
        for slice in view.devices.slices.iter().flat_map(BTreeMap::values) {
            *devices.entry(slice.spec.node_name.as_str()).or_default() += slice.spec.devices.len();
        }
        Self { view, devices }
    }

    fn devices(&self, node: &Node) -> usize {
        self.devices.get(node.metadata.name.as_str()).copied().unwrap_or(0)
    }

    fn is_on(&self, node: &Node) -> bool {
        self.devices(node) > 0
    }

    /// How many drivers attach volumes there.
    fn drivers(&self, node: &Node) -> usize {
        let drivers = self.view.storage.nodes.as_ref().and_then(|nodes| nodes.get(&node.metadata.name));
        drivers.map_or(0, |drivers| drivers.spec.drivers.len())
    }
}

/// Why replicas cannot count on the nodes that may come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// In words.
    pub reason: String,
    /// Whether one may find out: what a new node would be for it depends on which one it is, and the autoscaler, which
    /// looks for one that suits the pod, knows more of that.
    pub may_try: bool,
}

// === impl Outlook ===

impl Outlook {
    /// What may come as things are: without a node autoscaler, only GPUs of nodes that are here.
    #[must_use]
    pub fn of(view: &View, policy: &Policy, now: Timestamp) -> Self {
        Self::after(None, view, policy, now)
    }

    /// The same after earlier looks, which tell how long nodes take.
    #[must_use]
    pub fn after(previous: Option<&Arrivals>, view: &View, policy: &Policy, now: Timestamp) -> Self {
        let mut outlook = Self::default();
        let registration = Registration::of(view, policy, now);
        outlook.unregistered = registration.nodes.keys().map(|&name| name.to_owned()).collect();
        let trusted = view.node_autoscaler.as_ref().filter(|autoscaler| doubt(autoscaler, now).is_none());
        if let Some(autoscaler) = trusted {
            let groups = autoscaler.groups.iter().map(|group| since(group, autoscaler.updated, view, &registration));
            let groups: Vec<_> = groups.collect();
            outlook.arrivals = Arrivals::continued(previous, &groups, view, &registration, now);
            outlook.look_at(&groups, view, &registration, policy, now);
        } else {
            outlook.arrivals = previous.cloned().unwrap_or_default();
            outlook.reason = view.node_autoscaler.as_ref().and_then(|autoscaler| doubt(autoscaler, now));
        }
        let groups = trusted.map_or(&[][..], |autoscaler| &autoscaler.groups);
        outlook.register(view, &registration, |node| groups.iter().any(|group| group.has(node)));
        for room in [&mut outlook.arriving, &mut outlook.further, &mut outlook.registering] {
            room.namespaces.clone_from(&view.namespaces);
            room.priority_classes.clone_from(&view.priority_classes);
            room.limit_ranges.clone_from(&view.limit_ranges);
            room.runtime_classes.clone_from(&view.runtime_classes);
            furnish(room, view);
        }
        outlook
    }

    /// What the groups of an autoscaler are bringing and may add.
    fn look_at(
        &mut self,
        groups: &[NodeGroup],
        view: &View,
        registration: &Registration<'_>,
        policy: &Policy,
        now: Timestamp,
    ) {
        let mut reasons = Vec::new();
        let equipment = Equipment::of(view);
        for group in groups {
            let like = example(view, group, &equipment);
            let overdue = self.arrivals.overdue(&group.name, policy, now).min(group.arriving);
            // Whoever does not bring what was asked for is not asked for more.
            let further = if overdue > 0 { 0 } else { room(group, like, policy) };
            reasons.extend(refusal(group, further, overdue));
            let Some(like) = like else {
                self.unknown |= further > 0;
                continue;
            };
            let expected = registration.nodes.get(like.metadata.name.as_str());
            // GPUs that a driver publishes in slices are never among what a node offers.
            let offers = [Some(&group.shape), expected].into_iter().flatten().filter(|_| !equipment.is_on(like));
            let mut like = offers.fold(like.clone(), |node, offers| completed(node, offers, policy));
            let unknown = differing(group, view);
            keep(&mut like.metadata.labels, |key| !unknown.contains(key));
            let like = &like;
            add(&mut self.arriving, view, like, group.arriving - overdue);
            add(&mut self.further, view, like, further);
            if group.arriving > overdue || further > 0 {
                self.likes.add(group, like, unknown);
            }
        }
        self.likes.look(view);
        let none = self.further.nodes.is_empty() && !self.unknown;
        self.reason = none.then(|| match reasons.as_slice() {
            [] => "the node autoscaler has no group of nodes".to_owned(),
            reasons => reasons.join("; "),
        });
    }

    /// Nodes whose GPUs are yet to register, as they will be, with the pods that are on them.
    fn register(&mut self, view: &View, registration: &Registration<'_>, is_brought: impl Fn(&Node) -> bool) {
        for (name, offers) in registration.nodes.iter().filter(|(_, offers)| !offers.is_empty()) {
            let Some(node) = view.nodes.get(*name).filter(|node| !is_brought(node)) else { continue };
            self.registering.nodes.insert((*name).to_owned(), offering(node.clone(), offers));
        }
        if self.registering.nodes.is_empty() {
            return;
        }
        let on = |pod: &&Pod| self.registering.nodes.contains_key(pod.node_name.as_str()) && !pod.is_terminal();
        let pods = view.pods.values().filter(on);
        self.registering.pods = pods.map(|pod| (pod.metadata.key(), pod.clone())).collect();
    }

    /// Why replicas cannot count on the nodes that may come; none where they can.
    #[must_use]
    pub fn doubt(&self, replica: &Replica, view: &View) -> Option<Doubt> {
        if self.arriving.nodes.is_empty() && self.further.nodes.is_empty() && !self.unknown {
            return None;
        }
        let never = replica.tie().or_else(|| self.likes.tie(replica, view));
        let never = never.map(|reason| Doubt { reason, may_try: false });
        let unclear = || replica.looks_beyond().map(str::to_owned).or_else(|| self.likes.doubt(replica, view));
        never.or_else(|| unclear().map(|reason| Doubt { reason, may_try: true }))
    }

    /// Whether nothing may come.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let rooms = [&self.arriving, &self.further, &self.registering];
        rooms.iter().all(|room| room.nodes.is_empty()) && !self.unknown
    }
}

fn doubt(autoscaler: &NodeAutoscaler, now: Timestamp) -> Option<String> {
    let age = autoscaler.updated.map(|updated| now.duration_since(updated)).filter(|age| *age > STALE);
    let stale = age.map(|age| format!("{} has not been written for {} s", autoscaler.evidence, age.as_secs()));
    autoscaler.problem.clone().or(stale)
}

/// The group as it is now: nodes that have become ready since it was written about are not expected any more.
///
/// Times of conditions are whole seconds, so that a node of the very second counts as one of these. Until its GPUs have
/// registered a node is still being brought: autoscalers count it as not ready.
fn since(group: &NodeGroup, updated: Option<Timestamp>, view: &View, registration: &Registration<'_>) -> NodeGroup {
    let Some(updated) = updated else { return group.clone() };
    let came = |node: &&Node| {
        node.ready_since().is_some_and(|since| since.as_second() >= updated.as_second()) && !registration.has(node)
    };
    let came = view.nodes.values().filter(|node| group.has(node)).filter(came).count();
    let came = u32::try_from(came).unwrap_or(u32::MAX);
    NodeGroup {
        arriving: group.arriving.saturating_sub(came),
        // Those that were not even wanted then are wanted now.
        target: group.target.saturating_add(came.saturating_sub(group.arriving)),
        ..group.clone()
    }
}

/// A node of the group, the one that offers most of what counts first.
fn example<'v>(view: &'v View, group: &NodeGroup, equipment: &Equipment<'_>) -> Option<&'v Node> {
    let nodes = view.nodes.values().filter(|node| group.has(node));
    // A node whose devices and drivers have not registered yet offers less than its likes.
    nodes.max_by_key(|node| {
        let offers = node.status.allocatable.len();
        (node.is_ready(), offers, equipment.devices(node), equipment.drivers(node), Reverse(&node.metadata.name))
    })
}

fn keep(labels: &mut Labels, is_known: impl Fn(&Text) -> bool) {
    let known = labels.iter().filter(|(key, _)| is_known(key));
    *labels = known.map(|(key, value)| (key.clone(), value.clone())).collect();
}

/// A node as it will be once it offers what it has been said to.
fn offering(mut node: Node, offers: &ResourceList) -> Node {
    for (name, amount) in offers {
        node.status.allocatable.insert(name.clone(), *amount);
        node.status.capacity.insert(name.clone(), *amount);
    }
    node
}

/// The same for GPUs that it does not offer at all.
fn completed(node: Node, offers: &ResourceList, policy: &Policy) -> Node {
    let lacks = |name: &String| node.status.allocatable.get(name).is_none_or(|amount| amount.is_zero());
    let missing = offers.iter().filter(|(name, _)| policy.is_gpu(name) && lacks(name));
    let missing: ResourceList = missing.map(|(name, amount)| (name.clone(), *amount)).collect();
    offering(node, &missing)
}

/// Nodes that the group may add.
fn room(group: &NodeGroup, like: Option<&Node>, policy: &Policy) -> u32 {
    if group.refusal.is_some() {
        return 0;
    }
    let by_count = group.further();
    let by_resource = like.and_then(|like| {
        let limits = group.left.iter().filter_map(|(name, left)| {
            let each = like.status.capacity.get(name).or_else(|| like.status.allocatable.get(name))?;
            let nodes = left.nano().max(0) / each.nano().max(1);
            Some(u32::try_from(nodes).unwrap_or(u32::MAX))
        });
        limits.min()
    });
    let limit = by_count.into_iter().chain(by_resource).min();
    limit.unwrap_or(policy.unlimited_nodes).min(MAX_NODES)
}

fn refusal(group: &NodeGroup, further: u32, overdue: u32) -> Option<String> {
    match &group.refusal {
        _ if overdue > 0 => Some(format!("node group {}: {overdue} of its nodes are overdue", group.name)),
        Some(refusal) => Some(format!("node group {}: {}", group.name, refusal.message)),
        None if further == 0 => Some(format!("node group {} has reached its limits", group.name)),
        None => None,
    }
}

/// What else decides about pods in a room, so that all that is known of the cluster is known there.
fn furnish(room: &mut View, view: &View) {
    room.device_classes.clone_from(&view.device_classes);
    for resource in ["deviceclasses", "resourceslices", "resourceclaims"] {
        room.unreadable.extend(view.unreadable.get(resource).map(|doubts| (resource.to_owned(), doubts.clone())));
    }
    room.devices.furnish(&view.devices);
    let uses_claims = |pod: &Pod| pod.spec.volumes.iter().any(|volume| volume.contains_key("persistentVolumeClaim"));
    let shared = room.pods.values().any(uses_claims);
    room.storage.furnish(&view.storage, shared);
}

/// Adds copies of a node to a room, with the DaemonSets' pods that run on it and the drivers and devices that it has.
fn add(room: &mut View, view: &View, like: &Node, count: u32) {
    let edit = Edit::AddNodes { count: count.min(MAX_NODES), like: like.metadata.name.clone() };
    for change in edit.changes(view).unwrap_or_default() {
        let change = match change {
            Change::Node(Delta::Applied(mut node)) => {
                node.status.allocatable.clone_from(&like.status.allocatable);
                node.status.capacity.clone_from(&like.status.capacity);
                keep(&mut node.metadata.labels, |key| like.metadata.labels.contains_key(key));
                Change::Node(Delta::Applied(node))
            }
            change => change,
        };
        room.apply(change);
    }
}
