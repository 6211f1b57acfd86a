//! Changes that people could make to a cluster or to a workload, so that "what if" is asked of the same model.
//!
//! An edit is put into a view as the changes that a watch would tell of it, so nothing can be edited that the model
//! could not see for itself.

use std::fmt;

use serde::Serialize;

use crate::{
    cluster::{Change, Delta, View},
    object::{Node, ObjectKey, Pod, PodTemplate, Text, pod::Container},
    quantity::Quantity,
};

/// Most nodes that one edit adds.
const MAX_ADDED: u32 = 10_000;
/// The label that every node carries with its own name.
const HOSTNAME: &str = "kubernetes.io/hostname";
/// Taints with this prefix speak of the state of one machine, not of its kind.
const STATE_TAINT: &str = "node.kubernetes.io/";

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Edit {
    /// Adds nodes like one that exists: ready, not cordoned, with nothing on them but copies of its DaemonSet pods.
    AddNodes {
        /// How many.
        count: u32,
        /// Name of the node that they are like.
        like: String,
    },
    /// Takes a node away, with the pods on it.
    RemoveNode {
        /// Its name.
        node: String,
    },
    /// Cordons a node.
    Cordon {
        /// Its name.
        node: String,
    },
    /// Makes a cordoned node schedulable.
    Uncordon {
        /// Its name.
        node: String,
    },
    /// Takes a pod away.
    DeletePod {
        /// Which.
        pod: ObjectKey,
    },
    /// Changes what the template asks for.
    Request {
        /// Resource name.
        resource: String,
        /// The new request, and the new limit where there is one.
        amount: Quantity,
    },
}

/// Why an edit cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The cluster has no such node.
    #[error("there is no node {0:?}")]
    NoNode(String),
    /// The cluster has no such pod.
    #[error("there is no pod {0}")]
    NoPod(ObjectKey),
    /// Too many nodes at once.
    #[error("at most {MAX_ADDED} nodes can be added at once, not {0}")]
    TooMany(u32),
    /// The template has no container.
    #[error("the pod template has no container to change")]
    NoContainer,
    /// An amount below zero.
    #[error("{resource} cannot be {amount}, below zero")]
    Negative {
        /// Resource name.
        resource: String,
        /// The amount.
        amount: Quantity,
    },
}

// === impl Edit ===

impl Edit {
    /// Puts the edit into a view and a template.
    pub fn apply(&self, view: &mut View, template: &mut PodTemplate) -> Result<(), EditError> {
        if let Self::Request { resource, amount } = self {
            return request(template, resource, *amount);
        }
        for change in self.changes(view)? {
            view.apply(change);
        }
        Ok(())
    }

    /// Makes the edit, asks, and takes it back: the view is as it was when this returns.
    pub fn tried<T>(&self, view: &mut View, ask: impl FnOnce(&View) -> T) -> Result<T, EditError> {
        let changes = self.changes(view)?;
        let mut back = Vec::with_capacity(changes.len());
        for change in changes {
            back.extend(inverse(&change, view));
            view.apply(change);
        }
        let answer = ask(view);
        for change in back.into_iter().rev() {
            view.apply(change);
        }
        Ok(answer)
    }

    /// What a watch would tell if the edit were made; nothing for an edit of the template.
    pub fn changes(&self, view: &View) -> Result<Vec<Change>, EditError> {
        match self {
            Self::AddNodes { count, like } => added(view, *count, node(view, like)?),
            Self::RemoveNode { node: name } => Ok(removed(view, node(view, name)?)),
            Self::Cordon { node: name } => Ok(vec![cordoned(node(view, name)?, true)]),
            Self::Uncordon { node: name } => Ok(vec![cordoned(node(view, name)?, false)]),
            Self::DeletePod { pod } if view.pods.contains_key(pod) => {
                Ok(vec![Change::Pod(Delta::Deleted(pod.clone()))])
            }
            Self::DeletePod { pod } => Err(EditError::NoPod(pod.clone())),
            Self::Request { .. } => Ok(Vec::new()),
        }
    }
}

impl fmt::Display for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddNodes { count: 1, like } => write!(f, "add one node like {like}"),
            Self::AddNodes { count, like } => write!(f, "add {count} nodes like {like}"),
            Self::RemoveNode { node } => write!(f, "remove node {node}"),
            Self::Cordon { node } => write!(f, "cordon node {node}"),
            Self::Uncordon { node } => write!(f, "uncordon node {node}"),
            Self::DeletePod { pod } => write!(f, "move pod {pod} away"),
            Self::Request { resource, amount } => write!(f, "request {resource} {amount}"),
        }
    }
}

/// What takes a change of one node or pod back; edits make no others.
fn inverse(change: &Change, view: &View) -> Option<Change> {
    let node = |name: &String| match view.nodes.get(name) {
        Some(node) => Delta::Applied(node.clone()),
        None => Delta::Deleted(name.clone()),
    };
    let pod = |key: &ObjectKey| match view.pods.get(key) {
        Some(pod) => Delta::Applied(pod.clone()),
        None => Delta::Deleted(key.clone()),
    };
    match change {
        Change::Node(Delta::Applied(new)) => Some(Change::Node(node(&new.metadata.name))),
        Change::Node(Delta::Deleted(name)) => Some(Change::Node(node(name))),
        Change::Pod(Delta::Applied(new)) => Some(Change::Pod(pod(&new.metadata.key()))),
        Change::Pod(Delta::Deleted(key)) => Some(Change::Pod(pod(key))),
        _ => None,
    }
}

fn node<'v>(view: &'v View, name: &str) -> Result<&'v Node, EditError> {
    view.nodes.get(name).ok_or_else(|| EditError::NoNode(name.to_owned()))
}

fn on<'v>(view: &'v View, node: &'v Node) -> impl Iterator<Item = &'v Pod> {
    view.pods.values().filter(|pod| pod.node_name == node.metadata.name)
}

fn added(view: &View, count: u32, like: &Node) -> Result<Vec<Change>, EditError> {
    if count > MAX_ADDED {
        return Err(EditError::TooMany(count));
    }
    let daemons: Vec<_> = on(view, like).filter(|pod| is_daemon(pod) && pod.is_bound()).collect();
    let mut changes = Vec::new();
    let names = (1_u64..).map(|index| format!("{}-added-{index}", like.metadata.name));
    let free = names.filter(|name| !view.nodes.contains_key(name));
    for name in free.take(count as usize) {
        for daemon in &daemons {
            changes.push(Change::Pod(Delta::Applied(moved(daemon, &name))));
        }
        changes.push(Change::Node(Delta::Applied(named(like, &name))));
    }
    Ok(changes)
}

fn named(like: &Node, name: &str) -> Node {
    let mut node = like.clone();
    name.clone_into(&mut node.metadata.name);
    node.metadata.uid.clear();
    node.metadata.deletion_timestamp = None;
    if node.metadata.labels.contains_key(HOSTNAME) {
        node.metadata.labels.insert(HOSTNAME.to_owned(), name.to_owned());
    }
    node.spec.unschedulable = false;
    node.spec.taints.retain(|taint| !taint.key.starts_with(STATE_TAINT));
    for condition in node.status.conditions.iter_mut().filter(|condition| condition.kind == "Ready") {
        "True".clone_into(&mut condition.status);
    }
    node
}

fn moved(daemon: &Pod, node: &str) -> Pod {
    let mut pod = daemon.clone();
    pod.metadata.name = format!("{}-{node}", daemon.metadata.name).into();
    pod.metadata.uid = Text::default();
    pod.node_name = node.into();
    pod
}

fn is_daemon(pod: &Pod) -> bool {
    pod.metadata.controller().is_some_and(|owner| owner.kind == "DaemonSet")
}

fn removed(view: &View, node: &Node) -> Vec<Change> {
    let pods = on(view, node).map(|pod| Change::Pod(Delta::Deleted(pod.metadata.key())));
    pods.chain([Change::Node(Delta::Deleted(node.metadata.name.clone()))]).collect()
}

/// The node controller taints what is cordoned, a moment later.
fn cordoned(node: &Node, unschedulable: bool) -> Change {
    let mut node = node.clone();
    node.spec.unschedulable = unschedulable;
    node.spec.taints.retain(|taint| taint.key != "node.kubernetes.io/unschedulable");
    Change::Node(Delta::Applied(node))
}

/// Changes the first container that names the resource, else the first one.
fn request(template: &mut PodTemplate, resource: &str, amount: Quantity) -> Result<(), EditError> {
    if amount < Quantity::ZERO {
        return Err(EditError::Negative { resource: resource.to_owned(), amount });
    }
    let names = |container: &Container| {
        container.resources.requests.contains_key(resource) || container.resources.limits.contains_key(resource)
    };
    let containers = &mut template.spec.containers;
    let index = containers.iter().position(names).unwrap_or(0);
    let container = containers.get_mut(index).ok_or(EditError::NoContainer)?;
    container.resources.requests.insert(resource.to_owned(), amount);
    if let Some(limit) = container.resources.limits.get_mut(resource) {
        *limit = amount;
    }
    Ok(())
}
