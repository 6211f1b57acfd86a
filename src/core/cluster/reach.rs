//! How far changes reach: which namespaces' workloads, HPAs or pods they are about.

use std::collections::BTreeSet;

use super::{Change, Delta};
use crate::object::ObjectKey;

/// The namespaces in which scales and pods of workloads may have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// These; none at first.
    Within(BTreeSet<String>),
    /// All: something was listed anew.
    Everywhere,
}

// === impl Reach ===

impl Reach {
    /// The reach of one change. Nodes, classes and quotas are of no workload.
    #[must_use]
    pub fn of(change: &Change) -> Self {
        match change {
            Change::Pod(delta) => Self::delta(delta, |pod| &pod.metadata.namespace, namespace),
            Change::ScaledObject(delta) => Self::delta(delta, |object| &object.metadata.namespace, namespace),
            Change::ScaledJob(delta) => Self::delta(delta, |job| &job.metadata.namespace, namespace),
            Change::Hpa(delta) => Self::delta(delta, |hpa| &hpa.metadata.namespace, namespace),
            Change::Workload { delta, .. } => Self::delta(delta, |(key, _)| &key.namespace, |key| &key.namespace),
            _ => Self::default(),
        }
    }

    fn delta<T, K>(delta: &Delta<T, K>, of: fn(&T) -> &str, gone: fn(&K) -> &str) -> Self {
        match delta {
            Delta::Applied(object) => Self::Within([of(object).to_owned()].into()),
            Delta::Deleted(key) => Self::Within([gone(key).to_owned()].into()),
            Delta::Replaced(_) => Self::Everywhere,
        }
    }

    /// Both reaches together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Within(mut all), Self::Within(more)) => {
                all.extend(more);
                Self::Within(all)
            }
            _ => Self::Everywhere,
        }
    }

    /// Whether a namespace is in it.
    #[must_use]
    pub fn includes(&self, namespace: &str) -> bool {
        match self {
            Self::Within(namespaces) => namespaces.contains(namespace),
            Self::Everywhere => true,
        }
    }

    /// Whether no namespace is in it.
    #[must_use]
    pub fn is_nowhere(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for Reach {
    fn default() -> Self {
        Self::Within(BTreeSet::new())
    }
}

fn namespace(key: &ObjectKey) -> &str {
    &key.namespace
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::{Node, ObjectMeta, Pod, ScaleTarget, WorkloadKey};

    fn pod(namespace: &str) -> Change {
        let metadata = ObjectMeta { namespace: namespace.to_owned(), ..ObjectMeta::default() };
        Change::Pod(Delta::Applied(Pod { metadata: metadata.into(), ..Pod::default() }))
    }

    fn workload(namespace: &str) -> Change {
        let key = WorkloadKey { namespace: namespace.to_owned(), ..WorkloadKey::default() };
        let delta = Delta::Applied((key, ScaleTarget::default()));
        Change::Workload { group: String::new(), kind: String::new(), delta }
    }

    #[test]
    fn changes_reach_their_own_namespaces_and_a_relist_reaches_all() {
        let gone = Change::Hpa(Delta::Deleted(ObjectKey::new("c", "x")));
        let reach = [pod("a"), workload("b"), gone].iter().map(Reach::of).fold(Reach::default(), Reach::and);
        assert_eq!(reach, Reach::Within(["a", "b", "c"].map(str::to_owned).into()));
        assert!(reach.includes("a") && !reach.includes("d"));
        let relist = reach.and(Reach::of(&Change::Pod(Delta::Replaced(Vec::new()))));
        assert!(relist.includes("d"));
    }

    #[test]
    fn nodes_are_of_no_workload() {
        assert!(Reach::of(&Change::Node(Delta::Applied(Node::default()))).is_nowhere());
    }
}
