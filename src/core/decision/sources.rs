//! The sources that may have measured a workload: who is named where nothing is known of it.
//!
//! Others are not named: whose they are and how they fare is not for its namespace to know.

use std::{cell::OnceCell, collections::HashMap};

use crate::{
    cluster::{Census, View},
    object::{ObjectKey, Pod, Text, WorkloadKey},
    signal::{GPU_UTILIZATION, Signals, SourceHealth},
};

/// A source by name.
pub(super) type Source<'a> = (&'a str, &'a SourceHealth);

/// All sources, by what they may have measured.
pub(super) struct Sources<'a, 'v> {
    view: &'v View,
    census: &'a Census<'v>,
    signals: &'a Signals,
    /// Made when somebody asks: mostly nobody does.
    known: OnceCell<Known>,
}

/// Names of sources.
#[derive(Default)]
struct Known {
    /// Pods that are scraped themselves.
    of_workloads: HashMap<WorkloadKey, Vec<String>>,
    /// Exporters that measure the GPUs of a node.
    on_nodes: HashMap<Text, Vec<String>>,
    /// Queries and URLs.
    others: Vec<String>,
}

// === impl Sources ===

impl<'a, 'v> Sources<'a, 'v> {
    /// The sources of some signals.
    pub(super) fn of(view: &'v View, census: &'a Census<'v>, signals: &'a Signals) -> Self {
        Self { view, census, signals, known: OnceCell::new() }
    }

    /// The sources that may have measured the signal for a workload.
    pub(super) fn concerned(&self, workload: &WorkloadKey, signal: &str) -> Vec<Source<'a>> {
        let known = self.known.get_or_init(|| self.sort());
        let nodes = if signal == GPU_UTILIZATION { self.nodes(workload) } else { Vec::new() };
        let exporters = nodes.into_iter().filter_map(|node| known.on_nodes.get(node)).flatten();
        let asked = format!("/{signal}/{}", workload.namespace);
        let concerns = |name: &str| match name.split_once('/') {
            Some(("prometheus", query)) => query.ends_with(&asked),
            Some(("url", _)) => signal == GPU_UTILIZATION,
            _ => false,
        };
        let others = known.others.iter().filter(|name| concerns(name));
        let names = exporters.chain(others).chain(known.of_workloads.get(workload).into_iter().flatten());
        names
            .filter_map(|name| self.signals.sources.get_key_value(name))
            .map(|(name, it)| (name.as_str(), it))
            .collect()
    }

    /// The nodes of a workload's pods.
    fn nodes(&self, workload: &WorkloadKey) -> Vec<&'v Text> {
        let nodes = self.census.matching(workload).iter().map(|(_, pod)| &pod.node_name);
        let mut nodes: Vec<_> = nodes.filter(|node| !node.is_empty()).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }

    fn sort(&self) -> Known {
        let mut known = Known::default();
        for name in self.signals.sources.keys() {
            match name.split_once('/') {
                Some(("pod", pod)) => {
                    let workload = self.pod(pod).and_then(|pod| self.census.owner(pod));
                    if let Some(workload) = workload {
                        known.of_workloads.entry(workload.clone()).or_default().push(name.clone());
                    }
                }
                Some(("exporter", pod)) => {
                    if let Some(pod) = self.pod(pod) {
                        known.on_nodes.entry(pod.node_name.clone()).or_default().push(name.clone());
                    }
                }
                _ => known.others.push(name.clone()),
            }
        }
        known
    }

    /// The pod that is given as `namespace/name`.
    fn pod(&self, path: &str) -> Option<&'v Pod> {
        let (namespace, name) = path.split_once('/')?;
        self.view.pods.get(&ObjectKey::new(namespace, name))
    }
}

/// The name of a source for everybody: where else in the network there is an exporter is for its operator to know.
pub(super) fn public_name(source: &str) -> &str {
    if source.starts_with("url/") { "a DCGM exporter" } else { source }
}
