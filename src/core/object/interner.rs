//! Makes equal parts of pods, and of nodes, one value in memory.
//!
//! A pod of a large cluster costs some hundred bytes of its own; what its replicas have in common (specification,
//! labels, owners, granted resources) is held once. Nodes have some fifty labels, most of which are on every node. The
//! pools hold what objects hold: what nothing refers to any more is dropped when a pool has grown to twice what was in
//! use the last time, so their size follows the cluster's.

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher},
};

use hashbrown::HashTable;
use serde::Serialize;

use super::{
    labels::Labels,
    meta::{OwnerReference, StringMap},
    node::Node,
    pod::{ConditionState, Granted, Pod, PodMeta, PodSpec, ResourceList},
    shared::Shared,
    text::Text,
};

/// Growth in bytes of JSON that is not worth a sweep.
const SLACK: usize = 1 << 20;

/// The parts that objects have in common.
#[derive(Debug, Default)]
pub struct Interner {
    specs: Pool<PodSpec>,
    labels: Pool<Labels>,
    annotations: Pool<StringMap>,
    owners: Pool<Vec<OwnerReference>>,
    granted: Pool<Granted>,
    amounts: Pool<ResourceList>,
    conditions: Pool<ConditionState>,
    texts: Texts,
}

/// Values of one type, found by a digest of their JSON and compared whole.
#[derive(Debug)]
struct Pool<T> {
    known: HashTable<Entry<T>>,
    budget: Budget,
    json: Vec<u8>,
}

#[derive(Debug)]
struct Entry<T> {
    digest: u64,
    value: Shared<T>,
    size: usize,
}

#[derive(Debug, Default)]
struct Texts {
    known: HashSet<Text>,
    budget: Budget,
}

/// How much is held, in bytes, and how much may be until the next sweep.
#[derive(Debug, Default)]
struct Budget {
    held: usize,
    most: usize,
}

// === impl Interner ===

impl Interner {
    /// Makes the pod share what others that were given before have too. The pod stays equal to what it was.
    pub fn pod(&mut self, pod: &mut Pod) {
        self.specs.share(&mut pod.spec);
        let PodMeta { name, labels, .. } = &mut pod.metadata;
        for text in labels.texts_mut() {
            // A StatefulSet's pod is labelled with its name, which no other pod has.
            if text == name {
                *text = name.clone();
            } else {
                self.texts.share(text);
            }
        }
        self.labels.share(labels);
        self.annotations.share(&mut pod.metadata.annotations);
        self.owners.share(&mut pod.metadata.owner_references);
        self.granted.share(&mut pod.status.granted);
        for condition in &mut pod.status.conditions {
            self.conditions.share(&mut condition.state);
        }
        let status = &mut pod.status;
        for text in
            [&mut pod.metadata.namespace, &mut pod.node_name, &mut status.phase, &mut status.nominated_node_name]
        {
            self.texts.share(text);
        }
    }

    /// The same for a node.
    pub fn node(&mut self, node: &mut Node) {
        for text in node.metadata.labels.texts_mut() {
            self.texts.share(text);
        }
        self.amounts.share(&mut node.status.allocatable);
        self.amounts.share(&mut node.status.capacity);
    }
}

// === impl Pool ===

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self { known: HashTable::new(), budget: Budget::default(), json: Vec::new() }
    }
}

impl<T: PartialEq + Serialize> Pool<T> {
    fn share(&mut self, value: &mut Shared<T>) {
        self.json.clear();
        // What cannot be written is not shared, which costs memory and nothing else.
        if serde_json::to_writer(&mut self.json, &**value).is_err() {
            return;
        }
        let (digest, size) = (digest(&self.json), self.json.len());
        if let Some(entry) = self.known.find(digest, |entry| entry.digest == digest && entry.value == *value) {
            *value = entry.value.clone();
            return;
        }
        self.known.insert_unique(digest, Entry { digest, value: value.clone(), size }, |entry| entry.digest);
        if self.budget.exceeds(size) {
            self.sweep();
        }
    }

    fn sweep(&mut self) {
        self.known.retain(|entry| entry.value.is_held());
        self.budget.renew(self.known.iter().map(|entry| entry.size).sum());
        self.json = Vec::new();
    }
}

fn digest(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

// === impl Texts ===

impl Texts {
    fn share(&mut self, text: &mut Text) {
        if text.is_empty() {
            return;
        }
        if let Some(known) = self.known.get(text.as_str()) {
            *text = known.clone();
            return;
        }
        self.known.insert(text.clone());
        if self.budget.exceeds(text.len()) {
            self.known.retain(Text::is_held);
            self.budget.renew(self.known.iter().map(|text| text.len()).sum());
        }
    }
}

// === impl Budget ===

impl Budget {
    /// Whether holding this much more calls for a sweep.
    fn exceeds(&mut self, more: usize) -> bool {
        self.held = self.held.saturating_add(more);
        self.held > self.most.max(SLACK)
    }

    fn renew(&mut self, held: usize) {
        (self.held, self.most) = (held, held.saturating_mul(2));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, app: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {
                "name": name, "namespace": "ml", "labels": { "app": app },
                "ownerReferences": [{ "kind": "ReplicaSet", "name": app, "controller": true }],
            },
            "spec": {
                "nodeName": "n1",
                "containers": [{ "name": app, "resources": { "requests": { "cpu": "1" } } }],
                "volumes": [{ "name": format!("kube-api-access-{name}"), "projected": { "sources": [] } }],
            },
            "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] },
        }))
        .unwrap()
    }

    #[test]
    fn replicas_share_all_but_their_names() {
        let mut interner = Interner::default();
        let [mut a, mut b, mut other] = [pod("a", "chat"), pod("b", "chat"), pod("a", "other")];
        let before = (a.clone(), b.clone(), other.clone());
        for pod in [&mut a, &mut b, &mut other] {
            interner.pod(pod);
        }
        assert!(a.spec.is_same(&b.spec) && a.metadata.labels.is_same(&b.metadata.labels));
        assert!(a.metadata.owner_references.is_same(&b.metadata.owner_references));
        assert!(a.status.conditions[0].state.is_same(&other.status.conditions[0].state));
        assert!(!a.spec.is_same(&other.spec) && a.spec != other.spec);
        assert_eq!((a, b, other), before);
    }

    #[test]
    fn a_change_through_one_pod_is_not_seen_through_another() {
        let mut interner = Interner::default();
        let [mut a, mut b] = [pod("a", "chat"), pod("b", "chat")];
        for pod in [&mut a, &mut b] {
            interner.pod(pod);
        }
        b.spec.host_network = true;
        assert!(!a.spec.host_network && !a.spec.is_same(&b.spec));
    }

    #[test]
    fn what_no_pod_holds_any_more_is_dropped_as_others_come() {
        let mut interner = Interner::default();
        let long = "x".repeat(SLACK / 8);
        let mut kept = pod("kept", "kept");
        interner.pod(&mut kept);
        for index in 0..100 {
            interner.pod(&mut pod("gone", &format!("{long}-{index}")));
        }
        let held = interner.specs.known.len();
        assert!((1..20).contains(&held), "{held}");
        let mut again = pod("again", "kept");
        interner.pod(&mut again);
        assert!(again.spec.is_same(&kept.spec));
    }
}
