//! Changes that people could make to a cluster or to a workload, so that "what if" is asked of the same model.
//!
//! An edit is put into a view as the changes that a watch would tell of it, so nothing can be edited that the model
//! could not see for itself.

use std::fmt;

use serde::Serialize;

use crate::{
    cluster::{Change, Delta, DeviceChange, QueueChange, StorageChange, View},
    object::{Node, ObjectKey, Pod, PodTemplate, ResourceQuota, pod::Container},
    quantity::Quantity,
};

mod devices;
mod nodes;
mod queues;

use nodes::MAX_ADDED;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Edit {
    /// Adds nodes like one that exists: ready, not cordoned, with nothing on them but copies of its DaemonSet pods, and
    /// with the same drivers and devices of their own.
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
    /// Assigns a pod to another node.
    MovePod {
        /// Which.
        pod: ObjectKey,
        /// Name of the node.
        to: String,
    },
    /// Changes what a ResourceQuota allows.
    Quota {
        /// Which.
        quota: ObjectKey,
        /// One of the resource names that it limits.
        resource: String,
        /// The new limit.
        hard: Quantity,
    },
    /// Changes the nominal quota of a ClusterQueue of Kueue.
    QueueQuota {
        /// Name of the ClusterQueue.
        queue: String,
        /// One of its flavors.
        flavor: String,
        /// One of the resources that it has of the flavor.
        resource: String,
        /// The new nominal quota.
        nominal: Quantity,
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
    /// The cluster has no such quota.
    #[error("there is no ResourceQuota {0}")]
    NoQuota(ObjectKey),
    /// The quota says nothing of the resource.
    #[error("ResourceQuota {quota} does not limit {resource}; it limits {limits}")]
    NotLimited {
        /// The quota.
        quota: ObjectKey,
        /// Resource name.
        resource: String,
        /// What it limits.
        limits: String,
    },
    /// Kueue has no such queue.
    #[error("there is no ClusterQueue {0:?}")]
    NoQueue(String),
    /// The queue has none of the resource of the flavor.
    #[error("ClusterQueue {queue} has no quota of {resource} of flavor {flavor}; it has {quotas}")]
    NotInQueue {
        /// The queue.
        queue: String,
        /// Name of a flavor.
        flavor: String,
        /// Resource name.
        resource: String,
        /// What it has quotas of.
        quotas: String,
    },
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

    /// What a watch would tell if the edit were made; nothing for an edit of the template.
    pub fn changes(&self, view: &View) -> Result<Vec<Change>, EditError> {
        match self {
            Self::AddNodes { count, like } => nodes::added(view, *count, node(view, like)?),
            Self::RemoveNode { node: name } => Ok(nodes::removed(view, node(view, name)?)),
            Self::Cordon { node: name } => Ok(vec![nodes::cordoned(node(view, name)?, true)]),
            Self::Uncordon { node: name } => Ok(vec![nodes::cordoned(node(view, name)?, false)]),
            Self::DeletePod { pod } if view.pods.contains_key(pod) => {
                Ok(vec![Change::Pod(Delta::Deleted(pod.clone()))])
            }
            Self::DeletePod { pod } => Err(EditError::NoPod(pod.clone())),
            Self::MovePod { pod, to } => Ok(vec![moved(view, pod, node(view, to)?)?]),
            Self::Quota { quota, resource, hard } => Ok(vec![limited(view, quota, resource, *hard)?]),
            Self::QueueQuota { queue, flavor, resource, nominal } => {
                Ok(vec![queues::granted(view, queue, (flavor, resource), *nominal)?])
            }
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
            Self::DeletePod { pod } => write!(f, "delete pod {pod}"),
            Self::MovePod { pod, to } => write!(f, "move pod {pod} to node {to}"),
            Self::Quota { quota, resource, hard } => write!(f, "allow {resource} {hard} in ResourceQuota {quota}"),
            Self::QueueQuota { queue, flavor, resource, nominal } => {
                write!(f, "allow {resource} {nominal} in flavor {flavor} of ClusterQueue {queue}")
            }
            Self::Request { resource, amount } => write!(f, "request {resource} {amount}"),
        }
    }
}

/// What takes a change that an edit makes back; edits make no others.
pub(super) fn inverse(change: &Change, view: &View) -> Option<Change> {
    let (storage, devices) = (&view.storage, &view.devices);
    Some(match change {
        Change::Node(delta) => Change::Node(back(delta, |node| node.metadata.name.clone(), |key| view.nodes.get(key))?),
        Change::Pod(delta) => Change::Pod(back(delta, |pod| pod.metadata.key(), |key| view.pods.get(key))?),
        Change::ResourceQuota(delta) => {
            let find = |key: &ObjectKey| view.resource_quotas.get(key);
            Change::ResourceQuota(back(delta, |quota: &ResourceQuota| quota.metadata.key(), find)?)
        }
        Change::Storage(StorageChange::Node(delta)) => {
            let find = |key: &String| storage.nodes.as_ref()?.get(key);
            Change::Storage(StorageChange::Node(back(delta, |node| node.metadata.name.clone(), find)?))
        }
        Change::Storage(StorageChange::Claim(delta)) => {
            let find = |key: &ObjectKey| storage.claims.as_ref()?.get(key);
            Change::Storage(StorageChange::Claim(back(delta, |claim| claim.metadata.key(), find)?))
        }
        Change::Device(DeviceChange::Slice(delta)) => {
            let find = |key: &String| devices.slices.as_ref()?.get(key);
            Change::Device(DeviceChange::Slice(back(delta, |slice| slice.metadata.name.clone(), find)?))
        }
        Change::Device(DeviceChange::Claim(delta)) => {
            let find = |key: &ObjectKey| devices.claims.as_ref()?.get(key);
            Change::Device(DeviceChange::Claim(back(delta, |claim| claim.metadata.key(), find)?))
        }
        Change::Queue(QueueChange::Cluster(delta)) => {
            let find = |key: &String| view.queues.cluster.get(key);
            Change::Queue(QueueChange::Cluster(back(delta, |queue| queue.metadata.name.clone(), find)?))
        }
        _ => return None,
    })
}

/// What makes one object again what it was.
fn back<'v, T: Clone + 'v, K>(
    delta: &Delta<T, K>,
    key: impl Fn(&T) -> K,
    find: impl Fn(&K) -> Option<&'v T>,
) -> Option<Delta<T, K>>
where
    K: Clone,
{
    let key = match delta {
        Delta::Applied(object) => key(object),
        Delta::Deleted(key) => key.clone(),
        Delta::Replaced(_) => return None,
    };
    Some(find(&key).map_or(Delta::Deleted(key), |object| Delta::Applied(object.clone())))
}

fn node<'v>(view: &'v View, name: &str) -> Result<&'v Node, EditError> {
    view.nodes.get(name).ok_or_else(|| EditError::NoNode(name.to_owned()))
}

fn moved(view: &View, key: &ObjectKey, to: &Node) -> Result<Change, EditError> {
    let mut pod: Pod = view.pods.get(key).ok_or_else(|| EditError::NoPod(key.clone()))?.clone();
    pod.node_name = to.metadata.name.as_str().into();
    Ok(Change::Pod(Delta::Applied(pod)))
}

/// The controller has taken note of the new limit.
fn limited(view: &View, key: &ObjectKey, resource: &str, hard: Quantity) -> Result<Change, EditError> {
    if hard < Quantity::ZERO {
        return Err(EditError::Negative { resource: resource.to_owned(), amount: hard });
    }
    let mut quota = view.resource_quotas.get(key).ok_or_else(|| EditError::NoQuota(key.clone()))?.clone();
    if !quota.spec.hard.contains_key(resource) {
        let limits: Vec<_> = quota.spec.hard.keys().map(String::as_str).collect();
        let limits = if limits.is_empty() { "nothing".to_owned() } else { limits.join(", ") };
        return Err(EditError::NotLimited { quota: key.clone(), resource: resource.to_owned(), limits });
    }
    quota.spec.hard.insert(resource.to_owned(), hard);
    if let Some(known) = quota.status.hard.get_mut(resource) {
        *known = hard;
    }
    Ok(Change::ResourceQuota(Delta::Applied(quota)))
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
