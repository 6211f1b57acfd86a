//! What node autoscalers say, as far as the inputs hold it: the same objects that a running adapter looks at.

use std::collections::BTreeMap;

use plimsoll_core::{
    autoscaler::{
        NodeAutoscaler,
        karpenter::{self, Event, NodeClaim, NodePool},
        status,
    },
    object::{ObjectKey, autoscaling::CapacityBuffer},
};
use serde_json::Value;

use super::{namespaced, text, whole};
use crate::{
    cli::documents::Source,
    clock,
    kubernetes::autoscaler::{UPDATED, read_status},
};

/// ConfigMap in which Cluster Autoscaler reports its status.
const STATUS: &str = "cluster-autoscaler-status";

/// Objects of node autoscalers.
#[derive(Debug, Default)]
pub(super) struct Autoscalers {
    /// What Cluster Autoscaler says, as it wrote it, and when if that is of now.
    status: Option<(String, Option<jiff::Timestamp>)>,
    pools: Vec<NodePool>,
    claims: Vec<NodeClaim>,
    events: Vec<Event>,
    /// By key, since several versions of the kind may be listed.
    buffers: BTreeMap<ObjectKey, CapacityBuffer>,
    /// Why not all of it is known.
    problem: Option<String>,
}

impl Autoscalers {
    /// Takes an object over; false if it is none of theirs.
    pub(super) fn take(
        &mut self,
        source: &Source,
        group: &str,
        kind: &str,
        object: &mut Value,
    ) -> anyhow::Result<bool> {
        match (group, kind) {
            ("" | "karpenter.sh", "NodePool") => self.pools.push(whole(source, kind, object.take())?),
            ("" | "karpenter.sh", "NodeClaim") => self.claims.push(whole(source, kind, object.take())?),
            // A file is of its own time: what it says was said then.
            ("", "Event") if *source == Source::Cluster => self.events.push(whole(source, kind, object.take())?),
            ("" | "autoscaling.x-k8s.io", "CapacityBuffer") => {
                let (key, mut buffer) = namespaced::<CapacityBuffer>(source, kind, object.take())?;
                buffer.metadata.namespace = key.namespace.to_string();
                self.buffers.insert(key, buffer);
            }
            ("", "ConfigMap") if text(object, "/metadata/name").is_some_and(|name| name == STATUS) => {
                let written = object.pointer("/metadata/annotations").and_then(|all| all.get(UPDATED)?.as_str());
                let updated = written.filter(|_| *source == Source::Cluster).and_then(status::updated);
                self.status = Some((text(object, "/data/status").unwrap_or_default(), updated));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Something of it cannot be read, so that what may come is not known.
    pub(super) fn doubt(&mut self, why: String) {
        self.problem.get_or_insert(why);
    }

    /// The node autoscaler that the inputs show.
    pub(super) fn found(self) -> Option<NodeAutoscaler> {
        if self.status.is_none() && self.pools.is_empty() && self.problem.is_none() {
            return None;
        }
        let evidence = "the input".to_owned();
        let mut found = NodeAutoscaler { evidence, problem: self.problem, ..NodeAutoscaler::default() };
        if let Some((written, updated)) = self.status {
            match read_status(&written) {
                Ok(groups) => found.groups = groups,
                Err(error) => found.problem = Some(format!("ConfigMap {STATUS} cannot be read: {error}")),
            }
            found.updated = updated;
        }
        let mut groups = karpenter::groups(self.pools, &self.claims);
        karpenter::refuse(&mut groups, &self.events, clock::now());
        found.groups.extend(groups);
        found.buffers = self.buffers.into_values().collect();
        Some(found)
    }
}
